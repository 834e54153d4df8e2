package provider

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/rules"
)

// mysqlServer takes leaked passwords out of use at a MariaDB server, and adds others. An
// account may have several, of which each will do, and the leaked one is found by its
// hash. Which account of a name is meant is what the server said to the leaked password;
// accounts of the same name that come from elsewhere are left alone.
type mysqlServer struct{ administered }

func (s *mysqlServer) revoke(ctx context.Context, rule *rules.Rule, t Target) (Receipt, error) {
	receipt, err := s.takeAway(ctx, t, true)
	return receipt, sentence(rule, "revoke", ErrCannotRevoke, err)
}

func (s *mysqlServer) disable(ctx context.Context, rule *rules.Rule, t Target) (Receipt, error) {
	receipt, err := s.takeAway(ctx, t, false)
	return receipt, sentence(rule, "disable", ErrCannotDisable, err)
}

// A myLook is what was found of a leaked password: the one account that it is of, unless
// the account has it no more, and its hashes.
type myLook struct {
	*myAdmin
	leaked     login
	account    myAccount
	alike      []myAccount // the other accounts of the name, or of none
	hash, tomb string
}

// look finds the account, also by another hash if one is named.
func (s *mysqlServer) look(ctx context.Context, t Target, also ...string) (*myLook, error) {
	leaked, admin, err := s.meet(t)
	if err != nil {
		return nil, err
	}
	conn, err := s.administrate(ctx, admin)
	if err != nil {
		return nil, err
	}
	l := &myLook{myAdmin: conn, leaked: leaked, hash: myHash(leaked.password)}
	l.tomb = myTomb(l.hash)
	all, err := conn.accounts(ctx, leaked.user)
	if err == nil {
		err = l.choose(all, t.Identity["user"], append(also, l.hash, l.tomb))
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return l, nil
}

// choose finds the account by its password, and by its name and host where the server
// told them.
func (l *myLook) choose(all []myAccount, named string, hashes []string) error {
	var fit []myAccount
	for _, a := range all {
		if a.user == l.leaked.user && slices.ContainsFunc(hashes, a.has) && (named == "" || named == a.String()) {
			fit = append(fit, a)
		}
	}
	switch {
	case len(fit) > 1:
		return refusal(fmt.Sprintf("several accounts have this password (%v), and which of them leaked is not known: verify the password first", fit))
	case len(fit) == 1:
		l.account = fit[0]
	}
	for _, a := range all {
		if a.user != l.account.user || a.host != l.account.host {
			l.alike = append(l.alike, a)
		}
	}
	return nil
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
	a := l.account
	switch {
	case a.has(l.hash):
		if err := l.alter(ctx, a, exchanged(a.methods, l.hash, l.tomb)); err != nil {
			return Receipt{}, err
		}
	case !a.has(l.tomb):
		return s.did(l.leaked, l.leaked.user, rules.MeansAlreadyDead, "no account of this name has this password"), nil
	}
	if err := l.end(ctx); err != nil {
		return Receipt{}, fmt.Errorf("the password is taken away from the account %s, and its sessions go on: %w", a, err)
	}
	if rest := exchanged(exchanged(a.methods, l.hash, ""), l.tomb, ""); forGood && len(rest) > 0 {
		if err := l.alter(ctx, a, rest); err != nil {
			return Receipt{}, err
		}
	}
	answer := "password taken away, and no session is left"
	if others := l.sharing(); len(others) > 0 {
		answer += "; it is still that of " + strings.Join(others, ", ")
	}
	return s.did(l.leaked, a.String(), rules.MeansRevoked, answer), nil
}

// sharing names the accounts that have the leaked password as well.
func (l *myLook) sharing() (names []string) {
	for _, a := range l.alike {
		if a.user == l.leaked.user && a.has(l.hash) {
			names = append(names, a.String())
		}
	}
	return names
}

// exchanged is a list of methods with another password in the place of one, or with none
// there.
func exchanged(methods []myMethod, was, is string) []myMethod {
	list := slices.Clone(methods)
	if i := slices.Index(list, myMethod{myPassword, was}); i >= 0 {
		if is == "" {
			return slices.Delete(list, i, i+1)
		}
		list[i].Text = is
	}
	return list
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
	a := l.account
	switch {
	case a.has(l.tomb):
		err = l.alter(ctx, a, exchanged(a.methods, l.tomb, l.hash))
	case !a.has(l.hash):
		err = refusal("the password was not taken away by Stanch, or for good")
	}
	return s.did(l.leaked, a.String(), rules.MeansAccepted, "the password counts again"), err
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
	next := myHash(r.Prepared.Draft.Secret().Expose())
	l, err := s.look(ctx, r.Old, next)
	if err != nil {
		return err
	}
	defer l.Close()
	methods := l.account.methods
	switch {
	case r.Prepared.Draft.Secret().Len() == 0:
		return refusal("nothing was prepared")
	case l.account.has(next): // as an earlier request left it
		return nil
	case len(methods) == 0:
		return refusal("somebody has taken the leaked password away from the account already")
	case len(methods) == 1 && l.account.has(l.tomb):
		methods = nil
	}
	return l.alter(ctx, l.account, append(slices.Clone(methods), myMethod{myPassword, next}))
}
