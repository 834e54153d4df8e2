package provider

import (
	"bytes"
	"cmp"
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/rules"
)

// The calls of the token store, the same in Vault 1.21 and OpenBao 2.7:
// https://developer.hashicorp.com/vault/api-docs/auth/token
const (
	lookupSelf = "GET /v1/auth/token/lookup-self"
	revokeSelf = "POST /v1/auth/token/revoke-self"
	lookup     = "POST /v1/auth/token/lookup"
	revokeTree = "POST /v1/auth/token/revoke"
)

// What the two products say. Vault tells a dead token from a denied one; OpenBao
// says "permission denied" to both, unless it is asked with another token.
const (
	saysInvalid = "invalid token" // Vault, to a token that is expired, revoked or unknown
	saysBad     = "bad token"     // both, of the token that a lookup names
	saysDenied  = "permission denied"
	saysBatch   = "batch tokens cannot be revoked"
)

// vault speaks to the one Vault or OpenBao server of the operator about its
// tokens. It does so over the same exchange as all other providers, with no
// retry and no redirect, in place of the official client, which retries, follows
// a redirect with the token, and whose RevokeSelf(token) kills its own.
type vault struct {
	addr      string
	own       checks.Secret
	namespace string
	role      string
	client    *http.Client
	now       func() time.Time
}

func newVault(cfg Config, now func() time.Time) (*vault, error) {
	v := &vault{own: cfg.VaultToken, namespace: cfg.VaultNamespace, role: cfg.VaultIssueRole, now: now}
	if cfg.VaultAddr == "" {
		return v, nil
	}
	var err error
	if v.addr, err = cleanBase(cfg.VaultAddr, "http", "https"); err != nil {
		return nil, fmt.Errorf("address of Vault: %w", err)
	}
	// Only for the certificates that Vault's own environment variables name.
	env := api.DefaultConfig()
	if env.Error != nil {
		return nil, fmt.Errorf("read Vault's environment variables: %w", env.Error)
	}
	tls := env.TLSConfig()
	if tls.InsecureSkipVerify {
		return nil, errors.New("VAULT_SKIP_VERIFY is set: leaked tokens go only to a server that proves who it is; unset it and name the authority in VAULT_CACERT")
	}
	v.client = newClient(&net.Dialer{}, tls)
	return v, nil
}

// addVault adds what speaks to Vault about more than its tokens, and has its database
// engines asked first about the passwords of databases.
func (p *Providers) addVault(cfg Config, places []place, deploys *deployKeys) error {
	engines, err := newPKI(p.vault, cfg, p.now)
	if err != nil {
		return err
	}
	roles := newAppRole(p.vault, cfg.VaultAppRoleMounts)
	p.verifiers[driverAppRole], p.revokers[driverAppRole], p.issuers[driverAppRole] = roles, roles, roles
	transit := newTransits(p.vault, cfg.VaultTransitMounts)
	p.verifiers[driverTransit], p.revokers[driverTransit], p.issuers[driverTransit] = transit, transit, transit
	if p.authorities, err = newSSHAuthorities(p.vault, cfg, p.now); err != nil {
		return err
	}
	leaked := &keys{places: slices.Concat(places, engines, p.authorities.places()), authorities: p.authorities, now: p.now}
	trusted := trusts{deploys, leaked, p.authorities}
	p.verifiers[driverKey], p.revokers[driverKey], p.issuers[driverKey] = leaked, trusted, trusted
	databases := newEngine(p.vault, cfg.VaultDatabaseMounts)
	for driver, v := range p.verifiers {
		if d, ok := v.(served); ok {
			databases.serve(driver, d.logins())
		}
	}
	p.engines = append(p.engines, databases)
	return nil
}

func (v *vault) host(*rules.Rule, checks.Credential) string { return v.addr }

func (v *vault) ready(*rules.Rule) string {
	if v.addr == "" {
		return "no Vault address configured"
	}
	return ""
}

func (v *vault) whyNoRevoke(rule *rules.Rule) string { return v.ready(rule) }

func (v *vault) whyNoIssue(*rules.Rule) string {
	if why := v.ready(nil); why != "" {
		return why
	}
	if v.own.Len() == 0 {
		return "no Vault token of Stanch's own configured"
	}
	return ""
}

