package provider

import (
	"errors"
	"strings"
	"testing"

	"github.com/stanch-dev/stanch/app/grants"
	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/rules"
)

func testLease(t *testing.T, e engineTest) {
	p := e.providers(VaultDatabasePolicy("database"))
	t.Run("the only one", func(t *testing.T) {
		role := e.role()
		leaked, other := aimAt(t, p, e.made(role)), e.made(e.role())
		if leaked.Identity[keptBy] != "database/creds" {
			t.Errorf("identity %v", leaked.Identity)
		}
		if _, err := p.Issue(t.Context(), prepared(t, p, leaked, "op")); !errors.Is(err, ErrCannotIssue) || !strings.Contains(err.Error(), "reading database/creds/"+role) {
			t.Errorf("issue: %v", err)
		}
		wantRevoked(t, p, leaked, rules.MeansRevoked, "")
		ask(t, p, leaked.Credential, checks.Inactive, GradeB)
		wantRevoked(t, p, leaked, rules.MeansAlreadyDead, "")
		ask(t, p, other, checks.Active, GradeA)
	})
	t.Run("one of two that were made together", func(t *testing.T) {
		role := e.role()
		leaked, twin := aimAt(t, p, e.made(role)), e.made(role)
		_, err := p.Revoke(t.Context(), leaked)
		if !errors.Is(err, ErrCannotRevoke) || strings.Count(err.Error(), "database/creds/"+role+"/") != 2 {
			t.Errorf("%v; want that a person chooses among both leases", err)
		}
		ask(t, p, leaked.Credential, checks.Active, GradeA)
		ask(t, p, twin, checks.Active, GradeA)
	})
	t.Run("the lease is gone and the user is not", func(t *testing.T) {
		leaked := aimAt(t, p, e.made(e.role("SELECT 1")))
		wantRevoked(t, p, leaked, rules.MeansRevoked, "")
		if _, err := p.Revoke(t.Context(), leaked); !errors.Is(err, ErrCannotRevoke) || !strings.Contains(err.Error(), "drop the user where it is") {
			t.Errorf("%v; want that a person drops the user", err)
		}
	})
}

// Which lease is whose is told by the time in the user's name.
func testLeaseTimes(t *testing.T, e engineTest) {
	p := e.providers(VaultDatabasePolicy("database"))
	role := e.role()
	older := e.made(role)
	name := older.Parts["user"].Expose()
	at := name[strings.LastIndex(name, "-")+1:]
	k := kept{path: "database/creds", roles: []string{"database/creds/" + role}}
	for user, want := range map[string]int{
		name:                         1,
		strings.TrimSuffix(name, at): 1, // without a time all are candidates
		strings.TrimSuffix(name, at) + "1000000000": 0,
		strings.TrimSuffix(name, at) + "9999999999": 0,
	} {
		k.user, k.made = user, ""
		if m := madeAt.FindStringSubmatch(user); m != nil {
			k.made = m[1]
		}
		if ids, why := p.vault.leasesOf(t.Context(), k); why != "" || len(ids) != want {
			t.Errorf("%s: %v, %s; want %d", user, ids, why, want)
		}
	}
	for user, want := range map[string]bool{
		"v-token-reader-YFehSskTaUkDhs0aPJFx-1795814895":   true,
		"v-approle-reader-YFehSskTaUkDhs0aPJFx-1795814895": true,
		"v-toke-read-YFeh": true, // of MySQL before 5.7
		"v-token-writer-YFehSskTaUkDhs0aPJFx-1795814895": false,
		"v-reader": false,
	} {
		if got := named(user, "reader"); got != want {
			t.Errorf("%s may be made for reader: %t, want %t", user, got, want)
		}
	}
}

func testDatabasePolicy(t *testing.T, e engineTest) {
	revoke := func(cred checks.Credential) func(*testing.T, *Providers) error {
		return func(t *testing.T, p *Providers) error {
			_, err := p.Revoke(t.Context(), Target{Credential: cred})
			return err
		}
	}
	wantMinimal(t, e.b, grants.Policy{}, VaultDatabasePolicy("database"), e.config(), map[string]func(*testing.T, *Providers) error{
		"rotate": func(t *testing.T, p *Providers) error {
			user := "of" + random(t)
			e.keep(user)
			return revoke(e.url(user, e.password(user)))(t, p)
		},
		"end lease": func(t *testing.T, p *Providers) error {
			return revoke(e.made(e.role()))(t, p)
		},
		"rotate root": func(t *testing.T, p *Providers) error {
			user := "root" + random(t)
			e.sql("CREATE ROLE " + user + " SUPERUSER LOGIN PASSWORD '" + vaultrootPassword + "'")
			e.connect(user, "localhost", user, vaultrootPassword)
			return revoke(e.url(user, vaultrootPassword))(t, p)
		},
	})
}
