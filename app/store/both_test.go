package store

import (
	"path/filepath"
	"testing"

	"github.com/stanch-dev/stanch/app/store/postgrestest"
)

// onBoth runs a test on each of the databases, on an empty one of its own.
func onBoth(t *testing.T, test func(*testing.T, string)) {
	t.Run("sqlite", func(t *testing.T) { test(t, "sqlite:"+filepath.Join(t.TempDir(), "a.db")) })
	t.Run("postgres", func(t *testing.T) { test(t, postgrestest.URL(t)) })
}

// inStores runs a test on a store in each of the databases.
func inStores(t *testing.T, test func(*testing.T, *Store)) {
	onBoth(t, func(t *testing.T, url string) {
		s := openStore(t, url)
		defer s.Close()
		test(t, s)
	})
}
