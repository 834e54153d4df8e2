package provider

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stanch-dev/stanch/app/provider/servertest"
	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/rules"
)

// A myWorld is a real server with an administrator who was granted what the policy says.
type myWorld struct {
	t       *testing.T
	tls     servertest.Authority
	product myProduct
	host    string
	p       *Providers
	boss    *myAdmin
}

func newMyWorld(t *testing.T, product myProduct) *myWorld {
	w := &myWorld{t: t, tls: servertest.NewAuthority(t), product: product}
	policy := MySQLPolicy()
	if product == (twoPasswords{}) {
		w.host = "localhost:" + servertest.MySQL(t)
	} else {
		policy, w.host = MariaDBPolicy(), "localhost:"+servertest.MariaDB(t, w.tls)
	}
	w.boss = w.session("boss", servertest.AdminPassword)
	w.sql("CREATE USER stanch IDENTIFIED BY '" + changerPassword + "'")
	for _, line := range policy.Lines {
		w.sql(line.Grant)
	}
	w.p = w.providers()
	return w
}

func (w *myWorld) providers() *Providers {
	admin := checks.NewSecret("mysql://stanch:" + changerPassword + "@" + w.host)
	host := w.host
	if w.insecure() {
		host = "insecure://" + host
	}
	return newProviders(w.t, Config{VerifyHosts: []string{host}, VerifyRoots: w.tls.Roots, AdminURLs: []checks.Secret{admin}})
}

// insecure tells that the server has no certificate.
func (w *myWorld) insecure() bool { return w.product == twoPasswords{} }

// session is nil when the server does not let the user in.
func (w *myWorld) session(user, password string) *myAdmin {
	w.t.Helper()
	name, port := splitPort(w.host)
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	w.t.Cleanup(cancel)
	conn, err := connectMySQL(ctx, login{endpoint: endpoint{name: name, port: port, roots: w.tls.Roots, insecure: w.insecure()}, user: user, password: password})
	if err != nil {
		return nil
	}
	w.t.Cleanup(func() { conn.Close() })
	return &myAdmin{conn, w.product, w.host}
}

func (w *myWorld) sql(statements ...string) {
	w.t.Helper()
	for _, s := range statements {
		if err := w.boss.do(context.Background(), s); err != nil {
			w.t.Fatalf("%s: %v", s, err)
		}
	}
}

// leak makes an account whose password has leaked, and has it verified.
func (w *myWorld) leak(user, host string) Target {
	w.t.Helper()
	w.sql("CREATE USER " + myName(user) + "@" + myName(host) + " IDENTIFIED BY '" + leakedPassword + "'")
	return w.target(user, leakedPassword, true)
}

func (w *myWorld) target(user, password string, verified bool) Target {
	w.t.Helper()
	t := Target{Credential: parts("mysql-url", map[string]string{"user": url.User(user).String(), checks.PartSecret: password, "host": w.host})}
	if verified {
		v, err := w.p.VerifyAgain(w.t.Context(), t.Credential)
		if err != nil || v.Validity != checks.Active {
			w.t.Fatalf("%s: %+v, %v", user, v, err)
		}
		t.Identity = v.Evidence.Identity
	}
	return t
}

func (w *myWorld) validity(target Target, want checks.Validity) {
	w.t.Helper()
	if v, err := w.p.VerifyAgain(w.t.Context(), target.Credential); err != nil || v.Validity != want {
		w.t.Errorf("%s, want %s: %+v, %v", v.Validity, want, v.Evidence, err)
	}
}

func (w *myWorld) does(do command, on Target, want rules.Meaning) Receipt {
	w.t.Helper()
	got, err := do(w.t.Context(), on)
	if err != nil || got.Meaning != want {
		w.t.Fatalf("%+v, %v; want %s", got, err, want)
	}
	return got
}

