package provider

import (
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"testing"

	"github.com/stanch-dev/stanch/app/grants"
	"github.com/stanch-dev/stanch/app/secretstore/baotest"
	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/rules"
)

// startPKI mounts a PKI engine with an authority and a role.
func startPKI(t *testing.T, b *baotest.Server, mount string) {
	t.Helper()
	b.Must("POST", "sys/mounts/"+mount, map[string]any{"type": "pki"})
	b.Must("POST", mount+"/root/generate/internal", map[string]any{"common_name": "test"})
	b.Must("POST", mount+"/roles/shop", map[string]any{"allow_any_name": true, "key_type": "any", "max_ttl": "24h"})
}

// certify has a mount certify a key, and returns the certificate's serial.
func certify(t *testing.T, b *baotest.Server, mount string, key crypto.Signer) string {
	t.Helper()
	der, err := x509.CreateCertificateRequest(nil, &x509.CertificateRequest{}, key)
	if err != nil {
		t.Fatal(err)
	}
	csr := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})
	return fmt.Sprint(b.Must("POST", mount+"/sign/shop", map[string]any{"csr": string(csr), "common_name": "shop.acme.net"})["serial_number"])
}

func revokedAt(b *baotest.Server, mount, serial string) any {
	return b.Must("GET", mount+"/cert/"+serial, nil)["revocation_time"]
}

func TestPKI(t *testing.T) {
	b := baotest.Start(t)
	startPKI(t, b, "pki")
	startPKI(t, b, "team/pki")
	text := written(VaultPKIPolicy("pki")) + written(VaultPKIPolicy("team/pki"))
	p := holding(t, b, text, Config{VaultPKIMounts: []string{"pki", "team/pki/"}})
	bystander := certify(t, b, "pki", newECDSA(t))
	for name, key := range map[string]crypto.Signer{"RSA": newRSA(t), "ECDSA": newECDSA(t), "Ed25519": newEd25519(t)} {
		t.Run(name, func(t *testing.T) {
			serials := map[string]string{certify(t, b, "pki", key): "pki", certify(t, b, "team/pki", key): "team/pki"}
			serials[certify(t, b, "pki", key)] = "pki" // renewed with the same key
			for format, text := range map[string]string{"PKCS #8": pkcs8(t, key), "OpenSSH": openssh(t, key, "")} {
				if target := aimAt(t, p, credential("private-key", text)); target.Identity["pki"] != "pki" || serials[target.Identity["serial"]] != "pki" {
					t.Errorf("%s: identity %v", format, target.Identity)
				}
			}
			leaked := aimAt(t, p, credential("private-key", openssh(t, key, "")))
			wantRevoked(t, p, leaked, rules.MeansRevoked, "3 of its 3 certificates")
			for serial, mount := range serials {
				if revokedAt(b, mount, serial) == 0.0 {
					t.Errorf("the certificate of %s is not revoked", mount)
				}
			}
			ask(t, p, leaked.Credential, checks.Inactive, GradeB)
			wantRevoked(t, p, leaked, rules.MeansAlreadyDead, "0 of its 3")
		})
	}
	if at := revokedAt(b, "pki", bystander); at != 0.0 {
		t.Errorf("another key's certificate was revoked: %v", at)
	}
	t.Run("of nobody", func(t *testing.T) {
		stranger := credential("private-key", pkcs8(t, newECDSA(t)))
		ask(t, p, stranger, checks.Inactive, GradeB)
		if _, err := p.Revoke(t.Context(), Target{Credential: stranger}); !errors.Is(err, ErrCannotRevoke) {
			t.Errorf("%v, want ErrCannotRevoke", err)
		}
	})
	t.Run("no engine", func(t *testing.T) {
		without := newProviders(t, Config{VaultAddr: b.Addr, VaultPKIMounts: []string{"pki"}}) // but no token
		if can := without.Can("private-key"); can.Revoke {
			t.Error("revokes without a token of Stanch's own")
		}
		if !p.Can("private-key").Revoke {
			t.Error("does not revoke")
		}
	})
}

func TestPKIPolicy(t *testing.T) {
	b := baotest.Start(t)
	startPKI(t, b, "pki")
	b.Must("POST", "pki/roles/other", map[string]any{"allowed_domains": "example.net", "allow_subdomains": true})
	leak := func(t *testing.T) checks.Credential {
		key := newECDSA(t)
		certify(t, b, "pki", key)
		return credential("private-key", pkcs8(t, key))
	}
	wantMinimal(t, b, grants.Policy{}, VaultPKIPolicy("pki"), Config{VaultPKIMounts: []string{"pki"}}, map[string]func(*testing.T, *Providers) error{
		"find": func(t *testing.T, p *Providers) error {
			v, err := p.VerifyAgain(t.Context(), leak(t))
			if err == nil && v.Validity != checks.Active {
				err = errors.New(v.Evidence.Answer)
			}
			return err
		},
		"revoke": func(t *testing.T, p *Providers) error {
			_, err := p.Revoke(t.Context(), Target{Credential: leak(t)})
			return err
		},
		"issue": func(t *testing.T, p *Providers) error {
			request := Request{Old: Target{Credential: leak(t)}}
			var err error
			if request.Prepared, err = p.Prepare(t.Context(), request.Old, "op"); err == nil {
				_, err = p.Issue(t.Context(), request)
			}
			return err
		},
	})
}
