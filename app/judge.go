package app

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"time"

	"github.com/stanch-dev/stanch/app/provider"
	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/checks/git"
	"github.com/stanch-dev/stanch/checks/report"
	"github.com/stanch-dev/stanch/rules"
	"github.com/stanch-dev/stanch/rules/gitleaks"
)

// The files of a repository that say how findings in it are judged, besides the
// policy's allowlist.
const policyPath = ".github/stanch.yml"

var (
	gitleaksFiles = []string{".gitleaks.toml", ".betterleaks.toml"}
	ignoreFiles   = []string{".gitleaksignore", ".betterleaksignore"}
)

// maxListSize bounds the files of a repository that are read besides the policy: an
// allowlist of ten thousand entries has less.
const maxListSize = 2 << 20

const (
	// maxOwnRules bounds the rules that a repository brings. Each is tried on every file.
	maxOwnRules = 500
	// maxExcuses bounds the expressions of its lists for all rules: each rule has them.
	maxExcuses = 500
	// maxProblems bounds what is told of its files.
	maxProblems = 1000
)

// A ReadFile reads a file of a repository at the commit that judges. The error is
// fs.ErrNotExist when there is none, and a refusedFile when there is no reading it.
type ReadFile func(path string, most int64) ([]byte, error)

// A RefusedFile is the error of a file that is there and cannot be read as one.
type RefusedFile struct{ Text string }

func (e *RefusedFile) Error() string { return e.Text }

// A JudgeConfig is what an operator gives every Judge.
type JudgeConfig struct {
	Policy    Policy // the operator's
	Catalogue []*rules.Rule
	Allow     checks.FingerprintKey // of the names in allowlists; nil where they cannot be read
}

// A Judge says what findings mean to a check: by the policies of the operator, the
// organisation and the repository, and by the lists that the repository has. It knows
// nothing of validity, and a live credential overrules all it says.
type Judge struct {
	Policy   Policy
	Problems Problems // what of the files does not count, because it is wrong or not allowed
	Notes    Problems // what of other scanners' files is not applied as it was meant
	// Rules are what to scan with: the catalogue, and the rules that the repository adds.
	// What its lists allow is found all the same, with an excuse.
	Rules []*rules.Rule
	// RulesID names Rules; it is empty when they are the catalogue.
	RulesID string

	allowKey checks.FingerprintKey
	allowed  *checks.Allowlist
	ignored  []ignoreList
	disabled map[string]string // rule → the file that switches it off
}

type ignoreList struct {
	file string
	*checks.Ignores
}

// NewJudge reads all that a repository says of how it is judged. The policies of
// organisations come before its own. The error is that of read, when it is neither
// fs.ErrNotExist nor a *RefusedFile.
func NewJudge(cfg JudgeConfig, organisation []PolicyFile, read ReadFile) (*Judge, error) {
	j := &Judge{Rules: cfg.Catalogue, allowKey: cfg.Allow, disabled: map[string]string{}}
	foreign, err := j.gitleaks(cfg.Catalogue, read)
	if err != nil {
		return nil, err
	}
	files := organisation
	text, found, err := j.file(read, policyPath, maxPolicy+1)
	if err != nil {
		return nil, err
	}
	if found {
		files = append(slices.Clip(files), PolicyFile{Name: policyPath, Text: text})
	}
	policy, problems := cfg.Policy.Merge(j.Rules, files...)
	j.Policy, j.Problems = policy, append(j.Problems, problems...)
	if foreign != nil {
		j.excuse(cfg.Catalogue, *foreign)
	}
	err = j.lists(read)
	j.Problems = slices.Clone(j.Problems[:min(len(j.Problems), maxProblems)])
	j.Notes = slices.Clone(j.Notes[:min(len(j.Notes), maxProblems)])
	return j, err
}

// file reads a file. One that is refused is a problem, and as if it were not there.
func (j *Judge) file(read ReadFile, name string, most int64) (text []byte, found bool, err error) {
	text, err = read(name, most)
	var refused *RefusedFile
	switch {
	case err == nil:
		return text, true, nil
	case errors.Is(err, fs.ErrNotExist):
		return nil, false, nil
	case errors.As(err, &refused):
		j.Problems = append(j.Problems, Problem{name, 0, refused.Text})
		return nil, false, nil
	}
	return nil, false, fmt.Errorf("read %s: %w", name, err)
}

