package provider

import (
	"context"
	"crypto/sha1"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/go-sql-driver/mysql"

	"github.com/stanch-dev/stanch/app/grants"
)

// A myAdmin is a session of the administrator.
type myAdmin struct {
	driver.Conn
	at string
}

// What MariaDB says of what it does not do:
// https://mariadb.com/kb/en/mariadb-error-code-reference/
const (
	myTableDenied  = 1142
	myPrivilege    = 1227
	myNoSuchTable  = 1146
	myForbidden    = 1290 // read only, or a plugin wants to see passwords
	myBadPassword  = 1819 // likewise
	myAccountGone  = 1396
	myNoThread     = 1094
	myOthersThread = 1095
)

// administrate connects to a MariaDB server, which lets an account have several
// passwords since version 10.4.
func (s *mysqlServer) administrate(ctx context.Context, admin login) (*myAdmin, error) {
	conn, err := connectMySQL(ctx, admin)
	if err != nil {
		return nil, fmt.Errorf("log in to MySQL at %s as the administrator of STANCH_ADMIN_URLS: %s", admin.address(), mysqlRefusal(err).answer)
	}
	c := &myAdmin{conn, admin.address()}
	rows, err := c.rows(ctx, 1, "SELECT VERSION()")
	if err == nil && (len(rows) != 1 || !strings.Contains(rows[0][0], "MariaDB")) {
		err = refusal("the server is no MariaDB: a person changes MySQL's own passwords, with RETAIN CURRENT PASSWORD and then DISCARD OLD PASSWORD")
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return c, nil
}

// do gives an order.
func (c *myAdmin) do(ctx context.Context, order string) error {
	_, err := c.rows(ctx, 0, order)
	return err
}

// rows asks a question that is answered in so many columns.
func (c *myAdmin) rows(ctx context.Context, columns int, question string) ([][]string, error) {
	got, err := c.Conn.(driver.QueryerContext).QueryContext(ctx, question, nil)
	if err != nil {
		return nil, c.complaint(err)
	}
	defer got.Close()
	values := make([]driver.Value, columns)
	if len(got.Columns()) != columns {
		return nil, fmt.Errorf("MariaDB at %s gives an answer that is none", c.at)
	}
	var all [][]string
	for columns > 0 {
		switch err := got.Next(values); {
		case errors.Is(err, io.EOF):
			return all, nil
		case err != nil:
			return nil, c.complaint(err)
		}
		row := make([]string, len(values))
		for i, value := range values {
			switch value := value.(type) {
			case nil:
			case []byte:
				row[i] = string(value)
			default:
				row[i] = fmt.Sprint(value)
			}
		}
		all = append(all, row)
	}
	return nil, nil
}

// complaint is an error of the server's. What it says of words that it does not
// understand is left out: it repeats them.
func (c *myAdmin) complaint(err error) error {
	var said *mysql.MySQLError
	if !errors.As(err, &said) {
		return fmt.Errorf("MariaDB at %s: %s", c.at, noAnswer(err).answer)
	}
	text := fmt.Sprintf("MariaDB at %s says to its administrator of STANCH_ADMIN_URLS: %d %s", c.at, said.Number, short(said.Message))
	switch said.Number {
	case myTableDenied, myPrivilege, myForbidden, myBadPassword, myAccountGone:
		return refusal(text)
	case myNoSuchTable:
		return refusal("MariaDB at " + c.at + " is older than version 10.4, and an account of it has one password only: a person changes it")
	case myNoThread, myOthersThread:
		return said
	}
	return fmt.Errorf("MariaDB at %s says %d", c.at, said.Number)
}

// A myMethod is a way to log in to an account.
type myMethod struct {
	Plugin string `json:"plugin"`
	Text   string `json:"authentication_string"`
}

// myPassword is the method whose text is a hash of a password.
const myPassword = "mysql_native_password"

// A myAccount is a user from where he comes, with the methods of which any will do.
type myAccount struct {
	user, host string
	methods    []myMethod
}

func (a myAccount) String() string { return a.user + "@" + a.host }

func (a myAccount) sql() string { return myName(a.user) + "@" + myName(a.host) }

func (a myAccount) has(hash string) bool {
	return slices.Contains(a.methods, myMethod{myPassword, hash})
}

// accounts looks up all accounts of a name, and those of no name, which take in
// whoever comes from their hosts.
func (c *myAdmin) accounts(ctx context.Context, user string) (all []myAccount, err error) {
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

// alter gives an account other methods, all at once. Its rights and limits stay.
func (c *myAdmin) alter(ctx context.Context, a myAccount, methods []myMethod) error {
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
	return c.do(ctx, "ALTER USER "+a.sql()+" IDENTIFIED VIA "+strings.Join(texts, " OR "))
}

// myName quotes a name, and myText a text, whatever the server's sql_mode.
func myName(name string) string { return "`" + strings.ReplaceAll(name, "`", "``") + "`" }
func myText(text string) string { return fmt.Sprintf("X'%X'", text) }

// myHash is what the server keeps of a password:
// https://mariadb.com/kb/en/authentication-plugin-mysql_native_password/
func myHash(password string) string {
	once := sha1.Sum([]byte(password))
	return fmt.Sprintf("*%X", sha1.Sum(once[:]))
}

func myMarks(hash string) (sessions, quiet string) {
	s, q := marks(hash)
	return fmt.Sprintf("*%X", s[:sha1.Size]), fmt.Sprintf("*%X", q[:sha1.Size])
}

// MySQLPolicy is what the administrator must be granted.
func MySQLPolicy() grants.Policy {
	return grants.Policy{Name: "MariaDB", Syntax: "sql", Lines: []grants.Line{
		{Grant: "GRANT SELECT ON mysql.global_priv TO stanch;", For: "disable, enable, revoke, issue: find the leaked password"},
		{Grant: "GRANT CREATE USER ON *.* TO stanch;", For: "disable, enable, revoke, issue"},
		{Grant: "GRANT PROCESS ON *.* TO stanch;", For: "disable, revoke: find sessions"},
		{Grant: "GRANT CONNECTION ADMIN ON *.* TO stanch;", For: "disable, revoke: end sessions"},
	}}
}
