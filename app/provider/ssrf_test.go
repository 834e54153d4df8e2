package provider

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/rules"
)

// inside are ways to write an address that no provider has: as itself, as another
// family's, in the forms that some resolvers read, and the metadata services of clouds.
var inside = []string{
	"127.0.0.1", "127.1.2.3", "0.0.0.0", "[::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[0:0:0:0:0:ffff:7f00:0001]",
	"[64:ff9b::7f00:1]", "[2002:7f00:1::]", "[fe80::1%25lo]", "[fd00:ec2::254]", "10.0.0.1", "172.16.0.1", "192.168.0.1", "100.64.0.1",
	"169.254.169.254", "[::ffff:169.254.169.254]", "[::ffff:a9fe:a9fe]", "168.63.129.16", "192.0.0.192", "100.100.100.200",
	"2130706433", "0x7f000001", "017700000001", "0177.0.0.1", "0x7f.0.0.1", "127.1", "127.0.1", "2852039166", "127.0.0.1.",
	"localhost", "LOCALHOST", "localhost.", "metadata.google.internal", "127.0.0.1.nip.example",
}

// A lookout resolves every name to addresses inside, and tells of each connection.
type lookout struct {
	port        string
	connections *atomic.Int32
	resolver    *net.Resolver
}

func newLookout(t *testing.T) lookout {
	port, connections := trap(t)
	return lookout{port, connections, fakeResolver(t, [4]byte{127, 0, 0, 1})}
}

// providers guard as those of the program do, and ask the lookout for addresses.
func (l lookout) providers(t *testing.T, rule *rules.Rule, allowed ...netip.Prefix) *Providers {
	p := newProviders(t, Config{Catalogue: []*rules.Rule{rule}})
	p.web.guarded = newClient(&net.Dialer{ControlContext: guard(allowed), Resolver: l.resolver}, nil)
	return p
}

func (l lookout) nobodyCame(t *testing.T) {
	t.Helper()
	if n := l.connections.Swap(0); n != 0 {
		t.Errorf("%d connections were made", n)
	}
}

// No way to write an address leads inside.
func TestNoHostLeadsInside(t *testing.T) {
	l := newLookout(t)
	for _, host := range inside {
		rule := hostedAt("https://" + host + ":" + l.port)
		v, err := l.providers(t, rule).Verify(t.Context(), oddCredential("x"))
		if err != nil || v.Validity != checks.Unknown {
			t.Errorf("%s: %+v, %v", host, v, err)
		}
		l.nobodyCame(t)
	}
}

// What is odd about a URL is refused before there is anybody to ask.
func TestOddBasesAreRefused(t *testing.T) {
	for _, base := range []string{
		"https://api.example@127.0.0.1/", "https://api.example:secret@127.0.0.1", "https://127.0.0.1#@api.example", "https://127.0.0.1?@api.example",
		"http://api.example", "file:///etc/passwd", "gopher://127.0.0.1", "//127.0.0.1", "https://", "https:///path", "127.0.0.1", "https://a b",
		"https://１２７.0.0.1", "https://127.0.0.１", "https://127。0。0。1", "https://gıthub.example",
	} {
		if _, err := New(Config{Catalogue: []*rules.Rule{hostedAt(base)}}); err == nil {
			t.Errorf("%s was accepted as a provider's base", base)
		}
		rule := hostedAt("https://api.example")
		rule.Verify.Request.Base = base
		if _, err := New(Config{Catalogue: []*rules.Rule{rule}}); err == nil {
			t.Errorf("%s was accepted as a request's base", base)
		}
	}
}

// No part of a credential, which was written by whoever wrote the text, moves a request
// to another host, wherever it stands.
func TestPartsNameNoHost(t *testing.T) {
	var hosts atomic.Pointer[string]
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		hosts.Store(&r.Host)
		answer(w, 200, "application/json", `{"user":{"name":"bot"}}`)
	}))
	t.Cleanup(server.Close)
	l := newLookout(t)
	rule := odd()
	rule.Verify.Request.Path = "/{id}/me?next={id}"
	rule.Verify.Request.Header["Referer"] = "{id}"
	p := newProviders(t, Config{Catalogue: []*rules.Rule{rule}, BaseURLs: map[string]string{"odd": server.URL}})
	for _, part := range []string{
		"@127.0.0.1:" + l.port, ":" + l.port, "//127.0.0.1:" + l.port, "\\\\127.0.0.1:" + l.port, "/../../127.0.0.1", "?@127.0.0.1", "#@127.0.0.1",
		"http://127.0.0.1:" + l.port, "%2f%2f127.0.0.1", "x\r\nHost: 127.0.0.1:" + l.port, "..", ".", "",
	} {
		cred := oddCredential("x" + part)
		cred.Parts["id"] = checks.NewSecret(part)
		hosts.Store(nil)
		if v, err := p.VerifyAgain(t.Context(), cred); err != nil {
			t.Errorf("%q: %+v, %v", part, v, err)
		}
		if host := hosts.Load(); host != nil && "http://"+*host != server.URL {
			t.Errorf("%q: %s was asked", part, *host)
		}
	}
	l.nobodyCame(t)
}

