package secretstore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"golang.org/x/sync/errgroup"

	"github.com/stanch-dev/stanch/app/ownaws"
	"github.com/stanch-dev/stanch/checks"
)

// awsSecret is what is remembered of one secret.
type awsSecret struct {
	client   *secretsmanager.Client
	name     string
	labels   labels
	versions map[Version]fields // those that were read
	denied   error
	binary   bool
}

// Locate returns the places that hold a value now or, when there are none, those of
// superseded versions that have a label still.
func (a *AWS) Locate(ctx context.Context, fp checks.Fingerprint) ([]Location, error) {
	asked := time.Now()
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.refreshed.After(asked) { // else somebody else's refresh began after this question
		if err := a.refresh(ctx); err != nil {
			return nil, fmt.Errorf("search AWS Secrets Manager: %w", err)
		}
	}
	found := a.search(fp, false)
	if len(found) == 0 {
		if err := a.readAll(ctx, a.index, (*awsSecret).superseded); err != nil {
			return nil, fmt.Errorf("search the old versions in AWS Secrets Manager: %w", err)
		}
		found = a.search(fp, true)
	}
	if len(found) == 0 {
		return nil, nil
	}
	return a.lookAgain(ctx, fp, found)
}

// Skipped lists the secrets that the last search could not look into: Stanch may not
// read them, or they are binary.
func (a *AWS) Skipped() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.skipped)
}

func (a *AWS) search(fp checks.Fingerprint, superseded bool) []Location {
	var found []Location
	for path, secret := range a.index {
		current := secret.labels.current()
		for version, names := range secret.versions {
			if (version != current) != superseded {
				continue
			}
			for _, field := range names[fp] {
				found = append(found, Location{Store: a.Name(), Path: path, Field: field, Version: version, Superseded: superseded})
			}
		}
	}
	sortLocations(found)
	return found
}

// lookAgain asks about the secrets in which something was found: their list may be
// minutes old.
func (a *AWS) lookAgain(ctx context.Context, fp checks.Fingerprint, found []Location) ([]Location, error) {
	again := map[string]*awsSecret{}
	for _, loc := range found {
		secret := a.index[loc.Path]
		now, err := a.describe(ctx, secret.client, secret.name)
		switch {
		case errors.Is(err, ErrNotFound):
			delete(a.index, loc.Path)
			continue
		case err != nil:
			return nil, fmt.Errorf("look again at %s: %w", loc, err)
		}
		secret.label(now.VersionIdsToStages)
		again[loc.Path] = secret
	}
	if err := a.readAll(ctx, again, (*awsSecret).readable); err != nil {
		return nil, fmt.Errorf("look again: %w", err)
	}
	if found = a.search(fp, false); len(found) == 0 {
		found = a.search(fp, true)
	}
	return found, nil
}

// label notes which versions have labels, and forgets the others.
func (s *awsSecret) label(l map[string][]string) {
	s.labels = l
	maps.DeleteFunc(s.versions, func(v Version, _ fields) bool { return len(l[string(v)]) == 0 })
}

// currentOnly, superseded and readable are versions to read.
func (s *awsSecret) currentOnly() []Version {
	if current := s.labels.current(); current != "" {
		return []Version{current}
	}
	return nil
}

func (s *awsSecret) superseded() (versions []Version) {
	for version, names := range s.labels {
		if len(names) > 0 && !slices.Contains(names, awsCurrent) {
			versions = append(versions, Version(version))
		}
	}
	return versions
}

func (s *awsSecret) readable() []Version { return append(s.currentOnly(), s.superseded()...) }

// refresh makes the index equal to the store.
func (a *AWS) refresh(ctx context.Context) error {
	began := time.Now()
	index := map[string]*awsSecret{}
	for _, region := range a.regions {
		if err := a.list(ctx, region, index); err != nil {
			return fmt.Errorf("list the secrets in %s: %w", region, err)
		}
	}
	if err := a.readAll(ctx, index, (*awsSecret).currentOnly); err != nil {
		return err
	}
	var skipped []string
	for path, secret := range index {
		switch {
		case secret.denied != nil:
			skipped = append(skipped, path)
			delete(index, path)
		case secret.binary:
			skipped = append(skipped, path+" (binary)")
		}
	}
	slices.Sort(skipped)
	if len(skipped) > 0 && !slices.Equal(skipped, a.skipped) {
		a.log.LogAttrs(ctx, slog.LevelWarn, "AWS does not let Stanch search all secrets, or they are binary; leaked values there are not found",
			slog.Any("skipped", skipped))
	}
	a.index, a.skipped, a.refreshed = index, skipped, began
	return nil
}

// list lists a region's secrets into index, with what is known already. A copy of a
// secret in another region that is searched is left out.
func (a *AWS) list(ctx context.Context, region string, index map[string]*awsSecret) error {
	client, err := a.client(ctx, region)
	if err != nil {
		return err
	}
	pages := secretsmanager.NewListSecretsPaginator(client, &secretsmanager.ListSecretsInput{MaxResults: aws.Int32(100)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return ownaws.Tell(err)
		}
		for _, entry := range page.SecretList {
			name, primary := aws.ToString(entry.Name), aws.ToString(entry.PrimaryRegion)
			if name == "" || primary != "" && primary != region && slices.Contains(a.regions, primary) {
				continue
			}
			secret := &awsSecret{client: client, name: name, versions: map[Version]fields{}}
			if old, ok := a.index[region+"/"+name]; ok {
				secret.versions, secret.binary = maps.Clone(old.versions), old.binary
			}
			secret.label(entry.SecretVersionsToStages)
			if index[region+"/"+name] = secret; len(index) > a.max {
				return fmt.Errorf("%w: over %d; name fewer regions, or allow more", ErrTooMany, a.max)
			}
		}
	}
	return nil
}

// readAll reads of each secret those versions that have not been read yet. One that may
// not be read is skipped; when none may, the policy is wrong.
func (a *AWS) readAll(ctx context.Context, index map[string]*awsSecret, which func(*awsSecret) []Version) error {
	group, inGroup := errgroup.WithContext(ctx)
	group.SetLimit(readers)
	for path, secret := range index {
		group.Go(func() error {
			for _, version := range which(secret) {
				if _, known := secret.versions[version]; known || secret.denied != nil {
					continue
				}
				if err := a.readVersion(inGroup, secret, version); err != nil {
					return fmt.Errorf("read version %s of %s: %w", version, path, err)
				}
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return allDenied(index)
}

// allDenied is the refusal when no secret may be read at all.
func allDenied(index map[string]*awsSecret) (refusal error) {
	for _, secret := range index {
		switch {
		case secret.denied != nil:
			refusal = secret.denied
		case len(secret.versions) > 0:
			return nil
		}
	}
	return refusal
}

// readVersion takes the fingerprints of one version and drops its values.
func (a *AWS) readVersion(ctx context.Context, secret *awsSecret, version Version) error {
	read, err := readAWS(ctx, secret.client, secret.name, version)
	refused := new(ownaws.RefusedError)
	switch {
	case errors.As(err, &refused):
		secret.denied = err
		return nil
	case errors.Is(err, ErrNotFound):
		return nil // deleted since it was listed
	case err != nil:
		return err
	}
	secret.binary = read.SecretString == nil
	if aws.ToString(read.VersionId) != string(version) {
		return fmt.Errorf("AWS answered with version %s", aws.ToString(read.VersionId))
	}
	secret.versions[version] = fields{}
	if read.SecretString != nil {
		secret.versions[version] = fingerprints(a.key, fieldsOf(*read.SecretString))
	}
	return nil
}
