package git

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// maxShallow is the most of a shallow file that is read: a million boundaries.
const maxShallow = 64 << 20

// A view is an empty git directory of our own that borrows a repository's
// objects and nothing else. What runs in it sees none of the repository's
// configuration, so there is nothing that could run a program, fetch a promised
// object one by one, or change what a commit's parents are. Alternates (other
// object folders that the repository points at) do work: they hold objects,
// which are checked by nobody but name nothing to run.
type view struct {
	dir     string
	objects string
	format  string
	shallow map[objectID]bool // commits whose parents a shallow clone has cut off
}

// view makes a view of the repository. Close it.
func (r *Repository) view() (*view, error) {
	dir, err := os.MkdirTemp("", "stanch-git-")
	if err != nil {
		return nil, fmt.Errorf("make a folder to read %s through: %w", r.dir, err)
	}
	v := &view{dir: dir, objects: filepath.Join(r.common, "objects"), format: r.format}
	if err := errors.Join(v.fill(), v.copyShallow(r.common)); err != nil {
		return nil, errors.Join(fmt.Errorf("read %s: %w", r.dir, err), v.Close())
	}
	return v, nil
}

// fill writes what makes a folder a git directory (gitrepository-layout(5)).
func (v *view) fill() error {
	config := "[core]\n\trepositoryformatversion = 1\n\tbare = true\n[extensions]\n\tobjectformat = " + v.format + "\n"
	return errors.Join(
		os.Mkdir(filepath.Join(v.dir, "refs"), 0o700),
		os.Mkdir(filepath.Join(v.dir, "objects"), 0o700),
		os.WriteFile(filepath.Join(v.dir, "HEAD"), []byte("ref: refs/heads/none\n"), 0o600),
		os.WriteFile(filepath.Join(v.dir, "config"), []byte(config), 0o600))
}

// copyShallow takes over the list of commits at which history is cut: without it
// git would look for their parents, and fail.
func (v *view) copyShallow(common string) error {
	path := filepath.Join(common, "shallow")
	info, err := os.Lstat(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() || info.Size() > maxShallow {
		return fmt.Errorf("%s is no list of commits", path)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	v.shallow = make(map[objectID]bool)
	for _, word := range bytes.Fields(text) {
		id, err := parseObjectID(word)
		if err != nil {
			return fmt.Errorf("%s contains %w", path, err)
		}
		v.shallow[id] = true
	}
	return os.WriteFile(filepath.Join(v.dir, "shallow"), text, 0o600)
}

// Close removes the view, not the repository.
func (v *view) Close() error { return os.RemoveAll(v.dir) }

func (v *view) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := Command(ctx, v.dir, args...)
	cmd.Env = append(cmd.Env, "GIT_DIR="+v.dir, "GIT_OBJECT_DIRECTORY="+v.objects)
	return cmd
}

// commits lists the range, parents before children and otherwise by date.
func (v *view) commits(ctx context.Context, bases []string, tip string) ([]objectID, error) {
	var list []objectID
	err := stream(ctx, v.command(ctx, "rev-list", "--date-order", "--reverse", "--stdin"), feedRange(bases, tip),
		func(r *bufio.Reader) error {
			return eachLine(r, func(line string) error {
				id, err := parseObjectID(line)
				if err != nil {
					return fmt.Errorf("git rev-list: answered with %w", err)
				}
				list = append(list, id)
				return nil
			})
		})
	return list, err
}

// feedRange asks git for a range.
func feedRange(bases []string, tip string) func(io.Writer) error {
	return func(w io.Writer) error {
		text := tip + "\n"
		for _, base := range bases {
			text += "^" + base + "\n"
		}
		_, err := io.WriteString(w, text)
		return err
	}
}

// changes calls got with each commit, in order, and the entries in which it
// differs from all of its parents.
func (v *view) changes(ctx context.Context, commits []objectID, got func(commit objectID, entries []entry) error) error {
	if len(commits) == 0 {
		return nil
	}
	next := 0
	err := stream(ctx, v.command(ctx, "diff-tree", "--stdin", "--always", "--root", "-r", "-c", "--raw", "-z", "--no-renames", "--no-abbrev"),
		feedIDs(commits),
		func(r *bufio.Reader) error {
			return parseRaw(r, func(commit objectID, entries []entry) error {
				// git passes over what it cannot parse and still ends well.
				if next == len(commits) || commits[next] != commit {
					return fmt.Errorf("git diff-tree: commit %s out of turn", commit)
				}
				next++
				return got(commit, entries)
			})
		})
	if err == nil && next != len(commits) {
		err = fmt.Errorf("git diff-tree: no answer about commit %s", commits[next])
	}
	return err
}

// An object is what is known about an object without reading it.
type object struct {
	kind string // blob, tree, commit or tag; "" when it is missing
	size int64
}

// look asks for the kind and size of objects.
func (v *view) look(ctx context.Context, ids []objectID) (map[objectID]object, error) {
	found := make(map[objectID]object, len(ids))
	if len(ids) == 0 {
		return found, nil
	}
	err := stream(ctx, v.command(ctx, "cat-file", "--batch-check", "--buffer"), feedIDs(ids),
		func(r *bufio.Reader) error {
			return eachLine(r, func(line string) error {
				id, o, err := parseObject(line)
				found[id] = o
				return err
			})
		})
	if err == nil && len(found) != len(ids) {
		err = fmt.Errorf("git cat-file: %d answers to %d questions", len(found), len(ids))
	}
	return found, err
}

// read calls got with the content of each object, in order. Missing ones are an
// error: look first. got must read all of the content.
func (v *view) read(ctx context.Context, ids []objectID, got func(id objectID, size int64, r io.Reader) error) error {
	if len(ids) == 0 {
		return nil
	}
	return stream(ctx, v.command(ctx, "cat-file", "--batch", "--buffer"), feedIDs(ids),
		func(r *bufio.Reader) error {
			for _, want := range ids {
				if err := readObject(r, want, got); err != nil {
					return err
				}
			}
			return nil
		})
}

// readObject reads one answer of git cat-file --batch: a line, the content, and
// an end of line.
func readObject(r *bufio.Reader, want objectID, got func(id objectID, size int64, r io.Reader) error) error {
	line, err := r.ReadString('\n')
	if err != nil {
		return unexpected(err)
	}
	id, o, err := parseObject(strings.TrimSuffix(line, "\n"))
	if err != nil {
		return err
	}
	if id != want || o.kind == "" {
		return fmt.Errorf("git cat-file: asked for object %s, answered %q", want, trim(line))
	}
	if err := got(id, o.size, io.LimitReader(r, o.size)); err != nil {
		return err
	}
	end, err := r.ReadByte()
	if err == nil && end != '\n' {
		return fmt.Errorf("git cat-file: object %s does not end where it should", want)
	}
	return unexpected(err)
}

// unexpected turns an end of output into the error that it is inside an answer.
func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return fmt.Errorf("git cat-file: output ends in an answer: %w", io.ErrUnexpectedEOF)
	}
	return err
}

