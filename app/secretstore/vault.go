package secretstore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/stanch-dev/stanch/checks"
)

const (
	defaultMaxSecrets = 10_000
	vaultTimeout      = 15 * time.Second
)

// A VaultConfig says which Vault or OpenBao server to search, and as whom.
// VAULT_CACERT, VAULT_CLIENT_CERT and Vault's other variables are honoured; what
// is set here overrules them.
type VaultConfig struct {
	Addr      string
	Token     checks.Secret
	Namespace string
	// Mounts are the KV version 2 mounts to search, such as "secret". When there
	// are none, they are all that the token can see.
	Mounts []string
	Key    checks.FingerprintKey
	// MaxSecrets bounds how many secrets are searched, 10,000 when zero.
	MaxSecrets int
	// AuditLog is the file of an audit device, and AuditDevice its name: who has read a
	// leaked secret stands there.
	AuditLog, AuditDevice string
	Logger                *slog.Logger // nothing is logged when nil
}

// Vault is a store in KV version 2 of HashiCorp Vault or OpenBao. Paths of its
// locations begin with the mount: "secret/ci/deploy".
//
// Vault cannot be searched by value, so the store keeps an index of keyed hashes.
// Each Locate looks at the metadata of all secrets, a folder in one request of OpenBao
// and a secret in one of Vault, and reads those that have changed; see
// deploy/vault/stanch.hcl for what the token must be allowed.
type Vault struct {
	client *api.Client
	key    checks.FingerprintKey
	max    int
	log    *slog.Logger

	auditLog, auditDevice string

	mu        sync.Mutex // held while the index is refreshed or searched
	mounts    []string
	index     map[string]*indexed
	plain     map[string]bool // mounts that are listed without details
	refreshed time.Time
	skipped   []string
}

// NewVault returns the store. It connects to nothing yet.
func NewVault(cfg VaultConfig) (*Vault, error) {
	settings := api.DefaultConfig()
	if settings.Error != nil {
		return nil, fmt.Errorf("read Vault's environment variables: %w", settings.Error)
	}
	if settings.TLSConfig().InsecureSkipVerify {
		return nil, errors.New("VAULT_SKIP_VERIFY is set: secrets go only to a server that proves who it is; unset it and name the authority in VAULT_CACERT")
	}
	if cfg.Addr != "" {
		settings.Address, settings.AgentAddress = cfg.Addr, ""
	}
	settings.Timeout = vaultTimeout
	settings.DisableRedirects = true // a redirect would take the token along
	client, err := api.NewClient(settings)
	if err != nil {
		return nil, errors.New("the Vault address is no URL") // the error might quote a password in it
	}
	if cfg.Token.Len() > 0 {
		client.SetToken(cfg.Token.Expose())
	}
	if cfg.Namespace != "" {
		client.SetNamespace(cfg.Namespace)
	}
	v := &Vault{client: client, key: cfg.Key, max: cfg.MaxSecrets, log: cfg.Logger, index: map[string]*indexed{}, auditLog: cfg.AuditLog, auditDevice: cfg.AuditDevice}
	for _, mount := range cfg.Mounts {
		v.mounts = append(v.mounts, strings.Trim(mount, "/"))
	}
	if v.max == 0 {
		v.max = defaultMaxSecrets
	}
	if v.log == nil {
		v.log = slog.New(slog.DiscardHandler)
	}
	return v, nil
}

// Name is "vault".
func (*Vault) Name() string { return "vault" }

// Get returns what a secret holds now.
func (v *Vault) Get(ctx context.Context, loc Location) (Content, error) {
	kv, path, err := v.open(ctx, loc)
	if err != nil {
		return Content{}, err
	}
	data, current, err := v.readCurrent(ctx, kv, path)
	if err != nil {
		return Content{}, fmt.Errorf("get %s: %w", loc, lacking(err, loc, path, "data", "read"))
	}
	return content(numbered(current), data), nil
}

// Put replaces fields if the secret is still at loc.Version, and leaves the others.
// It returns where the new values are. Done twice it changes nothing more.
func (v *Vault) Put(ctx context.Context, loc Location, values map[string]checks.Secret, operation string) (Location, error) {
	if err := checkPut(loc, values); err != nil {
		return Location{}, err
	}
	was, err := loc.Version.number()
	if err != nil {
		return Location{}, fmt.Errorf("put %s: %w", loc, err)
	}
	kv, path, err := v.open(ctx, loc)
	if err != nil {
		return Location{}, err
	}
	data, current, err := v.readCurrent(ctx, kv, path)
	if err != nil && (was != 0 || !errors.Is(err, ErrNotFound)) {
		return Location{}, fmt.Errorf("put %s: %w", loc, lacking(err, loc, path, "data", "read"))
	}
	if current != was {
		return conflict(loc, was, content(numbered(current), data), values)
	}
	if data == nil {
		data = map[string]any{}
	}
	for field, value := range values {
		data[field] = value.Expose()
	}
	written, err := kv.Put(ctx, path, data, api.WithCheckAndSet(was))
	if isConflict(err) {
		data, current, _ = v.readCurrent(ctx, kv, path)
		return conflict(loc, was, content(numbered(current), data), values)
	}
	if err != nil {
		return Location{}, fmt.Errorf("put %s: %w", loc, lacking(err, loc, path, "data", "update"))
	}
	v.sign(ctx, kv, path, operation)
	return loc.at(numbered(written.VersionMetadata.Version)), nil
}

