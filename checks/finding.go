package checks

import (
	"time"

	"github.com/stanch-dev/stanch/rules"
)

// A Finding is one secret at one place.
type Finding struct {
	Rule *rules.Rule
	// Credential is what was found, with all its parts.
	Credential Credential
	// Fingerprint names the secret part under the key given to the Scanner.
	Fingerprint Fingerprint
	// Redacted shows the kind of value and not the value: the rule's public
	// prefix and asterisks, "ghp_************".
	Redacted string

	Location

	// Excerpt is the line that the finding is on, with every credential in it
	// hidden, cut to what is near. It is what the file's author wrote: who shows it
	// escapes it.
	Excerpt string

	// Encodings says what the secret was wrapped in, outermost first: "base64",
	// "gzip". The location is that of the wrapping, as the file has it.
	Encodings []string
	// Inside is the place within an archive, "conf.tar!etc/app.env:12", when the
	// location's file is one. The location is then its beginning.
	Inside string

	// Marker is the word on its lines that says that this is no leak, "stanch:allow"
	// or another scanner's, if there is one. Whether it counts is up to who reports:
	// it was written by whoever wrote the secret.
	Marker string

	// AllowedIn lists the commits, by their full ids, in which a rule's list of
	// exceptions says that this is no leak.
	AllowedIn []string
	// Excused is the Excuse of a list that says that this is no leak, and ExcusedIn
	// those of the lists that say it of one commit, by its full id in lower case.
	Excused   string
	ExcusedIn map[string]string

	Validity Validity // what the provider said; Unverified until somebody asked
}

// A Location says where a finding is. Lines and columns are 1-based; columns
// count bytes, and EndColumn is one past the last byte, as in SARIF.
type Location struct {
	Path      string // slash-separated, relative to the root that was scanned
	Line      int
	Column    int
	EndLine   int
	EndColumn int
	// The same columns in characters, for editors and pages that count these.
	CharColumn    int
	EndCharColumn int

	// The commit that added the line, empty when no commit is involved.
	Commit string
	Author string    // "Name <email>"
	Date   time.Time // the commit's author date
}

// A Credential is a secret with the parts that belong to it, as a provider
// needs them: "secret" always, and for kinds of several parts also the others
// that the rule's pattern and companions name, such as "id".
type Credential struct {
	Rule  string // the rule's id
	Parts map[string]Secret
}

// PartSecret is the name of the part that every credential has.
const PartSecret = "secret"

// Secret is the part that must stay secret.
func (c Credential) Secret() Secret { return c.Parts[PartSecret] }

// Validity is GitHub's word for whether a credential works.
type Validity string

// The validities. Unknown means that somebody asked and could not tell.
const (
	Unverified Validity = ""
	Active     Validity = "active"
	Inactive   Validity = "inactive"
	Unknown    Validity = "unknown"
)

// An Incomplete is the error of a scan that ended before it had seen everything.
// What was found until then is true.
type Incomplete struct{ Reason string }

func (e *Incomplete) Error() string { return e.Reason }
