package provider

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/chacha20poly1305"

	"github.com/stanch-dev/stanch/app/grants"
	"github.com/stanch-dev/stanch/app/secretstore/baotest"
	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/rules"
)

const transitRule = "vault-transit-backup"

// makeKey makes a key with a number of versions.
func makeKey(t *testing.T, b *baotest.Server, path, kind string, versions int) {
	t.Helper()
	b.Must("POST", path, map[string]any{"type": kind, "exportable": true, "allow_plaintext_backup": true})
	for range versions - 1 {
		b.Must("POST", path+"/rotate", map[string]any{})
	}
}

// backedUp is a backup of a key, as it leaks.
func backedUp(t *testing.T, b *baotest.Server, mount, name string) checks.Credential {
	t.Helper()
	text, _ := b.Must("GET", mount+"/backup/"+name, nil)["backup"].(string)
	return credential(transitRule, text)
}

func setLimits(b *baotest.Server, path string, limits map[string]any) {
	b.Must("POST", path+"/config", limits)
}

// limit is a number that the engine tells of a key.
func limit(b *baotest.Server, path, name string) int {
	n, _ := b.Must("GET", path, nil)[name].(float64)
	return int(n)
}

// sealed encrypts with a version that leaked, outside the engine, as a thief can.
func sealed(t *testing.T, leaked checks.Credential, version int, newAEAD func([]byte) (cipher.AEAD, error)) string {
	t.Helper()
	var in struct {
		Policy struct {
			Keys map[int]struct{ Key []byte }
		}
	}
	raw, err := base64.StdEncoding.DecodeString(leaked.Secret().Expose())
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, &in); err != nil {
		t.Fatal(err)
	}
	aead, err := newAEAD(in.Policy.Keys[version].Key)
	if err != nil {
		t.Fatal(err)
	}
	nonce := make([]byte, aead.NonceSize())
	rand.Read(nonce)
	return fmt.Sprintf("vault:v%d:%s", version, base64.StdEncoding.EncodeToString(aead.Seal(nonce, nonce, []byte("forged"), nil)))
}

