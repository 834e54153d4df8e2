package provider

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/rules"
)

// admins are the operator's own logins at his servers, by which the passwords of
// others are changed there: by the driver and the address, "db.example.net:5432".
type admins map[string]map[string]login

// protocols are the schemes of the URLs of administrators, with the driver and the port
// that each stands for.
var protocols = map[string]struct{ driver, port string }{
	"postgres":   {driverPostgres, portPostgres},
	"postgresql": {driverPostgres, portPostgres},
	"mysql":      {driverMySQL, portMySQL},
	"mariadb":    {driverMySQL, portMySQL},
	"redis":      {driverRedis, portRedis},
	"rediss":     {driverRedis, portRedis},
	"mongodb":    {driverMongoDB, portMongoDB},
}

// parseAdmins reads the operator's list; see Config.AdminURLs.
func parseAdmins(list []checks.Secret, hosts hosts) (admins, error) {
	all := admins{}
	for n, entry := range list {
		driver, l, err := parseAdmin(strings.TrimSpace(entry.Expose()), hosts)
		if err == nil && all[driver][l.address()].user != "" {
			err = errors.New("there is another one for the same server")
		}
		if err != nil {
			return nil, fmt.Errorf("URL %d of STANCH_ADMIN_URLS: %w", n+1, err) // not quoted: it holds a password
		}
		if all[driver] == nil {
			all[driver] = map[string]login{}
		}
		all[driver][l.address()] = l
	}
	return all, nil
}

func parseAdmin(text string, hosts hosts) (driver string, l login, err error) {
	u, err := url.Parse(text)
	if err != nil {
		return "", l, errors.New("it is no URL: write characters such as @ / : # in a password as %40 %2F %3A %23")
	}
	protocol, known := protocols[u.Scheme]
	password, _ := u.User.Password()
	switch {
	case !known:
		return "", l, errors.New("it must begin with postgres://, mysql://, mariadb://, redis://, rediss:// or mongodb://")
	case u.Hostname() == "" || password == "" || u.User.Username() == "" && protocol.driver != driverRedis:
		return "", l, errors.New("write SCHEME://USER:PASSWORD@HOST:PORT/DATABASE")
	case u.RawQuery != "" || u.Fragment != "":
		return "", l, errors.New("it takes no settings after a question mark: TLS is used as STANCH_VERIFY_HOSTS says")
	}
	l = login{scheme: u.Scheme, user: u.User.Username(), password: password, database: strings.TrimPrefix(u.Path, "/")}
	if protocol.driver == driverRedis {
		l.user, l.database = cmp.Or(l.user, redisDefault), ""
	}
	var allowed bool
	l.endpoint, allowed = hosts.find(net.JoinHostPort(u.Hostname(), cmp.Or(u.Port(), protocol.port)), protocol.port)
	if !allowed {
		return "", l, errors.New("STANCH_VERIFY_HOSTS does not name its server: without proof of who is dead nothing is done")
	}
	return protocol.driver, l, nil
}

// An administered database is one at some of whose servers Stanch may change other
// users' passwords.
type administered struct {
	*database
	admins map[string]login // by the address
}

// A rotator does all that is done about a kind of credential.
type rotator interface {
	verifier
	revoker
	issuer
}

// newAdministered returns all databases whose passwords can be changed, by the driver.
func newAdministered(cfg Config, hosts hosts, now func() time.Time) (map[string]rotator, error) {
	admins, err := parseAdmins(cfg.AdminURLs, hosts)
	if err != nil {
		return nil, err
	}
	of := func(driver string, d database) administered {
		d.hosts, d.now = hosts, now
		return administered{&d, admins[driver]}
	}
	return map[string]rotator{
		driverPostgres: &postgres{of(driverPostgres, database{name: "PostgreSQL", port: portPostgres, try: tryPostgres})},
		driverMySQL:    &mysqlServer{of(driverMySQL, database{name: "MySQL", port: portMySQL, try: tryMySQL})},
		driverRedis:    &redisServer{of(driverRedis, database{name: "Redis", port: portRedis, alone: true, try: tryRedis})},
		driverMongoDB:  &mongoServer{of(driverMongoDB, database{name: "MongoDB", port: portMongoDB, try: tryMongoDB})},
	}, nil
}

