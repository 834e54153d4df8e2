//go:build !linux

package main

import (
	"io"
	"os"
	"time"
)

// A file is a file that is open for reading.
type file struct{ *os.File }

// A fileState tells whether a file was written to.
type fileState struct {
	size     int64
	modified time.Time
}

// openFile opens a file.
func openFile(p place) (file, error) {
	if p.base != nil {
		f, err := p.base.Open(p.rel)
		return file{f}, err
	}
	f, err := os.Open(p.path)
	return file{f}, err
}

// state returns the file's state.
func (f file) state() (fileState, error) {
	info, err := f.Stat()
	if err != nil {
		return fileState{}, err
	}
	return fileState{info.Size(), info.ModTime()}, nil
}

// skipHoles returns a reader of the rest of the file. Only Linux tells where holes
// are in a way that is used here.
func (f file) skipHoles() io.Reader { return f }
