package ownaws

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/sts"
)

// asStanch sets the environment in which the SDK finds credentials.
func asStanch(t *testing.T) {
	t.Helper()
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": "AKIA" + "STANCH", "AWS_SECRET_ACCESS_KEY": "geheim", "AWS_SESSION_TOKEN": "session-token", "AWS_EC2_METADATA_DISABLED": "true",
		"AWS_PROFILE": "", "AWS_CONFIG_FILE": "/dev/null", "AWS_SHARED_CREDENTIALS_FILE": "/dev/null", "AWS_ENDPOINT_URL": "", "AWS_REGION": "",
	} {
		t.Setenv(name, value)
	}
}

func says(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/xml")
		w.WriteHeader(status)
		io.WriteString(w, body)
	}
}

func serve(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return server.URL
}

func identity(account string) string {
	return "<GetCallerIdentityResponse><GetCallerIdentityResult><Arn>arn:aws-cn:iam::" + account + ":user/stanch</Arn><UserId>A</UserId><Account>" + account + "</Account></GetCallerIdentityResult></GetCallerIdentityResponse>"
}

func TestWho(t *testing.T) {
	asStanch(t)
	var asked atomic.Int32
	c := New(Config{Endpoint: serve(t, func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		says(200, identity("123456789012"))(w, r)
	})})
	for range 3 {
		who, err := c.Who(t.Context())
		if want := (Identity{Account: "123456789012", Partition: "aws-cn", ARN: "arn:aws-cn:iam::123456789012:user/stanch", KeyID: "AKIA" + "STANCH"}); err != nil || who != want {
			t.Fatalf("%+v, %v", who, err)
		}
	}
	if asked.Load() != 1 {
		t.Errorf("asked %d times", asked.Load())
	}
	cfg, _, err := c.Account(t.Context(), "123456789012")
	if err != nil || cfg.Region != "cn-north-1" {
		t.Errorf("region %q, %v", cfg.Region, err)
	}
	if _, _, err := c.Account(t.Context(), "999999999999"); !errors.Is(err, ErrOtherAccount) || !strings.Contains(err.Error(), "STANCH_AWS_ROLE") {
		t.Errorf("%v", err)
	}
}

// Nobody is known, and nothing is told twice, when the answer is none.
func TestWhoIsNotKnown(t *testing.T) {
	asStanch(t)
	for name, test := range map[string]struct {
		handler http.HandlerFunc
		want    string
	}{
		"refused":     {says(403, "<ErrorResponse><Error><Code>InvalidClientTokenId</Code><Message>no</Message></Error></ErrorResponse>"), "does not take Stanch's own credentials"},
		"a page":      {says(200, "<html>portal</html>"), "no answer of AWS"},
		"no identity": {says(200, "<GetCallerIdentityResponse><GetCallerIdentityResult/></GetCallerIdentityResponse>"), "without an identity"},
	} {
		c := New(Config{Endpoint: serve(t, test.handler)})
		if who, err := c.Who(t.Context()); err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "geheim") {
			t.Errorf("%s: %+v, %v", name, who, err)
		}
	}
}

// A redirect would take the session's token along.
func TestNoRedirects(t *testing.T) {
	asStanch(t)
	var elsewhere atomic.Int32
	other := serve(t, func(http.ResponseWriter, *http.Request) { elsewhere.Add(1) })
	c := New(Config{Endpoint: serve(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, other, http.StatusTemporaryRedirect)
	})})
	if _, err := c.Who(t.Context()); err == nil || elsewhere.Load() > 0 {
		t.Errorf("%v; %d requests went elsewhere", err, elsewhere.Load())
	}
}

// The operator's proxy is used, but not for this machine and its neighbours.
func TestProxy(t *testing.T) {
	asStanch(t)
	var through atomic.Int32
	proxy, _ := url.Parse(serve(t, func(w http.ResponseWriter, r *http.Request) {
		through.Add(1)
		says(200, identity("123456789012"))(w, r)
	}))
	direct := serve(t, says(200, identity("210987654321")))
	if who, err := New(Config{Endpoint: direct, Proxy: proxy}).Who(t.Context()); err != nil || who.Account != "210987654321" || through.Load() > 0 {
		t.Errorf("%+v, %v", who, err)
	}
	if who, err := New(Config{Endpoint: "http://aws.example.com", Proxy: proxy}).Who(t.Context()); err != nil || who.Account != "123456789012" || through.Load() != 1 {
		t.Errorf("%+v, %v; %d through the proxy", who, err, through.Load())
	}
}

