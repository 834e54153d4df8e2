package main

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stanch-dev/stanch/app/incident"
	"github.com/stanch-dev/stanch/app/store"
)

// transitKeyName is the kind in the crash matrix.
const transitKeyName = "Vault transit key"

// transitKeys are keys of the transit engine, with which a service has encrypted data.
type transitKeys struct{ *crashVault }

func (k transitKeys) begin(t *testing.T) crashCase {
	c := &transitKey{vault: k.crashVault, name: fmt.Sprintf("orders%d", k.n.Add(1))}
	k.Must("POST", c.path(), map[string]any{"exportable": true, "allow_plaintext_backup": true})
	c.backup, _ = k.Must("GET", "transit/backup/"+c.name, nil)["backup"].(string)
	c.data.Store(k.Must("POST", "transit/encrypt/"+c.name, map[string]any{"plaintext": base64.StdEncoding.EncodeToString([]byte("order 7"))})["ciphertext"])
	c.forged = c.forge(t)
	return c
}

type transitKey struct {
	vault        *crashVault
	name, backup string
	data         atomic.Value // of the service: a text
	forged       string       // by a thief, with the leaked key
}

func (c *transitKey) path() string              { return "transit/keys/" + c.name }
func (c *transitKey) stored() map[string]string { return map[string]string{"backup": c.backup} }
func (c *transitKey) rule() string              { return "vault-transit-backup" }
func (c *transitKey) secret() string            { return c.backup }
func (c *transitKey) leak() string              { return "backup: " + c.backup }
func (c *transitKey) leakedWorks() bool         { return c.decrypts(c.forged) }

// works reports whether the service can read its data. What a store holds does not matter.
func (c *transitKey) works(map[string]string) bool { return c.decrypts(c.data.Load()) }

// live counts the versions that decrypt.
func (c *transitKey) live() int {
	return c.number("latest_version") - max(1, c.number("min_decryption_version")) + 1
}

func (c *transitKey) number(name string) int {
	n, _ := c.vault.Must("GET", c.path(), nil)[name].(float64)
	return int(n)
}

func (c *transitKey) env(via func(string) string) []string {
	return append(c.vault.env(via), "STANCH_VAULT_TRANSIT_MOUNTS=transit")
}

func (c *transitKey) decrypts(text any) bool {
	status, _ := c.vault.Do(c.vault.Root, "POST", "transit/decrypt/"+c.name, map[string]any{"ciphertext": text})
	return status == http.StatusOK
}

// forge encrypts with the leaked key outside the engine.
func (c *transitKey) forge(t *testing.T) string {
	var in struct {
		Policy struct {
			Keys map[int]struct{ Key []byte }
		}
	}
	raw, err := base64.StdEncoding.DecodeString(c.backup)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, &in); err != nil {
		t.Fatal(err)
	}
	block, err := aes.NewCipher(in.Policy.Keys[1].Key)
	if err != nil {
		t.Fatal(err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		t.Fatal(err)
	}
	nonce := make([]byte, aead.NonceSize())
	rand.Read(nonce)
	return "vault:v1:" + base64.StdEncoding.EncodeToString(aead.Seal(nonce, nonce, []byte("forged"), nil))
}

// help is what people do: they rewrap the data, and confirm that; and when the leaked
// version is refused they have it destroyed. An order that a crash cuts off is given again.
func (c *transitKey) help(w *crashWorld, i store.Incident) bool {
	switch {
	case strings.Contains(i.Stuck, "stanch incidents confirm"):
		c.rewrap()
		w.command("confirm", `{"reason":"all is encrypted anew"}`)
	case strings.Contains(i.Stuck, "To destroy them"):
		w.command("approve", `{"verb":"revoke","reason":"nothing needs them"}`)
	default:
		return false
	}
	return true
}

func (*transitKey) people() string {
	return "they confirm that the data is encrypted anew, and order the leaked version to be destroyed"
}

func (c *transitKey) rewrap() {
	c.data.Store(c.vault.Must("POST", "transit/rewrap/"+c.name, map[string]any{"ciphertext": c.data.Load()})["ciphertext"])
}

// told waits until an incident waits for a person who is told something.
func (w *crashWorld) told(what string) (i store.Incident) {
	w.t.Helper()
	w.eventually("a person is told "+what, func() (err error) {
		if i, err = w.incident(); err == nil && (i.Verb != "" || !strings.Contains(i.Stuck, what)) {
			err = fmt.Errorf("told is %q", i.Stuck)
		}
		return err
	})
	return i
}

