package provider

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"strings"

	"golang.org/x/crypto/ssh"

	"github.com/stanch-dev/stanch/checks"
)

// Keys of RSA are made no shorter and no longer than that, in bits.
const (
	minRSA = 2048
	maxRSA = 8192
)

// keyKind is what Vault calls the kind of a key.
func keyKind(public crypto.PublicKey) string {
	switch public.(type) {
	case *rsa.PublicKey:
		return "rsa"
	case *ecdsa.PublicKey:
		return "ec"
	case ed25519.PublicKey:
		return "ed25519"
	}
	return ""
}

// newKeyLike makes a key of the same kind and size as an old one, and writes it as that
// was written: who reads it may know no other way.
func newKeyLike(text checks.Secret, old publicKey) (checks.Secret, error) {
	private, err := generateLike(old.crypto)
	if err != nil {
		return checks.Secret{}, err
	}
	block := &pem.Block{Type: pemBlock.FindStringSubmatch(text.Expose())[1]}
	ofRSA, isRSA := private.(*rsa.PrivateKey)
	ofEC, isEC := private.(*ecdsa.PrivateKey)
	switch {
	case block.Type == "RSA PRIVATE KEY" && isRSA:
		block.Bytes = x509.MarshalPKCS1PrivateKey(ofRSA)
	case block.Type == "EC PRIVATE KEY" && isEC:
		block.Bytes, err = x509.MarshalECPrivateKey(ofEC)
	case block.Type == "OPENSSH PRIVATE KEY":
		block, err = ssh.MarshalPrivateKey(private, "")
	default:
		block.Type = "PRIVATE KEY"
		block.Bytes, err = x509.MarshalPKCS8PrivateKey(private)
	}
	if err != nil {
		return checks.Secret{}, err
	}
	// Where it is put, a line's end follows the old key already.
	return checks.NewSecret(strings.TrimSpace(string(pem.EncodeToMemory(block)))), nil
}

func generateLike(old crypto.PublicKey) (crypto.Signer, error) {
	switch public := old.(type) {
	case *rsa.PublicKey:
		return rsa.GenerateKey(rand.Reader, min(max(minRSA, public.N.BitLen()), maxRSA))
	case *ecdsa.PublicKey:
		return ecdsa.GenerateKey(public.Curve, rand.Reader)
	case ed25519.PublicKey:
		_, private, err := ed25519.GenerateKey(rand.Reader)
		return private, err
	}
	return nil, fmt.Errorf("no new key is made of the kind %T", old)
}

// requestLike asks for a certificate of a key with the names of an old one.
func requestLike(old *x509.Certificate, key publicKey) (csr string, err error) {
	block, _ := pem.Decode([]byte(key.private.Expose()))
	private, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return "", err
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
		Subject:  pkix.Name{CommonName: old.Subject.CommonName, SerialNumber: old.Subject.SerialNumber},
		DNSNames: old.DNSNames, EmailAddresses: old.EmailAddresses, IPAddresses: old.IPAddresses, URIs: old.URIs,
	}, private)
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})), err
}
