//go:build !race

package main

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/stanch-dev/stanch/app/incident"
)

var writeMatrix = flag.Bool("write-matrix", false, "write what comes of it into docs/crash-matrix.md")

var matrix = flag.Bool("matrix", false, "crash everywhere, which takes ten minutes")
var allPairs = flag.Bool("all-pairs", false, "crash with every kind of credential in every store")

// paired reports whether a kind is crashed with in a store: the first three with each
// other, and more only in the file, or with a GitHub token. Keys whose replacement stays in
// its engine stand in no store, and change none.
func paired(kind, s string) bool {
	if kind == transitKeyName || kind == sshAuthorityName {
		return s == "encrypted file"
	}
	first := []string{"GitHub token (broker)", "Vault token", "AWS access key", "encrypted file", "Vault KV 2", "AWS Secrets Manager"}
	if *allPairs || slices.Contains(first, kind) && slices.Contains(first, s) {
		return true
	}
	return kind == "GitHub token (broker)" || s == "encrypted file"
}

// maxAnswers bounds the answers of one step at which the process is killed: the first
// ones, and the last.
const maxAnswers = 4

// A crashRow is what came of the crashes of one kind of credential in one store.
type crashRow struct {
	store, kind           string
	steps                 []string
	cases                 int
	lost, orphaned, twice int
	persons               map[string]string // what people were told to do, by the step
	gap                   string            // why what the store holds does not work for a moment
	asks                  string            // what a person is always told in the end
	people                string            // what people do meanwhile
}

// TestCrashMatrix kills the server before, during and after each step of a remediation,
// for each kind of credential in each store, and starts it again: what works must be in
// the store at all times, and in the end the leaked one is dead, or a person is told
// what is to be done.
func TestCrashMatrix(t *testing.T) {
	if !*matrix && !*writeMatrix && !*allPairs {
		t.Skip("it takes ten minutes: go test ./cmd/stanch -run TestCrashMatrix -timeout 30m -matrix")
	}
	vault := newCrashVault(t)
	aws := newCrashAWS(t)
	kinds := map[string]crashKind{"GitHub token (broker)": newGitHubTokens(t), "Vault token": vaultTokens{vault}, "AWS access key": awsKeys{aws}}
	stores := map[string]crashStore{"encrypted file": inFile{}, "Vault KV 2": inVault{vault}, "AWS Secrets Manager": inAWS{aws}}
	maps.Copy(kinds, newCrashDatabases(t))
	maps.Copy(kinds, newVaultEngines(t, vault))
	kinds["AWS key of a static role of Vault"] = newVaultAWSKeys(t, aws)
	git := newCrashGitHub(t)
	kinds["GitHub deploy key"] = deployKeyKind{git}
	google, azure := newCrashGoogle(t), newCrashAzure(t)
	kinds["Google service account key"], kinds["Google API key"] = serviceKeys{google}, googleAPIKeys{google}
	kinds["Entra client secret"], kinds["Entra client secret, one of two that begin alike"] = appSecrets{azure, false}, appSecrets{azure, true}
	kinds["Azure storage account key"] = storageKeys{azure}
	stores["Google Secret Manager"], stores["Azure Key Vault"] = inGoogle{google}, inAzure{azure}
	stores["Kubernetes"], stores[copiedToGitHub] = newInKubernetes(t), inFileAndGitHub{crashGitHub: git}
	var mu sync.Mutex
	rows := map[string]crashRow{}
	t.Run("all", func(t *testing.T) {
		for kind := range kinds {
			for s := range stores {
				if !paired(kind, s) || s == copiedToGitHub && copiedFields[kind] == "" {
					continue
				}
				name, kept := kind+" in "+s, stores[s]
				if s == copiedToGitHub {
					kept = inFileAndGitHub{git, copiedFields[kind]}
				}
				if k, ok := kinds[kind].(vaultAWSKeys); ok && s == "Vault KV 2" {
					kept = inVault{k.crashVault} // a process knows one server
				}
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					row := crashEverywhere(t, kinds[kind], kept)
					row.kind, row.store = kind, s
					mu.Lock()
					defer mu.Unlock()
					if !t.Failed() { // else the document keeps what it says of the pair
						rows[name] = row
					}
				})
			}
		}
	})
	path := filepath.Join("..", "..", "docs", "crash-matrix.md")
	document, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	known := knownRows(string(document))
	if *writeMatrix {
		if err := os.WriteFile(path, []byte(matrixText(rows, known)), 0o644); err != nil {
			t.Fatal(err)
		}
	} else {
		for name, r := range rows {
			if known[name] == "" || told(known[name]) != told(r.line()) {
				t.Errorf("docs/crash-matrix.md does not tell what came of it: go test ./cmd/stanch -run TestCrashMatrix -write-matrix\n%s", r.line())
			}
		}
		if !strings.HasSuffix(strings.TrimSpace(string(document)), "cases: 0 lost, 0 orphaned, 0 double issues") {
			t.Error("docs/crash-matrix.md tells of something that was lost, orphaned, or issued twice")
		}
	}
	text := matrixText(rows, nil)
	t.Log(text[strings.LastIndex(strings.TrimSpace(text), "\n")+1:])
}

