package provider

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/rules"
)

// operatorHost is where the recordings have providers whose host the operator names.
const operatorHost = "https://operator.example"

// TestExchanges plays the documented answers of each provider to the driver.
func TestExchanges(t *testing.T) {
	all, same := readRecordings(t, "../../rules/testdata")
	net := newInternet(t)
	known := map[string]*rules.Rule{}
	for _, rule := range catalogue(t) {
		known[rule.ID] = rule
	}
	for kind := range all {
		if known[kind] == nil || known[kind].Verify.Request == nil {
			t.Errorf("rules/testdata tells of %s, which is no kind that a request verifies", kind)
		}
	}
	for kind, rule := range known {
		if rule.Verify.Request == nil {
			continue
		}
		r := all[kind]
		if other, ok := same[kind]; ok {
			r = all[other]
			if known[other] == nil || !reflect.DeepEqual(rule.Verify, known[other].Verify) {
				t.Errorf("%s is not verified as %s is", kind, other)
				continue
			}
		}
		if r == nil {
			t.Errorf("%s is verified, and rules/testdata has none of its exchanges", kind)
			continue
		}
		t.Run(kind, func(t *testing.T) { net.replay(t, rule, r) })
	}
}

// complete complains of what a recording does not tell.
func (r *recording) complete(t *testing.T, rule *rules.Rule) {
	t.Helper()
	for _, verdict := range recordedVerdicts {
		told := slices.ContainsFunc(r.plays, func(p play) bool { return p.verdict == verdict })
		excused := r.none[verdict] != "" && (verdict == "insufficient" || verdict == "inactive" && rule.Verify.Because != "")
		if told == excused {
			t.Errorf("%s/%s: told: %t, and why it is not: %q", rule.ID, verdict, told, r.none[verdict])
		}
	}
}

// internet is a server that all hosts of the catalogue lead to.
type internet struct {
	transport *http.Transport // that the driver uses, with every host at the server
	mu        sync.Mutex
	answer    http.HandlerFunc
}

func newInternet(t *testing.T) *internet {
	t.Helper()
	n := &internet{}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	sign := func(template, parent *x509.Certificate) *x509.Certificate {
		template.SerialNumber, template.NotBefore, template.NotAfter = big.NewInt(time.Now().UnixNano()), time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
		if parent == nil {
			parent = template
		}
		der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), key)
		if err != nil {
			t.Error(err)
			return nil
		}
		cert, _ := x509.ParseCertificate(der)
		return cert
	}
	root := sign(&x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}, nil)
	roots.AddCert(root)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n.mu.Lock()
		answer := n.answer
		n.mu.Unlock()
		answer(w, r)
	}))
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)
	server.TLS = &tls.Config{GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		cert := sign(&x509.Certificate{DNSNames: []string{hello.ServerName}}, root)
		return &tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key}, nil
	}}
	server.StartTLS()
	t.Cleanup(server.Close)
	n.transport = newClient(new(net.Dialer), &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots}).Transport.(*http.Transport)
	n.transport.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, server.Listener.Addr().String())
	}
	t.Cleanup(n.transport.CloseIdleConnections)
	return n
}

// providers are those of a rule whose every host is the server, which is asked as often
// as anybody likes.
func (n *internet) providers(t *testing.T, rule *rules.Rule, answer http.HandlerFunc) *Providers {
	t.Helper()
	n.mu.Lock()
	n.answer = answer
	n.mu.Unlock()
	hasty, provider := *rule, *rule.Provider
	hasty.Provider, provider.Rate = &provider, "1000/s"
	cfg := Config{Catalogue: []*rules.Rule{&hasty}}
	if rule.Provider.Base == "" && rule.Verify.Request.Base == "" {
		cfg.BaseURLs = map[string]string{rule.Provider.Name: operatorHost}
	}
	p := newProviders(t, cfg)
	p.web.guarded.Transport, p.web.trusted.Transport = n.transport, n.transport
	return p
}

// replay plays all that a recording tells of a kind.
func (n *internet) replay(t *testing.T, rule *rules.Rule, r *recording) {
	r.complete(t, rule)
	cred := exampleCredential(t, rule)
	i := slices.IndexFunc(r.plays, func(p play) bool { return p.verdict == "inactive" })
	for _, p := range r.plays {
		t.Run(strings.TrimPrefix(p.name, rule.ID+"/"), func(t *testing.T) {
			stage := &stage{t: t, cred: cred, play: p, elsewhere: rule.Provider.Elsewhere}
			if i >= 0 {
				stage.refusal = &r.plays[i]
			}
			v, err := n.providers(t, rule, stage.serve).Verify(t.Context(), cred)
			if err != nil {
				t.Fatal(err)
			}
			stage.judge(v)
		})
	}
}

// A stage is one play on its way.
type stage struct {
	t         *testing.T
	cred      checks.Credential
	play      play
	refusal   *play // what a random value is told
	elsewhere bool  // other hosts have credentials of the kind

	mu      sync.Mutex
	step    int // of the play
	control int // of the refusal
}

