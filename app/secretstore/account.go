package secretstore

import (
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/stanch-dev/stanch/checks"
)

// An Account is whose a stored password is, as far as what stands around it tells: the
// URL that it is in, the settings, or the fields beside it. What is not told is empty.
type Account struct {
	User string
	Host string // with a port, if that is told
}

// Accounts are those of which a field holds a password: a certain one, or any if that is
// empty. They are none if nothing is told, and several where a text holds it several
// times.
func Accounts(fields map[string]checks.Secret, field string, password checks.Secret) []Account {
	text := fields[field].Expose()
	if inside, ok := objectOf(text); ok {
		var all []Account
		nested := content("", inside).Fields
		for _, name := range slices.Sorted(maps.Keys(inside)) {
			if strings.Contains(inside[name], password.Expose()) {
				all = append(all, Accounts(nested, name, password)...)
			}
		}
		return all
	}
	all := accountsInText(text, password.Expose())
	if beside := accountBeside(fields, field); len(all) == 0 && beside != (Account{}) {
		all = append(all, beside)
	}
	return all
}

// What stands beside a password: behind it in a URL, and in a connection string of
// settings, such as libpq's, JDBC's or ADO.NET's.
var (
	hostBehind  = regexp.MustCompile(`^[^\s/?#"'` + "`" + `<>]*`)
	hostInURL   = regexp.MustCompile(`://([^\s/?#@"'` + "`" + `<>;]+)`)
	userSetting = regexp.MustCompile(`(?i)\b(?:user[ _]?(?:name|id)?|uid)[ ]*=[ ]*["']?([^\s;&"']+)`)
	hostSetting = regexp.MustCompile(`(?i)\b(?:host|hostaddr|server|data source|address|addr)[ ]*=[ ]*["']?(?:tcp:)?([^\s;&"']+)`)
	portSetting = regexp.MustCompile(`(?i)\bport[ ]*=[ ]*["']?([0-9]+)`)
)

// accountsInText are those of the connection strings in a text that hold a password.
func accountsInText(text, password string) (all []Account) {
	if len(text) > maxConnection {
		return nil
	}
	is := func(found string) bool { return password == "" || found == password || plain(found) == password }
	for line := range strings.Lines(text) {
		for _, at := range inURL.FindAllStringSubmatchIndex(line, maxPasswords) {
			if is(line[at[4]:at[5]]) {
				all = append(all, Account{User: plain(line[at[2]:at[3]]), Host: hostBehind.FindString(line[at[1]:])})
			}
		}
		for _, m := range inSettings.FindAllStringSubmatch(line, maxPasswords) {
			if is(strings.Join(m[1:], "")) {
				all = append(all, accountInSettings(line))
			}
		}
	}
	return all
}

// accountInSettings is what the settings of a line tell, beside a password.
func accountInSettings(line string) Account {
	first := func(in *regexp.Regexp) string {
		if m := in.FindStringSubmatch(line); m != nil {
			return m[1]
		}
		return ""
	}
	a := Account{User: plain(first(userSetting)), Host: first(hostSetting)}
	switch port := first(portSetting); {
	case a.Host == "":
		a.Host = first(hostInURL)
	case port != "":
		a.Host += ":" + port
	default: // ADO.NET writes the port behind a comma
		if host, port, ok := strings.Cut(a.Host, ","); ok {
			a.Host = host + ":" + port
		}
	}
	return a
}

// What the fields of one account are called, behind what they have in common, as in
// DB_USER and DB_PASSWORD.
var (
	passwordField = regexp.MustCompile(`(?i)^(.*?)[ ._-]*(?:password|passwd|passphrase|pass|pwd|secret|value)$`)
	userField     = regexp.MustCompile(`(?i)^(.*?)[ ._-]*(?:user[ ._-]?(?:name)?|login)$`)
	hostField     = regexp.MustCompile(`(?i)^(.*?)[ ._-]*(?:host(?:[ ._-]?name)?|server|endpoint|addr(?:ess)?)$`)
	portField     = regexp.MustCompile(`(?i)^(.*?)[ ._-]*port$`)
)

// accountBeside is what the fields beside a password tell.
func accountBeside(fields map[string]checks.Secret, field string) (a Account) {
	m := passwordField.FindStringSubmatch(field)
	if m == nil {
		return Account{}
	}
	port := ""
	shapes := map[*regexp.Regexp]*string{userField: &a.User, hostField: &a.Host, portField: &port}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		for shape, to := range shapes {
			if is := shape.FindStringSubmatch(name); is != nil && strings.EqualFold(is[1], m[1]) {
				*to = fields[name].Expose() // of several the last, which is “user” before “login”
			}
		}
	}
	if a.Host != "" && port != "" && !strings.Contains(a.Host, ":") {
		a.Host += ":" + port
	}
	return a
}
