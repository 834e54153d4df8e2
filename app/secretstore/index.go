package secretstore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/vault/api"
	"golang.org/x/sync/errgroup"

	"github.com/stanch-dev/stanch/checks"
)

// readers is how many requests an index refresh has under way at once.
const readers = 8

// indexed is what is remembered of one secret: the fingerprints of the versions
// that have been read. A version never changes, so it is read once.
type indexed struct {
	mount, path string
	owner       string
	noted       bool // what is true of it came with the listing of its folder
	current     int
	readable    []int // versions neither deleted nor destroyed
	versions    map[int]fields
	denied      bool
}

// Locate returns the places that hold a value now or, when there are none, those
// of superseded versions that still hold it. Deleted versions are not searched:
// Vault does not show them before somebody undeletes them.
func (v *Vault) Locate(ctx context.Context, fp checks.Fingerprint) ([]Location, error) {
	asked := time.Now()
	v.mu.Lock()
	defer v.mu.Unlock()
	if !v.refreshed.After(asked) { // else somebody else's refresh began after this question
		if err := v.refresh(ctx); err != nil {
			return nil, fmt.Errorf("search Vault: %w", err)
		}
	}
	found := v.search(fp, false)
	if len(found) == 0 {
		if err := v.readAll(ctx, v.index, func(i *indexed) []int { return i.readable }); err != nil {
			return nil, fmt.Errorf("search Vault's old versions: %w", err)
		}
		found = v.search(fp, true)
	}
	return found, nil
}

// Skipped lists the paths that the last search could not look into, because the
// token may not. A value there is not found.
func (v *Vault) Skipped() []string {
	v.mu.Lock()
	defer v.mu.Unlock()
	return slices.Clone(v.skipped)
}

func (v *Vault) search(fp checks.Fingerprint, superseded bool) []Location {
	var found []Location
	for full, secret := range v.index {
		for number, names := range secret.versions {
			if (number != secret.current) != superseded {
				continue
			}
			for _, field := range names[fp] {
				found = append(found, Location{Store: v.Name(), Path: full, Field: field, Version: numbered(number), Superseded: superseded, Owner: secret.owner})
			}
		}
	}
	sortLocations(found)
	return found
}

// refresh makes the index equal to the store.
func (v *Vault) refresh(ctx context.Context) error {
	began := time.Now()
	mounts, err := v.mountsLocked(ctx)
	if err != nil {
		return err
	}
	var skipped []string
	index := map[string]*indexed{}
	v.plain = map[string]bool{}
	for _, mount := range mounts {
		if err := v.walk(ctx, mount, "", index, &skipped); err != nil {
			return err
		}
	}
	if err := v.readMetadata(ctx, index); err != nil {
		return err
	}
	if err := v.readAll(ctx, index, func(i *indexed) []int { return i.readableCurrent() }); err != nil {
		return err
	}
	for full, secret := range index {
		if secret.denied {
			skipped = append(skipped, full)
			delete(index, full)
		}
	}
	slices.Sort(skipped)
	v.report(ctx, skipped)
	v.index, v.skipped, v.refreshed = index, skipped, began
	return nil
}

// report logs what cannot be looked into, once and not at each search.
func (v *Vault) report(ctx context.Context, skipped []string) {
	if len(skipped) > 0 && !slices.Equal(skipped, v.skipped) {
		v.log.LogAttrs(ctx, slog.LevelWarn, "Vault does not let Stanch search everywhere; leaked values there are not found",
			slog.Any("skipped", skipped))
	}
}

// walk lists a folder and those in it into index, with what is known already.
func (v *Vault) walk(ctx context.Context, mount, folder string, index map[string]*indexed, skipped *[]string) error {
	names, details, err := v.listDetailed(ctx, mount, folder)
	if denied(err) {
		*skipped = append(*skipped, mount+"/"+folder)
		return nil
	}
	if err != nil {
		return fmt.Errorf("list %s/%s: %w", mount, folder, tell(err))
	}
	for _, name := range names {
		if strings.HasSuffix(name, "/") {
			if err := v.walk(ctx, mount, folder+name, index, skipped); err != nil {
				return err
			}
			continue
		}
		full := mount + "/" + folder + name
		known := &indexed{mount: mount, path: folder + name, versions: map[int]fields{}}
		if old, ok := v.index[full]; ok {
			known.versions = maps.Clone(old.versions)
		}
		if meta := details[name]; meta != nil {
			known.note(meta)
			known.noted = true
		}
		index[full] = known
		if len(index) > v.max {
			return fmt.Errorf("%w: over %d; name fewer mounts, or allow more", ErrTooMany, v.max)
		}
	}
	return nil
}

// listDetailed lists a folder with the metadata of its secrets, in one request, where
// the server can and the token may: OpenBao can, Vault cannot. Else there are no details.
// https://openbao.org/api-docs/secret/kv/kv-v2/
func (v *Vault) listDetailed(ctx context.Context, mount, folder string) (names []string, details map[string]*api.KVMetadata, err error) {
	if !v.plain[mount] {
		listed, err := v.client.Logical().ListWithContext(ctx, mount+"/detailed-metadata/"+folder)
		if err == nil && listed != nil {
			return keysOf(listed), detailsOf(listed), nil
		}
		v.plain[mount] = folder == "" // only part of a mount may be closed
	}
	names, err = v.list(ctx, mount, folder)
	return names, nil, err
}

