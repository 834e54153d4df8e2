package main

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/stanch-dev/stanch/checks"
)

const (
	fingerprintVariable = "STANCH_FINGERPRINT_KEY"
	fingerprintKeySize  = 32 // bytes, as checks.FingerprintKey says
)

// fingerprintKey finds the key under which the command line names secrets: the
// environment's, or one that is made at first use and stays on this machine, so
// that the same secret has the same fingerprint tomorrow.
func (env *environment) fingerprintKey() (checks.FingerprintKey, error) {
	text, err := lookup(env.getenv, fingerprintVariable)
	switch {
	case err != nil:
		return nil, err
	case text != "":
		key, err := decodeKey(text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", fingerprintVariable, err)
		}
		return key, nil
	}
	key, err := keptKey()
	if errors.Is(err, errBadKey) {
		return nil, err
	}
	if err != nil {
		fmt.Fprintf(env.stderr, "stanch: fingerprints are good for this run only, as no key could be kept: %v\n", err)
		return newKey(), nil
	}
	return key, nil
}

// errBadKey says that there is a key and that it is none.
var errBadKey = errors.New("it must be 32 random bytes in hex or base64")

// decodeKey reads a key in hex or base64. Messages do not repeat it.
func decodeKey(text string) (checks.FingerprintKey, error) {
	text = strings.TrimSpace(text)
	for _, decode := range []func(string) ([]byte, error){
		hex.DecodeString,
		base64.StdEncoding.DecodeString, base64.RawStdEncoding.DecodeString,
		base64.URLEncoding.DecodeString, base64.RawURLEncoding.DecodeString,
	} {
		if key, err := decode(text); err == nil && len(key) == fingerprintKeySize {
			return key, nil
		}
	}
	return nil, errBadKey
}

func newKey() checks.FingerprintKey {
	key := make([]byte, fingerprintKeySize)
	rand.Read(key) // never fails, says its documentation
	return key
}

// keptKey reads the user's key file and makes it if there is none.
func keptKey() (checks.FingerprintKey, error) {
	base, err := os.UserConfigDir()
	if err != nil {
		return nil, err
	}
	path := filepath.Join(base, "stanch", "fingerprint.key")
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		if err = makeKeyFile(path); err == nil {
			text, err = os.ReadFile(path)
		}
	}
	if err != nil {
		return nil, err
	}
	key, err := decodeKey(string(text))
	if err != nil {
		return nil, fmt.Errorf("fingerprint key %s: %w; remove the file to have a new one made", path, err)
	}
	return key, nil
}

// makeKeyFile writes a new key, readable by its owner alone. When two programs
// do so at once the first wins, and no reader sees half a key.
func makeKeyFile(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".fingerprint-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.WriteString(hex.EncodeToString(newKey()) + "\n")
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err = os.Link(f.Name(), path); errors.Is(err, fs.ErrExist) {
		return nil
	}
	return err
}
