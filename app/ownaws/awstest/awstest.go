// Package awstest is an AWS for tests: moto's IAM and Secrets Manager behind a front
// that knows what moto does not. Its STS checks signatures and whether a key is active,
// and its CloudTrail keeps what was done. The front remembers the requests, and can lose
// the answers to them or tell lies.
package awstest

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stanch-dev/stanch/app/provider/servertest"
)

// Account is the account of users and secrets, and Region where the secrets are.
const (
	Account = "123456789012"
	Region  = "eu-west-1"
)

// A Server ends with its test.
type Server struct {
	URL  string // of the front
	STS  STS
	moto *url.URL

	mu     sync.Mutex
	t      *testing.T
	owners map[string]string // ARNs, by the id of a key
	events []map[string]any  // of CloudTrail
	asked  []string
	lose   map[string]int
	hook   map[string]http.HandlerFunc
}

// Start starts a server from the moto_server in PATH. Without one the test is skipped,
// unless STANCH_CI=1 says that there has to be one.
func Start(t *testing.T) *Server {
	t.Helper()
	const name = "moto_server"
	program, err := exec.LookPath(name)
	if err != nil {
		if os.Getenv("STANCH_CI") == "1" {
			t.Fatal(name + " is not on PATH, and STANCH_CI=1 wants the tests with it: pip install moto[server]")
		}
		t.Skip(name + " is not on PATH: pip install moto[server]")
	}
	port := servertest.FreePort(t)
	s := &Server{t: t, moto: &url.URL{Scheme: "http", Host: "127.0.0.1:" + port}, owners: map[string]string{}, lose: map[string]int{}, hook: map[string]http.HandlerFunc{}}
	cmd := exec.Command(program, "-H", "127.0.0.1", "-p", port)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	s.wait()
	front := httptest.NewServer(s)
	t.Cleanup(front.Close)
	s.URL = front.URL
	return s
}

func (s *Server) wait() {
	s.t.Helper()
	for deadline := time.Now().Add(servertest.Patience); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		resp, err := http.Get(s.moto.String() + "/moto-api/data.json")
		if err == nil {
			resp.Body.Close()
			return
		}
	}
	s.t.Fatal("moto does not start")
}

// Under has a subtest be the one that fails from now on.
func (s *Server) Under(t *testing.T) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.t = t
}

// Environment is in what a user's key is found by the AWS SDK, and nothing else.
func Environment(id, secret string) map[string]string {
	return map[string]string{
		"AWS_ACCESS_KEY_ID": id, "AWS_SECRET_ACCESS_KEY": secret, "AWS_SESSION_TOKEN": "", "AWS_PROFILE": "", "AWS_EC2_METADATA_DISABLED": "true",
		"AWS_CONFIG_FILE": "/dev/null", "AWS_SHARED_CREDENTIALS_FILE": "/dev/null", "AWS_REGION": "", "AWS_ENDPOINT_URL": "",
	}
}

// As makes a user of that name and has the AWS SDK find a key of it.
func (s *Server) As(user string) {
	s.t.Helper()
	s.User(user)
	for name, value := range Environment(s.Key(user)) {
		s.t.Setenv(name, value)
	}
}

// AskRights has moto ask for rights from now on, or not.
func (s *Server) AskRights(on bool) {
	s.t.Helper()
	after := "inf"
	if on {
		after = "0"
	}
	resp, err := http.Post(s.moto.String()+"/moto-api/reset-auth", "text/plain", strings.NewReader(after))
	if err != nil || resp.StatusCode != 200 {
		s.t.Fatal(resp, err)
	}
	resp.Body.Close()
}

// IAM is a request past the front, by nobody, which moto takes while it asks for no
// rights. The fields are names with values.
func (s *Server) IAM(action string, fields ...string) string {
	s.t.Helper()
	form := url.Values{"Version": {"2010-05-08"}, "Action": {action}}
	for n := 0; n < len(fields); n += 2 {
		form.Set(fields[n], fields[n+1])
	}
	return s.past("iam", "application/x-www-form-urlencoded", "", []byte(form.Encode()))
}

// Secrets is such a request of Secrets Manager.
func (s *Server) Secrets(action string, in map[string]any) map[string]any {
	s.t.Helper()
	text, _ := json.Marshal(in)
	out := map[string]any{}
	if said := s.past("secretsmanager", "application/x-amz-json-1.1", action, text); json.Unmarshal([]byte(said), &out) != nil {
		s.t.Fatalf("%s: %s", action, said)
	}
	return out
}

func (s *Server) past(service, media, target string, body []byte) string {
	s.t.Helper()
	req, err := http.NewRequest("POST", s.moto.String(), bytes.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Content-Type", media)
	if target != "" {
		req.Header.Set("X-Amz-Target", "secretsmanager."+target)
	}
	req.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=x/20260101/"+Region+"/"+service+"/aws4_request, SignedHeaders=host, Signature=x")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	said, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != 200 {
		s.t.Fatalf("%s %s: %d %s %v", target, body, resp.StatusCode, said, err)
	}
	return string(said)
}

// User makes a user.
func (s *Server) User(name string) { s.t.Helper(); s.IAM("CreateUser", "UserName", name) }

// Key gives a user a key.
func (s *Server) Key(user string) (id, secret string) {
	s.t.Helper()
	made := s.IAM("CreateAccessKey", "UserName", user)
	id, secret = Between(made, "<AccessKeyId>", "<"), Between(made, "<SecretAccessKey>", "<")
	s.know(id, secret, user)
	return id, secret
}

