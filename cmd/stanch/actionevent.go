package main

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"strings"
)

// An actionPlan says what an event asks to have scanned.
type actionPlan struct {
	what    string // for people: "the push to refs/heads/main"
	nothing string // why there is nothing to do; then the rest is empty

	// Scan what tip has and base has not. They are commit ids. Where base is empty
	// and branch is not, the base is that branch as it is now; where both are
	// empty it is all of tip's history.
	tip, base, branch string
	tipRef            string // a ref that has tip, if its id alone cannot be fetched

	history bool // scan all branches and tags
	files   bool // scan the files as they are checked out
	// judge says that the base, not what is scanned, says what is allowed: who asks
	// for a merge must not be able to excuse himself.
	judge bool
	note  string // what is worth knowing about the range
}

// A payload is what the events that have a range have in common; GitHub sends
// much more. Fields that old servers do not send stay empty.
type payload struct {
	Before  string `json:"before"`
	After   string `json:"after"`
	Ref     string `json:"ref"`
	Deleted bool   `json:"deleted"`

	Repository struct {
		DefaultBranch string `json:"default_branch"`
		Private       *bool  `json:"private"`
	} `json:"repository"`
	PullRequest struct {
		Number int        `json:"number"`
		Base   payloadEnd `json:"base"`
		Head   payloadEnd `json:"head"`
	} `json:"pull_request"`
	MergeGroup struct {
		BaseSHA string `json:"base_sha"`
		HeadSHA string `json:"head_sha"`
		BaseRef string `json:"base_ref"`
	} `json:"merge_group"`
}

type payloadEnd struct {
	SHA string `json:"sha"`
	Ref string `json:"ref"`
}

// private says whether only members can read the repository; where nobody says, so
// it counts as public.
func (p payload) private() bool { return p.Repository.Private != nil && *p.Repository.Private }

// readPayload reads the event's file. Runners that are started by hand have none.
func readPayload(path string) (payload, error) {
	var p payload
	if path == "" {
		return p, nil
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return p, fmt.Errorf("read the event: %w", err)
	}
	if err := json.Unmarshal(data, &p); err != nil {
		return p, fmt.Errorf("read the event %s: %w", path, err)
	}
	return p, nil
}

// planEvent decides what to scan. What is no event about certain commits, such as
// a schedule, asks for everything.
func planEvent(event string, p payload) (actionPlan, error) {
	switch event {
	case "push":
		return planPush(p)
	case "pull_request", "pull_request_target", "pull_request_review", "pull_request_review_comment":
		number := p.PullRequest.Number
		return actionPlan{
			what: fmt.Sprintf("pull request %d", number), judge: true, tipRef: fmt.Sprintf("refs/pull/%d/head", number),
			base: p.PullRequest.Base.SHA, tip: p.PullRequest.Head.SHA,
		}.checked()
	case "merge_group":
		g := p.MergeGroup
		return actionPlan{what: "the merge queue's group for " + g.BaseRef, base: g.BaseSHA, tip: g.HeadSHA, judge: true}.checked()
	}
	return actionPlan{what: "the whole history", history: true}, nil
}

func planPush(p payload) (actionPlan, error) {
	plan := actionPlan{what: "the push to " + p.Ref, tip: p.After, base: p.Before, tipRef: p.Ref}
	switch {
	case p.Deleted || zeroID(p.After):
		return actionPlan{what: plan.what, nothing: p.Ref + " was deleted"}, nil
	case p.After == p.Before:
		return actionPlan{what: plan.what, nothing: p.Ref + " is where it was"}, nil
	}
	// A new branch or tag brings what the default branch does not have. A forced push
	// may have left its base behind; then the same is the best that can be known.
	if branch := "refs/heads/" + p.Repository.DefaultBranch; p.Repository.DefaultBranch != "" && branch != p.Ref {
		plan.branch = branch
	}
	if zeroID(p.Before) {
		plan.base = ""
	}
	return plan.checked()
}

// checked refuses what is no commit id or ref: it becomes an argument of git.
func (plan actionPlan) checked() (actionPlan, error) {
	id := regexp.MustCompile(`^([0-9a-f]{40}|[0-9a-f]{64})$`)
	for _, commit := range []string{plan.tip, plan.base} {
		if commit != "" && !id.MatchString(commit) {
			return plan, fmt.Errorf("the event has %q where a commit should be", commit)
		}
	}
	if plan.tip == "" || plan.base == "" && plan.judge {
		return plan, fmt.Errorf("the event does not say which commits %s has: is GITHUB_EVENT_PATH the payload of this event?", plan.what)
	}
	// What git does not allow in the name of a ref, of which refspecs are made of
	// (git-check-ref-format(1)).
	for _, ref := range []string{plan.tipRef, plan.branch} {
		if strings.ContainsAny(ref, " ~^:?*[\\\x7f") || strings.ContainsFunc(ref, func(r rune) bool { return r < ' ' }) {
			return plan, fmt.Errorf("the event has %q where the name of a branch should be", ref)
		}
	}
	return plan, nil
}

// span is the range for people.
func (plan actionPlan) span() string {
	switch {
	case plan.tip == "":
		return ""
	case plan.base == "":
		return fmt.Sprintf(" (all of %.7s)", plan.tip)
	}
	return fmt.Sprintf(" (%.7s..%.7s)", plan.base, plan.tip)
}
