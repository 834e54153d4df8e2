package checks

import (
	"bufio"
	"bytes"
	"cmp"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
)

// An AllowID names a credential in a list that everybody may read: a keyed hash of
// its fingerprint. Without the key nobody can test a guess against it, and it is the
// same in every repository and on every machine of an installation.
type AllowID string

// allowPrefix begins every AllowID, so that another kind can follow.
const allowPrefix = "allow1-"

// allowBytes is how much of the hash an AllowID has: nobody has the key, so that
// nobody can look for two credentials with the same one.
const allowBytes = 16

// AllowID returns the name of a credential under a key that serves for nothing else.
func (f Fingerprint) AllowID(key FingerprintKey) AllowID {
	mac := hmac.New(sha256.New, key)
	io.WriteString(mac, string(f))
	return AllowID(allowPrefix + hex.EncodeToString(mac.Sum(nil)[:allowBytes]))
}

// An AllowEntry is a line of an allowlist: what is no leak, until when, who answers
// for it, and why.
type AllowEntry struct {
	ID     AllowID
	Until  time.Time // the last day, in UTC
	Owner  string    // "@login" or "@organisation/team"
	Reason string
	Line   int // where it stands, from 1
}

// Expired reports whether the entry's last day is over.
func (e AllowEntry) Expired(now time.Time) bool { return !now.Before(e.Until.AddDate(0, 0, 1)) }

// String is the entry's line. It is the same whoever writes it and when, so that two
// branches that add entries merge line by line.
func (e AllowEntry) String() string {
	return fmt.Sprintf("%s %s %s %s", e.ID, e.Until.Format(time.DateOnly), e.Owner, e.Reason)
}

var (
	allowID = regexp.MustCompile(`^` + allowPrefix + `[0-9a-f]{32}$`)
	owner   = regexp.MustCompile(`^@[A-Za-z0-9][A-Za-z0-9-]{0,38}(/[A-Za-z0-9][A-Za-z0-9._-]{0,99})?$`)
)

// maxReason is the longest reason, in bytes.
const maxReason = 300

// ParseAllowEntry reads one line. The error says what is wrong with it and how to
// write it.
func ParseAllowEntry(text string) (AllowEntry, error) {
	fields := strings.Fields(text)
	if len(fields) < 4 {
		return AllowEntry{}, fmt.Errorf("it has %d of the four parts of an entry: write ID, the last day, an owner and a reason, such as %s0123… 2030-12-31 @dana a key of the test server", len(fields), allowPrefix)
	}
	until, err := time.Parse(time.DateOnly, fields[1])
	reason := strings.Join(fields[3:], " ")
	switch {
	case !allowID.MatchString(fields[0]):
		return AllowEntry{}, fmt.Errorf("it does not begin with %s and 32 hexadecimal digits: take the entry from the check run, or from stanch allow", allowPrefix)
	case err != nil:
		return AllowEntry{}, fmt.Errorf("its second part is no day: write the last day on which it counts, such as 2030-12-31")
	case !owner.MatchString(fields[2]):
		return AllowEntry{}, fmt.Errorf("its third part is no owner: write who answers for it, @login or @organisation/team")
	case len(reason) > maxReason:
		return AllowEntry{}, fmt.Errorf("its reason is longer than %d bytes: shorten it", maxReason)
	case strings.ContainsFunc(reason, func(r rune) bool { return !unicode.IsPrint(r) }):
		return AllowEntry{}, fmt.Errorf("its reason has characters that cannot be shown: write plain text")
	}
	return AllowEntry{ID: AllowID(fields[0]), Until: until, Owner: fields[2], Reason: reason}, nil
}

// An Allowlist is a list of credentials that are no leaks, one entry a line. Empty
// lines and those that begin with # are not read. Each line stands for itself: their
// order means nothing, and a union of two lists allows what either did.
type Allowlist struct{ entries map[AllowID][]AllowEntry }

// ParseAllowlist reads a list. A line that is no entry allows nothing, and a warning
// says so.
func ParseAllowlist(text []byte) (*Allowlist, []ListWarning) {
	all := &Allowlist{entries: map[AllowID][]AllowEntry{}}
	var warnings []ListWarning
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, len(text)+1)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		e, err := ParseAllowEntry(line)
		if err != nil {
			warnings = append(warnings, ListWarning{n, err.Error()})
			continue
		}
		e.Line = n
		all.entries[e.ID] = append(all.entries[e.ID], e)
	}
	return all, warnings
}

// Len is the number of credentials that are listed.
func (all *Allowlist) Len() int { return len(all.entries) }

// Find returns the entry for a credential that counts for longest, if there is any;
// it may be over.
func (all *Allowlist) Find(id AllowID) (e AllowEntry, found bool) {
	entries := all.entries[id]
	if len(entries) == 0 {
		return AllowEntry{}, false
	}
	return slices.MaxFunc(entries, func(a, b AllowEntry) int { return cmp.Or(a.Until.Compare(b.Until), b.Line-a.Line) }), true
}
