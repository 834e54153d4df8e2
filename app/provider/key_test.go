package provider

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/stanch-dev/stanch/app/provider/servertest"
	"github.com/stanch-dev/stanch/checks"
)

// pkcs8 is a private key as PEM.
func pkcs8(t *testing.T, key any) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

func newRSA(t *testing.T) *rsa.PrivateKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func newEd25519(t *testing.T) ed25519.PrivateKey {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// openssh is a private key as ssh-keygen writes it.
func openssh(t *testing.T, key crypto.PrivateKey, passphrase string) string {
	t.Helper()
	block, err := ssh.MarshalPrivateKey(key, "of a test")
	if passphrase != "" {
		block, err = ssh.MarshalPrivateKeyWithPassphrase(key, "of a test", []byte(passphrase))
	}
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(block))
}

func signerOf(t *testing.T, key any) ssh.Signer {
	t.Helper()
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return signer
}

// However the key is written, its names are those that ssh-keygen and openssl give it.
func TestKeyIdentity(t *testing.T) {
	key := newRSA(t)
	file := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(file, []byte(openssh(t, key, "")), 0o600); err != nil {
		t.Fatal(err)
	}
	said, err := exec.Command(servertest.Program(t, "ssh-keygen", "openssh-client"), "-lf", file).Output()
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Fields(string(said))[1]
	pkcs1 := string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}))
	p := newProviders(t, Config{})
	for name, text := range map[string]string{
		"PKCS#8": pkcs8(t, key), "PKCS#1": pkcs1, "OpenSSH": openssh(t, key, ""), "under a passphrase": openssh(t, key, "open sesame"),
		"escaped": strings.ReplaceAll(pkcs1, "\n", `\n`), "escaped twice": strings.ReplaceAll(pkcs1, "\n", `\\r\\n`),
		"on one line": strings.ReplaceAll(pkcs1, "\n", " "), "indented": strings.ReplaceAll(pkcs1, "\n", "\n    "), "CRLF": strings.ReplaceAll(pkcs1, "\n", "\r\n"),
		"quoted": strings.ReplaceAll(pkcs1, "\n", "\" +\n\""),
	} {
		t.Run(name, func(t *testing.T) {
			v := ask(t, p, credential("private-key", text), checks.Unknown, GradeC)
			if got := v.Evidence.Identity; got["ssh_fingerprint"] != want || got["type"] != "ssh-rsa" || got["spki_sha256"] == "" && name != "under a passphrase" {
				t.Errorf("identity %v, want the fingerprint %s", got, want)
			}
		})
	}
	for _, text := range []string{"", pemHead("RSA "), pkcs1[:400], strings.Replace(pkcs1, "M", "N", 1), strings.Repeat(pemHead(""), 1000)} {
		if _, err := readKey(text); err == nil {
			t.Errorf("%.40q is taken for a key", text)
		}
	}
	for _, other := range []any{newECDSA(t), newEd25519(t)} {
		if got := ask(t, p, credential("private-key", pkcs8(t, other)), checks.Unknown, GradeC).Evidence.Identity; got["spki_sha256"] == "" || got["bits"] != "" {
			t.Errorf("%T: identity %v", other, got)
		}
	}
}

// startSSHD starts a real server that trusts some keys for the account of root or of
// who runs the test. It returns the account and the server's fingerprint.
func startSSHD(t *testing.T, trusted ...ssh.PublicKey) (account, fingerprint string) {
	t.Helper()
	authorized := filepath.Join(servertest.Scratch(t), "authorized_keys")
	var lines []byte
	for _, key := range trusted {
		lines = append(lines, ssh.MarshalAuthorizedKey(key)...)
	}
	if err := os.WriteFile(authorized, lines, 0o600); err != nil {
		t.Fatal(err)
	}
	h := servertest.StartSSHD(t, "AuthorizedKeysFile="+authorized)
	return h.Account, h.Fingerprint
}

