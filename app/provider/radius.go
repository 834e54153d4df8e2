package provider

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/rules"
)

// A Radius is what a live credential can do, in its provider's words. It holds no
// secret, and strangers may have written parts of it: who shows it escapes it.
type Radius struct {
	Owner       string       `json:"owner,omitempty"`
	Permissions []string     `json:"permissions,omitempty"`
	Access      rules.Access `json:"access,omitempty"` // the most that the permissions give; see rules.AccessOf
	Reach       string       `json:"reach,omitempty"`  // what it may do that to
	LastUsed    string       `json:"last_used,omitempty"`
	Expires     string       `json:"expires,omitempty"`
	Request     string       `json:"request,omitempty"` // that asked for it, if that was not the verification
}

// maxPermissions bounds how many permissions are kept.
const maxPermissions = 100

// Text says in one line what the credential can do.
func (r *Radius) Text() string {
	if r == nil {
		return ""
	}
	var texts []string
	add := func(before, what, after string) {
		if what != "" {
			texts = append(texts, before+what+after)
		}
	}
	add("acts as ", r.Owner, "")
	may := strings.Join(r.Permissions, ", ")
	switch {
	case may == "":
		add("may ", string(r.Access), "")
	case r.Access == "":
		add("may ", may, "")
	default:
		add("may ", may, " ("+string(r.Access)+")")
	}
	add("in ", r.Reach, "")
	add("expires ", r.Expires, "")
	add("last used ", r.LastUsed, "")
	return strings.Join(texts, "; ")
}

// measure finds out what a credential can do that is live for certain, and forgets
// what was learnt of any other. Failing that, nobody knows; the verdict stands.
func (p *Providers) measure(ctx context.Context, rule *rules.Rule, cred checks.Credential, v *Verdict) error {
	b := rule.BlastRadius
	switch {
	case v.Validity != checks.Active || v.Grade != GradeA || b == nil:
		v.Evidence.Radius = nil
	case rule.Verify.DriverName() != driverHTTP:
		v.Evidence.Radius = radiusOf(b, func(place string) []string {
			return flagged(place, v.Evidence.Identity[place])
		})
	case b.Request != nil && !askedBy(rule):
		if why, err := p.limits.turn(ctx, rule.Provider); err != nil || why != "" {
			return err
		}
		ctx, cancel := context.WithTimeout(ctx, p.within)
		defer cancel()
		evidence, got, err := p.web.send(ctx, rule, b.Request, &filler{parts: cred.Parts})
		if err != nil {
			return err
		}
		if r := told(b, got, cred); r != nil {
			r.Request = evidence.Request
			v.Evidence.Radius = r
		}
	}
	return nil
}

// askedBy reports whether one of a verification's questions is the one about the blast
// radius too, which then need not be asked again.
func askedBy(rule *rules.Rule) bool {
	return slices.ContainsFunc(rule.Verify.Steps(), func(s rules.Step) bool { return same(rule, s.Request) })
}

// same reports whether a verification's question is the one about the blast radius.
func same(rule *rules.Rule, asked *rules.Request) bool {
	want := *rule.BlastRadius.Request
	if rule.Provider != nil {
		want.Base = cmp.Or(want.Base, rule.Provider.Base)
		got := *asked
		got.Base = cmp.Or(got.Base, rule.Provider.Base)
		asked = &got
	}
	return reflect.DeepEqual(want, *asked)
}

// measured reads the blast radius out of the answer to one of a verification's
// questions, if that is where it is told.
func measured(rule *rules.Rule, asked *rules.Request, got reply, cred checks.Credential) *Radius {
	b := rule.BlastRadius
	if b == nil || b.Request != nil && !same(rule, asked) {
		return nil
	}
	return told(b, got, cred)
}

// told reads a provider's reply. What is no good answer, or repeats the credential,
// tells nothing.
func told(b *rules.BlastRadius, got reply, cred checks.Credential) *Radius {
	if got.status < 200 || got.status > 299 || got.fault != "" {
		return nil
	}
	repeats := false
	r := radiusOf(b, func(place string) []string {
		said := got.all(place)
		for _, text := range said {
			repeats = repeats || strings.Contains(text, cred.Secret().Expose())
		}
		return said
	})
	if repeats {
		return nil
	}
	return r
}

