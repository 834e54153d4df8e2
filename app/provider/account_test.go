package provider

import (
	"errors"
	"testing"

	"github.com/stanch-dev/stanch/checks"
)

func TestCompareAccounts(t *testing.T) {
	p := newProviders(t, Config{VerifyHosts: []string{"db.acme.example", "cache.acme.example"}})
	postgres := accountOf("postgres-url", "shop", "DB.acme.example:5432")
	redis := accountOf("redis-url", "", "cache.acme.example")
	for name, test := range map[string]struct {
		cred       checks.Credential
		user, host string
		want       Likeness
	}{
		"the same":              {postgres, "shop", "db.acme.example", SameAccount},
		"nothing told":          {postgres, "", "", SameAccount},
		"among several":         {postgres, "shop", "db2.acme.example,db.acme.example.:5432", SameAccount},
		"another port":          {postgres, "shop", "db.acme.example:5433", OtherServer},
		"another server":        {postgres, "", "db2.acme.example", OtherServer},
		"another user":          {postgres, "web", "db.acme.example", OtherAccount},
		"both":                  {postgres, "web", "db2.acme.example", OtherAccount},
		"of a server":           {postgres, "shop@db", "", SameAccount},
		"begins alike":          {postgres, "shop2", "", OtherAccount},
		"the default user":      {redis, "default", "cache.acme.example:6379", SameAccount},
		"not the default user":  {redis, "web", "cache.acme.example", OtherAccount},
		"a token's has no user": {credential("github-pat", "changeme1"), "web", "db2.acme.example", SameAccount},
	} {
		if got := p.Compare(test.cred, test.user, test.host); got != test.want {
			t.Errorf("%s: %d, want %d", name, got, test.want)
		}
	}
	if v, err := p.TakenAt(t.Context(), postgres, "db2.acme.example"); !errors.Is(err, ErrNotAllowed) || v.Validity != "" {
		t.Errorf("a server that the operator has not named: %v, %v", v, err)
	}
}

// accountOf is the password of a user at a server.
func accountOf(rule, user, host string) checks.Credential {
	cred := credential(rule, "changeme1")
	cred.Parts["user"], cred.Parts["host"] = checks.NewSecret(user), checks.NewSecret(host)
	return cred
}
