package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/crypto/argon2"
	"golang.org/x/sync/errgroup"

	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/checks/report"
)

// The baseline's file. It has no dates, line numbers or counts, so that nothing in
// it changes but what was added and what is gone; its lines may stand in any order
// and more than once, so that git can merge it line by line.
const (
	baselineDefault = ".stanch-baseline"
	baselineMagic   = "stanch-baseline 1 argon2id"
	baselineHelp    = "# Secrets that are known, and so counted and not reported: KEY RULE PATH. The key tells nobody the secret.\n" +
		"# Made by “stanch baseline create”; “stanch baseline update” adds what is new. Any merge of two is a valid one.\n"

	maxBaseline = 64 << 20 // bytes; a line has some hundred
	maxSalts    = 8        // files of so many origins merged into one
	keySize     = 16       // bytes: what an accident would have to hit
	saltSize    = 16       // RFC 9106, section 3.1: recommended for password hashing
)

// A baseline is the set of findings that a team knows of and does not want to be
// told again. An entry names the secret, not its place, so that a file may be
// moved and edited.
type baseline struct {
	path    string
	derive  []derivation // the first makes new keys; others came by merges
	entries map[string]baselineEntry
}

// A baselineEntry is one known secret. Rule and path are for people.
type baselineEntry struct{ key, rule, path string }

// A derivation makes keys of secrets. It is slow and wants memory, so that a
// password cannot be guessed from its key. argon2id is RFC 9106's.
type derivation struct {
	time, memory uint32 // memory in KiB
	salt         string // in hex
}

// The cost of a key. OWASP's "Password Storage Cheat Sheet" asks for some tens of
// milliseconds when somebody logs in; here a thousand keys may be needed at once,
// so it is about 6 ms and 8 MiB. Files that ask for more than the bounds are refused:
// whoever wrote them could stop a scan.
const (
	deriveTime, deriveMemory       = 1, 8 << 10
	maxDeriveTime, maxDeriveMemory = 16, 256 << 10
)

func newBaseline(path string) *baseline {
	salt := make([]byte, saltSize)
	rand.Read(salt) // never fails, says its documentation
	return &baseline{path: path, entries: map[string]baselineEntry{},
		derive: []derivation{{deriveTime, deriveMemory, hex.EncodeToString(salt)}}}
}

// key derives the key of a secret. It starts from the secret's fingerprint under
// the salt, which is as hard to guess as the secret itself.
func (d derivation) key(s checks.Secret) string {
	fingerprint := s.Fingerprint(checks.FingerprintKey(d.salt))
	return hex.EncodeToString(argon2.IDKey([]byte(fingerprint), []byte(d.salt), d.time, d.memory, 1, keySize))
}

func (d derivation) String() string {
	return fmt.Sprintf("%s time=%d memory=%d salt=%s", baselineMagic, d.time, d.memory, d.salt)
}

func readBaseline(path string) (*baseline, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("baseline %s: there is no such file: “stanch baseline create” makes one", path)
	}
	if err != nil {
		return nil, errors.New("baseline " + unread(path, err))
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxBaseline+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("baseline %s: name a file that “stanch baseline create” made", unread(path, err))
	case len(data) > maxBaseline:
		return nil, fmt.Errorf("baseline %s: it is bigger than %d MiB", path, maxBaseline>>20)
	}
	return parseBaseline(path, data)
}

func parseBaseline(path string, data []byte) (*baseline, error) {
	b := &baseline{path: path, entries: map[string]baselineEntry{}}
	lines := bufio.NewScanner(bytes.NewReader(data))
	lines.Buffer(nil, len(data)+1)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		if err := b.parseLine(line); err != nil {
			return nil, fmt.Errorf("baseline %s, line %d: %w", path, n, err)
		}
	}
	if len(b.derive) == 0 {
		return nil, fmt.Errorf("baseline %s: it is none: it has no line “%s …”", path, baselineMagic)
	}
	return b, nil
}

func (b *baseline) parseLine(line string) error {
	if strings.HasPrefix(line, "stanch-baseline ") {
		d, err := parseDerivation(line)
		if err == nil && !slices.Contains(b.derive, d) {
			b.derive = append(b.derive, d)
		}
		if len(b.derive) > maxSalts {
			return fmt.Errorf("it is merged from more than %d baselines: make a new one with “stanch baseline create”", maxSalts)
		}
		return err
	}
	e, err := parseEntry(line)
	if err != nil {
		return err
	}
	// Two branches may have seen the same secret in two places.
	if old, ok := b.entries[e.key]; !ok || e.path < old.path {
		b.entries[e.key] = e
	}
	return nil
}

func parseDerivation(line string) (derivation, error) {
	rest, ok := strings.CutPrefix(line, baselineMagic+" ")
	if !ok {
		return derivation{}, errors.New("its format is not one that this version of Stanch knows: update Stanch")
	}
	var d derivation
	if _, err := fmt.Sscanf(rest, "time=%d memory=%d salt=%s", &d.time, &d.memory, &d.salt); err != nil {
		return derivation{}, errors.New("it must be “" + baselineMagic + " time=T memory=KIB salt=HEX”")
	}
	salt, err := hex.DecodeString(d.salt)
	if err != nil || len(salt) < saltSize {
		return derivation{}, fmt.Errorf("its salt must be %d bytes in hex", saltSize)
	}
	if d.time < 1 || d.time > maxDeriveTime || d.memory < deriveMemory || d.memory > maxDeriveMemory {
		return derivation{}, fmt.Errorf("time must be 1 to %d and memory %d to %d", maxDeriveTime, deriveMemory, maxDeriveMemory)
	}
	return d, nil
}

