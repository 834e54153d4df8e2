// Package secretstore is where live credentials are kept: it finds the place
// that holds a leaked value, puts the replacement there, and destroys the old
// version when that is proved dead.
//
// The stores have the same behaviour. Vault speaks to KV version 2 of HashiCorp Vault
// and OpenBao, AWS to AWS Secrets Manager, GCP to Google Cloud's Secret Manager, Azure
// to Key Vaults. File is one encrypted file, for those who have none of them. All keep
// versions, and replace a value only if nobody else has replaced it meanwhile.
//
// A store is searched by fingerprint. None keeps values in memory for that: File reads
// itself anew each time, and the others remember keyed hashes.
package secretstore

import (
	"cmp"
	"crypto/subtle"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"github.com/stanch-dev/stanch/checks"
)

// A Location is one field of one version of a secret.
type Location struct {
	Store string `json:"store"`
	Path  string `json:"path"`
	Field string `json:"field"`
	// Version is the version's name in its store: a number that grows, or an id. It
	// is empty for a secret that does not exist yet, and where a store keeps none.
	Version Version `json:"version"`
	// Superseded means that the version is not the current one: it still holds
	// the value, but whoever reads the secret gets another.
	Superseded bool `json:"superseded,omitempty"`
	// Owner is whom the store names as responsible for the secret, if it does: for
	// those who operate Stanch, not for everybody who may read a check.
	Owner string `json:"owner,omitempty"`
}

// Mention is how those who read the secret name it in their files: without the region,
// project, vault or namespace before it, which they write elsewhere, and without Vault's
// mount, behind which calls of its API have another word.
func (l Location) Mention() string {
	_, rest, _ := strings.Cut(l.Path, "/")
	switch {
	case l.Store == "gcp" || l.Store == "azure" || l.Store == "kubernetes":
		return l.Path[strings.LastIndex(l.Path, "/")+1:]
	case l.Store == "aws", l.Store == "vault" && strings.Contains(rest, "/"):
		return rest
	}
	return l.Path
}

// String says where it is, for everybody.
func (l Location) String() string {
	text := l.Store + ": " + l.Path
	if l.Field != "" {
		text += ", field " + l.Field
	}
	if l.Version != "" {
		text += ", version " + string(l.Version)
	}
	if l.Superseded {
		text += " (superseded)"
	}
	return text
}

// What callers branch on.
var (
	// ErrConflict means that the secret has changed since the Location was made:
	// nothing was written. Locate it again.
	ErrConflict = errors.New("the secret has changed meanwhile")
	// ErrNotFound means that there is no such secret, field or version.
	ErrNotFound = errors.New("no such secret")
	// errNoFields means that a field was to be put into a text that has none.
	errNoFields = errors.New("the secret is no JSON object and has no fields")
	// ErrTooMany means that the store holds more secrets than may be searched.
	ErrTooMany = errors.New("more secrets than may be searched")
)

// operationKey is the metadata that names the operation which wrote a version.
const operationKey = "stanch_operation"

// ownerKey is the metadata that names a secret's owner. Vault has none of its own.
const ownerKey = "owner"

// maxOwner bounds how much of it is shown.
const maxOwner = 80

// owner makes a name of metadata fit to be shown on one line.
func owner(text string) string {
	text = strings.Join(strings.FieldsFunc(text, func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) }), " ")
	if len(text) > maxOwner {
		text = strings.ToValidUTF8(text[:maxOwner], "") + "…"
	}
	return text
}

// fields names, by fingerprint, the fields of a version.
type fields map[checks.Fingerprint][]string

// fingerprints takes the fingerprints of all values that are text, in each way in which
// they may leak; see readings. Values deeper down are not looked at: they have no field
// that could be replaced by itself.
func fingerprints[V any](key checks.FingerprintKey, values map[string]V) fields {
	found := fields{}
	for name, value := range values {
		text, _ := any(value).(string)
		for _, reading := range readings(text) {
			fp := checks.NewSecret(reading).Fingerprint(key)
			if !slices.Contains(found[fp], name) {
				found[fp] = append(found[fp], name)
			}
		}
	}
	return found
}

func sortLocations(all []Location) {
	slices.SortFunc(all, func(a, b Location) int {
		return cmp.Or(cmp.Compare(a.Path, b.Path), cmp.Compare(a.Field, b.Field), b.Version.compare(a.Version))
	})
}

// A Content is what a secret holds now: the values of its fields that are text.
type Content struct {
	Version Version
	Fields  map[string]checks.Secret
}

// content makes a Content of what is in the clear.
func content[V any](version Version, values map[string]V) Content {
	c := Content{Version: version, Fields: map[string]checks.Secret{}}
	for name, value := range values {
		if text, ok := any(value).(string); ok {
			c.Fields[name] = checks.NewSecret(text)
		}
	}
	return c
}

// has reports whether all fields have these values.
func (c Content) has(values map[string]checks.Secret) bool {
	for name, value := range values {
		if now, ok := c.Fields[name]; !ok || !same(now, value) {
			return false
		}
	}
	return true
}

func same(a, b checks.Secret) bool {
	return subtle.ConstantTimeCompare([]byte(a.Expose()), []byte(b.Expose())) == 1
}

// checkPut refuses what no store can do.
func checkPut(loc Location, values map[string]checks.Secret) error {
	if loc.Path == "" || len(values) == 0 {
		return fmt.Errorf("put %s: a path and a value are needed", loc)
	}
	for name, value := range values {
		if value.Len() == 0 {
			return fmt.Errorf("put %s: the value of field %q is empty", loc, name)
		}
	}
	return nil
}

// at is the same place at another version, which is the current one.
func (l Location) at(version Version) Location {
	l.Version, l.Superseded = version, false
	return l
}
