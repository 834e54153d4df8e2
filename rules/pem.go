package rules

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"strings"
)

// pemLabel is what a kind of private key is called between its dashes.
func pemLabel(kind string) string {
	// "PRIVATE KEY" is joined here so that no file of ours looks like a key.
	const private = "PRIVATE" + " KEY"
	switch kind {
	case "pkcs8":
		return private
	case "rsa", "ec", "dsa", "openssh", "encrypted":
		return strings.ToUpper(kind) + " " + private
	case "pgp":
		return "PGP " + private + " BLOCK"
	}
	return ""
}

// pem writes a private key block, its lines ended by eol. The body is random but
// for OpenSSH's, whose frame is in every such key.
func (e *expansion) pem(kind, eol string) error {
	label := pemLabel(kind)
	if label == "" {
		return fmt.Errorf("template says {pem:%s}: known are rsa, ec, dsa, openssh, pkcs8, encrypted and pgp", kind)
	}
	body, width := "", 64
	var err error
	if kind == "openssh" {
		width = 70
		body, err = e.openssh()
	} else {
		body, err = e.draw(12*width, class("base64"))
	}
	if err != nil {
		return err
	}
	e.literal("-----BEGIN " + label + "-----" + eol)
	if kind == "pgp" {
		e.literal(eol) // the empty line after the armour's headers
	}
	for body != "" {
		n := min(width, len(body))
		e.literal(body[:n] + eol)
		body = body[n:]
	}
	e.literal("-----END " + label + "-----")
	return nil
}

// openssh returns the body of an Ed25519 key without a passphrase as ssh-keygen
// writes it (openssh/openssh-portable, PROTOCOL.key).
func (e *expansion) openssh() (string, error) {
	random := make([]byte, 4+32+32)
	if _, err := io.ReadFull(e.random, random); err != nil {
		return "", fmt.Errorf("read random bytes for a template: %w", err)
	}
	check, public, seed := random[:4], random[4:36], random[36:]
	text := func(b, s []byte) []byte { return append(binary.BigEndian.AppendUint32(b, uint32(len(s))), s...) }
	kind := text(text(nil, []byte("ssh-ed25519")), public)
	private := append(append(append([]byte{}, check...), check...), kind...)
	private = text(private, append(append([]byte{}, seed...), public...))
	private = text(private, []byte("robot@build"))
	for pad := byte(1); len(private)%8 != 0; pad++ {
		private = append(private, pad)
	}
	key := []byte("openssh-key-v1\x00")
	for _, none := range []string{"none", "none", ""} { // cipher, key derivation, its options
		key = text(key, []byte(none))
	}
	key = binary.BigEndian.AppendUint32(key, 1) // one key
	return base64.StdEncoding.EncodeToString(text(text(key, kind), private)), nil
}
