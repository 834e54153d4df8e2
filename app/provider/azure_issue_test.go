package provider

import (
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stanch-dev/stanch/app/cloud"
	"github.com/stanch-dev/stanch/app/cloud/cloudtest"
	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/rules"
)

// A fakeAppSecret is a secret of an app at a fakeEntra.
type fakeAppSecret struct {
	keyID, name, text string
	start, end        time.Time
	hidden            int // how many lists do not show it yet
}

// fakeEntra is Microsoft Graph with one app, and where the app logs in.
type fakeEntra struct {
	*cloudtest.Cloud
	t       *testing.T
	own     cloudtest.AzureAccount
	secrets []*fakeAppSecret
	late    []string // texts that were removed, and work on
	next    int
	lag     int
	begin   []string // how the next texts begin
}

func newFakeEntra(t *testing.T) *fakeEntra {
	f := &fakeEntra{t: t}
	f.Cloud, f.own = cloudtest.Azure(t)
	f.Find(f.find)
	f.Public(f.logIn)
	return f
}

func (f *fakeEntra) providers() *Providers {
	f.t.Helper()
	account, err := cloud.NewAzure(cloud.AzureConfig{
		Tenant: cloudtest.AzureTenant, Client: cloudtest.AzureClient, Secret: checks.NewSecret(f.own.Secret), Authority: f.URL})
	if err != nil {
		f.t.Fatal(err)
	}
	return newProviders(f.t, Config{BaseURLs: map[string]string{"azure": f.URL}, Azure: account})
}

// add gives the app a secret, an hour ago.
func (f *fakeEntra) add(text string) (cred checks.Credential, keyID string) {
	f.Do(func() {
		s := f.insert("by hand", text)
		s.start, s.hidden = time.Now().Add(-time.Hour), 0
		s.end = s.start.Add(90 * 24 * time.Hour)
		keyID = s.keyID
	})
	return parts("azure-client-secret", map[string]string{"tenant": entraTestTenant, "client": entraTestApp, checks.PartSecret: text}), keyID
}

func (f *fakeEntra) insert(name, text string) *fakeAppSecret {
	f.next++
	s := &fakeAppSecret{keyID: fmt.Sprintf("00000000-0000-0000-0000-%012x", f.next), name: name, text: text,
		start: time.Now(), end: time.Now().Add(2 * 365 * 24 * time.Hour), hidden: f.lag}
	f.secrets = slices.Insert(f.secrets, len(f.secrets)/2, s)
	return s
}

// logIn is for apps other than Stanch's.
func (f *fakeEntra) logIn(w http.ResponseWriter, r *http.Request) bool {
	if r.URL.Path != "/"+entraTestTenant+"/oauth2/v2.0/token" {
		return false
	}
	text := r.FormValue("client_secret")
	known := slices.ContainsFunc(f.secrets, func(s *fakeAppSecret) bool { return s.text == text }) || slices.Contains(f.late, text)
	if r.FormValue("client_id") == entraTestApp && known {
		answer(w, 200, "application/json", entraGrant(entraTestApp))
	} else {
		answer(w, 401, "application/json", entraError("7000215"))
	}
	return true
}

var appPath = regexp.MustCompile(`^/v1\.0/applications\(appId='` + entraTestApp + `'\)(/addPassword|/removePassword)?$`)

func (f *fakeEntra) find(r *http.Request) (cloudtest.Operation, bool) {
	m := appPath.FindStringSubmatch(r.URL.Path)
	if r.Header.Get("Scope") != "https://graph.microsoft.com" {
		return cloudtest.Operation{}, false
	}
	return cloudtest.Operation{Needs: "Application.ReadWrite.OwnedBy", Do: func() (int, any) {
		switch {
		case m == nil:
			return cloudtest.AzureError(404, "Request_ResourceNotFound")
		case r.Method+m[1] == "GET":
			return 200, map[string]any{"appId": entraTestApp, "passwordCredentials": f.list()}
		case m[1] == "/addPassword":
			return f.addPassword(r)
		}
		keyID := cloudtest.Body[struct{ KeyID string }](r).KeyID
		n := slices.IndexFunc(f.secrets, func(s *fakeAppSecret) bool { return s.keyID == keyID })
		if n < 0 {
			return cloudtest.AzureError(400, "Request_BadRequest")
		}
		f.secrets = slices.Delete(f.secrets, n, n+1)
		return 204, nil
	}}, true
}

