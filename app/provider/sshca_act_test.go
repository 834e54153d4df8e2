package provider

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"

	"github.com/stanch-dev/stanch/app/grants"
	"github.com/stanch-dev/stanch/app/provider/servertest"
	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/rules"
)

func wantRefusal(t *testing.T, err, kind error, says string) {
	t.Helper()
	if !errors.Is(err, kind) || !strings.Contains(err.Error(), says) {
		t.Errorf("%v; want %v, with %q", err, kind, says)
	}
}

func TestSSHAuthorityLife(t *testing.T) {
	host := servertest.StartSSHD(t)
	b, p := startSSH(t, entry(host))
	for name, key := range map[string]any{"ed25519": newEd25519(t), "rsa": newRSA(t), "ecdsa": newECDSA(t)} {
		t.Run(name, func(t *testing.T) {
			b.Do(b.Root, "DELETE", "ssh/config/ca", nil)
			leaked, line := authority(t, b, "ssh", key)
			host.Trust(t, line)
			target := aimAt(t, p, leaked)
			if got := p.Holds(target); got != "vault ssh" {
				t.Errorf("holds %q", got)
			}
			if moves := p.Moves(target, checks.Credential{}); !strings.Contains(moves, "trusted it when it was found: "+host.Account) || !strings.Contains(moves, "bao read -field=public_key ssh/config/ca") {
				t.Errorf("people are told %s", moves)
			}
			_, err := p.Revoke(t.Context(), target) // before another one signs
			wantRefusal(t, err, ErrCannotRevoke, "press Rotate now first")
			request := prepared(t, p, target, "0198c7a0-op")
			fresh, err := p.Issue(t.Context(), request)
			if err != nil {
				t.Fatal(err)
			}
			request.Again = true
			for range 2 {
				again, err := p.Issue(t.Context(), request)
				if err != nil || again.Secret() != fresh.Secret() || len(sshIssuers(b, "ssh")) != 2 {
					t.Errorf("%v: issued again, %v", err, sshIssuers(b, "ssh"))
				}
			}
			ask(t, p, fresh, checks.Active, GradeB)
			ask(t, p, leaked, checks.Active, GradeA)
			public := b.Must("GET", "ssh/config/ca", nil)["public_key"].(string)
			if public = strings.TrimSpace(public); strings.Fields(public)[0] != strings.Fields(line)[0] || !strings.Contains(p.Moves(target, fresh), "“"+public+"”") {
				t.Errorf("%s signs, and people are told %s", public, p.Moves(target, fresh))
			}
			wantRevoked(t, p, target, rules.MeansRevoked, "no more")
			wantRevoked(t, p, target, rules.MeansAlreadyDead, "")
			if len(sshIssuers(b, "ssh")) != 1 {
				t.Errorf("%v", sshIssuers(b, "ssh"))
			}
			if v := ask(t, p, leaked, checks.Active, GradeA); p.About(v, target.Identity).Validity != checks.Active {
				t.Error("a host trusts it still")
			}
			host.Trust(t, public)
			ask(t, p, leaked, checks.Inactive, GradeB)
			ask(t, p, fresh, checks.Active, GradeB)
		})
	}
}

// loseAnswers stands before a server; what POST and DELETE are answered gets lost.
func loseAnswers(t *testing.T, addr string) string {
	t.Helper()
	to, err := url.Parse(addr)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(to)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			proxy.ServeHTTP(w, r)
			return
		}
		proxy.ServeHTTP(httptest.NewRecorder(), r)
		panic(http.ErrAbortHandler)
	}))
	t.Cleanup(s.Close)
	return s.URL
}

func TestSSHAuthorityLostAnswers(t *testing.T) {
	b, p := startSSH(t)
	leaked, _ := authority(t, b, "ssh", newEd25519(t))
	target := aimAt(t, p, leaked)
	request := prepared(t, p, target, "op")
	p.vault.addr = loseAnswers(t, b.Addr)
	if _, err := p.Issue(t.Context(), request); err == nil || errors.Is(err, ErrCannotIssue) {
		t.Errorf("%v: nobody knows what came of it", err)
	}
	p.vault.addr, request.Again = b.Addr, true
	if _, err := p.Issue(t.Context(), request); err != nil || len(sshIssuers(b, "ssh")) != 2 {
		t.Errorf("%v, %v", err, sshIssuers(b, "ssh"))
	}
	p.vault.addr = loseAnswers(t, b.Addr)
	if _, err := p.Revoke(t.Context(), target); err == nil {
		t.Error("an answer that was lost is taken for one")
	}
	p.vault.addr = b.Addr
	wantRevoked(t, p, target, rules.MeansAlreadyDead, "")
}

