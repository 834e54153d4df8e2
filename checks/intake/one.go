package intake

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/checks/report"
	"github.com/stanch-dev/stanch/rules"
)

// handedOver is the path of what a person hands over.
const handedOver = "<stdin>"

// One finds the one credential in a text that a person hands over, of the kind of the
// rule only if there is one.
func One(text string, catalogue []*rules.Rule, scanner *checks.Scanner, only *rules.Rule) (checks.Finding, error) {
	if only != nil {
		var err error
		if scanner, err = checks.New(only); err != nil {
			return checks.Finding{}, err
		}
	}
	found, err := examine(text, scanner)
	if err != nil {
		return checks.Finding{}, err
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(found) > 1:
		return checks.Finding{}, fmt.Errorf("the text holds %s: give one, or say which is meant with --rule: %s", report.Count(len(found), "credential"), strings.Join(kinds(found), ", "))
	case only != nil:
		// As the value of a variable that the rule knows.
		for _, name := range only.Detect.Keywords {
			if f, ok := scanner.Identify(name, checks.NewSecret(text)); ok {
				return f, nil
			}
		}
		return checks.Finding{}, fmt.Errorf("the text is no credential of the kind %s: “stanch rules show %[1]s” tells its shape, and --parts takes its parts as they are", only.ID)
	}
	return checks.Finding{}, errors.New(unrecognised(text, catalogue))
}

// examine finds the credentials in a text, each once.
func examine(text string, scanner *checks.Scanner) ([]checks.Finding, error) {
	found, err := scanner.Examine(handedOver, []byte(text))
	seen := map[checks.Fingerprint]bool{}
	return slices.DeleteFunc(found, func(f checks.Finding) bool {
		again := seen[f.Fingerprint]
		seen[f.Fingerprint] = true
		return again || f.Rule.Detect.ByPath()
	}), err
}

// Kept finds the one credential in the fields of a secret of a store: in one of them, where
// one is named, and of the kind of the rule only if there is one.
func Kept(fields map[string]checks.Secret, field string, scanner *checks.Scanner, only *rules.Rule) (checks.Finding, error) {
	none := checks.Finding{}
	value, known := fields[field]
	if field != "" && !known {
		return none, fmt.Errorf("it has no field %q that is text", field)
	}
	if only != nil {
		var err error
		if scanner, err = checks.New(only); err != nil {
			return none, err
		}
	}
	var text strings.Builder
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		// As a line of a file that people write: of many kinds the name tells.
		fmt.Fprintf(&text, "%s: %s\n", name, fields[name].Expose())
	}
	found, err := examine(text.String(), scanner)
	if err != nil {
		return none, err
	}
	if field != "" {
		found = slices.DeleteFunc(found, func(f checks.Finding) bool {
			return !strings.Contains(value.Expose(), f.Credential.Secret().Expose())
		})
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(found) > 1:
		return none, fmt.Errorf("it holds %s: say which is meant, by its field or its rule: %s", report.Count(len(found), "credential"), strings.Join(kinds(found), ", "))
	case only != nil:
		return none, fmt.Errorf("it holds no credential of the kind %s: “stanch rules show %[1]s” tells its shape", only.ID)
	}
	return none, errors.New("it holds no credential that is known by its shape: say of what kind it is, by its rule")
}

// kinds are the ids of the rules that found something.
func kinds(found []checks.Finding) (ids []string) {
	for _, f := range found {
		ids = append(ids, f.Rule.ID)
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

// mostCandidates is how many kinds are named that a text could be of.
const mostCandidates = 12

// unrecognised says what to do about a text that no rule knows. Without its name a
// value of no shape of its own may be of many kinds.
func unrecognised(text string, catalogue []*rules.Rule) string {
	var fit []string
	for _, r := range catalogue {
		if r.Detect.Value == "" || r.Verify.DriverName() == "-" || r.Verify.DriverName() == "manual" {
			continue
		}
		for _, name := range r.Detect.Keywords[:min(1, len(r.Detect.Keywords))] {
			scanner, err := checks.New(r)
			if err != nil {
				continue
			}
			if _, ok := scanner.Identify(name+"_key", checks.NewSecret(text)); ok {
				fit = append(fit, r.ID)
			}
		}
	}
	const advice = "give it with the name of its variable, as in DD_API_KEY=…, or say what it is with --rule"
	if len(fit) == 0 {
		return "the text holds no credential of a kind that is known by its shape: " + advice + "; “stanch rules list” lists the kinds"
	}
	more := ""
	if len(fit) > mostCandidates {
		fit, more = fit[:mostCandidates], ", …"
	}
	return "a text of that shape can be of several kinds: " + advice + ": " + strings.Join(fit, ", ") + more
}

// FromParts makes a credential of its parts, which a person hands over one a line, as
// NAME: VALUE.
func FromParts(text string, rule *rules.Rule) (checks.Finding, error) {
	known := PartsOf(rule)
	cred := checks.Credential{Rule: rule.ID, Parts: map[string]checks.Secret{}}
	for line := range strings.Lines(text) {
		name, value, ok := strings.Cut(strings.TrimRight(line, "\r\n"), ":")
		name, value = strings.TrimSpace(name), strings.TrimSpace(value)
		switch {
		case strings.TrimSpace(line) == "":
			continue
		case !ok || !slices.Contains(known, name):
			// The line is not repeated: it may be the secret.
			return checks.Finding{}, fmt.Errorf("a line is none of the parts of %s: write %s, each with a colon and the value", rule.ID, strings.Join(known, ", "))
		case cred.Parts[name].Len() > 0:
			return checks.Finding{}, fmt.Errorf("the part %s is there twice", name)
		}
		cred.Parts[name] = checks.NewSecret(value)
	}
	if cred.Secret().Len() == 0 {
		return checks.Finding{}, fmt.Errorf("there is no part %s: its parts are %s", checks.PartSecret, strings.Join(known, ", "))
	}
	return checks.Finding{Rule: rule, Credential: cred}, nil
}

// PartsOf are the names of what a kind of credential is made of, the secret last.
func PartsOf(r *rules.Rule) (names []string) {
	for _, name := range r.Detect.Parts() {
		if name != checks.PartSecret {
			names = append(names, name)
		}
	}
	return append(names, checks.PartSecret)
}
