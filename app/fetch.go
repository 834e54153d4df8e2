package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/stanch-dev/stanch/app/github"
)

// What a check run says when a range could not be scanned. Fixed texts: errors
// are for the log, and may repeat what strangers wrote.
const (
	problemTransient = "The commits could not be scanned so far. Stanch keeps trying; if this stays, see its log."
	problemTooLarge  = "The repository is larger than Stanch's limit for fetches. Scan it with stanch scan --git."
	problemMissing   = "The commits are not on GitHub any more, so they cannot be scanned. Push again, or re-run the check if they are back."
	problemTime      = "The commits took longer to fetch and to scan than Stanch allows, one at a time too. Re-run the check; if this stays, scan them with stanch scan --git."
)

// couldNotScan is what to tell about an error that trying again will not mend,
// and empty for all others. A commit that is missing at first may only not have
// reached the server that was asked.
func couldNotScan(err error, attempt int) string {
	switch {
	case errors.Is(err, github.ErrTooLarge):
		return problemTooLarge
	case errors.Is(err, github.ErrMissing) && attempt >= confessAfter:
		return problemMissing
	case errors.Is(err, errScanTime):
		return problemTime
	}
	return ""
}

// fetch brings a range: the tip, and where its news begin. A base that is not on
// GitHub any more, because the branch was forced, gives way to the default branch;
// that scans more, never less.
func (a *App) fetch(ctx context.Context, s scanArgs, last string, remote github.Remote, dir string) (*github.Mirror, error) {
	spec := s.spec(last)
	mirror, err := github.Fetch(ctx, remote, dir, spec, github.FetchLimits{})
	if err != nil || s.Pinned || s.Lost || s.Base == "" || !slices.Contains(mirror.MissingBases(), cmp.Or(last, s.Base)) {
		return mirror, err
	}
	a.log.InfoContext(ctx, "the base of a push is gone; scanning from the default branch", "delivery", s.Delivery, "base", s.Base)
	if err := mirror.Close(); err != nil {
		return nil, fmt.Errorf("remove fetched objects: %w", err)
	}
	s.Base = ""
	return github.Fetch(ctx, remote, dir, s.spec(""), github.FetchLimits{})
}

// spec is what to fetch. last is what was last scanned of the ref, if it is known.
func (s scanArgs) spec(last string) github.FetchSpec {
	spec := github.FetchSpec{Tip: s.Tip}
	if rev := s.policyRev(); strings.HasPrefix(rev, "refs/") {
		spec.Along = rev
	}
	switch {
	case s.Pinned:
		spec.Bases = s.Bases
	case s.Lost: // nothing of what is still there, or was there when it was scanned
		spec.Bases = []string{s.Base, last}
	case s.Base != "" && last != "" && last != s.Base:
		// Deliveries were lost in between, or this one is late. Only what was there
		// before both is no news.
		spec.Bases, spec.Common = []string{last, s.Base}, true
	case s.Base != "":
		spec.Bases = []string{s.Base}
	case !s.WholeHistory:
		spec.Bases = []string{"refs/heads/" + s.Repository.DefaultBranch}
	}
	return spec
}

// remote is a repository as git fetches it.
func (a *App) remote(ctx context.Context, installation int64, repo github.Repository) (github.Remote, error) {
	token, err := a.github.Installation(installation).GitToken(ctx, repo)
	if err != nil {
		return github.Remote{}, fmt.Errorf("get a token to fetch with: %w", err)
	}
	return github.Remote{URL: a.github.CloneURL(repo), Token: token}, nil
}

// doubtToken gives up the token that git was refused with, if that is what happened.
func (a *App) doubtToken(err error, installation int64, repo github.Repository) {
	if errors.Is(err, github.ErrUnauthorized) || errors.Is(err, github.ErrForbidden) || errors.Is(err, github.ErrNotFound) {
		a.github.Installation(installation).DoubtGitToken(repo)
	}
}
