package main

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestDiffHasTheMeanSize(t *testing.T) {
	source := bytes.Repeat([]byte("\tif err := run(); err != nil { return err }\n"), 400)
	diff := diffOf("a.go", source)
	added := 0
	for line := range strings.Lines(string(diff)) {
		if strings.HasPrefix(line, "+\t") {
			added += len(line) - 1
		}
	}
	if len(diff) != diffSize {
		t.Errorf("%d bytes, want %d", len(diff), diffSize)
	}
	if added < addedSize*9/10 || added > addedSize*11/10 {
		t.Errorf("%d bytes of added lines, want about %d", added, addedSize)
	}
}

func TestMedian(t *testing.T) {
	at := func(wall, cpu time.Duration, peak int64) usage { return usage{wall, cpu, peak} }
	if got, want := median([]usage{at(3, 10, 7), at(1, 30, 9), at(2, 20, 8)}), at(2, 20, 9); got != want {
		t.Errorf("got %v, want %v", got, want)
	}
	if got, want := median([]usage{at(1, 1, 1), at(3, 3, 3)}), at(2, 2, 3); got != want {
		t.Errorf("of two: got %v, want %v", got, want)
	}
}

func TestMegabytes(t *testing.T) {
	if got, err := megabytes("1,64"); err != nil || !slices.Equal(got, []int64{mega, 64 * mega}) {
		t.Errorf("got %v, %v", got, err)
	}
	for _, bad := range []string{"", "0", "1,x", "-3"} {
		if got, err := megabytes(bad); err == nil {
			t.Errorf("%q: got %v, want an error", bad, got)
		}
	}
}

func TestIsText(t *testing.T) {
	for text, want := range map[string]bool{"package main": true, "": false, "a\x00b": false, "\x1f\x8b\x08": false} {
		if got := isText([]byte(text)); got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}

func TestChosen(t *testing.T) {
	all, err := chosen("history,push")
	if err != nil || len(all) != 2 || all[0].name != "history" || all[1].name != "push" {
		t.Errorf("got %v, %v", all, err)
	}
	if all, err := chosen("history,pull"); err == nil {
		t.Errorf("got %v, want an error", all)
	}
}
