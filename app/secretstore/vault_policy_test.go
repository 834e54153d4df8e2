package secretstore

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"

	"net/http/httptest"

	"github.com/google/go-cmp/cmp"

	"github.com/stanch-dev/stanch/app/grants"
	"github.com/stanch-dev/stanch/app/secretstore/baotest"
	"github.com/stanch-dev/stanch/checks"
)

// written is a policy as Vault reads it.
func written(p grants.Policy) string {
	var text strings.Builder
	for _, l := range p.Lines {
		text.WriteString(l.Grant + "\n")
	}
	return text.String()
}

var grantLine = regexp.MustCompile(`^path "([^"]+)" \{ capabilities = \["([a-z]+)"`)

// With the policy all is done; without any one line that line's action fails and says
// why, or does less well where the line is optional.
func TestVaultPolicyIsMinimal(t *testing.T) {
	b := baotest.Start(t)
	holding := func(t *testing.T, p grants.Policy) *Vault {
		name := "policy-" + strings.ToLower(fresh().Expose())
		b.Policy(name, written(p))
		own := b.Token(map[string]any{"policies": []string{name}, "no_default_policy": true})
		return openVault(t, VaultConfig{Addr: b.Addr, Token: checks.NewSecret(own), Mounts: []string{"secret"}, Key: testKey})
	}
	secret := func(t *testing.T) (Location, checks.Secret) {
		value := fresh()
		path := "ci/" + strings.ToLower(fresh().Expose())
		b.Must("POST", "secret/data/"+path, map[string]any{"data": map[string]any{"f": value.Expose()}})
		return Location{Store: "vault", Path: "secret/" + path, Field: "f", Version: "1"}, value
	}
	actions := map[string]func(*testing.T, *Vault) error{
		"locate": func(t *testing.T, v *Vault) error {
			loc, value := secret(t)
			found, err := v.Locate(t.Context(), fingerprint(value))
			if err == nil && len(found) == 0 {
				return fmt.Errorf("not found: skipped %v", v.Skipped())
			}
			if diff := cmp.Diff([]Location{loc}, found); err == nil && diff != "" {
				return errors.New(diff)
			}
			return err
		},
		"put": func(t *testing.T, v *Vault) error {
			loc, _ := secret(t)
			_, err := putOne(t.Context(), v, loc, fresh(), "op")
			return err
		},
		"retire": func(t *testing.T, v *Vault) error {
			loc, _ := secret(t)
			b.Must("POST", strings.Replace(loc.Path, "secret/", "secret/data/", 1), map[string]any{"data": map[string]any{"f": "next"}})
			return v.Retire(t.Context(), loc)
		},
	}
	policy := VaultPolicy("secret")
	for name, do := range actions {
		if err := do(t, holding(t, policy)); err != nil {
			t.Errorf("%s with the whole policy: %v", name, err)
		}
	}
	for n, line := range policy.Lines {
		less := policy.Without(n)
		if n == 0 { // of OpenBao the other listing is enough
			less = policy.Without(3).Without(0)
		}
		m := grantLine.FindStringSubmatch(line.Grant)
		err := actions[line.For](t, holding(t, less))
		missing := strings.TrimSuffix(m[1], "*")
		switch {
		case line.Optional && err != nil:
			t.Errorf("without %s, which is optional: %v", line.Grant, err)
		case !line.Optional && line.For == "locate" && (err == nil || !strings.Contains(err.Error(), "skipped [secret/")):
			t.Errorf("without %s: %v; want that it says where it could not look", line.Grant, err)
		case !line.Optional && line.For != "locate" && (err == nil || !strings.Contains(err.Error(), `lacks "`+m[2]+`" on `+missing)):
			t.Errorf("without %s: %v; want that it names the path and the capability", line.Grant, err)
		}
	}
}

