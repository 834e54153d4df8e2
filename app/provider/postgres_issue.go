package provider

import (
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/rules"
)

// What Prepared.Seen tells of a user who takes over.
const (
	seenUser     = "user"     // the one who takes over
	seenOriginal = "original" // the one as whom both act
)

// pgMark is the comment on roles that were made here, with the name of the role as
// which they act.
const pgMark = "Stanch: the other login of "

const (
	pgOriginalOf = `SELECT DISTINCT o.rolname FROM pg_catalog.pg_auth_members m
		JOIN pg_catalog.pg_roles c ON c.oid = m.member JOIN pg_catalog.pg_roles o ON o.oid = m.roleid
		WHERE c.rolname = $1 AND pg_catalog.shobj_description(c.oid, 'pg_authid') = $2 || o.rolname`
	pgOthersOf = `SELECT DISTINCT c.rolname FROM pg_catalog.pg_auth_members m
		JOIN pg_catalog.pg_roles c ON c.oid = m.member JOIN pg_catalog.pg_roles o ON o.oid = m.roleid
		WHERE o.rolname = $1 AND NOT c.rolcanlogin AND pg_catalog.shobj_description(c.oid, 'pg_authid') = $2 || o.rolname ORDER BY 1`
	pgDatabaseOf = `SELECT datname FROM pg_catalog.pg_database WHERE datname = $1`
	pgSettingsOf = `SELECT coalesce(d.datname, ''), pg_catalog.unnest(s.setconfig) FROM pg_catalog.pg_db_role_setting s
		LEFT JOIN pg_catalog.pg_database d ON d.oid = s.setdatabase WHERE s.setrole = $1::oid`
)

// original is the role as which a role acts: itself, if it was not made here.
func (c *pgAdmin) original(ctx context.Context, name string) (string, error) {
	rows, err := c.rows(ctx, 1, pgOriginalOf, name, pgMark)
	if err != nil || len(rows) == 0 {
		return name, err
	}
	return rows[0][0], nil
}

// prepare makes the password and chooses who takes over: the original if it is out of
// use, or another one of its roles that is, or a new one. Never one that may log in:
// somebody may. What is refused here issue refuses again, and it is asked next.
func (p *postgres) prepare(ctx context.Context, rule *rules.Rule, t Target, operation string) (Prepared, error) {
	seen, err := p.choose(ctx, t, operation)
	var r refusal
	if err != nil && !errors.As(err, &r) {
		return Prepared{}, sentence(rule, "prepare", ErrCannotIssue, err)
	}
	return Prepared{Draft: draft(rule), Seen: seen}, nil
}

// draft is a password of 130 random bits, as a credential.
func draft(rule *rules.Rule) checks.Credential {
	return checks.Credential{Rule: rule.ID, Parts: map[string]checks.Secret{checks.PartSecret: checks.NewSecret(rand.Text())}}
}

func (p *postgres) choose(ctx context.Context, t Target, operation string) (map[string]string, error) {
	leaked, admin, err := p.meet(t)
	if err != nil {
		return nil, err
	}
	conn, err := p.administrate(ctx, admin)
	if err != nil {
		return nil, err
	}
	defer conn.Close(ctx)
	original, err := conn.original(ctx, leaked.user)
	if err != nil {
		return nil, err
	}
	seen := map[string]string{seenUser: otherName(original, operation), seenOriginal: original}
	if original != leaked.user {
		if role, exists, err := conn.role(ctx, original); err != nil || exists && !role.mayLogIn {
			seen[seenUser] = original
			return seen, err
		}
	}
	others, err := conn.rows(ctx, 1, pgOthersOf, original, pgMark)
	for _, row := range others {
		if row[0] != leaked.user {
			seen[seenUser] = row[0]
			break
		}
	}
	return seen, err
}

// pgNameLength is how long a name may be, in bytes.
const pgNameLength = 63

// otherName is the name of a new role, which an operation always makes the same.
func otherName(original, operation string) string {
	sum := sha256.Sum256([]byte(operation))
	suffix := fmt.Sprintf("_%x", sum[:4])
	for len(original) > pgNameLength-len(suffix) {
		_, last := utf8.DecodeLastRuneInString(original)
		original = original[:len(original)-last]
	}
	return original + suffix
}

// otherSuffix is what otherName puts after a name.
var otherSuffix = regexp.MustCompile(`_[0-9a-f]{8}$`)

// sharedName is what a user's name and those that otherName makes of it have in common.
func sharedName(user string) string {
	user = otherSuffix.ReplaceAllString(user, "")
	return user[:min(len(user), pgNameLength-len("_01234567"))]
}

