package provider

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"

	"github.com/stanch-dev/stanch/app/ownaws"
	"github.com/stanch-dev/stanch/rules"
)

// accessKeys kills and replaces the access keys of IAM users, with Stanch's own
// credentials: a leaked key might not be allowed to, and of a user whom AWS has put
// into quarantine it is not. AWSPolicy has what Stanch must be allowed.
//
// What dies is the key with the leaked id and no other: it is looked up among all keys
// of its user at the moment of the deed. With a long-lived key die the sessions that
// were made with it; see sessions. A temporary key of a user or role cannot be deleted:
// all sessions of that user or role that are older than the deed are denied everything,
// and STS goes on naming the key until it expires.
//
// IAM is consistent only after a while, seconds as a rule: a key that was made may be
// refused at first, and one that was deactivated or deleted may still work.
// https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot.html
type accessKeys struct {
	own      *ownaws.Caller // nil when Stanch is not to act at AWS
	accounts []string       // that it may act in; all when there is none
	pause    time.Duration  // between two looks at a list that may be old
	now      func() time.Time
	log      *slog.Logger
}

const (
	// awsSettled is how long a list of keys may lack one that was made. AWS names no
	// bound; this is more than is seen.
	awsSettled = 10 * time.Second
	// awsSpread is how long a deactivated key may go on working, and making sessions.
	awsSpread = time.Minute
)

// newAccessKeys returns the driver, which asks AWS for nothing yet.
func newAccessKeys(cfg Config, now func() time.Time, log *slog.Logger) *accessKeys {
	return &accessKeys{own: cfg.AWS, accounts: cfg.AWSAccounts, pause: awsSettled, now: now, log: log}
}

const awsNotOn = "Stanch does not act at AWS: set STANCH_AWS to on, and give it credentials there"

func (k *accessKeys) whyNoRevoke(*rules.Rule) string {
	if k.own == nil {
		return "revoke: " + awsNotOn
	}
	return ""
}

func (k *accessKeys) tell(*rules.Rule) Calls {
	return Calls{
		Disable: "iam:UpdateAccessKey to Inactive, then iam:PutUserPolicy " + denyPolicy,
		Enable:  "iam:UpdateAccessKey to Active, then iam:PutUserPolicy or iam:DeleteUserPolicy " + denyPolicy,
		Revoke:  "iam:DeleteAccessKey with the leaked id, then iam:PutUserPolicy " + denyPolicy,
		Issue:   "iam:CreateAccessKey for the same user",
	}
}

// A principal is a user or a role, by what STS calls it.
type principal struct {
	account string
	role    bool
	name    string // without the path
	arn     string
}

func (p principal) String() string {
	kind := "user"
	if p.role {
		kind = "role"
	}
	return fmt.Sprintf("the %s %s in account %s", kind, p.name, p.account)
}

// principalOf reads an ARN of https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html.
// Why says what cannot be done to it by a program.
func principalOf(arn string) (p principal, why string) {
	fields := strings.SplitN(arn, ":", 6)
	if len(fields) < 6 {
		return p, "AWS did not say whose key it is"
	}
	kind, rest, _ := strings.Cut(fields[5], "/")
	p = principal{account: fields[4], arn: arn}
	switch kind {
	case "user":
		p.name = rest[strings.LastIndex(rest, "/")+1:]
	case "assumed-role":
		p.role = true
		p.name, _, _ = strings.Cut(rest, "/")
		p.arn = strings.Join([]string{fields[0], fields[1], "iam", "", fields[4], "role/" + p.name}, ":")
	case "root":
		return p, "it is of the account's root user, whose keys only that user deletes: https://docs.aws.amazon.com/IAM/latest/UserGuide/root-user_best-practices.html"
	case "federated-user":
		return p, "it is of a federated user, and AWS does not tell which user's key made it: look at CloudTrail for GetFederationToken, and revoke that user's key"
	}
	if p.name == "" {
		return p, "AWS calls its owner " + short(arn) + ", which is neither a user nor a role"
	}
	return p, ""
}

