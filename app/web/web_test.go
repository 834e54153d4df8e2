package web

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stanch-dev/stanch/app/store"
)

func TestLocal(t *testing.T) {
	for next, want := range map[string]string{
		"/incidents?state=open":   "/incidents?state=open",
		"/checks/acme/shop/aa":    "/checks/acme/shop/aa",
		"":                        "/",
		"incidents":               "/",
		"https://thief.example/":  "/",
		"//thief.example/":        "/",
		"/\\thief.example/":       "/",
		"/\t/thief.example/":      "/",
		"javascript:alert(1)":     "/",
		"/%0d%0aSet-Cookie:%20a=": "/%0d%0aSet-Cookie:%20a=",
	} {
		if got := local(next); got != want {
			t.Errorf("%q leads to %q, want %q", next, got, want)
		}
	}
}

// TestCookies: over https the browser takes them from this host alone.
func TestCookies(t *testing.T) {
	for secure, name := range map[bool]string{true: "__Host-stanch_session", false: "stanch_session"} {
		c, w := cookies{secure}, httptest.NewRecorder()
		c.set(w, sessionCookie, "value", time.Hour)
		got := w.Result().Cookies()
		if len(got) != 1 || got[0].Name != name || got[0].Secure != secure || !got[0].HttpOnly ||
			got[0].SameSite != http.SameSiteLaxMode || got[0].Path != "/" || got[0].Domain != "" || got[0].MaxAge != 3600 {
			t.Errorf("secure %v: %v", secure, got)
		}
	}
}

func TestAddressesOnGitHub(t *testing.T) {
	for path, leads := range map[string]bool{"a b/c#d?.env": true, "../../../evil/repo": false, "a/./b": false, "a//b": false, "": false} {
		for element, want := range map[string]bool{path: leads, "plain": true} {
			if got := plainPath("acme/shop/blob/aa/" + element); got != want {
				t.Errorf("%q: %v, want %v", element, got, want)
			}
		}
	}
}

func TestLevels(t *testing.T) {
	private, public := store.Repository{}, store.Repository{}
	private.Private = true
	for permission, want := range map[string][2]level{
		"admin": {everything, everything}, "maintain": {everything, everything}, "write": {everything, everything},
		"read": {progress, nothing}, "none": {nothing, nothing}, "": {nothing, nothing}, "owner": {nothing, nothing},
	} {
		l := levelOf(permission)
		if got := [2]level{l.in(private), l.in(public)}; got != want {
			t.Errorf("%q sees %v, want %v", permission, got, want)
		}
	}
}

func TestElapsed(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0.00 s", 1234 * time.Millisecond: "1.23 s", 61 * time.Second: "1 min", 119 * time.Minute: "119 min",
		3 * time.Hour: "3 h", 72 * time.Hour: "3 days",
	} {
		if got := elapsed(d); got != want {
			t.Errorf("%s: %q, want %q", d, got, want)
		}
	}
}
