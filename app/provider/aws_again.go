package provider

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	cloudtrailtypes "github.com/aws/aws-sdk-go-v2/service/cloudtrail/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"

	"github.com/stanch-dev/stanch/app/ownaws"
)

// trailWithin is how long CloudTrail may take to show an event; on average it takes 5
// minutes: https://docs.aws.amazon.com/awscloudtrail/latest/userguide/get-and-view-cloudtrail-log-files.html
const trailWithin = 15 * time.Minute

// awsClocks is how far AWS's clock and this one may be apart; a signature is refused
// that is further off.
const awsClocks = 5 * time.Minute

// awsMark goes into the user agent of the request for a key, which CloudTrail keeps:
// so a key can be traced to the operation that made it, though its secret is lost.
func awsMark(operation string) string { return "stanch-" + operation }

// errNotYet means that it is not known yet what came of an earlier request.
var errNotYet = errors.New("CloudTrail does not have it yet")

// A maker is who made a key.
type maker int

const (
	makerUnknown maker = iota
	makerOther
	makerOwn // a request of this very operation
)

// lookBack finds out what came of an earlier request, whose answer was lost. The secret
// of a key that it made is lost with it, so a key that CloudTrail proves to be of this
// operation, and that nobody has used, is deleted; one that it proves to be somebody
// else's stays. Of any other a person decides. It returns the keys that are left.
func (k *accessKeys) lookBack(ctx context.Context, r *keyring, keys []types.AccessKeyMetadata, q Request) (left []types.AccessKeyMetadata, removed int, err error) {
	if len(sinceThen(keys, q.Prepared)) == 0 {
		// The list may be older than the key.
		select {
		case <-ctx.Done():
			return nil, 0, ctx.Err()
		case <-time.After(k.pause):
		}
		if keys, err = r.list(ctx, r.who.name); err != nil {
			return nil, 0, fmt.Errorf("list the access keys of %s: %w", r.who, ownaws.Tell(err))
		}
	}
	for _, key := range sinceThen(keys, q.Prepared) {
		id := aws.ToString(key.AccessKeyId)
		switch who, err := k.madeBy(ctx, r, key, q.Operation, q.Prepared); {
		case err != nil:
			return nil, 0, err
		case who == makerOther:
			continue
		case who == makerUnknown:
			return nil, 0, k.unsettled(r, key)
		}
		if err := k.removeOrphan(ctx, r, key); err != nil {
			return nil, 0, err
		}
		keys = slices.DeleteFunc(keys, func(other types.AccessKeyMetadata) bool { return aws.ToString(other.AccessKeyId) == id })
		removed++
	}
	return keys, removed, nil
}

// sinceThen are the keys that were not there before the request.
func sinceThen(keys []types.AccessKeyMetadata, p Prepared) []types.AccessKeyMetadata {
	seen := strings.Split(p.Seen[seenKeys], ",")
	return slices.DeleteFunc(slices.Clone(keys), func(key types.AccessKeyMetadata) bool {
		return slices.Contains(seen, aws.ToString(key.AccessKeyId))
	})
}

// removeOrphan deletes a key that this operation made and whose secret nobody has.
func (k *accessKeys) removeOrphan(ctx context.Context, r *keyring, key types.AccessKeyMetadata) error {
	used, err := r.lastUsed(ctx, *key.AccessKeyId)
	if err != nil || used.LastUsedDate != nil {
		return k.unsettled(r, key) // somebody does have it
	}
	if _, err := r.client.DeleteAccessKey(ctx, &iam.DeleteAccessKeyInput{AccessKeyId: key.AccessKeyId, UserName: &r.who.name}); err != nil && ownaws.Code(err) != awsNoSuch {
		return fmt.Errorf("delete the access key %s, whose secret was lost on the way: %w", *key.AccessKeyId, ownaws.Tell(err))
	}
	k.log.WarnContext(ctx, "an access key whose secret was lost on the way was deleted", "key", *key.AccessKeyId, "owner", r.who.String())
	return nil
}

func (k *accessKeys) unsettled(r *keyring, key types.AccessKeyMetadata) error {
	id := aws.ToString(key.AccessKeyId)
	return &UnsettledError{fmt.Sprintf("%s has the access key %s, created at %s, after a replacement was asked for. If nobody of yours made it, its secret was lost on the way: delete it with “%s”.",
		r.who, id, aws.ToTime(key.CreateDate).UTC().Format(time.RFC3339), r.toDelete(id))}
}

// A creation is what CloudTrail keeps of the making of a key:
// https://docs.aws.amazon.com/IAM/latest/UserGuide/cloudtrail-integration.html
type creation struct {
	EventName    string `json:"eventName"`
	ErrorCode    string `json:"errorCode"`
	UserAgent    string `json:"userAgent"`
	UserIdentity struct {
		AccountID string `json:"accountId"`
	} `json:"userIdentity"`
	ResponseElements struct {
		AccessKey struct {
			AccessKeyID string `json:"accessKeyId"`
			UserName    string `json:"userName"`
		} `json:"accessKey"`
	} `json:"responseElements"`
}

// madeBy asks CloudTrail who made a key. What it may not be asked, or does not know
// after its time, nobody knows.
func (k *accessKeys) madeBy(ctx context.Context, r *keyring, key types.AccessKeyMetadata, operation string, prepared Prepared) (maker, error) {
	id := aws.ToString(key.AccessKeyId)
	asked, err := time.Parse(time.RFC3339, prepared.Seen[seenAt])
	switch {
	case err != nil:
		return makerUnknown, nil
	case aws.ToTime(key.CreateDate).Before(asked.Add(-awsClocks)):
		return makerOther, nil // it was there before, and the list that was noted was old
	}
	found, err := cloudtrail.NewFromConfig(r.config).LookupEvents(ctx, &cloudtrail.LookupEventsInput{
		LookupAttributes: []cloudtrailtypes.LookupAttribute{{AttributeKey: cloudtrailtypes.LookupAttributeKeyResourceName, AttributeValue: &id}},
	})
	switch {
	case ownaws.Refused(err):
		k.log.WarnContext(ctx, "CloudTrail cannot be asked who made an access key", "key", id, "error", ownaws.Tell(err))
		return makerUnknown, nil
	case err != nil:
		return makerUnknown, fmt.Errorf("ask CloudTrail who made the access key %s: %w", id, ownaws.Tell(err))
	}
	for _, event := range found.Events {
		var made creation
		if json.Unmarshal([]byte(aws.ToString(event.CloudTrailEvent)), &made) != nil {
			continue
		}
		if got := made.ResponseElements.AccessKey; made.EventName != "CreateAccessKey" || made.ErrorCode != "" || got.AccessKeyID != id || got.UserName != r.who.name {
			continue
		}
		own := slices.Contains(strings.Fields(made.UserAgent), "app/"+awsMark(operation))
		if own && made.UserIdentity.AccountID == r.self.Account {
			return makerOwn, nil
		}
		return makerOther, nil
	}
	if k.now().Before(aws.ToTime(key.CreateDate).Add(trailWithin)) {
		return makerUnknown, fmt.Errorf("who made the access key %s of %s: %w", id, r.who, errNotYet)
	}
	return makerUnknown, nil
}
