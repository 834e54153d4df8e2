package github

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// maxText bounds the names in a payload. The bound is ours and generous: a ref
// whose elements are file names of 255 bytes can still have four of them.
const maxText = 1024

// An Event is what a webhook delivery says: a Push, a PullRequest, a MergeGroup,
// a CheckRunEvent, a CheckSuiteEvent, an IssueComment, an InstallationEvent, a
// RepositoryEvent, an AlertEvent, or Other. Only what Stanch acts on is decoded:
// commit messages and titles, which strangers write, never get in.
type Event interface {
	// From is the installation that the event is for, 0 if it names none.
	From() int64
}

// A Push says that a branch or a tag moved.
type Push struct {
	Ref           string // "refs/heads/main"
	Before, After string // all zeros: the ref did not, or does not, exist
	// HeadCommit is empty when the ref was deleted. For a tag with a message
	// After is the tag and this the commit.
	HeadCommit               string
	Created, Deleted, Forced bool
	Sender                   Person // who pushed
	Repository               Repository
	Installation             int64
	// Pushed is when GitHub took the push, in whole seconds; zero when it does not say.
	Pushed time.Time
}

// A PullRequest says that something happened to a pull request.
type PullRequest struct {
	Action           string
	Number           int
	HeadSHA, BaseSHA string
	HeadRef, BaseRef string // branch names
	Before, After    string // where the head was and is, on "synchronize" only
	BaseChanged      bool   // on "edited": it now goes to another branch
	Author           Person // who opened it
	// Fork says that the head is not in Repository, or that its repository no
	// longer exists. Its pushes are not reported to us.
	Fork         bool
	Repository   Repository // the one that the pull request goes to
	Installation int64
	// Pushed is when somebody last pushed to the head's repository, in whole seconds;
	// zero when GitHub does not say.
	Pushed time.Time
}

// A CheckRunEvent says that somebody pressed a check run's button, or wants it
// run again, or that it was made.
type CheckRunEvent struct {
	Action     string
	Identifier string // the button's, on "requested_action"
	CheckRunID int64
	ExternalID string
	HeadSHA    string
	AppID      int64 // whose check run it is
	// Sender pressed the button. GitHub does not say who may: ask Permission.
	Sender       Person
	SenderType   string // "User" or "Bot"
	Repository   Repository
	Installation int64
}

// An IssueComment says that somebody commented on an issue or a pull request.
type IssueComment struct {
	Action    string
	Number    int  // of the issue or pull request
	Pull      bool // it is a pull request
	CommentID int64
	// Body is what a stranger wrote, to look for commands in it and for nothing else.
	Body         string
	Sender       Person
	Bot          bool // a program wrote it
	Repository   Repository
	Installation int64
}

// A Person is an account on GitHub. Logins change hands; the number does not.
type Person struct {
	ID    int64  `json:"id"`
	Login string `json:"login"`
}

// Is reports whether both are one account.
func (p Person) Is(other Person) bool {
	if p.ID != 0 && other.ID != 0 {
		return p.ID == other.ID
	}
	return strings.EqualFold(p.Login, other.Login)
}

// Other is any other event.
type Other struct {
	Event        string
	Action       string
	Installation int64
}

// From implements Event.
func (e Push) From() int64 { return e.Installation }

// From implements Event.
func (e PullRequest) From() int64 { return e.Installation }

// From implements Event.
func (e CheckRunEvent) From() int64 { return e.Installation }

// From implements Event.
func (e IssueComment) From() int64 { return e.Installation }

// From implements Event.
func (e Other) From() int64 { return e.Installation }

// ParseEvent reads the payload of the event name (X-GitHub-Event). Fields that
// are missing stay zero, except those without which there is nothing to act on:
// an event that ParseEvent accepts names a repository and commits in the form
// that GitHub gives them, and refs without control characters.
func ParseEvent(name string, body []byte) (Event, error) {
	var event Event
	var err error
	switch name {
	case "push":
		event, err = parsePush(body)
	case "pull_request":
		event, err = parsePullRequest(body)
	case "check_run":
		event, err = parseCheckRun(body)
	case "issue_comment":
		event, err = parseIssueComment(body)
	case "check_suite":
		event, err = parseCheckSuite(body)
	case "merge_group":
		event, err = parseMergeGroup(body)
	case "installation", "installation_repositories":
		event, err = parseInstallation(body)
	case "repository":
		event, err = parseRepositoryEvent(body)
	case "secret_scanning_alert":
		event, err = parseAlert(body)
	default:
		event, err = parseOther(name, body)
	}
	if err != nil {
		return nil, fmt.Errorf("read %s event: %w", name, err)
	}
	return event, nil
}

