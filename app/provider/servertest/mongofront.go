package servertest

import (
	"encoding/binary"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// A mongoFront does what FerretDB does not, as MongoDB's manual has it: it keeps roles
// with privileges and authentication restrictions, asks at every command whether whoever
// logged in may still be there, refuses what he was not granted, and kills sessions.
// https://www.mongodb.com/docs/manual/reference/privilege-actions/
type mongoFront struct {
	upstream string
	mu       sync.Mutex
	users    map[string]*mongoAccount // "database.name"; another one of the name is another one
	roles    map[MongoRole]*mongoRole
	running  []mongoOperation
}

// A MongoRole is the name of a role.
type MongoRole struct {
	Role string `bson:"role"`
	DB   string `bson:"db"`
}

type mongoAccount struct {
	key, name, db string
	roles         []MongoRole
	customData    bson.RawValue
	restrictions  []mongoRestriction
}

type mongoRestriction struct {
	ClientSource []string `bson:"clientSource"`
}

// A mongoRole is one that somebody made.
type mongoRole struct {
	Privileges []struct {
		Resource struct {
			DB      string `bson:"db"`
			Cluster bool   `bson:"cluster"`
		} `bson:"resource"`
		Actions []string `bson:"actions"`
	} `bson:"privileges"`
	Restrictions []mongoRestriction `bson:"authenticationRestrictions"`
}

type mongoOperation struct {
	account *mongoAccount
	killed  chan struct{}
}

// A mongoConn is a client's connection, with the one to FerretDB.
type mongoConn struct {
	front   *mongoFront
	up      net.Conn
	from    net.Addr
	account *mongoAccount // who logged in
}

// ask passes a command on.
func (c *mongoConn) ask(m []byte) (answer MongoMessage, err error) {
	if _, err := c.up.Write(m); err != nil {
		return answer, err
	}
	return ReadMongo(c.up)
}

func (m MongoMessage) ok() bool {
	n, _ := m.Body.Lookup("ok").AsFloat64OK()
	return n == 1
}

func (c *mongoConn) answer(m MongoMessage) ([]byte, error) {
	switch command := m.command(); command {
	case "hello", "isMaster", "ismaster", "ping", "saslStart", "endSessions":
		answer, err := c.ask(m.whole)
		return answer.whole, err
	case "saslContinue":
		return c.logIn(m)
	case "sleep":
		return m.Answered(c.sleep()), nil
	default:
		c.front.mu.Lock()
		defer c.front.mu.Unlock()
		if c.account != nil && (c.front.users[c.account.key] != c.account || !c.front.admits(c.account, c.from)) {
			c.account = nil
		}
		switch {
		case command == "connectionStatus":
			return m.Answered(c.status()), nil
		case c.account == nil:
			return m.Answered(MongoFault(13, "Command "+command+" requires authentication")), nil
		case !c.may(m):
			return m.Answered(MongoFault(13, "not authorized on "+m.db()+" to execute command")), nil
		}
		return c.obey(m)
	}
}

// logIn lets in whom FerretDB lets in, if the restrictions do.
func (c *mongoConn) logIn(m MongoMessage) ([]byte, error) {
	answer, err := c.ask(m.whole)
	if done, _ := answer.Body.Lookup("done").BooleanOK(); err != nil || !answer.ok() || !done {
		return answer.whole, err
	}
	asked := MongoMessage{}.Answered(bson.D{{Key: "connectionStatus", Value: 1}, {Key: "$db", Value: "admin"}})
	who, err := c.ask(asked)
	if err != nil {
		return nil, err
	}
	user, _ := who.Body.Lookup("authInfo", "authenticatedUsers", "0", "user").StringValueOK()
	db, _ := who.Body.Lookup("authInfo", "authenticatedUsers", "0", "db").StringValueOK()
	c.front.mu.Lock()
	defer c.front.mu.Unlock()
	account := c.front.users[db+"."+user]
	if account == nil || !c.front.admits(account, c.from) {
		return m.Answered(MongoFault(18, "Authentication failed.")), nil
	}
	account.key, account.name, account.db = db+"."+user, user, db
	c.account = account
	return answer.whole, nil
}

// admits asks one of the user's restrictions to be met, and one of each of his roles'.
func (f *mongoFront) admits(a *mongoAccount, from net.Addr) bool {
	addr := from.(*net.TCPAddr).AddrPort().Addr().Unmap()
	all := [][]mongoRestriction{a.restrictions}
	for _, r := range a.roles {
		if role := f.roles[r]; role != nil {
			all = append(all, role.Restrictions)
		}
	}
	for _, any := range all {
		met := func(r mongoRestriction) bool {
			return slices.ContainsFunc(r.ClientSource, func(source string) bool {
				if one, err := netip.ParseAddr(source); err == nil {
					return one == addr
				}
				network, err := netip.ParsePrefix(source)
				return err == nil && network.Contains(addr)
			})
		}
		if len(any) > 0 && !slices.ContainsFunc(any, met) {
			return false
		}
	}
	return true
}

func (c *mongoConn) status() bson.D {
	users, roles := bson.A{}, []MongoRole{}
	if c.account != nil {
		users, roles = bson.A{bson.D{{Key: "user", Value: c.account.name}, {Key: "db", Value: c.account.db}}}, c.account.roles
	}
	return bson.D{{Key: "ok", Value: 1}, {Key: "authInfo", Value: bson.D{{Key: "authenticatedUsers", Value: users}, {Key: "authenticatedUserRoles", Value: roles}}}}
}

// A mongoNeed is an action on a database, or, where that is empty, on the cluster.
type mongoNeed struct{ action, db string }

// needs is what a command asks to have been granted, as its page in the manual says.
func (m MongoMessage) needs() (all []mongoNeed) {
	db := m.db()
	onRoles := func(action string) {
		for _, r := range m.roleNames() {
			all = append(all, mongoNeed{action, r.DB})
		}
	}
	switch m.command() {
	case "usersInfo":
		of, _ := m.Body.Lookup("usersInfo", "db").StringValueOK()
		return []mongoNeed{{"viewUser", of}}
	case "createUser":
		onRoles("grantRole")
		if _, err := m.Body.LookupErr("authenticationRestrictions"); err == nil {
			all = append(all, mongoNeed{"setAuthenticationRestriction", db})
		}
		return append(all, mongoNeed{"createUser", db})
	case "dropUser":
		return []mongoNeed{{"dropUser", db}}
	case "updateUser":
		return []mongoNeed{{"changePassword", db}}
	case "grantRolesToUser":
		onRoles("grantRole")
	case "revokeRolesFromUser":
		onRoles("revokeRole")
	case "createRole", "grantPrivilegesToRole", "dropRole":
		return []mongoNeed{{"createRole", db}, {"grantRole", db}}
	case "killAllSessions":
		return []mongoNeed{{"killAnySession", ""}}
	}
	return all
}

func (m MongoMessage) roleNames() []MongoRole {
	var named struct{ Roles []MongoRole }
	if err := bson.Unmarshal(m.Body, &named); err != nil {
		return nil
	}
	return named.Roles
}

func (c *mongoConn) may(m MongoMessage) bool {
	if slices.Contains(c.account.roles, MongoRole{"root", "admin"}) {
		return true
	}
	granted := func(n mongoNeed) bool {
		for _, r := range c.account.roles {
			role := c.front.roles[r]
			for i := 0; role != nil && i < len(role.Privileges); i++ {
				p := role.Privileges[i]
				if p.Resource.DB == n.db && p.Resource.Cluster == (n.db == "") && slices.Contains(p.Actions, n.action) {
					return true
				}
			}
		}
		return false
	}
	return !slices.ContainsFunc(m.needs(), func(n mongoNeed) bool { return !granted(n) })
}

// sleep is something that takes long, unless its session is killed.
func (c *mongoConn) sleep() bson.D {
	o := mongoOperation{c.account, make(chan struct{})}
	c.front.mu.Lock()
	c.front.running = append(c.front.running, o)
	c.front.mu.Unlock()
	select {
	case <-o.killed:
		return MongoFault(11601, "operation was interrupted")
	case <-time.After(20 * time.Second):
		return bson.D{{Key: "ok", Value: 1}}
	}
}

// Running counts what a user of a database is doing.
func (s *MongoDB) Running(db, name string) (n int) {
	s.front.mu.Lock()
	defer s.front.mu.Unlock()
	for _, o := range s.front.running {
		if o.account != nil && o.account.key == db+"."+name {
			n++
		}
	}
	return n
}

func (c *mongoConn) kill(m MongoMessage) bson.D {
	var of struct {
		Whose []struct{ User, DB string } `bson:"killAllSessions"`
	}
	if err := bson.Unmarshal(m.Body, &of); err != nil || len(of.Whose) == 0 {
		return MongoFault(9, "everybody's sessions, which no test asks for")
	}
	for _, who := range of.Whose {
		c.front.running = slices.DeleteFunc(c.front.running, func(o mongoOperation) bool {
			killed := o.account != nil && o.account.key == who.DB+"."+who.User
			if killed {
				close(o.killed)
			}
			return killed
		})
	}
	return bson.D{{Key: "ok", Value: 1}}
}

// passed is a command as it is passed on: with the fields of those that FerretDB knows.
func (m MongoMessage) passed(fields ...string) []byte {
	command := bson.D{{Key: m.command(), Value: m.Body.Lookup(m.command())}}
	for _, field := range append(fields, "$db") {
		if value, err := m.Body.LookupErr(field); err == nil {
			command = append(command, bson.E{Key: field, Value: value})
		}
	}
	if m.command() == "createUser" {
		command = append(command, bson.E{Key: "roles", Value: bson.A{}})
	}
	out := MongoMessage{}.Answered(command)
	binary.LittleEndian.PutUint32(out[4:], m.ID)
	return out
}
