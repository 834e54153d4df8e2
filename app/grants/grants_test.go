package grants

import (
	"strings"
	"testing"
)

func TestPolicy(t *testing.T) {
	p := Policy{Name: "A store", Syntax: "hcl", Lines: []Line{
		{Grant: "path \"a\" {\n}", For: "locate"}, {Grant: "path \"b\" {}", For: "put", Optional: true},
	}}
	var text strings.Builder
	if err := p.Write(&text); err != nil {
		t.Fatal(err)
	}
	if want := "A store (hcl)\n  # locate\n  path \"a\" {\n  }\n  # put, optional\n  path \"b\" {}\n"; text.String() != want {
		t.Errorf("%q, want %q", text.String(), want)
	}
	if q := p.Without(0); len(q.Lines) != 1 || q.Lines[0].For != "put" || len(p.Lines) != 2 || p.Lines[0].For != "locate" {
		t.Errorf("without the first: %+v of %+v", q, p)
	}
}
