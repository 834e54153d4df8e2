package git_test

import (
	"testing"
	"unicode/utf16"

	"github.com/google/go-cmp/cmp"
)

// wide returns text in UTF-16 with a byte order mark.
func wide(text string) string {
	var data []byte
	for _, unit := range utf16.Encode([]rune("\uFEFF" + text)) {
		data = append(data, byte(unit), byte(unit>>8))
	}
	return string(data)
}

// Lines of UTF-16 are those of its text: U+010A has the byte of a line's end.
func TestUTF16(t *testing.T) {
	r := newRepo(t)
	base := r.file("one", "a.ps1", wide("\u010a\r\nkey = "+token(t, 1)+"\r\n"))
	if diff := cmp.Diff([]string{`one "a.ps1":2 tip`}, r.brief(r.scan("").Findings)); diff != "" {
		t.Errorf("findings (-want +got):\n%s", diff)
	}
	r.file("two", "a.ps1", wide("\u010a, edited\r\nkey = "+token(t, 1)+"\r\n"))
	if got := r.brief(r.scan(base + "..HEAD").Findings); len(got) != 0 {
		t.Errorf("found %v, want nothing: another line was edited", got)
	}
}
