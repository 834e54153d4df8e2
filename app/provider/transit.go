package provider

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/rules"
)

// transits verifies, replaces and ends leaked keys of Vault's and OpenBao's transit
// engines. What leaks is a backup, in which are all versions of a key. Beside each
// version stands a key for HMACs that was made with it, and by which the engine verifies
// as long as it decrypts with that version: so an HMAC of a random text proves that the
// engine has this very version and takes it, of every type of key, and Stanch need not
// be allowed to decrypt anything.
// https://developer.hashicorp.com/vault/api-docs/secret/transit
type transits struct {
	vault  *vault
	mounts []string
}

// What is asked of a mount about a key.
const (
	verifyHMAC    = "POST /v1/%s/verify/%s"
	readTransit   = "GET /v1/%s/keys/%s"
	rotateTransit = "POST /v1/%s/keys/%s/rotate"
	setTransit    = "POST /v1/%s/keys/%s/config"
	trimTransit   = "POST /v1/%s/keys/%s/trim"
)

// What the engine says of a version that it does not verify with.
const (
	saysTooOld = "version is too old" // below min_decryption_version
	saysTooNew = "version is too new" // there is none
	saysNoKey  = "encryption key not found"
)

// The identity of a leaked key.
const (
	transitPath    = "transit"                // "transit/keys/orders"
	transitVersion = "version"                // the newest that leaked and is taken; those before it leaked too
	transitBefore  = "min_decryption_version" // when it was verified
)

// maxProbes bounds how many versions of a backup a mount is asked about.
const maxProbes = 100

func newTransits(v *vault, mounts []string) *transits {
	e := &transits{vault: v}
	for _, mount := range mounts {
		e.mounts = append(e.mounts, strings.Trim(mount, "/"))
	}
	return e
}

func (e *transits) ready(*rules.Rule) string {
	if why := e.vault.whyNoIssue(nil); why != "" {
		return why
	}
	if len(e.mounts) == 0 {
		return "STANCH_VAULT_TRANSIT_MOUNTS names no transit engine of Vault"
	}
	return ""
}

func (e *transits) host(*rules.Rule, checks.Credential) string {
	return e.vault.addr + "/v1/" + strings.Join(e.mounts, ",")
}

// A transitBackup is a key as a leaked backup has it.
type transitBackup struct {
	name string
	macs map[int][]byte // the key for HMACs of each version
}

// transitName is what a key can be called. It stands in the path of requests, and comes
// from what strangers wrote.
var transitName = regexp.MustCompile(`^\w(?:[\w.-]{0,200}\w)?$`)

var errNoBackup = errors.New("not a backup of a transit key that can be read")

// readBackup reads a backup. Versions below min_decryption_version stand in the archive,
// where the place of each is its number.
func readBackup(text string) (transitBackup, error) {
	type version struct {
		MAC []byte `json:"hmac_key"`
	}
	var in struct {
		Policy struct {
			Name string
			Keys map[int]version
		}
		Archived struct{ Keys []version } `json:"archived_keys"`
	}
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil || json.Unmarshal(raw, &in) != nil || !transitName.MatchString(in.Policy.Name) {
		return transitBackup{}, errNoBackup
	}
	b := transitBackup{name: in.Policy.Name, macs: map[int][]byte{}}
	for n, v := range in.Archived.Keys {
		if len(v.MAC) > 0 {
			b.macs[n] = v.MAC
		}
	}
	for n, v := range in.Policy.Keys {
		if len(v.MAC) > 0 {
			b.macs[n] = v.MAC
		}
	}
	if len(b.macs) == 0 {
		return transitBackup{}, errNoBackup
	}
	return b, nil
}

