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

func (s *mysqlServer) tell(*rules.Rule) Calls {
	without := "ALTER USER … IDENTIFIED VIA all but the leaked password, and KILL for the account's sessions"
	return Calls{
		Verify: s.logIn(), Disable: without, Revoke: without,
		Enable: "ALTER USER … IDENTIFIED VIA the leaked password as well",
		Issue:  "ALTER USER … IDENTIFIED VIA another password as well",
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

// A myLook is what was found of a leaked password: the one account that it is of, and the
// hash that stands for it there, its own or a mark, or none.
type myLook struct {
	*myAdmin
	leaked                login
	account               myAccount
	alike                 []myAccount // the other accounts of the name, or of none
	hash, sessions, quiet string
	state                 string
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
	l.sessions, l.quiet = myMarks(l.hash)
	all, err := conn.accounts(ctx, leaked.user)
	if err == nil {
		err = l.choose(all, t.Identity["user"], append(also, l.hash, l.sessions, l.quiet))
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
	for _, state := range []string{l.quiet, l.sessions, l.hash} { // the last one counts
		if l.account.has(state) {
			l.state = state
		}
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
	switch l.state {
	case "":
		return s.did(l.leaked, l.leaked.user, rules.MeansAlreadyDead, "no account of this name has this password"), nil
	case l.hash:
		if err := l.exchange(ctx, l.sessions); err != nil {
			return Receipt{}, err
		}
	}
	if l.state == l.sessions {
		if err := l.end(ctx); err != nil {
			return Receipt{}, fmt.Errorf("the password is taken away from the account %s, and its sessions go on: %w", l.account, err)
		}
		if err := l.exchange(ctx, l.quiet); err != nil {
			return Receipt{}, err
		}
	}
	if forGood && len(l.account.methods) > 1 { // an account has one method at least
		if err := l.exchange(ctx, ""); err != nil {
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
		if a.user == l.leaked.user && a.has(l.hash) {
			names = append(names, a.String())
		}
	}
	return names
}

// exchange puts another hash in the place of the one that stands for the leaked password,
// or takes it away.
func (l *myLook) exchange(ctx context.Context, next string) error {
	list := slices.Clone(l.account.methods)
	switch i := slices.Index(list, myMethod{myPassword, l.state}); {
	case next == "":
		list = slices.Delete(list, i, i+1)
	default:
		list[i].Text = next
	}
	err := l.alter(ctx, l.account, list)
	if err == nil {
		l.account.methods, l.state = list, next
	}
	return err
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
	case "":
		err = refusal("the password was not taken away by Stanch, or for good")
	case l.sessions, l.quiet:
		err = l.exchange(ctx, l.hash)
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
	next := myHash(r.Prepared.Draft.Secret().Expose())
	l, err := s.look(ctx, r.Old, next)
	if err != nil {
		return err
	}
	defer l.Close()
	switch {
	case r.Prepared.Draft.Secret().Len() == 0:
		return refusal("nothing was prepared")
	case l.account.has(next): // as an earlier request left it
		return nil
	case l.state == "":
		return refusal("somebody has taken the leaked password away from the account already")
	case l.state != l.hash && len(l.account.methods) == 1:
		return l.exchange(ctx, next)
	}
	return l.alter(ctx, l.account, append(slices.Clone(l.account.methods), myMethod{myPassword, next}))
}
