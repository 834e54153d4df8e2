package app_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf16"

	"github.com/stanch-dev/stanch/app/github/githubtest"
)

var contentCases = []coverageCase{
	{"content", "251 commits", "all of them: more than GitHub compares", false, func(s *scene) { manyCommits(s, 251) }, nil},
	{"content", "2,100 commits", "all of them: more than GitHub lists in the event", false, func(s *scene) { manyCommits(s, 2100) }, nil},
	{"content", "301 files", "all of them: more than GitHub shows", false, func(s *scene) { manyFiles(s, 301) }, nil},
	{"content", "3,001 files", "all of them: more than GitHub's API lists", false, func(s *scene) { manyFiles(s, 3001) }, nil},
	{"content", "a file over 100 MB", "the rest is scanned; `action_required`, the file is named", false, func(s *scene) {
		s.began()
		big := filepath.Join(s.tree.dir, "big.bin")
		s.must(os.WriteFile(big, bytes.Repeat([]byte{0}, 106<<20), 0o644))
		head := s.commit("big", map[string]string{"small.txt": "s\n"})
		s.push("main")
		s.expectUnscanned(head, "big.bin", "bytes")
	}, nil},
	{"content", "a submodule", "its pointer is no content, and the check run names it; the rest is scanned", false, func(s *scene) {
		first := s.began()
		s.git("update-index", "--add", "--cacheinfo", "160000,"+first+",vendor/lib")
		s.must(os.WriteFile(filepath.Join(s.tree.dir, "a.env"), []byte(env(s.leak())), 0o644))
		s.git("add", "a.env")
		s.git("commit", "--quiet", "-m", "submodule")
		head := s.git("rev-parse", "HEAD")
		s.push("main")
		run := s.expect(head, "failure", at(head, "a.env", 2))
		if !strings.Contains(run.Summary, "Of other repositories") || !strings.Contains(run.Summary, "vendor/lib") {
			s.t.Errorf("the check run does not name the submodule:\n%s", run.Summary)
		}
	}, nil},
	{"content", "an archive that cannot be opened", "the rest is scanned; `action_required`, the file is named", false, func(s *scene) {
		s.began()
		head := s.commit("sealed", map[string]string{"keys.7z": "7z\xbc\xaf\x27\x1c\x00\x04" + strings.Repeat("\x00", 100)})
		s.push("main")
		s.expectUnscanned(head, "keys.7z", "the archive cannot be opened")
	}, nil},
	{"content", "a Git LFS pointer", "what it points at is not in the repository, and not scanned: `action_required`, the file is named", false, func(s *scene) {
		s.began()
		pointer := "version https://git-lfs.github.com/spec/v1\noid sha256:" + strings.Repeat("4d", 32) + "\nsize 12345\n"
		head := s.commit("pointer", map[string]string{"model.bin": pointer})
		s.push("main")
		s.expectUnscanned(head, "model.bin", "Git LFS")
	}, nil},
	{"content", "a file that is renamed", "what was there before is no news", false, func(s *scene) {
		renamed(s, "")
	}, nil},
	{"content", "a file that is renamed and changed", "the lines that are new", false, func(s *scene) {
		renamed(s, "GITHUB_TOKEN="+s.leak()+"\n")
	}, nil},
	{"content", "a change of mode", "is no news", false, func(s *scene) {
		s.began()
		guilty := s.commit("leak", map[string]string{"a.env": env(s.leak())})
		s.push("main")
		s.expect(guilty, "failure", at(guilty, "a.env", 2))
		s.must(os.Chmod(filepath.Join(s.tree.dir, "a.env"), 0o755))
		head := s.commit("executable", nil)
		s.push("main")
		s.expect(head, "success")
	}, nil},
	{"content", "CRLF", "the right line", false, func(s *scene) {
		oneFile(s, "a.env", strings.ReplaceAll(env(s.leak()), "\n", "\r\n"))
	}, nil},
	{"content", "UTF-16", "the right line", false, func(s *scene) {
		oneFile(s, "a.env", string(utf16LE(env(s.leak()))))
	}, nil},
	{"content", "a binary file with text in it", "the text", false, func(s *scene) {
		oneFile(s, "a.bin", "\x00\x01\x02\xff\n"+env(s.leak())[len("REGION=eu\n"):]+"\x00\xfe")
	}, nil},
	{"content", "a repository of SHA-256", "as any other", false, func(s *scene) {
		s = newScene(s.world, "sha256-"+s.tail(), githubtest.RepoOptions{Private: true, SHA256: true})
		head := s.began()
		if len(head) != 64 {
			s.t.Fatalf("the commit %s is none of SHA-256", head)
		}
		oneFile(s, "a.env", env(s.leak()))
	}, nil},
}

