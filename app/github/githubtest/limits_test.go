package githubtest

import (
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestLimits(t *testing.T) {
	x := openShop(t, start(t, Config{}))
	reset := time.Now().Add(time.Hour)
	for name, test := range map[string]struct {
		answer *LimitAnswer
		status int
		header map[string]string
	}{
		"primary":          {PrimaryLimit(reset, false), 403, map[string]string{"X-Ratelimit-Remaining": "0", "X-Ratelimit-Reset": strconv.FormatInt(reset.Unix(), 10)}},
		"primary as 429":   {PrimaryLimit(reset, true), 429, map[string]string{"X-Ratelimit-Remaining": "0"}},
		"secondary":        {SecondaryLimit(7 * time.Second), 403, map[string]string{"Retry-After": "7"}},
		"secondary silent": {SecondaryLimit(0), 403, map[string]string{"Retry-After": ""}},
		"bad gateway":      {BadGateway(), 502, map[string]string{"Content-Type": "text/html; charset=utf-8"}},
	} {
		x.Limit(func(r *http.Request) *LimitAnswer {
			if strings.HasSuffix(r.URL.Path, "/pulls") {
				return test.answer
			}
			return nil
		})
		got := x.as("GET", "/pulls", nil).want(test.status)
		for field, want := range test.header {
			if got.header.Get(field) != want {
				t.Errorf("%s: %s: %q, want %q", name, field, got.header.Get(field), want)
			}
		}
		x.as("GET", "", nil).want(200)
	}
	x.Limit(nil)
	x.as("GET", "/pulls", nil).want(200)
}

func TestRateHeaders(t *testing.T) {
	x := openShop(t, start(t, Config{}))
	used := func(a answer) int {
		n, err := strconv.Atoi(a.header.Get("X-Ratelimit-Used"))
		if err != nil {
			t.Fatalf("%s: %v", a.what, err)
		}
		return n
	}
	first := x.as("GET", "", nil).want(200)
	if next := used(x.as("GET", "", nil).want(200)); next != used(first)+1 {
		t.Errorf("used %d, then %d", used(first), next)
	}
	if got := x.call("", "GET", "/repos/acme/shop", nil).want(200).header.Get("X-Ratelimit-Limit"); got != "60" {
		t.Errorf("a caller without a name may call %s times, want 60", got)
	}
	core := x.call(x.token, "GET", "/rate_limit", nil).want(200).object()["resources"].(object)["core"].(object)
	if core["limit"] != 5000.0 {
		t.Errorf("an installation may call %v times, want 5000", core["limit"])
	}
}

// TestNotModified: what the caller has seen is not told again, nor counted.
func TestNotModified(t *testing.T) {
	x := openShop(t, start(t, Config{}))
	get := func(tag string) *http.Response {
		t.Helper()
		request, err := http.NewRequest("GET", x.APIURL()+"repos/acme/shop", nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Authorization", "token "+x.token)
		request.Header.Set("If-None-Match", tag)
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		return response
	}
	first := get("")
	tag := first.Header.Get("ETag")
	for range 3 {
		if got := get(tag); got.StatusCode != http.StatusNotModified || got.Header.Get("ETag") != tag {
			t.Errorf("status %d, tag %q, want 304 and %q", got.StatusCode, got.Header.Get("ETag"), tag)
		}
	}
	other := get(`W/"other"`)
	used := func(r *http.Response) int {
		n, err := strconv.Atoi(r.Header.Get("X-Ratelimit-Used"))
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	if other.StatusCode != http.StatusOK || used(other) != used(first)+1 {
		t.Errorf("status %d; %d requests are counted, and %d before", other.StatusCode, used(other), used(first))
	}
}

func TestUnknown(t *testing.T) {
	x := openShop(t, startLoose(t, Config{}))
	x.call("", "GET", "/zen", nil).want(404)
	x.as("DELETE", "/check-runs/1", nil).want(404)
	x.as("GET", "/commits/main/statuses", nil).want(404)
	x.as("GET", "/issues/1/events", nil).want(404)
	want := "GET /api/v3/zen, DELETE /api/v3/repos/acme/shop/check-runs/1, " +
		"GET /api/v3/repos/acme/shop/commits/main/statuses, GET /api/v3/repos/acme/shop/issues/1/events"
	if got := strings.Join(x.Unknown(), ", "); got != want {
		t.Errorf("unknown: %s\nwant: %s", got, want)
	}
	x.as("GET", "/pulls/77", nil).want(404)
	if n := len(x.Unknown()); n != 4 {
		t.Errorf("a pull request that does not exist counts as an unknown address")
	}
}
