package provider

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/stanch-dev/stanch/rules"
)

// A pkiMount is a PKI engine of Vault or OpenBao that may have certified a key. It is a
// place where a leaked key may be trusted: until its certificates are revoked, which
// the engine does for whoever has the key. Who looks at no revocation list trusts them
// until they expire.
// https://developer.hashicorp.com/vault/api-docs/secret/pki
type pkiMount struct {
	vault *vault
	mount string
	roles []string // those that sign replacements; all that it has when none
	now   func() time.Time

	mu    sync.Mutex
	known map[string][sha256.Size]byte // whose key each certificate is for, by serial
}

const (
	maxCertificates = 5000 // of a mount
	certificateGets = 8    // at the same time
)

// A vaultCert is a certificate that Vault made for a key.
type vaultCert struct {
	serial  string
	leaf    *x509.Certificate
	revoked bool
}

func (m *pkiMount) String() string { return m.vault.addr + "/v1/" + m.mount }

// look finds a certificate of the key that is neither revoked nor expired.
func (m *pkiMount) look(ctx context.Context, key publicKey) (map[string]string, string) {
	found, why := m.find(ctx, key)
	for _, c := range found {
		if c.live(m.now()) {
			return map[string]string{
				"pki": m.mount, "subject": c.leaf.Subject.String(), "issuer": c.leaf.Issuer.String(),
				"serial": c.serial, "expires": c.leaf.NotAfter.UTC().Format(time.RFC3339),
			}, ""
		}
	}
	return nil, why
}

func (c vaultCert) live(now time.Time) bool { return !c.revoked && now.Before(c.leaf.NotAfter) }

// find lists the certificates of a key. Each is read once to learn whose it is, which
// does not change, and those of the key each time.
func (m *pkiMount) find(ctx context.Context, key publicKey) (found []vaultCert, why string) {
	if key.spki == nil {
		return nil, ""
	}
	serials, _, why := m.vault.listed(ctx, "GET /v1/"+m.mount+"/certs?list=true")
	if why == "" && len(serials) > maxCertificates {
		why = fmt.Sprintf("there are more than %d certificates to look at", maxCertificates)
	}
	if why == "" {
		why = m.learn(ctx, serials)
	}
	if why != "" {
		return nil, why
	}
	wanted := sha256.Sum256(key.spki)
	for _, serial := range serials {
		m.mu.Lock()
		mine := m.known[serial] == wanted
		m.mu.Unlock()
		if !mine {
			continue
		}
		c, why := m.read(ctx, serial)
		if why != "" {
			return nil, why
		}
		if c.leaf != nil && key.sameKey(c.leaf) {
			found = append(found, c)
		}
	}
	return found, ""
}

// learn reads the certificates that are new, and forgets those that are gone.
func (m *pkiMount) learn(ctx context.Context, serials []string) (why string) {
	var unknown []string
	m.mu.Lock()
	before := m.known
	m.known = make(map[string][sha256.Size]byte, len(serials))
	for _, serial := range serials {
		if sum, ok := before[serial]; ok {
			m.known[serial] = sum
		} else {
			unknown = append(unknown, serial)
		}
	}
	m.mu.Unlock()
	var group errgroup.Group
	group.SetLimit(certificateGets)
	for _, serial := range unknown {
		group.Go(func() error {
			c, failed := m.read(ctx, serial)
			m.mu.Lock()
			defer m.mu.Unlock()
			switch {
			case failed != "":
				why = failed
			case c.leaf != nil:
				m.known[serial] = sha256.Sum256(c.leaf.RawSubjectPublicKeyInfo)
			}
			return nil
		})
	}
	group.Wait()
	return why
}

// read reads a certificate; one without a leaf was tidied away meanwhile.
func (m *pkiMount) read(ctx context.Context, serial string) (c vaultCert, why string) {
	what := "GET /v1/" + m.mount + "/cert/" + serial
	evidence, got := m.vault.call(ctx, what, m.vault.own, nil)
	if got.fault == "" && got.status == http.StatusNotFound {
		return vaultCert{}, ""
	}
	text, _ := got.field("data.certificate")
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return vaultCert{}, evidence.Request + " answered: " + evidence.Answer
	}
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return vaultCert{}, evidence.Request + " told no certificate"
	}
	at, _ := got.field("data.revocation_time")
	seconds, _ := strconv.ParseInt(at, 10, 64)
	return vaultCert{serial: serial, leaf: leaf, revoked: seconds > 0}, ""
}