func aesGCM(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// decrypts reports whether the engine decrypts a text.
func decrypts(b *baotest.Server, mount, name, text string) bool {
	status, data := b.Do(b.Root, "POST", mount+"/decrypt/"+name, map[string]any{"ciphertext": text})
	return status == http.StatusOK && data["plaintext"] != ""
}

func startTransit(t *testing.T) (*baotest.Server, *Providers) {
	t.Helper()
	b := baotest.Start(t)
	for _, mount := range []string{"transit", "team/transit"} {
		b.Must("POST", "sys/mounts/"+mount, map[string]any{"type": "transit"})
	}
	text := written(VaultTransitPolicy("transit")) + written(VaultTransitPolicy("team/transit"))
	return b, holding(t, b, text, Config{VaultTransitMounts: []string{"transit", "team/transit/"}})
}

// Of every type of key a version is recognised, and refused when the engine refuses it.
func TestTransitVerify(t *testing.T) {
	b, p := startTransit(t)
	for _, kind := range []string{"aes128-gcm96", "aes256-gcm96", "chacha20-poly1305", "xchacha20-poly1305", "ed25519", "ecdsa-p256", "ecdsa-p521", "rsa-2048"} {
		t.Run(kind, func(t *testing.T) {
			path := "transit/keys/" + kind
			makeKey(t, b, path, kind, 2)
			leaked := backedUp(t, b, "transit", kind)
			v := ask(t, p, leaked, checks.Active, GradeA)
			for name, want := range map[string]string{"transit": path, "version": "2", "type": kind, "min_decryption_version": "1"} {
				if v.Evidence.Identity[name] != want {
					t.Errorf("identity %v, want %s %s", v.Evidence.Identity, name, want)
				}
			}
			makeKey(t, b, path, kind, 2) // rotates it: both versions decrypt still
			if v := ask(t, p, leaked, checks.Active, GradeA); v.Evidence.Identity["version"] != "2" {
				t.Errorf("identity %v", v.Evidence.Identity)
			}
			setLimits(b, path, map[string]any{"min_decryption_version": 2})
			ask(t, p, leaked, checks.Active, GradeA) // one of the two
			setLimits(b, path, map[string]any{"min_decryption_version": 3})
			if v := ask(t, p, leaked, checks.Inactive, GradeB); !v.SelfHosted || !strings.Contains(v.Evidence.Answer, "too old") {
				t.Errorf("%+v", v)
			}
			setLimits(b, path, map[string]any{"min_decryption_version": 1})
			ask(t, p, leaked, checks.Active, GradeA)
			setLimits(b, path, map[string]any{"deletion_allowed": true})
			b.Must("DELETE", path, nil)
			ask(t, p, leaked, checks.Inactive, GradeB)
		})
	}
}

// That an HMAC is refused means that what a thief encrypted is.
func TestTransitVerdictIsTheEnginesOnCiphertexts(t *testing.T) {
	b, p := startTransit(t)
	for kind, aead := range map[string]func([]byte) (cipher.AEAD, error){"aes256-gcm96": aesGCM, "chacha20-poly1305": chacha20poly1305.New} {
		path := "transit/keys/" + kind
		makeKey(t, b, path, kind, 3)
		leaked := backedUp(t, b, "transit", kind)
		for least := 1; least <= 3; least++ {
			setLimits(b, path, map[string]any{"min_decryption_version": least})
			for version := 1; version <= 3; version++ {
				if got := decrypts(b, "transit", kind, sealed(t, leaked, version, aead)); got != (version >= least) {
					t.Errorf("%s: version %d decrypts: %v, from %d on", kind, version, got, least)
				}
			}
			ask(t, p, leaked, checks.Active, GradeA)
		}
		makeKey(t, b, path, kind, 2)
		setLimits(b, path, map[string]any{"min_decryption_version": 4})
		ask(t, p, leaked, checks.Inactive, GradeB)
		if decrypts(b, "transit", kind, sealed(t, leaked, 3, aead)) {
			t.Errorf("%s: said to be dead, and decrypts", kind)
		}
	}
}

// A key of the same name, with the same number of versions, is another one.
func TestTransitOfTheSameName(t *testing.T) {
	b, p := startTransit(t)
	makeKey(t, b, "transit/keys/orders", "aes256-gcm96", 2)
	stranger := backedUp(t, b, "transit", "orders")
	setLimits(b, "transit/keys/orders", map[string]any{"deletion_allowed": true})
	b.Must("DELETE", "transit/keys/orders", nil) // and made anew
	makeKey(t, b, "transit/keys/orders", "aes256-gcm96", 2)
	makeKey(t, b, "team/transit/keys/orders", "aes256-gcm96", 2)
	v := ask(t, p, stranger, checks.Inactive, GradeB)
	if !v.SelfHosted || !strings.Contains(v.Evidence.Answer, "another key’s") {
		t.Errorf("%+v", v)
	}
	then := Target{stranger, map[string]string{"transit": "transit/keys/orders", "version": "2", "min_decryption_version": "1"}}
	for name, do := range map[string]func() (Receipt, error){
		"disable": func() (Receipt, error) { return p.Disable(t.Context(), then) },
		"revoke":  func() (Receipt, error) { return p.Revoke(t.Context(), then) },
	} {
		if r, err := do(); err != nil || r.Meaning != rules.MeansAlreadyDead {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
	}
	if _, err := p.Issue(t.Context(), Request{Old: then, Operation: "op"}); !errors.Is(err, ErrCannotIssue) {
		t.Errorf("issue: %v", err)
	}
	for _, path := range []string{"transit/keys/orders", "team/transit/keys/orders"} {
		if limit(b, path, "latest_version") != 2 || limit(b, path, "min_decryption_version") != 1 || limit(b, path, "min_available_version") != 0 {
			t.Errorf("%s was changed: %v", path, b.Must("GET", path, nil))
		}
	}
	leaked := backedUp(t, b, "team/transit", "orders") // the second mount's is found beside it
	if v := ask(t, p, leaked, checks.Active, GradeA); v.Evidence.Identity["transit"] != "team/transit/keys/orders" {
		t.Errorf("identity %v", v.Evidence.Identity)
	}
}

// A key that was restored from an older backup and went on by itself has versions in
// common with the leaked one, and one of its own that must live.
func TestTransitWithVersionsOfItsOwn(t *testing.T) {
	b, p := startTransit(t)
	path := "transit/keys/orders"
	makeKey(t, b, path, "aes256-gcm96", 2)
	older := backedUp(t, b, "transit", "orders")
	makeKey(t, b, path, "aes256-gcm96", 2)
	leaked := backedUp(t, b, "transit", "orders") // of 3 versions
	b.Must("POST", "transit/restore/orders", map[string]any{"backup": older.Secret().Expose(), "force": true})
	makeKey(t, b, path, "aes256-gcm96", 2)
	target := aimAt(t, p, leaked)
	if target.Identity["version"] != "2" {
		t.Fatalf("identity %v", target.Identity)
	}
	if _, err := p.Disable(t.Context(), target); err != nil {
		t.Fatal(err)
	}
	if limit(b, path, "latest_version") != 3 || limit(b, path, "min_decryption_version") != 3 {
		t.Errorf("%v", b.Must("GET", path, nil))
	}
	ask(t, p, leaked, checks.Inactive, GradeB)
}

// A key that was restored at a second mount is not touched at either.
func TestTransitTwice(t *testing.T) {
	b, p := startTransit(t)
	makeKey(t, b, "transit/keys/orders", "aes256-gcm96", 1)
	leaked := backedUp(t, b, "transit", "orders")
	b.Must("POST", "team/transit/restore", map[string]any{"backup": leaked.Secret().Expose()})
	target := aimAt(t, p, leaked)
	for definite, do := range map[error]func() error{
		ErrCannotIssue:   func() error { _, err := p.Issue(t.Context(), Request{Old: target}); return err },
		ErrCannotDisable: func() error { _, err := p.Disable(t.Context(), target); return err },
		ErrCannotRevoke:  func() error { _, err := p.Revoke(t.Context(), target); return err },
	} {
		if err := do(); !errors.Is(err, definite) || !strings.Contains(err.Error(), "team/transit/keys/orders") {
			t.Errorf("%v, want %v", err, definite)
		}
	}
	if limit(b, "transit/keys/orders", "latest_version") != 1 {
		t.Error("it was rotated")
	}
}

func TestTransitBackupOfStrangers(t *testing.T) {
	encode := func(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }
	for name, text := range map[string]string{
		"no base64":   "eyJwb2xpY3kiOnsibmFtZSI6I!",
		"no JSON":     encode(`{"policy":{"name":"orders"`),
		"no name":     encode(`{"policy":{"keys":{"1":{"hmac_key":"AAAA"}}}}`),
		"a path":      encode(`{"policy":{"name":"../../sys/seal","keys":{"1":{"hmac_key":"AAAA"}}}}`),
		"a query":     encode(`{"policy":{"name":"x?list=true","keys":{"1":{"hmac_key":"AAAA"}}}}`),
		"no versions": encode(`{"policy":{"name":"orders","keys":{}}}`),
	} {
		if b, err := readBackup(text); err == nil {
			t.Errorf("%s is read: %+v", name, b)
		}
	}
	asked := 0
	server := serve(t, func(http.ResponseWriter, *http.Request) { asked++ })
	p := newProviders(t, Config{VaultAddr: server.URL, VaultToken: checks.NewSecret("own"), VaultTransitMounts: []string{"transit"}})
	ask(t, p, sample(t, transitRule), checks.Unknown, GradeC)
	if asked > 0 {
		t.Error("Vault was asked about what is no backup")
	}
}

func TestTransitAnswersOfNobody(t *testing.T) {
	b, _ := startTransit(t)
	makeKey(t, b, "transit/keys/orders", "aes256-gcm96", 1)
	leaked := backedUp(t, b, "transit", "orders")
	for name, lie := range lies {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newProviders(t, Config{VaultAddr: serve(t, lie.handler).URL, VaultToken: checks.NewSecret("own"), VaultTransitMounts: []string{"transit"}})
			p.within = time.Second
			ask(t, p, leaked, checks.Unknown, GradeC)
		})
	}
	if can := newProviders(t, Config{VaultAddr: b.Addr, VaultToken: checks.NewSecret(b.Root)}).Can(transitRule); can.Verify || can.Revoke || can.Issue || !strings.Contains(can.Reason, "STANCH_VAULT_TRANSIT_MOUNTS") {
		t.Errorf("%+v", can)
	}
	typo := newProviders(t, Config{VaultAddr: b.Addr, VaultToken: checks.NewSecret(b.Root), VaultTransitMounts: []string{"transitt"}})
	if v := ask(t, typo, leaked, checks.Unknown, GradeC); !strings.Contains(v.Evidence.Answer, "no handler for route") {
		t.Errorf("%+v", v)
	}
}

