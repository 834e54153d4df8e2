// Package servertest is real servers of databases and what else people log in at, for
// tests: nothing that pretends to be one answers quite as they do.
package servertest

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// Patience is how long a server may take to start, on a machine that is busy.
const Patience = 2 * time.Minute

// Program finds a program of a real server in PATH or in the folders where Debian
// puts servers. Without it the test is skipped, unless STANCH_CI=1 says that there
// has to be one.
func Program(t *testing.T, name, debian string, folders ...string) string {
	t.Helper()
	for _, folder := range folders {
		if found, _ := filepath.Glob(filepath.Join(folder, name)); len(found) > 0 {
			return found[len(found)-1]
		}
	}
	path, err := exec.LookPath(name)
	if err == nil {
		return path
	}
	if os.Getenv("STANCH_CI") == "1" {
		t.Fatalf("there is no %s (Debian: %s), and STANCH_CI=1 wants the tests with a real server", name, debian)
	}
	t.Skipf("there is no %s (Debian: %s)", name, debian)
	return ""
}

// The system hands out ports above these to connections, and to those who listen on any:
// between FreePort and the start of a server one of them could take the server's port. So
// could another process of tests, which begins elsewhere.
const (
	firstPort = 20_000
	somePorts = 12_000
)

var ports atomic.Int64 // that were asked for

// FreePort returns a port of the loopback address that nobody listens on.
func FreePort(t testing.TB) string {
	t.Helper()
	var err error
	for range somePorts {
		port := strconv.FormatInt(firstPort+(997*int64(os.Getpid())+ports.Add(1))%somePorts, 10)
		var listener net.Listener
		if listener, err = net.Listen("tcp", "127.0.0.1:"+port); err == nil {
			listener.Close()
			return port
		}
	}
	t.Fatalf("no port is free: %v", err)
	return ""
}

// Scratch makes a folder that another user can be given, and whose name is short
// enough for a socket in it.
func Scratch(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "stanch")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// RunAs makes a command run as a user when the test is root: databases refuse to
// be.
func RunAs(t *testing.T, name string, cmd *exec.Cmd, owned ...string) {
	t.Helper()
	if os.Geteuid() != 0 {
		return
	}
	u, err := user.Lookup(name)
	if err != nil {
		t.Fatal(err)
	}
	uid, _ := strconv.Atoi(u.Uid)
	gid, _ := strconv.Atoi(u.Gid)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
	for _, path := range owned {
		if err := os.Chown(path, uid, gid); err != nil {
			t.Fatal(err)
		}
	}
}

// Start runs a server until the test ends, and waits until it is ready.
func Start(t *testing.T, cmd *exec.Cmd, ready func() bool) {
	t.Helper()
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { cmd.Wait(); close(ended) }()
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGQUIT)
		select {
		case <-ended:
		case <-time.After(10 * time.Second):
			cmd.Process.Kill()
			<-ended
		}
		if t.Failed() {
			t.Logf("%s:\n%s", cmd.Path, log.String())
		}
	})
	for deadline := time.Now().Add(Patience); time.Now().Before(deadline); {
		if ready() {
			return
		}
		select {
		case <-ended:
			t.Fatalf("%s ended", cmd.Path)
		case <-time.After(50 * time.Millisecond):
		}
	}
	t.Fatalf("%s does not answer", cmd.Path)
}

// Run runs a command that has to succeed.
func Run(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, out)
	}
}

// An Authority signs the certificates of a test's servers.
type Authority struct {
	Roots             *x509.CertPool
	CertFile, KeyFile string // of localhost and 127.0.0.1
	Config            *tls.Config
}

func NewAuthority(t *testing.T) Authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := Scratch(t)
	a := Authority{Roots: x509.NewCertPool(), CertFile: filepath.Join(dir, "server.crt"), KeyFile: filepath.Join(dir, "server.key")}
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	keyPEM := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: encoded})
	for file, text := range map[string][]byte{a.CertFile: certPEM, a.KeyFile: keyPEM} {
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	a.Roots.AppendCertsFromPEM(certPEM)
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		t.Fatal(err)
	}
	a.Config = &tls.Config{Certificates: []tls.Certificate{pair}}
	return a
}
