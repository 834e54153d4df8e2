package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/stanch-dev/stanch/app/github"
	"github.com/stanch-dev/stanch/app/provider"
	"github.com/stanch-dev/stanch/app/secretstore"
	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/checks/report"
	"github.com/stanch-dev/stanch/rules"
)

// publicGitHub is the one that revokes for nobody in particular.
const publicGitHub = "https://github.com"

// webhookPath is where stanch serve takes webhooks.
const webhookPath = "/webhook"

// notSure is why nobody is asked while a setting that says whom to ask cannot be read.
const notSure = "not asked: the settings above come first, which say where to ask"

// astray says whether a setting that says whom to ask could not be read: what would be
// asked without it may be somebody else.
func (d *doctor) astray() bool {
	return slices.ContainsFunc(variables[Reach](), func(v variable) bool { return d.missing[v.name] })
}

// github asks GitHub about the App.
func (d *doctor) github(ctx context.Context) {
	s := d.settings
	switch {
	case d.missing["STANCH_GITHUB_APP_ID"] || d.missing["STANCH_GITHUB_PRIVATE_KEY"]:
		d.note(aboutGitHub, "not asked: STANCH_GITHUB_APP_ID and STANCH_GITHUB_PRIVATE_KEY are needed for it")
		return
	case d.astray():
		d.note(aboutGitHub, notSure)
		return
	}
	app, err := github.New(github.Config{AppID: s.AppID, PrivateKey: []byte(s.PrivateKey), URL: s.GitHubURL})
	if err != nil {
		d.problem(aboutGitHub, err.Error(), "correct STANCH_GITHUB_APP_ID, STANCH_GITHUB_PRIVATE_KEY or STANCH_GITHUB_URL")
		return
	}
	ctx, cancel := context.WithTimeout(ctx, doctorPatience)
	defer cancel()
	r, err := app.Registration(ctx)
	if err != nil {
		d.problem(aboutGitHub, err.Error(), "see that "+app.APIURL()+" can be reached from here, and that STANCH_GITHUB_APP_ID and the private key belong together")
		return
	}
	d.ok(aboutGitHub, "%s knows the App %s and its key", app.URL(), r.Slug)
	if r.Installed == 0 {
		d.note(aboutGitHub, "the App is installed nowhere: nothing comes from GitHub before that")
	}
	if s.RevokeToken == "" && app.URL() != publicGitHub {
		d.note(aboutGitHub, "STANCH_GITHUB_REVOKE_TOKEN is not set: a GitHub Enterprise Server revokes no leaked token without it")
	}
	d.needs(r)
	d.webhook(r.Webhook)
}

// needs compares what the App has with what Stanch uses.
func (d *doctor) needs(r github.Registration) {
	lacks := r.Lacks(d.githubNeeds()...)
	for _, need := range lacks {
		what := "the App lacks " + inSettings(need.Permission, need.Level, need.Event) + ": " + need.Without
		if need.Optional {
			d.note(aboutGitHub, "%s", what)
			continue
		}
		d.problem(aboutGitHub, what, "add it under “Permissions & events” of the App's settings; the owners of installations must accept new permissions")
	}
	if len(lacks) == 0 {
		d.ok(aboutGitHub, "the App has all permissions and events that Stanch uses")
	}
}

func (d *doctor) webhook(w github.Webhook) {
	const settings = " in the App's settings under “Webhook”"
	before := len(d.found)
	switch {
	case w.URL == "":
		d.problem(aboutGitHub, "the App has no webhook URL: nothing comes from GitHub", "set it"+settings+" to the public address of this server with "+webhookPath)
	case !strings.HasSuffix(w.URL, webhookPath):
		d.problem(aboutGitHub, "the App's webhook URL does not end with "+webhookPath+", which is where Stanch listens", "correct it"+settings+", unless something on the way rewrites it")
	case d.settings.URL != "" && w.URL != strings.TrimSuffix(d.settings.URL, "/")+webhookPath:
		d.note(aboutGitHub, "the App's webhook URL is not STANCH_URL with %s: see that both lead to this server", webhookPath)
	}
	if w.ContentType != "json" {
		d.problem(aboutGitHub, "the App's webhook sends forms, which Stanch refuses", "set the content type to application/json"+settings)
	}
	if !w.Signed {
		d.problem(aboutGitHub, "the App's webhook has no secret: Stanch refuses all that it sends", "set one of STANCH_GITHUB_WEBHOOK_SECRETS"+settings)
	}
	if w.Insecure {
		d.problem(aboutGitHub, "GitHub does not look at the certificate of the webhook's receiver", "enable SSL verification"+settings)
	}
	if len(d.found) == before {
		d.ok(aboutGitHub, "the webhook leads to %s, with a secret", plainAddress(w.URL))
	}
}

