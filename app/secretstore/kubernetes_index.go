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

	"golang.org/x/sync/errgroup"

	"github.com/stanch-dev/stanch/checks"
)

// An indexedSecret is what is remembered of one secret: the fingerprints of the version
// that was read. A version never changes, so it is read once.
type indexedSecret struct {
	version Version
	fields  fields
}

// Locate returns the places that hold a value now. There are no others: Kubernetes keeps
// no old versions.
func (k *Kubernetes) Locate(ctx context.Context, fp checks.Fingerprint) ([]Location, error) {
	asked := time.Now()
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.refreshed.After(asked) { // else somebody else's refresh began after this question
		if err := k.refresh(ctx); err != nil {
			return nil, fmt.Errorf("search Kubernetes: %w", err)
		}
	}
	var found []Location
	for path, s := range k.index {
		for _, field := range s.fields[fp] {
			found = append(found, Location{Store: k.Name(), Path: path, Field: field, Version: s.version})
		}
	}
	sortLocations(found)
	return found, nil
}

// Skipped lists the namespaces and secrets that the last search could not look into.
func (k *Kubernetes) Skipped() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Clone(k.skipped)
}

// refresh makes the index equal to the cluster: names and versions are listed without
// values, and what has changed is read.
func (k *Kubernetes) refresh(ctx context.Context) error {
	began := time.Now()
	names, skipped, err := k.names(ctx)
	if err != nil {
		return err
	}
	index := map[string]indexedSecret{}
	var changed []metadata
	for _, m := range names {
		path := m.Namespace + "/" + m.Name
		if known, ok := k.index[path]; ok && known.version == m.Version {
			index[path] = known
			continue
		}
		changed = append(changed, m)
	}
	denied, err := k.readInto(ctx, index, changed)
	if err != nil {
		return err
	}
	skipped = append(skipped, denied...)
	slices.Sort(skipped)
	if len(skipped) > 0 && !slices.Equal(skipped, k.skipped) {
		k.log.LogAttrs(ctx, slog.LevelWarn, "Kubernetes does not let Stanch search everywhere; leaked values there are not found",
			slog.Any("skipped", skipped))
	}
	k.index, k.skipped, k.refreshed = index, skipped, began
	return nil
}

// names lists the secrets with their versions.
func (k *Kubernetes) names(ctx context.Context) (all []metadata, skipped []string, err error) {
	type item struct {
		Metadata metadata `json:"metadata"`
	}
	paths := map[string]string{"": "/api/v1/secrets"}
	if len(k.namespaces) > 0 {
		clear(paths)
	}
	for _, n := range k.namespaces {
		paths[n] = "/api/v1/namespaces/" + n + "/secrets"
	}
	for namespace, path := range paths {
		items, err := list[item](ctx, k.cluster, path, metadataOnly)
		switch {
		case refused(err, http.StatusForbidden) && namespace != "":
			skipped = append(skipped, namespace+"/")
			continue
		case refused(err, http.StatusForbidden):
			return nil, nil, fmt.Errorf("%w; grant that for all namespaces, or name those that may be searched", err)
		case err != nil:
			return nil, nil, fmt.Errorf("list secrets: %w", err)
		}
		for _, i := range items {
			all = append(all, i.Metadata)
		}
		if len(all) > k.max {
			return nil, nil, fmt.Errorf("%w: over %d; name fewer namespaces, or allow more", ErrTooMany, k.max)
		}
	}
	return all, skipped, nil
}

// Examine counts the secrets that can be searched, and lists where the account may not
// look. No secret is read.
func (k *Kubernetes) Examine(ctx context.Context) (secrets int, skipped []string, err error) {
	all, skipped, err := k.names(ctx)
	return len(all), skipped, err
}

// readInto takes the fingerprints of secrets and drops their values. It returns those
// that may not be read.
func (k *Kubernetes) readInto(ctx context.Context, index map[string]indexedSecret, changed []metadata) (denied []string, err error) {
	var mu sync.Mutex
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(readers)
	for _, m := range changed {
		group.Go(func() error {
			path := m.Namespace + "/" + m.Name
			s, err := k.read(ctx, Location{Path: path})
			mu.Lock()
			defer mu.Unlock()
			switch {
			case errors.Is(err, ErrNotFound):
				return nil // deleted since it was listed
			case refused(err, http.StatusForbidden):
				denied = append(denied, path)
				return nil
			case err != nil:
				return fmt.Errorf("read %s: %w", path, err)
			}
			index[path] = indexedSecret{version: s.Metadata.Version, fields: s.fingerprints(k.key)}
			return nil
		})
	}
	return denied, group.Wait()
}

// fingerprints are those of the values in each way in which they may leak, see readings,
// also without the line's end that many ways of making a secret leave behind, and of the
// passwords in logins to registries.
func (s kubernetesSecret) fingerprints(key checks.FingerprintKey) fields {
	found := fields{}
	for name, text := range s.fields() {
		values := slices.Concat(passwords(name, text), readings(text), readings(strings.TrimRight(text, "\r\n")))
		slices.Sort(values)
		for _, value := range slices.Compact(values) {
			if value != "" {
				fp := checks.NewSecret(value).Fingerprint(key)
				found[fp] = append(found[fp], name)
			}
		}
	}
	return found
}
