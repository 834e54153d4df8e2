package decode

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// compressed writes data through one of the compressors.
func compressed(t testing.TB, data []byte, open func(io.Writer) (io.WriteCloser, error)) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := open(&b)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func gzipped(t testing.TB, data []byte) []byte {
	return compressed(t, data, func(w io.Writer) (io.WriteCloser, error) { return gzip.NewWriter(w), nil })
}

func zstandard(t testing.TB, data []byte) []byte {
	return compressed(t, data, func(w io.Writer) (io.WriteCloser, error) { return zstd.NewWriter(w) })
}

func bzipped(t testing.TB, data []byte) []byte {
	t.Helper()
	program, err := exec.LookPath("bzip2")
	if err != nil {
		t.Skip(err)
	}
	cmd := exec.Command(program, "-c")
	cmd.Stdin = bytes.NewReader(data)
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// A file is a member that a test packs or finds.
type file struct{ Name, Text string }

var files = []file{{"etc/app.env", "SESSION=0123456789abcdef\n"}, {"a/very/long/name/of/more/than/fifteen.txt", strings.Repeat("all work and no play\n", 100)}, {"odd", "x"}}

func tarred(t testing.TB, files []file) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range files {
		if err := w.WriteHeader(&tar.Header{Name: f.Name, Size: int64(len(f.Text)), Mode: 0o644}); err != nil {
			t.Fatal(err)
		}
		io.WriteString(w, f.Text)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func zipped(t testing.TB, files []file) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, f := range files {
		member, err := w.Create(f.Name)
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(member, f.Text)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// arred packs as GNU's ar does, or BSD's.
func arred(files []file, bsd bool) []byte {
	var b strings.Builder
	header := func(name string, size int) {
		fmt.Fprintf(&b, "%-16s%-12d%-6d%-6d%-8s%-10d`\n", name, 0, 0, 0, "100644", size)
	}
	pad := func() {
		if b.Len()%2 == 1 {
			b.WriteByte('\n')
		}
	}
	b.WriteString(arMagic)
	names := ""
	for _, f := range files {
		names += f.Name + "/\n"
	}
	if !bsd {
		header("//", len(names))
		b.WriteString(names)
		pad()
	}
	for _, f := range files {
		if bsd {
			header(fmt.Sprintf("#1/%d", len(f.Name)), len(f.Name)+len(f.Text))
			b.WriteString(f.Name)
		} else {
			header(fmt.Sprintf("/%d", strings.Index(names, f.Name)), len(f.Text))
		}
		b.WriteString(f.Text)
		pad()
	}
	return []byte(b.String())
}
