package provider

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"

	"github.com/stanch-dev/stanch/checks"
)

// What Redis, Valkey and their like say to AUTH:
// https://redis.io/docs/latest/commands/auth/
const (
	redisOK        = "+OK"
	redisWrong     = "-WRONGPASS"            // since version 6
	redisWrongOld  = "-ERR invalid password" // before it
	redisArguments = "-ERR wrong number of arguments for 'auth' command"
)

// maxRedisReply bounds a reply. The two commands have short ones.
const maxRedisReply = 4 << 10

var errRedis = errors.New("not the protocol of Redis")

// tryRedis logs in at a Redis server. The official clients send more than is asked
// here, and make room for replies of any length that the server announces.
func tryRedis(ctx context.Context, l login) attempt {
	conn, err := dialRedis(ctx, l)
	if err != nil {
		return redisFault(err)
	}
	defer conn.Close()
	r := &redis{conn, bufio.NewReaderSize(conn, maxRedisReply)}
	said, err := r.authenticate(l)
	switch {
	case err != nil:
		return redisFault(err)
	case strings.HasPrefix(said, redisWrong), strings.HasPrefix(said, redisWrongOld):
		return attempt{validity: checks.Inactive, answer: "AUTH refused"}
	case said != redisOK:
		return unclear(ReasonUnfit, "AUTH answered in words that say nothing about the password")
	}
	user, err := r.whoAmI()
	switch {
	case err != nil:
		return redisFault(err)
	case strings.HasPrefix(user, "-NOPERM"):
		return attempt{validity: checks.Active, lacksScope: true, answer: "AUTH accepted, and ACL WHOAMI is not allowed"}
	case !strings.HasPrefix(user, "$"):
		return attempt{validity: checks.Active, answer: "AUTH accepted"} // before version 6 there were no users
	}
	return attempt{validity: checks.Active, answer: "AUTH accepted, with identity", identity: map[string]string{"user": user[1:]}}
}

func redisFault(err error) attempt {
	if errors.Is(err, errRedis) {
		return unclear(ReasonNoAnswer, errRedis.Error())
	}
	return noAnswer(err)
}

// dialRedis connects with TLS, and without where the server need not prove who it is
// and the URL says that it has none: to a handshake it would not say a word.
func dialRedis(ctx context.Context, l login) (net.Conn, error) {
	conn, err := l.dial(ctx)
	if err != nil || l.insecure && l.scheme != "rediss" {
		return conn, err
	}
	secured := tls.Client(conn, l.tls())
	if err := secured.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, err
	}
	return secured, nil
}

// redis is a connection that speaks RESP:
// https://redis.io/docs/latest/develop/reference/protocol-spec/
type redis struct {
	io.Writer
	*bufio.Reader
}

func (r *redis) authenticate(l login) (string, error) {
	if l.user == "" {
		return r.do("AUTH", l.password)
	}
	said, err := r.do("AUTH", l.user, l.password)
	if strings.HasPrefix(said, redisArguments) { // before version 6
		return r.do("AUTH", l.password)
	}
	return said, err
}

func (r *redis) whoAmI() (string, error) { return r.do("ACL", "WHOAMI") }

// do sends a command and returns the reply with the sign of its kind before it.
func (r *redis) do(words ...string) (string, error) {
	if err := r.send(words); err != nil {
		return "", err
	}
	line, err := r.line("+-$")
	if err != nil || line[0] != '$' {
		return line, err
	}
	return r.text(line)
}

func (r *redis) send(words []string) error {
	command := fmt.Appendf(nil, "*%d\r\n", len(words))
	for _, word := range words {
		command = fmt.Appendf(command, "$%d\r\n%s\r\n", len(word), word)
	}
	_, err := r.Write(command)
	return err
}

// text reads a text that a line announced.
func (r *redis) text(line string) (string, error) {
	n, err := strconv.Atoi(line[1:])
	if err != nil || n < 0 || n > maxRedisReply {
		return "", errRedis
	}
	text := make([]byte, n+len("\r\n"))
	if _, err := io.ReadFull(r, text); err != nil {
		return "", err
	}
	return "$" + string(text[:n]), nil
}

// line reads a line that is a reply of one of the kinds, or begins one.
func (r *redis) line(kinds string) (string, error) {
	line, err := r.ReadSlice('\n')
	switch {
	case errors.Is(err, bufio.ErrBufferFull):
		return "", errRedis
	case err != nil:
		return "", err
	case len(line) < 3 || !strings.ContainsRune(kinds, rune(line[0])) || line[len(line)-2] != '\r':
		return "", errRedis
	}
	return string(line[:len(line)-2]), nil
}