// random is a backup of a key that is in no engine.
func (e *transits) random(cred checks.Credential) checks.Credential {
	type object map[string]any
	text, _ := json.Marshal(object{"policy": object{
		"name": "stanch-" + rand.Text(), "keys": object{"1": object{"hmac_key": []byte(rand.Text())}},
	}}) // texts cannot fail
	return withSecret(cred, checks.NewSecret(base64.StdEncoding.EncodeToString(text)))
}

// A transitKey is a key as its engine has it.
type transitKey struct {
	mount, name   string
	version       int // the newest that leaked and is taken
	latest        int
	minDecryption int
	minEncryption int
	minAvailable  int
	kind          string
}

func (k transitKey) path() string { return k.mount + "/keys/" + k.name }

func (k transitKey) identity() map[string]string {
	return map[string]string{
		transitPath: k.path(), transitVersion: strconv.Itoa(k.version), "type": k.kind,
		transitBefore: strconv.Itoa(k.minDecryption), "latest_version": strconv.Itoa(k.latest),
	}
}

func (e *transits) verify(ctx context.Context, _ *rules.Rule, cred checks.Credential) (Verdict, error) {
	if fresh, ok := e.parseVersion(cred.Secret()); ok {
		return e.verifyVersion(ctx, fresh), nil
	}
	verdict := Verdict{Validity: checks.Unknown, Grade: GradeC, Reason: ReasonNotAsked, Evidence: Evidence{Request: "read the backup", At: e.vault.now()}}
	backup, err := readBackup(cred.Secret().Expose())
	if err != nil {
		verdict.Evidence.Answer = err.Error()
		return verdict, nil
	}
	found, evidence, why := e.find(ctx, backup)
	verdict.Reason, verdict.Evidence = "", evidence
	switch {
	case why != "":
		verdict.Evidence.Answer = why
	case len(found) > 0:
		verdict.Validity, verdict.Evidence.Identity = checks.Active, shortened(found[0].identity())
	default:
		// Other servers' keys have names like this too.
		verdict.Validity, verdict.SelfHosted = checks.Inactive, true
	}
	return verdict, nil
}

// find looks for the mounts that take a version of a backup, as they are now.
func (e *transits) find(ctx context.Context, b transitBackup) (found []transitKey, evidence Evidence, why string) {
	for _, mount := range e.mounts {
		version, seen, why := e.newest(ctx, mount, b)
		if why != "" {
			return nil, seen, why
		}
		if version == 0 {
			// Whose name it is says more than where there is none.
			if len(found) == 0 && (evidence.Request == "" || strings.Contains(evidence.Answer, saysNoKey)) {
				evidence = seen
			}
			continue
		}
		k, asked, why := e.read(ctx, mount, b.name)
		switch {
		case why != "":
			return nil, asked, why
		case k.latest == 0:
			return nil, asked, k.path() + " is gone since a moment"
		case len(k.path()) > maxText:
			return nil, asked, "the path of the key is longer than Stanch remembers" // cut short, it would be another’s
		}
		k.version = version
		if found = append(found, k); len(found) == 1 {
			evidence = seen
		}
	}
	return found, evidence, ""
}

// newest is the newest version of a backup that a mount takes; 0 when it takes none.
// Whose a key of that name is, only the HMACs tell.
func (e *transits) newest(ctx context.Context, mount string, b transitBackup) (version int, evidence Evidence, why string) {
	numbers := slices.Sorted(maps.Keys(b.macs))
	slices.Reverse(numbers)
	for n, number := range numbers {
		if n == maxProbes {
			return 0, evidence, fmt.Sprintf("none of the %d newest versions of the backup is that of %s/keys/%s; there are more", maxProbes, mount, b.name)
		}
		var got reply
		evidence, got = e.probe(ctx, mount, b.name, number, b.macs[number])
		valid, _ := got.field("data.valid")
		switch {
		case done(got) && valid == "true":
			evidence.Answer = fmt.Sprintf("200 version %d is taken", number)
			return number, evidence, ""
		case says(got, http.StatusBadRequest, saysTooOld), says(got, http.StatusBadRequest, saysNoKey):
			return 0, evidence, "" // and so are all before it
		case done(got) && valid == "false":
			evidence.Answer = fmt.Sprintf("200 version %d is another key’s", number)
		case says(got, http.StatusBadRequest, saysTooNew):
		default:
			return 0, evidence, unmet(fmt.Sprintf(verifyHMAC, mount, b.name), got, evidence)
		}
	}
	return 0, evidence, ""
}

