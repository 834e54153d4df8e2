package main

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/stanch-dev/stanch/app/incident"
	"github.com/stanch-dev/stanch/app/provider/servertest"
	"github.com/stanch-dev/stanch/app/store"
	"github.com/stanch-dev/stanch/checks"
)

// sshAuthorityName is the kind in the crash matrix.
const sshAuthorityName = "SSH authority of Vault"

// sshKeys are keys of SSH authorities, each of an engine of its own, which hosts trust.
type sshKeys struct{ *crashVault }

func (k sshKeys) begin(t *testing.T) crashCase {
	c := &sshKey{t: t, vault: k.crashVault, mount: fmt.Sprintf("ssh%d", k.n.Add(1)), host: servertest.StartSSHD(t)}
	k.Must("POST", "sys/mounts/"+c.mount, map[string]any{"type": "ssh"})
	t.Cleanup(func() { k.Do(k.Root, "DELETE", "sys/mounts/"+c.mount, nil) })
	k.Policy(c.mount, strings.ReplaceAll(anyMount(t, filepath.Join("..", "..", "deploy", "vault", "stanch-ssh.hcl")), `"ssh/`, `"`+c.mount+`/`))
	c.own = k.Token(map[string]any{"policies": []string{"stanch", c.mount}})
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(key, "")
	if err != nil {
		t.Fatal(err)
	}
	if c.thief, err = ssh.NewSignerFromKey(key); err != nil {
		t.Fatal(err)
	}
	c.private, c.old = strings.TrimSpace(string(pem.EncodeToMemory(block))), string(ssh.MarshalAuthorizedKey(c.thief.PublicKey()))
	k.Must("POST", c.mount+"/config/ca", map[string]any{"private_key": c.private + "\n", "public_key": c.old})
	k.Must("POST", c.mount+"/roles/ops", map[string]any{"key_type": "ca", "allow_user_certificates": true, "allowed_users": "*", "ttl": "10m"})
	c.host.Trust(t, strings.TrimSpace(c.old))
	return c
}

type sshKey struct {
	t            *testing.T
	vault        *crashVault
	mount        string
	own          string // Stanch's token
	private, old string // the leaked key, and its public half
	thief        ssh.Signer
	host         servertest.SSHD
}

func (c *sshKey) stored() map[string]string { return map[string]string{"key": c.private} }
func (c *sshKey) rule() string              { return "private-key" }
func (c *sshKey) secret() string            { return c.private }
func (c *sshKey) leak() string              { return c.private }

// works reports whether the engine signs what people need. What a store holds does not
// matter.
func (c *sshKey) works(map[string]string) bool {
	return c.sign() != nil
}

// sign has the engine certify a key.
func (c *sshKey) sign() ssh.Signer {
	key, signer := c.fresh()
	_, data := c.vault.Do(c.vault.Root, "POST", c.mount+"/sign/ops", map[string]any{"public_key": key, "valid_principals": "root"})
	text, _ := data["signed_key"].(string)
	signed, _, _, _, err := ssh.ParseAuthorizedKey([]byte(text))
	if err != nil {
		return nil
	}
	with, err := ssh.NewCertSigner(signed.(*ssh.Certificate), signer)
	if err != nil {
		c.t.Error(err)
	}
	return with
}

// fresh is a key that nobody has certified.
func (c *sshKey) fresh() (line string, signer ssh.Signer) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err == nil {
		signer, err = ssh.NewSignerFromKey(key)
	}
	if err != nil {
		c.t.Fatal(err)
	}
	return string(ssh.MarshalAuthorizedKey(signer.PublicKey())), signer
}

