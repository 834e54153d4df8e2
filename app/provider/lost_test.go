package provider

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stanch-dev/stanch/checks"
)

// A link leads to a server, and breaks when so many pieces of its answers have come: what
// was said before was heard, and its answer is lost.
type link struct {
	address string
	left    atomic.Int64 // pieces until it breaks
}

const unbroken = 1 << 40

func newLink(t *testing.T, server string) *link {
	t.Helper()
	l := &link{}
	l.left.Store(unbroken)
	l.address = raw(t, func(client net.Conn) {
		upstream, err := net.Dial("tcp", strings.Replace(server, "localhost", "127.0.0.1", 1))
		if err != nil {
			return
		}
		defer upstream.Close()
		go func() {
			defer upstream.Close()
			relay(upstream, client, func() bool { return true })
		}()
		relay(client, upstream, func() bool { return l.left.Add(-1) >= 0 })
	})
	return l
}

func relay(to, from net.Conn, goesOn func() bool) {
	b := make([]byte, 32<<10)
	for {
		n, err := from.Read(b)
		if err != nil || !goesOn() {
			return
		}
		if _, err := to.Write(b[:n]); err != nil {
			return
		}
	}
}

// lose does something again and again, and each time one more answer is heard, until all
// are.
func (l *link) lose(t *testing.T, do func(again bool) error) {
	t.Helper()
	defer l.left.Store(unbroken)
	for n := range int64(200) {
		l.left.Store(n)
		err := do(n > 0)
		if err == nil {
			t.Logf("done at last, after %d answers", n)
			return
		}
		if errors.Is(err, ErrCannotIssue) || errors.Is(err, ErrCannotRevoke) || errors.Is(err, ErrCannotDisable) {
			t.Fatalf("after %d answers a lost one is taken for a refusal: %v", n, err)
		}
	}
	t.Fatal("it never comes to an end")
}

// Whichever answer of a rotation is lost, in the end there is one replacement, which
// works, and the leaked password is dead with its sessions.
func losesAnswers(t *testing.T, l *link, p *Providers, old Target, validity func(Target, checks.Validity), thiefLives func() bool) Target {
	t.Helper()
	ctx := context.Background()
	prepared, err := p.Prepare(ctx, old, "op")
	if err != nil {
		t.Fatal(err)
	}
	var fresh Target
	l.lose(t, func(again bool) (err error) {
		fresh.Credential, err = p.Issue(ctx, Request{Old: old, Operation: "op", Prepared: prepared, Again: again})
		return err
	})
	validity(old, checks.Active)
	validity(fresh, checks.Active)
	for _, do := range []command{p.Disable, p.Enable, p.Disable, p.Revoke} {
		l.lose(t, func(bool) error { _, err := do(ctx, old); return err })
		validity(fresh, checks.Active)
	}
	validity(old, checks.Inactive)
	if thiefLives() {
		t.Error("a session of the leaked password goes on")
	}
	return fresh
}

func TestPostgresLosesAnswers(t *testing.T) {
	w := newPgWorld(t)
	l := newLink(t, w.host)
	w.host = l.address
	w.p = w.providers()
	old := w.leak("clerk")
	thief := w.open("clerk", leakedPassword)
	losesAnswers(t, l, w.p, old, func(on Target, want checks.Validity) { w.validity(on.Credential, want) }, func() bool {
		_, err := pgSays(thief, "SELECT 1")
		return err == nil
	})
	if got, err := w.ask("SELECT count(*) FROM pg_roles WHERE rolname LIKE 'clerk%'"); err != nil || got != "2" {
		t.Errorf("%s roles, %v", got, err)
	}
}

func TestMySQLLosesAnswers(t *testing.T) {
	for _, product := range []myProduct{mariaDB{}, twoPasswords{}} {
		t.Run(product.String(), func(t *testing.T) {
			w := newMyWorld(t, product)
			l := newLink(t, w.host)
			w.host = l.address
			w.p = w.providers()
			old := w.leak("clerk", "%")
			thief := w.session("clerk", leakedPassword)
			losesAnswers(t, l, w.p, old, w.validity, func() bool { return w.alive(thief) })
			if got := w.methods("clerk", "%"); len(got) != 1 {
				t.Errorf("methods %v", got)
			}
		})
	}
}

func TestRedisLosesAnswers(t *testing.T) {
	w := newRedisWorld(t, "file")
	l := newLink(t, w.host)
	w.host = l.address
	w.p = w.providers()
	old := w.leak("clerk")
	thief := w.session("clerk", leakedPassword)
	losesAnswers(t, l, w.p, old, w.validity, func() bool { return redisAlive(thief) })
	if hashes, err := w.boss.user("clerk"); err != nil || len(hashes) != 1 {
		t.Errorf("passwords %v, %v", hashes, err)
	}
}
