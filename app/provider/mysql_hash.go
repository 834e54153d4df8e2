package provider

import (
	"bytes"
	"crypto/rand"
	"crypto/sha1"
	"crypto/sha256"
	"fmt"
	"strconv"
	"strings"
)

// A myMethod is a way to log in to an account.
type myMethod struct {
	Plugin string `json:"plugin"`
	Text   string `json:"authentication_string"`
}

// The plugins whose text is a hash of a password.
const (
	myNative  = "mysql_native_password"
	mySHA2    = "caching_sha2_password"
	myOldSHA2 = "sha256_password"
)

// mySalt is the length of the salt in a text of the SHA-256 plugins. Before it stand the
// scheme and how often is hashed, as in "$A$005$", and behind it, in one of them after
// another "$", the hash:
// https://dev.mysql.com/doc/refman/8.4/en/caching-sha2-pluggable-authentication.html
const mySalt = 20

// with is the method with another password, hashed as often.
func (m myMethod) with(password string) myMethod {
	if m.Plugin == myNative {
		return myMethod{m.Plugin, myHash(password)}
	}
	return m.salted(rand.Text()[:mySalt], password)
}

// salted is the method with another salt and password.
func (m myMethod) salted(salt, password string) myMethod {
	prefix, between, thousands := m.scheme()
	return myMethod{m.Plugin, prefix + salt + between + sha256Crypt(password, salt, 1000*thousands)}
}

// scheme is what stands before and behind the salt, and how many thousand times is
// hashed, or 0 if the text is of no scheme that Stanch knows.
func (m myMethod) scheme() (prefix, between string, thousands int) {
	switch {
	case m.Plugin == mySHA2 && len(m.Text) == 7+mySalt+43 && strings.HasPrefix(m.Text, "$A$") && m.Text[6] == '$':
		n, _ := strconv.ParseUint(m.Text[3:6], 16, 16)
		return m.Text[:7], "", int(n)
	case m.Plugin == myOldSHA2 && len(m.Text) == 3+mySalt+1+43 && strings.HasPrefix(m.Text, "$5$"):
		return "$5$", "$", 5
	}
	return "", "", 0
}

// is reports whether the method takes a password.
func (m myMethod) is(password string) bool {
	if m.Plugin == myNative {
		return m.Text == myHash(password)
	}
	prefix, _, thousands := m.scheme()
	return thousands > 0 && m == m.salted(m.Text[len(prefix):len(prefix)+mySalt], password)
}

// opaque reports whether the method may take a password of which Stanch cannot tell
// whether it is the leaked one.
func (m myMethod) opaque() bool {
	switch m.Plugin {
	case "", myNative, "unix_socket", "auth_socket", "mysql_no_login":
		return false
	case mySHA2, myOldSHA2:
		_, _, thousands := m.scheme()
		return m.Text != "" && thousands == 0
	}
	return true
}

// marked is the method with the mark in place of its password; see marks.
func (m myMethod) marked(mark [sha256.Size]byte) myMethod {
	if m.Plugin == myNative {
		return myMethod{m.Plugin, fmt.Sprintf("*%X", mark[:sha1.Size])}
	}
	prefix, between, _ := m.scheme()
	return myMethod{m.Plugin, prefix + "taken.away.by.Stanch" + between + cryptText(mark[:])}
}

// myHash is what the server keeps of a password:
// https://mariadb.com/kb/en/authentication-plugin-mysql_native_password/
func myHash(password string) string {
	once := sha1.Sum([]byte(password))
	return fmt.Sprintf("*%X", sha1.Sum(once[:]))
}

// cryptAlphabet is that of crypt(3).
const cryptAlphabet = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// sha256Crypt is the hash of https://www.akkadia.org/drepper/SHA-crypt.txt, which MySQL
// uses with longer salts.
func sha256Crypt(password, salt string, rounds int) string {
	p, s := []byte(password), []byte(salt)
	b := sum256(p, s, p)
	parts := [][]byte{p, s, repeated(b, len(p))}
	for n := len(p); n > 0; n >>= 1 {
		if n&1 != 0 {
			parts = append(parts, b)
		} else {
			parts = append(parts, p)
		}
	}
	a := sum256(parts...)
	p = repeated(sum256([]byte(strings.Repeat(password, len(p)))), len(p))
	s = repeated(sum256([]byte(strings.Repeat(salt, 16+int(a[0])))), len(s))
	for i := range rounds {
		parts = [][]byte{a, nil, nil, p}
		if i%2 != 0 {
			parts[0], parts[3] = p, a
		}
		if i%3 != 0 {
			parts[1] = s
		}
		if i%7 != 0 {
			parts[2] = p
		}
		a = sum256(parts...)
	}
	return cryptText(a)
}

func sum256(parts ...[]byte) []byte {
	h := sha256.New()
	for _, part := range parts {
		h.Write(part)
	}
	return h.Sum(nil)
}

// repeated is as often the text as it takes to be n bytes long.
func repeated(text []byte, n int) []byte {
	return bytes.Repeat(text, n/len(text)+1)[:n]
}

// cryptText writes a hash as crypt(3) does: three bytes from different thirds of it at a
// time, each group beginning with its lowest bits.
func cryptText(sum []byte) string {
	var text []byte
	group := func(n, bits int) {
		for ; bits > 0; bits -= 6 {
			text = append(text, cryptAlphabet[n&63])
			n >>= 6
		}
	}
	for i, j, k := 0, 10, 20; i != 30; i, j, k = k+1, i+1, j+1 {
		group(int(sum[i])<<16|int(sum[j])<<8|int(sum[k]), 24)
	}
	group(int(sum[31])<<8|int(sum[30]), 16)
	return string(text)
}
