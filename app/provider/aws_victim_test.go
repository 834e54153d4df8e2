package provider

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stanch-dev/stanch/app/ownaws/awstest"
	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/rules"
)

// lookAlike is another key's id that differs in one character.
func lookAlike(id string) string {
	last := "A"
	if strings.HasSuffix(id, last) {
		last = "B"
	}
	return id[:len(id)-1] + last
}

// Whatever the lists look like, no key dies but the one with the leaked id.
func TestAWSWrongVictim(t *testing.T) {
	w := newAWSWorld(t)
	p := w.providers(Config{})
	w.User("victim")
	old := w.leak(p, "victim")
	id := old.Parts["id"].Expose()
	deleted := func() []string { return slices.Compact(w.Requests("DeleteAccessKey")) }
	pages := func(bodies ...string) {
		w.On("ListAccessKeys", func(rw http.ResponseWriter, r *http.Request) {
			r.ParseForm()
			n, _ := strconv.Atoi(r.Form.Get("Marker"))
			more := "<IsTruncated>false</IsTruncated>"
			if n+1 < len(bodies) {
				more = "<IsTruncated>true</IsTruncated><Marker>" + strconv.Itoa(n+1) + "</Marker>"
			}
			answer(rw, 200, "text/xml", strings.Replace(bodies[n], "<IsTruncated>false</IsTruncated>", more, 1))
		})
	}
	w.On("DeleteAccessKey", func(rw http.ResponseWriter, _ *http.Request) {
		answer(rw, 200, "text/xml", "<DeleteAccessKeyResponse/>")
	})
	for name, bodies := range map[string][]string{
		"look-alikes around it": {listOf("victim", lookAlike(id), id, lookAlike(lookAlike(id)))},
		"on the last page":      {listOf("victim", lookAlike(id)), listOf("victim"), listOf("victim", id)},
		"on the first page":     {listOf("victim", id), listOf("victim", lookAlike(id))},
	} {
		t.Run(name, func(t *testing.T) {
			w.Forget()
			pages(bodies...)
			if _, err := p.Revoke(t.Context(), old); err != nil || !slices.Equal(deleted(), []string{"DeleteAccessKey victim " + id}) {
				t.Errorf("deleted %q, %v", deleted(), err)
			}
		})
	}
	for name, bodies := range map[string][]string{
		"only look-alikes":          {listOf("victim", lookAlike(id), lookAlike(lookAlike(id)))},
		"the same id of another":    {listOf("victim", "someone:"+id)},
		"nothing":                   {listOf("victim")},
		"lower case":                {listOf("victim", strings.ToLower(id))},
		"the head of the id":        {listOf("victim", id[:19], id[:16])},
		"more than the id":          {listOf("victim", id+"A")},
		"the id with a space after": {listOf("victim", id+" x")},
	} {
		t.Run(name, func(t *testing.T) {
			w.Forget()
			pages(bodies...)
			got, err := p.Revoke(t.Context(), old)
			if err != nil || got.Meaning != rules.MeansAlreadyDead || len(deleted()) > 0 {
				t.Errorf("%+v, %v; deleted %q", got, err, deleted())
			}
			if got, err := p.Disable(t.Context(), old); err != nil || got.Meaning != rules.MeansAlreadyDead || len(w.Requests("UpdateAccessKey")) > 0 {
				t.Errorf("%+v, %v; changed %q", got, err, w.Requests("UpdateAccessKey"))
			}
		})
	}
	w.On("ListAccessKeys", nil)
	w.On("DeleteAccessKey", nil)
	t.Run("the user was renamed, and another has the name", func(t *testing.T) {
		w.User("old-name")
		w.User("new-name")
		other := w.leak(p, "old-name")
		moved := w.leak(p, "new-name")
		moved.Identity = other.Identity // from before the renaming
		w.Forget()
		if _, err := p.Revoke(t.Context(), moved); err != nil {
			t.Fatal(err)
		}
		if want := []string{"DeleteAccessKey new-name " + moved.Parts["id"].Expose()}; !slices.Equal(deleted(), want) {
			t.Errorf("deleted %q, want %q", deleted(), want)
		}
		ask(t, p, other.Credential, checks.Active, GradeA)
	})
	t.Run("a replacement that nobody has verified", func(t *testing.T) {
		fresh, secret := w.Key("new-name")
		if _, err := p.Revoke(t.Context(), Target{Credential: pair(fresh, secret, "")}); err != nil {
			t.Fatal(err)
		}
		ask(t, p, pair(fresh, secret, ""), checks.Inactive, GradeB)
	})
	t.Run("the answer to a request is another key", func(t *testing.T) {
		for what, body := range map[string]string{
			"of another user":   "<UserName>someone</UserName><AccessKeyId>" + lookAlike(id) + "</AccessKeyId><SecretAccessKey>x</SecretAccessKey>",
			"that is known":     "<UserName>victim</UserName><AccessKeyId>" + id + "</AccessKeyId><SecretAccessKey>x</SecretAccessKey>",
			"without a secret":  "<UserName>victim</UserName><AccessKeyId>" + lookAlike(id) + "</AccessKeyId>",
			"that is temporary": "<UserName>victim</UserName><AccessKeyId>ASIA" + id[4:] + "</AccessKeyId><SecretAccessKey>x</SecretAccessKey>",
		} {
			w.On("CreateAccessKey", func(rw http.ResponseWriter, _ *http.Request) {
				answer(rw, 200, "text/xml", "<CreateAccessKeyResponse><CreateAccessKeyResult><AccessKey>"+body+"</AccessKey></CreateAccessKeyResult></CreateAccessKeyResponse>")
			})
			if _, _, err := replace(p, old, "op"); !errors.As(err, new(*AnswerError)) {
				t.Errorf("%s: %v", what, err)
			}
		}
		w.On("CreateAccessKey", nil)
	})
}