func TestTransitPolicy(t *testing.T) {
	b := baotest.Start(t)
	b.Must("POST", "sys/mounts/transit", map[string]any{"type": "transit"})
	n := 0
	leak := func(t *testing.T) (checks.Credential, Target) {
		n++
		name := fmt.Sprintf("orders%d", n)
		makeKey(t, b, "transit/keys/"+name, "aes256-gcm96", 1)
		return backedUp(t, b, "transit", name), Target{Identity: map[string]string{"transit": "transit/keys/" + name, "version": "1", "min_decryption_version": "1"}}
	}
	wantMinimal(t, b, grants.Policy{}, VaultTransitPolicy("transit"), Config{VaultTransitMounts: []string{"transit"}}, map[string]func(*testing.T, *Providers) error{
		"verify": func(t *testing.T, p *Providers) error {
			leaked, _ := leak(t)
			v, err := p.VerifyAgain(t.Context(), leaked)
			if err == nil && v.Validity != checks.Active {
				err = errors.New(v.Evidence.Answer)
			}
			return err
		},
		"issue": func(t *testing.T, p *Providers) error {
			leaked, target := leak(t)
			target.Credential = leaked
			_, err := p.Issue(t.Context(), Request{Old: target, Operation: "op"})
			return err
		},
		"disable": func(t *testing.T, p *Providers) error {
			leaked, target := leak(t)
			target.Credential = leaked
			_, err := p.Disable(t.Context(), target)
			return errors.Join(err, func() error { _, err := p.Enable(t.Context(), target); return err }())
		},
		"trim": func(t *testing.T, p *Providers) error {
			leaked, target := leak(t)
			target.Credential = leaked
			makeKey(t, b, target.Identity["transit"], "aes256-gcm96", 2)
			setLimits(b, target.Identity["transit"], map[string]any{"min_decryption_version": 2, "min_encryption_version": 2})
			_, err := p.Revoke(t.Context(), target)
			return err
		},
	})
	t.Run("no other setting", func(t *testing.T) {
		b.Policy("limits", written(VaultTransitPolicy("transit")))
		token := b.Token(map[string]any{"policies": []string{"limits"}, "no_default_policy": true})
		makeKey(t, b, "transit/keys/kept", "aes256-gcm96", 1)
		for _, setting := range []string{"deletion_allowed", "exportable", "allow_plaintext_backup"} {
			if status, _ := b.Do(token, "POST", "transit/keys/kept/config", map[string]any{setting: true}); status != http.StatusForbidden {
				t.Errorf("%s may be set: %d", setting, status)
			}
		}
	})
}
