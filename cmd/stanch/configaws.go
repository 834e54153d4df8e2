package main

import (
	"errors"
	"fmt"
	"net/url"

	"github.com/stanch-dev/stanch/app"
	"github.com/stanch-dev/stanch/app/ownaws"
	"github.com/stanch-dev/stanch/app/provider"
	"github.com/stanch-dev/stanch/app/secretstore"
)

// An AtAWS is the part of the settings that says what Stanch does at AWS by itself. Who
// it is there the variables of the AWS SDK say, or its files, or the machine's role.
type AtAWS struct {
	AWS        string   `env:"STANCH_AWS, default=off" help:"on: leaked AWS access keys are disabled, replaced and deleted with Stanch's own AWS credentials, those that the AWS SDK finds (AWS_ACCESS_KEY_ID, AWS_PROFILE, a role,…)"`
	AWSRole    string   `env:"STANCH_AWS_ROLE" help:"name of the role that Stanch assumes in AWS accounts other than its own; default: it leaves their keys alone"`
	AWSSecrets []string `env:"STANCH_AWS_SECRETS" help:"regions of AWS Secrets Manager in which leaked credentials are looked for and replaced: eu-west-1,…"`
}

// ownAWS is Stanch's own identity at AWS, nil when it is to do nothing there.
func (s settings) ownAWS(proxy *url.URL) (*ownaws.Caller, error) {
	switch {
	case s.AWS != "on" && s.AWS != "off" && s.AWS != "":
		return nil, fmt.Errorf("STANCH_AWS is %q: it must be on or off", s.AWS)
	case s.AWS != "on" && s.AWSRole != "":
		return nil, errors.New("STANCH_AWS_ROLE is set and STANCH_AWS is not on: set both, or none")
	case s.AWS != "on" && len(s.AWSSecrets) == 0:
		return nil, nil
	}
	return ownaws.New(ownaws.Config{Role: s.AWSRole, Endpoint: s.ProviderURLs["aws"], Proxy: proxy}), nil
}

// awsKeys says whether access keys are killed and replaced.
func (s settings) awsKeys(cfg *provider.Config) error {
	own, err := s.ownAWS(cfg.Proxy)
	if s.AWS == "on" {
		cfg.AWS = own
	}
	return err
}

// addAWSSecrets adds the store in AWS Secrets Manager.
func (s settings) addAWSSecrets(cfg *app.Config) error {
	if len(s.AWSSecrets) == 0 {
		return nil
	}
	own, err := s.ownAWS(cfg.Providers.Proxy)
	if err != nil {
		return err
	}
	a, err := secretstore.NewAWS(secretstore.AWSConfig{Own: own, Regions: s.AWSSecrets, Key: cfg.Keys.Fingerprint, Logger: cfg.Logger})
	if err != nil {
		return fmt.Errorf("STANCH_AWS_SECRETS: %w", err)
	}
	cfg.SecretStores = append(cfg.SecretStores, a)
	return nil
}
