package git

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
)

// CommitMessage is the path of findings in what a commit or a tag says, before
// whose lines there is no file's name.
const CommitMessage = "(message)"

// maxTagged is how many tags of tags are followed.
const maxTagged = 16

// says scans what the commits of a range and its tags say, and puts the leaks into the
// order of commits.
func (s *scan) says(ctx context.Context, commits []objectID, tip objectID, tags []string) error {
	if err := s.view.read(ctx, commits, func(id objectID, size int64, r io.Reader) error {
		_, err := s.said(id, size, r)
		return err
	}); err != nil {
		return err
	}
	for _, tag := range tags {
		id, err := parseObjectID(tag)
		if err != nil {
			return fmt.Errorf("tag of the range: %w", err)
		}
		if err := s.tagSays(ctx, id, tip); err != nil {
			return err
		}
	}
	rank := make(map[string]int, len(commits))
	for i, id := range commits {
		rank[id.String()] = i - len(commits)
	}
	slices.SortStableFunc(s.leaks, func(a, b Leak) int { return cmp.Compare(rank[a.Commit], rank[b.Commit]) })
	return nil
}

// tagSays scans what a tag says that leads to a commit, and what the tags say that it
// is about.
func (s *scan) tagSays(ctx context.Context, tag, commit objectID) error {
	_, err := s.follow(ctx, tag, func(size int64, r io.Reader) ([]byte, error) { return s.said(commit, size, r) })
	return err
}

// tagged returns the commit that a tag leads to, or none.
func (s *scan) tagged(ctx context.Context, tag objectID) (objectID, error) {
	return s.follow(ctx, tag, func(_ int64, r io.Reader) ([]byte, error) {
		head, err := io.ReadAll(io.LimitReader(r, maxCommit))
		_, restErr := io.Copy(io.Discard, r)
		return head, cmp.Or(err, restErr)
	})
}

// follow reads a tag, and the tag that it is about, and so on, and returns the commit
// at the end of it, or none.
func (s *scan) follow(ctx context.Context, tag objectID, read func(size int64, r io.Reader) ([]byte, error)) (objectID, error) {
	for range maxTagged {
		objects, err := s.view.look(ctx, []objectID{tag})
		switch kind := objects[tag].kind; {
		case err != nil:
			return objectID{}, err
		case kind == "commit":
			return tag, nil
		case kind != "tag":
			return objectID{}, nil
		}
		var data []byte
		if err := s.view.read(ctx, []objectID{tag}, func(_ objectID, size int64, r io.Reader) (err error) {
			data, err = read(size, r)
			return err
		}); err != nil {
			return objectID{}, err
		}
		if tag, err = taggedBy(data); err != nil {
			return objectID{}, nil // git would not have made it
		}
	}
	s.skip(tag, CommitMessage, fmt.Sprintf("more than %d tags are about one another", maxTagged))
	return objectID{}, nil
}

// said reads a commit or a tag and reports what stands in it.
func (s *scan) said(commit objectID, size int64, r io.Reader) ([]byte, error) {
	if size > MaxBlob {
		s.skip(commit, CommitMessage, fmt.Sprintf("it has %d bytes; only the first %d are looked at", size, MaxBlob))
	}
	data, err := io.ReadAll(io.LimitReader(r, MaxBlob))
	if err != nil {
		return nil, err
	}
	s.message(commit, data)
	_, err = io.Copy(io.Discard, r)
	return data, err
}

// message reports what stands in a commit or tag; lines are counted in what its
// author wrote.
func (s *scan) message(commit objectID, data []byte) {
	head, _, _ := bytes.Cut(data, []byte("\n\n"))
	before := bytes.Count(head, []byte("\n")) + 2
	findings, err := s.scanner.Examine(CommitMessage, data)
	for _, f := range findings {
		f.Line, f.EndLine = max(1, f.Line-before), max(1, f.EndLine-before)
		s.leak(commit, CommitMessage, f)
	}
	if err != nil {
		s.skip(commit, CommitMessage, err.Error())
	}
}

// taggedBy reads the commit that a tag object is about.
func taggedBy(tag []byte) (objectID, error) {
	line, _, _ := bytes.Cut(tag, []byte("\n"))
	name, _ := bytes.CutPrefix(line, []byte("object "))
	return parseObjectID(name)
}

// messages reports what suspect commits and tags say, and puts the leaks into the
// order of commits.
func (s *scan) messages(ctx context.Context, commits []objectID, found *sighting) error {
	rank := make(map[string]int, len(commits))
	var ids []objectID
	for i, id := range commits {
		rank[id.String()] = i
		if found.suspects[id] == "commit" {
			ids = append(ids, id)
		}
	}
	err := s.view.read(ctx, ids, func(id objectID, size int64, r io.Reader) error {
		_, err := s.said(id, size, r)
		return err
	})
	if err != nil {
		return err
	}
	var tags []objectID
	for id, kind := range found.suspects {
		if kind == "tag" {
			tags = append(tags, id)
		}
	}
	slices.SortFunc(tags, func(a, b objectID) int { return bytes.Compare(a.sum[:], b.sum[:]) })
	for _, id := range tags {
		commit, err := s.tagged(ctx, id)
		if err != nil {
			return err
		}
		if err := s.view.read(ctx, []objectID{id}, func(_ objectID, size int64, r io.Reader) error {
			_, err := s.said(commit, size, r)
			return err
		}); err != nil {
			return err
		}
	}
	s.leaks = slices.DeleteFunc(s.leaks, func(l Leak) bool { _, known := rank[l.Commit]; return !known })
	slices.SortStableFunc(s.leaks, func(a, b Leak) int { return rank[a.Commit] - rank[b.Commit] })
	return nil
}
