package app

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/stanch-dev/stanch/app/github"
	"github.com/stanch-dev/stanch/app/store"
	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/checks/git"
	"github.com/stanch-dev/stanch/rules"
)

const (
	// organisationFor is how long an organisation's policy is taken for the present one.
	organisationFor = 5 * time.Minute
	// maxJudges bounds what is remembered of policies, and maxScanners the scanners of
	// repositories that have rules of their own, which take some megabytes each.
	maxJudges   = 256
	maxScanners = 16
	// maxTold bounds the problems and notes that one scan tells of the files that judge.
	maxTold = 20
)

// organisationRepository is where an organisation keeps what holds for all of its
// repositories (docs.github.com, "Creating a default community health file").
const organisationRepository = ".github"

// memories are what is remembered of policies, until there is too much of it.
type memories struct {
	mu            sync.Mutex
	organisations map[string]remembered
	judges        map[string]*Judge
	scanners      map[string]*checks.Scanner
}

// A remembered is an organisation's policy at a time; without a file it has none.
type remembered struct {
	at   time.Time
	file []PolicyFile
}

// recall returns what is remembered under a key, or what create makes.
func recall[T any](mu *sync.Mutex, all *map[string]T, most int, key string, create func() (T, error)) (T, error) {
	mu.Lock()
	v, known := (*all)[key]
	mu.Unlock()
	if known {
		return v, nil
	}
	v, err := create()
	if err != nil {
		return v, err
	}
	mu.Lock()
	defer mu.Unlock()
	if *all == nil || len(*all) >= most {
		*all = map[string]T{}
	}
	(*all)[key] = v
	return v, nil
}

// policyRev is where a scan's judge is read: a pull request's or a merge group's base,
// what the default branch was before a push to it, and what it is for all else. It is
// empty when there is no such place: then the organisation's policy holds, or the
// operator's.
func (s scanArgs) policyRev() string {
	switch {
	case s.WholeHistory && s.Lost:
		return s.Tip
	case s.Pull != 0 || s.Group || s.WholeHistory:
		return s.Base
	}
	return "refs/heads/" + s.Repository.DefaultBranch
}

// judge says how the findings of a scan are judged: by what the repository said before
// it. What was pushed has no say in it. Nor does who may write to another branch than
// the default one choose who may press: of that the stricter policy of both holds.
func (a *App) judge(ctx context.Context, s scanArgs, mirror *github.Mirror) (*Judge, error) {
	j, err := a.judgeAt(ctx, s, mirror, s.policyRev())
	if err != nil || s.Pull == 0 && !s.Group || s.BaseRef == s.Repository.DefaultBranch {
		return j, err
	}
	usual, err := a.judgeAt(ctx, s, mirror, "refs/heads/"+s.Repository.DefaultBranch)
	if err != nil {
		return nil, err
	}
	guarded := *j
	guarded.Policy = j.Policy.guarded([]Policy{usual.Policy})
	return &guarded, nil
}

// judgeAt is the judge at a commit or a ref of the repository.
func (a *App) judgeAt(ctx context.Context, s scanArgs, mirror *github.Mirror, rev string) (*Judge, error) {
	organisation, err := a.organisation(ctx, s)
	if err != nil {
		return nil, err
	}
	commit := ""
	if rev != "" {
		commit, err = mirror.Bring(ctx, rev)
		if err != nil && !errors.Is(err, github.ErrMissing) {
			return nil, fmt.Errorf("fetch what the policy is read from: %w", err)
		}
	}
	key := fmt.Sprintf("%d/%d %s %s", s.Installation, s.Repository.ID, commit, digest(organisation))
	return recall(&a.memories.mu, &a.memories.judges, maxJudges, key, func() (*Judge, error) {
		return NewJudge(a.judgeConfig(), organisation, ReadCommit(ctx, mirror.Repository(), commit, mirror.FetchBlobs))
	})
}

func (a *App) judgeConfig() JudgeConfig {
	return JudgeConfig{Policy: a.cfg.Policy, Catalogue: a.cfg.Catalogue, Allow: a.cfg.Keys.Allow}
}

