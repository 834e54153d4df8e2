package provider

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/rules"
)

// mongoServer takes leaked passwords out of use at a MongoDB server, and hands out other
// users.
//
// A user has one password, so that the replacement is another user with the same roles.
// A user owns nothing: one that is out of use for good is dropped. A user is of one
// database, and one of the same name in another database is somebody else.
type mongoServer struct{ administered }

func (s *mongoServer) tell(*rules.Rule) Calls {
	return Calls{
		Verify:  s.logIn(),
		Disable: "grantRolesToUser … " + mongoShut.String() + ", which lets nobody in, and killAllSessions of the user",
		Enable:  "revokeRolesFromUser … " + mongoShut.String(),
		Revoke:  "grantRolesToUser … " + mongoShut.String() + ", killAllSessions of the user, and dropUser",
		Issue:   "createUser …, with the roles of the old one; in place dropUser and createUser",
	}
}

// A mongoLook is what was found of a leaked password: the one user whose it is, or nobody.
type mongoLook struct {
	*mongoAdmin
	leaked login
	user   *mongoUser
	others []*mongoUser // of the name, with other passwords
}

// look finds the user by the password. Where the connection string does not say of which
// database the user is, the server did when the password was verified.
func (s *mongoServer) look(ctx context.Context, t Target) (*mongoLook, error) {
	leaked, admin, err := s.meet(t)
	if err != nil {
		return nil, err
	}
	dbs, err := mongoDatabases(leaked, t.Identity)
	if err != nil {
		return nil, err
	}
	conn, err := s.administrate(ctx, admin)
	if err != nil {
		return nil, err
	}
	l := &mongoLook{mongoAdmin: conn, leaked: leaked}
	if err := l.find(ctx, dbs); err != nil {
		hangUp(ctx, conn.Client)
		return nil, err
	}
	return l, nil
}

// mongoDatabases are those of which the user of a connection string may be.
func mongoDatabases(leaked login, identity map[string]string) ([]string, error) {
	dbs := []string{"admin"}
	switch source := leaked.settings["authsource"]; {
	case leaked.scheme == "mongodb+srv":
		return nil, refusal("the connection string names no server, but a name that stands for several, as Atlas' do: a person changes the password, at Atlas in Atlas")
	case source != "":
		dbs = []string{source}
	case leaked.database != "" && leaked.database != "admin":
		dbs = []string{leaked.database, "admin"}
	}
	if named := identity["database"]; identity["username"] == leaked.user && slices.Contains(dbs, named) {
		dbs = []string{named}
	}
	if slices.Contains(dbs, "$external") {
		return nil, refusal("the server does not keep this password, but looks it up elsewhere ($external): a person changes it there")
	}
	return dbs, nil
}

// find takes the first that fits, as a client that follows the connection string does.
func (l *mongoLook) find(ctx context.Context, dbs []string) error {
	for n, db := range dbs {
		u, err := l.mongoAdmin.user(ctx, l.leaked.user, db)
		switch {
		case n > 0 && isRefusal(err):
			// Whom Stanch may not look up, it has not kept out either: he would get in.
			if tryMongoUser(ctx, l.leaked, db).validity != checks.Inactive {
				return err
			}
		case err != nil:
			return err
		case u == nil:
		case u.has(l.leaked.password):
			l.user = u
			return nil
		default:
			l.others = append(l.others, u)
		}
	}
	return nil
}

// gone says why nobody has the password.
func (l *mongoLook) gone() string {
	if len(l.others) == 0 {
		return "there is no user of this name"
	}
	text := "the user has another password; connections that were logged in before stay so until they close"
	for _, u := range l.others {
		if u.shut() {
			text += "; " + u.String() + " is kept out by the role " + mongoShut.String() + " still, which somebody has to revoke"
		}
	}
	return text
}

func (s *mongoServer) revoke(ctx context.Context, rule *rules.Rule, t Target) (Receipt, error) {
	receipt, err := s.shut(ctx, t, true)
	return receipt, sentence(rule, "revoke", ErrCannotRevoke, err)
}

func (s *mongoServer) disable(ctx context.Context, rule *rules.Rule, t Target) (Receipt, error) {
	receipt, err := s.shut(ctx, t, false)
	return receipt, sentence(rule, "disable", ErrCannotDisable, err)
}