// call makes one of the calls above with a token. Body is encoded as JSON.
func (v *vault) call(ctx context.Context, what string, token checks.Secret, body map[string]any) (Evidence, reply) {
	method, path, _ := strings.Cut(what, " ")
	evidence := Evidence{Request: method + " " + v.addr + path, At: v.now()}
	value, ok := inHeader(token.Expose())
	if !ok {
		evidence.Answer = "the token cannot stand in a header"
		return evidence, reply{fault: evidence.Answer}
	}
	var payload []byte
	if body != nil {
		payload, _ = json.Marshal(body) // strings, numbers and booleans cannot fail
	}
	req, err := http.NewRequestWithContext(ctx, method, v.addr+path, bytes.NewReader(payload))
	if err != nil {
		evidence.Answer = "no request can be made of the Vault address"
		return evidence, reply{fault: evidence.Answer}
	}
	req.Header.Set("X-Vault-Token", value)
	req.Header.Set("X-Vault-Request", "true")
	if v.namespace != "" {
		req.Header.Set("X-Vault-Namespace", v.namespace)
	}
	got := exchange(v.client, req)
	evidence.Status, evidence.Answer = got.status, got.answer()
	if said := complaints(got); len(said) > 0 {
		evidence.Answer = fmt.Sprintf("%d %s", got.status, short(strings.Join(said, "; ")))
	}
	return evidence, got
}

// complaints are the errors of a Vault answer.
func complaints(r reply) []string {
	list, _ := r.object["errors"].([]any)
	var said []string
	for _, e := range list {
		if text, ok := e.(string); ok {
			said = append(said, text)
		}
	}
	return said
}

// says reports whether Vault answered with a status and, among its errors, a text.
func says(r reply, status int, text string) bool {
	return r.fault == "" && r.status == status &&
		slices.ContainsFunc(complaints(r), func(s string) bool { return strings.Contains(s, text) })
}

// verify asks the token about itself and, when that tells nothing, asks with
// Stanch's own token about it.
func (v *vault) verify(ctx context.Context, _ *rules.Rule, cred checks.Credential) (Verdict, error) {
	token := cred.Secret()
	evidence, got := v.call(ctx, lookupSelf, token, nil)
	if found, ok := lookedUp(got, token); ok {
		return v.live(evidence, found, false), nil
	}
	switch {
	case says(got, http.StatusForbidden, saysInvalid), says(got, http.StatusForbidden, saysBad):
		return Verdict{Validity: checks.Inactive, Grade: GradeB, Evidence: evidence}, nil
	case says(got, http.StatusForbidden, saysDenied):
		return v.verifyFor(ctx, token, evidence), nil
	}
	return Verdict{Validity: checks.Unknown, Grade: GradeC, Evidence: evidence}, nil
}

// verifyFor asks with Stanch's own token. "bad token" counts only while that
// token is good itself: else the words could be about it.
func (v *vault) verifyFor(ctx context.Context, token checks.Secret, denied Evidence) Verdict {
	verdict := Verdict{Validity: checks.Unknown, Grade: GradeC, Evidence: denied}
	if v.own.Len() == 0 {
		verdict.Evidence.Answer += ": dead or denied; with a token of its own Stanch could tell"
		return verdict
	}
	evidence, got := v.call(ctx, lookup, v.own, map[string]any{"token": token.Expose()})
	if found, ok := lookedUp(got, token); ok {
		return v.live(evidence, found, true)
	}
	verdict.Evidence = evidence
	if !says(got, http.StatusForbidden, saysBad) {
		verdict.Evidence.Answer = cmp.Or(lacked(lookup, got), evidence.Answer)
		return verdict
	}
	self, got := v.call(ctx, lookupSelf, v.own, nil)
	if _, ok := lookedUp(got, v.own); !ok {
		verdict.Evidence.Answer += "; Stanch's own token: " + cmp.Or(lacked(lookupSelf, got), self.Answer)
		return verdict
	}
	verdict.Validity = checks.Inactive
	return verdict
}

func (v *vault) live(evidence Evidence, found map[string]any, lacksScope bool) Verdict {
	evidence.Identity = tokenIdentity(found)
	evidence.Answer = "200 with identity"
	return Verdict{Validity: checks.Active, Grade: GradeB, LacksScope: lacksScope, Evidence: evidence}
}

// lookedUp returns what a lookup says about exactly this token.
func lookedUp(r reply, token checks.Secret) (map[string]any, bool) {
	data, _ := r.object["data"].(map[string]any)
	id, _ := data["id"].(string)
	same := subtle.ConstantTimeCompare([]byte(id), []byte(token.Expose())) == 1
	return data, r.fault == "" && r.status == http.StatusOK && same && id != ""
}

