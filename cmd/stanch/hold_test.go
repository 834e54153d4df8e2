//go:build !race

package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stanch-dev/stanch/app/ownaws/awstest"
)

// TestEnabledByOthersWhileHeld has somebody enable the leaked key at its provider before
// the hold is over: it is not deleted, a person is told, and a new order kills it again.
func TestEnabledByOthersWhileHeld(t *testing.T) {
	aws := newCrashAWS(t)
	w := newHeldWorld(t, awsKeys{aws}, inFile{})
	leaked := w.kind.(*awsKey)
	aws.IAM("UpdateAccessKey", "UserName", leaked.user, "AccessKeyId", leaked.id, "Status", "Active")
	aws.STS.Set(leaked.id, awstest.STSKey{Secret: leaked.key})
	w.command("end-hold", `{"reason":"nobody asked for it"}`)
	w.eventually("a person is told", func() error {
		i, err := w.incident()
		if err == nil && (!strings.Contains(i.Stuck, "has enabled the leaked credential again") || !i.Dead.IsZero()) {
			err = fmt.Errorf("it is %s: %q", i.State(), i.Stuck)
		}
		return err
	})
	if leaked.live() != 2 {
		t.Fatalf("%d keys: the one that somebody needs was deleted", leaked.live())
	}
	w.command("approve", `{"verb":"revoke","reason":"nobody needs it"}`)
	w.eventually("it is disabled and proved dead again", func() error {
		i, err := w.incident()
		if err == nil && (i.Held.IsZero() || i.Dead.IsZero()) {
			err = fmt.Errorf("it is %s: %q", i.State(), i.Stuck)
		}
		return err
	})
	if leaked.leakedWorks() || !w.working() {
		t.Errorf("the leaked one works: %t; the replacement: %t", leaked.leakedWorks(), w.working())
	}
}