// The parts that many payloads share.
type (
	payloadAccount struct {
		ID    int64  `json:"id"`
		Login string `json:"login"`
		Name  string `json:"name"`
		Type  string `json:"type"`
	}
	payloadRepository struct {
		ID            int64          `json:"id"`
		Name          string         `json:"name"`
		FullName      string         `json:"full_name"`
		Private       bool           `json:"private"`
		DefaultBranch string         `json:"default_branch"`
		Owner         payloadAccount `json:"owner"`
		PushedAt      payloadTime    `json:"pushed_at"`
	}
	payloadInstallation struct {
		ID int64 `json:"id"`
	}
	payloadSide struct {
		Ref  string             `json:"ref"`
		SHA  string             `json:"sha"`
		Repo *payloadRepository `json:"repo"` // null when the fork was deleted
	}
)

// A payloadTime is a time as GitHub writes it: in push events a number of seconds since
// 1970, elsewhere as RFC 3339 has it. It decides nothing, so that what is neither is no
// time rather than an error.
type payloadTime struct{ time.Time }

// UnmarshalJSON implements json.Unmarshaler.
func (t *payloadTime) UnmarshalJSON(b []byte) error {
	t.Time = time.Time{}
	if seconds, err := strconv.ParseInt(string(b), 10, 64); err == nil && seconds > 0 {
		t.Time = time.Unix(seconds, 0).UTC()
		return nil
	}
	var text string
	if json.Unmarshal(b, &text) == nil {
		if at, err := time.Parse(time.RFC3339, text); err == nil {
			t.Time = at.UTC()
		}
	}
	return nil
}

func parsePush(body []byte) (Event, error) {
	var p struct {
		Ref          string              `json:"ref"`
		Before       string              `json:"before"`
		After        string              `json:"after"`
		Created      bool                `json:"created"`
		Deleted      bool                `json:"deleted"`
		Forced       bool                `json:"forced"`
		Repository   payloadRepository   `json:"repository"`
		Installation payloadInstallation `json:"installation"`
		Sender       payloadAccount      `json:"sender"`
		HeadCommit   struct {
			ID string `json:"id"`
		} `json:"head_commit"`
	}
	if err := decode(body, &p); err != nil {
		return nil, err
	}
	repo, repoErr := p.Repository.repository()
	event := Push{
		Ref: p.Ref, Before: p.Before, After: p.After, HeadCommit: p.HeadCommit.ID,
		Created: p.Created, Deleted: p.Deleted, Forced: p.Forced, Sender: p.Sender.person(),
		Repository: repo, Installation: p.Installation.ID, Pushed: p.Repository.PushedAt.Time,
	}
	return event, cmp.Or(repoErr,
		checkSHA("before", p.Before), checkSHA("after", p.After), checkOptionalSHA("head_commit", p.HeadCommit.ID),
		checkText("ref", p.Ref), checkText("default_branch", repo.DefaultBranch))
}

func parsePullRequest(body []byte) (Event, error) {
	var p struct {
		Action  string `json:"action"`
		Number  int    `json:"number"`
		Before  string `json:"before"`
		After   string `json:"after"`
		Changes struct {
			Base *struct{} `json:"base"`
		} `json:"changes"`
		PullRequest struct {
			Head payloadSide    `json:"head"`
			Base payloadSide    `json:"base"`
			User payloadAccount `json:"user"`
		} `json:"pull_request"`
		Repository   payloadRepository   `json:"repository"`
		Installation payloadInstallation `json:"installation"`
	}
	if err := decode(body, &p); err != nil {
		return nil, err
	}
	head, base := p.PullRequest.Head, p.PullRequest.Base
	if base.Repo == nil {
		base.Repo = &p.Repository
	}
	repo, repoErr := base.Repo.repository()
	if p.Number <= 0 {
		return nil, errors.New("payload names no pull request")
	}
	event := PullRequest{
		Action: p.Action, Number: p.Number,
		HeadSHA: head.SHA, BaseSHA: base.SHA, HeadRef: head.Ref, BaseRef: base.Ref,
		Before: p.Before, After: p.After, BaseChanged: p.Changes.Base != nil,
		Author:     p.PullRequest.User.person(),
		Fork:       head.Repo == nil || head.Repo.ID != repo.ID,
		Repository: repo, Installation: p.Installation.ID,
	}
	if head.Repo != nil {
		event.Pushed = head.Repo.PushedAt.Time
	}
	return event, cmp.Or(repoErr,
		checkSHA("head", head.SHA), checkSHA("base", base.SHA),
		checkOptionalSHA("before", p.Before), checkOptionalSHA("after", p.After),
		checkText("head ref", head.Ref), checkText("base ref", base.Ref),
		checkText("action", p.Action), checkText("default_branch", repo.DefaultBranch))
}

