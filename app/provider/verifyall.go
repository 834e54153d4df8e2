package provider

import (
	"context"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/stanch-dev/stanch/checks"
)

// A VerdictOf tells what a provider said of a finding. It is the zero Verdict of what
// nobody was asked about, such as what a repository's own rules find.
type VerdictOf func(checks.Finding) Verdict

// NobodyAsked is what was said before anybody was asked.
func NobodyAsked(checks.Finding) Verdict { return Verdict{} }

// VerifyAll asks once about each distinct credential among the findings, and about a
// password once for each account that it is found with; so many at once. What was live
// before since may have been ended by then. A value that is found as several kinds has the
// verdict of one that somebody knows.
func (p *Providers) VerifyAll(ctx context.Context, findings []checks.Finding, since time.Time, atOnce int) (VerdictOf, error) {
	type asked struct {
		secret  checks.Fingerprint
		account string
	}
	about := func(f checks.Finding) asked { return asked{f.Fingerprint, p.AccountName(f.Credential)} }
	verifies := func(rule string) bool { return p.rules[rule] != nil && p.whyNoVerify(p.rules[rule]) == "" }
	distinct := map[asked]checks.Credential{}
	for _, f := range findings {
		known, ok := distinct[about(f)]
		if p.rules[f.Rule.ID] != nil && (!ok || !verifies(known.Rule) && verifies(f.Rule.ID)) {
			distinct[about(f)] = f.Credential
		}
	}
	said := make(map[asked]Verdict, len(distinct))
	gravest := map[checks.Fingerprint]Verdict{} // of all that were asked about one value
	var mu sync.Mutex
	g, each := errgroup.WithContext(ctx)
	g.SetLimit(atOnce)
	for key, cred := range distinct {
		g.Go(func() error {
			v, err := p.VerifySince(each, cred, since)
			mu.Lock()
			defer mu.Unlock()
			said[key] = v
			if verifies(cred.Rule) && gravity[v.Validity] > gravity[gravest[key.secret].Validity] {
				gravest[key.secret] = v
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	// An interrupted question is answered "unknown", which must not be recorded as what
	// the provider said.
	return func(f checks.Finding) Verdict {
		v, ok := said[about(f)]
		if other, known := gravest[f.Fingerprint]; known && (!ok || !verifies(f.Rule.ID)) {
			return other
		}
		return v
	}, ctx.Err()
}

// gravity is what counts most of several verdicts.
var gravity = map[checks.Validity]int{checks.Active: 3, checks.Unknown: 2, checks.Inactive: 1}
