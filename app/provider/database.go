package provider

import (
	"context"
	"crypto/tls"
	"errors"
	"maps"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/rules"
)

// A database verifies the passwords of one kind of server by logging in with them,
// as the user and at the server that stand beside them, and asks who it is then. It
// asks nothing else.
type database struct {
	name  string // of the product
	port  string // where it listens by default
	alone bool   // a password is somebody's without a user beside it
	try   func(context.Context, login) attempt
	hosts hosts
	now   func() time.Time
	// engine may keep passwords of this kind; nil in no server that is configured.
	engine *engine
}

// A login is what stands in a connection string.
type login struct {
	endpoint
	scheme                   string // of the URL, where that matters
	user, password, database string
	settings                 map[string]string
}

// An attempt is how a login ended. Errors of the drivers may quote what they were
// given, so that an attempt says what happened in words of ours.
type attempt struct {
	validity   checks.Validity
	lacksScope bool
	elsewhere  bool   // a refusal that may hold for this machine alone
	reason     Reason // why it is unclear
	answer     string // for the evidence
	identity   map[string]string
}

// unclear is an attempt that says nothing about the password.
func unclear(reason Reason, answer string) attempt {
	return attempt{validity: checks.Unknown, reason: reason, answer: answer}
}

// served is a driver that logs in at databases, whose passwords Vault's engine may keep.
type served interface{ logins() *database }

var (
	_ served = (*postgres)(nil)
	_ served = (*mysqlServer)(nil)
	_ served = (*redisServer)(nil)
	_ served = (*mongoServer)(nil)
)

// logins is what logs in, also of a database at which Stanch may do more.
func (d *database) logins() *database { return d }

func (d *database) ready(*rules.Rule) string {
	if len(d.hosts.allowed) == 0 {
		return notAllowed
	}
	return ""
}

func (d *database) logIn() string { return "log in to " + d.name }

// host is the account: servers may let one user in without a password, and not
// another.
func (d *database) host(_ *rules.Rule, cred checks.Credential) string {
	l, _ := d.login(cred)
	return l.user + " at " + l.address()
}

func (d *database) verify(ctx context.Context, _ *rules.Rule, cred checks.Credential) (Verdict, error) {
	evidence := Evidence{Request: d.logIn(), At: d.now()}
	l, why := d.login(cred)
	if why != "" {
		evidence.Answer = why
		return Verdict{Validity: checks.Unknown, Grade: GradeC, Reason: ReasonNotAsked, Evidence: evidence}, nil
	}
	evidence.Request += " at " + l.address()
	a := d.try(ctx, l)
	if repeats(a.identity, l.password) {
		a = unclear(ReasonUnfit, "the answer repeats the credential")
	}
	if a.validity == checks.Active && d.engine != nil {
		d.engine.sign(ctx, l, d.port, &a)
	}
	evidence.Answer, evidence.Identity = a.answer, shortened(a.identity)
	return Verdict{
		Validity: a.validity, Grade: GradeC, LacksScope: a.lacksScope, SelfHosted: a.elsewhere, Reason: a.reason, Evidence: evidence,
	}, nil
}

// repeats reports whether an identity holds a secret: nobody's name is his password.
func repeats(identity map[string]string, secret string) bool {
	for value := range maps.Values(identity) {
		if strings.Contains(value, secret) {
			return true
		}
	}
	return false
}

// shortened returns what is worth keeping of an identity.
func shortened(identity map[string]string) map[string]string {
	var kept map[string]string
	for name, value := range identity {
		if value == "" {
			continue
		}
		if kept == nil {
			kept = map[string]string{}
		}
		kept[name] = short(value)
	}
	return kept
}

// The ports where servers listen by default.
const (
	portPostgres = "5432"
	portMongoDB  = "27017"
	portMySQL    = "3306"
	portRedis    = "6379"
)

// noUser is why nobody logs in with a password alone.
const noUser = "no user stands beside the password"

// login reads the parts of a credential, or says why nobody can log in with them.
func (d *database) login(cred checks.Credential) (l login, why string) {
	part := func(name string) string { return cred.Parts[name].Expose() }
	settings := parseSettings(part("settings"))
	either := func(names ...string) string {
		for _, name := range names {
			if value := part(name); value != "" {
				return value
			}
			if value := settings[name]; value != "" {
				return value
			}
		}
		return ""
	}
	text := either("host", "hostaddr")
	if port := settings["port"]; port != "" && text != "" {
		text = net.JoinHostPort(text, port)
	}
	var allowed bool
	if l.endpoint, allowed = d.hosts.find(text, d.port); !allowed {
		return login{}, notAllowed
	}
	l.user, l.password, l.database = either("user"), part(checks.PartSecret), either("database", "dbname")
	l.scheme, l.settings = part("scheme"), settings
	if isURL(cred.Rule) {
		if err := unescape(&l.user, &l.password, &l.database); err != nil {
			return login{}, "the connection string is not escaped as a URL"
		}
	}
	if l.user == "" && !d.alone {
		// The user may stand where no rule looks. What is said to nobody, or to whoever
		// Stanch runs as, says nothing about the password.
		return login{}, noUser
	}
	if strings.ContainsRune(l.user+l.password+l.database, 0) {
		return login{}, "a zero byte stands in the connection string"
	}
	return l, ""
}

// isURL reports whether the parts of a rule's credentials are escaped as in a URL.
func isURL(rule string) bool {
	return strings.HasSuffix(rule, "-url") || strings.HasSuffix(rule, "-jdbc")
}

func unescape(texts ...*string) (err error) {
	for _, text := range texts {
		if *text, err = url.PathUnescape(*text); err != nil {
			return err
		}
	}
	return nil
}

// parseSettings reads "host=db user=shop" or "ssl=true&user=shop&".
func parseSettings(text string) map[string]string {
	settings := map[string]string{}
	for _, pair := range strings.FieldsFunc(strings.ReplaceAll(text, "&amp;", "&"), func(r rune) bool { return r == ' ' || r == '&' }) {
		if name, value, ok := strings.Cut(pair, "="); ok {
			settings[strings.ToLower(name)] = value
		}
	}
	return settings
}

// dial connects to the server, whatever the driver asks for, and reads from it no
// more than an answer takes.
func (e endpoint) dial(ctx context.Context) (net.Conn, error) {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", e.address())
	if err != nil {
		return nil, err
	}
	deadline, _ := ctx.Deadline()
	if err := conn.SetDeadline(deadline); err != nil {
		conn.Close()
		return nil, err
	}
	return &bounded{Conn: conn, left: maxBody}, nil
}

// bounded is a connection that ends when too much came over it.
type bounded struct {
	net.Conn
	left int
}

var errTooMuch = errors.New("the server sends too much")

func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errTooMuch
	}
	n, err := b.Conn.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}

const noTLS = "tls: the server has none; where it need not prove who it is, write insecure:// before the host"

// noAnswer names what went wrong with a server that did not answer as its
// protocol wants it.
func noAnswer(err error) attempt {
	var record tls.RecordHeaderError
	switch {
	case errors.Is(err, errTooMuch):
		return unclear(ReasonNoAnswer, "answer too large")
	case strings.Contains(err.Error(), "server refused TLS connection"), errors.As(err, &record):
		return unclear(ReasonUnreachable, noTLS)
	}
	return unclear(ReasonUnreachable, class(err))
}
