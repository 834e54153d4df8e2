package secretstore

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"github.com/stanch-dev/stanch/app/grants"
	"github.com/stanch-dev/stanch/app/secretstore/kubetest"
	"github.com/stanch-dev/stanch/checks"
)

// doAll does everything that the policy is for, and returns what each took.
func doAll(t *testing.T, k *Kubernetes) map[string]error {
	t.Helper()
	done := map[string]error{}
	_, done["locate"] = k.Locate(t.Context(), "")
	if len(k.Skipped()) > 0 {
		done["locate"] = errors.New("skipped " + strings.Join(k.Skipped(), ", ") + `: it may not get resource "secrets"`)
	}
	now, err := k.Get(t.Context(), place("shop/deploy", "token"))
	done["put"] = err
	if err == nil {
		_, done["put"] = putOne(t.Context(), k, place("shop/deploy", "token").at(now.Version), fresh(), "op")
	}
	_, done["put where there is no secret yet"] = putOne(t.Context(), k, place("shop/made-"+strings.ToLower(fresh().Expose()), "token"), fresh(), "op")
	consumers, err := k.Consumers(t.Context(), place("shop/deploy", "token"))
	done["consumers"] = err
	if len(consumers) == 0 {
		consumers = []Consumer{{Kind: "Deployment", Namespace: "shop", Name: "api", Restart: true, Version: "1"}, {Kind: cronJob, Namespace: "shop", Name: "night"}}
	}
	for _, c := range consumers {
		if _, _, err := k.Settled(t.Context(), c); err != nil {
			done["see whether consumers have the new value"] = err
		}
		if err := k.Restart(t.Context(), c); err != nil && !refusedVerb(err, "get") {
			done["restart"] = err
		}
	}
	return done
}

func refusedVerb(err error, verb string) bool {
	return strings.Contains(err.Error(), "cannot "+verb+" ")
}

// TestKubernetesPolicy: each action works with the policy, and fails, naming what is
// missing, without the line that is for it.
func TestKubernetesPolicy(t *testing.T) {
	api := kubetest.Start(t)
	api.Secret("shop", "deploy", map[string]string{"token": "first"}, nil)
	pods := kubetest.Object{"spec": kubetest.Object{"containers": []any{kubetest.Object{"envFrom": []any{kubetest.Object{"secretRef": kubetest.Object{"name": "deploy"}}}}}}}
	api.Set("apps", "deployments", "shop", "api", kubetest.Object{"spec": kubetest.Object{"template": pods}})
	api.Set("batch", "cronjobs", "shop", "night", kubetest.Object{"spec": kubetest.Object{"jobTemplate": kubetest.Object{"spec": kubetest.Object{"template": pods}}}})
	policy := KubernetesPolicy(true)
	with := func(p grants.Policy) map[string]error {
		return doAll(t, kubernetesAs(t, api, "stanch", kubetest.RulesOf(t, p)))
	}
	for what, err := range with(policy) {
		if err != nil {
			t.Errorf("%s with the whole policy: %v", what, err)
		}
	}
	for n, line := range policy.Lines {
		failed := with(policy.Without(n))
		what, _, _ := strings.Cut(line.For, " and ")
		err := failed[what]
		rule := kubetest.RulesOf(t, grants.Policy{Lines: []grants.Line{line}})[0]
		if err == nil || !strings.Contains(err.Error(), rule.Verbs[0]+" resource") || !strings.Contains(err.Error(), rule.Resources[0]) {
			t.Errorf("without %s: %q: %v", line.Grant, what, err)
		}
	}
}

// TestKubernetesRole: the role that operators are handed is the policy.
func TestKubernetesRole(t *testing.T) {
	text, err := os.ReadFile("../../deploy/kubernetes/rbac.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var role struct {
		Rules []kubetest.Rule `yaml:"rules"`
	}
	if err := yaml.Unmarshal(text, &role); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(kubetest.RulesOf(t, KubernetesPolicy(true)), role.Rules); diff != "" {
		t.Errorf("the role (-want +got):\n%s", diff)
	}
}

// TestKubernetesRegistryLogins: a token inside a login is found, and replaced in both
// places where it stands.
func TestKubernetesRegistryLogins(t *testing.T) {
	leaked, replacement := fresh(), fresh()
	auth := base64.StdEncoding.EncodeToString([]byte("robot:" + leaked.Expose()))
	const others = `"quay.example":{"auth":"bm90LWEtbG9naW4="},"old.example":{"identitytoken":"kept"}`
	for field, text := range map[string]string{
		registryField:    `{"auths":{"ghcr.example":{"auth":"` + auth + `"},` + others + `},"credHelpers":{"x":"y"}}`,
		oldRegistryField: `{"ghcr.example":{"username":"robot","password":"` + leaked.Expose() + `","email":"a@b.c","auth":"` + auth + `"},` + others + `}`,
	} {
		t.Run(field, func(t *testing.T) {
			api, k, _ := newKubernetes(t)
			api.Secret("shop", "pull", map[string]string{field: text}, kubetest.Object{"type": "kubernetes.io/dockerconfigjson"})
			found, err := k.Locate(t.Context(), fingerprint(leaked))
			if err != nil || len(found) != 1 || found[0].Field != field {
				t.Fatalf("%v, %v", found, err)
			}
			now, err := k.Get(t.Context(), found[0])
			if err != nil {
				t.Fatal(err)
			}
			credential := func(s checks.Secret) checks.Credential {
				return checks.Credential{Parts: map[string]checks.Secret{checks.PartSecret: s}}
			}
			changed, _ := Replace(now.Fields, credential(leaked), credential(replacement))
			for range 2 {
				if _, err := k.Put(t.Context(), found[0], changed, "op"); err != nil {
					t.Fatal(err)
				}
			}
			stored := api.Value("shop", "pull", field)
			var whole map[string]json.RawMessage
			if err := json.Unmarshal([]byte(stored), &whole); err != nil {
				t.Fatal(err)
			}
			if field == registryField && string(whole["credHelpers"]) != `{"x":"y"}` {
				t.Error("what stands beside the logins is lost")
			}
			fresh := base64.StdEncoding.EncodeToString([]byte("robot:" + replacement.Expose()))
			for _, text := range []string{`"auth":"` + fresh + `"`, `"password":"` + replacement.Expose() + `"`, `"auth":"bm90LWEtbG9naW4="`, `"identitytoken":"kept"`} {
				if !strings.Contains(stored, text) {
					t.Errorf("what is stored lacks a part: %d bytes", len(text))
				}
			}
			if strings.Contains(stored, leaked.Expose()) || strings.Contains(stored, auth) {
				t.Error("the leaked token is still in it")
			}
			mustLocate(t, k, leaked)
		})
	}
	for _, text := range []string{"", "[]", "{", `{"auths":7}`, `{"auths":{"a":null}}`} {
		if got := openRegistry(registryField, text); got != text && got != `{"auths":{"a":null}}` {
			t.Errorf("%q became %q", text, got)
		}
	}
}
