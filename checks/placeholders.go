package checks

import "strings"

// plausible reports whether a value, written in such a form, may be a password or
// key. The more the form looks like code, the less the value may.
func plausible(name, value string, how form) bool {
	switch {
	case passed(plain(name)) || placeholder(name, value) || public(value) || code(value) || number(value):
		return false
	case uuid(value) && isToken(plain(name)):
		return false
	case how == quoted:
		return !strings.ContainsAny(value, " \t") && strings.IndexAny(value, "\"'`+") != 0 && (mixed(value) || !spelt(value))
	}
	return mixed(value) && !camel(value) && (strings.ContainsAny(value, "0123456789") || !spelt(value)) && !strings.Contains(strings.TrimRight(value, "="), "=")
}

// number reports whether value is a number, such as that of an ioctl, or a date.
func number(value string) bool {
	if hex, found := strings.CutPrefix(strings.TrimPrefix(value, "-"), "0x"); found {
		return len(hex) <= 16 && strings.Trim(strings.ToLower(hex), "0123456789abcdef") == ""
	}
	return strings.Trim(value, "0123456789.:-+eETZ_,/") == ""
}

// spelt reports whether value is words after all, whatever marks stand between them.
func spelt(value string) bool {
	words := []byte(value)
	for i, b := range words {
		if !isAlnum(b) {
			words[i] = '_'
		}
	}
	return namelike(string(words))
}

// camel reports whether a bare value is a name in a program that has a number in it,
// as in ed25519PrivateKey.
func camel(value string) bool {
	joint := false
	var letters strings.Builder
	for i := range len(value) {
		b := value[i]
		switch {
		case isLetter(b):
			letters.WriteByte(b)
			joint = joint || i > 1 && i+1 < len(value) && b < 'a' && value[i-1] > 'Z' && value[i+1] >= 'a'
		case b < '0' || b > '9':
			return false
		}
	}
	return joint && len(value) < 24 && len(value)-letters.Len() <= 5 && worded(letters.String(), 28)
}

// uuid reports whether value has the form of a UUID, which most often names
// something.
func uuid(value string) bool {
	if len(value) != 36 {
		return false
	}
	for i := range len(value) {
		if dash := i == 8 || i == 13 || i == 18 || i == 23; dash != (value[i] == '-') {
			return false
		}
	}
	return true
}

// foreign reports whether a file is of a kind in which what looks like a password
// is none of its authors': dependencies, compiled and generated files, pictures.
func foreign(path string) bool {
	path = strings.ToLower(path)
	for _, part := range []string{"node_modules/", "site-packages/", "dist-packages/", "bower_components/", "/vendor/", "__pycache__/", "testdata/", ".min.", "_test.go", "package-lock.json", "composer.lock", "yarn.lock"} {
		if strings.Contains(path, part) {
			return true
		}
	}
	if strings.HasPrefix(path, "vendor/") {
		return true
	}
	dot := strings.LastIndexByte(path, '.')
	if dot < 0 {
		return false
	}
	switch path[dot:] {
	case ".sum", ".lock", ".svg", ".map", ".pyc", ".class", ".po", ".pot", ".mo", ".snap", ".css", ".scss", ".wasm", ".woff", ".ttf", ".png", ".jpg", ".gif", ".pdf", ".ico":
		return true
	}
	return false
}

// mixed reports whether value has letters and digits, or letters in both cases and
// a mark, as passwords have and words have not.
func mixed(value string) bool {
	var lower, upper, digit, mark bool
	for i := range len(value) {
		switch b := value[i]; {
		case b >= 'a' && b <= 'z':
			lower = true
		case b >= 'A' && b <= 'Z':
			upper = true
		case b >= '0' && b <= '9':
			digit = true
		case b != '_' && b != '-' && b != '.' && b != '/' && b != ':':
			mark = true
		}
	}
	return digit && (lower || upper) || lower && upper && (mark || len(value) >= 16)
}

// code reports whether a value is an expression: a call, an index.
func code(value string) bool {
	i := strings.IndexAny(value, "([")
	return i > 0 && !notWord(rune(value[i-1])) && strings.ContainsAny(value[i:], ")]")
}

// isToken reports whether a name says no more than that.
func isToken(name string) bool { return strings.HasSuffix(name, "token") }

