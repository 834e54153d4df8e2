package provider

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stanch-dev/stanch/app/ownaws"
	"github.com/stanch-dev/stanch/checks"
)

// awsWorld is an AWS: moto's IAM behind a front that knows what moto does not. STS
// checks signatures there and whether a key is active, and CloudTrail keeps what was
// done. It remembers the requests, and can lose answers and tell lies.
type awsWorld struct {
	t     *testing.T
	moto  *url.URL
	front string
	sts   fakeSTS

	mu     sync.Mutex
	owners map[string]string // ARNs, by the id of a key
	events []map[string]any  // of CloudTrail
	asked  []string          // "DeleteAccessKey shop AKIA…"
	lose   map[string]int    // answers to lose, by the action
	hook   map[string]http.HandlerFunc
}

const motoAccount = "123456789012"

// newAWSWorld starts one, in which Stanch is the user "stanch" with no rights.
func newAWSWorld(t *testing.T) *awsWorld {
	t.Helper()
	port := freePort(t)
	w := &awsWorld{t: t, owners: map[string]string{}, lose: map[string]int{}, hook: map[string]http.HandlerFunc{}}
	w.sts.keys = map[string]accessKey{}
	w.moto = &url.URL{Scheme: "http", Host: "127.0.0.1:" + port}
	start(t, exec.Command(program(t, "moto_server", "pip install moto[server]"), "-H", "127.0.0.1", "-p", port), func() bool {
		resp, err := http.Get(w.moto.String() + "/moto-api/data.json")
		if err != nil {
			return false
		}
		resp.Body.Close()
		return resp.StatusCode == 200
	})
	w.front = serve(t, w.ServeHTTP).URL
	w.user("stanch")
	id, secret := w.key("stanch")
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": id, "AWS_SECRET_ACCESS_KEY": secret, "AWS_SESSION_TOKEN": "", "AWS_PROFILE": "", "AWS_EC2_METADATA_DISABLED": "true",
		"AWS_CONFIG_FILE": "/dev/null", "AWS_SHARED_CREDENTIALS_FILE": "/dev/null", "AWS_REGION": "", "AWS_ENDPOINT_URL": "",
	} {
		t.Setenv(name, value)
	}
	return w
}

// providers are as an operator configures them who has Stanch act at AWS, by a role in
// other accounts if there is one.
func (w *awsWorld) providers(cfg Config, role ...string) *Providers {
	w.t.Helper()
	cfg.AWS = ownaws.New(ownaws.Config{Role: strings.Join(role, ""), Endpoint: w.front})
	cfg.BaseURLs = map[string]string{"aws": w.front}
	p := newProviders(w.t, cfg)
	p.verifiers[driverAWS].(*amazon).pause = time.Millisecond
	p.issuers[driverAWS].(*accessKeys).pause = 10 * time.Millisecond
	return p
}

// admin is a request past the front, by nobody, which moto takes while it asks for no
// rights.
func (w *awsWorld) admin(action string, fields ...string) string {
	w.t.Helper()
	form := url.Values{"Version": {"2010-05-08"}, "Action": {action}}
	for n := 0; n < len(fields); n += 2 {
		form.Set(fields[n], fields[n+1])
	}
	req, _ := http.NewRequest("POST", w.moto.String(), strings.NewReader(form.Encode()))
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=x/20260101/us-east-1/iam/aws4_request, SignedHeaders=host, Signature=x")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	if resp.StatusCode != 200 {
		w.t.Fatalf("%s %q: %d %s", action, fields, resp.StatusCode, body)
	}
	return string(body)
}

// askRights has moto ask for rights from now on, or not.
func (w *awsWorld) askRights(on bool) {
	w.t.Helper()
	after := "inf"
	if on {
		after = "0"
	}
	resp, err := http.Post(w.moto.String()+"/moto-api/reset-auth", "text/plain", strings.NewReader(after))
	if err != nil || resp.StatusCode != 200 {
		w.t.Fatal(resp, err)
	}
	resp.Body.Close()
}

func (w *awsWorld) user(name string) { w.admin("CreateUser", "UserName", name) }

// key gives a user a key.
func (w *awsWorld) key(user string) (id, secret string) {
	w.t.Helper()
	made := w.admin("CreateAccessKey", "UserName", user)
	id, secret = between(made, "<AccessKeyId>", "<"), between(made, "<SecretAccessKey>", "<")
	w.know(id, secret, user)
	return id, secret
}

func (w *awsWorld) know(id, secret, user string) {
	w.sts.set(id, accessKey{secret: secret})
	w.mu.Lock()
	defer w.mu.Unlock()
	w.owners[id] = "arn:aws:iam::" + motoAccount + ":user/" + user
}

// leak is a user's key, as it is after it was verified.
func (w *awsWorld) leak(p *Providers, user string) Target {
	w.t.Helper()
	id, secret := w.key(user)
	return w.verified(p, pair(id, secret, ""))
}

func (w *awsWorld) verified(p *Providers, cred checks.Credential) Target {
	w.t.Helper()
	v := ask(w.t, p, cred, checks.Active, GradeA)
	return Target{Credential: cred, Identity: v.Evidence.Identity}
}

