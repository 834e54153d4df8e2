package main

import (
	"net/url"
	"slices"
	"strings"

	"github.com/stanch-dev/stanch/app"
	"github.com/stanch-dev/stanch/app/provider"
	"github.com/stanch-dev/stanch/checks"
)

// AtDatabases are Stanch's own logins at the operator's databases.
type AtDatabases struct {
	AdminURLs string `env:"STANCH_ADMIN_URLS" help:"logins of Stanch's own at databases of STANCH_VERIFY_HOSTS, with which leaked passwords are replaced there: postgres://USER:PASSWORD@HOST:PORT/DATABASE, mysql://…, redis://…, mongodb://…, separated by commas or lines"`
}

func (d AtDatabases) adminURLs() []string {
	return strings.FieldsFunc(d.AdminURLs, func(r rune) bool { return strings.ContainsRune(", \t\r\n", r) })
}

// administers reports whether there is a login at a server of one of the protocols.
func (d AtDatabases) administers(schemes ...string) bool {
	return slices.ContainsFunc(d.adminURLs(), func(u string) bool {
		scheme, _, _ := strings.Cut(u, "://")
		return slices.Contains(schemes, scheme)
	})
}

func (d AtDatabases) administrate(cfg *provider.Config) {
	for _, u := range d.adminURLs() {
		cfg.AdminURLs = append(cfg.AdminURLs, checks.NewSecret(u))
	}
}

// addOwn names the passwords by which Stanch itself lives. A URL that is none is told of
// by whoever connects.
func (d AtDatabases) addOwn(cfg *app.Config) {
	for _, text := range d.adminURLs() {
		u, err := url.Parse(text)
		if err != nil {
			continue
		}
		if password, _ := u.User.Password(); password != "" {
			cfg.Own = append(cfg.Own, checks.NewSecret(password).Fingerprint(cfg.Keys.Fingerprint))
		}
	}
}
