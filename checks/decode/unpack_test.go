package decode

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zlib"
	"github.com/ulikunitz/xz"
)

// generous are limits that no honest archive of these tests comes near.
func generous() *Limits {
	return &Limits{MaxBytes: 1 << 30, MaxRatio: 1000, MaxMembers: 1000, MaxDepth: 8}
}

// unpacked returns what comes out of data, and the error.
func unpacked(data []byte, format string, limits *Limits, source func([]byte) io.Reader) (out []file, err error) {
	err = Unpack(format, source(data), limits, func(name string, r io.Reader) error {
		text, err := io.ReadAll(r)
		out = append(out, file{name, string(text)})
		return err
	})
	return out, err
}

func anywhere(data []byte) io.Reader { return bytes.NewReader(data) }
func once(data []byte) io.Reader     { return io.MultiReader(bytes.NewReader(data)) }

func TestUnpack(t *testing.T) {
	one := []file{{"", files[1].Text}}
	text := []byte(one[0].Text)
	for _, test := range []struct {
		format string
		data   func() []byte
		want   []file
	}{
		{"gzip", func() []byte { return gzipped(t, text) }, one},
		{"zlib", func() []byte {
			return compressed(t, text, func(w io.Writer) (io.WriteCloser, error) { return zlib.NewWriter(w), nil })
		}, one},
		{"xz", func() []byte {
			return compressed(t, text, func(w io.Writer) (io.WriteCloser, error) { return xz.NewWriter(w) })
		}, one},
		{"zstd", func() []byte { return zstandard(t, text) }, one},
		{"bzip2", func() []byte { return bzipped(t, text) }, one},
		{"tar", func() []byte { return tarred(t, files) }, files},
		{"zip", func() []byte { return zipped(t, files) }, files},
		{"ar", func() []byte { return arred(files, false) }, files},
		{"ar", func() []byte { return arred(files, true) }, files},
	} {
		t.Run(test.format, func(t *testing.T) {
			data := test.data()
			if got := Format(data); got != test.format {
				t.Errorf("the format is %q", got)
			}
			for _, source := range []func([]byte) io.Reader{anywhere, once} {
				out, err := unpacked(data, test.format, generous(), source)
				if err != nil {
					t.Error(err)
				}
				if diff := cmp.Diff(test.want, out); diff != "" {
					t.Error(diff)
				}
			}
			checkTruncated(t, test.format, data, test.want)
		})
	}
}

// checkTruncated cuts an archive and expects the beginning of what it holds, and
// an error.
func checkTruncated(t *testing.T, format string, data []byte, want []file) {
	t.Helper()
	cut := len(data) * 2 / 3
	if format == "tar" {
		cut = 3 * 512 // in the second member, after its long name's header or its own
	}
	out, err := unpacked(data[:cut], format, generous(), anywhere)
	if err == nil {
		t.Errorf("%d of %d bytes are unpacked without an error", cut, len(data))
	}
	for i, f := range out {
		if f.Name != want[i].Name || !strings.HasPrefix(want[i].Text, f.Text) {
			t.Errorf("member %d of a cut archive is %q with %d bytes", i, f.Name, len(f.Text))
		}
	}
	if len(want) > 1 && len(out) == 0 {
		t.Error("the first member of a cut archive is lost")
	}
}

func TestFormat(t *testing.T) {
	old := tarred(t, files[:1])
	copy(old[257:265], make([]byte, 8)) // as before POSIX
	sum := 0
	copy(old[148:156], "        ")
	for _, c := range old[:512] {
		sum += int(c)
	}
	copy(old[148:156], fmt.Sprintf("%06o\x00 ", sum))
	for _, test := range []struct{ head, want string }{
		{string(old), "tar"},
		{"7z\xbc\xaf\x27\x1c\x00\x04", "7z"},
		{"Rar!\x1a\x07\x01\x00", "rar"},
		{"BZhello, this is a text", ""},
		{"x\x01", ""},
		{"x^2 + y^2", ""},
		{"", ""},
		{strings.Repeat("text ", 200), ""},
		{strings.Repeat("\x00", 512), ""},
	} {
		if got := Format([]byte(test.head)); got != test.want {
			t.Errorf("Format(%.20q) = %q, want %q", test.head, got, test.want)
		}
	}
}

func TestUnsupported(t *testing.T) {
	nothing := func(string, io.Reader) error { return nil }
	for _, format := range []string{"7z", "rar", ""} {
		if err := Unpack(format, strings.NewReader("7z"), generous(), nothing); !errors.Is(err, ErrUnsupported) {
			t.Errorf("format %q: %v", format, err)
		}
	}
	data := zipped(t, files)
	// Bit 0 of the flags, in the second member's entry of the directory.
	entry := bytes.Index(data, []byte("PK\x01\x02"))
	entry += 1 + bytes.Index(data[entry+1:], []byte("PK\x01\x02"))
	data[entry+8] |= 1
	out, err := unpacked(data, "zip", generous(), anywhere)
	if !errors.Is(err, ErrUnsupported) || !strings.Contains(fmt.Sprint(err), files[1].Name) {
		t.Errorf("an encrypted member gives %v", err)
	}
	if diff := cmp.Diff([]file{files[0], files[2]}, out); diff != "" {
		t.Error(diff)
	}
}

