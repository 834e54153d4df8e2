package main

import (
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stanch-dev/stanch/app/github/githubtest"
	"github.com/stanch-dev/stanch/app/provider/servertest"
	"github.com/stanch-dev/stanch/app/secretstore"
	"github.com/stanch-dev/stanch/app/store"
	"github.com/stanch-dev/stanch/checks"
)

// TestLeakedVaultToken leaks a token of a real OpenBao or Vault server that
// keeps it in KV as well. The server runs with the policies of deploy/vault and
// with nothing else.
func TestLeakedVaultToken(t *testing.T) {
	v := newVault(t)
	w := newServeWorld(t, func(w *serveWorld, keys store.Keys) { withVaultToken(w, v, keys) })
	head := w.push()
	w.finish(func() error {
		now := w.stored()
		runs := w.github.CheckRuns("acme/shop")
		switch {
		case now == w.leaked:
			return fmt.Errorf("the leaked token is still in the store")
		case v.live(t, w.leaked):
			return fmt.Errorf("the leaked token is live")
		case !v.live(t, now):
			return fmt.Errorf("the replacement does not work")
		case len(runs) != 1 || runs[0].HeadSHA != head || !strings.Contains(runs[0].Title, "dead"):
			return fmt.Errorf("the check run says %+v", runs)
		}
		return nil
	})
	got, err := v.run(t.Context(), "", "token", "lookup", "-field=policies", w.stored())
	w.must(err)
	if !strings.Contains(got, "ci-deploy") || strings.Contains(got, "stanch") || strings.Contains(got, "root") {
		t.Errorf("the replacement has the policies %s, want the leaked one's", got)
	}
	w.finish(func() error { // the leaked value is destroyed in the store's history
		meta, err := v.run(t.Context(), "", "kv", "metadata", "get", "-format=json", "secret/ci/vault")
		if err == nil && !strings.Contains(strings.Join(strings.Fields(meta), ""), `"destroyed":true`) {
			err = fmt.Errorf("no version is destroyed: %s", meta)
		}
		return err
	})
	w.findNoSecret()
}

// TestKill9WhileVaultIssues kills the server when Vault has issued a replacement
// and the answer is lost. Stanch may not look for it in this world, so it waits for a
// person, and nothing has died.
func TestKill9WhileVaultIssues(t *testing.T) {
	v := newVault(t)
	w := newServeWorld(t, func(w *serveWorld, keys store.Keys) {
		withVaultToken(w, v, keys)
		w.env[0] = "VAULT_ADDR=" + w.newProxy(v.addr).URL
	})
	w.killWhen(true, func(r request) bool { return r.path == "/v1/auth/token/create/stanch-issue" })
	w.push()
	w.mustDie()
	w.serve()
	var run githubtest.CheckRun
	w.finish(func() error {
		runs := w.github.CheckRuns("acme/shop")
		if len(runs) != 1 || !strings.Contains(runs[0].Summary, "is not known") {
			return fmt.Errorf("the check run does not ask a person: %+v", runs)
		}
		run = runs[0]
		return nil
	})
	if w.stored() != w.leaked || !v.live(t, w.leaked) {
		t.Fatal("something happened to the leaked token before a person looked")
	}
	w.must(w.github.PressButton(run.ID, "rotate", "bot"))
	w.finish(func() error {
		if now := w.stored(); now == w.leaked || !v.live(t, now) || v.live(t, w.leaked) {
			return fmt.Errorf("not rotated")
		}
		return nil
	})
}

// ownToken is a token of Stanch's own with policies of deploy/vault.
func (v *testVault) ownToken(t *testing.T, policies ...string) string {
	t.Helper()
	args := []string{"token", "create", "-orphan", "-field=token"}
	for _, name := range policies {
		policy, err := os.ReadFile(filepath.Join("..", "..", "deploy", "vault", name+".hcl"))
		if err != nil {
			t.Fatal(err)
		}
		v.must(t, string(policy), "policy", "write", name, "-")
		args = append(args, "-policy="+name)
	}
	return v.must(t, "", args...)
}

