package secretstore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/stanch-dev/stanch/app/ownaws"
	"github.com/stanch-dev/stanch/checks"
)

// ErrManaged means that a secret is rotated by AWS or by the owners' own function, which
// Stanch must not come between: they have it rotated.
var ErrManaged = errors.New("the secret's rotation is managed by AWS")

// An AWSConfig says which regions of AWS Secrets Manager to search.
type AWSConfig struct {
	Own     *ownaws.Caller
	Regions []string
	Key     checks.FingerprintKey
	// MaxSecrets bounds how many secrets are searched, 10,000 when zero.
	MaxSecrets int
	Logger     *slog.Logger // nothing is logged when nil
}

// AWS is a store in AWS Secrets Manager, in Stanch's own account. Paths of its locations
// begin with the region: "eu-west-1/prod/deploy". A secret's text that is a JSON object
// has fields; binary secrets are not searched. See AWSPolicy for what Stanch must be
// allowed.
//
// Labels say what a version is: AWSCURRENT is what readers get, and AWSPREVIOUS what they
// got before. Versions without labels are no part of the store any more: AWS deletes
// them by itself, and no request can, so that retiring a version is to take its labels.
//
// The store keeps an index of keyed hashes. Each Locate lists the secrets, 100 a
// request, and reads the versions that it has not read: a version never changes. What
// was changed within the last five minutes may be listed as it was, AWS says; what is
// found is looked at once more.
// https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_ListSecrets.html
type AWS struct {
	own     *ownaws.Caller
	regions []string
	key     checks.FingerprintKey
	max     int
	log     *slog.Logger

	mu        sync.Mutex // held while the index is refreshed or searched
	index     map[string]*awsSecret
	refreshed time.Time
	skipped   []string
}

// The labels of AWS's own.
const (
	awsCurrent = "AWSCURRENT"
	awsPending = "AWSPENDING"
)

// NewAWS returns the store. It connects to nothing yet.
func NewAWS(cfg AWSConfig) (*AWS, error) {
	if len(cfg.Regions) == 0 || slices.ContainsFunc(cfg.Regions, func(r string) bool { return r == "" || strings.ContainsAny(r, "/ ") }) {
		return nil, errors.New("the regions of AWS Secrets Manager must be named, such as eu-west-1")
	}
	a := &AWS{own: cfg.Own, regions: cfg.Regions, key: cfg.Key, max: cfg.MaxSecrets, log: cfg.Logger, index: map[string]*awsSecret{}}
	if a.max == 0 {
		a.max = defaultMaxSecrets
	}
	if a.log == nil {
		a.log = slog.New(slog.DiscardHandler)
	}
	return a, nil
}

// Name is "aws".
func (*AWS) Name() string { return "aws" }

// client speaks to Secrets Manager in a region.
func (a *AWS) client(ctx context.Context, region string) (*secretsmanager.Client, error) {
	cfg, err := a.own.Region(ctx, region)
	if err != nil {
		return nil, err
	}
	return secretsmanager.NewFromConfig(cfg), nil
}

// open finds the region of a location.
func (a *AWS) open(ctx context.Context, loc Location) (*secretsmanager.Client, string, error) {
	region, name, _ := strings.Cut(loc.Path, "/")
	if name == "" || !slices.Contains(a.regions, region) {
		return nil, "", fmt.Errorf("%s: %w: the path is in none of the regions %s", loc, ErrNotFound, strings.Join(a.regions, ", "))
	}
	client, err := a.client(ctx, region)
	return client, name, err
}

const awsNotFound = "ResourceNotFoundException"

// readAWS reads the text of a version, by its id or, when that is empty, the current one.
func readAWS(ctx context.Context, client *secretsmanager.Client, name string, version Version) (*secretsmanager.GetSecretValueOutput, error) {
	in := &secretsmanager.GetSecretValueInput{SecretId: &name, VersionStage: aws.String(awsCurrent)}
	if version != "" {
		in.VersionId, in.VersionStage = aws.String(string(version)), nil
	}
	out, err := client.GetSecretValue(ctx, in)
	switch {
	case ownaws.Code(err) == awsNotFound:
		return nil, ErrNotFound
	case err != nil:
		return nil, ownaws.Tell(err)
	}
	return out, nil
}

// Get returns what a secret holds now.
func (a *AWS) Get(ctx context.Context, loc Location) (Content, error) {
	client, name, err := a.open(ctx, loc)
	if err != nil {
		return Content{}, err
	}
	now, err := readAWS(ctx, client, name, "")
	if err != nil {
		return Content{}, fmt.Errorf("get %s: %w", loc, err)
	}
	return awsContent(now), nil
}

func awsContent(v *secretsmanager.GetSecretValueOutput) Content {
	if v.SecretString == nil {
		return Content{Version: Version(aws.ToString(v.VersionId)), Fields: map[string]checks.Secret{}}
	}
	return content(Version(aws.ToString(v.VersionId)), fieldsOf(*v.SecretString))
}

// labels are a secret's versions with their labels, as DescribeSecret tells them.
type labels map[string][]string

// current is the version that readers get.
func (l labels) current() Version {
	for version, names := range l {
		if slices.Contains(names, awsCurrent) {
			return Version(version)
		}
	}
	return ""
}

// describe tells a secret's versions. One that is to be deleted is not there.
func (a *AWS) describe(ctx context.Context, client *secretsmanager.Client, name string) (*secretsmanager.DescribeSecretOutput, error) {
	out, err := client.DescribeSecret(ctx, &secretsmanager.DescribeSecretInput{SecretId: &name})
	switch {
	case ownaws.Code(err) == awsNotFound, err == nil && out.DeletedDate != nil:
		return nil, ErrNotFound
	case err != nil:
		return nil, ownaws.Tell(err)
	}
	return out, nil
}

// Retire takes all labels from the version that loc names, and from no other, so that
// AWS deletes it by itself. A version without labels is gone already; the current one
// is not retired.
func (a *AWS) Retire(ctx context.Context, loc Location) error {
	client, name, err := a.open(ctx, loc)
	if err != nil {
		return err
	}
	secret, err := a.describe(ctx, client, name)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("retire %s: %w", loc, err)
	}
	has := secret.VersionIdsToStages[string(loc.Version)]
	if slices.Contains(has, awsCurrent) {
		return fmt.Errorf("retire %s: it is the current version; put a replacement first", loc)
	}
	for _, label := range has {
		if err := a.moveLabel(ctx, client, name, label, loc.Version, ""); err != nil {
			return fmt.Errorf("retire %s: %w", loc, ownaws.Tell(err))
		}
	}
	return nil
}

// moveLabel takes a label from a version and gives it to another; either may be none.
// It fails when the first does not have it.
func (a *AWS) moveLabel(ctx context.Context, client *secretsmanager.Client, name, label string, from, to Version) error {
	in := &secretsmanager.UpdateSecretVersionStageInput{SecretId: &name, VersionStage: &label}
	if from != "" {
		in.RemoveFromVersionId = aws.String(string(from))
	}
	if to != "" {
		in.MoveToVersionId = aws.String(string(to))
	}
	_, err := client.UpdateSecretVersionStage(ctx, in)
	return err
}
