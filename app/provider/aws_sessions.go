package provider

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"github.com/stanch-dev/stanch/app/ownaws"
	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/rules"
)

// Sessions that were made with a key outlive it: GetSessionToken and GetFederationToken
// give up to 36 hours. They have no rights but those of their user or role, and a policy
// there that denies everything to whoever got his token before a time ends them:
// https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_use_revoke-sessions.html
// https://docs.aws.amazon.com/IAM/latest/UserGuide/id_credentials_temp_control-access_disable-perms.html
// Long-lived keys have no such time, and are left alone. Sessions that were made with
// the user's other key, or by others of the role, are ended too, and have to be made
// again: AWS knows no way to tell them apart.

const (
	// denyPolicy is the name of that policy. It holds a statement for each leaked key.
	denyPolicy = "StanchRevokedSessions"
	// longestSession is how long a session can live; later its statement goes.
	// https://docs.aws.amazon.com/STS/latest/APIReference/API_GetSessionToken.html
	longestSession = 36 * time.Hour
	// denySpread is how long a policy may take to be known everywhere: AWS says that
	// it can be a few minutes.
	denySpread = 3 * time.Minute
)

// awsUnmodifiable is what AWS calls the refusal to change a role that is its own:
// https://docs.aws.amazon.com/IAM/latest/APIReference/API_PutRolePolicy.html
const awsUnmodifiable = "UnmodifiableEntity"

type denyDocument struct {
	Version   string
	Statement []denyStatement
}

type denyStatement struct {
	Sid       string // the leaked key's id
	Effect    string
	Action    string
	Resource  string
	Condition struct {
		DateLessThan struct {
			IssueTime time.Time `json:"aws:TokenIssueTime"`
		}
	}
}

func denyBefore(id string, at time.Time) denyStatement {
	s := denyStatement{Sid: id, Effect: "Deny", Action: "*", Resource: "*"}
	s.Condition.DateLessThan.IssueTime = at.UTC().Truncate(time.Second)
	return s
}

func (s denyStatement) at() time.Time { return s.Condition.DateLessThan.IssueTime }

// endSessions ends the sessions of a temporary key's user or role.
func (k *accessKeys) endSessions(ctx context.Context, r *keyring) (Receipt, error) {
	if err := k.deny(ctx, r, false); err != nil {
		return Receipt{}, err
	}
	request := "iam:PutUserPolicy"
	if r.who.role {
		request = "iam:PutRolePolicy"
	}
	return k.receipt(r, rules.MeansAccepted, request,
		"the sessions of "+r.who.String()+" until now are denied everything"), nil
}

// judgeSession takes a temporary key for dead that STS goes on naming: its user or role
// has the statement that denies everything to it, and has had it long enough.
func (k *accessKeys) judgeSession(ctx context.Context, cred checks.Credential, v *Verdict) {
	if k.own == nil {
		return
	}
	ring, err := k.open(ctx, Target{Credential: cred, Identity: v.Evidence.Identity}, ErrCannotRevoke)
	if err != nil {
		return
	}
	doc, err := ring.denied(ctx)
	if err != nil {
		k.log.DebugContext(ctx, "whether a session was ended is not known", "owner", ring.who.String(), "error", err)
		return
	}
	at := slices.IndexFunc(doc.Statement, func(s denyStatement) bool { return s.Sid == ring.id })
	if at < 0 || k.now().Before(doc.Statement[at].at().Add(denySpread)) {
		return
	}
	v.Validity = checks.Inactive
	v.Evidence.Answer = fmt.Sprintf("STS names it still; the policy %s of %s denies it everything, as it does all sessions from before %s",
		denyPolicy, ring.who, doc.Statement[at].at().Format(time.RFC3339))
}

