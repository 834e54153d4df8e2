package provider

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/rules"
)

// An engine is the database secrets engine of Vault and OpenBao. Where it has made a
// user, or rotates a user's password, it alone may change that: a password that is set
// behind its back locks it out. So it is asked first about the passwords of databases,
// and what it does not keep is the ordinary driver's.
// https://developer.hashicorp.com/vault/api-docs/secret/databases
type engine struct {
	vault  *vault
	mounts []string             // none when there is no engine
	logins map[string]*database // by the driver that verifies a kind
}

// keptBy is the identity that names what keeps a password, as a path in Vault:
// "database/static-roles/shop", "database/config/orders" of the user that the engine
// itself logs in as, or "database/creds" of users that it makes.
const keptBy = "kept_by"

// keptAs is the identity that tells the settings of a static role, where it may have to
// be written anew.
const keptAs = "kept_as"

// What is asked of a mount.
const (
	listStatic  = "GET /v1/%s/static-roles?list=true"
	listConfigs = "GET /v1/%s/config?list=true"
	listDynamic = "GET /v1/%s/roles?list=true"
)

const (
	maxEngineNames = 200 // static roles, connections or roles of a mount
	maxLeases      = 1000
)

// A kept is what the engine knows of a password; the zero kept of one that is not its.
type kept struct {
	path     string
	user     string
	roles    []string // of a user that the engine made: paths that may have made it
	made     string   // when, in seconds, as the user's name says; empty where it does not
	before   bool     // it did when the credential was verified, and gives out another one now
	gone     bool     // likewise, and is no more
	settings string   // of the static role, where it may have to be written anew
}

func newEngine(v *vault, mounts []string) *engine {
	e := &engine{vault: v, logins: map[string]*database{}}
	for _, mount := range mounts {
		e.mounts = append(e.mounts, strings.Trim(mount, "/"))
	}
	return e
}

// serve has the engine asked about the passwords that a driver verifies.
func (e *engine) serve(driver string, d *database) { e.logins[driver], d.engine = d, e }

// covers says whether credentials of a kind may be the engine's.
func (e *engine) covers(rule *rules.Rule) bool {
	return len(e.mounts) > 0 && e.vault.whyNoIssue(nil) == "" && e.logins[rule.Verify.DriverName()] != nil
}

// keeps finds what keeps a credential.
func (e *engine) keeps(ctx context.Context, rule *rules.Rule, t Target) (kept, error) {
	if !e.covers(rule) {
		return kept{}, nil
	}
	d := e.logins[rule.Verify.DriverName()]
	l, why := d.login(t.Credential)
	if why != "" || l.user == "" {
		return kept{}, nil // nobody can log in with it, nor tell whose it is
	}
	k, why := e.find(ctx, l, d.port, t.Identity[keptBy])
	if why != "" {
		return kept{}, fmt.Errorf("find out whether Vault keeps the password of %s: %s", rule.ID, why)
	}
	return k, nil
}

// signWithin bounds how long a verdict waits for Vault.
const signWithin = 5 * time.Second

// sign adds to whose a live password is what keeps it, if Vault can tell.
func (e *engine) sign(ctx context.Context, l login, port string, a *attempt) {
	if len(e.mounts) == 0 || e.vault.whyNoIssue(nil) != "" {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, signWithin)
	defer cancel()
	if k, why := e.find(ctx, l, port, ""); why == "" && k.path != "" && a.identity != nil {
		a.identity[keptBy] = k.path
	}
}

// seen is what is remembered of it.
func (k kept) seen() map[string]string {
	return map[string]string{keptBy: k.path, "roles": strings.Join(k.roles, ", "), keptAs: k.settings}
}

// find looks for a login in all mounts. Before is what kept it when it was verified.
func (e *engine) find(ctx context.Context, l login, port, before string) (k kept, why string) {
	for _, mount := range e.mounts {
		for _, look := range []func(context.Context, string, login, string, string) (kept, string){e.static, e.dynamic, e.root} {
			if k, why = look(ctx, mount, l, port, before); k.path != "" || why != "" {
				return k, why
			}
		}
	}
	return kept{}, ""
}

