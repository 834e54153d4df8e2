package github

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stanch-dev/stanch/checks/report"
)

// TestTokensAreNarrow: every token is for one repository and for one permission, the
// one that the call needs.
func TestTokensAreNarrow(t *testing.T) {
	for _, test := range []struct {
		name       string
		permission object
		call       func(context.Context, *Installation) error
	}{
		{"fetch", object{"contents": "read"}, func(ctx context.Context, i *Installation) error { _, err := i.GitToken(ctx, testRepo); return err }},
		{"file", object{"contents": "read"}, func(ctx context.Context, i *Installation) error {
			_, err := i.File(ctx, testRepo, "a", testSHA)
			return err
		}},
		{"authors", object{"contents": "read"}, func(ctx context.Context, i *Installation) error {
			_, err := i.CommitAuthors(ctx, testRepo, testSHA)
			return err
		}},
		{"start check", object{"checks": "write"}, func(ctx context.Context, i *Installation) error {
			_, err := i.EnsureCheck(ctx, testRepo, testSHA, "id", "")
			return err
		}},
		{"complete check", object{"checks": "write"}, func(ctx context.Context, i *Installation) error {
			return i.CompleteCheck(ctx, testRepo, 1, report.CheckRun{})
		}},
		{"reopen check", object{"checks": "write"}, func(ctx context.Context, i *Installation) error { return i.ReopenCheck(ctx, testRepo, 1) }},
		{"comment", object{"pull_requests": "write"}, func(ctx context.Context, i *Installation) error {
			_, err := i.UpsertComment(ctx, testRepo, 1, "mark", "mark")
			return err
		}},
		{"react", object{"pull_requests": "write"}, func(ctx context.Context, i *Installation) error { return i.React(ctx, testRepo, 1, Eyes) }},
		{"review", object{"pull_requests": "write"}, func(ctx context.Context, i *Installation) error {
			return i.Review(ctx, testRepo, 1, testSHA, "body", []ReviewComment{{Body: "mark"}})
		}},
		{"pull requests", object{"pull_requests": "read"}, func(ctx context.Context, i *Installation) error {
			_, err := i.PullsFor(ctx, testRepo, testSHA)
			return err
		}},
		{"permission", object{"metadata": "read"}, func(ctx context.Context, i *Installation) error {
			_, err := i.Permission(ctx, testRepo, Person{Login: "ann"})
			return err
		}},
		{"alert", object{"secret_scanning_alerts": "read"}, func(ctx context.Context, i *Installation) error { _, err := i.Alert(ctx, testRepo, 1); return err }},
		{"resolve alert", object{"secret_scanning_alerts": "write"}, func(ctx context.Context, i *Installation) error {
			return i.ResolveAlert(ctx, testRepo, 1, "dead")
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			s, app := newServer(t)
			_ = test.call(t.Context(), app.Installation(testInst)) // what is answered is no matter here
			if len(s.tokens) != 1 {
				t.Fatalf("%d tokens were asked for", len(s.tokens))
			}
			var asked object
			if err := json.Unmarshal([]byte(s.tokens[0].Body), &asked); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(object{"repository_ids": []any{9.0}, "permissions": test.permission}, asked); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestTokensAreKept: one is asked for each installation, repository and permission,
// however many need it at once.
func TestTokensAreKept(t *testing.T) {
	s, app := newServer(t)
	s.answer(anyComment, http.StatusCreated, object{"id": 1})
	other := Repository{ID: 10, Owner: "acme", Name: "other"}
	token := func(i *Installation, repo Repository) string {
		t.Helper()
		got, err := i.GitToken(t.Context(), repo)
		if err != nil {
			t.Fatal(err)
		}
		return got.Expose()
	}
	one, two := app.Installation(testInst), app.Installation(testInst+1)
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if got, err := one.GitToken(t.Context(), testRepo); err != nil || got.Expose() != "token-1" {
				t.Errorf("not the token that was asked for first: %v", err)
			}
		})
	}
	wg.Wait()
	if token(one, other) != "token-2" || token(two, testRepo) != "token-3" || token(one, testRepo) != "token-1" {
		t.Error("a token is used for what it was not asked for")
	}
	for range 3 {
		if err := ping(app); err != nil {
			t.Fatal(err)
		}
	}
	if got := s.requests[2].Header.Get("Authorization"); got != "token token-4" || len(s.tokens) != 4 {
		t.Errorf("the comment was sent with %q after %d tokens", got, len(s.tokens))
	}
	one.Renew()
	if token(one, testRepo) != "token-5" || token(two, testRepo) != "token-3" {
		t.Error("Renew did not ask for new tokens, or asked for another installation's")
	}
	_, elsewhere := newServer(t) // another host has its own
	if token(elsewhere.Installation(testInst), testRepo) != "token-1" || len(s.tokens) != 5 {
		t.Error("another host's token was used")
	}
}

// TestGitTokenLasts: git gets no token that ends during a scan.
func TestGitTokenLasts(t *testing.T) {
	s, app := newServer(t)
	i := app.Installation(testInst)
	token := func() string {
		t.Helper()
		got, err := i.GitToken(t.Context(), testRepo)
		if err != nil {
			t.Fatal(err)
		}
		return got.Expose()
	}
	age := func(d time.Duration) {
		for scope, kept := range i.tokens.kept {
			kept.made = time.Now().Add(-d)
			i.tokens.kept[scope] = kept
		}
	}
	first := token()
	age(maxTokenAge - time.Minute)
	if token() != first {
		t.Error("a token that is good for a scan was given up")
	}
	age(maxTokenAge + time.Minute)
	if second := token(); second == first || token() != second || len(s.tokens) != 2 {
		t.Errorf("%d tokens were asked for", len(s.tokens))
	}
}

// TestTokensAreBounded: many repositories do not fill the memory.
func TestTokensAreBounded(t *testing.T) {
	_, app := newServer(t)
	i := app.Installation(testInst)
	for id := range int64(maxTokens + 10) {
		i.tokens.of(readContents.in(Repository{ID: id + 1}))
	}
	if n := len(i.tokens.kept); n != maxTokens {
		t.Errorf("%d tokens are kept", n)
	}
}

// TestTokenWithoutPermission: what the installation was not given can be told from a
// repository that it does not have.
func TestTokenWithoutPermission(t *testing.T) {
	s, app := newServer(t)
	s.refuseToken = refuse(422, nil, `{"message":"The permissions requested are not granted to this installation."}`)
	if err := ping(app); !errors.Is(err, ErrForbidden) || errors.Is(err, ErrGone) {
		t.Errorf("got %v", err)
	}
	s.refuseToken = refuse(422, nil, `{"message":"There is at least one repository that does not exist or is not accessible to the parent installation."}`)
	if err := ping(app); !errors.Is(err, ErrNotFound) || strings.Contains(err.Error(), "hello") {
		t.Errorf("got %v", err)
	}
}
