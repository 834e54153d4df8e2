package github

import (
	"context"
	"fmt"
	"net/http"
	"slices"

	gh "github.com/google/go-github/v62/github"

	"github.com/stanch-dev/stanch/checks/report"
)

const (
	// checkName is the check run's name. Branch protection names it, so it
	// never changes.
	checkName = "Stanch"

	// maxAnnotations is what one request may carry.
	// Source: https://docs.github.com/rest/checks/runs#update-a-check-run
	maxAnnotations = 50
)

// EnsureCheck returns the check run that externalID names on sha, and creates
// it, in progress, if there is none. Calling it again after a crash finds the
// run that the first call made. Calls for one externalID must not overlap.
func (i *Installation) EnsureCheck(ctx context.Context, repo Repository, sha, externalID, detailsURL string) (int64, error) {
	if err := checkPath(repo, sha); err != nil {
		return 0, err
	}
	id, err := i.findCheck(ctx, repo, sha, externalID)
	if err != nil || id != 0 {
		return id, err
	}
	opts := gh.CreateCheckRunOptions{
		Name:       checkName,
		HeadSHA:    sha,
		ExternalID: gh.String(externalID),
		Status:     gh.String("in_progress"),
	}
	if detailsURL != "" {
		opts.DetailsURL = gh.String(detailsURL)
	}
	var run *gh.CheckRun
	err = i.do(ctx, writeChecks.in(repo), func(ctx context.Context, c *gh.Client) (err error) {
		run, _, err = c.Checks.CreateCheckRun(ctx, repo.Owner, repo.Name, opts)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("create check run on %s@%s: %w", repo.FullName(), sha, err)
	}
	return run.GetID(), nil
}

// findCheck returns the id of our check run with that external id, 0 if there
// is none. Anybody may take our check's name; only GitHub sets the App's id.
func (i *Installation) findCheck(ctx context.Context, repo Repository, sha, externalID string) (int64, error) {
	opts := &gh.ListCheckRunsOptions{
		CheckName:   gh.String(checkName),
		Filter:      gh.String("all"),
		AppID:       gh.Int64(i.app.id),
		ListOptions: gh.ListOptions{PerPage: perPage, Page: 1},
	}
	for range maxPages {
		var page *gh.ListCheckRunsResults
		var resp *gh.Response
		err := i.do(ctx, writeChecks.in(repo), func(ctx context.Context, c *gh.Client) (err error) {
			page, resp, err = c.Checks.ListCheckRunsForRef(ctx, repo.Owner, repo.Name, sha, opts)
			return err
		})
		if err != nil {
			return 0, fmt.Errorf("list check runs of %s@%s: %w", repo.FullName(), sha, err)
		}
		found := slices.IndexFunc(page.CheckRuns, func(run *gh.CheckRun) bool {
			return run.GetExternalID() == externalID && run.GetName() == checkName && run.GetApp().GetID() == i.app.id
		})
		if found >= 0 {
			return page.CheckRuns[found].GetID(), nil
		}
		if opts.Page = resp.NextPage; opts.Page == 0 {
			return 0, nil
		}
	}
	return 0, fmt.Errorf("list check runs of %s@%s: more than %d pages", repo.FullName(), sha, maxPages)
}

// checkUpdate is go-github's update with two differences: buttons can be taken
// away by sending an empty list, and are left alone when the list is nil.
type checkUpdate struct {
	gh.UpdateCheckRunOptions
	Actions []*gh.CheckRunAction `json:"actions,omitzero"`
}

// CompleteCheck writes run into the check run id and concludes it.
//
// GitHub appends annotations and never removes one, so those that the check
// run already has are not sent again: calling CompleteCheck once more with the
// same run, after a crash or with a new conclusion, doubles nothing. The
// conclusion goes with the last request, so that nobody sees a verdict before
// its reasons are there. If the check run was deleted the error is ErrNotFound.
func (i *Installation) CompleteCheck(ctx context.Context, repo Repository, id int64, run report.CheckRun) error {
	if err := checkPath(repo); err != nil {
		return err
	}
	sent, err := i.countAnnotations(ctx, repo, id)
	if err != nil {
		return err
	}
	left := run.Annotations[min(sent, len(run.Annotations)):]
	for len(left) > maxAnnotations {
		if err := i.updateCheck(ctx, repo, id, progress(run, left[:maxAnnotations])); err != nil {
			return err
		}
		left = left[maxAnnotations:]
	}
	last := progress(run, left)
	last.Status = gh.String("completed")
	last.Conclusion = gh.String(string(run.Conclusion))
	last.Actions = buttons(run.Actions)
	return i.updateCheck(ctx, repo, id, last)
}

// ReopenCheck puts a completed check run back to in progress: there is more to
// look at, and its old conclusion must not let anything pass meanwhile.
func (i *Installation) ReopenCheck(ctx context.Context, repo Repository, id int64) error {
	if err := checkPath(repo); err != nil {
		return err
	}
	return i.updateCheck(ctx, repo, id, checkUpdate{UpdateCheckRunOptions: gh.UpdateCheckRunOptions{Name: checkName, Status: gh.String("in_progress")}})
}

// ShowProgress writes what run says into a check run that goes on.
func (i *Installation) ShowProgress(ctx context.Context, repo Repository, id int64, run report.CheckRun) error {
	if err := checkPath(repo); err != nil {
		return err
	}
	return i.updateCheck(ctx, repo, id, progress(report.CheckRun{Title: run.Title, Summary: run.Summary}, nil))
}

// countAnnotations asks how many annotations the check run id has.
func (i *Installation) countAnnotations(ctx context.Context, repo Repository, id int64) (int, error) {
	var run *gh.CheckRun
	err := i.do(ctx, writeChecks.in(repo), func(ctx context.Context, c *gh.Client) (err error) {
		run, _, err = c.Checks.GetCheckRun(ctx, repo.Owner, repo.Name, id)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("read check run %d of %s: %w", id, repo.FullName(), err)
	}
	return run.GetOutput().GetAnnotationsCount(), nil
}

func (i *Installation) updateCheck(ctx context.Context, repo Repository, id int64, update checkUpdate) error {
	path := fmt.Sprintf("repos/%s/%s/check-runs/%d", repo.Owner, repo.Name, id)
	err := i.do(ctx, writeChecks.in(repo), func(ctx context.Context, c *gh.Client) error {
		_, err := send(ctx, c, http.MethodPatch, path, update, nil)
		return err
	})
	if err != nil {
		return fmt.Errorf("update check run %d of %s: %w", id, repo.FullName(), err)
	}
	return nil
}

// progress is an update that adds annotations. GitHub wants title and summary
// with each.
func progress(run report.CheckRun, annotations []report.Annotation) checkUpdate {
	output := &gh.CheckRunOutput{
		Title:   gh.String(run.Title),
		Summary: gh.String(run.Summary),
		Text:    gh.String(run.Text), // sent when empty too, to replace an earlier one
	}
	for _, a := range annotations {
		output.Annotations = append(output.Annotations, annotation(a))
	}
	update := checkUpdate{UpdateCheckRunOptions: gh.UpdateCheckRunOptions{Name: checkName, Output: output}}
	if run.DetailsURL != "" {
		update.DetailsURL = gh.String(run.DetailsURL)
	}
	return update
}

// annotation is a in GitHub's form. Columns are taken only on a single line.
// Source: https://docs.github.com/rest/checks/runs#update-a-check-run
func annotation(a report.Annotation) *gh.CheckRunAnnotation {
	out := &gh.CheckRunAnnotation{
		Path:            gh.String(a.Path),
		StartLine:       gh.Int(a.StartLine),
		EndLine:         gh.Int(a.EndLine),
		AnnotationLevel: gh.String(a.Level),
		Message:         gh.String(a.Message),
	}
	if a.Title != "" {
		out.Title = gh.String(a.Title)
	}
	if a.StartLine == a.EndLine && a.StartColumn > 0 && a.EndColumn >= a.StartColumn {
		out.StartColumn = gh.Int(a.StartColumn)
		out.EndColumn = gh.Int(a.EndColumn)
	}
	return out
}

// buttons is never nil: see checkUpdate.
func buttons(in []report.Button) []*gh.CheckRunAction {
	out := []*gh.CheckRunAction{}
	for _, b := range in {
		out = append(out, &gh.CheckRunAction{Label: b.Label, Description: b.Description, Identifier: b.Identifier})
	}
	return out
}
