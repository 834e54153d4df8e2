package report

// A CheckRun is what a GitHub check run says, ready to send. Texts are already
// cut to GitHub's limits; package app/github sends the annotations in batches.
type CheckRun struct {
	Conclusion  Conclusion
	Title       string
	Summary     string // Markdown
	Text        string // Markdown
	Annotations []Annotation
	Actions     []Button // three at most
}

// Conclusion is the verdict of a completed check run.
type Conclusion string

// The conclusions that Stanch uses. ActionRequired means "could not scan".
const (
	Success        Conclusion = "success"
	Failure        Conclusion = "failure"
	ActionRequired Conclusion = "action_required"
)

// An Annotation is a remark on lines of a file. Columns are 0 when it spans
// several lines: GitHub takes columns only for a single line.
type Annotation struct {
	Path        string
	StartLine   int
	EndLine     int
	StartColumn int
	EndColumn   int
	Level       string // notice, warning or failure
	Title       string
	Message     string
}

// A Button is a check-run action: GitHub shows it and sends Identifier back
// when somebody presses it.
type Button struct {
	Label       string // 20 characters at most
	Description string // 40 characters at most
	Identifier  string // 20 characters at most
}