// crashEverywhere learns what a remediation does when nothing happens, and then kills it
// at each of these points.
func crashEverywhere(t *testing.T, kind crashKind, s crashStore) crashRow {
	w := newCrashWorld(t, kind, s, incident.ReplaceFirst)
	w.start()
	w.leak()
	row := crashRow{persons: map[string]string{}, gap: gapOf(w.kind)}
	asks := asksOf(w.kind)
	w.eventually("the remediation ends", func() error {
		over, stuck := w.over()
		if !over || (stuck == "") != (asks == "") || !strings.Contains(stuck, asks) {
			return fmt.Errorf("over %v, stuck %q", over, stuck)
		}
		row.asks = stuckWords(stuck)
		return nil
	})
	w.reaper.kill()
	if h, ok := w.kind.(crashHelper); ok {
		row.people = h.people()
	}
	for _, point := range w.reaper.seen {
		step, moment, _ := strings.Cut(point, "/")
		if moment != "begun" || slices.Contains(row.steps, step) { // a step that waits for a person begins twice
			continue
		}
		row.steps = append(row.steps, step)
		for _, p := range pointsOf(step, w.reaper.counts[step]) {
			if row.asks != "" && !slices.Contains(w.reaper.seen, step+"/"+p.moment) {
				continue // it stops there
			}
			t.Run(fmt.Sprintf("%s, %s, answer %d", step, p.moment, p.answer), func(t *testing.T) {
				crashAt(t, &row, kind, s, step+"/"+p.moment, p.answer)
			})
		}
	}
	return row
}

// A crashGap is a credential of which there cannot be two at a time.
type crashGap interface {
	// gap says why.
	gap() string
}

func gapOf(kind crashCase) string {
	if k, ok := kind.(crashGap); ok {
		return k.gap()
	}
	return ""
}

// A crashQuestion is a credential whose end is for a person to decide.
type crashQuestion interface {
	// asks is what a person is told.
	asks() string
}

func asksOf(kind crashCase) string {
	if k, ok := kind.(crashQuestion); ok {
		return k.asks()
	}
	return ""
}

type crashPoint struct {
	moment string
	answer int
}

func pointsOf(step string, answers int) []crashPoint {
	all := []crashPoint{{"begun", 0}, {"acted", 0}, {"recorded", 0}}
	for n := 1; n <= answers; n++ {
		if n < maxAnswers || n == answers {
			all = append(all, crashPoint{"begun", n})
		}
	}
	return all
}

// crashAt kills the server at one point and holds what is left to the laws.
func crashAt(t *testing.T, row *crashRow, kind crashKind, s crashStore, point string, answer int) {
	w := newCrashWorld(t, kind, s, incident.ReplaceFirst)
	w.reaper.at(point, answer)
	w.start()
	g := w.guard()
	w.leak()
	died := w.dies()
	if !died && answer == 0 {
		_, stuck := w.over()
		t.Fatalf("it was not killed at %s: %q\n%s", point, stuck, w.tail())
	}
	row.cases++
	if row.gap == "" && !w.working() {
		row.lost++
		t.Errorf("after the crash the store holds nothing that works\n%s", w.tail())
	}
	if w.kind.live() > 2 {
		row.twice++
		t.Error("more than one replacement was issued before the crash")
	}
	w.start()
	var stuck string
	w.eventually("the remediation ends", func() error {
		over, why := w.over()
		if stuck = why; !over {
			return fmt.Errorf("it goes on: %q", why)
		}
		return nil
	})
	w.reaper.kill()
	g.stop()
	if g.lost > 0 && row.gap == "" || !w.working() {
		row.lost++
		t.Errorf("%d of %d times the store held nothing that works\n%s", g.lost, g.n, w.tail())
	}
	live := w.kind.live()
	switch {
	case live > 2:
		row.twice++
		t.Errorf("%d credentials live: more than one was issued", live)
	case row.asks != "":
		if stuckWords(stuck) != row.asks || live != 2 || !w.kind.leakedWorks() {
			t.Errorf("%d credentials live, and a person is told %q\n%s", live, stuck, w.tail())
		}
	case stuck != "":
		row.persons[strings.Split(point, "/")[0]] = stuckWords(stuck)
	case w.kind.leakedWorks():
		t.Errorf("resolved, and the leaked one lives\n%s", w.tail())
	case live != 1:
		row.orphaned++
		t.Errorf("%d credentials live, want the one in the store\n%s", live, w.tail())
	}
}

