package provider

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/stanch-dev/stanch/checks"
)

// sshAuthorities are the SSH engines of Vault and OpenBao, which sign certificates with a
// key of their own, and hosts that let in whoever has one. A key that leaked signs outside
// its engine as well as in it, so that deleting it there ends nothing: it is dead when no
// host trusts it any more.
// https://openbao.org/api-docs/secret/ssh
type sshAuthorities struct {
	vault  *vault
	mounts []string
	hosts  []sshHost
	now    func() time.Time
}

// The identity of a leaked authority.
const (
	sshIssuerPath = "ssh_issuer" // "ssh/issuer/ID", or "ssh/config/ca" where there can be one only
	sshTrusting   = "ssh_hosts"  // those of STANCH_SSH_HOSTS that trust it
)

// What is asked of a mount.
const (
	listSSHIssuers   = "GET /v1/%s/issuers?list=true"
	readSSHAuthority = "GET /v1/%s/public_key"
	listSSHRoles     = "GET /v1/%s/roles?list=true"
	importSSHIssuer  = "POST /v1/%s/issuers/import/%s"
	deleteSSHIssuer  = "DELETE /v1/%s/issuer/%s"
)

// saysNoPath is what Vault answers about issuers: an engine has one authority there.
const saysNoPath = "unsupported path"

func newSSHAuthorities(v *vault, cfg Config, now func() time.Time) (*sshAuthorities, error) {
	a := &sshAuthorities{vault: v, now: now}
	if v.whyNoIssue(nil) == "" {
		for _, mount := range cfg.VaultSSHMounts {
			a.mounts = append(a.mounts, strings.Trim(mount, "/"))
		}
	}
	var err error
	a.hosts, err = parseSSHHosts(cfg.SSHHosts)
	return a, err
}

// places are the engines, where the verifier of keys looks.
func (a *sshAuthorities) places() []place {
	if len(a.mounts) == 0 {
		return nil
	}
	return []place{a}
}

func (a *sshAuthorities) String() string {
	return "the SSH engines " + strings.Join(a.mounts, ", ") + " of Vault"
}

// look asks the engines.
func (a *sshAuthorities) look(ctx context.Context, key publicKey) (map[string]string, string) {
	found, why := a.find(ctx, key)
	if len(found) == 0 {
		return nil, why
	}
	return map[string]string{sshIssuerPath: found[0].path(), "ssh_issuer_name": found[0].name}, ""
}

// askAround has all hosts asked about a key that may be an authority, and is not known to
// be something else. That engines have it does not spare that: which hosts trust it tells
// whether their later refusal can be believed.
func (a *sshAuthorities) askAround(ctx context.Context, key publicKey, v *Verdict) {
	if v.Validity == checks.Active && v.Evidence.Identity[sshIssuerPath] == "" {
		return
	}
	var trusting []string
	if v.Unheard = a.unheard(key); v.Unheard == "" {
		trusting, v.Silent = askHosts(ctx, a.hosts, key.signer(), a.now())
	}
	if len(trusting) > 0 {
		all := joinWithin(trusting, maxText)
		v.Validity, v.Reason, v.SelfHosted = checks.Active, "", false
		v.Evidence.Request, v.Evidence.Answer = fmt.Sprintf("ask %d hosts", len(a.hosts)), short("trusted by "+all)
		v.Evidence.Identity[sshTrusting] = all
	}
	if v.Validity != checks.Inactive {
		v.Unheard, v.Silent = "", ""
	}
}

// joinWithin joins as many words as fit.
func joinWithin(words []string, most int) (all string) {
	for _, word := range words {
		if len(all)+len(word) < most {
			all = strings.TrimSpace(all + " " + word)
		}
	}
	return all
}

// signer is the private half, where it is known and not encrypted.
func (k publicKey) signer() ssh.Signer {
	signer, err := ssh.ParsePrivateKey([]byte(k.private.Expose()))
	if err != nil {
		return nil
	}
	return signer
}

// unheard says why a key that is found nowhere may be trusted by hosts nevertheless; empty
// when all hosts that are listed were asked about it.
func (a *sshAuthorities) unheard(key publicKey) string {
	const end = "when all have dropped it, run “stanch incidents resolve ID revoked”"
	switch {
	case len(a.hosts) == 0:
		return "the SSH engine does not have it any more, but which hosts trust it is not known: list them in STANCH_SSH_HOSTS or, " + end
	case key.signer() == nil:
		return "the SSH engine does not have it any more, but it is encrypted or of an old kind, so that no host can be asked about it: " + end
	}
	return ""
}

