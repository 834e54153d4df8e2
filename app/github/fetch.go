package github

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/checks/git"
)

const (
	// DefaultFetchBytes is how much a Mirror may take on disk. GitHub recommends
	// repositories under 10 GB with their files, of which a Mirror has few.
	// Source: https://docs.github.com/repositories/creating-and-managing-repositories/repository-limits
	DefaultFetchBytes = 2 << 30

	// fetchBatch is how many files are asked for in one request. It keeps the
	// request under git's http.postBuffer of 1 MiB (git-config(1)), beyond which
	// git sends it in chunks, which not every proxy takes.
	fetchBatch = 10_000

	// maxRetries is how many files of one batch may be missing on the server.
	maxRetries = 16

	// watchInterval is how often the size of a Mirror is looked at.
	watchInterval = 200 * time.Millisecond
)

// What can go wrong with a fetch, besides this package's other errors.
var (
	// ErrMissing means that the server has no such commit, ref or file.
	ErrMissing = errors.New("not in the repository on the server")
	// ErrTooLarge means that the repository is bigger than FetchLimits allow.
	ErrTooLarge = errors.New("the repository is larger than the limit for fetches")
	// ErrRedirected means that the server sent us elsewhere. The token is for one
	// server, so nobody follows.
	ErrRedirected = errors.New("the git server redirects; use the repository's present address")
)

// A Remote is a repository on a git server.
type Remote struct {
	URL   string        // http or https, without a user's name or password
	Token checks.Secret // an installation's token; may be empty
}

// A FetchSpec says which history to fetch. Tip and Bases are full object ids, or
// full names of refs such as "refs/pull/7/head".
type FetchSpec struct {
	Tip string
	// More are further tips whose history is fetched along.
	More []string
	// Along is a ref that is fetched along if it is there: one request less than
	// Bring takes.
	Along string
	// Bases are where the interesting history begins. One that the server no
	// longer has is reported by MissingBases and fails nothing: without it more is
	// scanned. Ids of zeros, which stand for a ref's creation, are left out.
	Bases []string
	// Common says that of two Bases only the history that both have is not
	// interesting; otherwise that of either.
	Common bool
}

// FetchLimits bound what a fetch may take. Time is bounded by the context.
type FetchLimits struct {
	Bytes int64 // on disk; 0 means DefaultFetchBytes
}

// A Mirror is a temporary bare repository with the commits and trees of a
// remote's history and only those files that FetchBlobs brought. Close it.
type Mirror struct {
	dir    string
	origin *url.URL
	token  checks.Secret
	limit  int64
	repo   *git.Repository
	rng    git.Range
	gone   []string
	known  map[string]string // commits by what was asked for; a mirror's refs do not move
	// wrapped says that the tip is a tag of a folder or a file, and the range's
	// tip a commit that was made around it.
	wrapped bool
}

// Fetch makes a Mirror in dir, which must be empty or not exist. It asks for the
// tip first and then, one by one, for those bases that did not come with it.
func Fetch(ctx context.Context, remote Remote, dir string, spec FetchSpec, limits FetchLimits) (*Mirror, error) {
	origin, err := parseRemote(remote.URL)
	if err != nil {
		return nil, err
	}
	if err := emptyDir(dir); err != nil {
		return nil, fmt.Errorf("fetch into %s: %w", dir, err)
	}
	m := &Mirror{dir: dir, origin: origin, token: remote.Token, limit: limits.Bytes}
	if m.limit <= 0 {
		m.limit = DefaultFetchBytes
	}
	if err := m.fill(ctx, spec); err != nil {
		return nil, errors.Join(fmt.Errorf("fetch %s: %w", origin, err), m.Close())
	}
	return m, nil
}

// parseRemote refuses what git would take for another protocol, and URLs that
// carry credentials: those would end up in arguments and messages.
func parseRemote(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil {
		return nil, errors.New("the repository's URL cannot be read") // url.Error repeats the URL
	}
	if u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, errors.New("the repository's URL must be https://HOST/PATH, without user, query or fragment")
	}
	return u, nil
}

