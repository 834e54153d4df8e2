package rules

import (
	"cmp"
	"slices"
	"strings"
	"unicode"
)

// A BlastRadius says where its provider tells what a live credential can do. Each
// field is a list of places, of which all that hold something are told:
//
//	user.login         a path of the JSON or XML body, as in Answer
//	scopes.*.name      the same of every element of a list
//	header:X-Scopes    a field of the header
//
// Where a verification has a driver of its own, a place is a name of its identity.
type BlastRadius struct {
	// Request, with the method GET, asks for it, after a verdict of the best grade and
	// no other. Without one the answer that verified the credential tells enough.
	Request *Request `yaml:"request"`

	Owner       []string `yaml:"owner"`       // whose it is
	Permissions []string `yaml:"permissions"` // what it may do: lists, or texts with commas or spaces
	Reach       []string `yaml:"reach"`       // what it may do that to: organisations, projects, databases
	LastUsed    []string `yaml:"last_used"`
	Expires     []string `yaml:"expires"`

	// Admin, Write and Read are the permissions that mean that, where their words do
	// not say so; see AccessOf. "*" in them stands for any text.
	Admin []string `yaml:"admin"`
	Write []string `yaml:"write"`
	Read  []string `yaml:"read"`
	// Access is what every credential of the kind may do, where the provider has no
	// permissions, or did not tell them.
	Access Access `yaml:"access"`
}

// Access is how much a credential may do.
type Access string

// The accesses, most first. None of them means that nobody knows.
const (
	AccessAdmin Access = "admin" // give itself or others more
	AccessWrite Access = "write"
	AccessRead  Access = "read"
)

// RadiusDriver is the name that lists show: the driver that asks for a kind's blast radius,
// or "-" when nobody does. What is not verified is not looked at either.
func (r *Rule) RadiusDriver() string {
	switch verify := r.Verify.DriverName(); {
	case r.BlastRadius == nil, verify == "-", verify == "manual":
		return "-"
	default:
		return verify
	}
}

// Fields are all places that are told.
func (b *BlastRadius) Fields() []string {
	return slices.Concat(b.Owner, b.Permissions, b.Reach, b.LastUsed, b.Expires)
}

// Header begins the places in a response's header.
const Header = "header:"

// The words in the names of permissions that tell how much they give.
var accessWords = []struct {
	access Access
	words  []string
}{
	{AccessAdmin, []string{"admin", "administrator", "owner", "root", "superuser", "sudo", "all", "full", "manage", "*"}},
	{AccessWrite, []string{"write", "create", "update", "delete", "edit", "editor", "send", "push", "publish", "modify", "readwrite", "insert", "execute", "maintainer", "developer", "member"}},
	{AccessRead, []string{"read", "list", "view", "viewer", "get", "select", "readonly", "query", "search"}},
}

// AccessOf tells how much a permission gives: what the kind says of it, or else the
// first of these words that stands in it, whatever else does. It is "" for one that
// has none.
func (b *BlastRadius) AccessOf(permission string) Access {
	if access := b.Named(permission); access != "" {
		return access
	}
	words := strings.FieldsFunc(strings.ToLower(permission), func(r rune) bool { return r != '*' && !unicode.IsLetter(r) })
	for _, says := range accessWords {
		if slices.ContainsFunc(words, func(w string) bool { return slices.Contains(says.words, w) }) {
			return says.access
		}
	}
	return ""
}

// Named tells how much a permission, or an owner such as root, may do by what the kind
// says of it; "" when it says nothing.
func (b *BlastRadius) Named(name string) Access {
	for _, says := range []struct {
		access   Access
		patterns []string
	}{{AccessAdmin, b.Admin}, {AccessWrite, b.Write}, {AccessRead, b.Read}} {
		if slices.ContainsFunc(says.patterns, func(p string) bool { return Like(p, name) }) {
			return says.access
		}
	}
	return ""
}

// Adjusted is how bad it is that a credential of a kind is live which may do so much:
// one that gives power is critical, one that writes is high at the least, and one
// that only reads is a step less than its kind.
func (s Severity) Adjusted(access Access) Severity {
	order := []Severity{Low, Medium, High, Critical}
	at := slices.Index(order, s)
	switch {
	case at < 0:
		return s
	case access == AccessAdmin:
		return Critical
	case access == AccessWrite:
		return order[max(at, slices.Index(order, High))]
	case access == AccessRead:
		return order[max(at-1, 0)]
	}
	return s
}

// blastRadius checks where it is said what a credential can do.
func (l *linter) blastRadius(b *BlastRadius, r *Rule, parts map[string]bool) {
	if b == nil {
		return
	}
	answered := b.Request != nil || r.Verify.Request != nil || r.Verify.Driver != "" && r.Verify.Driver != "manual"
	l.must(answered, "blast_radius: there is no request, and no verification whose answer could tell it")
	l.must(len(b.Fields()) > 0, "blast_radius: no field says where anything is told")
	l.must(slices.Contains([]Access{"", AccessAdmin, AccessWrite, AccessRead}, b.Access), "blast_radius: access %q is none of admin, write, read", b.Access)
	for _, place := range b.Fields() {
		l.must(strings.TrimPrefix(place, Header) != "", "blast_radius: a place is empty")
	}
	if b.Request == nil {
		return
	}
	l.must(cmp.Or(r.Verify.Driver, "http") == "http", "blast_radius: the driver %s takes no request", r.Verify.Driver)
	l.must(b.Request.Method == "GET", "blast_radius: method %q is not GET: it only looks", b.Request.Method)
	l.request("blast_radius", b.Request, parts, false)
}
