package provider

import (
	"crypto/rand"
	"encoding/base32"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stanch-dev/stanch/app/ownaws/awstest"
	"github.com/stanch-dev/stanch/app/provider/servertest"
	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/rules"
)

// fakeSTS answers GetCallerIdentity as STS does, with what decides there: that the
// request is signed with the secret of an active key.
type fakeSTS struct {
	awstest.STS
	asked atomic.Int32
}

func (f *fakeSTS) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.asked.Add(1)
	f.OnlySTS(func(id string) string { return shopOf(awsAccount(id)) })(w, r)
}

// shopOf is a user of an account.
func shopOf(account string) string { return "arn:aws:iam::" + account + ":user/shop" }

func callerIdentity(account string) string { return awstest.CallerIdentity(shopOf(account)) }

// newKey makes an access key's id and secret.
func newKey(t *testing.T, kind string) (id, secret string) {
	t.Helper()
	secret, err := rules.Expand("{40:base64}", rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return kind + idOf(t, "210987654321")[len(kind):], secret
}

func pair(id, secret, token string) checks.Credential {
	named := map[string]string{"id": id, checks.PartSecret: secret}
	if token != "" {
		named["token"] = token
	}
	return parts("aws-access-key", named)
}

// atSTS asks a server in place of AWS, and does not wait long.
func atSTS(t *testing.T, address string, accounts ...string) *Providers {
	t.Helper()
	p := newProviders(t, Config{BaseURLs: map[string]string{"aws": address}, AWSAccounts: accounts})
	p.verifiers[driverAWS].(*amazon).pause = 10 * time.Millisecond
	return p
}

func TestAWS(t *testing.T) {
	fake := &fakeSTS{}
	p := atSTS(t, serve(t, fake.ServeHTTP).URL)
	id, secret := newKey(t, "AKIA")
	fake.Set(id, awstest.STSKey{Secret: secret})
	t.Run("live", func(t *testing.T) {
		v := ask(t, p, pair(id, secret, ""), checks.Active, GradeA)
		if account := awsAccount(id); v.Evidence.Identity["account"] != account || v.Evidence.Identity["arn"] != "arn:aws:iam::"+account+":user/shop" {
			t.Errorf("identity %v", v.Evidence.Identity)
		}
	})
	t.Run("another secret", func(t *testing.T) {
		_, other := newKey(t, "AKIA")
		if v := ask(t, p, pair(id, other, ""), checks.Inactive, GradeB); !strings.HasPrefix(v.Evidence.Answer, awsWrongSecret) {
			t.Errorf("answer %q", v.Evidence.Answer)
		}
	})
	t.Run("deactivated and deleted", func(t *testing.T) {
		dead, secret := newKey(t, "AKIA")
		ask(t, p, pair(dead, secret, ""), checks.Inactive, GradeB)
		fake.Set(dead, awstest.STSKey{Secret: secret, Inactive: true})
		ask(t, p, pair(dead, secret, ""), checks.Inactive, GradeB)
		fake.Set(dead, awstest.STSKey{Secret: secret})
		ask(t, p, pair(dead, secret, ""), checks.Active, GradeA)
	})
	t.Run("temporary", func(t *testing.T) {
		session, secret := newKey(t, "ASIA")
		fake.Set(session, awstest.STSKey{Secret: secret, Token: "IQoJ" + "session"})
		before := fake.asked.Load()
		ask(t, p, pair(session, secret, ""), checks.Unknown, GradeC)
		if fake.asked.Load() != before {
			t.Error("AWS was asked about a temporary key without its token")
		}
		ask(t, p, pair(session, secret, "IQoJ"+"session"), checks.Active, GradeA)
		fake.Set(session, awstest.STSKey{Secret: secret, Token: "IQoJ" + "session", Expired: true})
		ask(t, p, pair(session, secret, "IQoJ"+"session"), checks.Inactive, GradeB)
	})
}

// STS may say that a right secret is wrong when it was asked about another one of the
// same key a moment before.
func TestAWSAsksAgain(t *testing.T) {
	fake := &fakeSTS{}
	id, secret := newKey(t, "AKIA")
	fake.Set(id, awstest.STSKey{Secret: secret})
	var first atomic.Bool
	p := atSTS(t, serve(t, func(w http.ResponseWriter, r *http.Request) {
		if !first.Swap(true) {
			answer(w, 403, "text/xml", awstest.Error(awsWrongSecret, awsWrongSecretText+" the signature you provided."))
			return
		}
		fake.ServeHTTP(w, r)
	}).URL)
	ask(t, p, pair(id, secret, ""), checks.Active, GradeA)
}

// Keys that are traps, and those of accounts that are not the operator's, are not
// asked about at all.
func TestAWSLeavesAccountsAlone(t *testing.T) {
	var asked atomic.Int32
	server := serve(t, func(http.ResponseWriter, *http.Request) { asked.Add(1) })
	_, secret := newKey(t, "AKIA")
	for _, account := range awsCanaries {
		id := idOf(t, account)
		v := ask(t, atSTS(t, server.URL), pair(id, secret, ""), checks.Unknown, GradeC)
		if v.Evidence.Identity["account"] != account || !strings.Contains(v.Evidence.Answer, "traps") {
			t.Errorf("%s: %+v", account, v.Evidence)
		}
	}
	ask(t, atSTS(t, server.URL, "123456789012"), pair(idOf(t, "210987654321"), secret, ""), checks.Unknown, GradeC)
	if n := asked.Load(); n > 0 {
		t.Errorf("asked %d times", n)
	}
}

// idOf makes an access key's id of an account.
func idOf(t *testing.T, account string) string {
	t.Helper()
	var number uint64
	if _, err := fmt.Sscanf(account, "%d", &number); err != nil {
		t.Fatal(err)
	}
	raw := make([]byte, 10)
	rand.Read(raw)
	binary.BigEndian.PutUint64(raw, 1<<63|number<<23|uint64(raw[0])) // the first bit keeps it out of the old ids
	id := "AKIA" + base32.StdEncoding.EncodeToString(raw)
	if awsAccount(id) != account {
		t.Fatalf("%s is of account %q, not %s", id, awsAccount(id), account)
	}
	return id
}

func TestAWSAccount(t *testing.T) {
	// The example of https://awsteele.com/blog/2020/09/26/aws-access-key-format.html
	if got := awsAccount("ASIA" + "QNZGKIQY56JQ7WML"); got != "029608264753" {
		t.Errorf("account %q", got)
	}
	for _, id := range []string{"", "AKIA", "AKIA" + "I234567890123456", "AKIAJ" + "AAAAAAAAAAAAAAA", "AKIA" + "1111111111111111"} {
		if got := awsAccount(id); got != "" {
			t.Errorf("%q: account %q, want none", id, got)
		}
	}
	key := pair("AKIA"+"QNZGKIQY56JQ7WML", "x", "IQoJ")
	random := (&amazon{}).random(key)
	if id := random.Parts["id"].Expose(); awsAccount(id) != "029608264753" || id == "AKIA"+"QNZGKIQY56JQ7WML" || random.Parts["token"].Len() > 0 {
		t.Errorf("random key %s", id)
	}
}

func TestAWSLies(t *testing.T) {
	id, secret := newKey(t, "AKIA")
	account := awsAccount(id)
	for name, handler := range map[string]http.HandlerFunc{
		"accepts everybody": always(200, "text/xml", callerIdentity(account)),
		"another account":   always(200, "text/xml", callerIdentity("000000000001")),
		"no identity":       always(200, "text/xml", "<GetCallerIdentityResponse><GetCallerIdentityResult/></GetCallerIdentityResponse>"),
		"captive portal":    always(200, "text/html", portal),
		"firewall 403":      always(403, "text/html", portal),
		"refusal in json":   always(403, "application/json", `{"Code":"InvalidClientTokenId"}`),
		"clocks differ":     always(403, "text/xml", awstest.Error(awsWrongSecret, "Signature expired: 20260101T000000Z is now earlier than 20260101T001000Z")),
		"throttled":         always(400, "text/xml", awstest.Error("Throttling", "Rate exceeded")),
		"denied":            always(403, "text/xml", awstest.Error("AccessDenied", "no")),
		"server error":      always(500, "text/xml", awstest.Error("InternalFailure", "")),
		"region is off":     always(403, "text/xml", awstest.Error("RegionDisabledException", "")),
		"redirect": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://127.0.0.1:1/", http.StatusTemporaryRedirect)
		},
		"too large":               always(200, "text/xml", strings.Repeat(" ", 2*maxBody)+callerIdentity(account)),
		"gzip bomb":               bomb,
		"slow drip":               drip,
		"hangs up":                func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"a code that is a screen": always(403, "text/xml", awstest.Error("\t\t"+strings.Repeat("x", 9999), "")),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := atSTS(t, serve(t, handler).URL)
			p.within = time.Second
			v := ask(t, p, pair(id, secret, ""), checks.Unknown, GradeC)
			if len(v.Evidence.Answer) > 400 || v.Evidence.Answer == "" {
				t.Errorf("answer %q", v.Evidence.Answer)
			}
		})
	}
	t.Run("refuses everybody", func(t *testing.T) {
		t.Parallel()
		p := atSTS(t, serve(t, always(403, "text/xml", awstest.Error(awsNoKey, ""))).URL)
		ask(t, p, pair(id, secret, ""), checks.Inactive, GradeB)
	})
}

