package provider

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stanch-dev/stanch/app/secretstore/baotest"
	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/rules"
)

const vaultRule = "vault-legacy-token" // OpenBao's tokens look like Vault's older ones

// asStanch returns providers with a token that has the policies of deploy/vault
// alone, and a role that may hand out ci-*.
func asStanch(t *testing.T, b *baotest.Server) *Providers {
	t.Helper()
	b.Policy("stanch", "@../../deploy/vault/stanch.hcl")
	b.Policy("stanch-issue", "@../../deploy/vault/stanch-issue.hcl")
	b.Policy("ci-deploy", `path "secret/data/ci/*" { capabilities = ["read"] }`)
	b.Must("POST", "auth/token/roles/stanch-issue", map[string]any{
		"orphan": true, "renewable": true, "allowed_policies_glob": []string{"ci-*", "default"}})
	own := b.Token(map[string]any{"policies": []string{"stanch", "stanch-issue"}, "no_default_policy": true, "ttl": "1h"})
	return newProviders(t, Config{VaultAddr: b.Addr, VaultToken: checks.NewSecret(own), VaultIssueRole: "stanch-issue"})
}

func verdictOf(t *testing.T, p *Providers, token string) Verdict {
	t.Helper()
	v, err := p.Verify(t.Context(), credential(vaultRule, token))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func wantVerdict(t *testing.T, p *Providers, token string, validity checks.Validity, grade Grade) Verdict {
	t.Helper()
	v := verdictOf(t, p, token)
	if v.Validity != validity || v.Grade != grade {
		t.Errorf("%+v; want %s of grade %s", v, validity, grade)
	}
	for _, text := range v.Evidence.Identity {
		if strings.Contains(text, token) {
			t.Error("the identity tells the token")
		}
	}
	return v
}

func TestVaultTokens(t *testing.T) {
	b := baotest.Start(t)
	p := asStanch(t, b)

	t.Run("random", func(t *testing.T) {
		random := sample(t, vaultRule).Secret().Expose()
		wantVerdict(t, p, random, checks.Inactive, GradeB)
		if got, err := p.Revoke(t.Context(), Target{Credential: credential(vaultRule, random)}); err != nil || got.Meaning != rules.MeansAlreadyDead {
			t.Errorf("revoke: %+v, %v", got, err)
		}
	})
	t.Run("live and revoked", func(t *testing.T) {
		token := b.Token(map[string]any{"policies": []string{"ci-deploy"}, "ttl": "2h", "display_name": "deploy"})
		v := wantVerdict(t, p, token, checks.Active, GradeA)
		if v.LacksScope || v.Evidence.Identity["accessor"] == "" || v.Evidence.Identity["policies"] != "ci-deploy,default" ||
			v.Evidence.Identity["display_name"] != "token-deploy" {
			t.Errorf("identity %v", v.Evidence.Identity)
		}
		for _, want := range []rules.Meaning{rules.MeansRevoked, rules.MeansAlreadyDead} {
			if got, err := p.Revoke(t.Context(), Target{Credential: credential(vaultRule, token)}); err != nil || got.Meaning != want {
				t.Errorf("revoke: %+v, %v; want %s", got, err, want)
			}
			wantVerdict(t, p, token, checks.Inactive, GradeB)
		}
	})
	t.Run("without the default policy", func(t *testing.T) {
		token := b.Token(map[string]any{"policies": []string{"ci-deploy"}, "no_default_policy": true})
		if v := wantVerdict(t, p, token, checks.Active, GradeA); !v.LacksScope {
			t.Errorf("%+v; want it to lack scope", v)
		}
		if got, err := p.Revoke(t.Context(), Target{Credential: credential(vaultRule, token)}); err != nil || got.Meaning != rules.MeansRevoked {
			t.Errorf("revoke: %+v, %v", got, err)
		}
		wantVerdict(t, p, token, checks.Inactive, GradeB)
	})
	t.Run("batch", func(t *testing.T) {
		token := b.Token(map[string]any{"policies": []string{"ci-deploy"}, "type": "batch", "ttl": "1h"})
		wantVerdict(t, p, token, checks.Active, GradeA)
		if _, err := p.Revoke(t.Context(), Target{Credential: credential(vaultRule, token)}); !errors.Is(err, ErrCannotRevoke) || strings.Contains(err.Error(), token) {
			t.Errorf("revoke: %v, want ErrCannotRevoke", err)
		}
		wantVerdict(t, p, token, checks.Active, GradeA)
	})
	t.Run("no token of its own", func(t *testing.T) {
		bare := newProviders(t, Config{VaultAddr: b.Addr})
		token := b.Token(map[string]any{"policies": []string{"default"}})
		wantVerdict(t, bare, token, checks.Active, GradeC) // the control cannot tell dead from denied
		wantVerdict(t, bare, sample(t, vaultRule).Secret().Expose(), checks.Unknown, GradeC)
	})
	t.Run("own token dead", func(t *testing.T) {
		dead := newProviders(t, Config{VaultAddr: b.Addr, VaultToken: sample(t, vaultRule).Secret()})
		wantVerdict(t, dead, sample(t, vaultRule).Secret().Expose(), checks.Unknown, GradeC)
		denied := b.Token(map[string]any{"policies": []string{"ci-deploy"}, "no_default_policy": true})
		wantVerdict(t, dead, denied, checks.Unknown, GradeC)
	})
	t.Run("own token is not revoked", func(t *testing.T) {
		own := credential(vaultRule, p.vault.own.Expose())
		if _, err := p.Revoke(t.Context(), Target{Credential: own}); !errors.Is(err, ErrCannotRevoke) {
			t.Errorf("revoke: %v", err)
		}
		wantVerdict(t, p, own.Secret().Expose(), checks.Active, GradeA)
	})
}

func TestVaultIssue(t *testing.T) {
	b := baotest.Start(t)
	p := asStanch(t, b)
	issue := func(p *Providers, token string, identity map[string]string) (checks.Credential, error) {
		return p.Issue(t.Context(), Request{Old: Target{credential(vaultRule, token), identity}, Operation: "op-7"})
	}
	again := Request{Old: Target{Credential: credential(vaultRule, "s.x")}, Operation: "op-7", Again: true}
	if _, err := p.Issue(t.Context(), again); !errors.As(err, new(*UnsettledError)) || !strings.Contains(err.Error(), "op-7") {
		t.Errorf("an attempt whose end is unknown was repeated: %v", err)
	}
	look := func(t *testing.T, token string) map[string]any {
		t.Helper()
		return b.Must("POST", "auth/token/lookup", map[string]string{"token": token})
	}

	t.Run("like the old one", func(t *testing.T) {
		for _, noDefault := range []bool{false, true} {
			old := b.Token(map[string]any{"policies": []string{"ci-deploy"}, "ttl": "2h", "explicit_max_ttl": "5h",
				"display_name": "deploy", "no_default_policy": noDefault})
			fresh, err := issue(p, old, nil)
			if err != nil {
				t.Fatal(err)
			}
			was, is := look(t, old), look(t, fresh.Secret().Expose())
			for _, name := range []string{"policies", "display_name", "creation_ttl", "explicit_max_ttl", "orphan", "renewable", "type", "num_uses"} {
				if diff := cmp.Diff(was[name], is[name]); diff != "" {
					t.Errorf("no default policy %t: %s (-old +new):\n%s", noDefault, name, diff)
				}
			}
			if diff := cmp.Diff(map[string]any{"stanch_operation": "op-7"}, is["meta"]); diff != "" {
				t.Errorf("metadata:\n%s", diff)
			}
		}
	})
	t.Run("after the old one was revoked", func(t *testing.T) {
		old := b.Token(map[string]any{"policies": []string{"ci-deploy"}, "ttl": "2h"})
		identity := verdictOf(t, p, old).Evidence.Identity
		if _, err := p.Revoke(t.Context(), Target{Credential: credential(vaultRule, old)}); err != nil {
			t.Fatal(err)
		}
		fresh, err := issue(p, old, identity)
		if err != nil {
			t.Fatal(err)
		}
		if is := look(t, fresh.Secret().Expose()); is["creation_ttl"] != 7200.0 {
			t.Errorf("creation_ttl %v", is["creation_ttl"])
		}
	})
	t.Run("definite refusals", func(t *testing.T) {
		b.Must("POST", "sys/auth/userpass", map[string]string{"type": "userpass"})
		b.Must("POST", "auth/userpass/users/ann", map[string]string{"password": "p", "token_policies": "ci-deploy"})
		login, _ := b.Must("POST", "auth/userpass/login/ann", map[string]string{"password": "p"})["client_token"].(string)
		for why, old := range map[string]string{
			"token policies":          b.Token(map[string]any{"policies": []string{"stanch"}, "ttl": "1h"}), // the role says no
			"it is a root token":      b.Root,
			"it is a token of type b": b.Token(map[string]any{"policies": []string{"ci-deploy"}, "type": "batch", "ttl": "1h"}),
			"are not known":           sample(t, vaultRule).Secret().Expose(),
			"it came from a login":    login,
		} {
			_, err := issue(p, old, nil)
			if !errors.Is(err, ErrCannotIssue) || !strings.Contains(err.Error(), why) || strings.Contains(err.Error(), old) {
				t.Errorf("%v, want ErrCannotIssue because %q", err, why)
			}
		}
	})
	t.Run("without a role it takes sudo", func(t *testing.T) {
		old := b.Token(map[string]any{"policies": []string{"ci-deploy"}, "period": "1h"})
		plain := newProviders(t, Config{VaultAddr: b.Addr, VaultToken: p.vault.own})
		if _, err := issue(plain, old, nil); !errors.Is(err, ErrCannotIssue) {
			t.Errorf("%v, want ErrCannotIssue", err)
		}
		b.Policy("sudo", `path "auth/token/create-orphan" { capabilities = ["update", "sudo"] }`)
		own := b.Token(map[string]any{"policies": []string{"stanch", "sudo"}, "ttl": "1h"})
		strong := newProviders(t, Config{VaultAddr: b.Addr, VaultToken: checks.NewSecret(own)})
		fresh, err := issue(strong, old, nil)
		if err != nil {
			t.Fatal(err)
		}
		is := look(t, fresh.Secret().Expose())
		if is["period"] != 3600.0 || is["orphan"] != true || fmt.Sprint(is["policies"]) != "[ci-deploy default]" {
			t.Errorf("the new token is %v", is)
		}
	})
	t.Run("more policies than before are taken back", func(t *testing.T) {
		identity := map[string]string{"policies": "ci-deploy", "type": "service", "path": "auth/token/create", "creation_ttl": "60"}
		target, err := url.Parse(b.Addr)
		if err != nil {
			t.Fatal(err)
		}
		for _, works := range []bool{true, false} {
			var fresh string
			server := serve(t, func(w http.ResponseWriter, r *http.Request) {
				switch {
				case strings.Contains(r.URL.Path, "/create/"): // by a role that adds a policy
					fresh = b.Token(map[string]any{"policies": []string{"ci-deploy", "default"}})
					answer(w, 200, "application/json", fmt.Sprintf(`{"auth":{"client_token":%q,"policies":["ci-deploy","default"]}}`, fresh))
				case strings.HasSuffix(r.URL.Path, "/revoke") && !works:
					answer(w, 503, "application/json", `{"errors":["Vault is sealed"]}`)
				default:
					httputil.NewSingleHostReverseProxy(target).ServeHTTP(w, r)
				}
			})
			lying := newProviders(t, Config{VaultAddr: server.URL, VaultToken: p.vault.own, VaultIssueRole: "r"})
			_, err := issue(lying, sample(t, vaultRule).Secret().Expose(), identity)
			if err == nil || errors.Is(err, ErrCannotIssue) != works {
				t.Errorf("%v; want it definite exactly if the token could be revoked, which is %t", err, works)
			}
			status, _ := b.Do(b.Root, "POST", "auth/token/lookup", map[string]string{"token": fresh})
			if dead := status == 403; dead != works {
				t.Errorf("the token is dead: %t, want %t", dead, works)
			}
		}
	})
}

// What is known before anybody is asked needs no answer.
func TestBatchTokensAreKnownByTheirPrefix(t *testing.T) {
	p := newProviders(t, Config{VaultAddr: "http://127.0.0.1:1"})
	for _, prefix := range []string{"hvb.", "b."} {
		if _, err := p.Revoke(t.Context(), Target{Credential: credential(vaultRule, prefix+"x")}); !errors.Is(err, ErrCannotRevoke) {
			t.Errorf("%s: %v, want ErrCannotRevoke", prefix, err)
		}
	}
	var unfit *AnswerError
	if _, err := p.Revoke(t.Context(), Target{Credential: credential(vaultRule, "s.x")}); !errors.As(err, &unfit) || unfit.Evidence.Answer != "no connection" {
		t.Errorf("%v, want that nobody was reached", err)
	}
}

// Vault tells dead from denied by itself; these are its words, and those of
// what stands before it.
func TestVaultAnswers(t *testing.T) {
	const media = "application/json"
	leaked := sample(t, "vault-service-token")
	own := checks.NewSecret("own" + "-token")
	alive := func(id string) string {
		return fmt.Sprintf(`{"data":{"id":%q,"accessor":"acc","policies":["p"],"type":"service"}}`, id)
	}
	denial, invalid, bad := `{"errors":["permission denied"]}`, `{"errors":["2 errors occurred:\n\t* permission denied\n\t* invalid token\n\n"]}`, `{"errors":["bad token"]}`

	type said struct {
		status      int
		media, body string
	}
	ok := said{200, media, alive(own.Expose())}
	for name, test := range map[string]struct {
		self, asked, ownSelf said
		want                 checks.Validity
	}{
		"vault: dead":                 {said{403, media, invalid}, said{}, said{}, checks.Inactive},
		"vault: malformed":            {said{403, media, bad}, said{}, said{}, checks.Inactive},
		"openbao: dead":               {said{403, media, denial}, said{403, media, bad}, ok, checks.Inactive},
		"own token is the bad one":    {said{403, media, denial}, said{403, media, bad}, said{403, media, bad}, checks.Unknown},
		"may not ask":                 {said{403, media, denial}, said{403, media, denial}, ok, checks.Unknown},
		"proxy's 403":                 {said{403, "text/html", portal}, said{403, media, bad}, ok, checks.Unknown},
		"somebody's json 403":         {said{403, media, `{"message":"no"}`}, said{403, media, bad}, ok, checks.Unknown},
		"sealed":                      {said{503, media, `{"errors":["Vault is sealed"]}`}, said{403, media, bad}, ok, checks.Unknown},
		"quota":                       {said{429, media, invalid}, said{403, media, bad}, ok, checks.Unknown},
		"standby":                     {said{307, media, ""}, said{403, media, bad}, ok, checks.Unknown},
		"recovering":                  {said{472, media, invalid}, said{403, media, bad}, ok, checks.Unknown},
		"performance standby":         {said{473, media, `{}`}, said{403, media, bad}, ok, checks.Unknown},
		"another token is live":       {said{200, media, alive("somebody-elses")}, said{403, media, bad}, ok, checks.Unknown},
		"lookup of another":           {said{403, media, denial}, said{200, media, alive("somebody-elses")}, ok, checks.Unknown},
		"sealed when asked again":     {said{403, media, denial}, said{503, media, bad}, ok, checks.Unknown},
		"bad token as html":           {said{403, media, denial}, said{403, "text/html", bad}, ok, checks.Unknown},
		"portal":                      {said{200, "text/html", portal}, said{403, media, bad}, ok, checks.Unknown},
		"live, and so is every other": {said{}, said{}, said{}, checks.Unknown},
	} {
		t.Run(name, func(t *testing.T) {
			server := serve(t, func(w http.ResponseWriter, r *http.Request) {
				token := r.Header.Get("X-Vault-Token")
				say := test.self
				switch {
				case strings.HasSuffix(r.URL.Path, "/lookup"):
					say = test.asked
				case token == own.Expose():
					say = test.ownSelf
				case say.status == 0:
					say = said{200, media, alive(token)}
				}
				if say.status == 0 {
					t.Errorf("unexpected %s", r.URL.Path)
					say.status = 500
				}
				answer(w, say.status, say.media, say.body)
			})
			p := newProviders(t, Config{VaultAddr: server.URL, VaultToken: own, VaultNamespace: "team"})
			v, err := p.Verify(t.Context(), leaked)
			if err != nil || v.Validity != test.want || v.Grade == GradeA {
				t.Errorf("%+v, %v; want %s", v, err, test.want)
			}
		})
	}
}
