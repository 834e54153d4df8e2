package provider

import (
	"context"
	"crypto/ed25519"
	"encoding/pem"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/rules"
)

// DeployKeys are the public keys of repositories at GitHub. Errors that are
// ErrCannotRevoke or ErrCannotIssue are definite: nothing has changed.
type DeployKeys interface {
	DeployKeys(ctx context.Context, repository string) ([]DeployKey, error)
	AddDeployKey(ctx context.Context, repository string, key DeployKey) error
	// RemoveDeployKey succeeds where the key is gone already.
	RemoveDeployKey(ctx context.Context, repository string, id int64) error
}

// A DeployKey is a public key with which git may read a repository, or write to it too.
type DeployKey struct {
	ID       int64
	Title    string
	Key      string // as in authorized_keys
	ReadOnly bool
	LastUsed time.Time // the zero Time for never; notes of it may be late
}

// deployKeys replaces private keys that are deploy keys of the repositories which the
// operator names. By its public half a key is known for certain, and GitHub lets it into
// one repository only. The new key is made here and let in beside the old one, so that
// both work until the old one goes; taking that away cannot be taken back, but whoever
// has the public key can add it again.
type deployKeys struct {
	api   DeployKeys // nil where there is no App to ask as
	repos []string
	now   func() time.Time
}

// The identity of a deploy key, and the part by which a replacement says where it is.
const (
	keyRepository = "github_repository"
	keyID         = "github_deploy_key"
	keyReadOnly   = "read_only"
)

var repositoryName = regexp.MustCompile(`^[0-9A-Za-z_.-]{1,100}/[0-9A-Za-z_.-]{1,100}$`)

func newDeployKeys(cfg Config, now func() time.Time) (*deployKeys, error) {
	for n, name := range cfg.DeployKeyRepos {
		if !repositoryName.MatchString(name) {
			return nil, fmt.Errorf("STANCH_GITHUB_DEPLOY_KEYS, entry %d: write OWNER/REPOSITORY", n+1)
		}
	}
	return &deployKeys{api: cfg.DeployKeys, repos: cfg.DeployKeyRepos, now: now}, nil
}

// places are where the verifier of keys looks.
func (d *deployKeys) places() (all []place) {
	if d.api == nil {
		return nil
	}
	for _, repo := range d.repos {
		all = append(all, deployKeyPlace{d, repo})
	}
	return all
}

// A deployKeyPlace is one repository.
type deployKeyPlace struct {
	*deployKeys
	repo string
}

func (p deployKeyPlace) String() string { return "the deploy keys of " + p.repo }

func (p deployKeyPlace) look(ctx context.Context, key publicKey) (map[string]string, string) {
	list, err := p.in(ctx, p.repo, ssh.FingerprintSHA256(key.ssh))
	switch {
	case err != nil:
		return nil, short("GitHub could not be asked: " + err.Error())
	case len(list) == 0:
		return nil, ""
	}
	return map[string]string{keyRepository: p.repo, keyID: strconv.FormatInt(list[0].ID, 10), keyReadOnly: strconv.FormatBool(list[0].ReadOnly)}, ""
}

// in lists a repository's deploy keys with a fingerprint.
func (d *deployKeys) in(ctx context.Context, repo, fingerprint string) (found []DeployKey, err error) {
	all, err := d.api.DeployKeys(ctx, repo)
	for _, k := range all {
		if public, _, _, _, err := ssh.ParseAuthorizedKey([]byte(k.Key)); err == nil && ssh.FingerprintSHA256(public) == fingerprint {
			found = append(found, k)
		}
	}
	return found, err
}

// find looks for a private key in all repositories that are named. What cannot be asked
// is an error, and never “not there”.
func (d *deployKeys) find(ctx context.Context, private checks.Secret) (repo string, found DeployKey, err error) {
	key, err := readKey(private.Expose())
	if err != nil {
		return "", DeployKey{}, err
	}
	for _, name := range d.repos {
		list, err := d.in(ctx, name, ssh.FingerprintSHA256(key.ssh))
		switch {
		case err != nil:
			return "", DeployKey{}, err
		case len(list) > 1 || len(list) == 1 && repo != "":
			return "", DeployKey{}, fmt.Errorf("the key is there more than once, in %s too: a person must look", name)
		case len(list) == 1:
			repo, found = name, list[0]
		}
	}
	return repo, found, nil
}

func (d *deployKeys) why(verb string) string {
	if d.api == nil || len(d.repos) == 0 {
		return verb + ": what trusts the key is different everywhere; of GitHub's deploy keys STANCH_GITHUB_DEPLOY_KEYS names the repositories"
	}
	return ""
}

func (d *deployKeys) whyNoRevoke(*rules.Rule) string { return d.why("revoke") }

func (d *deployKeys) whyNoIssue(*rules.Rule) string { return d.why("issue") }