// pki are the places that are PKI engines.
func (k *keys) pki() (all []*pkiMount) {
	for _, p := range k.places {
		if m, ok := p.(*pkiMount); ok {
			all = append(all, m)
		}
	}
	return all
}

func (k *keys) whyNoRevoke(*rules.Rule) string {
	if len(k.pki()) == 0 {
		return "revoke: what trusts the key must stop trusting it, and that is different everywhere; certificates of Vault's are revoked where STANCH_VAULT_PKI_MOUNTS names its PKI engines"
	}
	return ""
}

// revoke revokes all certificates of a key, with the key itself as the proof that it
// leaked. What else trusts the key is left to a person.
func (k *keys) revoke(ctx context.Context, rule *rules.Rule, t Target) (Receipt, error) {
	key, err := readKey(t.Secret().Expose())
	if err != nil {
		return Receipt{}, fmt.Errorf("revoke %s: %w: %w", rule.ID, ErrCannotRevoke, err)
	}
	receipt := Receipt{Meaning: rules.MeansAlreadyDead}
	certificates, revoked, listed := 0, 0, 0
	for _, m := range k.pki() {
		found, why := m.find(ctx, key)
		if why != "" {
			return Receipt{}, fmt.Errorf("revoke %s: look for its certificates at %s: %s", rule.ID, m, why)
		}
		for _, c := range found {
			certificates++
			receipt.Evidence.Request = "GET " + m.String() + "/cert/" + c.serial
			if !c.live(k.now()) {
				continue
			}
			evidence, why := m.revokeWithKey(ctx, c, key)
			if why != "" {
				return Receipt{}, unfit("revoke", rule, why, evidence)
			}
			receipt.Meaning, receipt.Evidence = rules.MeansRevoked, evidence
			revoked++
			if m.onList(ctx, c) {
				listed++
			}
		}
	}
	if certificates == 0 {
		return Receipt{}, fmt.Errorf("revoke %s: %w: no PKI engine of Vault that is configured has certified it, so that whatever else trusts the key must stop trusting it", rule.ID, ErrCannotRevoke)
	}
	receipt.Evidence.At, receipt.Evidence.Identity = k.now(), key.identity()
	receipt.Evidence.Answer = fmt.Sprintf("%d of its %d certificates were revoked now, the others are revoked or expired", revoked, certificates)
	if listed < revoked {
		receipt.Evidence.Answer += fmt.Sprintf("; %d are not on their issuer's revocation list yet", revoked-listed)
	}
	return receipt, nil
}

// revokeWithKey revokes a certificate, with its key as the proof that it may be.
func (m *pkiMount) revokeWithKey(ctx context.Context, c vaultCert, key publicKey) (Evidence, string) {
	_, evidence, why := m.vault.asked(ctx, "POST /v1/"+m.mount+"/revoke-with-key", map[string]any{
		"serial_number": c.serial, "private_key": key.private.Expose(),
	})
	return evidence, why
}

// onList reports whether a certificate is on the revocation list of its issuer, which
// those who ask nobody go by. An engine may be told to write it from time to time only,
// or never.
func (m *pkiMount) onList(ctx context.Context, c vaultCert) bool {
	now, _, _ := m.vault.asked(ctx, "GET /v1/"+m.mount+"/cert/"+c.serial, nil)
	issuer, _ := now["issuer_id"].(string)
	if issuer == "" {
		issuer = "default"
	}
	data, _, _ := m.vault.asked(ctx, "GET /v1/"+m.mount+"/issuer/"+issuer+"/crl", nil)
	text, _ := data["crl"].(string)
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return false
	}
	list, err := x509.ParseRevocationList(block.Bytes)
	return err == nil && slices.ContainsFunc(list.RevokedCertificateEntries, func(e x509.RevocationListEntry) bool {
		return e.SerialNumber.Cmp(c.leaf.SerialNumber) == 0
	})
}
