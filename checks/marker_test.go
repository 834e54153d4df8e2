package checks_test

import (
	"strings"
	"testing"

	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/rules"
)

// TestMarkers: a finding tells the marker on its own line, and takes none from others.
func TestMarkers(t *testing.T) {
	s := scanner(t)
	pat := token(t, githubPAT, 1)
	for text, want := range map[string]string{
		"key = " + pat + " # gitleaks:allow":                    "gitleaks:allow",
		"# trufflehog:ignore key = " + pat:                      "trufflehog:ignore",
		"# gitleaks:allow\nkey = " + pat + "\n# gitleaks:allow": "",
		"key = " + pat: "",
		"key = " + pat + strings.Repeat(" ", 5000) + "# gitleaks:allow": "", // too far to be about it
	} {
		if f := one(t, scan(s, "a", []byte(text))); f.Marker != want {
			t.Errorf("%.40q…: the marker is %q; want %q", text[:10], f.Marker, want)
		}
	}
}

// TestExcusedFindings: what a list excuses is found and says so.
func TestExcusedFindings(t *testing.T) {
	all, err := rules.Catalogue()
	if err != nil {
		t.Fatal(err)
	}
	lists := []rules.Allow{{Paths: []string{"^tests/"}, Excuse: ".gitleaks.toml"}}
	for i := range all {
		all[i] = all[i].Allowing(lists)
	}
	s, err := checks.New(all...)
	if err != nil {
		t.Fatal(err)
	}
	text := []byte("key = " + token(t, githubPAT, 1))
	for path, want := range map[string]string{"tests/a.env": ".gitleaks.toml", "src/a.env": ""} {
		if f := one(t, scan(s, path, text)); f.Excused != want {
			t.Errorf("%s: excused by %q; want %q", path, f.Excused, want)
		}
	}
}
