package store

import (
	"database/sql"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stanch-dev/stanch/app/github"
)

// versionOne makes a database as the first version of the program left it.
func versionOne(t *testing.T, path string) {
	t.Helper()
	steps, err := sqlite.schema()
	if err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", "file:"+path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, query := range []string{
		steps[0],
		`insert into meta (name, value) values ('key', '` + newKeys(t, 1).check() + `')`,
		`insert into deliveries values ('guid', 'push', '', 7, 100, 'queued')`,
		`insert into checks (id, installation, repository, repository_id, head_sha, received) values
			('old', 7, '{"id":9,"owner":"acme","name":"old","private":true,"default_branch":"main"}', 9, 'aa', 100),
			('new', 7, '{"id":9,"owner":"acme","name":"new","private":false,"default_branch":"trunk"}', 9, 'bb', 200)`,
		`insert into scans (delivery, check_id, job, finished) values ('guid', 'old', '{}', 300)`,
		`pragma user_version = 1`,
	} {
		if _, err := db.Exec(query); err != nil {
			t.Fatal(err)
		}
	}
}

func TestVersionOneIsUpgraded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.db")
	versionOne(t, path)
	s := newStore(t, path)
	defer s.Close()

	if version, err := s.version(t.Context()); err != nil || version < 2 {
		t.Errorf("version %d after opening: %v", version, err)
	}
	if scan, err := s.Scan(t.Context(), "guid"); err != nil || scan.CheckID != "old" || !scan.Finished.Equal(time.UnixMicro(300)) {
		t.Errorf("the scan is %+v: %v", scan, err)
	}
	want := Repository{
		Repository:   github.Repository{ID: 9, Owner: "acme", Name: "new", DefaultBranch: "trunk"},
		Installation: 7, State: Active,
	}
	if got, err := s.Repository(t.Context(), 9); err != nil || got != want {
		t.Errorf("the repository is %+v, want its newest state: %v", got, err)
	}
}

func TestFailedUpgradeChangesNothing(t *testing.T) { inStores(t, testFailedUpgradeChangesNothing) }

func testFailedUpgradeChangesNothing(t *testing.T, s *Store) {
	version, err := s.version(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	steps := append(make([]string, version),
		`create table good (a text)`,
		`create table half (a text); insert into nowhere values (1)`)
	if err := s.upgrade(t.Context(), version, steps); err == nil || !strings.Contains(err.Error(), "nowhere") {
		t.Errorf("a step that fails: %v", err)
	}
	if now, err := s.version(t.Context()); err != nil || now != version+1 {
		t.Errorf("version %d after one good step, want %d: %v", now, version+1, err)
	}
	var tables []string
	if _, err := collect(s.queries, t.Context(), func(row scanner) (name string, err error) {
		err = row.Scan(&name)
		tables = append(tables, name)
		return name, err
	}, map[string]string{
		sqlite.name:   `select name from sqlite_schema where name in ('good', 'half')`,
		postgres.name: `select relname from pg_class where relname in ('good', 'half') and relnamespace = current_schema()::regnamespace`,
	}[s.dialect.name]); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"good"}, tables); diff != "" {
		t.Errorf("tables after the failure (-want +got):\n%s", diff)
	}
}

func TestNewerTablesAreRefused(t *testing.T) { onBoth(t, testNewerTablesAreRefused) }

func testNewerTablesAreRefused(t *testing.T, url string) {
	s := openStore(t, url)
	if _, err := s.db.ExecContext(t.Context(), fmt.Sprintf(s.dialect.setVersion, 999)); err != nil {
		t.Fatal(err)
	}
	s.Close()
	if _, err := Open(t.Context(), url, newKeys(t, 1), quiet); err == nil || !strings.Contains(err.Error(), "newer stanch") {
		t.Errorf("opening tables of a newer version: %v", err)
	}
}

func TestRefMovesOnlyFromWhatIsKnown(t *testing.T) { inStores(t, testRefMovesOnlyFromWhatIsKnown) }

func testRefMovesOnlyFromWhatIsKnown(t *testing.T, s *Store) {
	move := func(sha string, from ...string) string {
		inTx(t, s, func(tx *Tx) error {
			return tx.MoveRef(t.Context(), Ref{Installation: 7, Repository: 9, Name: "refs/heads/main", SHA: sha}, from...)
		})
		now, err := s.Ref(t.Context(), 7, 9, "refs/heads/main")
		if err != nil {
			t.Fatal(err)
		}
		return now
	}
	for _, step := range []struct {
		sha  string
		from []string
		want string
	}{
		{"b", []string{"a"}, "b"},      // nothing was known
		{"c", []string{"x", "b"}, "c"}, // the expected
		{"b", []string{"a"}, "c"},      // an older scan that ended later
		{"d", []string{"c"}, "d"},      // and on
		{"a", nil, "d"},                // a backfill never moves what is there
	} {
		if got := move(step.sha, step.from...); got != step.want {
			t.Errorf("move to %s from %v: the ref is at %s, want %s", step.sha, step.from, got, step.want)
		}
	}
	inTx(t, s, func(tx *Tx) error { return tx.ForgetRefs(t.Context(), 7, 9, "refs/heads/main") })
	if refs, err := s.Refs(t.Context(), 7, 9); err != nil || len(refs) != 0 {
		t.Errorf("refs after forgetting: %v, %v", refs, err)
	}
}
