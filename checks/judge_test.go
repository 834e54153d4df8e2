package checks_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stanch-dev/stanch/rules"
)

// TestPasswords shows which values are passwords, in quotes and in a
// configuration file. What is long and looks random is put together here.
func TestPasswords(t *testing.T) {
	s := scanner(t)
	for _, value := range []string{
		"Tr0ub4dor&3", "k9#mQ2vL", "!K9mq2vLx", "#a8Fk2mL@Q", "pa55w0rd!x9", "zaq12wsx-Rfv", "9f86d081" + "884c7d65", "5up3rm4n_r3turns",
	} {
		for _, text := range []string{
			`password = "` + value + `"`,
			`"db_password": "` + value + `"`,
			`var adminPassword string = "` + value + `"`,
			`let apiKey = '` + value + `';`,
			"DB_PASSWORD=" + value,
			"spring.datasource.password = " + value + "\nnext = 1",
			"  password: " + value + "\r\n  user: shop\r\n",
			"  password: " + value + "  # of the shop\n",
			"smtp_password = " + value + " ; of the shop\n",
			"export SHOP_PASSWORD=" + value + ";",
			"SHOP_PASSWORD=" + value + " && make",
			"ENV DB_PASSWORD=" + value,
			"$config['password'] = '" + value + "';",
			`process.env["DB_PASSWORD"] = "` + value + `"`,
		} {
			found := scan(s, "file", []byte(text))
			if len(found) != 1 {
				t.Errorf("%q: found %v, want one", text, ids(found))
				continue
			}
			if f := found[0]; f.Credential.Secret().Expose() != value || len(f.Credential.Parts) != 1 {
				t.Errorf("%q: another value or more parts than it has", text)
			}
		}
	}
	for _, value := range []string{
		"changeme", "changeme123", "password", "password1", "xxxxxxxxxx1", "**********", "<your-password>", "your-password-1",
		"${DB_PASSWORD}", "$DB_PASSWORD2", "{{db_password_1}}", "%(password)s1", "%DB_PASSWORD1%", "example-4711", "test1234",
		"my_secret_1", "correct-horse-battery-staple", "1234567890", "aaaaaaaa", "/run/secrets/db1", "https://vault.acme.net/v1",
		"config.yaml2.yaml", "settings1.database", "getenv2('X')", "user_{0}_pw_{1}", "abababab1212",
	} {
		for _, text := range []string{`password = "` + value + `"`, "PASSWORD=" + value, `passwd: '` + value + `'`} {
			if found := scan(s, "file", []byte(text)); len(found) != 0 {
				t.Errorf("%q: found %v, want nothing", text, ids(found))
			}
		}
	}
}

// TestQuiet holds what is written near secrets in ordinary source code.
func TestQuiet(t *testing.T) {
	s := scanner(t)
	for _, text := range []string{
		`if password == "Tr0ub4dor&3" {`,
		`errors.New("wrong password: try again in 10s")`,
		`password := os.Getenv("DB_PASSWORD_V2")`,
		"password = hash2(value1)",
		"secret := sha256.Sum256(key32)",
		`flag.String("password-file2", "", "where the password is")`,
		`shared_secret: "` + hexText(40) + `"`,
		`"passwordResetUrl": "account/reset?id=12"`,
		"-----BEGIN RSA PRIVATE" + " KEY-----",
		"ghp_" + strings.Repeat("x", 36),
		"glpat-" + strings.Repeat("x", 20),
		"sk_live_" + strings.Repeat("x", 24),
		"AKIA" + "IOSFODNN7EXAMPLE",
		"postgres://postgres:postgres@localhost:5432/postgres",
		"sha512-" + hexText(64),
	} {
		if found := scan(s, "file", []byte(text)); len(found) != 0 {
			t.Errorf("%.40q: found %v, want nothing", text, ids(found))
		}
	}
}

// hexText returns n hexadecimal digits without a pattern.
func hexText(n int) string {
	text := make([]byte, n)
	for i := range text {
		text[i] = "0123456789abcdef"[(i*i*7+i*3)%16]
	}
	return string(text)
}

// TestPasswordsOnAdjacentLines: each line is judged by itself, whatever stands
// on the lines beside it.
func TestPasswordsOnAdjacentLines(t *testing.T) {
	s := scanner(t)
	lines := []string{"DB_PASSWORD=" + token(t, "{6:lower}{4:digit}", 1), "API_KEY: changeme", "SECRET_KEY=" + token(t, "{6:lower}{4:digit}", 2),
		"AUTH_TOKEN=" + token(t, "{6:lower}{4:digit}", 3), "PASSWD=", "MAIL_PASSWORD = " + token(t, "{6:lower}{4:digit}", 4)}
	for _, eol := range []string{"\n", "\r\n"} {
		for _, end := range []string{"", eol} {
			found := scan(s, ".env", []byte(strings.Join(lines, eol)+end))
			var at []int
			for _, f := range found {
				at = append(at, f.Line)
			}
			if diff := cmp.Diff([]int{1, 3, 4, 6}, at); diff != "" {
				t.Errorf("lines ended by %q (-want +got):\n%s", eol, diff)
			}
		}
	}
}

// TestRandomPasswords: chance repeats letters in short passwords, which makes them
// no less real.
func TestRandomPasswords(t *testing.T) {
	s := scanner(t)
	random := seeded(1)
	found, tried := 0, 0
	for tried < 1000 {
		value, err := rules.Expand("{8:base62}", random)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.ContainsAny(value, "0123456789") {
			continue // letters alone are taken for a word
		}
		tried++
		found += len(scan(s, "file", []byte(`password = "`+value+`"`)))
	}
	if found < 970 {
		t.Errorf("%d of 1000 random passwords of eight characters are found, want 970", found)
	}
}

// TestPasswordsInURLs: the place proves that it is a password, so that only what
// is a stand-in as a whole is passed over.
func TestPasswordsInURLs(t *testing.T) {
	s := scanner(t)
	for _, scheme := range []string{"postgres", "mysql+pymysql", "mongodb+srv", "redis"} {
		for _, value := range []string{"hunting-here", "testing42x", "mypasswordis7", "correcthorse", "here1234secret", "99887766", "%40dmin-token"} {
			text := scheme + "://shop:" + value + "@db.acme.net/orders"
			if f := scan(s, "file", []byte(text)); len(f) != 1 || f[0].Credential.Secret().Expose() != value {
				t.Errorf("%s: found %v, want one", text, ids(f))
			}
		}
		for _, value := range []string{"password", "PASSWORD", "your-password", "my_secret_pw", "changeme", "xxxxxxxx", "******", "......",
			"${PASSWORD}", "$PASSWORD", "{password}", "%(password)s", "%DB_PASSWORD%", "[password]", "shopuser", "example-pw", "supersecret"} {
			text := scheme + "://shopuser:" + value + "@db.acme.net/orders"
			if f := scan(s, "file", []byte(text)); len(f) != 0 {
				t.Errorf("%s: found %v, want nothing", text, ids(f))
			}
		}
	}
}
