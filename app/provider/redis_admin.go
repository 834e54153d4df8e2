package provider

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/stanch-dev/stanch/app/grants"
	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/rules"
)

// redisServer takes leaked passwords out of use at a Redis server, and adds others. A
// user has as many passwords as one likes, and the server tells their hashes: the leaked
// one is found by its own.
//
// It is the one server that is asked. Replicas and the other nodes of a cluster have
// users of their own, and a replica that logs in at its primary with the leaked password
// needs another one too.
type redisServer struct{ administered }

// redisDefault is the user of those who name none, and whose password requirepass is.
const redisDefault = "default"

// What Redis says where a command cannot do its work.
const (
	redisNoPermission = "-NOPERM"
	redisNoFile       = "-ERR This Redis instance is not configured to use an ACL file"
	redisNoConfig     = "-ERR The server is running without a config file"
)

// notSaved is what a person must know where nothing is written to a file.
const notSaved = "the server has no file to save this in: after a restart it has again the passwords that it is started with, so change them there"

// A redisAdmin is a session of the administrator.
type redisAdmin struct {
	*redis
	close func() error
	at    string
}

func (s *redisServer) administrate(ctx context.Context, admin login) (*redisAdmin, error) {
	conn, err := dialRedis(ctx, admin)
	if err != nil {
		return nil, fmt.Errorf("connect to Redis at %s: %s", admin.address(), redisFault(err).answer)
	}
	c := &redisAdmin{&redis{conn, bufio.NewReaderSize(conn, maxRedisReply)}, conn.Close, admin.address()}
	if _, err := c.ask("AUTH", admin.user, admin.password); err != nil {
		conn.Close()
		return nil, fmt.Errorf("log in as the administrator of STANCH_ADMIN_URLS: %w", err)
	}
	return c, nil
}

// A redisError is what the server says in place of a reply. It repeats no password,
// because it is told none but by its hash.
type redisError struct{ at, command, said string }

// Error says it.
func (e *redisError) Error() string {
	return fmt.Sprintf("Redis at %s says to %s of its administrator of STANCH_ADMIN_URLS: %s", e.at, e.command, short(strings.TrimPrefix(e.said, "-")))
}

// ask sends a command and returns its reply: a string, an int, or a slice of these.
func (c *redisAdmin) ask(words ...string) (any, error) {
	err := c.send(words)
	var value any
	if err == nil {
		value, err = c.value(redisDepth)
	}
	said, text := value.(string)
	switch {
	case err != nil:
		return nil, fmt.Errorf("ask Redis at %s: %s", c.at, redisFault(err).answer)
	case text && strings.HasPrefix(said, "-"):
		return nil, &redisError{c.at, strings.Join(words[:min(len(words), 2)], " "), said}
	}
	return value, nil
}

// Bounds of replies: a user's rules are a few lists in one.
const (
	redisDepth  = 3
	redisMaxLen = 10_000
)

func (r *redis) value(depth int) (any, error) {
	line, err := r.line("+-$:*")
	if err != nil {
		return nil, err
	}
	switch n, err := strconv.Atoi(line[1:]); {
	case line[0] == '+', line[0] == '-':
		return line, nil
	case err != nil:
		return nil, errRedis
	case line[0] == ':':
		return n, nil
	case n < 0:
		return nil, nil
	case line[0] == '$':
		text, err := r.text(line)
		return strings.TrimPrefix(text, "$"), err
	case depth == 0 || n > redisMaxLen:
		return nil, errRedis
	default:
		list := make([]any, 0, min(n, 16))
		for range n {
			one, err := r.value(depth - 1)
			if err != nil {
				return nil, err
			}
			list = append(list, one)
		}
		return list, nil
	}
}

// user looks a user's password hashes up. A user who is not there has none.
func (c *redisAdmin) user(name string) (hashes []string, err error) {
	value, err := c.ask("ACL", "GETUSER", name)
	if err != nil {
		return nil, definite(err)
	}
	list, _ := value.([]any)
	for i := 0; i+1 < len(list); i += 2 {
		texts, _ := list[i+1].([]any)
		switch list[i] {
		case "flags":
			if slices.Contains(texts, any("nopass")) {
				return nil, refusal("it is let in with any password: ACL SETUSER with a password of its own comes first")
			}
		case "passwords":
			for _, text := range texts {
				hash, _ := text.(string)
				hashes = append(hashes, hash)
			}
		}
	}
	return hashes, nil
}

