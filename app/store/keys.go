package store

import (
	"bytes"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"os"

	"github.com/stanch-dev/stanch/app/audit"
	"github.com/stanch-dev/stanch/checks"
)

// masterKeySize is the size of the master key in bytes.
const masterKeySize = 32

// Keys are an installation's keys. All come from one master key, which is kept
// outside the database: who has only one of the two has no secret.
type Keys struct {
	Fingerprint checks.FingerprintKey
	Audit       audit.Key
	Allow       checks.FingerprintKey // of the names that allowlists know credentials by
	seal        []byte
}

// NewKeys derives the keys from a master key of 32 bytes.
func NewKeys(master []byte) (Keys, error) {
	if len(master) != masterKeySize {
		return Keys{}, fmt.Errorf("the master key has %d bytes, not %d: make one with: openssl rand -base64 32", len(master), masterKeySize)
	}
	return Keys{
		Fingerprint: derive(master, "stanch fingerprint v1"),
		Audit:       derive(master, "stanch audit v1"),
		Allow:       derive(master, "stanch allow v1"),
		seal:        derive(master, "stanch seal v1"),
	}, nil
}

// DecodeKey decodes a master key as it stands in an environment variable or a
// key file: base64 of 32 bytes.
func DecodeKey(text string) ([]byte, error) {
	master, err := base64.StdEncoding.DecodeString(string(bytes.TrimSpace([]byte(text))))
	if err != nil {
		return nil, errors.New("the master key is not base64: make one with: openssl rand -base64 32")
	}
	return master, nil
}

// LoadKey reads the master key from a file, which it makes if there is none. It
// refuses a file that other users may read.
func LoadKey(path string) ([]byte, error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return makeKey(path)
	case err != nil:
		return nil, fmt.Errorf("read master key: %w", err)
	case info.Mode().Perm()&0o077 != 0 && os.PathSeparator == '/':
		return nil, fmt.Errorf("master key %s can be read by other users (mode %04o): run chmod 600 %s", path, info.Mode().Perm(), path)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read master key: %w", err)
	}
	master, err := DecodeKey(string(b))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return master, nil
}

func makeKey(path string) ([]byte, error) {
	master := make([]byte, masterKeySize)
	rand.Read(master) // never fails: it crashes the program instead
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, fmt.Errorf("make master key: %w", err)
	}
	_, err = fmt.Fprintln(f, base64.StdEncoding.EncodeToString(master))
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return nil, fmt.Errorf("make master key %s: %w", path, err)
	}
	return master, nil
}

// check is a value that only these keys give, kept in the database so that a
// database is never opened with the wrong key: fingerprints would not match any
// more, and an old incident would look like a new one.
func (k Keys) check() string {
	mac := hmac.New(sha256.New, k.seal)
	mac.Write([]byte("stanch key check v1"))
	return hex.EncodeToString(mac.Sum(nil))
}

func derive(master []byte, purpose string) []byte {
	key, err := hkdf.Key(sha256.New, master, nil, purpose, masterKeySize)
	if err != nil {
		panic(err) // only for lengths beyond 255 hashes
	}
	return key
}
