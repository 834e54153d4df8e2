package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"strings"

	"github.com/stanch-dev/stanch/app"
	"github.com/stanch-dev/stanch/app/secretstore"
	"github.com/stanch-dev/stanch/app/store"
	"github.com/stanch-dev/stanch/checks/report"
)

// The subjects of diagnoses.
const (
	aboutSettings = "settings"
	aboutPolicy   = "policy"
	aboutDatabase = "database"
	aboutGitHub   = "github"
	aboutVault    = "vault"
	aboutStore    = "secret store"
	aboutBroker   = "broker"
	aboutPages    = "dashboard"
	aboutAPI      = "api"
	aboutVerify   = "verification"
)

// readSettings reads as many of the settings as can be read, and says of each whether it
// is set. Values are not told: many are secret, and URLs may hold passwords.
func (d *doctor) readSettings() {
	values := map[string]string{}
	d.missing = map[string]bool{}
	var unset int
	for _, v := range variables[settings]() {
		value, err := lookup(d.getenv, v.name)
		required := strings.Contains(v.fallback, "required")
		values[v.name] = "" // counts as given, so that one that is missing does not hide the others
		d.missing[v.name] = true
		switch {
		case err != nil:
			d.problem(aboutSettings, err.Error(), "give "+v.name+" a value, or the path of a file that this user can read in "+v.name+"_FILE")
		case value == "" && required:
			d.problem(aboutSettings, v.name+" is missing: "+v.help, "set "+v.name+" or "+v.name+"_FILE; “stanch serve --help” lists the settings")
		case value == "":
			delete(values, v.name)
			delete(d.missing, v.name)
			unset++
		case d.unreadable(v.name, value):
			d.problem(aboutSettings, v.name+" is not of its form: "+v.help, "correct it; “stanch serve --help” shows the forms")
		default:
			values[v.name] = value
			delete(d.missing, v.name)
			d.ok(aboutSettings, "%s is set%s", v.name, fromFile(d.getenv, v.name))
		}
	}
	if err := fillFrom(context.Background(), values, &d.settings); err != nil {
		d.problem(aboutSettings, "the settings cannot be read together", "look at “stanch serve --help”")
	}
	if slices.Contains(d.settings.WebhookSecrets, "") {
		d.problem(aboutSettings, "one of STANCH_GITHUB_WEBHOOK_SECRETS is empty: anybody could sign with it", "take out the comma that is too much")
	}
	var level slog.Level
	if d.settings.LogLevel != "" && level.UnmarshalText([]byte(d.settings.LogLevel)) != nil {
		d.problem(aboutSettings, "STANCH_LOG_LEVEL is not of its form", "set it to debug, info, warn or error")
	}
	d.note(aboutSettings, "%s at the default; “stanch serve --help” lists them", report.Count(unset, "setting"))
}

// unreadable says whether a value is not of its variable's form. The error would repeat it.
func (d *doctor) unreadable(name, value string) bool {
	alone := map[string]string{}
	for _, v := range variables[settings]() {
		if strings.Contains(v.fallback, "required") {
			alone[v.name] = ""
		}
	}
	alone[name] = value
	return fillFrom(context.Background(), alone, new(settings)) != nil
}

func fromFile(getenv func(string) string, name string) string {
	if getenv(name+"_FILE") != "" {
		return ", from the file of " + name + "_FILE"
	}
	return ""
}

func (d *doctor) policy() {
	if d.settings.Policy == "" {
		d.note(aboutPolicy, "STANCH_POLICY is not set: Stanch reports, verifies, and asks before it acts")
		return
	}
	policy, err := app.LoadPolicy(d.settings.Policy, d.catalogue)
	if err != nil {
		d.problem(aboutPolicy, err.Error(), "correct the file: “stanch policy check” tells more, docs/policy.md explains the settings")
		return
	}
	d.ok(aboutPolicy, "%s parses; remediation is %s", d.settings.Policy, policy.Remediation)
}

