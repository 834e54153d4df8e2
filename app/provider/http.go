package provider

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/stanch-dev/stanch/app/cloud"
	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/rules"
)

// web speaks to providers in the way that the catalogue spells out.
type web struct {
	guarded  *http.Client // for the catalogue's hosts
	trusted  *http.Client // for the operator's
	operator map[string]string
	revoker  checks.Secret // see Config.GitHubRevoker
	limits   *limits
	now      func() time.Time
	batches  batches
}

func newWeb(cfg Config, now func() time.Time, limits *limits) (*web, error) {
	w := &web{
		guarded:  newClient(&net.Dialer{ControlContext: guard(cfg.AllowedNetworks)}, nil),
		trusted:  newClient(&net.Dialer{}, &tls.Config{RootCAs: cfg.VerifyRoots, MinVersion: tls.VersionTLS12}),
		operator: make(map[string]string, len(cfg.BaseURLs)),
		revoker:  cfg.GitHubRevoker,
		limits:   limits,
		now:      now,
	}
	if cfg.Proxy != nil {
		if err := throughProxy(w.guarded, cfg.Proxy, cfg.AllowedNetworks); err != nil {
			return nil, err
		}
	}
	for name, base := range cfg.BaseURLs {
		clean, err := cleanBase(base, "http", "https")
		if err != nil {
			return nil, fmt.Errorf("base URL of provider %s: %w", name, err)
		}
		w.operator[name] = clean
	}
	for _, rule := range cfg.Catalogue {
		for _, base := range bases(rule) {
			if _, err := cleanBase(base, "https"); err != nil {
				return nil, fmt.Errorf("catalogue: base URL of rule %s: %w", rule.ID, err)
			}
		}
	}
	return w, nil
}

// bases are the base URLs that the catalogue names for a rule, as they are when the
// placeholders for labels are filled.
func bases(rule *rules.Rule) []string {
	var all []string
	if rule.Provider != nil && rule.Provider.Base != "" {
		all = append(all, rule.Provider.Base)
	}
	for _, step := range append(rule.Verify.Steps(), rule.Revoke.Steps()...) {
		if step.Request.Base != "" {
			label := rules.FirstLabel(step.Request.Base)
			all = append(all, strings.Replace(step.Request.Base, "{"+label+"}", "label", 1))
		}
	}
	return all
}

// cleanBase checks a base URL and returns it without a slash at its end. Errors
// do not quote it: it might hold a password.
func cleanBase(base string, schemes ...string) (string, error) {
	u, err := url.Parse(base)
	switch {
	case err != nil || u.Host == "":
		return "", errors.New("not a URL with a host")
	case strings.ContainsFunc(u.Host, func(r rune) bool { return r > unicode.MaxASCII }):
		return "", errors.New("write the host in ASCII: what looks like it may be another") // or even an address
	case !slices.Contains(schemes, u.Scheme):
		return "", fmt.Errorf("the scheme must be %s", strings.Join(schemes, " or "))
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return "", errors.New("a base URL has no user, query or fragment")
	}
	return strings.TrimRight(base, "/"), nil
}

// base returns the base URL of a request and the client that may dial it. What the
// operator says of a provider holds for all its hosts.
func (w *web) base(rule *rules.Rule, request *rules.Request) (string, *http.Client) {
	if rule.Provider == nil {
		return "", nil
	}
	return w.baseOf(rule.Provider.Name, cmp.Or(request.Base, rule.Provider.Base))
}

// baseOf is the public base URL of a provider, or what the operator named in its place.
func (w *web) baseOf(name, public string) (string, *http.Client) {
	if base, ok := w.operator[name]; ok {
		return base, w.trusted
	}
	return strings.TrimRight(public, "/"), w.guarded
}

// api is a provider's interface for Stanch's own account there.
func (w *web) api(provider, public string, token func(context.Context) (checks.Secret, error)) cloud.API {
	base, client := w.baseOf(provider, public)
	return cloud.API{Base: base, Client: client, Token: token}
}

