package app

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/riverqueue/river"

	"github.com/stanch-dev/stanch/app/github"
	"github.com/stanch-dev/stanch/app/store"
)

// A Command is what a comment on a pull request tells Stanch to do.
type Command struct {
	Verb    string `json:"verb"`
	Finding string `json:"finding,omitempty"` // number or beginning of the fingerprint of one finding
	Reason  string `json:"reason,omitempty"`
}

// What a comment can be instead of a command.
var (
	ErrNoCommand = errors.New("the comment holds no command")
	ErrUnclear   = errors.New("the command is not one that Stanch knows")
)

const (
	commandWord = "/stanch"
	// maxNumber is the most digits that the number of a finding has: a check records
	// no more findings than that; see maxFindings.
	maxNumber = 3
	// maxReason bounds a reason, in characters. Longer ones are cut.
	maxReason = 300
)

// findingName is a number of the check's table, or at least eight digits of a
// fingerprint.
var findingName = regexp.MustCompile(`^(?:#?[0-9]{1,3}|[0-9a-f]{8,64})$`)

// ParseCommand finds the command in a comment: a line that begins with /stanch and
// that is neither code nor a quotation. A comment with more than one is unclear.
func ParseCommand(body string) (Command, error) {
	lines := commandLines(body)
	switch len(lines) {
	case 0:
		return Command{}, ErrNoCommand
	case 1:
		return parseCommandLine(lines[0])
	}
	return Command{}, fmt.Errorf("%w: one comment gives one command", ErrUnclear)
}

func parseCommandLine(line string) (Command, error) {
	words := strings.Fields(line)[1:]
	if len(words) == 0 {
		return Command{}, fmt.Errorf("%w: it has no verb", ErrUnclear)
	}
	c := Command{Verb: words[0]}
	words = words[1:]
	if len(words) > 0 && findingName.MatchString(words[0]) {
		c.Finding, words = strings.TrimPrefix(words[0], "#"), words[1:]
	}
	c.Reason = cutReason(strings.Join(words, " "))
	switch c.Verb {
	case verbRotate, verbRevoke, verbStatus:
		return c, nil
	case verbAllow, verbBypass:
		if c.Reason == "" {
			return Command{}, fmt.Errorf("%w: %s needs a reason", ErrUnclear, c.Verb)
		}
		return c, nil
	}
	return Command{}, fmt.Errorf("%w: there is no such verb", ErrUnclear)
}

func cutReason(text string) string {
	text = strings.ToValidUTF8(text, "\uFFFD")
	if r := []rune(text); len(r) > maxReason {
		return string(r[:maxReason])
	}
	return text
}

// commandLines are the lines of a comment that begin with the command's word, as
// far as people see them as text of the comment's author.
func commandLines(body string) []string {
	var found []string
	var m margin
	for line := range strings.Lines(strings.ReplaceAll(body, "\r", "\n")) {
		line = strings.TrimRight(line, "\n")
		if !m.plain(line) {
			continue
		}
		text := strings.TrimLeft(line, " ")
		after, is := strings.CutPrefix(text, commandWord)
		if is && (after == "" || strings.ContainsAny(after[:1], " \t")) {
			found = append(found, text)
		}
	}
	return found
}

// A margin follows Markdown as far as is needed to tell a comment's own text from
// code, quotations and what is hidden.
type margin struct {
	fence  string // that ends the block of code we are in
	hidden string // that ends the HTML we are in
	quoted bool   // the paragraph belongs to a quotation
}

// hiding are the parts of HTML whose content is not the author's own words, or not
// to be seen.
var hiding = [][2]string{{"<!--", "-->"}, {"<pre", "</pre>"}, {"<code", "</code>"}, {"<blockquote", "</blockquote>"}, {"<details", "</details>"}}

// plain reports whether a line is the author's own text.
func (m *margin) plain(line string) bool {
	text := strings.TrimLeft(line, " ")
	indented := len(line)-len(text) > 3 || strings.HasPrefix(text, "\t")
	switch {
	case m.hidden != "":
		m.skip(line)
		return false
	case m.fence != "":
		if !indented && strings.HasPrefix(text, m.fence) && strings.Trim(text, m.fence[:1]+" \t") == "" {
			m.fence = ""
		}
		return false
	case strings.TrimSpace(text) == "":
		m.quoted = false
		return false
	case indented || m.quoted:
		return false
	case strings.HasPrefix(text, ">"):
		m.quoted = true // and so are the lines below it, up to an empty one
		return false
	}
	for _, mark := range []string{"```", "~~~"} {
		// Between the marks of a block's first line and its end stand no more of them.
		if rest := strings.TrimLeft(text, mark[:1]); strings.HasPrefix(text, mark) && (mark == "~~~" || !strings.Contains(rest, "`")) {
			m.fence = text[:len(text)-len(rest)]
			return false
		}
	}
	m.skip(line)
	return true
}