// conflict says that somebody else was faster, unless it was this very Put, sent
// again after a crash or by the client's retry.
func conflict(loc Location, was int, now Content, values map[string]checks.Secret) (Location, error) {
	if now.Version == numbered(was+1) && now.has(values) {
		return loc.at(now.Version), nil
	}
	return Location{}, fmt.Errorf("put %s: %w: it is at version %s", loc, ErrConflict, now.Version)
}

// sign leaves the operation's id beside the secret. The value is in place, and
// without a signature it is in place too.
func (v *Vault) sign(ctx context.Context, kv *api.KVv2, path, operation string) {
	err := kv.PatchMetadata(ctx, path, api.KVMetadataPatchInput{
		CustomMetadata: map[string]any{operationKey: operation},
	})
	if err != nil {
		v.log.LogAttrs(ctx, slog.LevelWarn, "could not note the operation in the secret's metadata",
			slog.String("path", path), slog.Any("error", tell(err)))
	}
}

// Retire destroys the version that loc names, and no other. A version that is
// gone already is no error; the current one is.
func (v *Vault) Retire(ctx context.Context, loc Location) error {
	n, err := loc.Version.number()
	if err != nil {
		return fmt.Errorf("retire %s: %w", loc, err)
	}
	kv, path, err := v.open(ctx, loc)
	if err != nil {
		return err
	}
	meta, err := kv.GetMetadata(ctx, path)
	if errors.Is(err, api.ErrSecretNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("retire %s: %w", loc, lacking(err, loc, path, "metadata", "read"))
	}
	if meta.CurrentVersion == n {
		return fmt.Errorf("retire %s: it is the current version; put a replacement first", loc)
	}
	if old, ok := findVersion(meta, n); !ok || old.Destroyed {
		return nil
	}
	if err := kv.Destroy(ctx, path, []int{n}); err != nil {
		return fmt.Errorf("retire %s: %w", loc, lacking(err, loc, path, "destroy", "update"))
	}
	return nil
}

func findVersion(meta *api.KVMetadata, number int) (api.KVVersionMetadata, bool) {
	for _, version := range meta.Versions {
		if version.Version == number {
			return version, true
		}
	}
	return api.KVVersionMetadata{}, false
}

// readCurrent reads the current version. One that is deleted has no data.
func (v *Vault) readCurrent(ctx context.Context, kv *api.KVv2, path string) (map[string]any, int, error) {
	read, err := kv.Get(ctx, path)
	if errors.Is(err, api.ErrSecretNotFound) {
		return nil, 0, ErrNotFound
	}
	if err != nil {
		return nil, 0, err
	}
	return read.Data, read.VersionMetadata.Version, nil
}

// open finds the mount of a location.
func (v *Vault) open(ctx context.Context, loc Location) (*api.KVv2, string, error) {
	mounts, err := v.findMounts(ctx)
	if err != nil {
		return nil, "", err
	}
	mount := ""
	for _, m := range mounts {
		if strings.HasPrefix(loc.Path, m+"/") && len(m) > len(mount) {
			mount = m
		}
	}
	path := strings.TrimPrefix(loc.Path, mount+"/")
	if mount == "" || path == "" || slices.Contains(strings.Split(path, "/"), "..") {
		return nil, "", fmt.Errorf("%s: %w: the path is in none of the mounts %s", loc, ErrNotFound, strings.Join(mounts, ", "))
	}
	return v.client.KVv2(mount), path, nil
}

// tell takes out of an error of the client what Vault said, and leaves the rest:
// a page from something on the way, quoted whole, or the request's URL.
func tell(err error) error {
	var answer *api.ResponseError
	if !errors.As(err, &answer) {
		return err
	}
	if answer.RawError || len(answer.Errors) == 0 {
		return fmt.Errorf("Vault answered %d", answer.StatusCode)
	}
	return fmt.Errorf("Vault answered %d: %s", answer.StatusCode, strings.Join(answer.Errors, "; "))
}

func denied(err error) bool {
	var answer *api.ResponseError
	return errors.As(err, &answer) && answer.StatusCode == http.StatusForbidden && !answer.RawError
}

// isConflict recognises the refusal of check-and-set, which has no code of its
// own: github.com/hashicorp/vault-plugin-secrets-kv, path_data.go.
func isConflict(err error) bool {
	var answer *api.ResponseError
	return errors.As(err, &answer) && answer.StatusCode == http.StatusBadRequest &&
		strings.Contains(strings.Join(answer.Errors, " "), "check-and-set parameter did not match")
}
