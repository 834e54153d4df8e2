package githubtest

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"net/url"
	"strings"
)

// Holds reports whether a text holds a secret in any form in which one slips out:
// as it stands, in hex, URL-encoded, or in base64 at each of its three
// alignments. Tests search with it what a server wrote and what it told GitHub.
func Holds(text []byte, secret string) bool {
	for _, form := range forms(secret) {
		if bytes.Contains(text, []byte(form)) {
			return true
		}
	}
	return false
}

func forms(value string) []string {
	digits := hex.EncodeToString([]byte(value))
	all := []string{value, url.QueryEscape(value), digits, strings.ToUpper(digits)}
	for shift := range 3 {
		for _, enc := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
			text := enc.EncodeToString([]byte(strings.Repeat(" ", shift) + value))
			all = append(all, text[4:len(text)-4]) // without the ends, which depend on the neighbours
		}
	}
	return all
}
