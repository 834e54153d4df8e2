package secretstore

import (
	"crypto"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/stanch-dev/stanch/checks"
)

// The parts by which the replacement of a private key brings its certificate along, and
// those of its issuers, the nearest first. Both are PEM. Of the old key only the key
// itself leaks: what else is to change is known by what is stored.
const (
	certificatePart = "certificate"
	chainPart       = "chain"
)

var (
	certificateBlock = regexp.MustCompile(`(?s)-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----`)
	privateKeyBlock  = regexp.MustCompile(`(?s)-----BEGIN [A-Z ]{0,20}PRIVATE KEY-----.*?-----END [A-Z ]{0,20}PRIVATE KEY-----`)
	notBase64        = regexp.MustCompile(`\\+[nrt]|[^0-9A-Za-z+/]`)
)

// A renewal is what changes of the certificates beside a private key.
type renewal struct {
	old, fresh       *x509.Certificate
	oldChain, chain  []*x509.Certificate
	texts            [][2]string // whole values: of the old certificate, and of the new one
	certificateFound bool
}

// newRenewal finds the certificates of the old key, by its public half, in what is
// stored; nil where no certificate comes with the new one.
func newRenewal(fields map[string]checks.Secret, old, fresh checks.Credential) *renewal {
	leaf := certificatesIn(fresh.Parts[certificatePart].Expose())
	if len(leaf) == 0 {
		return nil
	}
	r := &renewal{fresh: leaf[0], chain: certificatesIn(fresh.Parts[chainPart].Expose())}
	public := publicHalf(old.Secret())
	var others []*x509.Certificate
	for _, value := range fields {
		for _, c := range certificatesIn(value.Expose()) {
			if public != nil && string(c.RawSubjectPublicKeyInfo) == string(public) {
				r.old = c
			} else if !slices.ContainsFunc(others, c.Equal) {
				others = append(others, c)
			}
		}
	}
	if r.old != nil {
		r.oldChain = issuersOf(r.old, others)
		r.texts = saidOf(r.old, r.fresh)
	}
	return r
}

// publicHalf is the public key of a private one, as certificates have it.
func publicHalf(private checks.Secret) []byte {
	key, err := ssh.ParseRawPrivateKey([]byte(forms(private.Expose())[0]))
	signer, ok := key.(crypto.Signer)
	if err != nil || !ok {
		return nil
	}
	public, err := x509.MarshalPKIXPublicKey(signer.Public())
	if err != nil {
		return nil
	}
	return public
}

// certificatesIn are those in a text, with the ends of its lines as they are or escaped.
func certificatesIn(text string) (all []*x509.Certificate) {
	for _, block := range certificateBlock.FindAllString(text, -1) {
		if c := readCertificate(block); c != nil {
			all = append(all, c)
		}
	}
	return all
}

func readCertificate(block string) *x509.Certificate {
	_, body, _ := strings.Cut(block, "BEGIN CERTIFICATE-----")
	body, _, _ = strings.Cut(body, "-----END")
	der, err := base64.RawStdEncoding.DecodeString(notBase64.ReplaceAllString(body, ""))
	if err != nil {
		return nil
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		return nil
	}
	return c
}

// issuersOf orders those of some certificates that signed one, each other's issuer.
func issuersOf(c *x509.Certificate, some []*x509.Certificate) (chain []*x509.Certificate) {
	for {
		n := slices.IndexFunc(some, func(issuer *x509.Certificate) bool {
			return !slices.ContainsFunc(chain, issuer.Equal) && c.CheckSignatureFrom(issuer) == nil
		})
		if n < 0 {
			return chain
		}
		c = some[n]
		chain = append(chain, c)
	}
}

// saidOf pairs what is often kept beside a certificate, as Vault tells it: the serial
// and the end.
func saidOf(old, fresh *x509.Certificate) (all [][2]string) {
	for _, say := range []func(*x509.Certificate) string{
		func(c *x509.Certificate) string { return strings.Join(octets(c), ":") },
		func(c *x509.Certificate) string { return strings.Join(octets(c), "-") },
		func(c *x509.Certificate) string { return strconv.FormatInt(c.NotAfter.Unix(), 10) },
		func(c *x509.Certificate) string { return c.NotAfter.UTC().Format(time.RFC3339) },
	} {
		all = append(all, [2]string{say(old), say(fresh)})
	}
	return all
}

func octets(c *x509.Certificate) (all []string) {
	for _, b := range c.SerialNumber.Bytes() {
		all = append(all, fmt.Sprintf("%02x", b))
	}
	return all
}

// renew changes what is stored beside the key, and reports whether the old certificate
// was there.
func (r *renewal) renew(fields, changed map[string]checks.Secret) bool {
	for field, value := range fields {
		if now, ok := changed[field]; ok {
			value = now
		}
		if text := r.in(value.Expose()); text != value.Expose() {
			changed[field] = checks.NewSecret(text)
		}
	}
	return r.certificateFound
}

// in renews what a text says of the old certificate.
func (r *renewal) in(text string) string {
	for _, said := range r.texts {
		if text == said[0] {
			return said[1]
		}
	}
	chain, done := r.chainFor(text), false
	return certificateBlock.ReplaceAllStringFunc(text, func(block string) string {
		c := readCertificate(block)
		switch {
		case c == nil || r.old == nil:
		case c.Equal(r.old), string(c.RawSubjectPublicKeyInfo) == string(r.old.RawSubjectPublicKeyInfo):
			r.certificateFound = true
			return writtenLike(block, r.fresh)
		case !slices.ContainsFunc(r.oldChain, c.Equal) || chain == nil:
		case done:
			return ""
		default:
			done = true
			return writtenLike(block, chain...)
		}
		return block
	})
}

// chainFor is what takes the place of the old issuers in a text: as many as there were or,
// where that was the whole chain, the whole new one. It is nil when they are the same.
func (r *renewal) chainFor(text string) []*x509.Certificate {
	same := func(c *x509.Certificate) bool { return slices.ContainsFunc(r.chain, c.Equal) }
	if len(r.chain) == 0 || len(r.oldChain) == 0 || same(r.oldChain[0]) {
		return nil
	}
	n := 0
	for _, c := range certificatesIn(text) {
		if slices.ContainsFunc(r.oldChain, c.Equal) {
			n++
		}
	}
	if n < len(r.oldChain) {
		return r.chain[:min(n, len(r.chain))]
	}
	return r.chain
}

// writtenLike writes certificates with the ends of lines of a text.
func writtenLike(block string, some ...*x509.Certificate) string {
	var text strings.Builder
	for _, c := range some {
		pem.Encode(&text, &pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}) // into memory
	}
	plain := strings.TrimSpace(text.String())
	if !strings.Contains(block, "\n") {
		return strings.ReplaceAll(plain, "\n", `\n`)
	}
	return plain
}