// serve answers the credential as the play goes, and others as the refusal does.
func (s *stage) serve(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	body, _ := io.ReadAll(r.Body)
	if s.step < len(s.play.steps) {
		step := s.play.steps[s.step]
		if why := step.differs(r, body, s.cred); why != "" {
			s.t.Errorf("%s: step %d: %s", s.play.name, s.step+1, why)
		}
		s.step++
		step.reply(w, s.cred)
		return
	}
	if s.refusal == nil || s.control >= len(s.refusal.steps) {
		w.WriteHeader(http.StatusInternalServerError) // nothing says what it is told
		return
	}
	step := s.refusal.steps[s.control]
	if s.control++; s.control == 1 && step.differs(r, body, s.cred) == "" {
		s.t.Errorf("%s: the negative control asked about the credential itself", s.play.name)
	}
	step.reply(w, s.cred)
}

// differs says in what a request is another than the recorded one.
func (s *recordedStep) differs(r *http.Request, body []byte, cred checks.Credential) string {
	want, err := url.Parse(filled(s.url, cred))
	if err != nil {
		return "the recorded URL is none"
	}
	if r.Method != s.method || r.Host != want.Host || r.URL.EscapedPath() != want.EscapedPath() || r.URL.RawQuery != want.RawQuery {
		return "asked " + r.Method + " " + r.Host + r.RequestURI + ", recorded is " + s.method + " " + want.String()
	}
	for name, values := range s.header {
		if got := strings.Join(r.Header.Values(name), ", "); got != filled(strings.Join(values, ", "), cred) {
			return "the header's field " + name + " is another than the recorded one"
		}
	}
	if s.body != "" && !sameBody(r.Header.Get("Content-Type"), body, filled(s.body, cred)) {
		return "the body is another than the recorded one"
	}
	return ""
}

// sameBody compares bodies, JSON by its value and forms by their fields.
func sameBody(media string, got []byte, want string) bool {
	switch media {
	case "application/json":
		var a, b any
		return json.Unmarshal(got, &a) == nil && json.Unmarshal([]byte(want), &b) == nil && reflect.DeepEqual(a, b)
	case "application/x-www-form-urlencoded":
		a, err := url.ParseQuery(string(got))
		b, other := url.ParseQuery(want)
		return err == nil && other == nil && reflect.DeepEqual(a, b)
	}
	return bytes.Equal(bytes.TrimSpace(got), []byte(want))
}

func (s *recordedStep) reply(w http.ResponseWriter, cred checks.Credential) {
	for name, values := range s.answerHeader {
		w.Header()[name] = values
	}
	if s.answerHeader.Get("Content-Type") == "" {
		w.Header()["Content-Type"] = nil
	}
	w.WriteHeader(s.status)
	io.WriteString(w, filled(s.answer, cred))
}

// judge compares a verdict with what the play is about.
func (s *stage) judge(v Verdict) {
	got := map[checks.Validity]string{checks.Active: "active", checks.Inactive: "inactive", checks.Unknown: "unknown"}[v.Validity]
	if v.LacksScope {
		got = "insufficient"
	}
	if got != s.play.verdict {
		s.t.Errorf("%s: the verdict is %s: %+v", s.play.name, got, v)
	}
	grade := GradeC
	switch {
	case v.Validity == checks.Unknown || s.refusal == nil:
	case v.Validity == checks.Active && len(v.Evidence.Identity) > 0:
		grade = GradeA
	default:
		grade = GradeB
	}
	if v.Grade != grade {
		s.t.Errorf("%s: grade %s, want %s: %+v", s.play.name, v.Grade, grade, v)
	}
	if v.SelfHosted != s.elsewhere {
		s.t.Errorf("%s: about other hosts it says nothing: %t, want %t", s.play.name, v.SelfHosted, s.elsewhere)
	}
	if s.step != len(s.play.steps) {
		s.t.Errorf("%s: %d of %d steps were taken", s.play.name, s.step, len(s.play.steps))
	}
}

// exampleCredential finds the credential in one of the rule's examples, with all parts
// that its verification needs.
func exampleCredential(t *testing.T, rule *rules.Rule) checks.Credential {
	t.Helper()
	scanner, err := checks.New(rule)
	if err != nil {
		t.Fatal(err)
	}
	for _, example := range rule.Examples {
		text, _, err := rule.Expand(example, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		found, err := scanner.Examine("example", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range found {
			if has(f.Credential, rule) {
				return f.Credential
			}
		}
	}
	t.Fatalf("no example of %s has all its parts", rule.ID)
	return checks.Credential{}
}

// has reports whether a credential has all parts that its verification names.
func has(cred checks.Credential, rule *rules.Rule) bool {
	for _, step := range rule.Verify.Steps() {
		encoded, _ := json.Marshal(step.Request)
		for _, m := range rules.Placeholder.FindAllStringSubmatch(string(encoded), -1) {
			if _, ok := cred.Parts[m[1]]; !ok && !strings.HasPrefix(m[1], rules.First) {
				return false
			}
		}
	}
	return true
}
