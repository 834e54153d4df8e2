package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// writeFile writes a file all at once: whoever reads it sees the old content or
// the new, never half of it. What is no regular file, such as /dev/stdout, is
// written to as it is.
func writeFile(path string, write func(io.Writer) error) error {
	mode := fs.FileMode(0o600) // a list of where secrets are is for its owner
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return fmt.Errorf("write findings: %w", err)
	case !info.Mode().IsRegular():
		return writeThrough(path, write)
	default:
		mode = info.Mode().Perm()
		if path, err = filepath.EvalSymlinks(path); err != nil {
			return fmt.Errorf("write findings: %w", err)
		}
	}
	if err := replaceFile(path, mode, write); err != nil {
		return fmt.Errorf("write findings to %s: %w", path, err)
	}
	return nil
}

func replaceFile(path string, mode fs.FileMode, write func(io.Writer) error) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".stanch-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	err = errors.Join(write(f), f.Chmod(mode), f.Sync())
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

func writeThrough(path string, write func(io.Writer) error) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("write findings: %w", err)
	}
	return errors.Join(write(f), f.Close())
}
