package provider

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/rules"
)

func (e *transits) whyNoRevoke(rule *rules.Rule) string { return e.ready(rule) }

func (e *transits) whyNoIssue(rule *rules.Rule) string { return e.ready(rule) }

func (e *transits) holds(_ *rules.Rule, t Target) string {
	if path := t.Identity[transitPath]; path != "" {
		return "vault " + path
	}
	return ""
}

// moves says what is to be done with what was encrypted before the leaked versions end.
func (e *transits) moves(_ *rules.Rule, t Target, _ checks.Credential) string {
	path, version := t.Identity[transitPath], t.Identity[transitVersion]
	if path == "" {
		path, version = "MOUNT/keys/NAME", "N"
	}
	mount, name := cutTransit(path)
	return fmt.Sprintf("Have all that versions up to %s of %s have encrypted encrypted anew (vault write %s/rewrap/%s ciphertext=…), and what they have signed signed anew", version, path, mount, name)
}

// live is the key that a backup is of, if its engine takes a version of it now; the zero
// transitKey when none does. In two engines it is not certain which one was meant: what
// cannot be done then is a definite refusal.
func (e *transits) live(ctx context.Context, rule *rules.Rule, t Target, cannot error) (transitKey, Evidence, error) {
	backup, err := readBackup(t.Secret().Expose())
	if err != nil {
		return transitKey{}, Evidence{}, fmt.Errorf("%s: %w: %w", rule.ID, cannot, err)
	}
	found, evidence, why := e.find(ctx, backup)
	switch {
	case why != "":
		return transitKey{}, evidence, unfit("look for the key of", rule, why, evidence)
	case len(found) > 1:
		return transitKey{}, evidence, fmt.Errorf("%s: %w: the key is in use as %s and as %s: delete the one that is not needed, or raise its min_decryption_version above %d", rule.ID, cannot, found[0].path(), found[1].path(), found[1].version)
	case len(found) == 0:
		return transitKey{}, evidence, nil
	}
	return found[0], evidence, nil
}

// issue has the engine make a version after those that leaked, unless there is one, and
// encrypt with none before it. Asked again it finds the version that it made.
func (e *transits) issue(ctx context.Context, rule *rules.Rule, r Request) (checks.Credential, error) {
	k, _, err := e.live(ctx, rule, r.Old, ErrCannotIssue)
	if err != nil {
		return checks.Credential{}, err
	}
	if k.version == 0 {
		return checks.Credential{}, fmt.Errorf("issue %s: %w: no transit engine of STANCH_VAULT_TRANSIT_MOUNTS takes a version of it", rule.ID, ErrCannotIssue)
	}
	if evidence, why := e.renew(ctx, k); why != "" {
		if slices.Contains([]int{http.StatusBadRequest, http.StatusForbidden, http.StatusNotFound}, evidence.Status) { // the engine does not want to
			return checks.Credential{}, fmt.Errorf("issue %s: %w: %s", rule.ID, ErrCannotIssue, why)
		}
		return checks.Credential{}, unfit("issue", rule, why, evidence)
	}
	return withSecret(r.Old.Credential, k.replacement()), nil
}

// renew makes sure that there is a version after those that leaked, and that only such
// versions encrypt.
func (e *transits) renew(ctx context.Context, k transitKey) (evidence Evidence, why string) {
	if k.latest == k.version {
		_, evidence, why = e.vault.asked(ctx, fmt.Sprintf(rotateTransit, k.mount, k.name), map[string]any{})
	}
	if why == "" && k.minEncryption <= k.version {
		evidence, why = e.set(ctx, k, map[string]any{"min_encryption_version": k.version + 1})
	}
	return evidence, why
}

func (e *transits) set(ctx context.Context, k transitKey, limits map[string]any) (Evidence, string) {
	_, evidence, why := e.vault.asked(ctx, fmt.Sprintf(setTransit, k.mount, k.name), limits)
	return evidence, why
}

// disable has the engine decrypt with no version that leaked.
func (e *transits) disable(ctx context.Context, rule *rules.Rule, t Target) (Receipt, error) {
	k, evidence, err := e.live(ctx, rule, t, ErrCannotDisable)
	switch {
	case err != nil:
		return Receipt{}, err
	case k.version == 0:
		return Receipt{Meaning: rules.MeansAlreadyDead, Evidence: evidence}, nil
	}
	evidence, why := e.renew(ctx, k)
	if why == "" {
		evidence, why = e.set(ctx, k, map[string]any{transitBefore: k.version + 1})
	}
	if why != "" {
		return Receipt{}, unfit("disable", rule, why, evidence)
	}
	evidence.Answer += fmt.Sprintf("; min_decryption_version is %d", k.version+1)
	return Receipt{Meaning: rules.MeansRevoked, Evidence: evidence}, nil
}

