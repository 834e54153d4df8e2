package provider

import (
	"crypto/tls"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/rules"
)

// loginHost is where the network in between sends people.
const loginHost = "login.network.example"

// impostors are what answers in place of a provider, whatever it is asked.
var impostors = map[string]http.HandlerFunc{
	"captive portal":             always(200, "text/html; charset=utf-8", portal),
	"captive portal, 511":        always(511, "text/html", portal),
	"captive portal in xhtml":    always(200, "application/xhtml+xml", `<?xml version="1.0"?><html xmlns="http://www.w3.org/1999/xhtml"/>`),
	"captive portal as xml":      always(200, "text/xml", `<?xml version="1.0"?><html><body><error><code>1</code></error></body></html>`),
	"sign-on page":               always(200, "text/html", `<form action="https://`+loginHost+`/saml"><input name="SAMLRequest"></form>`),
	"sign-on page without type":  always(200, "", portal),
	"firewall's 403":             always(403, "text/html", portal),
	"firewall's 403 in json":     always(403, "application/json", `{"message":"Forbidden"}`),
	"firewall's code":            always(403, "application/json", `{"error":"access_denied","code":1020,"ray_id":"8f1"}`),
	"firewall's 403 in text":     always(403, "text/plain", "Access denied by policy 17\n"),
	"firewall's 406":             always(406, "text/html", portal),
	"proxy's 401":                always(401, "text/html", portal),
	"proxy's 401 without a body": always(401, "", ""),
	"proxy's 403 without a body": always(403, "application/json", ""),
	"proxy's 407":                always(407, "text/html", portal),
	"login by Negotiate": func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("WWW-Authenticate", "Negotiate")
		answer(w, 401, "text/html", portal)
	},
	"200 with nothing":        always(200, "application/json", ""),
	"200 with {}":             always(200, "application/json", "{}"),
	"200 with null":           always(200, "application/json", "null"),
	"200 with a text":         always(200, "application/json", `"ok"`),
	"200 with an error":       always(200, "application/json", `{"error":"temporarily_unavailable","message":"Try again later","status":503}`),
	"200 with errors":         always(200, "application/json", `{"data":null,"errors":[{"message":"Something went wrong","extensions":{"code":"INTERNAL"}}]}`),
	"200 without success":     always(200, "application/json", `{"success":false,"ok":false,"errors":[{"code":7,"message":"Internal"}],"result":null}`),
	"200 with a proxy's word": always(200, "text/plain", "upstream connect error or disconnect/reset before headers"),
	"404 in json":             always(404, "application/json", `{"message":"no Route matched with those values"}`),
	"400 in json":             always(400, "application/json", `{"message":"The plain HTTP request was sent to HTTPS port"}`),
	"429":                     always(429, "application/json", `{"message":"API rate limit exceeded"}`),
	"500 in json":             always(500, "application/json", `{"message":"Internal Server Error"}`),
	"503 in html":             always(503, "text/html", portal),
	"gzip bomb":               bomb,
	"too large":               always(200, "application/json", `{"a":"`+strings.Repeat("a", maxBody)+`"}`),
	"deep json":               always(200, "application/json", strings.Repeat(`{"data":`, 20_000)),
	"deep xml":                always(200, "application/xml", strings.Repeat("<a>", 20_000)),
	"hangs up": func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.(http.Flusher).Flush() // or the asker's transport asks again by itself
		panic(http.ErrAbortHandler)
	},
}

// sloths keep a question waiting until its time is over. They read all of it first: a
// server notices that the asker is gone only when no body is left to read.
var sloths = map[string]http.HandlerFunc{
	"slow drip": func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/json")
		for r.Context().Err() == nil {
			w.Write([]byte(" "))
			w.(http.Flusher).Flush()
			time.Sleep(5 * time.Millisecond)
		}
	},
	"silence": func(_ http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
	},
}

func init() {
	for _, status := range []int{301, 302, 303, 307, 308} {
		impostors["redirect to login, "+http.StatusText(status)] = func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://"+loginHost+"/?next="+r.Host, status)
		}
	}
}

// No impostor may ever make a credential of any kind active or inactive: not when it
// answers everybody, and not when the random value of the control gets through to the
// provider, which refuses it.
func TestNoImpostorIsBelieved(t *testing.T) {
	recorded, same := readRecordings(t, "../../rules/testdata")
	kinds := 0
	for _, rule := range catalogue(t) {
		if rule.Verify.Request == nil {
			continue
		}
		kinds++
		r := recorded[rule.ID]
		if other, ok := same[rule.ID]; ok {
			r = recorded[other]
		}
		t.Run(rule.ID, func(t *testing.T) {
			t.Parallel()
			victim{rule, exampleCredential(t, rule), r, newInternet(t)}.deceive(t)
		})
	}
	t.Logf("%d impostors for each of %d kinds", len(impostors), kinds)
}

