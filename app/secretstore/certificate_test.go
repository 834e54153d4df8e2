package secretstore

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stanch-dev/stanch/checks"
)

// An issued key is one with a certificate.
type issued struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

var certified int64

// issue makes a key and has another one certify it; itself when that is nil.
func issue(t *testing.T, by *issued, names ...string) *issued {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return certify(t, by, key, names...)
}

func certify(t *testing.T, by *issued, key *ecdsa.PrivateKey, names ...string) *issued {
	t.Helper()
	certified++
	template := &x509.Certificate{
		SerialNumber: big.NewInt(0xabcd00 + certified), Subject: pkix.Name{CommonName: strings.Join(names, " ")}, NotAfter: time.Now().Add(time.Duration(certified) * time.Hour),
		IsCA: len(names) == 0, BasicConstraintsValid: true, DNSNames: names,
	}
	if template.IsCA {
		template.Subject.CommonName = "CA " + template.SerialNumber.String()
	}
	i := &issued{key, template}
	if by == nil {
		by = i
	}
	der, err := x509.CreateCertificate(rand.Reader, template, by.cert, &key.PublicKey, by.key)
	if err != nil {
		t.Fatal(err)
	}
	if i.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return i
}

func (i *issued) private(t *testing.T) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(i.key)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE " + "KEY", Bytes: der})))
}

func (i *issued) text() string { return writtenLike("\n", i.cert) }

func (i *issued) serial() string { return strings.Join(octets(i.cert), ":") }

func escaped(text string) string { return strings.ReplaceAll(text, "\n", `\n`) }

// A new key goes with its certificate wherever the old one's is, and with its issuers'
// where they are others.
func TestReplaceCertificates(t *testing.T) {
	root := issue(t, nil)
	ca, next := issue(t, root), issue(t, root)
	old, fresh, elsewhere := issue(t, ca, "shop"), issue(t, ca, "shop"), issue(t, next, "shop")
	renewed := certify(t, ca, old.key, "shop")
	other := issue(t, ca, "shop") // the same name, and another key
	key := func(i *issued) string { return i.private(t) }
	for name, test := range map[string]struct {
		fresh   *issued
		chain   []*issued
		fields  map[string]string
		want    map[string]string
		leftOut []string
	}{
		"as Vault tells it": {fresh, []*issued{ca, root},
			map[string]string{"private_key": key(old), "certificate": old.text(), "issuing_ca": ca.text(), "ca_chain": ca.text() + "\n" + root.text(), "serial_number": old.serial(), "private_key_type": "ec"},
			map[string]string{"private_key": key(fresh), "certificate": fresh.text(), "serial_number": fresh.serial()}, nil},
		"another issuer": {elsewhere, []*issued{next, root},
			map[string]string{"private_key": key(old), "certificate": old.text(), "issuing_ca": ca.text(), "ca_chain": ca.text() + "\n" + root.text() + "\n"},
			map[string]string{"private_key": key(elsewhere), "certificate": elsewhere.text(), "issuing_ca": next.text(), "ca_chain": next.text() + "\n" + root.text() + "\n\n"}, nil},
		"of Kubernetes": {fresh, []*issued{ca, root},
			map[string]string{"tls.key": key(old) + "\n", "tls.crt": old.text() + "\n" + ca.text() + "\n", "ca.crt": root.text() + "\n"},
			map[string]string{"tls.key": key(fresh) + "\n", "tls.crt": fresh.text() + "\n" + ca.text() + "\n"}, nil},
		"a bundle": {elsewhere, []*issued{next, root},
			map[string]string{"pem": "# shop\n" + key(old) + "\n" + old.text() + "\n" + ca.text() + "\n", "end": old.cert.NotAfter.UTC().Format(time.RFC3339)},
			map[string]string{"pem": "# shop\n" + key(elsewhere) + "\n" + elsewhere.text() + "\n" + next.text() + "\n" + root.text() + "\n", "end": elsewhere.cert.NotAfter.UTC().Format(time.RFC3339)}, nil},
		"in a document": {fresh, []*issued{ca},
			map[string]string{"": `{"tls":1,"key":"` + escaped(key(old)) + `","cert":"` + escaped(old.text()) + `","serial":"` + old.serial() + `"}`},
			map[string]string{"": `{"cert":"` + escaped(fresh.text()) + `","key":"` + escaped(key(fresh)) + `","serial":"` + fresh.serial() + `","tls":1}`}, nil},
		"renewed for the same key": {fresh, []*issued{ca},
			map[string]string{"key": key(old), "cert": renewed.text(), "serial": renewed.serial()},
			map[string]string{"key": key(fresh), "cert": fresh.text(), "serial": fresh.serial()}, nil},
		"another key's is left": {fresh, []*issued{ca},
			map[string]string{"key": key(old), "cert": old.text(), "peer": other.text(), "peer_key": key(other), "peer_serial": other.serial()},
			map[string]string{"key": key(fresh), "cert": fresh.text()}, nil},
		"without its certificate": {fresh, []*issued{ca},
			map[string]string{"key": key(old), "peer": other.text()}, map[string]string{"key": key(fresh)}, []string{"certificate"}},
	} {
		var chain []*x509.Certificate
		for _, c := range test.chain {
			chain = append(chain, c.cert)
		}
		made := creds("secret", key(test.fresh), "certificate", test.fresh.text(), "chain", writtenLike("\n", chain...))
		stored := content("1", test.fields).Fields
		got, leftOut := Replace(stored, creds("secret", key(old)), made)
		if diff := cmp.Diff(test.want, exposed(got)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		if diff := cmp.Diff(test.leftOut, leftOut); diff != "" {
			t.Errorf("%s, left out (-want +got):\n%s", name, diff)
		}
		for field, value := range got {
			if named := strings.Contains(value.Expose(), "CERTIFICATE") && !strings.HasSuffix(field, "ca") && !strings.HasPrefix(field, "ca_"); named && !Holds(value, made) {
				t.Errorf("%s: %s does not hold the new certificate", name, field)
			}
		}
	}
}

// A key is found by itself wherever it is kept with something else.
func TestKeysAreFoundInBundles(t *testing.T) {
	i := issue(t, nil, "shop")
	private := i.private(t)
	for name, text := range map[string]string{
		"a line's end": private + "\n", "a bundle": i.text() + "\n" + private + "\n", "escaped": escaped(private + "\n" + i.text()),
		"in a document": `{"pem":"` + escaped(private+"\n"+i.text()+"\n") + `"}`,
	} {
		got := readings(text)
		if !slices.Contains(got, private) || !slices.Contains(got, escaped(private)) {
			t.Errorf("%s: not found by the key in both forms", name)
		}
		if !Holds(checks.NewSecret(text), creds("secret", private)) {
			t.Errorf("%s: does not hold it", name)
		}
	}
}
