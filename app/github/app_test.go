package github

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"strings"
	"testing"
)

func TestURLs(t *testing.T) {
	repo := Repository{Owner: "acme", Name: "shop"}
	for _, tt := range []struct{ url, api, clone string }{
		{"", "https://api.github.com/", "https://github.com/acme/shop.git"},
		{"https://github.com", "https://api.github.com/", "https://github.com/acme/shop.git"},
		{"https://GitHub.com/", "https://api.github.com/", "https://github.com/acme/shop.git"},
		{"https://acme.ghe.com", "https://api.acme.ghe.com/", "https://acme.ghe.com/acme/shop.git"},
		{"https://git.acme.example", "https://git.acme.example/api/v3/", "https://git.acme.example/acme/shop.git"},
		{"https://git.acme.example:8443/", "https://git.acme.example:8443/api/v3/", "https://git.acme.example:8443/acme/shop.git"},
		{"http://127.0.0.1:3000", "http://127.0.0.1:3000/api/v3/", "http://127.0.0.1:3000/acme/shop.git"},
		{"http://localhost:3000", "http://localhost:3000/api/v3/", "http://localhost:3000/acme/shop.git"},
		{"http://[::1]:3000", "http://[::1]:3000/api/v3/", "http://[::1]:3000/acme/shop.git"},
	} {
		app, err := New(Config{AppID: 1, PrivateKey: testKey(), URL: tt.url})
		if err != nil {
			t.Errorf("%q: %v", tt.url, err)
			continue
		}
		if got := app.APIURL(); got != tt.api {
			t.Errorf("%q: API at %s, want %s", tt.url, got, tt.api)
		}
		if got := app.CloneURL(repo); got != tt.clone {
			t.Errorf("%q: clone from %s, want %s", tt.url, got, tt.clone)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	ecKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(ecKey)
	if err != nil {
		t.Fatal(err)
	}
	ec := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	broken := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: []byte("hush-hush")})
	for _, tt := range []struct {
		name string
		cfg  Config
		want string // in the error
	}{
		{"no id", Config{PrivateKey: testKey()}, "id is missing"},
		{"no key", Config{AppID: 1}, "not PEM"},
		{"a key that is no PEM", Config{AppID: 1, PrivateKey: []byte("hush-hush")}, "not PEM"},
		{"broken", Config{AppID: 1, PrivateKey: broken}, "no readable private key"},
		{"not RSA", Config{AppID: 1, PrivateKey: ec}, "RSA only"},
		{"plain http", Config{AppID: 1, PrivateKey: testKey(), URL: "http://git.acme.example"}, "not https"},
		{"plain http to github.com", Config{AppID: 1, PrivateKey: testKey(), URL: "http://github.com"}, "not https"},
		{"the API", Config{AppID: 1, PrivateKey: testKey(), URL: "https://api.github.com"}, "the API's address"},
		{"the API of a tenant", Config{AppID: 1, PrivateKey: testKey(), URL: "https://api.acme.ghe.com"}, "the API's address"},
		{"with a path", Config{AppID: 1, PrivateKey: testKey(), URL: "https://git.acme.example/api/v3"}, "more than a host"},
		{"with a password", Config{AppID: 1, PrivateKey: testKey(), URL: "https://me:hush-hush@git.acme.example"}, "password"},
		{"no scheme", Config{AppID: 1, PrivateKey: testKey(), URL: "git.acme.example"}, "not a web address"},
		{"another scheme", Config{AppID: 1, PrivateKey: testKey(), URL: "ssh://git.acme.example"}, "https://"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := New(tt.cfg)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("got %v, want an error with %q", err, tt.want)
			}
			if strings.Contains(err.Error(), "hush") {
				t.Errorf("the error quotes a secret: %v", err)
			}
		})
	}
}

func TestNewTakesPKCS8(t *testing.T) {
	key, err := parseKey(testKey())
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	pem.Encode(&text, &pem.Block{Type: "PRIVATE KEY", Bytes: der})
	if _, err := New(Config{AppID: 1, PrivateKey: text.Bytes()}); err != nil {
		t.Error(err)
	}
}

func TestInstallationsAreKeptAndBounded(t *testing.T) {
	app, err := New(Config{AppID: 1, PrivateKey: testKey()})
	if err != nil {
		t.Fatal(err)
	}
	if first := app.Installation(1); app.Installation(1) != first {
		t.Error("an installation was made twice")
	}
	for id := range int64(maxInstallations + 10) {
		if got := app.Installation(id + 1).ID(); got != id+1 {
			t.Fatalf("installation %d is %d", id+1, got)
		}
	}
	if got := len(app.installations); got != maxInstallations {
		t.Errorf("%d installations are kept", got)
	}
}
