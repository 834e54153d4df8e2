package main

import (
	"bytes"
	"strings"
	"testing"
)

// TestPolicies prints what each door needs: every line says for what.
func TestPolicies(t *testing.T) {
	var s settings
	for _, d := range doors {
		for _, p := range d.policies(s) {
			if p.Name == "" || p.Syntax == "" || len(p.Lines) == 0 {
				t.Errorf("%s: %+v", d.name, p)
			}
			for _, l := range p.Lines {
				if strings.TrimSpace(l.Grant) == "" || l.For == "" {
					t.Errorf("%s: a line without a grant, or without what it is for: %+v", d.name, l)
				}
			}
		}
		var out bytes.Buffer
		if err := printPolicies(&out, s, d.name); err != nil || !strings.Contains(out.String(), d.policies(s)[0].Lines[0].For) {
			t.Errorf("%s: %v, %q", d.name, err, out.String())
		}
	}
	var none, all bytes.Buffer
	if err := printPolicies(&none, s, ""); err == nil || !strings.Contains(err.Error(), "--policy=all") || none.Len() > 0 {
		t.Errorf("nothing is switched on: %v, %q", err, none.String())
	}
	if err := printPolicies(&none, s, "nowhere"); err == nil || !strings.Contains(err.Error(), "aws-secrets") {
		t.Errorf("an unknown name: %v", err)
	}
	if err := printPolicies(&all, s, allDoors); err != nil {
		t.Fatal(err)
	}
	for _, d := range doors {
		p := d.policies(s)[0]
		if !strings.Contains(all.String(), p.Name) {
			t.Errorf("%s is not among all", d.name)
		}
	}
}
