package main

import (
	"fmt"
	"strings"

	"github.com/stanch-dev/stanch/app"
	"github.com/stanch-dev/stanch/app/github"
	"github.com/stanch-dev/stanch/checks"
)

// GitHubOptions switch on what takes more permissions of the App than scanning.
type GitHubOptions struct {
	Copies []string `env:"STANCH_GITHUB_COPIES" help:"secrets at GitHub that are copies of places in secret stores, and written with them: acme/shop:actions:DEPLOY_TOKEN=vault:secret/ci/deploy#token,… (also acme/shop:dependabot:…, acme/shop:env/ENVIRONMENT:…, ORGANISATION:actions:…)"`

	DeployKeys []string `env:"STANCH_GITHUB_DEPLOY_KEYS" help:"repositories among whose deploy keys leaked private keys are looked for and replaced: acme/shop,…"`

	RevokeToken string `env:"STANCH_GITHUB_REVOKE_TOKEN" help:"classic personal access token of an account of Stanch's own at a GitHub Enterprise Server (3.19 or later), as which leaked ones are revoked there; github.com wants none"`
}

// addRevoker names the token by which Stanch itself revokes, which must outlive its own
// leak until a person has replaced it.
func (s GitHubOptions) addRevoker(cfg *app.Config) {
	if s.RevokeToken != "" {
		cfg.Own = append(cfg.Own, checks.NewSecret(s.RevokeToken).Fingerprint(cfg.Keys.Fingerprint))
	}
}

// copies reads the copies.
func (s GitHubOptions) copies() ([]app.Copy, error) {
	var all []app.Copy
	for n, entry := range s.Copies {
		c, err := app.ParseCopy(strings.TrimSpace(entry))
		if err != nil {
			return nil, fmt.Errorf("STANCH_GITHUB_COPIES, entry %d: %w", n+1, err)
		}
		all = append(all, c)
	}
	return all, nil
}

// githubNeeds are the permissions that the settings ask for.
func (d *doctor) githubNeeds() []github.Need {
	copies, err := d.settings.copies()
	if err != nil {
		d.problem(aboutGitHub, err.Error(), "correct STANCH_GITHUB_COPIES; “stanch serve --help” shows its form")
		return nil
	}
	var names []github.SecretName
	for _, c := range copies {
		names = append(names, c.To)
	}
	needs := github.NeedsOf(github.SecretPolicy(names))
	if len(d.settings.DeployKeys) > 0 {
		needs = append(needs, github.NeedsOf(github.DeployKeyPolicy())...)
	}
	return needs
}