// judgeNow says how findings are judged that no scan found: by the default branch as it
// is.
func (a *App) judgeNow(ctx context.Context, s scanArgs) (*Judge, error) {
	organisation, err := a.organisation(ctx, s)
	if err != nil {
		return nil, err
	}
	inst := a.github.Installation(s.Installation)
	return NewJudge(a.judgeConfig(), organisation, func(path string, most int64) ([]byte, error) {
		text, err := inst.File(ctx, s.Repository, path, "")
		switch {
		case errors.Is(err, github.ErrNotFound):
			return nil, fs.ErrNotExist
		case errors.Is(err, github.ErrNoFile), int64(len(text)) > most:
			return nil, &RefusedFile{fmt.Sprintf("it does not count, because it is no regular file of at most %d bytes: put one there", most)}
		}
		return text, err
	})
}

// digest tells organisations' policies apart.
func digest(files []PolicyFile) string {
	sum := sha256.New()
	for _, f := range files {
		fmt.Fprintf(sum, "%q%q%q", f.Name, f.Text, f.Refused)
	}
	return hex.EncodeToString(sum.Sum(nil))
}

// ReadCommit reads files of a commit. Those that the repository has not got are fetched
// first; no commit has no files.
func ReadCommit(ctx context.Context, r *git.Repository, commit string, fetch git.Fetcher) ReadFile {
	return func(path string, most int64) ([]byte, error) {
		if commit == "" {
			return nil, fs.ErrNotExist
		}
		f, err := r.File(ctx, commit, path)
		if odd := (*git.NotRegular)(nil); errors.As(err, &odd) {
			return nil, &RefusedFile{"it does not count, because it is " + odd.Kind + ": put a regular file there"}
		}
		if err == nil && fetch != nil {
			err = fetch(ctx, []string{f.Object})
		}
		if err != nil {
			return nil, err
		}
		text, err := r.Read(ctx, f, most)
		if errors.Is(err, git.ErrTooLarge) {
			return nil, &RefusedFile{fmt.Sprintf("it does not count, because it is larger than %d bytes: shorten it", most)}
		}
		return text, err
	}
}

// organisation returns the policy in the organisation's repository for such things, if
// the installation may read that.
func (a *App) organisation(ctx context.Context, s scanArgs) ([]PolicyFile, error) {
	if s.Repository.Name == organisationRepository {
		return nil, nil // its own file is read from the base, as any repository's
	}
	key := fmt.Sprintf("%d/%s", s.Installation, s.Repository.Owner)
	a.memories.mu.Lock()
	known := a.memories.organisations[key]
	a.memories.mu.Unlock()
	if a.now().Sub(known.at) < organisationFor {
		return known.file, nil
	}
	repo := github.Repository{Owner: s.Repository.Owner, Name: organisationRepository}
	name := repo.FullName() + "/" + policyPath
	text, err := a.github.Installation(s.Installation).File(ctx, repo, policyPath, "")
	last := known
	known = remembered{at: a.now()}
	switch {
	case err == nil:
		known.file = []PolicyFile{{Name: name, Text: text}}
	case errors.Is(err, github.ErrNoFile):
		known.file = []PolicyFile{{Name: name, Refused: "it does not count, because it is no regular file of less than a megabyte: put one there"}}
	case errors.Is(err, github.ErrNotFound), errors.Is(err, github.ErrForbidden):
	case last.at.IsZero():
		return nil, fmt.Errorf("read %s: %w", name, err)
	default: // scans do not wait for that
		a.log.WarnContext(ctx, "an organisation's policy cannot be read; the last one that was read holds", "file", name, "error", err)
		return last.file, nil
	}
	a.memories.mu.Lock()
	defer a.memories.mu.Unlock()
	if a.memories.organisations == nil || len(a.memories.organisations) >= maxJudges {
		a.memories.organisations = map[string]remembered{}
	}
	a.memories.organisations[key] = known
	return known.file, nil
}

// scannerFor returns a scanner with a judge's rules.
func (a *App) scannerFor(j *Judge) (*checks.Scanner, error) {
	if j.RulesID == "" {
		return a.scanner, nil
	}
	return recall(&a.memories.mu, &a.memories.scanners, maxScanners, j.RulesID, func() (*checks.Scanner, error) {
		return checks.NewScanner(j.Rules, a.cfg.Keys.Fingerprint)
	})
}

