package git_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/google/go-cmp/cmp"

	"github.com/stanch-dev/stanch/checks/git"
)

// contents are files, each with a secret in the place of KEY, and the line of it.
// They are committed one by one: each is found once, in its own commit.
var contents = []struct {
	path string
	text string
	line int
}{
	{"plain.txt", "nothing\nkey = KEY\n", 2},
	{"crlf.txt", "nothing\r\nkey = KEY\r\nmore\r\n", 2},
	{"latin1.txt", "caf\xe9\n\xe9\xe8 = KEY \xfc\n", 2},
	{"no-end.txt", "nothing\n\nkey = KEY", 3},
	{"utf8-mark.txt", "\xef\xbb\xbfKEY\n", 1},
	{"utf16-little.txt", utf16Text("first\r\nüber = KEY\r\n", 0), 2},
	{"utf16-big.txt", utf16Text("first\r\nüber = KEY\r\n", 1), 2},
	{"binary", "\x7fELF\x00\x01\n\n\x00\xff KEY \x00\x00\n", 3},
	{"after-nul.txt", "text\x00KEY\n", 1},
	{"long-line.js", strings.Repeat("x ", 3<<19) + "KEY" + strings.Repeat(" y", 1<<10) + "\n", 1},
	{"many-lines.sql", strings.Repeat("line\n", 299_999) + "KEY", 300_000},
	{"pointer.bin", "version https://git-lfs.github.com/spec/v1\noid sha256:" + strings.Repeat("0", 64) + "\nsize 1\n# KEY\n", 4},
	{"with space.txt", "KEY", 1},
	{`"quoted".txt`, "KEY", 1},
	{"it's $(odd) `name`;.txt", "KEY", 1},
	{"tab\there.txt", "KEY", 1},
	{"new\nline.txt", "KEY", 1},
	{"carriage\rreturn.txt", "KEY", 1},
	{"escape\x1b[31m.txt", "KEY", 1},
	{"bytes\xff\xfe.txt", "KEY", 1},
	{"-dash.txt", "KEY", 1},
	{"--output=evil", "KEY", 1},
	{":(glob)colon.txt", "KEY", 1},
	{"a/b/a/b.txt", "KEY", 1},
	{"b/plain.txt", "KEY", 1},
	{"dev/null", "KEY", 1},
	{"back\\slash.txt", "KEY", 1},
	{"*?[x].txt", "KEY", 1},
	{"(message)", "nothing\nKEY", 2},
	{strings.Repeat("0", 40), "KEY", 1},
	{strings.Repeat("long name/", 300) + "file", "KEY", 1},
	{"a.zip.txt/.gitignore", "KEY", 1},
	{".gitattributes", "* binary -diff -text export-ignore filter=x diff=x working-tree-encoding=UTF-16 linguist-generated\n# KEY\n", 2},
	{"under-attributes.txt", "nothing\nKEY\n", 2},
	{".gitmodules", "[submodule \"x\"]\n\tpath = x\n\turl = ext::KEY\n", 3},
}

// utf16Text is text in UTF-16 with a byte order mark; high is where the upper
// byte of a unit stands.
func utf16Text(text string, low int) string {
	var data []byte
	for _, unit := range utf16.Encode([]rune("\uFEFF" + text)) {
		pair := [2]byte{}
		pair[low], pair[1-low] = byte(unit), byte(unit>>8)
		data = append(data, pair[:]...)
	}
	return string(data)
}

// with puts a secret into text, which may be UTF-16.
func with(text, key string) string {
	for low := range 2 {
		text = strings.ReplaceAll(text, utf16Text("KEY", low)[2:], utf16Text(key, low)[2:])
	}
	return strings.ReplaceAll(text, "KEY", key)
}

