package githubtest

import (
	"errors"
	"net/http"
	"os/exec"
	"regexp"
	"slices"
	"strings"
)

// maxQuery is how long a query may be without its qualifiers (REST API, "Search").
const maxQuery = 256

var (
	searchedPhrase = regexp.MustCompile(`"([^"]*)"`)
	searchedWord   = regexp.MustCompile(`[0-9A-Za-z_]+`)
)

// searchCode answers with the files of default branches that have the words of a phrase
// in a row. As GitHub does, it ignores what stands between words, and how they are
// written.
func searchCode(c *call) (int, any, error) {
	c.header.Set("X-Ratelimit-Resource", "code_search")
	c.header.Set("X-Ratelimit-Limit", "10")
	q := c.query().Get("q")
	phrase := searchedPhrase.FindStringSubmatch(q)
	if phrase == nil || searchedWord.FindString(phrase[1]) == "" {
		return 0, nil, invalidField("Search", "q", "ERROR_TYPE_QUERY_PARSING_FATAL unable to parse query!")
	}
	if len(phrase[1]) > maxQuery {
		return 0, nil, invalidField("Search", "q", "The search is longer than 256 characters.")
	}
	where := strings.Fields(strings.Replace(q, phrase[0], "", 1))
	repositories := c.searched(where)
	if len(repositories) == 0 {
		return 0, nil, invalidField("Search", "q", "The listed users and repositories cannot be searched either because the resources do not exist or you do not have permission to view them.")
	}
	found := []object{}
	for _, repo := range repositories {
		paths, err := c.git.mentions(repo.dir, repo.defaultBranch, searchedWord.FindAllString(phrase[1], -1))
		if err != nil {
			return 0, nil, err
		}
		for _, path := range paths {
			item, err := c.searchItem(repo, path)
			if err != nil {
				return 0, nil, err
			}
			found = append(found, item)
		}
	}
	return http.StatusOK, object{"total_count": len(found), "incomplete_results": false, "items": page(c, found)}, nil
}

// searched are the repositories that the qualifiers name and the caller may see.
func (c *call) searched(where []string) (all []*repository) {
	for _, repo := range c.repositories {
		named := slices.ContainsFunc(where, func(q string) bool {
			kind, name, _ := strings.Cut(q, ":")
			return kind == "repo" && key(name) == key(repo.fullName()) || (kind == "user" || kind == "org") && key(name) == key(repo.owner.login)
		})
		if named && c.maySee(repo) {
			all = append(all, repo)
		}
	}
	slices.SortFunc(all, byAge)
	return all
}

func (c *call) searchItem(repo *repository, path string) (object, error) {
	sha, _, err := c.git.file(repo.dir, repo.defaultBranch, path)
	if err != nil {
		return nil, err
	}
	return object{
		"name": path[strings.LastIndex(path, "/")+1:], "path": path, "sha": sha, "score": 1.0, "repository": repo.json(c.Server),
		"url":      c.api("/repos/%s/contents/%s?ref=%s", repo.fullName(), path, repo.defaultBranch),
		"git_url":  c.api("/repos/%s/git/blobs/%s", repo.fullName(), sha),
		"html_url": c.web("/%s/blob/%s/%s", repo.fullName(), repo.defaultBranch, path),
	}, nil
}

// mentions lists the files of a branch in which words stand in a row.
func (g gitCommand) mentions(dir, branch string, words []string) ([]string, error) {
	if g.commit(dir, branch) == "" {
		return nil, nil
	}
	pattern := `(^|[^0-9A-Za-z_])` + strings.Join(words, `[^0-9A-Za-z_]+`) + `([^0-9A-Za-z_]|$)`
	out, err := g.run(dir, "grep", "-z", "--name-only", "-I", "-i", "-E", "-e", pattern, branch)
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == 1 {
		return nil, nil // found nowhere
	}
	var paths []string
	for line := range strings.SplitSeq(strings.TrimSuffix(out, "\x00"), "\x00") {
		paths = append(paths, strings.TrimPrefix(line, branch+":"))
	}
	return paths, err
}