// deny has the sessions of a key, its user or its role denied everything. Done again
// it leaves the time as it is, unless the key was active and has made more meanwhile.
//
// A key that has just been deactivated works on for a moment, and sessions that it makes
// then must die too: of a user those of the next minute do. A role's must not, for
// what runs by it and gets its next session then would keep a dead one for hours.
func (k *accessKeys) deny(ctx context.Context, r *keyring, active bool) error {
	doc, err := r.denied(ctx)
	if err != nil {
		return err
	}
	before := len(doc.Statement)
	doc.Statement = slices.DeleteFunc(doc.Statement, func(s denyStatement) bool { return k.now().After(s.at().Add(longestSession)) })
	at := slices.IndexFunc(doc.Statement, func(s denyStatement) bool { return s.Sid == r.id })
	if at >= 0 && !active {
		return nil
	}
	if before == 0 {
		doc.Version = "2012-10-17"
	}
	if at >= 0 {
		doc.Statement = slices.Delete(doc.Statement, at, at+1)
	}
	until := k.now()
	if !r.who.role {
		until = until.Add(awsSpread)
	}
	doc.Statement = append(doc.Statement, denyBefore(r.id, until))
	return r.write(ctx, doc)
}

// allow takes a key's statement back.
func (k *accessKeys) allow(ctx context.Context, r *keyring) error {
	doc, err := r.denied(ctx)
	if err != nil {
		return err
	}
	at := slices.IndexFunc(doc.Statement, func(s denyStatement) bool { return s.Sid == r.id })
	if at < 0 {
		return nil
	}
	doc.Statement = slices.Delete(doc.Statement, at, at+1)
	return r.write(ctx, doc)
}

// denied reads the policy, which is empty where there is none. A policy of that name
// that is not of this form is somebody else's.
func (r *keyring) denied(ctx context.Context) (doc denyDocument, err error) {
	var text *string
	if r.who.role {
		var got *iam.GetRolePolicyOutput
		if got, err = r.client.GetRolePolicy(ctx, &iam.GetRolePolicyInput{RoleName: &r.who.name, PolicyName: aws.String(denyPolicy)}); err == nil {
			text = got.PolicyDocument
		}
	} else {
		var got *iam.GetUserPolicyOutput
		if got, err = r.client.GetUserPolicy(ctx, &iam.GetUserPolicyInput{UserName: &r.who.name, PolicyName: aws.String(denyPolicy)}); err == nil {
			text = got.PolicyDocument
		}
	}
	switch {
	case ownaws.Code(err) == awsNoSuch:
		return denyDocument{}, nil
	case err != nil:
		return doc, fmt.Errorf("read the policy %s of %s: %w", denyPolicy, r.who, ownaws.Tell(err))
	}
	plain, err := url.PathUnescape(aws.ToString(text))
	if err == nil {
		err = json.Unmarshal([]byte(plain), &doc)
	}
	if err != nil || slices.ContainsFunc(doc.Statement, func(s denyStatement) bool { return s != denyBefore(s.Sid, s.at()) }) {
		return doc, fmt.Errorf("the policy %s of %s is not as Stanch writes it: look who changed it, and delete it", denyPolicy, r.who)
	}
	return doc, nil
}

// write puts the policy, or deletes an empty one. A user or role that is gone has no
// sessions with any rights.
func (r *keyring) write(ctx context.Context, doc denyDocument) error {
	text, err := json.Marshal(doc)
	if err != nil {
		return err
	}
	name, document := aws.String(denyPolicy), aws.String(string(text))
	switch {
	case len(doc.Statement) == 0 && r.who.role:
		_, err = r.client.DeleteRolePolicy(ctx, &iam.DeleteRolePolicyInput{RoleName: &r.who.name, PolicyName: name})
	case len(doc.Statement) == 0:
		_, err = r.client.DeleteUserPolicy(ctx, &iam.DeleteUserPolicyInput{UserName: &r.who.name, PolicyName: name})
	case r.who.role:
		_, err = r.client.PutRolePolicy(ctx, &iam.PutRolePolicyInput{RoleName: &r.who.name, PolicyName: name, PolicyDocument: document})
	default:
		_, err = r.client.PutUserPolicy(ctx, &iam.PutUserPolicyInput{UserName: &r.who.name, PolicyName: name, PolicyDocument: document})
	}
	if ownaws.Code(err) == awsUnmodifiable {
		return fmt.Errorf("%w: %s is AWS's own, and takes no policy: end its sessions where it was made, in IAM Identity Center or in the service", ErrCannotRevoke, r.who)
	}
	if err != nil && ownaws.Code(err) != awsNoSuch {
		return fmt.Errorf("change which sessions of %s are denied everything: %w", r.who, ownaws.Tell(err))
	}
	return nil
}
