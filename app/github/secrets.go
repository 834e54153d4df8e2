package github

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	gh "github.com/google/go-github/v62/github"
	"golang.org/x/crypto/nacl/box"

	"github.com/stanch-dev/stanch/app/grants"
	"github.com/stanch-dev/stanch/checks"
)

// maxSecret is the largest secret that GitHub keeps.
// Source: https://docs.github.com/actions/security-for-github-actions/security-guides/using-secrets-in-github-actions#limits-for-secrets
const maxSecret = 48 << 10

// The kinds of secrets, as they are written in settings.
const (
	actionsKind     = "actions"
	dependabotKind  = "dependabot"
	environmentKind = "env/" // and the environment's name
)

// A SecretName names a secret that GitHub keeps for workflows: a repository's, for
// Actions, for Dependabot or for an environment, or an organisation's for Actions.
// GitHub shows no value to anybody; it can only be written.
type SecretName struct {
	Owner       string
	Repo        string // empty for an organisation's
	Dependabot  bool
	Environment string
	Name        string
}

var secretName = regexp.MustCompile(`^[A-Za-z_][0-9A-Za-z_]{0,254}$`)

// ParseSecretName reads OWNER/REPO:actions:NAME, OWNER/REPO:dependabot:NAME,
// OWNER/REPO:env/ENVIRONMENT:NAME or ORGANISATION:actions:NAME.
func ParseSecretName(text string) (SecretName, error) {
	parts := strings.Split(text, ":")
	if len(parts) != 3 {
		return SecretName{}, fmt.Errorf("%q is not of the form OWNER/REPO:actions:NAME, OWNER/REPO:dependabot:NAME, OWNER/REPO:env/ENVIRONMENT:NAME or ORGANISATION:actions:NAME", text)
	}
	n := SecretName{Dependabot: parts[1] == dependabotKind, Name: parts[2]}
	n.Owner, n.Repo, _ = strings.Cut(parts[0], "/")
	n.Environment, _ = strings.CutPrefix(parts[1], environmentKind)
	if n.Environment == parts[1] {
		n.Environment = ""
	}
	switch {
	case !secretName.MatchString(n.Name) || strings.HasPrefix(strings.ToUpper(n.Name), "GITHUB_"):
		return n, fmt.Errorf("%q is no name of a secret on GitHub", n.Name)
	case parts[1] != actionsKind && !n.Dependabot && n.Environment == "":
		return n, fmt.Errorf("%q is not actions, dependabot or env/ENVIRONMENT", parts[1])
	case n.Repo == "" && parts[1] != actionsKind:
		return n, fmt.Errorf("%q: of an organisation only secrets of actions are written", text)
	case n.Repo == "":
		return n, checkPath(Repository{Owner: n.Owner, Name: "any"})
	}
	return n, checkPath(n.repository())
}

// String is the form that ParseSecretName reads.
func (n SecretName) String() string {
	kind := actionsKind
	switch {
	case n.Dependabot:
		kind = dependabotKind
	case n.Environment != "":
		kind = environmentKind + n.Environment
	}
	return strings.TrimSuffix(n.Owner+"/"+n.Repo, "/") + ":" + kind + ":" + n.Name
}

func (n SecretName) repository() Repository { return Repository{Owner: n.Owner, Name: n.Repo} }

// folder is the path of the secrets among which this is one.
func (n SecretName) folder() string {
	switch {
	case n.Repo == "":
		return "orgs/" + n.Owner + "/actions/secrets"
	case n.Dependabot:
		return "repos/" + n.repository().FullName() + "/dependabot/secrets"
	case n.Environment != "":
		return "repos/" + n.repository().FullName() + "/environments/" + url.PathEscape(n.Environment) + "/secrets"
	}
	return "repos/" + n.repository().FullName() + "/actions/secrets"
}

// permission is what writing the secret needs.
// Source: https://docs.github.com/rest/authentication/permissions-required-for-github-apps
func (n SecretName) permission() permission {
	switch {
	case n.Repo == "":
		return writeOrgSecrets
	case n.Dependabot:
		return writeDependabot
	case n.Environment != "":
		return writeEnvironment
	}
	return writeSecrets
}

func (n SecretName) scope() scope {
	if n.Repo == "" {
		return n.permission().everywhere()
	}
	return n.permission().in(n.repository())
}

// WriteSecret gives a secret that exists another value, and returns when GitHub says
// that it was written. The same value may be written again.
func (a *App) WriteSecret(ctx context.Context, n SecretName, value checks.Secret) (time.Time, error) {
	i, err := a.installationAt(ctx, n.Owner, n.Repo)
	if err != nil {
		return time.Time{}, fmt.Errorf("write %s: %w", n, err)
	}
	switch {
	case value.Len() == 0:
		return time.Time{}, fmt.Errorf("write %s: %w: the value is empty", n, ErrInvalid)
	case value.Len() > maxSecret:
		return time.Time{}, fmt.Errorf("write %s: %w: the value is larger than the %d KB that GitHub takes", n, ErrInvalid, maxSecret>>10)
	}
	var updated time.Time
	err = i.do(ctx, n.scope(), func(ctx context.Context, c *gh.Client) error {
		w := secretWriter{client: c, name: n}
		if err := w.write(ctx, value); err != nil {
			return err
		}
		after, err := w.look(ctx)
		updated = after.Updated
		return err
	})
	if err != nil {
		return time.Time{}, fmt.Errorf("write %s: %w", n, err)
	}
	return updated, nil
}

