package main

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"strings"
	"testing"

	"github.com/stanch-dev/stanch/app/incident"
	"github.com/stanch-dev/stanch/app/provider/servertest"
)

// neighbour is a user who has the password that leaks for another one.
const neighbour = "neighbour"

// reused is a leaked password of a database, kept in a file in which the same password
// stands elsewhere.
type reused struct {
	*crashWorld
	user  *databaseUser
	put   map[string]map[string]string // what stands elsewhere, by its path
	asked []string                     // the servers that may be asked besides
}

func newReused(t *testing.T, kind crashKind) *reused {
	r := &reused{put: map[string]map[string]string{}}
	r.crashWorld = newCrashWorld(t, kind, inFile{}, incident.ReplaceFirst)
	r.user = r.kind.(*databaseUser)
	r.kind = r
	return r
}

// reused is a crashCase of its own for the servers that may be asked.
func (r *reused) env(via func(string) string) []string {
	all := r.user.env(via)
	for n, setting := range all {
		if strings.HasPrefix(setting, "STANCH_VERIFY_HOSTS=") {
			for _, host := range r.asked {
				all[n] += ",insecure://" + host
			}
		}
	}
	return all
}

func (r *reused) stored() map[string]string           { return r.user.stored() }
func (r *reused) rule() string                        { return r.user.rule() }
func (r *reused) secret() string                      { return r.user.secret() }
func (r *reused) leak() string                        { return r.user.leak() }
func (r *reused) works(fields map[string]string) bool { return r.user.works(fields) }
func (r *reused) leakedWorks() bool                   { return r.user.leakedWorks() }
func (r *reused) live() int                           { return r.user.live() }

// alias is another name of the server.
func (r *reused) alias() string {
	_, port, _ := net.SplitHostPort(r.user.addr)
	return "localhost:" + port
}

func (r *reused) url(user, host string) string {
	u := url.URL{Scheme: r.user.scheme, User: url.UserPassword(user, crashLeaked), Host: host, Path: "/" + crashDatabaseName}
	return u.String()
}

// keep keeps something at another path of the store.
func (r *reused) keep(path string, fields map[string]string) {
	r.t.Helper()
	r.of(path).put(fields)
	r.put[path] = fields
}

func (r *reused) at(path string) map[string]string { return r.of(path).fields() }

// of is another path of the store.
func (r *reused) of(path string) *filePlace {
	p := *r.place.(*filePlace)
	p.name = path
	return &p
}

// ends has the password leak, and returns what a person is told in the end.
func (r *reused) ends() (stuck string) {
	r.start()
	r.crashWorld.leak()
	r.eventually("the remediation ends", func() error {
		over, why := r.over()
		if stuck = why; !over {
			return fmt.Errorf("it goes on: %q", why)
		}
		return nil
	})
	return stuck
}

