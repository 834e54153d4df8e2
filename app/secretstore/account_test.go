package secretstore

import (
	"slices"
	"strings"
	"testing"

	"github.com/stanch-dev/stanch/checks"
)

func TestAccounts(t *testing.T) {
	const password = "changeme1"
	for name, test := range map[string]struct {
		fields map[string]string
		field  string
		want   []Account
	}{
		"a URL":             {map[string]string{"url": "postgres://shop:changeme1@db.acme.example:5433/shop"}, "url", []Account{{"shop", "db.acme.example:5433"}}},
		"an escaped user":   {map[string]string{"url": "mysql://shop%40eu:changeme1@db/shop"}, "url", []Account{{"shop@eu", "db"}}},
		"several servers":   {map[string]string{"url": "mongodb://shop:changeme1@a:1,b:2/shop"}, "url", []Account{{"shop", "a:1,b:2"}}},
		"no user":           {map[string]string{"url": "redis://:changeme1@cache"}, "url", []Account{{"", "cache"}}},
		"another password":  {map[string]string{"url": "postgres://shop:changeme2@db/shop"}, "url", nil},
		"libpq":             {map[string]string{"": "host=db port=5433 user=shop password=changeme1 dbname=shop"}, "", []Account{{"shop", "db:5433"}}},
		"ADO.NET":           {map[string]string{"": "Server=tcp:db,1433;User Id=shop;Password='changeme1'"}, "", []Account{{"shop", "db:1433"}}},
		"JDBC":              {map[string]string{"": "jdbc:mysql://db:3307/shop?user=shop&password=changeme1"}, "", []Account{{"shop", "db:3307"}}},
		"lines":             {map[string]string{"": "A=redis://a:changeme1@x\nB=redis://b:changeme1@y\nC=redis://c:changeme2@z"}, "", []Account{{"a", "x"}, {"b", "y"}}},
		"side by side":      {map[string]string{"": "redis://a:changeme1@x,redis://b:changeme1@y"}, "", []Account{{"a", "x,redis:"}, {"b", "y"}}},
		"fields":            {map[string]string{"username": "shop", "password": password, "host": "db", "port": "5433", "engine": "postgres"}, "password", []Account{{"shop", "db:5433"}}},
		"of one name":       {map[string]string{"DB_USER": "shop", "DB_PASSWORD": password, "ADMIN_USER": "boss", "ADMIN_PASSWORD": password}, "ADMIN_PASSWORD", []Account{{"boss", ""}}},
		"of another's name": {map[string]string{"ADMIN_USER": "boss", "DB_PASSWORD": password}, "DB_PASSWORD", nil},
		"camels":            {map[string]string{"dbUserName": "shop", "dbPassword": password}, "dbPassword", []Account{{"shop", ""}}},
		"user and login":    {map[string]string{"user": "shop", "login": "web", "password": password}, "password", []Account{{"shop", ""}}},
		"an id":             {map[string]string{"user_id": "42", "password": password}, "password", nil},
		"alone":             {map[string]string{"": password}, "", nil},
		"an object inside":  {map[string]string{"json": `{"user":"shop","password":"changeme1","url":"redis://web:changeme1@cache"}`}, "json", []Account{{"shop", ""}, {"web", "cache"}}},
		"too long":          {map[string]string{"": "redis://a:changeme1@x " + strings.Repeat("x", maxConnection)}, "", nil},
	} {
		fields := map[string]checks.Secret{}
		for name, value := range test.fields {
			fields[name] = checks.NewSecret(value)
		}
		if got := Accounts(fields, test.field, checks.NewSecret(password)); !slices.Equal(got, test.want) {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
	// Of what was replaced already the account alone is asked for.
	fields := map[string]checks.Secret{"url": checks.NewSecret("postgres://shop:changeme2@db/shop")}
	if got := Accounts(fields, "url", checks.Secret{}); !slices.Equal(got, []Account{{"shop", "db"}}) {
		t.Errorf("of any password: %q", got)
	}
}