// corners are the places of a repository that hold secrets beside the files of
// plain commits. Each begins on a clean branch of its own. The commit that has the
// secret has the subject "here"; want is the path and line at it.
var corners = []struct {
	name  string
	build func(r *repo, key string)
	want  string
}{
	{"added then removed", func(r *repo, key string) {
		r.file("here", "gone.txt", "x\n"+key+"\n")
		r.file("removed", "gone.txt", "x\n")
		r.git("rm", "-q", "gone.txt")
		r.commit("no file")
	}, `here "gone.txt":2`},
	{"moved about", func(r *repo, key string) {
		r.file("here", "old.txt", "1\n2\n3\n4\n"+key+"\n")
		r.file("line moved", "old.txt", key+"\n1\n2\n3\n4\n")
		r.git("mv", "old.txt", "new.txt")
		r.file("renamed with an edit", "new.txt", "0\n"+key+"\n1\n2\n3\n4\n")
		r.file("line ends", "new.txt", "0\r\n"+key+"\r\n1\r\n2\r\n3\r\n4\r\n")
		r.git("update-index", "--chmod=+x", "new.txt")
		r.git("commit", "-q", "-m", "mode")
	}, `here "old.txt":5`},
	{"second parent", func(r *repo, key string) {
		r.git("checkout", "-q", "-b", "second", "HEAD~1")
		r.file("here", "side.txt", key+"\n")
		r.git("checkout", "-q", "-")
		r.git("merge", "-q", "--no-ff", "-m", "merge", "second")
	}, `here "side.txt":1`},
	{"merge commit alone", func(r *repo, key string) {
		r.side("clean", "clean.txt", "clean\n")
		r.git("merge", "-q", "--no-commit", "--no-ff", "clean")
		r.write("evil.txt", "x\n"+key+"\n")
		r.commit("here")
	}, `here "evil.txt":2`},
	{"conflict resolved with a secret", func(r *repo, key string) {
		r.side("theirs", "base.txt", "theirs\n")
		r.file("ours", "base.txt", "ours\n")
		r.git("merge", "-q", "-s", "ours", "--no-commit", "theirs")
		r.write("base.txt", "ours\ntheirs\n"+key+"\n")
		r.commit("here")
	}, `here "base.txt":3`},
	{"merge that drops and brings back", func(r *repo, key string) {
		r.file("here", "back.txt", key+"\n")
		r.side("other", "other.txt", "other\n")
		r.git("merge", "-q", "--no-ff", "-m", "merge", "other")
	}, `here "back.txt":1`},
	{"octopus", func(r *repo, key string) {
		r.side("one", "1.txt", "1\n")
		r.side("two", "2.txt", "2\n")
		r.git("checkout", "-q", "-b", "three")
		r.file("here", "3.txt", key+"\n")
		r.git("checkout", "-q", "-")
		r.git("merge", "-q", "-m", "octopus", "one", "two", "three")
	}, `here "3.txt":1`},
	{"evil octopus", func(r *repo, key string) {
		r.side("four", "4.txt", "4\n")
		r.side("five", "5.txt", "5\n")
		r.write("4.txt", "4\n"+key+"\n")
		r.git("add", "-A")
		merge := r.git("commit-tree", r.git("write-tree"), "-p", "HEAD", "-p", "four", "-p", "five", "-m", "here")
		r.git("reset", "-q", "--hard", merge)
	}, `here "4.txt":2`},
	{"orphan branch", func(r *repo, key string) {
		r.git("checkout", "-q", "--orphan", "island")
		r.git("rm", "-rfq", ".")
		r.file("here", "island.txt", key+"\n")
	}, `here "island.txt":1`},
	{"tag on a commit of no branch", func(r *repo, key string) {
		r.git("checkout", "-q", "--detach")
		r.file("here", "tagged.txt", key+"\n")
		r.git("tag", "light")
	}, `here "tagged.txt":1`},
	{"tag of a tag", func(r *repo, key string) {
		r.git("checkout", "-q", "--detach")
		r.file("here", "twice.txt", key+"\n")
		r.git("tag", "-a", "-m", "inner", "inner")
		r.git("tag", "-a", "-m", "outer", "outer", "inner")
		r.git("tag", "-d", "inner")
	}, `here "twice.txt":1`},
	{"ref of no kind that git knows", func(r *repo, key string) {
		r.git("checkout", "-q", "--detach")
		r.file("here", "pull.txt", key+"\n")
		r.git("update-ref", "refs/pull/1/head", "HEAD")
	}, `here "pull.txt":1`},
	{"commit message", func(r *repo, key string) {
		r.git("commit", "-q", "--allow-empty", "-m", "here\n\nfirst\nwith "+key)
	}, `here "(message)":4`},
	{"tag message", func(r *repo, key string) {
		r.git("commit", "-q", "--allow-empty", "-m", "here")
		r.git("tag", "-a", "-m", "release\n\nwith "+key, "v1")
	}, `here "(message)":3`},
	{"message of a tag of a tag", func(r *repo, key string) {
		r.git("commit", "-q", "--allow-empty", "-m", "here")
		r.git("tag", "-a", "-m", "inner", "tagged")
		r.git("tag", "-a", "-m", "outer\n\nround\nwith "+key, "around", "tagged")
	}, `here "(message)":4`},
	{"message of a tag that a tag is about", func(r *repo, key string) {
		r.git("commit", "-q", "--allow-empty", "-m", "here")
		r.git("tag", "-a", "-m", "with "+key, "about")
		r.git("tag", "-a", "-m", "outer", "outside", "about")
		r.git("tag", "-d", "about")
	}, `here "(message)":1`},
	{"note", func(r *repo, key string) {
		r.git("notes", "add", "-m", "first\nnoted "+key, "HEAD")
	}, `Notes added by 'git notes add' "NOTE":2`},
	{"stashed change", func(r *repo, key string) {
		r.write("base.txt", "base\n"+key+"\n")
		r.git("stash", "push", "-q", "-m", "here")
	}, `On BRANCH: here "base.txt":2`},
	{"stashed index", func(r *repo, key string) {
		r.write("base.txt", "base\n"+key+"\n")
		r.git("add", "-A")
		r.write("base.txt", "base\nnothing\n")
		r.git("stash", "push", "-q")
	}, `index on BRANCH "base.txt":2`},
	{"stashed untracked file", func(r *repo, key string) {
		r.write("untracked.txt", key+"\n")
		r.git("stash", "push", "-q", "--include-untracked")
	}, `untracked files on BRANCH "untracked.txt":1`},
	{"symbolic link", func(r *repo, key string) {
		if err := os.Symlink("/"+key, filepath.Join(r.dir, "link")); err != nil {
			r.t.Skip(err)
		}
		r.commit("here")
	}, `here "link":1`},
	{"file in the place of a submodule", func(r *repo, key string) {
		r.git("update-index", "--add", "--cacheinfo", "160000,"+r.git("rev-parse", "HEAD")+",sub")
		r.git("commit", "-q", "-m", "submodule")
		r.git("rm", "-q", "--cached", "sub")
		r.file("here", "sub", key+"\n")
	}, `here "sub":1`},
	{"one file of 300 in a commit", func(r *repo, key string) {
		for i := range 300 {
			r.write(fmt.Sprintf("many/%03d.txt", i), fmt.Sprintf("file %d\n", i))
		}
		r.file("here", "many/299.txt", key+"\n")
	}, `here "many/299.txt":1`},
	{"name that leads out of the tree", func(r *repo, key string) {
		blob := r.input(key+"\n", "hash-object", "-w", "--stdin")
		entry := "100644 ../../etc/passwd\x00" + unhex(r, blob)
		tree := r.input(entry, "hash-object", "-t", "tree", "-w", "--stdin", "--literally")
		r.git("update-ref", "refs/heads/outside", r.git("commit-tree", tree, "-m", "here"))
	}, `here "../../etc/passwd":1`},
}

