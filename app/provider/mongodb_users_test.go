package provider

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/stanch-dev/stanch/app/provider/servertest"
	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/rules"
)

// One emergency rotation kills exactly the leaked user, and the next one its successor.
func TestMongoDBUsersTakeOver(t *testing.T) {
	w := newMongoWorld(t)
	custom := bson.D{{Key: "team", Value: "billing"}}
	w.user("clerk", "orders", bson.E{Key: "roles", Value: []servertest.MongoRole{{Role: "readWrite", DB: "orders"}}}, bson.E{Key: "customData", Value: custom},
		bson.E{Key: "mechanisms", Value: bson.A{"SCRAM-SHA-256"}}, bson.E{Key: "authenticationRestrictions", Value: bson.A{bson.D{{Key: "clientSource", Value: bson.A{"127.0.0.0/8", "::1"}}}}})
	first := w.known(w.target("clerk"))
	w.user("clerk2", "orders")
	thief, bystander := w.thief("clerk", "orders"), w.thief("clerk2", "orders")
	r := w.request(first, "op-1")
	second := w.issue(r)
	r.Again = true
	if again := w.issue(r); again.Parts["user"] != second.Parts["user"] || again.Secret() != second.Secret() {
		t.Error("asked again, another replacement came")
	}
	other := second.Parts["user"].Expose()
	old, fresh := w.kept("clerk", "orders"), w.kept(other, "orders")
	if other != otherName("clerk", "op-1") || fresh == nil || rolesText(fresh.Roles) != "readWrite@orders" || fresh.CustomData.String() != old.CustomData.String() ||
		len(fresh.Mechanisms) != 1 || fresh.AuthenticationRestrictions.String() != old.AuthenticationRestrictions.String() {
		t.Fatalf("the other user is %s: %+v, like %+v", other, fresh, old)
	}
	w.validity(first, checks.Active)
	w.validity(second, checks.Active)
	done := make(chan error, 1)
	slow := w.thief("clerk", "orders")
	go func() {
		done <- slow.Database("admin").RunCommand(context.Background(), bson.D{{Key: "sleep", Value: 1}}).Err()
	}()
	for w.server.Running("orders", "clerk") == 0 {
		time.Sleep(time.Millisecond)
	}
	w.does(w.p.Disable, first, rules.MeansRevoked)
	w.does(w.p.Disable, first, rules.MeansRevoked)
	if err := <-done; err == nil {
		t.Error("what the leaked user was doing goes on")
	}
	w.validity(first, checks.Inactive)
	w.validity(second, checks.Active)
	if mongoAlive(thief) || !mongoAlive(bystander) {
		t.Error("the thief stays, or somebody else does not")
	}
	w.does(w.p.Enable, first, rules.MeansAccepted)
	w.does(w.p.Enable, first, rules.MeansAccepted)
	w.validity(first, checks.Active)
	if got := w.kept("clerk", "orders"); rolesText(got.Roles) != "readWrite@orders" || got.AuthenticationRestrictions.String() != old.AuthenticationRestrictions.String() {
		t.Errorf("the user came back as %+v", got)
	}
	if got := w.does(w.p.Revoke, first, rules.MeansRevoked); !strings.Contains(got.Evidence.Answer, "readWrite@orders") {
		t.Errorf("the roles of the dropped user are forgotten: %+v", got)
	}
	w.does(w.p.Revoke, first, rules.MeansAlreadyDead)
	w.validity(first, checks.Inactive)
	if w.kept("clerk", "orders") != nil || w.kept("clerk2", "orders") == nil {
		t.Error("the leaked user is there, or another one is not")
	}
	if _, err := w.p.Enable(t.Context(), first); !errors.Is(err, ErrCannotDisable) {
		t.Errorf("a revoked password was enabled: %v", err)
	}
	third := w.issue(w.request(second, "op-2"))
	if got := third.Parts["user"].Expose(); got != otherName("clerk", "op-2") {
		t.Errorf("the third user is %s", got)
	}
	if a, b := w.p.Holds(second), w.p.Holds(third); a != b || a != w.p.Holds(first) {
		t.Errorf("%q and %q are worked on at the same time", a, b)
	}
	w.does(w.p.Revoke, second, rules.MeansRevoked)
	w.validity(second, checks.Inactive)
	w.validity(third, checks.Active)
}

