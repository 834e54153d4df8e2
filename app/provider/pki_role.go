package provider

import (
	"context"
	"crypto/x509"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/stanch-dev/stanch/rules"
)

// maxPKIRoles bounds how many roles of a mount are looked at.
const maxPKIRoles = 200

// A pkiRole is what a role of a PKI engine says of the certificates that it signs.
// https://developer.hashicorp.com/vault/api-docs/secret/pki#create-update-role
type pkiRole struct {
	name     string
	settings map[string]any
}

// parsePKIRoles reads the roles that the operator names: "MOUNT/ROLE".
func parsePKIRoles(entries, mounts []string) (map[string][]string, error) {
	named := map[string][]string{}
	for n, entry := range entries {
		entry = strings.Trim(entry, "/ ")
		cut := strings.LastIndex(entry, "/")
		known := cut > 0 && slices.ContainsFunc(mounts, func(m string) bool { return strings.Trim(m, "/") == entry[:cut] })
		if !known {
			return nil, fmt.Errorf("STANCH_VAULT_PKI_ROLES, entry %d: write MOUNT/ROLE, with a mount of STANCH_VAULT_PKI_MOUNTS", n+1)
		}
		named[entry[:cut]] = append(named[entry[:cut]], entry[cut+1:])
	}
	return named, nil
}

// roleFor finds the role that signs the certificate which takes an old one's place: among
// those that the operator names for the mount, or else all, the only one by which the
// old one can have been signed. Certificates do not say by which role they were.
func (m *pkiMount) roleFor(ctx context.Context, rule *rules.Rule, old *x509.Certificate) (pkiRole, error) {
	names := m.roles
	if len(names) == 0 {
		var err error
		if names, err = m.roleNames(ctx, rule); err != nil {
			return pkiRole{}, err
		}
	}
	var fitting []pkiRole
	for _, name := range names {
		role, err := m.role(ctx, rule, name)
		if err != nil {
			return pkiRole{}, err
		}
		if role.signs(old) {
			fitting = append(fitting, role)
		}
	}
	by := "by one of the roles that may have signed it"
	switch len(fitting) {
	case 1:
		return fitting[0], nil
	case 0:
		by = "none of the roles that were looked at signs such certificates"
	default:
		by = fmt.Sprintf("%d roles may have signed it (%s …)", len(fitting), fitting[0].name)
	}
	return pkiRole{}, fmt.Errorf("issue %s: %w: %s: name the right one in STANCH_VAULT_PKI_ROLES as %s/ROLE, or make a new key and have it signed by hand: vault write %s/sign/ROLE csr=@new.csr common_name=%s",
		rule.ID, ErrCannotIssue, by, m.mount, m.mount, old.Subject.CommonName)
}

func (m *pkiMount) roleNames(ctx context.Context, rule *rules.Rule) ([]string, error) {
	what := "GET /v1/" + m.mount + "/roles?list=true"
	data, err := m.ask(ctx, rule, what, nil)
	names := policies(data, "keys")
	if err == nil && len(names) > maxPKIRoles {
		err = fmt.Errorf("issue %s: %w: %s has more than %d roles: name those that sign for servers in STANCH_VAULT_PKI_ROLES", rule.ID, ErrCannotIssue, m, maxPKIRoles)
	}
	return names, err
}

func (m *pkiMount) role(ctx context.Context, rule *rules.Rule, name string) (pkiRole, error) {
	data, err := m.ask(ctx, rule, "GET /v1/"+m.mount+"/roles/"+name, nil)
	return pkiRole{name, data}, err
}

// ask makes a call for a replacement. What Vault refuses is refused for good.
func (m *pkiMount) ask(ctx context.Context, rule *rules.Rule, what string, body map[string]any) (map[string]any, error) {
	evidence, got := m.vault.call(ctx, what, m.vault.own, body)
	data, _ := got.object["data"].(map[string]any)
	refused := lacked(what, got)
	missing := got.fault == "" && got.json && got.status == http.StatusNotFound
	if refused == "" && (missing || got.fault == "" && got.status == http.StatusBadRequest && len(complaints(got)) > 0) {
		refused = evidence.Request + " answered: " + evidence.Answer
	}
	switch {
	case done(got), missing && strings.HasSuffix(what, "?list=true"):
		return data, nil // of an empty folder Vault says that there is none
	case refused != "":
		return nil, fmt.Errorf("issue %s: %w: %s", rule.ID, ErrCannotIssue, refused)
	}
	return nil, fmt.Errorf("issue %s: %w", rule.ID, &AnswerError{Rule: rule.ID, Evidence: evidence})
}

func (r pkiRole) has(name string) bool { on, _ := r.settings[name].(bool); return on }

func (r pkiRole) text(name string) string { text, _ := r.settings[name].(string); return text }

func (r pkiRole) list(name string) []string { return policies(r.settings, name) }

// backdated is how long before it is signed a certificate begins.
func (r pkiRole) backdated() time.Duration {
	seconds, _ := strconv.Atoi(fmt.Sprint(r.settings["not_before_duration"]))
	return time.Duration(seconds) * time.Second
}

// signs reports whether a certificate may be of the role. No means that it is not; what
// it signs is compared with the old one before anybody gets it. Of a role that keeps no
// certificates nobody could tell afterwards what was signed.
func (r pkiRole) signs(old *x509.Certificate) bool {
	kind := r.text("key_type")
	return !r.has("no_store") && (kind == "any" || kind == keyKind(old.PublicKey)) && r.usedFor(old) && r.allowsNames(old)
}

// usedFor compares what the certificate is for.
func (r pkiRole) usedFor(old *x509.Certificate) bool {
	if len(r.list("ext_key_usage"))+len(r.list("ext_key_usage_oids")) > 0 {
		return true // more than the flags say
	}
	for flag, usage := range map[string]x509.ExtKeyUsage{
		"server_flag": x509.ExtKeyUsageServerAuth, "client_flag": x509.ExtKeyUsageClientAuth,
		"code_signing_flag": x509.ExtKeyUsageCodeSigning, "email_protection_flag": x509.ExtKeyUsageEmailProtection,
	} {
		if r.has(flag) != slices.Contains(old.ExtKeyUsage, usage) {
			return false
		}
	}
	return true
}

func (r pkiRole) allowsNames(old *x509.Certificate) bool {
	if len(old.IPAddresses) > 0 && !r.has("allow_ip_sans") || len(old.URIs) > 0 && len(r.list("allowed_uri_sans")) == 0 {
		return false
	}
	names := slices.Concat(old.DNSNames, old.EmailAddresses)
	if old.Subject.CommonName != "" {
		names = append(names, old.Subject.CommonName)
	}
	return !slices.ContainsFunc(names, func(name string) bool { return !r.allows(name) })
}

// allows reports whether the role may take a name.
func (r pkiRole) allows(name string) bool {
	if r.has("allow_any_name") || r.has("allow_token_displayname") || r.has("allowed_domains_template") {
		return true // Vault decides
	}
	if r.has("allow_localhost") && (name == "localhost" || name == "localdomain") {
		return true
	}
	if _, host, ok := strings.Cut(name, "@"); ok {
		name = host
	}
	return slices.ContainsFunc(r.list("allowed_domains"), func(domain string) bool {
		switch {
		case strings.EqualFold(name, domain):
			return r.has("allow_bare_domains") || r.has("allow_glob_domains")
		case strings.HasSuffix(strings.ToLower(name), "."+strings.ToLower(domain)):
			return r.has("allow_subdomains")
		}
		return r.has("allow_glob_domains") && strings.Contains(domain, "*")
	})
}
