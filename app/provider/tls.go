package provider

import (
	"context"
	"crypto/tls"
	"errors"
	"time"
)

// A tlsServer is one that may use the key. A handshake proves that it does: whoever
// answers has to sign with the private half.
type tlsServer struct{ endpoint }

// parseTLSServer reads "HOST" or "HOST:PORT".
func parseTLSServer(entry string) (tlsServer, error) {
	h, err := parseHost(entry)
	if err != nil || h.name == "" || h.insecure {
		return tlsServer{}, errors.New("write HOST or HOST:PORT")
	}
	if h.port == "" {
		h.port = "443"
	}
	return tlsServer{endpoint{name: h.name, port: h.port}}, nil
}

func (s tlsServer) String() string { return s.address() }

// look compares the server's certificate with the key. Who issued it does not matter:
// a leaked key is as bad under an expired certificate of nobody's.
func (s tlsServer) look(ctx context.Context, key publicKey) (map[string]string, string) {
	conn, err := s.dial(ctx)
	if err != nil {
		return nil, class(err)
	}
	defer conn.Close()
	secured := tls.Client(conn, &tls.Config{ServerName: s.name, MinVersion: tls.VersionTLS12, InsecureSkipVerify: true})
	if err := secured.HandshakeContext(ctx); err != nil {
		return nil, class(err)
	}
	leaf := secured.ConnectionState().PeerCertificates[0]
	if !key.sameKey(leaf) {
		return nil, ""
	}
	return map[string]string{
		"server": s.address(), "subject": leaf.Subject.String(), "issuer": leaf.Issuer.String(),
		"serial": leaf.SerialNumber.Text(16), "expires": leaf.NotAfter.UTC().Format(time.RFC3339),
	}, ""
}
