package githubtest

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// A clock is a time that a test moves.
type clock struct{ ahead atomic.Int64 }

func (c *clock) now() time.Time { return time.Now().Add(time.Duration(c.ahead.Load())) }

func (c *clock) advance(d time.Duration) { c.ahead.Add(int64(d)) }

func TestApp(t *testing.T) {
	x := openShop(t, start(t, Config{}))
	got := x.call(x.jwt(), "GET", "/app", nil).want(200).object()
	want := object{"slug": "stanch", "id": float64(x.app.ID), "client_id": x.app.ClientID, "installations_count": 1.0}
	if diff := cmp.Diff(want, pick(got, "slug", "id", "client_id", "installations_count")); diff != "" {
		t.Errorf("App (-want +got):\n%s", diff)
	}
	list := x.call(x.jwt(), "GET", "/app/installations", nil).want(200).list()
	if len(list) != 1 || list[0]["account"].(object)["login"] != "acme" {
		t.Errorf("installations = %v, want one at acme", list)
	}
	found := x.call(x.jwt(), "GET", "/repos/acme/shop/installation", nil).want(200).id()
	x.call(x.jwt(), "GET", fmt.Sprintf("/app/installations/%d", found), nil).want(200)
	x.call(x.jwt(), "GET", "/repos/acme/nothing/installation", nil).want(404)
}