func TestSSHKey(t *testing.T) {
	live, dead := newRSA(t), newEd25519(t)
	liveEd := newEd25519(t)
	account, fingerprint := startSSHD(t, signerOf(t, live).PublicKey(), signerOf(t, liveEd).PublicKey())
	p := newProviders(t, Config{SSHAccounts: []string{account + "=" + fingerprint}})
	t.Run("live", func(t *testing.T) {
		for _, text := range []string{pkcs8(t, live), openssh(t, live, ""), openssh(t, live, "open sesame"), openssh(t, liveEd, "")} {
			v := ask(t, p, credential("private-key", text), checks.Active, GradeA)
			if v.Evidence.Identity["account"] != account {
				t.Errorf("identity %v", v.Evidence.Identity)
			}
		}
	})
	t.Run("dead", func(t *testing.T) {
		if v := ask(t, p, credential("private-key", pkcs8(t, dead)), checks.Inactive, GradeB); !v.SelfHosted {
			t.Error("a key that nobody asked trusts is dead everywhere")
		}
	})
	t.Run("another server", func(t *testing.T) {
		other := newProviders(t, Config{SSHAccounts: []string{account + "=SHA256:" + strings.Repeat("a", 43)}})
		if v := ask(t, other, credential("private-key", pkcs8(t, live)), checks.Unknown, GradeC); !strings.Contains(v.Evidence.Answer, errServerKey.Error()) {
			t.Errorf("answer %q", v.Evidence.Answer)
		}
	})
}

// sshServer speaks SSH and judges keys as it likes.
func sshServer(t *testing.T, config *ssh.ServerConfig) (say func(net.Conn), fingerprint string) {
	t.Helper()
	host := signerOf(t, newEd25519(t))
	config.AddHostKey(host)
	return func(c net.Conn) {
		conn, channels, requests, err := ssh.NewServerConn(c, config)
		if err != nil {
			return
		}
		go ssh.DiscardRequests(requests)
		for channel := range channels {
			channel.Reject(ssh.Prohibited, "")
		}
		conn.Wait()
	}, ssh.FingerprintSHA256(host.PublicKey())
}

func TestSSHLies(t *testing.T) {
	key := credential("private-key", pkcs8(t, newEd25519(t)))
	check := func(name string, validity checks.Validity, grade Grade, say func(net.Conn), fingerprint string) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newProviders(t, Config{SSHAccounts: []string{"git@" + raw(t, say) + "=" + fingerprint}})
			if validity == checks.Unknown { // of whom some never end
				p.within = time.Second
			}
			if v := ask(t, p, key, validity, grade); v.Evidence.Answer == "" {
				t.Errorf("%+v", v.Evidence)
			}
		})
	}
	for name, say := range noise {
		check(name, checks.Unknown, GradeC, say, "SHA256:none")
	}
	takes := func(ssh.ConnMetadata, ssh.PublicKey) (*ssh.Permissions, error) { return nil, nil }
	refuses := func(ssh.ConnMetadata, ssh.PublicKey) (*ssh.Permissions, error) { return nil, os.ErrPermission }
	say, fingerprint := sshServer(t, &ssh.ServerConfig{PublicKeyCallback: takes})
	check("accepts everybody", checks.Unknown, GradeC, say, fingerprint)
	say, fingerprint = sshServer(t, &ssh.ServerConfig{NoClientAuth: true})
	check("asks nobody", checks.Unknown, GradeC, say, fingerprint)
	say, fingerprint = sshServer(t, &ssh.ServerConfig{PasswordCallback: func(ssh.ConnMetadata, []byte) (*ssh.Permissions, error) { return nil, os.ErrPermission }})
	check("knows passwords alone", checks.Unknown, GradeC, say, fingerprint)
	say, fingerprint = sshServer(t, &ssh.ServerConfig{PublicKeyCallback: refuses})
	check("refuses everybody", checks.Inactive, GradeB, say, fingerprint)
}

// certified is a TLS server's configuration with a key, and a certificate of its own.
func certified(t *testing.T, key crypto.Signer, of crypto.Signer) *tls.Config {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(0xbeef), NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: time.Now().Add(-time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, of.Public(), of)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
}