// A key that one partition does not know may be another's: as long as that one cannot
// be asked, the refusal is half an answer.
func TestAWSPartitions(t *testing.T) {
	id, secret := newKey(t, "AKIA")
	fake, empty := &fakeSTS{}, &fakeSTS{}
	fake.Set(id, awstest.STSKey{Secret: secret})
	knows, refuses, broken := serve(t, fake.ServeHTTP).URL, serve(t, empty.ServeHTTP).URL, serve(t, always(503, "text/html", portal)).URL
	p := newProviders(t, Config{AllowedNetworks: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	driver := p.verifiers[driverAWS].(*amazon)
	for _, test := range []struct {
		bases    []string
		validity checks.Validity
		half     bool
	}{
		{[]string{knows, broken, broken}, checks.Active, false},
		{[]string{refuses, refuses, knows}, checks.Active, false},
		{[]string{refuses, refuses, refuses}, checks.Inactive, false},
		{[]string{refuses, broken, refuses}, checks.Inactive, true},
		{[]string{broken, refuses, refuses}, checks.Unknown, false},
	} {
		driver.public = nil
		for _, base := range test.bases {
			driver.public = append(driver.public, awsPartition{base, "us-east-1"})
		}
		v, err := driver.verify(t.Context(), nil, pair(id, secret, ""))
		if err != nil || v.Validity != test.validity || v.SelfHosted != test.half {
			t.Errorf("%v: %+v, %v", test, v, err)
		}
	}
}

// Moto speaks for all of AWS but signatures, so that the control must find it out;
// without the control its answers are read as those of AWS are.
func TestMoto(t *testing.T) {
	port := servertest.FreePort(t)
	cmd := exec.Command(servertest.Program(t, "moto_server", "pip install moto[server]"), "-H", "127.0.0.1", "-p", port)
	base := "http://127.0.0.1:" + port
	call := func(action string) string {
		req, _ := http.NewRequest("POST", base, strings.NewReader("Version=2010-05-08&Action="+action))
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=x/20260101/us-east-1/iam/aws4_request, SignedHeaders=host, Signature=x")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return ""
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		return string(body)
	}
	servertest.Start(t, cmd, func() bool { return strings.Contains(call("CreateUser&UserName=shop"), "<UserName>shop<") })
	created := call("CreateAccessKey&UserName=shop")
	cred := pair(awstest.Between(created, "<AccessKeyId>", "<"), awstest.Between(created, "<SecretAccessKey>", "<"), "")
	p := atSTS(t, base)
	v := ask(t, p, cred, checks.Unknown, GradeC)
	if !strings.HasPrefix(v.Evidence.Control, "accepted a random value") {
		t.Errorf("%+v", v.Evidence)
	}
	v, err := p.verifiers[driverAWS].verify(t.Context(), nil, cred)
	want := map[string]string{"account": "123456789012", "arn": "arn:aws:iam::123456789012:user/shop"}
	delete(v.Evidence.Identity, "user_id") // drawn by moto
	if err != nil || v.Validity != checks.Active || fmt.Sprint(v.Evidence.Identity) != fmt.Sprint(want) {
		t.Errorf("%+v, %v", v, err)
	}
}
