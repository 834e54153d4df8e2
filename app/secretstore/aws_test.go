package secretstore

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net"
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

	"github.com/stanch-dev/stanch/app/ownaws"
	"github.com/stanch-dev/stanch/checks"
)

// moto is a Secrets Manager behind a front that sees the requests, and can lose the
// answers to them or answer itself.
type moto struct {
	t     *testing.T
	base  *url.URL
	front string

	mu    sync.Mutex
	asked []string
	lose  map[string]int
	hook  map[string]http.HandlerFunc
}

const motoRegion = "eu-west-1"

// startMoto starts one, in which Stanch is nobody in particular.
func startMoto(t *testing.T) *moto {
	t.Helper()
	program, err := exec.LookPath("moto_server")
	if err != nil && os.Getenv("STANCH_CI") == "1" {
		t.Fatal("no moto_server in PATH: pip install moto[server]")
	}
	if err != nil {
		t.Skip("no moto_server in PATH: pip install moto[server]")
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := listener.Addr().String()
	listener.Close()
	_, port, _ := net.SplitHostPort(at)
	m := &moto{t: t, base: &url.URL{Scheme: "http", Host: at}, lose: map[string]int{}, hook: map[string]http.HandlerFunc{}}
	cmd := exec.Command(program, "-H", "127.0.0.1", "-p", port)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	m.wait()
	server := httptest.NewServer(m)
	t.Cleanup(server.Close)
	m.front = server.URL
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": "AKIA" + "NOBODY", "AWS_SECRET_ACCESS_KEY": "x", "AWS_SESSION_TOKEN": "", "AWS_PROFILE": "", "AWS_EC2_METADATA_DISABLED": "true",
		"AWS_CONFIG_FILE": "/dev/null", "AWS_SHARED_CREDENTIALS_FILE": "/dev/null", "AWS_ENDPOINT_URL": "",
	} {
		t.Setenv(name, value)
	}
	return m
}

func (m *moto) wait() {
	m.t.Helper()
	for range 300 {
		resp, err := http.Get(m.base.String() + "/moto-api/data.json")
		if err == nil {
			resp.Body.Close()
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	m.t.Fatal("moto does not start")
}

func (m *moto) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	r.Body = io.NopCloser(bytes.NewReader(body))
	target := r.Header.Get("X-Amz-Target")
	action := target[strings.LastIndex(target, ".")+1:]
	m.mu.Lock()
	m.asked = append(m.asked, action)
	hook, lost := m.hook[action], m.lose[action] > 0
	m.lose[action]--
	m.mu.Unlock()
	if hook != nil {
		hook(w, r)
		return
	}
	proxy := &httputil.ReverseProxy{Rewrite: func(p *httputil.ProxyRequest) { p.SetURL(m.base); p.Out.Host = p.In.Host }}
	answered := httptest.NewRecorder()
	proxy.ServeHTTP(answered, r)
	if lost {
		panic(http.ErrAbortHandler)
	}
	status, said := answered.Code, answered.Body.Bytes()
	if status == http.StatusForbidden { // moto refuses in the XML of IAM
		_, message, _ := strings.Cut(string(said), "<Message>")
		message, _, _ = strings.Cut(message, "<")
		status, said = http.StatusBadRequest, []byte(`{"__type":"AccessDeniedException","Message":"`+message+`"}`)
	}
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	w.WriteHeader(status)
	w.Write(said)
}

func (m *moto) on(action string, handler http.HandlerFunc) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.hook[action] = handler
}

// count counts the requests of an action, and forgets them.
func (m *moto) count(action string) (n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, a := range m.asked {
		if a == action {
			n++
		}
	}
	m.asked = slices.DeleteFunc(m.asked, func(a string) bool { return a == action })
	return n
}

// do is a request past the front, by an administrator.
func (m *moto) do(action string, in map[string]any) map[string]any {
	m.t.Helper()
	text, _ := json.Marshal(in)
	req, _ := http.NewRequest("POST", m.base.String(), bytes.NewReader(text))
	req.Header.Set("Content-Type", "application/x-amz-json-1.1")
	req.Header.Set("X-Amz-Target", "secretsmanager."+action)
	req.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=x/20260101/"+motoRegion+"/secretsmanager/aws4_request, SignedHeaders=host, Signature=x")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		m.t.Fatal(err)
	}
	defer resp.Body.Close()
	out := map[string]any{}
	if err := json.NewDecoder(resp.Body).Decode(&out); err != nil || resp.StatusCode != 200 {
		m.t.Fatalf("%s: %d %v %v", action, resp.StatusCode, out, err)
	}
	return out
}

