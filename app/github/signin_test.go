package github_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stanch-dev/stanch/app/github"
	"github.com/stanch-dev/stanch/app/github/githubtest"
	"github.com/stanch-dev/stanch/checks"
)

const callback = "https://stanch.example/sign-in/callback"

// comeBack follows a browser to GitHub, and returns what it would come back with.
func comeBack(t *testing.T, at string) url.Values {
	t.Helper()
	browser := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := browser.Get(at)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	to, err := resp.Location()
	if err != nil {
		t.Fatalf("status %s: %v", resp.Status, err)
	}
	if to.Scheme+"://"+to.Host+to.Path != callback {
		t.Fatalf("sent to %s", to)
	}
	return to.Query()
}

func TestSignIn(t *testing.T) {
	now := time.Now()
	hub, err := githubtest.New(githubtest.Config{Dir: t.TempDir(), Clock: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	hub.Start()
	t.Cleanup(func() { hub.Close() })
	self, err := hub.CreateApp("Stanch")
	if err != nil {
		t.Fatal(err)
	}
	hub.SetCallback(self.ID, callback)
	hub.BrowseAs("dana")
	app, err := github.New(github.Config{AppID: self.ID, PrivateKey: []byte(self.PrivateKeyPEM), URL: hub.URL()})
	if err != nil {
		t.Fatal(err)
	}
	signIn := app.SignIn(self.ClientID, checks.NewSecret(self.ClientSecret), callback)
	verifier := github.NewVerifier()
	at := signIn.URL("the state", verifier)
	if strings.Contains(at, self.ClientSecret) || strings.Contains(at, verifier) {
		t.Error("the browser is told a secret")
	}

	back := comeBack(t, at)
	if back.Get("state") != "the state" {
		t.Errorf("came back with %v", back)
	}
	who, err := signIn.Person(t.Context(), back.Get("code"), verifier)
	if err != nil || who.Login != "dana" || who.ID == 0 {
		t.Errorf("signed in as %+v: %v", who, err)
	}
	if n := hub.LiveTokens("dana"); n != 1 { // the refresh token, which the App never keeps
		t.Errorf("%d tokens of dana live", n)
	}

	// A code counts once, for ten minutes, and for who began.
	refused := func(what, code, verifier string, with *github.SignIn) {
		t.Helper()
		who, err := with.Person(t.Context(), code, verifier)
		if !errors.Is(err, github.ErrSignIn) || who != (github.Person{}) || strings.Contains(err.Error(), code) {
			t.Errorf("%s: %+v, %v", what, who, err)
		}
	}
	refused("the same code again", back.Get("code"), verifier, signIn)
	refused("another browser's code", comeBack(t, at).Get("code"), github.NewVerifier(), signIn)
	refused("a wrong secret", comeBack(t, at).Get("code"), verifier, app.SignIn(self.ClientID, checks.NewSecret("wrong"), callback))
	late := comeBack(t, at).Get("code")
	now = now.Add(11 * time.Minute)
	refused("an old code", late, verifier, signIn)

	elsewhere := app.SignIn(self.ClientID, checks.NewSecret(self.ClientSecret), "https://thief.example/")
	if got := comeBack(t, elsewhere.URL("s", verifier)); got.Get("error") != "redirect_uri_mismatch" || got.Get("code") != "" {
		t.Errorf("another callback: came back with %v", got)
	}
}

// TestSignInIsNotGuessed: who signs in is what GitHub says, or nobody.
func TestSignInIsNotGuessed(t *testing.T) {
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	key := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(private)})
	for name, answer := range map[string]string{
		"nobody": `{}`, "no id": `{"login":"dana"}`, "HTML": `<html>`, "refusal": "",
	} {
		t.Run(name, func(t *testing.T) {
			mux := http.NewServeMux()
			mux.HandleFunc("POST /login/oauth/access_token", func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				w.Write([]byte(`{"access_token":"t","token_type":"bearer"}`))
			})
			mux.HandleFunc("GET /api/v3/user", func(w http.ResponseWriter, _ *http.Request) {
				if answer == "" {
					w.WriteHeader(http.StatusUnauthorized)
				}
				w.Write([]byte(answer))
			})
			server := httptest.NewServer(mux)
			defer server.Close()
			app, err := github.New(github.Config{AppID: 1, PrivateKey: key, URL: server.URL})
			if err != nil {
				t.Fatal(err)
			}
			if who, err := app.SignIn("id", checks.NewSecret("secret"), callback).Person(t.Context(), "code", "v"); err == nil || who != (github.Person{}) {
				t.Errorf("signed in as %+v: %v", who, err)
			}
		})
	}
}
