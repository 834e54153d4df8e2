package secretstore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stanch-dev/stanch/app/secretstore/kubetest"
	"github.com/stanch-dev/stanch/checks"
)

var _ store = (*Kubernetes)(nil)

// newKubernetes is a cluster, the store as Stanch's account, and as somebody else's.
func newKubernetes(t *testing.T, namespaces ...string) (api *kubetest.Server, k, outside *Kubernetes) {
	t.Helper()
	api = kubetest.Start(t)
	api.Chunk(2)
	all := kubetest.RulesOf(t, KubernetesPolicy(true))
	return api, kubernetesAs(t, api, "stanch", all, namespaces...), kubernetesAs(t, api, "somebody", all)
}

// kubernetesAs is the store as a service account with some rules.
func kubernetesAs(t *testing.T, api *kubetest.Server, account string, rules []kubetest.Rule, namespaces ...string) *Kubernetes {
	t.Helper()
	api.Allow(account, rules)
	k, err := NewKubernetes(KubernetesConfig{
		URL: api.URL, TokenFile: api.Path(account), CAFile: api.Path("ca.crt"), Namespaces: namespaces, Restart: true, Key: testKey,
	})
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func mustLocate(t *testing.T, k *Kubernetes, value checks.Secret, want ...Location) {
	t.Helper()
	got, err := k.Locate(t.Context(), fingerprint(value))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("located (-want +got):\n%s", diff)
	}
}

func mustPut(t *testing.T, k *Kubernetes, loc Location, value checks.Secret) Location {
	t.Helper()
	put, err := putOne(t.Context(), k, loc, value, "op-1")
	if err != nil {
		t.Fatal(err)
	}
	return put
}

func place(path, field string) Location {
	return Location{Store: "kubernetes", Path: path, Field: field}
}

func TestKubernetesRotation(t *testing.T) {
	api, k, _ := newKubernetes(t)
	leaked, other, replacement := fresh(), fresh(), fresh()
	mustLocate(t, k, leaked)
	api.Secret("shop", "deploy", map[string]string{"token": leaked.Expose(), "other": other.Expose(), "line": leaked.Expose() + "\n", "binary": "\xff\xfe"}, nil)
	for n := range 5 {
		api.Secret("web", fmt.Sprint("more-", n), map[string]string{"token": fresh().Expose()}, nil)
	}
	found, err := k.Locate(t.Context(), fingerprint(leaked))
	if err != nil || len(found) != 2 || found[0].Field != "line" || found[1].Field != "token" || found[1].Path != "shop/deploy" {
		t.Fatalf("%+v, %v", found, err)
	}
	old := found[1]
	now, err := k.Get(t.Context(), old)
	if err != nil || len(now.Fields) != 3 || now.Version != old.Version || now.Fields["token"] != leaked {
		t.Fatalf("%d fields at %s, %v", len(now.Fields), now.Version, err)
	}
	cred := func(s checks.Secret) checks.Credential {
		return checks.Credential{Parts: map[string]checks.Secret{checks.PartSecret: s}}
	}
	changed, _ := Replace(now.Fields, cred(leaked), cred(replacement))
	for range 2 { // the same put twice
		next, err := k.Put(t.Context(), old, changed, "op-1")
		if err != nil || next.Version == old.Version || next.Version == "" {
			t.Fatalf("%s, %v", next, err)
		}
		past, err := k.History(t.Context(), next)
		if err != nil || len(past) != 1 || past[0].Version != next.Version || past[0].Operation != "op-1" || !past[0].Current || past[0].Created.IsZero() {
			t.Errorf("history %+v, %v", past, err)
		}
		if err := k.Retire(t.Context(), next); err == nil {
			t.Error("the current version was retired")
		}
		if again, err := k.Restore(t.Context(), next, "op-2"); err != nil || again != next {
			t.Errorf("restore what is: %s, %v", again, err)
		}
	}
	if api.Value("shop", "deploy", "token") != replacement.Expose() || api.Value("shop", "deploy", "line") != replacement.Expose()+"\n" ||
		api.Value("shop", "deploy", "other") != other.Expose() || api.Value("shop", "deploy", "binary") != "\xff\xfe" {
		t.Error("the secret does not hold what it should")
	}
	mustLocate(t, k, leaked)
	if err := k.Retire(t.Context(), old); err != nil {
		t.Errorf("retire: %v", err)
	}
	if _, err := k.Restore(t.Context(), old, "op-2"); !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), "keeps no old versions") {
		t.Errorf("restore what is gone: %v", err)
	}
}

