package github

import (
	"context"
	"fmt"
	"net/http"
	"slices"

	gh "github.com/google/go-github/v62/github"

	"github.com/stanch-dev/stanch/app/grants"
)

// A Registration is what GitHub knows of the App itself, as its owner set it up.
// Accounts where it was installed before a permission was added may not have
// accepted it yet.
type Registration struct {
	Slug        string            `json:"slug"`
	Permissions map[string]string `json:"permissions"` // "read", "write" or "admin", by name
	Events      []string          `json:"events"`
	Installed   int               `json:"installations_count"`
	Webhook     Webhook           `json:"-"`
}

// A Webhook is where GitHub delivers the App's events.
type Webhook struct {
	URL         string
	ContentType string // "json" or "form"
	Signed      bool   // there is a secret
	Insecure    bool   // GitHub does not look at the receiver's certificate
}

// Registration asks GitHub for the App's own settings.
func (a *App) Registration(ctx context.Context) (r Registration, err error) {
	var hook *gh.HookConfig
	err = a.self.do(ctx, func(c *gh.Client) error {
		// The client's own type drops permissions that it does not know.
		req, err := c.NewRequest(http.MethodGet, "app", nil)
		if err != nil {
			return err
		}
		if _, err := c.Do(ctx, req, &r); err != nil {
			return err
		}
		hook, _, err = c.Apps.GetHookConfig(ctx)
		return err
	})
	if err != nil {
		return r, fmt.Errorf("ask for the App's settings: %w", err)
	}
	r.Webhook = Webhook{
		URL: hook.GetURL(), ContentType: hook.GetContentType(), Signed: hook.GetSecret() != "", Insecure: hook.GetInsecureSSL() == "1",
	}
	return r, nil
}

// A Need is a permission or an event that Stanch uses.
type Need struct {
	Permission, Level string // of a permission
	Event             string // or the name of an event
	Without           string // what does not work without it
	Optional          bool   // all else works without it
}

// needs are all of them. Apps get the events of installations always, and those of
// checks with checks: write.
// Source: https://docs.github.com/webhooks/webhook-events-and-payloads
var needs = []Need{
	{Permission: "metadata", Level: "read", Without: "no repository can be seen"},
	{Permission: "contents", Level: "read", Without: "no commit can be fetched, so nothing is scanned"},
	{Permission: "checks", Level: "write", Without: "no check run can be written, and its buttons are never heard"},
	{Permission: "pull_requests", Level: "write", Without: "pull requests are not scanned and get no comment"},
	{Event: "push", Without: "pushes are only scanned when the sweep of the refs finds them"},
	{Event: "pull_request", Without: "pull requests from forks are not scanned"},
	{Event: "repository", Without: "Stanch does not hear that a repository was made, renamed, published or deleted"},
	{Permission: "merge_queues", Level: "read", Without: "merge queues wait for a check that never comes", Optional: true},
	{Event: "merge_group", Without: "merge queues wait for a check that never comes", Optional: true},
	{Permission: "issues", Level: "read", Without: "commands in comments (/stanch …) are not heard", Optional: true},
	{Event: "issue_comment", Without: "commands in comments (/stanch …) are not heard", Optional: true},
	{Permission: "secret_scanning_alerts", Level: "write", Without: "GitHub's own alerts are not taken over or closed", Optional: true},
	{Event: "secret_scanning_alert", Without: "GitHub's own alerts are not taken over or closed", Optional: true},
}

// AppPolicy is what the App needs for what it does without any setting.
func AppPolicy() grants.Policy {
	p := grants.Policy{Name: "The GitHub App", Syntax: "github"}
	for _, n := range needs {
		grant := n.Permission + ": " + n.Level
		if n.Event != "" {
			grant = "event: " + n.Event
		}
		p.Lines = append(p.Lines, grants.Line{Grant: grant, For: "without it " + n.Without, Optional: n.Optional})
	}
	return p
}

// Lacks returns what Stanch uses and the App does not have. More is what the settings
// ask for.
func (r Registration) Lacks(more ...Need) []Need {
	return slices.DeleteFunc(append(slices.Clone(needs), more...), func(n Need) bool {
		if n.Event != "" {
			return slices.Contains(r.Events, n.Event)
		}
		has := r.Permissions[n.Permission]
		return has == n.Level || has == "write" || has == "admin"
	})
}
