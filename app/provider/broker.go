package provider

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/rules"
)

// broker asks the operator's own endpoint for replacements, for providers that
// let no program issue them. The contract:
//
//	POST {url}
//	Authorization: Bearer {token}
//	Idempotency-Key: {operation}
//	{"rule":…,"provider":…,"identity":{…},"reason":"leaked","operation":…}
//
// answered by 200 or 201 and {"parts":{"secret":…}}. The same key must get the
// same credential. 404 and 422, with {"message":…}, mean that there is none to
// be had. The leaked value itself is not sent: the identity says whose it was.
type broker struct {
	url    string
	token  checks.Secret
	client *http.Client
	now    func() time.Time
}

// maxPart bounds a part of a credential from the broker. Private keys are the
// longest credentials; one of 16,384 bits takes 13 KB.
const maxPart = 64 << 10

func newBroker(cfg Config, now func() time.Time) (*broker, error) {
	b := &broker{token: cfg.BrokerToken, now: now}
	if cfg.BrokerURL == "" {
		return b, nil
	}
	var err error
	if b.url, err = cleanBase(cfg.BrokerURL, "http", "https"); err != nil {
		return nil, fmt.Errorf("broker URL: %w", err)
	}
	if _, ok := inHeader(b.token.Expose()); !ok {
		return nil, fmt.Errorf("broker token: it has control characters and cannot stand in a header")
	}
	b.client = newClient(&net.Dialer{}, nil)
	return b, nil
}

func (b *broker) whyNoIssue(*rules.Rule) string {
	if b.url == "" {
		return "no broker configured to issue it"
	}
	return ""
}

// issue asks for the replacement. The same operation may be asked for again: the
// broker answers with the same.
func (b *broker) issue(ctx context.Context, rule *rules.Rule, r Request) (checks.Credential, error) {
	evidence, got, err := b.ask(ctx, rule, r.Old.Identity, r.Operation)
	if err != nil {
		return checks.Credential{}, err
	}
	switch {
	case !got.sent, refused(got):
		return checks.Credential{}, fmt.Errorf("issue %s: %w: the broker answered: %s", rule.ID, ErrCannotIssue, evidence.Answer)
	case got.fault != "" || (got.status != http.StatusOK && got.status != http.StatusCreated):
		return checks.Credential{}, &AnswerError{Rule: rule.ID, Evidence: evidence}
	}
	fresh := checks.Credential{Rule: rule.ID, Parts: map[string]checks.Secret{}}
	parts, _ := got.object["parts"].(map[string]any)
	for name, part := range parts {
		if text, ok := part.(string); ok && text != "" && len(text) <= maxPart {
			fresh.Parts[name] = checks.NewSecret(text)
		}
	}
	switch {
	case len(fresh.Parts) != len(parts) || fresh.Secret().Len() == 0:
		evidence.Answer = "no usable credential in the answer"
		return checks.Credential{}, &AnswerError{Rule: rule.ID, Evidence: evidence}
	case fresh.Secret() == r.Old.Secret():
		evidence.Answer = "the leaked credential itself"
		return checks.Credential{}, &AnswerError{Rule: rule.ID, Evidence: evidence}
	}
	return fresh, nil
}

func (b *broker) ask(ctx context.Context, rule *rules.Rule, identity map[string]string, operation string) (Evidence, reply, error) {
	evidence := Evidence{Request: "POST " + b.url, At: b.now()}
	var provider string
	if rule.Provider != nil {
		provider = rule.Provider.Name
	}
	body, err := json.Marshal(map[string]any{
		"rule": rule.ID, "provider": provider, "identity": identity, "reason": "leaked", "operation": operation,
	})
	if err != nil {
		return evidence, reply{}, fmt.Errorf("issue %s: %w: encode the request: %w", rule.ID, ErrCannotIssue, err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, b.url, bytes.NewReader(body))
	if err != nil {
		return evidence, reply{}, fmt.Errorf("issue %s: %w: no request can be made of the broker URL", rule.ID, ErrCannotIssue)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+b.token.Expose())
	req.Header.Set("Idempotency-Key", operation)
	got := exchange(b.client, req)
	evidence.Status, evidence.Answer = got.status, got.answer()
	if message, ok := got.field("message"); ok && refused(got) {
		evidence.Answer += ": " + short(message)
	}
	return evidence, got, nil
}

// refused says whether the broker itself said no, in JSON, so that it was not
// something on the way: it has no such credential, or does not know Stanch.
func refused(r reply) bool {
	switch r.status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusUnprocessableEntity:
		return r.fault == "" && r.json
	}
	return false
}