func (w *myWorld) issue(old Target) (Target, error) {
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

func (w *myWorld) alive(c *myAdmin) bool {
	_, err := c.rows(w.t.Context(), 1, "SELECT 1")
	return err == nil
}

func (w *myWorld) methods(user, host string) (texts []string) {
	w.t.Helper()
	all, err := w.product.accounts(w.t.Context(), w.boss, user)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, a := range all {
		if a.user == user && a.host == host {
			for _, m := range a.methods {
				texts = append(texts, m.Plugin+" "+m.Text)
			}
		}
	}
	return texts
}

// Both passwords count until the leaked one is taken away; nobody else notices.
func TestMySQLRotation(t *testing.T) {
	w := newMyWorld(t, mariaDB{})
	names := []string{"clerk", "clerk2", "Clerk", "a\"b'; DROP", "a`b\\", "ünï", "%", "cler_"}
	var all []Target
	for _, name := range names {
		all = append(all, w.leak(name, "%"))
	}
	w.sql("ALTER USER clerk REQUIRE SSL WITH MAX_USER_CONNECTIONS 9", "GRANT SELECT ON orders.* TO clerk")
	for i, name := range names {
		t.Run(name, func(t *testing.T) {
			old := all[i]
			fresh, err := w.issue(old)
			if err != nil {
				t.Fatal(err)
			}
			w.validity(old, checks.Active)
			w.validity(fresh, checks.Active)
			thief, bystander := w.session(name, leakedPassword), w.session("shop", servertest.ShopPassword)
			w.does(w.p.Disable, old, rules.MeansRevoked)
			if w.alive(thief) || !w.alive(bystander) {
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
			if !w.alive(consumer) {
				t.Error("at the end of the hold a session of the new password ended")
			}
			w.does(w.p.Revoke, old, rules.MeansAlreadyDead)
			if _, err := w.p.Enable(t.Context(), old); !errors.Is(err, ErrCannotDisable) {
				t.Errorf("enabled after it was revoked: %v", err)
			}
			w.validity(old, checks.Inactive)
			w.validity(fresh, checks.Active)
			if got := w.methods(name, "%"); len(got) != 1 || got[0] != myNative+" "+myHash(fresh.Secret().Expose()) {
				t.Errorf("methods %v", got)
			}
			for _, living := range names[i+1:] {
				if w.session(living, leakedPassword) == nil {
					t.Errorf("%s is dead", living)
				}
			}
		})
	}
	rows, err := w.boss.rows(t.Context(), 1, "SHOW CREATE USER clerk")
	if err != nil || !strings.Contains(rows[0][0], "REQUIRE SSL WITH MAX_USER_CONNECTIONS 9") {
		t.Errorf("%v, %v", rows, err)
	}
}

// The account that leaked is another one than those of its name that come from elsewhere.
func TestMySQLAccountsOfOneName(t *testing.T) {
	w := newMyWorld(t, mariaDB{})
	near := w.leak("clerk", "127.0.0.1")
	w.sql("CREATE USER clerk@'10.%' IDENTIFIED BY '"+leakedPassword+"'", "CREATE USER clerk@'127.0.0.%' IDENTIFIED BY '"+othersPassword+"'")
	unverified := Target{Credential: near.Credential}
	if _, err := w.p.Revoke(t.Context(), unverified); !errors.Is(err, ErrCannotRevoke) || !strings.Contains(err.Error(), "several accounts") {
		t.Errorf("of two accounts one was revoked: %v", err)
	}
	before := w.methods("clerk", "10.%")
	thief := w.session("clerk", leakedPassword)
	got := w.does(w.p.Revoke, near, rules.MeansRevoked)
	if !strings.Contains(got.Evidence.Answer, "still that of clerk@10.%") || got.Evidence.Identity["user"] != "clerk@127.0.0.1" {
		t.Errorf("%+v", got.Evidence)
	}
	if w.alive(thief) || !slices.Equal(before, w.methods("clerk", "10.%")) || len(w.methods("clerk", "127.0.0.%")) != 1 {
		t.Error("a session goes on, or another account was changed")
	}
	fresh, err := w.issue(near)
	if err != nil {
		t.Fatal(err)
	}
	w.validity(fresh, checks.Active)

	wide := w.leak("cook", "127.0.0._")
	w.sql("CREATE USER cook@'127.%' IDENTIFIED BY '" + othersPassword + "'")
	between := w.session("cook", leakedPassword)
	if _, err := w.p.Revoke(t.Context(), wide); err == nil || errors.Is(err, ErrCannotRevoke) || !strings.Contains(err.Error(), "SHOW PROCESSLIST") {
		t.Errorf("a session that may be of another account was not told of: %v", err)
	}
	if !w.alive(between) {
		t.Error("a session that may be of another account was ended")
	}
	between.Close()
	w.validity(wide, checks.Inactive)
	w.does(w.p.Revoke, wide, rules.MeansRevoked)
}

func TestMySQLSessionOwner(t *testing.T) {
	for _, test := range []struct {
		ours   string
		others []string
		from   string
		want   owner
	}{
		{"%", nil, "10.0.0.1:5000", ours}, {"10.0.0.1", []string{"%"}, "10.0.0.1:5000", ours}, {"%", []string{"10.0.0.1"}, "10.0.0.1:5000", theirs},
		{"10.%", []string{"11.%"}, "10.0.0.1:5000", ours}, {"11.%", []string{"10.%"}, "10.0.0.1:5000", theirs}, {"10.%", []string{"10.0.%"}, "10.0.0.1:1", anybodys},
		{"%", []string{"localhost"}, "localhost", theirs}, {"%", []string{"10.0.0.0/255.0.0.0"}, "11.0.0.1:1", anybodys}, {"%", []string{"10.0.0.1"}, "app.example.net:1", anybodys},
		{"::1", []string{"%"}, "::1:5000", ours}, {"a.b", []string{"a%b"}, "axb:1", theirs}, {"10.0.0.1", []string{"10.0.0.2"}, "10.0.0.3:1", anybodys},
	} {
		l := &myLook{account: myAccount{user: "shop", host: test.ours}}
		for _, host := range test.others {
			l.alike = append(l.alike, myAccount{user: "shop", host: host})
		}
		if got := l.owner(test.from); got != test.want {
			t.Errorf("%s beside %v, from %s: %d, want %d", test.ours, test.others, test.from, got, test.want)
		}
	}
}

// marked are the texts that the marks of a password are made of.
func marked(hash string) []string {
	return []string{"taken away by Stanch: " + hash, "taken away by Stanch, sessions ended: " + hash}
}

func TestMySQLRevokedFirst(t *testing.T) {
	w := newMyWorld(t, mariaDB{})
	old := w.leak("clerk", "%")
	w.sql("ALTER USER clerk IDENTIFIED VIA mysql_native_password USING PASSWORD('" + leakedPassword + "') OR unix_socket")
	w.does(w.p.Revoke, old, rules.MeansRevoked)
	if got := w.methods("clerk", "%"); len(got) != 1 || got[0] != "unix_socket " {
		t.Errorf("methods %v", got)
	}
	w.sql("ALTER USER clerk IDENTIFIED BY '" + leakedPassword + "'")
	thief := w.session("clerk", leakedPassword)
	forSessions, _ := marks(myHash(leakedPassword))
	w.sql("ALTER USER clerk IDENTIFIED VIA mysql_native_password USING '" + myMethod{Plugin: myNative}.marked(forSessions).Text + "'") // as a crash leaves it
	w.does(w.p.Revoke, old, rules.MeansRevoked)
	w.does(w.p.Revoke, old, rules.MeansRevoked)
	if w.alive(thief) {
		t.Error("a session goes on that a crash had left")
	}
	w.validity(old, checks.Inactive)
	for _, text := range marked(myHash(leakedPassword)) {
		if w.session("clerk", text) != nil {
			t.Error("who has the leaked password logs in by its mark")
		}
	}
	fresh, err := w.issue(old)
	if err != nil {
		t.Fatal(err)
	}
	w.validity(fresh, checks.Active)
	w.does(w.p.Revoke, old, rules.MeansAlreadyDead)
	if got := w.methods("clerk", "%"); len(got) != 1 {
		t.Errorf("methods %v", got)
	}
	t.Run("somebody was faster", func(t *testing.T) {
		old := w.leak("faster", "%")
		w.sql("ALTER USER faster IDENTIFIED BY '" + othersPassword + "'")
		if _, err := w.issue(old); !errors.Is(err, ErrCannotIssue) {
			t.Errorf("%v", err)
		}
		w.does(w.p.Revoke, old, rules.MeansAlreadyDead)
		w.does(w.p.Disable, old, rules.MeansAlreadyDead)
		w.validity(w.target("faster", othersPassword, false), checks.Active)
	})
	t.Run("never stored", func(t *testing.T) { // the app knows the replacement only
		w.does(w.p.Revoke, fresh, rules.MeansRevoked)
		w.validity(fresh, checks.Inactive)
	})
	t.Run("Stanch's own", func(t *testing.T) {
		if _, err := w.p.Revoke(t.Context(), w.target("stanch", changerPassword, true)); !errors.Is(err, ErrCannotRevoke) {
			t.Errorf("%v", err)
		}
	})
}

// Each line of the policy is needed, and no more than all of them.
func TestMySQLPolicy(t *testing.T) {
	w := newMyWorld(t, mariaDB{})
	for n, line := range MariaDBPolicy().Lines {
		t.Run(line.Grant, func(t *testing.T) {
			old := w.leak(fmt.Sprintf("line_%d", n), "%")
			thief := w.session(fmt.Sprintf("line_%d", n), leakedPassword)
			w.sql("REVOKE" + strings.TrimPrefix(strings.Replace(line.Grant, " TO ", " FROM ", 1), "GRANT"))
			capability := strings.Fields(line.Grant)[1]
			_, err := w.p.Revoke(t.Context(), old)
			if err == nil || !strings.Contains(err.Error(), capability) {
				t.Errorf("without it: %v", err)
			}
			if changed := n >= 2; changed == errors.Is(err, ErrCannotRevoke) {
				t.Errorf("definite, or not: %v", err)
			}
			w.sql(line.Grant)
			w.does(w.p.Revoke, old, rules.MeansRevoked)
			w.validity(old, checks.Inactive)
			if w.alive(thief) {
				t.Error("a session goes on")
			}
		})
	}
}