// A keyring is a leaked key, with whose it is, and the way to it.
type keyring struct {
	client    *iam.Client
	config    aws.Config // of the account, for CloudTrail
	self      ownaws.Identity
	id        string
	temporary bool
	who       principal // without a name where only IAM knows it
}

// open finds out where a key is to be dealt with. An error that is refused says that no
// program may.
func (k *accessKeys) open(ctx context.Context, t Target, refused error) (*keyring, error) {
	ring := &keyring{id: t.Parts["id"].Expose()}
	ring.temporary = temporary(t.Credential)
	refuse := func(why string) (*keyring, error) {
		return nil, fmt.Errorf("the access key %s: %w: %s", short(ring.id), refused, why)
	}
	if !ring.temporary && !strings.HasPrefix(ring.id, "AKIA") {
		return refuse("without the id of an access key nobody can tell which one is meant")
	}
	account := awsAccount(ring.id)
	if arn := t.Identity["arn"]; arn != "" || ring.temporary {
		var why string
		if ring.who, why = principalOf(arn); why != "" {
			return refuse(why)
		}
		switch {
		case account != "" && account != ring.who.account:
			return refuse(fmt.Sprintf("its id is of account %s, and AWS says that it is of %s", account, ring.who.account))
		case ring.who.role && !ring.temporary:
			return refuse("it is no temporary key, and AWS says that it is of a role")
		}
		account = ring.who.account
	}
	if account != "" && (slices.Contains(awsCanaries, account) || len(k.accounts) > 0 && !slices.Contains(k.accounts, account)) {
		return refuse("it is of account " + account + ", which is known for traps or which STANCH_AWS_ACCOUNTS does not name")
	}
	var err error
	ring.config, ring.self, err = k.own.Account(ctx, account)
	switch {
	case errors.Is(err, ownaws.ErrOtherAccount):
		return refuse(err.Error())
	case err != nil:
		return nil, err
	case ring.isSelf():
		return refuse("it is what Stanch itself acts with at AWS: give Stanch other credentials, then try again")
	}
	if ring.who.account == "" {
		ring.who.account = ring.self.Account
	}
	ring.client = iam.NewFromConfig(ring.config)
	return ring, nil
}

// isSelf reports whether the key is Stanch's own, or of the role whose sessions Stanch's
// own one is among.
func (r *keyring) isSelf() bool {
	self, _ := principalOf(r.self.ARN)
	return r.id == r.self.KeyID || r.temporary && self.name != "" && self.arn == r.who.arn
}

// list lists all keys of a user, whatever pages they come in.
func (r *keyring) list(ctx context.Context, user string) ([]types.AccessKeyMetadata, error) {
	var all []types.AccessKeyMetadata
	pages := iam.NewListAccessKeysPaginator(r.client, &iam.ListAccessKeysInput{UserName: &user})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		all = append(all, page.AccessKeyMetadata...)
	}
	return all, nil
}

const awsNoSuch = "NoSuchEntity"

// find looks the key up at its user, and nil where it is gone. Where its user does not
// have it, or none is known, IAM is asked whose it is: users are renamed, and others may
// get their old name.
func (r *keyring) find(ctx context.Context) (*types.AccessKeyMetadata, error) {
	if r.who.name != "" {
		key, err := r.at(ctx, r.who.name)
		if key != nil || err != nil {
			return key, err
		}
	}
	used, err := r.client.GetAccessKeyLastUsed(ctx, &iam.GetAccessKeyLastUsedInput{AccessKeyId: &r.id})
	switch {
	case ownaws.Code(err) == awsNoSuch, ownaws.Refused(err) && r.who.name != "":
		return nil, nil // AWS refuses the question for a key that the account does not have
	case err != nil:
		return nil, fmt.Errorf("find the user of the access key %s: %w", r.id, ownaws.Tell(err))
	case aws.ToString(used.UserName) == "" || *used.UserName == r.who.name:
		return nil, nil
	}
	key, err := r.at(ctx, *used.UserName)
	if key != nil {
		r.who.name, r.who.arn = *used.UserName, fmt.Sprintf("arn:%s:iam::%s:user/%s", r.self.Partition, r.who.account, *used.UserName)
	}
	return key, err
}