func (s *fakeAppSecret) shown() map[string]any {
	return map[string]any{"keyId": s.keyID, "displayName": s.name, "hint": s.text[:3], "startDateTime": s.start, "endDateTime": s.end, "secretText": nil}
}

func (f *fakeEntra) list() []any {
	all := []any{}
	for _, s := range f.secrets {
		if s.hidden--; s.hidden < 0 {
			all = append(all, s.shown())
		}
	}
	return all
}

func (f *fakeEntra) addPassword(r *http.Request) (int, any) {
	wanted := cloudtest.Body[struct {
		PasswordCredential struct {
			DisplayName string
			EndDateTime time.Time
		}
	}](r).PasswordCredential
	text := sample(f.t, "azure-client-secret").Secret().Expose()
	if len(f.begin) > 0 {
		text, f.begin = f.begin[0]+text[3:], f.begin[1:]
	}
	s := f.insert(wanted.DisplayName, text)
	if !wanted.EndDateTime.IsZero() {
		s.end = wanted.EndDateTime
	}
	shown := s.shown()
	shown["secretText"] = text
	return 200, shown
}

func (f *fakeEntra) count() (n int) {
	f.Do(func() { n = len(f.secrets) })
	return n
}

// beginning makes a secret that begins so.
func beginning(t *testing.T, hint string) string {
	return hint + sample(t, "azure-client-secret").Secret().Expose()[3:]
}

func TestAzureSecretRotation(t *testing.T) {
	f := newFakeEntra(t)
	p := f.providers()
	other, _ := f.add(beginning(t, "aBc"))
	leaked, keyID := f.add(beginning(t, "abc"))
	f.add(beginning(t, "abC"))
	if can := p.Can(leaked.Rule); !can.Revoke || !can.Issue || can.Reversible {
		t.Fatalf("%+v", can)
	}
	f.begin = []string{"abc", "abc"} // as the old one does: nobody could tell them apart
	fresh, _, err := operate(t, p, leaked, "op-1")
	if err != nil || strings.HasPrefix(fresh.Secret().Expose(), "abc") || f.count() != 4 {
		t.Fatalf("%v, %d secrets", err, f.count())
	}
	f.Do(func() {
		for _, s := range f.secrets {
			if s.text == fresh.Secret().Expose() && (s.name != "stanch op-1" || time.Until(s.end).Round(time.Hour) != 90*24*time.Hour) {
				t.Errorf("the new secret is %+v", s.shown())
			}
		}
	})
	wantValidity(t, p, fresh, checks.Active)
	wantValidity(t, p, leaked, checks.Active)
	f.late = []string{leaked.Secret().Expose()}
	for range 2 { // it works on for a while
		got, err := p.Revoke(t.Context(), Target{Credential: leaked})
		if err != nil || got.Meaning != rules.MeansAccepted || f.count() != 3 {
			t.Errorf("%+v, %v; %d secrets", got, err, f.count())
		}
	}
	f.late = nil
	if got, err := p.Revoke(t.Context(), Target{Credential: leaked}); err != nil || got.Meaning != rules.MeansAlreadyDead {
		t.Errorf("%+v, %v", got, err)
	}
	f.Do(func() {
		if slices.ContainsFunc(f.secrets, func(s *fakeAppSecret) bool { return s.keyID == keyID }) {
			t.Error("another secret was removed")
		}
	})
	wantValidity(t, p, fresh, checks.Active)
	wantValidity(t, p, other, checks.Active)
}

func TestAzureSecretLostAnswers(t *testing.T) {
	for _, lag := range []int{0, 1} {
		f := newFakeEntra(t)
		p := f.providers()
		leaked, _ := f.add(beginning(t, "abc"))
		f.lag = lag
		f.Lose("POST /v1.0/applications(appId='" + entraTestApp + "')/addPassword")
		_, r, err := operate(t, p, leaked, "op-1")
		if err == nil || errors.Is(err, ErrCannotIssue) || f.count() != 2 {
			t.Fatalf("%v, %d secrets", err, f.count())
		}
		r.Again = true
		fresh, err := p.Issue(t.Context(), r)
		if err != nil || f.count() != 2 {
			t.Errorf("lag %d: %v, %d secrets; want the leaked one and the new one", lag, err, f.count())
		}
		wantValidity(t, p, fresh, checks.Active)
		wantValidity(t, p, leaked, checks.Active)
	}
}

