package provider

import (
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/rules"
)

// A radiusPlay is a documented answer, or the identity that a driver makes of one, and
// what is to be told of it: the line of Radius.Text and the severity.
type radiusPlay struct {
	answer   *recordedStep
	identity map[string]string
	want     string
}

// readRadii reads rules/testdata/radius, whose archives look like this:
//
//	-- acme-token/answer --
//	GET https://api.acme.com/me        as in an exchange of rules/testdata
//	-- acme-token/radius --
//	acts as ada; may read (read)
//	medium
//
// A kind whose driver is no HTTP request has "identity", lines of NAME: VALUE, in place
// of "answer"; and "same as" another kind is as in rules/testdata.
func readRadii(t *testing.T) (all map[string]*radiusPlay, same map[string]string) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join("..", "..", "rules", "testdata", "radius", "*.txtar"))
	if err != nil || len(names) == 0 {
		t.Fatalf("no recordings (%v)", err)
	}
	all, same = map[string]*radiusPlay{}, map[string]string{}
	for _, name := range names {
		archive, err := txtar.ParseFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range archive.Files {
			if err := readRadius(all, same, f.Name, string(f.Data)); err != nil {
				t.Fatalf("%s: %s: %v", name, f.Name, err)
			}
		}
	}
	return all, same
}

func readRadius(all map[string]*radiusPlay, same map[string]string, name, text string) (err error) {
	kind, what, _ := strings.Cut(name, "/")
	if all[kind] == nil && what != "" {
		all[kind] = &radiusPlay{}
	}
	switch what {
	case "":
		same[kind] = strings.TrimPrefix(strings.TrimSpace(text), "same as ")
	case "radius":
		all[kind].want = strings.TrimSpace(text)
	case "answer":
		var step recordedStep
		step, err = readStep(text)
		all[kind].answer = &step
	case "identity":
		all[kind].identity = map[string]string{}
		for line := range strings.Lines(text) {
			name, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
			all[kind].identity[name] = value
		}
	default:
		err = fmt.Errorf("it is none of answer, identity and radius")
	}
	return err
}

// TestRadii plays the documented answers of every kind that has a blast radius.
func TestRadii(t *testing.T) {
	all, same := readRadii(t)
	net := newInternet(t)
	providers, measured := map[string]bool{}, map[string]bool{}
	for _, rule := range catalogue(t) {
		play := all[rule.ID]
		if other := same[rule.ID]; play == nil && other != "" {
			play = all[other]
			play = &radiusPlay{play.answer, play.identity, strings.Split(play.want, "\n")[0]} // severities differ
		}
		switch {
		case rule.BlastRadius == nil && play != nil:
			t.Errorf("%s has a recording and no blast radius", rule.ID)
		case rule.BlastRadius != nil && play == nil:
			t.Errorf("%s has no recording in rules/testdata/radius", rule.ID)
		case play != nil:
			providers[rule.Provider.Name] = true
			measured[rule.ID] = true
			t.Run(rule.ID, func(t *testing.T) { net.measure(t, rule, play) })
		}
	}
	if len(providers) < 15 {
		t.Errorf("%d providers tell what a credential can do, want 15 at the least", len(providers))
	}
	for kind := range all {
		if !measured[kind] {
			t.Errorf("%s is no kind of the catalogue", kind)
		}
	}
}

// measure plays one answer.
func (n *internet) measure(t *testing.T, rule *rules.Rule, play *radiusPlay) {
	v := Verdict{Validity: checks.Active, Grade: GradeA, Evidence: Evidence{Identity: play.identity}}
	cred := checks.Credential{Rule: rule.ID}
	p := newProviders(t, Config{Catalogue: []*rules.Rule{rule}})
	if play.answer != nil {
		cred = exampleCredential(t, rule)
		p = n.answering(t, rule, play.answer, cred)
	}
	if play.answer != nil && rule.BlastRadius.Request == nil { // the verification's answer tells it
		var err error
		if v, err = p.web.verify(t.Context(), rule, cred); err != nil || v.Validity != checks.Active {
			t.Fatalf("the answer verifies nothing: %+v, %v", v, err)
		}
		v.Grade = GradeA
	}
	if err := p.measure(t.Context(), rule, cred, &v); err != nil {
		t.Fatal(err)
	}
	if v.Evidence.Radius == nil {
		t.Fatal("nothing was learnt")
	}
	got := v.Evidence.Radius.Text()
	if strings.Contains(play.want, "\n") {
		got += "\n" + string(rule.Severity.Adjusted(v.Evidence.Radius.Access))
	}
	if got != play.want {
		t.Errorf("got\n%s\nwant\n%s", got, play.want)
	}
}

