package secretstore

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stanch-dev/stanch/checks"
)

func creds(pairs ...string) checks.Credential {
	c := checks.Credential{Rule: "r", Parts: map[string]checks.Secret{}}
	for i := 0; i < len(pairs); i += 2 {
		c.Parts[pairs[i]] = checks.NewSecret(pairs[i+1])
	}
	return c
}

func exposed(values map[string]checks.Secret) map[string]string {
	got := map[string]string{}
	for name, value := range values {
		got[name] = value.Expose()
	}
	return got
}

func TestReplace(t *testing.T) {
	const oldPass, newPass = "old-" + "pass", "new%2F" + "pass"
	old, fresh := creds("secret", "old-pass", "id", "id-1"), creds("secret", "new/pass", "id", "id-2")
	user, other := creds("secret", "old-pass", "user", "shop"), creds("secret", "new/pass", "user", "shop_2")
	// A private key leaks as it stands in a JSON file, with the ends of its lines escaped.
	key := func(n string) string {
		return "-----BEGIN " + "PRIVATE KEY-----\n" + n + "\n-----END " + "PRIVATE KEY-----\n"
	}
	escaped := func(n string) string { return strings.ReplaceAll(key(n), "\n", `\n`) }
	leaked, made := creds("secret", escaped("b2xk"), "id", "aa1", "email", "e"), creds("secret", escaped("bmV3"), "id", "bb2", "email", "e")
	for name, test := range map[string]struct {
		old, fresh checks.Credential
		fields     map[string]string
		want       map[string]string
		leftOut    []string
	}{
		"a pair":              {old, fresh, map[string]string{"key": "id-1", "pass": "old-pass", "region": "eu"}, map[string]string{"key": "id-2", "pass": "new/pass"}, nil},
		"twice":               {old, fresh, map[string]string{"a": "old-pass", "b": "old-pass", "key": "id-1"}, map[string]string{"a": "new/pass", "b": "new/pass", "key": "id-2"}, nil},
		"the id is elsewhere": {old, fresh, map[string]string{"pass": "old-pass"}, map[string]string{"pass": "new/pass"}, []string{"id"}},
		"the same id":         {old, creds("secret", "new", "id", "id-1"), map[string]string{"pass": "old-pass"}, map[string]string{"pass": "new"}, nil},
		"inside a text":       {creds("secret", "old-pass"), creds("secret", "new"), map[string]string{"conf": "token=old-pass;x=1"}, map[string]string{"conf": "token=new;x=1"}, nil},
		"in a URL":            {user, other, map[string]string{"url": "postgres://shop:" + oldPass + "@shop-db/shop"}, map[string]string{"url": "postgres://shop_2:" + newPass + "@shop-db/shop"}, nil},
		"in a URL, same user": {user, creds("secret", "new", "user", "shop"), map[string]string{"url": "postgres://shop:" + oldPass + "@db/shop"}, map[string]string{"url": "postgres://shop:" + "new" + "@db/shop"}, nil},
		"of another user":     {user, other, map[string]string{"url": "postgres://crm:" + oldPass + "@db/shop"}, map[string]string{"url": "postgres://crm:" + newPass + "@db/shop"}, []string{"user"}},
		"a database named after its user": {user, other, map[string]string{"DB_USER": "shop", "login": "shop", "DB_NAME": "shop", "POSTGRES_DB": "shop", "password": "old-pass"},
			map[string]string{"DB_USER": "shop_2", "login": "shop_2", "password": "new/pass"}, nil},
		"a database, and no user": {user, other, map[string]string{"database": "shop", "password": "old-pass"}, map[string]string{"password": "new/pass"}, []string{"user"}},
		"the fields of a key file": {leaked, made, map[string]string{"private_key": key("b2xk"), "private_key_id": "aa1", "client_email": "e", "type": "service_account"},
			map[string]string{"private_key": key("bmV3"), "private_key_id": "bb2", "client_email": "e"}, nil},
		"a whole key file": {leaked, made, map[string]string{"key.json": `{"private_key_id": "aa1", "private_key": "` + escaped("b2xk") + `", "client_id": 7}`},
			map[string]string{"key.json": `{"client_id":7,"private_key":"` + escaped("bmV3") + `","private_key_id":"bb2"}`}, nil},
		"a key file without its id": {leaked, made, map[string]string{"key.json": `{"private_key": "` + escaped("b2xk") + `"}`},
			map[string]string{"key.json": `{"private_key":"` + escaped("bmV3") + `"}`}, []string{"id"}},
		"a pair deeper down": {old, fresh, map[string]string{"conf": `{"key":"id-1","deep":{"pass":"old-pass"}}`}, map[string]string{"conf": `{"key":"id-1","deep":{"pass":"new/pass"}}`}, []string{"id"}},
		"a key in a text":    {leaked, made, map[string]string{"env": "KEY='" + key("b2xk") + "'"}, map[string]string{"env": "KEY='" + key("bmV3") + "'"}, []string{"id"}},
		"nothing of it":      {old, fresh, map[string]string{"a": "b"}, map[string]string{}, []string{"id", "secret"}},
	} {
		got, leftOut := Replace(content("1", test.fields).Fields, test.old, test.fresh)
		if diff := cmp.Diff(test.want, exposed(got)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		if diff := cmp.Diff(test.leftOut, leftOut); diff != "" {
			t.Errorf("%s, left out (-want +got):\n%s", name, diff)
		}
	}
}

func TestReadings(t *testing.T) {
	head := "-----BEGIN " + "KEY-----"
	for text, want := range map[string][]string{
		"":                        nil,
		"plain":                   {"plain"},
		`back\nslash`:             {`back\nslash`},
		head + "\nx":              {head + "\nx", head + `\nx`},
		head + `\nx`:              {head + "\nx", head + `\nx`},
		`{"a":"b","n":1,"c":"d"}`: {"b", "d", `{"a":"b","n":1,"c":"d"}`},
	} {
		got := readings(text)
		slices.Sort(got)
		if diff := cmp.Diff(want, slices.Compact(got)); diff != "" {
			t.Errorf("%q (-want +got):\n%s", text, diff)
		}
	}
}

func TestDocuments(t *testing.T) {
	for text, want := range map[string]map[string]string{
		`{"user":"shop","port":5432,"password":"a<b","deep":{"x":"y"}}`: {"user": "shop", "password": "a<b"},
		`plain`:       {WholeText: "plain"},
		`["a"]`:       {WholeText: `["a"]`},
		`null`:        {WholeText: "null"},
		`"in quotes"`: {WholeText: `"in quotes"`},
		``:            {WholeText: ""},
		`{}`:          {},
	} {
		if diff := cmp.Diff(want, fieldsOf(text)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", text, diff)
		}
	}
	got, err := withFields(`{"password":"old","port":5432,"big":12345678901234567890,"deep":{"b":1,"a":[2]}}`, map[string]checks.Secret{"password": checks.NewSecret("a<b&\"c")})
	if want := `{"big":12345678901234567890,"deep":{"b":1,"a":[2]},"password":"a<b&\"c","port":5432}`; err != nil || got != want {
		t.Errorf("%s, %v; want %s", got, err, want)
	}
	if got, err := withFields("plain", map[string]checks.Secret{WholeText: checks.NewSecret("new")}); err != nil || got != "new" {
		t.Errorf("%s, %v", got, err)
	}
	if got, err := withFields("plain", map[string]checks.Secret{"a": checks.NewSecret("new")}); err == nil {
		t.Errorf("a field was put into a plain text: %s", got)
	}
}
