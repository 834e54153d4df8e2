package servertest

import (
	"slices"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// builtIn are MongoDB's own roles, of any database, that tests use.
var builtIn = []string{"read", "readWrite", "dbAdmin", "root"}

// obey carries out a command of somebody who may give it.
func (c *mongoConn) obey(m MongoMessage) ([]byte, error) {
	f, key := c.front, m.db()+"."+m.name()
	switch m.command() {
	case "createUser", "dropUser", "updateUser":
		return c.changeUser(m, key)
	case "usersInfo":
		return c.usersInfo(m)
	case "grantRolesToUser", "revokeRolesFromUser":
		account, named := f.users[key], m.roleNames()
		switch {
		case account == nil:
			return m.Answered(MongoFault(11, "Could not find user")), nil
		case f.unknown(named):
			return m.Answered(MongoFault(31, "Could not find role")), nil
		}
		account.roles = slices.DeleteFunc(slices.Clone(account.roles), func(r MongoRole) bool { return slices.Contains(named, r) })
		if m.command() == "grantRolesToUser" {
			account.roles = append(account.roles, named...)
		}
	case "createRole", "grantPrivilegesToRole", "dropRole":
		return m.Answered(f.changeRole(m)), nil
	case "killAllSessions":
		return m.Answered(c.kill(m)), nil
	default:
		answer, err := c.ask(m.whole)
		return answer.whole, err
	}
	return m.Answered(bson.D{{Key: "ok", Value: 1}}), nil
}

func (f *mongoFront) unknown(roles []MongoRole) bool {
	return slices.ContainsFunc(roles, func(r MongoRole) bool { return f.roles[r] == nil && !slices.Contains(builtIn, r.Role) })
}

// changeUser has FerretDB keep the password, and keeps the rest.
func (c *mongoConn) changeUser(m MongoMessage, key string) ([]byte, error) {
	account := &mongoAccount{key: key, name: m.name(), db: m.db(), roles: m.roleNames(), customData: m.Body.Lookup("customData")}
	var restricted struct {
		By []mongoRestriction `bson:"authenticationRestrictions"`
	}
	if err := bson.Unmarshal(m.Body, &restricted); err != nil {
		return nil, err
	}
	account.restrictions = restricted.By
	if c.front.unknown(account.roles) {
		return m.Answered(MongoFault(31, "Could not find role")), nil
	}
	answer, err := c.ask(m.passed("pwd", "mechanisms"))
	if err != nil || !answer.ok() {
		return answer.whole, err
	}
	switch m.command() {
	case "createUser":
		c.front.users[key] = account
	case "dropUser":
		delete(c.front.users, key)
	}
	return answer.whole, nil
}

// usersInfo adds what is kept here to what FerretDB keeps of a user.
func (c *mongoConn) usersInfo(m MongoMessage) ([]byte, error) {
	answer, err := c.ask(m.passed("showCredentials"))
	if err != nil || !answer.ok() {
		return answer.whole, err
	}
	var got struct{ Users []bson.D }
	if err := bson.Unmarshal(answer.Body, &got); err != nil {
		return nil, err
	}
	restricted, _ := m.Body.Lookup("showAuthenticationRestrictions").BooleanOK()
	for n, u := range got.Users {
		id, _ := lookup(u, "_id").(string)
		account := c.front.users[id]
		if account == nil {
			continue
		}
		u = slices.DeleteFunc(u, func(e bson.E) bool { return e.Key == "roles" })
		u = append(u, bson.E{Key: "roles", Value: account.roles})
		if !account.customData.IsZero() {
			u = append(u, bson.E{Key: "customData", Value: account.customData})
		}
		if restricted {
			list := account.restrictions
			if list == nil {
				list = []mongoRestriction{}
			}
			u = append(u, bson.E{Key: "authenticationRestrictions", Value: list})
		}
		got.Users[n] = u
	}
	return m.Answered(bson.D{{Key: "users", Value: got.Users}, {Key: "ok", Value: 1}}), nil
}

func lookup(d bson.D, key string) any {
	for _, e := range d {
		if e.Key == key {
			return e.Value
		}
	}
	return nil
}

// changeRole keeps a role.
func (f *mongoFront) changeRole(m MongoMessage) bson.D {
	name := MongoRole{m.name(), m.db()}
	var role mongoRole
	if m.command() != "dropRole" {
		if err := bson.Unmarshal(m.Body, &role); err != nil {
			return MongoFault(9, err.Error())
		}
	}
	switch known := f.roles[name]; {
	case m.command() == "createRole" && known == nil:
		f.roles[name] = &role
	case m.command() == "createRole":
		return MongoFault(51002, "there is such a role")
	case known == nil:
		return MongoFault(31, "Could not find role")
	case m.command() == "dropRole":
		delete(f.roles, name)
		for _, account := range f.users {
			account.roles = slices.DeleteFunc(slices.Clone(account.roles), func(r MongoRole) bool { return r == name })
		}
	default:
		known.Privileges = append(known.Privileges, role.Privileges...)
	}
	return bson.D{{Key: "ok", Value: 1}}
}