func TestAzureSecretWrongVictims(t *testing.T) {
	f := newFakeEntra(t)
	p := f.providers()
	leaked, first := f.add(beginning(t, "abc"))
	_, second := f.add(beginning(t, "abc"))
	_, err := p.Revoke(t.Context(), Target{Credential: leaked})
	if !errors.Is(err, ErrCannotRevoke) || !strings.Contains(err.Error(), first) || !strings.Contains(err.Error(), second) || f.count() != 2 {
		t.Errorf("two that begin alike: %v", err)
	}
	// An expired one is not the leaked one, which works.
	f.Do(func() {
		for _, s := range f.secrets {
			if s.keyID == second {
				s.end = time.Now().Add(-time.Minute)
			}
		}
	})
	if _, err := p.Revoke(t.Context(), Target{Credential: leaked}); err != nil || f.count() != 1 || f.secrets[0].keyID != second {
		t.Errorf("%v", err)
	}
	// A dead one must not take along another that begins as it does.
	dead := parts(leaked.Rule, map[string]string{"tenant": entraTestTenant, "client": entraTestApp, checks.PartSecret: beginning(t, "xyz")})
	live, _ := f.add(beginning(t, "xyz"))
	if got, err := p.Revoke(t.Context(), Target{Credential: dead}); err != nil || got.Meaning != rules.MeansAlreadyDead {
		t.Errorf("%+v, %v", got, err)
	}
	wantValidity(t, p, live, checks.Active)
	// A new one may be refused because it is new.
	f.Do(func() { f.insert("young", beginning(t, "yng")) })
	dead.Parts[checks.PartSecret] = checks.NewSecret(beginning(t, "yng"))
	if _, err := p.Revoke(t.Context(), Target{Credential: dead}); err == nil || errors.Is(err, ErrCannotRevoke) {
		t.Errorf("%v; want that it is asked again", err)
	}
	for why, named := range map[string]map[string]string{
		"does not stand": {"tenant": entraTestTenant}, "is of another one": {"tenant": "22222222-2222-3333-4444-555555555555", "client": entraTestApp},
		"stand beside the secret": {"tenant": entraTestTenant, "client": entraTestApp + "')/x"},
	} {
		named[checks.PartSecret] = live.Secret().Expose()
		cred := parts(leaked.Rule, named)
		if _, err := p.Revoke(t.Context(), Target{Credential: cred}); !errors.Is(err, ErrCannotRevoke) || !strings.Contains(err.Error(), why) {
			t.Errorf("%v, want %s", err, why)
		}
		if _, _, err := operate(t, p, cred, "op"); !errors.Is(err, ErrCannotIssue) || !strings.Contains(err.Error(), why) {
			t.Errorf("%v, want %s", err, why)
		}
	}
	own := parts(leaked.Rule, map[string]string{"tenant": cloudtest.AzureTenant, "client": cloudtest.AzureClient, checks.PartSecret: f.own.Secret})
	if _, err := p.Revoke(t.Context(), Target{Credential: own}); !errors.Is(err, ErrCannotRevoke) || !strings.Contains(err.Error(), "itself") {
		t.Errorf("Stanch's own: %v", err)
	}
}

func TestAzureAppPolicyIsSufficientAndMinimal(t *testing.T) {
	f := newFakeEntra(t)
	p := f.providers()
	checkPolicy(t, f.Cloud, AzureAppPolicy(), func(action string) (err error) {
		f.Do(func() { f.secrets = nil })
		leaked, _ := f.add(beginning(t, "abc"))
		if action == "issue" {
			_, _, err = operate(t, p, leaked, "op")
			return err
		}
		_, err = p.Revoke(t.Context(), Target{Credential: leaked})
		return err
	})
}
