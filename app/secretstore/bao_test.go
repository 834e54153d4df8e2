package secretstore

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"testing"
	"time"
)

// A bao is a real Vault or OpenBao server in memory.
type bao struct {
	t          *testing.T
	addr, root string
}

// startBao starts a server, or skips the test where there is no program for it.
func startBao(t *testing.T) *bao {
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
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	listener.Close()
	b := &bao{t: t, addr: "http://" + address, root: "root-of-this-test"}
	ctx, cancel := context.WithCancel(context.Background())
	server := exec.CommandContext(ctx, program, "server", "-dev", "-dev-no-store-token",
		"-dev-root-token-id="+b.root, "-dev-listen-address="+address)
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
	for range 200 {
		resp, err := http.Get(b.addr + "/v1/sys/health")
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode == 200 {
				return b
			}
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatalf("%s does not answer", program)
	return nil
}

// do makes a request with a token and returns the answer's "data" or "auth".
func (b *bao) do(token, method, path string, body any) (int, map[string]any) {
	b.t.Helper()
	payload, err := json.Marshal(body)
	if err != nil {
		b.t.Fatal(err)
	}
	req, err := http.NewRequest(method, b.addr+"/v1/"+path, bytes.NewReader(payload))
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

// must makes a request as root that has to succeed.
func (b *bao) must(method, path string, body any) map[string]any {
	b.t.Helper()
	status, data := b.do(b.root, method, path, body)
	if status >= 300 {
		b.t.Fatalf("%s %s: %d", method, path, status)
	}
	return data
}

// token makes a token.
func (b *bao) token(options map[string]any) string {
	b.t.Helper()
	value, _ := b.must("POST", "auth/token/create-orphan", options)["client_token"].(string)
	return value
}

// policy writes a policy, from a file when text begins with "@".
func (b *bao) policy(name, text string) {
	b.t.Helper()
	if text[0] == '@' {
		file, err := os.ReadFile(text[1:])
		if err != nil {
			b.t.Fatal(err)
		}
		text = string(file)
	}
	b.must("PUT", "sys/policies/acl/"+name, map[string]string{"policy": text})
}
