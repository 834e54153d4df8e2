package main

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// A composite is what action.yml says, as far as its steps use it.
type composite struct {
	Inputs  map[string]struct{ Description, Default string }
	Outputs map[string]struct{ Description, Value string }
	Runs    struct {
		Using string
		Steps []compositeStep
	}
}

type compositeStep struct {
	ID, If, Uses, Shell, Run string
	Env                      map[string]string
	With                     map[string]string
}

func readComposite(t *testing.T) composite {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(moduleRoot(t), "action.yml"))
	if err != nil {
		t.Fatal(err)
	}
	var c composite
	d := yaml.NewDecoder(bytes.NewReader(data))
	if err := d.Decode(&c); err != nil {
		t.Fatalf("action.yml: %v", err)
	}
	if c.Runs.Using != "composite" || len(c.Runs.Steps) == 0 {
		t.Fatalf("action.yml is no composite action with steps: %+v", c.Runs)
	}
	return c
}

// expression is the part of GitHub's expressions that action.yml uses.
var (
	expression = regexp.MustCompile(`\$\{\{\s*([^}]*?)\s*\}\}`)
	condition  = regexp.MustCompile(`^(\S+) == '([^']*)'$`)
)

// A compositeRun runs the steps of action.yml in bash, as the runner does.
type compositeRun struct {
	*step
	context map[string]string // what expressions can name
}

// runYML runs action.yml for the step's event, with inputs.
func (s *step) runYML(inputs map[string]string) *step {
	s.t.Helper()
	c := readComposite(s.t)
	r := compositeRun{s, map[string]string{"github.action_path": moduleRoot(s.t), "github.token": ""}}
	for name, in := range c.Inputs {
		r.context["inputs."+name] = r.fill(in.Default)
	}
	for name, value := range inputs {
		if _, ok := c.Inputs[name]; !ok {
			s.t.Fatalf("action.yml has no input %s", name)
		}
		r.context["inputs."+name] = value
	}
	for _, each := range c.Runs.Steps {
		if s.code != 0 || !r.holds(each.If) {
			continue
		}
		if each.Uses != "" {
			s.t.Fatalf("action.yml would use %s, which the tests cannot", each.Uses)
		}
		r.bash(each)
	}
	outputs := map[string]string{}
	for name, out := range c.Outputs {
		outputs[name] = r.fill(out.Value)
	}
	s.outputs = outputs
	return s
}

// fill puts in what expressions stand for. A name that is not known is a mistake
// in action.yml, where GitHub would silently put nothing.
func (r compositeRun) fill(text string) string {
	return expression.ReplaceAllStringFunc(text, func(found string) string {
		name := expression.FindStringSubmatch(found)[1]
		value, ok := r.context[name]
		if !ok && !strings.HasPrefix(name, "steps.") {
			r.t.Errorf("action.yml names %s, which the tests do not know", name)
		}
		return value
	})
}

func (r compositeRun) holds(text string) bool {
	if text == "" {
		return true
	}
	m := condition.FindStringSubmatch(text)
	if m == nil {
		r.t.Fatalf("action.yml has the condition %q, which the tests do not know", text)
	}
	return r.context[m[1]] == m[2]
}

// bash runs a step: the script in a file, with the options that the runner gives
// to “shell: bash” (docs.github.com, "Workflow syntax", shell).
func (r compositeRun) bash(each compositeStep) {
	r.t.Helper()
	if each.Shell != "bash" {
		r.t.Fatalf("the shell of step %s is %q", each.ID, each.Shell)
	}
	if expression.MatchString(each.Run) {
		r.t.Errorf("step %s puts an expression into its script, where a stranger's text would run: use env", each.ID)
	}
	output := r.file("output-"+each.ID, "")
	r.env["GITHUB_OUTPUT"] = output
	cmd := exec.Command("bash", "--noprofile", "--norc", "-e", "-o", "pipefail", r.file("step.sh", each.Run))
	cmd.Dir = r.env["GITHUB_WORKSPACE"]
	env := maps.Clone(r.env)
	for name, value := range each.Env {
		env[name] = r.fill(value)
	}
	cmd.Env = os.Environ()
	for name, value := range env {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	err := cmd.Run()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		r.t.Fatalf("step %s: %v", each.ID, err)
	}
	r.code, r.log = cmd.ProcessState.ExitCode(), r.log+log.String()
	r.read()
	for name, value := range r.outputs {
		r.context[fmt.Sprintf("steps.%s.outputs.%s", each.ID, name)] = value
	}
}