// emptyDir makes sure that dir is there, ours alone, and empty.
func emptyDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	entries, err := os.ReadDir(dir)
	if err == nil && len(entries) > 0 {
		return errors.New("the folder is not empty")
	}
	return err
}

// fill makes the repository and fetches what spec says.
func (m *Mirror) fill(ctx context.Context, spec FetchSpec) error {
	init := git.Command(ctx, m.dir, "init", "--quiet", "--bare", "--template=", "--initial-branch=main", "--object-format="+objectFormat(spec))
	if _, err := git.Run(ctx, init); err != nil {
		return err
	}
	err := m.fetchTips(ctx, spec)
	if err != nil {
		return fmt.Errorf("tip %s: %w", spec.Tip, err)
	}
	if m.repo, err = git.OpenBare(ctx, m.dir, objectFormat(spec)); err != nil {
		return err
	}
	if err := m.lookUp(ctx, spec); err != nil {
		return err
	}
	m.rng.Tip, err = m.Resolve(ctx, spec.Tip)
	if errors.Is(err, ErrMissing) {
		m.rng.Tip, err = m.wrap(ctx, spec.Tip)
		m.wrapped = true
	}
	if err != nil {
		return err
	}
	return m.fillBases(ctx, spec)
}

// lookUp resolves in one go what came with the tip.
func (m *Mirror) lookUp(ctx context.Context, spec FetchSpec) (err error) {
	revs := []string{spec.Tip}
	for _, rev := range append([]string{spec.Along}, spec.Bases...) {
		if strings.Trim(rev, "0") != "" {
			revs = append(revs, rev)
		}
	}
	m.known, err = m.repo.Commits(ctx, revs...)
	return err
}

// fetchTips fetches the tips, and what is to come along. A ref that is not there fails
// the whole request.
func (m *Mirror) fetchTips(ctx context.Context, spec FetchSpec) error {
	tips := append([]string{spec.Tip}, spec.More...)
	if spec.Along != "" {
		if err := m.fetch(ctx, "", append(tips, spec.Along)...); !errors.Is(err, ErrMissing) {
			return err
		}
	}
	return m.fetch(ctx, "", tips...)
}

// fillBases brings the bases that did not come with the tip.
func (m *Mirror) fillBases(ctx context.Context, spec FetchSpec) error {
	for _, base := range spec.Bases {
		if strings.Trim(base, "0") == "" {
			continue
		}
		commit, err := m.base(ctx, base)
		switch {
		case errors.Is(err, ErrMissing):
			m.gone = append(m.gone, base)
		case err != nil:
			return fmt.Errorf("base %s: %w", base, err)
		default:
			m.rng.Bases = append(m.rng.Bases, commit)
		}
	}
	if !spec.Common || len(m.rng.Bases) != 2 {
		return nil
	}
	var err error
	m.rng.Bases, err = m.repo.MergeBases(ctx, m.rng.Bases[0], m.rng.Bases[1])
	return err
}

// objectFormat is the hash that the remote's ids are made with.
func objectFormat(spec FetchSpec) string {
	for _, name := range append([]string{spec.Tip}, spec.Bases...) {
		if isObjectID(name) && len(name) == 64 {
			return "sha256"
		}
	}
	return "sha1"
}

// isObjectID reports whether name is a full object id.
func isObjectID(name string) bool {
	return (len(name) == 40 || len(name) == 64) && strings.Trim(name, "0123456789abcdef") == ""
}

// base resolves a base, fetched if it did not come with the tip.
func (m *Mirror) base(ctx context.Context, base string) (string, error) {
	commit, err := m.Resolve(ctx, base)
	if !errors.Is(err, ErrMissing) {
		return commit, err
	}
	if err := m.fetch(ctx, m.rng.Tip, base); err != nil {
		return "", err
	}
	return m.Resolve(ctx, base)
}

// Repository is the mirror as a source for scans. Reading it never fetches.
func (m *Mirror) Repository() *git.Repository { return m.repo }

