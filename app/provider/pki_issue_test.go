package provider

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stanch-dev/stanch/app/secretstore/baotest"
	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/rules"
)

// A pkiWorld is a PKI engine of its own with roles, and providers that may use it.
type pkiWorld struct {
	t     *testing.T
	bao   *baotest.Server
	mount string
	p     *Providers
}

// pkiRoles are the roles of a pkiWorld: for servers, for clients of the same names, for
// another domain, and one that keeps no certificates.
var pkiRoles = map[string]map[string]any{
	"web":    {"allowed_domains": "acme.net", "allow_subdomains": true, "client_flag": false, "key_type": "any", "max_ttl": "72h", "ou": "shop", "allow_ip_sans": true, "allowed_uri_sans": "spiffe://acme/*"},
	"client": {"allowed_domains": "acme.net", "allow_subdomains": true, "server_flag": false, "key_type": "any", "max_ttl": "72h"},
	"other":  {"allowed_domains": "example.net", "allow_subdomains": true, "client_flag": false, "key_type": "any", "max_ttl": "72h"},
	"fast":   {"allow_any_name": true, "client_flag": false, "key_type": "any", "no_store": true, "max_ttl": "72h"},
}

func newPKIWorld(t *testing.T, b *baotest.Server, roles map[string]map[string]any, cfg Config) *pkiWorld {
	t.Helper()
	w := &pkiWorld{t: t, bao: b, mount: "pki-" + random(t)}
	b.Must("POST", "sys/mounts/"+w.mount, map[string]any{"type": "pki", "config": map[string]any{"max_lease_ttl": "87600h"}})
	b.Must("POST", w.mount+"/root/generate/internal", map[string]any{"common_name": "test", "ttl": "8760h"})
	for name, role := range roles {
		b.Must("POST", w.mount+"/roles/"+name, role)
	}
	cfg.VaultPKIMounts = []string{w.mount}
	for n, role := range cfg.VaultPKIRoles {
		cfg.VaultPKIRoles[n] = w.mount + "/" + role
	}
	w.p = holding(t, b, written(VaultPKIPolicy(w.mount)), cfg)
	return w
}

// leaf has a role certify a key for a server's names.
func (w *pkiWorld) leaf(role string, key crypto.Signer, more map[string]any) *x509.Certificate {
	w.t.Helper()
	der, err := x509.CreateCertificateRequest(nil, &x509.CertificateRequest{}, key)
	if err != nil {
		w.t.Fatal(err)
	}
	body := map[string]any{"csr": string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})), "common_name": "shop.acme.net", "ttl": "24h"}
	maps.Copy(body, more)
	w.bao.Must("POST", w.mount+"/roles/issued-by-"+role, withNames(pkiRoles[role]))
	text := fmt.Sprint(w.bao.Must("POST", w.mount+"/sign/issued-by-"+role, body)["certificate"])
	w.bao.Do(w.bao.Root, "DELETE", w.mount+"/roles/issued-by-"+role, nil)
	return readCertificates(text)[0]
}

// withNames is a role that takes the names that it is told beside a request.
func withNames(role map[string]any) map[string]any {
	role = maps.Clone(role)
	role["use_csr_common_name"], role["use_csr_sans"] = false, false
	return role
}

// serial is a serial as Vault writes it.
func serial(c *x509.Certificate) string {
	var parts []string
	for _, b := range c.SerialNumber.Bytes() {
		parts = append(parts, fmt.Sprintf("%02x", b))
	}
	return strings.Join(parts, ":")
}

func (w *pkiWorld) revoked(c *x509.Certificate) bool {
	return revokedAt(w.bao, w.mount, serial(c)) != 0.0
}

// replaced is what a replacement is, taken apart.
func (w *pkiWorld) replaced(fresh checks.Credential) (*x509.Certificate, tls.Certificate) {
	w.t.Helper()
	chain := fresh.Parts[partCertificate].Expose() + "\n" + fresh.Parts[partChain].Expose()
	pair, err := tls.X509KeyPair([]byte(chain), []byte(fresh.Secret().Expose()))
	if err != nil {
		w.t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(readCertificates(fresh.Parts[partChain].Expose())[0])
	leaf := readCertificates(chain)[0]
	if _, err := leaf.Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}); err != nil {
		w.t.Error(err)
	}
	return leaf, pair
}