// holds names a role and those that act as it.
func (p *postgres) holds(_ *rules.Rule, t Target) string {
	l, why := p.login(t.Credential)
	if why != "" {
		return ""
	}
	l.user = sharedName(l.user)
	return p.userAt(l)
}

// issue has another role take over, or, in place, gives the same one another password.
func (p *postgres) issue(ctx context.Context, rule *rules.Rule, r Request) (checks.Credential, error) {
	fresh, err := p.replace(ctx, r)
	return fresh, sentence(rule, "issue", ErrCannotIssue, err)
}

func (p *postgres) replace(ctx context.Context, r Request) (checks.Credential, error) {
	leaked, admin, err := p.meet(r.Old)
	if err != nil {
		return checks.Credential{}, err
	}
	conn, err := p.administrate(ctx, admin)
	if err != nil {
		return checks.Credential{}, err
	}
	defer conn.Close(ctx)
	role, err := conn.plain(ctx, leaked.user)
	secret := r.Prepared.Draft.Secret()
	next := leaked
	next.password = secret.Expose()
	switch {
	case err != nil:
		return checks.Credential{}, err
	case secret.Len() == 0 || r.Prepared.Seen[seenUser] == "" && !r.InPlace:
		return checks.Credential{}, refusal("nothing was prepared")
	case role.outdated:
		return checks.Credential{}, refusal("its password was valid until " + role.validUntil + ": give the role another VALID UNTIL first")
	case r.InPlace:
		return replacement(r.Old.Credential, "", secret), p.inPlace(ctx, conn, leaked, next, role)
	}
	if err := conn.named(ctx, leaked); err != nil {
		return checks.Credential{}, err
	}
	next.user = r.Prepared.Seen[seenUser]
	return replacement(r.Old.Credential, next.user, secret), p.takeOver(ctx, conn, role, next, r.Prepared.Seen[seenOriginal])
}

// named refuses a connection string that names no database where the server would take
// the user's name for it: with another user it would be another database.
func (c *pgAdmin) named(ctx context.Context, leaked login) error {
	if leaked.database != "" {
		return nil
	}
	if rows, err := c.rows(ctx, 1, pgDatabaseOf, leaked.user); err != nil || len(rows) == 0 {
		return err
	}
	return refusal("no database stands beside the password, and the one called " + leaked.user + " is used by default, which no other user would use: ask for a password in place")
}

// inPlace gives a role another password. Whoever changed it before, but Stanch, which
// leaves a role that may not log in, did so for those who use it.
func (p *postgres) inPlace(ctx context.Context, conn *pgAdmin, leaked, next login, role pgRole) error {
	done, _, err := p.knock(ctx, next)
	if err != nil {
		return err
	}
	if done != opens {
		found, said, err := p.knock(ctx, leaked)
		switch {
		case err != nil:
			return err
		case found == isWrong && role.mayLogIn:
			return refusal("somebody gave the role another password already: " + said)
		case found == strange:
			return refusal(said)
		}
		if err := conn.do(ctx, "ALTER ROLE "+pgName(leaked.user)+" LOGIN PASSWORD "+pgText(scramVerifier(next.password))); err != nil {
			return err
		}
	}
	return conn.end(ctx, role)
}

// takeOver lets the next role in, with the same rights as the leaked one. What an
// earlier request did is found by the password, which only Stanch knows.
func (p *postgres) takeOver(ctx context.Context, conn *pgAdmin, leaked pgRole, next login, original string) error {
	role, exists, err := conn.role(ctx, next.user)
	switch {
	case err != nil:
		return err
	case leaked.replication:
		return refusal("it may replicate, which no other role does in its name: ask for a password in place")
	case exists && role.mayLogIn:
		found, said, err := p.knock(ctx, next)
		if err == nil && found != opens {
			return refusal("a role " + next.user + " is in use by somebody: " + said)
		}
		return err
	}
	if err := conn.related(ctx, next.user, original, exists); err != nil {
		return err
	}
	statements := []string{"ALTER ROLE " + pgName(next.user) + " LOGIN PASSWORD " + pgText(scramVerifier(next.password))}
	if next.user != original {
		if statements, err = conn.alike(ctx, leaked, role, next, original); err != nil {
			return err
		}
	}
	if err := conn.do(ctx, statements...); err != nil {
		return err
	}
	return p.mustOpen(ctx, conn, next, exists, original)
}

// related refuses a role that does not belong to the original.
func (c *pgAdmin) related(ctx context.Context, name, original string, exists bool) error {
	if _, err := c.plain(ctx, original); err != nil || name == original || !exists {
		return err
	}
	of, err := c.original(ctx, name)
	if err == nil && of != original {
		return refusal("the role " + name + " does not act as " + original)
	}
	return err
}

