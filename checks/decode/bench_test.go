package decode

import (
	"go/build"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// source returns some 32 MB of Go's own source.
func source(b *testing.B) []byte {
	b.Helper()
	const enough = 32 << 20
	var all []byte
	err := filepath.WalkDir(filepath.Join(build.Default.GOROOT, "src"), func(path string, entry fs.DirEntry, err error) error {
		if err != nil || len(all) > enough || !strings.HasSuffix(path, ".go") {
			return err
		}
		text, err := os.ReadFile(path)
		all = append(all, text...)
		return err
	})
	if err != nil {
		b.Skip(err)
	}
	return all
}

func BenchmarkLayersSource(b *testing.B) {
	data := source(b)
	var d Decoder
	layers, size := 0, 0
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		layers, size = 0, 0
		const chunk = 1 << 20
		for i := 0; i < len(data); i += chunk {
			d.Layers(data[i:min(i+chunk, len(data))], func(l *Layer) bool {
				layers++
				size += len(l.Text)
				return true
			})
		}
	}
	b.ReportMetric(float64(layers), "layers")
	b.ReportMetric(float64(size)/float64(len(data)), "text/byte")
}
