package store

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/json"
	"fmt"

	"github.com/stanch-dev/stanch/checks"
)

// sealCredential encrypts a credential with AES-256-GCM under a random nonce, bound to the
// incident and the column it is kept in: a ciphertext moved elsewhere does not
// open. A random 96-bit nonce is safe for 2³² seals under one key.
func (k Keys) sealCredential(c checks.Credential, place string) ([]byte, error) {
	parts := make(map[string]string, len(c.Parts))
	for name, part := range c.Parts {
		parts[name] = part.Expose()
	}
	plain, err := json.Marshal(sealed{c.Rule, parts})
	if err != nil {
		return nil, err
	}
	aead, err := k.aead()
	if err != nil {
		return nil, err
	}
	return aead.Seal(nil, nil, plain, []byte(place)), nil
}

// open decrypts what sealCredential made for the same place.
func (k Keys) open(box []byte, place string) (checks.Credential, error) {
	aead, err := k.aead()
	if err != nil {
		return checks.Credential{}, err
	}
	plain, err := aead.Open(nil, nil, box, []byte(place))
	if err != nil {
		return checks.Credential{}, fmt.Errorf("open sealed credential of %s: it was changed, or the master key is not the one that sealed it", place)
	}
	var s sealed
	if err := json.Unmarshal(plain, &s); err != nil {
		return checks.Credential{}, fmt.Errorf("open sealed credential of %s: not a credential", place)
	}
	c := checks.Credential{Rule: s.Rule, Parts: make(map[string]checks.Secret, len(s.Parts))}
	for name, part := range s.Parts {
		c.Parts[name] = checks.NewSecret(part)
	}
	return c, nil
}

type sealed struct {
	Rule  string            `json:"rule"`
	Parts map[string]string `json:"parts"`
}

func (k Keys) aead() (cipher.AEAD, error) {
	block, err := aes.NewCipher(k.seal)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}