// What AWS says is told with the action, and read for what it means.
func TestTell(t *testing.T) {
	asStanch(t)
	fault := func(code, message string) string {
		return "<ErrorResponse><Error><Code>" + code + "</Code><Message>" + message + "</Message></Error></ErrorResponse>"
	}
	for _, test := range []struct {
		status            int
		body, want        string
		refused, definite bool
	}{
		{403, fault("AccessDenied", "User: x is not authorized"), "does not let Stanch do iam:DeleteAccessKey:", true, true},
		{409, fault("LimitExceeded", "two"), "iam:DeleteAccessKey: AWS answered LimitExceeded: two", false, true},
		{400, fault("Throttling", "slow"), "Throttling", false, false},
		{500, fault("ServiceFailure", "oops"), "ServiceFailure", false, false},
		{503, fault("ServiceUnavailable", "oops"), "ServiceUnavailable", false, false},
		{403, fault("ExpiredToken", "old"), "does not take Stanch's own credentials (ExpiredToken)", false, true},
		{400, fault("Odd\x1b[31m", strings.Repeat("y", 9999)), "iam:DeleteAccessKey", false, false},
		{403, "<html>firewall</html>", "iam:DeleteAccessKey", false, false},
		{200, "garbage", "", false, false},
	} {
		cfg, err := New(Config{Endpoint: serve(t, says(test.status, test.body))}).Region(t.Context(), "us-east-1")
		if err != nil {
			t.Fatal(err)
		}
		cfg.Retryer = func() aws.Retryer { return aws.NopRetryer{} }
		_, err = iam.NewFromConfig(cfg).DeleteAccessKey(t.Context(), &iam.DeleteAccessKeyInput{AccessKeyId: aws.String(strings.Repeat("A", 20))})
		if test.want == "" {
			continue
		}
		told := Tell(err)
		if told == nil || !strings.Contains(told.Error(), test.want) || len(told.Error()) > 900 || strings.ContainsRune(told.Error(), '\x1b') {
			t.Errorf("%d %.60s: %v", test.status, test.body, told)
		}
		if Refused(err) != test.refused || Definite(err) != test.definite {
			t.Errorf("%d %.60s: refused %t, definite %t: %v", test.status, test.body, Refused(err), Definite(err), told)
		}
	}
	if Tell(nil) != nil || Definite(nil) || Code(errors.New("x")) != "" {
		t.Error("no error is an error")
	}
}

// Who acts by a role is refused the role, not what he wanted to do by it.
func TestTellNamesTheRole(t *testing.T) {
	asStanch(t)
	c := New(Config{Role: "stanch", Endpoint: serve(t, func(w http.ResponseWriter, r *http.Request) {
		r.ParseForm()
		if r.Form.Get("Action") == "GetCallerIdentity" {
			says(200, identity("123456789012"))(w, r)
			return
		}
		says(403, "<ErrorResponse><Error><Code>AccessDenied</Code><Message>no</Message></Error></ErrorResponse>")(w, r)
	})})
	cfg, _, err := c.Account(t.Context(), "999999999999")
	if err != nil {
		t.Fatal(err)
	}
	_, err = iam.NewFromConfig(cfg).ListAccessKeys(t.Context(), nil)
	refused := new(RefusedError)
	if told := Tell(err); !errors.As(told, &refused) || refused.Action != "sts:AssumeRole" {
		t.Errorf("%v", told)
	}
	_, err = sts.NewFromConfig(cfg).GetSessionToken(t.Context(), nil)
	if told := Tell(err); !strings.Contains(told.Error(), "sts:AssumeRole") {
		t.Errorf("%v", told)
	}
}
