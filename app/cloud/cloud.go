// Package cloud is Stanch's own account at Google Cloud and at Microsoft Azure: it
// gets that account's tokens, and calls their REST interfaces with them.
//
// The interfaces are called by hand and not through the clouds' libraries: Stanch
// needs some twenty calls in all, for which the libraries would bring gRPC and dozens
// of modules along, and retries that it must not make.
package cloud

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"slices"
	"strings"
	"time"

	"github.com/stanch-dev/stanch/checks"
)

const (
	// answerWithin bounds one call, from the dial to the last byte.
	answerWithin = 10 * time.Second
	// maxBody bounds what is read of an answer: a page of a thousand secrets' names
	// and labels, or a secret of 64 KiB in base64.
	maxBody = 8 << 20
)

// An API is one REST interface, called as Stanch's own account.
type API struct {
	Base   string // without a slash at its end
	Client *http.Client
	Token  func(context.Context) (checks.Secret, error)
}

// NewClient is a client for APIs: it follows no redirect, which would take the token
// along.
func NewClient() *http.Client {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSHandshakeTimeout, transport.DisableCompression = answerWithin, true
	return &http.Client{
		Transport:     transport,
		Timeout:       answerWithin,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// A Call is one request.
type Call struct {
	Method string
	Path   string // with the query
	Name   string // that is told of the path, where that holds a secret; the path without its query when empty
	Needs  string // the permission that Stanch's account must have for it
	Body   any    // JSON; nothing when nil
}

// Told is how messages and evidence name a call.
func (a API) Told(c Call) string {
	if c.Name != "" {
		return c.Method + " " + a.Base + c.Name
	}
	path, _, _ := strings.Cut(c.Path, "?")
	return c.Method + " " + a.Base + path
}

// Do makes a call once and reads the JSON answer into what is given, if that is not
// nil. Whatever is no success is an *Error.
func (a API) Do(ctx context.Context, c Call, into any) error {
	failed := &Error{Request: a.Told(c), Needs: c.Needs}
	token, err := a.Token(ctx)
	if err != nil {
		failed.Code = err.Error()
		return failed
	}
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	trace := &httptrace.ClientTrace{WroteHeaders: func() { failed.Sent = true }}
	req, err := a.request(httptrace.WithClientTrace(ctx, trace), c, token)
	if err != nil {
		failed.Code = "no request can be made of it"
		return failed
	}
	resp, err := a.Client.Do(req)
	if err != nil {
		failed.Code = "no answer" // the error quotes the URL
		return failed
	}
	defer resp.Body.Close()
	failed.Sent, failed.Status = true, resp.StatusCode
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	switch {
	case err != nil || len(body) > maxBody:
		failed.Code = "an answer that breaks off, or is too large"
	case resp.StatusCode < 200 || resp.StatusCode > 299:
		failed.read(body)
	case into == nil || len(body) == 0 && resp.StatusCode == http.StatusNoContent:
		return nil
	default:
		if json.Unmarshal(body, into) == nil {
			return nil
		}
		failed.Code = "an answer that is not the JSON of this interface"
	}
	return failed
}

func (a API) request(ctx context.Context, c Call, token checks.Secret) (*http.Request, error) {
	var body io.Reader
	if c.Body != nil {
		encoded, err := json.Marshal(c.Body)
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(encoded)
	}
	req, err := http.NewRequestWithContext(ctx, c.Method, a.Base+c.Path, body)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+token.Expose())
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "stanch")
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	return req, nil
}

// An Error is a call that did not succeed.
type Error struct {
	Request string // with its host; no secret
	Status  int    // of the answer, 0 when none came
	Code    string // "PERMISSION_DENIED", "Forbidden/SecretDisabled": the cloud's word, or ours
	Needs   string
	Sent    bool // the request may have reached the other side

	said bool   // the answer is an error of the cloud's own, and not of something on the way
	body string // which may quote what was sent
}

// Error names the call, the answer, and the permission that is missing.
func (e *Error) Error() string {
	text := e.Request + ": " + e.Code
	if e.Status != 0 {
		text = fmt.Sprintf("%s answered %d %s", e.Request, e.Status, e.Code)
	}
	if e.Denied() {
		text += ": Stanch's own account needs " + e.Needs + " there"
	}
	return text
}

// read takes in an error of Google's, or of Azure's.
func (e *Error) read(body []byte) {
	var answer struct {
		Error struct {
			Code       any
			Status     string
			InnerError struct{ Code string }
		}
	}
	if json.Unmarshal(body, &answer) != nil || answer.Error.Code == nil {
		e.Code = "and not in the words of this interface"
		return
	}
	code, _ := answer.Error.Code.(string)
	for _, word := range []string{answer.Error.Status, answer.Error.InnerError.Code} {
		if word != "" {
			code = strings.TrimPrefix(code+"/"+word, "/")
		}
	}
	e.Code, e.body = short(code), string(body)
	e.said = true
}

// Mentions reports whether the answer holds a word, such as a policy's name.
func (e *Error) Mentions(word string) bool { return strings.Contains(e.body, word) }

// Denied means that Stanch's own account may not do this.
func (e *Error) Denied() bool {
	return e.said && (e.Status == http.StatusForbidden || e.Status == http.StatusUnauthorized)
}

// Refused means for certain that nothing was done: the cloud said no, or was never asked.
func (e *Error) Refused() bool {
	return !e.Sent || e.said && e.Status >= 400 && e.Status < 500 && e.Status != http.StatusRequestTimeout
}

// Answered reports whether an error is the cloud's answer with one of these statuses.
func Answered(err error, statuses ...int) bool {
	var e *Error
	return errors.As(err, &e) && e.said && slices.Contains(statuses, e.Status)
}

// Denied reports whether an error means that Stanch's own account may not do this.
func Denied(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Denied()
}

// short returns printable text of a bounded length.
func short(text string) string {
	text = strings.Map(func(r rune) rune {
		if r <= ' ' || r >= 0x7f {
			return '_'
		}
		return r
	}, text)
	return text[:min(len(text), 80)]
}