// host names the hosts that a verification asks.
func (w *web) host(rule *rules.Rule, cred checks.Credential) string {
	f := filler{parts: cred.Parts}
	var all []string
	for _, step := range rule.Verify.Steps() {
		base, _ := w.base(rule, step.Request)
		all = append(all, f.fill(base, inLabel))
	}
	return strings.Join(all, " ")
}

func (w *web) ready(rule *rules.Rule) string { return w.readyFor(rule, rule.Verify) }

func (w *web) readyFor(rule *rules.Rule, action rules.Action) string {
	for _, step := range action.Steps() {
		if base, _ := w.base(rule, step.Request); base == "" {
			return "no host: the operator names the base URL of this provider"
		}
	}
	return ""
}

// verify asks the rule's question, and the second one if the answer to the first
// says so. What fits no answer of the rule is unknown.
func (w *web) verify(ctx context.Context, rule *rules.Rule, cred checks.Credential) (Verdict, error) {
	verdict := Verdict{Validity: checks.Unknown, Grade: GradeC}
	f := &filler{parts: cred.Parts}
	asked, known := "", map[string]string{}
	for _, step := range rule.Verify.Steps() {
		if asked != "" { // the first step's turn was the question's
			if why, err := w.limits.turn(ctx, rule.Provider); err != nil || why != "" {
				verdict.Evidence.Answer, verdict.Reason = why, ReasonNotAsked
				return verdict, err
			}
		}
		evidence, got, err := w.send(ctx, rule, step.Request, f)
		if asked != "" {
			evidence.Request = asked + ", then " + evidence.Request
		}
		verdict.Evidence, verdict.Reason, verdict.RetryAfter = evidence, got.reason(), got.retryAfter(w.now())
		answer := firstFit(step.Answers, got, false)
		if err != nil || answer == nil {
			return verdict, err
		}
		verdict.Evidence.Answer = describe(answer, got)
		if !identify(known, answer, got, cred) {
			verdict.Evidence.Answer = "the answer repeats the credential"
			return verdict, nil
		}
		if answer.Means != rules.MeansNext {
			verdict.read(answer.Means)
			verdict.Evidence.Radius = measured(rule, step.Request, got, cred)
			break
		}
		asked, f.first = evidence.Request, &got
	}
	if verdict.Validity != checks.Unknown && len(known) > 0 {
		verdict.Evidence.Identity = known
	}
	return verdict, nil
}

// read takes a verifier's answer over.
func (v *Verdict) read(means rules.Meaning) {
	switch means {
	case rules.MeansActive:
		v.Validity = checks.Active
	case rules.MeansLacksScope:
		v.Validity, v.LacksScope = checks.Active, true
	case rules.MeansInactive:
		v.Validity = checks.Inactive
	default:
		return
	}
	v.Reason, v.RetryAfter = "", 0
}

func (w *web) whyNoRevoke(rule *rules.Rule) string {
	return cmp.Or(w.readyFor(rule, rule.Revoke), w.whyNoServerRevokes(rule))
}

// revoke sends the rule's command.
func (w *web) revoke(ctx context.Context, rule *rules.Rule, t Target) (Receipt, error) {
	if rule.Revoke.Request == nil {
		return Receipt{}, fmt.Errorf("revoke %s: the http driver has no request", rule.ID)
	}
	if rule.Revoke.Batch != nil {
		return w.revokeTogether(ctx, rule, t)
	}
	evidence, got, err := w.send(ctx, rule, rule.Revoke.Request, &filler{parts: t.Parts})
	return receiptOf(rule, evidence, got, err)
}

// receiptOf reads the reply to a command.
func receiptOf(rule *rules.Rule, evidence Evidence, got reply, err error) (Receipt, error) {
	if err != nil {
		return Receipt{}, err
	}
	if answer := firstFit(rule.Revoke.Answers, got, true); answer != nil && revocation(answer.Means) {
		evidence.Answer = describe(answer, got)
		return Receipt{Meaning: answer.Means, Evidence: evidence}, nil
	}
	return Receipt{}, &AnswerError{Rule: rule.ID, Evidence: evidence}
}

func revocation(m rules.Meaning) bool {
	return m == rules.MeansRevoked || m == rules.MeansAccepted || m == rules.MeansAlreadyDead
}

