package github

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gofri/go-github-ratelimit/v2/github_ratelimit"
	"github.com/gofri/go-github-ratelimit/v2/github_ratelimit/github_secondary_ratelimit"
	gh "github.com/google/go-github/v62/github"
)

const (
	// apiVersion is supported by github.com and by every Enterprise Server;
	// later versions are not in Enterprise Server before 3.21.
	// Source: https://docs.github.com/rest/about-the-rest-api/api-versions
	apiVersion = "2022-11-28"

	// requestTimeout bounds one request with its answer. GitHub itself ends a
	// request after 10 seconds.
	// Source: https://docs.github.com/rest/using-the-rest-api/troubleshooting-the-rest-api
	requestTimeout = 30 * time.Second

	// maxRedirects is enough for a repository that was renamed and moved.
	maxRedirects = 3

	// maxErrorBody bounds what is read of a refusal.
	maxErrorBody = 1 << 20

	// perPage is the most that GitHub puts on a page of any list, and maxPages
	// bounds the lists that strangers can make long.
	// Source: https://docs.github.com/rest/using-the-rest-api/using-pagination-in-the-rest-api
	perPage  = 100
	maxPages = 300
)

// A client sends the requests of one identity, the App or an installation. It
// remembers until when GitHub does not want to hear of that identity.
type client struct {
	gh     *gh.Client
	budget budget

	mu    sync.Mutex
	until time.Time
}

// newClient returns a client that sends through auth to api, and asks what it was
// told before for what has changed. owner is the installation, 0 for the App.
//
// Two limiters act under it. go-github refuses what GitHub would refuse after
// a 403, and the limiter added here does so after a 429, which go-github does
// not understand. It is kept from sleeping and sending again: by then the body
// of the request is used up.
func newClient(auth http.RoundTripper, api *url.URL, kept *answers, owner int64) *client {
	c := &client{}
	metered := &meter{&conditional{auth, kept, owner}, &c.budget}
	c.gh = gh.NewClient(&http.Client{
		Transport:     github_ratelimit.New(metered, github_secondary_ratelimit.WithSingleSleepLimit(0, nil)),
		Timeout:       requestTimeout,
		CheckRedirect: checkRedirect,
	})
	c.gh.BaseURL = api
	return c
}

// do makes a call and turns what it says about limits and refusals into this
// package's errors. During a rate limit nothing is sent, and nothing for the
// background when little is left.
func (c *client) do(ctx context.Context, call func(*gh.Client) error) error {
	if wait := c.wait(); wait > 0 {
		return &RateLimited{RetryAfter: wait}
	}
	if wait := c.budget.wait(); wait > 0 && isBackground(ctx) {
		return &RateLimited{RetryAfter: wait, Reserved: true}
	}
	err := classify(call(c.gh))
	var limited *RateLimited
	if errors.As(err, &limited) {
		c.pause(limited.RetryAfter)
	}
	return err
}

// wait is how long GitHub still asked to be left alone.
func (c *client) wait() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Until(c.until)
}

// pause keeps calls back for d from now on.
func (c *client) pause(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if until := time.Now().Add(d); until.After(c.until) {
		c.until = until
	}
}

// send makes one request that go-github has no function for, or one that
// leaves out what is needed here. The answer is decoded into out.
func send(ctx context.Context, c *gh.Client, method, path string, body, out any) (*gh.Response, error) {
	req, err := c.NewRequest(method, path, body)
	if err != nil {
		return nil, err
	}
	return c.Do(ctx, req, out)
}

// checkRedirect follows GitHub to where a repository went, and nowhere else:
// the transport would send the token along to any host.
func checkRedirect(req *http.Request, via []*http.Request) error {
	first := via[0]
	switch {
	case len(via) > maxRedirects:
		return fmt.Errorf("GitHub redirected more than %d times", maxRedirects)
	case req.URL.Scheme != first.URL.Scheme || req.URL.Host != first.URL.Host:
		return fmt.Errorf("GitHub redirected to another host, %s: refused", req.URL.Host)
	case req.Method != first.Method:
		return fmt.Errorf("GitHub redirected a %s as a %s: refused", first.Method, req.Method)
	}
	return nil
}

// A door is the transport that every request passes last, the requests for
// tokens too. It sets the headers that all need and mends GitHub's refusals.
type door struct {
	base      http.RoundTripper
	userAgent string
}

func newDoor(base http.RoundTripper) *door {
	if base == nil {
		base = http.DefaultTransport.(*http.Transport).Clone()
	}
	return &door{base: base, userAgent: "stanch/" + buildVersion()}
}

// buildVersion is this program's version, as the Go command recorded it.
func buildVersion() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return "devel"
	}
	return strings.Trim(info.Main.Version, "()")
}

// RoundTrip implements http.RoundTripper.
func (d *door) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.Clone(req.Context())
	req.Header.Set("User-Agent", d.userAgent)
	req.Header.Set("X-GitHub-Api-Version", apiVersion)
	resp, err := d.base.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode == http.StatusForbidden || resp.StatusCode == http.StatusTooManyRequests {
		return mend(resp)
	}
	return resp, nil
}

// mend gives a secondary rate limit without a usable Retry-After the minute
// that GitHub's documentation asks for. Both limiters above would otherwise
// take the time at which the primary limit is renewed, up to an hour away; and
// if that time is past, one of them would send the request again at once,
// without its body, for as long as GitHub refuses.
func mend(resp *http.Response) (*http.Response, error) {
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxErrorBody))
	resp.Body.Close()
	if err != nil {
		return nil, fmt.Errorf("read GitHub's answer %s: %w", resp.Status, err)
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	if retryAfter(resp.Header) == 0 {
		resp.Header.Del("Retry-After")
		if !primaryLimit(resp.Header) && saysSecondaryLimit(resp.StatusCode, body) {
			resp.Header.Set("Retry-After", strconv.Itoa(int(secondaryWait.Seconds())))
		}
	}
	return resp, nil
}

// saysSecondaryLimit reports whether a refusal is a secondary rate limit. A
// 429 always is one when it is no primary limit; a 403 says so in its body.
// Source: https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api
func saysSecondaryLimit(status int, body []byte) bool {
	var said struct {
		Message string `json:"message"`
		URL     string `json:"documentation_url"`
	}
	if status == http.StatusTooManyRequests {
		return true
	}
	if json.Unmarshal(body, &said) != nil {
		return false
	}
	return strings.HasPrefix(said.Message, "You have exceeded a secondary rate limit") ||
		strings.HasSuffix(said.URL, "secondary-rate-limits") ||
		strings.HasSuffix(said.URL, "#abuse-rate-limits")
}
