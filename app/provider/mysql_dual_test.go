package provider

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stanch-dev/stanch/app/provider/servertest"
	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/rules"
)

// slots are the passwords among those given that an account keeps, its own first, and
// "mark" and "?" for what is none of them.
func (w *myWorld) slots(user, host string, given ...string) string {
	w.t.Helper()
	all, err := w.product.accounts(w.t.Context(), w.boss, user)
	if err != nil {
		w.t.Fatal(err)
	}
	var kept []string
	for _, a := range all {
		for _, m := range a.methods {
			if a.user != user || a.host != host {
				continue
			}
			name := "?"
			for _, password := range given {
				if m.is(password) {
					name = password
				}
			}
			if strings.Contains(m.Text, "taken.away.by.Stanch") {
				name = "mark"
			}
			kept = append(kept, name)
		}
	}
	return strings.Join(kept, " ")
}

func (w *myWorld) wantSlots(user, want string, given ...string) {
	w.t.Helper()
	if got := w.slots(user, "%", given...); got != want {
		w.t.Errorf("passwords %q, want %q", got, want)
	}
}

// One server, since each takes seconds to begin.
func TestMySQLTwoPasswords(t *testing.T) {
	w := newMyWorld(t, twoPasswords{})
	for name, test := range map[string]func(*testing.T, *myWorld){
		"rotation": rotatesTwoPasswords, "the retained one leaked": retainedLeaked, "revoked first": revokedBeforeIssued,
		"undone": undoesTwoPasswords, "a retained one of somebody's": retainedOfOthers, "the same one twice": sameTwice, "accounts of one name": dualAccountsOfOneName,
		"no account of its own": anonymousAccount, "as a crash leaves it": crashedTwoPasswords, "kept elsewhere": otherPasswords,
		"password of each kind": hashedPasswords, "policy": twoPasswordsPolicy,
	} {
		t.Run(name, func(t *testing.T) {
			inner := *w
			inner.t = t
			test(t, &inner)
		})
	}
}

func TestMySQLVersions(t *testing.T) {
	for version, want := range map[string]bool{
		"8.0.14": true, "8.0.36-28": true, "8.4.0": true, "9.7.4-2": true, "10.0.0-debug": true,
		"8.0.13": false, "5.7.44-log": false, "8.0.11-TiDB-v7.5.0": false, "": false, "nine": false,
	} {
		if hasTwoPasswords(version) != want {
			t.Errorf("%q has two passwords: %t", version, !want)
		}
	}
}

// Both passwords count until the leaked one is taken away; nobody else notices.
func rotatesTwoPasswords(t *testing.T, w *myWorld) {
	names := []string{"clerk", "clerk2", "a\"b'; DROP", "a`b\\", "ünï"}
	var all []Target
	for _, name := range names {
		all = append(all, w.leak(name, "%"))
	}
	w.sql("ALTER USER clerk WITH MAX_USER_CONNECTIONS 9 PASSWORD HISTORY 5", "GRANT SELECT ON orders.* TO clerk")
	for i, name := range names {
		old := all[i]
		fresh, err := w.issue(old)
		if err != nil {
			t.Fatal(err)
		}
		next := fresh.Secret().Expose()
		w.validity(old, checks.Active)
		w.validity(fresh, checks.Active)
		thief, bystander := w.session(name, leakedPassword), w.session("boss", servertest.AdminPassword)
		w.does(w.p.Disable, old, rules.MeansRevoked)
		if w.alive(thief) || !w.alive(bystander) {
			t.Error("a session of the leaked password goes on, or somebody else's ended")
		}
		w.does(w.p.Disable, old, rules.MeansRevoked)
		w.wantSlots(name, "mark "+next, next)
		w.validity(old, checks.Inactive)
		w.validity(fresh, checks.Active)
		for _, text := range marked(myHash(leakedPassword)) {
			if w.session(name, text) != nil {
				t.Error("who has the leaked password logs in by its mark")
			}
		}
		consumer := w.session(name, next)
		w.does(w.p.Revoke, old, rules.MeansRevoked)
		if !w.alive(consumer) {
			t.Error("at the end of the hold a session of the new password ended")
		}
		w.wantSlots(name, next, next)
		w.does(w.p.Revoke, old, rules.MeansAlreadyDead)
		if _, err := w.p.Enable(t.Context(), old); !errors.Is(err, ErrCannotDisable) {
			t.Errorf("enabled after it was revoked: %v", err)
		}
		w.validity(old, checks.Inactive)
		w.validity(fresh, checks.Active)
		for _, living := range names[i+1:] {
			if w.session(living, leakedPassword) == nil {
				t.Errorf("%s is dead", living)
			}
		}
	}
	rows, err := w.boss.rows(t.Context(), 1, "SHOW CREATE USER clerk")
	if err != nil || !strings.Contains(rows[0][0], "MAX_USER_CONNECTIONS 9") || !strings.Contains(rows[0][0], "PASSWORD HISTORY 5") {
		t.Errorf("%v, %v", rows, err)
	}
}