// plainAddress is a URL without what may be secret in it.
func plainAddress(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return "an address that is no URL"
	}
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()
}

// vault asks Vault or OpenBao about Stanch's own token.
func (d *doctor) vault(ctx context.Context) {
	s := d.settings
	switch {
	case d.astray():
		d.note(aboutVault, notSure)
		return
	case s.VaultAddr != "" && s.VaultToken != "":
	case len(s.VaultMounts) > 0 || s.VaultIssueRole != "" || s.VaultEngines.any():
		d.problem(aboutVault, "a STANCH_VAULT setting is there without VAULT_ADDR and VAULT_TOKEN", "set these two, or none that begins with STANCH_VAULT")
		return
	case s.VaultAddr != "":
		d.note(aboutVault, "VAULT_TOKEN is not set: leaked Vault tokens are verified, and nothing is searched or replaced")
		return
	default:
		d.note(aboutVault, "VAULT_ADDR is not set: there is no Vault or OpenBao")
		return
	}
	ctx, cancel := context.WithTimeout(ctx, doctorPatience)
	defer cancel()
	v, err := secretstore.NewVault(secretstore.VaultConfig{
		Addr: s.VaultAddr, Token: checks.NewSecret(s.VaultToken), Namespace: s.VaultNamespace, Mounts: s.VaultMounts,
	})
	if err == nil {
		var e secretstore.Examination
		if e, err = v.Examine(ctx); err == nil {
			d.token(e)
			return
		}
	}
	d.problem(aboutVault, err.Error(), "see that VAULT_ADDR can be reached from here and that VAULT_TOKEN is good there; deploy/vault has the policy")
}

// token tells what the server said of Stanch's own token.
func (d *doctor) token(e secretstore.Examination) {
	life := "it does not end"
	if e.Ends > 0 {
		life = "good for " + e.Ends.Round(time.Second).String()
	}
	d.ok(aboutVault, "it takes the token (policies %s; %s)", strings.Join(e.Policies, ", "), life)
	if e.Ends > 0 && !e.Renewable {
		d.problem(aboutVault, "the token cannot be renewed, and ends in "+e.Ends.Round(time.Second).String(), "create it with -period, as deploy/vault/stanch.hcl says")
	}
	d.ok(aboutVault, "searched: %s", strings.Join(e.Mounts, ", "))
	for _, l := range e.Lacks {
		what := fmt.Sprintf("the token lacks %q at %s: %s", l.Capability, l.Path, l.Without)
		if l.Optional {
			d.note(aboutVault, "%s", what)
			continue
		}
		d.problem(aboutVault, what, "give it the policy of deploy/vault/stanch.hcl")
	}
	switch {
	case e.Unasked:
		d.note(aboutVault, "the token may not ask what it may do (sys/capabilities-self): what it lacks shows when it is needed")
	case len(e.Lacks) == 0:
		d.ok(aboutVault, "the token may do all that Stanch does there")
	}
}

// verification says which providers can be asked, and tries those that were named.
func (d *doctor) verification(ctx context.Context, names []string) {
	cfg, err := d.settings.providers(d.catalogue, nil)
	var providers *provider.Providers
	if err == nil {
		cfg.Catalogue = d.catalogue
		providers, err = provider.New(cfg)
	}
	if err != nil {
		d.problem(aboutVerify, err.Error(), "correct the setting; docs/verification.md explains them")
		return
	}
	kinds, of := 0, map[string]bool{}
	for _, r := range d.catalogue {
		if providers.Can(r.ID).Verify {
			kinds++
			of[r.Provider.Name] = true
		}
	}
	switch {
	case cfg.Off:
		d.note(aboutVerify, "STANCH_VERIFY is off: nobody is asked about anything, and nothing is revoked without a person")
	case len(cfg.Only) > 0:
		d.ok(aboutVerify, "it is on, for the %s of STANCH_VERIFY_RULES; %d of them can be asked about", report.Count(len(cfg.Only), "kind"), kinds)
	default:
		d.ok(aboutVerify, "it is on; %s of %s can be asked about", report.Count(kinds, "kind"), report.Count(len(of), "provider"))
	}
	if cfg.Proxy != nil {
		d.ok(aboutVerify, "the catalogue's hosts are reached through STANCH_OUTBOUND_PROXY")
	}
	if len(names) == 0 {
		d.note(aboutVerify, "no provider was asked: “stanch doctor --provider NAME” sends random values to one. Which ones a running server holds at grade C is on its page /providers and in its metrics")
	}
	if len(names) > 0 && d.astray() {
		d.note(aboutVerify, notSure)
		return
	}
	for _, name := range names {
		d.try(ctx, providers, name)
	}
}