// send makes a request and reads the reply. A credential that cannot stand in the
// request is a fault of the reply; an error is one of the rule.
func (w *web) send(ctx context.Context, rule *rules.Rule, request *rules.Request, f *filler) (Evidence, reply, error) {
	base, client := w.base(rule, request)
	evidence := Evidence{Request: request.Method + " " + base + request.Path, At: w.now()}
	req, err := f.request(base, request)
	var unfit unfitError
	if errors.As(err, &unfit) {
		evidence.Answer = unfit.Error()
		return evidence, reply{fault: unfit.Error(), local: true}, nil
	}
	if err != nil {
		return evidence, reply{}, fmt.Errorf("rule %s: %w", rule.ID, err)
	}
	got := exchange(client, req.WithContext(ctx))
	evidence.Status, evidence.Answer = got.status, got.answer()
	return evidence, got, nil
}

// firstFit returns the first answer that a reply fits, or nil.
func firstFit(answers []rules.Answer, r reply, command bool) *rules.Answer {
	for i := range answers {
		if fits(&answers[i], r, command) {
			return &answers[i]
		}
	}
	return nil
}

// fits says whether a reply is an answer. Where the answer asks for nothing, a
// question still wants a JSON body, so that a status which anything on the way
// could have sent means nothing; a command is content with none, because its
// effect is proved by the next question.
func fits(a *rules.Answer, r reply, command bool) bool {
	if a.Status != r.status || r.status == 0 || !excused(a, r.fault) || !holds(a.Header, r.headerText) || !hasIdentity(a, r) {
		return false
	}
	switch {
	case a.Empty:
		return r.empty
	case a.Text != "":
		return r.plain != "" && rules.Like(a.Text, r.plain)
	case len(a.JSON) > 0:
		return r.json && holds(a.JSON, r.text)
	case len(a.XML) > 0:
		return r.xml && holds(a.XML, r.text)
	case a.Proof():
		return true
	}
	return r.json || (command && r.empty) || r.status == http.StatusNoContent
}

// excused says whether a reply without a good sense can be an answer all the same,
// because the answer says what body it has.
func excused(a *rules.Answer, fault string) bool {
	switch fault {
	case "":
		return true
	case faultNotJSON:
		return a.Text != ""
	case faultLimited:
		return a.Text != "" || len(a.JSON)+len(a.XML) > 0
	}
	return false
}

// holds says whether all fields have the texts that are wanted.
func holds(want map[string]string, field func(string) (string, bool)) bool {
	for name, pattern := range want {
		if text, ok := field(name); !ok || !rules.Like(pattern, text) {
			return false
		}
	}
	return true
}

func hasIdentity(a *rules.Answer, r reply) bool {
	for _, path := range a.Identity {
		if text, ok := r.field(path); !ok || text == "" {
			return false
		}
	}
	return true
}

// identify adds what an answer says about the credential's owner to what is known. It
// is false when that holds a part of the credential that is secret, as the answer of
// a server that repeats what it is told does: nobody's name is his password.
func identify(known map[string]string, a *rules.Answer, r reply, cred checks.Credential) bool {
	if len(a.Identity) == 0 {
		return true
	}
	found := make(map[string]string)
	for _, path := range a.Identity {
		found[path], _ = r.field(path)
	}
	for _, name := range a.IdentityHeaders {
		if value := r.header.Get(name); value != "" {
			found[name] = value
		}
	}
	for name, value := range found {
		if strings.Contains(value, cred.Secret().Expose()) {
			return false
		}
		known[name] = short(value)
	}
	return true
}

func describe(a *rules.Answer, r reply) string {
	if len(a.Identity) > 0 {
		return strconv.Itoa(r.status) + " with identity"
	}
	return fmt.Sprintf("%s: %s", r.answer(), a.Means)
}

// maxText bounds what evidence keeps of a field that a stranger filled.
const maxText = 256

// short returns printable text of at most maxText bytes.
func short(text string) string {
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, text)
	if len(text) > maxText {
		text = strings.ToValidUTF8(text[:maxText], "")
	}
	return text
}