// Who undoes a rotation has the leaked password again, and it alone.
func undoesTwoPasswords(t *testing.T, w *myWorld) {
	old := w.leak("undone", "%")
	fresh, err := w.issue(old)
	if err != nil {
		t.Fatal(err)
	}
	next := fresh.Secret().Expose()
	w.does(w.p.Disable, old, rules.MeansRevoked)
	w.does(w.p.Enable, old, rules.MeansAccepted)
	w.does(w.p.Enable, old, rules.MeansAccepted)
	w.validity(old, checks.Active)
	w.validity(fresh, checks.Active)
	w.wantSlots("undone", leakedPassword+" "+next, leakedPassword, next)
	w.does(w.p.Revoke, fresh, rules.MeansRevoked)
	w.wantSlots("undone", leakedPassword, leakedPassword, next)
	w.validity(old, checks.Active)
	w.validity(fresh, checks.Inactive)
}

// The old password, which its owner has kept for a while, leaked: the new one stays.
func retainedLeaked(t *testing.T, w *myWorld) {
	old := w.leak("kept", "%")
	w.sql("ALTER USER kept IDENTIFIED BY '" + othersPassword + "' RETAIN CURRENT PASSWORD")
	w.wantSlots("kept", othersPassword+" "+leakedPassword, leakedPassword, othersPassword)
	if _, err := w.issue(old); !errors.Is(err, ErrCannotIssue) || !strings.Contains(err.Error(), "two passwords") {
		t.Errorf("a third password: %v", err)
	}
	w.wantSlots("kept", othersPassword+" "+leakedPassword, leakedPassword, othersPassword)
	owner := w.target("kept", othersPassword, false)
	thief := w.session("kept", leakedPassword)
	w.does(w.p.Disable, old, rules.MeansRevoked)
	if w.alive(thief) {
		t.Error("a session of the leaked password goes on")
	}
	w.validity(old, checks.Inactive)
	w.validity(owner, checks.Active)
	w.does(w.p.Enable, old, rules.MeansAccepted)
	w.validity(old, checks.Active)
	w.validity(owner, checks.Active)
	w.does(w.p.Revoke, old, rules.MeansRevoked)
	w.wantSlots("kept", othersPassword, leakedPassword, othersPassword)
	w.validity(old, checks.Inactive)
	w.validity(owner, checks.Active)
}

// The account's own password leaked, and an older one was retained: whoever still uses
// that is not shut out by a third one.
func retainedOfOthers(t *testing.T, w *myWorld) {
	w.sql("CREATE USER busy IDENTIFIED BY '" + othersPassword + "'")
	w.sql("ALTER USER busy IDENTIFIED BY '" + leakedPassword + "' RETAIN CURRENT PASSWORD")
	old, straggler := w.target("busy", leakedPassword, true), w.target("busy", othersPassword, false)
	if _, err := w.issue(old); !errors.Is(err, ErrCannotIssue) || !strings.Contains(err.Error(), "DISCARD OLD PASSWORD") {
		t.Errorf("a third password: %v", err)
	}
	w.wantSlots("busy", leakedPassword+" "+othersPassword, leakedPassword, othersPassword)
	w.does(w.p.Disable, old, rules.MeansRevoked)
	w.validity(straggler, checks.Active)
	fresh, err := w.issue(old) // there is room for it where the leaked one was
	if err != nil {
		t.Fatal(err)
	}
	w.validity(fresh, checks.Active)
	w.validity(straggler, checks.Active)
	w.does(w.p.Revoke, old, rules.MeansAlreadyDead)
	w.wantSlots("busy", fresh.Secret().Expose()+" "+othersPassword, fresh.Secret().Expose(), leakedPassword, othersPassword)
}

func sameTwice(t *testing.T, w *myWorld) {
	old := w.leak("twice", "%")
	w.sql("ALTER USER twice IDENTIFIED BY '" + leakedPassword + "' RETAIN CURRENT PASSWORD")
	w.wantSlots("twice", leakedPassword+" "+leakedPassword, leakedPassword)
	fresh, err := w.issue(old)
	if err != nil {
		t.Fatal(err)
	}
	w.sql("ALTER USER twice IDENTIFIED BY '" + leakedPassword + "' RETAIN CURRENT PASSWORD")
	w.sql("ALTER USER twice IDENTIFIED BY '" + leakedPassword + "' RETAIN CURRENT PASSWORD")
	w.does(w.p.Revoke, old, rules.MeansRevoked)
	w.wantSlots("twice", "mark", leakedPassword)
	w.validity(old, checks.Inactive)
	w.validity(fresh, checks.Inactive) // its owner has taken it away himself
}

