package main

import (
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os/exec"
	"strings"
	"sync"
	"testing"
)

// A reaper kills a process, as kill -9 does, at a point of a remediation: at a moment of
// a step, or when so many answers from outside have come for it meanwhile, the last of
// which it does not get to see.
type reaper struct {
	t       *testing.T
	control *httptest.Server // is told by the process where it is, which waits for it

	mu      sync.Mutex
	process *exec.Cmd
	dead    bool
	proxies map[string]string // by the address that they lead to

	killAt  string // "put/begun"; empty for never
	answers int    // over zero: not then but when so many answers came
	armed   bool
	step    string         // that is under way
	seen    []string       // the points that were passed
	counts  map[string]int // of answers, by step
}

func newReaper(t *testing.T) *reaper {
	r := &reaper{t: t, proxies: map[string]string{}, counts: map[string]int{}}
	r.control = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
		r.passes(strings.TrimPrefix(req.URL.Path, "/"))
	}))
	t.Cleanup(r.control.Close)
	return r
}

// at chooses the point: a moment of a step, "put/acted", or the n-th answer in a step,
// which is "put/begun" and n over zero.
func (r *reaper) at(point string, n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.killAt, r.answers, r.armed = point, n, false
}

// watch makes a process the one that is killed.
func (r *reaper) watch(p *exec.Cmd) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.process, r.dead = p, false
}

// passes notes a point that the process has come to.
func (r *reaper) passes(point string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen = append(r.seen, point)
	step, moment, _ := strings.Cut(point, "/")
	r.step = step
	if moment != "begun" {
		r.step = ""
	}
	switch {
	case point != r.killAt:
		r.armed = r.armed && strings.HasPrefix(point, strings.TrimSuffix(r.killAt, "begun"))
	case r.answers == 0:
		r.killLocked()
	default:
		r.armed = true
	}
}

// answered notes an answer from outside, and reports whether the process may have it.
func (r *reaper) answered() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.counts[r.step]++
	if !r.armed {
		return true
	}
	if r.answers--; r.answers > 0 {
		return true
	}
	r.killLocked()
	return false
}

func (r *reaper) kill() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.killLocked()
}

func (r *reaper) killLocked() {
	if r.process != nil {
		r.process.Process.Kill()
		r.process.Wait()
	}
	r.process, r.dead, r.killAt, r.armed = nil, true, "", false
}

func (r *reaper) reaped() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.dead
}

// toldAll is an error while a step has acted and its end is still to come.
func (r *reaper) toldAll() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if last := len(r.seen) - 1; !r.dead && last >= 0 && strings.HasSuffix(r.seen[last], "/acted") {
		return errors.New("the last that was told is " + r.seen[last])
	}
	return nil
}

// via is an address that leads to another one, a URL or HOST:PORT.
func (r *reaper) via(to string) string {
	r.t.Helper()
	u, err := url.Parse(to)
	host := to
	if err == nil && u.Host != "" {
		host = u.Host
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	proxy, ok := r.proxies[host]
	if !ok {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			r.t.Fatal(err)
		}
		r.t.Cleanup(func() { l.Close() })
		proxy = l.Addr().String()
		r.proxies[host] = proxy
		go r.serve(l, host)
	}
	return strings.Replace(to, host, proxy, 1)
}

func (r *reaper) serve(l net.Listener, to string) {
	for {
		client, err := l.Accept()
		if err != nil {
			return
		}
		go r.pass(client, to)
	}
}

// pass passes on what both sides of a connection say. What the server says after the
// client did is an answer.
func (r *reaper) pass(client net.Conn, to string) {
	defer client.Close()
	server, err := net.Dial("tcp", to)
	if err != nil {
		return
	}
	defer server.Close()
	var mu sync.Mutex
	asked := false
	go func() {
		defer server.Close()
		b := make([]byte, 64<<10)
		for {
			n, err := client.Read(b)
			if n > 0 {
				mu.Lock()
				asked = true
				mu.Unlock()
				if _, err := server.Write(b[:n]); err != nil {
					return
				}
			}
			if err != nil {
				return
			}
		}
	}()
	b := make([]byte, 64<<10)
	for {
		n, err := server.Read(b)
		mu.Lock()
		answer := asked && n > 0
		asked = asked && n == 0
		mu.Unlock()
		if answer && !r.answered() {
			return
		}
		if n > 0 {
			if _, err := client.Write(b[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}