// passed reports whether a name is one of tokens and keys that everybody may see, or
// that last for one request.
func passed(name string) bool {
	for _, word := range []string{"csrf", "xsrf", "page", "next", "cursor", "continuation", "sync", "cancel", "public", "publishable", "site", "hash", "checksum", "digest",
		"fingerprint", "recaptcha", "requesttoken", "clienttoken", "changetoken", "actiontoken", "beacon", "analytics", "placeholder", "label", "example", "idempotency", "pagination", "resume", "verification"} {
		if strings.Contains(name, word) {
			return true
		}
	}
	return false
}

// public reports whether value is known to be no secret by its beginning: the public
// half of a pair, a checksum, a name in a registry of names.
func public(value string) bool {
	for _, prefix := range []string{"2YotnF", "tGzv3J", "7Fjfp0", "gX1fBa", "czZCaG", "mF_9.B", "kd94hf", "nnch73", "SlAV32", // of the examples in OAuth's RFCs
		"akab-", "AKIA", "ASIA", "SCWX", "pk_live_", "pk_test_", "sha1-", "sha256-", "sha384-", "sha512-", "sha256:", "sha512:",
		"ssh-rsa", "ssh-ed25519", "AAAAB3", "AAAAC3", "urn:", "arn:", "MIIBIjAN", "MFkwEwYH", "data:", "vault:", "secret/", "ENC[", "enc:", "$2", "{cipher}", "!vault", "age1", "xmlns", "op:", "ref+", "ssm:", "kms:"} {
		if strings.HasPrefix(value, prefix) {
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
	return known(value)
}

// placeholder reports whether value, assigned to something called name, is a
// stand-in for a password and not one.
func placeholder(name, value string) bool {
	return dummy(value) || known(value) || interpolated(value) || wordy(value) || addresses(value) || echoes(name, value) || vector(name, value)
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
	if value[0] == '^' && value[len(value)-1] == '$' { // a pattern
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

// wordy reports whether value is made of words, like an identifier or a message, or
// of digits or marks alone, or holds a word that people write where a password will
// go.
func wordy(value string) bool {
	var letters, digits int
	for i := range len(value) {
		switch b := value[i]; {
		case b >= '0' && b <= '9':
			digits++
		case isLetter(b):
			letters++
		case b < ' ' || b > '~':
			return true // a text in some language, or none at all
		}
	}
	if letters == 0 || namelike(strings.TrimRight(strings.TrimSuffix(value, "1234"), "!")) {
		return true
	}
	if digits == 0 && letters == len(value) && len(value) < 12 && changes(value) < 3 {
		return true // too short to tell from a name
	}
	lower := strings.ToLower(value)
	if digits == 0 && lower == value && spelt(value) {
		return true
	}
	if i := strings.IndexByte(value, '%'); i >= 0 && i+3 <= len(value) && worded(value[:i]+value[i+3:], 28) {
		return true // a word, with a mark as URLs write it
	}
	for _, word := range []string{
		"replace", "insert", "todo", "fixme", "xxxx", "****", "dummy", "fake", "notreal", "notareal", "foobar", "placeholder", "changeit", "change_me", "change-me",
		"123456789", "abcdefg", "abc123", "abcd1234", "letmein", "undefined", "enter_", "enter-", "-here", "_here", "your", "sample", "testtest", "notasecret", "not-a-secret",
	} {
		if strings.Contains(lower, word) {
			return true
		}
	}
	return false
}

// changes counts how often the letters' case changes in value.
func changes(value string) (n int) {
	for i := 1; i < len(value); i++ {
		if (value[i] < 'a') != (value[i-1] < 'a') {
			n++
		}
	}
	return n
}

// addresses reports whether value is a path, a URL or a file's name: it says
// where a secret is, and is none.
func addresses(value string) bool {
	if strings.Contains(value, "://") || strings.HasPrefix(value, "/") && (spelt(value) || strings.Count(value, "/") > 2 && !strings.HasSuffix(value, "=")) || strings.HasPrefix(value, "~") || strings.HasPrefix(value, "arn:") {
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
	return strings.Map(func(r rune) rune {
		if r == '_' || r == '-' || r == '.' || r == ' ' {
			return -1
		}
		return r
	}, strings.ToLower(s))
}
