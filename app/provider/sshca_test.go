package provider

import (
	"crypto/ed25519"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/stanch-dev/stanch/app/provider/servertest"
	"github.com/stanch-dev/stanch/app/secretstore/baotest"
	"github.com/stanch-dev/stanch/checks"
)

// authority has an engine sign with a key, and returns the key as it leaks and the line
// that hosts trust.
func authority(t *testing.T, b *baotest.Server, mount string, key any) (leaked checks.Credential, line string) {
	t.Helper()
	text := openssh(t, key, "")
	line = strings.TrimSpace(string(ssh.MarshalAuthorizedKey(signerOf(t, key).PublicKey())))
	b.Must("POST", mount+"/config/ca", map[string]any{"private_key": text, "public_key": line})
	return credential("private-key", text), line
}

func startSSH(t *testing.T, hosts ...string) (*baotest.Server, *Providers) {
	t.Helper()
	b := baotest.Start(t)
	for _, mount := range []string{"ssh", "team/ssh"} {
		b.Must("POST", "sys/mounts/"+mount, map[string]any{"type": "ssh"})
	}
	return b, sshKeeper(t, b, hosts...)
}

func sshKeeper(t *testing.T, b *baotest.Server, hosts ...string) *Providers {
	t.Helper()
	text := written(VaultSSHPolicy("ssh")) + written(VaultSSHPolicy("team/ssh"))
	return holding(t, b, text, Config{VaultSSHMounts: []string{"ssh", "team/ssh/"}, SSHHosts: hosts})
}

func entry(h servertest.SSHD) string { return h.Account + "=" + h.Fingerprint }

// sshIssuers lists the issuers of a mount, by their ids.
func sshIssuers(b *baotest.Server, mount string) map[string]any {
	_, data := b.Do(b.Root, "LIST", mount+"/issuers", nil)
	all, _ := data["key_info"].(map[string]any)
	return all
}

// wantUnheard checks that nobody concludes that an authority is dead.
func wantUnheard(t *testing.T, p *Providers, target Target, says string) {
	t.Helper()
	v, err := p.VerifyAgain(t.Context(), target.Credential)
	if v = p.About(v, target.Identity); err != nil || v.Validity != checks.Unknown || !strings.Contains(v.Evidence.Answer, says) {
		t.Errorf("%+v, %v; want unknown, with %q", v, err, says)
	}
}

// Of each kind of key: as long as its engine or a host has it, it is live, however the
// hosts are told to trust it.
func TestSSHAuthorityVerify(t *testing.T) {
	one := servertest.StartSSHD(t)
	other := servertest.StartSSHD(t)
	b, p := startSSH(t, entry(one), entry(other))
	for name, key := range map[string]any{"ed25519": newEd25519(t), "rsa": newRSA(t), "ecdsa": newECDSA(t)} {
		t.Run(name, func(t *testing.T) {
			leaked, line := authority(t, b, "team/ssh", key)
			one.Trust(t, line)
			v := ask(t, p, leaked, checks.Active, GradeA)
			if got := v.Evidence.Identity; !strings.HasPrefix(got[sshIssuerPath], "team/ssh/issuer/") || got[sshTrusting] != one.Account {
				t.Errorf("identity %v", got)
			}
			target := Target{leaked, v.Evidence.Identity}
			b.Must("DELETE", "team/ssh/config/ca", nil)
			v = ask(t, p, leaked, checks.Active, GradeA)
			if v.Evidence.Identity[sshIssuerPath] != "" || !strings.Contains(v.Evidence.Answer, one.Account) {
				t.Errorf("%+v: a host trusts it alone", v.Evidence)
			}
			one.Refuse(t, line)
			v = ask(t, p, leaked, checks.Inactive, GradeB)
			if v = p.About(v, target.Identity); v.Validity != checks.Inactive || !v.SelfHosted {
				t.Errorf("%+v: all hosts refuse it", v)
			}
			one.Refuse(t)
			one.Trust(t)
			ask(t, p, leaked, checks.Inactive, GradeB)
			wantUnheard(t, sshKeeper(t, b), target, "STANCH_SSH_HOSTS")
			untrusted := Target{leaked, map[string]string{sshIssuerPath: target.Identity[sshIssuerPath]}}
			wantUnheard(t, sshKeeper(t, b, entry(one)), untrusted, "was ever seen to trust it")
			wantUnheard(t, newProviders(t, Config{SSHHosts: []string{entry(one)}}), target, "team/ssh, which had it")
			wantUnheard(t, sshKeeper(t, b, entry(other)), target, one.Account+", which trusted it")
			other.Trust(t, line) // the last of them counts as well
			ask(t, p, leaked, checks.Active, GradeA)
			other.Trust(t)
		})
	}
}

