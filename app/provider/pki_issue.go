package provider

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/rules"
)

// What comes with the replacement of a certified key, in PEM: its certificate, and those
// of its issuers, the nearest first.
const (
	partCertificate = "certificate"
	partChain       = "chain"
)

// What is remembered of the certificate that is replaced.
const (
	seenMount  = "pki"
	seenRole   = "pki_role"
	seenSerial = "serial"
)

const maxIssuers = 100 // of a mount

func (k *keys) whyNoIssue(*rules.Rule) string {
	if len(k.pki()) == 0 {
		return "issue: what trusts the key is different everywhere; a key with a certificate of Vault's is replaced where STANCH_VAULT_PKI_MOUNTS names the PKI engine"
	}
	return ""
}

// certified reports whether a PKI engine has certified a key.
func (k *keys) certified(ctx context.Context, t Target) (bool, error) {
	key, err := readKey(t.Secret().Expose())
	if err != nil {
		return false, nil
	}
	for _, m := range k.pki() {
		found, why := m.find(ctx, key)
		if why != "" {
			return false, fmt.Errorf("look for its certificates at %s: %s", m, why)
		}
		if len(found) > 0 {
			return true, nil
		}
	}
	return false, nil
}

// prepare makes the new key, of the old one's kind, and finds out who is to certify it.
func (k *keys) prepare(ctx context.Context, rule *rules.Rule, t Target, _ string) (Prepared, error) {
	key, err := readKey(t.Secret().Expose())
	if err != nil {
		return Prepared{}, fmt.Errorf("issue %s: %w: %w", rule.ID, ErrCannotIssue, err)
	}
	m, old, err := k.model(ctx, rule, key)
	if err != nil {
		return Prepared{}, err
	}
	role, err := m.roleFor(ctx, rule, old.leaf)
	if err != nil {
		return Prepared{}, err
	}
	fresh, err := newKeyLike(t.Secret(), key)
	if err != nil {
		return Prepared{}, fmt.Errorf("issue %s: %w: %w", rule.ID, ErrCannotIssue, err)
	}
	return Prepared{
		Draft: checks.Credential{Rule: rule.ID, Parts: map[string]checks.Secret{checks.PartSecret: fresh}},
		Seen:  map[string]string{seenMount: m.mount, seenRole: role.name, seenSerial: old.serial},
	}, nil
}

// model is the certificate of a key that its replacement is to be like: the latest one.
// Those that were revoked count where no other is left, which is so when the leaked one
// dies first. A key that was certified for different purposes needs as many successors,
// and a person.
func (k *keys) model(ctx context.Context, rule *rules.Rule, key publicKey) (m *pkiMount, latest vaultCert, err error) {
	found := map[string]*pkiMount{} // by the serial
	var all []vaultCert
	for _, m := range k.pki() {
		list, why := m.find(ctx, key)
		if why != "" {
			return nil, vaultCert{}, fmt.Errorf("issue %s: look for its certificates at %s: %s", rule.ID, m, why)
		}
		for _, c := range list {
			found[c.serial] = m
		}
		all = append(all, list...)
	}
	now := k.now()
	all = slices.DeleteFunc(all, func(c vaultCert) bool { return now.After(c.leaf.NotAfter) })
	if slices.ContainsFunc(all, func(c vaultCert) bool { return c.live(now) }) {
		all = slices.DeleteFunc(all, func(c vaultCert) bool { return !c.live(now) })
	}
	if len(all) == 0 {
		return nil, latest, fmt.Errorf("issue %s: %w: its certificates have run out: nobody needs another one", rule.ID, ErrCannotIssue)
	}
	latest = slices.MaxFunc(all, func(a, b vaultCert) int { return a.leaf.NotAfter.Compare(b.leaf.NotAfter) })
	for _, c := range all {
		if why := differs(latest.leaf, c.leaf); why != "" || found[c.serial] != found[latest.serial] {
			return nil, latest, fmt.Errorf("issue %s: %w: it has certificates for more than one purpose, %s (%s) and %s (%s): make a new key for each by hand, then press Revoke now",
				rule.ID, ErrCannotIssue, latest.serial, latest.leaf.Subject, c.serial, c.leaf.Subject)
		}
	}
	return found[latest.serial], latest, nil
}

