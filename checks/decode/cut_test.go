package decode

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// placed lists the layers of data, which stands at an offset of a text.
func placed(data []byte, offset int) (all []string, seen bool) {
	var d Decoder
	seen = d.Layers(data, func(l *Layer) bool {
		all = append(all, fmt.Sprintf("%06d-%06d %s %q", offset+l.Start, offset+l.End, l.Encoding, l.Text))
		return true
	})
	return all, seen
}

// checkCuts holds every cut of data to its word.
func checkCuts(t *testing.T, data []byte) {
	t.Helper()
	whole, seen := placed(data, 0)
	if !seen || bytes.IndexByte(data, 0) >= 0 {
		return
	}
	slices.Sort(whole)
	for at := CutAfter(data, 1); at < len(data); at = CutAfter(data, at+1) {
		if got := CutBefore(data, 0, at); got != at {
			t.Errorf("a cut at %d is one at %d from behind", at, got)
		}
		before, all := placed(data[:at], 0)
		after, rest := placed(data[at:], at)
		parts := append(before, after...)
		slices.Sort(parts)
		if all && rest && !slices.Equal(parts, whole) {
			t.Errorf("%q, cut at %d:\n%s\nwhole:\n%s", data, at, strings.Join(parts, "\n"), strings.Join(whole, "\n"))
			return
		}
	}
}

// pieceOf are what texts with cuts in odd places are made of.
var pieceOf = []string{
	"\n", "\r\n", "\n\n", "}", ")", ";", "#", "word", "g\n", "h\r\n", "x", "0x41,", "0x4a, ", "0X42,\n", "0x43,\n        ", "\"", "'", "`", "\\", "\\\n", "\\/", `\n`, `\"`,
	"+", " . ", "\"a\" +\n", "\"b\"\n", "=", "=\n", "=3D", "%41", "%3d", "&#65;", "&quot;", `\x41`, `\u0042`, "  ", "\t", "f\"", "L", "$", "@", "{\n", "}\n", ")\r\n", ":\n",
}

// oddText is a random text of such pieces and of encoded ones.
func oddText(random *rand.Rand) []byte {
	var b bytes.Buffer
	for range 2 + random.IntN(30) {
		switch random.IntN(4) {
		case 0:
			e := encoders[random.IntN(len(encoders))]
			text := e.encode(long[:min(len(long), 8+random.IntN(60))])
			from := random.IntN(1 + len(text)/4)
			b.WriteString(text[from : len(text)-random.IntN(1+len(text)/4)])
		case 1:
			text := encoders[0].encode(strings.Repeat(long, 3))
			for width := 30 + random.IntN(50); len(text) > width; text = text[width:] {
				b.WriteString(text[:width] + "\n")
			}
			b.WriteString(text)
		default:
			b.WriteString(pieceOf[random.IntN(len(pieceOf))])
		}
	}
	return b.Bytes()
}

func TestCut(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 5_000 {
		if checkCuts(t, oddText(random)); t.Failed() {
			return
		}
	}
}

// FuzzCut cuts any text.
func FuzzCut(f *testing.F) {
	for i := range uint64(8) {
		f.Add(oddText(rand.New(rand.NewPCG(i, 3))))
	}
	f.Fuzz(checkCuts)
}
