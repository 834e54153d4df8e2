//go:build !race

package main

import (
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/stanch-dev/stanch/app/incident"
)

// awsDeletion is what a person is told to type to delete a key.
var awsDeletion = regexp.MustCompile(`“aws iam delete-access-key --user-name (\S+) --access-key-id (\S+)”`)

// TestCrashLosesAnAccessKey kills the server when AWS has made the new key, and its secret
// is lost: nobody takes that key for anybody's before it is known whose it is.
func TestCrashLosesAnAccessKey(t *testing.T) {
	aws := newCrashAWS(t)
	w := newCrashWorld(t, awsKeys{aws}, inFile{}, incident.ReplaceFirst)
	w.start()
	w.leak()
	w.ends("")
	w.reaper.kill()
	answers := w.reaper.counts["issue"] // the last of which has the new key
	lose := func(t *testing.T) (w *crashWorld, lost string) {
		aws.Under(t)
		w = newCrashWorld(t, awsKeys{aws}, inFile{}, incident.ReplaceFirst)
		w.reaper.at("issue/begun", answers)
		w.start()
		w.leak()
		c := w.kind.(*awsKey)
		if died := w.dies(); !died || w.kind.live() != 2 || !w.working() {
			t.Fatalf("killed: %t; the user's keys are %v\n%s", died, aws.Keys(c.user), w.tail())
		}
		for id := range aws.Keys(c.user) {
			if id != c.id {
				lost = id
			}
		}
		return w, lost
	}
	t.Run("CloudTrail may not be asked", func(t *testing.T) {
		aws.On("LookupEvents", func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("Content-Type", "application/x-amz-json-1.1")
			rw.WriteHeader(http.StatusBadRequest)
			io.WriteString(rw, `{"__type":"AccessDeniedException","Message":"no"}`)
		})
		defer aws.On("LookupEvents", nil)
		w, lost := lose(t)
		w.start()
		stuck := w.ends("is not known: ")
		told := awsDeletion.FindStringSubmatch(stuck)
		if told == nil || told[2] != lost || w.kind.live() != 2 || !w.kind.leakedWorks() || !w.working() {
			t.Fatalf("%d live, and what a person is told is %q", w.kind.live(), stuck)
		}
		aws.IAM("DeleteAccessKey", "UserName", told[1], "AccessKeyId", told[2])
		w.command("approve", `{"verb":"rotate"}`)
		w.ends("")
		w.alone(lost)
	})
	t.Run("CloudTrail has it later", func(t *testing.T) {
		w, lost := lose(t)
		show := aws.HideTrail()
		w.start()
		w.eventually("it has looked for who made the key", func() error {
			if n := len(aws.Requests("LookupEvents")); n < 2 {
				return fmt.Errorf("%d times", n)
			}
			return nil
		})
		if w.kind.live() != 2 || !w.kind.leakedWorks() || !w.working() {
			t.Fatalf("before it is known whose it is %d are live", w.kind.live())
		}
		show()
		w.ends("")
		w.alone(lost)
	})
	t.Run("somebody else made it", func(t *testing.T) {
		w, lost := lose(t)
		aws.HideTrail()
		aws.Trail(lost, w.kind.(*awsKey).user, "aws-cli/2")
		w.start()
		stuck := w.ends("has 2 access keys already, and AWS allows no more")
		if told := awsDeletion.FindStringSubmatch(stuck); told == nil || told[2] != lost || w.kind.live() != 2 || !w.working() {
			t.Errorf("%d live, and what a person is told is %q", w.kind.live(), stuck)
		}
	})
}

// ends waits until the remediation is over, and fails unless a person is told what is
// expected, which is nothing when it is resolved.
func (w *crashWorld) ends(want string) (stuck string) {
	w.t.Helper()
	w.eventually("the remediation ends", func() error {
		over, why := w.over()
		if stuck = why; !over || (why == "") != (want == "") || !strings.Contains(why, want) {
			return fmt.Errorf("over: %t, and a person is told %q", over, why)
		}
		return nil
	})
	return stuck
}

// alone fails unless the key in the store is the user's only one, and not the lost one.
func (w *crashWorld) alone(lost string) {
	w.t.Helper()
	if now := w.place.fields()["id"]; w.kind.live() != 1 || w.kind.leakedWorks() || !w.working() || now == lost {
		w.t.Errorf("%d live, and the store has %s; %s was lost\n%s", w.kind.live(), now, lost, w.tail())
	}
}
