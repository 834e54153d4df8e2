package provider

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
)

const (
	maxSSHHosts = 32
	// hostWithin bounds the question to one host: one that is down is not to take the
	// time of the others.
	hostWithin = answerWithin / 2
	// skewed is how wrong the clock of a host may be: a certificate that is not valid by
	// its clock would be refused, and prove nothing.
	skewed = 24 * time.Hour
)

// An sshHost is an account at a host of the operator's that lets in whoever has a
// certificate of an authority.
type sshHost struct {
	sshAccount
	principal string // that a certificate must name there
}

// parseSSHHost reads "USER@HOST:PORT=SHA256:…", or "PRINCIPAL/USER@HOST:PORT=SHA256:…"
// where certificates name something else than the user.
func parseSSHHost(entry string) (h sshHost, err error) {
	if h.sshAccount, err = parseSSHAccount(entry); err != nil {
		return h, err
	}
	h.principal = h.user
	if principal, user, ok := strings.Cut(h.user, "/"); ok {
		h.principal, h.user = principal, user
	}
	if h.principal == "" || h.user == "" {
		return h, errors.New("write USER@HOST=SHA256:…, or PRINCIPAL/USER@HOST=SHA256:… where certificates name a principal of that name")
	}
	return h, nil
}

func parseSSHHosts(entries []string) (all []sshHost, err error) {
	if len(entries) > maxSSHHosts {
		return nil, fmt.Errorf("STANCH_SSH_HOSTS names more than %d hosts: name some of each kind", maxSSHHosts)
	}
	for n, entry := range entries {
		h, err := parseSSHHost(strings.TrimSpace(entry))
		if err != nil {
			return nil, errPlace("STANCH_SSH_HOSTS", n, err)
		}
		all = append(all, h)
	}
	return all, nil
}

// trusts asks a host whether it would take a certificate of an authority. The keys that
// are certified are nobody's: nobody can log in with them, and nobody does.
func (h sshHost) trusts(ctx context.Context, authority ssh.Signer, now time.Time) (trusted bool, why string) {
	ctx, cancel := context.WithTimeout(ctx, hostWithin)
	defer cancel()
	keys, err := nobodysKeys()
	if err != nil {
		return false, "no key can be made"
	}
	var certificates []ssh.PublicKey
	for _, key := range keys {
		c := &ssh.Certificate{
			Key: key, CertType: ssh.UserCert, KeyId: "stanch asks", ValidPrincipals: []string{h.principal},
			ValidAfter: uint64(now.Add(-skewed).Unix()), ValidBefore: uint64(now.Add(skewed).Unix()),
			Permissions: ssh.Permissions{CriticalOptions: map[string]string{"force-command": "false"}},
		}
		if err := c.SignCert(rand.Reader, authority); err != nil {
			return false, "the key signs no certificate"
		}
		certificates = append(certificates, c)
	}
	return h.ask(ctx, certificates...)
}

// nobodysKeys are public keys whose other halves nobody has. A host may take the one kind
// and not the other.
func nobodysKeys() ([]ssh.PublicKey, error) {
	plain, _, err := ed25519.GenerateKey(nil)
	if err != nil {
		return nil, err
	}
	curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	one, err := ssh.NewPublicKey(plain)
	if err != nil {
		return nil, err
	}
	other, err := ssh.NewPublicKey(curve.Public())
	return []ssh.PublicKey{one, other}, err
}

// askHosts asks all hosts at once. Why says of one that did not answer what went wrong.
func askHosts(ctx context.Context, hosts []sshHost, authority ssh.Signer, now time.Time) (trusting []string, why string) {
	trusts, faults := make([]bool, len(hosts)), make([]string, len(hosts))
	var all sync.WaitGroup
	for n, h := range hosts {
		all.Go(func() { trusts[n], faults[n] = h.trusts(ctx, authority, now) })
	}
	all.Wait()
	for n, h := range hosts {
		if trusts[n] {
			trusting = append(trusting, h.String())
		}
		if faults[n] != "" && why == "" {
			why = h.String() + ": " + faults[n]
		}
	}
	return trusting, why
}
