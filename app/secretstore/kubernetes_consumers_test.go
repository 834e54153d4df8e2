package secretstore

import (
	"errors"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/stanch-dev/stanch/app/secretstore/kubetest"
)

// podsWith are the pods of a template in which one container and the spec have more.
func podsWith(container, spec kubetest.Object) kubetest.Object {
	all := kubetest.Object{"containers": []any{kubetest.Object{"name": "sidecar"}, container}}
	maps.Copy(all, spec)
	return kubetest.Object{"spec": all}
}

func fileVolume(items ...string) kubetest.Object {
	secret := kubetest.Object{"secretName": "deploy"}
	if len(items) > 0 {
		var list []any
		for _, key := range items {
			list = append(list, kubetest.Object{"key": key, "path": key})
		}
		secret["items"] = list
	}
	return kubetest.Object{"volumes": []any{kubetest.Object{"name": "v", "secret": secret}}}
}

func mount(more kubetest.Object) kubetest.Object {
	m := kubetest.Object{"name": "v", "mountPath": "/secrets"}
	maps.Copy(m, more)
	return kubetest.Object{"volumeMounts": []any{m}}
}

func variable(secret, key string) kubetest.Object {
	return kubetest.Object{"env": []any{kubetest.Object{"name": "TOKEN", "valueFrom": kubetest.Object{"secretKeyRef": kubetest.Object{"name": secret, "key": key}}}}}
}

func fromSecret(name string) kubetest.Object {
	return kubetest.Object{"envFrom": []any{kubetest.Object{"secretRef": kubetest.Object{"name": name}}}}
}

// consumersOf are those of the field “token” of shop/deploy, by their names.
func consumersOf(t *testing.T, k *Kubernetes) map[string]Consumer {
	t.Helper()
	all, err := k.Consumers(t.Context(), place("shop/deploy", "token"))
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]Consumer{}
	for _, c := range all {
		found[c.Name] = c
	}
	return found
}

func TestKubernetesConsumers(t *testing.T) {
	api, k, _ := newKubernetes(t)
	api.Secret("shop", "deploy", map[string]string{"token": "first"}, nil)
	projected := kubetest.Object{"volumes": []any{kubetest.Object{"name": "v", "projected": kubetest.Object{"sources": []any{kubetest.Object{"secret": kubetest.Object{"name": "deploy"}}}}}}}
	for name, test := range map[string]struct {
		pods    kubetest.Object
		by      string
		restart bool
	}{
		"all-variables":      {podsWith(fromSecret("deploy"), nil), "environment", true},
		"a-variable":         {podsWith(variable("deploy", "token"), nil), "environment", true},
		"init":               {podsWith(kubetest.Object{}, kubetest.Object{"initContainers": []any{fromSecret("deploy")}}), "environment", true},
		"both":               {podsWith(fromSecret("deploy"), fileVolume()), "environment", true},
		"files":              {podsWith(mount(nil), fileVolume()), "files", false},
		"a-file":             {podsWith(mount(nil), fileVolume("other", "token")), "files", false},
		"projected":          {podsWith(mount(nil), projected), "files", false},
		"a-file-by-itself":   {podsWith(mount(kubetest.Object{"subPath": "token"}), fileVolume()), "files", true},
		"a-computed-file":    {podsWith(mount(kubetest.Object{"subPathExpr": "$(X)"}), fileVolume()), "files", true},
		"pulls":              {podsWith(kubetest.Object{}, kubetest.Object{"imagePullSecrets": []any{kubetest.Object{"name": "deploy"}}}), "image pulls", false},
		"another-variable":   {podsWith(variable("deploy", "other"), nil), "", false},
		"another-secret":     {podsWith(variable("deploy2", "token"), nil), "", false},
		"another-file":       {podsWith(mount(nil), fileVolume("other")), "", false},
		"neither":            {podsWith(kubetest.Object{}, nil), "", false},
		"another-config-map": {podsWith(kubetest.Object{"envFrom": []any{kubetest.Object{"configMapRef": kubetest.Object{"name": "deploy"}}}}, nil), "", false},
	} {
		api.Set("apps", "deployments", "shop", name, kubetest.Object{"spec": kubetest.Object{"template": test.pods}})
		api.Set("apps", "deployments", "web", name, kubetest.Object{"spec": kubetest.Object{"template": test.pods}})
		c, found := consumersOf(t, k)[name]
		if found != (test.by != "") || c.By != test.by || c.Restart != test.restart || found && (c.Kind != "Deployment" || c.Namespace != "shop" || c.Version == "") {
			t.Errorf("%s: %+v", name, c)
		}
	}
	api.Set("apps", "statefulsets", "shop", "state", kubetest.Object{"spec": kubetest.Object{"template": podsWith(fromSecret("deploy"), nil)}})
	api.Set("apps", "daemonsets", "shop", "agent", kubetest.Object{"spec": kubetest.Object{"template": podsWith(fromSecret("deploy"), nil)}})
	api.Set("batch", "cronjobs", "shop", "night", kubetest.Object{"spec": kubetest.Object{"jobTemplate": kubetest.Object{"spec": kubetest.Object{"template": podsWith(fromSecret("deploy"), nil)}}}})
	all := consumersOf(t, k)
	if all["state"].String() != "statefulset shop/state" || !all["agent"].Restart || all["night"].Kind != cronJob || all["night"].Restart {
		t.Errorf("%+v", all)
	}
}

