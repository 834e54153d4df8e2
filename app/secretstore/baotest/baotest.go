// Package baotest is a real OpenBao or Vault server in memory, for tests: nothing
// that pretends to be one answers quite as they do.
package baotest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stanch-dev/stanch/app/provider/servertest"
)

// A Server is a development server that ends with its test.
type Server struct {
	t    *testing.T
	Addr string // http://127.0.0.1:PORT
	Root string // the root token
}

// Start starts a server from the bao or vault in PATH. Without one the test is
// skipped, unless STANCH_CI=1 says that there has to be one.
func Start(t *testing.T) *Server {
	t.Helper()
	return start(t)
}

// StartAudited starts an OpenBao server whose audit device "file" writes the log.
// OpenBao takes devices from its configuration alone.
func StartAudited(t *testing.T) (b *Server, log string) {
	t.Helper()
	dir := t.TempDir()
	log = filepath.Join(dir, "audit.log")
	config := filepath.Join(dir, "audit.hcl")
	text := fmt.Sprintf("audit \"file\" \"file\" {\n  options = {\n    file_path = %q\n  }\n}\n", log)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return start(t, "-config="+config), log
}

// AWSEngine is the type of mount that is the AWS engine of Vault, where StartAWS started
// the server. OpenBao has none of its own.
const AWSEngine = "vault-aws"

// StartAWS starts a server that can run the AWS engine from the vault-aws in PATH, which
// .ci/run builds. Without one the test is skipped, unless STANCH_CI=1 says that there has
// to be one.
func StartAWS(t *testing.T) *Server {
	t.Helper()
	plugin, err := exec.LookPath(AWSEngine)
	if err != nil {
		if os.Getenv("STANCH_CI") == "1" {
			t.Fatal(AWSEngine + " is not on PATH, and STANCH_CI=1 wants the tests with it: .ci/run vault_aws")
		}
		t.Skip(AWSEngine + " is not on PATH: .ci/run vault_aws")
	}
	return start(t, "-dev-plugin-dir="+filepath.Dir(plugin))
}

func start(t *testing.T, more ...string) *Server {
	t.Helper()
	program, err := exec.LookPath("bao")
	if err != nil {
		program, err = exec.LookPath("vault")
	}
	if err != nil {
		if os.Getenv("STANCH_CI") == "1" {
			t.Fatal("neither bao nor vault is on PATH, and STANCH_CI=1 wants the tests with a real server")
		}
		t.Skip("neither bao nor vault is on PATH")
	}
	address := "127.0.0.1:" + servertest.FreePort(t)
	b := &Server{t: t, Addr: "http://" + address, Root: "root-of-this-test"}
	ctx, cancel := context.WithCancel(context.Background())
	args := append([]string{"server", "-dev", "-dev-no-store-token",
		"-dev-root-token-id=" + b.Root, "-dev-listen-address=" + address}, more...)
	server := exec.CommandContext(ctx, program, args...)
	server.Env = append(os.Environ(), "HOME="+t.TempDir())
	var log bytes.Buffer
	server.Stdout, server.Stderr = &log, &log
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		server.Wait()
		if t.Failed() {
			t.Logf("%s:\n%s", program, log.String())
		}
	})
	for deadline := time.Now().Add(servertest.Patience); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		// It answers before the store with versions is made, which refuses everything
		// until then. Empty, it says that nothing is found.
		req, err := http.NewRequest("GET", b.Addr+"/v1/secret/metadata/?list=true", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-Vault-Token", b.Root)
		if resp, err := http.DefaultClient.Do(req); err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusNotFound {
				return b
			}
		}
	}
	t.Fatalf("%s does not answer", program)
	return nil
}

// Do makes a request with a token and returns the answer's "data" or "auth".
func (b *Server) Do(token, method, path string, body any) (int, map[string]any) {
	b.t.Helper()
	payload, err := json.Marshal(body)
	if err != nil {
		b.t.Fatal(err)
	}
	req, err := http.NewRequest(method, b.Addr+"/v1/"+path, bytes.NewReader(payload))
	if err != nil {
		b.t.Fatal(err)
	}
	req.Header.Set("X-Vault-Token", token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	defer resp.Body.Close()
	var answer struct{ Data, Auth map[string]any }
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil && err != io.EOF {
		b.t.Fatal(err)
	}
	if answer.Auth != nil {
		return resp.StatusCode, answer.Auth
	}
	return resp.StatusCode, answer.Data
}

// Must makes a request as root that has to succeed.
func (b *Server) Must(method, path string, body any) map[string]any {
	b.t.Helper()
	status, data := b.Do(b.Root, method, path, body)
	if status >= 300 {
		b.t.Fatalf("%s %s: %d", method, path, status)
	}
	return data
}

// Token makes a token.
func (b *Server) Token(options map[string]any) string {
	b.t.Helper()
	value, _ := b.Must("POST", "auth/token/create-orphan", options)["client_token"].(string)
	return value
}

// Policy writes a policy, from a file when text begins with "@".
func (b *Server) Policy(name, text string) {
	b.t.Helper()
	if text[0] == '@' {
		file, err := os.ReadFile(text[1:])
		if err != nil {
			b.t.Fatal(err)
		}
		text = string(file)
	}
	b.Must("PUT", "sys/policies/acl/"+name, map[string]string{"policy": text})
}