// answering are providers that give one answer, once.
func (n *internet) answering(t *testing.T, rule *rules.Rule, answer *recordedStep, cred checks.Credential) *Providers {
	if rule.BlastRadius.Request != nil { // whatever the verification asks, it is not this
		rule.Verify = rules.Action{Request: &rules.Request{Method: "GET", Base: "https://other.example", Path: "/"}}
	}
	asked := 0
	t.Cleanup(func() {
		if asked != 1 {
			t.Errorf("%d requests were made", asked)
		}
	})
	return n.providers(t, rule, func(w http.ResponseWriter, r *http.Request) {
		asked++
		body, _ := io.ReadAll(r.Body)
		if why := answer.differs(r, body, cred); why != "" {
			t.Error(why)
		}
		answer.reply(w, cred)
	})
}

// radiusRule is a kind that asks two questions.
func radiusRule(t *testing.T) *rules.Rule {
	rule := *catalogueRule(t, "gitlab-pat")
	rule.BlastRadius = &rules.BlastRadius{
		Request:     &rules.Request{Method: "GET", Path: "/reach", Header: rule.Verify.Request.Header},
		Permissions: []string{"may"},
	}
	return &rule
}

// Only a verdict of the best grade is followed by the question what the credential
// can do, and a bad answer to that changes nothing.
func TestRadiusOfTheBestGradeOnly(t *testing.T) {
	net := newInternet(t)
	rule := radiusRule(t)
	cred := exampleCredential(t, rule)
	const live = `{"id": 1, "name": "ci", "user_id": 7, "active": true}`
	for _, test := range []struct {
		name    string
		control string // what a random value is told
		status  int    // of the answer to the second question
		reach   string
		want    string // of the radius
		asked   bool
	}{
		{"grade A", `{"message": "401 Unauthorized"}`, 200, `{"may": ["read_api"]}`, "may read_api (read)", true},
		{"grade C", `{"message": "something else"}`, 200, `{"may": ["read_api"]}`, "", false},
		{"refused", `{"message": "401 Unauthorized"}`, 403, `{"may": ["read_api"]}`, "", true},
		{"a page", `{"message": "401 Unauthorized"}`, 200, `<html>log in</html>`, "", true},
		{"nothing", `{"message": "401 Unauthorized"}`, 200, `{"other": 1}`, "", true},
		{"the credential itself", `{"message": "401 Unauthorized"}`, 200, `{"may": "{secret}"}`, "", true},
	} {
		t.Run(test.name, func(t *testing.T) {
			var mu sync.Mutex
			asked := false
			p := net.providers(t, rule, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				ours := r.Header.Get("PRIVATE-TOKEN") == cred.Secret().Expose()
				switch {
				case strings.HasSuffix(r.URL.Path, "/reach"):
					mu.Lock()
					asked = true
					mu.Unlock()
					w.WriteHeader(test.status)
					io.WriteString(w, filled(test.reach, cred))
				case ours:
					io.WriteString(w, live)
				default:
					w.WriteHeader(http.StatusUnauthorized)
					io.WriteString(w, test.control)
				}
			})
			v, err := p.Verify(t.Context(), cred)
			if err != nil || v.Validity != checks.Active {
				t.Fatalf("%+v, %v", v, err)
			}
			if got := v.Evidence.Radius.Text(); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
			mu.Lock()
			defer mu.Unlock()
			if asked != test.asked {
				t.Errorf("the second question was asked: %t, want %t", asked, test.asked)
			}
		})
	}
}

// What is told is bounded, whatever a provider sends.
func TestRadiusIsBounded(t *testing.T) {
	many := make([]string, 10_000)
	for i := range many {
		many[i] = fmt.Sprintf("scope:%d%s", i, strings.Repeat("x", 1000))
	}
	r := radiusOf(&rules.BlastRadius{Owner: []string{"a"}, Permissions: []string{"b"}}, func(string) []string { return many })
	if len(r.Permissions) != maxPermissions+1 || len(r.Owner) > maxText || len(r.Permissions[0]) > maxText {
		t.Errorf("%d permissions, an owner of %d bytes", len(r.Permissions), len(r.Owner))
	}
}