// What no program may do to a key it says, and asks for nothing.
func TestAWSLeavesToPeople(t *testing.T) {
	w := newAWSWorld(t)
	p := w.providers(Config{})
	id, secret := idOf(t, awstest.Account), "x"
	own := Target{Credential: pair(os.Getenv("AWS_ACCESS_KEY_ID"), secret, ""), Identity: map[string]string{"arn": "arn:aws:iam::" + awstest.Account + ":user/stanch"}}
	at := func(id, arn string) Target {
		return Target{Credential: pair(id, secret, ""), Identity: map[string]string{"arn": arn}}
	}
	for name, target := range map[string]Target{
		"root":              at(id, "arn:aws:iam::"+awstest.Account+":root"),
		"federated":         at("ASIA"+id[4:], "arn:aws:sts::"+awstest.Account+":federated-user/bob"),
		"another account":   at(id, "arn:aws:iam::999999999999:user/shop"),
		"two accounts":      at(idOf(t, "210987654321"), "arn:aws:iam::"+awstest.Account+":user/shop"),
		"a trap":            at(idOf(t, awsCanaries[0]), "arn:aws:iam::"+awsCanaries[0]+":user/shop"),
		"a role's":          at(id, "arn:aws:sts::"+awstest.Account+":assumed-role/deployer/ci"),
		"temporary, unseen": at("ASIA"+id[4:], ""),
		"no id":             at("", "arn:aws:iam::"+awstest.Account+":user/shop"),
		"nonsense":          at(id, "arn:aws:iam::"+awstest.Account+":group/shop"),
		"Stanch's own":      own,
	} {
		t.Run(name, func(t *testing.T) {
			_, err := p.Revoke(t.Context(), target)
			if !errors.Is(err, ErrCannotRevoke) {
				t.Errorf("revoke: %v", err)
			}
			if _, err := p.Disable(t.Context(), target); !errors.Is(err, ErrCannotDisable) {
				t.Errorf("disable: %v", err)
			}
			if _, _, err := replace(p, target, "op"); !errors.Is(err, ErrCannotIssue) {
				t.Errorf("issue: %v", err)
			}
		})
	}
	for _, action := range []string{"DeleteAccessKey", "UpdateAccessKey", "CreateAccessKey", "Put", "ListAccessKeys"} {
		if asked := w.Requests(action); len(asked) > 0 {
			t.Errorf("asked %q", asked)
		}
	}
}

// statements are those of the policy that ends sessions, by the leaked key's id.
func statements(t *testing.T, document string) map[string]time.Time {
	t.Helper()
	plain, err := url.PathUnescape(document)
	var doc denyDocument
	if err == nil {
		err = json.Unmarshal([]byte(plain), &doc)
	}
	if err != nil || doc.Version != "2012-10-17" {
		t.Fatalf("%s: %v", plain, err)
	}
	all := map[string]time.Time{}
	for _, s := range doc.Statement {
		all[s.Sid] = s.at()
	}
	return all
}

