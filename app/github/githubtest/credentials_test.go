package githubtest

import (
	"bytes"
	"encoding/json"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stanch-dev/stanch/rules"
)

func (x shop) issueFor(login string, kind Kind) string {
	x.t.Helper()
	value, err := x.IssueToken(login, kind)
	if err != nil {
		x.t.Fatal(err)
	}
	return value
}

func TestUser(t *testing.T) {
	x := openShop(t, start(t, Config{}))
	for kind, scopes := range map[Kind]string{
		ClassicToken: "repo, workflow", OAuthToken: "repo, workflow", FineGrainedToken: "", UserToServer: "",
	} {
		token := x.issueFor("carol", kind)
		if !strings.HasPrefix(token, string(kind)+"_") {
			t.Errorf("a token of kind %s has another prefix", kind)
		}
		got := x.call(token, "GET", "/user", nil).want(200)
		if got.object()["login"] != "carol" || got.header.Get("X-OAuth-Scopes") != scopes {
			t.Errorf("%s: login %v, scopes %q", kind, got.object()["login"], got.header.Get("X-OAuth-Scopes"))
		}
		x.KillToken(token)
		if refused := x.call(token, "GET", "/user", nil).want(401); refused.object()["message"] != "Bad credentials" {
			t.Errorf("%s: a dead token hears %v", kind, refused.object()["message"])
		}
	}
	if got := x.call(x.token, "GET", "/user", nil).want(403).object()["message"]; got != "Resource not accessible by integration" {
		t.Errorf("an installation at /user hears %v", got)
	}
	x.call("", "GET", "/user", nil).want(401)
	if _, err := x.IssueToken("carol", "ghx"); err == nil {
		t.Error("a token of an unknown kind was issued")
	}
}

func TestRevoke(t *testing.T) {
	x := openShop(t, start(t, Config{RevocationDelay: 2 * time.Second}))
	first, second, kept := x.issueFor("carol", ClassicToken), x.issueFor("carol", FineGrainedToken), x.issueFor("carol", ClassicToken)
	x.call("", "POST", "/credentials/revoke", object{"credentials": []string{first, second}}).want(202)
	if !x.TokenLive(first) {
		t.Error("a token died before the revocation's delay was over")
	}
	for deadline := time.Now().Add(time.Minute); x.LiveTokens("carol") > 1; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the tokens never died")
		}
	}
	x.call(first, "GET", "/user", nil).want(401)
	x.call(second, "GET", "/user", nil).want(401)
	x.call(kept, "GET", "/user", nil).want(200)
}

func TestRevokeRules(t *testing.T) {
	x := openShop(t, startLoose(t, Config{RevocationLimit: 5}))
	token := x.issueFor("carol", ClassicToken)
	body := object{"credentials": []string{token}}
	x.call(token, "POST", "/credentials/revoke", body).want(403)
	x.call(x.token, "POST", "/credentials/revoke", body).want(403)
	if !x.TokenLive(token) {
		t.Fatal("a call with credentials revoked a token")
	}
	for name, body := range map[string]any{
		"nothing":          object{},
		"empty":            object{"credentials": []string{}},
		"too many":         object{"credentials": make([]string, 1001)},
		"of the App's own": object{"credentials": []string{x.token}},
	} {
		if got := x.call("", "POST", "/credentials/revoke", body); got.status != 422 {
			t.Errorf("%s: status %d, want 422", name, got.status)
		}
	}
	x.call("", "POST", "/credentials/revoke", body).want(202)
	if x.TokenLive(token) {
		t.Error("the token lives on")
	}
	over := x.call("", "POST", "/credentials/revoke", body).want(403)
	if !strings.Contains(string(over.body), "rate limit") {
		t.Errorf("the sixth of five an hour hears %s", over.body)
	}
}

