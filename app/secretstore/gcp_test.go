package secretstore

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stanch-dev/stanch/app/cloud"
	"github.com/stanch-dev/stanch/app/cloud/cloudtest"
	"github.com/stanch-dev/stanch/app/grants"
	"github.com/stanch-dev/stanch/checks"
)

var _ store = (*GCP)(nil)

// fakeSecretManager is a Secret Manager, and Stanch's key file there.
type fakeSecretManager struct {
	*cloudtest.SecretManager
	t   *testing.T
	own []byte
}

func newFakeSecretManager(t *testing.T) *fakeSecretManager {
	google, own := cloudtest.Google(t)
	return &fakeSecretManager{cloudtest.NewSecretManager(google), t, own}
}

func (f *fakeSecretManager) open() *GCP {
	f.t.Helper()
	account, err := cloud.NewGoogle(f.own)
	if err != nil {
		f.t.Fatal(err)
	}
	s, err := NewGCP(GCPConfig{Account: account, Projects: []string{"shop"}, Key: testKey, BaseURL: f.URL})
	if err != nil {
		f.t.Fatal(err)
	}
	s.keeper.(*gcpKeeper).pause = time.Millisecond
	return s
}

func deploy(version Version, field string) Location {
	return Location{Store: "gcp", Path: "projects/shop/secrets/deploy", Field: field, Version: version}
}

func TestGCP(t *testing.T) {
	f := newFakeSecretManager(t)
	const root = "projects/shop/secrets/"
	testStore(t, renamed{f.open(), root}, renamed{f.open(), root}, root)
}

// A secret may be one text, such as the key file of a service account.
func TestGCPTexts(t *testing.T) {
	f := newFakeSecretManager(t)
	s := f.open()
	value := fresh()
	f.Do(func() { f.Insert("deploy", value.Expose()); f.Insert("other", `{"a":"b","n":1}`) })
	found, err := s.Locate(t.Context(), fingerprint(value))
	if diff := cmp.Diff([]Location{deploy("1", WholeText)}, found); err != nil || diff != "" {
		t.Fatalf("%v (-want +got):\n%s", err, diff)
	}
	next := fresh()
	if _, err := putOne(t.Context(), s, found[0], next, "op-1"); err != nil || f.Text("deploy") != next.Expose() {
		t.Errorf("%v", err)
	}
	if _, err := putOne(t.Context(), s, deploy("2", "field"), fresh(), "op-2"); !errors.Is(err, errNoFields) {
		t.Errorf("a field was put into a text: %v", err)
	}
}

// The key file of a service account leaks as a text with escapes, and is replaced with
// the key's id.
func TestGCPKeyFile(t *testing.T) {
	f := newFakeSecretManager(t)
	s := f.open()
	key := func(inside string) string {
		return "-----BEGIN " + "PRIVATE KEY-----\n" + inside + "\n-----END " + "PRIVATE KEY-----\n"
	}
	file := func(id, private string) string {
		text, err := json.Marshal(map[string]any{"type": "service_account", "private_key_id": id, "private_key": private, "client_email": "e", "n": 1})
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	escape := strings.NewReplacer("\n", `\n`)
	leaked := creds("secret", escape.Replace(key("b2xk")), "id", "1a", "email", "e")
	made := creds("secret", escape.Replace(key("bmV3")), "id", "2b", "email", "e")
	f.Do(func() { f.Insert("deploy", file("1a", key("b2xk"))) })
	found, err := s.Locate(t.Context(), fingerprint(leaked.Secret()))
	if diff := cmp.Diff([]Location{deploy("1", "private_key")}, found); err != nil || diff != "" {
		t.Fatalf("%v (-want +got):\n%s", err, diff)
	}
	now, err := s.Get(t.Context(), found[0])
	if err != nil || !Holds(now.Fields["private_key"], leaked) {
		t.Fatal(err)
	}
	values, leftOut := Replace(now.Fields, leaked, made)
	if _, err := s.Put(t.Context(), found[0], values, "op"); err != nil || len(leftOut) > 0 {
		t.Fatalf("%v, left out %v", err, leftOut)
	}
	if got := f.Text("deploy"); got != file("2b", key("bmV3")) {
		t.Error("the new text is not the new key's file")
	}
}

// Only what has changed is read again.
func TestGCPReadsWhatHasChanged(t *testing.T) {
	f := newFakeSecretManager(t)
	s := f.open()
	value := fresh()
	f.Do(func() {
		for n := range 5 {
			f.Insert(fmt.Sprint("s", n), "old")
			f.Insert(fmt.Sprint("s", n), fresh().Expose())
		}
		f.Insert("deploy", value.Expose())
		f.Limited = 3
	})
	for range 3 {
		if found, err := s.Locate(t.Context(), fingerprint(value)); err != nil || len(found) != 1 {
			t.Fatalf("%v, %v", found, err)
		}
	}
	if n := f.Count(":access"); n != 6+3 {
		t.Errorf("%d readings of 6 versions, of which 3 were refused", n)
	}
	f.Do(func() { f.Secrets["deploy"].Versions[0].State = "DISABLED" })
	if found, err := s.Locate(t.Context(), fingerprint(value)); err != nil || len(found) != 0 {
		t.Errorf("%v, %v; its readers get nothing", found, err)
	}
	if _, err := s.Get(t.Context(), deploy("1", WholeText)); !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), "disabled") {
		t.Errorf("%v", err)
	}
}

