package main

import (
	"bytes"
	"cmp"
	"hash/fnv"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// A corpus is a folder of text files.
type corpus struct {
	name  string
	dir   string
	files int
	bytes int64
}

// A source is a file that may go into a corpus.
type source struct {
	path string
	rel  string // its path in the corpus
	size int64
	rank uint64 // by which samples are taken
}

// roots returns where the source of the Go toolchain and the modules are.
func (b *bench) roots() (goroot, modules string, err error) {
	out, err := b.tell(nil, "go", "env", "GOROOT", "GOMODCACHE")
	if err != nil {
		return "", "", err
	}
	goroot, modules, _ = strings.Cut(out, "\n")
	return filepath.Join(goroot, "src"), modules, nil
}

// corpus copies the text files below root to a folder: all of them, or a sample of
// not more than limit bytes, always the same one.
func (b *bench) corpus(name, root string, limit int64) (corpus, error) {
	c := corpus{name: name, dir: filepath.Join(b.work, "corpus", strings.ReplaceAll(name, " ", "-"))}
	if err := os.RemoveAll(c.dir); err != nil { // of an earlier run with other limits
		return c, err
	}
	all, err := sources(root)
	if err != nil {
		return c, err
	}
	for _, s := range all {
		if c.bytes+s.size > limit {
			continue
		}
		copied, err := copyText(s.path, filepath.Join(c.dir, s.rel))
		if err != nil {
			return c, err
		}
		if copied {
			c.files++
			c.bytes += s.size
		}
	}
	return c, nil
}

// sources lists the files below root in an order that depends on their names and
// on nothing else, but as if at random.
func sources(root string) ([]source, error) {
	var all []source
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path == filepath.Join(root, "cache"): // of modules: what was downloaded
			return fs.SkipDir
		case !d.Type().IsRegular():
			return nil
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		h := fnv.New64a()
		h.Write([]byte(filepath.ToSlash(rel)))
		all = append(all, source{path, scanned(rel), info.Size(), h.Sum64()})
		return nil
	})
	slices.SortFunc(all, func(x, y source) int {
		return cmp.Or(cmp.Compare(x.rank, y.rank), strings.Compare(x.rel, y.rel))
	})
	return all, err
}

// scanned changes the names of folders that gitleaks leaves out, so that both scan
// the same.
func scanned(rel string) string {
	parts := strings.Split(rel, string(filepath.Separator))
	for i, part := range parts {
		if part == "vendor" || part == "node_modules" {
			parts[i] = part + "ed"
		}
	}
	return filepath.Join(parts...)
}

// copyText copies a file that holds text.
func copyText(from, to string) (bool, error) {
	data, err := os.ReadFile(from)
	if err != nil || !isText(data) {
		return false, err
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return false, err
	}
	return true, os.WriteFile(to, data, 0o644)
}

// isText tells as git does: binary files have a zero among their first bytes.
func isText(data []byte) bool {
	const first = 8000
	return len(data) > 0 && bytes.IndexByte(data[:min(len(data), first)], 0) < 0 && !packed(data)
}

// packed reports whether an archive begins here.
func packed(data []byte) bool {
	for _, magic := range []string{"\x1f\x8b", "BZh", "PK"} {
		if bytes.HasPrefix(data, []byte(magic)) {
			return true
		}
	}
	return false
}
