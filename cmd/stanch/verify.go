package main

import (
	"context"
	"fmt"
	"time"

	"github.com/stanch-dev/stanch/app/provider"
	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/checks/report"
	"github.com/stanch-dev/stanch/rules"
)

// exitLive is the status of a scan with --verify that found something live.
const exitLive = 3

// verifyAtOnce bounds the questions to providers that are open at the same time.
const verifyAtOnce = 8

// providers returns the providers of the catalogue. Rule files of users have no say
// in where a credential is sent.
func (env *environment) providers(ctx context.Context) (*provider.Providers, error) {
	catalogue, err := rules.Catalogue()
	if err != nil {
		return nil, err
	}
	var s settings
	if err := readEnvironment(ctx, env.getenv, &s.Reach); err != nil {
		return nil, err
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
	verdict, err := providers.VerifyAll(ctx, findings, time.Time{}, verifyAtOnce)
	if err != nil {
		return fmt.Errorf("--verify: %w", err)
	}
	for i, f := range findings {
		v := verdict(f)
		if v.Reason == provider.ReasonNotAsked && !providers.Can(f.Rule.ID).Verify {
			continue // nobody can be
		}
		findings[i].Validity = meant(v)
	}
	return nil
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
		notes = append(notes, report.Count(unknown, "secret")+" neither live nor dead for certain: the provider could not be reached, or gave no clear answer")
	}
	if never := count(findings, func(f checks.Finding) bool { return f.Validity == checks.Unverified }); never > 0 {
		notes = append(notes, report.Count(never, "secret")+" not verified: nobody can be asked about credentials of that kind (“stanch rules list” shows which can)")
	}
	return notes
}

// isLive says that a provider took the credential.
func isLive(f checks.Finding) bool { return f.Validity == checks.Active }
