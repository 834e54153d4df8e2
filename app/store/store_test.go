package store

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stanch-dev/stanch/app/audit"
	"github.com/stanch-dev/stanch/app/github"
	"github.com/stanch-dev/stanch/app/incident"
	"github.com/stanch-dev/stanch/checks"
)

var quiet = slog.New(slog.DiscardHandler)

func newKeys(t testing.TB, seed byte) Keys {
	t.Helper()
	keys, err := NewKeys(bytes.Repeat([]byte{seed}, masterKeySize))
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

func newStore(t testing.TB, path string) *Store {
	t.Helper()
	return openStore(t, "sqlite:"+path)
}

func openStore(t testing.TB, url string) *Store {
	t.Helper()
	s, err := Open(t.Context(), url, newKeys(t, 1), quiet)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func inTx(t testing.TB, s *Store, f func(*Tx) error) {
	t.Helper()
	if err := s.InTx(t.Context(), f); err != nil {
		t.Fatal(err)
	}
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a.db")
	s := newStore(t, path)

	if _, err := Open(t.Context(), "sqlite:"+path, newKeys(t, 1), quiet); err == nil || !strings.Contains(err.Error(), "another stanch") {
		t.Errorf("opening an open database: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), "sqlite:"+path, newKeys(t, 2), quiet); err == nil || !strings.Contains(err.Error(), "another master key") {
		t.Errorf("opening with another key: %v", err)
	}
	for _, url := range []string{"", "stanch.db", "sqlite:", "mysql://u:%s@h/d", "postgres://u:%s@h/d"} {
		url = strings.ReplaceAll(url, "%s", "geheim")
		if _, err := Open(t.Context(), url, newKeys(t, 1), quiet); err == nil || strings.Contains(err.Error(), "geheim") {
			t.Errorf("opening %q: %v", url, err)
		}
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("database file: %v, %v; want mode 0600", info.Mode(), err)
	}
	newStore(t, path).Close() // and the right key still opens it
}

func TestLoadKey(t *testing.T) {
	path := filepath.Join(t.TempDir(), "stanch.key")
	made, err := LoadKey(path)
	if err != nil {
		t.Fatal(err)
	}
	again, err := LoadKey(path)
	if err != nil || !bytes.Equal(made, again) || len(made) != masterKeySize {
		t.Fatalf("loaded %d bytes, then %d: %v", len(made), len(again), err)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadKey(path); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("a key that others can read: %v", err)
	}
	if _, err := DecodeKey("not base64!"); err == nil {
		t.Error("a key that is not base64: no error")
	}
	if _, err := NewKeys([]byte("short")); err == nil {
		t.Error("a short key: no error")
	}
}

func TestDeliveryIsRecordedOnce(t *testing.T) { inStores(t, testDeliveryIsRecordedOnce) }

func testDeliveryIsRecordedOnce(t *testing.T, s *Store) {
	d := Delivery{ID: "guid", Event: "push", Installation: 7, Received: time.Unix(100, 0).UTC(), Outcome: "queued"}
	for n := range 3 {
		inTx(t, s, func(tx *Tx) error {
			fresh, err := tx.RecordDelivery(t.Context(), d)
			if fresh != (n == 0) {
				t.Errorf("delivery %d: fresh = %v", n, fresh)
			}
			return err
		})
	}
	got, err := s.Delivery(t.Context(), "guid")
	if err != nil || got != d {
		t.Errorf("Delivery = %+v, %v; want %+v", got, err, d)
	}
	if _, err := s.Delivery(t.Context(), "other"); !errors.Is(err, ErrNotFound) {
		t.Errorf("unknown delivery: %v", err)
	}
}

// scanOf records a delivery with its check and scan.
func scanOf(t testing.TB, s *Store, delivery, sha string, pulls ...int) Check {
	t.Helper()
	var check Check
	inTx(t, s, func(tx *Tx) (err error) {
		if _, err = tx.RecordDelivery(t.Context(), Delivery{ID: delivery}); err != nil {
			return err
		}
		if check, err = tx.EnsureCheck(t.Context(), Check{
			Installation: 7, Repository: github.Repository{ID: 9, Owner: "o", Name: "r"}, HeadSHA: sha, Received: time.Unix(5, 0).UTC(), Pulls: pulls,
		}); err != nil {
			return err
		}
		return tx.StartScan(t.Context(), Scan{Delivery: delivery, CheckID: check.ID, Job: json.RawMessage(`{}`)})
	})
	return check
}

func TestChecksAreSharedByDeliveries(t *testing.T) { inStores(t, testChecksAreSharedByDeliveries) }

func testChecksAreSharedByDeliveries(t *testing.T, s *Store) {
	push := scanOf(t, s, "push", "abc")
	pull := scanOf(t, s, "pull", "abc", 3)
	other := scanOf(t, s, "other", "def")
	if push.ID != pull.ID || push.ID == other.ID {
		t.Fatalf("checks %s, %s, %s: want one for each commit", push.ID, pull.ID, other.ID)
	}
	if !cmp.Equal(pull.Pulls, []int{3}) || pull.Repository.FullName() != "o/r" {
		t.Errorf("check = %+v", pull)
	}
	coverage := checks.Coverage{Tip: "abc", Commits: 2, Skipped: []checks.Skip{{Path: "p", Reason: "too large"}}}
	inTx(t, s, func(tx *Tx) error {
		return tx.FinishScan(t.Context(), Scan{Delivery: "push", Job: json.RawMessage(`{"n":2}`), Coverage: coverage, Finished: time.Unix(6, 0)})
	})
	scans, err := s.Scans(t.Context(), push.ID)
	if err != nil || len(scans) != 2 {
		t.Fatalf("Scans = %v, %v; want two", scans, err)
	}
	if diff := cmp.Diff(coverage, scans[0].Coverage); diff != "" || scans[0].Finished.IsZero() || !scans[1].Finished.IsZero() {
		t.Errorf("scans = %+v\n%s", scans, diff)
	}
	inTx(t, s, func(tx *Tx) error { return tx.ReopenScan(t.Context(), "push", json.RawMessage(`{"n":3}`)) })
	if again, err := s.Scan(t.Context(), "push"); err != nil || !again.Finished.IsZero() || string(again.Job) != `{"n":3}` {
		t.Errorf("reopened scan = %+v, %v", again, err)
	}
}

func TestIncidentsKeepCredentialsSealed(t *testing.T) {
	dir := t.TempDir()
	s := newStore(t, filepath.Join(dir, "a.db"))
	check := scanOf(t, s, "push", "abc")
	value := strings.Repeat("geheim", 7)
	cred := checks.Credential{Rule: "kind", Parts: map[string]checks.Secret{"secret": checks.NewSecret(value), "id": checks.NewSecret("the id")}}
	fp := cred.Secret().Fingerprint(s.keys.Fingerprint)

	var i Incident
	for n := range 2 {
		inTx(t, s, func(tx *Tx) (err error) {
			var opened bool
			i, opened, err = tx.OpenIncident(t.Context(), Incident{Incident: incident.Incident{Fingerprint: fp, Rule: "kind", Validity: checks.Active, Opened: time.Unix(1, 0)}})
			if opened != (n == 0) {
				t.Errorf("OpenIncident %d: opened = %v", n, opened)
			}
			if err != nil {
				return err
			}
			if err := tx.AddOccurrence(t.Context(), Occurrence{Incident: i.ID, Delivery: "push", Location: checks.Location{Path: "p", Line: 3, Commit: "abc"}, InTip: true}); err != nil {
				return err
			}
			return tx.Seal(t.Context(), i.ID, Leaked, cred)
		})
	}
	places, err := s.Occurrences(t.Context(), check.ID)
	if err != nil || len(places) != 1 || places[0].Line != 3 || !places[0].InTip {
		t.Errorf("Occurrences = %+v, %v; want one", places, err)
	}
	got, err := s.Unseal(t.Context(), i.ID, Leaked)
	if err != nil || got.Secret().Expose() != value || got.Parts["id"].Expose() != "the id" || got.Rule != "kind" {
		t.Errorf("Unseal = %v, %v", got, err)
	}
	if _, err := s.Unseal(t.Context(), i.ID, Replacement); !errors.Is(err, ErrErased) {
		t.Errorf("Unseal of what was never sealed: %v", err)
	}

	i.Resolved, i.Resolution = time.Unix(9, 0), incident.ResolutionRotated
	inTx(t, s, func(tx *Tx) error { return tx.SaveIncident(t.Context(), i) })
	if _, err := s.Unseal(t.Context(), i.ID, Leaked); !errors.Is(err, ErrErased) {
		t.Errorf("Unseal after the incident ended: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, f := range files {
		if b, err := os.ReadFile(f); err != nil || bytes.Contains(b, []byte(value)) {
			t.Errorf("%s holds the credential in the clear (%v)", f, err)
		}
	}
}

// TestOccurrencesOfSeveralScans: the same place, found for a push and for a pull
// request, is one, and the stricter policy counts.
func TestOccurrencesOfSeveralScans(t *testing.T) { inStores(t, testOccurrencesOfSeveralScans) }

func testOccurrencesOfSeveralScans(t *testing.T, s *Store) {
	inTx(t, s, func(tx *Tx) error {
		check, err := tx.EnsureCheck(t.Context(), Check{Installation: 1, Repository: github.Repository{ID: 2}, HeadSHA: "abc"})
		if err != nil {
			return err
		}
		i, _, err := tx.OpenIncident(t.Context(), Incident{Incident: incident.Incident{Fingerprint: "f", Rule: "r"}})
		if err != nil {
			return err
		}
		at := checks.Location{Path: "a", Line: 1, Column: 1, Commit: "abc"}
		for n, o := range []Occurrence{
			{Conclusion: "success", Why: "a policy"}, {Conclusion: "neutral", Why: "another", InTip: true}, {Conclusion: "success", Why: "a third"},
		} {
			o.Incident, o.Delivery, o.Location = i.ID, fmt.Sprint(n), at
			if _, err := tx.RecordDelivery(t.Context(), Delivery{ID: o.Delivery}); err != nil {
				return err
			}
			if err := tx.StartScan(t.Context(), Scan{Delivery: o.Delivery, CheckID: check.ID}); err != nil {
				return err
			}
			if err := tx.AddOccurrence(t.Context(), o); err != nil {
				return err
			}
		}
		places, err := tx.Occurrences(t.Context(), check.ID)
		want := []Occurrence{{Incident: i.ID, Delivery: "0", Location: at, InTip: true, Conclusion: "neutral", Why: "another"}}
		if diff := cmp.Diff(want, places); diff != "" {
			t.Errorf("the places (-want +got):\n%s", diff)
		}
		return err
	})
}

func TestAllowances(t *testing.T) { inStores(t, testAllowances) }

func testAllowances(t *testing.T, s *Store) {
	made := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	first := Allowance{Installation: 1, Repository: 2, Fingerprint: "f", Reason: "a test's key", Owner: "@dana", Made: made, Expires: made.Add(time.Hour)}
	second := first
	second.Reason, second.Expires = "still a test's", made.Add(48*time.Hour)
	other := first
	other.Repository = 3
	inTx(t, s, func(tx *Tx) error {
		return errors.Join(tx.Allow(t.Context(), first), tx.Allow(t.Context(), second), tx.Allow(t.Context(), other))
	})
	got, err := s.Allowances(t.Context(), 1, 2)
	if diff := cmp.Diff(map[checks.Fingerprint]Allowance{"f": second}, got); err != nil || diff != "" {
		t.Errorf("allowances: %v (-want +got):\n%s", err, diff)
	}
	for _, spoil := range []func(*Allowance){
		func(a *Allowance) { a.Reason = " " }, func(a *Allowance) { a.Owner = "" },
		func(a *Allowance) { a.Fingerprint = "" }, func(a *Allowance) { a.Expires = a.Made }, func(a *Allowance) { a.Expires = time.Time{} },
	} {
		wrong := first
		spoil(&wrong)
		if err := s.InTx(t.Context(), func(tx *Tx) error { return tx.Allow(t.Context(), wrong) }); err == nil {
			t.Errorf("%+v was recorded", wrong)
		}
	}
}

func TestSealIsBoundToItsPlace(t *testing.T) {
	keys, other := newKeys(t, 1), newKeys(t, 2)
	cred := checks.Credential{Rule: "kind", Parts: map[string]checks.Secret{"secret": checks.NewSecret("value")}}
	box, err := keys.sealCredential(cred, "incident 1")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := keys.open(box, "incident 1"); err != nil {
		t.Fatal(err)
	}
	changed := bytes.Clone(box)
	changed[len(changed)-1] ^= 1
	for name, f := range map[string]func() error{
		"another place": func() error { _, err := keys.open(box, "incident 2"); return err },
		"another key":   func() error { _, err := other.open(box, "incident 1"); return err },
		"changed":       func() error { _, err := keys.open(changed, "incident 1"); return err },
		"cut":           func() error { _, err := keys.open(box[:5], "incident 1"); return err },
	} {
		if err := f(); err == nil || strings.Contains(err.Error(), "value") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestActions(t *testing.T) { inStores(t, testActions) }

func testActions(t *testing.T, s *Store) {
	var i Incident
	var operation string
	try := func(want int) {
		t.Helper()
		inTx(t, s, func(tx *Tx) error {
			a, err := tx.Attempt(t.Context(), i.ID, incident.Issue, time.Unix(10, 0))
			if a.Attempts != want || operation != "" && a.Operation != operation {
				t.Errorf("attempt %d with operation %s; want %d with %s", a.Attempts, a.Operation, want, operation)
			}
			operation = a.Operation
			return err
		})
	}
	inTx(t, s, func(tx *Tx) (err error) {
		i, _, err = tx.OpenIncident(t.Context(), Incident{Incident: incident.Incident{Fingerprint: "f"}})
		return err
	})
	try(1)
	try(2)
	inTx(t, s, func(tx *Tx) error { return tx.ForgetAttempts(t.Context(), i.ID, incident.Issue) })
	try(1)
	if done, err := s.StepsDone(t.Context(), i.ID); err != nil || len(done) != 0 {
		t.Errorf("StepsDone = %v, %v before the step is done", done, err)
	}
	inTx(t, s, func(tx *Tx) error {
		return tx.FinishAction(t.Context(), i.ID, incident.Issue, map[string]string{"k": "v"}, time.Unix(11, 0))
	})
	if done, err := s.StepsDone(t.Context(), i.ID); err != nil || !cmp.Equal(done, []incident.Step{incident.Issue}) {
		t.Errorf("StepsDone = %v, %v", done, err)
	}
	actions, err := s.Actions(t.Context(), i.ID)
	if err != nil || len(actions) != 1 || actions[0].Detail["k"] != "v" {
		t.Errorf("Actions = %+v, %v", actions, err)
	}
}

func TestAuditLog(t *testing.T) { inStores(t, testAuditLog) }

func testAuditLog(t *testing.T, s *Store) {
	var wg sync.WaitGroup
	for n := range 20 {
		wg.Go(func() {
			inTx(t, s, func(tx *Tx) error {
				return tx.Audit(t.Context(), audit.Entry{At: time.Now(), Actor: "a", Verb: "v", Subject: fmt.Sprint(n), Detail: map[string]string{"n": fmt.Sprint(n)}})
			})
		})
	}
	wg.Wait()
	last, err := s.keys.Audit.Verify(s.AuditLog(t.Context()))
	if err != nil || last.Seq != 20 {
		t.Errorf("Verify = %d, %v; want an unbroken chain of 20", last.Seq, err)
	}
	for _, attack := range []string{`update audit_log set actor = 'x' where seq = 3`, `delete from audit_log where seq = 20`} {
		if _, err := s.db.Exec(attack); err == nil || !strings.Contains(err.Error(), "append-only") {
			t.Errorf("%s: %v", attack, err)
		}
	}
	// Somebody who drops the trigger first is still noticed.
	drop := map[string]string{sqlite.name: `drop trigger audit_log_is_append_only_update`, postgres.name: `drop trigger audit_log_is_append_only on audit_log`}
	if _, err := s.db.Exec(drop[s.dialect.name] + `; update audit_log set actor = 'x' where seq = 3`); err != nil {
		t.Fatal(err)
	}
	if last, err := s.keys.Audit.Verify(s.AuditLog(t.Context())); err == nil || last.Seq != 2 {
		t.Errorf("Verify of a changed log = %d, %v", last.Seq, err)
	}
}