func (r *keyring) at(ctx context.Context, user string) (*types.AccessKeyMetadata, error) {
	keys, err := r.list(ctx, user)
	if err != nil && ownaws.Code(err) != awsNoSuch {
		return nil, fmt.Errorf("list the access keys of the user %s: %w", user, ownaws.Tell(err))
	}
	for _, key := range keys {
		if aws.ToString(key.AccessKeyId) == r.id && (key.UserName == nil || *key.UserName == user) {
			return &key, nil
		}
	}
	return nil, nil
}

// receipt says what was done to a key.
func (k *accessKeys) receipt(r *keyring, meaning rules.Meaning, request, answer string) Receipt {
	identity := map[string]string{"account": r.who.account, "key_id": r.id}
	if r.who.name != "" {
		identity["owner"] = r.who.String()
	}
	return Receipt{Meaning: meaning, Evidence: Evidence{Request: request, Answer: answer, Identity: identity, At: k.now()}}
}

// revoke deletes the key with the leaked id, and ends the sessions made with it.
func (k *accessKeys) revoke(ctx context.Context, _ *rules.Rule, t Target) (Receipt, error) {
	ring, err := k.open(ctx, t, ErrCannotRevoke)
	if err != nil {
		return Receipt{}, err
	}
	if ring.temporary {
		return k.endSessions(ctx, ring)
	}
	key, err := ring.find(ctx)
	if err != nil {
		return Receipt{}, err
	}
	meaning, answer := rules.MeansAlreadyDead, "the user has no such key"
	if key != nil {
		_, err = ring.client.DeleteAccessKey(ctx, &iam.DeleteAccessKeyInput{AccessKeyId: &ring.id, UserName: &ring.who.name})
		if err != nil && ownaws.Code(err) != awsNoSuch {
			return Receipt{}, fmt.Errorf("delete the access key %s of %s: %w", ring.id, ring.who, ownaws.Tell(err))
		}
		meaning, answer = rules.MeansRevoked, "deleted"
	}
	if ring.who.name != "" {
		active := key != nil && key.Status == types.StatusTypeActive
		if err := k.deny(ctx, ring, active); err != nil {
			return Receipt{}, fmt.Errorf("the access key %s is deleted, and sessions made with it live on: %w", ring.id, err)
		}
		answer += "; sessions made with it are denied everything" + k.quarantine(ctx, ring)
	}
	return k.receipt(ring, meaning, "iam:DeleteAccessKey", answer), nil
}

// disable deactivates the key with the leaked id, and denies the sessions made with it
// everything.
func (k *accessKeys) disable(ctx context.Context, _ *rules.Rule, t Target) (Receipt, error) {
	ring, err := k.open(ctx, t, ErrCannotDisable)
	if err != nil {
		return Receipt{}, err
	}
	if ring.temporary {
		return k.endSessions(ctx, ring)
	}
	key, err := ring.find(ctx)
	if err != nil {
		return Receipt{}, err
	}
	if key == nil {
		return k.receipt(ring, rules.MeansAlreadyDead, "iam:ListAccessKeys", "the user has no such key"), nil
	}
	if err := ring.set(ctx, types.StatusTypeInactive); err != nil {
		return Receipt{}, err
	}
	if err := k.deny(ctx, ring, key.Status == types.StatusTypeActive); err != nil {
		return Receipt{}, fmt.Errorf("the access key %s is inactive, and sessions made with it live on: %w", ring.id, err)
	}
	return k.receipt(ring, rules.MeansAccepted, "iam:UpdateAccessKey Inactive",
		"inactive; sessions made with it are denied everything"+k.quarantine(ctx, ring)), nil
}

