package main

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

// peer is the module of the scanner that Stanch is compared with.
const peer = "github.com/zricethezav/gitleaks/v8@v8.30.1"

// build makes both programs.
func (b *bench) build() error {
	bin := filepath.Join(b.work, "bin")
	b.stanch, b.gitleaks = filepath.Join(bin, "stanch"), filepath.Join(bin, "gitleaks")
	b.say("building %s and stanch", peer)
	if err := os.MkdirAll(bin, 0o755); err != nil {
		return err
	}
	if _, err := os.Stat(b.gitleaks); err != nil {
		if _, err := b.tell([]string{"GOBIN=" + bin}, "go", "install", peer); err != nil {
			return err
		}
	}
	_, err := b.tell(nil, "go", "build", "-trimpath", "-o", b.stanch, "github.com/stanch-dev/stanch/cmd/stanch")
	return err
}

// tell runs a program with more environment and returns what it says.
func (b *bench) tell(env []string, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(b.ctx, name, args...)
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.Output()
	if err != nil {
		if exit, ok := err.(*exec.ExitError); ok {
			err = fmt.Errorf("%w: %s", err, exit.Stderr)
		}
		return "", fmt.Errorf("%s %s: %w", name, strings.Join(args, " "), err)
	}
	return strings.TrimSpace(string(out)), nil
}

const preface = `# Performance

Stanch beside gitleaks 8.30.1, measured in one run by

    go run ./cmd/bench%s

which builds gitleaks from its module, makes what both scan on the spot, and wrote this page. Nothing is asked of
a provider, and all rules, decoders and filters of Stanch are on; gitleaks runs with its own defaults.

Megabytes are decimal. Processor time is user and system time of the whole process, its start included; memory is the
peak resident set that the system reports. Figures are medians (of memory: the most) of %d runs of Stanch and %d of gitleaks,
unless something else is said, taken in turns. Wall time depends on what else the machine does; processor time hardly.

Machine: %s, %d processors, %s. %s, %s. Stanch has %s rules.
`

// preface writes what the figures were measured with.
func (b *bench) preface() error {
	gitVersion, err := b.tell(nil, "git", "version")
	if err != nil {
		return err
	}
	goVersion, err := b.tell(nil, "go", "version")
	if err != nil {
		return err
	}
	rules, err := b.tell(nil, b.stanch, "rules", "list")
	if err != nil {
		return err
	}
	b.printf(preface, b.flags, b.runs, b.peerRuns, processor(), runtime.NumCPU(), memory(), strings.TrimPrefix(goVersion, "go version "), gitVersion,
		fmt.Sprint(strings.Count(rules, "\n")))
	return nil
}

// processor names the processor, as far as the system tells.
func processor() string {
	if model := field("/proc/cpuinfo", "model name"); model != "" {
		return model
	}
	return runtime.GOARCH
}

// memory tells how much of it the machine has.
func memory() string {
	if total := field("/proc/meminfo", "MemTotal"); total != "" {
		return total + " of memory"
	}
	return "unknown memory"
}

// field returns the first value of a field in one of the system's tables, or "".
func field(path, name string) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if key, value, found := strings.Cut(lines.Text(), ":"); found && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
