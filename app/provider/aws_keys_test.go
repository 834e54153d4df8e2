package provider

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stanch-dev/stanch/app/ownaws"
	"github.com/stanch-dev/stanch/app/ownaws/awstest"
	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/rules"
)

// repeat does something to a key, as often as there are meanings.
func repeat(t *testing.T, do func() (Receipt, error), meanings ...rules.Meaning) Receipt {
	t.Helper()
	var last Receipt
	for _, want := range meanings {
		got, err := do()
		if err != nil || got.Meaning != want || got.Evidence.Answer == "" {
			t.Fatalf("%+v, %v; want %s", got, err, want)
		}
		last = got
	}
	return last
}

// One press kills the leaked key, whichever of the two it is, and nothing else.
func TestAWSOnePress(t *testing.T) {
	w := newAWSWorld(t)
	p := w.providers(Config{})
	revoke := func(old Target) func() (Receipt, error) {
		return func() (Receipt, error) { return p.Revoke(t.Context(), old) }
	}
	disable := func(old Target) func() (Receipt, error) {
		return func() (Receipt, error) { return p.Disable(t.Context(), old) }
	}
	t.Run("the only key", func(t *testing.T) {
		w.User("alone")
		old := w.leak(p, "alone")
		_, fresh, err := replace(p, old, "op-alone")
		if err != nil {
			t.Fatal(err)
		}
		ask(t, p, fresh, checks.Active, GradeA)
		ask(t, p, old.Credential, checks.Active, GradeA)
		repeat(t, disable(old), rules.MeansAccepted, rules.MeansAccepted)
		ask(t, p, old.Credential, checks.Inactive, GradeB)
		ask(t, p, fresh, checks.Active, GradeA)
		denied := w.IAM("GetUserPolicy", "UserName", "alone", "PolicyName", denyPolicy)
		if !strings.Contains(denied, "aws%3ATokenIssueTime") && !strings.Contains(denied, "aws:TokenIssueTime") {
			t.Errorf("sessions are not ended: %s", denied)
		}
		repeat(t, func() (Receipt, error) { return p.Enable(t.Context(), old) }, rules.MeansAccepted, rules.MeansAccepted)
		ask(t, p, old.Credential, checks.Active, GradeA)
		if names := w.IAM("ListUserPolicies", "UserName", "alone"); strings.Contains(names, denyPolicy) {
			t.Errorf("the sessions are denied still: %s", names)
		}
		repeat(t, disable(old), rules.MeansAccepted)
		repeat(t, revoke(old), rules.MeansRevoked, rules.MeansAlreadyDead)
		ask(t, p, old.Credential, checks.Inactive, GradeB)
		ask(t, p, fresh, checks.Active, GradeA)
		if _, err := p.Enable(t.Context(), old); !errors.Is(err, ErrCannotDisable) {
			t.Errorf("a deleted key was enabled: %v", err)
		}
		repeat(t, disable(old), rules.MeansAlreadyDead)
	})
	for name, newer := range map[string]bool{"leaked current": true, "leaked oldest": false} {
		t.Run(name, func(t *testing.T) {
			user := strings.ReplaceAll(name, " ", "-")
			w.User(user)
			leaked, other := w.leak(p, user), w.leak(p, user)
			if newer {
				leaked, other = other, leaked
			}
			otherID := other.Parts["id"].Expose()
			_, _, err := replace(p, leaked, "op-full")
			if !errors.Is(err, ErrCannotIssue) || !strings.Contains(err.Error(), "delete-access-key --user-name "+user+" --access-key-id "+otherID) {
				t.Errorf("both places are taken: %v", err)
			}
			repeat(t, revoke(leaked), rules.MeansRevoked, rules.MeansAlreadyDead)
			ask(t, p, leaked.Credential, checks.Inactive, GradeB)
			ask(t, p, other.Credential, checks.Active, GradeA)
			_, fresh, err := replace(p, leaked, "op-now")
			if err != nil {
				t.Fatal(err)
			}
			ask(t, p, fresh, checks.Active, GradeA)
			ask(t, p, other.Credential, checks.Active, GradeA)
			if keys := w.Keys(user); len(keys) != 2 || keys[otherID] != "Active" {
				t.Errorf("keys %v", keys)
			}
		})
	}
	t.Run("the other one is inactive and unused", func(t *testing.T) {
		w.User("spare")
		leaked := w.leak(p, "spare")
		id, _ := w.Key("spare")
		w.IAM("UpdateAccessKey", "UserName", "spare", "AccessKeyId", id, "Status", "Inactive")
		_, _, err := replace(p, leaked, "op")
		if !errors.Is(err, ErrCannotIssue) || !strings.Contains(err.Error(), id+" is inactive and was never used") {
			t.Errorf("%v", err)
		}
		if keys := w.Keys("spare"); len(keys) != 2 {
			t.Errorf("keys %v", keys)
		}
	})
	t.Run("quarantined", func(t *testing.T) {
		w.User("caught")
		policy := awstest.Between(w.IAM("CreatePolicy", "PolicyName", quarantined+"V3", "PolicyDocument", `{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":"iam:CreateAccessKey","Resource":"*"}]}`), "<Arn>", "<")
		w.IAM("AttachUserPolicy", "UserName", "caught", "PolicyArn", policy)
		old := w.leak(p, "caught")
		if _, fresh, err := replace(p, old, "op"); err != nil {
			t.Error(err)
		} else {
			ask(t, p, fresh, checks.Active, GradeA)
		}
		if got := repeat(t, disable(old), rules.MeansAccepted); !strings.Contains(got.Evidence.Answer, "until "+quarantined+"V3 is detached") {
			t.Errorf("not said: %s", got.Evidence.Answer)
		}
		repeat(t, revoke(old), rules.MeansRevoked)
		ask(t, p, old.Credential, checks.Inactive, GradeB)
	})
	t.Run("the answer is lost on the way", func(t *testing.T) {
		w.User("lossy")
		old := w.leak(p, "lossy")
		for _, action := range []string{"UpdateAccessKey", "PutUserPolicy", "DeleteAccessKey", "ListAccessKeys"} {
			w.Lose(action, 1)
		}
		repeat(t, disable(old), rules.MeansAccepted)
		repeat(t, revoke(old), rules.MeansRevoked)
		if keys := w.Keys("lossy"); len(keys) != 0 {
			t.Errorf("keys %v", keys)
		}
	})
	t.Run("last use", func(t *testing.T) {
		w.User("idle")
		old := w.leak(p, "idle")
		use, known, err := p.LastUse(t.Context(), old)
		if err != nil || !known || !use.At.IsZero() {
			t.Errorf("%+v, %t, %v; want never", use, known, err)
		}
		w.On("GetAccessKeyLastUsed", func(rw http.ResponseWriter, _ *http.Request) {
			answer(rw, 200, "text/xml", `<GetAccessKeyLastUsedResponse><GetAccessKeyLastUsedResult><UserName>idle</UserName><AccessKeyLastUsed><LastUsedDate>2026-11-01T10:00:00Z</LastUsedDate><ServiceName>s3</ServiceName><Region>eu-west-1</Region></AccessKeyLastUsed></GetAccessKeyLastUsedResult></GetAccessKeyLastUsedResponse>`)
		})
		defer w.On("GetAccessKeyLastUsed", nil)
		use, _, err = p.LastUse(t.Context(), old)
		if err != nil || !use.At.Equal(time.Date(2026, 11, 1, 10, 0, 0, 0, time.UTC)) || use.By != "s3 in eu-west-1" {
			t.Errorf("%+v, %v", use, err)
		}
		if got := p.Holds(old); got != "arn:aws:iam::"+awstest.Account+":user/idle" {
			t.Errorf("holds %q", got)
		}
	})
}

func TestAWSNotOn(t *testing.T) {
	p := newProviders(t, Config{})
	can := p.Can("aws-access-key")
	if can.Revoke || can.Issue || can.Reversible || !strings.Contains(can.Reason, "STANCH_AWS") {
		t.Errorf("%+v", can)
	}
	p = newProviders(t, Config{AWS: ownaws.New(ownaws.Config{})})
	calls := p.Calls("aws-access-key")
	for _, call := range []string{calls.Disable, calls.Enable, calls.Revoke, calls.Issue} {
		if !strings.HasPrefix(call, "iam:") {
			t.Errorf("calls %+v", calls)
		}
	}
	can = p.Can("aws-access-key")
	if !can.Verify || !can.Revoke || !can.Issue || !can.Reversible {
		t.Errorf("%+v", can)
	}
}
