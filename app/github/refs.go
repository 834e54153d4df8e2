package github

import (
	"context"
	"fmt"
	"strings"

	"github.com/stanch-dev/stanch/checks/git"
)

// ListRefs returns what the branches and tags of a remote point at: commits, and
// for tags with a message the tag itself. dir is a folder in which git may run.
func ListRefs(ctx context.Context, remote Remote, dir string) (map[string]string, error) {
	origin, err := parseRemote(remote.URL)
	if err != nil {
		return nil, err
	}
	m := &Mirror{dir: dir, origin: origin, token: remote.Token}
	cmd := git.Command(ctx, dir, "-c", "protocol.version=2", "-c", "http.followRedirects=false",
		"-c", "http.lowSpeedLimit=1000", "-c", "http.lowSpeedTime=60", "ls-remote", "--quiet", "--refs", "origin", "refs/heads/*", "refs/tags/*")
	cmd.Env = append(cmd.Env, m.environment()...)
	out, err := git.Run(ctx, cmd)
	if err != nil {
		return nil, fmt.Errorf("list the refs of %s: %w", origin, classifyGit(err))
	}
	refs := map[string]string{}
	for line := range strings.Lines(string(out)) {
		id, name, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		if !ok || !isObjectID(id) || !strings.HasPrefix(name, "refs/") {
			return nil, fmt.Errorf("list the refs of %s: git's answer is not a list of refs", origin)
		}
		refs[name] = id
	}
	return refs, nil
}

// Line lists the first-parent line of a commit as far as it is not in the history
// of any of bases, oldest first.
func (m *Mirror) Line(ctx context.Context, tip string, bases []string) ([]string, error) {
	cmd := git.Command(ctx, m.dir, "rev-list", "--first-parent", "--reverse", "--stdin")
	cmd.Stdin = strings.NewReader(tip + "\n^" + strings.Join(bases, "\n^") + "\n")
	if len(bases) == 0 {
		cmd.Stdin = strings.NewReader(tip + "\n")
	}
	out, err := git.Run(ctx, cmd)
	if err != nil {
		return nil, fmt.Errorf("list the commits of %s: %w", tip, err)
	}
	return strings.Fields(string(out)), nil
}

// Snapshot makes a commit without parents that has all that a commit has, so that a
// scan of it sees everything that is there. It never leaves the mirror.
func (m *Mirror) Snapshot(ctx context.Context, commit string) (string, error) {
	return m.output(ctx, "", "commit-tree", "-m", "all that is in it", commit+"^{tree}")
}