// tokenIdentity keeps what names a token and what its replacement must be like.
// The accessor is no secret, but with it and the right policy one can revoke the
// token: show it to operators only.
func tokenIdentity(data map[string]any) map[string]string {
	found := map[string]string{"policies": strings.Join(policies(data, "policies"), ",")}
	if more := policies(data, "identity_policies"); len(more) > 0 {
		found["identity_policies"] = strings.Join(more, ",")
	}
	r := reply{value: data, json: true}
	for _, name := range []string{"accessor", "display_name", "entity_id", "type", "path",
		"creation_ttl", "expire_time", "period", "explicit_max_ttl", "num_uses", "renewable"} {
		if value, ok := r.field(name); ok && value != "" {
			found[name] = short(value)
		}
	}
	return found
}

func policies(data map[string]any, name string) []string {
	list, _ := data[name].([]any)
	var all []string
	for _, p := range list {
		if text, ok := p.(string); ok {
			all = append(all, text)
		}
	}
	return all
}

// batch says whether a token is of the kind that cannot be revoked. Vault's and
// OpenBao's prefixes: sdk/helper/consts/token_consts.go.
func batch(token checks.Secret) bool {
	return strings.HasPrefix(token.Expose(), "hvb.") || strings.HasPrefix(token.Expose(), "b.")
}

// revoke makes the token revoke itself, which cannot hit another one, and takes its
// children and all leases along. When it may not, Stanch's own token revokes the token
// that the body names. Tokens that it created as orphans are nobody's children: Vault
// does not tell who created them, and they live on.
func (v *vault) revoke(ctx context.Context, rule *rules.Rule, t Target) (Receipt, error) {
	token := t.Secret()
	if batch(token) {
		return Receipt{}, errBatch(rule)
	}
	if v.own.Len() > 0 && token == v.own {
		return Receipt{}, fmt.Errorf("revoke %s: %w: it is Stanch's own token; give Stanch another one first", rule.ID, ErrCannotRevoke)
	}
	evidence, got := v.call(ctx, revokeSelf, token, nil)
	switch {
	case done(got):
		return Receipt{Meaning: rules.MeansRevoked, Evidence: evidence}, nil
	case says(got, http.StatusBadRequest, saysBatch):
		return Receipt{}, errBatch(rule)
	case says(got, http.StatusForbidden, saysInvalid), says(got, http.StatusForbidden, saysBad):
		return Receipt{Meaning: rules.MeansAlreadyDead, Evidence: evidence}, nil
	case says(got, http.StatusForbidden, saysDenied) && v.own.Len() > 0:
		return v.revokeFor(ctx, rule, t, evidence)
	}
	return Receipt{}, &AnswerError{Rule: rule.ID, Evidence: evidence}
}

// revokeFor revokes with Stanch's own token: by the value or, where it may not, by the
// accessor that the server told of this value. It asks first whether the token is dead
// already: Vault revokes a token that never was without a word.
func (v *vault) revokeFor(ctx context.Context, rule *rules.Rule, t Target, denied Evidence) (Receipt, error) {
	token := t.Secret()
	verdict := v.verifyFor(ctx, token, denied)
	accessor := cmp.Or(verdict.Evidence.Identity["accessor"], t.Identity["accessor"])
	switch {
	case verdict.Validity == checks.Inactive:
		return Receipt{Meaning: rules.MeansAlreadyDead, Evidence: verdict.Evidence}, nil
	case verdict.Evidence.Identity["type"] == "batch":
		return Receipt{}, errBatch(rule)
	}
	evidence, got := v.call(ctx, revokeTree, v.own, map[string]any{"token": token.Expose()})
	evidence.Identity = verdict.Evidence.Identity
	switch {
	case says(got, http.StatusBadRequest, saysBatch):
		return Receipt{}, errBatch(rule)
	case done(got):
		return Receipt{Meaning: rules.MeansRevoked, Evidence: evidence}, nil
	case lacked(revokeTree, got) != "" && accessor != "":
		receipt, err := v.revokeByAccessor(ctx, rule, accessor)
		if err != nil {
			err = fmt.Errorf("%w; and %s", err, lacked(revokeTree, got))
		}
		return receipt, err
	case lacked(revokeTree, got) != "":
		return Receipt{}, unfit("revoke", rule, lacked(revokeTree, got), evidence)
	}
	return Receipt{}, &AnswerError{Rule: rule.ID, Evidence: evidence}
}

// done says whether Vault carried a command out.
func done(r reply) bool {
	return r.fault == "" && (r.status == http.StatusNoContent || (r.status == http.StatusOK && r.json))
}

func errBatch(rule *rules.Rule) error {
	return fmt.Errorf("revoke %s: %w: Vault has no record of a batch token; it dies with its parent, which can be revoked, or when its time is over", rule.ID, ErrCannotRevoke)
}