// A temporary key cannot be deleted: the sessions of its role until then are denied
// everything, and those that come after are not.
func TestAWSSessions(t *testing.T) {
	w := newAWSWorld(t)
	now := time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)
	p := w.providers(Config{})
	driver := p.revokers[driverAWS].(*accessKeys)
	driver.now = func() time.Time { return now }
	w.IAM("CreateRole", "RoleName", "deployer", "AssumeRolePolicyDocument", "{}")
	session := func() Target {
		return Target{Credential: pair("ASIA"+idOf(t, awstest.Account)[4:], "x", "IQoJ"+"x"),
			Identity: map[string]string{"arn": "arn:aws:sts::" + awstest.Account + ":assumed-role/deployer/ci"}}
	}
	denied := func() map[string]time.Time {
		return statements(t, awstest.Between(w.IAM("GetRolePolicy", "RoleName", "deployer", "PolicyName", denyPolicy), "<PolicyDocument>", "</PolicyDocument>"))
	}
	first, second := session(), session()
	id := func(s Target) string { return s.Parts["id"].Expose() }
	got := repeat(t, func() (Receipt, error) { return p.Revoke(t.Context(), first) }, rules.MeansAccepted)
	if !strings.Contains(got.Evidence.Answer, "denied everything") || p.Holds(first) != "arn:aws:iam::"+awstest.Account+":role/deployer" {
		t.Errorf("%+v, holds %q", got, p.Holds(first))
	}
	now = now.Add(time.Hour)
	repeat(t, func() (Receipt, error) { return p.Disable(t.Context(), first) }, rules.MeansAccepted)
	if all := denied(); len(all) != 1 || !all[id(first)].Equal(now.Add(-time.Hour)) {
		t.Errorf("denied %v: done again it moved", all)
	}
	repeat(t, func() (Receipt, error) { return p.Disable(t.Context(), second) }, rules.MeansAccepted)
	repeat(t, func() (Receipt, error) { return p.Enable(t.Context(), second) }, rules.MeansAccepted, rules.MeansAccepted)
	if all := denied(); len(all) != 1 || all[id(first)].IsZero() {
		t.Errorf("denied %v: want the first one still", all)
	}
	now = now.Add(longestSession)
	repeat(t, func() (Receipt, error) { return p.Revoke(t.Context(), second) }, rules.MeansAccepted)
	if all := denied(); len(all) != 1 || !all[id(second)].Equal(now) {
		t.Errorf("denied %v: want the first one's to be over", all)
	}
	if _, _, err := replace(p, first, "op"); !errors.Is(err, ErrCannotIssue) || !strings.Contains(err.Error(), "temporary") {
		t.Errorf("%v", err)
	}
	w.IAM("PutRolePolicy", "RoleName", "deployer", "PolicyName", denyPolicy, "PolicyDocument", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*"}]}`)
	if _, err := p.Revoke(t.Context(), first); err == nil || !strings.Contains(err.Error(), "look who changed it") {
		t.Errorf("somebody's own policy was written over: %v", err)
	}
	t.Run("of a role that is AWS's own", func(t *testing.T) {
		w.On("PutRolePolicy", iamError(400, awsUnmodifiable, "Cannot perform the operation on the protected role"))
		defer w.On("PutRolePolicy", nil)
		w.IAM("DeleteRolePolicy", "RoleName", "deployer", "PolicyName", denyPolicy)
		if _, err := p.Revoke(t.Context(), session()); !errors.Is(err, ErrCannotRevoke) || !strings.Contains(err.Error(), "Identity Center") {
			t.Errorf("%v", err)
		}
	})
	t.Run("proved dead", func(t *testing.T) {
		w.under(t)
		live, dies := session(), session()
		for _, s := range []Target{live, dies} {
			w.Own(id(s), awstest.STSKey{Secret: "x", Token: "IQoJ" + "x"}, s.Identity["arn"])
			ask(t, p, s.Credential, checks.Active, GradeA)
		}
		repeat(t, func() (Receipt, error) { return p.Revoke(t.Context(), dies) }, rules.MeansAccepted)
		ask(t, p, dies.Credential, checks.Active, GradeA) // the policy is too young
		now = now.Add(denySpread + time.Second)
		if v := ask(t, p, dies.Credential, checks.Inactive, GradeB); !strings.Contains(v.Evidence.Answer, denyPolicy+" of the role deployer") {
			t.Errorf("answer %q", v.Evidence.Answer)
		}
		ask(t, p, live.Credential, checks.Active, GradeA)
	})
	t.Run("of a user", func(t *testing.T) {
		w.User("human")
		mfa := Target{Credential: pair("ASIA"+idOf(t, awstest.Account)[4:], "x", "IQoJ"+"x"), Identity: map[string]string{"arn": "arn:aws:iam::" + awstest.Account + ":user/human"}}
		repeat(t, func() (Receipt, error) { return p.Disable(t.Context(), mfa) }, rules.MeansAccepted)
		document := awstest.Between(w.IAM("GetUserPolicy", "UserName", "human", "PolicyName", denyPolicy), "<PolicyDocument>", "</PolicyDocument>")
		if all := statements(t, document); !all[id(mfa)].Equal(now.Add(awsSpread)) {
			t.Errorf("denied %v", all)
		}
	})
}
