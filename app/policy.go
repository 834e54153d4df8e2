package app

import (
	"fmt"
	"slices"
	"time"

	"github.com/bmatcuk/doublestar/v4"

	"github.com/stanch-dev/stanch/app/incident"
	"github.com/stanch-dev/stanch/checks/report"
	"github.com/stanch-dev/stanch/rules"
)

// A Policy says what Stanch may do to a live credential without asking, and what a
// finding means to a check. The operator's is a file outside every scanned
// repository; organisations and repositories change of it what it lets them. What
// a Policy does not say has the default that its methods tell.
type Policy struct {
	Remedy     `yaml:",inline"`
	Comment    *bool                                `yaml:"comment,omitempty"`    // write the comment on pull requests
	Public     Publicity                            `yaml:"public,omitempty"`     // whom the check is written for
	Conclusion map[rules.Severity]report.Conclusion `yaml:"conclusion,omitempty"` // what a finding does to the check
	People     People                               `yaml:"people,omitempty"`
	// AutomaticPerHour is how many remediations a policy may begin in an hour without a
	// person. What is more waits for one: a flood of them is a mistake, or an attack.
	AutomaticPerHour int `yaml:"automatic_per_hour,omitempty"`
	// Schedule is what is rotated without a leak, when it is of an age.
	Schedule      []Scheduled `yaml:"schedule,omitempty"`
	Suggestions   bool        `yaml:"suggestions,omitempty"` // review suggestions that replace the literal
	InlineMarkers *bool       `yaml:"inline_markers,omitempty"`
	// Rules are exceptions for kinds of credential, by the rule's id.
	Rules map[string]RulePolicy `yaml:"rules,omitempty"`
	// Paths are exceptions for places; the first that fits a path counts.
	Paths []PathPolicy `yaml:"paths,omitempty"`
	// Allowlist is the file of the repository that lists what is no leak.
	Allowlist string `yaml:"allowlist,omitempty"`
	// Repositories is what other policies may change of this one. The operator's
	// policy alone says it.
	Repositories Repositories `yaml:"repositories,omitempty"`

	// Origins tells where each setting was said, by its name: "people.press".
	Origins map[string]Origin `yaml:"-"`
}

// A Remedy is what may be done about some kinds of credential. What an exception
// leaves empty is taken from the policy around it.
type Remedy struct {
	Remediation        Mode           `yaml:"remediation,omitempty"`
	Order              incident.Order `yaml:"order,omitempty"`
	WithoutReplacement Mode           `yaml:"without_replacement,omitempty"`
	// Adopt is the store and the path in it that take the replacement of a credential that
	// no store holds: "vault:secret/adopted".
	Adopt string `yaml:"adopt,omitempty"`
	// Hold is for how long what is disabled can be enabled again before it is deleted.
	Hold *time.Duration `yaml:"hold,omitempty"`
}

// A Mode says how far Stanch may go by itself.
type Mode string

// The modes. For remediation: Observe reports only; Ask shows buttons on the check
// run and waits for a person; Automatic acts when the evidence is of the highest
// grade, and asks otherwise. For without_replacement, which decides about live
// credentials that no store holds or nobody can issue anew: Ask, or RevokeAnyway, or
// Adopt, which puts the replacement of what no store holds where the policy says.
const (
	Observe      Mode = "observe"
	Ask          Mode = "ask"
	Automatic    Mode = "automatic"
	RevokeAnyway Mode = "revoke"
	Adopt        Mode = "adopt"
)

// Publicity says whether checks are written for everybody, who learn nothing from
// them that would help a thief.
type Publicity string

// The publicities: by the visibility of the repository, or for everybody in any case.
const (
	PublicAuto   Publicity = "auto"
	PublicAlways Publicity = "always"
)

// A RulePolicy is an exception for one kind of credential.
type RulePolicy struct {
	Remedy     `yaml:",inline"`
	Enabled    *bool             `yaml:"enabled,omitempty"` // false: only a live one is told of
	Severity   rules.Severity    `yaml:"severity,omitempty"`
	Conclusion report.Conclusion `yaml:"conclusion,omitempty"`
}

// A PathPolicy is an exception for the files that a pattern names. One without a
// slash is for names at any depth; ** stands for any number of folders.
type PathPolicy struct {
	Glob       string            `yaml:"glob"`
	Conclusion report.Conclusion `yaml:"conclusion"`
	Origin     Origin            `yaml:"-"`
}

// People says who may press the check run's buttons and give commands.
type People struct {
	Press     Permission    `yaml:"press,omitempty"`      // the least permission on the repository
	Approvals int           `yaml:"approvals,omitempty"`  // how many others must agree to what is not undone
	Bypass    *bool         `yaml:"bypass,omitempty"`     // whether a bypass can be asked for
	BypassFor time.Duration `yaml:"bypass_for,omitempty"` // the longest bypass
}

// A Permission is what a person may do to a repository, in GitHub's words.
type Permission string

// The permissions, the least first.
const (
	PermissionWrite    Permission = "write"
	PermissionMaintain Permission = "maintain"
	PermissionAdmin    Permission = "admin"
)

var permissions = []Permission{PermissionWrite, PermissionMaintain, PermissionAdmin}

