package secretstore

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/stanch-dev/stanch/app/ownaws"
	"github.com/stanch-dev/stanch/checks"
)

// What AWS calls a refusal to write.
const (
	awsExists    = "ResourceExistsException"   // of CreateSecret, or the version has another value
	awsParameter = "InvalidParameterException" // the label is not where it was said to be
)

// token names the version that an operation writes after another one. AWS takes the
// same name with the same text twice, and refuses another text.
// https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_PutSecretValue.html
func (a *AWS) token(loc Location, operation string) Version {
	mac := hmac.New(sha256.New, []byte(a.key))
	fmt.Fprint(mac, strings.Join([]string{operation, loc.Path, string(loc.Version)}, "\x00"))
	return Version(hex.EncodeToString(mac.Sum(nil)))
}

// Put replaces fields if the secret is still at loc.Version, and leaves the others. The
// new version waits with the label AWSPENDING until AWSCURRENT is moved to it from that
// version, which AWS does only if it is there. Done twice it changes nothing more.
func (a *AWS) Put(ctx context.Context, loc Location, values map[string]checks.Secret, operation string) (Location, error) {
	if err := checkPut(loc, values); err != nil {
		return Location{}, err
	}
	client, name, err := a.open(ctx, loc)
	if err != nil {
		return Location{}, err
	}
	fresh, err := a.put(ctx, client, name, loc, values, operation)
	if err != nil {
		return Location{}, fmt.Errorf("put %s: %w", loc, err)
	}
	return loc.at(fresh), nil
}

func (a *AWS) put(ctx context.Context, client *secretsmanager.Client, name string, loc Location, values map[string]checks.Secret, operation string) (Version, error) {
	fresh := a.token(loc, operation)
	secret, err := a.describe(ctx, client, name)
	switch {
	case errors.Is(err, ErrNotFound) && loc.Version == "":
		return fresh, a.create(ctx, client, name, fresh, values)
	case err != nil:
		return "", err
	}
	if err := writable(secret, loc.Path); err != nil {
		return "", err
	}
	now := labels(secret.VersionIdsToStages).current()
	if now != loc.Version {
		return fresh, a.conflict(ctx, client, name, fresh, values)
	}
	old := &secretsmanager.GetSecretValueOutput{}
	if now != "" {
		if old, err = readAWS(ctx, client, name, now); err != nil {
			return "", err
		}
	}
	text, err := withFields(aws.ToString(old.SecretString), values)
	if err != nil {
		return "", err
	}
	return fresh, a.write(ctx, client, name, now, fresh, text, values)
}

// writable says why a secret is not for Stanch to write.
func writable(secret *secretsmanager.DescribeSecretOutput, path string) error {
	region, _, _ := strings.Cut(path, "/")
	switch primary := aws.ToString(secret.PrimaryRegion); {
	case aws.ToString(secret.OwningService) != "":
		return fmt.Errorf("%w: the service %s owns it; have that rotate it", ErrManaged, *secret.OwningService)
	case aws.ToBool(secret.RotationEnabled):
		return fmt.Errorf("%w: have it rotated with aws secretsmanager rotate-secret --region %s --secret-id %s", ErrManaged, region, aws.ToString(secret.Name))
	case primary != "" && primary != region:
		return fmt.Errorf("it is a copy of the secret in %s, where it has to be changed: name that region in STANCH_AWS_SECRETS", primary)
	}
	return nil
}

// write adds a version, and makes it the current one if now still is.
func (a *AWS) write(ctx context.Context, client *secretsmanager.Client, name string, now, fresh Version, text string, values map[string]checks.Secret) error {
	in := &secretsmanager.PutSecretValueInput{SecretId: &name, ClientRequestToken: aws.String(string(fresh)), SecretString: &text}
	if now != "" {
		in.VersionStages = []string{awsPending}
	}
	_, err := client.PutSecretValue(ctx, in)
	switch {
	case ownaws.Code(err) == awsExists:
		return a.conflict(ctx, client, name, fresh, values)
	case err != nil:
		return ownaws.Tell(err)
	case now == "":
		return nil // the first version is the current one
	}
	err = a.moveLabel(ctx, client, name, awsCurrent, now, fresh)
	switch {
	case ownaws.Code(err) == awsParameter:
		return a.conflict(ctx, client, name, fresh, values)
	case err != nil:
		return ownaws.Tell(err)
	}
	a.settle(ctx, client, name, fresh)
	return nil
}

// settle takes AWSPENDING from the version that is the current one now: left there it
// would be in the way of the owners' own rotation, later.
func (a *AWS) settle(ctx context.Context, client *secretsmanager.Client, name string, fresh Version) {
	err := a.moveLabel(ctx, client, name, awsPending, fresh, "")
	if err != nil && ownaws.Code(err) != awsParameter {
		a.log.LogAttrs(ctx, slog.LevelWarn, "could not take the label AWSPENDING from a version that is the current one",
			slog.String("secret", name), slog.Any("error", ownaws.Tell(err)))
	}
}

// create makes a secret that is not there.
func (a *AWS) create(ctx context.Context, client *secretsmanager.Client, name string, fresh Version, values map[string]checks.Secret) error {
	text, err := withFields("", values)
	if err != nil {
		return err
	}
	_, err = client.CreateSecret(ctx, &secretsmanager.CreateSecretInput{Name: &name, ClientRequestToken: aws.String(string(fresh)), SecretString: &text})
	switch {
	case ownaws.Code(err) == awsExists:
		return a.conflict(ctx, client, name, fresh, values)
	case err != nil:
		return ownaws.Tell(err)
	}
	return nil
}

// conflict says that somebody else was faster, unless it was this very Put, sent again
// after a crash.
func (a *AWS) conflict(ctx context.Context, client *secretsmanager.Client, name string, fresh Version, values map[string]checks.Secret) error {
	now, err := readAWS(ctx, client, name, "")
	if err != nil {
		return err
	}
	if c := awsContent(now); c.Version != fresh || !c.has(values) {
		return fmt.Errorf("%w: it is at version %s", ErrConflict, c.Version)
	}
	a.settle(ctx, client, name, fresh)
	return nil
}
