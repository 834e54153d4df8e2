package provider

import (
	"context"
	"errors"

	"github.com/stanch-dev/stanch/rules"
)

// shut keeps a role out whose password has leaked, ends its sessions, and, for good,
// takes its password away. Only the password that leaked counts: a role that has another
// one by now is left alone. Every step may be repeated, and what was done tells where to
// go on: the password goes last.
func (p *postgres) shut(ctx context.Context, t Target, forGood bool) (Receipt, error) {
	leaked, admin, err := p.meet(t)
	if err != nil {
		return Receipt{}, err
	}
	found, said, err := p.knock(ctx, leaked)
	switch {
	case err != nil:
		return Receipt{}, err
	case found == isWrong:
		return p.did(leaked, leaked.user, rules.MeansAlreadyDead, said), nil
	case found == strange:
		return Receipt{}, refusal(said)
	}
	conn, err := p.administrate(ctx, admin)
	if err != nil {
		return Receipt{}, err
	}
	defer conn.Close(ctx)
	role, err := conn.plain(ctx, leaked.user)
	if err != nil {
		return Receipt{}, err
	}
	if found == opens {
		if err := conn.do(ctx, "ALTER ROLE "+pgName(leaked.user)+" NOLOGIN"); err != nil {
			return Receipt{}, err
		}
	}
	if still, err := p.stillLeaked(ctx, conn, leaked, found == opens); err != nil || !still {
		return p.did(leaked, leaked.user, rules.MeansAlreadyDead, "its password was changed meanwhile"), err
	}
	if err := conn.end(ctx, role); err != nil {
		return Receipt{}, err
	}
	if !forGood {
		return p.did(leaked, leaked.user, rules.MeansRevoked, "NOLOGIN, and no session is left"), nil
	}
	err = conn.do(ctx, "ALTER ROLE "+pgName(leaked.user)+" PASSWORD NULL")
	return p.did(leaked, leaked.user, rules.MeansRevoked, "NOLOGIN, no password, and no session is left"), err
}

// stillLeaked looks again, now that the role is kept out: if its password was changed at
// that very moment, it is let in again by whom it was kept out.
func (p *postgres) stillLeaked(ctx context.Context, conn *pgAdmin, leaked login, byUs bool) (bool, error) {
	found, said, err := p.knock(ctx, leaked)
	switch {
	case err != nil:
		return true, err
	case found == isWrong && !byUs:
		return false, nil
	case found == isWrong:
		return false, conn.do(ctx, "ALTER ROLE "+pgName(leaked.user)+" LOGIN")
	case found != isShut:
		return true, errors.New("the role was kept out by NOLOGIN, and to its password the server says: " + said)
	}
	return true, nil
}

// enable lets a role in again that was kept out, if it has its password still.
func (p *postgres) enable(ctx context.Context, rule *rules.Rule, t Target) (Receipt, error) {
	receipt, err := p.letIn(ctx, t)
	return receipt, sentence(rule, "enable", ErrCannotDisable, err)
}

func (p *postgres) letIn(ctx context.Context, t Target) (Receipt, error) {
	leaked, admin, err := p.meet(t)
	if err != nil {
		return Receipt{}, err
	}
	found, said, err := p.knock(ctx, leaked)
	switch {
	case err != nil:
		return Receipt{}, err
	case found == opens:
		return p.did(leaked, leaked.user, rules.MeansAccepted, said), nil
	case found != isShut:
		return Receipt{}, refusal("the role has another password by now, or none: " + said)
	}
	conn, err := p.administrate(ctx, admin)
	if err != nil {
		return Receipt{}, err
	}
	defer conn.Close(ctx)
	if _, err := conn.plain(ctx, leaked.user); err != nil {
		return Receipt{}, err
	}
	return p.did(leaked, leaked.user, rules.MeansAccepted, "LOGIN"), conn.do(ctx, "ALTER ROLE "+pgName(leaked.user)+" LOGIN")
}
