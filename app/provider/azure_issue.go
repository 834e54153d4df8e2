package provider

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/stanch-dev/stanch/app/cloud"
	"github.com/stanch-dev/stanch/app/grants"
	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/rules"
)

// Secrets of apps are looked after through Microsoft Graph, with Stanch's own account:
// https://learn.microsoft.com/en-us/graph/api/application-addpassword
// An app can have several at once, so that the new one works before the old one ends.
// None can be disabled for a while, and one that was removed works on for some minutes.
const (
	graphBase = "https://graph.microsoft.com"
	graphApp  = "/v1.0/applications(appId='{client}')"

	mayChangeApps = "Application.ReadWrite.OwnedBy"
	noAzure       = "Stanch has no account at Azure: set AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_FEDERATED_TOKEN_FILE or AZURE_CLIENT_SECRET"

	// hintLength is how much of a secret Entra shows.
	hintLength = 3
	// knownWithin is when a new secret is known everywhere; some minutes are usual.
	knownWithin = 15 * time.Minute
	// hintTries is how often a new secret is made anew because it begins as the old one.
	hintTries = 3
)

// AzureAppPolicy is what Stanch's account needs for secrets of apps: a permission of
// Microsoft Graph for applications. It holds for the apps that Stanch's app owns.
func AzureAppPolicy() grants.Policy {
	return grants.Policy{Name: "Microsoft Entra app secrets", Syntax: "azure", Lines: []grants.Line{
		{Grant: mayChangeApps, For: "issue, revoke"},
	}}
}

// An appSecret is what Entra tells of a secret, and, in the answer to its making, its
// text.
type appSecret struct {
	KeyID         string
	DisplayName   string
	Hint          string
	StartDateTime time.Time
	EndDateTime   time.Time
	SecretText    string
}

// appCall is a call about an app.
func appCall(method, client, action string, body any) cloud.Call {
	return cloud.Call{Method: method, Path: "/v1.0/applications(appId='" + client + "')" + action, Name: graphApp + action, Needs: mayChangeApps, Body: body}
}

func (e *entra) graph() cloud.API { return e.web.api("azure", graphBase, e.account.For(graphBase)) }

// whyNotOurs says why Stanch leaves a secret alone.
func (e *entra) whyNotOurs(t Target) string {
	tenant, client := t.Parts["tenant"].Expose(), t.Parts["client"].Expose()
	switch {
	case !cloud.IsAzureID(client):
		return "the id of the app does not stand beside the secret"
	case cloud.IsAzureID(tenant) && cloud.IsAzureID(e.account.Tenant()) && !strings.EqualFold(tenant, e.account.Tenant()):
		return "it is of tenant " + tenant + ", and Stanch's account is of another one"
	case e.account.Is(client, t.Secret()):
		return "it is the secret that Stanch itself logs in with: a person replaces it"
	}
	return ""
}

// secrets lists the secrets of an app.
func (e *entra) secrets(ctx context.Context, client string) ([]appSecret, error) {
	var app struct {
		AppID               string
		PasswordCredentials []appSecret
	}
	call := appCall(http.MethodGet, client, "", nil)
	call.Path += "?$select=appId,passwordCredentials"
	if err := e.graph().Do(ctx, call, &app); err != nil {
		return nil, err
	}
	if !strings.EqualFold(app.AppID, client) {
		return nil, errors.New("GET " + graphApp + " answered with another app")
	}
	return app.PasswordCredentials, nil
}

// hinted returns the secrets that are still good and begin as a text does. Entra tells
// no more of them: what more than one begin with does not say which is meant.
func (e *entra) hinted(all []appSecret, secret checks.Secret) []appSecret {
	text := secret.Expose()
	return slices.DeleteFunc(slices.Clone(all), func(s appSecret) bool {
		return len(text) < hintLength || s.Hint != text[:hintLength] || !s.EndDateTime.IsZero() && s.EndDateTime.Before(e.now())
	})
}