// lists reads what the repository says is no leak.
func (j *Judge) lists(read ReadFile) error {
	name := j.Policy.AllowFile()
	text, _, err := j.file(read, name, maxListSize)
	if err != nil {
		return err
	}
	list, warnings := checks.ParseAllowlist(text)
	j.allowed = list
	if len(j.allowKey) == 0 && list.Len() > 0 {
		j.Notes = append(j.Notes, Problem{name, 0, "its entries are not looked at: only the server's key tells what they name"})
	}
	for _, w := range warnings {
		j.Problems = append(j.Problems, Problem{name, w.Line, "this entry does not count: " + w.Text})
	}
	known := map[string]bool{}
	for _, r := range j.Rules {
		known[r.ID] = true
	}
	for _, name := range ignoreFiles {
		text, found, err := j.file(read, name, maxListSize)
		if err != nil {
			return err
		}
		if !found {
			continue
		}
		list, warnings := checks.ParseIgnores(text, func(id string) bool { return known[id] })
		j.ignored = append(j.ignored, ignoreList{name, list})
		for _, w := range warnings {
			j.Notes = append(j.Notes, Problem{name, w.Line, w.Text})
		}
	}
	return nil
}

// A Verdict is what a finding does to a check unless it is live.
type Verdict struct {
	Conclusion report.Conclusion
	// Why names who says so, and where; Reason is what that one gives for it, which is
	// for colleagues.
	Why, Reason string
	// Allowed says that it is no leak: nothing but a live credential is worth a line.
	Allowed bool
}

// Because is who says so, where and why.
func (v Verdict) Because() string { return excuse{v.Why, v.Reason}.String() }

// An excuse is who lets something pass, and the reason.
type excuse struct {
	By     string `json:"by"`
	Reason string `json:"reason,omitempty"`
}

func (e excuse) String() string {
	if e.Reason == "" {
		return e.By
	}
	return e.By + ": " + e.Reason
}

// Of judges a finding.
func (j *Judge) Of(f *checks.Finding, now time.Time) Verdict {
	allowed := func(why string) Verdict { return Verdict{Conclusion: report.Success, Why: why, Allowed: true} }
	entry, listed := j.entry(f)
	if listed && !entry.Expired(now) {
		v := allowed(fmt.Sprintf("%s:%d, by %s until %s", j.Policy.AllowFile(), entry.Line, entry.Owner, entry.Until.Format(time.DateOnly)))
		v.Reason = entry.Reason
		return v
	}
	for _, list := range j.ignored {
		if list.Ignore(f) {
			return allowed(list.file)
		}
	}
	switch {
	case f.Excused != "":
		return allowed(f.Excused)
	case !j.Policy.Enabled(f.Rule.ID):
		return allowed(fmt.Sprintf("the rule %s is off by %s", f.Rule.ID, j.Policy.Origins["rules."+f.Rule.ID+".enabled"]))
	case j.disabled[f.Rule.ID] != "":
		return allowed(fmt.Sprintf("the rule %s is off by %s", f.Rule.ID, j.disabled[f.Rule.ID]))
	}
	c, origin := j.Policy.ConclusionOf(f.Rule, f.Path)
	v := Verdict{Conclusion: c, Why: origin.String()}
	switch {
	case listed:
		v.Why = fmt.Sprintf("the entry of %s:%d ended on %s", j.Policy.AllowFile(), entry.Line, entry.Until.Format(time.DateOnly))
	case c == report.Failure && f.Marker != "" && j.Policy.ReadsMarkers():
		return Verdict{Conclusion: report.Neutral, Why: "the comment " + f.Marker + " beside it"}
	}
	return v
}

// entry looks the finding up in the repository's allowlist.
func (j *Judge) entry(f *checks.Finding) (checks.AllowEntry, bool) {
	if len(j.allowKey) == 0 {
		return checks.AllowEntry{}, false
	}
	return j.allowed.Find(f.Fingerprint.AllowID(j.allowKey))
}

// A foreign is another scanner's file.
type foreign struct {
	*gitleaks.Config
	file string
}

