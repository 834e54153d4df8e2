package provider

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stanch-dev/stanch/app/provider/servertest"
	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/rules"
)

// A redisWorld is a real server with an administrator who was granted what the policy
// says. Its users are kept in redis.conf, in a file of users, or nowhere.
type redisWorld struct {
	t         *testing.T
	host, dir string
	bossName  string
	args      []string
	p         *Providers
	boss      *redisAdmin
	stop      func()
}

func newRedisWorld(t *testing.T, kept string) *redisWorld {
	port := servertest.FreePort(t)
	w := &redisWorld{t: t, host: "localhost:" + port, dir: servertest.Scratch(t), bossName: "boss"}
	lines := []string{"port " + port, "bind 127.0.0.1", `save ""`, "dir " + w.dir}
	rulesOf := map[string]string{"boss": "on >" + servertest.AdminPassword + " ~* &* +@all", "stanch": "on >" + changerPassword}
	file := filepath.Join(w.dir, "users.acl")
	switch kept {
	case "redis.conf":
		lines = append(lines, "requirepass "+leakedPassword)
		for name, rule := range rulesOf {
			lines = append(lines, "user "+name+" "+rule)
		}
	case "file":
		lines = append(lines, "aclfile "+file)
		w.write(file, "user default on >"+leakedPassword+" ~* &* +@all\nuser boss "+rulesOf["boss"]+"\nuser stanch "+rulesOf["stanch"]+"\n")
	}
	conf := filepath.Join(w.dir, "redis.conf")
	w.write(conf, strings.Join(lines, "\n")+"\n")
	w.args = []string{conf}
	if kept == "nowhere" {
		w.args = []string{"--port", port, "--bind", "127.0.0.1", "--save", "", "--dir", w.dir, "--requirepass", servertest.AdminPassword}
		w.bossName = redisDefault
	}
	w.start()
	w.do("ACL SETUSER stanch " + rulesOf["stanch"])
	for _, line := range RedisPolicy().Lines {
		w.do(line.Grant)
	}
	w.p = w.providers()
	return w
}

func (w *redisWorld) providers() *Providers {
	admin := checks.NewSecret("redis://stanch:" + changerPassword + "@" + w.host)
	return newProviders(w.t, Config{VerifyHosts: []string{"insecure://" + w.host}, AdminURLs: []checks.Secret{admin}})
}

