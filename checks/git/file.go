package git

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
)

// A File is an entry of a commit's tree that is a regular file.
type File struct {
	Path   string
	Object string // the id of its content
}

// A NotRegular is the error of reading what is no regular file: a symbolic link could
// lead anywhere.
type NotRegular struct{ Path, Kind string }

func (e *NotRegular) Error() string {
	return fmt.Sprintf("%s is %s, not a regular file", e.Path, e.Kind)
}

// File finds a file of a commit, by its path from the root. The error is fs.ErrNotExist
// when there is none, and a *NotRegular when something else is there.
func (r *Repository) File(ctx context.Context, commit, path string) (File, error) {
	if _, err := parseObjectID(commit); err != nil {
		return File{}, err
	}
	out, err := Run(ctx, Command(ctx, r.dir, "ls-tree", "-z", "--full-tree", commit, "--", path))
	if err != nil {
		return File{}, fmt.Errorf("look for %s in %s: %w", path, commit, err)
	}
	entry, _, _ := bytes.Cut(out, []byte{0})
	about, name, _ := strings.Cut(string(entry), "\t")
	fields := strings.Fields(about) // mode, type, object
	if name != path || len(fields) != 3 {
		return File{}, fmt.Errorf("%s in %s: %w", path, commit, fs.ErrNotExist)
	}
	switch mode := fields[0]; {
	case mode == "120000":
		return File{}, &NotRegular{path, "a symbolic link"}
	case fields[1] == "tree":
		return File{}, &NotRegular{path, "a folder"}
	case fields[1] != "blob":
		return File{}, &NotRegular{path, "a submodule"}
	}
	return File{path, fields[2]}, nil
}

// ErrTooLarge is the error of reading more than was asked for.
var ErrTooLarge = errors.New("the file is too large")

// Read returns the content of a file of at most so many bytes. The error is
// fs.ErrNotExist when the repository has not got it.
func (r *Repository) Read(ctx context.Context, f File, most int64) (data []byte, err error) {
	id, err := parseObjectID(f.Object)
	if err != nil {
		return nil, err
	}
	v, err := r.view()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, v.Close()) }()
	found, err := v.look(ctx, []objectID{id})
	switch o := found[id]; {
	case err != nil:
		return nil, err
	case o.kind != "blob":
		return nil, fmt.Errorf("read %s: %w", f.Path, fs.ErrNotExist)
	case o.size > most:
		return nil, fmt.Errorf("read %s of %d bytes: %w", f.Path, o.size, ErrTooLarge)
	}
	err = v.read(ctx, []objectID{id}, func(_ objectID, _ int64, r io.Reader) (err error) {
		data, err = io.ReadAll(r)
		return err
	})
	return data, err
}