func parseCheckRun(body []byte) (Event, error) {
	var p struct {
		Action   string `json:"action"`
		CheckRun struct {
			ID         int64  `json:"id"`
			ExternalID string `json:"external_id"`
			HeadSHA    string `json:"head_sha"`
			App        struct {
				ID int64 `json:"id"`
			} `json:"app"`
		} `json:"check_run"`
		RequestedAction struct {
			Identifier string `json:"identifier"`
		} `json:"requested_action"`
		Sender       payloadAccount      `json:"sender"`
		Repository   payloadRepository   `json:"repository"`
		Installation payloadInstallation `json:"installation"`
	}
	if err := decode(body, &p); err != nil {
		return nil, err
	}
	repo, repoErr := p.Repository.repository()
	event := CheckRunEvent{
		Action: p.Action, Identifier: p.RequestedAction.Identifier,
		CheckRunID: p.CheckRun.ID, ExternalID: p.CheckRun.ExternalID,
		HeadSHA: p.CheckRun.HeadSHA, AppID: p.CheckRun.App.ID,
		Sender: p.Sender.person(), SenderType: p.Sender.Type,
		Repository: repo, Installation: p.Installation.ID,
	}
	return event, cmp.Or(repoErr,
		checkSHA("head_sha", p.CheckRun.HeadSHA), checkText("action", p.Action),
		checkText("identifier", p.RequestedAction.Identifier), checkText("sender", p.Sender.Login),
		checkText("default_branch", repo.DefaultBranch))
}

func parseIssueComment(body []byte) (Event, error) {
	var p struct {
		Action string `json:"action"`
		Issue  struct {
			Number      int       `json:"number"`
			PullRequest *struct{} `json:"pull_request"`
		} `json:"issue"`
		Comment struct {
			ID   int64          `json:"id"`
			Body string         `json:"body"`
			User payloadAccount `json:"user"`
			App  *struct{}      `json:"performed_via_github_app"`
		} `json:"comment"`
		Sender       payloadAccount      `json:"sender"`
		Repository   payloadRepository   `json:"repository"`
		Installation payloadInstallation `json:"installation"`
	}
	if err := decode(body, &p); err != nil {
		return nil, err
	}
	repo, repoErr := p.Repository.repository()
	if p.Issue.Number <= 0 || p.Comment.ID <= 0 {
		return nil, errors.New("payload names no comment")
	}
	event := IssueComment{
		Action: p.Action, Number: p.Issue.Number, Pull: p.Issue.PullRequest != nil,
		CommentID: p.Comment.ID, Body: p.Comment.Body, Sender: p.Sender.person(),
		Bot:        p.Comment.App != nil || p.Sender.Type != userType || p.Comment.User.ID != p.Sender.ID,
		Repository: repo, Installation: p.Installation.ID,
	}
	return event, cmp.Or(repoErr, checkText("action", p.Action), checkText("sender", p.Sender.Login), checkText("default_branch", repo.DefaultBranch))
}

// userType is how payloads call the account of a person.
const userType = "User"

func (a payloadAccount) person() Person { return Person{ID: a.ID, Login: a.Login} }

func parseOther(name string, body []byte) (Event, error) {
	var p struct {
		Action       string              `json:"action"`
		Installation payloadInstallation `json:"installation"`
	}
	if err := decode(body, &p); err != nil {
		return nil, err
	}
	return Other{Event: name, Action: p.Action, Installation: p.Installation.ID}, checkText("action", p.Action)
}

// decode reads a JSON object. Its errors say where the payload is wrong and
// never quote it.
func decode(body []byte, into any) error {
	if !bytes.HasPrefix(bytes.TrimSpace(body), []byte("{")) {
		return errors.New("payload is no JSON object")
	}
	err := json.Unmarshal(body, into)
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		return fmt.Errorf("payload is no JSON, see byte %d", syntax.Offset)
	case errors.As(err, &kind):
		return fmt.Errorf("payload's %q at byte %d should be of type %s", kind.Field, kind.Offset, kind.Type)
	}
	return err
}

// repository takes what is needed. Push payloads have shown the owner as
// "name", others as "login".
func (p payloadRepository) repository() (Repository, error) {
	owner := p.Owner.Login
	if owner == "" {
		owner, _, _ = strings.Cut(p.FullName, "/")
	}
	repo := Repository{ID: p.ID, Owner: owner, Name: p.Name, Private: p.Private, DefaultBranch: p.DefaultBranch}
	if repo.ID <= 0 {
		return repo, errors.New("payload names no repository")
	}
	return repo, checkPath(repo)
}

// checkSHA accepts an object's name in either of git's hash algorithms.
func checkSHA(field, sha string) error {
	const sha1, sha256 = 40, 64 // hexadecimal digits
	if len(sha) != sha1 && len(sha) != sha256 || strings.Trim(sha, "0123456789abcdef") != "" {
		return fmt.Errorf("payload's %s is no commit", field)
	}
	return nil
}

func checkOptionalSHA(field, sha string) error {
	if sha == "" {
		return nil
	}
	return checkSHA(field, sha)
}

// checkText refuses what could break out of a log line or a command's
// argument.
func checkText(field, text string) error {
	if len(text) > maxText || strings.IndexFunc(text, unicode.IsControl) >= 0 {
		return fmt.Errorf("payload's %s is too long or has control characters", field)
	}
	return nil
}
