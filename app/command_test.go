package app_test

import (
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/stanch-dev/stanch/app"
)

func TestParseCommand(t *testing.T) {
	for _, test := range []struct {
		body string
		want app.Command
		err  error
	}{
		{"/stanch rotate", app.Command{Verb: "rotate"}, nil},
		{"Thanks!\r\n\r\n   /stanch revoke 2\r\nBye", app.Command{Verb: "revoke", Finding: "2"}, nil},
		{"/stanch revoke #12 it is old", app.Command{Verb: "revoke", Finding: "12", Reason: "it is old"}, nil},
		{"/stanch rotate 0123abcd", app.Command{Verb: "rotate", Finding: "0123abcd"}, nil},
		{"/stanch allow a key\tof the  manual", app.Command{Verb: "allow", Reason: "a key of the manual"}, nil},
		{"/stanch bypass 1 demo at noon", app.Command{Verb: "bypass", Finding: "1", Reason: "demo at noon"}, nil},
		{"/stanch status", app.Command{Verb: "status"}, nil},
		{"```\ncode\n```\n/stanch status", app.Command{Verb: "status"}, nil},
		{"> quoted\n\n/stanch status", app.Command{Verb: "status"}, nil},
		{"<!-- a\nb --> c\n/stanch status", app.Command{Verb: "status"}, nil},
		{"```inline``` code\n/stanch status", app.Command{Verb: "status"}, nil},

		{"/stanch", app.Command{}, app.ErrUnclear},
		{"/stanch explode", app.Command{}, app.ErrUnclear},
		{"/stanch allow", app.Command{}, app.ErrUnclear},
		{"/stanch bypass 2", app.Command{}, app.ErrUnclear},
		{"/stanch rotate\n/stanch revoke", app.Command{}, app.ErrUnclear},

		{"", app.Command{}, app.ErrNoCommand},
		{"please /stanch rotate", app.Command{}, app.ErrNoCommand},
		{"/stanchrotate", app.Command{}, app.ErrNoCommand},
		{"`/stanch rotate`", app.Command{}, app.ErrNoCommand},
		{"    /stanch rotate", app.Command{}, app.ErrNoCommand},
		{"\t/stanch rotate", app.Command{}, app.ErrNoCommand},
		{"> /stanch rotate", app.Command{}, app.ErrNoCommand},
		{"> somebody said\n/stanch rotate", app.Command{}, app.ErrNoCommand}, // Markdown goes on quoting
		{"```\n/stanch rotate\n```", app.Command{}, app.ErrNoCommand},
		{"~~~~ text\n~~~\n/stanch rotate\n~~~~", app.Command{}, app.ErrNoCommand},
		{"```\n/stanch rotate", app.Command{}, app.ErrNoCommand},
		{"<!--\n/stanch rotate\n-->", app.Command{}, app.ErrNoCommand},
		{"<PRE>\n/stanch rotate\n</PRE>", app.Command{}, app.ErrNoCommand},
		{"<details><summary>old</summary>\n\n/stanch rotate\n</details>", app.Command{}, app.ErrNoCommand},
		{"- /stanch rotate", app.Command{}, app.ErrNoCommand},
	} {
		got, err := app.ParseCommand(test.body)
		if !errors.Is(err, test.err) || (err == nil) != (test.err == nil) {
			t.Errorf("%q: error %v, want %v", test.body, err, test.err)
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%q (-want +got):\n%s", test.body, diff)
		}
	}
}

func FuzzParseCommand(f *testing.F) {
	for _, seed := range []string{
		"/stanch rotate", "/stanch allow 3 because\xff", "```\n/stanch revoke\n```", "> a\n/stanch status",
		"<!-- /stanch rotate -->\n/stanch bypass x", "~~~\r/stanch status\r~~~", "<pre><code>\n</code>/stanch rotate</pre>",
	} {
		f.Add(seed)
	}
	verbs := []string{"rotate", "revoke", "allow", "bypass", "status"}
	f.Fuzz(func(t *testing.T, body string) {
		c, err := app.ParseCommand(body)
		if err != nil {
			if c != (app.Command{}) || !errors.Is(err, app.ErrNoCommand) && !errors.Is(err, app.ErrUnclear) {
				t.Fatalf("%q: command %+v with error %v", body, c, err)
			}
			return
		}
		known := false
		for _, v := range verbs {
			known = known || c.Verb == v
		}
		if !known || !utf8.ValidString(c.Reason) || utf8.RuneCountInString(c.Reason) > 300 || strings.ContainsAny(c.Reason, "\r\n") {
			t.Fatalf("%q: command %+v", body, c)
		}
		// The same text in a block of code or a quotation commands nothing.
		fence := strings.Repeat("~", strings.Count(body, "~")+3)
		for name, wrapped := range map[string]string{
			"code":  fence + "\n" + body + "\n" + fence,
			"quote": "> " + strings.ReplaceAll(strings.ReplaceAll(body, "\r", "\n"), "\n", "\n> "),
		} {
			if got, err := app.ParseCommand(wrapped); !errors.Is(err, app.ErrNoCommand) {
				t.Fatalf("%s of %q: command %+v, %v", name, body, got, err)
			}
		}
	})
}
