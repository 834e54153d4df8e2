package checks_test

import (
	"strings"
	"testing"
	"time"
)

// TestHostileInput holds the scanner to work that grows with the size of the
// input and not with its malice: keywords, credentials and near misses without
// anything between them. Work that grew with the square would take minutes.
func TestHostileInput(t *testing.T) {
	const (
		size    = 32 << 10
		allowed = 3 * time.Second // a hundred times what it takes, for busy machines
	)
	s := scanner(t)
	hostile := map[string]string{
		"tokens glued": "password=secret:eyJeyJ.eyJghp_AKIA",
		"boundaries":   "a://b:c@postgres://x:y@",
		"frames":       strings.Repeat("-", 5) + "BEGIN PRIVATE" + " KEY-----\n",
	}
	for _, r := range catalogue(t) {
		example, _ := expand(t, r, r.Examples[0], 1)
		hostile["keyword of "+r.ID] = r.Detect.Keywords[0]
		hostile["cut example of "+r.ID] = example[:len(example)-1-len(example)/20]
	}
	for name, unit := range hostile {
		data := []byte(strings.Repeat(unit, size/len(unit)+1)[:size])
		start := time.Now()
		s.Scan("file", data)
		if took := time.Since(start); took > allowed {
			t.Errorf("32 KiB of %s took %v", name, took)
		}
	}
}