func TestVaultPolicyIsTheDeployedOne(t *testing.T) {
	text, err := os.ReadFile("../../deploy/vault/stanch.hcl")
	if err != nil {
		t.Fatal(err)
	}
	deployed := strings.Join(strings.Fields(string(text)), " ")
	for _, p := range []grants.Policy{VaultPolicy("secret"), VaultReadersPolicy("file")} {
		for _, l := range p.Lines {
			if !strings.Contains(deployed, l.Grant) {
				t.Errorf("stanch.hcl has no line %s", l.Grant)
			}
		}
	}
}

// How much a search asks for does not grow with the number of secrets, but with that of
// the folders and of what has changed.
func TestVaultSearchesBySmallSteps(t *testing.T) {
	const folders, each = 5, 20
	b := baotest.Start(t)
	for n := range folders * each {
		b.Must("POST", fmt.Sprintf("secret/data/f%d/s%d", n%folders, n), map[string]any{"data": map[string]any{"token": fresh().Expose()}})
	}
	target, err := url.Parse(b.Addr)
	if err != nil {
		t.Fatal(err)
	}
	var requests atomic.Int32
	way := httputil.NewSingleHostReverseProxy(target)
	counted := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		way.ServeHTTP(w, r)
	}))
	defer counted.Close()
	for name, test := range map[string]struct {
		policy                grants.Policy
		first, again, changed int32
	}{
		"a folder at a time": {VaultPolicy("secret"), 1 + folders + folders*each, 1 + folders, 1 + folders + 1},
		// The details of the first folder are asked for, and refused.
		"a secret at a time": {VaultPolicy("secret").Without(3), 2 + folders + 2*folders*each, 2 + folders + folders*each, 2 + folders + folders*each + 1},
	} {
		t.Run(name, func(t *testing.T) {
			b.Policy("counted", written(test.policy))
			own := b.Token(map[string]any{"policies": []string{"counted"}, "no_default_policy": true})
			v := openVault(t, VaultConfig{Addr: counted.URL, Token: checks.NewSecret(own), Mounts: []string{"secret"}, Key: testKey})
			value := fresh()
			b.Must("POST", "secret/data/f0/s0", map[string]any{"data": map[string]any{"token": value.Expose()}})
			locate := func(value checks.Secret, want int32) {
				t.Helper()
				requests.Store(0)
				found, err := v.Locate(t.Context(), fingerprint(value))
				if err != nil || len(found) != 1 {
					t.Errorf("%v, %v", found, err)
				}
				if n := requests.Load(); n != want {
					t.Errorf("%d requests, want %d", n, want)
				}
			}
			locate(value, test.first)
			locate(value, test.again)
			value = fresh()
			b.Must("POST", "secret/data/f0/s0", map[string]any{"data": map[string]any{"token": value.Expose()}})
			locate(value, test.changed)
		})
	}
}

func TestVaultTellsTheOwner(t *testing.T) {
	b := baotest.Start(t)
	value := fresh()
	b.Must("POST", "secret/data/p", map[string]any{"data": map[string]any{"f": value.Expose()}})
	if got := owner("two\nlines\x1b[31m"); got != "two lines [31m" {
		t.Errorf("%q", got)
	}
	for text, want := range map[string]string{
		"team shop <shop@acme.net>":   "team shop <shop@acme.net>",
		strings.Repeat("ä", maxOwner): strings.Repeat("ä", maxOwner/2) + "…",
	} {
		b.Must("POST", "secret/metadata/p", map[string]any{"custom_metadata": map[string]string{ownerKey: text}})
		for _, policy := range []grants.Policy{VaultPolicy("secret"), VaultPolicy("secret").Without(3)} {
			b.Policy("owner", written(policy))
			own := b.Token(map[string]any{"policies": []string{"owner"}, "no_default_policy": true})
			v := openVault(t, VaultConfig{Addr: b.Addr, Token: checks.NewSecret(own), Mounts: []string{"secret"}, Key: testKey})
			found, err := v.Locate(t.Context(), fingerprint(value))
			if err != nil || len(found) != 1 || found[0].Owner != want || strings.Contains(found[0].String(), want) {
				t.Errorf("%v, %v; want it of %q", found, err, want)
			}
		}
	}
}