// Range is what was asked for, with refs and tags resolved to commits and
// without the bases that are missing.
func (m *Mirror) Range() git.Range { return m.rng }

// Wrapped reports that the tip names no commit but a tagged folder or file. Then
// the commit at the range's tip was made up around it, and nobody else has it.
func (m *Mirror) Wrapped() bool { return m.wrapped }

// MissingBases are the bases that the server does not have, as they were asked for.
func (m *Mirror) MissingBases() []string { return m.gone }

// Resolve returns the commit that rev names in the mirror, annotated tags
// followed, or ErrMissing.
func (m *Mirror) Resolve(ctx context.Context, rev string) (string, error) {
	if commit := m.known[rev]; commit != "" {
		return commit, nil
	}
	commit, err := m.repo.Commit(ctx, rev)
	if errors.Is(err, git.ErrNoCommit) {
		return "", fmt.Errorf("%w: %w", ErrMissing, err)
	}
	return commit, err
}

// Behind reports whether a commit of the mirror is another one's ancestor, or the
// same. What is not there is nobody's.
func (m *Mirror) Behind(ctx context.Context, rev, of string) (bool, error) {
	commit, err := m.Resolve(ctx, rev)
	if err != nil {
		return false, err
	}
	other, err := m.Resolve(ctx, of)
	if errors.Is(err, ErrMissing) {
		return false, nil
	}
	common, commonErr := m.repo.MergeBases(ctx, commit, other)
	return slices.Contains(common, commit), errors.Join(err, commonErr)
}

// Close wipes the mirror.
func (m *Mirror) Close() error { return os.RemoveAll(m.dir) }

// fetch runs git fetch for objects and refs. The commit have, if not empty, is
// what the server may take as known: its history is not sent again. Without it
// nothing is taken as known, as in git's own fetches of promised objects
// (promisor-remote.c): who has a commit is otherwise believed to have its files.
func (m *Mirror) fetch(ctx context.Context, have string, names ...string) error {
	args := []string{
		"-c", "protocol.version=2", // the first that serves any object by its id
		"-c", "http.followRedirects=false",
		"-c", "http.lowSpeedLimit=1000", "-c", "http.lowSpeedTime=60",
		"-c", "fetch.writeCommitGraph=false",
		"-c", "core.fsync=none", // nothing of a mirror outlives its scan
	}
	if have == "" {
		args = append(args, "-c", "fetch.negotiationAlgorithm=noop")
	}
	args = append(args, "fetch", "--quiet", "--filter=blob:none", "--no-tags", "--no-write-fetch-head",
		"--no-recurse-submodules", "--no-auto-maintenance", "--no-show-forced-updates", "--stdin")
	if have != "" {
		args = append(args, "--negotiation-tip="+have)
	}
	refspecs, err := m.refspecs(ctx, names)
	if err != nil {
		return err
	}
	ctx, stop := m.watch(ctx)
	defer stop()
	cmd := git.Command(ctx, m.dir, append(args, "origin")...)
	cmd.Env = append(cmd.Env, m.environment()...)
	cmd.Stdin = strings.NewReader(refspecs)
	if _, err := git.Run(ctx, cmd); err != nil {
		return classifyGit(err)
	}
	if size(m.dir) > m.limit {
		return ErrTooLarge
	}
	return nil
}

// plainRef are names of which no rule of git's can be broken (git-check-ref-format).
var plainRef = regexp.MustCompile(`^refs(/[A-Za-z0-9_-]+){2,}$`)

// refspecs writes one refspec a line: an object id as it is, a ref under its own
// name. Anything else is refused here, before git gives it a meaning.
func (m *Mirror) refspecs(ctx context.Context, names []string) (string, error) {
	var b strings.Builder
	for _, name := range names {
		if isObjectID(name) {
			b.WriteString(name + "\n")
			continue
		}
		if !strings.HasPrefix(name, "refs/") {
			return "", fmt.Errorf("%q is neither a full object id nor the full name of a ref", name)
		}
		if plainRef.MatchString(name) {
			b.WriteString("+" + name + ":" + name + "\n")
			continue
		}
		if _, err := git.Run(ctx, git.Command(ctx, m.dir, "check-ref-format", name)); err != nil {
			return "", fmt.Errorf("%q is not the name of a ref: %w", name, err)
		}
		b.WriteString("+" + name + ":" + name + "\n")
	}
	return b.String(), nil
}