// mustKnow says which of the names are no provider's.
func (d *doctor) mustKnow(names []string) error {
	var all []string
	for _, r := range d.catalogue {
		all = append(all, r.Provider.Name)
	}
	slices.Sort(all)
	all = slices.Compact(all)
	for _, name := range names {
		if !slices.Contains(all, name) {
			return unknown("provider", name, all, "stanch rules list")
		}
	}
	return nil
}

// try sends a random value of each kind of a provider to it.
func (d *doctor) try(ctx context.Context, providers *provider.Providers, name string) {
	tried := 0
	for _, r := range d.catalogue {
		if r.Provider.Name != name || !providers.Can(r.ID).Verify || ctx.Err() != nil {
			continue
		}
		tried++
		if named := namesItsHost(r); named != "" {
			d.note(aboutVerify, "%s: not asked, for the text that a credential stands in says at which host (%s)", r.ID, named)
			continue
		}
		cred, err := madeUp(r)
		var v provider.Verdict
		if err == nil {
			v, err = providers.Verify(ctx, cred)
		}
		if err != nil {
			d.problem(aboutVerify, r.ID+": "+err.Error(), "this is a fault of Stanch or of the rule: report it")
			continue
		}
		d.controlled(r, v)
	}
	if tried == 0 && ctx.Err() == nil {
		d.note(aboutVerify, "%s: none of its kinds can be asked about as things are configured", name)
	}
}

// controlled tells what a provider said of a random value.
func (d *doctor) controlled(r *rules.Rule, v provider.Verdict) {
	said := fmt.Sprintf("%s: %s said of a random value: %s", r.ID, v.Evidence.Request, v.Evidence.Answer)
	switch {
	case v.Reason == provider.ReasonNotAsked:
		d.note(aboutVerify, "%s: not asked: %s", r.ID, v.Evidence.Answer)
	case v.Validity == checks.Inactive && v.Grade != provider.GradeC:
		d.ok(aboutVerify, "%s", said)
	case v.Validity == checks.Active || v.Reason == provider.ReasonLies:
		d.problem(aboutVerify, said+"; it takes anything, and is held at grade C", "see whether a proxy or a gateway on the way answers in its place")
	default:
		d.problem(aboutVerify, said+"; that is no refusal, and it is held at grade C", "see that the host can be reached from here ("+cmp.Or(string(v.Reason), "no clear answer")+"), and try again later")
	}
}

// namesItsHost is the first base URL of a rule whose host a credential chooses, or "".
func namesItsHost(r *rules.Rule) string {
	for _, step := range r.Verify.Steps() {
		if rules.FirstLabel(step.Request.Base) != "" {
			return step.Request.Base
		}
	}
	return ""
}

// madeUp is a random credential of a kind with all its parts, as one of the rule's
// examples has them.
func madeUp(r *rules.Rule) (checks.Credential, error) {
	scanner, err := checks.New(r)
	if err != nil {
		return checks.Credential{}, err
	}
	for _, example := range r.Examples {
		text, _, err := r.Expand(example, rand.Reader)
		if err != nil {
			return checks.Credential{}, err
		}
		found, err := scanner.Examine(stdinName, []byte(text))
		if err != nil {
			return checks.Credential{}, err
		}
		if len(found) > 0 {
			return found[0].Credential, nil
		}
	}
	value, err := rules.Expand(r.Sample, rand.Reader)
	return checks.Credential{Rule: r.ID, Parts: map[string]checks.Secret{checks.PartSecret: checks.NewSecret(value)}}, err
}
