package provider

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
)

// A gitHubUser has published the keys that he pushes with; nobody needs to log in to
// read them:
// https://docs.github.com/en/rest/users/keys#list-public-keys-for-a-user
type gitHubUser struct {
	name string
	web  *web
	now  func() time.Time

	mu      sync.Mutex
	keys    map[string]string // their ids by their fingerprints
	fetched time.Time
}

// gitHubKeysFor is how long the list holds: without a token GitHub answers 60
// questions an hour.
// https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api
const gitHubKeysFor = 15 * time.Minute

var gitHubName = regexp.MustCompile(`^[0-9A-Za-z](?:[0-9A-Za-z_-]{0,38})$`)

func parseGitHubUser(entry string, w *web, now func() time.Time) (*gitHubUser, error) {
	if !gitHubName.MatchString(entry) {
		return nil, errors.New("write the user's name on GitHub")
	}
	return &gitHubUser{name: entry, web: w, now: now}, nil
}

func (u *gitHubUser) String() string { return "the keys of GitHub's user " + u.name }

func (u *gitHubUser) look(ctx context.Context, key publicKey) (map[string]string, string) {
	published, fault := u.published(ctx)
	if id, ok := published[ssh.FingerprintSHA256(key.ssh)]; ok {
		return map[string]string{"github_user": u.name, "github_key": id}, ""
	}
	return nil, fault
}

// published asks for the list unless it was asked for a short while ago.
func (u *gitHubUser) published(ctx context.Context) (map[string]string, string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.now().Before(u.fetched.Add(gitHubKeysFor)) {
		return u.keys, ""
	}
	base, client := u.web.baseOf("github", "https://api.github.com")
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/users/"+u.name+"/keys?per_page=100", nil)
	if err != nil {
		return nil, "no request can be made of the base URL"
	}
	got := exchange(client, req)
	list, ok := got.value.([]any)
	if got.fault != "" || got.status != http.StatusOK || !ok {
		return nil, got.answer()
	}
	u.keys, u.fetched = map[string]string{}, u.now()
	for _, entry := range list {
		object, _ := entry.(map[string]any)
		text, _ := object["key"].(string)
		if key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(text)); err == nil {
			u.keys[ssh.FingerprintSHA256(key)] = fmt.Sprint(object["id"])
		}
	}
	return u.keys, ""
}