// gitleaks reads what the repository has for other scanners: their rules are added to
// Rules, so that the policy can speak of them.
func (j *Judge) gitleaks(catalogue []*rules.Rule, read ReadFile) (*foreign, error) {
	for _, name := range gitleaksFiles {
		text, found, err := j.file(read, name, maxListSize)
		if err != nil {
			return nil, err
		}
		if !found {
			continue
		}
		sum := sha256.New()
		sum.Write(text)
		var unread error
		beside := func(extended string) ([]byte, error) {
			text, found, err := j.file(read, path.Clean(extended), maxListSize)
			unread = err
			if err == nil && !found {
				err = fs.ErrNotExist
			}
			sum.Write(text)
			return text, err
		}
		config, err := gitleaks.Loader{Catalogue: catalogue, Open: beside}.Load(name, text)
		switch {
		case unread != nil:
			return nil, unread
		case err != nil:
			j.Problems = append(j.Problems, Problem{name, 0, fmt.Sprintf("it does not count: %v", err)})
			return nil, nil
		}
		for _, w := range config.Warnings {
			j.Notes = append(j.Notes, Problem{w.File, w.Line, w.Text})
		}
		j.RulesID = name + " " + hex.EncodeToString(sum.Sum(nil))
		j.add(catalogue, config, name)
		return &foreign{config, name}, nil
	}
	return nil, nil
}

// add adds the rules that the file has and the catalogue has not.
func (j *Judge) add(catalogue []*rules.Rule, config *gitleaks.Config, name string) {
	known := map[string]bool{}
	for _, r := range catalogue {
		known[r.ID] = true
	}
	own := slices.DeleteFunc(slices.Clone(config.Rules), func(r *rules.Rule) bool { return known[r.ID] })
	if len(own) > maxOwnRules {
		j.Problems = append(j.Problems, Problem{name, 0, fmt.Sprintf("it has %d rules of its own, of which %d count: put the others into the operator's catalogue", len(own), maxOwnRules)})
		own = own[:maxOwnRules]
	}
	j.Rules = slices.Concat(catalogue, own)
}

// excuse lets the file excuse findings, also of the catalogue's rules. What it says of
// these otherwise does not count here, so that no repository keeps a live credential
// from being found.
func (j *Judge) excuse(catalogue []*rules.Rule, f foreign) {
	said := map[string]*rules.Rule{}
	for _, r := range f.Rules {
		said[r.ID] = r
	}
	forAll := excused(f.Allow, f.file)
	if n := expressions(forAll); n > maxExcuses {
		j.Problems = append(j.Problems, Problem{f.file, 0, fmt.Sprintf("its allowlists for all rules have %d expressions, and do not count with more than %d: shorten them", n, maxExcuses)})
		forAll = nil
	}
	extends := slices.ContainsFunc(f.Rules, (*rules.Rule).Builtin) // it says useDefault
	for i, r := range j.Rules {
		changed := said[r.ID]
		switch builtin := i < len(catalogue); {
		case builtin && changed == nil && extends:
			j.disabled[r.ID] = f.file
		case builtin && changed != nil && changed != r:
			r = r.Allowing(excused(changed.Detect.Allow, f.file))
		}
		j.Rules[i] = r.Allowing(forAll)
	}
}

// expressions counts what must be compiled for a rule.
func expressions(all []rules.Allow) (n int) {
	for _, a := range all {
		n += len(a.Paths) + len(a.Regexes) + len(a.Expression)/64
	}
	return n
}

// excused makes excuses of exceptions.
func excused(all []rules.Allow, file string) []rules.Allow {
	all = slices.Clone(all)
	for i := range all {
		all[i].Excuse = file
	}
	return all
}

// A judged leak is one with what it does to the check unless it is live.
type judged struct {
	git.Leak
	Verdict
}

// sift judges the findings, and tells apart those that are allowed. Of either it
// leaves no more than one scan records.
func (a *App) sift(seen *sighting, s scanArgs) (shown, allowed []judged) {
	for _, leak := range seen.Findings {
		l := judged{leak, seen.judge.Of(&leak.Finding, a.now())}
		if l.Allowed {
			allowed = append(allowed, l)
		} else {
			shown = append(shown, l)
		}
	}
	cut := func(all []judged, what string) []judged {
		more := len(all) - maxFindings
		if more <= 0 {
			return all
		}
		seen.Coverage.Skipped = append(seen.Coverage.Skipped, checks.Skip{
			Commit: s.Head, Reason: fmt.Sprintf("%d more %s than the %d that one scan records", more, what, maxFindings),
		})
		return all[:maxFindings]
	}
	return cut(shown, "findings"), cut(allowed, "allowed findings")
}

// overrule returns what is live of what is allowed: then nothing allows it. The rest is
// counted, by who allows it.
func overrule(allowed []judged, verdict provider.VerdictOf) (live []judged, counts map[excuse]int) {
	counts = map[excuse]int{}
	for _, l := range allowed {
		if verdict(l.Finding).Validity != checks.Active {
			counts[excuse{l.Why, l.Reason}]++
			continue
		}
		l.Why = "it is live, which overrules " + l.Why
		live = append(live, l)
	}
	return live, counts
}
