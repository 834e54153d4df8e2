package main

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/sethvargo/go-envconfig"
	"golang.org/x/sync/errgroup"

	"github.com/stanch-dev/stanch/app/provider"
	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/rules"
)

// exitLive is the status of a scan with --verify that found something live.
const exitLive = 3

// verifyAtOnce bounds the questions to providers that are open at the same time.
const verifyAtOnce = 8

// hosts are the variables of stanch serve that say where credentials may be asked
// about besides the catalogue's hosts.
type hosts struct {
	GitHubURL       string            `env:"STANCH_GITHUB_URL, default=https://github.com"`
	VaultAddr       string            `env:"VAULT_ADDR"`
	VaultToken      string            `env:"VAULT_TOKEN"`
	VaultNamespace  string            `env:"VAULT_NAMESPACE"`
	ProviderURLs    map[string]string `env:"STANCH_PROVIDER_URLS"`
	AllowedNetworks []string          `env:"STANCH_ALLOWED_NETWORKS"`
	Verify          string            `env:"STANCH_VERIFY"`
	VerifyRules     []string          `env:"STANCH_VERIFY_RULES"`
	OutboundProxy   string            `env:"STANCH_OUTBOUND_PROXY"`
}

// providers returns the providers of the catalogue. Rule files of users have no say
// in where a credential is sent.
func (env *environment) providers(ctx context.Context) (*provider.Providers, error) {
	catalogue, err := rules.Catalogue()
	if err != nil {
		return nil, err
	}
	values := map[string]string{}
	for _, name := range []string{"STANCH_GITHUB_URL", "VAULT_ADDR", "VAULT_TOKEN", "VAULT_NAMESPACE", "STANCH_PROVIDER_URLS", "STANCH_ALLOWED_NETWORKS",
		"STANCH_VERIFY", "STANCH_VERIFY_RULES", "STANCH_OUTBOUND_PROXY"} {
		value, err := lookup(env.getenv, name)
		if err != nil {
			return nil, err
		}
		if value != "" {
			values[name] = value
		}
	}
	var h hosts
	if err := envconfig.ProcessWith(ctx, &envconfig.Config{Target: &h, Lookuper: envconfig.MapLookuper(values)}); err != nil {
		return nil, err
	}
	s := settings{
		GitHubURL: h.GitHubURL, VaultAddr: h.VaultAddr, VaultToken: h.VaultToken, VaultNamespace: h.VaultNamespace,
		ProviderURLs: h.ProviderURLs, AllowedNetworks: h.AllowedNetworks,
		Verify: h.Verify, VerifyRules: h.VerifyRules, OutboundProxy: h.OutboundProxy,
	}
	cfg, err := s.providers(catalogue, nil)
	if err != nil {
		return nil, err
	}
	cfg.Catalogue = catalogue
	return provider.New(cfg)
}

// verify asks the providers about the findings, each credential once, and writes
// down what they say. What no provider can be asked about stays unverified.
func (env *environment) verify(ctx context.Context, findings []checks.Finding) error {
	providers, err := env.providers(ctx)
	if err != nil {
		return fmt.Errorf("--verify: %w", err)
	}
	said := map[checks.Fingerprint]checks.Validity{}
	var mu sync.Mutex
	group, each := errgroup.WithContext(ctx)
	group.SetLimit(verifyAtOnce)
	for _, f := range distinct(findings) {
		if !providers.Can(f.Rule.ID).Verify {
			continue
		}
		group.Go(func() error {
			verdict, err := providers.Verify(each, f.Credential)
			if err != nil {
				return fmt.Errorf("--verify: %s: %w", f.Rule.ID, err)
			}
			mu.Lock()
			defer mu.Unlock()
			said[f.Fingerprint] = meant(verdict)
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	for i, f := range findings {
		findings[i].Validity = said[f.Fingerprint]
	}
	// A question that was interrupted has no answer.
	return ctx.Err()
}

// meant is what a verdict says about a credential. When only an installation of the
// operator's refused it, another host may still take it.
func meant(v provider.Verdict) checks.Validity {
	if v.SelfHosted && v.Validity == checks.Inactive {
		return checks.Unknown
	}
	return v.Validity
}

// undecided says of how many findings it is not known whether they are live, and why.
func undecided(findings []checks.Finding) (notes []string) {
	unknown := count(findings, func(f checks.Finding) bool { return f.Validity == checks.Unknown })
	if unknown > 0 {
		notes = append(notes, amount(unknown, "secret")+" neither live nor dead for certain: the provider could not be reached, or gave no clear answer")
	}
	if never := count(findings, func(f checks.Finding) bool { return f.Validity == checks.Unverified }); never > 0 {
		notes = append(notes, amount(never, "secret")+" not verified: nobody can be asked about credentials of that kind (“stanch rules list” shows which can)")
	}
	return notes
}

// distinct is the first finding of each secret.
func distinct(findings []checks.Finding) []checks.Finding {
	seen := map[checks.Fingerprint]bool{}
	return slices.DeleteFunc(slices.Clone(findings), func(f checks.Finding) bool {
		again := seen[f.Fingerprint]
		seen[f.Fingerprint] = true
		return again
	})
}

// isLive says that a provider took the credential.
func isLive(f checks.Finding) bool { return f.Validity == checks.Active }