// The steps themselves, on the events that matter most.
func TestActionYML(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("needs bash")
	}
	h := newHistory(t)
	base, head := forkPull(h)
	tip := h.commit("new.env", h.leak("gitlab-pat"))
	push := newStep(t, "push", pushEvent(t, "refs/heads/main", base, tip), h.checkout("refs/heads/main", "0").dir)
	push.runYML(nil).found("new.env:1")
	binary := filepath.Join(push.temp, "stanch", "stanch")
	if _, err := os.Stat(binary); err != nil {
		t.Fatalf("the program was not built where it is expected: %v", err)
	}
	// The others need not build it again.
	inputs := map[string]string{"binary": binary}
	newStep(t, "push", pushEvent(t, "refs/heads/main", base, tip), h.checkout("refs/heads/main", "1").dir).runYML(inputs).found("new.env:1")
	fork := newStep(t, "pull_request", pullEvent(t, 7, base, head), h.checkout("refs/pull/7/merge", "1").dir)
	fork.runYML(inputs).found("fork.env:1")
	queue := example(t, "merge_group", anyExample)
	at(queue, "merge_group")["base_sha"], at(queue, "merge_group")["head_sha"] = base, tip
	newStep(t, "merge_group", queue, h.checkout("refs/heads/main", "1").dir).runYML(inputs).found("new.env:1")
	newStep(t, "schedule", map[string]any{"schedule": "0 0 * * *"}, h.checkout("refs/heads/main", "1").dir).runYML(inputs).
		found("old.env:1", "base.env:1", "new.env:1")
	inputs["fail-on"] = "never"
	newStep(t, "push", pushEvent(t, "refs/heads/main", base, tip), h.checkout("refs/heads/main", "1").dir).runYML(inputs).
		ended(exitDone, concludedNeutral)
}

// What the program reads, action.yml hands over; what action.yml has, the
// documentation explains.
func TestActionInputs(t *testing.T) {
	c := readComposite(t)
	document, err := os.ReadFile(filepath.Join(moduleRoot(t), "docs", "action.md"))
	if err != nil {
		t.Fatal(err)
	}
	scan := c.Runs.Steps[len(c.Runs.Steps)-1]
	for name, in := range c.Inputs {
		variable := "INPUT_" + strings.ReplaceAll(strings.ToUpper(name), "-", "_")
		if want := "${{ inputs." + name + " }}"; name != "binary" && scan.Env[variable] != want {
			t.Errorf("the last step's %s is %q, want %q", variable, scan.Env[variable], want)
		}
		if in.Description == "" || !bytes.Contains(document, []byte("| `"+name+"`")) {
			t.Errorf("docs/action.md has no row for the input %s, or it has no description", name)
		}
	}
	for variable := range scan.Env {
		if variable != "BINARY" && !strings.Contains(actionUsage, variable) {
			t.Errorf("stanch action --help does not name %s", variable)
		}
	}
	for name, out := range c.Outputs {
		if out.Description == "" || !bytes.Contains(document, []byte("| `"+name+"`")) {
			t.Errorf("docs/action.md has no row for the output %s, or it has no description", name)
		}
	}
	if got := slices.Sorted(maps.Keys(c.Outputs)); !slices.Equal(got, []string{"conclusion", "coverage", "findings", "sarif"}) {
		t.Errorf("outputs are %q", got)
	}
}
