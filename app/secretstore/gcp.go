package secretstore

import (
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"hash/crc32"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/stanch-dev/stanch/app/cloud"
	"github.com/stanch-dev/stanch/app/grants"
	"github.com/stanch-dev/stanch/checks"
)

const (
	googleSecrets = "https://secretmanager.googleapis.com"
	// googlePage is how many secrets or versions a page has.
	googlePage = 1000
	// googleClaim is the annotation in which a Stanch says what it is about to do.
	googleClaim = "stanch_put"
	// claimedFor is how long such a word holds, should its Stanch never come back.
	claimedFor = 10 * time.Minute
	// googlePatience is how often something is asked for again that Google's limit of 600
	// readings a minute forbids. https://cloud.google.com/secret-manager/quotas
	googlePatience = 5
)

// What Stanch's account needs in Secret Manager.
const (
	mayListSecrets  = "secretmanager.secrets.list"
	mayListVersions = "secretmanager.versions.list"
	mayRead         = "secretmanager.versions.access"
	mayGetSecret    = "secretmanager.secrets.get"
	mayClaim        = "secretmanager.secrets.update"
	mayAdd          = "secretmanager.versions.add"
	mayDestroy      = "secretmanager.versions.destroy"
	mayCreateSecret = "secretmanager.secrets.create"
)

// GCPPolicy is what Stanch's account needs in Secret Manager, as permissions of a custom
// role in each of the projects.
func GCPPolicy() grants.Policy {
	return grants.Policy{Name: "Google Cloud Secret Manager", Syntax: "gcloud", Lines: []grants.Line{
		{Grant: mayListSecrets, For: "locate"},
		{Grant: mayListVersions, For: "locate, put, retire, history, restore"},
		{Grant: mayRead, For: "locate, put, restore"},
		{Grant: mayGetSecret, For: "put, restore"},
		{Grant: mayClaim, For: "put, restore"},
		{Grant: mayAdd, For: "put, restore"},
		{Grant: mayDestroy, For: "retire"},
		{Grant: mayCreateSecret, For: "create", Optional: true},
	}}
}

// A GCPConfig says in which projects to search, and as whom.
type GCPConfig struct {
	Account  *cloud.Google
	Projects []string // by their ids
	Key      checks.FingerprintKey
	// BaseURL is where Secret Manager is; Google's own when empty.
	BaseURL string
	// MaxSecrets bounds how many secrets are searched, 10,000 when zero.
	MaxSecrets int
	Logger     *slog.Logger // nothing is logged when nil
}

// GCP is a store in Google Cloud's Secret Manager. Paths of its locations are the
// names of secrets: "projects/shop/secrets/deploy". Secrets of one region are not seen.
//
// Readers ask for a version by its number or for "latest", which is the one that was
// made last, even when it is disabled: so a new version is added first, and an old one
// is destroyed only when it is retired. Of several Stanches the one goes first whose
// word stands in the secret's annotations, which Google compares and sets; somebody
// else's version that came at the same time is made the latest again.
type GCP struct{ *texts }

var googleProject = regexp.MustCompile(`^[a-z0-9][a-z0-9.:-]{2,60}$`)

// NewGCP returns the store. It connects to nothing yet.
func NewGCP(cfg GCPConfig) (*GCP, error) {
	k := &gcpKeeper{projects: cfg.Projects, pause: time.Second, now: time.Now,
		api: cloud.API{Base: cmp.Or(cfg.BaseURL, googleSecrets), Client: cloud.NewClient(), Token: cfg.Account.Token}}
	for _, project := range cfg.Projects {
		if !googleProject.MatchString(project) {
			return nil, fmt.Errorf("%q is not the id of a Google Cloud project", project)
		}
	}
	return &GCP{newTexts(k, "gcp", cfg.Key, cfg.MaxSecrets, cfg.Logger)}, nil
}

type gcpKeeper struct {
	api      cloud.API
	projects []string
	pause    time.Duration // before what is limited is asked for again; twice as long each time
	now      func() time.Time
}

var googleSecret = regexp.MustCompile(`^projects/([a-z0-9][a-z0-9.:-]{2,60})/secrets/([0-9A-Za-z_-]{1,255})$`)

func (k *gcpKeeper) checkPath(path string) error {
	m := googleSecret.FindStringSubmatch(path)
	if m == nil || !slices.Contains(k.projects, m[1]) {
		return fmt.Errorf("%w: the path is not projects/PROJECT/secrets/NAME with one of the projects %s", ErrNotFound, strings.Join(k.projects, ", "))
	}
	return nil
}

