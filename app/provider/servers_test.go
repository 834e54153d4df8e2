package provider

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"net/url"
	"testing"
	"time"

	"github.com/stanch-dev/stanch/checks"
)

// raw serves a protocol that is none: what say does with each connection.
func raw(t *testing.T, say func(net.Conn)) (address string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				conn.SetDeadline(time.Now().Add(time.Minute))
				say(conn)
			}()
		}
	}()
	return listener.Addr().String()
}

// silence is how long who says nothing keeps a connection: longer than anybody may wait.
const silence = 30 * time.Second

// noise is what no protocol's client can make sense of.
var noise = map[string]func(net.Conn){
	"hangs up": func(net.Conn) {},
	"silent":   func(c net.Conn) { c.Read(make([]byte, 1)); time.Sleep(silence) },
	"http": func(c net.Conn) {
		c.Read(make([]byte, 512))
		c.Write([]byte("HTTP/1.1 400 Bad Request\r\nContent-Type: text/html\r\n\r\n<html>no</html>"))
	},
	"zeros":      func(c net.Conn) { forever(c, make([]byte, 4096)) },
	"large byte": func(c net.Conn) { forever(c, bytes.Repeat([]byte{0xff}, 4096)) },
	"text":       func(c net.Conn) { forever(c, bytes.Repeat([]byte("$999999999\r\n"), 300)) },
}

func forever(c net.Conn, chunk []byte) {
	for range 1 << 16 { // 256 MiB, of which nobody should read much
		if _, err := c.Write(chunk); err != nil {
			return
		}
	}
}

// parts makes a credential.
func parts(rule string, named map[string]string) checks.Credential {
	cred := checks.Credential{Rule: rule, Parts: map[string]checks.Secret{}}
	for name, value := range named {
		cred.Parts[name] = checks.NewSecret(value)
	}
	return cred
}

// keepsSecrets checks that a verdict tells no part of a password.
func keepsSecrets(t *testing.T, v Verdict, cred checks.Credential) {
	t.Helper()
	told, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	secret := cred.Secret().Expose()
	plain, _ := url.PathUnescape(secret)
	for _, text := range []string{secret, plain} {
		if text != "" && bytes.Contains(told, []byte(text)) {
			t.Errorf("the verdict tells the secret: %s", told)
		}
	}
}

// ask verifies a credential and checks what is true of every verdict.
func ask(t *testing.T, p *Providers, cred checks.Credential, validity checks.Validity, grade Grade) Verdict {
	t.Helper()
	v, err := p.VerifyAgain(context.Background(), cred)
	if err != nil {
		t.Fatal(err)
	}
	if v.Validity != validity || v.Grade != grade {
		t.Errorf("%s, grade %s; want %s, grade %s: %+v", v.Validity, v.Grade, validity, grade, v.Evidence)
	}
	keepsSecrets(t, v, cred)
	return v
}