// leakedWorks reports whether a thief gets in, by a certificate of their own.
func (c *sshKey) leakedWorks() bool {
	_, signer := c.fresh()
	forged := &ssh.Certificate{Key: signer.PublicKey(), CertType: ssh.UserCert, ValidPrincipals: []string{"root"}, ValidBefore: ssh.CertTimeInfinity}
	if err := forged.SignCert(rand.Reader, c.thief); err != nil {
		c.t.Fatal(err)
	}
	with, err := ssh.NewCertSigner(forged, signer)
	if err != nil {
		c.t.Fatal(err)
	}
	return c.lets(with)
}

// lets reports whether the host lets somebody in.
func (c *sshKey) lets(with ssh.Signer) bool {
	user, addr, _ := strings.Cut(c.host.Account, "@")
	client, err := ssh.Dial("tcp", addr, &ssh.ClientConfig{
		User: user, Auth: []ssh.AuthMethod{ssh.PublicKeys(with)}, HostKeyCallback: ssh.InsecureIgnoreHostKey(), Timeout: 10 * time.Second,
	})
	if err != nil {
		return false
	}
	client.Close()
	return true
}

// lines are the public halves of the engine's authorities, by their ids.
func (c *sshKey) lines() map[string]string {
	all := map[string]string{}
	info, _ := c.vault.Must("LIST", c.mount+"/issuers", nil)["key_info"].(map[string]any)
	for id, of := range info {
		all[id] = strings.TrimSpace(of.(map[string]any)["public_key"].(string))
	}
	return all
}

func (c *sshKey) live() int { return len(c.lines()) }

func (c *sshKey) env(via func(string) string) []string {
	return append(c.vault.env(via), "VAULT_TOKEN="+c.own, "STANCH_VAULT_SSH_MOUNTS="+c.mount, "STANCH_SSH_HOSTS="+c.host.Account+"="+c.host.Fingerprint)
}

// dropOld has the host trust what the engine has but the leaked one.
func (c *sshKey) dropOld() {
	var others []string
	for _, line := range c.lines() {
		if line != strings.TrimSpace(c.old) {
			others = append(others, line)
		}
	}
	c.host.Trust(c.t, others...)
}

// help is what people do: they have the host trust the new one and drop the leaked one,
// and say so. An order that a crash cuts off is given again.
func (c *sshKey) help(w *crashWorld, i store.Incident) bool {
	if !strings.Contains(i.Stuck, "stanch incidents confirm") {
		return false
	}
	c.dropOld()
	w.command("confirm", `{"reason":"the host has dropped it"}`)
	return true
}

func (*sshKey) people() string {
	return "they have the hosts trust the new one alone, and confirm that"
}

// TestSSHAuthorityWaitsForPeople lets people do one thing after the other: nothing ends
// before they have said so, and nothing is called dead that a host takes.
func TestSSHAuthorityWaitsForPeople(t *testing.T) {
	w := newCrashWorld(t, sshKeys{newCrashVault(t)}, inFile{}, incident.RevokeFirst)
	c := w.kind.(*sshKey)
	w.start()
	w.leak()
	i := w.told("stanch incidents confirm")
	if c.live() != 2 || !c.leakedWorks() || c.lets(c.sign()) {
		t.Fatalf("%d authorities: the new one is to sign at once, and the host to trust the old one still", c.live())
	}
	var fresh string
	for _, line := range c.lines() {
		if line != strings.TrimSpace(c.old) {
			fresh = line
		}
	}
	for _, want := range []string{"“" + fresh + "”", "RevokedKeys", "cannot be undone"} {
		if !strings.Contains(i.Stuck, want) {
			t.Errorf("nobody is told %q: %s", want, i.Stuck)
		}
	}
	if code, text := w.cli("plan", i.ID, "rotate"); code != exitDone || !strings.Contains(text, "TrustedUserCAKeys") || !strings.Contains(text, "the engine deletes the leaked one") || strings.Contains(text, "decrypt") {
		t.Errorf("%d: %s", code, text)
	}
	w.cli("approve", i.ID, "revoke", "--reason", "at once") // no default any more: it may be
	w.told("works still")
	if c.live() != 1 || !c.leakedWorks() || !c.works(nil) {
		t.Errorf("%d authorities", c.live())
	}
	if code, text := w.cli("undo", i.ID, "--reason", "back"); code == exitDone {
		t.Errorf("it is undone: %s", text)
	}
	c.dropOld()
	w.cli("approve", i.ID, "revoke", "--reason", "dropped now")
	w.eventually("it is proved dead", func() error {
		i, err := w.incident()
		if err == nil && i.State() != incident.Resolved {
			err = fmt.Errorf("%s: %s", i.State(), i.Stuck)
		}
		return err
	})
	if c.leakedWorks() || !c.lets(c.sign()) {
		t.Error("the host trusts the old one, or not the new one")
	}
}