// database looks at the database and at its key, and makes neither.
func (d *doctor) database(ctx context.Context) {
	database, err := store.ParseURL(d.settings.DatabaseURL)
	if err != nil {
		d.problem(aboutDatabase, err.Error(), "correct STANCH_DATABASE_URL")
		return
	}
	if d.settings.Key == "" && database.File() != "" {
		_, noKey := os.Stat(keyFile(database))
		_, noDatabase := os.Stat(database.File())
		switch {
		case !errors.Is(noKey, fs.ErrNotExist):
		case noDatabase == nil:
			d.problem(aboutDatabase, "the master key of the database is not there: neither STANCH_KEY nor "+keyFile(database), "restore the key that belongs to the database: without it what it holds cannot be used")
			return
		default:
			if _, err := store.Inspect(ctx, d.settings.DatabaseURL, store.Keys{}); err != nil {
				d.problem(aboutDatabase, err.Error(), "make the folder, or correct STANCH_DATABASE_URL")
				return
			}
			d.ok(aboutDatabase, "%s and its key are made at the first start", database)
			return
		}
	}
	keys, err := d.settings.keys(database)
	if err != nil {
		d.problem(aboutDatabase, err.Error(), "correct STANCH_KEY, or the key file")
		return
	}
	state, err := store.Inspect(ctx, d.settings.DatabaseURL, keys)
	switch {
	case err != nil:
		d.problem(aboutDatabase, err.Error(), "correct STANCH_DATABASE_URL or STANCH_KEY, or restore the database; who runs the server must be able to read it")
	case !state.Exists:
		d.ok(aboutDatabase, "%s is made at the first start", made(database))
	case state.Version < state.Known:
		d.ok(aboutDatabase, "%s opens, and the key fits; its tables are of version %d, which the next start brings to %d", database, state.Version, state.Known)
	default:
		d.ok(aboutDatabase, "%s opens, and the key fits; its tables are of version %d", database, state.Version)
	}
}

// made is what the first start makes: a file, or the tables that a server is to keep.
func made(database store.Database) string {
	if database.File() == "" {
		return fmt.Sprintf("%s answers; what Stanch keeps there", database)
	}
	return database.String()
}

// storeFile looks at the embedded secret store.
func (d *doctor) storeFile() {
	path := d.settings.StoreFile
	if path == "" {
		d.note(aboutStore, "STANCH_STORE_FILE is not set: there is no embedded secret store")
		return
	}
	_, noStore := os.Stat(path)
	_, noKey := os.Stat(path + ".key")
	if errors.Is(noStore, fs.ErrNotExist) && errors.Is(noKey, fs.ErrNotExist) {
		d.note(aboutStore, "%s is not there yet: “stanch store put” makes it", path)
		return
	}
	file, err := secretstore.OpenFile(path, path+".key", make([]byte, 32)) // nothing is looked for
	if err != nil {
		d.problem(aboutStore, err.Error(), "correct STANCH_STORE_FILE, or restore the file and its key")
		return
	}
	paths, err := file.Paths()
	if err != nil {
		d.problem(aboutStore, err.Error(), "restore the file and its key")
		return
	}
	d.ok(aboutStore, "%s opens, and holds %s", path, report.Count(len(paths), "secret"))
}

func (d *doctor) broker() {
	switch err := d.settings.checkBroker(); {
	case err != nil:
		d.problem(aboutBroker, err.Error(), "correct STANCH_BROKER_URL and STANCH_BROKER_TOKEN")
	case d.settings.BrokerURL == "":
		d.note(aboutBroker, "STANCH_BROKER_URL is not set: what has no interface for it is not issued anew")
	default:
		d.ok(aboutBroker, "it is configured; it is not asked, for it would issue something")
	}
}

// pages looks at what people and programs can call.
func (d *doctor) pages() {
	switch dashboard, err := d.settings.dashboard(); {
	case err != nil:
		d.problem(aboutPages, err.Error(), "docs/dashboard.md tells how it is switched on")
	case dashboard == nil:
		d.note(aboutPages, "STANCH_URL is not set: the dashboard is off")
	default:
		d.ok(aboutPages, "it is at %s; the App's callback URL must be %s/sign-in/callback", dashboard.URL, dashboard.URL)
	}
	switch token, own, err := d.settings.apiTokens(); {
	case err != nil:
		d.problem(aboutAPI, err.Error(), "see docs/incidents.md")
	case token.Len() == 0 && len(own) == 0:
		d.note(aboutAPI, "neither STANCH_API_TOKEN nor STANCH_API_TOKENS is set: there is no API")
	default:
		d.ok(aboutAPI, "it is on")
	}
}

// inSettings names a need as GitHub's settings do.
func inSettings(permission, level, event string) string {
	if event != "" {
		return fmt.Sprintf("the event %q", strings.ReplaceAll(event, "_", " "))
	}
	return fmt.Sprintf("the permission %q (%s)", strings.ReplaceAll(permission, "_", " "), level)
}