// askBroker asks the broker for a replacement.
func (x shop) askBroker(token, key, rule, login string) answer {
	x.t.Helper()
	body, err := json.Marshal(object{
		"rule": rule, "provider": "github", "identity": object{"login": login}, "reason": "leaked", "operation": key,
	})
	if err != nil {
		x.t.Fatal(err)
	}
	r, err := http.NewRequest("POST", x.BrokerURL(), bytes.NewReader(body))
	if err != nil {
		x.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	if key != "" {
		r.Header.Set("Idempotency-Key", key)
	}
	return send(x.t, r)
}

func TestBroker(t *testing.T) {
	x := openShop(t, start(t, Config{}))
	x.issueFor("carol", ClassicToken)
	secret := func(key string) string {
		got := x.askBroker(x.BrokerToken(), key, "github-pat", "carol").want(201).object()
		return got["parts"].(object)["secret"].(string)
	}
	first := secret("op-1")
	if secret("op-1") != first {
		t.Error("the same operation got another token")
	}
	if secret("op-2") == first {
		t.Error("another operation got the same token")
	}
	if got := x.call(first, "GET", "/user", nil).want(200).object()["login"]; got != "carol" {
		t.Errorf("the replacement is %v's, want carol's", got)
	}
	x.askBroker("wrong", "op-3", "github-pat", "carol").want(401)
	x.askBroker(x.BrokerToken(), "", "github-pat", "carol").want(400)
	x.askBroker(x.BrokerToken(), "op-4", "github-pat", "nobody").want(404)
	x.askBroker(x.BrokerToken(), "op-5", "aws-access-key", "carol").want(422)
	if n := x.LiveTokens("carol"); n != 3 {
		t.Errorf("carol has %d live tokens, want 3", n)
	}
}

// TestBrokerKinds asks for a replacement of every kind that the catalogue has a
// rule for, and would fail were a rule renamed.
func TestBrokerKinds(t *testing.T) {
	x := openShop(t, start(t, Config{}))
	x.CreateUser("carol")
	catalogue, err := rules.Catalogue()
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]*rules.Rule{}
	for _, rule := range catalogue {
		known[rule.ID] = rule
	}
	for id := range brokerKinds {
		rule := known[id]
		if rule == nil {
			t.Errorf("the catalogue has no rule %s", id)
			continue
		}
		got := x.askBroker(x.BrokerToken(), id, id, "carol").want(201).object()
		if secret := got["parts"].(object)["secret"].(string); !regexp.MustCompile(rule.Detect.Pattern).MatchString(secret) {
			t.Errorf("%s: the replacement does not look like one", id)
		}
	}
}

// TestEverything plants a token where it may be and where it may not.
func TestEverything(t *testing.T) {
	x := openPulled(t, start(t, Config{}))
	token := x.issueFor("carol", ClassicToken)
	x.call(token, "GET", "/user", nil).want(200)
	x.call(token, "GET", "/repos/acme/shop", nil).want(200)
	x.work.commit("leak.txt", token+"\n")
	x.work.git("push", "-q", "origin", "HEAD:main")
	x.call("", "POST", "/credentials/revoke", object{"credentials": []string{token}}).want(202)
	x.askBroker(x.BrokerToken(), "op", "github-pat", "carol").want(201)
	x.settle()
	if bytes.Contains(x.Everything(), []byte(token)) {
		t.Error("a token that was only used where tokens belong is found")
	}
	for name, leak := range map[string]func(string){
		"comment": func(canary string) { x.as("POST", "/issues/1/comments", object{"body": canary}).want(201) },
		"check run": func(canary string) {
			x.as("POST", "/check-runs", object{"name": "Stanch", "head_sha": x.first, "output": object{"title": "T", "summary": canary}}).want(201)
		},
		"address": func(canary string) { x.as("GET", "/pulls?head="+canary, nil).want(200) },
	} {
		canary := "canary-<" + strings.ReplaceAll(name, " ", "-") + ">"
		if name == "address" {
			canary = "canary-address"
		}
		leak(canary)
		if !bytes.Contains(x.Everything(), []byte(canary)) {
			t.Errorf("what leaked through a %s is not found", name)
		}
	}
	for _, r := range x.Requests() {
		if r.Header.Get("Authorization") != "" {
			t.Errorf("%s %s was kept with its credentials", r.Method, r.Path)
		}
	}
}
