// Package rules is the catalogue: what Stanch knows about each kind of
// credential. One YAML file describes one provider, with the whole life of each
// of its credentials on one screen: how it is detected, how it is verified,
// revoked and issued anew, what a person does when no program can, and examples
// that prove the pattern.
//
// The package knows; it does nothing. It opens no connection and reads no clock.
package rules

import (
	"regexp"
	"slices"
)

// A Provider is one file of the catalogue: the kinds of credential that one
// company or product hands out.
type Provider struct {
	Name    string `yaml:"provider"` // short lower-case name, equal to the file's name
	Title   string `yaml:"title"`    // as people write it: "GitHub"
	Website string `yaml:"website"`  // where the formats are documented

	// Base is the URL that request paths are appended to. It is the provider's
	// public host, or empty for products that each operator hosts himself: then
	// the operator names the host, never the scanned text.
	Base string `yaml:"base"`
	// Elsewhere says that hosts other than Base give out credentials of the same
	// shapes: installations of the product, or its other regions. A refusal at Base
	// does not say then that a credential is dead.
	Elsewhere bool `yaml:"elsewhere"`
	// Rate is how often the provider is asked at the most, all questions together,
	// such as "5/s", "60/m" or "1000/h"; see ParseRate. DefaultRate when it is empty.
	Rate string `yaml:"rate"`

	Rules []*Rule `yaml:"rules"`

	builtin bool // it came with the program
}

// Builtin reports whether the rule came with the program, so that tests have
// linted and compiled it.
func (r *Rule) Builtin() bool {
	return r.Provider != nil && r.Provider.builtin && slices.Contains(r.Provider.Rules, r) // and is no changed copy
}

// A Rule describes one kind of credential.
type Rule struct {
	ID       string   `yaml:"id"`       // stable, unique in the catalogue: "github-pat"
	Title    string   `yaml:"title"`    // "GitHub personal access token (classic)"
	Severity Severity `yaml:"severity"` // how bad it is while it is live

	Detect Detect `yaml:"detect"`

	// What can be done about it. The zero Action means that there is no such
	// thing for this kind: nobody verifies a private key by asking.
	Verify Action `yaml:"verify"`
	Revoke Action `yaml:"revoke"`
	Issue  Action `yaml:"issue"`
	// BlastRadius says where the provider tells what the credential can do.
	BlastRadius *BlastRadius `yaml:"blast_radius"`

	// Runbook says, in one or two sentences and a link, what a person does.
	Runbook string `yaml:"runbook"`

	// Sample is the template of one random value of this shape, for instance
	// 'ghp_{30:base62}{crc32}'. Tests expand it where examples say {sample}; the
	// verifier expands it for its negative control. See Expand.
	Sample string `yaml:"sample"`
	// Examples are texts in which this rule, and no other, finds something.
	Examples []string `yaml:"examples"`
	// Counterexamples are texts in which no rule finds anything.
	Counterexamples []string `yaml:"counterexamples"`

	Provider *Provider `yaml:"-"` // the file that the rule stands in; set by Load
}

// Severity says how bad a live credential of a kind is.
type Severity string

// The severities, worst first.
const (
	Critical Severity = "critical"
	High     Severity = "high"
	Medium   Severity = "medium"
	Low      Severity = "low"
)

