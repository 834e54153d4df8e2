package app_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stanch-dev/stanch/app"
	"github.com/stanch-dev/stanch/app/cloud"
	"github.com/stanch-dev/stanch/app/cloud/cloudtest"
	"github.com/stanch-dev/stanch/app/github/githubtest"
	"github.com/stanch-dev/stanch/app/incident"
	"github.com/stanch-dev/stanch/app/secretstore"
	"github.com/stanch-dev/stanch/checks"
)

const robot = "robot@shop.iam.gserviceaccount.com"

// newRobot makes a key of a service account at an IAM, and returns its file.
func newRobot(t *testing.T, iam *cloudtest.IAM) (id string, file map[string]string) {
	t.Helper()
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := cloudtest.CertificateOf(private)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	iam.Do(func() { id = iam.Insert(robot, certificate, "USER_MANAGED").ID })
	return id, map[string]string{
		"type": "service_account", "project_id": "shop", "private_key_id": id, "client_email": robot,
		"private_key": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE" + " KEY", Bytes: der})),
	}
}

// TestLastUseThatIsToldInPart is shown in the plan, and to who is asked whether anybody uses
// the old key still: that its provider knows of no use since the replacement is in its
// place ends no overlap, as it does not know of all uses.
func TestLastUseThatIsToldInPart(t *testing.T) {
	google, own := cloudtest.Google(t)
	account, err := cloud.NewGoogle(own)
	if err != nil {
		t.Fatal(err)
	}
	var iam *cloudtest.IAM
	var replaced atomic.Bool // and its replacement is verified, which the certificates are for
	google.Public(func(_ http.ResponseWriter, r *http.Request) bool {
		if strings.HasPrefix(r.URL.Path, "/robot/") && len(iam.Accounts[robot]) == 2 {
			replaced.Store(true)
		}
		return false
	})
	iam = cloudtest.NewIAM(google)
	id, file := newRobot(t, iam)
	day := time.Date(2026, 11, 20, 7, 0, 0, 0, time.UTC)
	analyzer := cloudtest.NewKeyUse(iam, day.AddDate(0, 0, 3))
	google.Do(func() { analyzer.Used[id] = day })
	policy := policyOf(app.Automatic, app.Ask)
	policy.Order = incident.Overlap
	w := newWorld(t, worldOptions{policy: policy, tamper: func(w *world, cfg *app.Config) {
		withAPI(w, cfg)
		cfg.Providers.Google = account
		cfg.Providers.BaseURLs["gcp"] = google.URL
		cfg.Now = func() time.Time {
			if replaced.Load() {
				return time.Now().Add(49 * time.Hour)
			}
			return time.Now()
		}
	}})
	fields := map[string]checks.Secret{}
	for name, value := range file {
		fields[name] = checks.NewSecret(value)
	}
	_, err = w.secrets.Put(t.Context(), secretstore.Location{Store: w.secrets.Name(), Path: "robot", Field: "private_key"}, fields, "test")
	w.must(err)
	text, err := json.MarshalIndent(file, "", "  ")
	w.must(err)
	const told = "it was last used at 2026-11-20 07:00:00 UTC (Google tells the day, knows of no use since 2026-11-23 yet, and of none outside Google Cloud)"
	var plan app.Plan
	if status, answer := w.call("", "POST", "/remediations", handed{"text": string(text), "verb": incident.Rotate, "dry_run": true}, &plan); status != 200 {
		t.Fatalf("%d: %s", status, answer)
	}
	holds(t, strings.Join(plan.Risks, "\n"), told)
	head := w.leak(w.seeded(), "leak", "robot.json", string(text)+"\n")
	w.check(head, "waits for a person", func(r githubtest.CheckRun) bool {
		return completed("failure")(r) && strings.Contains(r.Summary, "and both work&#58; of the old one, "+strings.NewReplacer(":", "&#58;", "(", "&#40;", ")", "&#41;").Replace(told))
	})
	if n := iam.Keys(robot); n != 2 {
		t.Errorf("%d keys, want both", n)
	}
}
