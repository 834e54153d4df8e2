package github_test

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stanch-dev/stanch/app/github"
	"github.com/stanch-dev/stanch/app/github/githubtest"
)

// write pushes files to a branch.
func (s *stage) write(branch string, files map[string]string) {
	s.t.Helper()
	s.push(branch)
	for name, text := range files {
		path := filepath.Join(s.clone, name)
		s.must(os.MkdirAll(filepath.Dir(path), 0o755))
		s.must(os.WriteFile(path, []byte(text), 0o644))
	}
	s.git("add", ".")
	s.push(branch)
}

// The files of default branches that name a text are told, and what is sent is in GitHub's
// description of its API.
func TestMentions(t *testing.T) {
	s := newSecretStage(t)
	s.write("main", map[string]string{
		"k8s/app.yaml": "path: secret/data/ci/Deploy\n", "run.sh": "vault kv get -mount=secret ci/deploy\n", "readme": "ci and deploy\n", "other": "ci/deployment\n",
		".github/workflows/ci.yml": "env: {TOKEN: '${{ secrets.DEPLOY_TOKEN }}'}\n",
	})
	s.write("feature", map[string]string{"feature.sh": "ci/deploy\n"})
	var asked []string
	s.hub.Limit(func(r *http.Request) *githubtest.LimitAnswer {
		if strings.HasSuffix(r.URL.Path, "/search/code") {
			asked = append(asked, r.URL.Query().Get("q"))
		}
		return nil
	})
	i := s.app.Installation(s.inst)
	want := github.Mentions{Total: 2, Files: []github.Mention{{Repository: "acme/shop", Path: "k8s/app.yaml"}, {Repository: "acme/shop", Path: "run.sh"}}}
	for _, in := range []string{"acme", "acme/shop"} {
		found, err := i.Mentions(t.Context(), in, "ci/deploy")
		if diff := cmp.Diff(want, found); err != nil || diff != "" {
			t.Errorf("in %s: %v (-want +got):\n%s", in, err, diff)
		}
	}
	if found, err := i.Mentions(t.Context(), "acme", "ci/nothing"); err != nil || found.Total != 0 {
		t.Errorf("what is nowhere: %+v, %v", found, err)
	}
	name, err := github.ParseSecretName("acme/shop:actions:DEPLOY_TOKEN")
	s.must(err)
	if found, err := s.app.MentionsOf(t.Context(), name); err != nil || len(found.Files) != 1 || found.Files[0].Path != ".github/workflows/ci.yml" {
		t.Errorf("of a workflow's secret: %+v, %v", found, err)
	}
	if diff := cmp.Diff([]string{`"ci/deploy" user:acme`, `"ci/deploy" repo:acme/shop`, `"ci/nothing" user:acme`, `"secrets.DEPLOY_TOKEN" repo:acme/shop`}, asked); diff != "" {
		t.Errorf("asked (-want +got):\n%s", diff)
	}
}

// Only what the installation has is searched, and many files are counted.
func TestMentionsOfTheInstallationAlone(t *testing.T) {
	s := newSecretStage(t)
	files := map[string]string{}
	for n := range 12 {
		files[fmt.Sprintf("%02d.env", n)] = "ci/deploy\n"
	}
	s.write("main", files)
	found, err := s.app.Installation(s.inst).Mentions(t.Context(), "acme", "ci/deploy")
	if err != nil || found.Total != 12 || len(found.Files) != 10 {
		t.Errorf("%+v, %v", found, err)
	}
	guild, err := s.hub.Install(s.appID, "guild", "guild/one")
	s.must(err)
	for _, in := range []string{"acme", "acme/shop", "guild/two"} {
		if found, err := s.app.Installation(guild).Mentions(t.Context(), in, "ci/deploy"); !errors.Is(err, github.ErrInvalid) {
			t.Errorf("%s, as the installation of guild/one: %+v, %v", in, found, err)
		}
	}
}

// What cannot be searched for is not sent, nor is what would become another query.
func TestMentionsOfNothing(t *testing.T) {
	s := newStage(t)
	s.hub.Limit(func(r *http.Request) *githubtest.LimitAnswer { return githubtest.BadGateway() })
	i := s.app.Installation(s.inst)
	for _, text := range []string{"", strings.Repeat("x", 257), `a" user:guild "b`, "a\nb", `a\`} {
		if _, err := i.Mentions(t.Context(), "acme", text); !errors.Is(err, github.ErrNotSearchable) {
			t.Errorf("%q: %v", text, err)
		}
	}
	for _, in := range []string{"", "acme user:guild", "acme/../x", "/"} {
		if _, err := i.Mentions(t.Context(), in, "ci/deploy"); err == nil || strings.Contains(err.Error(), "502") {
			t.Errorf("in %q: %v", in, err)
		}
	}
}

// A search that is refused keeps the installation from nothing else.
func TestLimitOfSearchesIsTheirOwn(t *testing.T) {
	s := newStage(t)
	searches := 0
	s.hub.Limit(func(r *http.Request) *githubtest.LimitAnswer {
		if !strings.HasSuffix(r.URL.Path, "/search/code") {
			return nil
		}
		searches++
		answer := githubtest.PrimaryLimit(time.Now().Add(time.Minute), false)
		answer.Header.Set("X-Ratelimit-Resource", "code_search")
		return answer
	})
	i := s.app.Installation(s.inst)
	for range 2 {
		var limited *github.RateLimited
		if _, err := i.Mentions(t.Context(), "acme", "ci/deploy"); !errors.As(err, &limited) {
			t.Errorf("%v", err)
		}
	}
	if searches != 1 {
		t.Errorf("searched %d times within the minute", searches)
	}
	list, err := i.Repositories(t.Context())
	if err != nil || !slices.ContainsFunc(list, func(l github.Listed) bool { return l.FullName() == "acme/shop" }) {
		t.Errorf("%+v, %v", list, err)
	}
}
