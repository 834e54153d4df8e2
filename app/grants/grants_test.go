package grants

import (
	"strings"
	"testing"
)

func TestPolicy(t *testing.T) {
	p := Policy{Name: "A store", Lines: []Line{
		{Grant: "{one\n}", For: "locate"}, {Grant: "{two}", For: "put, once", Optional: true}, {Grant: "{three}", For: "put, once", Optional: true},
	}}
	for syntax, want := range map[string]string{
		"hcl":    "# A store\n# locate\n{one\n}\n# put, once, optional\n{two}\n{three}\n",
		"sql":    "-- A store\n-- locate\n{one\n}\n-- put, once, optional\n{two}\n{three}\n",
		"gcloud": "# A store\nstage: GA\nincludedPermissions:\n  # locate\n  - {one\n    }\n  # put, once, optional\n  - {two}\n  - {three}\n",
		"rbac": "# A store\napiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata:\n  name: stanch\nrules:\n" +
			"  # locate\n  - {one\n    }\n  # put, once, optional\n  - {two}\n  - {three}\n",
		"iam": "{\"Version\":\"2012-10-17\",\"Statement\":[\n  {\"Sid\":\"Locate1\",one\n},\n  {\"Sid\":\"PutOnceOptional2\",two},\n" +
			"  {\"Sid\":\"PutOnceOptional3\",three}\n]}\n",
	} {
		var text strings.Builder
		p.Syntax = syntax
		if err := p.Write(&text); err != nil || text.String() != want {
			t.Errorf("%s: %q, %v, want %q", syntax, text.String(), err, want)
		}
	}
	if q := p.Without(0); len(q.Lines) != 2 || q.Lines[0].Grant != "{two}" || len(p.Lines) != 3 || p.Lines[0].For != "locate" {
		t.Errorf("without the first: %+v of %+v", q, p)
	}
}
