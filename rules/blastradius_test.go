package rules

import (
	"strings"
	"testing"
)

func TestAccessOf(t *testing.T) {
	kind := &BlastRadius{Admin: []string{"sudo*"}, Write: []string{"repo"}, Read: []string{"user:email", "admin:read"}}
	for permission, want := range map[string]Access{
		"repo":           AccessWrite, // as the kind says
		"sudo_anything":  AccessAdmin,
		"user:email":     AccessRead,
		"admin:read":     AccessRead,  // what the kind says goes before the words
		"admin:org":      AccessAdmin, // by its words
		"org:read admin": AccessAdmin,
		"write:packages": AccessWrite,
		"mail.send":      AccessWrite,
		"read_build":     AccessRead,
		"GET":            AccessRead,
		"*":              AccessAdmin,
		"readers":        "",
		"something":      "",
		"":               "",
	} {
		if got := kind.AccessOf(permission); got != want {
			t.Errorf("%q gives %q, want %q", permission, got, want)
		}
	}
}

func TestAdjusted(t *testing.T) {
	for _, test := range []struct {
		severity Severity
		access   Access
		want     Severity
	}{
		{Low, AccessAdmin, Critical}, {Critical, AccessAdmin, Critical},
		{Low, AccessWrite, High}, {Medium, AccessWrite, High}, {High, AccessWrite, High}, {Critical, AccessWrite, Critical},
		{Critical, AccessRead, High}, {High, AccessRead, Medium}, {Medium, AccessRead, Low}, {Low, AccessRead, Low},
		{Medium, "", Medium}, {"", AccessAdmin, ""},
	} {
		if got := test.severity.Adjusted(test.access); got != test.want {
			t.Errorf("%s with %q is %s, want %s", test.severity, test.access, got, test.want)
		}
	}
}

func TestLintBlastRadius(t *testing.T) {
	get := func() *Request { return &Request{Method: "GET", Path: "/me"} }
	for name, test := range map[string]struct {
		radius *BlastRadius
		want   string
	}{
		"nothing told":   {&BlastRadius{Request: get()}, "no field says"},
		"it changes":     {&BlastRadius{Request: &Request{Method: "POST", Path: "/me"}, Owner: []string{"a"}}, "it only looks"},
		"another access": {&BlastRadius{Request: get(), Owner: []string{"a"}, Access: "all"}, "none of admin, write, read"},
		"no header":      {&BlastRadius{Request: get(), Owner: []string{"header:"}}, "a place is empty"},
		"nobody asked":   {&BlastRadius{Owner: []string{"a"}}, "no verification whose answer"},
		"unknown part":   {&BlastRadius{Request: &Request{Method: "GET", Path: "/{account}"}, Owner: []string{"a"}}, "names no part"},
		"good":           {&BlastRadius{Request: get(), Owner: []string{"a"}}, ""},
	} {
		l := &linter{}
		l.blastRadius(test.radius, &Rule{}, map[string]bool{"secret": true})
		var all []string
		for _, f := range l.faults {
			all = append(all, f.Text)
		}
		got := strings.Join(all, "\n")
		if test.want == "" && got != "" || !strings.Contains(got, test.want) {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
}
