package provider

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/rules"
)

// mysqlServer takes leaked passwords out of use at a MariaDB or MySQL server, and adds
// others. An account may have several, of which each will do, and the leaked one is found
// by its hash. Which account of a name is meant is what the server said to the leaked
// password; accounts of the same name that come from elsewhere are left alone.
type mysqlServer struct{ administered }

func (s *mysqlServer) tell(*rules.Rule) Calls {
	without := "ALTER USER … with all but the leaked password, and KILL for the account's sessions"
	return Calls{
		Verify: s.logIn(), Disable: without, Revoke: without,
		Enable: "ALTER USER … with the leaked password as well",
		Issue:  "ALTER USER … with another password as well",
	}
}

func (s *mysqlServer) revoke(ctx context.Context, rule *rules.Rule, t Target) (Receipt, error) {
	receipt, err := s.takeAway(ctx, t, true)
	return receipt, sentence(rule, "revoke", ErrCannotRevoke, err)
}

func (s *mysqlServer) disable(ctx context.Context, rule *rules.Rule, t Target) (Receipt, error) {
	receipt, err := s.takeAway(ctx, t, false)
	return receipt, sentence(rule, "disable", ErrCannotDisable, err)
}

// A standing is what stands at an account for the leaked password. The least that is
// found counts, until the password is gone.
type standing int

const (
	counts   standing = iota // itself
	sessions                 // a mark, and sessions may be left that began with it
	quiet                    // another mark, and none are left
	gone                     // nothing
)

// A myLook is what was found of a leaked password: the one account that it is of, and
// what stands for it there.
type myLook struct {
	*myAdmin
	leaked  login
	account myAccount
	alike   []myAccount // the other accounts of the name, or of none
	state   standing
	known   map[myMethod]standing // since it is slow to find out
}