// live counts the certificates of a mount that are neither revoked nor an authority's.
func (w *pkiWorld) live() (n int) {
	names, _ := w.bao.Must("LIST", w.mount+"/certs", nil)["keys"].([]any)
	for _, name := range names {
		data := w.bao.Must("GET", w.mount+"/cert/"+fmt.Sprint(name), nil)
		if c := readCertificates(fmt.Sprint(data["certificate"]))[0]; !c.IsCA && data["revocation_time"] == 0.0 {
			n++
		}
	}
	return n
}

func newECDSAOf(t *testing.T, curve elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestPKIReissue(t *testing.T) {
	b := baotest.Start(t)
	w := newPKIWorld(t, b, pkiRoles, Config{})
	ofRSA, ofEC := newRSA(t), newECDSAOf(t, elliptic.P384())
	sec1, err := x509.MarshalECPrivateKey(ofEC)
	if err != nil {
		t.Fatal(err)
	}
	more := map[string]any{"alt_names": "shop.acme.net,www.acme.net", "ip_sans": "10.1.2.3", "uri_sans": "spiffe://acme/shop", "ttl": "36h"}
	for name, test := range map[string]struct {
		key  crypto.Signer
		text string
		head string
	}{
		"PKCS #8": {newECDSA(t), "", "PRIVATE"}, "Ed25519": {newEd25519(t), "", "PRIVATE"},
		"PKCS #1": {ofRSA, pemText("RSA PRIVATE", x509.MarshalPKCS1PrivateKey(ofRSA)), "RSA PRIVATE"},
		"SEC 1":   {ofEC, pemText("EC PRIVATE", sec1), "EC PRIVATE"},
	} {
		t.Run(name, func(t *testing.T) {
			w.t = t
			if test.text == "" {
				test.text = pkcs8(t, test.key)
			}
			old := w.leaf("web", test.key, more)
			leaked := aimAt(t, w.p, credential("private-key", test.text))
			request := prepared(t, w.p, leaked, "op-"+random(t))
			if draft := request.Prepared.Draft.Secret().Expose(); !strings.HasPrefix(draft, pemHead(strings.TrimSuffix(test.head, "PRIVATE"))) {
				t.Errorf("the new key is not written as the old one: %.40s", draft)
			}
			fresh, err := w.p.Issue(t.Context(), request)
			if err != nil {
				t.Fatal(err)
			}
			leaf, _ := w.replaced(fresh)
			if why := differs(old, leaf); why != "" || leaf.SerialNumber.Cmp(old.SerialNumber) == 0 || leaf.NotAfter.Sub(leaf.NotBefore) != old.NotAfter.Sub(old.NotBefore) {
				t.Errorf("not like the old one: %s; for %s in place of %s", why, leaf.NotAfter.Sub(leaf.NotBefore), old.NotAfter.Sub(old.NotBefore))
			}
			if got, want := fmt.Sprint(leaf.DNSNames, leaf.IPAddresses, leaf.URIs, leaf.Subject), "[shop.acme.net www.acme.net] [10.1.2.3] [spiffe://acme/shop] CN=shop.acme.net,OU=shop"; got != want {
				t.Errorf("%s, want %s", got, want)
			}
			if bits(test.key.Public()) != bits(leaf.PublicKey) {
				t.Errorf("a key of %T, %d bits in place of %d", leaf.PublicKey, bits(leaf.PublicKey), bits(test.key.Public()))
			}
			mustBe(t, w.p, fresh, checks.Active)
			mustBe(t, w.p, leaked.Credential, checks.Active)
			wantRevoked(t, w.p, leaked, rules.MeansRevoked, "1 of its 1")
			mustBe(t, w.p, leaked.Credential, checks.Inactive)
			mustBe(t, w.p, fresh, checks.Active)
			if !w.revoked(old) || w.revoked(leaf) {
				t.Error("the wrong one was revoked")
			}
			wantRevoked(t, w.p, Target{Credential: fresh}, rules.MeansRevoked, "1 of its 1") // as one that is discarded
			if n := w.live(); n != 0 {
				t.Errorf("%d certificates live on", n)
			}
		})
	}
}

func pemText(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind + " KEY", Bytes: der}))
}

