package app_test

import (
	"strings"
	"testing"
)

// TestAlertIsRemediated has GitHub's own scan find a live credential that a store
// holds: it is replaced, proved dead, and the alert is closed with the proof.
func TestAlertIsRemediated(t *testing.T) {
	w := newWorld(t, worldOptions{})
	w.seeded()
	leaked := w.token("alert")
	number, err := w.github.FindSecret(w.repoName, "github_personal_access_token", leaked)
	w.must(err)
	w.await("the alert to be resolved", func() bool { return w.github.Alerts(w.repoName)[number-1].State == "resolved" })
	w.mustRotate("alert", leaked)
	a := w.github.Alerts(w.repoName)[number-1]
	if a.Resolution != "revoked" || !strings.Contains(a.Comment, "proved it dead") || a.By != w.self.Slug+"[bot]" {
		t.Errorf("the alert is %+v", a)
	}
	w.findNone(w.issued...)
}

// TestAlertThatNoRuleKnows is left to people, and the audit log says so.
func TestAlertThatNoRuleKnows(t *testing.T) {
	w := newWorld(t, worldOptions{})
	w.seeded()
	_, err := w.github.FindSecret(w.repoName, "custom_pattern", "nothing that anybody knows")
	w.must(err)
	w.await("an entry in the audit log", func() bool {
		for e, err := range w.memory.AuditLog(t.Context()) {
			w.must(err)
			if e.Verb == "leave alert" && strings.Contains(e.Detail["why"], "custom_pattern") {
				return true
			}
		}
		return false
	})
}
