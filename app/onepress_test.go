package app_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stanch-dev/stanch/app"
	"github.com/stanch-dev/stanch/app/github/githubtest"
	"github.com/stanch-dev/stanch/app/incident"
	"github.com/stanch-dev/stanch/app/ownaws"
	"github.com/stanch-dev/stanch/app/ownaws/awstest"
	"github.com/stanch-dev/stanch/app/secretstore"
	"github.com/stanch-dev/stanch/app/store"
	"github.com/stanch-dev/stanch/checks"
)

// An awsKey is an access key of a user.
type awsKey struct{ id, secret string }

// A keyLeak is an access key that is kept in the store and was pushed.
type keyLeak struct {
	w             *world
	cloud         *awstest.Server
	user          string
	leaked, other awsKey // the user may have no other
	head          string
}

func (k *keyLeak) works(key awsKey) bool { return k.cloud.STS.Works(key.id, key.secret) }

func (k *keyLeak) place() secretstore.Location {
	return secretstore.Location{Store: k.w.secrets.Name(), Path: k.user, Field: "token"}
}

// stored is the key that the store holds.
func (k *keyLeak) stored() awsKey {
	k.w.t.Helper()
	now, err := k.w.secrets.Get(k.w.t.Context(), k.place())
	k.w.must(err)
	return awsKey{now.Fields["id"].Expose(), now.Fields["token"].Expose()}
}

// begin keeps the leaked key in the store, and pushes it.
func (k *keyLeak) begin(g *tree) {
	k.w.t.Helper()
	_, err := k.w.secrets.Put(k.w.t.Context(), k.place(), map[string]checks.Secret{"id": checks.NewSecret(k.leaked.id), "token": checks.NewSecret(k.leaked.secret)}, "test")
	k.w.must(err)
	k.head = k.w.leak(g, k.user, k.user+".env", "AWS_ACCESS_KEY_ID="+k.leaked.id+"\nAWS_SECRET_ACCESS_KEY="+k.leaked.secret+"\n")
	k.w.settled(k.head)
}

func (k *keyLeak) incident() store.Incident {
	k.w.t.Helper()
	i, err := k.w.memory.IncidentOf(k.w.t.Context(), checks.NewSecret(k.leaked.secret).Fingerprint(k.w.keys.Fingerprint))
	k.w.must(err)
	return i
}

// press presses a button, and waits until nothing is under way any more.
func (k *keyLeak) press(button string) store.Incident {
	k.w.t.Helper()
	run := k.w.check(k.head, "has the button "+button, func(r githubtest.CheckRun) bool { return strings.Contains(buttons(r), button) })
	pressed := k.w.audited("press " + button)
	k.w.must(k.w.github.PressButton(run.ID, button, "dana"))
	k.w.eventually("nothing is under way", func() bool {
		if k.w.audited("press "+button) == pressed {
			return false
		}
		i := k.incident() // as the press has left it, and not from before
		return i.State() == incident.Resolved || i.Verb == "" && i.Stuck != ""
	})
	return k.incident()
}

// mustBeRotated fails unless the leaked key alone is gone, and the store has a new one
// of the user's.
func (k *keyLeak) mustBeRotated(i store.Incident) {
	k.w.t.Helper()
	keys, now := k.cloud.Keys(k.user), k.stored()
	if i.Resolution != incident.ResolutionRotated || keys[k.leaked.id] != "" || k.works(k.leaked) {
		k.w.t.Errorf("the leaked key is %q, and the incident %s: %s", keys[k.leaked.id], i.State(), i.Stuck)
	}
	if now == k.leaked || now == k.other || !k.works(now) || keys[now.id] != "Active" {
		k.w.t.Errorf("the store has %s, which is %q", now.id, keys[now.id])
	}
}

// deletion is what a person is told to type to delete a key.
var deletion = regexp.MustCompile(`“aws iam delete-access-key --user-name (\S+) --access-key-id (\S+)”`)

// obey does what a person is told, as far as it is about this key.
func (k *keyLeak) obey(told, id string) {
	k.w.t.Helper()
	for _, command := range deletion.FindAllStringSubmatch(told, -1) {
		if command[1] == k.user && command[2] == id {
			k.cloud.IAM("DeleteAccessKey", "UserName", k.user, "AccessKeyId", id)
			return
		}
	}
	k.w.t.Fatalf("nobody is told how to delete %s: %s", id, told)
}