// Nobody else's authority is touched, and none that somebody signs with.
func TestSSHAuthorityVictims(t *testing.T) {
	b, p := startSSH(t)
	key := newEd25519(t)
	leaked, _ := authority(t, b, "ssh", key)
	authority(t, b, "team/ssh", newEd25519(t))
	target := aimAt(t, p, leaked)
	t.Run("in two engines", func(t *testing.T) {
		b.Must("DELETE", "team/ssh/config/ca", nil)
		authority(t, b, "team/ssh", key)
		_, err := p.Prepare(t.Context(), target, "op")
		wantRefusal(t, err, ErrCannotIssue, "and team/ssh/issuer/")
		_, err = p.Revoke(t.Context(), target)
		wantRefusal(t, err, ErrCannotRevoke, "and team/ssh/issuer/")
		b.Must("DELETE", "team/ssh/config/ca", nil)
		authority(t, b, "team/ssh", newEd25519(t))
	})
	request := prepared(t, p, target, "op")
	if _, err := p.Issue(t.Context(), request); err != nil {
		t.Fatal(err)
	}
	t.Run("a role names it", func(t *testing.T) {
		id := target.Identity[sshIssuerPath][len("ssh/issuer/"):]
		b.Must("POST", "ssh/roles/ops", map[string]any{"key_type": "ca", "allow_user_certificates": true, "allowed_users": "*", "issuer_ref": id})
		b.Must("POST", "ssh/roles/dev", map[string]any{"key_type": "ca", "allow_user_certificates": true, "allowed_users": "*"})
		_, err := p.Revoke(t.Context(), target)
		wantRefusal(t, err, ErrCannotRevoke, "no other: ops: give")
		b.Must("DELETE", "ssh/roles/ops", nil)
	})
	t.Run("it is the default again", func(t *testing.T) {
		id := target.Identity[sshIssuerPath][len("ssh/issuer/"):]
		before := b.Must("GET", "ssh/config/issuers", nil)["default"]
		b.Must("POST", "ssh/config/issuers", map[string]any{"default": id})
		_, err := p.Revoke(t.Context(), target)
		wantRefusal(t, err, ErrCannotRevoke, "signs with")
		_, err = p.Issue(t.Context(), request)
		wantRefusal(t, err, ErrCannotIssue, "bao write ssh/config/issuers default="+before.(string))
		b.Must("POST", "ssh/config/issuers", map[string]any{"default": before})
	})
	t.Run("another key by the id that it had", func(t *testing.T) {
		other := credential("private-key", openssh(t, newEd25519(t), ""))
		wantRevoked(t, p, Target{other, target.Identity}, rules.MeansAlreadyDead, "")
		_, err := p.Revoke(t.Context(), Target{other, nil})
		wantRefusal(t, err, ErrCannotRevoke, "no SSH engine")
	})
	if len(sshIssuers(b, "ssh")) != 2 || len(sshIssuers(b, "team/ssh")) != 1 {
		t.Errorf("%v, %v", sshIssuers(b, "ssh"), sshIssuers(b, "team/ssh"))
	}
	wantRevoked(t, p, target, rules.MeansRevoked, "")
	if len(sshIssuers(b, "team/ssh")) != 1 {
		t.Error("the other engine's authority is gone")
	}
}

func TestVaultSSHPolicyIsMinimal(t *testing.T) {
	b, _ := startSSH(t)
	begin := func(t *testing.T) (Target, func(*Providers) error) {
		b.Do(b.Root, "DELETE", "ssh/config/ca", nil)
		leaked, _ := authority(t, b, "ssh", newEd25519(t))
		root := newProviders(t, Config{VaultAddr: b.Addr, VaultToken: checks.NewSecret(b.Root), VaultSSHMounts: []string{"ssh"}})
		target := aimAt(t, root, leaked)
		issue := func(p *Providers) error {
			prepared, err := p.Prepare(t.Context(), target, "op")
			if err != nil {
				return err
			}
			_, err = p.Issue(t.Context(), Request{Old: target, Operation: "op", Prepared: prepared})
			return err
		}
		return target, func(p *Providers) error {
			if p == nil {
				return issue(root)
			}
			return issue(p)
		}
	}
	b.Must("POST", "ssh/roles/dev", map[string]any{"key_type": "ca", "allow_user_certificates": true, "allowed_users": "*"})
	actions := map[string]func(*testing.T, *Providers) error{
		"verify": func(t *testing.T, p *Providers) error {
			target, _ := begin(t)
			v, err := p.VerifyAgain(t.Context(), target.Credential)
			if v.Validity != checks.Active {
				err = errors.Join(err, errors.New(v.Evidence.Answer))
			}
			return err
		},
		"issue": func(t *testing.T, p *Providers) error {
			_, issue := begin(t)
			return issue(p)
		},
		"revoke": func(t *testing.T, p *Providers) error {
			target, issue := begin(t)
			if err := issue(nil); err != nil {
				return err
			}
			_, err := p.Revoke(t.Context(), target)
			return err
		},
	}
	wantMinimal(t, b, grants.Policy{}, VaultSSHPolicy("ssh"), Config{VaultSSHMounts: []string{"ssh"}}, actions)
	t.Run("nobody's key is put in", func(t *testing.T) {
		token := b.Token(map[string]any{"policies": []string{"policy-none"}, "no_default_policy": true})
		b.Policy("policy-none", written(VaultSSHPolicy("ssh")))
		status, _ := b.Do(token, "POST", "ssh/issuers/import/mine", map[string]any{"private_key": openssh(t, newEd25519(t), "")})
		if status != http.StatusForbidden {
			t.Errorf("%d", status)
		}
	})
}