// TestTransitWaitsForPeople lets nobody help: nothing ends, and nothing is destroyed,
// before a person has said so, whatever was pressed before.
func TestTransitWaitsForPeople(t *testing.T) {
	v := newCrashVault(t)
	v.Must("POST", "sys/mounts/transit", map[string]any{"type": "transit"})
	for _, order := range []incident.Order{incident.ReplaceFirst, incident.RevokeFirst} {
		t.Run(string(order), func(t *testing.T) {
			w := newCrashWorld(t, transitKeys{v}, inFile{}, order)
			c := w.kind.(*transitKey)
			w.start()
			w.leak()
			i := w.told("stanch incidents confirm")
			if c.number("latest_version") != 2 || c.number("min_encryption_version") != 2 || !c.leakedWorks() || !c.works(nil) {
				t.Fatalf("%v", v.Must("GET", c.path(), nil))
			}
			if code, text := w.cli("plan", i.ID, "rotate"); code != exitDone || !strings.Contains(text, "transit/rewrap/"+c.name) || !strings.Contains(text, "never automatic") {
				t.Errorf("%d: %s", code, text)
			}
			w.cli("approve", i.ID, "rotate", "--reason", "again")
			w.told("stanch incidents confirm")
			// Pressed now, it is no word about what is destroyed after the hold.
			w.cli("approve", i.ID, "revoke", "--reason", "at once")
			w.told("To destroy them")
			if c.leakedWorks() || c.works(nil) || c.number("min_available_version") != 0 {
				t.Fatalf("%v", v.Must("GET", c.path(), nil))
			}
			w.undo()
			w.told("took the remediation back")
			if !c.leakedWorks() || !c.works(nil) || c.number("latest_version") != 2 {
				t.Fatalf("it is not as it was: %v", v.Must("GET", c.path(), nil))
			}
			w.cli("approve", i.ID, "rotate", "--reason", "now")
			w.told("stanch incidents confirm")
			c.rewrap()
			w.cli("confirm", i.ID, "--reason", "done")
			w.told("To destroy them")
			if c.leakedWorks() || !c.works(nil) || c.number("min_available_version") != 0 || c.number("latest_version") != 2 {
				t.Fatalf("%v", v.Must("GET", c.path(), nil))
			}
			if code, text := w.cli("resolve", i.ID, "revoked", "--reason", "the archive needs them"); code != exitDone {
				t.Errorf("%d: %s", code, text)
			}
		})
	}
}

// TestScanFindsTransitBackups looks for what the engine itself writes, of keys of several
// types and with several versions.
func TestScanFindsTransitBackups(t *testing.T) {
	v := newCrashVault(t)
	v.Must("POST", "sys/mounts/transit", map[string]any{"type": "transit"})
	for _, kind := range []string{"aes256-gcm96", "ed25519", "rsa-2048", "ecdsa-p384"} {
		v.Must("POST", "transit/keys/"+kind, map[string]any{"type": kind, "exportable": true, "allow_plaintext_backup": true})
		for range 3 {
			backup, _ := v.Must("GET", "transit/backup/"+kind, nil)["backup"].(string)
			for name, text := range map[string]string{"alone": backup + "\n", "in JSON": `{"data":{"backup":"` + backup + `"}}`, "in YAML": "backup: " + backup} {
				var out, errs strings.Builder
				run(t.Context(), []string{"scan", "--stdin", "--format", "json"}, strings.NewReader(text), &out, &errs, func(string) string { return "" })
				var found []struct {
					Rule      string
					Column    int
					EndColumn int `json:"end_column"`
				}
				if err := json.Unmarshal([]byte(out.String()), &found); err != nil {
					t.Fatalf("%v: %s%s", err, out.String(), errs.String())
				}
				if at := strings.Index(text, backup); len(found) != 1 || found[0].Rule != "vault-transit-backup" || found[0].Column != at+1 || found[0].EndColumn < at+len(backup) || found[0].EndColumn > at+1+len(backup) {
					t.Errorf("%s %s of %d bytes: %+v", kind, name, len(backup), found)
				}
			}
			v.Must("POST", "transit/keys/"+kind+"/rotate", map[string]any{})
		}
	}
}
