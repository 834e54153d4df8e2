package app

import (
	"testing"
	"time"

	"github.com/stanch-dev/stanch/app/github"
	"github.com/stanch-dev/stanch/app/webhook"
	"github.com/stanch-dev/stanch/rules"
)

// TestWhenItWasPushed: only an event about a push says when that was.
func TestWhenItWasPushed(t *testing.T) {
	pushed := time.Unix(1000, 0)
	push := github.Push{Ref: "refs/heads/x", Before: "aa", After: "bb", Forced: true, Pushed: pushed}
	pull := func(action string) reaction {
		return onPullRequest(webhook.Delivery{Received: pushed.Add(time.Second)}, github.PullRequest{Action: action, Pushed: pushed})
	}
	late, early := webhook.Delivery{Received: pushed.Add(time.Second)}, webhook.Delivery{Received: pushed.Add(-time.Second)}
	for name, test := range map[string]struct {
		r    reaction
		want []time.Time
	}{
		"push, with what it took away":      {onPush(late, push), []time.Time{pushed, {}}},
		"push that GitHub's clock has late": {onPush(early, push), []time.Time{{}, {}}},
		"push to a pull request":            {pull("synchronize"), []time.Time{pushed}},
		"pull request is opened":            {pull("opened"), []time.Time{{}}},
		"pull request is reopened":          {pull("reopened"), []time.Time{{}}},
	} {
		if len(test.r.jobs) != len(test.want) {
			t.Fatalf("%s: %d jobs, want %d", name, len(test.r.jobs), len(test.want))
		}
		for n, job := range test.r.jobs {
			if got := job.(scanArgs).Pushed; !got.Equal(test.want[n]) {
				t.Errorf("%s, job %d: pushed at %s, want %s", name, n, got, test.want[n])
			}
		}
	}
}

// TestRulesAsLabels: what strangers call their rules is no label.
func TestRulesAsLabels(t *testing.T) {
	m := &metrics{known: map[string]*rules.Rule{"github-pat": {}}}
	for id, want := range map[string]string{"github-pat": "github-pat", "anything\n": "repository's own", "": ""} {
		if got := m.rule(id); got != want {
			t.Errorf("%q is %q, want %q", id, got, want)
		}
	}
}