// A judgement is what the store keeps of how a scan was judged.
type judgement struct {
	Policy   Policy   `json:"policy"`
	Problems []string `json:"problems,omitempty"`
	Notes    []string `json:"notes,omitempty"`
	// Allowed counts what is not shown, by who allows it.
	Allowed []allowance `json:"allowed,omitempty"`
	// Rules are those of the repository's own that found something.
	Rules map[string]ownRule `json:"rules,omitempty"`
}

// An allowance is how many findings somebody allows.
type allowance struct {
	excuse
	Findings int `json:"findings"`
}

// allowances say how many are not shown, and who allows them. Reasons are for colleagues.
func (j judgement) allowances(public bool) (texts []string) {
	for _, a := range j.Allowed[:min(len(j.Allowed), maxTold)] {
		if public {
			a.Reason = ""
		}
		texts = append(texts, fmt.Sprintf("%d not shown, allowed by %s", a.Findings, a.excuse))
	}
	return texts
}

// An ownRule is what reports need of a rule that a repository brought.
type ownRule struct {
	Title    string         `json:"title"`
	Severity rules.Severity `json:"severity"`
}

// told bounds a list of problems.
func told(all Problems) []string {
	var texts []string
	for _, p := range all[:min(len(all), maxTold)] {
		texts = append(texts, p.String())
	}
	if more := len(all) - maxTold; more > 0 {
		texts = append(texts, fmt.Sprintf("and %d more: stanch policy check lists them", more))
	}
	return texts
}

// judgementOf gathers what is kept of a judge and of what it allowed, as JSON, together
// with what was kept of the parts of the range before. Where there was nothing to look
// at, nothing is.
func (a *App) judgementOf(o outcome, earlier []byte) ([]byte, error) {
	if o.judge == nil {
		return nil, nil
	}
	policy, before := o.judge.Policy, judgement{}
	if len(earlier) > 0 {
		if err := json.Unmarshal(earlier, &before); err != nil {
			return nil, fmt.Errorf("judgement of the parts before: %w", err)
		}
		policy = policy.guarded([]Policy{before.Policy})
	}
	kept := judgement{
		Policy: policy, Problems: union(before.Problems, told(o.judge.Problems)), Notes: told(o.judge.Notes),
		Allowed: together(before.Allowed, o.allowed), Rules: map[string]ownRule{},
	}
	maps.Copy(kept.Rules, before.Rules)
	for _, l := range o.leaks {
		if a.rules[l.Rule.ID] == nil {
			kept.Rules[l.Rule.ID] = ownRule{l.Rule.Title, l.Rule.Severity}
		}
	}
	return json.Marshal(kept)
}

// judgementFor puts together how the scans of a check were judged. The policy is that of
// the last; without any, the operator's. What protects people from each other and from
// strangers is that of the strictest: who may choose what a commit is compared with does
// not choose that too.
func (a *App) judgementFor(scans []store.Scan) (judgement, error) {
	all := judgement{Policy: a.cfg.Policy, Rules: map[string]ownRule{}}
	var strict []Policy
	for _, s := range scans {
		if len(s.Judgement) == 0 {
			continue
		}
		var one judgement
		if err := json.Unmarshal(s.Judgement, &one); err != nil {
			return all, fmt.Errorf("scan %s: judgement: %w", s.Delivery, err)
		}
		all.Policy = one.Policy.guarded(strict)
		strict = append(strict, one.Policy)
		all.Problems = union(all.Problems, one.Problems)
		all.Notes, all.Allowed = union(all.Notes, one.Notes), union(all.Allowed, one.Allowed)
		maps.Copy(all.Rules, one.Rules)
	}
	return all, nil
}

// union appends what is not there yet.
func union[T comparable](all, more []T) []T {
	for _, one := range more {
		if !slices.Contains(all, one) {
			all = append(all, one)
		}
	}
	return all
}

// policyOf is the policy that counts for a check.
func (a *App) policyOf(ctx context.Context, check string) (Policy, error) {
	scans, err := a.store.Scans(ctx, check)
	if err != nil {
		return Policy{}, err
	}
	j, err := a.judgementFor(scans)
	return j.Policy, err
}
