package main

import (
	"context"
	"strings"
)

const aboutAWS = "aws"

// aws asks AWS who Stanch is there. No secret and no key is read.
func (d *doctor) aws(ctx context.Context) {
	cfg, err := d.settings.providers(d.catalogue, nil)
	if err != nil {
		return // another check says so
	}
	own, err := d.settings.ownAWS(cfg.Proxy)
	switch {
	case err != nil:
		d.problem(aboutAWS, err.Error(), "docs/aws.md explains the settings")
		return
	case own == nil:
		d.note(aboutAWS, "STANCH_AWS is not on: leaked access keys are verified, and left to a person")
		return
	}
	ctx, cancel := context.WithTimeout(ctx, doctorPatience)
	defer cancel()
	who, err := own.Who(ctx)
	if err != nil {
		d.problem(aboutAWS, err.Error(), "give Stanch credentials there, as docs/aws.md says")
		return
	}
	d.ok(aboutAWS, "Stanch is %s there", who.ARN)
	if len(d.settings.AWSSecrets) > 0 {
		d.ok(aboutAWS, "Secrets Manager is searched in %s", strings.Join(d.settings.AWSSecrets, ", "))
	}
}
