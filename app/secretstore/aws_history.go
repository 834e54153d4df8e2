package secretstore

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/stanch-dev/stanch/app/grants"
	"github.com/stanch-dev/stanch/app/ownaws"
	"github.com/stanch-dev/stanch/checks"
)

// History lists the versions of a secret, the newest first. Those without labels count
// as gone: AWS deletes them when it likes.
func (a *AWS) History(ctx context.Context, loc Location) ([]Past, error) {
	client, name, err := a.open(ctx, loc)
	if err != nil {
		return nil, err
	}
	if _, err := a.describe(ctx, client, name); err != nil {
		return nil, fmt.Errorf("history of %s: %w", loc, err)
	}
	var past []Past
	pages := secretsmanager.NewListSecretVersionIdsPaginator(client, &secretsmanager.ListSecretVersionIdsInput{SecretId: &name, IncludeDeprecated: aws.Bool(true)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("history of %s: %w", loc, ownaws.Tell(err))
		}
		for _, v := range page.Versions {
			past = append(past, Past{Version: Version(aws.ToString(v.VersionId)), Created: aws.ToTime(v.CreatedDate),
				Current: slices.Contains(v.VersionStages, awsCurrent), Gone: len(v.VersionStages) == 0})
		}
	}
	slices.SortFunc(past, func(a, b Past) int {
		return cmp.Or(b.Created.Compare(a.Created), first(a.Current, b.Current), first(b.Gone, a.Gone))
	})
	return past, nil
}

// first orders what is so before what is not.
func first(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return -1
	}
	return 1
}

// Restore makes a field what it was in the version that loc names, in a new version,
// and returns where that is. Where the field is so already nothing is done. A version
// without labels is gone.
func (a *AWS) Restore(ctx context.Context, loc Location, operation string) (Location, error) {
	client, name, err := a.open(ctx, loc)
	if err != nil {
		return Location{}, err
	}
	secret, err := a.describe(ctx, client, name)
	if err != nil {
		return Location{}, fmt.Errorf("restore %s: %w", loc, err)
	}
	old, err := readAWS(ctx, client, name, loc.Version)
	if err != nil {
		return Location{}, fmt.Errorf("restore %s: %w", loc, err)
	}
	value, ok := awsContent(old).Fields[loc.Field]
	if !ok {
		return Location{}, fmt.Errorf("restore %s: %w: no such text field in that version", loc, ErrNotFound)
	}
	values := map[string]checks.Secret{loc.Field: value}
	now, err := a.Get(ctx, loc)
	switch {
	case err != nil:
		return Location{}, err
	case now.has(values):
		return loc.at(now.Version), nil
	case len(secret.VersionIdsToStages[string(loc.Version)]) == 0:
		return Location{}, fmt.Errorf("restore %s: %w: that version has no label any more", loc, ErrNotFound)
	}
	return a.Put(ctx, loc.at(now.Version), values, operation)
}

// AWSPolicy is what Stanch's own identity must be allowed in AWS Secrets Manager, each
// line a statement of the policy. Who wants it to see less names fewer secrets in the
// resource than all.
func AWSPolicy(account string, regions ...string) grants.Policy {
	var secrets []string
	for _, region := range regions {
		secrets = append(secrets, fmt.Sprintf("arn:aws:secretsmanager:%s:%s:secret:*", region, account))
	}
	allow := func(action string) string {
		return fmt.Sprintf(`{"Effect":"Allow","Action":%q,"Resource":%s}`, action, quoted(secrets))
	}
	return grants.Policy{Name: "AWS Secrets Manager", Syntax: "iam", Lines: []grants.Line{
		{For: "locate", Grant: `{"Effect":"Allow","Action":"secretsmanager:ListSecrets","Resource":"*"}`},
		{For: "locate, put, restore", Grant: allow("secretsmanager:GetSecretValue")},
		{For: "adopt, history, locate, put, restore, retire", Grant: allow("secretsmanager:DescribeSecret")},
		{For: "put, restore", Grant: allow("secretsmanager:PutSecretValue")},
		{For: "put, restore, retire", Grant: allow("secretsmanager:UpdateSecretVersionStage")},
		{For: "adopt", Grant: allow("secretsmanager:CreateSecret")},
		{For: "history", Grant: allow("secretsmanager:ListSecretVersionIds")},
		{For: "secrets with a key of your own", Optional: true,
			Grant: `{"Effect":"Allow","Action":["kms:Decrypt","kms:GenerateDataKey"],"Resource":"*","Condition":{"StringLike":{"kms:ViaService":"secretsmanager.*.amazonaws.com"}}}`},
	}}
}

// quoted is a list of texts in JSON.
func quoted(texts []string) string {
	var list []string
	for _, text := range texts {
		list = append(list, strconv.Quote(text))
	}
	return "[" + strings.Join(list, ",") + "]"
}