func TestErrorsOfTheReaderEndIt(t *testing.T) {
	stop := errors.New("enough")
	n := 0
	for format, data := range map[string][]byte{"tar": tarred(t, files), "zip": zipped(t, files), "ar": arred(files, true), "gzip": gzipped(t, []byte("x"))} {
		n = 0
		err := Unpack(format, bytes.NewReader(data), generous(), func(string, io.Reader) error { n++; return stop })
		if !errors.Is(err, stop) || n != 1 {
			t.Errorf("%s: %d members, %v", format, n, err)
		}
		n = 0
		if err := Unpack(format, bytes.NewReader(data), generous(), func(string, io.Reader) error { n++; return nil }); err != nil || n == 0 {
			t.Errorf("%s: what nobody reads gives %v", format, err)
		}
	}
}

func TestOneBrokenMemberHidesNoOther(t *testing.T) {
	random := rand.NewChaCha8([32]byte{2})
	noise := make([]byte, 5000)
	random.Read(noise)
	three := []file{files[0], {"broken", strings.Repeat(string(noise), 2)}, files[2]}
	data := zipped(t, three)
	at := bytes.Index(data, []byte("broken")) + len("broken")
	data[at] = 0xff // a block of the reserved type
	out, err := unpacked(data, "zip", generous(), anywhere)
	if err == nil || !strings.Contains(err.Error(), `"broken"`) {
		t.Errorf("the error is %v", err)
	}
	if len(out) != 3 || out[0] != three[0] || out[2] != three[2] {
		t.Errorf("%d members came out", len(out))
	}
}

// zeros yields so many of them.
func zeros(n int64) io.Reader { return io.LimitReader(zeroReader{}, n) }

type zeroReader struct{}

func (zeroReader) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// sparse returns a tar whose one file is a hole of size bytes, in GNU's old format.
func sparse(size int64) []byte {
	h := make([]byte, 512)
	copy(h, "hole")
	copy(h[100:], "0000644\x000000000\x000000000\x0000000000000\x0000000000000\x00")
	h[156] = 'S'
	copy(h[257:], "ustar  \x00")
	big := func(field []byte, n int64) { // base 256
		binary.BigEndian.PutUint64(field[len(field)-8:], uint64(n))
		field[0] = 0x80
	}
	big(h[386:398], size) // one piece, of no bytes, at the end
	copy(h[398:410], "00000000000\x00")
	big(h[483:495], size)
	copy(h[148:156], "        ")
	sum := 0
	for _, c := range h {
		sum += int(c)
	}
	copy(h[148:], fmt.Sprintf("%06o\x00 ", sum))
	return append(h, make([]byte, 1024)...)
}

// overlapped returns a zip whose members all have the same bytes.
func overlapped(t *testing.T, n int) []byte {
	data := zipped(t, []file{{"a", strings.Repeat("x", 1<<20)}})
	start := bytes.Index(data, []byte("PK\x01\x02"))
	end := bytes.Index(data, []byte("PK\x05\x06"))
	entry := bytes.Clone(data[start:end])
	tail := bytes.Clone(data[end:])
	data = data[:start]
	for range n {
		data = append(data, entry...)
	}
	binary.LittleEndian.PutUint16(tail[8:], uint16(n))
	binary.LittleEndian.PutUint16(tail[10:], uint16(n))
	binary.LittleEndian.PutUint32(tail[12:], uint32(n*len(entry)))
	return append(data, tail...)
}