// A victim is a kind that impostors answer for.
type victim struct {
	rule *rules.Rule
	cred checks.Credential
	r    *recording // nil while there is none
	net  *internet
}

func (v victim) deceive(t *testing.T) {
	for name, impostor := range impostors {
		v.wantUnknown(t, name, impostor)
		for _, second := range v.plays("active") {
			if len(second.steps) == 2 {
				v.wantUnknown(t, name+" at the second step", v.from(second.steps[:1], impostor))
			}
		}
		v.wantUnknown(t, name+" for this one alone", v.from(nil, impostor))
	}
	for name, sloth := range sloths {
		v.wantUnknownWithin(t, name, sloth, 50*time.Millisecond)
	}
	for _, p := range append(v.plays("active"), v.plays("insufficient")...) {
		v.wantUnknown(t, p.name+" whoever asks", v.toAll(p.steps))
		last := p.steps[len(p.steps)-1]
		for _, media := range []string{"text/html", "text/plain", "application/octet-stream", ""} {
			if !strings.Contains(last.answerHeader.Get("Content-Type"), "json") || last.answer == "" {
				continue
			}
			forged := last
			forged.answerHeader = last.answerHeader.Clone()
			forged.answerHeader.Set("Content-Type", media)
			v.wantUnknown(t, p.name+" as "+media, v.toAll(append(slices.Clone(p.steps[:len(p.steps)-1]), forged)))
		}
	}
	stranger := &internet{transport: v.net.transport.Clone()}
	stranger.transport.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	v.net = stranger
	if got := v.wantUnknown(t, "certificate of nobody", v.toAll(nil)); got.Evidence.Answer != "tls" {
		t.Errorf("certificate of nobody: %q, want tls", got.Evidence.Answer)
	}
}

func (v victim) plays(verdict string) (all []play) {
	if v.r == nil {
		return nil
	}
	for _, p := range v.r.plays {
		if p.verdict == verdict {
			all = append(all, p)
		}
	}
	return all
}

// from has the provider itself answer some steps, then the impostor the next, and the
// provider refuse whatever is asked after that, which is the control.
func (v victim) from(honest []recordedStep, impostor http.HandlerFunc) http.HandlerFunc {
	var refusal []recordedStep
	if no := v.plays("inactive"); len(no) > 0 {
		refusal = no[0].steps
	}
	asked := atomic.Int32{}
	return func(w http.ResponseWriter, r *http.Request) {
		switch n := int(asked.Add(1)) - 1; {
		case n < len(honest):
			honest[n].reply(w, v.cred)
		case n == len(honest):
			impostor(w, r)
		case n-len(honest)-1 < len(refusal):
			refusal[n-len(honest)-1].reply(w, v.cred)
		default:
			answer(w, 500, "application/json", "{}")
		}
	}
}

// toAll answers everybody with the same steps.
func (v victim) toAll(steps []recordedStep) http.HandlerFunc {
	asked := atomic.Int32{}
	return func(w http.ResponseWriter, _ *http.Request) {
		if len(steps) > 0 {
			steps[(int(asked.Add(1))-1)%len(steps)].reply(w, v.cred)
		}
	}
}

func (v victim) wantUnknown(t *testing.T, name string, answer http.HandlerFunc) Verdict {
	t.Helper()
	return v.wantUnknownWithin(t, name, answer, answerWithin)
}

func (v victim) wantUnknownWithin(t *testing.T, name string, answer http.HandlerFunc, within time.Duration) Verdict {
	t.Helper()
	p := v.net.providers(t, v.rule, func(w http.ResponseWriter, r *http.Request) {
		if r.Host == loginHost {
			t.Errorf("%s: a redirect was followed", name)
		}
		answer(w, r)
	})
	p.within = within
	got, err := p.Verify(t.Context(), v.cred)
	if err != nil {
		t.Fatal(err)
	}
	if got.Validity != checks.Unknown || got.Grade != GradeC || got.Reason == "" || len(got.Evidence.Identity) > 0 {
		t.Errorf("%s: %+v, want unknown, grade C, and a reason", name, got)
	}
	return got
}