func TestAppToken(t *testing.T) {
	x := openShop(t, start(t, Config{}))
	other, err := x.CreateApp("Other")
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	claims := func(iss any, iat, exp time.Duration) object {
		return object{"iss": iss, "iat": now.Add(iat).Unix(), "exp": now.Add(exp).Unix()}
	}
	id := x.app.ID
	for name, test := range map[string]struct {
		key    string
		claims object
		status int
	}{
		"number":          {x.app.PrivateKeyPEM, claims(id, -time.Minute, time.Minute), 200},
		"client id":       {x.app.PrivateKeyPEM, claims(x.app.ClientID, -time.Minute, time.Minute), 200},
		"another's key":   {other.PrivateKeyPEM, claims(id, -time.Minute, time.Minute), 401},
		"unknown":         {x.app.PrivateKeyPEM, claims(7, -time.Minute, time.Minute), 404},
		"too long":        {x.app.PrivateKeyPEM, claims(id, -time.Minute, 11*time.Minute), 401},
		"over":            {x.app.PrivateKeyPEM, claims(id, -2*time.Minute, -time.Minute), 401},
		"from the future": {x.app.PrivateKeyPEM, claims(id, 3*time.Minute, 5*time.Minute), 401},
		"no times":        {x.app.PrivateKeyPEM, object{"iss": id}, 401},
	} {
		if got := x.call(sign256(t, test.key, test.claims), "GET", "/app", nil); got.status != test.status {
			t.Errorf("%s: status %d, want %d: %s", name, got.status, test.status, got.body)
		}
	}
	x.call("", "GET", "/app", nil).want(401)
	x.call(x.token, "GET", "/app", nil).want(401)
	r, err := http.NewRequest("GET", x.APIURL()+"app", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "token "+x.jwt())
	send(t, r).want(401)
	unsigned := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`)) + "." + strings.Split(x.jwt(), ".")[1] + "."
	x.call(unsigned, "GET", "/app", nil).want(401)
}

func TestInstallationToken(t *testing.T) {
	time := new(clock)
	x := openShop(t, start(t, Config{Clock: time.now}))
	if len(x.token) != 40 || !strings.HasPrefix(x.token, "ghs_") {
		t.Errorf("an installation token of %d characters, want ghs_ and 36", len(x.token))
	}
	repos := x.call(x.token, "GET", "/installation/repositories", nil).want(200).object()
	if repos["total_count"] != 1.0 {
		t.Errorf("%v repositories, want 1", repos["total_count"])
	}
	x.as("GET", "", nil).want(200)
	time.advance(InstallationTokenLife)
	refused := x.as("GET", "", nil).want(401).object()
	want := object{"message": "Bad credentials", "documentation_url": documentation, "status": "401"}
	if diff := cmp.Diff(want, refused); diff != "" {
		t.Errorf("refusal (-want +got):\n%s", diff)
	}
	fresh := x.installationToken(x.call(x.jwt(), "GET", "/repos/acme/shop/installation", nil).id())
	x.call(fresh, "DELETE", "/installation/token", nil).want(204)
	x.call(fresh, "GET", "/repos/acme/shop", nil).want(401)
	if x.TokenLive(fresh) {
		t.Error("the token lives on after it was revoked")
	}
}

func TestInstallationTokenScope(t *testing.T) {
	s := startLoose(t, Config{StatelessTokens: true})
	x := openShop(t, s)
	if n := len(x.token); n < 510 || n > 530 || strings.Count(x.token, ".") != 2 {
		t.Errorf("a stateless token of %d characters and %d dots, want about 520 and 2", n, strings.Count(x.token, "."))
	}
	for _, name := range []string{"hidden", "other"} {
		if _, err := s.CreateRepository("acme", name, RepoOptions{Private: true}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.CreateRepository("bob", "private", RepoOptions{Private: true}); err != nil {
		t.Fatal(err)
	}
	path := fmt.Sprintf("/app/installations/%d/access_tokens", x.call(x.jwt(), "GET", "/repos/acme/shop/installation", nil).id())
	narrow := x.call(x.jwt(), "POST", path, object{
		"repositories": []string{"hidden"}, "permissions": object{"contents": "read"},
	}).want(201).object()
	token := narrow["token"].(string)
	x.call(token, "GET", "/repos/acme/hidden", nil).want(200)
	x.call(token, "GET", "/repos/acme/other", nil).want(404)
	x.call(token, "GET", "/repos/acme/hidden/pulls", nil).want(403)
	x.call(x.token, "GET", "/repos/bob/private", nil).want(404)
	x.call("", "GET", "/repos/acme/hidden", nil).want(404)
	x.call(x.jwt(), "POST", path, object{"repositories": []string{"private"}}).want(422)
	x.call(x.jwt(), "POST", path, object{"permissions": object{"contents": "write"}}).want(422)
	x.call(x.jwt(), "POST", "/app/installations/1/access_tokens", nil).want(404)
}

func TestUninstall(t *testing.T) {
	x := openShop(t, start(t, Config{}))
	id := x.call(x.jwt(), "GET", "/repos/acme/shop/installation", nil).id()
	x.Uninstall(id)
	x.as("GET", "", nil).want(401)
	x.call(x.jwt(), "GET", fmt.Sprintf("/app/installations/%d", id), nil).want(404)
	if got := x.take("installation"); len(got) != 2 || got[1]["action"] != "deleted" {
		t.Errorf("installation events %v, want created and deleted", got)
	}
}

func TestRepositoryReads(t *testing.T) {
	x := openShop(t, start(t, Config{}))
	x.work.commit("deep/er/policy.yml", "rules: []\n")
	x.work.git("push", "-q", "origin", "HEAD:main")
	file := x.as("GET", "/contents/deep/er/policy.yml?ref=main", nil).want(200).object()
	text, err := base64.StdEncoding.DecodeString(file["content"].(string))
	if err != nil || string(text) != "rules: []\n" {
		t.Errorf("contents = %q, %v", text, err)
	}
	x.as("GET", "/contents/readme.md?ref="+x.first, nil).want(200)
	x.as("GET", "/contents/deep/er/policy.yml?ref="+x.first, nil).want(404)
	x.as("GET", "/contents/no.txt", nil).want(404)
	x.as("GET", "/contents/no.txt?ref=--output=x", nil).want(404)

	x.CreateUser("carol")
	for _, want := range []string{"read", "write", "admin", "none"} {
		if want != "read" {
			if err := x.SetPermission(x.repo, "carol", want); err != nil {
				t.Fatal(err)
			}
		}
		got := x.as("GET", "/collaborators/carol/permission", nil).want(200).object()["permission"]
		if got != want {
			t.Errorf("permission %v, want %s", got, want)
		}
	}
	x.as("GET", "/collaborators/nobody/permission", nil).want(404)
	fork, _ := x.fork("dave")
	shown := x.call("", "GET", "/repos/"+fork, nil).want(200).object()
	if shown["parent"].(object)["full_name"] != x.repo {
		t.Errorf("the fork's parent is %v", shown["parent"])
	}
}