// look finds the account, also by another password if one is given.
func (s *mysqlServer) look(ctx context.Context, t Target, also ...string) (*myLook, error) {
	leaked, admin, err := s.meet(t)
	if err != nil {
		return nil, err
	}
	conn, err := s.administrate(ctx, admin)
	if err != nil {
		return nil, err
	}
	l := &myLook{myAdmin: conn, leaked: leaked, known: map[myMethod]standing{}}
	all, err := conn.product.accounts(ctx, conn, leaked.user)
	if err == nil {
		err = l.choose(all, t.Identity["user"], also)
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return l, nil
}

// choose finds the account by its password, and by its name and host where the server
// told them.
func (l *myLook) choose(all []myAccount, named string, also []string) error {
	if named != "" && !strings.HasPrefix(named, short(l.leaked.user+"@")) {
		return refusal("the server takes " + l.leaked.user + " for the account " + named + ": a person looks whose password it is")
	}
	var fit, opaque []myAccount
	for _, a := range all {
		switch {
		case a.user != l.leaked.user || named != "" && named != short(a.String()):
		case l.of(a) < gone || slices.ContainsFunc(also, a.is):
			fit = append(fit, a)
		case slices.ContainsFunc(a.methods, myMethod.opaque):
			opaque = append(opaque, a)
		}
	}
	switch {
	case len(fit) > 1:
		return refusal(fmt.Sprintf("several accounts have this password (%v), and which of them leaked is not known: verify the password first", fit))
	case len(fit) == 0 && len(opaque) > 0:
		return refusal(fmt.Sprintf("whether it is the password of %v cannot be told by what the server keeps of it: a person changes it", opaque))
	case len(fit) == 1:
		l.account = fit[0]
	}
	l.state = l.of(l.account)
	for _, a := range all {
		if a.user != l.account.user || a.host != l.account.host {
			l.alike = append(l.alike, a)
		}
	}
	return nil
}

// of is what stands for the leaked password at an account.
func (l *myLook) of(a myAccount) standing {
	least := gone
	for _, m := range a.methods {
		least = min(least, l.standing(m))
	}
	return least
}

func (l *myLook) standing(m myMethod) standing {
	s, known := l.known[m]
	switch {
	case known:
		return s
	case m == l.as(m, sessions):
		s = sessions
	case m == l.as(m, quiet):
		s = quiet
	case m.is(l.leaked.password):
		s = counts
	default:
		s = gone
	}
	l.known[m] = s
	return s
}

// as is what is to stand for the leaked password in a method's place.
func (l *myLook) as(m myMethod, s standing) myMethod {
	forSessions, forQuiet := marks(myHash(l.leaked.password))
	switch s {
	case sessions:
		return m.marked(forSessions)
	case quiet:
		return m.marked(forQuiet)
	}
	return m.with(l.leaked.password)
}

// takeAway takes the leaked password from its account and ends the account's sessions,
// also those that began with another of its passwords: the server does not tell them
// apart.
func (s *mysqlServer) takeAway(ctx context.Context, t Target, forGood bool) (Receipt, error) {
	l, err := s.look(ctx, t)
	if err != nil {
		return Receipt{}, err
	}
	defer l.Close()
	switch l.state {
	case gone:
		return s.did(l.leaked, l.leaked.user, rules.MeansAlreadyDead, "no account of this name has this password"), nil
	case counts:
		if err := l.exchange(ctx, sessions); err != nil {
			return Receipt{}, err
		}
	}
	if l.state == sessions {
		if err := l.end(ctx); err != nil {
			return Receipt{}, fmt.Errorf("the password is taken away from the account %s, and its sessions go on: %w", l.account, err)
		}
		if err := l.exchange(ctx, quiet); err != nil {
			return Receipt{}, err
		}
	}
	if forGood && len(l.account.methods) > 1 { // an account has one method at least
		if err := l.alter(ctx, l.instead()); err != nil {
			return Receipt{}, err
		}
	}
	answer := "password taken away, and no session is left"
	if others := l.sharing(); len(others) > 0 {
		answer += "; it is still that of " + strings.Join(others, ", ")
	}
	return s.did(l.leaked, l.account.String(), rules.MeansRevoked, answer), nil
}

// sharing names the accounts that have the leaked password as well.
func (l *myLook) sharing() (names []string) {
	for _, a := range l.alike {
		if a.user == l.leaked.user && a.is(l.leaked.password) {
			names = append(names, a.String())
		}
	}
	return names
}

// instead is the account's methods with others in place of those that stand for the
// leaked password.
func (l *myLook) instead(others ...myMethod) (list []myMethod) {
	for _, m := range l.account.methods {
		if l.standing(m) == gone {
			list = append(list, m)
			continue
		}
		list, others = append(list, others...), nil
	}
	return list
}

// exchange has something else stand for the leaked password.
func (l *myLook) exchange(ctx context.Context, next standing) error {
	i := slices.IndexFunc(l.account.methods, func(m myMethod) bool { return l.standing(m) == l.state })
	err := l.alter(ctx, l.instead(l.as(l.account.methods[i], next)))
	if err == nil {
		l.state = next
	}
	return err
}

func (l *myLook) alter(ctx context.Context, methods []myMethod) error {
	return l.product.alter(ctx, l.myAdmin, &l.account, methods)
}

// enable gives an account back what was taken away.
func (s *mysqlServer) enable(ctx context.Context, rule *rules.Rule, t Target) (Receipt, error) {
	receipt, err := s.giveBack(ctx, t)
	return receipt, sentence(rule, "enable", ErrCannotDisable, err)
}

func (s *mysqlServer) giveBack(ctx context.Context, t Target) (Receipt, error) {
	l, err := s.look(ctx, t)
	if err != nil {
		return Receipt{}, err
	}
	defer l.Close()
	switch l.state {
	case gone:
		err = refusal("the password was not taken away by Stanch, or for good")
	case sessions, quiet:
		err = l.exchange(ctx, counts)
	}
	return s.did(l.leaked, l.account.String(), rules.MeansAccepted, "the password counts again"), err
}

func (s *mysqlServer) prepare(_ context.Context, rule *rules.Rule, _ Target, _ string) (Prepared, error) {
	return Prepared{Draft: draft(rule)}, nil
}

// issue adds a password to the account's, so that both count until the leaked one is
// taken away.
func (s *mysqlServer) issue(ctx context.Context, rule *rules.Rule, r Request) (checks.Credential, error) {
	err := s.add(ctx, r)
	return replacement(r.Old.Credential, "", r.Prepared.Draft.Secret()), sentence(rule, "issue", ErrCannotIssue, err)
}

func (s *mysqlServer) add(ctx context.Context, r Request) error {
	next := r.Prepared.Draft.Secret().Expose()
	if next == "" {
		return refusal("nothing was prepared")
	}
	l, err := s.look(ctx, r.Old, next)
	if err != nil {
		return err
	}
	defer l.Close()
	switch {
	case l.account.is(next): // as an earlier request left it
		return nil
	case l.state == gone:
		return refusal("somebody has taken the leaked password away from the account already")
	}
	old := l.account.methods[slices.IndexFunc(l.account.methods, func(m myMethod) bool { return l.standing(m) == l.state })]
	if n := len(l.account.methods); l.state != counts && (n == 1 || n == l.product.most()) {
		return l.alter(ctx, l.instead(old.with(next)))
	}
	return l.alter(ctx, l.instead(old, old.with(next)))
}
