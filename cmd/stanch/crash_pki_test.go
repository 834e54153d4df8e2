package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"path/filepath"
	"strings"
	"testing"
)

// tlsKeys are private keys of servers, certified by a PKI engine.
type tlsKeys struct{ *crashVault }

func (k tlsKeys) begin(t *testing.T) crashCase {
	c := &tlsKey{vault: k.crashVault, mount: fmt.Sprintf("pki%d", k.n.Add(1))} // of its own: no other case's certificates are read
	k.Must("POST", "sys/mounts/"+c.mount, map[string]any{"type": "pki"})
	t.Cleanup(func() { k.Do(k.Root, "DELETE", "sys/mounts/"+c.mount, nil) })
	k.Must("POST", c.mount+"/root/generate/internal", map[string]any{"common_name": "acme", "key_type": "ec"})
	k.Must("POST", c.mount+"/roles/web", map[string]any{"allowed_domains": "acme.net", "allow_subdomains": true, "key_type": "any", "max_ttl": "72h"})
	k.Must("POST", c.mount+"/roles/other", map[string]any{"allowed_domains": "example.net", "allow_subdomains": true, "key_type": "any", "max_ttl": "72h"})
	k.Policy(c.mount, strings.ReplaceAll(anyMount(t, filepath.Join("..", "..", "deploy", "vault", "stanch-pki.hcl")), `"pki/`, `"`+c.mount+`/`))
	c.own = k.Token(map[string]any{"policies": []string{"stanch", c.mount}})
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	c.private = strings.TrimSpace(string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE " + "KEY", Bytes: der})))
	der, err = x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: []string{"shop.acme.net"}}, key)
	if err != nil {
		t.Fatal(err)
	}
	csr := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})
	c.signed = k.Must("POST", c.mount+"/sign/web", map[string]any{"csr": string(csr), "common_name": "shop.acme.net", "ttl": "24h"})
	return c
}

type tlsKey struct {
	vault   *crashVault
	mount   string
	own     string // Stanch's token
	private string
	signed  map[string]any // what Vault told when it signed
}

func (c *tlsKey) stored() map[string]string {
	return map[string]string{"token": c.private, "certificate": c.text("certificate"), "issuing_ca": c.text("issuing_ca"), "serial_number": c.text("serial_number")}
}

func (c *tlsKey) text(field string) string { return fmt.Sprint(c.signed[field]) }

func (c *tlsKey) rule() string      { return "private-key" }
func (c *tlsKey) secret() string    { return c.private }
func (c *tlsKey) leak() string      { return c.private }
func (c *tlsKey) leakedWorks() bool { return c.lives(c.text("serial_number")) }

// works asks whether a server could start with what is stored, and would be trusted.
func (c *tlsKey) works(fields map[string]string) bool {
	pair, err := tls.X509KeyPair([]byte(fields["certificate"]), []byte(fields["token"]))
	roots := x509.NewCertPool()
	if err != nil || !roots.AppendCertsFromPEM([]byte(fields["issuing_ca"])) {
		return false
	}
	_, err = pair.Leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: "shop.acme.net"})
	serial, ok := new(big.Int).SetString(strings.ReplaceAll(fields["serial_number"], ":", ""), 16)
	return err == nil && ok && serial.Cmp(pair.Leaf.SerialNumber) == 0 && c.lives(fields["serial_number"])
}

// lives reports whether a certificate is there and not revoked.
func (c *tlsKey) lives(serial string) bool {
	_, data := c.vault.Do(c.vault.Root, "GET", c.mount+"/cert/"+serial, nil)
	return data["revocation_time"] == 0.0
}

// live counts the certificates but the authority's.
func (c *tlsKey) live() (n int) {
	names, _ := c.vault.Must("LIST", c.mount+"/certs", nil)["keys"].([]any)
	for _, name := range names {
		if c.lives(fmt.Sprint(name)) {
			n++
		}
	}
	return n - 1
}

func (c *tlsKey) env(via func(string) string) []string {
	return append(c.vault.env(via), "VAULT_TOKEN="+c.own, "STANCH_VAULT_PKI_MOUNTS="+c.mount)
}
