package app

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/stanch-dev/stanch/app/secretstore"
)

// A consumerStore is a SecretStore that knows who reads its secrets. What reads one only
// when it starts has the old credential until it is restarted.
type consumerStore interface {
	// Consumers lists those who read a field of a secret as it is now.
	Consumers(context.Context, secretstore.Location) ([]secretstore.Consumer, error)
	// Restarts reports whether Restart may do anything.
	Restarts() bool
	// Restart has a consumer read the secret anew, once for a version of it.
	Restart(context.Context, secretstore.Consumer) error
	// Settled reports whether a consumer has the new value, or why not yet.
	Settled(context.Context, secretstore.Consumer) (bool, string, error)
}

// A readerStore is a SecretStore that knows who has read a secret before.
type readerStore interface {
	Readers(context.Context, secretstore.Location) ([]secretstore.Reader, error)
}

func (a *App) consumerStore(at secretstore.Location) (consumerStore, bool) {
	s, err := a.secretStore(at.Store)
	c, ok := s.(consumerStore)
	return c, err == nil && ok
}

// passOn has those who read the places only when they start restarted, where that may be,
// and notes in the places who reads them. Done twice it changes nothing more. What the
// cluster refuses is told, and keeps no leaked credential alive; all else is tried again.
func (r *remediation) passOn(ctx context.Context, ps []place) (told string, err error) {
	var all []string
	for n := range ps {
		p := &ps[n]
		if p.Replacement == nil {
			continue
		}
		s, ok := r.app.consumerStore(*p.Replacement)
		if !ok {
			continue
		}
		consumers, err := s.Consumers(ctx, *p.Replacement)
		switch {
		case errors.Is(err, secretstore.ErrRefused) || errors.Is(err, secretstore.ErrNotFound):
			r.app.log.WarnContext(ctx, "who reads a secret is not known", "incident", r.id, "error", err)
			all = append(all, "who reads "+p.Replacement.String()+" is not known")
		case err != nil:
			return "", err
		}
		p.Consumers = consumers
		for _, c := range consumers {
			text, err := r.restart(ctx, s, c)
			if err != nil {
				return "", err
			}
			all = append(all, text)
		}
	}
	return strings.Join(all, "; "), nil
}

// restart restarts a consumer, and says what came of it.
func (r *remediation) restart(ctx context.Context, s consumerStore, c secretstore.Consumer) (string, error) {
	if !c.Restart {
		return c.String() + " reads it anew by itself", nil
	}
	err := s.Restart(ctx, c)
	switch {
	case errors.Is(err, secretstore.ErrNoRestart):
		return c.String() + " has to be restarted", nil
	case errors.Is(err, secretstore.ErrRefused):
		r.app.log.WarnContext(ctx, "a workload is not restarted", "incident", r.id, "error", err)
		return c.String() + " has to be restarted, which the cluster does not let Stanch do", nil
	}
	return c.String() + " is restarted", err
}

// unsettled says which consumers of the places may still have the old credential.
func (r *remediation) unsettled(ctx context.Context, ps []place) (waits []string, err error) {
	for _, p := range ps {
		s, ok := r.app.consumerStore(p.Leaked)
		if !ok {
			continue
		}
		for _, c := range p.Consumers {
			settled, why, err := s.Settled(ctx, c)
			switch {
			case errors.Is(err, secretstore.ErrRefused):
				waits = append(waits, c.String()+": the cluster does not let Stanch look at it")
			case err != nil:
				return nil, err
			case !settled:
				waits = append(waits, c.String()+": "+why)
			}
		}
	}
	return waits, nil
}

// maxReadersTold bounds who is named in a plan.
const maxReadersTold = 10

// riskOfConsumers names those who read the current places, or have read them.
func (a *App) riskOfConsumers(ctx context.Context, plan *Plan) {
	for _, p := range plan.places {
		if !p.Leaked.Superseded && !p.Adopted {
			plan.Risks = append(plan.Risks, a.consumersText(ctx, p.Leaked)...)
		}
		if !p.Adopted {
			plan.Risks = append(plan.Risks, a.readersText(ctx, p.Leaked)...)
		}
	}
}

func (a *App) consumersText(ctx context.Context, at secretstore.Location) (texts []string) {
	s, ok := a.consumerStore(at)
	if !ok {
		return nil
	}
	consumers, err := s.Consumers(ctx, at)
	if err != nil {
		a.log.WarnContext(ctx, "who reads a secret is not known", "error", err)
		return []string{fmt.Sprintf("%s: its cluster did not say which workloads read it: Stanch’s log says why", at)}
	}
	for _, c := range consumers {
		then := "it reads it anew by itself"
		switch {
		case c.Restart && s.Restarts():
			then = "that only when its pods start: a rotation restarts it"
		case c.Restart:
			then = "that only when its pods start: it has to be restarted"
		}
		texts = append(texts, fmt.Sprintf("%s: %s reads it (%s), %s", at, c, c.By, then))
	}
	return texts
}

// readersText names who has read a place, the last ones first.
func (a *App) readersText(ctx context.Context, at secretstore.Location) (texts []string) {
	s, err := a.secretStore(at.Store)
	known, ok := s.(readerStore)
	if err != nil || !ok {
		return nil
	}
	readers, err := known.Readers(ctx, at)
	switch {
	case errors.Is(err, secretstore.ErrNoAuditLog):
		return nil
	case err != nil:
		a.log.WarnContext(ctx, "who has read a secret is not known", "error", err)
		return []string{fmt.Sprintf("%s: its audit log did not say who has read it: Stanch’s log says why", at)}
	}
	for n, r := range readers {
		if n == maxReadersTold {
			return append(texts, fmt.Sprintf("%s: %d more have read it", at, len(readers)-n))
		}
		what := "the secret" // with which value is not known
		if r.Leaked {
			what = "the leaked value"
		}
		texts = append(texts, fmt.Sprintf("%s: %s has read %s, %d times, last at %s", at, r, what, r.Times, r.Last.UTC().Format("2006-01-02 15:04:05 MST")))
	}
	return texts
}