// shut keeps a user out whose password has leaked, ends what it is doing, and, for good,
// drops it. Only the password that leaked counts: a user that has another one by now is
// left alone. Every step may be repeated.
func (s *mongoServer) shut(ctx context.Context, t Target, forGood bool) (Receipt, error) {
	l, err := s.look(ctx, t)
	if err != nil {
		return Receipt{}, err
	}
	defer hangUp(ctx, l.Client)
	u := l.user
	if u == nil {
		return s.did(l.leaked, l.leaked.user, rules.MeansAlreadyDead, l.gone()), nil
	}
	if !u.shut() {
		if err := l.role(ctx, u, "grantRolesToUser"); err != nil {
			return Receipt{}, err
		}
	}
	if still, err := l.stillLeaked(ctx, !u.shut()); err != nil || !still {
		return s.did(l.leaked, u.String(), rules.MeansAlreadyDead, "its password was changed meanwhile"), err
	}
	if err := l.end(ctx, u); err != nil {
		return Receipt{}, fmt.Errorf("the user %s is kept out, and what it is doing goes on: %w", u, indefinite(err))
	}
	if !forGood {
		return s.did(l.leaked, u.String(), rules.MeansRevoked, "kept out by the role "+mongoShut.String()+", and what it was doing ended"), nil
	}
	var said *mongoError
	if err := l.do(ctx, u.DB, "dropUser", u.User); err != nil && (!errors.As(err, &said) || said.code != mongoUserNotFound) {
		return Receipt{}, fmt.Errorf("the user %s is kept out, and not dropped: %w", u, err)
	}
	return s.did(l.leaked, u.String(), rules.MeansRevoked, "dropped, and what it was doing ended; its roles were "+rolesText(u.open())), nil
}

// role grants or revokes the role that keeps out.
func (l *mongoLook) role(ctx context.Context, u *mongoUser, command string) error {
	return l.do(ctx, u.DB, command, u.User, bson.E{Key: "roles", Value: []mongoRole{mongoShut}})
}

func (l *mongoLook) end(ctx context.Context, u *mongoUser) error {
	return l.do(ctx, "admin", "killAllSessions", bson.A{bson.D{{Key: "user", Value: u.User}, {Key: "db", Value: u.DB}}})
}

// stillLeaked looks again, now that the user is kept out: if its password was changed at
// that very moment, it is let in again by whom it was kept out. So it is if the role
// keeps nobody out.
func (l *mongoLook) stillLeaked(ctx context.Context, byUs bool) (bool, error) {
	knock := tryMongoUser(ctx, l.leaked, l.user.DB)
	u, err := l.mongoAdmin.user(ctx, l.user.User, l.user.DB)
	var why error
	switch {
	case err != nil:
		return true, err
	case u == nil:
		return false, nil
	case knock.validity == checks.Unknown:
		return true, fmt.Errorf("the user %s has the role %s, and to its password the server says: %s", u, mongoShut, knock.answer)
	case u.has(l.leaked.password) && knock.validity == checks.Inactive:
		return true, nil
	case u.has(l.leaked.password):
		why = refusal("the role " + mongoShut.String() + " keeps nobody out; drop it, and " + string(makeShut))
	}
	if byUs {
		if err := l.role(ctx, u, "revokeRolesFromUser"); err != nil {
			return true, indefinite(err)
		}
	}
	return false, why
}

// enable lets a user in again that was kept out, if it has its password still.
func (s *mongoServer) enable(ctx context.Context, rule *rules.Rule, t Target) (Receipt, error) {
	receipt, err := s.letIn(ctx, t)
	return receipt, sentence(rule, "enable", ErrCannotDisable, err)
}

func (s *mongoServer) letIn(ctx context.Context, t Target) (Receipt, error) {
	l, err := s.look(ctx, t)
	if err != nil {
		return Receipt{}, err
	}
	defer hangUp(ctx, l.Client)
	switch {
	case l.user == nil:
		return Receipt{}, refusal(l.gone())
	case l.user.shut():
		err = l.role(ctx, l.user, "revokeRolesFromUser")
	}
	return s.did(l.leaked, l.user.String(), rules.MeansAccepted, "has no role any more that keeps it out"), err
}

// open are the user's roles without the one that keeps out.
func (u *mongoUser) open() []mongoRole {
	return slices.DeleteFunc(slices.Clone(u.Roles), func(r mongoRole) bool { return r == mongoShut })
}

func rolesText(roles []mongoRole) string {
	texts := []string{"none"}
	for i, r := range roles {
		texts = append(texts[:i], r.String())
	}
	return strings.Join(texts, ", ")
}