// A workload as the controllers report it; what is not said is as in a rollout that is
// over.
func reported(kind string, more kubetest.Object) kubetest.Object {
	status := kubetest.Object{"observedGeneration": 2, "replicas": 3, "updatedReplicas": 3, "availableReplicas": 3}
	if kind == "DaemonSet" {
		status = kubetest.Object{"observedGeneration": 2, "desiredNumberScheduled": 3, "updatedNumberScheduled": 3, "numberAvailable": 3}
	}
	maps.Copy(status, more)
	return status
}

// TestKubernetesRestart: a workload is restarted once for a version of the secret, and
// settled when all pods are new.
func TestKubernetesRestart(t *testing.T) {
	api, k, _ := newKubernetes(t)
	api.Secret("shop", "deploy", map[string]string{"token": "first"}, nil)
	now, err := k.Get(t.Context(), place("shop/deploy", "token"))
	if err != nil {
		t.Fatal(err)
	}
	api.Set("apps", "deployments", "shop", "api", kubetest.Object{
		"metadata": kubetest.Object{"generation": 1},
		"spec":     kubetest.Object{"replicas": 3, "template": podsWith(fromSecret("deploy"), nil)}, "status": reported("Deployment", kubetest.Object{"observedGeneration": 1}),
	})
	mustPut(t, k, place("shop/deploy", "token").at(now.Version), fresh())
	c := consumersOf(t, k)["api"]
	settled := func(want bool, says string) {
		t.Helper()
		ok, why, err := k.Settled(t.Context(), c)
		if err != nil || ok != want || !strings.Contains(why, says) {
			t.Errorf("settled %t, %q, %v; want %t, %q", ok, why, err, want, says)
		}
	}
	settled(false, "have not been restarted")
	k.restart = false
	if err := k.Restart(t.Context(), c); !errors.Is(err, ErrNoRestart) {
		t.Errorf("switched off: %v", err)
	}
	k.restart = true
	for range 2 {
		if err := k.Restart(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	if generation := api.Get("apps", "deployments", "shop", "api")["metadata"].(kubetest.Object)["generation"]; generation != 2.0 {
		t.Errorf("generation %v after one restart", generation)
	}
	settled(false, "has not begun")
	report := func(more kubetest.Object) {
		o := maps.Clone(api.Get("apps", "deployments", "shop", "api"))
		o["status"] = reported("Deployment", more)
		api.Set("apps", "deployments", "shop", "api", o)
	}
	report(kubetest.Object{"updatedReplicas": 1, "availableReplicas": 2})
	settled(false, "1 of 3 pods are new, 2 are ready")
	report(kubetest.Object{"replicas": 4})
	settled(false, "1 old ones still run")
	report(kubetest.Object{"updatedReplicas": 1, "conditions": []any{kubetest.Object{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}}})
	settled(false, "stuck")
	report(nil)
	settled(true, "")

	mustPut(t, k, place("shop/deploy", "token").at(c.Version), fresh())
	c = consumersOf(t, k)["api"]
	k.now = func() time.Time { return time.Now().Add(-time.Hour) } // by somebody, long before
	settled(false, "have not been restarted")
	api.Delete("apps", "deployments", "shop", "api")
	settled(true, "")
}

func TestKubernetesSettled(t *testing.T) {
	api, k, _ := newKubernetes(t)
	written := time.Now().Add(-time.Minute).UTC()
	notes := func(more kubetest.Object) kubetest.Object {
		pods := podsWith(fromSecret("deploy"), nil)
		pods["metadata"] = kubetest.Object{"annotations": kubetest.Object{restartedAt: written.Add(30 * time.Second).Format(time.RFC3339)}} // by kubectl
		spec := kubetest.Object{"replicas": 3, "template": pods}
		maps.Copy(spec, more)
		return spec
	}
	for name, test := range map[string]struct {
		kind   string
		spec   kubetest.Object
		status kubetest.Object
		says   string
	}{
		"deployment":  {"Deployment", nil, nil, ""},
		"paused":      {"Deployment", kubetest.Object{"paused": true}, nil, "paused"},
		"stateful":    {"StatefulSet", nil, nil, ""},
		"on-delete":   {"StatefulSet", kubetest.Object{"updateStrategy": kubetest.Object{"type": "OnDelete"}}, nil, "OnDelete"},
		"partition":   {"StatefulSet", kubetest.Object{"updateStrategy": kubetest.Object{"rollingUpdate": kubetest.Object{"partition": 2}}}, nil, "partition"},
		"daemon":      {"DaemonSet", nil, nil, ""},
		"daemon-half": {"DaemonSet", nil, kubetest.Object{"updatedNumberScheduled": 2}, "2 of 3 pods are new"},
	} {
		resource := strings.ToLower(test.kind) + "s"
		api.Set("apps", resource, "shop", name, kubetest.Object{"metadata": kubetest.Object{"generation": 2}, "spec": notes(test.spec), "status": reported(test.kind, test.status)})
		ok, why, err := k.Settled(t.Context(), Consumer{Kind: test.kind, Namespace: "shop", Name: name, Restart: true, Version: "7", Written: written})
		if err != nil || ok != (test.says == "") || !strings.Contains(why, test.says) {
			t.Errorf("%s: %t, %q, %v", name, ok, why, err)
		}
	}
	api.Set("batch", "cronjobs", "shop", "night", kubetest.Object{"spec": kubetest.Object{}, "status": kubetest.Object{"active": []any{kubetest.Object{"name": "night-2"}}}})
	for job, settled := range map[string]bool{"night-2": false, "night-1": true} {
		if ok, why, err := k.Settled(t.Context(), Consumer{Kind: cronJob, Namespace: "shop", Name: "night", Jobs: []string{job}}); err != nil || ok != settled {
			t.Errorf("with %s: %t, %q, %v", job, ok, why, err)
		}
	}
	files := Consumer{Kind: "Deployment", Namespace: "shop", Name: "deployment", Written: written}
	if ok, why, err := k.Settled(t.Context(), files); err != nil || ok || !strings.Contains(why, "two minutes") {
		t.Errorf("files: %t, %q, %v", ok, why, err)
	}
	k.now = func() time.Time { return written.Add(filesWithin) }
	if ok, why, err := k.Settled(t.Context(), files); err != nil || !ok {
		t.Errorf("files after a while: %t, %q, %v", ok, why, err)
	}
	if _, _, err := k.Settled(t.Context(), Consumer{Kind: "Pod", Namespace: "shop", Name: "x"}); err == nil {
		t.Error("a pod was looked at")
	}
}