// Detect says how a credential of a kind is recognised in text.
type Detect struct {
	// Keywords are literals of which one must occur in the text, whatever its
	// letter case, before Pattern is tried near it.
	Keywords []string `yaml:"keywords"`
	// Pattern is an RE2 expression. Its group named "secret" is the credential;
	// other named groups are parts that name it, such as "id". Without a group
	// named "secret" the whole match is the secret.
	Pattern string `yaml:"pattern"`
	// Value, in place of Pattern, is an RE2 expression of the whole value of a kind
	// that has no shape of its own to be known by, such as 32 hexadecimal digits.
	// It is looked for where such a value is given to a name that holds a keyword:
	// assignments, keys and flags of all common languages and formats.
	Value string `yaml:"value"`
	// Names, with Value, is an RE2 expression that must match somewhere in that
	// name, of which only the letters, in lower case, and the digits are left:
	// DD_API_KEY and dd-api-key are both "ddapikey".
	Names string `yaml:"names"`
	// Entropy is the least Shannon entropy, in bits a character, of the secret.
	Entropy float64 `yaml:"entropy"`
	// Checksum names the checksum that the secret must carry; see Checksums.
	Checksum string `yaml:"checksum"`
	// Reach is how many bytes after a keyword a match may end, 512 when zero.
	// Only long things such as private keys need more.
	Reach int `yaml:"reach"`
	// Companions are other parts that stand near the match.
	Companions []Companion `yaml:"companions"`
	// Placeholders, when true, turns on the judgement that sorts out passwords
	// that nobody uses: "changeme", "<password>", "${DB_PASSWORD}".
	Placeholders bool `yaml:"placeholders"`
	// Fallback, when true, lets the find of any other rule win over this one's: for
	// forms that many providers' credentials have.
	Fallback bool `yaml:"fallback"`
	// Exact, when true, makes that judgement a lenient one: where the place proves
	// that a value is a password, as in a URL, only what is a stand-in as a whole
	// is sorted out.
	Exact bool `yaml:"exact"`

	// Group, when positive, is the number of the group of Pattern that is the
	// credential, in place of the one named "secret"; FirstGroup is the first group
	// that is not empty, whichever that is in a match.
	Group int `yaml:"group"`
	// Path is an RE2 expression of the paths that the rule is for, all when empty.
	// A rule that has neither Pattern nor Value reports the files themselves.
	Path string `yaml:"path"`
	// Allow lists what the rule finds and nobody wants to hear of.
	Allow []Allow `yaml:"allow"`
	// Required names rules of which each must have found something near a finding
	// of this one; without it there is no finding.
	Required []Requirement `yaml:"required"`
	// SkipReport keeps the rule's findings out of reports: they only serve other
	// rules as what these require.
	SkipReport bool `yaml:"skip_report"`
}

// ByPath reports whether the rule reports files by their paths alone: what it finds
// is a name and no secret.
func (d *Detect) ByPath() bool { return d.Path != "" && d.Pattern == "" && d.Value == "" }

// Parts returns the names of what a credential of the kind is made of: the secret, and
// what the pattern and the companions give names to.
func (d *Detect) Parts() []string {
	names := []string{"secret"}
	for _, m := range groupName.FindAllStringSubmatch(d.Pattern+d.Value, -1) {
		names = append(names, m[1])
	}
	for _, c := range d.Companions {
		names = append(names, c.Name)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

var groupName = regexp.MustCompile(`\(\?P?<([a-zA-Z][a-zA-Z0-9_]*)>`)

// FirstGroup is the Detect.Group for the first group that is not empty.
const FirstGroup = -1

// An Allow says which findings are no leak. One of its criteria suffices, unless
// All is set.
type Allow struct {
	Description string   `yaml:"description"`
	Rules       []string `yaml:"rules"` // the ids of the rules it is for, all when empty; only where no rule holds it
	// All requires that each kind of criterion that is given holds.
	All     bool     `yaml:"all"`
	Commits []string `yaml:"commits"` // full ids of commits, in hexadecimal
	Paths   []string `yaml:"paths"`   // RE2, found somewhere in the path
	Regexes []string `yaml:"regexes"` // RE2, found somewhere in the target
	// Target is what Regexes look at: the "secret", which is meant when it is empty,
	// the whole "match", or the "line".
	Target    string   `yaml:"target"`
	Stopwords []string `yaml:"stopwords"` // in the secret, whatever their letter case
	// Expression is a condition that holds for what is allowed, in the language that
	// package checks describes at Allowlist.
	Expression string `yaml:"expression"`
	// Excuse, when not empty, keeps what is allowed among the findings, and each says
	// Excuse: for whoever asks the provider first, because a live credential is a
	// leak whatever a list says.
	Excuse string `yaml:"-"`
}

// Allowing returns the rule with what lists for several rules allow of its findings.
func (r *Rule) Allowing(all []Allow) *Rule {
	c := *r
	c.Detect.Allow = slices.Clone(r.Detect.Allow)
	for _, a := range all {
		if len(a.Rules) == 0 || slices.Contains(a.Rules, r.ID) {
			a.Rules = nil
			c.Detect.Allow = append(c.Detect.Allow, a)
		}
	}
	if len(c.Detect.Allow) == len(r.Detect.Allow) {
		return r
	}
	return &c
}

// A Requirement is a rule that must have found something near a finding.
type Requirement struct {
	ID            string `yaml:"id"`
	WithinLines   *int   `yaml:"within_lines"`   // how many lines away at most; anywhere in the file when nil
	WithinColumns *int   `yaml:"within_columns"` // and how many columns
}

// A Companion is another part of a credential of several parts, such as the
// secret access key that stands within a few lines of an AWS access key id.
type Companion struct {
	Name    string `yaml:"name"`    // the part's name in the credential
	Pattern string `yaml:"pattern"` // RE2, with a group of the same name
	Within  int    `yaml:"within"`  // lines before and after the match
	// Required companions decide the finding: without one there is none.
	Required bool `yaml:"required"`
}