// In place the leaked password dies at once, and who logged in with it, however silent he
// was, is out for good.
func TestMongoDBInPlace(t *testing.T) {
	w := newMongoWorld(t)
	for name, before := range map[string]command{"alive": nil, "shut_out": w.p.Disable} {
		t.Run(name, func(t *testing.T) {
			old := w.leak(name)
			thief := w.thief(name, "orders")
			if before != nil {
				w.does(before, old, rules.MeansRevoked)
			}
			r := w.request(old, "op")
			r.InPlace = true
			fresh := w.issue(r)
			if got := fresh.Parts["user"].Expose(); got != name {
				t.Errorf("in place of %s came %s", name, got)
			}
			w.validity(old, checks.Inactive)
			w.validity(fresh, checks.Active)
			if mongoAlive(thief) {
				t.Error("the thief stays")
			}
			if got := w.kept(name, "orders"); rolesText(got.Roles) != "readWrite@orders, read@orders" {
				t.Errorf("roles %v", got.Roles)
			}
			r.Again = true
			if again := w.issue(r); again.Secret() != fresh.Secret() {
				t.Error("asked again, another password came")
			}
			w.does(w.p.Revoke, old, rules.MeansAlreadyDead)
			w.validity(fresh, checks.Active)
		})
	}
	t.Run("dropped, and not made again", func(t *testing.T) {
		old := w.leak("unlucky")
		r := w.request(old, "op")
		r.InPlace = true
		w.server.Before(func(_, command string) bson.D {
			if command == "createUser" {
				return servertest.MongoFault(mongoUnauthorized, "not authorized")
			}
			return nil
		})
		if _, err := w.p.Issue(t.Context(), r); err == nil || errors.Is(err, ErrCannotIssue) || !strings.Contains(err.Error(), "readWrite") {
			t.Errorf("a dropped user is taken for one that is as it was: %v", err)
		}
		w.server.Before(func(string, string) bson.D { return nil })
		r.Again = true
		w.validity(w.issue(r), checks.Active)
	})
	t.Run("gone before", func(t *testing.T) {
		old := w.leak("gone")
		w.does(w.p.Revoke, old, rules.MeansRevoked)
		r := w.request(old, "op")
		for _, r.InPlace = range []bool{true, false} {
			if _, err := w.p.Issue(t.Context(), r); !errors.Is(err, ErrCannotIssue) {
				t.Errorf("%v", err)
			}
		}
	})
}

// Whoever is not the one who leaked is left alone.
func TestMongoDBVictims(t *testing.T) {
	w := newMongoWorld(t)
	w.server.Shell(t, mongoGrant+`{"resource": {"db": "admin", "collection": ""}, "actions": ["viewUser", "dropUser"]}])`)
	other := servertest.MongoRole{Role: "read", DB: "orders"}
	roles := bson.E{Key: "roles", Value: []servertest.MongoRole{other}}
	t.Run("of another database", func(t *testing.T) {
		old := w.leak("clerk")
		for _, db := range []string{"admin", "staff"} {
			w.user("clerk", db, roles)
		}
		for _, name := range []string{"clerk1", "Clerk", "clerk ", "cler"} {
			w.user(name, "orders", roles)
		}
		w.does(w.p.Revoke, old, rules.MeansRevoked)
		w.does(w.p.Revoke, old, rules.MeansAlreadyDead)
		for _, left := range [][2]string{{"clerk", "admin"}, {"clerk", "staff"}, {"clerk1", "orders"}, {"Clerk", "orders"}, {"clerk ", "orders"}, {"cler", "orders"}} {
			if got := w.kept(left[0], left[1]); got == nil || rolesText(got.Roles) != "read@orders" {
				t.Errorf("%s was touched: %+v", left, got)
			}
		}
	})
	t.Run("of the database admin", func(t *testing.T) {
		w.user("root1", "admin", roles)
		w.user("root1", "orders", roles)
		w.changePassword("root1", "orders", "0fS0mebodyElse")
		w.does(w.p.Revoke, w.known(w.target("root1")), rules.MeansRevoked)
		if w.kept("root1", "admin") != nil || w.kept("root1", "orders") == nil {
			t.Error("the wrong one was dropped")
		}
	})
	t.Run("named by authSource", func(t *testing.T) {
		w.user("root2", "admin", roles)
		w.user("root2", "orders", roles)
		target := w.target("root2")
		target.Parts["settings"] = checks.NewSecret("authSource=admin&retryWrites=true")
		w.does(w.p.Revoke, target, rules.MeansRevoked)
		if w.kept("root2", "admin") != nil || w.kept("root2", "orders") == nil {
			t.Error("the wrong one was dropped")
		}
	})
	t.Run("reissued before", func(t *testing.T) {
		old := w.leak("early")
		r := w.request(old, "op")
		w.changePassword("early", "orders", "0fItsOwner")
		w.does(w.p.Disable, old, rules.MeansAlreadyDead)
		w.does(w.p.Revoke, old, rules.MeansAlreadyDead)
		for _, r.InPlace = range []bool{false, true} {
			if _, err := w.p.Issue(t.Context(), r); !errors.Is(err, ErrCannotIssue) {
				t.Errorf("%v", err)
			}
		}
		if got := w.kept("early", "orders"); !got.has("0fItsOwner") || got.shut() {
			t.Errorf("%+v", got)
		}
	})
	t.Run("reissued at that moment", func(t *testing.T) {
		old := w.leak("late")
		var once atomic.Bool
		w.server.Before(func(_, command string) bson.D {
			if command == "grantRolesToUser" && once.CompareAndSwap(false, true) {
				w.changePassword("late", "orders", "0fItsOwner")
			}
			return nil
		})
		w.does(w.p.Revoke, old, rules.MeansAlreadyDead)
		if got := w.kept("late", "orders"); got == nil || !got.has("0fItsOwner") || got.shut() {
			t.Errorf("%+v", got)
		}
	})
	t.Run("a name in use", func(t *testing.T) {
		old := w.leak("busy")
		w.user(otherName("busy", "op"), "orders", roles)
		if _, err := w.p.Issue(t.Context(), w.request(old, "op")); !errors.Is(err, ErrCannotIssue) {
			t.Errorf("%v", err)
		}
		if got := w.kept(otherName("busy", "op"), "orders"); got == nil || !got.has(leakedPassword) {
			t.Errorf("%+v", got)
		}
	})
	t.Run("Stanch itself", func(t *testing.T) {
		if _, err := w.p.Revoke(t.Context(), w.target("stanch")); !errors.Is(err, ErrCannotRevoke) {
			t.Errorf("%v", err)
		}
	})
}