// TestReusedPassword: people make the same password for several users and servers. Only
// what is the leaked one's is replaced, under whatever name its server is known.
func TestReusedPassword(t *testing.T) {
	starts := map[string]func(*testing.T, servertest.Authority) (string, databaseServer){"Redis user": startCrashRedis, "PostgreSQL user": startCrashPostgres}
	kinds := newCrashDatabases(t, "Redis", "PostgreSQL")
	for name := range starts {
		if err := kinds[name].(crashDatabase).engine.create(neighbour); err != nil {
			t.Fatal(err)
		}
	}
	for name, kind := range kinds {
		second, server := starts[strings.TrimSuffix(name, " in a URL")](t, servertest.NewAuthority(t))
		t.Run(name, func(t *testing.T) {
			r := newReused(t, kind)
			if err := server.create(r.user.user); err != nil {
				t.Fatal(err)
			}
			user, addr := r.user.user, r.user.addr
			r.asked = []string{second, r.alias()}
			r.keep("neighbour/fields", map[string]string{"username": neighbour, "password": crashLeaked, "host": addr})
			r.keep("neighbour/url", map[string]string{"url": r.url(neighbour, addr)})
			r.keep("second/fields", map[string]string{"username": user, "password": crashLeaked, "host": second})
			r.keep("second/url", map[string]string{"url": r.url(user, second)})
			both := map[string]string{"APP_USER": user, "APP_PASSWORD": crashLeaked, "ADMIN_USER": neighbour, "ADMIN_PASSWORD": crashLeaked}
			r.keep("both", both)
			r.keep("alias", map[string]string{"url": r.url(user, r.alias())})
			if stuck := r.ends(); stuck != "" {
				t.Fatalf("it waits for a person: %s\n%s", stuck, r.tail())
			}
			if r.leakedWorks() || !r.working() {
				t.Errorf("the leaked one works: %t, what is in the store works: %t", r.leakedWorks(), r.working())
			}
			if !r.user.engine.logsIn(neighbour, crashLeaked) || !server.logsIn(user, crashLeaked) {
				t.Error("another’s password was killed")
			}
			for _, path := range []string{"neighbour/fields", "neighbour/url", "second/fields", "second/url"} {
				if now := r.at(path); !maps.Equal(now, r.put[path]) {
					t.Errorf("%s holds %v", path, now)
				}
			}
			now := r.at("both")
			if now["ADMIN_USER"] != neighbour || now["ADMIN_PASSWORD"] != crashLeaked || !r.user.engine.logsIn(now["APP_USER"], now["APP_PASSWORD"]) {
				t.Errorf("of two users in one secret: %v", now)
			}
			u, err := url.Parse(r.at("alias")["url"])
			r.must(err)
			if password, _ := u.User.Password(); u.Host != r.alias() || password == crashLeaked || !r.user.engine.logsIn(u.User.Username(), password) {
				t.Errorf("by another name of the server: %s", u)
			}
			r.tellsWhatIsLeft("neighbour/fields", "neighbour/url", "second/fields", "second/url", "both, field ADMIN_PASSWORD")
		})
	}
}

// TestReusedPasswordLeaks: the same password leaks for several accounts at once. Each is
// replaced, also those that are asked about when the first one is over; what is said of
// one that is dead already says nothing of the others.
func TestReusedPasswordLeaks(t *testing.T) {
	kind := newCrashDatabases(t, "Redis")["Redis user"].(crashDatabase)
	second, server := startCrashRedis(t, servertest.NewAuthority(t))
	if err := kind.engine.create(neighbour); err != nil {
		t.Fatal(err)
	}
	for _, order := range [][]int{{0, 1, 2, 3}, {2, 1, 0, 3}, {1, 3, 2, 0}} {
		t.Run(fmt.Sprint(order), func(t *testing.T) {
			r := newReused(t, kind)
			if _, err := kind.engine.(crashRedis).do("ACL SETUSER " + neighbour + " >" + crashLeaked); err != nil {
				t.Fatal(err)
			}
			r.asked = []string{second, r.alias()}
			r.keep("neighbour", map[string]string{"username": neighbour, "password": crashLeaked, "host": r.user.addr})
			r.start()
			links := []string{r.url(r.user.user, r.user.seen), r.url(neighbour, r.user.seen), r.url(r.user.user, second), r.url(neighbour, r.alias())}
			r.leaks(links[order[0]], links[order[1]], links[order[2]], links[order[3]])
			r.eventually("all that leaked is dead", func() error {
				if r.leakedWorks() || kind.engine.logsIn(neighbour, crashLeaked) {
					return errors.New("one lives")
				}
				return nil
			})
			r.eventually("it is over", func() error {
				i, err := r.incident()
				if err == nil && (i.State() != incident.Resolved || i.Dead.IsZero()) {
					err = fmt.Errorf("it is %s: %s", i.State(), i.Stuck)
				}
				return err
			})
			now := r.at("neighbour")
			if !r.working() || !kind.engine.logsIn(now["username"], now["password"]) || server.logsIn(r.user.user, crashLeaked) {
				t.Errorf("the replacements do not work: %t, %v", r.working(), now)
			}
		})
	}
}

