package checks_test

import (
	"strings"
	"testing"
	"time"
)

// TestHostileInput holds the scanner to work that grows with the size of the
// input and not with its malice: keywords, credentials and near misses without
// anything between them. Each is scanned at one size and at eight times it: work
// that grew with the square would take 64 times as long.
func TestHostileInput(t *testing.T) {
	const (
		size    = 8 << 10 // so much that companions are looked for as far as ever
		times   = 8
		allowed = 40
	)
	s := scanner(t)
	hostile := map[string]string{
		"tokens glued":       "password=secret:eyJeyJ.eyJghp_AKIA",
		"boundaries":         "a://b:c@postgres://x:y@",
		"frames":             strings.Repeat("-", 5) + "BEGIN PRIVATE" + " KEY-----\n",
		"overlapping chain":  token(t, "{jwt}-hvs.{24:base62}-", 1),
		"pairs":              token(t, "AKIA{16:base32} {40:base64} ", 1),
		"ids without secret": token(t, "AKIA{16:base32} ", 1),
	}
	for _, r := range catalogue(t) {
		example, _ := expand(t, r, r.Examples[0], 1)
		hostile["keyword of "+r.ID] = r.Detect.Keywords[0]
		hostile["cut example of "+r.ID] = example[:len(example)-1-len(example)/20]
	}
	for name, unit := range hostile {
		data := []byte(strings.Repeat(unit, times*size/len(unit)+1)[:times*size])
		// Another program may take the processor at any time, so the fastest of
		// several runs counts.
		short, long := time.Hour, time.Hour
		for range 20 {
			short = min(short, took(func() { s.Scan("file", data[:size]) }))
			long = min(long, took(func() { s.Scan("file", data) }))
			if long <= allowed*short {
				break
			}
		}
		if long > allowed*short {
			t.Errorf("%s: 8 KiB take %v, 64 KiB %v", name, short, long)
		}
	}
}

func took(f func()) time.Duration {
	start := time.Now()
	f()
	return time.Since(start)
}
