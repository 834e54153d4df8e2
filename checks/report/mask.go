package report

import (
	"maps"
	"slices"
	"strings"

	"github.com/stanch-dev/stanch/checks"
)

// masked is what stands in a report where a secret's value stood.
const masked = "[redacted]"

// minPart is the length from which on the other parts of a credential are
// masked too. Shorter ones are names such as "admin", not worth a hole in a path.
const minPart = 16

// A mask holds the secrets of a report, to take them out of the texts that
// strangers chose: a path may repeat the secret that its file holds. Comparing
// whole Secrets needs no way into them.
type mask struct {
	secrets map[int]map[checks.Secret]bool // by length
	lengths []int                          // longest first
	clean   map[string]string              // what was masked before: findings share paths and authors
}

func newMask(findings []checks.Finding) mask {
	m := mask{secrets: map[int]map[checks.Secret]bool{}, clean: map[string]string{}}
	for _, f := range findings {
		if f.Rule != nil && f.Rule.Detect.ByPath() {
			continue
		}
		for name, part := range f.Credential.Parts {
			n := part.Len()
			if n == 0 || name != checks.PartSecret && n < minPart {
				continue
			}
			if m.secrets[n] == nil {
				m.secrets[n] = map[checks.Secret]bool{}
			}
			m.secrets[n][part] = true
		}
	}
	m.lengths = slices.Sorted(maps.Keys(m.secrets))
	slices.Reverse(m.lengths)
	return m
}

// text returns s without the secrets in it, longest first.
func (m mask) text(s string) string {
	clean, known := m.clean[s]
	if known {
		return clean
	}
	clean = s
	for _, n := range m.lengths {
		if n <= len(clean) {
			clean = m.cut(clean, n)
		}
	}
	m.clean[s] = clean
	return clean
}

// texts returns all of them without the secrets in them.
func (m mask) texts(all []string) []string {
	clean := make([]string, len(all))
	for i, text := range all {
		clean[i] = m.text(text)
	}
	return clean
}

// cut replaces the secrets of n bytes in s.
func (m mask) cut(s string, n int) string {
	var b strings.Builder
	for i := 0; i < len(s); {
		if i+n <= len(s) && m.secrets[n][checks.NewSecret(s[i:i+n])] {
			b.WriteString(masked)
			i += n
			continue
		}
		b.WriteByte(s[i])
		i++
	}
	return b.String()
}

// finding returns f without secrets in the texts that strangers chose.
func (m mask) finding(f checks.Finding) checks.Finding {
	f.Path = m.text(f.Path)
	f.Author = m.text(f.Author)
	f.Commit = m.text(f.Commit)
	f.Redacted = m.text(f.Redacted)
	f.Excerpt = m.text(f.Excerpt)
	f.Inside = m.text(f.Inside)
	return f
}

// maskAll returns the findings without secrets in their texts.
func maskAll(findings []checks.Finding) []checks.Finding {
	m := newMask(findings)
	clean := make([]checks.Finding, len(findings))
	for i, f := range findings {
		clean[i] = m.finding(f)
	}
	return clean
}

// masked returns the scan without secrets in its texts.
func (s Scan) masked() Scan {
	var findings []checks.Finding
	for _, l := range s.Leaks {
		findings = append(findings, l.Finding)
	}
	m := newMask(findings)
	s.Problem = m.text(s.Problem)
	s.PolicyProblems, s.Notes = m.texts(s.PolicyProblems), m.texts(s.Notes)
	s.Leaks = slices.Clone(s.Leaks)
	for i, l := range s.Leaks {
		l.Finding = m.finding(l.Finding)
		l.Reason = m.text(l.Reason)
		l.Stored, l.Stuck, l.Proof, l.Reach, l.Why = m.text(l.Stored), m.text(l.Stuck), m.text(l.Proof), m.text(l.Reach), m.text(l.Why)
		l.Asked, l.Bypass = m.people(l)
		s.Leaks[i] = l
	}
	s.Coverage = slices.Clone(s.Coverage)
	for i, c := range s.Coverage {
		s.Coverage[i] = m.coverage(c)
	}
	return s
}

// people masks what people said about a leak.
func (m mask) people(l Leak) ([]Request, *Bypass) {
	asked := slices.Clone(l.Asked)
	for i := range asked {
		asked[i].Reason = m.text(asked[i].Reason)
	}
	if l.Bypass == nil {
		return asked, nil
	}
	bypass := *l.Bypass
	bypass.Reason = m.text(bypass.Reason)
	return asked, &bypass
}

func (m mask) coverage(c checks.Coverage) checks.Coverage {
	c.Base, c.Tip = m.text(c.Base), m.text(c.Tip)
	c.Skipped, c.Elsewhere = m.skips(c.Skipped), m.skips(c.Elsewhere)
	return c
}

func (m mask) skips(all []checks.Skip) []checks.Skip {
	all = slices.Clone(all)
	for i, skip := range all {
		skip.Path, skip.Reason = m.text(skip.Path), m.text(skip.Reason)
		all[i] = skip
	}
	return all
}
