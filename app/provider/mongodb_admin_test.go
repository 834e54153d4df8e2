package provider

import (
	"context"
	"errors"
	"net/url"
	"strings"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/stanch-dev/stanch/app/grants"
	"github.com/stanch-dev/stanch/app/provider/servertest"
	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/rules"
)

// A mongoWorld is a server with an administrator who was granted what the policy says,
// for the database "orders".
type mongoWorld struct {
	t      *testing.T
	server *servertest.MongoDB
	host   string
	p      *Providers
}

func newMongoWorld(t *testing.T) *mongoWorld {
	w := &mongoWorld{t: t, server: servertest.StartMongoDB(t, servertest.NewAuthority(t))}
	w.host = "localhost:" + w.server.Port
	w.grant(MongoDBPolicy())
	w.p = w.providers()
	return w
}

// grant makes the administrator anew, with what a policy says.
func (w *mongoWorld) grant(policy grants.Policy) {
	w.t.Helper()
	for _, old := range []string{"stanch", "admin"} {
		for _, role := range []string{"shut", "stanch"} {
			w.server.Client(w.t, "boss", servertest.AdminPassword, "admin").Database(old).RunCommand(w.t.Context(), bson.D{{Key: "dropRole", Value: role}})
		}
	}
	w.server.Client(w.t, "boss", servertest.AdminPassword, "admin").Database("admin").RunCommand(w.t.Context(), bson.D{{Key: "dropUser", Value: "stanch"}})
	w.server.Shell(w.t, `db.getSiblingDB("admin").createRole({"role": "stanch", "privileges": [], "roles": []})`)
	w.server.Shell(w.t, `db.getSiblingDB("admin").createUser({"user": "stanch", "pwd": "`+changerPassword+`", "roles": [{"role": "stanch", "db": "admin"}]})`)
	for _, line := range policy.Lines {
		w.server.Shell(w.t, strings.ReplaceAll(line.Grant, mongoAnyDatabase, "orders"))
	}
}

func (w *mongoWorld) providers() *Providers {
	admin := checks.NewSecret("mongodb://stanch:" + changerPassword + "@" + w.host)
	return newProviders(w.t, Config{VerifyHosts: []string{"insecure://" + w.host}, AdminURLs: []checks.Secret{admin}})
}

// user makes a user with the leaked password.
func (w *mongoWorld) user(name, db string, more ...bson.E) {
	w.t.Helper()
	fields := append(bson.D{{Key: "createUser", Value: name}, {Key: "pwd", Value: leakedPassword}}, more...)
	if len(more) == 0 {
		fields = append(fields, bson.E{Key: "roles", Value: []servertest.MongoRole{{Role: "readWrite", DB: "orders"}, {Role: "read", DB: "orders"}}})
	}
	w.server.Boss(w.t, db, fields)
}

// target is a credential whose URL names the database orders.
func (w *mongoWorld) target(name string) Target {
	return Target{Credential: parts("mongodb-url", map[string]string{
		"scheme": "mongodb", "user": url.User(name).String(), checks.PartSecret: leakedPassword, "host": w.host, "database": "orders",
	})}
}

// leak makes a user of the database orders, whose password is known to have leaked.
func (w *mongoWorld) leak(name string) Target {
	w.t.Helper()
	w.user(name, "orders")
	return w.known(w.target(name))
}

// known is a target with whose it is, as the server says.
func (w *mongoWorld) known(t Target) Target {
	t.Identity = w.validity(t, checks.Active).Evidence.Identity
	return t
}

func (w *mongoWorld) validity(target Target, want checks.Validity) Verdict {
	w.t.Helper()
	v, err := w.p.VerifyAgain(w.t.Context(), target.Credential)
	if err != nil || v.Validity != want {
		w.t.Errorf("%s, want %s: %+v, %v", v.Validity, want, v.Evidence, err)
	}
	return v
}

func (w *mongoWorld) does(do command, on Target, want rules.Meaning) Receipt {
	w.t.Helper()
	got, err := do(w.t.Context(), on)
	if err != nil || got.Meaning != want {
		w.t.Fatalf("%+v, %v; want %s", got, err, want)
	}
	return got
}