// differs says in what a certificate is not for the same purpose as another.
func differs(a, b *x509.Certificate) string {
	names := func(c *x509.Certificate) string {
		var all []string
		for _, uri := range c.URIs {
			all = append(all, uri.String())
		}
		for _, ip := range c.IPAddresses {
			all = append(all, ip.String())
		}
		all = slices.Concat(all, c.DNSNames, c.EmailAddresses)
		slices.Sort(all)
		// Go reads no other kinds of names: by their length it is known that there are none.
		return fmt.Sprintf("%s (%d bytes)", strings.Join(slices.Compact(all), ", "), len(extension(c, "2.5.29.17")))
	}
	usages := func(c *x509.Certificate) string {
		all := slices.Sorted(slices.Values(c.ExtKeyUsage))
		return fmt.Sprint(c.KeyUsage, all, c.UnknownExtKeyUsage, c.PolicyIdentifiers, c.IsCA)
	}
	for what, of := range map[string]func(*x509.Certificate) string{
		"names": names, "usages": usages, "subject": func(c *x509.Certificate) string { return c.Subject.String() },
	} {
		if one, other := of(a), of(b); one != other {
			return fmt.Sprintf("its %s: %s in place of %s", what, other, one)
		}
	}
	return ""
}

func extension(c *x509.Certificate, id string) []byte {
	for _, e := range c.Extensions {
		if e.Id.String() == id {
			return e.Value
		}
	}
	return nil
}

// issue has the new key certified as the old one was. It looks first for certificates of
// the new key, which nobody else has: so that after a lost answer there is one that
// counts, and what else was signed is revoked.
func (k *keys) issue(ctx context.Context, rule *rules.Rule, r Request) (checks.Credential, error) {
	fresh, err := readKey(r.Prepared.Draft.Secret().Expose())
	if err != nil {
		return checks.Credential{}, fmt.Errorf("issue %s: the key that was prepared: %w", rule.ID, err)
	}
	m := k.at(r.Prepared.Seen[seenMount])
	if m == nil {
		return checks.Credential{}, fmt.Errorf("issue %s: %w: %s is not in STANCH_VAULT_PKI_MOUNTS any more", rule.ID, ErrCannotIssue, r.Prepared.Seen[seenMount])
	}
	old, why := m.read(ctx, r.Prepared.Seen[seenSerial])
	switch {
	case why != "":
		return checks.Credential{}, fmt.Errorf("issue %s: read the old certificate: %s", rule.ID, why)
	case old.leaf == nil:
		return checks.Credential{}, fmt.Errorf("issue %s: %w: its certificate was tidied away: have a new key certified by hand", rule.ID, ErrCannotIssue)
	}
	mine, err := m.signed(ctx, rule, fresh)
	if err == nil && len(mine) == 0 {
		if err = m.sign(ctx, rule, r, fresh, old.leaf); err == nil {
			mine, err = m.signed(ctx, rule, fresh)
		}
	}
	if err != nil {
		return checks.Credential{}, err
	}
	if len(mine) == 0 {
		return checks.Credential{}, fmt.Errorf("issue %s: the certificate that %s signed is not among its certificates yet", rule.ID, m)
	}
	return m.settled(ctx, rule, r, fresh, old, mine)
}

// at is the PKI engine at a mount.
func (k *keys) at(mount string) *pkiMount {
	for _, m := range k.pki() {
		if m.mount == mount {
			return m
		}
	}
	return nil
}

// signed are the live certificates of a key.
func (m *pkiMount) signed(ctx context.Context, rule *rules.Rule, key publicKey) ([]vaultCert, error) {
	found, why := m.find(ctx, key)
	if why != "" {
		return nil, fmt.Errorf("issue %s: look for certificates of the new key at %s: %s", rule.ID, m, why)
	}
	return slices.DeleteFunc(found, func(c vaultCert) bool { return !c.live(m.now()) }), nil
}

// sign has a role sign a certificate of the new key, with the old one's names and for as
// long as that was for.
func (m *pkiMount) sign(ctx context.Context, rule *rules.Rule, r Request, key publicKey, old *x509.Certificate) error {
	role, err := m.role(ctx, rule, r.Prepared.Seen[seenRole])
	if err != nil {
		return err
	}
	csr, err := requestLike(old, key)
	if err != nil {
		return err
	}
	body := map[string]any{
		"csr": csr, "ttl": int((old.NotAfter.Sub(old.NotBefore) - role.backdated()) / time.Second),
		// A role may take the names from the request or from here.
		"alt_names":            strings.Join(slices.Concat(old.DNSNames, old.EmailAddresses), ","),
		"exclude_cn_from_sans": true, // it is among the names if it was
	}
	if old.Subject.CommonName != "" {
		body["common_name"] = old.Subject.CommonName
	}
	var ips, uris []string
	for _, ip := range old.IPAddresses {
		ips = append(ips, ip.String())
	}
	for _, uri := range old.URIs {
		uris = append(uris, uri.String())
	}
	body["ip_sans"], body["uri_sans"] = strings.Join(ips, ","), strings.Join(uris, ",")
	_, err = m.ask(ctx, rule, "POST /v1/"+m.mount+"/sign/"+role.name, body)
	return err
}

