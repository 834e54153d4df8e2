package intake

import (
	"cmp"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/stanch-dev/stanch/checks"
)

// decode reads a record into the fields of its format.
func decode(value json.RawMessage, format string, into any) error {
	if err := json.Unmarshal(value, into); err != nil {
		return errors.New("a field of it is not what " + format + " writes there")
	}
	return nil
}

// gitleaks reads a finding of gitleaks, https://github.com/gitleaks/gitleaks#reporting,
// or of betterleaks, which has the place in attributes since its second version.
func (r *Report) gitleaks(value json.RawMessage) error {
	var f struct {
		RuleID                 string
		Secret                 string
		Match                  json.RawMessage
		MatchContext           string
		File                   string
		StartLine, EndLine     int
		StartColumn, EndColumn int
		Commit, Author, Email  string
		Date                   string
		Attributes             map[string]string
		Location               *struct{ StartLine, EndLine, StartColumn, EndColumn int }
		ComponentSets          []struct {
			Components []struct{ Secret, Match string }
		}
	}
	if err := decode(value, "gitleaks", &f); err != nil {
		return err
	}
	at, format := f.Attributes, "gitleaks"
	if f.Location != nil {
		format = "betterleaks"
		f.StartLine, f.EndLine, f.StartColumn, f.EndColumn = f.Location.StartLine, f.Location.EndLine, f.Location.StartColumn, f.Location.EndColumn
	}
	l := Leak{
		Format: format, Kind: f.RuleID, Secret: checks.NewSecret(f.Secret), Repository: cmp.Or(at["git.remote_url"], at["github.repo_url"]),
		Location: checks.Location{
			Path: cmp.Or(f.File, at["path"]), Line: f.StartLine, Column: f.StartColumn, EndLine: f.EndLine, EndColumn: f.EndColumn,
			Commit: cmp.Or(f.Commit, at["git.sha"]), Date: moment(cmp.Or(f.Date, at["git.date"])),
			Author: author(cmp.Or(f.Author, at["git.author_name"]), cmp.Or(f.Email, at["git.author_email"])),
		},
		Texts: texts(matched(f.Match), f.MatchContext),
	}
	for _, set := range f.ComponentSets {
		parts := []string{matched(f.Match)}
		for _, c := range set.Components {
			parts = append(parts, c.Match)
		}
		l.Texts = append(texts(strings.Join(parts, "\n")), l.Texts...)
	}
	return r.found(l)
}

// matched is a match that is told as a text or as an object with its value.
func matched(value json.RawMessage) string {
	var text string
	var object struct{ Value string }
	if json.Unmarshal(value, &text) != nil {
		json.Unmarshal(value, &object) // or there is none
		return object.Value
	}
	return text
}

// moment reads a date; one that is none is left out.
func moment(text string) time.Time {
	for _, layout := range []string{time.RFC3339, "2006-01-02 15:04:05 -0700", time.DateOnly} {
		if t, err := time.Parse(layout, text); err == nil {
			return t.UTC()
		}
	}
	return time.Time{}
}

// truffleHog reads a result of TruffleHog, https://github.com/trufflesecurity/trufflehog.
func (r *Report) truffleHog(value json.RawMessage) error {
	var f struct {
		DetectorName   string
		Raw, RawV2     string
		SecretParts    map[string]string
		StructuredData json.RawMessage
		SourceMetadata struct {
			Data map[string]struct {
				Commit, File, Email, Repository, Timestamp, Link string
				Line                                             int
			}
		}
	}
	if err := decode(value, "TruffleHog", &f); err != nil {
		return err
	}
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(f.SecretParts)) {
		parts = append(parts, name+` = "`+f.SecretParts[name]+`"`)
	}
	l := Leak{Format: "trufflehog", Kind: f.DetectorName, Secret: checks.NewSecret(f.Raw)}
	// Of kinds of several parts Raw may be the one that is no secret.
	l.Texts = texts(strings.Join(parts, "\n"), f.RawV2, strings.ReplaceAll(f.RawV2, ":", "\n"), f.Raw)
	for _, source := range slices.Sorted(maps.Keys(f.SourceMetadata.Data)) {
		d := f.SourceMetadata.Data[source]
		l.Repository = d.Repository
		l.Location = checks.Location{Path: cmp.Or(d.File, d.Link), Line: d.Line, Commit: d.Commit, Author: d.Email, Date: moment(d.Timestamp)}
	}
	return r.found(l)
}