// alike makes or changes a role so that it acts as the original, with the settings and
// limits of the leaked one. What a role may do by itself it has no need of: whatever it
// does, it does as the original.
func (c *pgAdmin) alike(ctx context.Context, leaked, role pgRole, next login, original string) ([]string, error) {
	name := pgName(next.user)
	of, _, err := c.role(ctx, original)
	if err != nil {
		return nil, err
	}
	verb, kin := "ALTER", ""
	if role.oid == "" {
		verb, kin = "CREATE", " IN ROLE "+pgName(original)
	}
	statements := []string{
		fmt.Sprintf("%s ROLE %s LOGIN PASSWORD %s CONNECTION LIMIT %s VALID UNTIL %s%s",
			verb, name, pgText(scramVerifier(next.password)), leaked.limit, pgText(leaked.validUntil), kin),
		"COMMENT ON ROLE " + name + " IS " + pgText(pgMark+original),
	}
	stale, err := c.rows(ctx, 2, pgSettingsOf, cmp.Or(role.oid, "0"))
	if err != nil {
		return nil, err
	}
	for _, s := range stale {
		statements = append(statements, "ALTER ROLE "+name+inDatabase(s[0])+" RESET ALL")
	}
	settings, err := c.rows(ctx, 2, pgSettingsOf, of.oid)
	for _, s := range settings {
		statements = append(statements, setting(name, s[0], s[1])...)
	}
	return append(statements, "ALTER ROLE "+name+" SET role = "+pgText(original)), err
}

func inDatabase(name string) string {
	if name == "" {
		return ""
	}
	return " IN DATABASE " + pgName(name)
}

// pgLists are the settings whose values are lists of names, quoted as such.
var pgLists = []string{"local_preload_libraries", "search_path", "session_preload_libraries", "temp_tablespaces"}

// setting copies a setting. A list cannot be written as one text, and is not to be
// trusted as several: it is set for a moment, and taken over from there.
func setting(role, database, assignment string) []string {
	name, value, _ := strings.Cut(assignment, "=")
	alter := "ALTER ROLE " + role + inDatabase(database) + " SET " + settingName(name)
	switch {
	case name == "role":
		return nil
	case slices.Contains(pgLists, strings.ToLower(name)):
		return []string{
			"SELECT pg_catalog.set_config(" + pgText(name) + ", " + pgText(value) + ", true)",
			alter + " FROM CURRENT", "SET LOCAL " + settingName(name) + " TO DEFAULT",
		}
	}
	return []string{alter + " = " + pgText(value)}
}

// settingName quotes a name, and each half of one that an extension gave.
func settingName(name string) string {
	var halves []string
	for half := range strings.SplitSeq(name, ".") {
		halves = append(halves, pgName(half))
	}
	return strings.Join(halves, ".")
}

// mustOpen looks whether the server lets the next role in. Otherwise it is taken back:
// pg_hba.conf may name those who may come.
func (p *postgres) mustOpen(ctx context.Context, conn *pgAdmin, next login, existed bool, original string) error {
	found, said, err := p.knock(ctx, next)
	if err != nil || found == opens {
		return err
	}
	back := "DROP ROLE " + pgName(next.user)
	if existed {
		back = "ALTER ROLE " + pgName(next.user) + " NOLOGIN PASSWORD NULL"
	}
	if err := conn.do(ctx, back); err != nil {
		return errors.Join(fmt.Errorf("the server does not let the role %s in: %s", next.user, said), err)
	}
	return refusal("the server does not let another role in (" + said + "), which was taken back: write +" + pgName(original) +
		" into pg_hba.conf in place of the role's name, or ask for a password in place")
}

// scramVerifier is what PostgreSQL keeps of a password. Told this instead of the
// password, it has nothing to write into its log.
// https://www.postgresql.org/docs/current/catalog-pg-authid.html
func scramVerifier(password string) string {
	const rounds = 4096
	salt := make([]byte, 16)
	rand.Read(salt) // never fails: see crypto/rand
	salted, err := pbkdf2.Key(sha256.New, password, salt, rounds, sha256.Size)
	if err != nil {
		return "" // a length that FIPS 140 does not like, which this is not
	}
	keyed := func(text string) []byte {
		mac := hmac.New(sha256.New, salted)
		mac.Write([]byte(text))
		return mac.Sum(nil)
	}
	stored := sha256.Sum256(keyed("Client Key"))
	encode := base64.StdEncoding.EncodeToString
	return fmt.Sprintf("SCRAM-SHA-256$%d:%s$%s:%s", rounds, encode(salt), encode(stored[:]), encode(keyed("Server Key")))
}
