package app

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/riverqueue/river"

	"github.com/stanch-dev/stanch/app/github"
	"github.com/stanch-dev/stanch/app/store"
	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/checks/fix"
)

// maxSuggestions bounds the suggestions of one pull request. More is no slip that a
// button mends.
const maxSuggestions = 10

// suggestArgs is the job of suggesting to the author of a pull request how its
// lines look without their secrets.
type suggestArgs struct {
	Check string `json:"check"`
	Pull  int    `json:"pull"`
}

func (suggestArgs) Kind() string { return "suggest" }

// InsertOpts puts suggestions to the other writing to GitHub.
func (suggestArgs) InsertOpts() river.InsertOpts { return river.InsertOpts{Queue: queueReport} }

type suggestWorker struct {
	river.WorkerDefaults[suggestArgs]
	app *App
}

// Work looks at the files as the head commit has them, where lines may stand
// elsewhere than in the commit that added them.
func (w suggestWorker) Work(ctx context.Context, job *river.Job[suggestArgs]) error {
	a := w.app
	check, err := a.store.Check(ctx, job.Args.Check)
	if err != nil {
		return err
	}
	release, err := a.store.Hold(ctx, holdPull(check, job.Args.Pull))
	if err != nil {
		return err
	}
	defer release()
	inst := a.github.Installation(check.Installation)
	comments, err := a.suggestions(ctx, inst, check)
	if err != nil || len(comments) == 0 {
		return a.postpone(err)
	}
	err = inst.Review(ctx, check.Repository, job.Args.Pull, check.HeadSHA, "How these lines look without the credential in them:", comments)
	if slices.ContainsFunc(noReaction, func(refusal error) bool { return errors.Is(err, refusal) }) || errors.Is(err, github.ErrInvalid) {
		a.log.WarnContext(ctx, "suggestions cannot be made", "check", check.ID, "pull", job.Args.Pull, "error", err)
		return nil
	}
	return a.postpone(err)
}

// suggestions are the comments for what the head commit still holds.
func (a *App) suggestions(ctx context.Context, inst *github.Installation, check store.Check) ([]github.ReviewComment, error) {
	occurrences, err := a.store.Occurrences(ctx, check.ID)
	if err != nil {
		return nil, err
	}
	incidents, err := a.store.Incidents(ctx, check.ID)
	if err != nil {
		return nil, err
	}
	wanted := map[checks.Fingerprint]bool{}
	for _, i := range incidents {
		wanted[i.Fingerprint] = true
	}
	var comments []github.ReviewComment
	seen := map[string]bool{}
	for _, o := range occurrences {
		if !o.InTip || seen[o.Path] || len(comments) >= maxSuggestions {
			continue
		}
		seen[o.Path] = true
		data, err := inst.File(ctx, check.Repository, o.Path, check.HeadSHA)
		switch {
		case errors.Is(err, github.ErrNotFound), errors.Is(err, github.ErrForbidden), errors.Is(err, github.ErrNoFile):
			continue // gone, or too large for this
		case err != nil:
			return nil, err
		}
		more, err := a.suggestionsFor(o.Path, data, wanted)
		if err != nil {
			return nil, err
		}
		comments = append(comments, more...)
	}
	return comments[:min(len(comments), maxSuggestions)], nil
}

// suggestionsFor are the comments for one file.
func (a *App) suggestionsFor(path string, data []byte, wanted map[checks.Fingerprint]bool) ([]github.ReviewComment, error) {
	found, err := a.scanner.Examine(path, data)
	if incomplete := new(checks.Incomplete); err != nil && !errors.As(err, &incomplete) {
		return nil, err
	}
	lines := strings.Split(string(data), "\n")
	var comments []github.ReviewComment
	for _, f := range found {
		if !wanted[f.Fingerprint] || f.Line != f.EndLine || f.Line > len(lines) || len(f.Encodings) > 0 || f.Inside != "" {
			continue
		}
		line := strings.TrimSuffix(lines[f.Line-1], "\r")
		s, ok := fix.Suggest(fix.Secret{Path: path, Line: line, Start: f.Column - 1, End: f.EndColumn - 1, Kind: f.Rule.ID})
		if !ok || a.scanner.Hide(s.Line) != s.Line {
			continue // another secret stands on the line: suggesting would repeat it
		}
		comments = append(comments, github.ReviewComment{Path: path, Line: f.Line, Side: "RIGHT", Body: suggestionText(f, s)})
	}
	return comments, nil
}

// suggestionText begins with the marker by which the suggestion is known again.
func suggestionText(f checks.Finding, s fix.Suggestion) string {
	fence := "```"
	for strings.Contains(s.Line, fence) {
		fence += "`"
	}
	text := s.Line + "\n"
	if s.Remove {
		text = ""
	}
	return fmt.Sprintf("<!-- stanch:suggestion %.16s -->\n%s. %s\n\n%ssuggestion\n%s%s\n",
		f.Fingerprint, "Read the credential from where it is kept", s.Note, fence, text, fence)
}
