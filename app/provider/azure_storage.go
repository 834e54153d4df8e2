package provider

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/stanch-dev/stanch/app/cloud"
	"github.com/stanch-dev/stanch/app/grants"
	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/rules"
)

// storage verifies the keys of storage accounts by asking Azure's Resource Manager for
// the account's keys, with Stanch's own account; the leaked one is shown to nobody.
//
// An account has two keys and never another: the replacement of one is the other, which
// is there already and may be in use elsewhere, and revoking one makes it anew. That
// ends it at once, with all signatures (SAS) that it made, and cannot be taken back.
// https://learn.microsoft.com/en-us/azure/storage/common/storage-account-keys-manage
type storage struct {
	web           *web
	account       *cloud.Azure
	subscriptions []string
	now           func() time.Time
}

const (
	armBase    = "https://management.azure.com"
	armStorage = "?api-version=2023-05-01"
	// armPages bounds how many pages of storage accounts are read.
	armPages = 100

	mayListStorage = "Microsoft.Storage/storageAccounts/read"
	mayReadStorage = "Microsoft.Storage/storageAccounts/listKeys/action"
	mayRenewKey    = "Microsoft.Storage/storageAccounts/regenerateKey/action"

	noSubscription = "the storage account cannot be looked up: set STANCH_AZURE_SUBSCRIPTIONS, and Stanch's own account at Azure"
)

// AzureStoragePolicy is what Stanch's account needs for keys of storage accounts, as
// actions of a custom role in the subscriptions.
func AzureStoragePolicy() grants.Policy {
	return grants.Policy{Name: "Azure storage account keys", Syntax: "azure", Lines: []grants.Line{
		{Grant: mayListStorage, For: "verify, issue, revoke"},
		{Grant: mayReadStorage, For: "verify, issue, revoke"},
		{Grant: mayRenewKey, For: "revoke"},
	}}
}

var (
	storageName = regexp.MustCompile(`^[0-9a-z]{3,24}$`)
	storageID   = regexp.MustCompile(`^/subscriptions/[0-9a-zA-Z-]+/resourceGroups/[^/?#]+/providers/Microsoft\.Storage/storageAccounts/([0-9a-z]{3,24})$`)
)

// A storageKey is one of an account's two.
type storageKey struct {
	KeyName string
	Value   string
}

func (s *storage) arm() cloud.API { return s.web.api("azure", armBase, s.account.For(armBase)) }

func (s *storage) ready(*rules.Rule) string {
	if s.account == nil || len(s.subscriptions) == 0 {
		return noSubscription
	}
	return ""
}

func (s *storage) whyNoRevoke(rule *rules.Rule) string { return s.ready(rule) }

func (s *storage) whyNoIssue(rule *rules.Rule) string { return s.ready(rule) }

func (*storage) tell(*rules.Rule) Calls {
	const list = "POST " + armBase + "/{account}/listKeys"
	return Calls{Verify: list, Revoke: list + ", then POST /{account}/regenerateKey", Issue: list + ": the account's other key"}
}

// host is the account, whose keys are asked for.
func (s *storage) host(_ *rules.Rule, cred checks.Credential) string {
	base, _ := s.web.baseOf("azure", armBase)
	return base + " " + short(cred.Parts["account"].Expose())
}

func (*storage) holds(_ *rules.Rule, t Target) string {
	return "azure storage account " + t.Parts["account"].Expose()
}

// errNoStorage means that none of the subscriptions has the account.
var errNoStorage = errors.New("none of STANCH_AZURE_SUBSCRIPTIONS has this storage account, or its name does not stand beside the key")

// find returns the id of the account of a name, which no other account in the world has.
func (s *storage) find(ctx context.Context, name string) (id string, err error) {
	if !storageName.MatchString(name) {
		return "", errNoStorage
	}
	for _, subscription := range s.subscriptions {
		path := "/subscriptions/" + subscription + "/providers/Microsoft.Storage/storageAccounts" + armStorage
		for n := 0; path != ""; n++ {
			var page struct {
				Value    []struct{ ID, Name string }
				NextLink string
			}
			if n == armPages {
				return "", errors.New("the list of storage accounts never ends")
			}
			if err := s.arm().Do(ctx, cloud.Call{Method: http.MethodGet, Path: path, Needs: mayListStorage}, &page); err != nil {
				return "", err
			}
			for _, a := range page.Value {
				if m := storageID.FindStringSubmatch(a.ID); m != nil && m[1] == name && a.Name == name {
					return a.ID, nil
				}
			}
			if path, err = s.next(page.NextLink); err != nil {
				return "", err
			}
		}
	}
	return "", errNoStorage
}

// next is where a list goes on; elsewhere the token would be a stranger's.
func (s *storage) next(link string) (path string, err error) {
	path, ok := strings.CutPrefix(link, s.arm().Base+"/")
	switch {
	case link == "":
		return "", nil
	case !ok:
		return "", errors.New("the list of storage accounts goes on at another host")
	}
	return "/" + path, nil
}

