package provider

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stanch-dev/stanch/app/grants"
	"github.com/stanch-dev/stanch/app/provider/servertest"
	"github.com/stanch-dev/stanch/app/secretstore/baotest"
	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/rules"
)

func random(t *testing.T) string {
	t.Helper()
	return strings.ToLower(rand.Text())
}

// deaf returns a way to a server on which the answers of some requests get lost.
func deaf(t *testing.T, b *baotest.Server, lost func(*http.Request) bool) (addr string) {
	t.Helper()
	target, err := url.Parse(b.Addr)
	if err != nil {
		t.Fatal(err)
	}
	way := httputil.NewSingleHostReverseProxy(target)
	way.ModifyResponse = func(r *http.Response) error {
		if lost(r.Request) {
			return errors.New("lost")
		}
		return nil
	}
	way.ErrorHandler = func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) }
	return serve(t, way.ServeHTTP).URL
}

// ofOperation counts the tokens whose metadata names an operation.
func ofOperation(t *testing.T, b *baotest.Server, operation string) (accessors []string) {
	t.Helper()
	keys, _ := b.Must("LIST", "auth/token/accessors", nil)["keys"].([]any)
	for _, key := range keys {
		meta, _ := b.Must("POST", "auth/token/lookup-accessor", map[string]any{"accessor": key})["meta"].(map[string]any)
		if meta[operationMeta] == operation {
			accessors = append(accessors, key.(string))
		}
	}
	return accessors
}

// issueRole makes the token role of deploy/vault/stanch-issue.hcl.
func issueRole(b *baotest.Server) {
	b.Policy("ci-deploy", `path "secret/data/ci/*" { capabilities = ["read"] }`)
	b.Must("POST", "auth/token/roles/stanch-issue", map[string]any{
		"orphan": true, "renewable": true, "allowed_policies_glob": []string{"ci-*", "default"}})
}

func TestVaultSettlesALostIssue(t *testing.T) {
	b := baotest.Start(t)
	issueRole(b)
	p := holding(t, b, written(VaultTokensPolicy("stanch-issue"))+written(VaultAccessorsPolicy()), Config{VaultIssueRole: "stanch-issue"})
	addr := deaf(t, b, func(r *http.Request) bool { return strings.Contains(r.URL.Path, "/create/") })
	losing := newProviders(t, Config{VaultAddr: addr, VaultToken: p.vault.own, VaultIssueRole: "stanch-issue"})
	for name, first := range map[string]*Providers{"the answer was lost": losing, "nothing was sent": nil} {
		t.Run(name, func(t *testing.T) {
			old := b.Token(map[string]any{"policies": []string{"ci-deploy"}, "ttl": "2h"})
			bystander := b.Token(map[string]any{"policies": []string{"ci-deploy"}, "meta": map[string]string{operationMeta: "op-other"}})
			request := Request{Old: Target{Credential: credential(vaultRule, old)}, Operation: "op-" + random(t)}
			if first != nil {
				if _, err := first.Issue(t.Context(), request); err == nil || errors.Is(err, ErrCannotIssue) {
					t.Fatalf("%v; want an error that is not definite", err)
				}
				if n := len(ofOperation(t, b, request.Operation)); n != 1 {
					t.Fatalf("%d tokens; want the one of which nobody knows the value", n)
				}
			}
			request.Again = true
			for range 2 { // the second time the first one's is the orphan
				fresh, err := p.Issue(t.Context(), request)
				if err != nil {
					t.Fatal(err)
				}
				accessor, _ := b.Must("POST", "auth/token/lookup", map[string]string{"token": fresh.Secret().Expose()})["accessor"].(string)
				if got := ofOperation(t, b, request.Operation); !slices.Equal(got, []string{accessor}) {
					t.Errorf("tokens of the operation: %d; want the new one alone", len(got))
				}
			}
			for _, token := range []string{old, bystander} {
				if status, _ := b.Do(token, "GET", "auth/token/lookup-self", nil); status != 200 {
					t.Error("another token was revoked")
				}
			}
		})
	}
}

func TestVaultTokensPolicy(t *testing.T) {
	b := baotest.Start(t)
	issueRole(b)
	denied := func(t *testing.T) Target { // which may not even look itself up
		return Target{Credential: credential(vaultRule, b.Token(map[string]any{"policies": []string{"ci-deploy"}, "no_default_policy": true}))}
	}
	verify := func(t *testing.T, p *Providers, cred checks.Credential, want checks.Validity) error {
		v, err := p.VerifyAgain(t.Context(), cred)
		if err == nil && v.Validity != want {
			err = errors.New(v.Evidence.Answer)
		}
		return err
	}
	issue := func(t *testing.T, p *Providers, again bool) error {
		old := credential(vaultRule, b.Token(map[string]any{"policies": []string{"ci-deploy"}, "ttl": "2h"}))
		operation := "op-" + random(t)
		if again {
			b.Must("POST", "auth/token/create/stanch-issue", map[string]any{"policies": []string{"ci-deploy"}, "meta": map[string]string{operationMeta: operation}})
		}
		_, err := p.Issue(t.Context(), Request{Old: Target{Credential: old}, Operation: operation, Again: again})
		return err
	}
	cfg := Config{VaultIssueRole: "stanch-issue"}
	wantMinimal(t, b, grants.Policy{}, VaultTokensPolicy("stanch-issue"), cfg, map[string]func(*testing.T, *Providers) error{
		"verify":     func(t *testing.T, p *Providers) error { return verify(t, p, denied(t).Credential, checks.Active) },
		"prove dead": func(t *testing.T, p *Providers) error { return verify(t, p, sample(t, vaultRule), checks.Inactive) },
		"revoke": func(t *testing.T, p *Providers) error {
			_, err := p.Revoke(t.Context(), denied(t))
			return err
		},
		"issue": func(t *testing.T, p *Providers) error { return issue(t, p, false) },
	})
	wantMinimal(t, b, VaultTokensPolicy("stanch-issue"), VaultAccessorsPolicy(), cfg, map[string]func(*testing.T, *Providers) error{
		"settle": func(t *testing.T, p *Providers) error { return issue(t, p, true) },
	})
}