// probe asks a mount about an HMAC of a random text.
func (e *transits) probe(ctx context.Context, mount, name string, version int, key []byte) (Evidence, reply) {
	text := []byte(rand.Text())
	mac := hmac.New(sha256.New, key)
	mac.Write(text)
	return e.vault.call(ctx, fmt.Sprintf(verifyHMAC, mount, name), e.vault.own, map[string]any{
		"input": base64.StdEncoding.EncodeToString(text),
		"hmac":  fmt.Sprintf("vault:v%d:%s", version, base64.StdEncoding.EncodeToString(mac.Sum(nil))),
	})
}

// read reads what the engine tells of a key, which is no secret. Of one that is not there
// the latest version is 0.
func (e *transits) read(ctx context.Context, mount, name string) (k transitKey, evidence Evidence, why string) {
	k = transitKey{mount: mount, name: name}
	what := fmt.Sprintf(readTransit, mount, name)
	evidence, got := e.vault.call(ctx, what, e.vault.own, nil)
	number := func(field string) int {
		text, _ := got.field("data." + field)
		n, _ := strconv.Atoi(text)
		return n
	}
	switch {
	case got.fault == "" && got.status == http.StatusNotFound && len(complaints(got)) == 0:
		return k, evidence, ""
	case !done(got):
		return k, evidence, unmet(what, got, evidence)
	}
	k.kind, _ = got.field("data.type")
	k.latest, k.minAvailable = number("latest_version"), number("min_available_version")
	k.minDecryption, k.minEncryption = number(transitBefore), number("min_encryption_version")
	if k.latest == 0 {
		why = evidence.Request + " tells no latest_version"
	}
	return k, evidence, why
}

// A replacement never leaves its engine. It is named, as in "transit/keys/orders version 4".
var transitReference = regexp.MustCompile(`^(\S{1,200})/keys/(\S{1,202}) version ([1-9][0-9]{0,8})$`)

func (k transitKey) replacement() checks.Secret {
	return checks.NewSecret(fmt.Sprintf("%s version %d", k.path(), k.version+1))
}

// parseVersion reads what names a replacement at one of the mounts.
func (e *transits) parseVersion(text checks.Secret) (transitKey, bool) {
	m := transitReference.FindStringSubmatch(text.Expose())
	if m == nil || !slices.Contains(e.mounts, m[1]) || !transitName.MatchString(m[2]) {
		return transitKey{}, false
	}
	version, _ := strconv.Atoi(m[3])
	return transitKey{mount: m[1], name: m[2], version: version}, true
}

// verifyVersion tells whether the engine encrypts with a version, and with none before it.
func (e *transits) verifyVersion(ctx context.Context, fresh transitKey) Verdict {
	k, evidence, why := e.read(ctx, fresh.mount, fresh.name)
	verdict := Verdict{Validity: checks.Unknown, Grade: GradeC, Evidence: evidence}
	switch {
	case why != "":
		verdict.Evidence.Answer = why
	case k.latest < fresh.version || k.minEncryption < fresh.version:
		verdict.Validity, verdict.Evidence.Answer = checks.Inactive, fmt.Sprintf("200 versions before %d may encrypt", fresh.version)
	default:
		k.version = fresh.version
		verdict.Validity, verdict.Evidence.Answer = checks.Active, fmt.Sprintf("200 only versions from %d on encrypt", fresh.version)
		verdict.Evidence.Identity = shortened(k.identity())
	}
	return verdict
}
