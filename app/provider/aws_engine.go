package provider

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strings"

	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/rules"
)

// awsEngine is the AWS secrets engine of Vault. An access key is known by its id: as the
// one with which the engine itself acts; as the one of a static role; or as that of a
// user which the engine made, whose lease is revoked.
//
// A static role cannot be told to rotate, and when its time comes the engine deletes the
// oldest key of the user, whichever that is, so that a leaked one may live on as the
// second. So the role is deleted, with which the engine deletes the very key that it
// gives out, and written again, with which it makes a new one. In between there is none.
// https://developer.hashicorp.com/vault/api-docs/secret/aws
type awsEngine struct {
	vault  *vault
	mounts []string
	verify func(context.Context, *rules.Rule, checks.Credential) (Verdict, error)
}

func newAWSEngine(v *vault, mounts []string, verify func(context.Context, *rules.Rule, checks.Credential) (Verdict, error)) *awsEngine {
	e := &awsEngine{vault: v, verify: verify}
	for _, mount := range mounts {
		e.mounts = append(e.mounts, strings.Trim(mount, "/"))
	}
	return e
}

func (e *awsEngine) covers(rule *rules.Rule) bool {
	return len(e.mounts) > 0 && e.vault.whyNoIssue(nil) == "" && rule.Verify.DriverName() == driverAWS
}

func (e *awsEngine) keeps(ctx context.Context, rule *rules.Rule, t Target) (kept, error) {
	k, why := e.find(ctx, t)
	if why != "" {
		return kept{}, fmt.Errorf("find out whether Vault keeps the access key of %s: %s", rule.ID, why)
	}
	return k, nil
}

// sign adds to whose a live key is what keeps it, if Vault can tell.
func (e *awsEngine) sign(ctx context.Context, cred checks.Credential, verdict *Verdict) {
	if len(e.mounts) == 0 || e.vault.whyNoIssue(nil) != "" || verdict.Evidence.Identity == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, signWithin)
	defer cancel()
	if k, why := e.find(ctx, Target{cred, verdict.Evidence.Identity}); why == "" && k.path != "" {
		verdict.Evidence.Identity[keptBy] = k.path
		if k.settings != "" {
			verdict.Evidence.Identity[keptAs] = k.settings
		}
	}
}

// find looks for a key in all mounts.
func (e *awsEngine) find(ctx context.Context, t Target) (k kept, why string) {
	id := t.Parts["id"].Expose()
	if !strings.HasPrefix(id, "AKIA") {
		return kept{}, "" // a session's, which has no lease
	}
	for _, mount := range e.mounts {
		for _, look := range []func(context.Context, string, string, Target) (kept, string){e.root, e.static, e.dynamic} {
			if k, why = look(ctx, mount, id, t); k.path != "" || why != "" {
				return k, why
			}
		}
	}
	return kept{}, ""
}

// root looks at what the engine itself acts with.
func (e *awsEngine) root(ctx context.Context, mount, id string, _ Target) (kept, string) {
	evidence, got := e.vault.call(ctx, "GET /v1/"+mount+"/config/root", e.vault.own, nil)
	acts, _ := got.field("data.access_key")
	switch {
	case got.fault == "" && got.status == http.StatusNotFound:
		return kept{}, "" // it acts as the machine that it runs on
	case !done(got):
		return kept{}, orAnswered(lacked("GET /v1/"+mount+"/config/root", got), evidence)
	case acts == id:
		return kept{path: mount + "/config/root"}, ""
	}
	return kept{}, ""
}

func orAnswered(why string, e Evidence) string {
	if why != "" {
		return why
	}
	return e.Request + " answered: " + e.Answer
}