// Somebody else adds a version between the looks before and after the new one.
func TestGCPConflictIsDetected(t *testing.T) {
	for _, first := range []bool{true, false} {
		f := newFakeSecretManager(t)
		s := f.open()
		leaked, theirs, ours := fresh(), fresh(), fresh()
		f.Do(func() {
			f.Insert("deploy", leaked.Expose())
			somebody := func(name string) { f.Insert(name, theirs.Expose()) }
			if first {
				f.BeforeAdd = somebody
			} else {
				f.AfterAdd = somebody
			}
		})
		if _, err := putOne(t.Context(), s, deploy("1", WholeText), ours, "op-1"); !errors.Is(err, ErrConflict) {
			t.Errorf("%v, want ErrConflict", err)
		}
		if f.Text("deploy") != theirs.Expose() {
			t.Error("what somebody else put is not the latest version")
		}
		if found, err := s.Locate(t.Context(), fingerprint(ours)); err != nil || len(found) != 0 {
			t.Errorf("ours is left at %v, %v", found, err)
		}
		if found, err := s.Locate(t.Context(), fingerprint(theirs)); err != nil || len(found) != 1 {
			t.Errorf("theirs is at %v, %v", found, err)
		}
	}
}

// Who reads a version by a name would not get the next one, and lose the old one.
func TestGCPAliases(t *testing.T) {
	f := newFakeSecretManager(t)
	s := f.open()
	f.Do(func() {
		f.Insert("deploy", "leaked")
		f.Secrets["deploy"].Aliases = map[string]string{"prod": "1"}
	})
	if _, err := putOne(t.Context(), s, deploy("1", WholeText), fresh(), "op-1"); err == nil || !strings.Contains(err.Error(), `"prod"`) || f.Text("deploy") != "leaked" {
		t.Errorf("%v", err)
	}
}

func TestGCPLostAnswers(t *testing.T) {
	for _, lost := range []string{"PATCH ", "POST /v1/projects/shop/secrets/deploy:addVersion"} {
		f := newFakeSecretManager(t)
		s := f.open()
		f.Do(func() { f.Insert("deploy", "leaked") })
		f.Lose(lost)
		value := fresh()
		if _, err := putOne(t.Context(), s, deploy("1", WholeText), value, "op-1"); err == nil || errors.Is(err, ErrConflict) {
			t.Fatalf("%s: %v", lost, err)
		}
		if _, err := putOne(t.Context(), f.open(), deploy("1", WholeText), fresh(), "op-2"); !errors.Is(err, ErrConflict) {
			t.Errorf("%s: another operation: %v, want ErrConflict", lost, err)
		}
		put, err := putOne(t.Context(), s, deploy("1", WholeText), value, "op-1")
		if err != nil || put.Version != "2" || f.Text("deploy") != value.Expose() {
			t.Errorf("%s: %s, %v", lost, put, err)
		}
	}
}

// The word of a Stanch that never came back holds for a while only.
func TestGCPClaimsEnd(t *testing.T) {
	f := newFakeSecretManager(t)
	s := f.open()
	f.Do(func() {
		f.Insert("deploy", "leaked")
		f.Secrets["deploy"].Annotations = map[string]string{"owner": "ann", googleClaim: fmt.Sprint("1 op-0 ", time.Now().Unix())}
	})
	if _, err := putOne(t.Context(), s, deploy("1", WholeText), fresh(), "op-1"); !errors.Is(err, ErrConflict) || !strings.Contains(err.Error(), "op-0") {
		t.Errorf("%v", err)
	}
	s.keeper.(*gcpKeeper).now = func() time.Time { return time.Now().Add(time.Hour) }
	if _, err := putOne(t.Context(), s, deploy("1", WholeText), fresh(), "op-1"); err != nil {
		t.Error(err)
	}
	f.Do(func() {
		if f.Secrets["deploy"].Annotations["owner"] != "ann" {
			t.Error("an annotation of somebody else's is gone")
		}
	})
}