// keys returns the id of a leaked key's account, the name of the key if it is one of
// the account's, and the other one.
func (s *storage) keys(ctx context.Context, cred checks.Credential) (id string, leaked, other storageKey, err error) {
	if id, err = s.find(ctx, cred.Parts["account"].Expose()); err != nil {
		return id, leaked, other, err
	}
	var listed struct{ Keys []storageKey }
	call := cloud.Call{Method: http.MethodPost, Path: id + "/listKeys" + armStorage, Needs: mayReadStorage}
	if err = s.arm().Do(ctx, call, &listed); err != nil {
		return id, leaked, other, err
	}
	for _, k := range listed.Keys {
		switch {
		case k.KeyName != "key1" && k.KeyName != "key2": // of Kerberos
		case k.Value == cred.Secret().Expose():
			leaked = k
		default:
			other = k
		}
	}
	return id, leaked, other, nil
}

func (s *storage) verify(ctx context.Context, _ *rules.Rule, cred checks.Credential) (Verdict, error) {
	verdict := Verdict{Validity: checks.Unknown, Grade: GradeC, Evidence: Evidence{Request: "POST " + armBase + "/{account}/listKeys", At: s.now()}}
	id, leaked, _, err := s.keys(ctx, cred)
	var said *cloud.Error
	switch {
	case errors.Is(err, errNoStorage):
		verdict.Reason, verdict.Evidence.Answer = ReasonNotAsked, err.Error()
	case errors.As(err, &said) && said.Denied():
		verdict.Reason, verdict.Evidence.Status, verdict.Evidence.Answer = ReasonUnfit, said.Status, "Stanch's own account needs "+said.Needs
	case errors.As(err, &said):
		verdict.Evidence.Status, verdict.Evidence.Answer = said.Status, short(said.Error())
	case err != nil:
		verdict.Reason, verdict.Evidence.Answer = ReasonUnfit, short(err.Error())
	case leaked.KeyName == "":
		verdict.Validity, verdict.Evidence.Status, verdict.Evidence.Answer = checks.Inactive, http.StatusOK, "it is none of the account's keys"
	default:
		verdict.Validity, verdict.Evidence.Status, verdict.Evidence.Answer = checks.Active, http.StatusOK, "it is "+leaked.KeyName+" of the account"
		verdict.Evidence.Identity = shortened(map[string]string{"account": cred.Parts["account"].Expose(), "key": leaked.KeyName, "id": id})
	}
	return verdict, nil
}

// issue returns the account's other key. Nothing is made.
func (s *storage) issue(ctx context.Context, rule *rules.Rule, r Request) (checks.Credential, error) {
	_, leaked, other, err := s.keys(ctx, r.Old.Credential)
	switch {
	case errors.Is(err, errNoStorage), cloud.Denied(err):
		return checks.Credential{}, fmt.Errorf("issue %s: %w: %w", rule.ID, ErrCannotIssue, err)
	case err != nil:
		return checks.Credential{}, fmt.Errorf("issue %s: %w", rule.ID, err)
	case leaked.KeyName == "" || other.KeyName == "":
		return checks.Credential{}, fmt.Errorf("issue %s: %w: neither of the account's keys is the leaked one any more", rule.ID, ErrCannotIssue)
	}
	return checks.Credential{Rule: rule.ID, Parts: map[string]checks.Secret{
		"account": r.Old.Parts["account"], checks.PartSecret: checks.NewSecret(other.Value),
	}}, nil
}

// revoke makes the leaked key anew, and no other: it must be the key of the name under
// which it was verified, and have the leaked value now. The other key was handed out as
// a replacement and not made; as nobody verified that it leaked, it is not revoked.
// Azure takes no condition: between the look and the deed is a moment in which somebody
// else can make the key anew.
func (s *storage) revoke(ctx context.Context, rule *rules.Rule, t Target) (Receipt, error) {
	id, leaked, _, err := s.keys(ctx, t.Credential)
	switch {
	case errors.Is(err, errNoStorage):
		return Receipt{}, fmt.Errorf("revoke %s: %w: %w", rule.ID, ErrCannotRevoke, err)
	case err != nil:
		return Receipt{}, fmt.Errorf("%s: %w", rule.ID, err)
	}
	call := cloud.Call{Method: http.MethodPost, Path: id + "/regenerateKey" + armStorage, Needs: mayRenewKey, Body: map[string]string{"keyName": leaked.KeyName}}
	receipt := Receipt{Meaning: rules.MeansAlreadyDead, Evidence: Evidence{Request: s.arm().Told(call), Answer: "it is none of the account's keys", At: s.now()}}
	switch {
	case leaked.KeyName == "":
		return receipt, nil
	case t.Identity["key"] != leaked.KeyName:
		return Receipt{}, fmt.Errorf("revoke %s: %w: it is %s of the account now, and was not verified as that: verify it again; it may be a replacement that others use",
			rule.ID, ErrCannotRevoke, leaked.KeyName)
	}
	if err := s.arm().Do(ctx, call, nil); err != nil {
		return Receipt{}, fmt.Errorf("%s: %w", rule.ID, err)
	}
	receipt.Meaning, receipt.Evidence.Status, receipt.Evidence.Answer = rules.MeansRevoked, http.StatusOK, leaked.KeyName+" is made anew"
	return receipt, nil
}
