package githubtest

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// TestWebFlow signs in as a program without PKCE does, and gives the token back.
func TestWebFlow(t *testing.T) {
	s := start(t, Config{})
	x := openShop(t, s)
	x.SetCallback(x.app.ID, "http://127.0.0.1:1/back")
	x.CreateUser("dana")
	browser := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	get := func(query string) *http.Response {
		t.Helper()
		resp, err := browser.Get(x.URL() + "/login/oauth/authorize?" + query)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { resp.Body.Close() })
		return resp
	}
	if resp := get("client_id=nobody"); resp.StatusCode != http.StatusNotFound {
		t.Errorf("an unknown App: %s", resp.Status)
	}
	// Nobody sits in front of the browser: the page lets its reader choose.
	page, err := io.ReadAll(get("client_id=" + x.app.ClientID).Body)
	if err != nil || !strings.Contains(string(page), "login=dana") || strings.Contains(string(page), "login=acme&") {
		t.Errorf("%v, the page lets choose:\n%s", err, page)
	}
	to, err := get("client_id=" + x.app.ClientID + "&login=dana&state=s").Location()
	if err != nil || to.Query().Get("state") != "s" || to.Query().Get("code") == "" {
		t.Fatalf("sent to %v: %v", to, err)
	}
	ask := url.Values{"client_id": {x.app.ClientID}, "client_secret": {"wrong"}, "code": {to.Query().Get("code")}}
	exchange := func() url.Values {
		t.Helper()
		resp, err := http.PostForm(x.URL()+"/login/oauth/access_token", ask)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := url.ParseQuery(string(body))
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("%s, %v: %s", resp.Status, err, body)
		}
		return answer
	}
	if got := exchange().Get("error"); got != "incorrect_client_credentials" {
		t.Errorf("a wrong secret: %q", got)
	}
	ask.Set("client_secret", x.app.ClientSecret)
	token := exchange().Get("access_token")
	if !strings.HasPrefix(token, "ghu_") || !x.TokenLive(token) {
		t.Error("no live user token came")
	}
	if got := exchange().Get("error"); got != "bad_verification_code" {
		t.Errorf("the same code again: %q", got)
	}

	body, err := json.Marshal(map[string]string{"access_token": token})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []int{http.StatusNoContent, http.StatusNotFound} {
		req, err := http.NewRequest(http.MethodDelete, x.APIURL()+"applications/"+x.app.ClientID+"/token", strings.NewReader(string(body)))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		req.SetBasicAuth(x.app.ClientID, x.app.ClientSecret)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want || x.TokenLive(token) {
			t.Errorf("given back: %s, want %d, live %v", resp.Status, want, x.TokenLive(token))
		}
	}
}
