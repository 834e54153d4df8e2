package provider

import (
	"encoding/base64"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stanch-dev/stanch/checks"
)

const (
	reviewed     = `{"kind":"SelfSubjectReview","apiVersion":"authentication.k8s.io/v1","status":{"userInfo":{"username":"system:serviceaccount:shop:robot","uid":"1-2-3","groups":["system:serviceaccounts"]}}}`
	unauthorized = `{"kind":"Status","apiVersion":"v1","status":"Failure","message":"Unauthorized","reason":"Unauthorized","code":401}`
	forbidden    = `{"kind":"Status","apiVersion":"v1","status":"Failure","message":"forbidden","reason":"Forbidden","code":403}`
)

// serviceAccountToken makes a token that says of itself what one of Kubernetes' does.
func serviceAccountToken(claims string) checks.Credential {
	encode := base64.RawURLEncoding.EncodeToString
	return credential("kubernetes-service-account-token", encode([]byte(`{"alg":"RS256","kid":"1"}`))+"."+encode([]byte(claims))+"."+strings.Repeat("a", 342))
}

func TestKubernetes(t *testing.T) {
	now := time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)
	legacy := serviceAccountToken(`{"iss":"kubernetes/serviceaccount","sub":"system:serviceaccount:shop:robot"}`)
	bound := serviceAccountToken(`{"aud":["https://kubernetes.default.svc"],"exp":1795784400,"iss":"https://kubernetes.default.svc","sub":"system:serviceaccount:shop:robot"}`)
	denied := serviceAccountToken(`{"iss":"kubernetes/serviceaccount","sub":"denied"}`)
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
		switch {
		case r.Method != "POST" || r.URL.Path != selfSubjectReviews || string(body) != selfSubjectReview:
			answer(w, 404, "application/json", `{"kind":"Status","reason":"NotFound","code":404}`)
		case token == legacy.Secret().Expose(), token == bound.Secret().Expose():
			answer(w, 201, "application/json", reviewed)
		case token == denied.Secret().Expose():
			answer(w, 403, "application/json", forbidden)
		default:
			answer(w, 401, "application/json", unauthorized)
		}
	})
	at := func(now time.Time) *Providers {
		return newProviders(t, Config{BaseURLs: map[string]string{"kubernetes": server.URL}, Now: func() time.Time { return now }})
	}
	p := at(now)
	v := ask(t, p, legacy, checks.Active, GradeA)
	if got := v.Evidence.Identity; got["user"] != "system:serviceaccount:shop:robot" || got["uid"] != "1-2-3" {
		t.Errorf("identity %v", got)
	}
	if got := ask(t, p, bound, checks.Active, GradeA).Evidence.Identity["expires"]; got != "2026-11-27T13:00:00Z" {
		t.Errorf("expires %q", got)
	}
	if v := ask(t, p, denied, checks.Active, GradeB); !v.LacksScope {
		t.Errorf("no lack of scope: %+v", v)
	}
	if v := ask(t, p, serviceAccountToken(`{"sub":"deleted"}`), checks.Inactive, GradeB); !v.SelfHosted {
		t.Error("what this cluster refuses is dead in all")
	}
	ask(t, at(now.Add(2*time.Hour)), bound, checks.Inactive, GradeB)
	nowhere := newProviders(t, Config{Now: func() time.Time { return now.Add(2 * time.Hour) }})
	ask(t, nowhere, bound, checks.Inactive, GradeB)
	ask(t, nowhere, legacy, checks.Unknown, GradeC)
	more := map[string]lie{
		"anonymous is let in":  {handler: always(201, "application/json", strings.Replace(reviewed, "serviceaccount:shop:robot", "anonymous", 1))},
		"everybody is let in":  {handler: always(201, "application/json", reviewed)},
		"everybody is denied":  {handler: always(403, "application/json", forbidden)},
		"an older cluster":     {handler: always(404, "application/json", `{"kind":"Status","reason":"NotFound","code":404}`)},
		"unauthorized by text": {handler: always(401, "text/plain", "Unauthorized")},
	}
	for _, all := range []map[string]lie{lies, more} {
		for name, lie := range all {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				p := newProviders(t, Config{BaseURLs: map[string]string{"kubernetes": serve(t, lie.handler).URL}, Now: func() time.Time { return now }})
				p.within = time.Second
				ask(t, p, legacy, checks.Unknown, GradeC)
			})
		}
	}
}