// About is what a verdict says about a credential of which it is known who it belonged to:
// nobody says that an SSH authority is dead but the hosts that trust it.
func (p *Providers) About(v Verdict, identity map[string]string) Verdict {
	path := identity[sshIssuerPath]
	if v.Validity != checks.Inactive || path == "" && identity[sshTrusting] == "" {
		v.Unheard, v.Silent = "", ""
		return v
	}
	if mount := cutIssuer(path); path != "" && !slices.Contains(p.authorities.mounts, mount) {
		v.Unheard = "the SSH engine at " + mount + ", which had it, is not among STANCH_VAULT_SSH_MOUNTS any more: name it there or, when all hosts have dropped the key, run “stanch incidents resolve ID revoked”"
	}
	if v.Unheard == "" && v.Silent == "" && identity[sshTrusting] == "" {
		v.Unheard = "no host of STANCH_SSH_HOSTS was ever seen to trust it, so that it proves nothing that they refuse it: when all that did have dropped it, run “stanch incidents resolve ID revoked”"
	}
	for name := range strings.FieldsSeq(identity[sshTrusting]) {
		if !slices.ContainsFunc(p.authorities.hosts, func(h sshHost) bool { return h.String() == name }) {
			v.Unheard = name + ", which trusted it, is not among STANCH_SSH_HOSTS any more: name it there or, when it has dropped the key, run “stanch incidents resolve ID revoked”"
		}
	}
	switch {
	case v.Unheard != "":
		v.Validity, v.Grade, v.Reason, v.Evidence.Answer = checks.Unknown, GradeC, ReasonNotAsked, v.Unheard
	case v.Silent != "":
		v.Validity, v.Grade, v.Reason, v.Evidence.Answer = checks.Unknown, GradeC, ReasonNoAnswer, "of the hosts that may trust it, "+v.Silent
	}
	return v
}

// An sshIssuer is an authority as its engine has it.
type sshIssuer struct {
	mount, id, name string
	public          ssh.PublicKey
	isDefault       bool // it signs where a role names none
	alone           bool // the engine can have no other
}

func (i sshIssuer) path() string {
	if i.alone {
		return i.mount + "/config/ca"
	}
	return i.mount + "/issuer/" + i.id
}

// line is the public half as it stands in a file of TrustedUserCAKeys.
func (i sshIssuer) line() string {
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(i.public)))
}

// find looks for the engines that sign with a key.
func (a *sshAuthorities) find(ctx context.Context, key publicKey) (found []sshIssuer, why string) {
	for _, mount := range a.mounts {
		all, why := a.issuers(ctx, mount)
		if why != "" {
			return nil, why
		}
		for _, i := range all {
			if !sameSSHKey(i.public, key.ssh) {
				continue
			}
			if len(i.path()) > maxText {
				return nil, "the path of the issuer is longer than Stanch remembers"
			}
			found = append(found, i)
		}
	}
	return found, ""
}

func sameSSHKey(a, b ssh.PublicKey) bool { return slices.Equal(a.Marshal(), b.Marshal()) }

// issuers lists the authorities of a mount.
func (a *sshAuthorities) issuers(ctx context.Context, mount string) (all []sshIssuer, why string) {
	what := fmt.Sprintf(listSSHIssuers, mount)
	evidence, got := a.vault.call(ctx, what, a.vault.own, nil)
	errs, told := got.object["errors"].([]any)
	switch {
	case says(got, http.StatusNotFound, saysNoPath):
		return a.only(ctx, mount)
	case got.fault == "" && got.status == http.StatusNotFound && told && len(errs) == 0:
		return nil, ""
	case !done(got):
		return nil, unmet(what, got, evidence)
	}
	var listed struct {
		KeyInfo map[string]struct {
			Default bool   `json:"is_default"`
			Name    string `json:"issuer_name"`
			Key     string `json:"public_key"`
		} `json:"key_info"`
	}
	if err := decodeData(got, &listed); err != nil || len(listed.KeyInfo) == 0 {
		return nil, evidence.Request + " tells no issuers"
	}
	for id, info := range listed.KeyInfo {
		public, _, _, _, err := ssh.ParseAuthorizedKey([]byte(info.Key))
		if err != nil {
			return nil, evidence.Request + " tells no public key of " + id
		}
		all = append(all, sshIssuer{mount: mount, id: id, name: info.Name, public: public, isDefault: info.Default})
	}
	return all, ""
}

// decodeData reads the data of an answer.
func decodeData(got reply, into any) error {
	text, ok := got.text("data")
	if !ok {
		return errors.New("no data")
	}
	return json.Unmarshal([]byte(text), into)
}

// only is the one authority that an engine of Vault's has, if it has one.
func (a *sshAuthorities) only(ctx context.Context, mount string) ([]sshIssuer, string) {
	what := fmt.Sprintf(readSSHAuthority, mount)
	evidence, got := a.vault.call(ctx, what, a.vault.own, nil)
	if got.status == http.StatusBadRequest && len(complaints(got)) > 0 {
		return nil, "" // it has none yet, or none any more
	}
	public, _, _, _, err := ssh.ParseAuthorizedKey([]byte(got.plain))
	if got.status != http.StatusOK || err != nil {
		return nil, unmet(what, got, evidence)
	}
	return []sshIssuer{{mount: mount, public: public, isDefault: true, alone: true}}, ""
}
