package rules

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// An Action says how something is done to a credential: by an HTTP request that
// the catalogue spells out, or by a driver, Go code in package app/provider for
// protocols that cannot be spelt (signatures, sessions).
type Action struct {
	Driver  string   `yaml:"driver"`  // "" with a Request means "http"; "manual" means a person, by the Runbook
	Request *Request `yaml:"request"` // for the http driver
	Answers []Answer `yaml:"answers"` // in order; the first that fits the response decides
	// Then is the second step, of verify alone, which is taken when an answer to
	// the first means "next". There is no third.
	Then *Step `yaml:"then"`
	// Batch lets one request of revoke be for many credentials: the list in its JSON
	// body that has nothing but "{secret}" then holds them all.
	Batch *Batch `yaml:"batch"`
	// Because says why it is manual, why there is none, or, beside a request, which
	// answer is missing and why: a provider that never says that a credential is
	// dead, for instance.
	Because string `yaml:"because"`
}

// A Batch says how many credentials a request may be for, and how often one may be sent.
type Batch struct {
	Most int    `yaml:"most"`
	Rate string `yaml:"rate"`
}

// A Step is a request and what its responses mean.
type Step struct {
	Request *Request `yaml:"request"`
	Answers []Answer `yaml:"answers"`
}

// A Request is one HTTP request. In Base, Path, Header, Basic and the body "{name}"
// stands for the part of that name of the credential, escaped for the place it
// stands in. In a second step "{first.a.b}" stands for a field of the first step's
// response; see Answer.JSON about paths. See Placeholder about other braces.
type Request struct {
	Method string `yaml:"method"`
	// Base is the URL that Path is appended to, where that is not the provider's
	// Base. A placeholder may be its first label, as in "https://{dc}.api.acme.com",
	// where the provider itself serves every name under the rest; what stands there
	// must be a host's label and can name no other host.
	Base string `yaml:"base"`
	Path string `yaml:"path"`
	// SecretInPath says why the secret stands in Path, which is logged on the way:
	// because the provider takes it nowhere else.
	SecretInPath string            `yaml:"secret_in_path"`
	Header       map[string]string `yaml:"header"`
	// Basic is the user and password of an Authorization header.
	Basic *Basic `yaml:"basic"`
	// JSON is the body to send, encoded as JSON; placeholders stand in its
	// strings.
	JSON any `yaml:"json"`
	// Form is the body to send as application/x-www-form-urlencoded.
	Form map[string]string `yaml:"form"`
}

// Basic is what HTTP's basic authentication sends.
type Basic struct {
	User     string `yaml:"user"`
	Password string `yaml:"password"`
}

// An Answer says what a response means. What fits no Answer means nothing: the
// credential's validity stays unknown. Redirects, errors of the server and HTML fit
// none, whatever it says.
//
// Where an Answer gives a text that a response must have, "*" in it stands for any
// text: 'Invalid token *'. All else is compared as it is.
type Answer struct {
	Status int `yaml:"status"`
	// JSON gives fields of a JSON body and the texts they must have. A field is a
	// dotted path, with numbers for the elements of lists: 'accounts.0.id'; "." is
	// the whole body. A list or an object is compared as compact JSON: '[]' is the
	// empty list, '[*]' any list, and 'null' is null.
	JSON map[string]string `yaml:"json"`
	// XML is the same for an XML body. The path begins below its root; elements that
	// are there more than once are a list; attributes are not looked at.
	XML map[string]string `yaml:"xml"`
	// Header gives fields of the header and the texts they must have.
	Header map[string]string `yaml:"header"`
	// Text is the whole body, without the space around it, of a provider that does
	// not answer in JSON.
	Text string `yaml:"text"`
	// Empty requires a response without a body, such as 204.
	Empty bool `yaml:"empty"`
	// Means is the meaning: for verify "active", "inactive", "active_lacks_scope",
	// "next" or "unknown", which keeps later answers from being tried; for revoke
	// "revoked" (done), "accepted" (will be done) or "already_dead".
	Means Meaning `yaml:"means"`
	// Identity names fields of the body, as JSON does, that say whose credential it
	// is. All must be there and hold a text, a number or a boolean.
	Identity []string `yaml:"identity"`
	// IdentityHeaders names response headers worth keeping as evidence.
	IdentityHeaders []string `yaml:"identity_headers"`
}

// Proof reports whether the answer asks for more than a status, which anything on
// the way could have sent.
func (a *Answer) Proof() bool {
	return len(a.JSON)+len(a.XML)+len(a.Header)+len(a.Identity) > 0 || a.Text != ""
}

// Meaning is what a provider's answer says.
type Meaning string

// The meanings of answers to verify and to revoke.
const (
	MeansActive     Meaning = "active"
	MeansLacksScope Meaning = "active_lacks_scope" // live, but may not do what the probe asked
	MeansInactive   Meaning = "inactive"
	MeansNext       Meaning = "next" // ask what Action.Then says
	MeansUnknown    Meaning = "unknown"

	MeansRevoked     Meaning = "revoked"
	MeansAccepted    Meaning = "accepted"
	MeansAlreadyDead Meaning = "already_dead"
)

// DriverName is the name that lists show for an action: a driver's name,
// "manual", or "-" when there is no such action.
func (a Action) DriverName() string {
	switch {
	case a.Driver != "":
		return a.Driver
	case a.Request != nil:
		return "http"
	}
	return "-"
}

// Steps returns the action's requests with the answers to each.
func (a Action) Steps() []Step {
	var steps []Step
	if a.Request != nil {
		steps = append(steps, Step{a.Request, a.Answers})
	}
	if a.Then != nil {
		steps = append(steps, *a.Then)
	}
	return steps
}

// Placeholder finds what stands for a part of the credential, such as "{secret}", or
// for a field of the first step's response, such as "{first.account.id}". The name
// follows the brace at once: "{ viewer { id } }" has none.
var Placeholder = regexp.MustCompile(`\{([a-zA-Z][a-zA-Z0-9_]*(?:\.[a-zA-Z0-9_-]+)*)\}`)

// First begins the placeholders of a second step that stand for fields of the first
// one's response.
const First = "first."

// Like reports whether text is what an Answer asks for: equal, where each "*" of
// pattern stands for any text.
func Like(pattern, text string) bool {
	begin, rest, more := strings.Cut(pattern, "*")
	text, ok := strings.CutPrefix(text, begin)
	if !ok || !more {
		return ok && text == ""
	}
	for {
		piece, after, more := strings.Cut(rest, "*")
		if !more {
			return strings.HasSuffix(text, piece)
		}
		if _, text, ok = strings.Cut(text, piece); !ok {
			return false
		}
		rest = after
	}
}

// DefaultRate is how often a provider is asked that says nothing about it.
const DefaultRate = "5/s"

// ParseRate reads a rate such as "5/s": so many times in each second, minute ("m")
// or hour ("h").
func ParseRate(text string) (times int, in time.Duration, err error) {
	n, unit, _ := strings.Cut(text, "/")
	times, err = strconv.Atoi(n)
	in = map[string]time.Duration{"s": time.Second, "m": time.Minute, "h": time.Hour}[unit]
	if err != nil || times < 1 || times > 1000_000 || in == 0 {
		return 0, 0, fmt.Errorf("rate %q is none: write how often in a second, minute or hour, as in 5/s, 60/m or 1000/h", text)
	}
	return times, in, nil
}
