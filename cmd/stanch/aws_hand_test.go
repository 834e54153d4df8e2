package main

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"
)

// An awsFront is moto's IAM behind an STS that, unlike moto's, checks signatures and
// whether a key is active.
type awsFront struct {
	*httptest.Server
	t    *testing.T
	moto *url.URL

	mu      sync.Mutex
	secrets map[string]string // by the id of a key
}

func newAWSFront(t *testing.T) *awsFront {
	t.Helper()
	addr, err := freeAddr()
	if err != nil {
		t.Fatal(err)
	}
	host, port, _ := strings.Cut(addr, ":")
	cmd := exec.Command("moto_server", "-H", host, "-p", port)
	if err := cmd.Start(); err != nil {
		noServer(t, err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	f := &awsFront{t: t, moto: &url.URL{Scheme: "http", Host: addr}, secrets: map[string]string{}}
	for deadline := time.Now().Add(servePatience); ; time.Sleep(50 * time.Millisecond) {
		resp, err := http.Get(f.moto.String() + "/moto-api/data.json")
		if err == nil {
			resp.Body.Close()
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("moto does not become ready")
		}
	}
	pass := httputil.NewSingleHostReverseProxy(f.moto)
	pass.ModifyResponse = f.learn
	f.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(body))
		if bytes.Contains(body, []byte("Action=GetCallerIdentity")) {
			f.callerIdentity(w, r, body)
			return
		}
		pass.ServeHTTP(w, r)
	}))
	t.Cleanup(f.Close)
	return f
}

// learn remembers the secrets of the keys that moto makes.
func (f *awsFront) learn(resp *http.Response) error {
	body, err := io.ReadAll(resp.Body)
	resp.Body = io.NopCloser(bytes.NewReader(body))
	f.know(string(body))
	return err
}

func (f *awsFront) know(answer string) (id, secret string) {
	id, secret = element(answer, "AccessKeyId"), element(answer, "SecretAccessKey")
	f.mu.Lock()
	defer f.mu.Unlock()
	if id != "" && secret != "" {
		f.secrets[id] = secret
	}
	return id, secret
}

// element is the text of the first element of a name.
func element(xml, name string) string {
	_, rest, _ := strings.Cut(xml, "<"+name+">")
	text, _, _ := strings.Cut(rest, "<")
	return text
}

// admin is a request past the front, by nobody.
func (f *awsFront) admin(action string, fields ...string) string {
	f.t.Helper()
	form := url.Values{"Version": {"2010-05-08"}, "Action": {action}}
	for n := 0; n < len(fields); n += 2 {
		form.Set(fields[n], fields[n+1])
	}
	req, _ := http.NewRequest("POST", f.moto.String(), strings.NewReader(form.Encode()))
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=x/20260101/us-east-1/iam/aws4_request, SignedHeaders=host, Signature=x")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		f.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	if resp.StatusCode != http.StatusOK {
		f.t.Fatalf("%s: %s", action, body)
	}
	return string(body)
}

// user makes a user with a key.
func (f *awsFront) user(name string) (id, secret string) {
	f.t.Helper()
	f.admin("CreateUser", "UserName", name)
	return f.know(f.admin("CreateAccessKey", "UserName", name))
}

// status is that of a user's key, empty when there is none.
func (f *awsFront) status(user, id string) string {
	f.t.Helper()
	_, rest, there := strings.Cut(f.admin("ListAccessKeys", "UserName", user), "<AccessKeyId>"+id+"<")
	if !there {
		return ""
	}
	member, _, _ := strings.Cut(rest, "</member>")
	return element(member, "Status")
}

// callerIdentity answers whose key has signed a request, if it is active.
func (f *awsFront) callerIdentity(w http.ResponseWriter, r *http.Request, body []byte) {
	named := map[string]string{}
	for field := range strings.SplitSeq(strings.TrimPrefix(r.Header.Get("Authorization"), "AWS4-HMAC-SHA256 "), ", ") {
		name, value, _ := strings.Cut(field, "=")
		named[name] = value
	}
	scope := strings.Split(named["Credential"], "/")
	f.mu.Lock()
	secret := f.secrets[scope[0]]
	f.mu.Unlock()
	for _, user := range []string{"shop", "stanch"} {
		if secret == "" || f.status(user, scope[0]) != "Active" {
			continue
		}
		if signature(r, body, secret, scope, named["SignedHeaders"]) != named["Signature"] {
			stsRefuses(w, "SignatureDoesNotMatch", "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method.")
			return
		}
		w.Header().Set("Content-Type", "text/xml")
		fmt.Fprintf(w, `<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetCallerIdentityResult><Arn>arn:aws:iam::123456789012:user/%s</Arn><UserId>AIDASHOP</UserId><Account>123456789012</Account></GetCallerIdentityResult><ResponseMetadata><RequestId>1</RequestId></ResponseMetadata></GetCallerIdentityResponse>`, user)
		return
	}
	stsRefuses(w, "InvalidClientTokenId", "The security token included in the request is invalid.")
}

func stsRefuses(w http.ResponseWriter, code, message string) {
	w.Header().Set("Content-Type", "text/xml")
	w.WriteHeader(http.StatusForbidden)
	fmt.Fprintf(w, `<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type><Code>%s</Code><Message>%s</Message></Error><RequestId>1</RequestId></ErrorResponse>`, code, message)
}

// signature is the one of version 4 that a request should have:
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
func signature(r *http.Request, body []byte, secret string, scope []string, signed string) string {
	var headers strings.Builder
	for name := range strings.SplitSeq(signed, ";") {
		value := r.Header.Get(name)
		switch name {
		case "host":
			value = r.Host
		case "content-length":
			value = fmt.Sprint(r.ContentLength)
		}
		fmt.Fprintf(&headers, "%s:%s\n", name, strings.TrimSpace(value))
	}
	request := strings.Join([]string{r.Method, "/", "", headers.String(), signed, fmt.Sprintf("%x", sha256.Sum256(body))}, "\n")
	text := strings.Join([]string{"AWS4-HMAC-SHA256", r.Header.Get("X-Amz-Date"), strings.Join(scope[1:], "/"), fmt.Sprintf("%x", sha256.Sum256([]byte(request)))}, "\n")
	sum := []byte("AWS4" + secret)
	for _, part := range append(scope[1:], text) {
		mac := hmac.New(sha256.New, sum)
		io.WriteString(mac, part)
		sum = mac.Sum(nil)
	}
	return hex.EncodeToString(sum)
}
