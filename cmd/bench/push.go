package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// A diff of the mean size that was measured over 2,000 commits of four well-known
// projects, of which the lines that are added are so much.
const (
	diffSize  = 9757
	addedSize = 4286
	diffs     = 40 // so many are made
)

// What a push may take.
const (
	targetScan  = 70 * time.Microsecond      // of processor time, in a resident process
	targetStdin = 163 * time.Millisecond / 5 // the wall time of a process: a fifth of gitleaks' where the target was set
)

// push compares what the diff of one push takes: as a process, and in one that
// stays.
func (b *bench) push() error {
	dir, err := b.makeDiffs()
	if err != nil {
		return err
	}
	var ours, theirs, version []usage
	for i := range diffs {
		name := filepath.Join(dir, fmt.Sprintf("%02d.diff", i))
		used, err := b.measureAll(
			command{name: "scan --stdin", stdin: name, argv: []string{b.stanch, "scan", "--stdin", "--quiet"}, runs: 1},
			command{name: "gitleaks stdin", stdin: name, argv: []string{b.gitleaks, "stdin", "--no-banner", "--exit-code", "0"}, runs: 1},
			command{name: "version", argv: []string{b.stanch, "version"}, runs: 1})
		if err != nil {
			return err
		}
		ours, theirs, version = append(ours, used[0]), append(theirs, used[1]), append(version, used[2])
	}
	b.printf("\n## A push\n\n%d diffs of %.1f KB, of which %.1f KB are added lines, made of Go source; each scanned once by each process.\n\n"+
		"| command | wall ms | CPU ms | peak MB |\n|---|--:|--:|--:|\n", diffs, diffSize/1e3, addedSize/1e3)
	for _, row := range []struct {
		name string
		all  []usage
	}{{"`stanch scan --stdin`", ours}, {"`gitleaks stdin --no-banner --exit-code 0`", theirs}, {"`stanch version`, the least that a process takes", version}} {
		m := median(row.all)
		b.printf("| %s | %.1f | %.1f | %d |\n", row.name, milliseconds(m.wall), milliseconds(m.cpu), m.peak/mega)
	}
	resident, err := b.resident(dir)
	if err != nil {
		return err
	}
	b.printf("\nIn a process that stays, `Scanner.Examine` of a whole diff takes %.1f µs of processor time and %.2f allocations (%d scans of %d clean diffs).\n",
		resident.Microseconds, resident.Allocations, resident.Scans, resident.Files)
	wall, peer := median(ours).wall, median(theirs).wall
	b.targets()
	b.target("process for one diff, wall ms", fmt.Sprintf("≤ %.1f", milliseconds(targetStdin)), fmt.Sprintf("%.1f", milliseconds(wall)), wall <= targetStdin)
	b.target("the same, part of gitleaks' here", "≤ 1/5", fmt.Sprintf("1/%.1f", float64(peer)/float64(wall)), 5*wall <= peer)
	limit := float64(targetScan.Microseconds())
	b.target("resident, CPU µs a diff", fmt.Sprintf("≤ %.0f", limit), fmt.Sprintf("%.1f", resident.Microseconds), resident.Microseconds <= limit)
	b.target("resident, allocations a diff", "0", fmt.Sprintf("%.2f", resident.Allocations), resident.Allocations < 0.005)
	return nil
}

func milliseconds(d time.Duration) float64 { return d.Seconds() * 1e3 }

// makeDiffs writes diffs, each of a file of Go's source.
func (b *bench) makeDiffs() (dir string, err error) {
	goroot, _, err := b.roots()
	if err != nil {
		return "", err
	}
	all, err := sources(goroot)
	if err != nil {
		return "", err
	}
	dir = filepath.Join(b.work, "diffs")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	made := 0
	for _, s := range all {
		if filepath.Ext(s.rel) != ".go" || s.size < diffSize || made == diffs {
			continue
		}
		data, err := os.ReadFile(s.path)
		if err != nil {
			return "", err
		}
		name := filepath.Join(dir, fmt.Sprintf("%02d.diff", made))
		if err := os.WriteFile(name, diffOf(filepath.ToSlash(s.rel), data), 0o644); err != nil {
			return "", err
		}
		made++
	}
	if made < diffs {
		return "", fmt.Errorf("%s has only %d files to make diffs of, not %d", goroot, made, diffs)
	}
	return dir, nil
}

// diffOf writes a diff in whose hunks the lines of a file stand as context, removed
// and added ones.
func diffOf(name string, data []byte) []byte {
	var out bytes.Buffer
	fmt.Fprintf(&out, "diff --git a/%s b/%[1]s\nindex 3b18e51..d670460 100644\n--- a/%[1]s\n+++ b/%[1]s\n", name)
	added, at := 0, 0
	for line := range bytes.Lines(data) {
		if at%20 == 0 {
			fmt.Fprintf(&out, "@@ -%d,11 +%[1]d,15 @@\n", at+1)
		}
		sign := byte(' ')
		if place := at % 20; place >= 3 && place < 8 {
			sign = '-'
		} else if place >= 8 && place < 17 && added < addedSize {
			sign = '+'
			added += len(line)
		}
		out.WriteByte(sign)
		out.Write(line)
		if at++; out.Len() >= diffSize {
			break
		}
	}
	return out.Bytes()[:min(out.Len(), diffSize)]
}

// resident measures scans within one process: another one, as this one's memory
// would be taken for that of its children.
func (b *bench) resident(dir string) (m residentFigures, err error) {
	self, err := os.Executable()
	if err != nil {
		return m, err
	}
	out, err := b.tell(nil, self, "-resident", dir)
	if err != nil {
		return m, err
	}
	return m, json.Unmarshal([]byte(out), &m)
}
