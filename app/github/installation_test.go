package github

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestRepositoryInJobArguments(t *testing.T) {
	repo := Repository{ID: 9, Owner: "acme", Name: "shop", Private: true, DefaultBranch: "main"}
	data, err := json.Marshal(repo)
	if err != nil {
		t.Fatal(err)
	}
	if want := `{"id":9,"owner":"acme","name":"shop","private":true,"default_branch":"main"}`; string(data) != want {
		t.Errorf("got %s, want %s", data, want)
	}
	if repo.FullName() != "acme/shop" {
		t.Error(repo.FullName())
	}
}

func TestPermission(t *testing.T) {
	s, app := newServer(t)
	for login, level := range map[string]string{"ann": "admin", "will": "write", "rita": "read", "nick": "none", "odd": "owner-of-all"} {
		s.answer("GET /repos/acme/shop/collaborators/"+login+"/permission", 200, object{"permission": level, "role_name": "custom"})
	}
	s.mux.HandleFunc("GET /repos/acme/shop/collaborators/{login}/permission", func(w http.ResponseWriter, r *http.Request) {
		if r.PathValue("login") == "robot[bot]" {
			writeJSON(w, 200, object{"permission": "write"})
			return
		}
		writeJSON(w, 404, object{"message": "Not Found"})
	})
	for login, want := range map[string]string{
		"ann": "admin", "will": "write", "rita": "read", "nick": "none", "odd": "none", "stranger": "none", "robot[bot]": "write",
	} {
		got, err := app.Installation(testInst).Permission(t.Context(), testRepo, Person{Login: login})
		if err != nil || got != want {
			t.Errorf("%s: got %q, %v; want %q", login, got, err, want)
		}
	}
}

// TestPermissionOfWhoTookTheLogin: a login that was given up is another's soon.
func TestPermissionOfWhoTookTheLogin(t *testing.T) {
	s, app := newServer(t)
	s.answer("GET /repos/acme/shop/collaborators/ann/permission", 200, object{"permission": "admin", "user": object{"id": 7, "login": "ann"}})
	for id, want := range map[int64]string{7: "admin", 8: "none"} {
		got, err := app.Installation(testInst).Permission(t.Context(), testRepo, Person{ID: id, Login: "ann"})
		if err != nil || got != want {
			t.Errorf("account %d: got %q, %v; want %q", id, got, err, want)
		}
	}
}

func TestPermissionIsNotGuessed(t *testing.T) {
	s, app := newServer(t)
	s.answer("GET /repos/acme/shop/collaborators/ann/permission", 500, object{"message": "oops"})
	if got, err := app.Installation(testInst).Permission(t.Context(), testRepo, Person{Login: "ann"}); err == nil || got != "" {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestPullsFor(t *testing.T) {
	s, app := newServer(t)
	var pulls []object
	for n := range 130 {
		pulls = append(pulls, object{"number": n + 1, "state": "closed", "head": object{"sha": testSHA}})
	}
	pulls[3]["state"] = "open"
	pulls[4]["state"], pulls[4]["head"] = "open", object{"sha": strings.Repeat("f", 40)}
	pulls[120]["state"] = "open"
	s.mux.HandleFunc("GET /repos/acme/shop/commits/"+testSHA+"/pulls", func(w http.ResponseWriter, r *http.Request) {
		writeJSON(w, 200, page(w, r, pulls))
	})
	got, err := app.Installation(testInst).PullsFor(t.Context(), testRepo, testSHA)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]int{4, 121}, got); diff != "" {
		t.Error(diff)
	}
}

func TestGitToken(t *testing.T) {
	s, app := newServer(t)
	token, err := app.Installation(testInst).GitToken(t.Context(), testRepo)
	if err != nil {
		t.Fatal(err)
	}
	if token.Expose() != "token-1" {
		t.Error("it is not the token that GitHub issued")
	}
	if got := s.tokens[0]; got.Path != "/app/installations/5/access_tokens" {
		t.Errorf("asked at %s", got.Path)
	}
	var asked object
	if err := json.Unmarshal([]byte(s.tokens[0].Body), &asked); err != nil {
		t.Fatal(err)
	}
	want := object{"repository_ids": []any{9.0}, "permissions": object{"contents": "read"}}
	if diff := cmp.Diff(want, asked); diff != "" {
		t.Error(diff)
	}
}

