package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/stanch-dev/stanch/app"
	"github.com/stanch-dev/stanch/app/secretstore"
	"github.com/stanch-dev/stanch/app/store"
	"github.com/stanch-dev/stanch/checks"
)

// A keeper is where the demo's company keeps its live credentials: an encrypted
// file, or a real OpenBao or Vault server.
type keeper struct {
	title   string // for people
	keys    store.Keys
	secrets app.SecretStore
	mount   string // what paths begin with
	stop    func()
}

func openKeeper(ctx context.Context, vault bool, dir string) (*keeper, error) {
	master := make([]byte, 32)
	rand.Read(master)
	keys, err := store.NewKeys(master)
	if err != nil {
		return nil, err
	}
	if vault {
		return startVault(ctx, keys, dir)
	}
	path := filepath.Join(dir, "secrets.age")
	file, err := secretstore.OpenFile(path, path+".key", keys.Fingerprint)
	if err != nil {
		return nil, err
	}
	return &keeper{title: "an encrypted file", keys: keys, secrets: file, stop: func() {}}, nil
}

// keep puts a live credential where its owner keeps it.
func (k *keeper) keep(ctx context.Context, path, field, value string) error {
	at := secretstore.Location{Store: k.secrets.Name(), Path: k.mount + path, Field: field}
	_, err := k.secrets.Put(ctx, at, map[string]checks.Secret{field: checks.NewSecret(value)}, "demo")
	return err
}

// demoPolicy is what Stanch may do in the demo's server: read, replace and
// destroy under one mount.
const demoPolicy = `
path "secret/data/*"     { capabilities = ["create", "read", "update", "patch"] }
path "secret/metadata"   { capabilities = ["list"] }
path "secret/metadata/*" { capabilities = ["list", "read", "patch", "create", "update"] }
path "secret/destroy/*"  { capabilities = ["update"] }
`

// startVault starts a development server of the bao or vault in PATH, and makes
// a token for Stanch that can do no more than demoPolicy.
func startVault(ctx context.Context, keys store.Keys, dir string) (*keeper, error) {
	binary, err := findVault()
	if err != nil {
		return nil, err
	}
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	root := make([]byte, 16)
	rand.Read(root)
	v := vaultServer{binary: binary, addr: "http://" + addr, root: hex.EncodeToString(root), home: dir}
	if err := v.start(ctx, addr); err != nil {
		return nil, err
	}
	token, err := v.setUp(ctx)
	if err != nil {
		v.stop()
		return nil, err
	}
	secrets, err := secretstore.NewVault(secretstore.VaultConfig{
		Addr: v.addr, Token: checks.NewSecret(token), Mounts: []string{"secret"}, Key: keys.Fingerprint,
	})
	if err != nil {
		v.stop()
		return nil, err
	}
	return &keeper{title: filepath.Base(binary) + " at " + v.addr, keys: keys, secrets: secrets, mount: "secret/", stop: v.stop}, nil
}

func findVault() (string, error) {
	for _, name := range []string{"bao", "vault"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", errors.New("--vault needs the bao or vault program in PATH: install OpenBao (openbao.org) or Vault, or leave --vault out")
}

func freeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// vaultServer is a development server, which forgets everything when it stops.
type vaultServer struct {
	binary, addr, root, home string
	cmd                      *exec.Cmd
}

// startsWithin is what a development server has to become ready, on a busy machine.
const startsWithin = time.Minute

func (v *vaultServer) start(ctx context.Context, listen string) error {
	var said bytes.Buffer
	v.cmd = exec.Command(v.binary, "server", "-dev", "-dev-no-store-token", "-dev-listen-address="+listen)
	v.cmd.Env = v.env("BAO_DEV_ROOT_TOKEN_ID="+v.root, "VAULT_DEV_ROOT_TOKEN_ID="+v.root)
	v.cmd.Stderr = &said
	if err := v.cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", v.binary, err)
	}
	for deadline := time.Now().Add(startsWithin); time.Now().Before(deadline); {
		if v.ready(ctx) {
			return nil
		}
		select {
		case <-ctx.Done():
			v.stop()
			return ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
	v.stop()
	return fmt.Errorf("%s did not become ready in %s: %s", v.binary, startsWithin, strings.TrimSpace(said.String()))
}

// ready reports whether the server keeps secrets: it answers before the store with
// versions is made, which refuses everything until then.
func (v *vaultServer) ready(ctx context.Context) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, v.addr+"/v1/secret/metadata/?list=true", nil)
	if err != nil {
		return false
	}
	req.Header.Set("X-Vault-Token", v.root)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	resp.Body.Close()
	return resp.StatusCode == http.StatusNotFound // empty
}

func (v *vaultServer) stop() {
	v.cmd.Process.Kill()
	v.cmd.Wait()
}

// env is what the program sees: no token or address of the reader's own server.
func (v *vaultServer) env(more ...string) []string {
	return append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + v.home}, more...)
}

// setUp makes Stanch's own token.
func (v *vaultServer) setUp(ctx context.Context) (token string, err error) {
	if _, err := v.run(ctx, demoPolicy, "policy", "write", "stanch", "-"); err != nil {
		return "", err
	}
	return v.run(ctx, "", "token", "create", "-policy=stanch", "-field=token")
}

func (v *vaultServer) run(ctx context.Context, stdin string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, v.binary, args...)
	cmd.Env = v.env("BAO_ADDR="+v.addr, "VAULT_ADDR="+v.addr, "BAO_TOKEN="+v.root, "VAULT_TOKEN="+v.root)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w", filepath.Base(v.binary), strings.Join(args[:2], " "), err)
	}
	return strings.TrimSpace(string(out)), nil
}