// lastUse tells what GitHub remembers of a deploy key. How late it notes a use is not
// documented.
func (d *deployKeys) lastUse(ctx context.Context, rule *rules.Rule, t Target) (u Use, known bool, err error) {
	repo, key, err := d.find(ctx, t.Secret())
	if err != nil || repo == "" {
		return u, false, err
	}
	request := fmt.Sprintf("look for deploy key %d of %s", key.ID, repo)
	return Use{At: key.LastUsed, Partial: "GitHub may note uses late", Evidence: Evidence{Request: request, Answer: "it is there", At: d.now()}}, true, nil
}

// revoke takes exactly this key away from its repository.
func (d *deployKeys) revoke(ctx context.Context, rule *rules.Rule, t Target) (Receipt, error) {
	repo, key, err := d.find(ctx, t.Secret())
	if err != nil {
		return Receipt{}, fmt.Errorf("revoke %s: %w", rule.ID, err)
	}
	receipt := Receipt{Meaning: rules.MeansRevoked, Evidence: Evidence{At: d.now()}}
	switch {
	case repo == "" && (t.Identity[keyRepository] != "" || t.Parts[keyRepository].Len() > 0):
		receipt.Meaning, receipt.Evidence.Request, receipt.Evidence.Answer = rules.MeansAlreadyDead, "look for the public key at GitHub", "it is gone"
		return receipt, nil
	case repo == "":
		return Receipt{}, fmt.Errorf("revoke %s: %w: it is a deploy key of none of the repositories of STANCH_GITHUB_DEPLOY_KEYS; what else trusts it must be told", rule.ID, ErrCannotRevoke)
	}
	receipt.Evidence.Request = fmt.Sprintf("remove deploy key %d of %s", key.ID, repo)
	receipt.Evidence.Answer = "removed"
	if err := d.api.RemoveDeployKey(ctx, repo, key.ID); err != nil {
		return Receipt{}, fmt.Errorf("revoke %s: %w", rule.ID, err)
	}
	return receipt, nil
}

// prepare makes the new key pair.
func (d *deployKeys) prepare(_ context.Context, rule *rules.Rule, _ Target, _ string) (Prepared, error) {
	_, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		return Prepared{}, err
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		return Prepared{}, err
	}
	// Where it is put, a line's end follows the old key already.
	text := strings.TrimRight(string(pem.EncodeToMemory(block)), "\n")
	return Prepared{Draft: checks.Credential{Rule: rule.ID, Parts: map[string]checks.Secret{checks.PartSecret: checks.NewSecret(text)}}}, nil
}

// issue lets the new key into the repository of the old one, to do as much there. A key
// is there or not, so that after a lost answer one look tells.
func (d *deployKeys) issue(ctx context.Context, rule *rules.Rule, r Request) (checks.Credential, error) {
	draft, err := readKey(r.Prepared.Draft.Secret().Expose())
	if err != nil {
		return checks.Credential{}, fmt.Errorf("issue %s: the key that was prepared: %w", rule.ID, err)
	}
	repo, old, err := d.old(ctx, r.Old)
	if err != nil {
		return checks.Credential{}, fmt.Errorf("issue %s: %w", rule.ID, err)
	}
	fresh := checks.Credential{Rule: rule.ID, Parts: map[string]checks.Secret{
		checks.PartSecret: r.Prepared.Draft.Secret(), keyRepository: checks.NewSecret(repo),
	}}
	there, err := d.in(ctx, repo, ssh.FingerprintSHA256(draft.ssh))
	if err != nil || len(there) > 0 {
		return fresh, err
	}
	err = d.api.AddDeployKey(ctx, repo, DeployKey{
		Title: "Stanch " + r.Operation, Key: strings.TrimSpace(string(ssh.MarshalAuthorizedKey(draft.ssh))), ReadOnly: old.ReadOnly,
	})
	if err == nil {
		return fresh, nil
	}
	// A list may have been older than the key.
	if there, lookErr := d.in(ctx, repo, ssh.FingerprintSHA256(draft.ssh)); lookErr == nil && len(there) > 0 {
		return fresh, nil
	}
	return checks.Credential{}, fmt.Errorf("issue %s: %w", rule.ID, err)
}

// old is the key that is replaced: as it is now, or, where it was revoked first, as it was
// when it was verified.
func (d *deployKeys) old(ctx context.Context, t Target) (repo string, key DeployKey, err error) {
	repo, key, err = d.find(ctx, t.Secret())
	if err != nil || repo != "" {
		return repo, key, err
	}
	readOnly, err := strconv.ParseBool(t.Identity[keyReadOnly])
	if repo = t.Identity[keyRepository]; repo == "" || err != nil {
		return "", key, fmt.Errorf("%w: it is a deploy key of none of the repositories of STANCH_GITHUB_DEPLOY_KEYS", ErrCannotIssue)
	}
	return repo, DeployKey{ReadOnly: readOnly}, nil
}