// settled returns the new key with one of its certificates, and revokes the others, and
// all if they are not as the old one was.
func (m *pkiMount) settled(ctx context.Context, rule *rules.Rule, r Request, key publicKey, old vaultCert, mine []vaultCert) (checks.Credential, error) {
	slices.SortFunc(mine, func(a, b vaultCert) int { return strings.Compare(a.serial, b.serial) })
	kept, superfluous := mine[0], mine[1:]
	chain, err := m.chain(ctx, rule, kept.leaf)
	if err != nil && !errors.Is(err, ErrCannotIssue) {
		return checks.Credential{}, err
	}
	if err == nil {
		err = asBefore(rule, old, kept)
	}
	if err != nil {
		superfluous = mine
	}
	for _, c := range superfluous {
		if evidence, why := m.revokeWithKey(ctx, c, key); why != "" {
			return checks.Credential{}, errors.Join(unfit("revoke", rule, why, evidence), err)
		}
	}
	if err != nil {
		return checks.Credential{}, err
	}
	return checks.Credential{Rule: rule.ID, Parts: map[string]checks.Secret{
		checks.PartSecret: r.Prepared.Draft.Secret(),
		partCertificate:   checks.NewSecret(certificatePEM(kept.leaf)),
		partChain:         checks.NewSecret(certificatePEM(chain...)),
	}}, nil
}

// asBefore says in what the new certificate is not as the old one was.
func asBefore(rule *rules.Rule, old, fresh vaultCert) error {
	why := differs(old.leaf, fresh.leaf)
	lifetime := func(c *x509.Certificate) time.Duration { return c.NotAfter.Sub(c.NotBefore) }
	switch {
	case fresh.serial == old.serial:
		why = "the serial is the old one's"
	case lifetime(fresh.leaf) > lifetime(old.leaf)+time.Minute:
		why = fmt.Sprintf("it is for longer: %s in place of %s", lifetime(fresh.leaf), lifetime(old.leaf))
	}
	if why == "" {
		return nil
	}
	return fmt.Errorf("issue %s: %w: the new certificate is not as the old one in %s; it was revoked: name the role that signed the old one in STANCH_VAULT_PKI_ROLES", rule.ID, ErrCannotIssue, why)
}

// chain are the certificates of who signed a certificate, the nearest first.
func (m *pkiMount) chain(ctx context.Context, rule *rules.Rule, leaf *x509.Certificate) ([]*x509.Certificate, error) {
	list, err := m.ask(ctx, rule, "GET /v1/"+m.mount+"/issuers?list=true", nil)
	if err != nil {
		return nil, err
	}
	ids := policies(list, "keys")
	for _, id := range ids[:min(maxIssuers, len(ids))] {
		data, err := m.ask(ctx, rule, "GET /v1/"+m.mount+"/issuer/"+id+"/json", nil)
		if err != nil {
			return nil, err
		}
		text, _ := data["certificate"].(string)
		chain := readCertificates(text + "\n" + strings.Join(policies(data, "ca_chain"), "\n"))
		if len(chain) > 0 && leaf.CheckSignatureFrom(chain[0]) == nil {
			return chain, nil
		}
	}
	return nil, fmt.Errorf("issue %s: %w: none of the issuers of %s signed the new certificate", rule.ID, ErrCannotIssue, m)
}

// readCertificates reads each certificate of a text once.
func readCertificates(text string) (all []*x509.Certificate) {
	for block, rest := pem.Decode([]byte(text)); block != nil; block, rest = pem.Decode(rest) {
		c, err := x509.ParseCertificate(block.Bytes)
		if err == nil && !slices.ContainsFunc(all, c.Equal) {
			all = append(all, c)
		}
	}
	return all
}

func certificatePEM(all ...*x509.Certificate) string {
	var text strings.Builder
	for _, c := range all {
		pem.Encode(&text, &pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}) // into memory
	}
	return strings.TrimSpace(text.String())
}

// pairs says what is wrong with a certificate that is kept with a key.
func (k publicKey) pairs(cred checks.Credential) string {
	all := readCertificates(cred.Parts[partCertificate].Expose() + "\n" + cred.Parts[partChain].Expose())
	switch {
	case cred.Parts[partCertificate].Len() == 0:
		return ""
	case len(all) < 2 || !k.sameKey(all[0]):
		return "its certificate is not the key's"
	case all[0].CheckSignatureFrom(all[1]) != nil:
		return "its certificate is not by its issuer"
	}
	return ""
}