// static looks for the static role of a user. It is that of this login if its password
// is; or if it is at the same server, where a user has one password.
func (e *engine) static(ctx context.Context, mount string, l login, port, before string) (kept, string) {
	return e.vault.eachKept(ctx, fmt.Sprintf(listStatic, mount), func(name string) (kept, string) {
		role, _, why := e.vault.asked(ctx, "GET /v1/"+mount+"/static-roles/"+name, nil)
		if user, _ := role["username"].(string); why != "" || user != l.user {
			return kept{}, why
		}
		k := kept{path: mount + "/static-roles/" + name, user: l.user}
		creds, _, why := e.vault.asked(ctx, "GET /v1/"+mount+"/static-creds/"+name, nil)
		if password, _ := creds["password"].(string); why != "" || password == l.password || before == k.path {
			return k, why
		}
		connection, _ := role["db_name"].(string)
		config, _, why := e.vault.asked(ctx, "GET /v1/"+mount+"/config/"+connection, nil)
		if why != "" || !leadsTo(config, l, port) {
			return kept{}, why
		}
		return k, ""
	})
}

// root looks for the connection that logs in as a user.
func (e *engine) root(ctx context.Context, mount string, l login, port, before string) (kept, string) {
	return e.vault.eachKept(ctx, fmt.Sprintf(listConfigs, mount), func(name string) (kept, string) {
		config, _, why := e.vault.asked(ctx, "GET /v1/"+mount+"/config/"+name, nil)
		details, _ := config["connection_details"].(map[string]any)
		path := mount + "/config/" + name
		if user, _ := details["username"].(string); why != "" || user != l.user || path != before && !leadsTo(config, l, port) {
			return kept{}, why
		}
		return kept{path: path, user: l.user}, ""
	})
}

// dynamic looks for the roles that may have made a user.
func (e *engine) dynamic(ctx context.Context, mount string, l login, _, _ string) (kept, string) {
	if !strings.HasPrefix(l.user, "v-") {
		return kept{}, ""
	}
	k := kept{user: l.user}
	if m := madeAt.FindStringSubmatch(l.user); m != nil {
		k.made = m[1]
	}
	_, why := e.vault.eachKept(ctx, fmt.Sprintf(listDynamic, mount), func(name string) (kept, string) {
		if named(l.user, name) {
			k.path, k.roles = mount+"/creds", append(k.roles, mount+"/creds/"+name)
		}
		return kept{}, ""
	})
	return k, why
}

// eachKept looks at the names of a list until one keeps the credential.
func (v *vault) eachKept(ctx context.Context, list string, look func(name string) (kept, string)) (kept, string) {
	names, _, why := v.listed(ctx, list)
	if why == "" && len(names) > maxEngineNames {
		why = fmt.Sprintf("%s names more than %d", list, maxEngineNames)
	}
	if why != "" {
		return kept{}, why
	}
	for _, name := range names {
		if k, why := look(name); k.path != "" || why != "" {
			return k, why
		}
	}
	return kept{}, ""
}

// connectedTo finds the servers in a connection's URL or settings.
var connectedTo = regexp.MustCompile(`@(?:tcp\()?([^/()?\s@]+)|\bhost=(\S+)(?:.*\bport=([0-9]+))?`)

// leadsTo reports whether a connection leads to the server of a login.
func leadsTo(config map[string]any, l login, defaultPort string) bool {
	details, _ := config["connection_details"].(map[string]any)
	text, _ := details["connection_url"].(string)
	m := connectedTo.FindStringSubmatch(text)
	if m == nil {
		return false
	}
	return slices.ContainsFunc(strings.Split(m[1]+m[2], ","), func(one string) bool {
		name, port := splitPort(one)
		return net.JoinHostPort(canonical(name), cmp.Or(port, m[3], defaultPort)) == l.address()
	})
}

// named reports whether the engine may have made a user's name for a role: its plugins
// write "v-", the display name of the token, the role, a random text and the time, each
// cut short at their own lengths: the plugin of MySQL before 5.7 makes 16 characters.
func named(user, role string) bool {
	lengths := []int{8, 10, 15}
	if len(user) <= 16 {
		lengths = []int{4}
	}
	for _, length := range lengths {
		for _, name := range []string{role, strings.ReplaceAll(role, ".", "-")} {
			if strings.Contains(user, "-"+name[:min(length, len(name))]+"-") {
				return true
			}
		}
	}
	return false
}

// revoke makes a password that the engine keeps useless, which cannot be taken back.
func (e *engine) revoke(ctx context.Context, rule *rules.Rule, t Target, k kept) (Receipt, error) {
	switch mount, kind, name := cutPath(k.path); kind {
	case "creds":
		return e.endLease(ctx, rule, t, k)
	case "static-roles":
		_, receipt, err := e.rotate(ctx, rule, t, k.path)
		return receipt, err
	default:
		_, evidence, why := e.vault.asked(ctx, "POST /v1/"+mount+"/rotate-root/"+name, nil)
		if why != "" {
			return Receipt{}, unfit("revoke", rule, why, evidence)
		}
		evidence.Answer += "; nobody but Vault knows the new password"
		return Receipt{Meaning: rules.MeansRevoked, Evidence: evidence}, nil
	}
}