// Repositories says what the policies of organisations and repositories may change.
type Repositories struct {
	May []string `yaml:"may,omitempty"` // names of settings; see Changeable for the default
}

// defaultAllowlist is the file that lists what is no leak when no policy names one.
const defaultAllowlist = ".github/stanch-allow.txt"

// defaultHold is for how long a disabled credential can be enabled again when no policy
// says it: long enough for the users of a forgotten copy to come forward.
const defaultHold = 24 * time.Hour

// defaultPerHour is how many remediations begin by themselves in an hour when no policy
// says it. GitHub itself takes 60 requests to revoke in an hour.
const defaultPerHour = 30

// defaultBypass is the longest bypass when no policy says how long it may be.
const defaultBypass = 7 * 24 * time.Hour

// DefaultPolicy is what holds until an operator says otherwise: Stanch reports,
// verifies, and waits to be asked.
func DefaultPolicy() Policy {
	return Policy{Remedy: Remedy{Remediation: Ask, Order: incident.ReplaceFirst, WithoutReplacement: Ask}}
}

// For returns what may be done about what a rule finds.
func (p Policy) For(rule string) Remedy { return p.Rules[rule].or(p.Remedy) }

// or fills in what r does not say.
func (r Remedy) or(around Remedy) Remedy {
	if r.Remediation == "" {
		r.Remediation = around.Remediation
	}
	if r.Order == "" {
		r.Order = around.Order
	}
	if r.WithoutReplacement == "" {
		r.WithoutReplacement = around.WithoutReplacement
	}
	if r.Adopt == "" {
		r.Adopt = around.Adopt
	}
	if r.Hold == nil {
		r.Hold = around.Hold
	}
	return r
}

// HoldFor is for how long what is disabled can be enabled again.
func (r Remedy) HoldFor() time.Duration {
	if r.Hold == nil {
		return defaultHold
	}
	return *r.Hold
}

// PerHour is how many remediations may begin in an hour without a person.
func (p Policy) PerHour() int {
	if p.AutomaticPerHour == 0 {
		return defaultPerHour
	}
	return p.AutomaticPerHour
}

// Comments reports whether pull requests get a comment.
func (p Policy) Comments() bool { return p.Comment == nil || *p.Comment }

// ForEverybody reports whether the checks of a repository are written for everybody.
func (p Policy) ForEverybody(private bool) bool { return !private || p.Public == PublicAlways }

// ReadsMarkers reports whether comments such as gitleaks:allow count.
func (p Policy) ReadsMarkers() bool { return p.InlineMarkers == nil || *p.InlineMarkers }

// Enabled reports whether what a rule finds is told of even if it is not live.
func (p Policy) Enabled(rule string) bool {
	enabled := p.Rules[rule].Enabled
	return enabled == nil || *enabled
}

// SeverityOf is how bad a live credential of the rule's kind is.
func (p Policy) SeverityOf(r *rules.Rule) rules.Severity {
	if s := p.Rules[r.ID].Severity; s != "" {
		return s
	}
	return r.Severity
}

// AllowFile is the file of the repository that lists what is no leak.
func (p Policy) AllowFile() string {
	if p.Allowlist == "" {
		return defaultAllowlist
	}
	return p.Allowlist
}

// Least is the permission that a person needs to press buttons.
func (p People) Least() Permission {
	if p.Press == "" {
		return PermissionWrite
	}
	return p.Press
}

// MayBypass reports whether a bypass can be asked for.
func (p People) MayBypass() bool { return p.Bypass == nil || *p.Bypass }

// LongestBypass is how long a bypass may last.
func (p People) LongestBypass() time.Duration {
	if p.BypassFor == 0 {
		return defaultBypass
	}
	return p.BypassFor
}

// conclusions are what a finding may do to a check, the mildest first.
var conclusions = []report.Conclusion{report.Success, report.Neutral, report.Failure}

// ConclusionOf says what a finding of a rule does to the check, unless it is live,
// and which setting says so: that of the rule or that of the path, whichever is
// stricter; where there is neither, that of the severity.
func (p Policy) ConclusionOf(r *rules.Rule, path string) (report.Conclusion, Origin) {
	c, from := p.Rules[r.ID].Conclusion, p.Origins["rules."+r.ID+".conclusion"]
	for _, place := range p.Paths {
		if !fits(place.Glob, path) {
			continue
		}
		if slices.Index(conclusions, place.Conclusion) > slices.Index(conclusions, c) {
			c, from = place.Conclusion, place.Origin
		}
		break
	}
	if c == "" {
		severity := p.SeverityOf(r)
		c, from = p.Conclusion[severity], p.Origins["conclusion."+string(severity)]
	}
	if c == "" {
		return report.Failure, Origin{}
	}
	return c, from
}

// fits reports whether a pattern names the path.
func fits(glob, path string) bool { return doublestar.MatchUnvalidated(anywhere(glob), path) }

// An Origin is the line of a file that says something; zero is a default.
type Origin struct {
	File string
	Line int
}

func (o Origin) String() string {
	if o.File == "" {
		return "the default"
	}
	return fmt.Sprintf("%s:%d", o.File, o.Line)
}