// A token that may not revoke itself dies by its accessor where Stanch may not revoke
// by value.
func TestVaultRevokesByAccessor(t *testing.T) {
	b := baotest.Start(t)
	policy := VaultTokensPolicy("stanch-issue").Without(2) // auth/token/revoke
	p := holding(t, b, written(policy)+written(VaultAccessorsPolicy()), Config{})
	b.Policy("ci-deploy", `path "secret/data/ci/*" { capabilities = ["read"] }`)
	options := map[string]any{"policies": []string{"ci-deploy"}, "no_default_policy": true}
	token, other := credential(vaultRule, b.Token(options)), b.Token(options)
	for _, want := range []rules.Meaning{rules.MeansRevoked, rules.MeansAlreadyDead} {
		if got, err := p.Revoke(t.Context(), Target{Credential: token}); err != nil || got.Meaning != want {
			t.Errorf("%+v, %v; want %s", got, err, want)
		}
	}
	wantVerdict(t, p, token.Secret().Expose(), checks.Inactive, GradeB)
	wantVerdict(t, p, other, checks.Active, GradeA)
	// What nobody can look up any more is known to be dead by its accessor as well.
	accessor, _ := b.Must("POST", "auth/token/lookup", map[string]string{"token": other})["accessor"].(string)
	for _, want := range []rules.Meaning{rules.MeansRevoked, rules.MeansAlreadyDead} {
		if got, err := p.vault.revokeByAccessor(t.Context(), &rules.Rule{ID: vaultRule}, accessor); err != nil || got.Meaning != want {
			t.Errorf("%+v, %v; want %s", got, err, want)
		}
	}
}

// What a leaked token made dies with it: its children and its leases. What it created
// as an orphan does not.
func TestVaultRevokesWhatATokenMade(t *testing.T) {
	b := baotest.Start(t)
	p := asStanch(t, b)
	b.Must("POST", "sys/mounts/pki", map[string]any{"type": "pki"})
	b.Must("POST", "pki/root/generate/internal", map[string]any{"common_name": "test"})
	b.Must("POST", "pki/roles/shop", map[string]any{"allow_any_name": true, "generate_lease": true, "max_ttl": "1h"})
	b.Policy("maker", `path "auth/token/create" { capabilities = ["update"] }
		path "auth/token/create-orphan" { capabilities = ["update", "sudo"] }
		path "pki/issue/shop" { capabilities = ["update"] }`)
	make := func(by, path string) string {
		_, auth := b.Do(by, "POST", path, map[string]any{"policies": []string{"maker"}})
		token, _ := auth["client_token"].(string)
		if token == "" {
			t.Fatalf("no token by %s", path)
		}
		return token
	}
	leaked := b.Token(map[string]any{"policies": []string{"maker"}})
	child := make(leaked, "auth/token/create")
	grandchild := make(child, "auth/token/create")
	orphan := make(child, "auth/token/create-orphan")
	_, cert := b.Do(child, "POST", "pki/issue/shop", map[string]any{"common_name": "shop", "ttl": "1h"})
	leases := func() int {
		status, found := b.Do(b.Root, "LIST", "sys/leases/lookup/pki/issue/shop", nil)
		keys, _ := found["keys"].([]any)
		return map[bool]int{true: len(keys)}[status == 200]
	}
	if cert["serial_number"] == nil || leases() != 1 {
		t.Fatalf("%d leases, want that of the child's certificate", leases())
	}
	if _, err := p.Revoke(t.Context(), Target{Credential: credential(vaultRule, leaked)}); err != nil {
		t.Fatal(err)
	}
	// Leases are revoked in the background.
	for deadline := time.Now().Add(servertest.Patience); leases() > 0 && time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
	}
	revoked := b.Must("GET", fmt.Sprint("pki/cert/", cert["serial_number"]), nil)["revocation_time"]
	if n := leases(); n != 0 || revoked == 0.0 {
		t.Errorf("%d leases, revocation time %v", n, revoked)
	}
	wantVerdict(t, p, child, checks.Inactive, GradeB)
	wantVerdict(t, p, grandchild, checks.Inactive, GradeB)
	wantVerdict(t, p, orphan, checks.Active, GradeA)
}

func TestVaultLooksAtSoManyTokens(t *testing.T) {
	lookups := 0
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasSuffix(r.URL.Path, "/accessors") {
			lookups++
		}
		answer(w, 200, "application/json", `{"data":{"keys":["a`+strings.Repeat(`","a`, maxAccessors)+`"]}}`)
	})
	p := newProviders(t, Config{VaultAddr: server.URL, VaultToken: checks.NewSecret("own")})
	_, err := p.Issue(t.Context(), Request{Old: Target{Credential: credential(vaultRule, "s.x")}, Operation: "op-7", Again: true})
	if !errors.As(err, new(*UnsettledError)) || !strings.Contains(err.Error(), "op-7") || lookups > 0 {
		t.Errorf("%v after %d lookups", err, lookups)
	}
}