// static looks for the static role that gives out a key, or did when it was verified.
func (e *awsEngine) static(ctx context.Context, mount, id string, t Target) (kept, string) {
	k, why := e.vault.eachKept(ctx, fmt.Sprintf(listStatic, mount), func(name string) (kept, string) {
		now, _, why := e.key(ctx, mount, name)
		if why != "" || now.Parts["id"].Expose() != id {
			return kept{}, why
		}
		return kept{path: mount + "/static-roles/" + name}, ""
	})
	before, ok := strings.CutPrefix(t.Identity[keptBy], mount+"/static-roles/")
	switch {
	case why != "":
		return kept{}, why
	case k.path == "" && ok:
		k = kept{path: mount + "/static-roles/" + before, before: true}
	case k.path == "":
		return kept{}, ""
	}
	return e.described(ctx, k, t)
}

// described adds the settings of a static role; of one that is gone those that it had
// when the key was verified.
func (e *awsEngine) described(ctx context.Context, k kept, t Target) (kept, string) {
	what := "GET /v1/" + k.path
	evidence, got := e.vault.call(ctx, what, e.vault.own, nil)
	role, _ := got.object["data"].(map[string]any)
	switch {
	case got.fault == "" && got.status == http.StatusNotFound:
		k.before, k.gone, k.settings = false, true, t.Identity[keptAs]
		return k, ""
	case !done(got):
		return kept{}, orAnswered(lacked(what, got), evidence)
	}
	k.user, _ = role["username"].(string)
	for _, name := range []string{"id", "name"} { // the engine's own words
		delete(role, name)
	}
	settings, err := json.Marshal(role)
	if err != nil {
		return kept{}, "the settings of " + k.path + " cannot be kept"
	}
	k.settings = string(settings)
	return k, ""
}

// key is what a static role gives out now; without parts when it has none.
func (e *awsEngine) key(ctx context.Context, mount, name string) (now checks.Credential, evidence Evidence, why string) {
	what := "GET /v1/" + mount + "/static-creds/" + name
	evidence, got := e.vault.call(ctx, what, e.vault.own, nil)
	id, _ := got.field("data.access_key")
	secret, _ := got.field("data.secret_key")
	switch {
	case got.fault == "" && got.status == http.StatusNotFound:
		return checks.Credential{}, evidence, ""
	case !done(got) || id == "" || secret == "":
		return checks.Credential{}, evidence, orAnswered(lacked(what, got), evidence)
	}
	return checks.Credential{Parts: map[string]checks.Secret{"id": checks.NewSecret(id), checks.PartSecret: checks.NewSecret(secret)}}, evidence, ""
}

// awsMade is how the engine names a user unless it is told otherwise: by the display name
// of the token and the role, cut off after 42 characters, the time, and a random text.
var awsMade = regexp.MustCompile(`^vault-(.{1,42})-([0-9]{10})-[0-9A-Za-z]{1,20}$`)

// dynamic looks for the roles that may have made a user.
func (e *awsEngine) dynamic(ctx context.Context, mount, _ string, t Target) (kept, string) {
	who, _ := principalOf(t.Identity["arn"])
	m := awsMade.FindStringSubmatch(who.name)
	if m == nil || who.role {
		return kept{}, ""
	}
	k := kept{user: who.name, made: m[2]}
	_, why := e.vault.eachKept(ctx, fmt.Sprintf(listDynamic, mount), func(name string) (kept, string) {
		if strings.HasSuffix(m[1], "-"+name) || len(m[1]) == 42 {
			k.path, k.roles = mount+"/creds", append(k.roles, mount+"/creds/"+name)
		}
		return kept{}, ""
	})
	return k, why
}

// revoke makes a key that the engine keeps useless, which cannot be taken back.
func (e *awsEngine) revoke(ctx context.Context, rule *rules.Rule, t Target, k kept) (Receipt, error) {
	switch mount, kind, _ := cutPath(k.path); kind {
	case "creds":
		verdict, err := e.verify(ctx, rule, t.Credential)
		switch {
		case err != nil:
			return Receipt{}, err
		case verdict.Validity == checks.Inactive:
			return Receipt{Meaning: rules.MeansAlreadyDead, Evidence: verdict.Evidence}, nil
		}
		return e.vault.endLease(ctx, rule, k, verdict)
	case "static-roles":
		if k.gone {
			return e.goneBefore(ctx, rule, t, k)
		}
		_, evidence, err := e.renew(ctx, rule, t, k.path, k.settings)
		return Receipt{Meaning: rules.MeansRevoked, Evidence: evidence}, err
	default:
		_, evidence, why := e.vault.asked(ctx, "POST /v1/"+mount+"/config/rotate-root", nil)
		if why != "" {
			return Receipt{}, unfit("revoke", rule, why, evidence)
		}
		evidence.Answer += "; nobody but Vault knows the new key"
		return Receipt{Meaning: rules.MeansRevoked, Evidence: evidence}, nil
	}
}

