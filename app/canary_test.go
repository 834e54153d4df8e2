package app_test

import (
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/stanch-dev/stanch/app/github/githubtest"
	"github.com/stanch-dev/stanch/app/store/postgrestest"
)

// findNone looks for credentials, in every form in which they could have slipped
// out, in all that the App wrote: files, log, metrics, pages, and what it told
// GitHub.
func (w *world) findNone(values ...string) {
	w.t.Helper()
	written := map[string][]byte{"GitHub": w.github.Everything(), "the log": w.logs.all()}
	pages := []string{w.hook.URL + "/metrics", w.github.URL() + "/"}
	for _, run := range w.github.CheckRuns(w.repoName) {
		pages = append(pages, run.URL)
	}
	for _, page := range pages {
		resp, err := http.Get(page)
		w.must(err)
		written[page], err = io.ReadAll(resp.Body)
		w.must(err)
		resp.Body.Close()
	}
	w.must(filepath.WalkDir(w.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil // a file of the database that came and went
		}
		if d.IsDir() && path == filepath.Join(w.dir, "github") {
			return filepath.SkipDir // GitHub's own copy of what was pushed
		}
		if d.Type().IsRegular() {
			written[path], _ = os.ReadFile(path)
		}
		return nil
	}))
	written["the database"] = w.remembered()
	if len(written["the log"]) == 0 || len(written["the database"]) == 0 || len(written["GitHub"]) == 0 {
		w.t.Error("the search looks in the wrong places")
	}
	for _, value := range values {
		for name, text := range written {
			if githubtest.Holds(text, value) {
				w.t.Errorf("%s holds a credential", name)
			}
		}
	}
}

// remembered is what the database holds.
func (w *world) remembered() (all []byte) {
	w.t.Helper()
	path, isFile := strings.CutPrefix(w.database, "sqlite:")
	if !isFile {
		return postgrestest.Everything(w.t, w.database)
	}
	for _, name := range []string{path, path + "-wal"} {
		b, err := os.ReadFile(name)
		w.must(err)
		all = append(all, b...)
	}
	return all
}
