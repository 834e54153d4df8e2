package secretstore

import (
	"net/url"
	"regexp"
	"strings"
)

const (
	// maxConnection bounds the texts in which passwords are looked for: longer ones are no
	// connection strings, nor files of a few settings.
	maxConnection = 8 << 10
	// maxPasswords bounds the passwords of one text.
	maxPasswords = 32
)

// inURL is a user and a password in a URL, as they stand there; inSettings is a password
// of a connection string of settings, such as libpq's or ADO.NET's.
var (
	inURL      = regexp.MustCompile(`[a-zA-Z][a-zA-Z0-9+.-]*://([^\s/?#@:]*):([^\s/?#@]+)@`)
	inSettings = regexp.MustCompile(`(?i)\b(?:password|pwd)[ ]*=[ ]*(?:"([^"\s]+)"|'([^'\s]+)'|([^\s;&"']+))`)
)

// connectionPasswords are those of the connection strings in a text, by which it is found when
// one of them leaks. In a URL they may be escaped: the escaped and the plain text count.
func connectionPasswords(text string) (all []string) {
	if len(text) > maxConnection {
		return nil
	}
	for _, m := range inURL.FindAllStringSubmatch(text, maxPasswords) {
		all = append(all, m[2])
		if text := plain(m[2]); text != m[2] {
			all = append(all, text)
		}
	}
	for _, m := range inSettings.FindAllStringSubmatch(text, maxPasswords) {
		all = append(all, strings.Join(m[1:], "")) // one of them matched
	}
	return all
}

// plain is a part of a URL without escapes.
func plain(text string) string {
	if unescaped, err := url.PathUnescape(text); err == nil {
		return unescaped
	}
	return text
}
