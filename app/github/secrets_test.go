package github_test

import (
	"crypto/rand"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stanch-dev/stanch/app/github"
	"github.com/stanch-dev/stanch/app/github/githubtest"
	"github.com/stanch-dev/stanch/app/github/githubtest/openapi"
	"github.com/stanch-dev/stanch/checks"
)

// secretPermissions are what an App needs for each place of secrets.
var secretPermissions = map[string]string{
	"acme/shop:actions:DEPLOY_TOKEN":     "secrets",
	"acme/shop:dependabot:DEPLOY_TOKEN":  "dependabot_secrets",
	"acme/shop:env/prod eu:DEPLOY_TOKEN": "environments",
	"guild:actions:DEPLOY_TOKEN":         "organization_secrets",
}

// newSecretStage is a stage whose GitHub is held to its description.
func newSecretStage(t *testing.T) *stage {
	api := description(t).Fresh()
	s := newStageWith(t, githubtest.Config{Wrap: api.Middleware})
	s.hub.CreateOrganization("guild")
	for _, name := range []string{"one", "two", "three"} {
		_, err := s.hub.CreateRepository("guild", name, githubtest.RepoOptions{Private: true})
		s.must(err)
	}
	_, err := s.hub.Install(s.appID, "guild")
	s.must(err)
	t.Cleanup(func() {
		for _, v := range api.Violations() {
			t.Errorf("GitHub's API description is violated: %s", v)
		}
	})
	return s
}

var describe sync.Once

var described *openapi.Validator

// description is GitHub's description of its API, which takes seconds to load.
func description(t *testing.T) *openapi.Validator {
	t.Helper()
	path := openapi.Path(t)
	describe.Do(func() { described, _ = openapi.Load(path) })
	if described == nil {
		t.Fatalf("%s cannot be loaded", path)
	}
	return described
}

func TestWriteSecret(t *testing.T) {
	s := newSecretStage(t)
	for place, permission := range secretPermissions {
		t.Run(place, func(t *testing.T) {
			s.t = t
			name, err := github.ParseSecretName(place)
			s.must(err)
			if name.String() != place {
				t.Fatalf("%s became %s", place, name)
			}
			s.must(s.hub.SetSecret(place, "old"))
			write := func(value string) error {
				updated, err := s.app.WriteSecret(t.Context(), name, checks.NewSecret(value))
				if err == nil && updated.IsZero() {
					t.Error("GitHub's time of the writing is missing")
				}
				return err
			}
			if err := write("denied"); !errors.Is(err, github.ErrForbidden) {
				t.Errorf("without the permission: %v", err)
			}
			s.must(s.hub.Allow(s.appID, permission, "read"))
			if err := write("denied"); !errors.Is(err, github.ErrForbidden) {
				t.Errorf("with the permission to read: %v", err)
			}
			s.must(s.hub.Allow(s.appID, permission, "write"))
			defer func() { s.must(s.hub.Allow(s.appID, permission, "")) }()
			fresh := "fresh-" + rand.Text()
			for n := range 2 {
				s.must(write(fresh))
				if got, writes := s.hub.Secret(place); got != fresh || writes != n+1 {
					t.Errorf("GitHub holds the right value: %t; written %d times", got == fresh, writes)
				}
			}
			if err := write(""); !errors.Is(err, github.ErrInvalid) {
				t.Errorf("an empty value: %v", err)
			}
			if err := write(strings.Repeat("x", 48<<10+1)); !errors.Is(err, github.ErrInvalid) {
				t.Errorf("a large value: %v", err)
			}
			if got, _ := s.hub.Secret(place); got != fresh {
				t.Error("what was refused has changed the secret")
			}
		})
	}
}

// TestWriteSecretThatIsNot: a name that is mistaken makes no secret.
func TestWriteSecretThatIsNot(t *testing.T) {
	s := newSecretStage(t)
	for _, permission := range secretPermissions {
		s.must(s.hub.Allow(s.appID, permission, "write"))
	}
	for _, place := range []string{
		"acme/shop:actions:NEVER_MADE", "acme/shop:env/nowhere:NEVER_MADE", "acme/gone:actions:NEVER_MADE", "nobody:actions:NEVER_MADE",
	} {
		name, err := github.ParseSecretName(place)
		s.must(err)
		if _, err := s.app.WriteSecret(t.Context(), name, checks.NewSecret("value")); !errors.Is(err, github.ErrNotFound) || !strings.Contains(err.Error(), place) {
			t.Errorf("%s: %v", place, err)
		}
		if got, _ := s.hub.Secret(place); got != "" {
			t.Errorf("%s was made", place)
		}
	}
}

// TestWriteSecretKeepsItsReaders: an organisation's secret is for the same repositories
// after it was written.
func TestWriteSecretKeepsItsReaders(t *testing.T) {
	s := newSecretStage(t)
	s.must(s.hub.Allow(s.appID, "organization_secrets", "write"))
	const place = "guild:actions:DEPLOY_TOKEN"
	s.must(s.hub.SetSecret(place, "old", "guild/one", "guild/three"))
	name, err := github.ParseSecretName(place)
	s.must(err)
	_, err = s.app.WriteSecret(t.Context(), name, checks.NewSecret("new"))
	s.must(err)
	got, _ := s.hub.Secret(place)
	if names := s.hub.SecretRepositories(place); got != "new" || !slices.Equal(names, []string{"guild/one", "guild/three"}) {
		t.Errorf("the value is written: %t; it is for %q", got == "new", names)
	}
}

// TestWriteSecretKeyRenewed: the key was replaced after it was fetched.
func TestWriteSecretKeyRenewed(t *testing.T) {
	s := newSecretStage(t)
	s.must(s.hub.Allow(s.appID, "secrets", "write"))
	const place = "acme/shop:actions:DEPLOY_TOKEN"
	s.must(s.hub.SetSecret(place, "old"))
	name, err := github.ParseSecretName(place)
	s.must(err)
	renew := 1
	s.hub.Limit(func(r *http.Request) *githubtest.LimitAnswer {
		if r.Method == http.MethodPut && renew > 0 {
			renew--
			s.must(s.hub.RenewSecretKey(place))
		}
		return nil
	})
	_, err = s.app.WriteSecret(t.Context(), name, checks.NewSecret("new"))
	s.must(err)
	if got, writes := s.hub.Secret(place); got != "new" || writes != 1 {
		t.Errorf("the value is written: %t, %d times", got == "new", writes)
	}
	renew = 2 // time and again
	if _, err := s.app.WriteSecret(t.Context(), name, checks.NewSecret("newer")); !errors.Is(err, github.ErrInvalid) {
		t.Errorf("%v, want ErrInvalid", err)
	}
}

func TestParseSecretName(t *testing.T) {
	for text, want := range map[string]string{
		"acme/shop":                     "not of the form",
		"acme/shop:actions":             "not of the form",
		"acme/shop:actions:A:B":         "not of the form",
		"acme/shop:codespaces:TOKEN":    "is not actions",
		"acme/shop:env/:TOKEN":          "is not actions",
		"acme:dependabot:TOKEN":         "only secrets of actions",
		"acme/shop:actions:NO-TOKEN":    "no name of a secret",
		"acme/shop:actions:GITHUB_THIS": "no name of a secret",
		"acme/..:actions:TOKEN":         "no name or commit",
		"ac me:actions:TOKEN":           "no name or commit",
		"acme/a/b:actions:TOKEN":        "no name or commit",
	} {
		if _, err := github.ParseSecretName(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}
