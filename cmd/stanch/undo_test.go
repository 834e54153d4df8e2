package main

import (
	"encoding/json"
	"os"
	"testing"

	"github.com/stanch-dev/stanch/app"
	"github.com/stanch-dev/stanch/app/ownaws/awstest"
	"github.com/stanch-dev/stanch/app/secretstore"
	"github.com/stanch-dev/stanch/app/secretstore/kubetest"
)

// What is only disabled comes back, with all that was changed; at the end of its hold it
// is deleted.
func TestUndoByHand(t *testing.T) {
	aws := awstest.Start(t)
	w := newHandWorld(t)
	aws.As("stanch")
	w.env["STANCH_AWS"], w.env["STANCH_PROVIDER_URLS"] = "on", "aws:"+aws.URL
	aws.User("shop")
	id, secret := aws.Key("shop")
	w.secret = append(w.secret, secret, os.Getenv("AWS_SECRET_ACCESS_KEY"))
	for field, value := range map[string]string{"id": id, "token": secret} {
		w.expect(exitDone, value, []string{"store", "put", "shop/aws", field})
	}
	pair := "aws_access_key_id = " + id + "\naws_secret_access_key = " + secret + "\n"
	w.expect(exitDone, pair, []string{"rotate", "--dry-run"}, "disable_old", "iam:UpdateAccessKey to Inactive", "can be taken back: for 24h0m0s: iam:UpdateAccessKey to Active",
		"hold", "nothing happens for 24h0m0s", "revoke_old", "iam:DeleteAccessKey", "shop/aws, field token")
	w.expect(exitDone, pair, []string{"rotate", "--yes"}, "disable_old", "Proved dead", "proved dead. Nothing: it is disabled and proved dead, and is deleted after",
		"run it again after", "stanch incidents undo")
	if aws.Keys("shop")[id] != "Inactive" || w.stored("shop/aws") == secret {
		t.Fatalf("the old one is %s", aws.Keys("shop")[id])
	}
	var page app.IncidentList
	w.must(json.Unmarshal([]byte(w.expect(exitDone, "", []string{"incidents", "list", "--format", "json"})), &page))
	incident := page.Incidents[0].ID
	w.expect(exitDone, "", []string{"incidents", "plan", incident, "undo"}, "enable_old", "restore", "discard", "stanch incidents undo "+incident)
	// Run again it only waits for the end of its hold.
	w.expect(exitDone, pair, []string{"rotate", "--yes"}, "Proved dead", "run it again after")
	w.expect(exitDone, "", []string{"incidents", "undo", incident, "--reason", "the old job still runs"}, "cli:ada took the remediation back: the credential is live again")
	if aws.Keys("shop")[id] != "Active" || w.stored("shop/aws") != secret || len(aws.Keys("shop")) != 1 {
		t.Errorf("after it was undone the old one is %q, and the user's keys are %v", aws.Keys("shop")[id], aws.Keys("shop"))
	}
	w.expect(exitDone, pair, []string{"rotate", "--yes"}, "Proved dead")
	w.expect(exitDone, "", []string{"incidents", "end-hold", incident, "--reason", "nobody needs it"}, "Proved dead", "resolved as rotated")
	if aws.Keys("shop")[id] != "" || w.stored("shop/aws") == secret {
		t.Errorf("in the end the old one is %q", aws.Keys("shop")[id])
	}
	w.expect(exitFailed, "", []string{"incidents", "undo", incident, "--reason", "too late"}, "nothing can be taken back")
	w.findNoSecret()
}

// What is taken back is taken back for those who read it, too.
func TestUndoRestartsConsumers(t *testing.T) {
	aws, cluster := awstest.Start(t), kubetest.Start(t)
	cluster.Allow("stanch", kubetest.RulesOf(t, secretstore.KubernetesPolicy(true)))
	w := newHandWorld(t)
	aws.As("stanch")
	w.env["STANCH_AWS"], w.env["STANCH_PROVIDER_URLS"] = "on", "aws:"+aws.URL
	w.env["STANCH_KUBERNETES_URL"], w.env["STANCH_KUBERNETES_RESTART"] = cluster.URL, "true"
	w.env["STANCH_KUBERNETES_TOKEN_FILE"], w.env["STANCH_KUBERNETES_CA_FILE"] = cluster.Path("stanch"), cluster.Path("ca.crt")
	aws.User("shop")
	id, secret := aws.Key("shop")
	w.secret = append(w.secret, secret, os.Getenv("AWS_SECRET_ACCESS_KEY"))
	cluster.Secret("shop", "deploy", map[string]string{"id": id, "token": secret}, nil)
	cluster.Set("apps", "deployments", "shop", "api", readsAtStart("deploy"))
	mustBeNewest := func() {
		t.Helper()
		spec, _ := cluster.Get("apps", "deployments", "shop", "api")["spec"].(kubetest.Object)
		template, _ := spec["template"].(kubetest.Object)
		meta, _ := template["metadata"].(kubetest.Object)
		notes, _ := meta["annotations"].(kubetest.Object)
		secret, _ := cluster.Get("", "secrets", "shop", "deploy")["metadata"].(kubetest.Object)
		if notes["stanch.dev/restart-for"] != secret["resourceVersion"] {
			t.Errorf("it was restarted for version %v, and the secret is at %v", notes["stanch.dev/restart-for"], secret["resourceVersion"])
		}
	}
	pair := "aws_access_key_id = " + id + "\naws_secret_access_key = " + secret + "\n"
	w.expect(exitDone, pair, []string{"rotate", "--dry-run"}, "deployment shop/api reads it (environment), that only when its pods start: a rotation restarts it")
	w.expect(exitDone, pair, []string{"rotate", "--yes"}, "disable_old", "Proved dead")
	if aws.Keys("shop")[id] != "Inactive" || cluster.Value("shop", "deploy", "token") == secret {
		t.Fatalf("the old one is %s", aws.Keys("shop")[id])
	}
	mustBeNewest()
	var page app.IncidentList
	w.must(json.Unmarshal([]byte(w.expect(exitDone, "", []string{"incidents", "list", "--format", "json"})), &page))
	w.expect(exitDone, "", []string{"incidents", "undo", page.Incidents[0].ID, "--reason", "the old job still runs"}, "the credential is live again")
	if aws.Keys("shop")[id] != "Active" || cluster.Value("shop", "deploy", "token") != secret {
		t.Errorf("after it was undone the old one is %q", aws.Keys("shop")[id])
	}
	mustBeNewest()
	w.findNoSecret()
}