func (e *entra) whyNoRevoke(*rules.Rule) string {
	if e.account == nil {
		return "revoke: " + noAzure
	}
	return ""
}

func (*entra) tell(*rules.Rule) Calls {
	return Calls{
		Verify: "POST " + entraLogin + "/{tenant}/oauth2/v2.0/token", Revoke: "POST " + graphBase + graphApp + "/removePassword", Issue: "POST " + graphBase + graphApp + "/addPassword",
	}
}

// revoke removes the leaked secret, if it works now and the app has exactly one that
// begins so.
func (e *entra) revoke(ctx context.Context, rule *rules.Rule, t Target) (Receipt, error) {
	if why := e.whyNotOurs(t); why != "" {
		return Receipt{}, fmt.Errorf("revoke %s: %w: %s", rule.ID, ErrCannotRevoke, why)
	}
	verdict, err := e.verify(ctx, rule, t.Credential)
	if err != nil {
		return Receipt{}, err
	}
	client := t.Parts["client"].Expose()
	all, err := e.secrets(ctx, client)
	if err != nil {
		return Receipt{}, fmt.Errorf("%s: %w", rule.ID, err)
	}
	remove := appCall(http.MethodPost, client, "/removePassword", nil)
	receipt := Receipt{Meaning: rules.MeansAccepted, Evidence: Evidence{Request: e.graph().Told(remove), At: e.now()}}
	found := e.hinted(all, t.Secret())
	switch {
	case verdict.Validity == checks.Inactive && slices.ContainsFunc(found, e.young):
		return Receipt{}, fmt.Errorf("revoke %s: Entra refuses the secret, and the app has one that begins so and is too young to be known everywhere", rule.ID)
	case verdict.Validity == checks.Inactive:
		return Receipt{Meaning: rules.MeansAlreadyDead, Evidence: verdict.Evidence}, nil
	case verdict.Validity != checks.Active:
		return Receipt{}, &AnswerError{Rule: rule.ID, Evidence: verdict.Evidence}
	case len(found) == 0:
		receipt.Evidence.Answer = "the app has no secret that begins so: one that was removed works on for some minutes, unless it is its service principal's"
		return receipt, nil
	case len(found) > 1:
		return Receipt{}, fmt.Errorf("revoke %s: %w: secrets %s of the app all begin as the leaked one does: a person must find out which it is, and remove it",
			rule.ID, ErrCannotRevoke, strings.Join(ids(found), " and "))
	}
	if err := e.remove(ctx, client, found[0].KeyID); err != nil {
		return Receipt{}, fmt.Errorf("%s: %w", rule.ID, err)
	}
	receipt.Evidence.Status, receipt.Evidence.Answer = http.StatusNoContent, "removed secret "+found[0].KeyID
	return receipt, nil
}

// young reports whether a secret may not be known yet to all who take secrets.
func (e *entra) young(s appSecret) bool { return e.now().Sub(s.StartDateTime) < knownWithin }

func ids(all []appSecret) (ids []string) {
	for _, s := range all {
		ids = append(ids, s.KeyID)
	}
	return ids
}

func (e *entra) remove(ctx context.Context, client, keyID string) error {
	return e.graph().Do(ctx, appCall(http.MethodPost, client, "/removePassword", map[string]string{"keyId": keyID}), nil)
}

func (e *entra) whyNoIssue(*rules.Rule) string {
	if e.account == nil {
		return "issue: " + noAzure
	}
	return ""
}

func (*entra) holds(_ *rules.Rule, t Target) string {
	return "azure app " + strings.ToLower(t.Parts["client"].Expose())
}

