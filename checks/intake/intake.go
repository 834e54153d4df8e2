// Package intake reads what other scanners found: SARIF, the JSON of gitleaks,
// betterleaks, TruffleHog and Kingfisher, and GitHub's secret scanning alerts. What a
// record is shows in its fields, so that nobody has to say it.
//
// The reports hold secrets, and strangers may have written them: what is read is
// bounded in size and number, and secrets become a checks.Secret at once.
package intake

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/stanch-dev/stanch/checks"
)

const (
	// MaxSize bounds a report. One of ten thousand leaks has a few megabytes.
	MaxSize = 32 << 20
	// MaxLeaks bounds how many leaks one report may tell of.
	MaxLeaks = 10_000
	// maxText bounds the text of a leak in which its secret is looked for.
	maxText = 256 << 10
)

// A Leak is what another scanner found at one place. All but the secrets is as a
// stranger may have written it, and is not to be shown before it is resolved.
type Leak struct {
	Format     string // whose words it is told in: "gitleaks"
	Kind       string // its rule or type, in these words
	Repository string // as told: a name or an address
	Location   checks.Location

	Secret checks.Secret   // empty when only texts are told
	Texts  []checks.Secret // in which the secret stands, the most telling first
}

// A Report is what reports tell.
type Report struct {
	Leaks  []Leak
	Closed int // leaks that are closed already and need nothing

	known bool // there was something that can tell of leaks
}

// Formats are the formats that leaks are told in, sorted.
func (r *Report) Formats() []string {
	var all []string
	for _, l := range r.Leaks {
		all = append(all, l.Format)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// Read reads a report: one JSON value, or several after another, as in JSON lines.
// Errors do not quote it.
func Read(r io.Reader) (*Report, error) {
	data, err := io.ReadAll(io.LimitReader(r, MaxSize+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("read report: %w", err)
	case len(data) > MaxSize:
		return nil, fmt.Errorf("the report has more than %d MiB: split it", MaxSize>>20)
	}
	report := &Report{}
	decoder := json.NewDecoder(bytes.NewReader(bytes.TrimPrefix(data, []byte("\ufeff"))))
	for n := 1; ; n++ {
		var value json.RawMessage
		switch err := decoder.Decode(&value); {
		case errors.Is(err, io.EOF) && n == 1:
			return nil, errors.New("the report is empty")
		case errors.Is(err, io.EOF) && !report.known:
			return nil, errors.New("the report has a summary and no findings: give it whole")
		case errors.Is(err, io.EOF):
			return report, nil
		case err != nil:
			return nil, notJSON(data, err)
		}
		if err := report.add(value); err != nil {
			return nil, fmt.Errorf("value %d: %w", n, err)
		}
	}
}

// notJSON says where a report stops to be JSON.
func notJSON(data []byte, err error) error {
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		line := 1 + bytes.Count(data[:min(int(syntax.Offset), len(data))], []byte("\n"))
		return fmt.Errorf("line %d is not JSON: give a report in JSON, JSON lines or SARIF", line)
	}
	return errors.New("the report ends in the middle: give it whole")
}

// add takes in a value: a list of records, one that holds a list, or a record.
func (r *Report) add(value json.RawMessage) error {
	if value[0] != '[' {
		return r.record(value)
	}
	r.known = true
	var list []json.RawMessage
	if err := json.Unmarshal(value, &list); err != nil {
		return errors.New("it is no list of records")
	}
	for n, element := range list {
		if err := r.record(element); err != nil {
			return fmt.Errorf("record %d: %w", n+1, err)
		}
	}
	return nil
}

// A probe are the fields by which a record is known. JSON's field names are compared
// whatever their letter case.
type probe struct {
	Runs         json.RawMessage `json:"runs"`
	Findings     json.RawMessage `json:"findings"`
	RuleID       json.RawMessage `json:"RuleID"`
	DetectorName json.RawMessage `json:"DetectorName"`
	SecretType   json.RawMessage `json:"secret_type"`
	Rule         json.RawMessage `json:"rule"`
	Finding      json.RawMessage `json:"finding"`
	// What some put beside the records.
	Scan      json.RawMessage `json:"scan"`
	Audit     json.RawMessage `json:"audit"`
	AccessMap json.RawMessage `json:"access_map"`
	Level     json.RawMessage `json:"level"` // of TruffleHog's log, when both went to one file
}

// summary reports whether a record is what some scanners write beside those of leaks.
func (p *probe) summary() bool {
	if p.Findings != nil {
		return p.Findings[0] >= '0' && p.Findings[0] <= '9' // how many there are
	}
	return p.Scan != nil || p.Audit != nil || p.AccessMap != nil || p.Level != nil
}

// record takes in one record.
func (r *Report) record(value json.RawMessage) error {
	var p probe
	if err := json.Unmarshal(value, &p); err != nil {
		return errors.New("it is no record of a scanner that is known")
	}
	known := r.known
	r.known = true
	switch {
	case p.Runs != nil:
		return r.sarif(p.Runs)
	case p.Findings != nil && p.Findings[0] == '[':
		return r.add(p.Findings)
	case p.Rule != nil && p.Finding != nil:
		return r.kingfisher(value)
	case p.DetectorName != nil:
		return r.truffleHog(value)
	case p.SecretType != nil:
		return r.alert(value)
	case p.RuleID != nil:
		return r.gitleaks(value)
	case p.summary():
		r.known = known
		return nil
	}
	return errors.New("it is none of SARIF, gitleaks, betterleaks, TruffleHog, Kingfisher and GitHub’s alerts")
}

// found adds a leak.
func (r *Report) found(l Leak) error {
	if len(r.Leaks) == MaxLeaks {
		return fmt.Errorf("the report tells of more than %d leaks: split it", MaxLeaks)
	}
	l.Texts = slices.DeleteFunc(l.Texts, func(s checks.Secret) bool { return s.Len() == 0 || s.Len() > maxText })
	r.Leaks = append(r.Leaks, l)
	return nil
}

// texts makes secrets of texts.
func texts(all ...string) (secrets []checks.Secret) {
	for _, text := range all {
		secrets = append(secrets, checks.NewSecret(text))
	}
	return secrets
}

// author writes an author as git does.
func author(name, email string) string {
	if email == "" {
		return name
	}
	return strings.TrimSpace(name + " <" + email + ">")
}
