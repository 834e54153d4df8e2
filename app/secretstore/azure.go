package secretstore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/stanch-dev/stanch/app/cloud"
	"github.com/stanch-dev/stanch/app/grants"
	"github.com/stanch-dev/stanch/checks"
)

const (
	azureVaultHost = "https://{vault}.vault.azure.net"
	azureVault     = "https://vault.azure.net" // what tokens are for
	azureVersion   = "api-version=7.4"
	// azurePages bounds how many pages of a list are read; one has up to 25 entries.
	azurePages = 1000
	// azureSettled is when what a list says of a secret's last change can be relied on: it
	// tells it to the second, and clocks differ.
	azureSettled = time.Minute
)

// What Stanch's account needs in Key Vaults.
const (
	mayListAzure    = "Microsoft.KeyVault/vaults/secrets/readMetadata/action"
	mayGetAzure     = "Microsoft.KeyVault/vaults/secrets/getSecret/action"
	maySetAzure     = "Microsoft.KeyVault/vaults/secrets/setSecret/action"
	mayDisableAzure = "Microsoft.KeyVault/vaults/secrets/update/action"
)

// AzurePolicy is what Stanch's account needs in Key Vaults, as data actions of a custom
// role in each of them.
func AzurePolicy() grants.Policy {
	return grants.Policy{Name: "Azure Key Vault", Syntax: "azure", Lines: []grants.Line{
		{Grant: mayListAzure, For: "locate, put, retire, history, restore"},
		{Grant: mayGetAzure, For: "locate, put, restore"},
		{Grant: maySetAzure, For: "put, create, restore"},
		{Grant: mayDisableAzure, For: "retire"},
	}}
}

// An AzureConfig says which Key Vaults to search, and as whom.
type AzureConfig struct {
	Account *cloud.Azure
	Vaults  []string // their names
	Key     checks.FingerprintKey
	// BaseURL is where a vault is, with "{vault}" for its name; Azure's own when empty.
	BaseURL string
	// MaxSecrets bounds how many secrets are searched, 10,000 when zero.
	MaxSecrets int
	Logger     *slog.Logger // nothing is logged when nil
}

// Azure is a store in Key Vaults of Azure. Paths of its locations are "VAULT/NAME". The
// secrets behind certificates are not seen.
//
// Readers get the version that was set last. No condition can be set to that, nor can a
// single version be deleted: what was retired is disabled, and its value stays until the
// secret as a whole is purged. New versions have the content type and the tags of the
// one before, with the operation among them, and no end.
type Azure struct{ *texts }

var azureVaultName = regexp.MustCompile(`^[0-9A-Za-z](?:[0-9A-Za-z-]{1,22})[0-9A-Za-z]$`)

// NewAzure returns the store. It connects to nothing yet.
func NewAzure(cfg AzureConfig) (*Azure, error) {
	k := &azureKeeper{vaults: map[string]cloud.API{}, now: time.Now}
	client, token := cloud.NewClient(), cfg.Account.For(azureVault)
	for _, name := range cfg.Vaults {
		if !azureVaultName.MatchString(name) {
			return nil, fmt.Errorf("%q is not the name of a Key Vault", name)
		}
		base := strings.ReplaceAll(cmp.Or(cfg.BaseURL, azureVaultHost), "{vault}", name)
		k.vaults[name] = cloud.API{Base: base, Client: client, Token: token}
	}
	return &Azure{newTexts(k, "azure", cfg.Key, cfg.MaxSecrets, cfg.Logger)}, nil
}

type azureKeeper struct {
	vaults map[string]cloud.API // by their names
	now    func() time.Time
}

var azureSecret = regexp.MustCompile(`^([0-9A-Za-z-]{3,24})/([0-9A-Za-z-]{1,127})$`)

func (k *azureKeeper) checkPath(path string) error {
	if _, _, ok := k.at(path); !ok {
		return fmt.Errorf("%w: the path is not VAULT/NAME with one of the vaults %s", ErrNotFound, strings.Join(slices.Sorted(maps.Keys(k.vaults)), ", "))
	}
	return nil
}

// at is the vault of a secret, and the secret's name.
func (k *azureKeeper) at(path string) (vault cloud.API, name string, ok bool) {
	m := azureSecret.FindStringSubmatch(path)
	if m == nil {
		return vault, "", false
	}
	vault, ok = k.vaults[m[1]]
	return vault, m[2], ok
}

func (*azureKeeper) denied(err error) bool { return cloud.Denied(err) }

// do makes a call about a secret, or about what is below it.
func (k *azureKeeper) do(ctx context.Context, method, secret, below, needs string, body, into any) error {
	vault, name, ok := k.at(secret)
	if !ok {
		return ErrNotFound
	}
	c := cloud.Call{Method: method, Path: "/secrets/" + name + below + "?" + azureVersion, Needs: needs, Body: body}
	return told(vault.Do(ctx, c, into))
}

// An azureItem is a secret or a version in lists and answers.
type azureItem struct {
	ID          string // a URL, which ends with the name, or with the version
	Value       string
	ContentType string
	Managed     bool // by a certificate
	Tags        map[string]string
	Attributes  struct {
		Enabled          bool
		Created, Updated int64
	}
}

func (i azureItem) version() Version { return Version(path.Base(i.ID)) }

