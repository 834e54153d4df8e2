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
	"time"
)

// maxBody bounds what is read of a response. Identity answers are a few
// kilobytes; who sends more than this is not answering.
const maxBody = 1 << 20

// A reply is what came back from a request. Errors of net/http are told only as
// a class, because they quote the URL, and some providers want the secret there.
type reply struct {
	status int
	header http.Header
	value  any            // the body, when it is JSON or XML
	object map[string]any // the same, when it is an object
	json   bool           // the body is JSON of any kind
	xml    bool           // the body is XML; value is what stands below its root
	plain  string         // the body, when it is neither of them nor HTML
	empty  bool           // there was no body
	fault  string         // why the reply means nothing, "" when it may mean something
	sent   bool           // the request may have reached the other side
	local  bool           // it was not even tried
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
		r.fault, r.local = class(err), errors.Is(err, errPrivateAddress)
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

// The faults that an answer of the catalogue may know better; see fits.
const (
	faultLimited = "rate limited"
	faultNotJSON = "not json"
)

// read takes the body in and says why the reply means nothing, if it does not.
func (r *reply) read(body []byte) string {
	switch {
	case r.status >= 500:
		return "server error"
	case r.status >= 300 && r.status < 400:
		return "redirect"
	}
	fault := r.decode(bytes.TrimSpace(body))
	if r.status == http.StatusTooManyRequests {
		return faultLimited
	}
	return fault
}

// decode takes in a body without the space around it.
func (r *reply) decode(body []byte) string {
	if len(body) == 0 {
		r.empty = true
		return ""
	}
	media, _, _ := mime.ParseMediaType(r.header.Get("Content-Type"))
	switch {
	case media == "application/xml" || media == "text/xml":
		return r.decodeXML(body)
	case strings.Contains(media, "html") || body[0] == '<':
		return "html"
	case media != "application/json" && !strings.HasSuffix(media, "+json"):
		r.plain = strings.ToValidUTF8(string(body), "\ufffd")
		return faultNotJSON
	}
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.UseNumber() // a user's number must not become 1.2e+07
	var value any
	if decoder.Decode(&value) != nil || decoder.More() {
		return "broken json"
	}
	r.json, r.value = true, value
	r.object, _ = value.(map[string]any)
	return ""
}

// reason says why a reply that is no answer of the catalogue leaves a validity unknown.
func (r reply) reason() Reason {
	switch {
	case r.status == 0 && !r.sent && r.local:
		return ReasonNotAsked
	case r.status == 0:
		return ReasonUnreachable
	case r.fault == faultLimited:
		return ReasonLimited
	case r.status >= 500:
		return ReasonServerError
	case r.fault == "" || r.fault == faultNotJSON:
		return ReasonUnfit
	}
	return ReasonNoAnswer
}

// retryAfter is how long the other side asked to be left alone.
// https://www.rfc-editor.org/rfc/rfc9110#field.retry-after
func (r reply) retryAfter(now time.Time) time.Duration {
	if r.status != http.StatusTooManyRequests {
		return 0
	}
	wish := r.header.Get("Retry-After")
	if seconds, err := strconv.Atoi(wish); err == nil {
		return time.Duration(min(max(seconds, 0), int(longestWish/time.Second))) * time.Second
	}
	if at, err := http.ParseTime(wish); err == nil {
		return max(0, at.Sub(now))
	}
	return 0
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
	case r.xml:
		return strconv.Itoa(r.status) + " xml"
	}
	return strconv.Itoa(r.status) + " json"
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
