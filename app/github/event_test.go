package github

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/google/go-cmp/cmp"
)

var (
	zeros   = strings.Repeat("0", 40)
	longSHA = strings.Repeat("ab", 32)
)

// payload is JSON with "SHA" and "ZEROS" standing for commits.
func payload(text string) []byte {
	return []byte(strings.NewReplacer("'SHA'", `"`+testSHA+`"`, "'LONG'", `"`+longSHA+`"`, "'ZEROS'", `"`+zeros+`"`, "'", `"`).Replace(text))
}

const repoJSON = `'repository':{'id':9,'name':'shop','full_name':'acme/shop','private':true,'default_branch':'main','owner':{'login':'acme'},'created_at':1}`

var parsedRepo = Repository{ID: 9, Owner: "acme", Name: "shop", Private: true, DefaultBranch: "main"}

var parseTests = []struct {
	name, event, body string
	want              Event
}{
	{
		"push", "push",
		`{'ref':'refs/heads/main','before':'SHA','after':'LONG','forced':true,'head_commit':{'id':'LONG','message':'m'},
		  'commits':[{'id':3}],'installation':{'id':5},` + strings.Replace(repoJSON, "'created_at':1", "'created_at':1,'pushed_at':1557933657", 1) + `}`,
		Push{
			Ref: "refs/heads/main", Before: testSHA, After: longSHA, HeadCommit: longSHA, Forced: true, Repository: parsedRepo, Installation: 5,
			Pushed: time.Unix(1557933657, 0).UTC(),
		},
	},
	{
		"deleted branch, owner without login", "push",
		`{'ref':'refs/heads/x','before':'SHA','after':'ZEROS','deleted':true,'head_commit':null,
		  'repository':{'id':9,'name':'shop','full_name':'acme/shop','owner':{'name':'acme'},'pushed_at':'2020-01-01'}}`,
		Push{Ref: "refs/heads/x", Before: testSHA, After: zeros, Deleted: true, Repository: Repository{ID: 9, Owner: "acme", Name: "shop"}},
	},
	{
		"pull request", "pull_request",
		`{'action':'synchronize','number':3,'before':'LONG','after':'SHA','installation':{'id':5},` + repoJSON + `,
		  'pull_request':{'number':3,'head':{'ref':'x','sha':'SHA','repo':{'id':9,'pushed_at':'2019-05-15T17:20:57+02:00'}},'base':{'ref':'main','sha':'LONG'}}}`,
		PullRequest{
			Action: "synchronize", Number: 3, HeadSHA: testSHA, BaseSHA: longSHA, HeadRef: "x", BaseRef: "main",
			Before: longSHA, After: testSHA, Repository: parsedRepo, Installation: 5, Pushed: time.Unix(1557933657, 0).UTC(),
		},
	},
	{
		"pull request from a fork that is gone, to another base", "pull_request",
		`{'action':'edited','number':3,'changes':{'base':{'ref':{'from':'old'}}},'pull_request':
		  {'head':{'ref':'x','sha':'SHA','repo':null},'base':{'ref':'main','sha':'SHA','repo':{'id':9,'name':'shop','owner':{'login':'acme'}}}}}`,
		PullRequest{
			Action: "edited", Number: 3, HeadSHA: testSHA, BaseSHA: testSHA, HeadRef: "x", BaseRef: "main",
			BaseChanged: true, Fork: true, Repository: Repository{ID: 9, Owner: "acme", Name: "shop"},
		},
	},
	{
		"pull request from a fork, new title", "pull_request",
		`{'action':'edited','number':3,'changes':{'title':{'from':'old'}},` + repoJSON + `,
		  'pull_request':{'head':{'ref':'x','sha':'SHA','repo':{'id':10}},'base':{'ref':'main','sha':'SHA'}}}`,
		PullRequest{Action: "edited", Number: 3, HeadSHA: testSHA, BaseSHA: testSHA, HeadRef: "x", BaseRef: "main", Fork: true, Repository: parsedRepo},
	},
	{
		"button", "check_run",
		`{'action':'requested_action','requested_action':{'identifier':'rotate:1'},'sender':{'login':'ann','type':'User'},'installation':{'id':5},
		  'check_run':{'id':12,'external_id':'job-1','head_sha':'SHA','app':{'id':77}},` + repoJSON + `}`,
		CheckRunEvent{
			Action: "requested_action", Identifier: "rotate:1", CheckRunID: 12, ExternalID: "job-1", HeadSHA: testSHA,
			AppID: 77, Sender: Person{Login: "ann"}, SenderType: "User", Repository: parsedRepo, Installation: 5,
		},
	},
	{
		"installation", "installation", `{'action':'deleted','installation':{'id':5,'created_at':1}}`,
		InstallationEvent{Action: "deleted", Installation: 5},
	},
	{
		"repositories added and removed", "installation_repositories",
		`{'action':'added','installation':{'id':5},'repositories_added':[{'id':9,'name':'shop','full_name':'acme/shop','private':true}],
		  'repositories_removed':[{'id':8,'name':'old','full_name':'acme/old'}]}`,
		InstallationEvent{
			Action: "added", Installation: 5,
			Added:   []Repository{{ID: 9, Owner: "acme", Name: "shop", Private: true}},
			Removed: []Repository{{ID: 8, Owner: "acme", Name: "old"}},
		},
	},
	{
		"merge group", "merge_group",
		`{'action':'checks_requested','merge_group':{'head_sha':'SHA','base_sha':'LONG','base_ref':'refs/heads/main'},'installation':{'id':5},` + repoJSON + `}`,
		MergeGroup{Action: "checks_requested", HeadSHA: testSHA, BaseSHA: longSHA, BaseRef: "main", Repository: parsedRepo, Installation: 5},
	},
	{
		"check suite", "check_suite",
		`{'action':'rerequested','check_suite':{'head_sha':'SHA','app':{'id':77}},'sender':{'login':'ann'},'installation':{'id':5},` + repoJSON + `}`,
		CheckSuiteEvent{Action: "rerequested", HeadSHA: testSHA, AppID: 77, Sender: "ann", Repository: parsedRepo, Installation: 5},
	},
	{
		"renamed repository", "repository", `{'action':'renamed','changes':{'repository':{'name':{'from':'old'}}},'installation':{'id':5},` + repoJSON + `}`,
		RepositoryEvent{Action: "renamed", Repository: parsedRepo, Installation: 5},
	},
	{
		"alert", "secret_scanning_alert", `{'action':'created','alert':{'number':3},'sender':{'login':'github'},'installation':{'id':5},` + repoJSON + `}`,
		AlertEvent{Action: "created", Number: 3, Sender: "github", Repository: parsedRepo, Installation: 5},
	},
	{"unheard-of", "brand_new", `{'sender':{}}`, Other{Event: "brand_new"}},
}

