package secretstore

import (
	"errors"
	"maps"
	"strings"
	"testing"
	"time"
)

// podsWith are the pods of a template in which one container and the spec have more.
func podsWith(container, spec object) object {
	all := object{"containers": []any{object{"name": "sidecar"}, container}}
	maps.Copy(all, spec)
	return object{"spec": all}
}

func fileVolume(items ...string) object {
	secret := object{"secretName": "deploy"}
	if len(items) > 0 {
		var list []any
		for _, key := range items {
			list = append(list, object{"key": key, "path": key})
		}
		secret["items"] = list
	}
	return object{"volumes": []any{object{"name": "v", "secret": secret}}}
}

func mount(more object) object {
	m := object{"name": "v", "mountPath": "/secrets"}
	maps.Copy(m, more)
	return object{"volumeMounts": []any{m}}
}

func variable(secret, key string) object {
	return object{"env": []any{object{"name": "TOKEN", "valueFrom": object{"secretKeyRef": object{"name": secret, "key": key}}}}}
}

func fromSecret(name string) object {
	return object{"envFrom": []any{object{"secretRef": object{"name": name}}}}
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
	api.secret("shop", "deploy", map[string]string{"token": "first"}, nil)
	projected := object{"volumes": []any{object{"name": "v", "projected": object{"sources": []any{object{"secret": object{"name": "deploy"}}}}}}}
	for name, test := range map[string]struct {
		pods    object
		by      string
		restart bool
	}{
		"all-variables":      {podsWith(fromSecret("deploy"), nil), "environment", true},
		"a-variable":         {podsWith(variable("deploy", "token"), nil), "environment", true},
		"init":               {podsWith(object{}, object{"initContainers": []any{fromSecret("deploy")}}), "environment", true},
		"both":               {podsWith(fromSecret("deploy"), fileVolume()), "environment", true},
		"files":              {podsWith(mount(nil), fileVolume()), "files", false},
		"a-file":             {podsWith(mount(nil), fileVolume("other", "token")), "files", false},
		"projected":          {podsWith(mount(nil), projected), "files", false},
		"a-file-by-itself":   {podsWith(mount(object{"subPath": "token"}), fileVolume()), "files", true},
		"a-computed-file":    {podsWith(mount(object{"subPathExpr": "$(X)"}), fileVolume()), "files", true},
		"pulls":              {podsWith(object{}, object{"imagePullSecrets": []any{object{"name": "deploy"}}}), "image pulls", false},
		"another-variable":   {podsWith(variable("deploy", "other"), nil), "", false},
		"another-secret":     {podsWith(variable("deploy2", "token"), nil), "", false},
		"another-file":       {podsWith(mount(nil), fileVolume("other")), "", false},
		"neither":            {podsWith(object{}, nil), "", false},
		"another-config-map": {podsWith(object{"envFrom": []any{object{"configMapRef": object{"name": "deploy"}}}}, nil), "", false},
	} {
		api.set("apps", "deployments", "shop", name, object{"spec": object{"template": test.pods}})
		api.set("apps", "deployments", "web", name, object{"spec": object{"template": test.pods}})
		c, found := consumersOf(t, k)[name]
		if found != (test.by != "") || c.By != test.by || c.Restart != test.restart || found && (c.Kind != "Deployment" || c.Namespace != "shop" || c.Version == "") {
			t.Errorf("%s: %+v", name, c)
		}
	}
	api.set("apps", "statefulsets", "shop", "state", object{"spec": object{"template": podsWith(fromSecret("deploy"), nil)}})
	api.set("apps", "daemonsets", "shop", "agent", object{"spec": object{"template": podsWith(fromSecret("deploy"), nil)}})
	api.set("batch", "cronjobs", "shop", "night", object{"spec": object{"jobTemplate": object{"spec": object{"template": podsWith(fromSecret("deploy"), nil)}}}})
	all := consumersOf(t, k)
	if all["state"].String() != "statefulset shop/state" || !all["agent"].Restart || all["night"].Kind != cronJob || all["night"].Restart {
		t.Errorf("%+v", all)
	}
}

