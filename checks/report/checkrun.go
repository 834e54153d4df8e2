// Package report turns what was found into what people and programs read: a
// GitHub check run with its annotations, the one comment on a pull request, and
// for the command line text, JSON and SARIF.
//
// Everything here is a pure function. Paths, authors and refs come from
// strangers: they are masked, so that no report holds a secret's value, and
// escaped for the place they are written to.
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
	DetailsURL  string   // of the page that tells more; empty without one
}

// Conclusion is the verdict of a completed check run.
type Conclusion string

// The conclusions that Stanch uses. ActionRequired means "could not scan". Neutral
// lets a merge pass, as Success does, and shows that something is not as it should
// be: a bypass, a policy file that is wrong, or what a policy wants to be seen.
const (
	Success        Conclusion = "success"
	Neutral        Conclusion = "neutral"
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

// GitHub's limits.
const (
	// MaxTextBytes bounds a check run's summary and its text. GitHub's description
	// says characters, its answer says bytes: "summary exceeds a maximum bytesize
	// of 65535" (github/docs#35252).
	MaxTextBytes = 65535
	// MaxAnnotationBytes bounds an annotation's message: 64 KB
	// (docs.github.com/rest/checks/runs, output.annotations.message).
	MaxAnnotationBytes = 64 * 1000
	// MaxAnnotationTitle bounds an annotation's title, and ours: 255 characters
	// (docs.github.com/rest/checks/runs, output.annotations.title).
	MaxAnnotationTitle = 255
	// MaxAnnotations bounds the annotations of one check run. The bound is ours: five
	// requests of 50, the most that GitHub takes in one.
	MaxAnnotations = 250
	// MaxButtons, MaxButtonLabel, MaxButtonDescription and MaxButtonIdentifier bound
	// the actions (docs.github.com/rest/checks/runs, actions).
	MaxButtons           = 3
	MaxButtonLabel       = 20
	MaxButtonDescription = 40
	MaxButtonIdentifier  = 20
	// MaxCommentRunes bounds a comment: "Body is too long (maximum is 65536
	// characters)", GitHub's answer to a longer one.
	MaxCommentRunes = 65536
)

// NewCheckRun says what the check run of a scan shows when it is completed.
func NewCheckRun(s Scan) CheckRun {
	s = s.masked()
	return CheckRun{
		Conclusion:  s.conclusion(),
		Title:       cutRunes(s.title(), MaxAnnotationTitle),
		Summary:     cutBytes(s.summary(), MaxTextBytes),
		Text:        cutBytes(s.text(), MaxTextBytes),
		Annotations: s.annotations(),
		Actions:     s.buttons(),
		DetailsURL:  s.Details,
	}
}