func bits(key crypto.PublicKey) int {
	switch k := key.(type) {
	case *rsa.PublicKey:
		return k.N.BitLen()
	case *ecdsa.PublicKey:
		return k.Curve.Params().BitSize
	}
	return 0
}

// A connection with the replacement works for whoever trusts the authority, and the old
// certificate is on its revocation list.
func TestPKIReissuedServes(t *testing.T) {
	b := baotest.Start(t)
	w := newPKIWorld(t, b, pkiRoles, Config{})
	key := newECDSA(t)
	old := w.leaf("web", key, nil)
	leaked := aimAt(t, w.p, credential("private-key", pkcs8(t, key)))
	fresh, err := w.p.Issue(t.Context(), prepared(t, w.p, leaked, "op"))
	if err != nil {
		t.Fatal(err)
	}
	_, pair := w.replaced(fresh)
	roots := x509.NewCertPool()
	roots.AddCert(readCertificates(fresh.Parts[partChain].Expose())[0])
	server, client := net.Pipe()
	go tls.Server(server, &tls.Config{Certificates: []tls.Certificate{pair}}).Handshake()
	if err := tls.Client(client, &tls.Config{RootCAs: roots, ServerName: "shop.acme.net"}).HandshakeContext(t.Context()); err != nil {
		t.Error(err)
	}
	receipt, err := w.p.Revoke(t.Context(), leaked)
	if err != nil || strings.Contains(receipt.Evidence.Answer, "list") {
		t.Errorf("%+v, %v; want it to be on the revocation list", receipt, err)
	}
	block, _ := pem.Decode([]byte(fmt.Sprint(b.Must("GET", w.mount+"/issuer/default/crl", nil)["crl"])))
	list, err := x509.ParseRevocationList(block.Bytes)
	if err != nil || len(list.RevokedCertificateEntries) != 1 || list.RevokedCertificateEntries[0].SerialNumber.Cmp(old.SerialNumber) != 0 {
		t.Errorf("%+v, %v; want the old one there alone", list, err)
	}
	b.Must("POST", w.mount+"/config/crl", map[string]any{"auto_rebuild": true, "auto_rebuild_grace_period": "12h", "expiry": "72h"})
	again := newECDSA(t)
	w.leaf("web", again, nil)
	wantRevoked(t, w.p, aimAt(t, w.p, credential("private-key", pkcs8(t, again))), rules.MeansRevoked, "1 are not on their issuer's revocation list yet")
}

