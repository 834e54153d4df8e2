package provider

import (
	"fmt"

	"github.com/stanch-dev/stanch/app/grants"
)

// AWSPolicy is what Stanch's own identity must be allowed in an account whose access
// keys it is to kill and replace, each line a statement of the policy. The account is
// "*" for whichever the policy is attached in. In an account that is not Stanch's own it
// belongs to the role that Stanch assumes there: see AWSRolePolicy.
//
// Who may put a policy to a user can give it any right. Where that is too much, leave
// out of the resource what must not be touched, beginning with Stanch itself.
func AWSPolicy(account string) grants.Policy {
	users, roles := fmt.Sprintf("arn:aws:iam::%s:user/*", account), fmt.Sprintf("arn:aws:iam::%s:role/*", account)
	return grants.Policy{Name: "AWS access keys", Syntax: "iam", Lines: []grants.Line{
		{For: "disable, issue, revoke", Grant: statement("iam:ListAccessKeys", users)},
		{For: "disable", Grant: statement("iam:UpdateAccessKey", users)},
		{For: "disable, revoke", Grant: statement("iam:GetUserPolicy", users)},
		{For: "disable, revoke", Grant: statement("iam:PutUserPolicy", users)},
		{For: "enable", Grant: statement("iam:DeleteUserPolicy", users)},
		{For: "revoke", Grant: statement("iam:DeleteAccessKey", users)},
		{For: "issue", Grant: statement("iam:CreateAccessKey", users)},
		{For: "last use", Grant: statement("iam:GetAccessKeyLastUsed", users)},
		{For: "disable a role's session", Grant: statement("iam:GetRolePolicy", roles)},
		{For: "disable a role's session", Grant: statement("iam:PutRolePolicy", roles)},
		{For: "enable a role's session", Grant: statement("iam:DeleteRolePolicy", roles)},
		{For: "saying that AWS has put the user into quarantine", Optional: true, Grant: statement("iam:ListAttachedUserPolicies", users)},
		{For: "deleting a key whose secret was lost on the way without asking a person", Optional: true, Grant: statement("cloudtrail:LookupEvents", "*")},
	}}
}

// AWSRolePolicy is what Stanch's own identity needs besides, in its own account, to
// assume the role of that name in an account that is not its own.
func AWSRolePolicy(account, role string) grants.Policy {
	return grants.Policy{Name: "AWS accounts", Syntax: "iam", Lines: []grants.Line{
		{For: "acting in that account", Grant: statement("sts:AssumeRole", fmt.Sprintf("arn:aws:iam::%s:role/%s", account, role))},
	}}
}

func statement(action, resource string) string {
	return fmt.Sprintf(`{"Effect":"Allow","Action":%q,"Resource":%q}`, action, resource)
}
