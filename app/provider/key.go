package provider

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"strconv"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/rules"
)

// keys verifies private keys: by the public half, which names the key, it looks for
// who trusts it among the places that the operator names. A key opens nothing by
// itself, and nobody but those who trust it can say what; so that a key that is at
// none of these places is dead only if it was at one of them before.
type keys struct {
	places      []place
	authorities *sshAuthorities
	now         func() time.Time
}

// A place is where a key may be trusted or in use. None of them is logged in at: the
// private half stays here.
type place interface {
	// look says whether the key is there, and as whose; or what went wrong.
	look(context.Context, publicKey) (found map[string]string, fault string)
	String() string
}

// A publicKey is the half of a private key that may be told.
type publicKey struct {
	crypto crypto.PublicKey // nil where an encrypted key keeps it
	ssh    ssh.PublicKey
	spki   []byte // SubjectPublicKeyInfo, nil for kinds that have none
	// private is the other half in PEM of PKCS #8, for who wants it as a proof; empty
	// where it is encrypted.
	private checks.Secret
}

func (*keys) ready(*rules.Rule) string { return "" }

func (*keys) host(*rules.Rule, checks.Credential) string { return "" }

func (*keys) random(cred checks.Credential) checks.Credential { return withFreshKey(cred) }

// withFreshKey returns the credential with a key that was made just now: what a
// rule's sample makes only looks like one.
func withFreshKey(cred checks.Credential) checks.Credential {
	delete(cred.Parts, partCertificate)       // which is not of this one
	_, private, _ := ed25519.GenerateKey(nil) // never fails: see crypto/rand
	der, _ := x509.MarshalPKCS8PrivateKey(private)
	text := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	cred.Parts[checks.PartSecret] = checks.NewSecret(string(text))
	return cred
}

func (k *keys) verify(ctx context.Context, _ *rules.Rule, cred checks.Credential) (Verdict, error) {
	verdict := Verdict{Validity: checks.Unknown, Grade: GradeC, Reason: ReasonNotAsked, Evidence: Evidence{Request: "compute the public key", At: k.now()}}
	if fresh, ok := k.authorities.parseReference(cred.Secret()); ok {
		return k.authorities.verifyReference(ctx, fresh), nil
	}
	key, err := readKey(cred.Secret().Expose())
	if err != nil {
		verdict.Evidence.Answer = "not a private key that can be read"
		return verdict, nil
	}
	verdict.Evidence.Identity = key.identity()
	if why := key.pairs(cred); why != "" {
		verdict.Evidence.Answer = why
		return verdict, nil
	}
	if len(k.places)+len(k.authorities.hosts) == 0 {
		verdict.Evidence.Answer = "who trusts the key is not known: STANCH_VERIFY_SSH, STANCH_VERIFY_TLS, STANCH_VERIFY_GITHUB_USERS, STANCH_GITHUB_DEPLOY_KEYS, STANCH_VAULT_PKI_MOUNTS, STANCH_VAULT_SSH_MOUNTS or STANCH_SSH_HOSTS can say where to look"
		return verdict, nil
	}
	verdict.look(ctx, k.places, key)
	k.authorities.askAround(ctx, key, &verdict)
	return verdict, nil
}

// look looks at each place until the key is found.
func (v *Verdict) look(ctx context.Context, places []place, key publicKey) {
	v.Reason = ""
	fault := ""
	for _, p := range places {
		found, why := p.look(ctx, key)
		if found != nil {
			v.Validity, v.Evidence.Request, v.Evidence.Answer = checks.Active, "look for the public key at "+p.String(), "found"
			maps.Copy(v.Evidence.Identity, shortened(found))
			return
		}
		if why != "" && fault == "" {
			fault = p.String() + ": " + why
		}
	}
	v.Evidence.Request = "look for the public key at " + strconv.Itoa(len(places)) + " places"
	if fault != "" {
		v.Reason, v.Evidence.Answer = ReasonNoAnswer, fault // of one place: the others need no rest
		return
	}
	v.Validity, v.SelfHosted, v.Evidence.Answer = checks.Inactive, true, "found nowhere"
}

var (
	pemBlock   = regexp.MustCompile(`(?s)-----BEGIN ([A-Z0-9 ]{0,20}PRIVATE KEY)-----(.*?)-----END `)
	pemEscape  = regexp.MustCompile(`\\+[nrt]|["']\s*\+\s*["']`) // and strings that are added up
	notBase64  = regexp.MustCompile(`[^0-9A-Za-z+/]`)
	errKeyText = errors.New("no private key in PEM")
)

