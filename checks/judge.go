package checks

import (
	"math"
	"strings"

	"github.com/stanch-dev/stanch/rules"
)

// credible reports whether value may be a credential that the rule describes. It
// sorts out what only has the shape of one: wrong checksums, documentation's
// dummies, and for rules that ask for it the passwords that nobody uses.
func credible(d *rules.Detect, name, value string) bool {
	if d.Checksum != "" && !rules.ValidChecksum(d.Checksum, value) {
		return false
	}
	if entropy(value) < d.Entropy {
		return false
	}
	if d.Placeholders && d.Exact {
		return !standIn(name, value)
	}
	if d.Placeholders {
		return !placeholder(name, value)
	}
	return !dummy(value)
}

// entropy is the Shannon entropy of s in bits a byte.
func entropy(s string) float64 {
	if s == "" {
		return 0
	}
	var count [256]int
	for i := range len(s) {
		count[s[i]]++
	}
	var sum float64
	for _, n := range count {
		if n > 0 {
			p := float64(n) / float64(len(s))
			sum -= p * math.Log2(p)
		}
	}
	return sum
}

const (
	// longestRun is how many equal characters in a row a random value may have.
	// Eight in a row come up once in 62^7 values.
	longestRun = 7
	// longestToken is how long a value is that is random all through. Longer ones
	// encode something, and zeros in it are a run of As: each OpenSSH key has one.
	longestToken = 128
)

// dummy reports whether value is written to stand for a credential, as in
// documentation: no random value says "example" or repeats a letter eight times.
func dummy(value string) bool {
	lower := strings.ToLower(value)
	for _, word := range []string{"example", "placeholder", "changeme", "redacted", "your-", "your_", "dummy-", "dummy_"} {
		if strings.Contains(lower, word) {
			return true
		}
	}
	if len(value) > longestToken {
		return false
	}
	run := 1
	for i := 1; i < len(value); i++ {
		if value[i] != value[i-1] {
			run = 0
		}
		if run++; run > longestRun {
			return true
		}
	}
	return false
}

// standIn reports whether value as a whole stands for a password that somebody
// will fill in, or is the one that every manual has: the user's name again, a word
// such as "password", a variable.
func standIn(user, value string) bool {
	if dummy(value) || strings.EqualFold(user, value) {
		return true
	}
	if strings.ContainsAny(value[:1], "$<{[(*") || strings.ContainsAny(value, "{}") || strings.Contains(value, "%(") {
		return true
	}
	if value[0] == '%' && value[len(value)-1] == '%' || strings.Trim(value, ".") == "" {
		return true
	}
	switch plain(value) {
	case "password", "passwd", "passphrase", "passwort", "secret", "hunter2", "foobar", "foobarbaz", "sample", "supersecret", "topsecret", "username", "credentials",
		"yourpassword", "mypassword", "mysecretpassword", "mysecretpw", "somepassword", "thepassword", "userpassword", "userpass", "newpassword",
		"dbpassword", "dbpass", "databasepassword", "adminpassword", "rootpassword", "testpassword", "testing", "postgrespassword", "mysqlpassword",
		"mongopassword", "redispassword", "postgres", "mongodb", "password1", "password123", "pass123", "test123", "test1234", "123456", "12345678":
		return true
	}
	return false
}

// placeholder reports whether value, assigned to something called name, is a
// stand-in for a password and not one.
func placeholder(name, value string) bool {
	return dummy(value) || interpolated(value) || wordy(value) || addresses(value) || echoes(name, value) || vector(name, value)
}

// interpolated reports whether value is filled in by a shell, a template or a
// formatter, or is a piece of code.
func interpolated(value string) bool {
	switch value[0] {
	case '$', '<', '%', '{', '[', '(', '&', '*', '=', '\\', ':', '.', ',':
		return true
	}
	if _, rest, found := strings.Cut(value, "{"); found && strings.Contains(rest, "}") {
		return true
	}
	if value[len(value)-1] == '(' { // a call, cut by a quote in it
		return true
	}
	for _, mark := range []string{"$(", "<%", "%>", "%s", "%v", "%d", "%q", "%(", "...", "\\u", "\\x", "\\n", "()", "=>", "->", "::", "<", "&&", "||"} {
		if strings.Contains(value, mark) {
			return true
		}
	}
	return false
}

// wordy reports whether value is made of letters and separators alone, like an
// identifier or a message, or of digits alone, or holds a word that people write
// where a password will go.
func wordy(value string) bool {
	var letters, digits int
	for i := range len(value) {
		switch b := value[i]; {
		case b >= '0' && b <= '9':
			digits++
		case b|0x20 >= 'a' && b|0x20 <= 'z':
			letters++
		}
	}
	if letters == 0 || digits == 0 {
		return true
	}
	lower := strings.ToLower(value)
	for _, word := range []string{
		"sample", "replace", "insert", "todo", "fixme", "xxxx", "****", "dummy", "fake", "notreal", "notareal", "foobar", "test", "mock", "secret", "passw",
		"1234", "abcd", "abc123", "qwerty", "letmein", "default", "none", "null", "undefined", "enter", "here", "token", "apikey", "api_key",
	} {
		if strings.Contains(lower, word) {
			return true
		}
	}
	return false
}

// addresses reports whether value is a path, a URL or a file's name: it says
// where a secret is, and is none.
func addresses(value string) bool {
	if strings.Contains(value, "://") || strings.HasPrefix(value, "/") || strings.HasPrefix(value, "~") || strings.HasPrefix(value, "arn:") {
		return true
	}
	if member(value) {
		return true
	}
	if dot := strings.LastIndexByte(value, '.'); dot >= 0 {
		switch strings.ToLower(value[dot+1:]) {
		case "go", "js", "ts", "py", "rb", "md", "txt", "yml", "yaml", "json", "pem", "key", "crt", "com", "org", "net", "html", "svg", "png":
			return true
		}
	}
	return false
}

// member reports whether value names a member of something, as in user1.password:
// words joined by dots, none of which begins with a digit.
func member(value string) bool {
	words := strings.Split(value, ".")
	for _, w := range words {
		if w == "" || w[0] >= '0' && w[0] <= '9' || strings.IndexFunc(w, notWord) >= 0 {
			return false
		}
	}
	return len(words) > 1
}

// notWord reports whether r cannot stand in an identifier.
func notWord(r rune) bool {
	return r != '_' && !(r >= '0' && r <= '9') && !(r|0x20 >= 'a' && r|0x20 <= 'z')
}

// vector reports whether value is a test vector of a cryptographic protocol: what
// it calls a shared or exporter secret, in hexadecimal, opens nothing.
func vector(name, value string) bool {
	name = plain(name)
	for _, word := range []string{"shared", "exporter", "traffic", "premaster"} {
		if strings.Contains(name, word) {
			return strings.Trim(strings.ToLower(value), "0123456789abcdef") == ""
		}
	}
	return false
}

// echoes reports whether value says its own name: password = "user_password1".
func echoes(name, value string) bool {
	name, value = plain(name), plain(value)
	return name != "" && (strings.Contains(value, name) || strings.Contains(name, value))
}

// plain is s in lower case without separators.
func plain(s string) string {
	return strings.NewReplacer("_", "", "-", "", ".", "", " ", "").Replace(strings.ToLower(s))
}
