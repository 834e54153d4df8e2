package main

import (
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The cluster is asked for names alone, with the token of the file, and where it refuses
// that is said.
func TestDoctorAsksTheCluster(t *testing.T) {
	const refusal = `{"kind":"Status","code":403,"reason":"Forbidden","message":"secrets is forbidden: User \"stanch\" cannot list resource \"secrets\""}`
	cluster := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		switch {
		case r.Header.Get("Authorization") != "Bearer own-token" || !strings.Contains(r.Header.Get("Accept"), "PartialObjectMetadata"):
			w.WriteHeader(http.StatusUnauthorized)
			w.Write([]byte(`{"kind":"Status","code":401,"reason":"Unauthorized","message":"Unauthorized"}`))
		case r.URL.Path == "/api/v1/namespaces/shop/secrets":
			w.Write([]byte(`{"metadata":{},"items":[{"metadata":{"namespace":"shop","name":"deploy","resourceVersion":"7"}}]}`))
		default:
			w.WriteHeader(http.StatusForbidden)
			w.Write([]byte(refusal))
		}
	}))
	t.Cleanup(cluster.Close)
	dir := t.TempDir()
	write := func(name string, text []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	environment := map[string]string{
		"STANCH_KUBERNETES_URL": cluster.URL, "STANCH_KUBERNETES_NAMESPACES": "shop", "STANCH_KUBERNETES_TOKEN_FILE": write("token", []byte("own-token\n")),
		"STANCH_KUBERNETES_CA_FILE": write("ca.crt", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cluster.Certificate().Raw})),
	}
	say := func(status, found string) {
		t.Helper()
		_, r, text := diagnose(t, environment)
		if got := r.say(kubernetesName, found); len(got) != 1 || got[0].Status != status || strings.Contains(text, "own-token") {
			t.Errorf("%q is not said\n%s", found, text)
		}
	}
	say(statusOK, "holds 1 secret")
	environment["STANCH_KUBERNETES_NAMESPACES"] = "shop,web"
	say(statusProblem, "may not list secrets in web/")
	delete(environment, "STANCH_KUBERNETES_NAMESPACES")
	say(statusProblem, `cannot list resource "secrets"`)
	environment["STANCH_KUBERNETES_TOKEN_FILE"] = write("stale", []byte("stale"))
	say(statusProblem, "401")
	environment["STANCH_KUBERNETES_CA_FILE"] = filepath.Join(dir, "none")
	say(statusProblem, "read the authority")
	delete(environment, "STANCH_KUBERNETES_URL")
	say(statusProblem, "without STANCH_KUBERNETES_URL")
	for name := range environment {
		delete(environment, name)
	}
	say(statusNote, "is not set")
	environment["STANCH_KUBERNETES_URL"] = inCluster
	say(statusProblem, podAuthority)
}
