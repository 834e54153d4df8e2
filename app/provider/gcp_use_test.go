package provider

import (
	"strings"
	"testing"
	"time"

	"github.com/stanch-dev/stanch/app/cloud/cloudtest"
	"github.com/stanch-dev/stanch/checks"
)

// Google tells the last use of the leaked key, by day and some days late, of the key under
// all of its ids, and of no other.
func TestGoogleKeyLastUse(t *testing.T) {
	f := newFakeIAM(t)
	p := f.providers()
	until := time.Date(2026, 11, 25, 7, 0, 0, 0, time.UTC)
	analyzer := cloudtest.NewKeyUse(f.IAM, until)
	other, _ := f.add(robot, pooledRSA(1), "USER_MANAGED")
	id, leaked := f.add(robot, pooledRSA(0), "USER_MANAGED")
	first, second := until.AddDate(0, 0, -9), until.AddDate(0, 0, -3)
	ask := func(want time.Time, known bool, says string) {
		t.Helper()
		use, got, err := p.LastUse(t.Context(), Target{Credential: leaked})
		if err != nil || got != known || !use.At.Equal(want) || !strings.Contains(use.Partial+use.Evidence.Answer, says) {
			t.Errorf("%+v, %t, %v; want %s, %t, %q", use, got, err, want, known, says)
		}
		if known && (use.Partial == "" || use.Evidence.Status != 200) {
			t.Errorf("what Google does not tell is not said: %+v", use)
		}
	}
	ask(time.Time{}, false, "not looked yet")
	f.Do(func() { analyzer.Used[other], analyzer.Used[id] = until, time.Time{} })
	ask(time.Time{}, true, "no use since 2026-11-25 yet")
	f.Do(func() { analyzer.Used[id] = first })
	ask(first, true, "none outside Google Cloud")
	again, _ := f.add(robot, pooledRSA(0), "USER_MANAGED")
	ask(time.Time{}, false, "not looked yet") // at the key's other id
	f.Do(func() { analyzer.Used[again] = second })
	ask(second, true, "2026-11-25")
	f.Do(func() { analyzer.Off = true })
	ask(time.Time{}, false, "Policy Analyzer API is not enabled")
	leaked.Parts["id"] = checks.NewSecret(other)
	ask(time.Time{}, false, errMixed.Error())
	delete(leaked.Parts, "id")
	if _, err := p.Revoke(t.Context(), Target{Credential: leaked}); err != nil {
		t.Fatal(err)
	}
	ask(time.Time{}, false, "no such key")
}
