package provider

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"
)

const (
	// myMayList is a question that only those are answered who see everybody's sessions.
	// The list of sessions itself says nothing of those that it leaves out. Neither does
	// MySQL's newer one, of the performance schema, where that is off.
	myMayList = "SELECT COUNT(*) FROM information_schema.INNODB_TRX"
	mySession = "SELECT ID, HOST FROM information_schema.PROCESSLIST WHERE USER = "
)

// end ends the sessions of the account until none is left.
func (l *myLook) end(ctx context.Context) error {
	if _, err := l.rows(ctx, 1, myMayList); err != nil {
		return indefinite(err)
	}
	for until := time.Now().Add(myPatience); ; {
		rows, err := l.rows(ctx, 2, mySession+myText(l.account.user))
		if err != nil {
			return err
		}
		ended, unclear := 0, 0
		for _, row := range rows {
			switch l.owner(row[1]) {
			case ours:
				ended++
				if err := l.kill(ctx, row[0]); err != nil {
					return err
				}
			case anybodys:
				unclear++
			}
		}
		switch {
		case ended == 0 && unclear == 0:
			return nil
		case ended == 0:
			return fmt.Errorf("%d sessions of %s may be of another account of the name: look at SHOW PROCESSLIST, and KILL those that are of %s", unclear, l.account.user, l.account)
		case time.Now().After(until):
			return fmt.Errorf("%d of its sessions do not end", ended)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
}

const myPatience = 5 * time.Second

func (l *myLook) kill(ctx context.Context, id string) error {
	err := l.do(ctx, "KILL CONNECTION "+id)
	var said *mysql.MySQLError
	switch {
	case errors.As(err, &said) && said.Number == myNoThread:
		return nil // it has ended by itself
	case errors.As(err, &said) && said.Number == myOthersThread:
		return errors.New("the administrator may not end it: GRANT " + l.product.ender() + " ON *.* TO the administrator")
	}
	return indefinite(err)
}

// indefinite is an error after which something has been changed already.
func indefinite(err error) error {
	var r refusal
	if errors.As(err, &r) {
		return errors.New(string(r))
	}
	return err
}

// An owner is whose a session is.
type owner int

const (
	ours owner = iota
	theirs
	anybodys
)

// owner tells from where a session comes whose it is. The server lets somebody in to the
// account whose host is the closest, and does not tell which it was.
func (l *myLook) owner(from string) owner {
	if i := strings.LastIndex(from, ":"); i >= 0 {
		from = from[:i]
	}
	if len(l.alike) == 0 || strings.EqualFold(l.account.host, from) {
		return ours
	}
	others := 0
	for _, a := range l.alike {
		if strings.EqualFold(a.host, from) {
			return theirs
		}
		if a.covers(from) {
			others++
		}
	}
	switch covered := l.account.covers(from); {
	case covered && others == 0:
		return ours
	case !covered && others > 0:
		return theirs
	}
	return anybodys
}

// myAddresses are hosts of accounts that are addresses, or patterns of such.
var myAddresses = regexp.MustCompile(`^[0-9a-f.:%_]*[0-9][0-9a-f.:%_]*$`)

// covers reports whether an account may be that of somebody who comes from a host. What
// cannot be told from the host's name, such as whether it is in a network, may be.
func (a myAccount) covers(from string) bool {
	_, err := netip.ParseAddr(from)
	if strings.ContainsAny(a.host, `/\`) || err != nil && myAddresses.MatchString(a.host) {
		return true
	}
	pattern := strings.NewReplacer("%", ".*", "_", ".").Replace(regexp.QuoteMeta(a.host))
	matched, err := regexp.MatchString("(?i)^"+pattern+"$", from)
	return err != nil || matched
}
