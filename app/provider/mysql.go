package provider

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"net"

	"github.com/go-sql-driver/mysql"

	"github.com/stanch-dev/stanch/checks"
)

// What MySQL and MariaDB say of a login:
// https://dev.mysql.com/doc/mysql-errors/8.4/en/server-error-reference.html and
// https://mariadb.com/kb/en/mariadb-error-code-reference/
// The others say nothing: 1040, too many connections, and 1130, a machine that may
// not connect, come before the password is looked at, and 1698 from an account that
// has none.
const (
	myDenied         = 1045
	myNoDatabase     = 1049 // the password was taken before
	myDeniedDatabase = 1044 // likewise
	myMustChange     = 1862 // likewise: it has expired, and only lets itself be changed
	myMustChange2    = 1820
	myLocked         = 3118
	myLockedMariaDB  = 4151
)

const whoMySQL = `SELECT CURRENT_USER(), IFNULL(DATABASE(), ''), VERSION()`

var whoMySQLNames = []string{"user", "database", "version"}

// tryMySQL logs in at a MySQL or MariaDB server.
func tryMySQL(ctx context.Context, l login) attempt {
	conn, err := connectMySQL(ctx, l)
	if err != nil {
		return mysqlRefusal(err)
	}
	defer conn.Close()
	identity, err := whoIsMySQL(ctx, conn)
	if err == nil {
		return attempt{validity: checks.Active, answer: "logged in, with identity", identity: identity}
	}
	if said := mysqlRefusal(err); said.lacksScope {
		return said // MariaDB lets an expired password in, and then lets it do nothing
	}
	return attempt{validity: checks.Active, answer: "logged in"}
}

// connectMySQL shows no password in the clear, to whatever the server asks for,
// unless it has proved who it is.
func connectMySQL(ctx context.Context, l login) (driver.Conn, error) {
	config := mysql.NewConfig()
	config.User, config.Passwd, config.DBName = l.user, l.password, l.database
	config.Net, config.Addr = "tcp", l.address()
	config.DialFunc = func(ctx context.Context, _, _ string) (net.Conn, error) { return l.dial(ctx) }
	config.TLS, config.AllowFallbackToPlaintext, config.AllowCleartextPasswords = l.tls(), l.insecure, !l.insecure
	config.Logger, config.CheckConnLiveness = &mysql.NopLogger{}, false
	connector, err := mysql.NewConnector(config)
	if err != nil {
		return nil, err
	}
	return connector.Connect(ctx)
}

// whoIsMySQL asks whose account it is.
func whoIsMySQL(ctx context.Context, conn driver.Conn) (map[string]string, error) {
	rows, err := conn.(driver.QueryerContext).QueryContext(ctx, whoMySQL, nil)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	values := make([]driver.Value, len(rows.Columns()))
	if len(values) != len(whoMySQLNames) {
		return nil, mysql.ErrMalformPkt
	}
	if err := rows.Next(values); err != nil {
		return nil, err
	}
	identity := map[string]string{}
	for i, value := range values {
		if text, ok := value.([]byte); ok {
			identity[whoMySQLNames[i]] = string(text)
		}
	}
	return identity, nil
}

func mysqlRefusal(err error) attempt {
	var said *mysql.MySQLError
	switch {
	case errors.Is(err, mysql.ErrNoTLS):
		return unclear(ReasonUnreachable, noTLS)
	case !errors.As(err, &said):
		return noAnswer(err)
	}
	a := attempt{validity: checks.Active}
	switch said.Number {
	case myDenied:
		// An account is a name and the machines that it may come from, so that the same
		// words are said to those who come from another.
		a = attempt{validity: checks.Inactive, elsewhere: true, answer: "access denied"}
	case myLocked, myLockedMariaDB:
		a = attempt{validity: checks.Inactive, answer: "the account is locked"}
	case myNoDatabase:
		a.answer = "password taken, there is no such database"
	case myDeniedDatabase:
		a.lacksScope, a.answer = true, "password taken, no right to this database"
	case myMustChange, myMustChange2:
		a.lacksScope, a.answer = true, "password taken, it has expired and must be changed"
	default:
		a = unclear(ReasonUnfit, "which says nothing about the password")
	}
	a.answer = fmt.Sprintf("%d %s", said.Number, a.answer)
	return a
}
