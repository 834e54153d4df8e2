package provider

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"

	"github.com/stanch-dev/stanch/app/ownaws"
	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/rules"
)

// awsKeyLimit is how many access keys a user can have, which nobody can raise:
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
const awsKeyLimit = 2

// What is kept of a user before a key is asked for.
const (
	seenKeys = "keys" // the ids, with commas
	seenAt   = "at"
)

func (k *accessKeys) whyNoIssue(*rules.Rule) string {
	if k.own == nil {
		return "issue: " + awsNotOn
	}
	return ""
}

// prepare notes which keys the user has. A key that is there later and is not among
// them came into being since.
func (k *accessKeys) prepare(ctx context.Context, _ *rules.Rule, t Target, _ string) (Prepared, error) {
	_, keys, err := k.openUser(ctx, t)
	if err != nil {
		return Prepared{}, err
	}
	return Prepared{Seen: map[string]string{
		seenKeys: strings.Join(idsOf(keys), ","), seenAt: k.now().UTC().Format(time.RFC3339),
	}}, nil
}

// openUser finds the user whose second key the replacement is.
func (k *accessKeys) openUser(ctx context.Context, t Target) (*keyring, []types.AccessKeyMetadata, error) {
	ring, err := k.open(ctx, t, ErrCannotIssue)
	switch {
	case err != nil:
		return nil, nil, err
	case ring.temporary:
		return nil, nil, fmt.Errorf("the access key %s: %w: it is a temporary one, and who uses it gets the next one as it got this one", ring.id, ErrCannotIssue)
	}
	if _, err := ring.find(ctx); err != nil {
		return nil, nil, err
	}
	if ring.who.name == "" {
		return nil, nil, fmt.Errorf("the access key %s: %w: it is gone, and nobody knows whose it was", ring.id, ErrCannotIssue)
	}
	keys, err := ring.list(ctx, ring.who.name)
	switch {
	case ownaws.Code(err) == awsNoSuch:
		return nil, nil, fmt.Errorf("the access key %s: %w: there is no user %s any more", ring.id, ErrCannotIssue, ring.who.name)
	case err != nil:
		return nil, nil, fmt.Errorf("list the access keys of %s: %w", ring.who, ownaws.Tell(err))
	}
	return ring, keys, nil
}

func idsOf(keys []types.AccessKeyMetadata) []string {
	var ids []string
	for _, key := range keys {
		ids = append(ids, aws.ToString(key.AccessKeyId))
	}
	return ids
}

// issue makes the user's second key. The other key is never touched: when both places
// are taken a person decides, or the leaked one dies first.
func (k *accessKeys) issue(ctx context.Context, rule *rules.Rule, r Request) (checks.Credential, error) {
	ring, keys, err := k.openUser(ctx, r.Old)
	if err != nil {
		return checks.Credential{}, err
	}
	removed := 0
	if r.Again {
		if keys, removed, err = k.lookBack(ctx, ring, keys, r); err != nil {
			return checks.Credential{}, err
		}
	}
	if len(keys) >= awsKeyLimit {
		return checks.Credential{}, fmt.Errorf("issue %s: %w: %s", rule.ID, ErrCannotIssue, k.bothTaken(ctx, ring, keys))
	}
	if note := k.quarantine(ctx, ring); note != "" {
		k.log.WarnContext(ctx, "a new access key is made for a user in quarantine", "owner", ring.who.String(), "note", strings.TrimPrefix(note, "; "))
	}
	made, err := ring.client.CreateAccessKey(ctx, &iam.CreateAccessKeyInput{UserName: &ring.who.name}, func(o *iam.Options) {
		o.Retryer = aws.NopRetryer{} // who makes the second one by accident makes one that nobody knows of
		o.AppID = awsMark(r.Operation)
	})
	switch {
	case ownaws.Definite(err) && removed == 0:
		return checks.Credential{}, fmt.Errorf("issue %s: %w: %w", rule.ID, ErrCannotIssue, ownaws.Tell(err))
	case err != nil:
		return checks.Credential{}, fmt.Errorf("issue %s: %w", rule.ID, ownaws.Tell(err))
	}
	return k.credential(rule, ring, made.AccessKey, r.Prepared)
}

// credential takes the new key over if it is what was asked for.
func (k *accessKeys) credential(rule *rules.Rule, ring *keyring, key *types.AccessKey, prepared Prepared) (checks.Credential, error) {
	id := ""
	if key != nil {
		id = aws.ToString(key.AccessKeyId)
	}
	if key == nil || !strings.HasPrefix(id, "AKIA") || aws.ToString(key.SecretAccessKey) == "" || aws.ToString(key.UserName) != ring.who.name ||
		slices.Contains(strings.Split(prepared.Seen[seenKeys], ","), id) || id == ring.id {
		return checks.Credential{}, &AnswerError{Rule: rule.ID, Evidence: Evidence{Request: "iam:CreateAccessKey", Answer: "no new key of " + ring.who.String(), At: k.now()}}
	}
	return checks.Credential{Rule: rule.ID, Parts: map[string]checks.Secret{
		"id": checks.NewSecret(id), checks.PartSecret: checks.NewSecret(*key.SecretAccessKey),
	}}, nil
}

// bothTaken says what a person can do when the user has no room for a second key.
func (k *accessKeys) bothTaken(ctx context.Context, r *keyring, keys []types.AccessKeyMetadata) string {
	var others []string
	room := ""
	for _, key := range keys {
		id := aws.ToString(key.AccessKeyId)
		switch {
		case id != r.id:
			others = append(others, fmt.Sprintf("%s is %s and %s; if nobody needs it, delete it: “%s”", id, strings.ToLower(string(key.Status)), k.useOf(ctx, r, id), r.toDelete(id)))
		case key.Status == types.StatusTypeInactive:
			room = fmt.Sprintf("%s is disabled already, and makes room when it is deleted for good: “%s”. ", id, r.toDelete(id))
		default:
			room = fmt.Sprintf("If the other one is in use, revoke %s now: the other one goes on working. ", id)
		}
	}
	return fmt.Sprintf("%s has %d access keys already, and AWS allows no more. %sThe other: %s", r.who, len(keys), room, strings.Join(others, "; "))
}

// toDelete is what a person types to delete one of the user's keys.
func (r *keyring) toDelete(id string) string {
	return fmt.Sprintf("aws iam delete-access-key --user-name %s --access-key-id %s", r.who.name, id)
}

// useOf says when a key was last used, as far as IAM tells.
func (k *accessKeys) useOf(ctx context.Context, r *keyring, id string) string {
	used, err := r.lastUsed(ctx, id)
	switch {
	case err != nil:
		return "its last use is not known (" + ownaws.Tell(err).Error() + ")"
	case used.LastUsedDate == nil:
		return "was never used, as far as IAM knows"
	}
	return "was last used at " + used.LastUsedDate.UTC().Format(time.RFC3339) + " by " + short(aws.ToString(used.ServiceName))
}
