package checks

import (
	"math"
	"strings"

	"github.com/stanch-dev/stanch/rules"
)

// credible reports whether value may be a credential that the rule describes. It
// sorts out what only has the shape of one: wrong checksums, documentation's
// dummies, and for rules that ask for it the passwords that nobody uses.
func credible(d *rules.Detect, name, value string) bool {
	if d.Checksum != "" && !rules.ValidChecksum(d.Checksum, value) {
		return false
	}
	if entropy(value) < d.Entropy {
		return false
	}
	if d.Placeholders && d.Exact {
		return !standIn(name, value)
	}
	if generic(d) {
		return true // plausible, where its form was seen
	}
	if d.Placeholders {
		return !placeholder(name, value)
	}
	return !dummy(value) && (d.Value == "" || !prose(value))
}

// prose reports whether value is nothing but words joined by their capitals.
func prose(value string) bool {
	return changes(value) > 1 && strings.IndexFunc(value, func(r rune) bool { return r > '~' || !isLetter(byte(r)) }) < 0 && namelike(value)
}

// entropy is the Shannon entropy of s in bits a byte.
func entropy(s string) float64 {
	if s == "" {
		return 0
	}
	var count [256]int
	for i := range len(s) {
		count[s[i]]++
	}
	var sum float64
	for _, n := range count {
		if n > 0 {
			p := float64(n) / float64(len(s))
			sum -= p * math.Log2(p)
		}
	}
	return sum
}

const (
	// longestRun is how many equal characters in a row a random value may have.
	// Eight in a row come up once in 62^7 values.
	longestRun = 7
	// longestToken is how long a value is that is random all through. Longer ones
	// encode something, and zeros in it are a run of As: each OpenSSH key has one.
	longestToken = 128
)

// dummy reports whether value is written to stand for a credential, as in
// documentation: no random value says "example" or repeats a letter eight times.
func dummy(value string) bool {
	lower := strings.ToLower(value)
	for _, word := range []string{"example", "placeholder", "changeme", "redacted", "your-", "your_", "dummy-", "dummy_",
		"qwxhzgrpbjpvcgvu", "dxnlcjpwyxnz", "ywxhzgrp", "c2vzyw1l", // base64 of Aladdin, sesame and user:pass, as RFC 7617 and manuals have it
		"mtizndu2nzg5m", "eymzq1njc4otb", "xmjm0nty3odkw", // of 1234567890
		"xxxxxxxx",
	} {
		if strings.Contains(lower, word) {
			return true
		}
	}
	if len(value) > longestToken {
		return false
	}
	if counts(value) {
		return true
	}
	run := 1
	for i := 1; i < len(value); i++ {
		if value[i] != value[i-1] {
			run = 0
		}
		if run++; run > longestRun {
			return true
		}
	}
	return false
}

// longestCount is how many characters in a row may each be the next one of the
// alphabet or of the digits. Ten in a row come up once in 62^9 values.
const longestCount = 9

// counts reports whether value holds a long count, such as 1234567890.
func counts(value string) bool {
	run := 1
	for i := 1; i < len(value); i++ {
		if value[i] != value[i-1]+1 && (value[i-1] != '9' || value[i] != '0') {
			run = 0
		}
		if run++; run > longestCount {
			return true
		}
	}
	return false
}

// generic reports whether a rule knows nothing of its secrets but the names that
// they are given to, so that their form and their place have to say more.
func generic(d *rules.Detect) bool { return d.Value != "" && d.Placeholders && !d.Exact }
