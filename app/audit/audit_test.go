package audit

import (
	"errors"
	"iter"
	"slices"
	"strings"
	"testing"
	"time"
)

func chain(k Key, n int) []Entry {
	var entries []Entry
	var prev Entry
	for i := range n {
		prev = k.Follow(prev, Entry{
			At: time.Unix(int64(i), 12345), Actor: "policy", Verb: "attempt revoke_old", Subject: "incident",
			Detail: map[string]string{"b": "2", "a": "1"},
		})
		entries = append(entries, prev)
	}
	return entries
}

func seq(entries []Entry) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		for _, e := range entries {
			if !yield(e, nil) {
				return
			}
		}
	}
}

func TestVerify(t *testing.T) {
	key := Key("the key")
	tests := map[string]struct {
		tamper func([]Entry) []Entry
		want   string // part of the error, "" for none
	}{
		"untouched":      {func(e []Entry) []Entry { return e }, ""},
		"changed detail": {func(e []Entry) []Entry { e[2].Detail = map[string]string{"a": "9"}; return e }, "entry 3 was changed"},
		"changed actor":  {func(e []Entry) []Entry { e[2].Actor = "nobody"; return e }, "entry 3 was changed"},
		"changed time":   {func(e []Entry) []Entry { e[2].At = e[2].At.Add(time.Second); return e }, "entry 3 was changed"},
		"removed":        {func(e []Entry) []Entry { return slices.Delete(e, 1, 2) }, "missing or out of order"},
		"swapped":        {func(e []Entry) []Entry { e[1], e[2] = e[2], e[1]; return e }, "missing or out of order"},
		"renumbered":     {func(e []Entry) []Entry { e = slices.Delete(e, 1, 2); e[1].Seq = 2; return e }, "does not follow"},
		"forged without the key": {func(e []Entry) []Entry {
			e[4] = Key("another").Follow(e[3], e[4])
			return e
		}, "entry 5 was changed"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			last, err := key.Verify(seq(tt.tamper(chain(key, 5))))
			if tt.want == "" {
				if err != nil || last.Seq != 5 {
					t.Fatalf("Verify = %d, %v; want 5, nil", last.Seq, err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("Verify error = %v, want one with %q", err, tt.want)
			}
		})
	}
}

func TestVerifyPassesOnReadErrors(t *testing.T) {
	broken := errors.New("disk gone")
	_, err := Key("k").Verify(func(yield func(Entry, error) bool) { yield(Entry{}, broken) })
	if !errors.Is(err, broken) {
		t.Fatalf("Verify error = %v, want %v", err, broken)
	}
}