func (w *redisWorld) write(file, text string) {
	w.t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

func (w *redisWorld) start() {
	w.t.Helper()
	cmd := exec.Command(servertest.Program(w.t, "redis-server", "redis-server"), w.args...)
	servertest.Start(w.t, cmd, func() bool { return w.session(w.bossName, servertest.AdminPassword) != nil })
	w.boss = w.session(w.bossName, servertest.AdminPassword)
	w.stop = func() {
		cmd.Process.Signal(syscall.SIGTERM)
		for deadline := time.Now().Add(servertest.Patience); w.session(w.bossName, servertest.AdminPassword) != nil; time.Sleep(10 * time.Millisecond) {
			if time.Now().After(deadline) {
				w.t.Fatal("the server does not stop")
			}
		}
	}
}

// session is nil when the server does not let the user in.
func (w *redisWorld) session(user, password string) *redisAdmin {
	conn, err := net.Dial("tcp", strings.Replace(w.host, "localhost", "127.0.0.1", 1))
	if err != nil {
		return nil
	}
	w.t.Cleanup(func() { conn.Close() })
	c := &redisAdmin{&redis{conn, bufio.NewReaderSize(conn, maxRedisReply)}, conn.Close, w.host}
	if _, err := c.ask("AUTH", user, password); err != nil {
		return nil
	}
	return c
}

func (w *redisWorld) do(command string) {
	w.t.Helper()
	if _, err := w.boss.ask(strings.Fields(command)...); err != nil {
		w.t.Fatal(err)
	}
}

func (w *redisWorld) leak(user string) Target {
	w.t.Helper()
	if user != "" {
		if _, err := w.boss.ask("ACL", "SETUSER", user, "on", ">"+leakedPassword, "+ping", "+acl|whoami"); err != nil {
			w.t.Fatal(err)
		}
	}
	return Target{Credential: parts("redis-url", map[string]string{
		"scheme": "redis", "user": url.User(user).String(), checks.PartSecret: leakedPassword, "host": w.host,
	})}
}

func (w *redisWorld) validity(target Target, want checks.Validity) {
	w.t.Helper()
	if v, err := w.p.VerifyAgain(w.t.Context(), target.Credential); err != nil || v.Validity != want {
		w.t.Errorf("%s, want %s: %+v, %v", v.Validity, want, v.Evidence, err)
	}
}

func (w *redisWorld) does(do command, on Target, want rules.Meaning) Receipt {
	w.t.Helper()
	got, err := do(w.t.Context(), on)
	if err != nil || got.Meaning != want {
		w.t.Fatalf("%+v, %v; want %s", got, err, want)
	}
	return got
}

func (w *redisWorld) issue(old Target) (Target, error) {
	w.t.Helper()
	prepared, err := w.p.Prepare(w.t.Context(), old, "op")
	if err != nil {
		w.t.Fatal(err)
	}
	r := Request{Old: old, Operation: "op", Prepared: prepared}
	fresh, err := w.p.Issue(w.t.Context(), r)
	if err != nil {
		return Target{}, err
	}
	r.Again = true
	if again, err := w.p.Issue(w.t.Context(), r); err != nil || again.Secret() != fresh.Secret() {
		w.t.Errorf("asked again: another password, %v", err)
	}
	return Target{Credential: fresh}, nil
}

func redisAlive(c *redisAdmin) bool {
	_, err := c.ask("ACL", "WHOAMI")
	return err == nil
}

// Both passwords count until the leaked one is taken away, and a restart changes nothing.
func TestRedisRotation(t *testing.T) {
	for kept, users := range map[string][]string{"redis.conf": {"shop", ""}, "file": {"", `a"b'\x;drop`}} {
		for _, user := range users {
			t.Run(kept+" "+user, func(t *testing.T) {
				w := newRedisWorld(t, kept)
				old, neighbour := w.leak(user), w.leak("shop2")
				name := map[bool]string{true: "default", false: user}[user == ""]
				thief, other := w.session(name, leakedPassword), w.session("shop2", leakedPassword)
				fresh, err := w.issue(old)
				if err != nil {
					t.Fatal(err)
				}
				w.validity(old, checks.Active)
				w.validity(fresh, checks.Active)
				w.does(w.p.Disable, old, rules.MeansRevoked)
				if redisAlive(thief) || !redisAlive(other) {
					t.Error("a session of the leaked password goes on, or somebody else's ended")
				}
				w.does(w.p.Disable, old, rules.MeansRevoked)
				w.validity(old, checks.Inactive)
				w.validity(fresh, checks.Active)
				w.does(w.p.Enable, old, rules.MeansAccepted)
				w.does(w.p.Enable, old, rules.MeansAccepted)
				w.validity(old, checks.Active)
				w.does(w.p.Disable, old, rules.MeansRevoked)
				consumer := w.session(name, fresh.Secret().Expose())
				w.does(w.p.Revoke, old, rules.MeansRevoked)
				if !redisAlive(consumer) {
					t.Error("at the end of the hold a session of the new password ended")
				}
				w.does(w.p.Revoke, old, rules.MeansAlreadyDead)
				if _, err := w.p.Enable(t.Context(), old); !errors.Is(err, ErrCannotDisable) {
					t.Errorf("enabled after it was revoked: %v", err)
				}
				w.stop()
				w.start()
				w.validity(old, checks.Inactive)
				w.validity(fresh, checks.Active)
				w.validity(neighbour, checks.Active)
			})
		}
	}
}

func TestRedisRevokedFirst(t *testing.T) {
	w := newRedisWorld(t, "file")
	old := w.leak("shop")
	w.does(w.p.Revoke, old, rules.MeansRevoked)
	sessions, quiet := redisMarks(redisHash(leakedPassword))
	w.do("ACL SETUSER shop !" + quiet + " >" + leakedPassword)
	thief := w.session("shop", leakedPassword)
	w.do("ACL SETUSER shop <" + leakedPassword + " #" + sessions) // as a crash leaves it
	w.does(w.p.Revoke, old, rules.MeansRevoked)
	if redisAlive(thief) {
		t.Error("a session goes on that a crash had left")
	}
	w.validity(old, checks.Inactive)
	for _, text := range marked(redisHash(leakedPassword)) {
		if w.session("shop", text) != nil {
			t.Error("who has the leaked password logs in by its mark")
		}
	}
	fresh, err := w.issue(old)
	if err != nil {
		t.Fatal(err)
	}
	w.validity(fresh, checks.Active)
	w.does(w.p.Revoke, old, rules.MeansAlreadyDead)
	hashes, err := w.boss.user("shop")
	if err != nil || fmt.Sprint(hashes) != fmt.Sprint([]string{redisHash(fresh.Secret().Expose())}) {
		t.Errorf("passwords %v, %v", hashes, err)
	}
	t.Run("somebody was faster", func(t *testing.T) {
		old := w.leak("faster")
		w.do("ACL SETUSER faster <" + leakedPassword + " >ofTheOwn3r")
		if _, err := w.issue(old); !errors.Is(err, ErrCannotIssue) {
			t.Errorf("%v", err)
		}
		w.does(w.p.Revoke, old, rules.MeansAlreadyDead)
		if w.session("faster", "ofTheOwn3r") == nil {
			t.Error("the owner's own password is gone")
		}
	})
}

func TestRedisRefusals(t *testing.T) {
	w := newRedisWorld(t, "nowhere")
	old := w.leak("shop")
	if _, err := w.issue(old); !errors.Is(err, ErrCannotIssue) || !strings.Contains(err.Error(), "no file") {
		t.Errorf("what the next restart would undo was issued: %v", err)
	}
	if hashes, _ := w.boss.user("shop"); len(hashes) != 1 {
		t.Errorf("%d passwords are left", len(hashes))
	}
	if got := w.does(w.p.Revoke, old, rules.MeansRevoked); !strings.Contains(got.Evidence.Answer, "after a restart") {
		t.Errorf("answer %q", got.Evidence.Answer)
	}
	t.Run("a name that redis.conf does not bear", func(t *testing.T) {
		w := newRedisWorld(t, "redis.conf")
		old := w.leak(`a"b`)
		if _, err := w.issue(old); !errors.Is(err, ErrCannotIssue) {
			t.Errorf("%v", err)
		}
		if got := w.does(w.p.Revoke, old, rules.MeansRevoked); !strings.Contains(got.Evidence.Answer, "after a restart") {
			t.Errorf("answer %q", got.Evidence.Answer)
		}
		w.stop()
		w.start()
	})
	own := Target{Credential: parts("redis-url", map[string]string{"user": "stanch", checks.PartSecret: changerPassword, "host": w.host})}
	w.do("ACL SETUSER open on nopass")
	open := Target{Credential: parts("redis-url", map[string]string{"user": "open", checks.PartSecret: "of0penUser", "host": w.host})}
	for _, target := range []Target{own, open} {
		if _, err := w.p.Revoke(t.Context(), target); !errors.Is(err, ErrCannotRevoke) {
			t.Errorf("%v", err)
		}
	}
	w.does(w.p.Revoke, Target{Credential: parts("redis-url", map[string]string{"user": "nobody", checks.PartSecret: leakedPassword, "host": w.host})}, rules.MeansAlreadyDead)
}

// Each line of the policy is needed, and no more than all of them.
func TestRedisPolicy(t *testing.T) {
	w := newRedisWorld(t, "redis.conf")
	for n, line := range RedisPolicy().Lines {
		t.Run(line.Grant, func(t *testing.T) {
			old := w.leak(fmt.Sprintf("line_%d", n))
			capability := strings.TrimPrefix(line.Grant, "ACL SETUSER stanch +")
			w.do("ACL SETUSER stanch -" + capability)
			_, err := w.p.Revoke(t.Context(), old)
			if err == nil || !strings.Contains(err.Error(), "'"+capability+"'") {
				t.Errorf("without it: %v", err)
			}
			w.do(line.Grant)
			w.does(w.p.Revoke, old, rules.MeansRevoked)
			w.validity(old, checks.Inactive)
		})
	}
}

// What is no reply of a server of this kind is never taken for one.
func TestRedisAdminLies(t *testing.T) {
	for name, lines := range map[string][]string{
		"refuses the login": {"-WRONGPASS invalid username-password pair\r\n"}, "before users": {"+OK\r\n", "-ERR unknown command 'ACL'\r\n"},
		"too deep": {"+OK\r\n", strings.Repeat("*1\r\n", 9) + ":1\r\n"}, "too long": {"+OK\r\n", "*99999999\r\n"}, "hangs up": {"+OK\r\n"},
		"no number": {"+OK\r\n", "*x\r\n"}, "half a user": {"+OK\r\n", "*2\r\n$9\r\npasswords\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			host := raw(t, func(c net.Conn) { chorusOnce(c, lines) })
			p := newProviders(t, Config{VerifyHosts: []string{"insecure://" + host}, AdminURLs: []checks.Secret{checks.NewSecret("redis://stanch:" + changerPassword + "@" + host)}})
			_, err := p.Revoke(t.Context(), Target{Credential: account("redis-url", host)})
			if err == nil || strings.Contains(err.Error(), changerPassword) {
				t.Errorf("%v", err)
			}
		})
	}
}

// chorusOnce answers with its lines and hangs up.
func chorusOnce(c net.Conn, lines []string) {
	b := make([]byte, 4096)
	for _, line := range lines {
		if _, err := c.Read(b); err != nil {
			return
		}
		c.Write([]byte(line))
	}
}