// pages reads a list to its end.
func (k *azureKeeper) pages(ctx context.Context, vault cloud.API, list string, take func(azureItem) error) error {
	next := list + "?" + azureVersion
	for range azurePages {
		var page struct {
			Value    []azureItem
			NextLink string
		}
		if err := vault.Do(ctx, cloud.Call{Method: http.MethodGet, Path: next, Needs: mayListAzure}, &page); err != nil {
			return err
		}
		for _, item := range page.Value {
			if err := take(item); err != nil {
				return err
			}
		}
		if page.NextLink == "" {
			return nil
		}
		var ok bool
		if next, ok = strings.CutPrefix(page.NextLink, vault.Base); !ok || !strings.HasPrefix(next, "/") {
			return errors.New("a list of the vault goes on at another host")
		}
	}
	return errors.New("a list of the vault never ends")
}

// secrets marks each with its last change, unless that was just now.
func (k *azureKeeper) secrets(ctx context.Context, visit func(path, mark string) error) error {
	for _, name := range slices.Sorted(maps.Keys(k.vaults)) {
		err := k.pages(ctx, k.vaults[name], "/secrets", func(i azureItem) error {
			if i.Managed {
				return nil
			}
			mark := fmt.Sprint(i.Attributes)
			if k.now().Sub(time.Unix(i.Attributes.Updated, 0)) < azureSettled {
				mark = ""
			}
			return visit(name+"/"+path.Base(i.ID), mark)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (k *azureKeeper) revisions(ctx context.Context, secret string) ([]revision, error) {
	vault, name, ok := k.at(secret)
	if !ok {
		return nil, ErrNotFound
	}
	var all []revision
	err := k.pages(ctx, vault, "/secrets/"+url.PathEscape(name)+"/versions", func(i azureItem) error {
		all = append(all, revision{version: i.version(), created: time.Unix(i.Attributes.Created, 0).UTC(),
			operation: i.Tags[operationKey], readable: i.Attributes.Enabled, gone: !i.Attributes.Enabled})
		return nil
	})
	if err != nil {
		return nil, told(err)
	}
	if len(all) == 0 {
		return nil, ErrNotFound
	}
	slices.SortStableFunc(all, func(a, b revision) int { return b.created.Compare(a.created) })
	if len(all) > 1 && all[0].created.Equal(all[1].created) {
		err = k.lift(ctx, secret, all)
	}
	return all, err
}

// lift puts the version that readers get before those of the same second.
func (k *azureKeeper) lift(ctx context.Context, secret string, all []revision) error {
	current, err := k.current(ctx, secret)
	n := slices.IndexFunc(all, func(r revision) bool { return r.version == current.version() })
	switch {
	case errors.Is(err, ErrNotFound): // it is disabled
		n = slices.IndexFunc(all, func(r revision) bool { return !r.readable })
	case err != nil:
		return err
	}
	if n > 0 {
		first := all[n]
		copy(all[1:n+1], all[:n])
		all[0] = first
	}
	return nil
}

func (k *azureKeeper) current(ctx context.Context, secret string) (i azureItem, err error) {
	err = k.do(ctx, http.MethodGet, secret, "", mayGetAzure, nil, &i)
	return i, disabled(err)
}

// disabled is ErrNotFound where the answer is that a version is disabled, which Azure
// says as it says that somebody may not read it.
func disabled(err error) error {
	var said *cloud.Error
	if errors.As(err, &said) && strings.HasSuffix(said.Code, "/SecretDisabled") {
		return fmt.Errorf("%w: the version is disabled", ErrNotFound)
	}
	return err
}

var azureVersionID = regexp.MustCompile(`^[0-9a-f]{32}$`)

func (k *azureKeeper) read(ctx context.Context, secret string, version Version) (string, error) {
	if !azureVersionID.MatchString(string(version)) {
		return "", fmt.Errorf("%w: %q is not the id of a version", ErrNotFound, string(version))
	}
	var i azureItem
	err := k.do(ctx, http.MethodGet, secret, "/"+string(version), mayGetAzure, nil, &i)
	return i.Value, disabled(err)
}

// claim does nothing: a vault compares nothing before it sets.
func (*azureKeeper) claim(context.Context, string, Version, string) error { return nil }

func (k *azureKeeper) add(ctx context.Context, secret, text, operation string) (Version, error) {
	old, err := k.current(ctx, secret)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return "", err
	}
	tags := map[string]string{}
	maps.Copy(tags, old.Tags)
	tags[operationKey] = operation
	body := map[string]any{"value": text, "tags": tags}
	if old.ContentType != "" {
		body["contentType"] = old.ContentType
	}
	var made azureItem
	if err := k.do(ctx, http.MethodPut, secret, "", maySetAzure, body, &made); err != nil {
		return "", err
	}
	if !azureVersionID.MatchString(string(made.version())) {
		return "", errors.New("the answer to a new version does not name it")
	}
	return made.version(), nil
}

// destroy disables a version. It can be enabled again.
func (k *azureKeeper) destroy(ctx context.Context, secret string, version Version) error {
	if !azureVersionID.MatchString(string(version)) {
		return fmt.Errorf("%q is not the id of a version", string(version))
	}
	return k.do(ctx, http.MethodPatch, secret, "/"+string(version), mayDisableAzure, map[string]any{"attributes": map[string]bool{"enabled": false}}, nil)
}