// environment is what a fetch needs on top of git.Command's: the one protocol,
// the way out, and the remote. The remote is configured here and not in the
// mirror. So the token is in no file and in no argument, and a git that only
// reads the mirror knows of no server from which it could fetch files one by one.
func (m *Mirror) environment() []string {
	env := []string{"GIT_ALLOW_PROTOCOL=" + m.origin.Scheme}
	for _, name := range []string{
		"HTTPS_PROXY", "https_proxy", "http_proxy", "ALL_PROXY", "all_proxy", "NO_PROXY", "no_proxy",
		"SSL_CERT_FILE", "SSL_CERT_DIR", "GIT_SSL_CAINFO", "GIT_SSL_CAPATH",
	} {
		if value, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+value)
		}
	}
	config := [][2]string{
		{"remote.origin.url", m.origin.String()},
		{"remote.origin.promisor", "true"},
		{"remote.origin.partialCloneFilter", "blob:none"},
	}
	if m.token.Len() > 0 {
		// GitHub's user name for installation tokens; the header goes to this host alone.
		basic := base64.StdEncoding.EncodeToString([]byte("x-access-token:" + m.token.Expose()))
		config = append(config, [2]string{"http." + m.origin.Scheme + "://" + m.origin.Host + "/.extraHeader", "Authorization: Basic " + basic})
	}
	for i, c := range config {
		n := strconv.Itoa(i)
		env = append(env, "GIT_CONFIG_KEY_"+n+"="+c[0], "GIT_CONFIG_VALUE_"+n+"="+c[1])
	}
	return append(env, "GIT_CONFIG_COUNT="+strconv.Itoa(len(config)))
}

// watch returns a context that ends with ErrTooLarge when the mirror outgrows its
// limit. Nothing tells the size of a fetch beforehand. Call stop.
func (m *Mirror) watch(parent context.Context) (ctx context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(parent)
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(watchInterval)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				if size(m.dir) > m.limit {
					cancel(ErrTooLarge)
				}
			}
		}
	}()
	return ctx, func() { cancel(nil); <-done }
}

// size adds up the files under dir. Files come and go while git works.
func size(dir string) int64 {
	var total int64
	filepath.WalkDir(dir, func(_ string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return nil
		}
		if info, err := entry.Info(); err == nil {
			total += info.Size()
		}
		return nil
	})
	return total
}

// classifyGit finds this package's errors in what git wrote. Its words are those
// of git's fetch-pack.c, remote-curl.c, http.c and upload-pack.c, which LC_ALL=C
// keeps untranslated.
func classifyGit(err error) error {
	var failed *git.CommandError
	if !errors.As(err, &failed) {
		return err
	}
	says := func(words ...string) bool {
		return slices.ContainsFunc(words, func(w string) bool { return strings.Contains(failed.Stderr, w) })
	}
	const status = "The requested URL returned error: "
	switch {
	case says("not our ref", "couldn't find remote ref", "request for unadvertised object"):
		return fmt.Errorf("%w: %w", ErrMissing, err)
	case says("fatal: repository '") && says("' not found"):
		return fmt.Errorf("%w: %w", ErrNotFound, err)
	case says("Authentication failed for", "could not read Username", status+"401"):
		return fmt.Errorf("%w: %w", ErrUnauthorized, err)
	case says(status + "403"):
		return fmt.Errorf("%w: %w", ErrForbidden, err)
	case says(status + "429"):
		return fmt.Errorf("%w: %w", &RateLimited{RetryAfter: secondaryWait}, err)
	case says(status+"301", status+"302", status+"303", status+"307", status+"308"):
		return fmt.Errorf("%w: %w", ErrRedirected, err)
	}
	return err
}
