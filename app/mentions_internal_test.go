package app

import (
	"testing"

	"github.com/stanch-dev/stanch/app/github"
	"github.com/stanch-dev/stanch/app/secretstore"
	"github.com/stanch-dev/stanch/app/store"
	"github.com/stanch-dev/stanch/checks"
)

// No name that has the credential in it is searched for, and none that many files have.
func TestSearchesForNoSecret(t *testing.T) {
	cred := checks.Credential{Rule: "password", Parts: map[string]checks.Secret{
		checks.PartSecret: checks.NewSecret("HUNTER_" + "TWO"), "user": checks.NewSecret("secrets." + "DANA_1"),
	}}
	at := secretstore.Location{Store: "file", Path: "ci", Field: "token"}
	for name, want := range map[string]int{"OLD_HUNTER_TWO_1": 0, "DANA_1": 0, "DEPLOY_TOKEN": 1} {
		a := &App{cfg: Config{Copies: []Copy{{Of: at, To: github.SecretName{Owner: "acme", Repo: "shop", Name: name}}}}}
		all, err := a.searches(t.Context(), &Plan{places: []place{{Leaked: at}}}, store.Incident{}, cred)
		if err != nil || len(all) != want {
			t.Errorf("%s: %d searches, %v", name, len(all), err)
		}
	}
	for name, skipped := range map[string]bool{"": true, "deploy": true, "ci/deploy": false, "deploy-2": false} {
		if oneWord.MatchString(name) != skipped {
			t.Errorf("%q", name)
		}
	}
}
