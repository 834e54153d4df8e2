package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A step is a run of stanch action with the environment of a workflow's step.
type step struct {
	t       *testing.T
	env     map[string]string
	temp    string
	code    int
	log     string
	summary string
	outputs map[string]string
}

// newStep is a step of a job that has checked out a repository, for an event.
func newStep(t *testing.T, event string, payload map[string]any, workspace string) *step {
	t.Helper()
	s := &step{t: t, temp: t.TempDir()}
	data, err := json.Marshal(payload)
	if err != nil {
		t.Fatal(err)
	}
	s.env = map[string]string{
		"GITHUB_EVENT_NAME": event, "GITHUB_EVENT_PATH": s.file("event.json", string(data)), "GITHUB_WORKSPACE": workspace,
		"GITHUB_OUTPUT": s.file("output", ""), "GITHUB_STEP_SUMMARY": s.file("summary", ""), "RUNNER_TEMP": s.temp,
		"GITHUB_SERVER_URL": "https://github.com", "GITHUB_REPOSITORY": "octo/repo", "GITHUB_ACTIONS": "true", "CI": "true",
		"STANCH_FINGERPRINT_KEY": strings.Repeat("0f", 32),
	}
	return s
}

func (s *step) file(name, text string) string {
	s.t.Helper()
	path := filepath.Join(s.temp, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
	return path
}

// run runs the subcommand with inputs.
func (s *step) run(inputs map[string]string) *step {
	s.t.Helper()
	env := maps.Clone(s.env)
	for name, value := range inputs {
		env["INPUT_"+strings.ReplaceAll(strings.ToUpper(name), "-", "_")] = value
	}
	var out, errs bytes.Buffer
	s.code = run(s.t.Context(), []string{"action"}, strings.NewReader(""), &out, &errs, func(name string) string { return env[name] })
	s.log = out.String() + errs.String()
	s.read()
	return s
}

// read takes over what the step wrote into the runner's files.
func (s *step) read() {
	s.t.Helper()
	summary, err := os.ReadFile(s.env["GITHUB_STEP_SUMMARY"])
	if err != nil {
		s.t.Fatal(err)
	}
	s.summary = string(summary)
	text, err := os.ReadFile(s.env["GITHUB_OUTPUT"])
	if err != nil {
		s.t.Fatal(err)
	}
	if s.outputs, err = parseOutputs(string(text)); err != nil {
		s.t.Fatalf("%v in %q", err, text)
	}
}

// parseOutputs reads a file of NAME=VALUE and NAME<<END entries, as the runner does.
func parseOutputs(text string) (map[string]string, error) {
	outputs := map[string]string{}
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	for i := 0; i < len(lines) && lines[i] != ""; i++ {
		name, end, ok := strings.Cut(lines[i], "<<")
		if equals, value, plain := strings.Cut(lines[i], "="); plain && (!ok || len(equals) < len(name)) {
			outputs[equals] = value
			continue
		}
		if !ok {
			return nil, fmt.Errorf("line %d is no output", i+1)
		}
		var value []string
		for i++; i < len(lines) && lines[i] != end; i++ {
			value = append(value, lines[i])
		}
		if i == len(lines) {
			return nil, fmt.Errorf("output %s does not end", name)
		}
		outputs[name] = strings.Join(value, "\n")
	}
	return outputs, nil
}

// sarif are the places of the results in the SARIF file: "path:line".
func (s *step) sarif() []string {
	s.t.Helper()
	data, err := os.ReadFile(s.outputs["sarif"])
	if err != nil {
		s.t.Fatal(err)
	}
	var log struct {
		Runs []struct {
			Results []struct {
				Locations []struct {
					PhysicalLocation struct {
						ArtifactLocation struct{ URI string }
						Region           struct{ StartLine int }
					}
				}
			}
		}
	}
	if err := json.Unmarshal(data, &log); err != nil {
		s.t.Fatal(err)
	}
	places := []string{}
	for _, r := range log.Runs[0].Results {
		at := r.Locations[0].PhysicalLocation
		places = append(places, fmt.Sprintf("%s:%d", at.ArtifactLocation.URI, at.Region.StartLine))
	}
	return places
}

// found fails the test unless exactly these places were found, in the order of
// commits, and the step ended as it should.
func (s *step) found(places ...string) *step {
	s.t.Helper()
	if got := strings.Join(s.sarif(), " "); got != strings.Join(places, " ") {
		s.t.Fatalf("found %q, want %q; log:\n%s", got, places, s.log)
	}
	code, conclusion := exitDone, concludedSuccess
	if len(places) > 0 {
		code, conclusion = exitFound, concludedFailure
	}
	return s.ended(code, conclusion)
}

func (s *step) ended(code int, conclusion string) *step {
	s.t.Helper()
	if s.code != code || s.outputs["conclusion"] != conclusion {
		s.t.Fatalf("status %d and conclusion %q, want %d and %q; log:\n%s", s.code, s.outputs["conclusion"], code, conclusion, s.log)
	}
	return s
}

// example is one of GitHub's own sample payloads, decoded.
func example(t *testing.T, event string, fits func(map[string]any) bool) map[string]any {
	t.Helper()
	path := os.Getenv("STANCH_WEBHOOK_EXAMPLES")
	if path == "" {
		if os.Getenv("STANCH_CI") == "1" {
			t.Fatal("STANCH_WEBHOOK_EXAMPLES is not set: continuous integration needs GitHub's sample payloads")
		}
		t.Skip("STANCH_WEBHOOK_EXAMPLES does not name the index.json of @octokit/webhooks-examples")
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var all []struct {
		Name     string
		Examples []map[string]any
	}
	if err := json.Unmarshal(data, &all); err != nil {
		t.Fatal(err)
	}
	for _, e := range all {
		for _, payload := range e.Examples {
			if e.Name == event && fits(payload) {
				return payload
			}
		}
	}
	t.Fatalf("GitHub's samples have no fitting %s", event)
	return nil
}

func anyExample(map[string]any) bool { return true }

// at is the object below the names in a payload.
func at(payload map[string]any, names ...string) map[string]any {
	for _, name := range names {
		payload = payload[name].(map[string]any)
	}
	return payload
}

// pushEvent is GitHub's sample of a push of a branch, for commits of ours.
func pushEvent(t *testing.T, ref, before, after string) map[string]any {
	t.Helper()
	p := example(t, "push", func(p map[string]any) bool { return p["ref"] == "refs/heads/master" })
	p["ref"], p["before"], p["after"] = ref, before, after
	p["created"], p["deleted"] = zeroID(before), zeroID(after)
	at(p, "repository")["default_branch"] = "main"
	return p
}

// pullEvent is GitHub's sample of a pull request that was opened, for commits of
// ours.
func pullEvent(t *testing.T, number int, base, head string) map[string]any {
	t.Helper()
	p := example(t, "pull_request", func(p map[string]any) bool { return p["action"] == "opened" })
	p["number"] = number
	pull := at(p, "pull_request")
	pull["number"] = number
	at(pull, "base")["sha"], at(pull, "head")["sha"] = base, head
	at(p, "repository")["default_branch"] = "main"
	return p
}

const noCommit = "0000000000000000000000000000000000000000"
