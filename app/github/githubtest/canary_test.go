package githubtest

import (
	"encoding/base64"
	"encoding/hex"
	"net/url"
	"strings"
	"testing"
)

func TestHolds(t *testing.T) {
	value := strings.Repeat("canary+", 5)
	for _, hidden := range []string{
		"x" + value + "y",
		"?q=" + url.QueryEscape(value),
		hex.EncodeToString([]byte("ab" + value)),
		strings.ToUpper(hex.EncodeToString([]byte(value))),
		base64.StdEncoding.EncodeToString([]byte("a" + value + "b")),
		base64.URLEncoding.EncodeToString([]byte("ab" + value + "c")),
		base64.StdEncoding.EncodeToString([]byte("abc" + value)),
	} {
		if !Holds([]byte(hidden), value) {
			t.Errorf("not found in %q", hidden)
		}
	}
	if Holds([]byte("nothing of the kind"), value) {
		t.Error("found where it is not")
	}
}
