package main

import (
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stanch-dev/stanch/app/grants"
	"github.com/stanch-dev/stanch/app/provider"
	"github.com/stanch-dev/stanch/app/secretstore"
	"github.com/stanch-dev/stanch/rules"
)

// actions are those of statements, one or many.
func actions(t *testing.T, document string, into map[string]bool) {
	t.Helper()
	var s struct{ Action json.RawMessage }
	if err := json.Unmarshal([]byte(document), &s); err != nil {
		t.Fatalf("%s: %v", document, err)
	}
	for _, m := range regexp.MustCompile(`"([a-z]+:[A-Za-z]+)"`).FindAllStringSubmatch(string(s.Action), -1) {
		into[m[1]] = true
	}
}

// docs/aws.md prints the policies that the code has.
func TestAWSDocumentHasThePolicies(t *testing.T) {
	told, needed := map[string]bool{}, map[string]bool{}
	for _, block := range regexp.MustCompile("(?s)```json\n(.*?)```").FindAllStringSubmatch(documents(t)["aws.md"], -1) {
		var policy struct{ Statement []json.RawMessage }
		if err := json.Unmarshal([]byte(block[1]), &policy); err != nil {
			t.Fatal(err)
		}
		for _, s := range policy.Statement {
			actions(t, string(s), told)
		}
	}
	for _, p := range []grants.Policy{provider.AWSPolicy("*"), secretstore.AWSPolicy("*", "*")} {
		for _, line := range p.Lines {
			actions(t, line.Grant, needed)
		}
	}
	if diff := cmp.Diff(slices.Sorted(maps.Keys(needed)), slices.Sorted(maps.Keys(told))); diff != "" || len(needed) < 15 {
		t.Errorf("the code's policies and the document's (-code +document):\n%s", diff)
	}
}

func TestAWSSettings(t *testing.T) {
	catalogue, err := rules.Catalogue()
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		s     AtAWS
		fault string
		keys  bool
	}{
		{AtAWS{}, "", false},
		{AtAWS{AWS: "off", AWSSecrets: []string{"eu-west-1"}}, "", false},
		{AtAWS{AWS: "on", AWSRole: "stanch"}, "", true},
		{AtAWS{AWS: "yes"}, "on or off", false},
		{AtAWS{AWSRole: "stanch"}, "STANCH_AWS is not on", false},
	} {
		s := settings{AtAWS: test.s, Reach: Reach{GitHubURL: "https://github.com"}}
		cfg, err := s.providers(catalogue, nil)
		if (err != nil) != (test.fault != "") || err != nil && !strings.Contains(err.Error(), test.fault) {
			t.Errorf("%+v: %v, want %q", test.s, err, test.fault)
		}
		if (cfg.AWS != nil) != test.keys {
			t.Errorf("%+v: acts on access keys: %t", test.s, cfg.AWS != nil)
		}
	}
}

func TestDoctorSaysWhoItIsAtAWS(t *testing.T) {
	sts := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/xml")
		if !strings.Contains(r.Header.Get("Authorization"), "Credential=AKIA"+"STANCH/") {
			w.WriteHeader(403)
			io.WriteString(w, "<ErrorResponse><Error><Code>InvalidClientTokenId</Code><Message>no</Message></Error></ErrorResponse>")
			return
		}
		io.WriteString(w, "<GetCallerIdentityResponse><GetCallerIdentityResult><Arn>arn:aws:iam::123456789012:user/stanch</Arn><UserId>A</UserId><Account>123456789012</Account></GetCallerIdentityResult></GetCallerIdentityResponse>")
	}))
	defer sts.Close()
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": "AKIA" + "STANCH", "AWS_SECRET_ACCESS_KEY": "geheim", "AWS_EC2_METADATA_DISABLED": "true", "AWS_PROFILE": "",
		"AWS_CONFIG_FILE": "/dev/null", "AWS_SHARED_CREDENTIALS_FILE": "/dev/null", "AWS_ENDPOINT_URL": "",
	} {
		t.Setenv(name, value)
	}
	environment := map[string]string{"STANCH_AWS": "on", "STANCH_PROVIDER_URLS": "aws:" + sts.URL, "STANCH_AWS_SECRETS": "eu-west-1"}
	_, r, text := diagnose(t, environment)
	if len(r.say(aboutAWS, "Stanch is arn:aws:iam::123456789012:user/stanch there")) != 1 || len(r.say(aboutAWS, "searched in eu-west-1")) != 1 {
		t.Errorf("%s", text)
	}
	t.Setenv("AWS_ACCESS_KEY_ID", "AKIA"+"OTHER")
	if _, r, text = diagnose(t, environment); len(r.say(aboutAWS, "does not take Stanch's own credentials")) != 1 || strings.Contains(text, "geheim") {
		t.Errorf("%s", text)
	}
	environment = map[string]string{"STANCH_AWS_ROLE": "stanch"}
	if _, r, text = diagnose(t, environment); len(r.say(aboutVerify, "STANCH_AWS is not on")) != 1 {
		t.Errorf("%s", text)
	}
}