// What no program does here is told, and changes nothing.
func TestMongoDBRefuses(t *testing.T) {
	w := newMongoWorld(t)
	old := w.leak("clerk")
	elsewhere, external, many := w.target("clerk"), w.target("clerk"), w.target("clerk")
	elsewhere.Parts["host"] = checks.NewSecret("localhost:1")
	external.Parts["settings"] = checks.NewSecret("authSource=$external")
	many.Parts["scheme"] = checks.NewSecret("mongodb+srv")
	for name, test := range map[string]struct {
		target Target
		want   string
	}{"another port": {elsewhere, "not allowed"}, "a directory": {external, "$external"}, "Atlas": {many, "Atlas"}} {
		for _, do := range []command{w.p.Disable, w.p.Enable, w.p.Revoke} {
			if _, err := do(t.Context(), test.target); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	for code, want := range map[int32]string{mongoAtlas: "Atlas", mongoNoSuchCommand: "Atlas", mongoNotPrimary: "primary", mongoRoleNotFound: "createRole"} {
		w.server.Before(func(_, command string) bson.D {
			if command == "grantRolesToUser" || command == "createUser" {
				return servertest.MongoFault(code, "no: "+leakedPassword)
			}
			return nil
		})
		_, err := w.p.Disable(t.Context(), old)
		if !errors.Is(err, ErrCannotDisable) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), leakedPassword) {
			t.Errorf("%d: %v", code, err)
		}
		if _, err := w.p.Issue(t.Context(), w.request(old, "op")); !errors.Is(err, ErrCannotIssue) || strings.Contains(err.Error(), leakedPassword) {
			t.Errorf("%d: %v", code, err)
		}
	}
	var made atomic.Bool
	w.server.Before(func(_, command string) bson.D {
		if command == "createUser" || command == "dropUser" {
			made.Store(command == "createUser")
		}
		if command == "saslContinue" && made.Load() {
			return mongoRefused
		}
		return nil
	})
	if _, err := w.p.Issue(t.Context(), w.request(old, "op")); !errors.Is(err, ErrCannotIssue) || w.kept(otherName("clerk", "op"), "orders") != nil {
		t.Errorf("a user that is not let in stays: %v", err)
	}
	w.server.Before(func(string, string) bson.D { return nil })
	w.server.Boss(t, "stanch", bson.D{{Key: "dropRole", Value: "shut"}})
	w.server.Shell(t, strings.Replace(mongoMakeShut, "255.255.255.255", "127.0.0.0/8", 1))
	if _, err := w.p.Disable(t.Context(), old); !errors.Is(err, ErrCannotDisable) || !strings.Contains(err.Error(), "keeps nobody out") {
		t.Errorf("%v", err)
	}
	w.validity(old, checks.Active)
	if got := w.kept("clerk", "orders"); rolesText(got.Roles) != "readWrite@orders, read@orders" {
		t.Errorf("roles %v", got.Roles)
	}
}

func TestMongoDBLosesAnswers(t *testing.T) {
	w := newMongoWorld(t)
	l := newLink(t, w.host)
	w.host = l.address
	w.p = w.providers()
	old := w.leak("clerk")
	thief := w.thief("clerk", "orders")
	fresh := losesAnswers(t, l, w.p, old, func(on Target, want checks.Validity) { w.validity(on, want) }, func() bool { return mongoAlive(thief) })
	if w.kept("clerk", "orders") != nil || w.kept(fresh.Parts["user"].Expose(), "orders") == nil {
		t.Error("the leaked user is there, or its successor is not")
	}
}
