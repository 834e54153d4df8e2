package github

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	gh "github.com/google/go-github/v62/github"
)

// Permission says what a person may do in repo: "admin", "maintain", "write", "read"
// or "none". Somebody whom GitHub does not know there may do nothing, nor may
// somebody else who has taken the person's old login.
//
// GitHub's "permission" calls who may maintain a writer, and "role_name" may be a
// name that the organisation gave; the table of single permissions tells them apart.
func (i *Installation) Permission(ctx context.Context, repo Repository, who Person) (string, error) {
	login := who.Login
	if err := checkPath(repo, strings.TrimSuffix(login, "[bot]")); err != nil {
		return "", err
	}
	var level struct {
		Permission string `json:"permission"`
		RoleName   string `json:"role_name"`
		User       struct {
			ID          int64           `json:"id"`
			Permissions map[string]bool `json:"permissions"`
		} `json:"user"`
	}
	path := fmt.Sprintf("repos/%s/%s/collaborators/%s/permission", repo.Owner, repo.Name, url.PathEscape(login))
	err := i.do(ctx, readMetadata.in(repo), func(ctx context.Context, c *gh.Client) error {
		_, err := send(ctx, c, http.MethodGet, path, nil, &level)
		return err
	})
	if errors.Is(err, ErrNotFound) {
		return "none", nil
	}
	if err != nil {
		return "", fmt.Errorf("ask for the permission of %s in %s: %w", login, repo.FullName(), err)
	}
	if !who.Is(Person{ID: level.User.ID, Login: login}) {
		return "none", nil
	}
	switch p := level.Permission; p {
	case "write":
		if level.RoleName == "maintain" || level.User.Permissions["maintain"] {
			return "maintain", nil
		}
		return p, nil
	case "admin", "read":
		return p, nil
	}
	return "none", nil
}

// CommitAuthors are the accounts that wrote and made a commit, as far as GitHub
// knows whose addresses stand in it.
func (i *Installation) CommitAuthors(ctx context.Context, repo Repository, sha string) ([]Person, error) {
	if err := checkPath(repo, sha); err != nil {
		return nil, err
	}
	var commit struct {
		Author    *Person `json:"author"`
		Committer *Person `json:"committer"`
	}
	path := fmt.Sprintf("repos/%s/%s/commits/%s", repo.Owner, repo.Name, sha)
	err := i.do(ctx, readContents.in(repo), func(ctx context.Context, c *gh.Client) error {
		_, err := send(ctx, c, http.MethodGet, path, nil, &commit)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("ask who wrote %s@%s: %w", repo.FullName(), sha, err)
	}
	var people []Person
	for _, p := range []*Person{commit.Author, commit.Committer} {
		if p != nil && p.ID != 0 {
			people = append(people, *p)
		}
	}
	return people, nil
}

// A Reaction is an answer to a comment by a picture.
type Reaction string

// The reactions that Stanch uses, in GitHub's words.
const (
	Eyes       Reaction = "eyes"
	ThumbsUp   Reaction = "+1"
	ThumbsDown Reaction = "-1"
	Confused   Reaction = "confused"
)

// React puts a reaction under a comment. Doing so again changes nothing.
func (i *Installation) React(ctx context.Context, repo Repository, comment int64, r Reaction) error {
	if err := checkPath(repo); err != nil {
		return err
	}
	path := fmt.Sprintf("repos/%s/%s/issues/comments/%d/reactions", repo.Owner, repo.Name, comment)
	err := i.do(ctx, writePulls.in(repo), func(ctx context.Context, c *gh.Client) error {
		_, err := send(ctx, c, http.MethodPost, path, map[string]Reaction{"content": r}, nil)
		return closed(err)
	})
	if err != nil {
		return fmt.Errorf("react to comment %d of %s: %w", comment, repo.FullName(), err)
	}
	return nil
}