func TestParseEvent(t *testing.T) {
	for _, tt := range parseTests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := ParseEvent(tt.event, payload(tt.body))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestParseEventRefuses(t *testing.T) {
	push := func(ref, before, after, rest string) string {
		return fmt.Sprintf(`{'ref':'%s','before':%s,'after':%s%s}`, ref, before, after, rest)
	}
	repo := "," + repoJSON
	for _, tt := range []struct{ name, event, body string }{
		{"nothing", "push", ``},
		{"no JSON", "installation", `{'action':`},
		{"two objects", "installation", `{}{}`},
		{"null", "installation", `null`},
		{"a list", "installation", `[]`},
		{"a wrong type", "push", `{'ref':5}`},
		{"no commits", "push", `{'ref':'refs/heads/x'` + repo + `}`},
		{"a short commit", "push", push("refs/heads/x", `'abc'`, `'SHA'`, repo)},
		{"an option for a commit", "push", push("refs/heads/x", `'--upload-pack=x'`, `'SHA'`, repo)},
		{"a commit in capitals", "push", push("refs/heads/x", `'`+strings.Repeat("A", 40)+`'`, `'SHA'`, repo)},
		{"a wrong head commit", "push", push("refs/heads/x", `'SHA'`, `'SHA'`, `,'head_commit':{'id':'x'}`+repo)},
		{"a line in a ref", "push", push(`refs/heads/x\ny`, `'SHA'`, `'SHA'`, repo)},
		{"an escape in a ref", "push", push(`refs/heads/x\u001b[2J`, `'SHA'`, `'SHA'`, repo)},
		{"an endless ref", "push", push("refs/heads/"+strings.Repeat("x", 2000), `'SHA'`, `'SHA'`, repo)},
		{"no repository", "push", push("refs/heads/x", `'SHA'`, `'SHA'`, ``)},
		{"a repository that climbs", "push", push("refs/heads/x", `'SHA'`, `'SHA'`, `,'repository':{'id':9,'name':'..','owner':{'login':'acme'}}`)},
		{"an owner that climbs", "push", push("refs/heads/x", `'SHA'`, `'SHA'`, `,'repository':{'id':9,'name':'shop','owner':{'login':'a/b'}}`)},
		{"no pull request", "pull_request", `{'action':'opened'` + repo + `}`},
		{"no head", "pull_request", `{'action':'opened','number':1,'pull_request':{}` + repo + `}`},
		{"no check run", "check_run", `{'action':'created'` + repo + `}`},
		{"no check suite", "check_suite", `{'action':'rerequested'` + repo + `}`},
		{"a group without a commit", "merge_group", `{'action':'checks_requested','merge_group':{'head_sha':'SHA'}` + repo + `}`},
		{"an alert without a number", "secret_scanning_alert", `{'action':'created','alert':{}` + repo + `}`},
		{"an added repository that climbs", "installation", `{'action':'created','repositories':[{'id':9,'full_name':'acme/..','name':'..'}]}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got, err := ParseEvent(tt.event, payload(tt.body)); err == nil || got != nil {
				t.Errorf("got %+v, %v", got, err)
			}
		})
	}
}

// Commit messages may hold anything, a secret too.
func TestParseEventErrorsDoNotQuote(t *testing.T) {
	for _, body := range []string{
		`{'ref':{'hush-hush':1}}`, `{'ref':'hush-hush','before':'hush-hush','after':'hush-hush',` + repoJSON + `}`, `{'x':hush-hush}`,
	} {
		if _, err := ParseEvent("push", payload(body)); err == nil || strings.Contains(err.Error(), "hush") {
			t.Errorf("got %v", err)
		}
	}
}

// examples reads GitHub's own payloads: index.json of the folder api.github.com in the
// npm package @octokit/webhooks-examples. Without it there are none.
func examples(t testing.TB) map[string][]json.RawMessage {
	t.Helper()
	path := os.Getenv(examplesVariable)
	if path == "" {
		return nil
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var events []struct {
		Name     string            `json:"name"`
		Examples []json.RawMessage `json:"examples"`
	}
	if err := json.Unmarshal(data, &events); err != nil {
		t.Fatal(err)
	}
	all := map[string][]json.RawMessage{}
	for _, e := range events {
		all[e.Name] = append(all[e.Name], e.Examples...)
	}
	return all
}

const examplesVariable = "STANCH_WEBHOOK_EXAMPLES"

func TestParseGitHubsExamples(t *testing.T) {
	all := examples(t)
	if all == nil {
		if os.Getenv("STANCH_CI") == "1" {
			t.Fatalf("%s is not set", examplesVariable)
		}
		t.Skipf("%s does not name api.github.com/index.json of @octokit/webhooks-examples", examplesVariable)
	}
	kinds := map[string]int{}
	for name, bodies := range all {
		for n, body := range bodies {
			got, err := ParseEvent(name, body)
			if err != nil {
				t.Errorf("%s example %d: %v", name, n, err)
			}
			kinds[fmt.Sprintf("%T", got)]++
		}
	}
	for _, kind := range []string{"github.Push", "github.PullRequest", "github.CheckRunEvent", "github.Other"} {
		if kinds[kind] == 0 {
			t.Errorf("no example became a %s", kind)
		}
	}
	t.Log(kinds)
}

// FuzzParseEvent: what is read can be relied on, and errors do not quote.
func FuzzParseEvent(f *testing.F) {
	for _, tt := range parseTests {
		f.Add(tt.event, payload(tt.body))
	}
	f.Add("push", []byte(`{"ref":"refs/heads/\u0000","repository":null}`))
	for name, bodies := range examples(f) {
		for _, body := range bodies {
			f.Add(name, []byte(body))
		}
	}
	f.Fuzz(func(t *testing.T, name string, body []byte) {
		event, err := ParseEvent(name, body)
		if (event == nil) == (err == nil) {
			t.Fatalf("got %v and %v", event, err)
		}
		if err != nil {
			if len(err.Error()) > len(name)+200 {
				t.Errorf("a long error: %v", err)
			}
			return
		}
		checkEvent(t, event)
	})
}

func checkEvent(t *testing.T, event Event) {
	t.Helper()
	switch e := event.(type) {
	case Push:
		checkFuzzed(t, e.Repository, []string{e.Before, e.After}, e.Ref)
	case PullRequest:
		checkFuzzed(t, e.Repository, []string{e.HeadSHA, e.BaseSHA}, e.HeadRef, e.BaseRef, e.Action)
	case CheckRunEvent:
		checkFuzzed(t, e.Repository, []string{e.HeadSHA}, e.Identifier, e.Sender.Login, e.Action)
	case MergeGroup:
		checkFuzzed(t, e.Repository, []string{e.HeadSHA, e.BaseSHA}, e.BaseRef, e.Action)
	case CheckSuiteEvent:
		checkFuzzed(t, e.Repository, []string{e.HeadSHA}, e.Action, e.Sender)
	case IssueComment:
		checkFuzzed(t, e.Repository, nil, e.Action, e.Sender.Login)
	case InstallationEvent:
		for _, repo := range append(e.Added, e.Removed...) {
			checkFuzzed(t, repo, nil, e.Action)
		}
	case RepositoryEvent:
		checkFuzzed(t, e.Repository, nil, e.Action)
	case AlertEvent:
		checkFuzzed(t, e.Repository, nil, e.Action, e.Sender)
	case Other:
		checkFuzzed(t, parsedRepo, nil, e.Action)
	default:
		t.Errorf("an event of type %T", event)
	}
}

// checkFuzzed checks what the rest of the program relies on.
func checkFuzzed(t *testing.T, repo Repository, commits []string, texts ...string) {
	t.Helper()
	if repo.ID <= 0 || strings.ContainsAny(repo.FullName(), "?#% \n\\") || strings.Count(repo.FullName(), "/") != 1 {
		t.Errorf("repository %+v", repo)
	}
	for _, sha := range commits {
		if len(sha) != 40 && len(sha) != 64 || strings.HasPrefix(sha, "-") {
			t.Errorf("commit %q", sha)
		}
	}
	for _, text := range texts {
		if strings.ContainsFunc(text, unicode.IsControl) {
			t.Errorf("text %q", text)
		}
	}
}
