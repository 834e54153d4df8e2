package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os/user"
	"strings"

	"github.com/stanch-dev/stanch/app"
)

// An api is who is asked about incidents: a server, or this process itself, which then
// carries out what it is told.
type api struct {
	url    string
	token  string // of the server
	caller string
	client *http.Client
	local  *localApp // nil with a server
}

// An apiError is an answer that says why nothing was done.
type apiError struct {
	status  int
	message string
}

func (e *apiError) Error() string { return e.message }

// serverAddress is the address of the server that a command speaks to; empty for none.
func (env *environment) serverAddress(flag string) string {
	if flag != "" {
		return flag
	}
	return env.getenv("STANCH_SERVER_URL")
}

// serverAPI is the API of a server.
func (env *environment) serverAPI(address string) (*api, error) {
	s, err := env.newServer(address)
	if err != nil {
		return nil, err
	}
	return &api{url: s.url, token: s.token, caller: env.caller(), client: s.client}, nil
}

// caller is who the audit log says has ordered something: STANCH_CALLER, or the user of
// this machine.
func (env *environment) caller() string {
	name := env.getenv("STANCH_CALLER")
	if name == "" {
		if u, err := user.Current(); err == nil {
			name = u.Username
		}
	}
	name = strings.Map(func(r rune) rune {
		if strings.ContainsRune("@._+-", r) || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' {
			return r
		}
		return '_' // as in DOMAIN\user
	}, name)
	name = strings.TrimLeft(name, "@._+-")
	if name == "" {
		return "unknown"
	}
	return name[:min(len(name), 64)]
}

// close ends what the process itself was doing; with a server there is nothing to end.
func (a *api) close() error {
	if a.local == nil {
		return nil
	}
	return a.local.close()
}

// call asks for something, with what body points to, and reads the answer into what into
// points to.
func (a *api) call(ctx context.Context, method, path string, body, into any) error {
	var text bytes.Buffer
	if body != nil {
		if err := json.NewEncoder(&text).Encode(body); err != nil {
			return errors.New("the call cannot be written as JSON") // the error might quote it
		}
	}
	req, err := http.NewRequestWithContext(ctx, method, a.url+"/api/v1"+path, &text)
	if err != nil {
		return errors.New("no request can be made of the address")
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set(app.CallerHeader, a.caller)
	if a.token != "" {
		req.Header.Set("Authorization", "Bearer "+a.token)
	}
	resp, err := a.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return refused(resp, answer)
	}
	if err := json.Unmarshal(answer, into); err != nil {
		return errors.New("the answer is not a Stanch’s: is the address right?")
	}
	return nil
}

// refused is the error of an answer that is none of success.
func refused(resp *http.Response, answer []byte) error {
	var told struct {
		Message string `json:"message"`
	}
	_ = json.Unmarshal(answer, &told) // what is no JSON has no message
	switch {
	case told.Message != "":
		return &apiError{resp.StatusCode, told.Message}
	case resp.StatusCode == http.StatusNotFound:
		return errors.New("there is no API: has the server a STANCH_API_TOKEN?")
	}
	return fmt.Errorf("it answers %s, and not as a Stanch does: is the address right?", resp.Status)
}

// An inProcess carries requests to a handler of this process.
type inProcess struct{ handler http.Handler }

func (t inProcess) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	if r.Body == nil {
		r.Body = http.NoBody
	}
	w := &kept{header: http.Header{}, status: http.StatusOK}
	t.handler.ServeHTTP(w, r)
	return &http.Response{
		StatusCode: w.status, Status: fmt.Sprintf("%d %s", w.status, http.StatusText(w.status)), Header: w.header,
		Body: io.NopCloser(&w.body), Request: r,
	}, nil
}

// A kept answer is one that is read where it is written.
type kept struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (k *kept) Header() http.Header         { return k.header }
func (k *kept) WriteHeader(status int)      { k.status = status }
func (k *kept) Write(b []byte) (int, error) { return k.body.Write(b) }
