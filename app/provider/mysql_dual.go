package provider

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/stanch-dev/stanch/app/grants"
)

// twoPasswords is MySQL, which lets an account have two at most: its own, the first of
// the methods, and an old one that was retained. Either will do. Both are of one plugin.
// https://dev.mysql.com/doc/refman/8.4/en/password-management.html#dual-passwords
type twoPasswords struct{}

func (twoPasswords) String() string { return "MySQL" }
func (twoPasswords) most() int      { return 2 }
func (twoPasswords) ender() string  { return "CONNECTION_ADMIN" }

func (twoPasswords) accounts(ctx context.Context, c *myAdmin, user string) (all []myAccount, err error) {
	rows, err := c.rows(ctx, 5, "SELECT User, Host, plugin, authentication_string, User_attributes FROM mysql.user WHERE User = "+myText(user)+" OR User = ''")
	if err != nil {
		return nil, err
	}
	for _, row := range rows {
		a := myAccount{user: row[0], host: row[1], methods: []myMethod{{row[2], row[3]}}}
		var also struct {
			Retained string `json:"additional_password"`
		}
		if row[4] != "" {
			if err := json.Unmarshal([]byte(row[4]), &also); err != nil {
				return nil, fmt.Errorf("MySQL at %s: the attributes of the account %s are written in words that Stanch does not understand", c.at, a)
			}
		}
		if also.Retained != "" && also.Retained != row[3] { // else it is the same password; see leave
			a.methods = append(a.methods, myMethod{row[2], also.Retained})
		}
		all = append(all, a)
	}
	return all, nil
}

// alter goes from one pair of passwords to another. Whatever is in both counts all the
// time.
func (twoPasswords) alter(ctx context.Context, c *myAdmin, a *myAccount, methods []myMethod) error {
	var fresh, kept []myMethod
	for _, m := range methods {
		if slices.Contains(a.methods, m) {
			kept = append(kept, m)
		} else {
			fresh = append(fresh, m)
		}
	}
	switch {
	case len(methods) == 1:
		return c.leave(ctx, a, methods[0])
	case len(fresh) != 1 || len(kept) != 1:
		return refusal("the account " + a.String() + " has two passwords, its own and one that was retained, and another would put the latter out of use: " +
			"if nobody needs that any more, ALTER USER … DISCARD OLD PASSWORD; if it is the leaked one, put the account's own where that is kept, and revoke it")
	}
	order := fresh[0].identified(*a)
	if kept[0] == a.methods[0] {
		order += " RETAIN CURRENT PASSWORD" // else the retained one stays as it is
	}
	err := c.do(ctx, order)
	if err == nil {
		a.methods = []myMethod{fresh[0], kept[0]}
	}
	return err
}

// leave leaves an account one method. It may have been the retained one: it is the
// account's own and retained, until the latter is discarded.
func (c *myAdmin) leave(ctx context.Context, a *myAccount, m myMethod) error {
	if m != a.methods[0] {
		if err := c.do(ctx, m.identified(*a)); err != nil {
			return err
		}
	}
	err := c.do(ctx, "ALTER USER "+a.sql()+" DISCARD OLD PASSWORD")
	if err == nil {
		a.methods = []myMethod{m}
	}
	return err
}

// identified is the order that makes it the account's own method.
func (m myMethod) identified(a myAccount) string {
	return "ALTER USER " + a.sql() + " IDENTIFIED WITH " + myName(m.Plugin) + " AS '" + strings.ReplaceAll(m.Text, "'", "''") + "'"
}

// MySQLPolicy is what the administrator must be granted.
func MySQLPolicy() grants.Policy {
	return grants.Policy{Name: "MySQL", Syntax: "sql", Lines: []grants.Line{
		{Grant: "GRANT SELECT (User, Host, plugin, authentication_string, User_attributes) ON mysql.user TO stanch;", For: "disable, enable, revoke, issue: find the leaked password"},
		{Grant: "GRANT CREATE USER ON *.* TO stanch;", For: "disable, enable, revoke, issue"},
		{Grant: "GRANT PROCESS ON *.* TO stanch;", For: "disable, revoke: find sessions"},
		{Grant: "GRANT CONNECTION_ADMIN ON *.* TO stanch;", For: "disable, revoke: end sessions"},
	}}
}