// stages are a secret's versions that have labels, by the label.
func (m *moto) stages(name string) map[string]string {
	m.t.Helper()
	all := map[string]string{}
	versions, _ := m.do("DescribeSecret", map[string]any{"SecretId": name})["VersionIdsToStages"].(map[string]any)
	for version, labels := range versions {
		for _, label := range labels.([]any) {
			all[label.(string)] = version
		}
	}
	return all
}

func (m *moto) store(cfg AWSConfig) *AWS {
	m.t.Helper()
	cfg.Own, cfg.Key = ownaws.New(ownaws.Config{Endpoint: m.front}), testKey
	if cfg.Regions == nil {
		cfg.Regions = []string{motoRegion}
	}
	a, err := NewAWS(cfg)
	if err != nil {
		m.t.Fatal(err)
	}
	return a
}

func (m *moto) at(name, field string, version Version) Location {
	return Location{Store: "aws", Path: motoRegion + "/" + name, Field: field, Version: version}
}

func TestAWS(t *testing.T) {
	m := startMoto(t)
	testStore(t, m.store(AWSConfig{}), m.store(AWSConfig{}), motoRegion+"/", previousOnly)
}

// A Put whose answer was lost, or that crashed halfway, is done once when it is done
// again; AWSPENDING stays nowhere.
func TestAWSPutAgain(t *testing.T) {
	m := startMoto(t)
	for _, action := range []string{"PutSecretValue", "UpdateSecretVersionStage", "CreateSecret", "DescribeSecret", "GetSecretValue"} {
		t.Run(action, func(t *testing.T) {
			m.t = t
			s, name := m.store(AWSConfig{}), "again/"+action
			loc := m.at(name, "token", "")
			if action != "CreateSecret" {
				var err error
				if loc, err = putOne(t.Context(), s, loc, fresh(), "op-0"); err != nil {
					t.Fatal(err)
				}
			}
			value := fresh()
			m.mu.Lock()
			m.lose[action] = 99 // the SDK's own attempts too
			m.mu.Unlock()
			if _, err := putOne(t.Context(), s, loc, value, "op-1"); err == nil {
				t.Fatal("no answer came, and that is no error")
			}
			m.mu.Lock()
			m.lose[action] = 0
			m.mu.Unlock()
			first, err := putOne(t.Context(), m.store(AWSConfig{}), loc, value, "op-1")
			if err != nil {
				t.Fatal(err)
			}
			again, err := putOne(t.Context(), s, loc, value, "op-1")
			if err != nil || again != first {
				t.Errorf("%s, %v; want %s", again, err, first)
			}
			now, err := s.Get(t.Context(), first)
			if err != nil || now.Fields["token"] != value {
				t.Errorf("%v", err)
			}
			want := map[string]string{awsCurrent: string(first.Version)}
			if loc.Version != "" {
				want["AWSPREVIOUS"] = string(loc.Version)
			}
			if got := m.stages(name); !maps.Equal(got, want) {
				t.Errorf("labels %v, want %v", got, want)
			}
			if other, err := putOne(t.Context(), s, loc, fresh(), "op-1"); !errors.Is(err, ErrConflict) {
				t.Errorf("another value of the same operation: %s, %v", other, err)
			}
		})
	}
}

func TestAWSRetire(t *testing.T) {
	m := startMoto(t)
	s := m.store(AWSConfig{})
	one, err := putOne(t.Context(), s, m.at("labels", "token", ""), fresh(), "op-1")
	if err != nil {
		t.Fatal(err)
	}
	two, err := putOne(t.Context(), s, one, fresh(), "op-2")
	if err != nil {
		t.Fatal(err)
	}
	m.do("UpdateSecretVersionStage", map[string]any{"SecretId": "labels", "VersionStage": "blue", "MoveToVersionId": string(one.Version)})
	m.do("UpdateSecretVersionStage", map[string]any{"SecretId": "labels", "VersionStage": "green", "MoveToVersionId": string(two.Version)})
	for range 2 {
		if err := s.Retire(t.Context(), one); err != nil {
			t.Fatal(err)
		}
		if got := m.stages("labels"); !maps.Equal(got, map[string]string{awsCurrent: string(two.Version), "green": string(two.Version)}) {
			t.Errorf("labels %v", got)
		}
	}
}

