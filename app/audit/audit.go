// Package audit is the log of what Stanch decided and did: append-only and
// chained, so that a changed, removed or reordered entry is noticed.
//
// Each entry carries the HMAC-SHA-256 of its own content and of the entry before
// it. The key is kept outside the database, so somebody who can write to the
// database alone cannot forge the chain.
package audit

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"iter"
	"time"
)

// An Entry is one line of the log. It never holds a secret: Detail carries
// fingerprints, places, provider answers and reasons.
type Entry struct {
	Seq     int64             `json:"seq"` // 1, 2, 3, … without gaps
	At      time.Time         `json:"at"`
	Actor   string            `json:"actor"`   // "policy", "github:octocat", "stanch"
	Verb    string            `json:"verb"`    // "attempt revoke_old", "done revoke_old", "open incident"
	Subject string            `json:"subject"` // what it was done to: an incident's or a delivery's id
	Detail  map[string]string `json:"detail,omitempty"`
	Prev    string            `json:"prev"` // hash of the entry before; empty for the first
	Hash    string            `json:"hash"`
}

// A Key authenticates a chain.
type Key []byte

// Follow returns e as the entry that comes after prev, which is the zero Entry
// for the first one: numbered, linked and hashed.
func (k Key) Follow(prev, e Entry) Entry {
	e.Seq = prev.Seq + 1
	e.Prev = prev.Hash
	e.At = e.At.UTC().Truncate(time.Microsecond)
	e.Hash = k.hash(e)
	return e
}

// Verify walks the chain from its first entry and reports the first break. It
// returns the last entry, whose Seq is the chain's length: compare it with a
// length noted elsewhere to notice that the end was cut off.
func (k Key) Verify(entries iter.Seq2[Entry, error]) (Entry, error) {
	var prev Entry
	for e, err := range entries {
		switch {
		case err != nil:
			return prev, err
		case e.Seq != prev.Seq+1:
			return prev, fmt.Errorf("audit entry %d follows entry %d: entries are missing or out of order", e.Seq, prev.Seq)
		case e.Prev != prev.Hash:
			return prev, fmt.Errorf("audit entry %d does not follow from entry %d: one of them was replaced", e.Seq, prev.Seq)
		case !hmac.Equal([]byte(e.Hash), []byte(k.hash(e))):
			return prev, fmt.Errorf("audit entry %d was changed after it was written, or the key is not the log's", e.Seq)
		}
		prev = e
	}
	return prev, nil
}

// hash is the HMAC of the entry's JSON without its own hash. encoding/json sorts
// map keys, so equal entries have equal bytes.
func (k Key) hash(e Entry) string {
	e.Hash = ""
	e.At = e.At.UTC()
	b, err := json.Marshal(e)
	if err != nil {
		panic(err) // strings, integers and a time always marshal
	}
	mac := hmac.New(sha256.New, k)
	mac.Write(b)
	return hex.EncodeToString(mac.Sum(nil))
}