func (*gcpKeeper) denied(err error) bool { return cloud.Denied(err) }

// do makes a call, and what only reads again and again where it is limited.
func (k *gcpKeeper) do(ctx context.Context, c cloud.Call, into any) error {
	c.Path = "/v1/" + c.Path
	for n := 0; ; n++ {
		err := k.api.Do(ctx, c, into)
		if c.Method != http.MethodGet || n == googlePatience || !cloud.Answered(err, http.StatusTooManyRequests) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(k.pause << n):
		}
	}
}

// pages reads a list to its end.
func (k *gcpKeeper) pages(ctx context.Context, list, needs string, read func() (into any, take func() (next string, err error))) error {
	token := ""
	for {
		into, take := read()
		call := cloud.Call{Method: http.MethodGet, Path: fmt.Sprintf("%s?pageSize=%d&pageToken=%s", list, googlePage, url.QueryEscape(token)), Needs: needs}
		if err := k.do(ctx, call, into); err != nil {
			return err
		}
		next, err := take()
		if err != nil || next == "" {
			return err
		}
		if next == token {
			return fmt.Errorf("%s: the list never ends", list)
		}
		token = next
	}
}

// secrets gives no marks: a secret's etag stays as it is when a version is added.
func (k *gcpKeeper) secrets(ctx context.Context, visit func(path, mark string) error) error {
	for _, project := range k.projects {
		err := k.pages(ctx, "projects/"+project+"/secrets", mayListSecrets, func() (any, func() (string, error)) {
			var page struct {
				Secrets       []struct{ Name string } // with the project's number
				NextPageToken string
			}
			return &page, func() (string, error) {
				for _, s := range page.Secrets {
					if err := visit("projects/"+project+"/secrets/"+path.Base(s.Name), ""); err != nil {
						return "", err
					}
				}
				return page.NextPageToken, nil
			}
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (k *gcpKeeper) revisions(ctx context.Context, secret string) ([]revision, error) {
	var all []revision
	err := k.pages(ctx, secret+"/versions", mayListVersions, func() (any, func() (string, error)) {
		var page struct {
			Versions []struct {
				Name, State          string
				CreateTime           time.Time
				ScheduledDestroyTime string
			}
			NextPageToken string
		}
		return &page, func() (string, error) {
			for _, v := range page.Versions {
				all = append(all, revision{version: Version(path.Base(v.Name)), created: v.CreateTime,
					readable: v.State == "ENABLED", gone: v.State == "DESTROYED" || v.ScheduledDestroyTime != ""})
			}
			return page.NextPageToken, nil
		}
	})
	if err != nil {
		return nil, told(err)
	}
	slices.SortFunc(all, func(a, b revision) int { return b.version.compare(a.version) })
	return all, nil
}

// told is ErrNotFound where that is what an error means.
func told(err error) error {
	if cloud.Answered(err, http.StatusNotFound) {
		return fmt.Errorf("%w: %w", ErrNotFound, err)
	}
	return err
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// sum is the checksum that Google wants to be sent along with a text.
func sum(text []byte) string {
	return strconv.FormatUint(uint64(crc32.Checksum(text, castagnoli)), 10)
}

func (k *gcpKeeper) read(ctx context.Context, secret string, version Version) (string, error) {
	if n, err := version.number(); err != nil || n == 0 {
		return "", fmt.Errorf("%w: %q is not the number of a version", ErrNotFound, string(version))
	}
	var got struct {
		Payload struct {
			Data       []byte
			DataCrc32c string
		}
	}
	err := k.do(ctx, cloud.Call{Method: http.MethodGet, Path: secret + "/versions/" + string(version) + ":access", Needs: mayRead}, &got)
	switch {
	case cloud.Answered(err, http.StatusBadRequest): // FAILED_PRECONDITION: it is disabled or destroyed
		return "", fmt.Errorf("%w: %w", ErrNotFound, err)
	case err != nil:
		return "", told(err)
	case got.Payload.DataCrc32c != "" && got.Payload.DataCrc32c != sum(got.Payload.Data):
		return "", fmt.Errorf("version %s of %s came damaged", version, secret)
	}
	return string(got.Payload.Data), nil
}

// A googleSecretState is what Secret Manager says of a secret, besides its versions.
type googleSecretState struct {
	Etag           string
	Annotations    map[string]string
	VersionAliases map[string]string // the numbers of versions by names for them
}

// aliasOf is a name that somebody gave a version, if there is one.
func (s googleSecretState) aliasOf(version Version) string {
	for _, alias := range slices.Sorted(maps.Keys(s.VersionAliases)) {
		if s.VersionAliases[alias] == string(version) {
			return alias
		}
	}
	return ""
}

// claim notes in the secret's annotations which operation adds the next version. Google
// takes an annotation only if nobody has changed the secret since it was read.
func (k *gcpKeeper) claim(ctx context.Context, secret string, after Version, operation string) error {
	mine := fmt.Sprintf("%s %s %d", cmp.Or(after, "0"), operation, k.now().Unix())
	if after == "" {
		if made, err := k.create(ctx, secret, mine); err != nil || made {
			return err
		}
	}
	var err error
	for range googlePatience {
		var now googleSecretState
		if err = k.do(ctx, cloud.Call{Method: http.MethodGet, Path: secret, Needs: mayGetSecret}, &now); err != nil {
			return told(err)
		}
		if err = k.mayClaim(now.Annotations[googleClaim], after, operation); err != nil {
			return err
		}
		if alias := now.aliasOf(after); alias != "" {
			return fmt.Errorf("its alias %q names version %s, and who reads by it would not get the next one: remove the alias, or replace the value by hand and move it", alias, after)
		}
		annotations := map[string]string{googleClaim: mine}
		for name, value := range now.Annotations {
			if name != googleClaim {
				annotations[name] = value
			}
		}
		err = k.do(ctx, cloud.Call{Method: http.MethodPatch, Path: secret + "?updateMask=annotations", Needs: mayClaim,
			Body: map[string]any{"etag": now.Etag, "annotations": annotations}}, nil)
		// Google has several words for an etag that is not the secret's any more.
		if !cloud.Answered(err, http.StatusBadRequest, http.StatusConflict, http.StatusPreconditionFailed) {
			return told(err)
		}
	}
	return fmt.Errorf("%w: its annotations go on to change: %w", ErrConflict, err)
}

// mayClaim refuses to add a version that another operation is about to add, or has added.
func (k *gcpKeeper) mayClaim(word string, after Version, operation string) error {
	said := strings.Fields(word)
	if len(said) != 3 || said[1] == operation {
		return nil
	}
	theirs, _ := strconv.Atoi(said[0])
	ours, err := after.number()
	at, _ := strconv.ParseInt(said[2], 10, 64)
	stale := k.now().Sub(time.Unix(at, 0)) > claimedFor
	if err == nil && (theirs < ours || theirs == ours && stale) {
		return nil
	}
	return fmt.Errorf("%w: operation %s is about to replace it; see its annotation %s", ErrConflict, said[1], googleClaim)
}

// create makes a secret that has no version yet.
func (k *gcpKeeper) create(ctx context.Context, secret, claim string) (made bool, err error) {
	project, name, _ := strings.Cut(secret, "/secrets/")
	err = k.do(ctx, cloud.Call{Method: http.MethodPost, Path: project + "/secrets?secretId=" + name, Needs: mayCreateSecret, Body: map[string]any{
		"replication": map[string]any{"automatic": struct{}{}}, "annotations": map[string]string{googleClaim: claim},
	}}, nil)
	if cloud.Answered(err, http.StatusConflict) {
		return false, nil // it is there already
	}
	return err == nil, err
}

func (k *gcpKeeper) add(ctx context.Context, secret, text, _ string) (Version, error) {
	var made struct{ Name string }
	err := k.do(ctx, cloud.Call{Method: http.MethodPost, Path: secret + ":addVersion", Needs: mayAdd, Body: map[string]any{
		"payload": map[string]string{"data": base64.StdEncoding.EncodeToString([]byte(text)), "dataCrc32c": sum([]byte(text))},
	}}, &made)
	if err != nil {
		return "", told(err)
	}
	version := Version(path.Base(made.Name))
	if n, err := version.number(); err != nil || n == 0 {
		return "", errors.New("the answer to a new version does not name it")
	}
	return version, nil
}

// destroy cannot be taken back, unless the secret's owners keep destroyed versions for a
// while.
func (k *gcpKeeper) destroy(ctx context.Context, secret string, version Version) error {
	if _, err := version.number(); err != nil {
		return err
	}
	return told(k.do(ctx, cloud.Call{Method: http.MethodPost, Path: secret + "/versions/" + string(version) + ":destroy", Needs: mayDestroy, Body: struct{}{}}, nil))
}
