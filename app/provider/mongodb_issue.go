package provider

import (
	"context"
	"fmt"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/rules"
)

// What Prepared.Seen tells besides of a user who takes over, or is made anew.
const (
	seenDatabase = "database" // the one that the user is of
	seenLike     = "like"     // what it has, beside its password
)

// mongoLike is what one user has like another.
type mongoLike struct {
	Roles                      []mongoRole   `bson:"roles"`
	Mechanisms                 []string      `bson:"mechanisms,omitempty"`
	CustomData                 bson.Raw      `bson:"customData,omitempty"`
	AuthenticationRestrictions bson.RawValue `bson:"authenticationRestrictions,omitempty"`
}

// prepare makes the password, chooses a name, and records what the user has: in place it
// is dropped before it is made anew. What is refused here issue refuses again, and it is
// asked next.
func (s *mongoServer) prepare(ctx context.Context, rule *rules.Rule, t Target, operation string) (Prepared, error) {
	prepared := Prepared{Draft: draft(rule)}
	l, err := s.look(ctx, t)
	if isRefusal(err) {
		return prepared, nil
	}
	if err != nil {
		return Prepared{}, sentence(rule, "prepare", ErrCannotIssue, err)
	}
	defer hangUp(ctx, l.Client)
	if l.user == nil {
		return prepared, nil
	}
	like, err := l.user.like()
	prepared.Seen = map[string]string{
		seenUser: otherName(otherSuffix.ReplaceAllString(l.user.User, ""), operation), seenDatabase: l.user.DB, seenLike: like,
	}
	return prepared, err
}

// like is what the user has, as text.
func (u *mongoUser) like() (string, error) {
	kept := mongoLike{Roles: u.open(), Mechanisms: u.Mechanisms, CustomData: u.CustomData}
	if list, ok := u.AuthenticationRestrictions.ArrayOK(); ok {
		if values, err := list.Values(); err == nil && len(values) > 0 {
			kept.AuthenticationRestrictions = u.AuthenticationRestrictions
		}
	}
	if kept.Roles == nil {
		kept.Roles = []mongoRole{}
	}
	text, err := bson.MarshalExtJSON(kept, true, false)
	return string(text), err
}

// holds names a user and those that take over from it.
func (s *mongoServer) holds(_ *rules.Rule, t Target) string {
	l, why := s.login(t.Credential)
	if why != "" {
		return ""
	}
	l.user = sharedName(l.user)
	return s.userAt(l)
}

// issue has another user take over, or, in place, makes the same one anew with another
// password.
func (s *mongoServer) issue(ctx context.Context, rule *rules.Rule, r Request) (checks.Credential, error) {
	fresh, err := s.replace(ctx, r)
	return fresh, sentence(rule, "issue", ErrCannotIssue, err)
}

func (s *mongoServer) replace(ctx context.Context, r Request) (checks.Credential, error) {
	l, err := s.look(ctx, r.Old)
	if err != nil {
		return checks.Credential{}, err
	}
	defer hangUp(ctx, l.Client)
	secret, seen := r.Prepared.Draft.Secret(), r.Prepared.Seen
	next := l.leaked
	next.password, next.user = secret.Expose(), seen[seenUser]
	switch {
	case secret.Len() == 0 || seen[seenUser] == "" && l.user != nil:
		return checks.Credential{}, refusal("nothing was prepared")
	case seen[seenUser] == "":
		return checks.Credential{}, refusal(l.gone())
	case r.InPlace:
		next.user = l.leaked.user
		return replacement(r.Old.Credential, "", secret), s.anew(ctx, l, next, r)
	}
	return replacement(r.Old.Credential, next.user, secret), s.takeOver(ctx, l, next, seen)
}

// takeOver makes another user with the same roles. What an earlier request did is found
// by the password, which only Stanch knows.
func (s *mongoServer) takeOver(ctx context.Context, l *mongoLook, next login, seen map[string]string) error {
	u, err := l.mongoAdmin.user(ctx, next.user, seen[seenDatabase])
	switch {
	case err != nil:
		return err
	case u != nil && u.has(next.password):
		return nil
	case u != nil:
		return refusal("a user " + u.String() + " is in use by somebody")
	case l.user == nil:
		return refusal(l.gone())
	}
	like, err := l.user.like()
	if err != nil {
		return err
	}
	if err := l.create(ctx, next, l.user.DB, like); err != nil {
		return err
	}
	knock := tryMongoUser(ctx, next, l.user.DB)
	switch knock.validity {
	case checks.Active:
		return nil
	case checks.Unknown:
		return fmt.Errorf("log in to MongoDB at %s as the user that takes over: %s", l.at, knock.answer)
	}
	if err := l.do(ctx, l.user.DB, "dropUser", next.user); err != nil {
		return fmt.Errorf("the server does not let the user %s in (%s), which is to be dropped: %w", next.user, knock.answer, indefinite(err))
	}
	return refusal("the server does not let another user in (" + knock.answer + "), which was dropped again")
}

// anew drops a user and makes it again: so those are out who logged in before, which a
// change of the password would not see to.
func (s *mongoServer) anew(ctx context.Context, l *mongoLook, next login, r Request) error {
	db := r.Prepared.Seen[seenDatabase]
	u, err := l.mongoAdmin.user(ctx, next.user, db)
	switch {
	case err != nil:
		return err
	case u != nil && u.has(next.password):
		return nil
	case u == nil && !r.Again:
		return refusal(l.gone())
	case u == nil: // an earlier request dropped it
	case l.user == nil || l.user.DB != db:
		return refusal("somebody gave the user another password already")
	default:
		if err := l.end(ctx, u); err != nil {
			return err
		}
		if err := l.do(ctx, db, "dropUser", u.User); err != nil {
			return err
		}
	}
	if err := l.create(ctx, next, db, r.Prepared.Seen[seenLike]); err != nil {
		return fmt.Errorf("the user %s@%s was dropped and is not made again, with %s: %w", next.user, db, r.Prepared.Seen[seenLike], indefinite(err))
	}
	return nil
}

// create makes a user like another. There is no way to tell the server less than the
// password; it leaves it out of its log.
// https://www.mongodb.com/docs/manual/reference/command/createUser/
func (l *mongoLook) create(ctx context.Context, next login, db, like string) error {
	var fields bson.D
	if err := bson.UnmarshalExtJSON([]byte(like), true, &fields); err != nil {
		return fmt.Errorf("what the user %s@%s had is not legible any more", next.user, db)
	}
	return l.do(ctx, db, "createUser", next.user, append(bson.D{{Key: "pwd", Value: next.password}}, fields...)...)
}