// The key file of a service account leaks as a text with escapes. It is found and replaced
// as the whole file that pods mount, and where its parts are fields.
func TestKubernetesKeyFile(t *testing.T) {
	api, k, _ := newKubernetes(t)
	key := func(inside string) string {
		return "-----BEGIN " + "PRIVATE KEY-----\n" + inside + "\n-----END " + "PRIVATE KEY-----\n"
	}
	file := func(id, private string) string {
		text, err := json.Marshal(map[string]string{"client_email": "e", "private_key": private, "private_key_id": id})
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	api.Secret("shop", "file", map[string]string{"key.json": file("1a", key("b2xk")) + "\n"}, nil)
	api.Secret("shop", "parts", map[string]string{"id": "1a", "key": key("b2xk")}, nil)
	escape := strings.NewReplacer("\n", `\n`)
	leaked := creds("secret", escape.Replace(key("b2xk")), "id", "1a")
	made := creds("secret", escape.Replace(key("bmV3")), "id", "2b")
	found, err := k.Locate(t.Context(), fingerprint(leaked.Secret()))
	if err != nil || len(found) != 2 || found[0].Field != "key.json" || found[1].Field != "key" {
		t.Fatalf("%v, %v", found, err)
	}
	for _, at := range found {
		now, err := k.Get(t.Context(), at)
		if err != nil {
			t.Fatal(err)
		}
		changed, leftOut := Replace(now.Fields, leaked, made)
		if _, err := k.Put(t.Context(), at, changed, "op-1"); err != nil || len(leftOut) > 0 {
			t.Fatalf("%v, left out %v", err, leftOut)
		}
	}
	if whole := api.Value("shop", "file", "key.json"); strings.TrimSpace(whole) != file("2b", key("bmV3")) {
		t.Error("the file is not that of the new key")
	}
	if api.Value("shop", "parts", "id") != "2b" || api.Value("shop", "parts", "key") != key("bmV3") {
		t.Error("the fields are not those of the new key")
	}
}

func TestKubernetesConflicts(t *testing.T) {
	api, k, outside := newKubernetes(t)
	api.Secret("shop", "deploy", map[string]string{"token": "first"}, nil)
	now, err := k.Get(t.Context(), place("shop/deploy", "token"))
	if err != nil {
		t.Fatal(err)
	}
	old := place("shop/deploy", "token").at(now.Version)
	theirs := fresh()
	mustPut(t, outside, old, theirs)
	for name, loc := range map[string]Location{"moved": old, "exists": place("shop/deploy", "token"), "not yet": place("shop/deploy", "token").at("999")} {
		if _, err := putOne(t.Context(), k, loc, fresh(), "op-2"); !errors.Is(err, ErrConflict) {
			t.Errorf("%s: %v, want ErrConflict", name, err)
		}
	}
	if api.Value("shop", "deploy", "token") != theirs.Expose() {
		t.Error("a conflict has changed the secret")
	}
	if _, err := putOne(t.Context(), k, place("shop/none", "token").at("7"), fresh(), "op"); !errors.Is(err, ErrNotFound) {
		t.Errorf("put nowhere: %v", err)
	}
	made := mustPut(t, k, place("shop/made", "token"), theirs)
	if again := mustPut(t, outside, place("shop/made", "token"), theirs); again != made {
		t.Errorf("made %s, then %s", made, again)
	}
	api.Lose(1) // the server did it, and the client saw an error
	value := fresh()
	if _, err := putOne(t.Context(), k, made, value, "op-3"); err == nil {
		t.Error("a lost answer is no error")
	}
	mustPut(t, k, made, value)
}

func TestKubernetesOneOfManyWins(t *testing.T) {
	api, k, outside := newKubernetes(t)
	api.Secret("shop", "race", map[string]string{"token": "first"}, nil)
	now, err := k.Get(t.Context(), place("shop/race", "token"))
	if err != nil {
		t.Fatal(err)
	}
	old, values, errs := place("shop/race", "token").at(now.Version), make([]checks.Secret, 8), make([]error, 8)
	var wg sync.WaitGroup
	for i := range values {
		values[i] = fresh()
		by := k
		if i%2 == 1 {
			by = outside
		}
		wg.Go(func() { _, errs[i] = putOne(context.Background(), by, old, values[i], fmt.Sprint("op-", i)) })
	}
	wg.Wait()
	won := 0
	for i, err := range errs {
		switch {
		case err == nil:
			won++
			if api.Value("shop", "race", "token") != values[i].Expose() {
				t.Error("the winner's value is not there")
			}
		case !errors.Is(err, ErrConflict):
			t.Errorf("%v, want ErrConflict", err)
		}
	}
	if won != 1 {
		t.Errorf("%d puts won, want 1", won)
	}
}

// TestKubernetesIndex: only what has changed is read, expired lists begin anew, and
// nothing is kept of what is gone.
func TestKubernetesIndex(t *testing.T) {
	api, k, _ := newKubernetes(t)
	values := map[string]checks.Secret{}
	for n := range 7 {
		name := fmt.Sprint("secret-", n)
		values[name] = fresh()
		api.Secret("shop", name, map[string]string{"token": values[name].Expose()}, nil)
	}
	if _, err := k.Locate(t.Context(), ""); err != nil || api.Reads() != 7 {
		t.Fatalf("%d reads, %v", api.Reads(), err)
	}
	api.Expire(2)
	next := fresh()
	api.Secret("shop", "secret-3", map[string]string{"token": next.Expose()}, nil)
	found, err := k.Locate(t.Context(), fingerprint(next))
	if err != nil || len(found) != 1 || api.Reads() != 8 {
		t.Errorf("%v, %v, %d reads", found, err, api.Reads())
	}
	mustLocate(t, k, values["secret-3"])
	api.Delete("", "secrets", "shop", "secret-3")
	api.Expire(3)
	if _, err := k.Locate(t.Context(), ""); !refused(err, 410) {
		t.Errorf("a list that expires time and again: %v", err)
	}
	mustLocate(t, k, next)
	k.max = 5
	if _, err := k.Locate(t.Context(), ""); !errors.Is(err, ErrTooMany) {
		t.Errorf("%v, want ErrTooMany", err)
	}
	if got, err := k.Locate(t.Context(), values["secret-1"].Fingerprint(checks.FingerprintKey("another"))); err == nil && len(got) > 0 {
		t.Error("another key finds something")
	}
}

// TestKubernetesSkips what it may not search, and says so.
func TestKubernetesSkips(t *testing.T) {
	api := kubetest.Start(t)
	value := fresh()
	for _, namespace := range []string{"shop", "web", "vault"} {
		api.Secret(namespace, "deploy", map[string]string{"token": value.Expose()}, nil)
	}
	var some []kubetest.Rule
	for _, r := range kubetest.RulesOf(t, KubernetesPolicy(false)) {
		for _, namespace := range []string{"shop", "web"} {
			if r.Namespace = namespace; namespace == "shop" || r.Verbs[0] != "get" {
				some = append(some, r)
			}
		}
	}
	k := kubernetesAs(t, api, "stanch", some, "shop", "web", "vault")
	found, err := k.Locate(t.Context(), fingerprint(value))
	if err != nil || len(found) != 1 || found[0].Path != "shop/deploy" || !slices.Equal(k.Skipped(), []string{"vault/", "web/deploy"}) {
		t.Errorf("%v, %v, skipped %q", found, err, k.Skipped())
	}
	everywhere := kubernetesAs(t, api, "everywhere", some)
	if _, err := everywhere.Locate(t.Context(), ""); err == nil || !strings.Contains(err.Error(), `cannot list resource "secrets"`) || !strings.Contains(err.Error(), "name those") {
		t.Errorf("all namespaces: %v", err)
	}
}

func TestKubernetesImmutable(t *testing.T) {
	api, k, _ := newKubernetes(t)
	api.Secret("shop", "fixed", map[string]string{"token": "first"}, kubetest.Object{"immutable": true})
	now, err := k.Get(t.Context(), place("shop/fixed", "token"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := putOne(t.Context(), k, place("shop/fixed", "token").at(now.Version), fresh(), "op"); !errors.Is(err, ErrImmutable) {
		t.Errorf("%v, want ErrImmutable", err)
	}
}

// TestKubernetesOwnToken: the next token is read from its file, and one that is refused
// is no “not found”.
func TestKubernetesOwnToken(t *testing.T) {
	api, k, _ := newKubernetes(t)
	api.Secret("shop", "deploy", map[string]string{"token": "first"}, nil)
	if _, err := k.Get(t.Context(), place("shop/deploy", "token")); err != nil {
		t.Fatal(err)
	}
	api.Allow("stanch", kubetest.RulesOf(t, KubernetesPolicy(false)))
	if _, err := k.Get(t.Context(), place("shop/deploy", "token")); err != nil {
		t.Errorf("with the next token: %v", err)
	}
	if err := os.WriteFile(api.Path("stanch"), []byte("stale"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := k.Get(t.Context(), place("shop/deploy", "token")); !refused(err, 401) || errors.Is(err, ErrNotFound) {
		t.Errorf("with a stale token: %v", err)
	}
	for _, path := range []string{"", "shop", "shop/../x", "shop/a/b", "Shop/x", "shop/x?y"} {
		if _, err := k.Get(t.Context(), place(path, "token")); !errors.Is(err, ErrNotFound) {
			t.Errorf("path %q: %v", path, err)
		}
	}
	for name, cfg := range map[string]KubernetesConfig{
		"plain http": {URL: "http://10.0.0.1:6443", TokenFile: "t"}, "no host": {URL: "cluster", TokenFile: "t"}, "no token": {URL: api.URL},
		"no authority": {URL: api.URL, TokenFile: "t", CAFile: api.Path("stanch")}, "namespace": {URL: api.URL, TokenFile: "t", Namespaces: []string{"a/b"}},
	} {
		if _, err := NewKubernetes(cfg); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
}
