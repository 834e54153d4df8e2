package provider

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stanch-dev/stanch/app/ownaws"
	"github.com/stanch-dev/stanch/app/ownaws/awstest"
	"github.com/stanch-dev/stanch/checks"
)

// An awsWorld is an AWS with Stanch as the user "stanch", who has no rights where moto
// asks for any.
type awsWorld struct {
	*awstest.Server
	t *testing.T
}

func newAWSWorld(t *testing.T) *awsWorld {
	t.Helper()
	w := &awsWorld{awstest.Start(t), t}
	w.As("stanch")
	return w
}

// under has a subtest be the one that fails.
func (w *awsWorld) under(t *testing.T) {
	w.t = t
	w.Under(t)
}

// providers are as an operator configures them who has Stanch act at AWS, by a role in
// other accounts if there is one.
func (w *awsWorld) providers(cfg Config, role ...string) *Providers {
	w.t.Helper()
	cfg.AWS = w.caller(role...)
	cfg.BaseURLs = map[string]string{"aws": w.URL}
	p := newProviders(w.t, cfg)
	p.verifiers[driverAWS].(*amazon).pause = time.Millisecond
	p.issuers[driverAWS].(*accessKeys).pause = 10 * time.Millisecond
	return p
}

// caller is Stanch's own identity, by a role in other accounts if there is one.
func (w *awsWorld) caller(role ...string) *ownaws.Caller {
	return ownaws.New(ownaws.Config{Role: strings.Join(role, ""), Endpoint: w.URL})
}

// leak is a user's key, as it is after it was verified.
func (w *awsWorld) leak(p *Providers, user string) Target {
	w.t.Helper()
	id, secret := w.Key(user)
	cred := pair(id, secret, "")
	return Target{Credential: cred, Identity: ask(w.t, p, cred, checks.Active, GradeA).Evidence.Identity}
}

func iamError(status int, code, message string) http.HandlerFunc {
	return func(rw http.ResponseWriter, _ *http.Request) {
		answer(rw, status, "text/xml", awstest.Error(code, message))
	}
}

// replace asks for a replacement the way the App does.
func replace(p *Providers, old Target, operation string) (Request, checks.Credential, error) {
	prepared, err := p.Prepare(context.Background(), old, operation)
	if err != nil {
		return Request{}, checks.Credential{}, err
	}
	r := Request{Old: old, Operation: operation, Prepared: prepared}
	fresh, err := p.Issue(context.Background(), r)
	return r, fresh, err
}
