package app

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"time"

	"github.com/stanch-dev/stanch/app/github"
	"github.com/stanch-dev/stanch/app/store"
	"github.com/stanch-dev/stanch/checks"
)

const (
	// maxSearches bounds what one plan searches for: GitHub takes ten searches a minute.
	maxSearches = 5
	// searchPatience is how long a plan waits for all of them.
	searchPatience = 10 * time.Second
	// maxMentioned is in how many files something may be named for these to say who
	// reads it.
	maxMentioned = 100
)

// A search is for the files that name where a credential is kept.
type search struct {
	text string
	ask  func(context.Context) (github.Mentions, error)
}

// riskOfMentions names files that name a place of the credential, or a copy of it, as
// GitHub's code search tells. What it does not tell keeps no plan back.
func (a *App) riskOfMentions(ctx context.Context, plan *Plan, i store.Incident, cred checks.Credential) error {
	if a.github == nil {
		return nil
	}
	searches, err := a.searches(ctx, plan, i, cred)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, searchPatience)
	defer cancel()
	for n, s := range searches {
		if n == maxSearches {
			plan.Risks = append(plan.Risks, fmt.Sprintf("%d more searches of code for who reads it were left out", len(searches)-n))
			break
		}
		plan.Risks = append(plan.Risks, a.mentionsText(ctx, s)...)
	}
	return nil
}

// oneWord is a name that stands in many files, whatever they read.
var oneWord = regexp.MustCompile(`^[A-Za-z]*$`)

// searches are for the places of a plan, in the accounts where the credential was found,
// and for the copies of these, where workflows have them. No text is sent that has a part
// of the credential in it.
func (a *App) searches(ctx context.Context, plan *Plan, i store.Incident, cred checks.Credential) (all []search, err error) {
	known := map[string]bool{}
	add := func(where, text string, ask func(context.Context) (github.Mentions, error)) {
		if at := where + " " + text; !known[at] && !oneWord.MatchString(text) && !carries(checks.NewSecret(text), cred) {
			known[at] = true
			all = append(all, search{text, ask})
		}
	}
	accounts, err := a.accountsOf(ctx, i)
	for _, p := range plan.places {
		if p.Leaked.Superseded || p.Adopted {
			continue
		}
		for _, c := range a.copiesOf(p) {
			add(c.To.Owner+"/"+c.To.Repo, "secrets."+c.To.Name, func(ctx context.Context) (github.Mentions, error) { return a.github.MentionsOf(ctx, c.To) })
		}
		text := p.Leaked.Mention()
		for _, owner := range slices.Sorted(maps.Keys(accounts)) {
			add(owner, text, func(ctx context.Context) (github.Mentions, error) { return accounts[owner].Mentions(ctx, owner, text) })
		}
	}
	return all, err
}

// accountsOf are those in whose repositories the credential was found.
func (a *App) accountsOf(ctx context.Context, i store.Incident) (map[string]*github.Installation, error) {
	if i.ID == "" {
		return nil, nil
	}
	ids, err := a.store.RepositoriesOf(ctx, i.ID)
	if err != nil {
		return nil, err
	}
	accounts := map[string]*github.Installation{}
	for _, id := range ids {
		repo, err := a.store.Repository(ctx, id)
		switch {
		case errors.Is(err, store.ErrNotFound):
		case err != nil:
			return nil, err
		default:
			accounts[repo.Owner] = a.github.Installation(repo.Installation)
		}
	}
	return accounts, nil
}

func (a *App) mentionsText(ctx context.Context, s search) (texts []string) {
	found, err := s.ask(ctx)
	limited := new(github.RateLimited)
	switch {
	case errors.Is(err, github.ErrNotSearchable):
		return nil
	case errors.As(err, &limited):
		return []string{fmt.Sprintf("which files name “%s” could not be searched for: GitHub takes the next search in %s", s.text, limited.RetryAfter.Round(time.Second))}
	case err != nil:
		a.log.WarnContext(ctx, "code cannot be searched", "error", err)
		return []string{fmt.Sprintf("which files name “%s” could not be searched for: Stanch’s log says why", s.text)}
	case found.Total > maxMentioned:
		return []string{fmt.Sprintf("%d files name “%s”, too many to tell who reads it", found.Total, s.text)}
	}
	for _, f := range found.Files {
		texts = append(texts, fmt.Sprintf("%s: %s names “%s”: it may read it from there", f.Repository, f.Path, s.text))
	}
	if more := found.Total - len(found.Files); more > 0 {
		texts = append(texts, fmt.Sprintf("%d more files name “%s”", more, s.text))
	}
	return texts
}
