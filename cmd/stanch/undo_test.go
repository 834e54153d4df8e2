package main

import (
	"encoding/json"
	"os"
	"testing"

	"github.com/stanch-dev/stanch/app"
	"github.com/stanch-dev/stanch/app/ownaws/awstest"
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
