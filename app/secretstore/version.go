package secretstore

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"time"
)

// A Version is the name of a secret's version in its store.
type Version string

// numbered is the version with a number, for stores that count. None has 0.
func numbered(n int) Version {
	if n == 0 {
		return ""
	}
	return Version(strconv.Itoa(n))
}

// number is a counted version's number, 0 for a secret that does not exist yet.
func (v Version) number() (int, error) {
	if v == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(string(v))
	if err != nil || n < 1 {
		return 0, fmt.Errorf("%q is not the number of a version", string(v))
	}
	return n, nil
}

// compare orders counted versions by their numbers, others by their names.
func (v Version) compare(other Version) int {
	a, errA := v.number()
	b, errB := other.number()
	if errA == nil && errB == nil {
		return cmp.Compare(a, b)
	}
	return cmp.Compare(v, other)
}

// UnmarshalJSON reads a version, also from the time when all were numbers.
func (v *Version) UnmarshalJSON(text []byte) error {
	var n int
	if !bytes.HasPrefix(text, []byte(`"`)) {
		err := json.Unmarshal(text, &n)
		*v = numbered(n)
		return err
	}
	return json.Unmarshal(text, (*string)(v))
}

func sortPast(all []Past) {
	slices.SortFunc(all, func(a, b Past) int { return b.Version.compare(a.Version) })
}

// A Past is a version that a secret has or had, without its values.
type Past struct {
	Version   Version
	Created   time.Time // the zero Time where the store does not tell
	Operation string    // that wrote it, if it was one of Stanch's
	Current   bool
	Gone      bool // its values are destroyed, or deleted
}