func revokedBeforeIssued(t *testing.T, w *myWorld) {
	old := w.leak("first", "%")
	thief := w.session("first", leakedPassword)
	w.does(w.p.Revoke, old, rules.MeansRevoked)
	w.does(w.p.Revoke, old, rules.MeansRevoked)
	if w.alive(thief) {
		t.Error("a session of the leaked password goes on")
	}
	w.wantSlots("first", "mark")
	w.validity(old, checks.Inactive)
	fresh, err := w.issue(old)
	if err != nil {
		t.Fatal(err)
	}
	w.validity(fresh, checks.Active)
	w.does(w.p.Revoke, old, rules.MeansAlreadyDead)
	w.wantSlots("first", fresh.Secret().Expose(), fresh.Secret().Expose())

	faster := w.leak("faster", "%")
	w.sql("ALTER USER faster IDENTIFIED BY '" + othersPassword + "'")
	if _, err := w.issue(faster); !errors.Is(err, ErrCannotIssue) {
		t.Errorf("%v", err)
	}
	w.does(w.p.Revoke, faster, rules.MeansAlreadyDead)
	w.does(w.p.Disable, faster, rules.MeansAlreadyDead)
	if _, err := w.p.Enable(t.Context(), faster); !errors.Is(err, ErrCannotDisable) {
		t.Errorf("what Stanch did not take away was given back: %v", err)
	}
	w.validity(w.target("faster", othersPassword, false), checks.Active)
	if _, err := w.p.Revoke(t.Context(), w.target("stanch", changerPassword, true)); !errors.Is(err, ErrCannotRevoke) {
		t.Errorf("Stanch's own: %v", err)
	}
}

// The account that leaked is another one than those of its name that come from elsewhere.
func dualAccountsOfOneName(t *testing.T, w *myWorld) {
	near := w.leak("cook", "127.0.0.1")
	w.sql("CREATE USER cook@'10.%' IDENTIFIED BY '"+leakedPassword+"'", "CREATE USER cook@'127.0.0.%' IDENTIFIED BY '"+othersPassword+"'")
	if _, err := w.p.Revoke(t.Context(), Target{Credential: near.Credential}); !errors.Is(err, ErrCannotRevoke) || !strings.Contains(err.Error(), "several accounts") {
		t.Errorf("of two accounts one was revoked: %v", err)
	}
	before := w.methods("cook", "10.%")
	thief := w.session("cook", leakedPassword)
	got := w.does(w.p.Revoke, near, rules.MeansRevoked)
	if !strings.Contains(got.Evidence.Answer, "still that of cook@10.%") || got.Evidence.Identity["user"] != "cook@127.0.0.1" {
		t.Errorf("%+v", got.Evidence)
	}
	if w.alive(thief) || !slices.Equal(before, w.methods("cook", "10.%")) || w.slots("cook", "127.0.0.%", othersPassword) != othersPassword {
		t.Error("a session goes on, or another account was changed")
	}
}

// Whoever comes from a host of the anonymous account is that account, whatever he calls
// himself, and its password is nobody's to change.
func anonymousAccount(t *testing.T, w *myWorld) {
	w.sql("CREATE USER ''@'127.0.0.1' IDENTIFIED BY '"+leakedPassword+"'", "CREATE USER waiter@'%' IDENTIFIED BY '"+othersPassword+"'")
	w.sql("RENAME USER stanch TO stanch@'127.0.0.1'", "FLUSH PRIVILEGES") // else it would be the anonymous account too
	defer w.sql("DROP USER ''@'127.0.0.1'", "RENAME USER stanch@'127.0.0.1' TO stanch", "FLUSH PRIVILEGES")
	leaked := w.target("waiter", leakedPassword, true)
	for _, do := range []command{w.p.Disable, w.p.Revoke} {
		if _, err := do(t.Context(), leaked); !errors.Is(err, ErrCannotRevoke) && !errors.Is(err, ErrCannotDisable) || !strings.Contains(err.Error(), "@127.0.0.1") {
			t.Errorf("%v", err)
		}
	}
	w.validity(leaked, checks.Active)
}