// side commits a file on a new branch that begins here, and comes back.
func (r *repo) side(branch, path, text string) {
	r.t.Helper()
	r.git("checkout", "-q", "-b", branch)
	r.file(branch, path, text)
	r.git("checkout", "-q", "-")
}

func unhex(r *repo, id string) string {
	var sum []byte
	if _, err := fmt.Sscanf(id, "%x", &sum); err != nil {
		r.t.Fatal(err)
	}
	return string(sum)
}

// A secretAt is where a test put a secret.
type secretAt struct{ name, key, want string }

// completeRepo makes one repository of all contents and corners.
func completeRepo(t *testing.T) (*repo, []secretAt) {
	t.Helper()
	r := newRepo(t)
	r.git("config", "core.protectNTFS", "false")
	r.file("root", "root.txt", "nothing\n")
	base := r.file("base", "base.txt", "base\n")
	var all []secretAt
	key := func() string { return token(t, byte(len(all))) }
	for _, c := range contents {
		at := secretAt{c.path, key(), fmt.Sprintf("here %q:%d", c.path, c.line)}
		r.blob("here", c.path, with(c.text, at.key))
		all = append(all, at)
	}
	for i, c := range corners {
		branch := fmt.Sprintf("corner-%d", i)
		r.git("checkout", "-q", "-f", "-b", branch, base)
		at := secretAt{c.name, key(), strings.ReplaceAll(c.want, "BRANCH", branch)}
		c.build(r, at.key)
		r.git("clean", "-fdq")
		all = append(all, at)
	}
	r.git("checkout", "-q", "-f", "main")
	return r, all
}

// blob commits one file without the work tree, which cannot hold every name and
// has attributes that say how to change what is added.
func (r *repo) blob(subject, path, text string) {
	r.t.Helper()
	blob := r.input(text, "hash-object", "-w", "--stdin", "--no-filters")
	r.input("100644 "+blob+"\t"+path+"\x00", "update-index", "-z", "--index-info")
	r.git("commit", "-q", "-m", subject)
}

var noteName = regexp.MustCompile(`"[0-9a-f]{40}":2`)

// located lists, for each secret, where it is found.
func (r *repo) located(all []secretAt, leaks []git.Leak) (want, got []string) {
	r.t.Helper()
	names := make(map[string]string)
	for _, at := range all {
		names[at.key] = at.name
		want = append(want, at.name+": "+at.want)
	}
	lines := r.brief(leaks)
	for i, leak := range leaks {
		line := strings.TrimSuffix(lines[i], " tip")
		line = regexp.MustCompile(`^((?:index|untracked files) on [^:]*): [0-9a-f]+ base`).ReplaceAllString(line, "$1")
		line = noteName.ReplaceAllString(line, `"NOTE":2`)
		got = append(got, names[leak.Credential.Secret().Expose()]+": "+line)
	}
	slices.Sort(want)
	slices.Sort(got)
	return want, got
}