// changing is what differs from case to case in what people are told.
var changing = regexp.MustCompile(`[0-9][0-9a-f:-]*(?: [0-9:]+ UTC)?`)

// stuckWords is the first sentence of what a person is told.
func stuckWords(stuck string) string {
	first, _, _ := strings.Cut(changing.ReplaceAllString(stuck, "…"), ". ")
	return first
}

// matrixText is the document, with the rows of this run in place of those that it has, known,
// of the same pairs.
func matrixText(rows map[string]crashRow, known map[string]string) string {
	var b strings.Builder
	b.WriteString("# Crash matrix\n\n" +
		"`stanch serve` is killed (`kill -9`) at every step of a remediation, and started again: before the step does anything, after\n" +
		"each answer that it gets from outside and does not see any more, after it has done its deed and not recorded it, and after\n" +
		"that is recorded. All the time the store must hold a credential that works, unless it says otherwise; in the end the leaked one is dead, or a person is\n" +
		"told what is to be done. Written by `go test ./cmd/stanch -run TestCrashMatrix -write-matrix`, to which `-all-pairs` adds what is not crashed with each time.\n\n" +
		"All kinds are there with all stores, but for these: at GitHub one secret is written at a time, so that kinds of which several fields change are\n" +
		"not copied there, and a transit key and an SSH authority stay in their engines, in no store.\n\n" +
		"| Credential | Store | Killed in each of | After the restart | Cases | Lost | Orphaned | Double issues |\n|---|---|---|---|--:|--:|--:|--:|\n")
	all := map[string]string{}
	maps.Copy(all, known)
	for _, r := range rows {
		all[r.kind+" in "+r.store] = r.line()
	}
	var sum [4]int
	for _, name := range slices.Sorted(maps.Keys(all)) {
		b.WriteString(all[name] + "\n")
		for n, cell := range numbersOf(all[name]) {
			sum[n] += cell
		}
	}
	fmt.Fprintf(&b, "\n%d cases: %d lost, %d orphaned, %d double issues\n", sum[0], sum[1], sum[2], sum[3])
	return b.String()
}

// line is the row as the document has it.
func (r crashRow) line() string {
	outcome := "goes on by itself"
	if r.people != "" {
		outcome += ", but for what people do: " + r.people
	}
	for _, step := range slices.Sorted(maps.Keys(r.persons)) {
		outcome += fmt.Sprintf("; in %s a person may be asked: “%s”", step, r.persons[step])
	}
	if r.asks != "" {
		outcome = fmt.Sprintf("goes on until a person is asked: “%s”", r.asks)
	}
	if r.gap != "" {
		outcome += "; from issue to put the store holds what is dead: " + r.gap
	}
	return fmt.Sprintf("| %s | %s | %s | %s | %d | %d | %d | %d |", r.kind, r.store, strings.Join(r.steps, ", "), outcome, r.cases, r.lost, r.orphaned, r.twice)
}

// numbersOf are the numbers in a line of the document: cases, lost, orphaned, twice.
func numbersOf(line string) (all [4]int) {
	cells := strings.Split(strings.Trim(line, "| "), " | ")
	for n, cell := range cells[len(cells)-4:] {
		all[n], _ = strconv.Atoi(cell)
	}
	return all
}

// told is what a line says besides its numbers: how many cases there are goes by how many
// answers the servers take.
func told(line string) string {
	cells := strings.Split(strings.Trim(line, "| "), " | ")
	return strings.Join(cells[:len(cells)-4], " | ")
}

// knownRows are the lines of the document, by the names of their pairs.
func knownRows(text string) map[string]string {
	all := map[string]string{}
	for line := range strings.Lines(text) {
		cells := strings.Split(strings.Trim(line, "| \n"), " | ")
		if len(cells) == 8 && cells[0] != "Credential" {
			all[cells[0]+" in "+cells[1]] = strings.TrimSuffix(line, "\n")
		}
	}
	return all
}