// installationAt finds the installation that has a repository, or that of an organisation.
func (a *App) installationAt(ctx context.Context, owner, repo string) (*Installation, error) {
	var found *gh.Installation
	err := a.self.do(ctx, func(c *gh.Client) (err error) {
		if repo == "" {
			found, _, err = c.Apps.FindOrganizationInstallation(ctx, owner)
			return err
		}
		found, _, err = c.Apps.FindRepositoryInstallation(ctx, owner, repo)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("find the App's installation: %w", err)
	}
	return a.Installation(found.GetID()), nil
}

// A secretWriter writes one secret.
type secretWriter struct {
	client *gh.Client
	name   SecretName
}

// A keptSecret is what GitHub tells of a secret.
type keptSecret struct {
	Updated    time.Time `json:"updated_at"`
	Visibility string    `json:"visibility"` // of an organisation's
}

func (w secretWriter) path() string { return w.name.folder() + "/" + w.name.Name }

func (w secretWriter) look(ctx context.Context) (kept keptSecret, err error) {
	_, err = send(ctx, w.client, http.MethodGet, w.path(), nil, &kept)
	return kept, err
}

// A publicKey is what values are sealed with.
type publicKey struct {
	ID  string `json:"key_id"`
	Key string `json:"key"`
}

func (w secretWriter) publicKey(ctx context.Context) (k publicKey, err error) {
	_, err = send(ctx, w.client, http.MethodGet, w.name.folder()+"/public-key", nil, &k)
	return k, err
}

// write seals the value and sends it. A key that GitHub has replaced since it was
// fetched is fetched once more; what GitHub answers then it does not document, so that
// any refusal of what was sent is held against the key first.
func (w secretWriter) write(ctx context.Context, value checks.Secret) error {
	body, err := w.bodyOf(ctx)
	if err != nil {
		return err
	}
	key, err := w.publicKey(ctx)
	if err != nil {
		return err
	}
	refused := w.put(ctx, body, key, value)
	var answer *gh.ErrorResponse
	if !errors.As(refused, &answer) || answer.Response.StatusCode != http.StatusUnprocessableEntity {
		return refused
	}
	next, err := w.publicKey(ctx)
	switch {
	case err != nil:
		return err
	case next == key:
		return refused
	}
	return w.put(ctx, body, next, value)
}

// bodyOf is what is written beside the value: whoever could use an organisation's secret
// shall be able to use it after. A secret that does not exist is not made: its name is a
// mistake more likely than not.
func (w secretWriter) bodyOf(ctx context.Context) (map[string]any, error) {
	kept, err := w.look(ctx)
	if err != nil {
		return nil, err
	}
	body := map[string]any{}
	if w.name.Repo == "" {
		body["visibility"] = kept.Visibility
	}
	if kept.Visibility == "selected" {
		body["selected_repository_ids"], err = w.selected(ctx)
	}
	return body, err
}

// selected lists the repositories that may use an organisation's secret.
func (w secretWriter) selected(ctx context.Context) ([]int64, error) {
	ids := []int64{}
	for page := 1; page <= maxPages; page++ {
		var list struct {
			Repositories []struct {
				ID int64 `json:"id"`
			} `json:"repositories"`
		}
		resp, err := send(ctx, w.client, http.MethodGet, w.path()+"/repositories?per_page="+strconv.Itoa(perPage)+"&page="+strconv.Itoa(page), nil, &list)
		if err != nil {
			return nil, err
		}
		for _, r := range list.Repositories {
			ids = append(ids, r.ID)
		}
		if resp.NextPage == 0 {
			return ids, nil
		}
	}
	return nil, fmt.Errorf("more than %d pages of repositories may use it", maxPages)
}

func (w secretWriter) put(ctx context.Context, body map[string]any, key publicKey, value checks.Secret) error {
	sealed, err := key.seal(value)
	if err != nil {
		return err
	}
	body["encrypted_value"], body["key_id"] = sealed, key.ID
	_, err = send(ctx, w.client, http.MethodPut, w.path(), body, nil)
	return err
}

// seal encrypts a value for the holder of the key alone, as libsodium's sealed boxes are.
// Source: https://docs.github.com/rest/guides/encrypting-secrets-for-the-rest-api
func (k publicKey) seal(value checks.Secret) (string, error) {
	raw, err := base64.StdEncoding.DecodeString(k.Key)
	if err != nil || len(raw) != 32 {
		return "", errors.New("GitHub's public key for secrets is not 32 bytes in base64")
	}
	sealed, err := box.SealAnonymous(nil, []byte(value.Expose()), (*[32]byte)(raw), rand.Reader)
	return base64.StdEncoding.EncodeToString(sealed), err
}

// SecretPolicy is what the App needs to write these secrets.
func SecretPolicy(names []SecretName) grants.Policy {
	p := grants.Policy{Name: "Secrets at GitHub", Syntax: "github"}
	known := map[permission]bool{}
	for _, n := range names {
		if !known[n.permission()] {
			p.Lines = append(p.Lines, grants.Line{Grant: n.permission().grant(), For: "copy to " + n.String()})
		}
		known[n.permission()] = true
	}
	return p
}

// NeedsOf are the permissions of a policy, as Lacks takes them.
func NeedsOf(p grants.Policy) []Need {
	var all []Need
	for _, line := range p.Lines {
		name, level, _ := strings.Cut(line.Grant, ": ")
		all = append(all, Need{Permission: name, Level: level, Without: "Stanch cannot " + line.For, Optional: line.Optional})
	}
	return all
}