// definite makes a refusal of what the administrator may not do, which changed nothing.
func definite(err error) error {
	var said *redisError
	if errors.As(err, &said) && (strings.HasPrefix(said.said, redisNoPermission) || strings.HasPrefix(said.said, "-ERR unknown command")) {
		return refusal(said.Error())
	}
	return err
}

// set changes the passwords of a user, all at once. A password that is to be taken away
// must be there, otherwise nothing is changed.
func (c *redisAdmin) set(user string, changes ...string) error {
	_, err := c.ask(append([]string{"ACL", "SETUSER", user}, changes...)...)
	return definite(err)
}

// save makes the changes outlive the server's process, where it has a file for them. A
// name with quotes is written into redis.conf as it is, and the server starts no more.
func (c *redisAdmin) save(user string) (saved bool, err error) {
	var said *redisError
	if _, err = c.ask("ACL", "SAVE"); errors.As(err, &said) && strings.HasPrefix(said.said, redisNoFile) {
		if strings.ContainsAny(user, `"'\`) {
			return false, nil
		}
		_, err = c.ask("CONFIG", "REWRITE")
	}
	if errors.As(err, &said) && strings.HasPrefix(said.said, redisNoConfig) {
		return false, nil
	}
	return err == nil, err
}

func redisHash(password string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(password))) }

func redisMarks(hash string) (sessions, quiet string) {
	s, q := marks(hash)
	return hex.EncodeToString(s[:]), hex.EncodeToString(q[:])
}

// RedisPolicy is what the administrator must be granted.
func RedisPolicy() grants.Policy {
	return grants.Policy{Name: "Redis", Syntax: "redis", Lines: []grants.Line{
		{Grant: "ACL SETUSER stanch +acl|getuser", For: "disable, enable, revoke, issue: find the leaked password"},
		{Grant: "ACL SETUSER stanch +acl|setuser", For: "disable, enable, revoke, issue"},
		{Grant: "ACL SETUSER stanch +client|kill", For: "disable, revoke: sessions end"},
		{Grant: "ACL SETUSER stanch +acl|save", For: "keep the change in the file of users, or see that there is none"},
		{Grant: "ACL SETUSER stanch +config|rewrite", For: "keep the change in redis.conf, where users are there", Optional: true},
	}}
}

func (s *redisServer) tell(*rules.Rule) Calls {
	without := "ACL SETUSER … without the leaked password, CLIENT KILL USER …, and ACL SAVE or CONFIG REWRITE"
	return Calls{
		Verify: s.logIn(), Disable: without, Revoke: without,
		Enable: "ACL SETUSER … with the leaked password, and ACL SAVE or CONFIG REWRITE",
		Issue:  "ACL SETUSER … with another password as well, and ACL SAVE or CONFIG REWRITE",
	}
}

func (s *redisServer) revoke(ctx context.Context, rule *rules.Rule, t Target) (Receipt, error) {
	receipt, err := s.takeAway(ctx, t, true)
	return receipt, sentence(rule, "revoke", ErrCannotRevoke, err)
}

func (s *redisServer) disable(ctx context.Context, rule *rules.Rule, t Target) (Receipt, error) {
	receipt, err := s.takeAway(ctx, t, false)
	return receipt, sentence(rule, "disable", ErrCannotDisable, err)
}

// takeAway takes the leaked password from its user and ends the user's sessions, also
// those that began with another of his passwords: the server does not tell them apart.
func (s *redisServer) takeAway(ctx context.Context, t Target, forGood bool) (Receipt, error) {
	l, err := s.look(ctx, t)
	if err != nil {
		return Receipt{}, err
	}
	defer l.close()
	switch l.state {
	case "":
		return s.did(l.leaked, l.leaked.user, rules.MeansAlreadyDead, "the user has no such password"), nil
	case l.hash:
		if err := l.exchange(l.sessions); err != nil {
			return Receipt{}, err
		}
	}
	if l.state == l.sessions {
		if _, err := l.ask("CLIENT", "KILL", "USER", l.leaked.user); err != nil {
			return Receipt{}, fmt.Errorf("the password is taken away, and the user's sessions go on: %w", err)
		}
		if err := l.exchange(l.quiet); err != nil {
			return Receipt{}, err
		}
	}
	if forGood && len(l.hashes) > 1 { // else it tells issue who has left the user without a password
		if err := l.set(l.leaked.user, "!"+l.quiet); err != nil {
			return Receipt{}, err
		}
	}
	return s.saved(l, rules.MeansRevoked, "the password is taken away, and the user's sessions ended")
}

// A redisLook is what was found of a leaked password: the hashes of its user, and the one
// among them that stands for it, its own or a mark, or none.
type redisLook struct {
	*redisAdmin
	leaked                login
	hashes                []string
	hash, sessions, quiet string
	state                 string
}

func (s *redisServer) look(ctx context.Context, t Target) (*redisLook, error) {
	leaked, admin, err := s.meet(t)
	if err != nil {
		return nil, err
	}
	c, err := s.administrate(ctx, admin)
	if err != nil {
		return nil, err
	}
	l := &redisLook{redisAdmin: c, leaked: leaked, hash: redisHash(leaked.password)}
	l.sessions, l.quiet = redisMarks(l.hash)
	if l.hashes, err = c.user(leaked.user); err != nil {
		c.close()
		return nil, err
	}
	for _, state := range []string{l.quiet, l.sessions, l.hash} { // the last one counts
		if slices.Contains(l.hashes, state) {
			l.state = state
		}
	}
	return l, nil
}

// exchange puts another hash in the place of the one that stands for the leaked password.
func (l *redisLook) exchange(next string) error {
	err := l.set(l.leaked.user, "!"+l.state, "#"+next)
	if err == nil {
		l.state = next
	}
	return err
}

func (s *redisServer) saved(l *redisLook, meaning rules.Meaning, answer string) (Receipt, error) {
	saved, err := l.save(l.leaked.user)
	if err == nil && !saved {
		answer += "; " + notSaved
	}
	return s.did(l.leaked, l.leaked.user, meaning, answer), err
}

// enable gives a user back what was taken away.
func (s *redisServer) enable(ctx context.Context, rule *rules.Rule, t Target) (Receipt, error) {
	receipt, err := s.giveBack(ctx, t)
	return receipt, sentence(rule, "enable", ErrCannotDisable, err)
}

func (s *redisServer) giveBack(ctx context.Context, t Target) (Receipt, error) {
	l, err := s.look(ctx, t)
	if err != nil {
		return Receipt{}, err
	}
	defer l.close()
	switch l.state {
	case "":
		return Receipt{}, refusal("the password was not taken away by Stanch, or for good")
	case l.sessions, l.quiet:
		if err := l.exchange(l.hash); err != nil {
			return Receipt{}, err
		}
	}
	return s.saved(l, rules.MeansAccepted, "the password counts again")
}

func (s *redisServer) prepare(_ context.Context, rule *rules.Rule, _ Target, _ string) (Prepared, error) {
	return Prepared{Draft: draft(rule)}, nil
}

// issue adds a password to the user's, so that both count until the leaked one is taken
// away.
func (s *redisServer) issue(ctx context.Context, rule *rules.Rule, r Request) (checks.Credential, error) {
	fresh, err := s.add(ctx, r)
	return fresh, sentence(rule, "issue", ErrCannotIssue, err)
}

func (s *redisServer) add(ctx context.Context, r Request) (checks.Credential, error) {
	l, err := s.look(ctx, r.Old)
	if err != nil {
		return checks.Credential{}, err
	}
	defer l.close()
	user, secret := l.leaked.user, r.Prepared.Draft.Secret()
	next := redisHash(secret.Expose())
	switch {
	case secret.Len() == 0:
		return checks.Credential{}, refusal("nothing was prepared")
	case slices.Contains(l.hashes, next): // as an earlier request left it
	case l.state == "":
		return checks.Credential{}, refusal("somebody has taken the leaked password away from the user already")
	case l.state != l.hash && len(l.hashes) == 1:
		err = l.exchange(next)
	default: // nothing, if the leaked one is not there any more
		err = l.set(user, "!"+l.state, "#"+l.state, "#"+next)
	}
	if err != nil {
		return checks.Credential{}, err
	}
	saved, err := l.save(user)
	if err == nil && !saved {
		if err = l.set(user, "!"+next); err == nil {
			err = refusal(notSaved + "; the new password was taken back")
		}
	}
	return replacement(r.Old.Credential, "", secret), err
}
