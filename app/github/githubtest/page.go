package githubtest

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/extension"
)

//go:embed site
var site embed.FS

// latestShown is how many pushes and check runs the pages list.
const latestShown = 20

// contentPolicy lets the pages load their own style sheet and nothing else: no
// script, no picture, no frame. What people write cannot make them do more.
const contentPolicy = "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// A view fills a page from the state; it is called with the lock held.
type view func(*Server, *http.Request) (any, error)

// pages serves what a person looks at. There is no signing in: whoever reaches
// the simulated GitHub sees private repositories too.
func (s *Server) pages(mux *http.ServeMux) {
	pages := template.Must(template.New("").Funcs(template.FuncMap{
		"markdown": markdown,
		"short":    func(sha string) string { return fmt.Sprintf("%.7s", sha) },
		"branch":   branchName,
		"ago":      func(t time.Time) string { return ago(s.now().Sub(t)) },
		"clock":    func(t time.Time) string { return t.UTC().Format("15:04:05") },
		"none":     none,
		"state":    runState,
		"picture":  func(r Reaction) string { return pictures[r.Content] },
		"words":    func(s string) string { return strings.ReplaceAll(s, "_", " ") },
	}).ParseFS(site, "site/*.html"))
	for pattern, page := range map[string]struct {
		template string
		view     view
	}{
		"GET /{$}":                       {"index.html", viewIndex},
		"GET /{owner}/{repo}":            {"repository.html", viewRepository},
		"GET /{owner}/{repo}/runs/{id}":  {"run.html", viewRun},
		"GET /{owner}/{repo}/pull/{num}": {"pull.html", viewPull},
	} {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			s.servePage(w, r, pages.Lookup(page.template), page.view)
		})
	}
	s.oauth(mux, pages.Lookup("authorize.html"))
	mux.HandleFunc("GET /style.css", func(w http.ResponseWriter, r *http.Request) {
		http.ServeFileFS(w, r, site, "site/style.css")
	})
	press := http.HandlerFunc(s.servePress)
	mux.Handle("POST /{owner}/{repo}/runs/{id}/actions/{identifier}", http.NewCrossOriginProtection().Handler(press))
}

