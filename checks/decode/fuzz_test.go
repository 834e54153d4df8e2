package decode

import (
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"
)

// FuzzLayers holds Layers to its promises on any text, and to finding any text
// that an encoder has wrapped.
func FuzzLayers(f *testing.F) {
	for i := range encoders {
		f.Add(long, uint8(i), uint8(i))
		f.Add(encoders[i].encode(short), uint8(0), uint8(1))
	}
	f.Add("\"a\" + \"b\\\nc\" . 'd'", uint8(0), uint8(2))
	f.Fuzz(func(t *testing.T, text string, encoder, frame uint8) {
		layersOf(t, []byte(text))
		e := encoders[int(encoder)%len(encoders)]
		if len(text) < max(16, e.least) || !utf8.ValidString(text) || strings.IndexFunc(text, odd) >= 0 || len(text) > 1000 {
			return
		}
		if e.name != "base64" && e.name != "hex" && e.name != "escape x" && e.name != "percent all" && e.name != "utf-16 le" {
			layersOf(t, []byte(e.encode(text)))
			return
		}
		// Only what is readable through and through must be found.
		data := fmt.Sprintf(around[int(frame)%len(around)], e.encode(text))
		for _, l := range layersOf(t, []byte(data)) {
			if l.encoding == e.encoding && strings.Contains(l.text, text) {
				return
			}
		}
		t.Errorf("%q is not found in %q", text, data)
	})
}

// odd reports whether r is none of the characters that keys are made of.
func odd(r rune) bool { return r <= ' ' || r > '~' }

func BenchmarkLayersHostile(b *testing.B) {
	const size = 1 << 20
	for _, unit := range []string{
		"A", "AAAAAAAAAAAAAAAA ", "dXNlcjpUcjB1YjRkb3I ", "=\n", "%41", "%3d", `\x41`, `\na`, `"\na`, `\/`, "&#65;", "&amp", "&#", "0x41,", "a\x00", "\x00a",
		`"a"+`, `"+`, "\"\n", "'\"`", `"` + "a\\\n", "=3D", "a=\r\n", `\\\"`, `"a"` + "\n", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n", `\u{41`, "3D=3D", "x", "0x", "`'", ". ", `" .`,
		"\\\n", "a\\\n",
	} {
		data := []byte(strings.Repeat(unit, size/len(unit)))
		b.Run(fmt.Sprintf("%q", unit), func(b *testing.B) {
			var d Decoder
			b.SetBytes(int64(len(data)))
			for b.Loop() {
				d.Layers(data, func(*Layer) bool { return true })
			}
		})
	}
}