// rotate has the engine set a new password of a static role, if the leaked one works
// still, and returns the one that it is now. There is no time in which both work.
// Sessions that are open go on.
func (e *engine) rotate(ctx context.Context, rule *rules.Rule, t Target, path string) (now string, r Receipt, err error) {
	mount, _, name := cutPath(path)
	now, evidence, why := e.password(ctx, mount, name)
	if why != "" {
		return "", r, unfit("rotate", rule, why, evidence)
	}
	works, verdict, err := e.works(ctx, rule, t, now)
	switch {
	case err != nil:
		return "", r, err
	case !works:
		return now, Receipt{Meaning: rules.MeansAlreadyDead, Evidence: verdict.Evidence}, nil
	}
	was := now
	if _, evidence, why = e.vault.asked(ctx, "POST /v1/"+mount+"/rotate-role/"+name, nil); why == "" {
		now, _, why = e.password(ctx, mount, name)
	}
	if why == "" && now == was {
		why = "the static role has the same password as before"
	}
	if why != "" {
		return "", r, unfit("rotate", rule, why, evidence)
	}
	return now, Receipt{Meaning: rules.MeansRevoked, Evidence: evidence}, nil
}

// password reads the password that a static role has now.
func (e *engine) password(ctx context.Context, mount, name string) (password string, evidence Evidence, why string) {
	creds, evidence, why := e.vault.asked(ctx, "GET /v1/"+mount+"/static-creds/"+name, nil)
	password, _ = creds["password"].(string)
	if why == "" && password == "" {
		why = evidence.Request + " tells no password"
	}
	return password, evidence, why
}

// works tells whether a leaked password works still: it is the one that its static role
// has now or, where somebody set another one behind Vault's back, it logs in.
func (e *engine) works(ctx context.Context, rule *rules.Rule, t Target, now string) (bool, Verdict, error) {
	d := e.logins[rule.Verify.DriverName()]
	if l, why := d.login(t.Credential); why == "" && l.password == now {
		return true, Verdict{}, nil
	}
	verdict, err := d.verify(ctx, rule, t.Credential)
	if err == nil && verdict.Validity == checks.Unknown {
		err = unfit("revoke", rule, "whether the password still works is not known", verdict.Evidence)
	}
	return verdict.Validity == checks.Active, verdict, err
}

// issue returns the password that a static role has after the leaked one. Asking again
// does not rotate again.
func (e *engine) issue(ctx context.Context, rule *rules.Rule, r Request) (checks.Credential, error) {
	path := r.Prepared.Seen[keptBy]
	switch _, kind, _ := cutPath(path); kind {
	case "creds":
		return checks.Credential{}, fmt.Errorf("issue %s: %w: whoever uses it gets the next one by reading %s", rule.ID, ErrCannotIssue, r.Prepared.Seen["roles"])
	case "config":
		return checks.Credential{}, fmt.Errorf("issue %s: %w: it is what Vault itself logs in with (%s), and after a rotation nobody else knows it: give others a user of their own", rule.ID, ErrCannotIssue, path)
	}
	now, _, err := e.rotate(ctx, rule, r.Old, path)
	if err != nil {
		return checks.Credential{}, err
	}
	if strings.HasSuffix(rule.ID, "-url") || strings.HasSuffix(rule.ID, "-jdbc") {
		now = escapeInURL(now)
	}
	return withSecret(r.Old.Credential, checks.NewSecret(now)), nil
}

// withSecret is a credential with another secret. Where and as whom one logs in with it
// is as before.
func withSecret(old checks.Credential, secret checks.Secret) checks.Credential {
	fresh := checks.Credential{Rule: old.Rule, Parts: maps.Clone(old.Parts)}
	fresh.Parts[checks.PartSecret] = secret
	return fresh
}

// escapeInURL is the other way of unescape: such a part is as it stands in a URL.
func escapeInURL(text string) string {
	return strings.NewReplacer("%", "%25", "@", "%40", ":", "%3A", "/", "%2F", "?", "%3F", "#", "%23", "&", "%26", " ", "%20", "[", "%5B", "]", "%5D").Replace(text)
}

// cutPath takes "team/database/static-roles/shop" apart.
func cutPath(path string) (mount, kind, name string) {
	for _, kind := range []string{"static-roles", "config", "creds"} {
		if mount, name, ok := strings.Cut(path+"/", "/"+kind+"/"); ok {
			return mount, kind, strings.TrimSuffix(name, "/")
		}
	}
	return "", "", path
}
