package cloud_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stanch-dev/stanch/app/cloud"
	"github.com/stanch-dev/stanch/app/cloud/cloudtest"
	"github.com/stanch-dev/stanch/checks"
)

var read = cloud.Call{Method: "GET", Path: "/v1/thing?page=2", Needs: "things.read"}

// thing is a cloud's one thing.
func thing(r *http.Request) (cloudtest.Operation, bool) {
	return cloudtest.Operation{Needs: "things.read", Do: func() (int, any) { return 200, map[string]string{"name": r.Header.Get("Scope")} }},
		r.URL.Path == "/v1/thing"
}

func TestGoogle(t *testing.T) {
	server, keyFile := cloudtest.Google(t)
	server.Find(thing)
	account, err := cloud.NewGoogle(keyFile)
	if err != nil || account.Email != cloudtest.GoogleEmail || account.Key.Len() == 0 {
		t.Fatalf("%v, %v", account, err)
	}
	api := cloud.API{Base: server.URL, Client: cloud.NewClient(), Token: account.Token}
	var got struct{ Name string }
	if err := api.Do(t.Context(), read, &got); err != nil || got.Name == "" {
		t.Errorf("%+v, %v", got, err)
	}
	var said map[string]string
	json.Unmarshal(keyFile, &said)
	_, other := cloudtest.Google(t)
	var another map[string]string
	json.Unmarshal(other, &another)
	said["private_key"] = another["private_key"]
	wrong, _ := json.Marshal(said)
	stranger, err := cloud.NewGoogle(wrong)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stranger.Token(t.Context()); err == nil || !strings.Contains(err.Error(), "400 invalid_grant") {
		t.Errorf("a key that is not the account's: %v", err)
	}
	for _, file := range []string{"no json", `{"type":"authorized_user"}`, `{"type":"service_account","private_key":"x"}`} {
		if g, err := cloud.NewGoogle([]byte(file)); err == nil {
			if _, err = g.Token(t.Context()); err == nil {
				t.Errorf("%s was taken", file)
			}
		}
	}
}

// A workload that has no key shows its platform's token, which Google exchanges.
func TestGoogleWorkloadIdentity(t *testing.T) {
	exchange := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.FormValue("subject_token") != "of-the-platform" || r.FormValue("grant_type") != "urn:ietf:params:oauth:grant-type:token-exchange" {
			w.WriteHeader(400)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Write([]byte(`{"access_token":"exchanged","issued_token_type":"urn:ietf:params:oauth:token-type:access_token","token_type":"Bearer","expires_in":3600}`))
	}))
	defer exchange.Close()
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("of-the-platform"), 0o600); err != nil {
		t.Fatal(err)
	}
	config, _ := json.Marshal(map[string]any{
		"type": "external_account", "audience": "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/k8s",
		"subject_token_type": "urn:ietf:params:oauth:token-type:jwt", "token_url": exchange.URL, "credential_source": map[string]string{"file": file},
	})
	account, err := cloud.NewGoogle(config)
	if err != nil {
		t.Fatal(err)
	}
	if token, err := account.Token(t.Context()); err != nil || token.Expose() != "exchanged" {
		t.Errorf("%v", err)
	}
}

func TestAzure(t *testing.T) {
	server, own := cloudtest.Azure(t)
	server.Find(thing)
	file := filepath.Join(t.TempDir(), "token")
	write := func(subject string) {
		if err := os.WriteFile(file, []byte(own.Assertion(t, subject)+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	base := cloud.AzureConfig{Tenant: cloudtest.AzureTenant, Client: cloudtest.AzureClient, Authority: server.URL}
	bySecret, byFile := base, base
	bySecret.Secret, byFile.TokenFile = checks.NewSecret(own.Secret), file
	write(cloudtest.AzureWorkload)
	for name, cfg := range map[string]cloud.AzureConfig{"secret": bySecret, "federated": byFile} {
		account, err := cloud.NewAzure(cfg)
		if err != nil {
			t.Fatal(err)
		}
		for _, resource := range []string{"https://graph.microsoft.com", "https://vault.azure.net"} {
			var got struct{ Name string }
			api := cloud.API{Base: server.URL, Client: cloud.NewClient(), Token: account.For(resource)}
			if err := api.Do(t.Context(), read, &got); err != nil || got.Name != resource {
				t.Errorf("%s: %+v, %v", name, got, err)
			}
		}
	}
	write("system:serviceaccount:ops:somebody-else")
	account, _ := cloud.NewAzure(byFile)
	if _, err := account.For("https://vault.azure.net")(t.Context()); err == nil || !strings.Contains(err.Error(), "7000215") {
		t.Errorf("a workload that the app does not trust: %v", err)
	}
	for name, cfg := range map[string]cloud.AzureConfig{
		"nothing": {}, "no proof": base, "both proofs": {Tenant: base.Tenant, Client: base.Client, Secret: bySecret.Secret, TokenFile: file},
		"a tenant with a path": {Tenant: "a/../b", Client: base.Client, Secret: bySecret.Secret},
		"in the clear":         {Tenant: base.Tenant, Client: base.Client, Secret: bySecret.Secret, Authority: "http://login.example.com"},
	} {
		if _, err := cloud.NewAzure(cfg); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
}

func TestErrors(t *testing.T) {
	server, keyFile := cloudtest.Google(t)
	server.Find(thing)
	account, err := cloud.NewGoogle(keyFile)
	if err != nil {
		t.Fatal(err)
	}
	api := cloud.API{Base: server.URL, Client: cloud.NewClient(), Token: account.Token}
	server.Grant()
	err = api.Do(t.Context(), read, nil)
	if !cloud.Denied(err) || !strings.HasSuffix(err.Error(), "/v1/thing answered 403 PERMISSION_DENIED: Stanch's own account needs things.read there") {
		t.Errorf("%v", err)
	}
	server.Grant("things.read")
	server.Lose("POST /v1/thing")
	var lost *cloud.Error
	if err := api.Do(t.Context(), cloud.Call{Method: "POST", Path: "/v1/thing"}, nil); !errors.As(err, &lost) || lost.Refused() || lost.Status != 0 {
		t.Errorf("a lost answer: %v", err)
	}
	for name, test := range map[string]struct {
		status  int
		body    string
		refused bool
	}{
		"google's own":  {409, `{"error":{"code":409,"status":"ALREADY_EXISTS"}}`, true},
		"azure's own":   {403, `{"error":{"code":"Forbidden","innererror":{"code":"SecretDisabled"}}}`, true},
		"a proxy's 403": {403, `<html>no</html>`, false},
		"broken":        {500, `{"error":{"code":500,"status":"INTERNAL"}}`, false},
		"a redirect":    {302, ``, false},
		"not json":      {200, `<html>`, false},
	} {
		other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", server.URL)
			w.WriteHeader(test.status)
			w.Write([]byte(test.body))
		}))
		defer other.Close()
		api.Base = other.URL
		var got *cloud.Error
		if err := api.Do(t.Context(), read, new(any)); !errors.As(err, &got) || got.Refused() != test.refused || got.Status != test.status {
			t.Errorf("%s: %v", name, err)
		}
	}
	api.Base = "http://127.0.0.1:1"
	if err := api.Do(t.Context(), read, nil); !errors.As(err, &lost) || !lost.Refused() {
		t.Errorf("nobody there: %v", err)
	}
}