// losing is a server of which the answers to some requests get lost.
func losing(t *testing.T, b *baotest.Server, lost string, n int) *baotest.Server {
	t.Helper()
	u, err := url.Parse(b.Addr)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(u)
	proxy.ModifyResponse = func(r *http.Response) error {
		if n > 0 && strings.Contains(r.Request.URL.Path, lost) {
			n--
			return errLost
		}
		return nil
	}
	proxy.ErrorHandler = func(w http.ResponseWriter, r *http.Request, _ error) {
		if r.Method == http.MethodGet { // which the client repeats when the connection breaks
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		panic(http.ErrAbortHandler)
	}
	other := *b
	other.Addr = serve(t, proxy.ServeHTTP).URL
	return &other
}

func TestPKIReissueAgain(t *testing.T) {
	b := baotest.Start(t)
	for name, lost := range map[string]string{"the signature": "/sign/", "the issuers": "/issuers", "an issuer": "/json"} {
		t.Run(name, func(t *testing.T) {
			w := newPKIWorld(t, b, pkiRoles, Config{})
			w.p = holding(t, losing(t, b, lost, 1), written(VaultPKIPolicy(w.mount)), Config{VaultPKIMounts: []string{w.mount}})
			key := newECDSA(t)
			old := w.leaf("web", key, nil)
			request := prepared(t, w.p, aimAt(t, w.p, credential("private-key", pkcs8(t, key))), "op")
			if _, err := w.p.Issue(t.Context(), request); err == nil || errors.Is(err, ErrCannotIssue) {
				t.Fatalf("%v, want an error that is not definite", err)
			}
			request.Again = true
			first, err := w.p.Issue(t.Context(), request)
			if err != nil {
				t.Fatal(err)
			}
			second, err := w.p.Issue(t.Context(), request)
			if err != nil || first.Parts[partCertificate] != second.Parts[partCertificate] {
				t.Errorf("asked once more, it is another one: %v", err)
			}
			if n := w.live(); n != 2 || w.revoked(old) {
				t.Errorf("%d live, want the old one and one new one", n)
			}
		})
	}
	t.Run("a request that came late", func(t *testing.T) {
		w := newPKIWorld(t, b, pkiRoles, Config{})
		key := newECDSA(t)
		w.leaf("web", key, nil)
		request := prepared(t, w.p, aimAt(t, w.p, credential("private-key", pkcs8(t, key))), "op")
		draft, err := readKey(request.Prepared.Draft.Secret().Expose())
		if err != nil {
			t.Fatal(err)
		}
		private, err := x509.ParsePKCS8PrivateKey(first(pem.Decode([]byte(draft.private.Expose()))).Bytes)
		if err != nil {
			t.Fatal(err)
		}
		w.leaf("web", private.(crypto.Signer), nil)
		w.leaf("web", private.(crypto.Signer), nil)
		request.Again = true
		fresh, err := w.p.Issue(t.Context(), request)
		if err != nil {
			t.Fatal(err)
		}
		if leaf, _ := w.replaced(fresh); w.live() != 2 || w.revoked(leaf) {
			t.Errorf("%d live, want the old one and one new one", w.live())
		}
	})
}

func first[A, B any](a A, _ B) A { return a }

// The clock of Providers is the test's, so that certificates have run out.
func TestPKIReissueVictims(t *testing.T) {
	b := baotest.Start(t)
	now := time.Now
	w := newPKIWorld(t, b, pkiRoles, Config{Now: func() time.Time { return now() }})
	leaked := func(key crypto.Signer) Target { return Target{Credential: credential("private-key", pkcs8(t, key))} }
	refused := func(t *testing.T, key crypto.Signer, says string) {
		t.Helper()
		if _, err := w.p.Prepare(t.Context(), leaked(key), "op"); !errors.Is(err, ErrCannotIssue) || !strings.Contains(err.Error(), says) {
			t.Errorf("%v; want that it cannot, and %q", err, says)
		}
	}
	t.Run("the same names, another key", func(t *testing.T) {
		key := newECDSA(t)
		mine, bystander, late := w.leaf("web", key, nil), w.leaf("web", newECDSA(t), nil), w.leaf("web", newECDSA(t), nil)
		if _, err := w.p.Issue(t.Context(), prepared(t, w.p, leaked(key), "op")); err != nil {
			t.Fatal(err)
		}
		wantRevoked(t, w.p, leaked(key), rules.MeansRevoked, "1 of its 1")
		if !w.revoked(mine) || w.revoked(bystander) || w.revoked(late) {
			t.Error("the wrong one was revoked")
		}
	})
	t.Run("renewed with the same key", func(t *testing.T) {
		key := newECDSA(t)
		short, long := w.leaf("web", key, map[string]any{"ttl": "1h"}), w.leaf("web", key, map[string]any{"ttl": "30h"})
		fresh, err := w.p.Issue(t.Context(), prepared(t, w.p, leaked(key), "op"))
		if err != nil {
			t.Fatal(err)
		}
		renewed := w.leaf("web", key, nil) // by somebody who does not know
		wantRevoked(t, w.p, leaked(key), rules.MeansRevoked, "3 of its 3")
		leaf, _ := w.replaced(fresh)
		if !w.revoked(short) || !w.revoked(long) || !w.revoked(renewed) || w.revoked(leaf) {
			t.Error("not each one of the leaked key was revoked, or another one was")
		}
		if leaf.NotAfter.Sub(leaf.NotBefore) != long.NotAfter.Sub(long.NotBefore) {
			t.Errorf("for %s, want as long as the latest one", leaf.NotAfter.Sub(leaf.NotBefore))
		}
	})
	t.Run("revoked before it is replaced", func(t *testing.T) {
		key := newECDSA(t)
		old := w.leaf("web", key, nil)
		wantRevoked(t, w.p, leaked(key), rules.MeansRevoked, "1 of its 1")
		fresh, err := w.p.Issue(t.Context(), prepared(t, w.p, leaked(key), "op"))
		if err != nil {
			t.Fatal(err)
		}
		if leaf, _ := w.replaced(fresh); differs(old, leaf) != "" {
			t.Error(differs(old, leaf))
		}
	})
	t.Run("for two purposes", func(t *testing.T) {
		key := newECDSA(t)
		one, other := w.leaf("web", key, nil), w.leaf("web", key, map[string]any{"common_name": "mail.acme.net"})
		refused(t, key, "more than one purpose")
		wantRevoked(t, w.p, leaked(key), rules.MeansRevoked, "2 of its 2")
		if !w.revoked(one) || !w.revoked(other) {
			t.Error("one of them lives on")
		}
	})
	t.Run("of nobody", func(t *testing.T) { refused(t, newECDSA(t), "no engine of STANCH_VAULT_PKI_MOUNTS") })
	t.Run("run out", func(t *testing.T) {
		key := newECDSA(t)
		w.leaf("web", key, nil)
		now = func() time.Time { return time.Now().Add(80 * time.Hour) }
		defer func() { now = time.Now }()
		refused(t, key, "have run out")
	})
}

func TestPKIRoles(t *testing.T) {
	b := baotest.Start(t)
	twice := maps.Clone(pkiRoles)
	twice["web2"] = pkiRoles["web"]
	renamed := maps.Clone(pkiRoles["web"])
	renamed["ou"] = "elsewhere"
	wildcard := map[string]any{"allow_any_name": true, "client_flag": false, "key_type": "any", "max_ttl": "72h", "ou": "shop"}
	for name, test := range map[string]struct {
		roles map[string]map[string]any
		named []string
		cn    string
		says  string // of the refusal
	}{
		"one fits":             {pkiRoles, nil, "shop.acme.net", ""},
		"one of two is named":  {twice, []string{"web2"}, "shop.acme.net", ""},
		"two are named":        {twice, []string{"web2", "client"}, "shop.acme.net", ""},
		"two fit":              {twice, nil, "shop.acme.net", "2 roles may have signed it (web"},
		"the named does not":   {pkiRoles, []string{"other"}, "shop.acme.net", "none of the roles"},
		"there is none such":   {pkiRoles, []string{"gone"}, "shop.acme.net", "/roles/gone answered: 404"},
		"any name":             {map[string]map[string]any{"any": wildcard, "other": pkiRoles["other"]}, nil, "shop.acme.net", ""},
		"another key":          {map[string]map[string]any{"rsa": {"allow_any_name": true, "client_flag": false, "key_type": "rsa"}}, nil, "shop.acme.net", "none of the roles"},
		"keeps no certificate": {map[string]map[string]any{"fast": pkiRoles["fast"]}, nil, "shop.acme.net", "none of the roles"},
		"signs something else": {map[string]map[string]any{"web": renamed}, nil, "shop.acme.net", "its subject: CN=shop.acme.net,OU=elsewhere in place of CN=shop.acme.net,OU=shop; it was revoked"},
		"no roles":             {nil, nil, "shop.acme.net", "none of the roles"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newPKIWorld(t, b, test.roles, Config{VaultPKIRoles: test.named})
			key := newECDSA(t)
			w.leaf("web", key, map[string]any{"common_name": test.cn})
			request, err := w.p.Prepare(t.Context(), Target{Credential: credential("private-key", pkcs8(t, key))}, "op")
			if err == nil {
				_, err = w.p.Issue(t.Context(), Request{Old: Target{Credential: credential("private-key", pkcs8(t, key))}, Prepared: request})
			}
			if test.says == "" && err != nil || test.says != "" && (!errors.Is(err, ErrCannotIssue) || !strings.Contains(err.Error(), test.says)) {
				t.Errorf("%v; want %q", err, test.says)
			}
			if want := map[bool]int{true: 2, false: 1}[test.says == ""]; w.live() != want {
				t.Errorf("%d live, want %d", w.live(), want)
			}
		})
	}
	for _, entry := range []string{"web", "pki", "other/web"} {
		if _, err := New(Config{VaultPKIMounts: []string{"pki"}, VaultPKIRoles: []string{entry}}); err == nil {
			t.Errorf("%q is taken", entry)
		}
	}
}
