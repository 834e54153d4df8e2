package provider

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"

	"golang.org/x/crypto/ssh"
)

// An sshAccount is a user's at an SSH server, whom the server may trust the key for.
// The server says so when it is asked, before anything is signed: RFC 4252 §7.
type sshAccount struct {
	endpoint
	user        string
	fingerprint string // of the server's own key: "SHA256:…"
}

// parseSSHAccount reads "USER@HOST=SHA256:…" or "USER@HOST:PORT=SHA256:…".
func parseSSHAccount(entry string) (sshAccount, error) {
	account, fingerprint, _ := strings.Cut(entry, "=")
	user, host, _ := strings.Cut(account, "@")
	h, err := parseHost(host)
	if err != nil || user == "" || h.name == "" || h.insecure || !strings.HasPrefix(fingerprint, "SHA256:") {
		return sshAccount{}, errors.New("write USER@HOST=SHA256:… or USER@HOST:PORT=SHA256:…, with the fingerprint that ssh-keygen -l tells of the server's own key")
	}
	if h.port == "" {
		h.port = "22"
	}
	return sshAccount{endpoint: endpoint{name: h.name, port: h.port}, user: user, fingerprint: fingerprint}, nil
}

func (a sshAccount) String() string { return a.user + "@" + a.address() }

func (a sshAccount) look(ctx context.Context, key publicKey) (map[string]string, string) {
	accepted, fault := a.ask(ctx, key.ssh)
	if !accepted {
		return nil, fault
	}
	return map[string]string{"account": a.String()}, ""
}

// ask asks whether the server would take one of some keys. A fault says why it did not
// tell; without one it said yes or no.
func (a sshAccount) ask(ctx context.Context, keys ...ssh.PublicKey) (accepted bool, fault string) {
	conn, err := a.dial(ctx)
	if err != nil {
		return false, class(err)
	}
	defer conn.Close()
	var signers []ssh.Signer
	for _, key := range keys {
		signers = append(signers, &question{key: key, accepted: &accepted})
	}
	client, channels, requests, err := ssh.NewClientConn(conn, a.address(), &ssh.ClientConfig{
		User: a.user, Auth: []ssh.AuthMethod{ssh.PublicKeys(signers...)}, HostKeyCallback: a.checkServer, ClientVersion: "SSH-2.0-stanch",
	})
	switch {
	case accepted:
		return true, ""
	case err == nil: // nobody had to prove anything
		ssh.NewClient(client, channels, requests).Close()
		return false, "the server lets everybody in"
	case errors.Is(err, errServerKey):
		return false, errServerKey.Error()
	case strings.Contains(err.Error(), "attempted methods [none publickey]"):
		return false, "" // it was asked about the keys, and said no
	}
	return false, class(err)
}

var errServerKey = errors.New("the server's own key is not the one that the operator named")

func (a sshAccount) checkServer(_ string, _ net.Addr, key ssh.PublicKey) error {
	if ssh.FingerprintSHA256(key) != a.fingerprint {
		return errServerKey
	}
	return nil
}

// A question is a key that is only asked about: when the server would take it, and
// wants a signature, it gets none.
type question struct {
	key      ssh.PublicKey
	accepted *bool
}

var errUnsigned = errors.New("only asked")

func (q *question) PublicKey() ssh.PublicKey { return q.key }

func (q *question) Sign(r io.Reader, data []byte) (*ssh.Signature, error) {
	return q.SignWithAlgorithm(r, data, "")
}

func (q *question) SignWithAlgorithm(io.Reader, []byte, string) (*ssh.Signature, error) {
	*q.accepted = true
	return nil, errUnsigned
}