// A workload as the controllers report it; what is not said is as in a rollout that is
// over.
func reported(kind string, more object) object {
	status := object{"observedGeneration": 2, "replicas": 3, "updatedReplicas": 3, "availableReplicas": 3}
	if kind == "DaemonSet" {
		status = object{"observedGeneration": 2, "desiredNumberScheduled": 3, "updatedNumberScheduled": 3, "numberAvailable": 3}
	}
	maps.Copy(status, more)
	return status
}

// TestKubernetesRestart: a workload is restarted once for a version of the secret, and
// settled when all pods are new.
func TestKubernetesRestart(t *testing.T) {
	api, k, _ := newKubernetes(t)
	api.secret("shop", "deploy", map[string]string{"token": "first"}, nil)
	now, err := k.Get(t.Context(), place("shop/deploy", "token"))
	if err != nil {
		t.Fatal(err)
	}
	api.set("apps", "deployments", "shop", "api", object{
		"metadata": object{"generation": 1},
		"spec":     object{"replicas": 3, "template": podsWith(fromSecret("deploy"), nil)}, "status": reported("Deployment", object{"observedGeneration": 1}),
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
	if generation := api.get("apps", "deployments", "shop", "api")["metadata"].(object)["generation"]; generation != 2.0 {
		t.Errorf("generation %v after one restart", generation)
	}
	settled(false, "has not begun")
	report := func(more object) {
		o := maps.Clone(api.get("apps", "deployments", "shop", "api"))
		o["status"] = reported("Deployment", more)
		api.set("apps", "deployments", "shop", "api", o)
	}
	report(object{"updatedReplicas": 1, "availableReplicas": 2})
	settled(false, "1 of 3 pods are new, 2 are ready")
	report(object{"replicas": 4})
	settled(false, "1 old ones still run")
	report(object{"updatedReplicas": 1, "conditions": []any{object{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}}})
	settled(false, "stuck")
	report(nil)
	settled(true, "")

	mustPut(t, k, place("shop/deploy", "token").at(c.Version), fresh())
	c = consumersOf(t, k)["api"]
	k.now = func() time.Time { return time.Now().Add(-time.Hour) } // by somebody, long before
	settled(false, "have not been restarted")
	delete(api.objects, "apps/deployments/shop/api")
	settled(true, "")
}

func TestKubernetesSettled(t *testing.T) {
	api, k, _ := newKubernetes(t)
	written := time.Now().Add(-time.Minute).UTC()
	notes := func(more object) object {
		pods := podsWith(fromSecret("deploy"), nil)
		pods["metadata"] = object{"annotations": object{restartedAt: written.Add(30 * time.Second).Format(time.RFC3339)}} // by kubectl
		spec := object{"replicas": 3, "template": pods}
		maps.Copy(spec, more)
		return spec
	}
	for name, test := range map[string]struct {
		kind   string
		spec   object
		status object
		says   string
	}{
		"deployment":  {"Deployment", nil, nil, ""},
		"paused":      {"Deployment", object{"paused": true}, nil, "paused"},
		"stateful":    {"StatefulSet", nil, nil, ""},
		"on-delete":   {"StatefulSet", object{"updateStrategy": object{"type": "OnDelete"}}, nil, "OnDelete"},
		"partition":   {"StatefulSet", object{"updateStrategy": object{"rollingUpdate": object{"partition": 2}}}, nil, "partition"},
		"daemon":      {"DaemonSet", nil, nil, ""},
		"daemon-half": {"DaemonSet", nil, object{"updatedNumberScheduled": 2}, "2 of 3 pods are new"},
	} {
		resource := strings.ToLower(test.kind) + "s"
		api.set("apps", resource, "shop", name, object{"metadata": object{"generation": 2}, "spec": notes(test.spec), "status": reported(test.kind, test.status)})
		ok, why, err := k.Settled(t.Context(), Consumer{Kind: test.kind, Namespace: "shop", Name: name, Restart: true, Version: "7", Written: written})
		if err != nil || ok != (test.says == "") || !strings.Contains(why, test.says) {
			t.Errorf("%s: %t, %q, %v", name, ok, why, err)
		}
	}
	api.set("batch", "cronjobs", "shop", "night", object{"spec": object{}, "status": object{"active": []any{object{"name": "night-2"}}}})
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
