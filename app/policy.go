package app

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/stanch-dev/stanch/app/incident"
	"github.com/stanch-dev/stanch/rules"
)

// A Policy says what Stanch may do to a live credential without asking. It is
// the operator's, read from a file outside every scanned repository.
type Policy struct {
	Remedy `yaml:",inline"`
	// Rules are exceptions for kinds of credential, by the rule's id.
	Rules map[string]Remedy `yaml:"rules"`
}

// A Remedy is a policy for some kinds of credential. What an exception leaves
// empty is taken from the policy around it.
type Remedy struct {
	Remediation        Mode           `yaml:"remediation"`
	Order              incident.Order `yaml:"order"`
	WithoutReplacement Mode           `yaml:"without_replacement"`
}

// A Mode says how far Stanch may go by itself.
type Mode string

// The modes. For remediation: Observe reports only; Ask shows buttons on the check
// run and waits for a person; Automatic acts when the evidence is of the highest
// grade, and asks otherwise. For without_replacement, which decides about live
// credentials that no store holds or nobody can issue anew: Ask, or RevokeAnyway.
const (
	Observe      Mode = "observe"
	Ask          Mode = "ask"
	Automatic    Mode = "automatic"
	RevokeAnyway Mode = "revoke"
)

// DefaultPolicy is what holds until an operator says otherwise: Stanch reports,
// verifies, and waits to be asked.
func DefaultPolicy() Policy {
	return Policy{Remedy: Remedy{Remediation: Ask, Order: incident.ReplaceFirst, WithoutReplacement: Ask}}
}

// LoadPolicy reads a policy file. Keys it does not know are errors, so that a
// misspelt safeguard is not silently off.
func LoadPolicy(path string, catalogue []*rules.Rule) (Policy, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return Policy{}, fmt.Errorf("read policy: %w", err)
	}
	p, err := parsePolicy(b, catalogue)
	if err != nil {
		return Policy{}, fmt.Errorf("policy %s: %w", path, err)
	}
	return p, nil
}

func parsePolicy(b []byte, catalogue []*rules.Rule) (Policy, error) {
	p := DefaultPolicy()
	d := yaml.NewDecoder(bytes.NewReader(b))
	d.KnownFields(true)
	if err := d.Decode(&p); err != nil && !errors.Is(err, io.EOF) {
		return Policy{}, readable(err)
	}
	if err := p.check(); err != nil {
		return Policy{}, err
	}
	known := map[string]bool{}
	for _, r := range catalogue {
		known[r.ID] = true
	}
	for id := range p.Rules {
		if !known[id] {
			return Policy{}, fmt.Errorf("rules: there is no rule %q: stanch rules list shows them", id)
		}
		if err := p.For(id).check(); err != nil {
			return Policy{}, fmt.Errorf("rules: %s: %w", id, err)
		}
	}
	return p, nil
}

// readable puts the decoder's complaints into one line and words of ours. They
// name the line of the file.
func readable(err error) error {
	var wrong *yaml.TypeError
	if !errors.As(err, &wrong) {
		return err
	}
	text := strings.Join(wrong.Errors, "; ")
	for _, t := range []string{"app.Policy", "app.Remedy"} {
		text = strings.ReplaceAll(text, "not found in type "+t, "is no setting of a policy")
	}
	return errors.New(text)
}

// For returns what holds for a rule.
func (p Policy) For(rule string) Remedy {
	r, exception := p.Remedy, p.Rules[rule]
	if exception.Remediation != "" {
		r.Remediation = exception.Remediation
	}
	if exception.Order != "" {
		r.Order = exception.Order
	}
	if exception.WithoutReplacement != "" {
		r.WithoutReplacement = exception.WithoutReplacement
	}
	return r
}

func (r Remedy) check() error {
	switch r.Remediation {
	case Observe, Ask, Automatic:
	default:
		return fmt.Errorf("remediation is %q: it must be observe, ask or automatic", r.Remediation)
	}
	switch r.Order {
	case incident.ReplaceFirst, incident.RevokeFirst:
	default:
		return fmt.Errorf("order is %q: it must be replace_first or revoke_first", r.Order)
	}
	switch r.WithoutReplacement {
	case Ask, RevokeAnyway:
	default:
		return fmt.Errorf("without_replacement is %q: it must be ask or revoke", r.WithoutReplacement)
	}
	return nil
}
