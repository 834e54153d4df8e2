package github

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"unicode"

	gh "github.com/google/go-github/v62/github"
)

const (
	// maxSearched is the longest text that can be searched for.
	// Source: https://docs.github.com/rest/search/search#limitations-on-query-length
	maxSearched = 256
	// maxMentions is how many files are asked for, of all that are found.
	maxMentions = 10
)

// Mentions are files that name a text, as GitHub's code search tells. It knows default
// branches alone, as they were some time ago, and files up to 384 KB; and it takes any
// two words in a row for the text that has these, whatever is between them. That it finds
// none proves nothing: private repositories may be left out for Apps.
// Source: https://docs.github.com/rest/search/search#search-code
type Mentions struct {
	Files []Mention // the first of them
	Total int
}

// A Mention is one file.
type Mention struct {
	Repository string // OWNER/NAME
	Path       string
}

// ErrNotSearchable means that a text cannot be searched for.
var ErrNotSearchable = errors.New("GitHub cannot search for that")

// Mentions looks for a text in all repositories of an account that the installation sees,
// or, where in is OWNER/NAME, in one. What it asks leaves this machine: no text with a
// secret in it may come here.
//
// Ten requests are taken in a minute. Who is refused comes again or does without it, and
// nothing else of the installation waits for that.
func (i *Installation) Mentions(ctx context.Context, in, text string) (found Mentions, err error) {
	owner, name, one := strings.Cut(in, "/")
	repo := Repository{Owner: owner, Name: "any"}
	where := "user:" + in // an organisation's name stands there too
	if one {
		repo.Name, where = name, "repo:"+in
	}
	if err := checkPath(repo); err != nil {
		return found, err
	}
	if text == "" || len(text) > maxSearched || strings.ContainsFunc(text, func(r rune) bool { return r == '"' || r == '\\' || !unicode.IsPrint(r) }) {
		return found, fmt.Errorf("search code of %s: %w", in, ErrNotSearchable)
	}
	var result *gh.CodeSearchResult
	err = i.by(ctx, i.searches, readContents.everywhere(), func(ctx context.Context, c *gh.Client) (err error) {
		result, _, err = c.Search.Code(ctx, `"`+text+`" `+where, &gh.SearchOptions{ListOptions: gh.ListOptions{PerPage: maxMentions}})
		return err
	})
	if err != nil {
		return found, fmt.Errorf("search code of %s: %w", in, err)
	}
	found.Total = result.GetTotal()
	for _, file := range result.CodeResults {
		found.Files = append(found.Files, Mention{file.GetRepository().GetFullName(), file.GetPath()})
	}
	return found, nil
}

// MentionsOf looks for the files that name a secret of Actions or Dependabot as workflows
// do, in its repository, or in all of its organisation's.
func (a *App) MentionsOf(ctx context.Context, n SecretName) (Mentions, error) {
	i, err := a.installationAt(ctx, n.Owner, n.Repo)
	if err != nil {
		return Mentions{}, err
	}
	return i.Mentions(ctx, strings.TrimSuffix(n.Owner+"/"+n.Repo, "/"), "secrets."+n.Name)
}