func TestGCPSaysWhereItCannotLook(t *testing.T) {
	f := newFakeSecretManager(t)
	s := f.open()
	f.Do(func() { f.Insert("deploy", "value"); f.Insert("closed", "value"); f.Closed = "closed" })
	found, err := s.Locate(t.Context(), fingerprint(checks.NewSecret("value")))
	if err != nil || len(found) != 1 {
		t.Errorf("%v, %v", found, err)
	}
	if diff := cmp.Diff([]string{"projects/shop/secrets/closed"}, s.Skipped()); diff != "" {
		t.Errorf("skipped (-want +got):\n%s", diff)
	}
	for _, path := range []string{"projects/crm/secrets/deploy", "projects/shop/secrets/../deploy", "projects/shop/secrets/a/versions/1", "deploy", ""} {
		for name, err := range map[string]error{
			"get":     second(s.Get(t.Context(), Location{Path: path})),
			"history": second(s.History(t.Context(), Location{Path: path})),
			"restore": second(s.Restore(t.Context(), Location{Path: path, Version: "1"}, "op")),
			"put":     second(putOne(t.Context(), s, Location{Path: path, Version: "1"}, fresh(), "op")),
			"retire":  s.Retire(t.Context(), Location{Path: path, Version: "1"}),
		} {
			if err == nil {
				t.Errorf("%s of %q was taken", name, path)
			}
		}
	}
	s.max = 1
	if _, err := s.Locate(t.Context(), "x"); !errors.Is(err, ErrTooMany) {
		t.Errorf("%v, want ErrTooMany", err)
	}
}

func second[T any](_ T, err error) error { return err }

func TestGCPPolicyIsSufficientAndMinimal(t *testing.T) {
	f := newFakeSecretManager(t)
	checkPolicy(t, f.Cloud, GCPPolicy(), "projects/shop/secrets/", func(action string) error {
		f.Do(func() {
			f.Empty()
			f.Insert("deploy", "first")
			f.Insert("deploy", "second")
		})
		return actOn(t, f.open(), deploy, "1", "2", action)
	})
}

// actOn does what an action of a policy is for, to a text whose two versions are given.
func actOn(t *testing.T, s store, at func(Version, string) Location, first, current Version, action string) error {
	switch action {
	case "locate":
		found, err := s.Locate(t.Context(), fingerprint(checks.NewSecret("second")))
		if err == nil && len(found) != 1 {
			return fmt.Errorf("not found; skipped: %s", strings.Join(s.Skipped(), " "))
		}
		return err
	case "put":
		return second(putOne(t.Context(), s, at(current, WholeText), fresh(), "op"))
	case "create":
		loc := at("", WholeText)
		loc.Path += "-new"
		return second(putOne(t.Context(), s, loc, fresh(), "op"))
	case "retire":
		return s.Retire(t.Context(), at(first, WholeText))
	case "history":
		return second(s.History(t.Context(), at(current, WholeText)))
	case "restore":
		return second(s.Restore(t.Context(), at(first, WholeText), "op"))
	}
	return fmt.Errorf("no action %q", action)
}

// checkPolicy tries each action of a policy with the whole of it, and without each line
// that it needs, which has to fail and to name the line, or what below root could not be
// searched.
func checkPolicy(t *testing.T, c *cloudtest.Cloud, policy grants.Policy, root string, try func(action string) error) {
	t.Helper()
	for n, line := range policy.Lines {
		for _, action := range strings.Split(line.For, ", ") {
			c.Grant(granted(policy)...)
			if err := try(action); err != nil {
				t.Errorf("%s with the whole policy: %v", action, err)
			}
			c.Grant(granted(policy.Without(n))...)
			err := try(action)
			if err == nil || !strings.Contains(err.Error(), line.Grant) && !strings.Contains(err.Error(), "skipped: "+root) {
				t.Errorf("%s without %s: %v", action, line.Grant, err)
			}
		}
	}
}

func granted(p grants.Policy) (all []string) {
	for _, l := range p.Lines {
		all = append(all, l.Grant)
	}
	return slices.Compact(all)
}
