package main

import (
	"context"

	"github.com/stanch-dev/stanch/checks"
)

const aboutClouds = "clouds"

// clouds asks Google Cloud and Azure for a token of Stanch's own account.
func (d *doctor) clouds(ctx context.Context) {
	if d.astray() {
		d.note(aboutClouds, notSure)
		return
	}
	google, err := d.settings.google()
	switch {
	case err != nil:
		d.problem(aboutClouds, err.Error(), "correct GOOGLE_APPLICATION_CREDENTIALS; docs/clouds.md tells what it takes")
	case google == nil:
		d.note(aboutClouds, "neither GOOGLE_APPLICATION_CREDENTIALS nor STANCH_GCP_PROJECTS is set: Google Cloud's keys and secrets are left to people")
	default:
		d.logIn(ctx, "Google Cloud", google.Token)
	}
	azure, err := d.settings.azure()
	switch {
	case err != nil:
		d.problem(aboutClouds, err.Error(), "correct the settings; docs/clouds.md tells which there are")
	case azure == nil:
		d.note(aboutClouds, "AZURE_CLIENT_ID is not set: Azure's keys and secrets are left to people")
	default:
		d.logIn(ctx, "Azure", azure.For("https://graph.microsoft.com"))
	}
}

func (d *doctor) logIn(ctx context.Context, name string, token func(context.Context) (checks.Secret, error)) {
	ctx, cancel := context.WithTimeout(ctx, doctorPatience)
	defer cancel()
	if _, err := token(ctx); err != nil {
		d.problem(aboutClouds, err.Error(), "see that the account is there, and that "+name+" can be reached from here")
		return
	}
	d.ok(aboutClouds, "%s knows Stanch's own account", name)
}