// enable activates the key again, and lets its sessions live, those that are left.
func (k *accessKeys) enable(ctx context.Context, _ *rules.Rule, t Target) (Receipt, error) {
	ring, err := k.open(ctx, t, ErrCannotDisable)
	if err != nil {
		return Receipt{}, err
	}
	if !ring.temporary {
		key, err := ring.find(ctx)
		switch {
		case err != nil:
			return Receipt{}, err
		case key == nil:
			return Receipt{}, fmt.Errorf("the access key %s: %w: %s has no such key any more", ring.id, ErrCannotDisable, ring.who)
		}
		if err := ring.set(ctx, types.StatusTypeActive); err != nil {
			return Receipt{}, err
		}
	}
	if err := k.allow(ctx, ring); err != nil {
		return Receipt{}, err
	}
	return k.receipt(ring, rules.MeansAccepted, "iam:UpdateAccessKey Active", "active"), nil
}

func (r *keyring) set(ctx context.Context, status types.StatusType) error {
	_, err := r.client.UpdateAccessKey(ctx, &iam.UpdateAccessKeyInput{AccessKeyId: &r.id, UserName: &r.who.name, Status: status})
	if err != nil {
		return fmt.Errorf("make the access key %s of %s %s: %w", r.id, r.who, strings.ToLower(string(status)), ownaws.Tell(err))
	}
	return nil
}

// quarantined begins the names of the policies that AWS attaches to users whose keys it
// finds in public: https://docs.aws.amazon.com/aws-managed-policy/latest/reference/AWSCompromisedKeyQuarantineV3.html
const quarantined = "AWSCompromisedKeyQuarantine"

// quarantine says whether AWS has put the user into quarantine, which holds for the
// user's new keys as well. It is told, and stops nothing.
func (k *accessKeys) quarantine(ctx context.Context, r *keyring) string {
	pages := iam.NewListAttachedUserPoliciesPaginator(r.client, &iam.ListAttachedUserPoliciesInput{UserName: &r.who.name})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			k.log.WarnContext(ctx, "whether AWS has put a user into quarantine is not known", "user", r.who.String(), "error", ownaws.Tell(err))
			return ""
		}
		for _, p := range page.AttachedPolicies {
			if name := aws.ToString(p.PolicyName); strings.HasPrefix(name, quarantined) {
				return "; AWS has put the user into quarantine: also a new key is restricted until " + name + " is detached"
			}
		}
	}
	return ""
}

// holds is the user or role: both keys of a user are one matter.
func (k *accessKeys) holds(_ *rules.Rule, t Target) string {
	who, why := principalOf(t.Identity["arn"])
	if why != "" {
		return ""
	}
	return who.arn
}

// lastUse tells what IAM remembers, which may lack the last hours. It knows nothing of
// temporary keys.
func (k *accessKeys) lastUse(ctx context.Context, _ *rules.Rule, t Target) (u Use, known bool, err error) {
	ring, err := k.open(ctx, t, ErrCannotRevoke)
	if errors.Is(err, ErrCannotRevoke) || err == nil && ring.temporary {
		return u, false, nil
	}
	if err != nil {
		return u, false, err
	}
	used, err := ring.lastUsed(ctx, ring.id)
	if err != nil {
		return u, false, fmt.Errorf("the last use of the access key %s: %w", ring.id, ownaws.Tell(err))
	}
	u = Use{At: aws.ToTime(used.LastUsedDate), Evidence: Evidence{Request: "iam:GetAccessKeyLastUsed", Answer: "200", At: k.now()}}
	if !u.At.IsZero() {
		u.By = short(aws.ToString(used.ServiceName) + " in " + aws.ToString(used.Region))
	}
	return u, true, nil
}

func (r *keyring) lastUsed(ctx context.Context, id string) (types.AccessKeyLastUsed, error) {
	used, err := r.client.GetAccessKeyLastUsed(ctx, &iam.GetAccessKeyLastUsedInput{AccessKeyId: &id})
	if err != nil || used.AccessKeyLastUsed == nil {
		return types.AccessKeyLastUsed{}, err
	}
	return *used.AccessKeyLastUsed, nil
}