// A host that does not answer, or is another one, has refused nothing.
func TestSSHAuthorityHostsThatSayNothing(t *testing.T) {
	host := servertest.StartSSHD(t)
	b, p := startSSH(t)
	leaked, line := authority(t, b, "ssh", newEd25519(t))
	target := aimAt(t, p, leaked)
	b.Must("DELETE", "ssh/config/ca", nil)
	down := "root@127.0.0.1:" + servertest.FreePort(t) + "=" + host.Fingerprint
	for name, entries := range map[string][]string{
		"down":          {entry(host), down},
		"another":       {host.Account + "=SHA256:" + strings.Repeat("a", 43)},
		"tries too few": {entry(servertest.StartSSHD(t, "MaxAuthTries=1"))},
	} {
		t.Run(name, func(t *testing.T) {
			p := sshKeeper(t, b, entries...)
			wantUnheard(t, p, target, "of the hosts that may trust it, root@127.0.0.1:")
			// Of others it says nothing.
			ask(t, p, credential("private-key", openssh(t, newEd25519(t), "")), checks.Inactive, GradeB)
		})
	}
	t.Run("one is down, and one trusts it", func(t *testing.T) {
		host.Trust(t, line)
		defer host.Trust(t)
		ask(t, sshKeeper(t, b, down, entry(host)), leaked, checks.Active, GradeA)
	})
	t.Run("the engine is down", func(t *testing.T) {
		ask(t, newProviders(t, Config{
			VaultAddr: "http://127.0.0.1:" + servertest.FreePort(t), VaultToken: checks.NewSecret("t"), VaultSSHMounts: []string{"ssh"}, SSHHosts: []string{entry(host)},
		}), leaked, checks.Unknown, GradeC)
	})
	t.Run("no such engine", func(t *testing.T) {
		for _, mount := range []string{"nowhere", "secret"} {
			p := holding(t, b, `path "*" { capabilities = ["read", "list"] }`, Config{VaultSSHMounts: []string{mount}, SSHHosts: []string{entry(host)}})
			ask(t, p, leaked, checks.Unknown, GradeC)
		}
	})
	t.Run("encrypted", func(t *testing.T) {
		locked := credential("private-key", openssh(t, newEd25519(t), "open sesame"))
		wantUnheard(t, sshKeeper(t, b, entry(host)), Target{locked, target.Identity}, "encrypted")
	})
}

// Certificates may name a principal that is not the user, and a clock may be wrong.
func TestSSHHostPrincipals(t *testing.T) {
	names := filepath.Join(servertest.Scratch(t), "principals")
	if err := os.WriteFile(names, []byte("web-admins\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	host := servertest.StartSSHD(t, "AuthorizedPrincipalsFile="+names)
	key := newEd25519(t)
	host.Trust(t, strings.TrimSpace(string(ssh.MarshalAuthorizedKey(signerOf(t, key).PublicKey()))))
	leaked := credential("private-key", openssh(t, key, ""))
	ask(t, newProviders(t, Config{SSHHosts: []string{"web-admins/" + entry(host)}}), leaked, checks.Active, GradeA)
	h, err := parseSSHHost("web-admins/" + entry(host))
	if err != nil {
		t.Fatal(err)
	}
	for _, off := range []time.Duration{-23 * time.Hour, 23 * time.Hour} {
		if trusted, why := h.trusts(t.Context(), signerOf(t, key), time.Now().Add(off)); !trusted || why != "" {
			t.Errorf("a clock that is wrong by %s: %v, %s", off, trusted, why)
		}
	}
	for _, text := range []string{"", "root@h", "root@h=MD5:1", "/root@h=SHA256:x", "a/@h=SHA256:x"} {
		if _, err := New(Config{SSHHosts: []string{text}}); err == nil || !strings.Contains(err.Error(), "STANCH_SSH_HOSTS, entry 1") {
			t.Errorf("%q: %v", text, err)
		}
	}
	if _, err := New(Config{SSHHosts: make([]string, maxSSHHosts+1)}); err == nil || !strings.Contains(err.Error(), "more than") {
		t.Error(err)
	}
}

// What hosts are asked about nobody can log in with, and they run nothing.
func TestSSHHostsRunNothing(t *testing.T) {
	key, file := newEd25519(t), filepath.Join(servertest.Scratch(t), "ran")
	host := servertest.StartSSHD(t, "ForceCommand="+exec.Command("touch", file).String())
	host.Trust(t, strings.TrimSpace(string(ssh.MarshalAuthorizedKey(signerOf(t, key).PublicKey()))))
	ask(t, newProviders(t, Config{SSHHosts: []string{entry(host)}}), credential("private-key", openssh(t, key, "")), checks.Active, GradeA)
	if _, err := os.Stat(file); err == nil {
		t.Error("something was run")
	}
}

// likeVault stands before an OpenBao server and knows no issuers, as Vault does not. What it
// passes on is as it was.
func likeVault(t *testing.T, b *baotest.Server) string {
	t.Helper()
	to, err := url.Parse(b.Addr)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(to)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.Path, "/issuer") {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusNotFound)
			w.Write([]byte(`{"errors":["1 error occurred:\n\t* unsupported path\n\n"]}`))
			return
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// An engine with one authority alone is left to a person, who is told the commands.
func TestSSHAuthorityAlone(t *testing.T) {
	b, p := startSSH(t)
	p.vault.addr = likeVault(t, b)
	ask(t, p, credential("private-key", openssh(t, newEd25519(t), "")), checks.Inactive, GradeB) // it has none yet
	leaked, _ := authority(t, b, "ssh", newEd25519(t))
	target := aimAt(t, p, leaked)
	if target.Identity[sshIssuerPath] != "ssh/config/ca" {
		t.Errorf("identity %v", target.Identity)
	}
	_, err := p.Issue(t.Context(), prepared(t, p, target, "op"))
	wantRefusal(t, err, ErrCannotIssue, "vault secrets enable -path=ssh-new ssh")
	_, err = p.Revoke(t.Context(), target)
	wantRefusal(t, err, ErrCannotRevoke, "vault delete ssh/config/ca")
	if len(sshIssuers(b, "ssh")) != 1 {
		t.Error("something was made or deleted")
	}
	ask(t, p, credential("private-key", openssh(t, ed25519.NewKeyFromSeed(make([]byte, 32)), "")), checks.Inactive, GradeB)
}