func TestGitTokenRefused(t *testing.T) {
	for _, tt := range []struct {
		status int
		body   string
		want   error
	}{
		{422, `{"message":"There is at least one repository that does not exist or is not accessible to the parent installation."}`, ErrNotFound},
		{404, `{"message":"Not Found"}`, ErrGone},
		{403, `{"message":"This installation has been suspended"}`, ErrGone},
		{401, `{"message":"Bad credentials"}`, ErrUnauthorized},
		{201, `{}`, nil},
	} {
		t.Run(fmt.Sprint(tt.status), func(t *testing.T) {
			s, app := newServer(t)
			s.refuseToken = refuse(tt.status, nil, tt.body)
			token, err := app.Installation(testInst).GitToken(t.Context(), testRepo)
			if err == nil || tt.want != nil && !errors.Is(err, tt.want) || token.Len() != 0 {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestFailedDeliveries(t *testing.T) {
	s, app := newServer(t)
	now := time.Now().UTC().Truncate(time.Second)
	var all []object
	add := func(guid, status string, code int, age time.Duration) {
		all = append(all, object{
			"id": 1000 + len(all), "guid": guid, "status": status, "status_code": code, "event": "push", "action": nil,
			"installation_id": 5, "repository_id": 9, "delivered_at": now.Add(-age).Format(time.RFC3339), "redelivery": false,
		})
	}
	add("redelivered", "OK", 202, time.Minute)
	add("refused", "Invalid HTTP Response: 503", 503, 2*time.Minute)
	add("refused", "Invalid HTTP Response: 500", 500, 3*time.Minute)
	add("redelivered", "Invalid HTTP Response: 500", 500, 4*time.Minute)
	for n := range 150 {
		add(fmt.Sprint("fine-", n), "OK", 200, 5*time.Minute)
	}
	add("timed-out", "timed out", 0, 6*time.Minute)
	add("too-old", "timed out", 0, 2*time.Hour)
	s.mux.HandleFunc("GET /app/hook/deliveries", func(w http.ResponseWriter, r *http.Request) {
		from := 0
		fmt.Sscanf(r.URL.Query().Get("cursor"), "v1_%d", &from)
		to := min(from+100, len(all))
		if to < len(all) {
			w.Header().Set("Link", fmt.Sprintf(`<http://%s/app/hook/deliveries?per_page=100&cursor=v1_%d>; rel="next"`, r.Host, to))
		}
		writeJSON(w, 200, all[from:to])
	})
	got, err := app.FailedDeliveries(t.Context(), now.Add(-time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	want := []Delivery{
		{ID: 1001, GUID: "refused", Event: "push", Installation: 5, Repository: 9, DeliveredAt: now.Add(-2 * time.Minute), Status: "Invalid HTTP Response: 503", StatusCode: 503},
		{ID: 1154, GUID: "timed-out", Event: "push", Installation: 5, Repository: 9, DeliveredAt: now.Add(-6 * time.Minute), Status: "timed out"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if got := s.requests[0].Header.Get("Authorization"); !strings.HasPrefix(got, "Bearer ") {
		t.Error("deliveries are the App's own, and were not asked for as the App")
	}
}

func TestRedeliver(t *testing.T) {
	s, app := newServer(t)
	s.answer("POST /app/hook/deliveries/7/attempts", 202, object{})
	s.answer("POST /app/hook/deliveries/8/attempts", 404, object{"message": "Not Found"})
	s.mux.HandleFunc("POST /app/hook/deliveries/9/attempts", refuse(429, map[string]string{"Retry-After": "9"}, ""))
	if err := app.Redeliver(t.Context(), 7); err != nil {
		t.Error(err)
	}
	if err := app.Redeliver(t.Context(), 8); !errors.Is(err, ErrNotFound) {
		t.Errorf("got %v", err)
	}
	checkLimited(t, app.Redeliver(t.Context(), 9), 9*time.Second)
}