// readKey reads a private key in any of the ways in which source code holds one: with
// its line ends escaped, indented, or on one line.
func readKey(text string) (publicKey, error) {
	m := pemBlock.FindStringSubmatch(text)
	if m == nil {
		return publicKey{}, errKeyText
	}
	der, err := base64.RawStdEncoding.DecodeString(notBase64.ReplaceAllString(pemEscape.ReplaceAllString(m[2], ""), ""))
	if err != nil {
		return publicKey{}, errKeyText
	}
	private, err := ssh.ParseRawPrivateKey(pem.EncodeToMemory(&pem.Block{Type: m[1], Bytes: der}))
	var locked *ssh.PassphraseMissingError
	if errors.As(err, &locked) && locked.PublicKey != nil {
		return publicKey{ssh: locked.PublicKey}, nil // OpenSSH encrypts only the other half
	}
	if err != nil {
		return publicKey{}, errKeyText
	}
	key, err := publicHalf(private)
	if pointer, ok := private.(*ed25519.PrivateKey); ok {
		private = *pointer // of OpenSSH's format
	}
	if der, fault := x509.MarshalPKCS8PrivateKey(private); err == nil && fault == nil {
		key.private = checks.NewSecret(string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})))
	}
	return key, err
}

func publicHalf(private any) (publicKey, error) {
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		return publicKey{}, errKeyText // a kind that SSH does not know, such as X25519
	}
	key := publicKey{ssh: signer.PublicKey()}
	if c, ok := key.ssh.(ssh.CryptoPublicKey); ok {
		key.crypto = c.CryptoPublicKey()
		key.spki, _ = x509.MarshalPKIXPublicKey(key.crypto) // not of DSA
	}
	return key, nil
}

// identity names the key as ssh-keygen -l and openssl do.
func (k publicKey) identity() map[string]string {
	named := map[string]string{"type": k.ssh.Type(), "ssh_fingerprint": ssh.FingerprintSHA256(k.ssh)}
	if k.spki != nil {
		sum := sha256.Sum256(k.spki)
		named["spki_sha256"] = base64.StdEncoding.EncodeToString(sum[:])
	}
	if r, ok := k.crypto.(*rsa.PublicKey); ok {
		named["bits"] = strconv.Itoa(r.N.BitLen())
	}
	return named
}

// sameKey reports whether a certificate is for the key.
func (k publicKey) sameKey(c *x509.Certificate) bool {
	return k.spki != nil && bytes.Equal(k.spki, c.RawSubjectPublicKeyInfo)
}

// newPKI are the PKI engines of Vault that the operator names.
func newPKI(v *vault, cfg Config, now func() time.Time) ([]place, error) {
	roles, err := parsePKIRoles(cfg.VaultPKIRoles, cfg.VaultPKIMounts)
	if err != nil || v.whyNoIssue(nil) != "" {
		return nil, err
	}
	var all []place
	for _, mount := range cfg.VaultPKIMounts {
		mount = strings.Trim(mount, "/")
		all = append(all, &pkiMount{vault: v, mount: mount, roles: roles[mount], now: now})
	}
	return all, nil
}

// newPlaces reads the operator's lists.
func newPlaces(cfg Config, w *web, now func() time.Time) ([]place, error) {
	var all []place
	for n, entry := range cfg.SSHAccounts {
		account, err := parseSSHAccount(strings.TrimSpace(entry))
		if err != nil {
			return nil, errPlace("STANCH_VERIFY_SSH", n, err)
		}
		all = append(all, account)
	}
	for n, entry := range cfg.TLSServers {
		server, err := parseTLSServer(strings.TrimSpace(entry))
		if err != nil {
			return nil, errPlace("STANCH_VERIFY_TLS", n, err)
		}
		all = append(all, server)
	}
	for n, entry := range cfg.GitHubUsers {
		user, err := parseGitHubUser(strings.TrimSpace(entry), w, now)
		if err != nil {
			return nil, errPlace("STANCH_VERIFY_GITHUB_USERS", n, err)
		}
		all = append(all, user)
	}
	return all, nil
}

func errPlace(list string, n int, err error) error {
	return fmt.Errorf("%s, entry %d: %w", list, n+1, err)
}