// A crash may end any of the steps.
func crashedTwoPasswords(t *testing.T, w *myWorld) {
	old := w.leak("crashed", "%")
	thief := w.session("crashed", leakedPassword)
	like := myMethod{mySHA2, w.methods("crashed", "%")[0][len(mySHA2)+1:]}
	forSessions, _ := marks(myHash(leakedPassword))
	crashed := myAccount{user: "crashed", host: "%"}
	w.sql(like.marked(forSessions).identified(crashed)) // and its sessions go on
	w.does(w.p.Revoke, old, rules.MeansRevoked)
	if w.alive(thief) {
		t.Error("a session goes on that a crash had left")
	}
	fresh := like.with(othersPassword)
	w.sql(fresh.identified(crashed), fresh.identified(crashed)+" RETAIN CURRENT PASSWORD") // and it was not discarded
	w.does(w.p.Revoke, old, rules.MeansAlreadyDead)
	next := w.target("crashed", othersPassword, true)
	replaced, err := w.issue(next)
	if err != nil {
		t.Fatal(err)
	}
	w.does(w.p.Revoke, next, rules.MeansRevoked)
	w.wantSlots("crashed", replaced.Secret().Expose(), replaced.Secret().Expose())
	w.sql(fresh.identified(crashed), fresh.identified(crashed)+" RETAIN CURRENT PASSWORD")
	w.does(w.p.Revoke, next, rules.MeansRevoked)
	w.validity(next, checks.Inactive)
}

// What Stanch cannot know by a hash a person changes.
func otherPasswords(t *testing.T, _ *myWorld) {
	l := &myLook{leaked: login{user: "ldap"}, known: map[myMethod]standing{}}
	other := myAccount{user: "ldap", host: "%", methods: []myMethod{{"authentication_ldap_simple", ""}}}
	if err := l.choose([]myAccount{other}, "", nil); err == nil || !strings.Contains(err.Error(), "ldap@%") {
		t.Errorf("a password that is kept elsewhere is taken for dead: %v", err)
	}
}

// What the server keeps of a password is what Stanch works out, for each of its plugins
// and for passwords of all lengths.
func hashedPasswords(t *testing.T, w *myWorld) {
	tried := 0
	for _, plugin := range []string{mySHA2, myOldSHA2, myNative} {
		for _, n := range []int{6, 31, 32, 33, 64, 100} {
			password := strings.Repeat("pässw0rd, ", 12)[:n-1] + "x"
			user := fmt.Sprintf("kind_%d_%.10s", n, plugin)
			err := w.boss.do(context.Background(), "CREATE USER "+user+" IDENTIFIED WITH "+plugin+" BY '"+password+"'")
			if err != nil && strings.Contains(err.Error(), "1524") {
				break // newer servers lack it
			}
			if err != nil {
				t.Fatal(err)
			}
			tried++
			w.wantSlots(user, password, password)
			if got := w.slots(user, "%", password+"x", password[1:]); got != "?" {
				t.Errorf("another password is taken for %q", got)
			}
			own := w.methods(user, "%")[0]
			m := myMethod{plugin, strings.TrimPrefix(own, plugin+" ")}.with(othersPassword)
			w.sql(m.identified(myAccount{user: user, host: "%"}))
			if w.session(user, othersPassword) == nil || w.session(user, password) != nil {
				t.Errorf("%s: a password that Stanch has set does not count, or the one before does", plugin)
			}
		}
	}
	if tried < 12 {
		t.Errorf("%d passwords tried", tried)
	}
}

// Each line of the policy is needed, and each column, and no more than all of them.
func twoPasswordsPolicy(t *testing.T, w *myWorld) {
	revokes := func(n int, take, give, capability string, changed bool) {
		t.Helper()
		user := fmt.Sprintf("line_%d", n)
		old := w.leak(user, "%")
		thief := w.session(user, leakedPassword)
		w.sql(take)
		_, err := w.p.Revoke(t.Context(), old)
		if err == nil || !strings.Contains(err.Error(), capability) || changed == errors.Is(err, ErrCannotRevoke) {
			t.Errorf("without %s: %v", capability, err)
		}
		w.sql(give)
		w.does(w.p.Revoke, old, rules.MeansRevoked)
		w.validity(old, checks.Inactive)
		if w.alive(thief) {
			t.Error("a session goes on")
		}
	}
	for n, line := range MySQLPolicy().Lines {
		take := "REVOKE" + strings.TrimPrefix(strings.Replace(line.Grant, " TO ", " FROM ", 1), "GRANT")
		revokes(n, take, line.Grant, strings.Fields(line.Grant)[1], n >= 2)
	}
	for n, column := range []string{"User", "Host", "plugin", "authentication_string", "User_attributes"} {
		on := " SELECT (" + column + ") ON mysql.user "
		revokes(100+n, "REVOKE"+on+"FROM stanch", "GRANT"+on+"TO stanch", column, false)
	}
}