// goneBefore tells of a static role that is gone: a person deleted it or Stanch did, and
// was cut off before it could write it again.
func (e *awsEngine) goneBefore(ctx context.Context, rule *rules.Rule, t Target, k kept) (Receipt, error) {
	verdict, err := e.verify(ctx, rule, t.Credential)
	switch {
	case err != nil:
		return Receipt{}, err
	case verdict.Validity != checks.Inactive:
		return Receipt{}, fmt.Errorf("revoke %s: %w: its static role %s is gone, and the key lives on: delete it at AWS (aws iam delete-access-key --access-key-id %s)", rule.ID, ErrCannotRevoke, k.path, short(t.Parts["id"].Expose()))
	}
	verdict.Evidence.Answer += "; its static role " + k.path + " is gone: if nobody meant that, write it again with what it was, " + k.settings
	return Receipt{Meaning: rules.MeansAlreadyDead, Evidence: verdict.Evidence}, nil
}

// renew has a static role give out another key than the leaked one. After a crash it goes
// on where it was.
func (e *awsEngine) renew(ctx context.Context, rule *rules.Rule, t Target, path, settings string) (checks.Credential, Evidence, error) {
	mount, _, name := cutPath(path)
	fail := func(why string, evidence Evidence) (checks.Credential, Evidence, error) {
		return checks.Credential{}, evidence, unfit("rotate", rule, why, evidence)
	}
	now, evidence, why := e.key(ctx, mount, name)
	if why != "" {
		return fail(why, evidence)
	}
	id := now.Parts["id"]
	if id.Len() > 0 && id != t.Parts["id"] {
		return now, evidence, nil
	}
	role := map[string]any{}
	if err := json.Unmarshal([]byte(settings), &role); err != nil || role["username"] == nil {
		return checks.Credential{}, evidence, fmt.Errorf("issue %s: %w: what the static role %s was is not known: write it by hand", rule.ID, ErrCannotIssue, path)
	}
	if id.Len() > 0 {
		if _, evidence, why = e.vault.asked(ctx, "DELETE /v1/"+path, nil); why != "" {
			return fail(why, evidence)
		}
	}
	_, evidence, why = e.vault.asked(ctx, "POST /v1/"+path, role)
	if why == "" {
		now, _, why = e.key(ctx, mount, name)
	}
	if why == "" && (now.Parts["id"].Len() == 0 || now.Parts["id"] == t.Parts["id"]) {
		why = "the static role gives out no new key"
	}
	if why != "" {
		return fail(why+": write it again with what it was, "+settings, evidence)
	}
	return now, evidence, nil
}

// issue returns the key that a static role gives out after the leaked one.
func (e *awsEngine) issue(ctx context.Context, rule *rules.Rule, r Request) (checks.Credential, error) {
	path := r.Prepared.Seen[keptBy]
	switch _, kind, _ := cutPath(path); kind {
	case "creds":
		return checks.Credential{}, fmt.Errorf("issue %s: %w: whoever uses it gets the next one by reading %s", rule.ID, ErrCannotIssue, r.Prepared.Seen["roles"])
	case "config":
		return checks.Credential{}, fmt.Errorf("issue %s: %w: it is what Vault itself acts with at AWS (%s), and after a rotation nobody else knows it: give others a user of their own", rule.ID, ErrCannotIssue, path)
	}
	now, _, err := e.renew(ctx, rule, r.Old, path, r.Prepared.Seen[keptAs])
	if err != nil {
		return checks.Credential{}, err
	}
	now.Rule = rule.ID
	return now, nil
}