func TestBombsAreStopped(t *testing.T) {
	packedZeros := func(n int64) []byte {
		return compressed(t, nil, func(w io.Writer) (io.WriteCloser, error) {
			z := gzip.NewWriter(w)
			_, err := io.Copy(z, zeros(n))
			return z, err
		})
	}
	many := make([]file, 2000)
	for i := range many {
		many[i] = file{fmt.Sprint(i), "x"}
	}
	small := func() *Limits { return &Limits{MaxBytes: 32 << 20, MaxRatio: 200, MaxMembers: 1000, MaxDepth: 4} }
	noBound := func() *Limits { return &Limits{MaxBytes: 32 << 20} }
	for _, test := range []struct {
		name, format string
		data         []byte
		limits       *Limits
		want         string
	}{
		{"gzip of zeros", "gzip", packedZeros(200 << 20), small(), "ratio"},
		{"gzip of zeros, any ratio", "gzip", packedZeros(200 << 20), noBound(), "bytes"},
		{"10 GB of sparse tar", "tar", sparse(10 << 30), small(), "ratio"},
		{"10 GB of sparse tar, any ratio", "tar", sparse(10 << 30), noBound(), "bytes"},
		{"overlapping zip", "zip", overlapped(t, 900), small(), "ratio"},
		{"members of zip", "zip", zipped(t, many), small(), "members"},
		{"members of tar", "tar", tarred(t, many), small(), "members"},
		{"members of ar", "ar", arred(many, true), small(), "members"},
		{"directory of zip", "zip", overlapped(t, 60000), &Limits{MaxMembers: 10}, "members"},
		{"window of zstd", "zstd", []byte("\x28\xb5\x2f\xfd\x00\xa8\x09\x00\x00x"), small(), "memory"},
	} {
		t.Run(test.name, func(t *testing.T) {
			begin := time.Now()
			err := Unpack(test.format, bytes.NewReader(test.data), test.limits, func(_ string, r io.Reader) error {
				_, err := io.Copy(io.Discard, r)
				return err
			})
			limit := new(LimitError)
			if !errors.As(err, &limit) || limit.Limit != test.want {
				t.Errorf("the error is %v, want the limit %q", err, test.want)
			}
			if spent := time.Since(begin); spent > 10*time.Second {
				t.Errorf("it took %v", spent)
			}
		})
	}
}

// nested unpacks what is in archives until there is none left.
func nested(data []byte, limits *Limits) (texts []string, err error) {
	head := data[:min(len(data), 512)]
	format := Format(head)
	if !Known(format) {
		return []string{string(data)}, nil
	}
	err = Unpack(format, bytes.NewReader(data), limits, func(_ string, r io.Reader) error {
		inner, err := io.ReadAll(r)
		if err != nil {
			return err
		}
		more, err := nested(inner, limits)
		texts = append(texts, more...)
		return err
	})
	return texts, err
}

func TestNesting(t *testing.T) {
	data := []byte("SESSION=0123456789abcdef\n")
	for range 2 {
		data = tarred(t, []file{{"layer.tar.gz", string(gzipped(t, data))}})
	}
	texts, err := nested(data, generous())
	if err != nil || len(texts) != 1 || !strings.HasPrefix(texts[0], "SESSION=") {
		t.Errorf("%q, %v", texts, err)
	}
	limits := &Limits{MaxDepth: 3}
	_, err = nested(data, limits)
	limit := new(LimitError)
	if !errors.As(err, &limit) || limit.Limit != "depth" {
		t.Errorf("four levels with a limit of three: %v", err)
	}
	limits = generous()
	if _, err := nested(data, limits); err != nil || limits.depth != 0 || limits.members != 4 {
		t.Errorf("%v; at depth %d after %d members", err, limits.depth, limits.members)
	}
}

func FuzzUnpack(f *testing.F) {
	formats := []string{"gzip", "zlib", "bzip2", "xz", "zstd", "zip", "tar", "ar"}
	text := []byte(files[1].Text)
	f.Add(uint8(0), gzipped(f, text))
	f.Add(uint8(3), compressed(f, text, func(w io.Writer) (io.WriteCloser, error) { return xz.NewWriter(w) }))
	f.Add(uint8(4), zstandard(f, text))
	f.Add(uint8(5), zipped(f, files))
	f.Add(uint8(5), zipped(f, files)[:200])
	f.Add(uint8(6), tarred(f, files))
	f.Add(uint8(6), sparse(10<<30))
	f.Add(uint8(7), arred(files, false))
	f.Add(uint8(7), arred(files, true))
	f.Fuzz(func(t *testing.T, format uint8, data []byte) {
		limits := &Limits{MaxBytes: 4 << 20, MaxRatio: 100, MaxMembers: 50, MaxDepth: 3}
		for _, source := range []func([]byte) io.Reader{anywhere, once} {
			total := int64(0)
			Unpack(formats[int(format)%len(formats)], source(data), limits, func(_ string, r io.Reader) error {
				n, err := io.Copy(io.Discard, r)
				total += n
				return err
			})
			if total > limits.MaxBytes+1<<20 || limits.depth != 0 {
				t.Errorf("%d bytes came out; depth %d", total, limits.depth)
			}
		}
	})
}

func BenchmarkUnpack(b *testing.B) {
	text := bytes.Repeat([]byte("func name(parameter string) error { return fmt.Errorf(\"%d\", 1) }\n"), 1<<14)
	for format, data := range map[string][]byte{"gzip": gzipped(b, text), "zip": zipped(b, []file{{"a", string(text)}}), "tar": tarred(b, []file{{"a", string(text)}})} {
		b.Run(format, func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				err := Unpack(format, bytes.NewReader(data), generous(), func(_ string, r io.Reader) error {
					_, err := io.Copy(io.Discard, r)
					return err
				})
				if err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
