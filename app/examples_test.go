package app_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"testing"
)

// TestWebhookExamples delivers every example payload of npm's
// @octokit/webhooks-examples, signed: none is refused.
func TestWebhookExamples(t *testing.T) {
	path := os.Getenv("STANCH_WEBHOOK_EXAMPLES")
	if path == "" {
		if os.Getenv("STANCH_CI") == "1" {
			t.Fatal("STANCH_WEBHOOK_EXAMPLES is not set: it names index.json of @octokit/webhooks-examples")
		}
		t.Skip("STANCH_WEBHOOK_EXAMPLES is not set: it names index.json of @octokit/webhooks-examples")
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var events []struct {
		Name     string            `json:"name"`
		Examples []json.RawMessage `json:"examples"`
	}
	if err := json.Unmarshal(b, &events); err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, worldOptions{})
	n := 0
	for _, e := range events {
		for _, example := range e.Examples {
			n++
			var body bytes.Buffer
			if err := json.Compact(&body, example); err != nil {
				t.Fatal(err)
			}
			mac := hmac.New(sha256.New, []byte(w.self.WebhookSecret))
			mac.Write(body.Bytes())
			resp := w.deliver(body.Bytes(), map[string]string{
				"X-GitHub-Event": e.Name, "X-GitHub-Delivery": fmt.Sprintf("example-%d", n),
				"X-Hub-Signature-256": "sha256=" + hex.EncodeToString(mac.Sum(nil)),
			})
			if resp.StatusCode != 202 {
				t.Errorf("example %d of %s was answered with %d", n, e.Name, resp.StatusCode)
			}
		}
	}
	if n < 300 {
		t.Errorf("only %d examples were delivered", n)
	}
}
