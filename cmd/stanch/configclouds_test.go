package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stanch-dev/stanch/app/cloud/cloudtest"
	"github.com/stanch-dev/stanch/app/grants"
	"github.com/stanch-dev/stanch/app/provider"
	"github.com/stanch-dev/stanch/app/secretstore"
)

// Settings lead to accounts that the clouds know.
func TestDoctorAsksTheClouds(t *testing.T) {
	google, keyFile := cloudtest.Google(t)
	azure, account := cloudtest.Azure(t)
	file := filepath.Join(t.TempDir(), "stanch.json")
	if err := os.WriteFile(file, keyFile, 0o600); err != nil {
		t.Fatal(err)
	}
	environment := map[string]string{
		"GOOGLE_APPLICATION_CREDENTIALS": file, "STANCH_GCP_PROJECTS": "shop,crm",
		"AZURE_TENANT_ID": cloudtest.AzureTenant, "AZURE_CLIENT_ID": cloudtest.AzureClient, "AZURE_CLIENT_SECRET": account.Secret,
		"AZURE_AUTHORITY_HOST": azure.URL, "STANCH_AZURE_KEY_VAULTS": "shop-vault",
	}
	_, r, text := diagnose(t, environment)
	if len(r.say(aboutClouds, "knows Stanch's own account")) != 2 || strings.Contains(text, account.Secret) {
		t.Errorf("%+v", r.say(aboutClouds, ""))
	}
	environment["AZURE_CLIENT_SECRET"] = "another"
	google.Forget()
	if err := os.WriteFile(file, []byte(`{"type":"service_account"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	_, r, _ = diagnose(t, environment)
	if got := r.say(aboutClouds, ""); len(got) != 2 || got[0].Status != statusProblem || got[1].Status != statusProblem {
		t.Errorf("%+v; want two problems", got)
	}
}

// docs/clouds.md lists what Stanch's accounts must be granted.
func TestCloudsDocumentsTheirGrants(t *testing.T) {
	text, err := os.ReadFile("../../docs/clouds.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, policy := range []grants.Policy{
		provider.GoogleKeyPolicy(), provider.GoogleAPIKeyPolicy(), provider.AzureAppPolicy(), provider.AzureStoragePolicy(),
		secretstore.GCPPolicy(), secretstore.AzurePolicy(),
	} {
		for _, line := range policy.Lines {
			if !strings.Contains(string(text), line.Grant) {
				t.Errorf("%s: %s is not in docs/clouds.md", policy.Name, line.Grant)
			}
		}
	}
	for _, v := range variables[CloudOptions]() {
		if !strings.Contains(string(text), "`"+v.name+"`") {
			t.Errorf("%s is not in docs/clouds.md", v.name)
		}
	}
}
