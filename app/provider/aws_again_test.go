package provider

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stanch-dev/stanch/checks"
)

// lost asks for a replacement, and does not get the answer.
func (w *awsWorld) lost(p *Providers, old Target, operation string) Request {
	w.t.Helper()
	w.Lose("CreateAccessKey", 1)
	r, _, err := replace(p, old, operation)
	if err == nil || errors.Is(err, ErrCannotIssue) || errors.As(err, new(*UnsettledError)) {
		w.t.Fatalf("%v; want an error after which the request may be sent again", err)
	}
	r.Again = true
	return r
}

// What came of a request whose answer was lost is looked up, and never guessed.
func TestAWSAgain(t *testing.T) {
	w := newAWSWorld(t)
	ahead := time.Duration(0)
	p := w.providers(Config{Now: func() time.Time { return time.Now().Add(ahead) }})
	leaky := func(t *testing.T) (user string, old Target) {
		w.under(t)
		ahead = 0
		user = "u" + strings.NewReplacer("/", "-", "_", "-").Replace(t.Name()[len("TestAWSAgain/"):])
		w.User(user)
		return user, w.leak(p, user)
	}
	// only checks that the user has the leaked key and these.
	only := func(t *testing.T, user string, old Target, more ...string) {
		t.Helper()
		keys := w.Keys(user)
		want := append(more, old.Parts["id"].Expose())
		for _, id := range want {
			if keys[id] != "Active" {
				t.Errorf("%s is %q", id, keys[id])
			}
		}
		if len(keys) != len(want) {
			t.Errorf("keys %v, want %q", keys, want)
		}
	}
	t.Run("the key was made", func(t *testing.T) {
		user, old := leaky(t)
		r := w.lost(p, old, "0198-made")
		if len(w.Keys(user)) != 2 {
			t.Fatal("moto made no key")
		}
		fresh, err := p.Issue(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		ask(t, p, fresh, checks.Active, GradeA)
		only(t, user, old, fresh.Parts["id"].Expose())
	})
	t.Run("nothing was made", func(t *testing.T) {
		user, old := leaky(t)
		w.On("CreateAccessKey", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
		r, _, err := replace(p, old, "0198-none")
		w.On("CreateAccessKey", nil)
		if err == nil || errors.Is(err, ErrCannotIssue) {
			t.Fatalf("%v", err)
		}
		r.Again = true
		fresh, err := p.Issue(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		only(t, user, old, fresh.Parts["id"].Expose())
	})
	t.Run("the list lags behind", func(t *testing.T) {
		user, old := leaky(t)
		r := w.lost(p, old, "0198-lag")
		looks := 0
		w.On("ListAccessKeys", func(rw http.ResponseWriter, r *http.Request) {
			if looks++; looks < 3 { // find, list
				answer(rw, 200, "text/xml", listOf(user, old.Parts["id"].Expose()))
				return
			}
			answer(rw, 200, "text/xml", w.IAM("ListAccessKeys", "UserName", user))
		})
		fresh, err := p.Issue(t.Context(), r)
		w.On("ListAccessKeys", nil)
		if err != nil {
			t.Fatal(err)
		}
		only(t, user, old, fresh.Parts["id"].Expose())
	})
	t.Run("somebody else made one", func(t *testing.T) {
		user, old := leaky(t)
		w.On("CreateAccessKey", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
		r, _, _ := replace(p, old, "0198-other")
		w.On("CreateAccessKey", nil)
		theirs, _ := w.Key(user)
		w.Trail(theirs, user, "Boto3/1.40 app/stanch-0198-othe")
		r.Again = true
		_, err := p.Issue(t.Context(), r)
		if !errors.Is(err, ErrCannotIssue) || !strings.Contains(err.Error(), theirs) {
			t.Errorf("%v", err)
		}
		only(t, user, old, theirs)
	})
	for name, spoil := range map[string]func(id string){
		"CloudTrail may not be asked": func(string) {
			w.On("LookupEvents", func(rw http.ResponseWriter, _ *http.Request) {
				answer(rw, 400, "application/x-amz-json-1.1", `{"__type":"AccessDeniedException","Message":"no"}`)
			})
		},
		"CloudTrail never knows": func(string) { w.HideTrail(); ahead = trailWithin + time.Minute },
		"somebody has used it": func(string) {
			w.On("GetAccessKeyLastUsed", func(rw http.ResponseWriter, _ *http.Request) {
				answer(rw, 200, "text/xml", `<GetAccessKeyLastUsedResponse><GetAccessKeyLastUsedResult><AccessKeyLastUsed><LastUsedDate>2026-11-27T10:00:00Z</LastUsedDate></AccessKeyLastUsed></GetAccessKeyLastUsedResult></GetAccessKeyLastUsedResponse>`)
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			user, old := leaky(t)
			r := w.lost(p, old, "0198-person")
			orphan := ""
			for id := range w.Keys(user) {
				if id != old.Parts["id"].Expose() {
					orphan = id
				}
			}
			spoil(orphan)
			_, err := p.Issue(t.Context(), r)
			w.On("LookupEvents", nil)
			w.On("GetAccessKeyLastUsed", nil)
			unsettled := new(UnsettledError)
			if !errors.As(err, &unsettled) || !strings.Contains(unsettled.Look, "delete-access-key --user-name "+user+" --access-key-id "+orphan) {
				t.Errorf("%v; want a person to look at %s", err, orphan)
			}
			only(t, user, old, orphan)
		})
	}
	t.Run("CloudTrail does not know yet", func(t *testing.T) {
		user, old := leaky(t)
		r := w.lost(p, old, "0198-later")
		show := w.HideTrail()
		if _, err := p.Issue(t.Context(), r); !errors.Is(err, errNotYet) || errors.Is(err, ErrCannotIssue) {
			t.Errorf("%v, want to be asked again later", err)
		}
		show()
		fresh, err := p.Issue(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		only(t, user, old, fresh.Parts["id"].Expose())
	})
	t.Run("the server is in trouble", func(t *testing.T) {
		user, old := leaky(t)
		w.On("CreateAccessKey", iamError(500, "ServiceFailure", "try later"))
		_, _, err := replace(p, old, "0198-500")
		w.On("CreateAccessKey", nil)
		if err == nil || errors.Is(err, ErrCannotIssue) {
			t.Errorf("%v says that nothing was made", err)
		}
		if n := len(slices.DeleteFunc(w.Requests("CreateAccessKey"), func(a string) bool { return !strings.Contains(a, user) })); n != 1 {
			t.Errorf("asked %d times for one key", n)
		}
	})
}

// listOf is IAM's list of a user's keys.
func listOf(user string, ids ...string) string {
	var members strings.Builder
	for n, id := range ids {
		owner, key, _ := strings.Cut(id, ":")
		if key == "" {
			owner, key = user, id
		}
		fmt.Fprintf(&members, "<member><UserName>%s</UserName><AccessKeyId>%s</AccessKeyId><Status>Active</Status><CreateDate>2026-11-0%dT00:00:00Z</CreateDate></member>", owner, key, n+1)
	}
	return "<ListAccessKeysResponse><ListAccessKeysResult><AccessKeyMetadata>" + members.String() + "</AccessKeyMetadata><IsTruncated>false</IsTruncated></ListAccessKeysResult></ListAccessKeysResponse>"
}
