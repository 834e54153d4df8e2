package githubtest

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// A commit is one commit with the files that it changed against its first
// parent.
type commit struct {
	id, tree                string
	author, committer       person
	message                 string
	added, modified, remove []string
}

type person struct{ name, email, date string }

// logFormat prints the fields of a commit, each with a NUL behind it: the one
// byte that none of them can hold.
const logFormat = "%H%x00%T%x00%an%x00%ae%x00%aI%x00%cn%x00%ce%x00%cI%x00%B%x00"

const logFields = 9

// log reads commits, oldest first, the newest limit of them.
func (g gitCommand) log(dir string, limit int, revisions ...string) ([]commit, error) {
	out, err := g.feed(dir, strings.Join(revisions, "\n")+"\n", "log", "--stdin", "-z", "--reverse", "--topo-order",
		"--name-status", "--no-renames", "--diff-merges=first-parent", "--root",
		fmt.Sprintf("--max-count=%d", limit), "--format=format:"+logFormat)
	if err != nil {
		return nil, err
	}
	return parseLog(strings.Split(out, "\x00"))
}

// parseLog reads what logFormat and --name-status print: a commit's fields,
// then pairs of a letter and a path, then, after an empty field, the next.
func parseLog(fields []string) ([]commit, error) {
	var commits []commit
	for len(fields) > 0 {
		field := strings.TrimPrefix(fields[0], "\n")
		switch {
		case field == "":
			fields = fields[1:]
		case len(field) == 1 && len(fields) > 1 && len(commits) > 0:
			commits[len(commits)-1].change(field, fields[1])
			fields = fields[2:]
		case len(field) >= 40 && len(fields) >= logFields:
			commits = append(commits, newCommit(field, fields[1:logFields]))
			fields = fields[logFields:]
		default:
			return nil, fmt.Errorf("read git's log: unexpected field of %d bytes", len(field))
		}
	}
	return commits, nil
}

func newCommit(id string, f []string) commit {
	return commit{
		id: id, tree: f[0],
		author: person{f[1], f[2], f[3]}, committer: person{f[4], f[5], f[6]},
		message: strings.TrimRight(f[7], "\n"),
	}
}

func (c *commit) change(letter, path string) {
	if len(c.added)+len(c.modified)+len(c.remove) >= MaxCommitFiles {
		return
	}
	switch letter {
	case "A":
		c.added = append(c.added, path)
	case "D":
		c.remove = append(c.remove, path)
	default:
		c.modified = append(c.modified, path)
	}
}

// list is the set of commits that revisions name.
func (g gitCommand) list(dir string, revisions ...string) (map[string]bool, error) {
	out, err := g.feed(dir, strings.Join(revisions, "\n")+"\n", "rev-list", "--stdin")
	if err != nil {
		return nil, err
	}
	set := map[string]bool{}
	for line := range strings.Lines(out) {
		set[strings.TrimSpace(line)] = true
	}
	return set, nil
}

func (c commit) json(s *Server, repo *repository, distinct bool) object {
	return object{
		"id": c.id, "tree_id": c.tree, "distinct": distinct, "message": c.message,
		"timestamp": c.committer.date, "url": s.web("/%s/commit/%s", repo.fullName(), c.id),
		"author": c.author.json(s), "committer": c.committer.json(s),
		"added": list(c.added), "modified": list(c.modified), "removed": list(c.remove),
	}
}

// showCommit answers with one commit. Its author and committer are accounts if their
// addresses are known.
func showCommit(c *call, name string) (int, any, error) {
	sha := c.git.commit(c.repo.dir, name)
	if sha == "" {
		return 0, nil, invalid("No commit found for SHA: %s", name)
	}
	found, err := c.git.log(c.repo.dir, 1, sha)
	if err != nil || len(found) != 1 {
		return 0, nil, errors.Join(err, errNotFound)
	}
	shown := found[0]
	out, err := c.git.feed(c.repo.dir, "", "rev-parse", sha+"^@")
	if err != nil {
		return 0, nil, err
	}
	parents := each(strings.Fields(out), func(id string) object {
		return object{"sha": id, "url": c.api("/repos/%s/commits/%s", c.repo.fullName(), id), "html_url": c.web("/%s/commit/%s", c.repo.fullName(), id)}
	})
	at := c.api("/repos/%s/commits/%s", c.repo.fullName(), sha)
	tree := object{"sha": shown.tree, "url": c.api("/repos/%s/git/trees/%s", c.repo.fullName(), shown.tree)}
	return http.StatusOK, object{
		"sha": sha, "node_id": "C_" + sha, "url": at, "comments_url": at + "/comments",
		"html_url": c.web("/%s/commit/%s", c.repo.fullName(), sha),
		"author":   c.accountJSON(shown.author), "committer": c.accountJSON(shown.committer), "parents": parents,
		"commit": object{
			"url": c.api("/repos/%s/git/commits/%s", c.repo.fullName(), sha), "message": shown.message, "comment_count": 0, "tree": tree,
			"author": shown.author.json(c.Server), "committer": shown.committer.json(c.Server),
		},
	}, nil
}

// accountJSON is the account of a person who committed; null for one that GitHub
// does not know.
func (s *Server) accountJSON(p person) any {
	if a := s.accountOf(p.email); a != nil {
		return a.simple(s)
	}
	return nil
}

func (p person) json(*Server) object {
	return object{"name": p.name, "email": p.email, "date": p.date}
}

func list(names []string) []string { return append([]string{}, names...) }