// oneFile pushes one file with a leak in its second line.
func oneFile(s *scene, path, text string) {
	if s.runs() == 0 {
		s.began()
	}
	head := s.commit("leak", map[string]string{path: text})
	s.push("main")
	s.expect(head, "failure", at(head, path, 2))
}

func utf16LE(text string) []byte {
	b := []byte{0xff, 0xfe}
	for _, unit := range utf16.Encode([]rune(text)) {
		b = binary.LittleEndian.AppendUint16(b, unit)
	}
	return b
}

func renamed(s *scene, more string) {
	s.began()
	text := "one\ntwo\nthree\n" + env(s.leak()) + "six\nseven\n"
	guilty := s.commit("leak", map[string]string{"old/a.env": text})
	s.push("main")
	s.expect(guilty, "failure", at(guilty, "old/a.env", 5))
	head := s.commit("rename", map[string]string{"old/a.env": "", "new/b.env": text + more})
	s.push("main")
	if more == "" {
		s.expect(head, "success")
		return
	}
	s.expect(head, "failure", at(head, "new/b.env", 8))
}

// manyCommits pushes n commits, with a leak in the second one.
func manyCommits(s *scene, n int) {
	s.began()
	head := s.git("rev-parse", "HEAD")
	guilty := s.commit("leak", map[string]string{"a.env": env(s.leak())})
	s.importCommits(n - 1)
	before := head
	head = s.git("rev-parse", "main")
	s.push("main")
	run := s.expect(head, "failure", at(guilty, "a.env", 2))
	if want := fmt.Sprintf("| %d |", n); !strings.Contains(run.Summary, want) || !strings.Contains(run.Summary, before[:7]) {
		s.t.Errorf("the coverage does not tell of %d commits since %s:\n%s", n, before, run.Summary)
	}
}

// importCommits adds harmless commits to main, faster than git commit does.
func (s *scene) importCommits(n int) {
	s.t.Helper()
	var stream strings.Builder
	from := "from " + s.git("rev-parse", "main") + "\n"
	for i := range n {
		text := fmt.Sprintf("%d\n", i)
		fmt.Fprintf(&stream, "commit refs/heads/main\ncommitter Dana <dana@acme.example> %d +0000\ndata 1\nx\n%sM 100644 inline n.txt\ndata %d\n%s\n",
			1700000000+i, from, len(text), text)
		from = ""
	}
	s.feed(stream.String(), "fast-import", "--quiet", "--force")
}

// manyFiles pushes n files in a commit, with a leak in the last one.
func manyFiles(s *scene, n int) {
	s.began()
	files := map[string]string{"many/zzz.env": env(s.leak())}
	for i := range n - 1 {
		files[fmt.Sprintf("many/%04d.txt", i)] = fmt.Sprintf("%d\n", i)
	}
	head := s.commit("many", files)
	s.push("main")
	run := s.expect(head, "failure", at(head, "many/zzz.env", 2))
	if want := fmt.Sprintf("| 1 | %d |", n); !strings.Contains(run.Summary, want) {
		s.t.Errorf("the coverage does not tell of %d files:\n%s", n, run.Summary)
	}
}

// expectUnscanned waits for a check run that says in its first line what was not
// scanned, and why.
func (s *scene) expectUnscanned(head string, words ...string) {
	s.t.Helper()
	first, _, _ := strings.Cut(s.expect(head, "action_required").Summary, "\n")
	for _, word := range words {
		if !strings.Contains(first, word) {
			s.t.Errorf("the first line does not say %q: %s", word, first)
		}
	}
}