// leaks reports lines in which the password leaks, at once.
func (r *reused) leaks(lines ...string) {
	r.t.Helper()
	var found []map[string]any
	for n, line := range lines {
		found = append(found, map[string]any{"RuleID": r.rule(), "Secret": r.secret(), "Match": line, "File": "prod.env", "StartLine": n + 1})
	}
	r.report(found)
}

// tellsWhatIsLeft asks that a person who looks is told of the places that were left.
func (r *reused) tellsWhatIsLeft(paths ...string) {
	r.t.Helper()
	i, err := r.incident()
	r.must(err)
	code, out := r.cli("show", i.ID)
	_, next, _ := strings.Cut(out, "Next\n")
	for _, path := range paths {
		if code != exitDone || !strings.Contains(next, path) || !strings.Contains(next, "the same password") {
			r.t.Errorf("of %s nothing is said: %d %s", path, code, out)
		}
	}
}

// TestReusedPasswordAsks: where it cannot be told whose a password is, a person is asked,
// and the leaked one lives on until then.
func TestReusedPasswordAsks(t *testing.T) {
	kind := newCrashDatabases(t, "Redis")["Redis user"].(crashDatabase)
	if err := kind.engine.create(neighbour); err != nil {
		t.Fatal(err)
	}
	second, server := startCrashRedis(t, servertest.NewAuthority(t))
	for name, test := range map[string]struct {
		arrange func(*reused)
		want    string
	}{
		"a server that may not be asked": {func(r *reused) {
			if err := server.create(r.user.user); err != nil {
				t.Fatal(err)
			}
			r.keep("second", map[string]string{"username": r.user.user, "password": crashLeaked, "host": second})
		}, "STANCH_VERIFY_HOSTS"},
		"one that answers nobody": {func(r *reused) {
			r.asked = []string{"127.0.0.1:" + servertest.FreePort(t)}
			r.keep("second", map[string]string{"username": r.user.user, "password": crashLeaked, "host": r.asked[0]})
		}, "no connection"},
		"another user’s alone": {func(r *reused) {
			r.keep("ci", map[string]string{"username": neighbour, "password": crashLeaked})
		}, "No secret store that Stanch knows holds this credential"},
		"another server’s before": {func(r *reused) {
			r.keep("ci", map[string]string{"username": neighbour, "password": "of somebody else"})
			r.keep("second", map[string]string{"username": r.user.user, "password": crashLeaked, "host": second})
			r.keep("second", map[string]string{"username": r.user.user, "password": "a newer one", "host": second})
		}, "No secret store that Stanch knows holds this credential"},
		"two in one text": {func(r *reused) {
			r.keep("text", map[string]string{"env": "A=" + r.url(r.user.user, r.user.addr) + "\nB=" + r.url(neighbour, r.user.addr)})
		}, "in one text"},
		"nobody’s by name": {func(r *reused) {
			r.keep("bare", map[string]string{"password": crashLeaked})
			r.keep("neighbour", map[string]string{"username": neighbour, "password": crashLeaked})
		}, "does not tell whose"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newReused(t, kind)
			test.arrange(r)
			if stuck := r.ends(); !strings.Contains(stuck, test.want) {
				t.Errorf("a person is told %q\n%s", stuck, r.tail())
			}
			// Meanwhile nobody acts on one by what is known of the other.
			for _, how := range []string{"--yes", "--dry-run"} {
				code, out := r.stanch(r.url(neighbour, r.user.seen), "revoke", how, "--reason", "a drill")
				if code != exitFailed || !strings.Contains(out, "is about the same password of "+r.user.user+" at ") {
					t.Errorf("revoke %s of another account’s: %d %s", how, code, out)
				}
			}
			if !r.leakedWorks() || !r.user.engine.logsIn(neighbour, crashLeaked) {
				t.Error("one of them is dead")
			}
			for path, fields := range r.put {
				now := r.at(path)
				for name, value := range fields {
					if now[name] != value {
						t.Errorf("%s holds %v", path, now)
					}
				}
			}
		})
	}
}
