package provider

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/http/httptrace"
	"strconv"
	"strings"
)

// maxBody bounds what is read of a response. Identity answers are a few
// kilobytes; who sends more than this is not answering.
const maxBody = 1 << 20

// A reply is what came back from a request. Errors of net/http are told only as
// a class, because they quote the URL, and some providers want the secret there.
type reply struct {
	status int
	header http.Header
	object map[string]any // the body, when it is a JSON object
	json   bool           // the body is JSON of any kind
	empty  bool           // there was no body
	fault  string         // why the reply means nothing, "" when it may mean something
	sent   bool           // the request may have reached the other side
}

// exchange sends a request and reads the answer. Everything that the network can
// do wrong ends in reply.fault.
func exchange(client *http.Client, req *http.Request) reply {
	var r reply
	trace := &httptrace.ClientTrace{WroteHeaders: func() { r.sent = true }}
	req = req.WithContext(httptrace.WithClientTrace(req.Context(), trace))
	req.Header.Set("User-Agent", "stanch")
	if req.Header.Get("Accept") == "" {
		req.Header.Set("Accept", "application/json")
	}
	resp, err := client.Do(req)
	if err != nil {
		r.fault = class(err)
		return r
	}
	defer resp.Body.Close()
	r.sent, r.status, r.header = true, resp.StatusCode, resp.Header
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	switch {
	case err != nil:
		r.fault = class(err)
	case len(body) > maxBody:
		r.fault = "body too large"
	default:
		r.fault = r.read(body)
	}
	return r
}

// read takes the body in and says why the reply means nothing, if it does not.
func (r *reply) read(body []byte) string {
	switch {
	case r.status == http.StatusTooManyRequests:
		return "rate limited"
	case r.status >= 500:
		return "server error"
	case r.status >= 300 && r.status < 400:
		return "redirect"
	}
	body = bytes.TrimSpace(body)
	if len(body) == 0 {
		r.empty = true
		return ""
	}
	media, _, _ := mime.ParseMediaType(r.header.Get("Content-Type"))
	if strings.Contains(media, "html") || body[0] == '<' {
		return "html"
	}
	if media != "application/json" && !strings.HasSuffix(media, "+json") {
		return "not json"
	}
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.UseNumber() // a user's number must not become 1.2e+07
	var value any
	if decoder.Decode(&value) != nil || decoder.More() {
		return "broken json"
	}
	r.json = true
	r.object, _ = value.(map[string]any)
	return ""
}

// answer says in a few words what came.
func (r reply) answer() string {
	switch {
	case r.fault != "" && r.status != 0:
		return fmt.Sprintf("%d %s", r.status, r.fault)
	case r.fault != "":
		return r.fault
	case r.empty:
		return strconv.Itoa(r.status) + " without a body"
	}
	return strconv.Itoa(r.status) + " json"
}

// field returns the scalar at a dotted path of the body as text.
func (r reply) field(path string) (string, bool) {
	var at any = r.object
	for _, name := range strings.Split(path, ".") {
		object, ok := at.(map[string]any)
		if !ok {
			return "", false
		}
		if at, ok = object[name]; !ok {
			return "", false
		}
	}
	switch value := at.(type) {
	case string:
		return value, true
	case json.Number:
		return value.String(), true
	case bool:
		return strconv.FormatBool(value), true
	}
	return "", false
}

// class names what went wrong on the way.
func class(err error) string {
	var (
		network     net.Error
		certificate *tls.CertificateVerificationError
		record      tls.RecordHeaderError
		alert       tls.AlertError
		authority   x509.UnknownAuthorityError
		hostname    x509.HostnameError
		dns         *net.DNSError
		op          *net.OpError
	)
	switch {
	case errors.Is(err, errPrivateAddress):
		return "refused: the name leads to an address that is not public"
	case errors.Is(err, context.Canceled):
		return "cancelled"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &network) && network.Timeout():
		return "timeout"
	case errors.As(err, &certificate), errors.As(err, &record), errors.As(err, &alert),
		errors.As(err, &authority), errors.As(err, &hostname):
		return "tls"
	case errors.As(err, &dns):
		return "no such host"
	case errors.As(err, &op) && op.Op == "dial":
		return "no connection"
	}
	return "connection broken"
}
