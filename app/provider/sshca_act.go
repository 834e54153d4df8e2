package provider

import (
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/rsa"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"

	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/rules"
)

// seenSSHIssuer is the path of the authority that is replaced.
const seenSSHIssuer = "ssh_issuer"

// maxEngineRSA is the size of RSA keys that an engine still makes while one waits.
const maxEngineRSA = 4096

func (a *sshAuthorities) whyNoRevoke(*rules.Rule) string {
	if len(a.mounts) == 0 {
		return "revoke: an SSH authority is deleted where STANCH_VAULT_SSH_MOUNTS names its engine"
	}
	return ""
}

func (a *sshAuthorities) whyNoIssue(*rules.Rule) string {
	if len(a.mounts) == 0 {
		return "issue: an SSH authority is replaced where STANCH_VAULT_SSH_MOUNTS names its engine"
	}
	return ""
}

// live is the authority that a key is in its engine; nil when none has it. In two engines
// it is not certain which hosts trust which, and a person must look.
func (a *sshAuthorities) live(ctx context.Context, rule *rules.Rule, t Target, cannot error) (*sshIssuer, error) {
	key, err := readKey(t.Secret().Expose())
	if err != nil {
		return nil, nil
	}
	found, why := a.find(ctx, key)
	switch {
	case why != "":
		return nil, fmt.Errorf("look for the SSH authority of %s: %s", rule.ID, why)
	case len(found) > 1:
		return nil, fmt.Errorf("%s: %w: the key is the SSH authority %s and %s: make a new one in each, have the hosts trust them, and delete these by hand", rule.ID, cannot, found[0].path(), found[1].path())
	case len(found) == 0:
		return nil, nil
	}
	return &found[0], nil
}

func (a *sshAuthorities) prepare(i *sshIssuer) Prepared {
	return Prepared{Seen: map[string]string{seenSSHIssuer: i.path()}}
}

// issue has the engine make another authority and sign with it from then on, unless it
// signs with another one already. Its name tells which request made it: names are there
// once, so that two requests make one.
func (a *sshAuthorities) issue(ctx context.Context, rule *rules.Rule, r Request) (checks.Credential, error) {
	cannot := func(format string, args ...any) (checks.Credential, error) {
		return checks.Credential{}, fmt.Errorf("issue %s: %w: %s", rule.ID, ErrCannotIssue, fmt.Sprintf(format, args...))
	}
	old, err := a.live(ctx, rule, r.Old, ErrCannotIssue)
	switch {
	case err != nil:
		return checks.Credential{}, err
	case old == nil:
		return cannot("no SSH engine of STANCH_VAULT_SSH_MOUNTS has the key any more")
	case old.alone:
		return cannot("the engine at %s can have one authority only, and a new one would end the old while hosts trust nothing else. Mount another (vault secrets enable -path=%[1]s-new ssh; vault write %[1]s-new/config/ca generate_signing_key=true), "+
			"have the hosts trust its key (vault read -field=public_key %[1]s-new/config/ca) beside the old one, give it the roles, have certificates signed there, drop the old key at the hosts, and delete it: vault delete %[1]s/config/ca", old.mount)
	}
	fresh, ours, why := a.signing(ctx, *old, r.Operation)
	if why == "" && fresh == nil && ours != nil {
		return cannot("Stanch has made %s, and %s signs with the leaked one again: somebody has made it the default. Run: bao write %[2]s/config/issuers default=%[3]s", ours.path(), old.mount, ours.id)
	}
	if why == "" && fresh == nil {
		if evidence, lacks := a.generate(ctx, *old, r.Operation); lacks != "" {
			if evidence.Status == http.StatusForbidden {
				return cannot("%s", lacks)
			}
			return checks.Credential{}, unfit("issue", rule, lacks, evidence)
		}
		fresh, _, why = a.signing(ctx, *old, r.Operation)
	}
	switch {
	case why != "":
		return checks.Credential{}, fmt.Errorf("issue %s: %s", rule.ID, why)
	case fresh == nil:
		return checks.Credential{}, fmt.Errorf("issue %s: %s does not sign with the new authority yet", rule.ID, old.mount)
	}
	return withSecret(r.Old.Credential, fresh.reference()), nil
}

// sshIssuerName is what the authority that an operation makes is called.
func sshIssuerName(operation string) string { return "stanch-" + operation }