// TestSSHAuthorityWithoutHosts deletes an authority of which nobody knows who trusts it:
// it is not called dead, whoever has deleted it.
func TestSSHAuthorityWithoutHosts(t *testing.T) {
	w := newCrashWorld(t, hostless{newCrashVault(t)}, inFile{}, incident.ReplaceFirst)
	c := w.kind.(*hostlessKey)
	w.start()
	w.leak()
	i := w.told("stanch incidents confirm")
	w.cli("confirm", i.ID, "--reason", "all hosts have dropped it")
	i = w.told("STANCH_SSH_HOSTS")
	if c.live() != 1 || i.State() == incident.Resolved || !i.Dead.IsZero() {
		t.Errorf("%d authorities, %s", c.live(), i.State())
	}
	if code, text := w.cli("resolve", i.ID, "revoked", "--reason", "all hosts have dropped it"); code != exitDone {
		t.Errorf("%d: %s", code, text)
	}
}

// TestSSHAuthorityDeletedByOthers deletes an authority behind Stanch's back. Its incident
// stays open, says why, and ends on a person's word; with hosts it ends when they refuse.
func TestSSHAuthorityDeletedByOthers(t *testing.T) {
	w := newCrashWorld(t, hostless{newCrashVault(t)}, inFile{}, incident.ReplaceFirst)
	c := w.kind.(*hostlessKey)
	w.must(os.WriteFile(filepath.Join(w.dir, "policy.yml"), []byte("remediation: ask\n"), 0o600))
	w.start()
	w.leak()
	var id string
	w.eventually("there is an incident", func() error {
		i, err := w.incident()
		if id = i.ID; err == nil && i.Validity != checks.Active {
			err = fmt.Errorf("it is %s", i.Validity)
		}
		return err
	})
	if code, text := w.cli("resolve", id, "revoked", "--reason", "so I say"); code == exitDone || !strings.Contains(text, "live") {
		t.Errorf("a live one: %d: %s", code, text)
	}
	c.vault.Must("DELETE", c.mount+"/config/ca", nil)
	if code, text := w.cli("resolve", id, "wont_fix", "--reason", "the host trusts it still"); code == exitDone {
		t.Errorf("%s", text)
	}
	if i := w.told("STANCH_SSH_HOSTS"); i.State() != incident.Open || !c.leakedWorks() {
		t.Errorf("%s: %s", i.State(), i.Stuck)
	}
	c.host.Trust(t)
	if code, text := w.cli("resolve", id, "revoked", "--reason", "all hosts have dropped it"); code != exitDone {
		t.Errorf("%d: %s", code, text)
	}
}

// hostless are keys of authorities whose hosts Stanch does not know.
type hostless struct{ *crashVault }

func (k hostless) begin(t *testing.T) crashCase {
	return &hostlessKey{sshKeys(k).begin(t).(*sshKey)}
}

type hostlessKey struct{ *sshKey }

func (c *hostlessKey) env(via func(string) string) []string {
	return slices.DeleteFunc(c.sshKey.env(via), func(s string) bool { return strings.HasPrefix(s, "STANCH_SSH_HOSTS=") })
}