// One press ends with the leaked key dead and all others working. Where AWS has no room
// for its replacement, a person is told what to do, and that does it.
func TestOnePressKillsTheLeakedKey(t *testing.T) {
	cloud := awstest.Start(t)
	cloud.As("stanch")
	policy := policyOf(app.Ask, app.Ask)
	options := func(order incident.Order, hold time.Duration) worldOptions {
		policy := policy
		policy.Order, policy.Hold = order, &hold
		return worldOptions{policy: policy, tamper: func(_ *world, cfg *app.Config) {
			cfg.Providers.AWS = ownaws.New(ownaws.Config{Endpoint: cloud.URL})
			cfg.Providers.BaseURLs["aws"] = cloud.URL
		}}
	}
	w := newWorld(t, options(incident.ReplaceFirst, 0))
	g := w.seeded()
	n := 0
	begin := func(keys int, newest bool) *keyLeak {
		n++
		k := &keyLeak{w: w, cloud: cloud, user: fmt.Sprintf("job%d", n)}
		cloud.User(k.user)
		k.leaked.id, k.leaked.secret = cloud.Key(k.user)
		if keys > 1 {
			k.other.id, k.other.secret = cloud.Key(k.user)
		}
		if newest {
			k.leaked, k.other = k.other, k.leaked
		}
		k.begin(g)
		return k
	}
	w.run("its only key", func(t *testing.T) {
		k := begin(1, false)
		k.mustBeRotated(k.press("rotate"))
	})
	w.run("of a user in quarantine", func(t *testing.T) {
		const quarantine = "AWSCompromisedKeyQuarantineV3"
		arn := awstest.Between(cloud.IAM("CreatePolicy", "PolicyName", quarantine, "PolicyDocument", `{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":"iam:*","Resource":"*"}]}`), "<Arn>", "<")
		k := begin(1, false)
		cloud.IAM("AttachUserPolicy", "UserName", k.user, "PolicyArn", arn)
		k.mustBeRotated(k.press("rotate"))
		told := ""
		for e, err := range w.memory.AuditLog(t.Context()) {
			w.must(err)
			if e.Verb == "done disable_old" && e.Subject == k.incident().ID {
				told = e.Detail["answer"]
			}
		}
		if !strings.Contains(told, "until "+quarantine+" is detached") {
			t.Errorf("nobody is told of the quarantine: %q", told)
		}
	})
	for name, newest := range map[string]bool{"the newest of two": true, "the oldest of two": false} {
		w.run(name, func(t *testing.T) {
			k := begin(2, newest)
			i := k.press("rotate")
			if !k.works(k.leaked) || !k.works(k.other) || k.stored() != k.leaked || !strings.Contains(i.Stuck, "revoke "+k.leaked.id+" now: the other one goes on working") {
				t.Fatalf("without room for a replacement: %+v: %s", cloud.Keys(k.user), i.Stuck)
			}
			if i = k.press("revoke"); i.Resolution != incident.ResolutionRevoked || k.works(k.leaked) || !k.works(k.other) || len(cloud.Keys(k.user)) != 1 {
				t.Errorf("in the end the incident is %s, and the keys are %v", i.State(), cloud.Keys(k.user))
			}
		})
	}
	w.run("the other one is not in use", func(t *testing.T) {
		k := begin(2, false)
		k.obey(k.press("rotate").Stuck, k.other.id)
		k.mustBeRotated(k.press("rotate"))
	})
	w.restart(options(incident.RevokeFirst, 24*time.Hour))
	for name, newest := range map[string]bool{"the newest of two dies first": true, "the oldest of two dies first": false} {
		w.run(name, func(t *testing.T) {
			k := begin(2, newest)
			i := k.press("rotate")
			if i.Dead.IsZero() || k.works(k.leaked) || !k.works(k.other) || cloud.Keys(k.user)[k.leaked.id] != "Inactive" {
				t.Fatalf("after one press the incident is %s, and the keys are %v: %s", i.State(), cloud.Keys(k.user), i.Stuck)
			}
			k.obey(i.Stuck, k.leaked.id)
			// What is to be deleted is deleted: its hold is over when it is proved.
			run := w.check(k.head, "has a button", func(r githubtest.CheckRun) bool { return strings.Contains(buttons(r), "rotate") })
			w.must(w.github.PressButton(run.ID, "rotate", "dana"))
			w.eventually("the store has a key that works", func() bool { return k.works(k.stored()) })
			if !k.works(k.other) || k.stored() == k.other || len(cloud.Keys(k.user)) != 2 {
				t.Errorf("the keys are %v", cloud.Keys(k.user))
			}
		})
	}
}
