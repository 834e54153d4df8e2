package githubtest

import (
	"slices"
	"time"
	"unicode/utf8"
)

// Limits of check runs (REST API, "Create a check run", "Update a check run";
// that texts count bytes: github/docs#35252).
const (
	MaxAnnotations       = 50    // a request
	MaxOutputText        = 65535 // bytes of summary, and of text
	MaxAnnotationMessage = 64 << 10
	MaxAnnotationTitle   = 255 // characters
	MaxActions           = 3
	MaxActionLabel       = 20 // characters
	MaxActionDescription = 40
	MaxActionIdentifier  = 20
)

// A checkRunRequest is the body of a request to create or to update a check
// run. What is nil was not sent.
type checkRunRequest struct {
	Name        *string    `json:"name"`
	HeadSHA     *string    `json:"head_sha"`
	DetailsURL  *string    `json:"details_url"`
	ExternalID  *string    `json:"external_id"`
	Status      *string    `json:"status"`
	Conclusion  *string    `json:"conclusion"`
	StartedAt   *time.Time `json:"started_at"`
	CompletedAt *time.Time `json:"completed_at"`
	Output      *struct {
		Title       *string      `json:"title"`
		Summary     *string      `json:"summary"`
		Text        *string      `json:"text"`
		Annotations []Annotation `json:"annotations"`
	} `json:"output"`
	Actions *[]Action `json:"actions"`
}

// checkRunRequest reads the body and holds it against GitHub's rules.
func (c *call) checkRunRequest() (checkRunRequest, error) {
	var ask checkRunRequest
	if err := c.decode(&ask); err != nil {
		return ask, err
	}
	for _, check := range []func(checkRunRequest) error{
		checkRunRequest.checkState, checkRunRequest.checkOutput, checkRunRequest.checkActions,
	} {
		if err := check(ask); err != nil {
			return ask, err
		}
	}
	return ask, nil
}

// complete checks that a request to create has what it must.
func (ask checkRunRequest) complete() error {
	switch {
	case ask.Name == nil || *ask.Name == "":
		return invalid("Invalid request.\n\n\"name\" wasn't supplied.")
	case ask.HeadSHA == nil || *ask.HeadSHA == "":
		return invalid("Invalid request.\n\n\"head_sha\" wasn't supplied.")
	}
	return nil
}

var (
	checkStatuses    = []string{"queued", "in_progress", "completed"}
	checkConclusions = []string{"action_required", "cancelled", "failure", "neutral", "success", "skipped", "timed_out"}
	annotationLevels = []string{"notice", "warning", "failure"}
)

func (ask checkRunRequest) checkState() error {
	switch {
	case ask.Status != nil && !slices.Contains(checkStatuses, *ask.Status):
		return invalid("Invalid request.\n\n%s is not a possible status.", *ask.Status)
	case ask.Conclusion != nil && !slices.Contains(checkConclusions, *ask.Conclusion):
		return invalid("Invalid request.\n\n%s is not a possible conclusion.", *ask.Conclusion)
	case ask.Conclusion != nil:
		return nil
	case ask.CompletedAt != nil, ask.Status != nil && *ask.Status == "completed":
		return invalid("Invalid request.\n\nMissing required property `conclusion` for a completed check run.")
	}
	return nil
}

func (ask checkRunRequest) checkOutput() error {
	out := ask.Output
	switch {
	case out == nil:
		return nil
	case out.Title == nil || *out.Title == "":
		return invalid("Invalid request.\n\n\"title\" wasn't supplied.")
	case out.Summary == nil:
		return invalid("Invalid request.\n\n\"summary\" wasn't supplied.")
	case len(*out.Summary) > MaxOutputText:
		return invalidField("CheckRun", "summary", "summary exceeds a maximum bytesize of 65535")
	case out.Text != nil && len(*out.Text) > MaxOutputText:
		return invalidField("CheckRun", "text", "text exceeds a maximum bytesize of 65535")
	case len(out.Annotations) > MaxAnnotations:
		return invalid("Invalid request.\n\nNo more than 50 items are allowed; %d were supplied.", len(out.Annotations))
	}
	for _, a := range out.Annotations {
		if err := a.check(); err != nil {
			return err
		}
	}
	return nil
}

func (a Annotation) check() error {
	bad := func(field, message string) error { return invalidField("CheckAnnotation", field, message) }
	columns := a.StartColumn != nil || a.EndColumn != nil
	switch {
	case a.Path == "":
		return bad("path", "path cannot be blank")
	case a.StartLine < 1:
		return bad("start_line", "start_line must be at least 1")
	case a.EndLine < a.StartLine:
		return bad("end_line", "end_line cannot be before start_line")
	case columns && a.StartLine != a.EndLine:
		return bad("start_column", "columns are allowed only if start_line and end_line are the same")
	case a.StartColumn != nil && *a.StartColumn < 1, a.EndColumn != nil && *a.EndColumn < 1:
		return bad("start_column", "columns start at 1")
	case !slices.Contains(annotationLevels, a.Level):
		return bad("annotation_level", "annotation_level is not possible")
	case a.Message == "":
		return bad("message", "message cannot be blank")
	case len(a.Message) > MaxAnnotationMessage:
		return bad("message", "message exceeds a maximum bytesize of 65536")
	case len(a.RawDetails) > MaxAnnotationMessage:
		return bad("raw_details", "raw_details exceeds a maximum bytesize of 65536")
	case utf8.RuneCountInString(a.Title) > MaxAnnotationTitle:
		return bad("title", "title is too long (maximum is 255 characters)")
	}
	return nil
}

func (ask checkRunRequest) checkActions() error {
	if ask.Actions == nil {
		return nil
	}
	if n := len(*ask.Actions); n > MaxActions {
		return invalid("Invalid request.\n\nNo more than 3 items are allowed; %d were supplied.", n)
	}
	for _, a := range *ask.Actions {
		for _, field := range []struct {
			name, value string
			limit       int
		}{
			{"label", a.Label, MaxActionLabel},
			{"description", a.Description, MaxActionDescription},
			{"identifier", a.Identifier, MaxActionIdentifier},
		} {
			switch n := utf8.RuneCountInString(field.value); {
			case n == 0:
				return invalid("Invalid request.\n\n\"%s\" wasn't supplied.", field.name)
			case n > field.limit:
				return invalid("Invalid request.\n\nOnly %d characters are allowed; %d were supplied.", field.limit, n)
			}
		}
	}
	return nil
}

// apply changes a run as the request asks. Annotations are added to those that
// are there.
func (ask checkRunRequest) apply(run *CheckRun, now time.Time) {
	set(&run.Name, ask.Name)
	set(&run.DetailsURL, ask.DetailsURL)
	set(&run.ExternalID, ask.ExternalID)
	set(&run.StartedAt, ask.StartedAt)
	if ask.Status != nil && *ask.Status != "completed" {
		run.Status, run.Conclusion, run.CompletedAt = *ask.Status, "", time.Time{}
	}
	if ask.Conclusion != nil {
		run.Status, run.Conclusion, run.CompletedAt = "completed", *ask.Conclusion, now
		set(&run.CompletedAt, ask.CompletedAt)
	}
	if ask.Output != nil {
		set(&run.Title, ask.Output.Title)
		set(&run.Summary, ask.Output.Summary)
		set(&run.Text, ask.Output.Text)
		run.Annotations = append(run.Annotations, ask.Output.Annotations...)
	}
	set(&run.Actions, ask.Actions)
}

func set[T any](to, from *T) {
	if from != nil {
		*to = *from
	}
}
