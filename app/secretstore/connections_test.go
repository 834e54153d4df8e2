package secretstore

import (
	"slices"
	"strings"
	"testing"

	"github.com/stanch-dev/stanch/checks"
)

func TestPasswordsOfConnections(t *testing.T) {
	const escaped = "change%2F" + "me"
	for text, want := range map[string][]string{
		"postgres://shop:changeme1@db.acme.example/shop":                  {"changeme1"},
		"mysql://shop:" + escaped + "@db:3306/shop?tls=true":              {escaped, "change/me"},
		"redis://:changeme2@cache":                                        {"changeme2"},
		"a=redis://:changeme2@cache b=amqp://u:changeme3@mq":              {"changeme2", "changeme3"},
		"host=db user=shop password=changeme4 dbname=shop":                {"changeme4"},
		"Server=db;User Id=shop;Password='changeme5';Database=shop":       {"changeme5"},
		"https://acme.example/a:b@c":                                      nil,
		"https://acme.example":                                            nil,
		"":                                                                nil,
		"postgres://shop:" + strings.Repeat("x", maxConnection) + "@host": nil,
	} {
		if got := connectionPasswords(text); !slices.Equal(got, want) {
			t.Errorf("%.60q: %q, want %q", text, got, want)
		}
	}
}

// TestConnectionStringsAreFound keeps a database's URL in a store and leaks its password.
func TestConnectionStringsAreFound(t *testing.T) {
	f := openFile(t, t.TempDir())
	loc := Location{Store: f.Name(), Path: "shop", Field: "url"}
	old, fresh := fresh(), fresh()
	if _, err := putOne(t.Context(), f, loc, checks.NewSecret("postgres://shop:"+old.Expose()+"@db/shop"), "op"); err != nil {
		t.Fatal(err)
	}
	found, err := f.Locate(t.Context(), fingerprint(old))
	if err != nil || len(found) != 1 || found[0].Field != "url" {
		t.Fatalf("found %v, %v", found, err)
	}
	now, err := f.Get(t.Context(), found[0])
	if err != nil {
		t.Fatal(err)
	}
	changed, leftOut := Replace(now.Fields, creds("secret", old.Expose()), creds("secret", fresh.Expose()))
	if want := "postgres://shop:" + fresh.Expose() + "@db/shop"; len(leftOut) > 0 || changed["url"].Expose() != want {
		t.Errorf("replaced by %d bytes, left out %v", changed["url"].Len(), leftOut)
	}
}
