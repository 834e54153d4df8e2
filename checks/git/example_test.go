package git_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/checks/git"
	"github.com/stanch-dev/stanch/rules"
)

// leaky makes a repository with two commits: one adds a token, the next removes it.
func leaky(dir string) {
	token, err := rules.Expand("glpat-{20:base62}", rand.Reader)
	if err != nil {
		log.Fatal(err)
	}
	run := func(args ...string) {
		cmd := exec.Command("git", append([]string{"-C", dir, "-c", "user.name=Ada", "-c", "user.email=ada@example.org"}, args...)...)
		cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL="+os.DevNull)
		if out, err := cmd.CombinedOutput(); err != nil {
			log.Fatalf("git %s: %v: %s", args, err, out)
		}
	}
	run("init", "-q", "-b", "main")
	for _, text := range []string{"TOKEN=" + token + "\n", "TOKEN=\n"} {
		if err := os.WriteFile(filepath.Join(dir, "deploy.env"), []byte(text), 0o600); err != nil {
			log.Fatal(err)
		}
		run("add", ".")
		run("commit", "-q", "-m", "change it")
	}
}

// What the history of all branches ever held, and how much of it was seen.
func ExampleRepository_History() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "example-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	leaky(dir)

	catalogue, err := rules.Catalogue()
	if err != nil {
		log.Fatal(err)
	}
	scanner, err := checks.New(catalogue...)
	if err != nil {
		log.Fatal(err)
	}
	repository, err := git.Open(ctx, dir)
	if err != nil {
		log.Fatal(err)
	}
	result, err := repository.History(ctx, scanner, git.HistoryOptions{})
	if err != nil {
		log.Fatal(err)
	}
	for _, leak := range result.Findings {
		fmt.Printf("%s:%d: %s, by %s\n", leak.Path, leak.Line, leak.Rule.ID, leak.Author)
	}
	fmt.Println(result.Coverage.Commits, "commits, complete:", result.Coverage.Complete())
	// Output:
	// deploy.env:1: gitlab-pat, by Ada <ada@example.org>
	// 2 commits, complete: true
}

// What the commits of a range add.
func ExampleRepository_Scan() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "example-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	leaky(dir)

	catalogue, err := rules.Catalogue()
	if err != nil {
		log.Fatal(err)
	}
	scanner, err := checks.New(catalogue...)
	if err != nil {
		log.Fatal(err)
	}
	repository, err := git.Open(ctx, dir)
	if err != nil {
		log.Fatal(err)
	}
	commits, err := repository.ParseRange(ctx, "main~1..main")
	if err != nil {
		log.Fatal(err)
	}
	result, err := repository.Scan(ctx, commits, scanner, nil)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(len(result.Findings), "found")
	// Output: 0 found
}