// signing is the authority that a mount signs with, if that is not the leaked one, and the
// one that an operation has made.
func (a *sshAuthorities) signing(ctx context.Context, old sshIssuer, operation string) (fresh, ours *sshIssuer, why string) {
	all, why := a.issuers(ctx, old.mount)
	for n, i := range all {
		if i.isDefault && !sameSSHKey(i.public, old.public) {
			fresh = &all[n]
		}
		if i.name == sshIssuerName(operation) {
			ours = &all[n]
		}
	}
	return fresh, ours, why
}

// generate has an engine make an authority of the kind and size of an old one. Its private
// half stays there.
func (a *sshAuthorities) generate(ctx context.Context, old sshIssuer, operation string) (Evidence, string) {
	body := map[string]any{"generate_signing_key": true, "set_default": true, "key_type": "ed25519"}
	if c, ok := old.public.(ssh.CryptoPublicKey); ok {
		switch public := c.CryptoPublicKey().(type) {
		case *rsa.PublicKey:
			body["key_type"], body["key_bits"] = "rsa", 1024*((min(max(minRSA, public.N.BitLen()), maxEngineRSA)+1023)/1024)
		case *ecdsa.PublicKey:
			body["key_type"], body["key_bits"] = "ec", public.Curve.Params().BitSize
		}
	}
	_, evidence, why := a.vault.asked(ctx, fmt.Sprintf(importSSHIssuer, old.mount, sshIssuerName(operation)), body)
	return evidence, why
}

// A replacement never leaves its engine. It is named by its path and its public half.
var sshReference = regexp.MustCompile(`^(\S{1,200})/issuer/([0-9a-f-]{36}) (\S+ \S+)$`)

func (i sshIssuer) reference() checks.Secret { return checks.NewSecret(i.path() + " " + i.line()) }

// parseReference reads what names a replacement at one of the mounts.
func (a *sshAuthorities) parseReference(text checks.Secret) (i sshIssuer, ok bool) {
	m := sshReference.FindStringSubmatch(text.Expose())
	if m == nil || !slices.Contains(a.mounts, m[1]) {
		return i, false
	}
	public, _, _, _, err := ssh.ParseAuthorizedKey([]byte(m[3]))
	return sshIssuer{mount: m[1], id: m[2], public: public}, err == nil
}

// verifyReference tells whether an engine signs with a replacement.
func (a *sshAuthorities) verifyReference(ctx context.Context, fresh sshIssuer) Verdict {
	verdict := Verdict{Validity: checks.Unknown, Grade: GradeC, Evidence: Evidence{Request: "GET " + a.vault.addr + "/v1/" + fresh.mount + "/issuers", At: a.now()}}
	all, why := a.issuers(ctx, fresh.mount)
	n := slices.IndexFunc(all, func(i sshIssuer) bool { return i.id == fresh.id && sameSSHKey(i.public, fresh.public) })
	switch {
	case why != "":
		verdict.Reason, verdict.Evidence.Answer = ReasonNoAnswer, why
	case n < 0:
		verdict.Validity, verdict.Evidence.Answer = checks.Inactive, "there is no such authority"
	case !all[n].isDefault:
		verdict.Validity, verdict.Evidence.Answer = checks.Inactive, "another authority signs"
	default:
		verdict.Validity, verdict.Grade, verdict.Evidence.Answer = checks.Active, GradeB, "it signs"
		verdict.Evidence.Control = "the engine tells all that it has, and not more" // whatever hosts say
		verdict.Evidence.Identity = shortened(map[string]string{sshIssuerPath: fresh.path(), "ssh_fingerprint": ssh.FingerprintSHA256(fresh.public)})
	}
	return verdict
}

// holds is the mount: of two that leaked there only one is replaced at a time.
func (a *sshAuthorities) holds(t Target) string {
	if mount := cutIssuer(t.Identity[sshIssuerPath]); mount != "" {
		return "vault " + mount
	}
	return ""
}

// cutIssuer is the mount of an authority.
func cutIssuer(path string) string {
	if mount, ok := strings.CutSuffix(path, "/config/ca"); ok {
		return mount
	}
	return path[:max(0, strings.LastIndex(path, "/issuer/"))]
}