func (s *Server) servePage(w http.ResponseWriter, r *http.Request, page *template.Template, view view) {
	s.mu.Lock()
	data, err := view(s, r)
	s.mu.Unlock()
	var out bytes.Buffer
	if err == nil {
		err = page.Execute(&out, data)
	}
	switch {
	case errors.Is(err, errNotFound):
		http.NotFound(w, r)
		return
	case err != nil:
		s.log.Error("show a page", "path", r.URL.Path, "error", err)
		http.Error(w, "This page is broken.", http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", contentPolicy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-store")
	w.Write(out.Bytes()) // a reader that went away is no concern of ours
}

// servePress presses a check run's button for the repository's owner.
func (s *Server) servePress(w http.ResponseWriter, r *http.Request) {
	id, _ := strconv.ParseInt(r.PathValue("id"), 10, 64)
	if err := s.PressButton(id, r.PathValue("identifier"), r.PathValue("owner")); err != nil {
		http.Error(w, err.Error(), http.StatusNotFound)
		return
	}
	http.Redirect(w, r, fmt.Sprintf("/%s/%s/runs/%d", r.PathValue("owner"), r.PathValue("repo"), id), http.StatusSeeOther)
}

// markdown renders text as GitHub does. Raw HTML in it is left out, and so are
// links that do something else than lead somewhere.
func markdown(text string) (template.HTML, error) {
	var out bytes.Buffer
	if err := goldmark.New(goldmark.WithExtensions(extension.GFM)).Convert([]byte(text), &out); err != nil {
		return "", fmt.Errorf("render Markdown: %w", err)
	}
	return template.HTML(out.String()), nil // goldmark escapes whatever is text
}

// pictures are the reactions as people see them.
var pictures = map[string]string{
	"+1": "👍", "-1": "👎", "laugh": "😄", "confused": "😕", "heart": "❤️", "hooray": "🎉", "rocket": "🚀", "eyes": "👀",
}

func branchName(ref string) string {
	return strings.TrimPrefix(strings.TrimPrefix(ref, "refs/heads/"), "refs/tags/")
}

func ago(d time.Duration) string {
	switch {
	case d < time.Second:
		return "just now"
	case d < time.Minute:
		return fmt.Sprintf("%d s ago", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%d min ago", int(d.Minutes()))
	}
	return fmt.Sprintf("%d h ago", int(d.Hours()))
}

// runState is how a run looks: the name of a class in the style sheet.
func runState(run CheckRun) string {
	switch {
	case run.Status != "completed":
		return "running"
	case run.Conclusion == "success":
		return "good"
	case run.Conclusion == "failure", run.Conclusion == "timed_out":
		return "bad"
	case run.Conclusion == "action_required":
		return "warn"
	}
	return "quiet"
}

// pushRow is a push with the check runs of what it brought.
type pushRow struct {
	Push
	Message string
	Runs    []CheckRun
}

type repositoryView struct {
	FullName string
	CloneURL string
	Private  bool
	Branch   string
	Fork     string
	Pushes   []pushRow
	Pulls    []Pull
}

func viewIndex(s *Server, _ *http.Request) (any, error) {
	var list []*repository
	for _, repo := range s.repositories {
		list = append(list, repo)
	}
	slices.SortFunc(list, byAge)
	return struct {
		Repositories []repositoryView
		Pushes       []pushRow
	}{
		Repositories: each(list, s.viewOf),
		Pushes:       s.pushRows(func(Push) bool { return true }),
	}, nil
}

// pushRows lists the latest pushes that fit, newest first.
func (s *Server) pushRows(fits func(Push) bool) []pushRow {
	var rows []pushRow
	for _, p := range slices.Backward(s.latest) {
		repo := s.repositories[key(p.Repository)]
		if !fits(p) || repo == nil {
			continue
		}
		rows = append(rows, pushRow{Push: p, Message: s.subject(repo, p.After), Runs: s.runsFor(repo, p.After)})
		if len(rows) == latestShown {
			break
		}
	}
	return rows
}

// subject is the first line of a commit's message, read from git once.
func (s *Server) subject(repo *repository, sha string) string {
	if _, seen := s.subjects[sha]; !seen {
		s.subjects[sha] = s.git.subject(repo.dir, sha)
	}
	return s.subjects[sha]
}

func (s *Server) runsFor(repo *repository, sha string) []CheckRun {
	var runs []CheckRun
	for _, run := range s.runsOf(repo.fullName()) {
		if run.HeadSHA == sha {
			runs = append(runs, run.export())
		}
	}
	return runs
}

func (s *Server) viewOf(repo *repository) repositoryView {
	shown := repositoryView{
		FullName: repo.fullName(), CloneURL: s.CloneURL(repo.fullName()), Private: repo.private,
		Branch: repo.defaultBranch, Pulls: each(repo.pulls, func(p *pull) Pull { return p.export(s) }),
	}
	if repo.parent != nil {
		shown.Fork = repo.parent.fullName()
	}
	return shown
}

func (s *Server) repositoryOf(r *http.Request) (*repository, error) {
	name := r.PathValue("owner") + "/" + strings.TrimSuffix(r.PathValue("repo"), ".git")
	if repo := s.repositories[key(name)]; repo != nil {
		return repo, nil
	}
	return nil, errNotFound
}

func viewRepository(s *Server, r *http.Request) (any, error) {
	repo, err := s.repositoryOf(r)
	if err != nil {
		return nil, err
	}
	shown := s.viewOf(repo)
	shown.Pushes = s.pushRows(func(p Push) bool { return p.Repository == repo.fullName() })
	return shown, nil
}

func viewRun(s *Server, r *http.Request) (any, error) {
	repo, err := s.repositoryOf(r)
	if err != nil {
		return nil, err
	}
	id, _ := strconv.ParseInt(r.PathValue("id"), 10, 64)
	run := s.checkRuns[id]
	if run == nil || run.repo != repo {
		return nil, errNotFound
	}
	return struct {
		CheckRun
		App     string
		Message string
		Took    time.Duration
		Pulls   []Pull
		Details string // the App's own page about it
	}{
		Details:  s.detailsOf(run),
		CheckRun: run.export(), App: run.app.name, Message: s.subject(repo, run.HeadSHA),
		Took: run.CompletedAt.Sub(run.StartedAt).Round(100 * time.Millisecond), Pulls: s.pullsAt(repo, run.HeadSHA),
	}, nil
}

// detailsOf is the page that an App named for a run. Without one GitHub shows the
// App's own, which is not simulated.
func (s *Server) detailsOf(run *checkRun) string {
	if strings.HasPrefix(run.DetailsURL, s.web("/apps/")) {
		return ""
	}
	return run.DetailsURL
}

func (s *Server) pullsAt(repo *repository, sha string) []Pull {
	var list []Pull
	for _, p := range repo.pulls {
		if p.headSHA == sha {
			list = append(list, p.export(s))
		}
	}
	return list
}

func viewPull(s *Server, r *http.Request) (any, error) {
	repo, err := s.repositoryOf(r)
	if err != nil {
		return nil, err
	}
	number, _ := strconv.Atoi(r.PathValue("num"))
	p := repo.pull(number)
	if p == nil {
		return nil, errNotFound
	}
	return struct {
		Pull
		Runs     []CheckRun
		Comments []Comment
	}{
		Pull: p.export(s), Runs: s.runsFor(repo, p.headSHA),
		Comments: each(s.commentsOn(repo, number), (*comment).export),
	}, nil
}
