package checks_test

import (
	"encoding/json"
	"testing"

	"github.com/stanch-dev/stanch/checks"
)

func TestCoverageIsComplete(t *testing.T) {
	skip := []checks.Skip{{Commit: "c", Path: "p", Reason: "too large"}}
	for _, test := range []struct {
		coverage checks.Coverage
		want     bool
	}{
		{checks.Coverage{}, false},
		{checks.Coverage{Base: "b", Commits: 1}, false},
		{checks.Coverage{Tip: "t"}, true},
		{checks.Coverage{Tip: "t", Skipped: skip}, false},
	} {
		if got := test.coverage.Complete(); got != test.want {
			t.Errorf("%+v: complete is %v, want %v", test.coverage, got, test.want)
		}
	}
	got, err := json.Marshal(checks.Coverage{Base: "b", Tip: "t", Commits: 1, Blobs: 2, Bytes: 3, Skipped: skip})
	const want = `{"base":"b","tip":"t","commits":1,"blobs":2,"bytes":3,"skipped":[{"commit":"c","path":"p","reason":"too large"}]}`
	if err != nil || string(got) != want {
		t.Errorf("JSON is %s (%v), want %s", got, err, want)
	}
}
