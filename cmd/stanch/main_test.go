package main

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/rules"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"stanch": mortalMain,
		"sample": printSample,
		"status": expectStatus,
		"files":  printFiles,
	})
}

// printSample prints a made-up value of the kind that its argument names, so that
// scripts need hold none: sample RULE [TEXT], where TEXT holds {sample}.
func printSample() {
	catalogue, err := rules.Catalogue()
	if err != nil {
		panic(err)
	}
	text := "{sample}\n"
	if len(os.Args) > 2 {
		text = os.Args[2] + "\n"
	}
	for _, r := range catalogue {
		if r.ID != os.Args[1] {
			continue
		}
		expanded, _, err := r.Expand(text, rand.Reader)
		if err != nil {
			panic(err)
		}
		fmt.Print(expanded)
		return
	}
	fmt.Fprintf(os.Stderr, "no rule %s\n", os.Args[1])
	os.Exit(1)
}

// expectStatus runs a command and succeeds if it exits with a status: status N COMMAND….
func expectStatus() {
	want, err := strconv.Atoi(os.Args[1])
	if err != nil {
		panic(err)
	}
	c := exec.Command(os.Args[2], os.Args[3:]...)
	c.Stdin, c.Stdout, c.Stderr = os.Stdin, os.Stdout, os.Stderr
	var failed *exec.ExitError
	if err := c.Run(); err != nil && !errors.As(err, &failed) {
		panic(err)
	}
	if got := c.ProcessState.ExitCode(); got != want {
		fmt.Fprintf(os.Stderr, "exit status %d, want %d\n", got, want)
		os.Exit(1)
	}
}

// printFiles prints the files that findings in JSON lines name: files REPORT.
func printFiles() {
	data, err := os.ReadFile(os.Args[1])
	if err != nil {
		panic(err)
	}
	for line := range strings.Lines(string(data)) {
		var finding struct{ File string }
		if err := json.Unmarshal([]byte(line), &finding); err != nil {
			panic(err)
		}
		fmt.Println(finding.File)
	}
}

// TestScripts drives the program as its users do.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 filepath.Join("testdata", "script"),
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("XDG_CONFIG_HOME", t.TempDir())
			env.Setenv("GIT_CONFIG_GLOBAL", "/dev/null")
			env.Setenv("GIT_CONFIG_SYSTEM", "/dev/null")
			for _, who := range []string{"AUTHOR", "COMMITTER"} {
				env.Setenv("GIT_"+who+"_NAME", "Ada")
				env.Setenv("GIT_"+who+"_EMAIL", "ada@example.org")
			}
			return nil
		},
		Condition: func(name string) (bool, error) {
			switch name {
			case "git":
				_, err := exec.LookPath("git")
				return err == nil, nil
			case "unprivileged":
				return os.Geteuid() > 0, nil
			}
			return false, fmt.Errorf("unknown condition %q", name)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"absent":    absent,
			"fill":      fillTemplate,
			"gitlab":    gitlab,
			"githubapp": githubApp,
			"sparse":    writeSparse,
			"many":      many,
		},
	})
}

// absent SECRET FILE… fails if a file holds what is in the file SECRET.
func absent(ts *testscript.TestScript, neg bool, args []string) {
	secret := strings.TrimSpace(ts.ReadFile(args[0]))
	if neg || secret == "" {
		ts.Fatalf("usage: absent SECRET FILE…, with something in SECRET")
	}
	for _, name := range args[1:] {
		if strings.Contains(ts.ReadFile(name), secret) {
			ts.Fatalf("%s holds the secret", name)
		}
	}
}

// fillTemplate is fill SECRET TEMPLATE FILE: it makes a file of a template, in which {secret} stands for what
// is in the file SECRET.
func fillTemplate(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: fill SECRET TEMPLATE FILE")
	}
	text := strings.ReplaceAll(ts.ReadFile(args[1]), "{secret}", strings.TrimSpace(ts.ReadFile(args[0])))
	ts.Check(os.WriteFile(ts.MkAbs(args[2]), []byte(text), 0o600))
}

// many SECRET FILE makes a file with more secrets than one file lists. Where the name
// ends in a hyphen, the secret becomes the end of it.
func many(ts *testscript.TestScript, neg bool, args []string) {
	secret := strings.TrimSpace(ts.ReadFile(args[0]))
	name := args[1]
	if strings.HasSuffix(name, "-") {
		name += secret
	}
	text := strings.Repeat(secret+"\n", checks.MaxFindings+1)
	ts.Check(os.WriteFile(ts.MkAbs(name), []byte(text), 0o600))
}

// writeSparse is sparse FILE SECRET: it makes a file of 10 GB, almost all of it a hole, with what is in
// the file SECRET on its second line and its last.
func writeSparse(ts *testscript.TestScript, neg bool, args []string) {
	secret := []byte("\n" + strings.TrimSpace(ts.ReadFile(args[1])) + "\n")
	f, err := os.Create(ts.MkAbs(args[0]))
	ts.Check(err)
	defer f.Close()
	for _, at := range []int64{0, 10 << 30} {
		_, err := f.WriteAt(secret, at)
		ts.Check(err)
	}
}
