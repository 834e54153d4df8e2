package checks_test

import (
	"strings"
	"testing"

	"github.com/stanch-dev/stanch/checks"
)

// FuzzScan scans any bytes, with a credential of each kind among them: nothing
// panics, locations enclose what was found, and nothing that is shown tells it.
func FuzzScan(f *testing.F) {
	s := scanner(f)
	all := catalogue(f)
	for i := range all {
		f.Add([]byte("a = \""), []byte("\"\r\n"), uint8(i))
	}
	f.Add([]byte("\xff\x00-----BEGIN "), []byte("PRIVATE KEY-----\n"), uint8(0))
	f.Add([]byte("\xff\xfe"), []byte("\x00\xd8"), uint8(3))
	f.Fuzz(func(t *testing.T, before, after []byte, pick uint8) {
		r := all[int(pick)%len(all)]
		example, _ := expand(t, r, r.Examples[0], pick)
		data := append(append(append([]byte{}, before...), example...), after...)
		path := "dir/" + string(after)
		lastLine, lastColumn := 0, 0
		for _, found := range scan(s, path, data) {
			secret := found.Credential.Secret().Expose()
			if secret == "" || len(found.Encodings) == 0 && text(checks.Text(data), found.Location) != secret {
				t.Error("a location does not enclose the secret")
			}
			if strings.Contains(found.Redacted, secret) || strings.Contains(found.Path, secret) {
				t.Error("a finding tells its secret")
			}
			if found.Line < lastLine || found.Line == lastLine && found.Column < lastColumn {
				t.Error("findings overlap or are out of order")
			}
			lastLine, lastColumn = found.EndLine, found.EndColumn
		}
	})
}