// detailsOf reads the metadata that a listing holds. What cannot be read is left out,
// and asked for.
func detailsOf(listed *api.Secret) map[string]*api.KVMetadata {
	raw, err := json.Marshal(listed.Data["key_info"])
	if err != nil {
		return nil
	}
	var info map[string]struct {
		Current  int            `json:"current_version"`
		Custom   map[string]any `json:"custom_metadata"`
		Versions map[string]struct {
			Deleted   string `json:"deletion_time"`
			Destroyed bool   `json:"destroyed"`
		} `json:"versions"`
	}
	if json.Unmarshal(raw, &info) != nil {
		return nil
	}
	details := map[string]*api.KVMetadata{}
	for name, one := range info {
		meta := &api.KVMetadata{CurrentVersion: one.Current, CustomMetadata: one.Custom, Versions: map[string]api.KVVersionMetadata{}}
		for key, version := range one.Versions {
			number, _ := strconv.Atoi(key)
			deleted, err := time.Parse(time.RFC3339Nano, version.Deleted)
			if number < 1 || err != nil && version.Deleted != "" {
				meta = nil
				break
			}
			meta.Versions[key] = api.KVVersionMetadata{Version: number, DeletionTime: deleted, Destroyed: version.Destroyed}
		}
		details[name] = meta
	}
	return details
}

// list returns what is in a folder; the names of folders end with a slash.
func (v *Vault) list(ctx context.Context, mount, folder string) (names []string, err error) {
	listed, err := v.client.Logical().ListWithContext(ctx, mount+"/metadata/"+folder)
	if err != nil || listed == nil {
		return nil, err
	}
	return keysOf(listed), nil
}

func keysOf(listed *api.Secret) (names []string) {
	keys, _ := listed.Data["keys"].([]any)
	for _, key := range keys {
		if name, ok := key.(string); ok && name != "" {
			names = append(names, name)
		}
	}
	return names
}

// readMetadata learns which versions there are, and forgets those that are gone.
func (v *Vault) readMetadata(ctx context.Context, index map[string]*indexed) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(readers)
	for full, secret := range index {
		if secret.noted {
			continue
		}
		group.Go(func() error {
			meta, err := v.client.KVv2(secret.mount).GetMetadata(ctx, secret.path)
			switch {
			case denied(err):
				secret.denied = true
				return nil
			case errors.Is(err, api.ErrSecretNotFound):
				return nil // deleted since it was listed
			case err != nil:
				return fmt.Errorf("read the metadata of %s: %w", full, tell(err))
			}
			secret.note(meta)
			return nil
		})
	}
	return group.Wait()
}

func (i *indexed) note(meta *api.KVMetadata) {
	i.current, i.owner = meta.CurrentVersion, ownerOf(meta)
	for _, version := range meta.Versions {
		// A time to come is that of delete_version_after.
		if deleted := version.DeletionTime; !version.Destroyed && (deleted.IsZero() || deleted.After(time.Now())) {
			i.readable = append(i.readable, version.Version)
		}
	}
	maps.DeleteFunc(i.versions, func(number int, _ fields) bool { return !slices.Contains(i.readable, number) })
}

func ownerOf(meta *api.KVMetadata) string {
	text, _ := meta.CustomMetadata[ownerKey].(string)
	return owner(text)
}

// readableCurrent is the current version, if it can be read.
func (i *indexed) readableCurrent() []int {
	if slices.Contains(i.readable, i.current) {
		return []int{i.current}
	}
	return nil
}

// readAll reads of each secret those versions that have not been read yet.
func (v *Vault) readAll(ctx context.Context, index map[string]*indexed, which func(*indexed) []int) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(readers)
	for full, secret := range index {
		group.Go(func() error {
			for _, number := range which(secret) {
				if _, known := secret.versions[number]; known || secret.denied {
					continue
				}
				if err := v.readVersion(ctx, secret, number); err != nil {
					return fmt.Errorf("read version %d of %s: %w", number, full, tell(err))
				}
			}
			return nil
		})
	}
	return group.Wait()
}

// readVersion takes the fingerprints of one version and drops its values.
func (v *Vault) readVersion(ctx context.Context, secret *indexed, number int) error {
	read, err := v.client.KVv2(secret.mount).GetVersion(ctx, secret.path, number)
	switch {
	case denied(err):
		secret.denied = true
		return nil
	case errors.Is(err, api.ErrSecretNotFound):
		return nil // destroyed meanwhile
	case err != nil:
		return err
	}
	secret.versions[number] = fingerprints(v.key, read.Data)
	return nil
}

func (v *Vault) findMounts(ctx context.Context) ([]string, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.mountsLocked(ctx)
}

// mountsLocked asks for the KV version 2 mounts that the token can see, unless
// the operator named them. Any token may ask; Vault's own user interface does.
func (v *Vault) mountsLocked(ctx context.Context) ([]string, error) {
	if len(v.mounts) > 0 {
		return v.mounts, nil
	}
	answer, err := v.client.Logical().ReadWithContext(ctx, "sys/internal/ui/mounts")
	if err != nil {
		return nil, fmt.Errorf("list Vault's mounts: %w", tell(err))
	}
	var mounts []string
	if answer != nil {
		all, _ := answer.Data["secret"].(map[string]any)
		for name, value := range all {
			mount, _ := value.(map[string]any)
			options, _ := mount["options"].(map[string]any)
			if mount["type"] == "kv" && options["version"] == "2" {
				mounts = append(mounts, strings.Trim(name, "/"))
			}
		}
	}
	if len(mounts) == 0 {
		return nil, errors.New("the Vault token can see no KV version 2 mount: give it the policy of deploy/vault/stanch.hcl")
	}
	slices.Sort(mounts)
	return mounts, nil
}
