package servertest

import (
	"bytes"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// An SSHD is a real SSH server.
type SSHD struct {
	Account     string // of root or of who runs the test: "root@127.0.0.1:PORT"
	Fingerprint string // of its own key: "SHA256:…"
	// Authorities is the file of the authorities whose certificates it takes, and Revoked
	// that of the keys that it does not. Both are read at each login.
	Authorities, Revoked string
}

// StartSSHD starts a server that lets in nobody but who has a key, with more options of
// sshd_config.
func StartSSHD(t *testing.T, options ...string) SSHD {
	t.Helper()
	sshd := Program(t, "sshd", "openssh-server", "/usr/sbin")
	keygen := Program(t, "ssh-keygen", "openssh-client")
	if os.Geteuid() == 0 {
		os.MkdirAll("/run/sshd", 0o755) // it wants to lock itself in there
	}
	dir, port := Scratch(t), FreePort(t)
	host := filepath.Join(dir, "host")
	Run(t, exec.Command(keygen, "-q", "-t", "ed25519", "-N", "", "-f", host))
	said, err := exec.Command(keygen, "-lf", host+".pub").Output()
	if err != nil {
		t.Fatal(err)
	}
	h := SSHD{
		Account: "root@127.0.0.1:" + port, Fingerprint: strings.Fields(string(said))[1],
		Authorities: filepath.Join(dir, "authorities"), Revoked: filepath.Join(dir, "revoked"),
	}
	h.Trust(t)
	h.Refuse(t)
	args := []string{"-D", "-e", "-f", "/dev/null", "-p", port, "-h", host}
	for _, option := range append(options, "ListenAddress=127.0.0.1", "StrictModes=no", "PidFile=none", "PermitRootLogin=yes", "MaxStartups=100",
		"PasswordAuthentication=no", "KbdInteractiveAuthentication=no", "UsePAM=no", "AuthorizedKeysFile=none",
		"TrustedUserCAKeys="+h.Authorities, "RevokedKeys="+h.Revoked) {
		args = append(args, "-o", option)
	}
	Start(t, exec.Command(sshd, args...), func() bool {
		conn, err := net.Dial("tcp", "127.0.0.1:"+port)
		if err != nil {
			return false
		}
		defer conn.Close()
		b := make([]byte, 4)
		n, _ := conn.Read(b)
		return bytes.Equal(b[:n], []byte("SSH-"))
	})
	return h
}

// Trust has the server take certificates of these authorities alone, a line for each.
func (h SSHD) Trust(t *testing.T, lines ...string) { write(t, h.Authorities, lines) }

// Refuse has the server take no such key, and no certificate by it.
func (h SSHD) Refuse(t *testing.T, lines ...string) { write(t, h.Revoked, lines) }

func write(t *testing.T, file string, lines []string) {
	t.Helper()
	// It is replaced, and never read half.
	fresh := file + ".new"
	if err := os.WriteFile(fresh, []byte(strings.Join(append(lines, ""), "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(fresh, file); err != nil {
		t.Fatal(err)
	}
}
