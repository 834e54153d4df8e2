package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/stanch-dev/stanch/app"
	"github.com/stanch-dev/stanch/app/cloud"
	"github.com/stanch-dev/stanch/app/provider"
	"github.com/stanch-dev/stanch/app/secretstore"
	"github.com/stanch-dev/stanch/checks"
)

// CloudOptions say who Stanch is at Google Cloud and Azure, in the variables that the
// clouds' own tools read, and where leaked credentials are looked for there.
type CloudOptions struct {
	GoogleFile  string   `env:"GOOGLE_APPLICATION_CREDENTIALS" help:"file of Stanch's own account at Google Cloud: a workload identity's configuration, or a service account's key; default with the next: the machine's own"`
	GCPProjects []string `env:"STANCH_GCP_PROJECTS" help:"Google Cloud projects in whose Secret Manager leaked credentials are looked for and replaced"`

	AzureTenant        string   `env:"AZURE_TENANT_ID" help:"tenant of Stanch's own account at Azure"`
	AzureClient        string   `env:"AZURE_CLIENT_ID" help:"the account's app"`
	AzureSecret        string   `env:"AZURE_CLIENT_SECRET" help:"the app's secret, or"`
	AzureTokenFile     string   `env:"AZURE_FEDERATED_TOKEN_FILE" help:"file of the token that names the workload, for federated credentials"`
	AzureAuthority     string   `env:"AZURE_AUTHORITY_HOST" help:"where the account logs in; default: Microsoft Entra of the public cloud"`
	AzureVaults        []string `env:"STANCH_AZURE_KEY_VAULTS" help:"names of the Key Vaults in which leaked credentials are looked for and replaced"`
	AzureSubscriptions []string `env:"STANCH_AZURE_SUBSCRIPTIONS" help:"ids of the subscriptions whose storage accounts' keys are verified and replaced"`
}

// google is Stanch's own account at Google Cloud, nil when none is configured.
func (s CloudOptions) google() (*cloud.Google, error) {
	if s.GoogleFile == "" && len(s.GCPProjects) == 0 {
		return nil, nil
	}
	var file []byte
	if s.GoogleFile != "" {
		var err error
		if file, err = os.ReadFile(s.GoogleFile); err != nil {
			return nil, fmt.Errorf("GOOGLE_APPLICATION_CREDENTIALS: %w", err)
		}
	}
	return cloud.NewGoogle(file)
}

// azure is Stanch's own account at Azure, nil when none is configured.
func (s CloudOptions) azure() (*cloud.Azure, error) {
	if s.AzureTenant == "" && s.AzureClient == "" && s.AzureSecret == "" && s.AzureTokenFile == "" {
		if len(s.AzureVaults) > 0 || len(s.AzureSubscriptions) > 0 {
			return nil, errors.New("STANCH_AZURE_KEY_VAULTS or STANCH_AZURE_SUBSCRIPTIONS is set: set AZURE_TENANT_ID, AZURE_CLIENT_ID, and AZURE_FEDERATED_TOKEN_FILE or AZURE_CLIENT_SECRET too")
		}
		return nil, nil
	}
	return cloud.NewAzure(cloud.AzureConfig{
		Tenant: s.AzureTenant, Client: s.AzureClient, Secret: checks.NewSecret(s.AzureSecret), TokenFile: s.AzureTokenFile, Authority: s.AzureAuthority,
	})
}

// accounts has providers ask the clouds as Stanch's own accounts.
func (s CloudOptions) accounts(cfg *provider.Config) (err error) {
	if cfg.Google, err = s.google(); err != nil {
		return err
	}
	if cfg.Azure, err = s.azure(); err != nil {
		return err
	}
	for _, id := range s.AzureSubscriptions {
		if !cloud.IsAzureID(id) {
			return fmt.Errorf("STANCH_AZURE_SUBSCRIPTIONS: %q is not the id of a subscription", id)
		}
	}
	cfg.AzureSubscriptions = s.AzureSubscriptions
	return nil
}

// addClouds adds the clouds' secret stores. Where the operator names a base URL for a
// cloud, its store is there too.
func (s CloudOptions) addClouds(cfg *app.Config) error {
	key := cfg.Keys.Fingerprint
	google, azure := strings.TrimRight(cfg.Providers.BaseURLs["gcp"], "/"), strings.TrimRight(cfg.Providers.BaseURLs["azure"], "/")
	if azure != "" {
		azure += "/{vault}"
	}
	if len(s.GCPProjects) > 0 {
		store, err := secretstore.NewGCP(secretstore.GCPConfig{Account: cfg.Providers.Google, Projects: s.GCPProjects, Key: key, BaseURL: google, Logger: cfg.Logger})
		if err != nil {
			return fmt.Errorf("STANCH_GCP_PROJECTS: %w", err)
		}
		cfg.SecretStores = append(cfg.SecretStores, store)
	}
	if len(s.AzureVaults) > 0 {
		store, err := secretstore.NewAzure(secretstore.AzureConfig{Account: cfg.Providers.Azure, Vaults: s.AzureVaults, Key: key, BaseURL: azure, Logger: cfg.Logger})
		if err != nil {
			return fmt.Errorf("STANCH_AZURE_KEY_VAULTS: %w", err)
		}
		cfg.SecretStores = append(cfg.SecretStores, store)
	}
	if s.AzureSecret != "" {
		cfg.Own = append(cfg.Own, checks.NewSecret(s.AzureSecret).Fingerprint(key))
	}
	return nil
}
