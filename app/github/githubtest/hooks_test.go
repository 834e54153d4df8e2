package githubtest

import (
	"crypto/sha1"
	"crypto/sha256"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestSignature holds sign against the vector of GitHub's documentation
// ("Validating webhook deliveries").
func TestSignature(t *testing.T) {
	got := sign(sha256.New, "It's a Secret to Everybody", []byte("Hello, World!"))
	if want := "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"; got != want {
		t.Errorf("signature %s, want %s", got, want)
	}
}

var guid = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)

func TestDelivery(t *testing.T) {
	x := openShop(t, start(t, Config{Ping: true}))
	x.inbox.mu.Lock()
	got := append([]received(nil), x.inbox.got...)
	x.inbox.mu.Unlock()
	var events []string
	for _, r := range got {
		events = append(events, r.header.Get("X-GitHub-Event"))
		want := map[string]string{
			"X-Hub-Signature-256":                    "sha256=" + sign(sha256.New, x.app.WebhookSecret, r.body),
			"X-Hub-Signature":                        "sha1=" + sign(sha1.New, x.app.WebhookSecret, r.body),
			"X-GitHub-Hook-Installation-Target-ID":   fmt.Sprint(x.app.ID),
			"X-GitHub-Hook-Installation-Target-Type": "integration",
			"Content-Type":                           "application/json",
		}
		for name, value := range want {
			if r.header.Get(name) != value {
				t.Errorf("%s: %q, want %q", name, r.header.Get(name), value)
			}
		}
		if id := r.header.Get("X-GitHub-Delivery"); !guid.MatchString(id) {
			t.Errorf("X-GitHub-Delivery: %q is no UUID", id)
		}
	}
	if diff := cmp.Diff([]string{"ping", "installation"}, events); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}

func TestDeliveriesAPI(t *testing.T) {
	x := openShop(t, start(t, Config{}))
	x.inbox.answerWith(500, 0)
	x.work.git("push", "-q", "origin", "HEAD:refs/heads/b1")
	x.take("push")
	x.inbox.answerWith(202, 0)
	x.work.git("push", "-q", "origin", "HEAD:refs/heads/b2")
	x.take("push")
	list := x.call(x.jwt(), "GET", "/app/hook/deliveries", nil).want(200).list()
	if len(list) != 3 { // b2, b1, installation
		t.Fatalf("%d deliveries, want 3", len(list))
	}
	failed := x.call(x.jwt(), "GET", "/app/hook/deliveries?status=failure", nil).want(200).list()
	if len(failed) != 1 || failed[0]["status_code"] != 500.0 || failed[0]["status"] == "OK" {
		t.Fatalf("failed deliveries: %v", failed)
	}
	page := x.call(x.jwt(), "GET", "/app/hook/deliveries?per_page=2", nil).want(200)
	next := regexp.MustCompile(`cursor=(\d+)`).FindStringSubmatch(page.header.Get("Link"))
	if next == nil {
		t.Fatalf("no cursor in %q", page.header.Get("Link"))
	}
	rest := x.call(x.jwt(), "GET", "/app/hook/deliveries?per_page=2&cursor="+next[1], nil).want(200).list()
	if len(rest) != 1 || rest[0]["event"] != "installation" {
		t.Errorf("second page: %v", rest)
	}
	path := fmt.Sprintf("/app/hook/deliveries/%.0f", failed[0]["id"])
	one := x.call(x.jwt(), "GET", path, nil).want(200).object()
	if one["request"].(object)["payload"].(object)["ref"] != "refs/heads/b1" {
		t.Errorf("the delivery's payload: %.200v", one["request"])
	}
	x.call(x.jwt(), "POST", path+"/attempts", nil).want(202)
	if got := x.one("push")["ref"]; got != "refs/heads/b1" {
		t.Errorf("redelivered %v, want refs/heads/b1", got)
	}
	newest := x.call(x.jwt(), "GET", "/app/hook/deliveries?per_page=1", nil).want(200).list()[0]
	want := object{"guid": failed[0]["guid"], "redelivery": true, "status": "OK"}
	if diff := cmp.Diff(want, pick(newest, "guid", "redelivery", "status")); diff != "" {
		t.Errorf("redelivery (-want +got):\n%s", diff)
	}
	x.call(x.jwt(), "GET", "/app/hook/deliveries/1", nil).want(404)
}

func TestHookConfigAPI(t *testing.T) {
	x := openShop(t, start(t, Config{}))
	config := x.call(x.jwt(), "GET", "/app/hook/config", nil).want(200).object()
	if config["content_type"] != "json" || strings.Contains(fmt.Sprint(config), x.app.WebhookSecret) {
		t.Errorf("%v", config)
	}
}

func TestDeliveryTrouble(t *testing.T) {
	x := openShop(t, startLoose(t, Config{DeliveryTimeout: 2 * time.Second}))
	last := func() Delivery {
		x.settle()
		all := x.Deliveries()
		return all[len(all)-1]
	}
	send := func() string {
		t.Helper()
		id, err := x.Send(x.app.ID, x.repo, "star", map[string]any{"action": "created"})
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	x.inbox.answerWith(200, time.Minute)
	send()
	if got := last(); got.Status != "timed out" || got.StatusCode != 0 {
		t.Errorf("a slow receiver: %s %d", got.Status, got.StatusCode)
	}
	x.inbox.answerWith(302, 0)
	send()
	if got := last(); got.Status != "OK" || got.StatusCode != 302 {
		t.Errorf("a redirecting receiver: %s %d", got.Status, got.StatusCode)
	}
	x.inbox.answerWith(200, 0)
	x.take("star")
	x.DropDeliveries(func(d Delivery) bool { return d.Event == "star" })
	lost := send()
	if got := last(); got.GUID != lost || got.Status == "OK" || len(x.take("star")) != 0 {
		t.Errorf("a lost delivery: %s", got.Status)
	}
	x.DropDeliveries(nil)
	if err := x.Redeliver(lost); err != nil {
		t.Fatal(err)
	}
	if x.one("star")["repository"].(object)["full_name"] != x.repo {
		t.Error("the repository is missing from the payload")
	}
	if err := x.Redeliver("nothing"); err == nil {
		t.Error("what was never sent could be redelivered")
	}
	if err := x.SetWebhook(x.app.ID, "http://127.0.0.1:1/", ""); err != nil {
		t.Fatal(err)
	}
	send()
	if got := last(); got.Status != "failed to connect to host" {
		t.Errorf("nobody listens: %s", got.Status)
	}
}

func TestDeliveriesPause(t *testing.T) {
	x := openShop(t, startLoose(t, Config{}))
	x.PauseDeliveries()
	var want []any
	for i := range 5 {
		if _, err := x.Send(x.app.ID, "", "star", map[string]any{"n": i}); err != nil {
			t.Fatal(err)
		}
		want = append(want, float64(i))
	}
	for _, d := range x.Deliveries() {
		if d.Event == "star" && d.Status != "pending" {
			t.Errorf("a delivery is %s while they are paused", d.Status)
		}
	}
	x.ResumeDeliveries()
	var got []any
	for _, payload := range x.take("star") {
		got = append(got, payload["n"])
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("order (-want +got):\n%s", diff)
	}
}
