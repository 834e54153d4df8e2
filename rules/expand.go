package rules

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// maxExpansion bounds what a template may grow to. The longest real credential,
// an RSA key of 16,384 bits, is a fifth of it.
const maxExpansion = 64 << 10

// classes are the alphabets that templates draw from.
func class(name string) string {
	const (
		digits = "0123456789"
		lower  = "abcdefghijklmnopqrstuvwxyz"
		upper  = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	)
	switch name {
	case "digit":
		return digits
	case "lower":
		return lower
	case "upper":
		return upper
	case "hex":
		return digits + "abcdef"
	case "HEX":
		return digits + "ABCDEF"
	case "base32":
		return upper + "234567"
	case "alnumlower":
		return digits + lower
	case "alnumupper":
		return digits + upper
	case "base62":
		return base62
	case "word":
		return base62 + "_"
	case "base64":
		return base62 + "+/"
	case "base64url":
		return base62 + "-_"
	}
	return ""
}

// Expand fills a template with values drawn from random, so that texts shaped
// like credentials exist at run time only and never in a repository:
//
//	{36:base62}      36 random characters of a class: base62, base64, base64url,
//	                 base32, hex, HEX, digit, lower, upper, alnumlower, alnumupper, word
//	{crc32}          GitHub's checksum of the random characters just before it
//	{jwt}            a JSON Web Token with a random signature
//	{glpat-routable} a routable GitLab token, checksum and all
//	{pem:rsa}        a private key block: rsa, ec, dsa, openssh, pkcs8, encrypted, pgp
//	{pem-json:rsa}   the same inside a JSON string, its line ends written as \n
//	{{ and }}        literal braces
//
// Examples may also say {sample}; see Rule.Expand.
func Expand(template string, random io.Reader) (string, error) {
	e := expansion{random: random}
	for rest := template; rest != ""; {
		var err error
		if rest, err = e.step(rest); err != nil {
			return "", err
		}
		if e.out.Len() > maxExpansion {
			return "", fmt.Errorf("template grows beyond %d bytes: shorten it", maxExpansion)
		}
	}
	return e.out.String(), nil
}

// Expand fills text, one of the rule's examples or counterexamples, and reports
// the value that {sample} stood for: the same one wherever it stands.
func (r *Rule) Expand(text string, random io.Reader) (expanded, sample string, err error) {
	sample, err = Expand(r.Sample, random)
	if err != nil {
		return "", "", fmt.Errorf("rule %s: sample: %w", r.ID, err)
	}
	literal := strings.NewReplacer("{", "{{", "}", "}}").Replace(sample)
	expanded, err = Expand(strings.ReplaceAll(text, "{sample}", literal), random)
	if err != nil {
		return "", "", fmt.Errorf("rule %s: example: %w", r.ID, err)
	}
	return expanded, sample, nil
}

// Prefix is the public beginning of the rule's values, such as "ghp_": the
// literal text that its sample starts with.
func (r *Rule) Prefix() string {
	prefix, _, _ := strings.Cut(r.Sample, "{")
	return prefix
}

// An expansion is a template that is being filled.
type expansion struct {
	random io.Reader
	out    strings.Builder
	body   strings.Builder // the random characters since the last literal
}

// step handles the first element of template and returns the rest.
func (e *expansion) step(template string) (string, error) {
	switch {
	case strings.HasPrefix(template, "{{"), strings.HasPrefix(template, "}}"):
		e.literal(template[:1])
		return template[2:], nil
	case template[0] == '}':
		return "", errors.New("template has a single } : write }} for a literal one")
	case template[0] != '{':
		end := strings.IndexAny(template, "{}")
		if end < 0 {
			end = len(template)
		}
		e.literal(template[:end])
		return template[end:], nil
	}
	inside, rest, found := strings.Cut(template[1:], "}")
	if !found {
		return "", errors.New("template has a { without }: write {{ for a literal one")
	}
	return rest, e.fill(inside)
}

// literal writes text, which ends the body that {crc32} covers.
func (e *expansion) literal(text string) {
	e.out.WriteString(text)
	e.body.Reset()
}

// fill writes what {inside} stands for.
func (e *expansion) fill(inside string) error {
	kind, argument, _ := strings.Cut(inside, ":")
	switch kind {
	case "crc32":
		return e.crc()
	case "jwt":
		return e.jwt()
	case "glpat-routable":
		return e.routable()
	case "pem":
		return e.pem(argument, "\n")
	case "pem-json":
		return e.pem(argument, `\n`)
	}
	n, err := strconv.Atoi(kind)
	if err != nil || n < 1 || n > maxExpansion || class(argument) == "" {
		return fmt.Errorf("template says {%s}: known are {N:class}, {crc32}, {jwt}, {glpat-routable}, {pem:kind} and {pem-json:kind}", inside)
	}
	drawn, err := e.draw(n, class(argument))
	e.out.WriteString(drawn)
	e.body.WriteString(drawn)
	return err
}

// draw returns n characters of alphabet, each as likely as the other.
func (e *expansion) draw(n int, alphabet string) (string, error) {
	drawn := make([]byte, 0, n)
	fair := 256 - 256%len(alphabet) // bytes from here on would favour the first letters
	var buf [64]byte
	for len(drawn) < n {
		chunk := buf[:min(len(buf), n-len(drawn))]
		if _, err := io.ReadFull(e.random, chunk); err != nil {
			return "", fmt.Errorf("read random bytes for a template: %w", err)
		}
		for _, b := range chunk {
			if int(b) < fair {
				drawn = append(drawn, alphabet[int(b)%len(alphabet)])
			}
		}
	}
	return string(drawn), nil
}

// crc writes the checksum of the body.
func (e *expansion) crc() error {
	if e.body.Len() == 0 {
		return errors.New("template has {crc32} without random characters before it")
	}
	e.literal(crcBase62(e.body.String()))
	return nil
}

// jwt writes a token with an honest header and a signature that signs nothing.
func (e *expansion) jwt() error {
	subject, err := e.draw(10, class("digit"))
	if err != nil {
		return err
	}
	signature, err := e.draw(43, class("base64url"))
	if err != nil {
		return err
	}
	encode := base64.RawURLEncoding.EncodeToString
	e.literal(encode([]byte(`{"alg":"HS256","typ":"JWT"}`)) + "." +
		encode([]byte(`{"sub":"`+subject+`"}`)) + "." + signature)
	return nil
}

// routable writes glpat-PAYLOAD.01.LLccccccc, where LL is the payload's length.
func (e *expansion) routable() error {
	const length = 48
	payload, err := e.draw(length, class("base64url"))
	if err != nil {
		return err
	}
	token := "glpat-" + payload + ".01." + fmt.Sprintf("%02s", strconv.FormatInt(length, 36))
	e.literal(token + crcBase36(token))
	return nil
}