func TestTLSKey(t *testing.T) {
	live, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	serving := func(config *tls.Config) func(net.Conn) {
		return func(c net.Conn) { tls.Server(c, config).Handshake() }
	}
	address := raw(t, serving(certified(t, live, live)))
	p := newProviders(t, Config{TLSServers: []string{address}})
	t.Run("live", func(t *testing.T) {
		v := ask(t, p, credential("private-key", pkcs8(t, live)), checks.Active, GradeA)
		if v.Evidence.Identity["server"] != address || v.Evidence.Identity["serial"] != "beef" {
			t.Errorf("identity %v", v.Evidence.Identity)
		}
	})
	t.Run("dead", func(t *testing.T) {
		if v := ask(t, p, credential("private-key", pkcs8(t, newECDSA(t))), checks.Inactive, GradeB); !v.SelfHosted {
			t.Error("a key that no server asked uses is dead everywhere")
		}
	})
	t.Run("a server that has only the certificate", func(t *testing.T) {
		liar := raw(t, serving(certified(t, newECDSA(t), live)))
		p := newProviders(t, Config{TLSServers: []string{liar}})
		ask(t, p, credential("private-key", pkcs8(t, live)), checks.Unknown, GradeC)
	})
	for name, say := range noise {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newProviders(t, Config{TLSServers: []string{raw(t, say)}})
			p.within = time.Second
			ask(t, p, credential("private-key", pkcs8(t, live)), checks.Unknown, GradeC)
		})
	}
	t.Run("with a real server", func(t *testing.T) {
		a := servertest.NewAuthority(t)
		port := servertest.FreePort(t)
		server := exec.Command(servertest.Program(t, "openssl", "openssl"), "s_server", "-quiet", "-accept", "127.0.0.1:"+port, "-cert", a.CertFile, "-key", a.KeyFile)
		server.Stdin, _ = os.Open(os.DevNull)
		servertest.Start(t, server, func() bool {
			conn, err := tls.Dial("tcp", "127.0.0.1:"+port, &tls.Config{InsecureSkipVerify: true})
			if err == nil {
				conn.Close()
			}
			return err == nil
		})
		key, err := os.ReadFile(a.KeyFile)
		if err != nil {
			t.Fatal(err)
		}
		p := newProviders(t, Config{TLSServers: []string{"localhost:" + port}})
		ask(t, p, credential("private-key", string(key)), checks.Active, GradeA)
		ask(t, p, credential("private-key", pkcs8(t, live)), checks.Inactive, GradeB)
	})
}

func TestGitHubKeys(t *testing.T) {
	live, dead := newEd25519(t), newEd25519(t)
	var asked atomic.Int32
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		if r.URL.Path != "/users/octocat/keys" || r.Header.Get("Authorization") != "" {
			answer(w, 404, "application/json", `{"message":"Not Found"}`)
			return
		}
		list, _ := json.Marshal([]map[string]any{{"id": 7, "key": string(ssh.MarshalAuthorizedKey(signerOf(t, live).PublicKey()))}, {"id": 8, "key": "rubbish"}})
		answer(w, 200, "application/json", string(list))
	})
	p := newProviders(t, Config{BaseURLs: map[string]string{"github": server.URL}, GitHubUsers: []string{"octocat"}})
	v := ask(t, p, credential("private-key", openssh(t, live, "")), checks.Active, GradeA)
	if v.Evidence.Identity["github_user"] != "octocat" || v.Evidence.Identity["github_key"] != "7" {
		t.Errorf("identity %v", v.Evidence.Identity)
	}
	ask(t, p, credential("private-key", openssh(t, dead, "")), checks.Inactive, GradeB)
	if n := asked.Load(); n != 1 {
		t.Errorf("GitHub was asked %d times, want once", n)
	}
	for name, lie := range lies {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newProviders(t, Config{BaseURLs: map[string]string{"github": serve(t, lie.handler).URL}, GitHubUsers: []string{"octocat"}})
			p.within = time.Second
			if name == "list" {
				return // of something else: none of them is a key
			}
			ask(t, p, credential("private-key", openssh(t, live, "")), checks.Unknown, GradeC)
		})
	}
}

func TestPlacesOfKeys(t *testing.T) {
	for _, cfg := range []Config{
		{SSHAccounts: []string{"git@host"}}, {SSHAccounts: []string{"host=SHA256:x"}}, {SSHAccounts: []string{"git@10.0.0.0/8=SHA256:x"}},
		{TLSServers: []string{"https://host"}}, {TLSServers: []string{""}}, {GitHubUsers: []string{"../admin"}}, {GitHubUsers: []string{""}},
	} {
		if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), "STANCH_VERIFY_") {
			t.Errorf("%+v: error %v", cfg, err)
		}
	}
	places, err := newPlaces(Config{SSHAccounts: []string{"git@Host=SHA256:x"}, TLSServers: []string{"Host", "::1"}, GitHubUsers: []string{"octo-cat_acme"}}, nil, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, p := range places {
		names = append(names, p.String())
	}
	if got, want := strings.Join(names, ", "), "git@host:22, host:443, [::1]:443, the keys of GitHub's user octo-cat_acme"; got != want {
		t.Errorf("places %s, want %s", got, want)
	}
	if _, fault := (tlsServer{endpoint{name: "127.0.0.1", port: "1"}}).look(t.Context(), publicKey{}); fault != "no connection" {
		t.Errorf("fault %q", fault)
	}
}

// pemHead is the first line of a key of a kind, such as "RSA ".
func pemHead(kind string) string { return "-----BEGIN " + kind + "PRIVATE" + " KEY-----" }