// moves says what is to be done at the hosts before the leaked authority is deleted.
func (a *sshAuthorities) moves(t Target, replacement checks.Credential) string {
	path := t.Identity[sshIssuerPath]
	if path == "" {
		return ""
	}
	mount, line := cutIssuer(path), "the line that “bao read -field=public_key MOUNT/config/ca” prints"
	if fresh, ok := a.parseReference(replacement.Secret()); ok {
		line = "“" + fresh.line() + "”"
	}
	text := fmt.Sprintf("Who has the leaked key logs in wherever a host trusts it, until the host drops it: at each host (1) put %s into the file that its TrustedUserCAKeys names, beside the old line; "+
		"(2) have certificates signed anew (bao write MOUNT/sign/ROLE public_key=@KEY.pub), host certificates too (@cert-authority in known_hosts); "+
		"(3) take the line of the old key (%s) out of these files, or have it refused: “ssh-keygen -k -u -f /etc/ssh/revoked_keys OLD.pub”, with “RevokedKeys /etc/ssh/revoked_keys” in sshd_config", line, cmp.Or(t.Identity["ssh_fingerprint"], "bao read -field=public_key "+path))
	if trusting := t.Identity[sshTrusting]; trusting != "" {
		text += "; of STANCH_SSH_HOSTS these trusted it when it was found: " + trusting
	} else if len(a.hosts) > 0 {
		text += "; none of STANCH_SSH_HOSTS trusted it when it was found: see that they are the right accounts and principals, as their refusal counts as proof"
	}
	return strings.ReplaceAll(text, "MOUNT", mount)
}

// revoke has the engine delete the leaked authority, which is the one that the key is now,
// and none that anybody still signs with. What hosts trust does not change by it.
func (a *sshAuthorities) revoke(ctx context.Context, rule *rules.Rule, t Target) (Receipt, error) {
	cannot := func(format string, args ...any) (Receipt, error) {
		return Receipt{}, fmt.Errorf("revoke %s: %w: %s", rule.ID, ErrCannotRevoke, fmt.Sprintf(format, args...))
	}
	old, err := a.live(ctx, rule, t, ErrCannotRevoke)
	switch {
	case err != nil:
		return Receipt{}, err
	case old == nil && t.Identity[sshIssuerPath] == "":
		return cannot("no SSH engine that is configured has it as its authority")
	case old == nil:
		return Receipt{Meaning: rules.MeansAlreadyDead, Evidence: Evidence{Request: "GET " + a.vault.addr + "/v1/" + cutIssuer(t.Identity[sshIssuerPath]), Answer: "no SSH engine has it", At: a.now()}}, nil
	case old.alone:
		return cannot("%s is the only authority of its engine: when the hosts trust another one, and have dropped it, delete it: vault delete %[1]s", old.path())
	case old.isDefault:
		return cannot("%s is what %s signs with, and deleting it stops nobody who has the key: press Rotate now first, which makes another one", old.path(), old.mount)
	}
	users, why := a.roles(ctx, *old)
	switch {
	case why != "":
		return Receipt{}, fmt.Errorf("revoke %s: %s", rule.ID, why)
	case len(users) > 0:
		return cannot("these roles of %s sign with it and with no other: %s: give them another issuer_ref first", old.mount, strings.Join(users, ", "))
	}
	_, evidence, why := a.vault.asked(ctx, fmt.Sprintf(deleteSSHIssuer, old.mount, old.id), nil)
	if why != "" {
		return Receipt{}, unfit("revoke", rule, why, evidence)
	}
	evidence.Answer += "; the engine signs with it no more"
	return Receipt{Meaning: rules.MeansRevoked, Evidence: evidence}, nil
}

// roles are those that name an authority.
func (a *sshAuthorities) roles(ctx context.Context, i sshIssuer) (users []string, why string) {
	what := fmt.Sprintf(listSSHRoles, i.mount)
	evidence, got := a.vault.call(ctx, what, a.vault.own, nil)
	if got.fault == "" && got.status == http.StatusNotFound {
		return nil, "" // there is none
	}
	var listed struct {
		KeyInfo map[string]struct {
			Issuer string `json:"issuer_ref"`
		} `json:"key_info"`
	}
	if !done(got) {
		return nil, unmet(what, got, evidence)
	}
	if err := decodeData(got, &listed); err != nil {
		return nil, evidence.Request + " tells no roles"
	}
	for _, name := range slices.Sorted(maps.Keys(listed.KeyInfo)) {
		if ref := listed.KeyInfo[name].Issuer; ref == i.id || ref != "" && ref == i.name {
			users = append(users, name)
		}
	}
	return users, ""
}