// skip follows the HTML of a line, to know whether the next one is hidden.
func (m *margin) skip(line string) {
	line = strings.ToLower(line)
	for line != "" {
		if m.hidden != "" {
			_, rest, ended := strings.Cut(line, m.hidden)
			if !ended {
				return
			}
			m.hidden, line = "", rest
		}
		first := len(line)
		for _, h := range hiding {
			if at := strings.Index(line, h[0]); at >= 0 && at < first {
				first, m.hidden = at, h[1]
			}
		}
		if m.hidden == "" {
			return
		}
		line = line[first+1:]
	}
}

// commandArgs is the job of answering a command.
type commandArgs struct {
	Installation int64             `json:"installation"`
	Repository   github.Repository `json:"repository"`
	Pull         int               `json:"pull"`
	Comment      int64             `json:"comment"`
	Sender       github.Person     `json:"sender"`
	Command      Command           `json:"command,omitzero"` // zero: it was unclear
}

func (commandArgs) Kind() string { return "command" }

// onComment reads a comment. Only new ones of people on pull requests count: an
// edited one may say something else than what was agreed to.
func (a *App) onComment(e github.IssueComment) reaction {
	switch {
	case e.Action != "created":
		return ignored("only new comments give commands")
	case !e.Pull:
		return ignored("the comment is not on a pull request")
	case e.Bot:
		return ignored("a program wrote the comment")
	}
	c, err := ParseCommand(e.Body)
	if errors.Is(err, ErrNoCommand) {
		return ignored("the comment gives no command")
	}
	c.Reason = a.scanner.Hide(c.Reason) // people paste anything
	return do(commandArgs{Installation: e.Installation, Repository: e.Repository, Pull: e.Number, Comment: e.CommentID, Sender: e.Sender, Command: c})
}

type commandWorker struct {
	river.WorkerDefaults[commandArgs]
	app *App
}

// Work carries out a command on the newest check of the pull request, and answers
// by reactions only.
func (w commandWorker) Work(ctx context.Context, job *river.Job[commandArgs]) error {
	a, c := w.app, job.Args
	if c.Command.Verb == "" {
		return a.react(ctx, c, github.Confused)
	}
	if err := a.react(ctx, c, github.Eyes); err != nil {
		return err
	}
	id, err := a.store.NewestCheck(ctx, c.Installation, c.Repository.ID, c.Pull)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return a.react(ctx, c, github.Confused)
	case err != nil:
		return err
	}
	o := order{
		name: c.Command.Verb, given: "command", verb: c.Command.Verb, finding: c.Command.Finding, reason: c.Command.Reason, by: c.Sender,
	}
	river.ResumableStep(ctx, stepObey, nil, func(ctx context.Context) error {
		return a.postpone(a.carryOut(ctx, id, o, func(tx *store.Tx, got answer) error {
			if err := tx.Enqueue(ctx, reactArgs{Comment: c, Reaction: got.reaction()}); err != nil {
				return err
			}
			return store.FinishStep(ctx, tx, job)
		}))
	})
	return nil
}

// reaction is the answer as a picture.
func (got answer) reaction() github.Reaction {
	switch {
	case got.done:
		return github.ThumbsUp
	case got.unclear:
		return github.Confused
	}
	return github.ThumbsDown
}

// reactArgs is the job of telling what became of a command.
type reactArgs struct {
	Comment  commandArgs     `json:"comment"`
	Reaction github.Reaction `json:"reaction"`
}

func (reactArgs) Kind() string { return "react" }

// InsertOpts puts answers to where the other writing to GitHub is done.
func (reactArgs) InsertOpts() river.InsertOpts { return river.InsertOpts{Queue: queueReport} }

type reactWorker struct {
	river.WorkerDefaults[reactArgs]
	app *App
}

func (w reactWorker) Work(ctx context.Context, job *river.Job[reactArgs]) error {
	return w.app.react(ctx, job.Args.Comment, job.Args.Reaction)
}

// noReaction are the refusals after which trying again is of no use: the comment is
// gone, or nobody may react there.
var noReaction = []error{github.ErrNotFound, github.ErrForbidden, github.ErrCommentsClosed, github.ErrGone}

// react puts a reaction under the comment that gave a command.
func (a *App) react(ctx context.Context, c commandArgs, r github.Reaction) error {
	err := a.github.Installation(c.Installation).React(ctx, c.Repository, c.Comment, r)
	if slices.ContainsFunc(noReaction, func(refusal error) bool { return errors.Is(err, refusal) }) {
		a.log.WarnContext(ctx, "a command cannot be answered", "comment", c.Comment, "reaction", string(r), "error", err)
		return nil
	}
	return a.postpone(err)
}
