package provider

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/go-sql-driver/mysql"
)

// A myAdmin is a session of the administrator.
type myAdmin struct {
	driver.Conn
	product myProduct
	at      string
}

// A myProduct is a server by its way of letting accounts have several passwords.
type myProduct interface {
	String() string
	// accounts looks up all accounts of a name, and those of no name, which take in
	// whoever comes from their hosts.
	accounts(ctx context.Context, c *myAdmin, user string) ([]myAccount, error)
	// most is how many methods an account may have.
	most() int
	// alter gives an account other methods. Its rights and limits stay.
	alter(ctx context.Context, c *myAdmin, a *myAccount, methods []myMethod) error
	// ender is the privilege to end others' sessions.
	ender() string
}

// What they say of what they do not do:
// https://mariadb.com/kb/en/mariadb-error-code-reference/ and
// https://dev.mysql.com/doc/mysql-errors/8.4/en/server-error-reference.html
const (
	myTableDenied  = 1142
	myColumnDenied = 1143
	myPrivilege    = 1227
	myNoSuchTable  = 1146
	myForbidden    = 1290 // read only, or a plugin wants to see passwords
	myBadPassword  = 1819 // likewise
	myAccountGone  = 1396
	myNoThread     = 1094
	myOthersThread = 1095
)

// administrate connects to a server that lets an account have several passwords: MariaDB
// does since version 10.4, MySQL since 8.0.14.
func (s *mysqlServer) administrate(ctx context.Context, admin login) (*myAdmin, error) {
	conn, err := connectMySQL(ctx, admin)
	if err != nil {
		return nil, fmt.Errorf("log in to MySQL at %s as the administrator of STANCH_ADMIN_URLS: %s", admin.address(), mysqlRefusal(err).answer)
	}
	c := &myAdmin{conn, twoPasswords{}, admin.address()}
	if err := c.meet(ctx); err != nil {
		conn.Close()
		return nil, err
	}
	return c, nil
}

// meet finds out which product it is.
func (c *myAdmin) meet(ctx context.Context) error {
	rows, err := c.rows(ctx, 1, "SELECT VERSION()")
	if err != nil {
		return err
	}
	switch {
	case len(rows) == 1 && strings.Contains(rows[0][0], "MariaDB"):
		c.product = mariaDB{}
		return nil
	case len(rows) != 1 || !hasTwoPasswords(rows[0][0]):
		return refusal("the server at " + c.at + " is no MySQL from version 8.0.14 on, and an account of it has one password only: a person changes it")
	}
	// In what is kept of a password backslashes stand, that mean themselves.
	return c.do(ctx, "SET SESSION sql_mode = 'NO_BACKSLASH_ESCAPES'")
}

// hasTwoPasswords reports whether a version of MySQL lets accounts have two passwords.
// More may follow the number: "8.0.36-28".
func hasTwoPasswords(version string) bool {
	var major, minor, patch int
	fmt.Sscanf(version, "%d.%d.%d", &major, &minor, &patch)
	return slices.Compare([]int{major, minor, patch}, []int{8, 0, 14}) >= 0
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
		return nil, fmt.Errorf("%s at %s gives an answer that is none", c.product, c.at)
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
		return fmt.Errorf("%s at %s: %s", c.product, c.at, noAnswer(err).answer)
	}
	text := fmt.Sprintf("%s at %s says to its administrator of STANCH_ADMIN_URLS: %d %s", c.product, c.at, said.Number, short(said.Message))
	switch said.Number {
	case myTableDenied, myColumnDenied, myPrivilege, myForbidden, myBadPassword, myAccountGone:
		return refusal(text)
	case myNoSuchTable:
		return refusal(fmt.Sprintf("%s at %s is older than version 10.4, and an account of it has one password only: a person changes it", c.product, c.at))
	case myNoThread, myOthersThread:
		return said
	}
	return fmt.Errorf("%s at %s says %d", c.product, c.at, said.Number)
}

// A myAccount is a user from where he comes, with the methods of which any will do.
type myAccount struct {
	user, host string
	methods    []myMethod
}

func (a myAccount) String() string { return a.user + "@" + a.host }

func (a myAccount) sql() string { return myName(a.user) + "@" + myName(a.host) }

// is reports whether a password logs in to the account.
func (a myAccount) is(password string) bool {
	return slices.ContainsFunc(a.methods, func(m myMethod) bool { return m.is(password) })
}

// myName quotes a name, and myText a text, whatever the server's sql_mode.
func myName(name string) string { return "`" + strings.ReplaceAll(name, "`", "``") + "`" }
func myText(text string) string { return fmt.Sprintf("X'%X'", text) }
