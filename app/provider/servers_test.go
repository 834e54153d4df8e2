package provider

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/stanch-dev/stanch/checks"
)

// program finds a program of a real server in PATH or in the folders where Debian
// puts servers. Without it the test is skipped, unless STANCH_CI=1 says that there
// has to be one.
func program(t *testing.T, name, debian string, folders ...string) string {
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

// freePort returns a port of the loopback address that nobody listens on.
func freePort(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return strconv.Itoa(listener.Addr().(*net.TCPAddr).Port)
}

// scratch makes a folder that another user can be given, and whose name is short
// enough for a socket in it.
func scratch(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "stanch")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// runAs makes a command run as a user when the test is root: databases refuse to
// be.
func runAs(t *testing.T, name string, cmd *exec.Cmd, owned ...string) {
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

// start runs a server until the test ends, and waits until it is ready.
func start(t *testing.T, cmd *exec.Cmd, ready func() bool) {
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
	for range 600 {
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

// run runs a command that has to succeed.
func run(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, out)
	}
}

// An authority signs the certificates of a test's servers.
type authority struct {
	roots             *x509.CertPool
	certFile, keyFile string // of localhost and 127.0.0.1
	config            *tls.Config
}

func newAuthority(t *testing.T) authority {
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
	dir := scratch(t)
	a := authority{roots: x509.NewCertPool(), certFile: filepath.Join(dir, "server.crt"), keyFile: filepath.Join(dir, "server.key")}
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	keyPEM := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: encoded})
	for file, text := range map[string][]byte{a.certFile: certPEM, a.keyFile: keyPEM} {
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	a.roots.AppendCertsFromPEM(certPEM)
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		t.Fatal(err)
	}
	a.config = &tls.Config{Certificates: []tls.Certificate{pair}}
	return a
}

// raw serves a protocol that is none: what say does with each connection.
func raw(t *testing.T, say func(net.Conn)) (address string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				conn.SetDeadline(time.Now().Add(30 * time.Second))
				say(conn)
			}()
		}
	}()
	return listener.Addr().String()
}

// noise is what no protocol's client can make sense of.
var noise = map[string]func(net.Conn){
	"hangs up": func(net.Conn) {},
	"silent":   func(c net.Conn) { c.Read(make([]byte, 1)); time.Sleep(20 * time.Second) },
	"http": func(c net.Conn) {
		c.Read(make([]byte, 512))
		c.Write([]byte("HTTP/1.1 400 Bad Request\r\nContent-Type: text/html\r\n\r\n<html>no</html>"))
	},
	"zeros":      func(c net.Conn) { forever(c, make([]byte, 4096)) },
	"large byte": func(c net.Conn) { forever(c, bytes.Repeat([]byte{0xff}, 4096)) },
	"text":       func(c net.Conn) { forever(c, bytes.Repeat([]byte("$999999999\r\n"), 300)) },
}

func forever(c net.Conn, chunk []byte) {
	for range 1 << 16 { // 256 MiB, of which nobody should read much
		if _, err := c.Write(chunk); err != nil {
			return
		}
	}
}

// parts makes a credential.
func parts(rule string, named map[string]string) checks.Credential {
	cred := checks.Credential{Rule: rule, Parts: map[string]checks.Secret{}}
	for name, value := range named {
		cred.Parts[name] = checks.NewSecret(value)
	}
	return cred
}

// keepsSecrets checks that a verdict tells no part of a password.
func keepsSecrets(t *testing.T, v Verdict, cred checks.Credential) {
	t.Helper()
	told, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	secret := cred.Secret().Expose()
	plain, _ := url.PathUnescape(secret)
	for _, text := range []string{secret, plain} {
		if text != "" && bytes.Contains(told, []byte(text)) {
			t.Errorf("the verdict tells the secret: %s", told)
		}
	}
}

// ask verifies a credential and checks what is true of every verdict.
func ask(t *testing.T, p *Providers, cred checks.Credential, validity checks.Validity, grade Grade) Verdict {
	t.Helper()
	v, err := p.VerifyAgain(context.Background(), cred)
	if err != nil {
		t.Fatal(err)
	}
	if v.Validity != validity || v.Grade != grade {
		t.Errorf("%s, grade %s; want %s, grade %s: %+v", v.Validity, v.Grade, validity, grade, v.Evidence)
	}
	keepsSecrets(t, v, cred)
	return v
}
