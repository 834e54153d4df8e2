package githubtest

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"
)

// A shop is a simulated GitHub with an App that is installed on a repository
// of one commit.
type shop struct {
	*Server
	t     *testing.T
	app   App
	repo  string
	work  workTree
	first string // the commit
	token string // of the installation
	inbox *inbox
}

func openShop(t *testing.T, s *Server) shop {
	t.Helper()
	repo, err := s.CreateRepository("acme", "shop", RepoOptions{})
	if err != nil {
		t.Fatal(err)
	}
	work := clone(t, s.CloneURL(repo))
	first := work.commit("readme.md", "hello\n")
	work.git("push", "-q", "origin", "HEAD:main")
	app, err := s.CreateApp("Stanch")
	if err != nil {
		t.Fatal(err)
	}
	inbox := newInbox(t)
	if err := s.SetWebhook(app.ID, inbox.URL, ""); err != nil {
		t.Fatal(err)
	}
	id, err := s.Install(app.ID, "acme")
	if err != nil {
		t.Fatal(err)
	}
	x := shop{Server: s, t: t, app: app, repo: repo, work: work, first: first, inbox: inbox}
	x.token = x.installationToken(id)
	x.settle()
	return x
}

// settle waits until all webhooks have arrived.
func (x shop) settle() {
	x.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := x.WaitDeliveries(ctx); err != nil {
		x.t.Fatal(err)
	}
}

func (x shop) jwt() string {
	now := x.now()
	return sign256(x.t, x.app.PrivateKeyPEM, object{
		"iss": fmt.Sprint(x.app.ID), "iat": now.Add(-time.Minute).Unix(), "exp": now.Add(5 * time.Minute).Unix(),
	})
}

// sign256 makes a JSON web token.
func sign256(t *testing.T, private string, claims object) string {
	t.Helper()
	block, _ := pem.Decode([]byte(private))
	key, err := x509.ParsePKCS1PrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	body, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	text := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"RS256","typ":"JWT"}`)) + "." +
		base64.RawURLEncoding.EncodeToString(body)
	sum := sha256.Sum256([]byte(text))
	signature, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	return text + "." + base64.RawURLEncoding.EncodeToString(signature)
}

func (x shop) installationToken(id int64) string {
	x.t.Helper()
	answer := x.call(x.jwt(), "POST", fmt.Sprintf("/app/installations/%d/access_tokens", id), nil).want(201)
	return answer.object()["token"].(string)
}

// An answer is what the API said.
type answer struct {
	t      *testing.T
	what   string
	status int
	header http.Header
	body   []byte
}

// call calls the API with a token, or with none.
func (x shop) call(token, method, path string, body any) answer {
	x.t.Helper()
	return callAPI(x.t, x.Server, token, method, path, body)
}

// as calls the API as the installation.
func (x shop) as(method, path string, body any) answer {
	x.t.Helper()
	return x.call(x.token, method, "/repos/"+x.repo+path, body)
}

func callAPI(t *testing.T, s *Server, token, method, path string, body any) answer {
	t.Helper()
	var reader io.Reader
	if body != nil {
		data, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		reader = bytes.NewReader(data)
	}
	r, err := http.NewRequest(method, s.URL()+APIPrefix+path, reader)
	if err != nil {
		t.Fatal(err)
	}
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	return send(t, r)
}

func send(t *testing.T, r *http.Request) answer {
	t.Helper()
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	response, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	got, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{t, r.Method + " " + r.URL.Path, response.StatusCode, response.Header, got}
}

func (a answer) want(status int) answer {
	a.t.Helper()
	if a.status != status {
		a.t.Fatalf("%s: status %d, want %d: %.300s", a.what, a.status, status, a.body)
	}
	return a
}

func (a answer) object() object { return decode[object](a) }

func (a answer) list() []object { return decode[[]object](a) }

func decode[T any](a answer) T {
	a.t.Helper()
	var v T
	if err := json.Unmarshal(a.body, &v); err != nil {
		a.t.Fatalf("%s: %v in %.300s", a.what, err, a.body)
	}
	return v
}

func (a answer) id() int64 {
	a.t.Helper()
	return int64(a.object()["id"].(float64))
}

// An inbox receives webhooks.
type inbox struct {
	*httptest.Server
	mu     sync.Mutex
	got    []received
	status int
	delay  time.Duration
}

type received struct {
	header http.Header
	body   []byte
}

func newInbox(t *testing.T) *inbox {
	in := &inbox{status: http.StatusAccepted}
	in.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return // the test is over and the server closed under the sender
		}
		in.mu.Lock()
		in.got = append(in.got, received{r.Header.Clone(), body})
		status, delay := in.status, in.delay
		in.mu.Unlock()
		select {
		case <-time.After(delay):
		case <-r.Context().Done():
		}
		w.WriteHeader(status)
	}))
	t.Cleanup(in.Server.Close)
	return in
}

func (in *inbox) answerWith(status int, delay time.Duration) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.status, in.delay = status, delay
}

// take returns the payloads of an event that have come since the last time.
func (x shop) take(event string) []object {
	x.t.Helper()
	x.settle()
	x.inbox.mu.Lock()
	defer x.inbox.mu.Unlock()
	var payloads []object
	for _, r := range x.inbox.got {
		if r.header.Get("X-GitHub-Event") != event {
			continue
		}
		var payload object
		if err := json.Unmarshal(r.body, &payload); err != nil {
			x.t.Fatal(err)
		}
		payloads = append(payloads, payload)
	}
	x.inbox.got = nil
	return payloads
}

// one is the only payload of an event that has come.
func (x shop) one(event string) object {
	x.t.Helper()
	list := x.take(event)
	if len(list) != 1 {
		x.t.Fatalf("%d events %s, want one", len(list), event)
	}
	return list[0]
}
