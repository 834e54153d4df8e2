package provider

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"strings"

	"github.com/stanch-dev/stanch/app/grants"
)

// mariaDB lets an account have a list of ways to log in, of which any will do.
type mariaDB struct{}

func (mariaDB) String() string { return "MariaDB" }
func (mariaDB) most() int      { return math.MaxInt }
func (mariaDB) ender() string  { return "CONNECTION ADMIN" }

func (mariaDB) accounts(ctx context.Context, c *myAdmin, user string) (all []myAccount, err error) {
	rows, err := c.rows(ctx, 3, fmt.Sprintf("SELECT User, Host, Priv FROM mysql.global_priv WHERE (User = %s OR User = '') AND NOT JSON_EXISTS(Priv, '$.is_role')", myText(user)))
	if err != nil {
		return nil, err
	}
	for _, row := range rows {
		var priv struct {
			myMethod
			Or []myMethod `json:"auth_or"`
		}
		if err := json.Unmarshal([]byte(row[2]), &priv); err != nil {
			return nil, fmt.Errorf("MariaDB at %s: the account %s@%s is kept in words that Stanch does not understand", c.at, row[0], row[1])
		}
		a := myAccount{user: row[0], host: row[1], methods: []myMethod{priv.myMethod}}
		for i, m := range priv.Or {
			if m == (myMethod{}) { // stands for the one outside of the list
				priv.Or[i] = priv.myMethod
			}
		}
		if len(priv.Or) > 0 {
			a.methods = priv.Or
		}
		all = append(all, a)
	}
	return all, nil
}

// alter changes the whole list at once.
func (mariaDB) alter(ctx context.Context, c *myAdmin, a *myAccount, methods []myMethod) error {
	var texts []string
	for _, m := range methods {
		text := myName(m.Plugin)
		if strings.ContainsAny(m.Text, `'\`) {
			return refusal("another way to log in to the account " + a.String() + " cannot be repeated in SQL: a person changes it")
		}
		if m.Text != "" {
			text += " USING '" + m.Text + "'"
		}
		texts = append(texts, text)
	}
	err := c.do(ctx, "ALTER USER "+a.sql()+" IDENTIFIED VIA "+strings.Join(texts, " OR "))
	if err == nil {
		a.methods = methods
	}
	return err
}

// MariaDBPolicy is what the administrator must be granted.
func MariaDBPolicy() grants.Policy {
	return grants.Policy{Name: "MariaDB", Syntax: "sql", Lines: []grants.Line{
		{Grant: "GRANT SELECT ON mysql.global_priv TO stanch;", For: "disable, enable, revoke, issue: find the leaked password"},
		{Grant: "GRANT CREATE USER ON *.* TO stanch;", For: "disable, enable, revoke, issue"},
		{Grant: "GRANT PROCESS ON *.* TO stanch;", For: "disable, revoke: find sessions"},
		{Grant: "GRANT CONNECTION ADMIN ON *.* TO stanch;", For: "disable, revoke: end sessions"},
	}}
}