// What AWS or the owners rotate by themselves is found, and not written.
func TestAWSManaged(t *testing.T) {
	m := startMoto(t)
	s := m.store(AWSConfig{})
	value := fresh()
	m.do("CreateSecret", map[string]any{"Name": "managed", "SecretString": `{"password":"` + value.Expose() + `"}`})
	for flag, want := range map[string]string{
		`"RotationEnabled":true`:           "rotate-secret --region " + motoRegion,
		`"OwningService":"rds"`:            "the service rds owns it",
		`"PrimaryRegion":"ap-southeast-2"`: "copy of the secret in ap-southeast-2",
	} {
		m.on("DescribeSecret", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/x-amz-json-1.1")
			io.WriteString(w, `{"Name":"managed",`+flag+`,"VersionIdsToStages":{"`+m.stages("managed")[awsCurrent]+`":["AWSCURRENT"]}}`)
		})
		found, err := s.Locate(t.Context(), fingerprint(value))
		if err != nil || len(found) != 1 || found[0].Field != "password" {
			t.Fatalf("%v, %v", found, err)
		}
		_, err = putOne(t.Context(), s, found[0], fresh(), "op")
		if err == nil || !strings.Contains(err.Error(), want) || errors.Is(err, ErrManaged) == strings.Contains(flag, "Primary") {
			t.Errorf("%s: %v", flag, err)
		}
		if n := m.count("PutSecretValue"); n > 0 {
			t.Errorf("%s: %d versions were written", flag, n)
		}
	}
}

// The index reads each version once, and looks again at what it finds.
func TestAWSIndex(t *testing.T) {
	m := startMoto(t)
	s := m.store(AWSConfig{})
	const secrets = 230
	values := map[string]checks.Secret{}
	for n := range secrets {
		name := "many/" + string(rune('a'+n%26)) + strings.Repeat("x", n/26)
		values[name] = fresh()
		m.do("CreateSecret", map[string]any{"Name": name, "SecretString": values[name].Expose()})
	}
	m.do("CreateSecret", map[string]any{"Name": "raw", "SecretBinary": "AAEC"})
	name := "many/cxxx"
	find := func() []Location {
		t.Helper()
		found, err := s.Locate(t.Context(), fingerprint(values[name]))
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	if found := find(); len(found) != 1 || found[0].Path != motoRegion+"/"+name || found[0].Field != WholeText || found[0].Superseded {
		t.Fatalf("found %v", found)
	}
	if lists, reads := m.count("ListSecrets"), m.count("GetSecretValue"); lists != 3 || reads != secrets+1 {
		t.Errorf("%d lists and %d reads of %d secrets", lists, reads, secrets+1)
	}
	find()
	if lists, reads := m.count("ListSecrets"), m.count("GetSecretValue"); lists != 3 || reads != 0 {
		t.Errorf("again %d lists and %d reads", lists, reads)
	}
	if got := s.Skipped(); !slices.Equal(got, []string{motoRegion + "/raw (binary)"}) {
		t.Errorf("skipped %q", got)
	}
	t.Run("a list that is old", func(t *testing.T) {
		page := m.do("ListSecrets", map[string]any{"MaxResults": 100, "Filters": []any{map[string]any{"Key": "name", "Values": []string{name}}}})
		m.do("PutSecretValue", map[string]any{"SecretId": name, "SecretString": fresh().Expose()})
		m.on("ListSecrets", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/x-amz-json-1.1")
			json.NewEncoder(w).Encode(page)
		})
		defer m.on("ListSecrets", nil)
		if found := find(); len(found) != 1 || !found[0].Superseded {
			t.Errorf("found %v: the secret has another value by now", found)
		}
	})
	if _, err := m.store(AWSConfig{MaxSecrets: 50}).Locate(t.Context(), fingerprint(values[name])); !errors.Is(err, ErrTooMany) {
		t.Errorf("%v, want ErrTooMany", err)
	}
}
