package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// What a history may take.
const (
	targetLog  = 3 // times faster than git log -p
	targetPeer = 8 // times faster than gitleaks
)

// history compares how long the whole history of a repository takes.
func (b *bench) history() error {
	repository, objects, err := b.makeHistory(b.commits)
	if err != nil {
		return err
	}
	merges, err := b.tell(nil, "git", "--git-dir", repository, "rev-list", "--all", "--merges", "--count")
	if err != nil {
		return err
	}
	b.printf("\n## History\n\n%d commits, %s of them merges, %d objects, packed by `git repack -a -d -f`: edits of Go source, among\n"+
		"which is a test key, so that its commit is looked for, too.\n\n"+
		"| command | wall s | CPU s | peak MB |\n|---|--:|--:|--:|\n", b.commits, merges, objects)
	commands := []command{
		{name: "scan --history", argv: []string{b.stanch, "scan", "--history", "--quiet", repository}, runs: b.runs},
		{name: "git log -p --all", argv: []string{"git", "--git-dir", repository, "log", "-p", "--all"}, runs: min(b.runs, 3)},
		{name: "gitleaks git", argv: []string{b.gitleaks, "git", "--no-banner", "--exit-code", "0", repository}, runs: b.peerRuns},
	}
	used, err := b.measureAll(commands...)
	if err != nil {
		return err
	}
	for i, name := range []string{"`stanch scan --history`", "`git log -p --all > /dev/null`", "`gitleaks git --no-banner --exit-code 0`"} {
		b.printf("| %s | %.2f | %.2f | %d |\n", name, used[i].wall.Seconds(), used[i].cpu.Seconds(), used[i].peak/mega)
	}
	if err := b.newObjects(repository); err != nil {
		return err
	}
	wall := used[0].wall.Seconds()
	log, peer := used[1].wall.Seconds()/wall, used[2].wall.Seconds()/wall
	b.targets()
	b.target("wall time, part of `git log -p --all`", fmt.Sprintf("≤ 1/%d", targetLog), fmt.Sprintf("1/%.1f", log), log >= targetLog)
	b.target("wall time, part of `gitleaks git`", fmt.Sprintf("≤ 1/%d", targetPeer), fmt.Sprintf("1/%.1f", peer), peer >= targetPeer)
	return nil
}

// newObjects measures what ranges of more and more commits take, and histories.
func (b *bench) newObjects(repository string) error {
	b.printf("\n| what is new | commits | objects | wall s | CPU s | CPU µs per object |\n|---|--:|--:|--:|--:|--:|\n")
	for _, part := range []int{16, 8, 4, 2} {
		first := b.commits / part / 2
		spec := fmt.Sprintf("main~%d..main", first)
		commits, err := b.tell(nil, "git", "--git-dir", repository, "rev-list", "--count", spec)
		if err != nil {
			return err
		}
		listed, err := b.tell(nil, "git", "--git-dir", repository, "rev-list", "--objects", spec)
		if err != nil {
			return err
		}
		c := command{name: "scan --git " + spec, argv: []string{b.stanch, "scan", "--quiet", "--git", spec, repository}, runs: b.runs}
		if err := b.grown("`--git "+spec+"`", commits, strings.Count(listed, "\n")+1, c); err != nil {
			return err
		}
	}
	for _, part := range []int{8, 4, 2, 1} {
		n := b.commits / part
		dir, objects, err := b.makeHistory(n)
		if err != nil {
			return err
		}
		c := command{name: "scan --history", argv: []string{b.stanch, "scan", "--history", "--quiet", dir}, runs: b.runs}
		if err := b.grown("`--history`", strconv.Itoa(n), objects, c); err != nil {
			return err
		}
	}
	return nil
}

// grown writes the row of one amount of new objects.
func (b *bench) grown(what, commits string, objects int, c command) error {
	used, err := b.measureAll(c)
	if err != nil {
		return err
	}
	b.printf("| %s | %s | %d | %.2f | %.2f | %.0f |\n", what, commits, objects, used[0].wall.Seconds(), used[0].cpu.Seconds(),
		used[0].cpu.Seconds()*1e6/float64(objects))
	return nil
}

// makeHistory makes a repository of so many commits and returns how many objects it
// has. One that is there already is kept.
func (b *bench) makeHistory(commits int) (dir string, objects int, err error) {
	dir = filepath.Join(b.work, fmt.Sprintf("history-%d.git", commits))
	if _, err := os.Stat(dir); err != nil {
		b.say("making a history of %d commits", commits)
		goroot, _, err := b.roots()
		if err != nil {
			return "", 0, err
		}
		if err := importHistory(b.ctx, dir, goroot, commits); err != nil {
			return "", 0, err
		}
	}
	counts, err := b.tell(nil, "git", "--git-dir", dir, "count-objects", "-v")
	if err != nil {
		return "", 0, err
	}
	_, packed, _ := strings.Cut(counts, "in-pack: ")
	packed, _, _ = strings.Cut(packed, "\n")
	objects, err = strconv.Atoi(packed)
	return dir, objects, err
}