func (w *mongoWorld) request(old Target, operation string) Request {
	w.t.Helper()
	prepared, err := w.p.Prepare(w.t.Context(), old, operation)
	if err != nil {
		w.t.Fatal(err)
	}
	return Request{Old: old, Operation: operation, Prepared: prepared}
}

func (w *mongoWorld) issue(r Request) Target {
	w.t.Helper()
	fresh, err := w.p.Issue(context.Background(), r)
	if err != nil {
		w.t.Fatal(err)
	}
	return Target{Credential: fresh}
}

// thief logs in with a leaked password, and stays.
func (w *mongoWorld) thief(name, db string) *mongo.Client {
	w.t.Helper()
	c := w.server.Client(w.t, name, leakedPassword, db)
	if !mongoAlive(c) {
		w.t.Fatalf("%s does not log in", name)
	}
	return c
}

// mongoAlive asks on the connection that is there, if it is.
func mongoAlive(c *mongo.Client) bool {
	return c.Database("orders").RunCommand(context.Background(), bson.D{{Key: "listCollections", Value: 1}}).Err() == nil
}

// kept is what the server keeps of a user; nil when there is none.
func (w *mongoWorld) kept(name, db string) *mongoUser {
	w.t.Helper()
	var got struct{ Users []mongoUser }
	question := bson.D{{Key: "usersInfo", Value: bson.D{{Key: "user", Value: name}, {Key: "db", Value: db}}}, {Key: "showCredentials", Value: true}, {Key: "showAuthenticationRestrictions", Value: true}}
	if err := bson.Unmarshal(w.server.Boss(w.t, db, question), &got); err != nil {
		w.t.Fatal(err)
	}
	if len(got.Users) == 0 {
		return nil
	}
	return &got.Users[0]
}

func (w *mongoWorld) changePassword(name, db, password string) {
	w.t.Helper()
	w.server.Boss(w.t, db, bson.D{{Key: "updateUser", Value: name}, {Key: "pwd", Value: password}})
}

// Each line of the policy is needed, and its lack is told; with all of them all works.
func TestMongoDBPolicy(t *testing.T) {
	w := newMongoWorld(t)
	try := func(action, name string) error {
		w.user(name, "orders", bson.E{Key: "roles", Value: []servertest.MongoRole{{Role: "read", DB: "orders"}}},
			bson.E{Key: "authenticationRestrictions", Value: bson.A{bson.D{{Key: "clientSource", Value: bson.A{"127.0.0.0/8"}}}}})
		target := w.target(name)
		switch action {
		case "disable":
			_, err := w.p.Disable(t.Context(), target)
			return err
		case "enable":
			w.server.Boss(t, "orders", bson.D{{Key: "grantRolesToUser", Value: name}, {Key: "roles", Value: []mongoRole{mongoShut}}})
			_, err := w.p.Enable(t.Context(), target)
			return err
		case "revoke":
			_, err := w.p.Revoke(t.Context(), target)
			return err
		}
		prepared, err := w.p.Prepare(t.Context(), target, name)
		if err == nil {
			_, err = w.p.Issue(t.Context(), Request{Old: target, Operation: name, Prepared: prepared})
		}
		return err
	}
	n := 0
	for i, line := range MongoDBPolicy().Lines {
		actions, _, _ := strings.Cut(line.For, ":")
		if strings.HasPrefix(actions, "issue, ") {
			actions = "issue"
		}
		for _, action := range strings.Split(actions, ", ") {
			n++
			name := "clerk" + string(rune('a'+n))
			w.grant(MongoDBPolicy().Without(i))
			err := try(action, name)
			if err == nil || !strings.Contains(err.Error(), strings.ReplaceAll(line.Grant, "orders", mongoAnyDatabase)) {
				t.Errorf("%s without %s: %v", action, line.Grant, err)
			}
			w.grant(MongoDBPolicy())
			if err := try(action, name+"x"); err != nil {
				t.Errorf("%s with the whole policy: %v", action, err)
			}
		}
	}
	var r refusal
	w.grant(grants.Policy{})
	if _, err := w.p.Disable(t.Context(), w.leak("nobody")); !errors.As(err, &r) {
		t.Errorf("no refusal: %v", err)
	}
}