func (d *administered) whyNoRevoke(rule *rules.Rule) string {
	if why := d.ready(rule); why != "" {
		return why
	}
	if len(d.admins) == 0 {
		return "no administrator of a " + d.name + " server configured: name one in STANCH_ADMIN_URLS"
	}
	return ""
}

func (d *administered) whyNoIssue(rule *rules.Rule) string { return d.whyNoRevoke(rule) }

// meet finds the server of a credential and who may change passwords there. Host and
// port must be the administrator's exactly: behind another port is another server.
func (d *administered) meet(t Target) (leaked, admin login, err error) {
	leaked, why := d.login(t.Credential)
	if why != "" {
		return leaked, admin, refusal(why)
	}
	if d.alone {
		leaked.user = cmp.Or(leaked.user, redisDefault)
	}
	admin, known := d.admins[leaked.address()]
	switch {
	case !known:
		return leaked, admin, refusal("STANCH_ADMIN_URLS names no administrator of " + leaked.address())
	case admin.user == leaked.user:
		return leaked, admin, refusal("it is the user by which Stanch changes passwords there: give Stanch another one first")
	}
	return leaked, admin, nil
}

// holds names the user of a credential, and where.
func (d *administered) holds(_ *rules.Rule, t Target) string {
	l, why := d.login(t.Credential)
	if why != "" {
		return ""
	}
	return d.userAt(l)
}

func (d *administered) userAt(l login) string { return d.name + " at " + l.address() + ": " + l.user }

// The marks of a password that was taken away where others may stay: hashes that nobody
// knows a password to, in place of its own. By them one sees that it was Stanch, and
// whether sessions may be left that began with it, as a crash may leave them.
func marks(hashOf func(string) string, leaked string) (sessions, quiet string) {
	return hashOf("taken away by Stanch: " + leaked), hashOf("taken away by Stanch, sessions ended: " + leaked)
}

// did is the receipt of something that was done to a user.
func (d *administered) did(l login, user string, meaning rules.Meaning, answer string) Receipt {
	return Receipt{Meaning: meaning, Evidence: Evidence{
		Request: "as the administrator of " + d.name + " at " + l.address(), Answer: answer, Identity: shortened(map[string]string{"user": user}), At: d.now(),
	}}
}

// replacement is the old credential with another password, and, where it is not empty,
// another user.
func replacement(old checks.Credential, user string, secret checks.Secret) checks.Credential {
	fresh := checks.Credential{Rule: old.Rule, Parts: map[string]checks.Secret{}}
	for name, value := range old.Parts {
		fresh.Parts[name] = value
	}
	fresh.Parts[checks.PartSecret] = secret
	if user == "" {
		return fresh
	}
	if isURL(old.Rule) {
		user = url.User(user).String()
	}
	if _, beside := old.Parts["user"]; beside {
		fresh.Parts["user"] = checks.NewSecret(user)
	} else if settings, ok := old.Parts["settings"]; ok {
		fresh.Parts["settings"] = checks.NewSecret(userSetting.ReplaceAllLiteralString(settings.Expose(), "user="+user))
	}
	return fresh
}

// userSetting is the user in the settings of a connection string.
var userSetting = regexp.MustCompile(`(?i)\buser=[^ &]*`)

// A refusal is definite: nothing was changed.
type refusal string

// Error says why.
func (r refusal) Error() string { return string(r) }

// sentence tells what could not be done to a credential; a refusal is definite then.
func sentence(rule *rules.Rule, verb string, definite, err error) error {
	var r refusal
	switch {
	case err == nil:
		return nil
	case errors.As(err, &r):
		return fmt.Errorf("%s %s: %w: %w", verb, rule.ID, definite, err)
	}
	return fmt.Errorf("%s %s: %w", verb, rule.ID, err)
}

func isRefusal(err error) bool {
	var r refusal
	return errors.As(err, &r)
}
