package checks

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
)

// redacted is what every Secret looks like to the world.
const redacted = "[redacted]"

// A Secret is a credential's value, or one part of it. It prints, logs and
// marshals as "[redacted]", whatever the verb; Expose is the only way out, and
// the repository's import test lists who may call it.
//
// The zero Secret is empty and valid.
type Secret struct{ value string }

// NewSecret returns value as a Secret.
func NewSecret(value string) Secret { return Secret{value} }

// Expose returns the value in the clear. Whoever calls it hands the value to
// the provider or to the store that it belongs to, and to nothing else.
func (s Secret) Expose() string { return s.value }

// Len is the length of the value in bytes.
func (s Secret) Len() int { return len(s.value) }

// String returns "[redacted]".
func (Secret) String() string { return redacted }

// GoString returns "[redacted]", for %#v.
func (Secret) GoString() string { return redacted }

// Format writes "[redacted]" for every verb.
func (Secret) Format(f fmt.State, _ rune) { io.WriteString(f, redacted) }

// LogValue makes slog write "[redacted]".
func (Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText makes encoding/json, encoding/xml and YAML write "[redacted]".
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// A Fingerprint names a secret without telling it: the hex form of
// HMAC-SHA-256(key, value). Equal secrets have equal fingerprints under one
// key; without the key nobody can test a guess against it.
type Fingerprint string

// A FingerprintKey is the key of an installation's fingerprints: 32 random bytes
// that are kept outside the database.
type FingerprintKey []byte

// Fingerprint returns the fingerprint of s under key.
func (s Secret) Fingerprint(key FingerprintKey) Fingerprint {
	mac := hmac.New(sha256.New, key)
	io.WriteString(mac, s.value)
	return Fingerprint(hex.EncodeToString(mac.Sum(nil)))
}