// issue adds a secret that has the operation's name. Its text comes once: one of that
// name whose text was lost is removed first.
func (e *entra) issue(ctx context.Context, rule *rules.Rule, r Request) (checks.Credential, error) {
	if why := e.whyNotOurs(r.Old); why != "" {
		return checks.Credential{}, fmt.Errorf("issue %s: %w: %s", rule.ID, ErrCannotIssue, why)
	}
	client, name := r.Old.Parts["client"].Expose(), "stanch "+r.Operation
	all, err := e.secrets(ctx, client)
	if err != nil {
		return checks.Credential{}, e.issueError(rule, r, err)
	}
	if r.Again {
		if err := e.sweep(ctx, client, name, ""); err != nil {
			return checks.Credential{}, fmt.Errorf("issue %s: remove a secret whose text was lost: %w", rule.ID, err)
		}
	}
	fresh, err := e.add(ctx, r, name, e.lifetime(all, r.Old))
	if err != nil {
		return checks.Credential{}, e.issueError(rule, r, err)
	}
	if r.Again { // what the first list did not show yet
		if err := e.sweep(ctx, client, name, fresh.KeyID); err != nil {
			return checks.Credential{}, fmt.Errorf("issue %s: remove a secret whose text was lost: %w", rule.ID, err)
		}
	}
	cred := checks.Credential{Rule: rule.ID, Parts: map[string]checks.Secret{}}
	for part, value := range r.Old.Parts {
		cred.Parts[part] = value
	}
	cred.Parts[checks.PartSecret] = checks.NewSecret(fresh.SecretText)
	return cred, nil
}

// issueError is definite where nothing can have been made.
func (e *entra) issueError(rule *rules.Rule, r Request, err error) error {
	var said *cloud.Error
	if !r.Again && errors.As(err, &said) && said.Refused() && said.Status != http.StatusTooManyRequests && said.Status != 0 {
		return fmt.Errorf("issue %s: %w: %w", rule.ID, ErrCannotIssue, err)
	}
	return fmt.Errorf("issue %s: %w", rule.ID, err)
}

// sweep removes the secrets of an app that have an operation's name, but one.
func (e *entra) sweep(ctx context.Context, client, name, but string) error {
	all, err := e.secrets(ctx, client)
	if err != nil {
		return err
	}
	for _, s := range all {
		if s.DisplayName == name && s.KeyID != but {
			if err := e.remove(ctx, client, s.KeyID); err != nil {
				return err
			}
		}
	}
	return nil
}

// add adds a secret. One that begins as the old one does is made anew: nobody could
// tell the two apart when the old one is to be removed.
func (e *entra) add(ctx context.Context, r Request, name string, lifetime time.Duration) (fresh appSecret, err error) {
	client := r.Old.Parts["client"].Expose()
	wanted := map[string]string{"displayName": name}
	if lifetime > 0 {
		wanted["endDateTime"] = e.now().Add(lifetime).UTC().Format(time.RFC3339)
	}
	for range hintTries {
		fresh = appSecret{}
		if err := e.graph().Do(ctx, appCall(http.MethodPost, client, "/addPassword", map[string]any{"passwordCredential": wanted}), &fresh); err != nil {
			return fresh, err
		}
		if fresh.SecretText == "" || fresh.KeyID == "" {
			return fresh, errors.New("the answer to a new secret has no text")
		}
		if old := r.Old.Secret().Expose(); !strings.HasPrefix(old, fresh.SecretText[:min(hintLength, len(fresh.SecretText))]) {
			return fresh, nil
		}
		if err := e.remove(ctx, client, fresh.KeyID); err != nil {
			return fresh, err
		}
	}
	return fresh, errors.New("new secrets go on to begin as the old one does")
}

// lifetime is how long the old secret was to be good; zero when that is not known.
func (e *entra) lifetime(all []appSecret, old Target) time.Duration {
	if found := e.hinted(all, old.Secret()); len(found) == 1 && !found[0].EndDateTime.IsZero() {
		return found[0].EndDateTime.Sub(found[0].StartDateTime)
	}
	return 0
}