func (s *Server) know(id, secret, user string) {
	s.Own(id, STSKey{Secret: secret}, "arn:aws:iam::"+Account+":user/"+user)
}

// Own has STS know a key, and whose it is.
func (s *Server) Own(id string, key STSKey, arn string) {
	s.STS.Set(id, key)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.owners[id] = arn
}

// Keys are the ids of a user's keys with their status.
func (s *Server) Keys(user string) map[string]string {
	s.t.Helper()
	all := map[string]string{}
	for _, member := range strings.Split(s.IAM("ListAccessKeys", "UserName", user), "<member>")[1:] {
		all[Between(member, "<AccessKeyId>", "<")] = Between(member, "<Status>", "<")
	}
	return all
}

// Requests are what came through the front: “DeleteAccessKey shop AKIA…”.
func (s *Server) Requests(action string) (all []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range s.asked {
		if strings.HasPrefix(a, action) {
			all = append(all, a)
		}
	}
	return all
}

// Forget makes the requests so far forgotten.
func (s *Server) Forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = nil
}

// On has the front answer an action itself; nil leaves it to moto.
func (s *Server) On(action string, handler http.HandlerFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hook[action] = handler
}

// Lose has the answers to the next such requests get lost on the way back.
func (s *Server) Lose(action string, answers int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lose[action] = answers
}

func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	r.Body = io.NopCloser(bytes.NewReader(body))
	form, _ := url.ParseQuery(string(body))
	action := form.Get("Action")
	if target := r.Header.Get("X-Amz-Target"); target != "" {
		action = target[strings.LastIndex(target, ".")+1:]
	}
	s.mu.Lock()
	s.asked = append(s.asked, strings.TrimSpace(strings.Join([]string{action, form.Get("UserName"), form.Get("AccessKeyId")}, " ")))
	hook, lost := s.hook[action], s.lose[action] > 0
	s.lose[action]--
	s.mu.Unlock()
	switch {
	case hook != nil:
		hook(w, r)
	case action == "GetCallerIdentity":
		s.callerIdentity(w, r, body)
	case action == "LookupEvents":
		s.lookupEvents(w, body)
	default:
		s.ask(w, r, action, form, lost)
	}
}

// ask has moto do something, and learns from the answer.
func (s *Server) ask(w http.ResponseWriter, r *http.Request, action string, form url.Values, lost bool) {
	proxy := &httputil.ReverseProxy{Rewrite: func(p *httputil.ProxyRequest) { p.SetURL(s.moto); p.Out.Host = p.In.Host }}
	answered := httptest.NewRecorder()
	proxy.ServeHTTP(answered, r)
	status, said := answered.Code, answered.Body.String()
	media := answered.Header().Get("Content-Type")
	if status == http.StatusOK {
		s.learn(r, action, form, said)
	}
	if r.Header.Get("X-Amz-Target") != "" {
		media = "application/x-amz-json-1.1"
		if status == http.StatusForbidden { // moto refuses in the XML of IAM
			status, said = http.StatusBadRequest, `{"__type":"AccessDeniedException","Message":"`+Between(said, "<Message>", "<")+`"}`
		}
	}
	if lost {
		panic(http.ErrAbortHandler)
	}
	w.Header().Set("Content-Type", media)
	w.WriteHeader(status)
	io.WriteString(w, said)
}

func (s *Server) learn(r *http.Request, action string, form url.Values, said string) {
	id := form.Get("AccessKeyId")
	switch action {
	case "CreateAccessKey":
		id = Between(said, "<AccessKeyId>", "<")
		s.know(id, Between(said, "<SecretAccessKey>", "<"), form.Get("UserName"))
		s.Trail(id, form.Get("UserName"), r.UserAgent())
	case "UpdateAccessKey":
		s.STS.activate(id, form.Get("Status") == "Active")
	case "DeleteAccessKey":
		s.STS.delete(id)
	}
}

// Trail has CloudTrail keep that somebody made a key.
func (s *Server) Trail(id, user, agent string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.events = append(s.events, map[string]any{
		"eventName": "CreateAccessKey", "userAgent": agent, "userIdentity": map[string]any{"accountId": Account},
		"responseElements": map[string]any{"accessKey": map[string]any{"accessKeyId": id, "userName": user}},
	})
}

// HideTrail has CloudTrail know nothing until the function that it returns is called.
func (s *Server) HideTrail() (show func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	hidden := s.events
	s.events = nil
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.events = hidden
	}
}

func (s *Server) lookupEvents(w http.ResponseWriter, body []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	found := []map[string]any{}
	for _, event := range slices.Backward(s.events) {
		text, _ := json.Marshal(event)
		id := event["responseElements"].(map[string]any)["accessKey"].(map[string]any)["accessKeyId"].(string)
		if bytes.Contains(body, []byte(id)) {
			found = append(found, map[string]any{"EventName": event["eventName"], "CloudTrailEvent": string(text)})
		}
	}
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	json.NewEncoder(w).Encode(map[string]any{"Events": found})
}

func (s *Server) callerIdentity(w http.ResponseWriter, r *http.Request, body []byte) {
	id, code, message := s.STS.Judge(r, body)
	w.Header().Set("Content-Type", "text/xml")
	if code != "" {
		w.WriteHeader(http.StatusForbidden)
		io.WriteString(w, Error(code, message))
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	io.WriteString(w, CallerIdentity(s.owners[id]))
}

// Between cuts out of a text what is between two others.
func Between(text, start, end string) string {
	_, rest, _ := strings.Cut(text, start)
	middle, _, _ := strings.Cut(rest, end)
	return middle
}
