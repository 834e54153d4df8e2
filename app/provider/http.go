package provider

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/rules"
)

// web speaks to providers in the way that the catalogue spells out.
type web struct {
	guarded  *http.Client // for the catalogue's hosts
	trusted  *http.Client // for the operator's
	operator map[string]string
	now      func() time.Time
}

func newWeb(cfg Config, now func() time.Time) (*web, error) {
	w := &web{
		guarded:  newClient(&net.Dialer{ControlContext: guard(cfg.AllowedNetworks)}, nil),
		trusted:  newClient(&net.Dialer{}, nil),
		operator: make(map[string]string, len(cfg.BaseURLs)),
		now:      now,
	}
	for name, base := range cfg.BaseURLs {
		clean, err := cleanBase(base, "http", "https")
		if err != nil {
			return nil, fmt.Errorf("base URL of provider %s: %w", name, err)
		}
		w.operator[name] = clean
	}
	for _, rule := range cfg.Catalogue {
		if rule.Provider == nil || rule.Provider.Base == "" {
			continue
		}
		if _, err := cleanBase(rule.Provider.Base, "https"); err != nil {
			return nil, fmt.Errorf("catalogue: base URL of rule %s: %w", rule.ID, err)
		}
	}
	return w, nil
}

// cleanBase checks a base URL and returns it without a slash at its end. Errors
// do not quote it: it might hold a password.
func cleanBase(base string, schemes ...string) (string, error) {
	u, err := url.Parse(base)
	switch {
	case err != nil || u.Host == "":
		return "", errors.New("not a URL with a host")
	case !slices.Contains(schemes, u.Scheme):
		return "", fmt.Errorf("the scheme must be %s", strings.Join(schemes, " or "))
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return "", errors.New("a base URL has no user, query or fragment")
	}
	return strings.TrimRight(base, "/"), nil
}

// base returns the base URL for a rule and the client that may dial it.
func (w *web) base(rule *rules.Rule) (string, *http.Client) {
	if rule.Provider == nil {
		return "", nil
	}
	if base, ok := w.operator[rule.Provider.Name]; ok {
		return base, w.trusted
	}
	return strings.TrimRight(rule.Provider.Base, "/"), w.guarded
}

func (w *web) host(rule *rules.Rule, _ checks.Credential) string {
	base, _ := w.base(rule)
	return base
}

func (w *web) ready(rule *rules.Rule) string {
	if base, _ := w.base(rule); base == "" {
		return "no host: the operator names the base URL of this provider"
	}
	return ""
}

// verify asks the rule's question. What fits no answer of the rule is unknown.
func (w *web) verify(ctx context.Context, rule *rules.Rule, cred checks.Credential) (Verdict, error) {
	evidence, reply, err := w.send(ctx, rule, rule.Verify, cred)
	verdict := Verdict{Validity: checks.Unknown, Grade: GradeC}
	if err == nil && reply.fault == "" {
		if answer := firstFit(rule.Verify.Answers, reply, false); answer != nil {
			evidence.Answer = describe(answer, reply)
			if whose, ok := identity(answer, reply, cred); ok {
				verdict.read(answer.Means)
				evidence.Identity = whose
			} else {
				evidence.Answer = "the answer repeats the credential"
			}
		}
	}
	verdict.Evidence = evidence
	return verdict, err
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
	}
}

// revoke sends the rule's command.
func (w *web) revoke(ctx context.Context, rule *rules.Rule, cred checks.Credential) (Receipt, error) {
	evidence, reply, err := w.send(ctx, rule, rule.Revoke, cred)
	if err != nil {
		return Receipt{}, err
	}
	if reply.fault == "" {
		if answer := firstFit(rule.Revoke.Answers, reply, true); answer != nil && revocation(answer.Means) {
			evidence.Answer = describe(answer, reply)
			return Receipt{Meaning: answer.Means, Evidence: evidence}, nil
		}
	}
	return Receipt{}, &AnswerError{Rule: rule.ID, Evidence: evidence}
}

func revocation(m rules.Meaning) bool {
	return m == rules.MeansRevoked || m == rules.MeansAccepted || m == rules.MeansAlreadyDead
}

// send makes an action's request and reads the reply. A credential that cannot
// stand in the request is a fault of the reply; an error is one of the rule.
func (w *web) send(ctx context.Context, rule *rules.Rule, action rules.Action, cred checks.Credential) (Evidence, reply, error) {
	if action.Request == nil {
		return Evidence{}, reply{}, fmt.Errorf("rule %s: the http driver has no request", rule.ID)
	}
	base, client := w.base(rule)
	evidence := Evidence{Request: action.Request.Method + " " + base + action.Request.Path, At: w.now()}
	req, err := newRequest(base, action.Request, cred)
	var unfit unfitError
	if errors.As(err, &unfit) {
		evidence.Answer = unfit.Error()
		return evidence, reply{fault: unfit.Error()}, nil
	}
	if err != nil {
		return evidence, reply{}, err
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

// fits says whether a reply is an answer. Where the answer names no field, a
// question still wants a JSON body, so that a status which anything on the way
// could have sent means nothing; a command is content with none, because its
// effect is proved by the next question.
func fits(a *rules.Answer, r reply, command bool) bool {
	if a.Status != r.status || (a.Empty && !r.empty) {
		return false
	}
	if len(a.JSON) > 0 || len(a.Identity) > 0 {
		return hasFields(a, r)
	}
	return r.json || a.Empty || (command && r.empty) || r.status == http.StatusNoContent
}

func hasFields(a *rules.Answer, r reply) bool {
	for path, want := range a.JSON {
		if got, ok := r.field(path); !ok || got != want {
			return false
		}
	}
	for _, path := range a.Identity {
		if got, ok := r.field(path); !ok || got == "" {
			return false
		}
	}
	return true
}

// identity collects what an answer says about the credential's owner. It is
// false when that holds the secret, as the answer of a server that repeats what
// it is told does: nobody's name is his password.
func identity(a *rules.Answer, r reply, cred checks.Credential) (map[string]string, bool) {
	if len(a.Identity) == 0 {
		return nil, true
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
			return nil, false
		}
		found[name] = short(value)
	}
	return found, true
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