// kingfisher reads a finding of Kingfisher, https://github.com/mongodb/kingfisher.
func (r *Report) kingfisher(value json.RawMessage) error {
	var f struct {
		Rule    struct{ ID string }
		Finding struct {
			Snippet, Path string
			Line          int
			ColumnStart   int `json:"column_start"`
			ColumnEnd     int `json:"column_end"`
			GitMetadata   struct {
				RepositoryURL string `json:"repository_url"`
				Commit        struct {
					ID        string
					Committer struct{ Name, Email string }
				}
			} `json:"git_metadata"`
		}
	}
	if err := decode(value, "Kingfisher", &f); err != nil {
		return err
	}
	g := f.Finding.GitMetadata
	return r.found(Leak{
		Format: "kingfisher", Kind: f.Rule.ID, Secret: checks.NewSecret(f.Finding.Snippet), Texts: texts(f.Finding.Snippet), Repository: g.RepositoryURL,
		Location: checks.Location{
			Path: f.Finding.Path, Line: f.Finding.Line, Column: f.Finding.ColumnStart, EndLine: f.Finding.Line, EndColumn: f.Finding.ColumnEnd,
			Commit: g.Commit.ID, Author: author(g.Commit.Committer.Name, g.Commit.Committer.Email),
		},
	})
}

// alert reads an alert of GitHub's secret scanning:
// https://docs.github.com/en/rest/secret-scanning/secret-scanning
func (r *Report) alert(value json.RawMessage) error {
	var f struct {
		SecretType string `json:"secret_type"`
		Secret     string
		State      string
		Repository struct {
			FullName string `json:"full_name"`
		}
		First struct {
			Path        string
			StartLine   int    `json:"start_line"`
			EndLine     int    `json:"end_line"`
			StartColumn int    `json:"start_column"`
			EndColumn   int    `json:"end_column"`
			CommitSHA   string `json:"commit_sha"`
		} `json:"first_location_detected"`
	}
	if err := decode(value, "GitHub", &f); err != nil {
		return err
	}
	if f.State == "resolved" {
		r.Closed++
		return nil
	}
	return r.found(Leak{
		Format: "github", Kind: f.SecretType, Secret: checks.NewSecret(f.Secret), Repository: f.Repository.FullName,
		Location: checks.Location{
			Path: f.First.Path, Line: f.First.StartLine, Column: f.First.StartColumn,
			EndLine: f.First.EndLine, EndColumn: f.First.EndColumn, Commit: f.First.CommitSHA,
		},
	})
}

// A sarifResult is a result of SARIF 2.1.0. Its texts are those of its place.
type sarifResult struct {
	RuleID       string `json:"ruleId"`
	Rule         struct{ ID string }
	Suppressions []json.RawMessage
	Locations    []struct {
		PhysicalLocation struct {
			ArtifactLocation struct{ URI string }
			Region           struct {
				StartLine, EndLine, StartColumn, EndColumn int
				Snippet                                    struct{ Text string }
			}
			ContextRegion struct{ Snippet struct{ Text string } }
		}
	}
	PartialFingerprints struct{ CommitSha, Author, Email, Date string } // gitleaks'
}

// sarif reads the runs of a SARIF log:
// https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html
func (r *Report) sarif(value json.RawMessage) error {
	var runs []struct {
		Results                  []sarifResult
		VersionControlProvenance []struct{ RepositoryURI, RevisionID string }
	}
	if err := decode(value, "SARIF", &runs); err != nil {
		return err
	}
	for _, run := range runs {
		repository, revision := "", ""
		for _, p := range run.VersionControlProvenance[:min(1, len(run.VersionControlProvenance))] {
			repository, revision = p.RepositoryURI, p.RevisionID
		}
		for _, f := range run.Results {
			if len(f.Suppressions) > 0 {
				r.Closed++
				continue
			}
			l := Leak{Format: "sarif", Kind: cmp.Or(f.RuleID, f.Rule.ID), Repository: repository}
			g := f.PartialFingerprints
			for _, at := range f.Locations[:min(1, len(f.Locations))] {
				p := at.PhysicalLocation
				l.Location = checks.Location{Path: p.ArtifactLocation.URI, Line: p.Region.StartLine, EndLine: p.Region.EndLine,
					Column: p.Region.StartColumn, EndColumn: p.Region.EndColumn}
				l.Texts = texts(p.Region.Snippet.Text, p.ContextRegion.Snippet.Text)
			}
			l.Location.Commit, l.Location.Author, l.Location.Date = cmp.Or(g.CommitSha, revision), author(g.Author, g.Email), moment(g.Date)
			if err := r.found(l); err != nil {
				return err
			}
		}
	}
	return nil
}