// TestHistoryIsComplete finds each secret of a repository that has them everywhere
// once: at the commit that added it, at its path and line.
func TestHistoryIsComplete(t *testing.T) {
	r, all := completeRepo(t)
	scanner := newScanner(t)
	clone := func(t *testing.T, options ...string) string {
		dir := filepath.Join(t.TempDir(), "clone")
		r.git(append(append([]string{"clone", "-q"}, options...), r.dir, dir)...)
		return dir
	}
	for _, form := range []struct {
		name    string
		prepare func(t *testing.T) string
		without string // names of places that this form does not have
	}{
		{"loose", func(*testing.T) string { return r.dir }, ""},
		{"git directory", func(*testing.T) string { return filepath.Join(r.dir, ".git") }, ""},
		{"worktree", func(t *testing.T) string {
			dir := filepath.Join(t.TempDir(), "tree")
			r.git("worktree", "add", "-q", "--no-checkout", "--detach", dir, "main~1")
			return dir
		}, ""},
		{"mirror", func(t *testing.T) string { return clone(t, "--mirror") }, "stashed change,stashed index"},
		{"borrowed", func(t *testing.T) string { return clone(t, "--mirror", "--shared") }, "stashed change,stashed index"},
		{"packed", func(*testing.T) string {
			r.git("gc", "-q", "--prune=now")
			return r.dir
		}, ""},
	} {
		t.Run(form.name, func(t *testing.T) {
			opened, err := git.Open(t.Context(), form.prepare(t))
			if err != nil {
				t.Fatal(err)
			}
			result, err := opened.History(t.Context(), scanner, git.HistoryOptions{})
			if err != nil || !result.Coverage.Complete() {
				t.Errorf("coverage %+v, error %v", result.Coverage, err)
			}
			there := slices.DeleteFunc(slices.Clone(all), func(at secretAt) bool { return slices.Contains(strings.Split(form.without, ","), at.name) })
			want, got := r.located(there, result.Findings)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("findings (-want +got):\n%s", diff)
			}
		})
	}
}

// TestRangeIsComplete finds the same in ranges, but for stashes that only a log leads
// to.
func TestRangeIsComplete(t *testing.T) {
	r, all := completeRepo(t)
	scanner, opened := newScanner(t), r.open()
	var found []git.Leak
	known := make(map[string]bool)
	for _, ref := range strings.Fields(r.git("for-each-ref", "--format=%(refname)")) {
		rng := git.Range{Bases: []string{"main~" + fmt.Sprint(len(contents))}, Tip: ref, Messages: true, Tags: []string{r.git("rev-parse", ref)}}
		result, err := opened.Scan(t.Context(), rng, scanner, nil)
		if err != nil || !result.Coverage.Complete() {
			t.Errorf("%s: coverage %+v, error %v", ref, result.Coverage, err)
		}
		for _, leak := range result.Findings {
			at := fmt.Sprint(leak.Commit, leak.Path, leak.Line, leak.Column)
			if !known[at] { // several refs lead to it
				known[at] = true
				found = append(found, leak)
			}
		}
	}
	elsewhere := []string{"stashed change", "stashed index"}
	all = slices.DeleteFunc(all, func(at secretAt) bool { return slices.Contains(elsewhere, at.name) })
	want, got := r.located(all, found)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("findings (-want +got):\n%s", diff)
	}
}

// TestLargeFiles are scanned as they stream by; those that hold something are told
// from the versions before like all others.
func TestLargeFiles(t *testing.T) {
	r := newRepo(t)
	r.git("config", "core.compression", "0")
	filler := strings.Repeat("nothing to see here\n", 9<<20/20)
	r.write("clean.txt", filler)
	base := r.file("one", "a.txt", filler+token(t, 1)+"\n")
	r.write("clean.txt", filler+"more\n")
	r.file("two", "a.txt", token(t, 2)+"\n"+filler+token(t, 1)+"\n")
	if diff := cmp.Diff([]string{`two "a.txt":1 tip`}, r.brief(r.scan(base+"..HEAD").Findings)); diff != "" {
		t.Errorf("range (-want +got):\n%s", diff)
	}
	result := r.history(r.dir, git.HistoryOptions{})
	want := []string{fmt.Sprintf(`one "a.txt":%d tip`, strings.Count(filler, "\n")+1), `two "a.txt":1 tip`}
	if diff := cmp.Diff(want, r.brief(result.Findings)); diff != "" || !result.Coverage.Complete() {
		t.Errorf("history: coverage %+v (-want +got):\n%s", result.Coverage, diff)
	}
}