// A name that was outside when it was asked for, and leads inside now, is not dialled:
// what counts is the address of each connection.
func TestRebindingLeadsNowhere(t *testing.T) {
	l := newLookout(t)
	lookups := atomic.Int32{}
	l.resolver = resolverOf(t, func() [][4]byte {
		switch lookups.Add(1) {
		case 1:
			return [][4]byte{{127, 0, 0, 3}} // stands for what is outside, and nobody is there
		case 2:
			return [][4]byte{{127, 0, 0, 1}}
		}
		return [][4]byte{{127, 0, 0, 3}, {127, 0, 0, 1}, {10, 0, 0, 1}}
	})
	p := l.providers(t, hostedAt("https://rebound.example:"+l.port), netip.MustParsePrefix("127.0.0.3/32"))
	for _, want := range []string{"no connection", "refused: ", ""} {
		v, err := p.VerifyAgain(t.Context(), oddCredential("x"))
		if err != nil || v.Validity != checks.Unknown || !strings.HasPrefix(v.Evidence.Answer, want) {
			t.Errorf("%+v, %v; want %q", v, err, want)
		}
	}
	if lookups.Load() != 3 {
		t.Errorf("%d lookups: a connection or an address was kept", lookups.Load())
	}
	l.nobodyCame(t)
}

// No redirect is followed, whatever it leads to.
func TestRedirectsLeadNowhere(t *testing.T) {
	l := newLookout(t)
	for _, status := range []int{300, 301, 302, 303, 307, 308} {
		for _, to := range []string{"http://127.0.0.1:", "//127.0.0.1:", "http://[::ffff:7f00:1]:", "http://2130706433:", "http://localhost:"} {
			server := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Location", to+l.port)
				answer(w, status, "application/json", `{"user":{"name":"bot"}}`)
			})
			p := newProviders(t, Config{Catalogue: []*rules.Rule{odd()}, BaseURLs: map[string]string{"odd": server.URL}})
			if v, err := p.Verify(t.Context(), oddCredential("x")); err != nil || v.Reason != ReasonNoAnswer {
				t.Errorf("%d to %s: %+v, %v", status, to, v, err)
			}
		}
	}
	l.nobodyCame(t)
}

// Behind the operator's proxy the names are the proxy's to resolve. What is inside by
// its looks is not even asked of it, and what has no certificate for the name gets no
// credential.
func TestProxy(t *testing.T) {
	net := newInternet(t)
	asked, rule := atomic.Int32{}, hostedAt("https://api.odd.example")
	net.providers(t, rule, func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		answer(w, 401, "application/json", `{}`)
	})
	var through atomic.Pointer[string]
	proxy := serve(t, func(w http.ResponseWriter, r *http.Request) {
		through.Store(&r.Host)
		if r.Method != http.MethodConnect || r.Header.Get("Proxy-Authorization") == "" {
			t.Errorf("%s %s", r.Method, r.Host)
		}
		tunnel(t, w, net)
	})
	at, _ := url.Parse(proxy.URL)
	at.User = url.UserPassword("stanch", "sesame")
	ask := func(rule *rules.Rule) Verdict {
		t.Helper()
		p := newProviders(t, Config{Catalogue: []*rules.Rule{rule}, Proxy: at})
		transport := p.web.guarded.Transport.(*http.Transport)
		t.Cleanup(transport.CloseIdleConnections)
		if asked.Load() == 0 {
			transport.TLSClientConfig = net.transport.TLSClientConfig.Clone()
		}
		v, err := p.Verify(t.Context(), oddCredential("x"))
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	if v := ask(rule); v.Evidence.Status != 401 || asked.Load() != 1 || *through.Load() != "api.odd.example:443" {
		t.Errorf("%+v after %d questions", v, asked.Load())
	}
	if v := ask(rule); v.Evidence.Answer != "tls" || asked.Load() != 1 {
		t.Errorf("%+v after %d questions", v, asked.Load())
	}
	for _, host := range inside {
		through.Store(nil)
		if strings.Contains(host, ".internal") || strings.Contains(host, ".example") {
			continue // for the proxy to know, and for the certificate
		}
		if v := ask(hostedAt("https://" + host)); v.Validity != checks.Unknown || through.Load() != nil {
			t.Errorf("%s: %+v", host, v)
		}
	}
	for _, odd := range []string{"ftp://proxy", "proxy:3128", "http://", "http:///x"} {
		at, err := url.Parse(odd)
		if err != nil {
			continue
		}
		if _, err := New(Config{Catalogue: []*rules.Rule{rule}, Proxy: at}); err == nil {
			t.Errorf("%s was accepted as a proxy", odd)
		}
	}
}

// tunnel connects who asks a proxy for it with the internet.
func tunnel(t *testing.T, w http.ResponseWriter, in *internet) {
	near, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		t.Error(err)
		return
	}
	io.WriteString(near, "HTTP/1.1 200 Connection established\r\n\r\n")
	far, err := in.transport.DialContext(context.Background(), "tcp", "")
	if err != nil {
		t.Error(err)
		return
	}
	for _, way := range [][2]net.Conn{{far, near}, {near, far}} {
		go func() {
			defer way[0].Close()
			io.Copy(way[0], way[1])
		}()
	}
}

// resolverOf answers each lookup of IPv4 addresses with what next says.
func resolverOf(t *testing.T, next func() [][4]byte) *net.Resolver {
	t.Helper()
	server, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	go func() {
		buffer := make([]byte, 1500)
		for {
			n, from, err := server.ReadFrom(buffer)
			if err != nil {
				return
			}
			var message dnsmessage.Message
			if message.Unpack(buffer[:n]) != nil || len(message.Questions) == 0 {
				continue
			}
			asked := message.Questions[0]
			message.Response, message.Additionals = true, nil
			if asked.Type == dnsmessage.TypeA {
				for _, address := range next() {
					message.Answers = append(message.Answers, dnsmessage.Resource{
						Header: dnsmessage.ResourceHeader{Name: asked.Name, Type: asked.Type, Class: asked.Class, TTL: 1},
						Body:   &dnsmessage.AResource{A: address},
					})
				}
			}
			if packed, err := message.Pack(); err == nil {
				server.WriteTo(packed, from)
			}
		}
	}()
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "udp", server.LocalAddr().String())
	}}
}
