package checks_test

import (
	"encoding/base64"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestOpenSSHKeys: the frame of every OpenSSH key without a passphrase holds
// zeros, which are a row of As. They are no sign of a made-up value.
func TestOpenSSHKeys(t *testing.T) {
	key := token(t, "{pem:openssh}", 1)
	body := strings.Split(key, "\n")
	raw, err := base64.StdEncoding.DecodeString(strings.Join(body[1:len(body)-1], ""))
	if err != nil || !strings.HasPrefix(string(raw), "openssh-key-v1\x00\x00\x00\x00\x04none\x00\x00\x00\x04none\x00\x00\x00\x00\x00\x00\x00\x01") {
		t.Fatalf("the template makes no OpenSSH key: %v", err)
	}
	s := scanner(t)
	for _, text := range []string{key, key + "\n", strings.ReplaceAll(key, "\n", "\r\n"), `k = "` + strings.ReplaceAll(key, "\n", `\n`) + `"`} {
		if f := one(t, scan(s, "id_ed25519", []byte(text))); f.Rule.ID != "private-key" {
			t.Errorf("found %s", f.Rule.ID)
		}
	}
}

// TestOpenSSHKeyOfTheRealProgram asks ssh-keygen for a key.
func TestOpenSSHKeyOfTheRealProgram(t *testing.T) {
	program, err := exec.LookPath("ssh-keygen")
	if err != nil {
		t.Skip("ssh-keygen is not installed")
	}
	for _, kind := range []string{"ed25519", "rsa", "ecdsa"} {
		path := filepath.Join(t.TempDir(), "key")
		if out, err := exec.Command(program, "-q", "-t", kind, "-N", "", "-f", path).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		key, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if f := one(t, scan(scanner(t), "key", key)); f.Rule.ID != "private-key" {
			t.Errorf("%s: found %s", kind, f.Rule.ID)
		}
	}
}