// radiusOf fills a radius by what is found at its places. It is nil when nothing is.
func radiusOf(b *rules.BlastRadius, find func(place string) []string) *Radius {
	texts := func(places []string) (all []string) {
		for _, place := range places {
			all = append(all, find(place)...)
		}
		return all
	}
	line := func(places []string) string { return short(strings.Join(distinct(texts(places)), ", ")) }
	r := &Radius{
		Owner: line(b.Owner), Permissions: distinct(separate(texts(b.Permissions))), Reach: line(b.Reach),
		LastUsed: line(b.LastUsed), Expires: line(b.Expires), Access: b.Access,
	}
	if r.Owner == "" && len(r.Permissions) == 0 && r.Reach == "" && r.LastUsed == "" && r.Expires == "" {
		return nil
	}
	if len(r.Permissions) > 0 {
		r.Access = most(b, r.Permissions)
	} else if b.Named(r.Owner) != "" {
		r.Access = b.Named(r.Owner)
	}
	if more := len(r.Permissions) - maxPermissions; more > 0 {
		r.Permissions = append(r.Permissions[:maxPermissions], fmt.Sprintf("%d more", more))
	}
	return r
}

// distinct returns what there is of texts, short, each once.
func distinct(texts []string) (all []string) {
	seen := map[string]bool{"": true}
	for _, text := range texts {
		if text = strings.TrimSpace(short(text)); !seen[text] {
			seen[text] = true
			all = append(all, text)
		}
	}
	return all
}

// separate takes apart what providers write as one text.
func separate(texts []string) (all []string) {
	for _, text := range texts {
		separator := ","
		if !strings.Contains(text, separator) && strings.ContainsAny(text, ":._*@/") {
			separator = " " // OAuth's scopes, which are no prose
		}
		all = append(all, strings.Split(text, separator)...)
	}
	return all
}

// most is the most that permissions give. One that nobody understands may give more
// than those that only read.
func most(b *rules.BlastRadius, permissions []string) rules.Access {
	seen := map[rules.Access]bool{}
	for _, p := range permissions {
		seen[b.AccessOf(p)] = true
	}
	for _, access := range []rules.Access{rules.AccessAdmin, rules.AccessWrite, "", rules.AccessRead} {
		if seen[access] {
			return access
		}
	}
	return ""
}

// all returns what stands at a place of a reply, each scalar as text. Of an object
// whose values are booleans it is the names of those that are true.
func (r reply) all(place string) []string {
	if name, ok := strings.CutPrefix(place, rules.Header); ok {
		return r.header.Values(name)
	}
	if !r.json && !r.xml {
		return nil
	}
	found := []any{r.value}
	for name := range strings.SplitSeq(place, ".") {
		var next []any
		for _, at := range found {
			next = append(next, below(at, name)...)
		}
		found = next
	}
	var texts []string
	for _, at := range found {
		if is, ok := at.(bool); ok {
			texts = append(texts, flagged(place, strconv.FormatBool(is))...)
			continue
		}
		texts = append(texts, scalars(at)...)
	}
	return texts
}

// flagged is what stands at a place: of a flag that is set its name, and of one that is
// not nothing.
func flagged(place, said string) []string {
	switch said {
	case "", "false":
		return nil
	case "true":
		return []string{place[strings.LastIndex(place, ".")+1:]}
	}
	return []string{said}
}

// below returns what a segment of a place leads to.
func below(at any, name string) []any {
	switch inside := at.(type) {
	case map[string]any:
		if value, ok := inside[name]; ok {
			return []any{value}
		}
		if name == "*" {
			return slices.Collect(maps.Values(inside))
		}
	case []any:
		if name == "*" {
			return inside
		}
		if i, err := strconv.Atoi(name); err == nil && i >= 0 && i < len(inside) {
			return inside[i : i+1]
		}
	}
	return nil
}

// scalars are the texts in a value.
func scalars(at any) (texts []string) {
	switch value := at.(type) {
	case string:
		return []string{value}
	case json.Number:
		return []string{value.String()}
	case bool:
		return []string{strconv.FormatBool(value)}
	case []any:
		for _, element := range value {
			texts = append(texts, scalars(element)...)
		}
	case map[string]any:
		for _, name := range slices.Sorted(maps.Keys(value)) {
			if value[name] == true {
				texts = append(texts, name)
			}
		}
	}
	return texts
}
