package rules

import (
	"encoding/base64"
	"encoding/json"
	"hash/crc32"
	"slices"
	"strconv"
	"strings"
)

// crc32Digits is how many base62 digits GitHub and npm write a CRC-32 with.
// https://github.blog/engineering/behind-githubs-new-authentication-token-formats/
const crc32Digits = 6

// routableDigits is how many base36 digits end a routable GitLab token.
// https://docs.gitlab.com/security/tokens/#gitlab-token-formats
const routableDigits = 7

// base62 is the digits of GitHub's checksum, in order of value.
const base62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// Checksums lists the names that Detect.Checksum may have.
func Checksums() []string {
	return []string{"github", "npm", "glpat-routable", "jwt"}
}

// ValidChecksum reports whether value carries the checksum called name. A value
// that does not was never issued, so it needs no question to the provider. An
// unknown name is never satisfied.
//
// "github" and "npm" end in a CRC-32 of the body; "glpat-routable" in a CRC-32 of
// everything before it; "jwt" is well-formed when its header is JSON that names
// an algorithm and its payload has a registered claim.
func ValidChecksum(name, value string) bool {
	switch name {
	case "github", "npm":
		return validCRC(value)
	case "glpat-routable":
		return validRoutable(value)
	case "jwt":
		return validJWT(value)
	}
	return false
}

// validCRC checks prefix_BODYcccccc.
func validCRC(value string) bool {
	_, body, found := strings.Cut(value, "_")
	if !found || len(body) <= crc32Digits {
		return false
	}
	cut := len(body) - crc32Digits
	return body[cut:] == crcBase62(body[:cut])
}

// crcBase62 is the CRC-32 (IEEE) of body, in base62, padded to six digits.
func crcBase62(body string) string {
	var digits [crc32Digits]byte
	sum := crc32.ChecksumIEEE([]byte(body))
	for i := crc32Digits - 1; i >= 0; i-- {
		digits[i] = base62[sum%62]
		sum /= 62
	}
	return string(digits[:])
}

// validRoutable checks glpat-PAYLOAD[.01].LLccccccc.
func validRoutable(value string) bool {
	cut := len(value) - routableDigits
	return cut > 0 && value[cut:] == crcBase36(value[:cut])
}

// crcBase36 is the CRC-32 (IEEE) of text, in base36, padded to seven digits.
func crcBase36(text string) string {
	s := strconv.FormatUint(uint64(crc32.ChecksumIEEE([]byte(text))), 36)
	return strings.Repeat("0", routableDigits-len(s)) + s
}

// validJWT checks that the first two segments say what RFC 7519 wants of them.
func validJWT(value string) bool {
	segments := strings.Split(value, ".")
	if len(segments) != 3 {
		return false
	}
	var header struct {
		Alg string `json:"alg"`
	}
	var claims map[string]json.RawMessage
	return decodeSegment(segments[0], &header) && header.Alg != "" &&
		// An unsigned token proves nothing to anybody, so it gives no access.
		!strings.EqualFold(header.Alg, "none") &&
		decodeSegment(segments[1], &claims) && worthy(claims)
}

// worthy reports whether a token's claims could mean something to somebody: one
// of the registered claims is there, and it is not the token of all tutorials.
func worthy(claims map[string]json.RawMessage) bool {
	if string(claims["name"]) == `"John Doe"` {
		return false
	}
	// https://datatracker.ietf.org/doc/html/rfc7519#section-4.1
	for _, name := range []string{"iss", "sub", "aud", "exp", "nbf", "iat", "jti"} {
		if _, ok := claims[name]; ok {
			return true
		}
	}
	return false
}

// decodeSegment reads one base64url segment that holds JSON.
func decodeSegment(segment string, into any) bool {
	raw, err := base64.RawURLEncoding.DecodeString(segment)
	return err == nil && json.Unmarshal(raw, into) == nil
}

// knownChecksum reports whether name is one of Checksums.
func knownChecksum(name string) bool { return slices.Contains(Checksums(), name) }