func parseEntry(line string) (baselineEntry, error) {
	fields := strings.SplitN(line, " ", 3)
	if strings.Trim(fields[0], "<=>|") == "" {
		return baselineEntry{}, errors.New("a merge left its mark here: take out the lines with <<<<<<<, ======= and >>>>>>> and keep all others")
	}
	key, err := hex.DecodeString(fields[0])
	if err != nil || len(key) != keySize || len(fields) != 3 {
		return baselineEntry{}, errors.New("it is no entry: one is KEY RULE PATH, and “stanch baseline update” writes it")
	}
	e := baselineEntry{fields[0], fields[1], fields[2]}
	if e.path[0] == '"' {
		if e.path, err = strconv.Unquote(e.path); err != nil {
			return baselineEntry{}, errors.New("its path is quoted and does not end so")
		}
	}
	return e, nil
}

// write writes the baseline, sorted by key: two branches rarely add entries at the
// same place.
func (b *baseline) write() error {
	err := writeFile(b.path, func(w io.Writer) error {
		out := bufio.NewWriter(w)
		out.WriteString(baselineHelp)
		for _, d := range b.derive {
			fmt.Fprintln(out, d)
		}
		for _, key := range slices.Sorted(maps.Keys(b.entries)) {
			fmt.Fprintln(out, b.entries[key])
		}
		return out.Flush()
	})
	if err != nil {
		return fmt.Errorf("write baseline: %w", err)
	}
	return nil
}

// String is the entry's line.
func (e baselineEntry) String() string {
	path := e.path
	if report.Printable(path) != path || path != strings.TrimSpace(path) || path == "" || path[0] == '"' {
		path = strconv.Quote(path)
	}
	return e.key + " " + e.rule + " " + path
}

// keys derives the keys of findings, each distinct secret's once.
func (b *baseline) keys(ctx context.Context, findings []checks.Finding) (map[checks.Fingerprint][]string, error) {
	keys := map[checks.Fingerprint][]string{}
	var group errgroup.Group
	group.SetLimit(runtime.GOMAXPROCS(0))
	for _, f := range findings {
		if _, known := keys[f.Fingerprint]; known {
			continue
		}
		list := make([]string, len(b.derive))
		keys[f.Fingerprint] = list
		group.Go(func() error {
			for i := range list {
				if ctx.Err() == nil {
					list[i] = b.derive[i].key(f.Credential.Secret())
				}
			}
			return ctx.Err()
		})
	}
	if err := group.Wait(); err != nil {
		return nil, fmt.Errorf("compare with baseline %s: %w", b.path, err)
	}
	return keys, nil
}

// A compared is what a baseline says about findings.
type compared struct {
	known []bool          // which findings the baseline has, and are not to be told
	stale []baselineEntry // entries that no finding has, by path
}

// count is how many findings are known.
func (c compared) count() int { return len(c.known) - len(unknownOf(c, c.known)) }

// unknownOf is what stands in all at the places of findings that are not known.
func unknownOf[T any](c compared, all []T) []T {
	var rest []T
	for i, v := range all {
		if !c.known[i] {
			rest = append(rest, v)
		}
	}
	return rest
}

// compare looks which findings the baseline knows. What is live is told all the
// same: nobody can have meant to let it be.
func (b *baseline) compare(ctx context.Context, findings []checks.Finding) (compared, error) {
	keys, err := b.keys(ctx, findings)
	if err != nil {
		return compared{}, err
	}
	var c compared
	seen := map[string]bool{}
	for _, f := range findings {
		known := false
		for _, key := range keys[f.Fingerprint] {
			_, has := b.entries[key]
			seen[key], known = true, known || has
		}
		c.known = append(c.known, known && !isLive(f))
	}
	for key, e := range b.entries {
		if !seen[key] {
			c.stale = append(c.stale, e)
		}
	}
	slices.SortFunc(c.stale, func(a, b baselineEntry) int {
		return cmp.Or(strings.Compare(a.path, b.path), strings.Compare(a.key, b.key))
	})
	return c, nil
}

// add makes entries for the findings that have none, and says how many.
func (b *baseline) add(ctx context.Context, findings []checks.Finding, hide func(string) string) (int, error) {
	keys, err := b.keys(ctx, findings)
	if err != nil {
		return 0, err
	}
	before := len(b.entries)
	for _, f := range findings {
		list := keys[f.Fingerprint]
		if slices.ContainsFunc(list[1:], func(key string) bool { _, has := b.entries[key]; return has }) {
			continue // a merge brought it, under another salt
		}
		if _, has := b.entries[list[0]]; !has {
			b.entries[list[0]] = baselineEntry{list[0], f.Rule.ID, hide(f.Path)}
		}
	}
	return len(b.entries) - before, nil
}
