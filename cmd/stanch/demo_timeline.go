package main

import (
	"cmp"
	"context"
	"fmt"
	"html"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/stanch-dev/stanch/app"
	"github.com/stanch-dev/stanch/app/github/githubtest"
)

// stagePushed is the stage that the simulated GitHub tells of; package app tells
// of the others.
const stagePushed app.Stage = "pushed"

// leakStages are what a push with a live credential must pass.
var leakStages = []app.Stage{stagePushed, app.Delivered, app.Detected, app.Verified, app.Contained, app.Rotated, app.ProvedDead, app.Checked}

// A timeline writes down which stage was passed when, each once, although a
// push to a pull request is delivered twice: as a push and as a pull request.
type timeline struct {
	out    io.Writer
	format string

	mu      sync.Mutex
	quiet   bool                 // until start
	pushes  map[string]*demoPush // by the pushed commit
	changed chan struct{}        // closed and replaced at each event
}

type demoPush struct {
	at     time.Time
	seen   map[app.Event]bool // without their times
	stages []app.Stage
}

func newTimeline(out io.Writer, format string) *timeline {
	return &timeline{out: out, format: format, quiet: true, pushes: map[string]*demoPush{}, changed: make(chan struct{})}
}

// stageLine is one line of --format json.
type stageLine struct {
	Event      app.Stage `json:"event"`
	Repository string    `json:"repository"`
	Commit     string    `json:"commit"`
	HeadSHA    string    `json:"head_sha"`
	Rule       string    `json:"rule"`
	File       string    `json:"file"`
	Line       int       `json:"line"`
	Seconds    float64   `json:"seconds"`
	Validity   string    `json:"validity,omitempty"`
	Detail     string    `json:"detail,omitempty"`
}

// pushed notes when the simulated GitHub took a push.
func (t *timeline) pushed(p githubtest.Push) {
	if strings.Trim(p.After, "0") == "" {
		return // a deleted ref
	}
	t.observe(app.Event{Stage: stagePushed, At: p.At, Repository: p.Repository, HeadSHA: p.After,
		Detail: strings.TrimPrefix(strings.TrimPrefix(p.Ref, "refs/heads/"), "refs/")})
}

// observe notes a stage.
func (t *timeline) observe(e app.Event) {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.pushes[e.HeadSHA]
	if p == nil {
		// A pushed tag is not the commit that its check run stands on: such a
		// push begins with its delivery.
		p = &demoPush{at: e.At, seen: map[app.Event]bool{}}
		t.pushes[e.HeadSHA] = p
	}
	// A commit is scanned for its push and for its pull request. Who comes second may
	// find dead what the first has found live.
	at, once := e.At, e
	e.At, once.At, once.Validity = time.Time{}, time.Time{}, ""
	if p.seen[once] {
		return
	}
	p.seen[once] = true
	p.stages = append(p.stages, e.Stage)
	t.write(e, max(0, at.Sub(p.at)))
	close(t.changed)
	t.changed = make(chan struct{})
}

func (t *timeline) write(e app.Event, since time.Duration) {
	if t.quiet {
		return
	}
	if t.format == "json" {
		// What is told of a push as a whole is told of its last commit.
		timelineJSON(t.out, stageLine{e.Stage, e.Repository, cmp.Or(e.Commit, e.HeadSHA), e.HeadSHA, e.Rule, e.File, e.Line,
			float64(since.Milliseconds()) / 1000, string(e.Validity), e.Detail})
		return
	}
	what := ""
	switch e.Stage {
	case stagePushed:
		fmt.Fprintln(t.out)
		what = fmt.Sprintf("%s, %s at %.7s", e.Repository, e.Detail, e.HeadSHA)
	case app.Delivered:
		what = "the signed webhook is recorded"
	case app.Detected:
		what = fmt.Sprintf("%s in %s, line %d, commit %.7s", e.Rule, e.File, e.Line, e.Commit)
	case app.Verified:
		what = "the provider was asked: " + validityText(e)
	case app.Contained:
		what = "the provider took the revocation"
	case app.Rotated:
		what = "the replacement works and stands in " + e.Detail
	case app.ProvedDead:
		what = "the provider refuses the leaked credential"
	case app.Checked:
		what = "the check run says " + e.Detail
	}
	fmt.Fprintf(t.out, "%8.2f s  %-12s %s\n", since.Seconds(), e.Stage, what)
}

func validityText(e app.Event) string {
	switch e.Validity {
	case "active":
		return "it is live"
	case "inactive":
		return "it is dead"
	}
	return "nobody can tell"
}

// start begins to write. What was noted before is only remembered.
func (t *timeline) start() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.quiet = false
}

// wait waits until a push has passed all of the given stages, or ctx ends.
func (t *timeline) wait(ctx context.Context, head string, stages []app.Stage) (complete bool) {
	for {
		t.mu.Lock()
		p, changed := t.pushes[head], t.changed
		complete = p != nil && !slices.ContainsFunc(stages, func(s app.Stage) bool { return !slices.Contains(p.stages, s) })
		t.mu.Unlock()
		if complete {
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-changed:
		}
	}
}

// ready says where everything is, before anything is pushed.
func (t *timeline) ready(d *demo) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.format == "json" {
		timelineJSON(t.out, struct {
			Event        string `json:"event"`
			CloneURL     string `json:"clone_url"`
			PageURL      string `json:"page_url"`
			WebhookURL   string `json:"webhook_url"`
			DashboardURL string `json:"dashboard_url"`
			Token        string `json:"token"`
		}{"ready", d.github.CloneURL(demoRepository), d.github.URL(), d.webhookURL(), d.dashboardURL(), d.tokens[1]})
		return
	}
	fmt.Fprintf(t.out, "A simulated GitHub is at %s, Stanch behind it, and %s keeps the credentials.\n", d.github.URL(), d.keeper.title)
	fmt.Fprintf(t.out, "A developer of %s pushes a live token to an open pull request. Seconds are since the push.\n", demoRepository)
}

// show prints the check run and the comment as the simulated GitHub has them.
func (t *timeline) show(d *demo, head string) {
	if t.format == "json" {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, run := range d.github.CheckRuns(demoRepository) {
		if run.HeadSHA == head {
			section(t.out, fmt.Sprintf("The check run: %s, %s", run.Conclusion, run.Title), run.Summary)
			for _, a := range run.Annotations {
				section(t.out, fmt.Sprintf("Its annotation at %s, line %d", a.Path, a.StartLine), a.Message)
			}
		}
	}
	for _, c := range d.github.Comments(demoRepository, d.pull) {
		section(t.out, fmt.Sprintf("The comment on pull request %d", d.pull), c.Body)
	}
}

func section(w io.Writer, title, body string) {
	fmt.Fprintf(w, "\n── %s ──\n\n", title)
	for line := range strings.Lines(body) {
		if !strings.HasPrefix(line, "<!--") {
			fmt.Fprintln(w, "  "+html.UnescapeString(strings.TrimRight(line, "\n")))
		}
	}
}

// invite tells the reader how to leak a token himself.
func (t *timeline) invite(d *demo) {
	if t.format == "json" {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	fmt.Fprintf(t.out, `
── Now you ──

  git clone %s && cd %s
  echo 'GITHUB_TOKEN=%s' > leak.env
  git add leak.env && git commit -m leak && git push

  That token is live on the simulated GitHub and kept in the secret store.
  Watch the check run: %s
  And the dashboard, where you sign in as %s: %s
  Stop with Ctrl-C; everything is removed then.
`, d.github.CloneURL(demoRepository), demoName, d.tokens[1], d.github.URL(), demoPerson, d.dashboardURL())
}