// withVaultToken leaks a token of the server for a job that deploys. Stanch's own has
// more policies than it takes.
func withVaultToken(w *serveWorld, v *testVault, keys store.Keys, more ...string) {
	v.must(w.t, `path "secret/data/app/*" { capabilities = ["read"] }`, "policy", "write", "ci-deploy", "-")
	v.must(w.t, "", "write", "auth/token/roles/stanch-issue", "orphan=true", "renewable=true", "allowed_policies_glob=ci-*")
	own := v.ownToken(w.t, append(more, "stanch", "stanch-issue")...)
	w.leaked = v.must(w.t, "", "token", "create", "-orphan", "-policy=ci-deploy", "-ttl=2h", "-field=token")
	w.line = "export VAULT_TOKEN=" + w.leaked
	w.keepInVault(v, own, keys, "token")
	w.env = append(w.env, "STANCH_VAULT_ISSUE_ROLE=stanch-issue")
}

// keepInVault keeps the leaked credential in KV, where Stanch looks with its own token.
func (w *serveWorld) keepInVault(v *testVault, own string, keys store.Keys, field string) {
	w.t.Helper()
	var err error
	w.secrets, err = secretstore.NewVault(secretstore.VaultConfig{Addr: v.addr, Token: checks.NewSecret(own), Mounts: []string{"secret"}, Key: keys.Fingerprint})
	w.must(err)
	w.place = secretstore.Location{Store: w.secrets.Name(), Path: "secret/ci/vault", Field: field}
	w.env = []string{"VAULT_ADDR=" + v.addr, "VAULT_TOKEN=" + own, "STANCH_VAULT_MOUNTS=secret"}
}

// testVault is a development server for a test.
type testVault struct{ vaultServer }

func newVault(t *testing.T) *testVault {
	t.Helper()
	binary, err := findVault()
	if err != nil && os.Getenv("STANCH_CI") == "1" {
		t.Fatal(err)
	}
	if err != nil {
		t.Skip("no bao or vault in PATH")
	}
	addr := "127.0.0.1:" + servertest.FreePort(t)
	v := &testVault{vaultServer{binary: binary, addr: "http://" + addr, root: rand.Text(), home: t.TempDir()}}
	if err := v.start(t.Context(), addr); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.stop)
	return v
}

func (v *testVault) must(t *testing.T, stdin string, args ...string) string {
	t.Helper()
	out, err := v.run(t.Context(), stdin, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func (v *testVault) live(t *testing.T, token string) bool {
	t.Helper()
	_, err := v.run(t.Context(), "", "token", "lookup", token)
	return err == nil
}

// TestDemo runs the demo as its reader does.
func TestDemo(t *testing.T) {
	for _, vault := range []bool{false, true} {
		t.Run(fmt.Sprintf("vault=%v", vault), func(t *testing.T) {
			args := []string{"demo", "--once", "--format", "json"}
			if vault {
				if _, err := findVault(); err != nil && os.Getenv("STANCH_CI") != "1" {
					t.Skip("no bao or vault in PATH")
				}
				args = append(args, "--vault")
			}
			var out, errs strings.Builder
			if code := run(t.Context(), args, strings.NewReader(""), &out, &errs, os.Getenv); code != exitDone {
				t.Fatalf("exit status %d: %s", code, errs.String())
			}
			lines := strings.Split(strings.TrimSpace(out.String()), "\n")
			var events []string
			for _, l := range lines {
				event, _, _ := strings.Cut(strings.TrimPrefix(l, `{"event":"`), `"`)
				events = append(events, event)
			}
			want := "ready pushed delivered detected verified contained rotated proved_dead checked"
			if got := strings.Join(events, " "); got != want {
				t.Errorf("events %s, want %s", got, want)
			}
		})
	}
}