// cutTransit takes "team/transit/keys/orders" apart. No key has a slash in its name.
func cutTransit(path string) (mount, name string) {
	at := max(0, strings.LastIndex(path, "/keys/"))
	return path[:at], strings.TrimPrefix(path[at:], "/keys/")
}

// ended is the key whose leaked versions were refused on Stanch's word, as it was when it
// was verified: by then no HMAC proves any more whose they are.
func ended(t Target) (k transitKey, why string) {
	mount, name := cutTransit(t.Identity[transitPath])
	version, err := strconv.Atoi(t.Identity[transitVersion])
	before, unknown := strconv.Atoi(t.Identity[transitBefore])
	if mount == "" || err != nil || unknown != nil || !transitName.MatchString(name) {
		return k, "which key it is, and how it was set before, is not known"
	}
	return transitKey{mount: mount, name: name, version: version, minDecryption: before}, ""
}

// enable lets the engine decrypt with what it decrypted with before. It goes on to
// encrypt with the newer version alone.
func (e *transits) enable(ctx context.Context, rule *rules.Rule, t Target) (Receipt, error) {
	cannot := func(why string) (Receipt, error) {
		return Receipt{}, fmt.Errorf("enable %s: %w: %s", rule.ID, ErrCannotDisable, why)
	}
	was, why := ended(t)
	if why != "" {
		return cannot(why)
	}
	k, evidence, why := e.read(ctx, was.mount, was.name)
	switch {
	case why != "":
		return Receipt{}, unfit("enable", rule, why, evidence)
	case k.latest == 0:
		return cannot(k.path() + " is gone")
	case k.minDecryption <= was.minDecryption:
		return Receipt{Meaning: rules.MeansAccepted, Evidence: evidence}, nil
	case k.minDecryption != was.version+1:
		return cannot(fmt.Sprintf("%s has another min_decryption_version (%d) than Stanch set: somebody has changed it", k.path(), k.minDecryption))
	case k.minAvailable > was.minDecryption:
		return cannot(k.path() + " has been trimmed: the versions are gone")
	}
	if evidence, why = e.set(ctx, k, map[string]any{transitBefore: was.minDecryption}); why != "" {
		return Receipt{}, unfit("enable", rule, why, evidence)
	}
	evidence.Answer += fmt.Sprintf("; min_decryption_version is %d", was.minDecryption)
	return Receipt{Meaning: rules.MeansAccepted, Evidence: evidence}, nil
}

// revoke has the engine destroy the leaked versions, and with them all that nobody
// encrypted anew. It does so only with versions that it refuses already. A key of that
// name that takes versions which are not those of the backup is another one.
func (e *transits) revoke(ctx context.Context, rule *rules.Rule, t Target) (Receipt, error) {
	taken, _, err := e.live(ctx, rule, t, ErrCannotRevoke)
	if err != nil {
		return Receipt{}, err
	}
	if taken.version > 0 {
		return Receipt{}, fmt.Errorf("revoke %s: %w: %s takes version %d, which is to be disabled first", rule.ID, ErrCannotRevoke, taken.path(), taken.version)
	}
	was, why := ended(t)
	if why != "" {
		return Receipt{}, fmt.Errorf("revoke %s: %s", rule.ID, why)
	}
	k, evidence, why := e.read(ctx, was.mount, was.name)
	if why == "" && (k.latest == 0 || k.minDecryption <= was.version || k.minAvailable > was.version) {
		return Receipt{Meaning: rules.MeansAlreadyDead, Evidence: evidence}, nil
	}
	if why == "" {
		_, evidence, why = e.vault.asked(ctx, fmt.Sprintf(trimTransit, k.mount, k.name), map[string]any{"min_available_version": was.version + 1})
	}
	if why != "" {
		return Receipt{}, unfit("revoke", rule, why, evidence)
	}
	evidence.Answer += fmt.Sprintf("; versions up to %d are destroyed", was.version)
	return Receipt{Meaning: rules.MeansRevoked, Evidence: evidence}, nil
}

func (e *transits) tell(*rules.Rule) Calls {
	at := func(call string) string {
		method, path, _ := strings.Cut(fmt.Sprintf(call, strings.Join(e.mounts, "|"), "NAME"), " ")
		return method + " " + e.vault.addr + path
	}
	return Calls{
		Verify: at(verifyHMAC), Issue: at(rotateTransit) + ", then its min_encryption_version",
		Disable: at(setTransit) + " (min_decryption_version, above the leaked versions)",
		Enable:  at(setTransit) + " (min_decryption_version, as it was)",
		Revoke:  at(trimTransit) + " (all that nobody encrypted anew is lost with it)",
	}
}
