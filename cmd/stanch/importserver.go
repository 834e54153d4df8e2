package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/stanch-dev/stanch/app"
	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/checks/intake"
	"github.com/stanch-dev/stanch/checks/report"
)

const (
	// sentAtOnce is how many findings a server is told of at a time: it asks providers at
	// their rate, and answers when it has heard from all.
	sentAtOnce = 100
	// maxAnswer bounds a server's answer.
	maxAnswer = 16 << 20
	// serverTimeout is longer than a server takes for one import.
	serverTimeout = 6 * time.Minute
)

// A server is a Stanch that findings are handed to.
type server struct {
	url    string
	token  string
	client *http.Client
}

// newServer is the server at an address. It refuses those to which secrets would travel
// in the clear.
func (env *environment) newServer(address string) (*server, error) {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" {
		return nil, errors.New("--server is no address such as https://stanch.example.com") // not repeated: it may hold a password
	}
	if u.Scheme != "https" && (u.Scheme != "http" || !isLoopback(u.Hostname())) {
		return nil, errors.New("--server is not https: the secrets would travel in the clear")
	}
	token, err := lookup(env.getenv, "STANCH_API_TOKEN")
	if err != nil {
		return nil, err
	}
	if token == "" {
		return nil, errors.New("the server wants its token: set STANCH_API_TOKEN, or STANCH_API_TOKEN_FILE to the path of a file that holds it")
	}
	return &server{
		url: strings.TrimRight(u.String(), "/"), token: token,
		client: &http.Client{Timeout: serverTimeout, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
	}, nil
}

// importTo hands findings to a server, some at a time. What a failure leaves over can be
// sent again: the server knows what it has.
func (env *environment) importTo(ctx context.Context, o importOptions, all intake.Report) (int, error) {
	s, err := env.newServer(o.server)
	if err != nil {
		return 0, err
	}
	s.url += "/api/v1/import"
	if o.repository != "" {
		s.url += "?repository=" + url.QueryEscape(o.repository)
	}
	done := app.Imported{Formats: all.Formats(), Closed: all.Closed, Findings: []app.ImportedFinding{}, NotImported: []app.Left{}}
	left := map[string]int{}
	for leaks := range slices.Chunk(all.Leaks, sentAtOnce) {
		answer, err := s.send(ctx, leaks)
		if err != nil {
			return 0, fmt.Errorf("--server: %w (%d of %d findings were taken; it is safe to send all again)", err, len(done.Findings), len(all.Leaks))
		}
		done.Findings = append(done.Findings, answer.Findings...)
		for _, l := range answer.NotImported {
			left[l.Reason] += l.Count
		}
	}
	for why, n := range left {
		done.NotImported = append(done.NotImported, app.Left{Reason: why, Count: n})
	}
	slices.SortFunc(done.NotImported, func(a, b app.Left) int { return strings.Compare(a.Reason, b.Reason) })
	if o.format == "json" {
		err = writeJSON(env.stdout, done)
	} else {
		err = printImported(env.stdout, done)
	}
	if err != nil {
		return 0, err
	}
	result := scanned{problems: intake.Reasons(left)}
	for _, f := range done.Findings {
		result.findings = append(result.findings, checks.Finding{Validity: f.Validity})
	}
	env.tellImport(o, fmt.Sprintf("%s of %s", report.Count(len(all.Leaks), "finding"), formats(done.Formats)), result)
	return importStatus(len(result.problems), result.findings), nil
}

// send hands over some findings.
func (s *server) send(ctx context.Context, leaks []intake.Leak) (app.Imported, error) {
	var body bytes.Buffer
	if err := intake.Write(&body, leaks); err != nil {
		return app.Imported{}, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url, &body)
	if err != nil {
		return app.Imported{}, errors.New("no request can be made of the address")
	}
	req.Header.Set("Authorization", "Bearer "+s.token)
	req.Header.Set("Content-Type", "application/x-ndjson")
	resp, err := s.client.Do(req)
	if err != nil {
		return app.Imported{}, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return app.Imported{}, fmt.Errorf("read the answer: %w", err)
	}
	var answer struct {
		app.Imported
		Message string `json:"message"`
	}
	decoded := json.Unmarshal(text, &answer)
	switch {
	case resp.StatusCode == http.StatusNotFound && answer.Message == "":
		return app.Imported{}, errors.New("there is no API: has the server a STANCH_API_TOKEN?")
	case resp.StatusCode != http.StatusOK && answer.Message != "":
		return app.Imported{}, fmt.Errorf("it answers %d: %s", resp.StatusCode, answer.Message)
	case resp.StatusCode != http.StatusOK || decoded != nil:
		return app.Imported{}, fmt.Errorf("it answers %s, and not as a Stanch does: is the address right?", resp.Status)
	}
	return answer.Imported, nil
}