// keysOf are the ids of a user's keys with their status.
func (w *awsWorld) keysOf(user string) map[string]string {
	w.t.Helper()
	all := map[string]string{}
	for _, member := range strings.Split(w.admin("ListAccessKeys", "UserName", user), "<member>")[1:] {
		all[between(member, "<AccessKeyId>", "<")] = between(member, "<Status>", "<")
	}
	return all
}

func (w *awsWorld) requests(action string) (all []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, a := range w.asked {
		if strings.HasPrefix(a, action) {
			all = append(all, a)
		}
	}
	return all
}

// on has the front answer an action itself; nil leaves it to moto.
func (w *awsWorld) on(action string, handler http.HandlerFunc) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.hook[action] = handler
	if handler == nil {
		delete(w.hook, action)
	}
}

func (w *awsWorld) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	r.Body = io.NopCloser(bytes.NewReader(body))
	form, _ := url.ParseQuery(string(body))
	action := form.Get("Action")
	if target := r.Header.Get("X-Amz-Target"); target != "" {
		action = target[strings.LastIndex(target, ".")+1:]
	}
	w.mu.Lock()
	w.asked = append(w.asked, strings.Join([]string{action, form.Get("UserName"), form.Get("AccessKeyId")}, " "))
	hook, lost := w.hook[action], w.lose[action] > 0
	if lost {
		w.lose[action]--
	}
	w.mu.Unlock()
	switch {
	case hook != nil:
		hook(rw, r)
	case action == "GetCallerIdentity":
		w.callerIdentity(rw, r, body)
	case action == "LookupEvents":
		w.lookupEvents(rw, body)
	default:
		w.ask(rw, r, action, form)
	}
	if lost {
		panic(http.ErrAbortHandler)
	}
}

// ask has moto do something, and learns from the answer.
func (w *awsWorld) ask(rw http.ResponseWriter, r *http.Request, action string, form url.Values) {
	proxy := &httputil.ReverseProxy{Rewrite: func(p *httputil.ProxyRequest) { p.SetURL(w.moto); p.Out.Host = p.In.Host }}
	answered := httptest.NewRecorder()
	proxy.ServeHTTP(answered, r)
	said := answered.Body.String()
	if answered.Code == 200 {
		w.learn(r, action, form, said)
	}
	for name, values := range answered.Header() {
		rw.Header()[name] = values
	}
	rw.Header().Set("Content-Length", fmt.Sprint(len(said)))
	rw.WriteHeader(answered.Code)
	io.WriteString(rw, said)
}

func (w *awsWorld) learn(r *http.Request, action string, form url.Values, said string) {
	id := form.Get("AccessKeyId")
	switch action {
	case "CreateAccessKey":
		id = between(said, "<AccessKeyId>", "<")
		w.know(id, between(said, "<SecretAccessKey>", "<"), form.Get("UserName"))
		w.trail(id, form.Get("UserName"), r.UserAgent())
	case "UpdateAccessKey":
		w.sts.mu.Lock()
		key := w.sts.keys[id]
		key.inactive = form.Get("Status") == "Inactive"
		w.sts.keys[id] = key
		w.sts.mu.Unlock()
	case "DeleteAccessKey":
		w.sts.mu.Lock()
		delete(w.sts.keys, id)
		w.sts.mu.Unlock()
	}
}

// trail has CloudTrail keep that somebody made a key.
func (w *awsWorld) trail(id, user, agent string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.events = append(w.events, map[string]any{
		"eventName": "CreateAccessKey", "userAgent": agent, "userIdentity": map[string]any{"accountId": motoAccount},
		"responseElements": map[string]any{"accessKey": map[string]any{"accessKeyId": id, "userName": user}},
	})
}

func (w *awsWorld) lookupEvents(rw http.ResponseWriter, body []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	found := []map[string]any{}
	for _, event := range slices.Backward(w.events) {
		text, _ := json.Marshal(event)
		id := event["responseElements"].(map[string]any)["accessKey"].(map[string]any)["accessKeyId"].(string)
		if bytes.Contains(body, []byte(id)) {
			found = append(found, map[string]any{"EventName": event["eventName"], "CloudTrailEvent": string(text)})
		}
	}
	text, _ := json.Marshal(map[string]any{"Events": found})
	answer(rw, 200, "application/x-amz-json-1.1", string(text))
}

func (w *awsWorld) callerIdentity(rw http.ResponseWriter, r *http.Request, body []byte) {
	id, code, message := w.sts.judge(r, body)
	if code != "" {
		answer(rw, 403, "text/xml", stsError(code, message))
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	arn := w.owners[id]
	answer(rw, 200, "text/xml", strings.ReplaceAll(callerIdentity(strings.Split(arn, ":")[4]), "arn:aws:iam::"+strings.Split(arn, ":")[4]+":user/shop", arn))
}

func iamError(status int, code, message string) http.HandlerFunc {
	return func(rw http.ResponseWriter, _ *http.Request) { answer(rw, status, "text/xml", stsError(code, message)) }
}

// replace asks for a replacement the way the App does.
func replace(p *Providers, old Target, operation string) (Request, checks.Credential, error) {
	prepared, err := p.Prepare(context.Background(), old, operation)
	if err != nil {
		return Request{}, checks.Credential{}, err
	}
	r := Request{Old: old, Operation: operation, Prepared: prepared}
	fresh, err := p.Issue(context.Background(), r)
	return r, fresh, err
}