// parseObject reads "ID KIND SIZE" or "ID missing".
func parseObject(line string) (objectID, object, error) {
	fields := strings.Fields(line)
	if len(fields) < 2 {
		return objectID{}, object{}, fmt.Errorf("git cat-file: cannot read the answer %q", trim(line))
	}
	id, err := parseObjectID(fields[0])
	if err != nil {
		return id, object{}, fmt.Errorf("git cat-file: answered with %w", err)
	}
	if len(fields) == 2 && fields[1] == "missing" {
		return id, object{}, nil
	}
	size, err := strconv.ParseInt(fields[len(fields)-1], 10, 64)
	if err != nil || len(fields) != 3 || size < 0 {
		return id, object{}, fmt.Errorf("git cat-file: cannot read the answer %q", trim(line))
	}
	return id, object{kind: fields[1], size: size}, nil
}

// tree calls got with the id of every file in the commit's tree.
func (v *view) tree(ctx context.Context, commit string, got func(objectID)) error {
	return stream(ctx, v.command(ctx, "ls-tree", "-r", "-z", "--full-tree", "--end-of-options", commit),
		nothing,
		func(r *bufio.Reader) error {
			for {
				token, err := readToken(r)
				if errors.Is(err, io.EOF) {
					return nil
				}
				if err != nil {
					return err
				}
				meta, _, _ := bytes.Cut(token, []byte("\t"))
				fields := bytes.Fields(meta) // mode, kind, id
				if len(fields) != 3 {
					return fmt.Errorf("git ls-tree: cannot read %q", trim(string(token)))
				}
				id, err := parseObjectID(fields[2])
				if err != nil {
					return fmt.Errorf("git ls-tree: answered with %w", err)
				}
				got(id)
			}
		})
}

// feedIDs writes ids one a line.
func feedIDs(ids []objectID) func(io.Writer) error {
	return func(w io.Writer) error {
		for _, id := range ids {
			if _, err := io.WriteString(w, id.String()+"\n"); err != nil {
				return err
			}
		}
		return nil
	}
}

// eachLine calls got with each line of r. Lines here are short: ids and sizes.
func eachLine(r *bufio.Reader, got func(string) error) error {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		if err := got(lines.Text()); err != nil {
			return err
		}
	}
	return lines.Err()
}
