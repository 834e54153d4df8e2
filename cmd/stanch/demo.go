package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/stanch-dev/stanch/app"
	"github.com/stanch-dev/stanch/app/github"
	"github.com/stanch-dev/stanch/app/github/githubtest"
	"github.com/stanch-dev/stanch/app/incident"
	"github.com/stanch-dev/stanch/app/provider"
	"github.com/stanch-dev/stanch/app/store"
	"github.com/stanch-dev/stanch/app/web"
	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/rules"
)

const (
	demoOwner, demoName = "acme", "shop"
	demoRepository      = demoOwner + "/" + demoName
	demoBot             = "acme-deploy-bot" // whose tokens leak
	demoPerson          = "dana"            // who looks at the dashboard
	demoBranch          = "ship-it"
	demoFile            = "deploy/production.env"
	// demoTimeout bounds the story that the demo tells by itself.
	demoTimeout = 60 * time.Second
)

// A demo is everything on this machine: a simulated GitHub with real git, the
// real App with its database, and a secret store.
type demo struct {
	dir      string
	github   *githubtest.Server
	keeper   *keeper
	app      *app.App
	memory   *store.Store
	listener net.Listener
	timeline *timeline
	pull     int
	tokens   []string // the one that the demo leaks, and the one for the reader
	log      *slog.Logger
}

type demoOptions struct {
	once   bool
	addr   string
	vault  bool
	format string
}

const demoUsage = `Usage: stanch demo [--once] [--addr HOST:PORT] [--vault] [--format text|json]

Runs everything on this machine, without an account and without a network: a
simulated GitHub with real git, the real server, a database and a secret store.
A key is pushed, found, verified, replaced, and proved dead.

Exit status: 0 every stage was passed, 1 one was not, 2 it could not be run.
`

func runDemoCommand(ctx context.Context, env *environment, args []string) int {
	o, err := demoFlags(env, args)
	if err != nil {
		return env.exit(err)
	}
	complete, err := runDemo(ctx, o, env.stdout, env.stderr)
	switch {
	case err != nil:
		return env.fail(err)
	case !complete:
		fmt.Fprintln(env.stderr, "stanch: not every stage was passed")
		return exitFound
	}
	return exitDone
}

func demoFlags(env *environment, args []string) (demoOptions, error) {
	var o demoOptions
	f := flag.NewFlagSet("demo", flag.ContinueOnError)
	f.BoolVar(&o.once, "once", false, "tell the story once and exit")
	f.StringVar(&o.addr, "addr", "127.0.0.1:0", "`HOST:PORT` of the simulated GitHub: its pages, API and repositories")
	f.BoolVar(&o.vault, "vault", false, "keep the credentials in a real OpenBao or Vault server, started from the bao or vault in PATH")
	f.StringVar(&o.format, "format", "text", "`FORMAT`: text, or json for one object a line")
	rest, err := env.parseFlags(f, demoUsage, args)
	switch {
	case err != nil:
		return o, err
	case len(rest) > 0:
		return o, fmt.Errorf("demo takes no arguments, and was given %q", rest[0])
	case o.format != "text" && o.format != "json":
		return o, fmt.Errorf("--format is %q: it must be text or json", o.format)
	}
	return o, nil
}

// runDemo tells the story, and then, unless it is to be told once, waits for the
// reader's own pushes until ctx ends. It reports whether every stage was passed.
func runDemo(ctx context.Context, o demoOptions, stdout, stderr io.Writer) (complete bool, err error) {
	dir, err := os.MkdirTemp("", "stanch-demo-")
	if err != nil {
		return false, err
	}
	defer os.RemoveAll(dir)
	if _, err := exec.LookPath("git"); err != nil {
		return false, errors.New("git is not in PATH: install it, the demo pushes with it")
	}
	d := &demo{dir: dir, log: slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: slog.LevelError}))}
	if d.keeper, err = openKeeper(ctx, o.vault, dir); err != nil {
		return false, err
	}
	defer d.keeper.stop()
	if err := d.start(ctx, o, stdout); err != nil {
		return false, err
	}
	defer d.github.Close()
	defer d.memory.Close()

	served := make(chan error, 1)
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	go func() { served <- serveApp(ctx, d.app, d.listener, d.log) }()
	if complete, err = d.tell(ctx); err == nil && !o.once {
		d.timeline.invite(d)
		select {
		case err = <-served:
			return complete, err
		case <-ctx.Done():
		}
	}
	stop()
	return complete, errors.Join(err, <-served)
}

// start puts the parts together. Nothing has been pushed yet when it returns.
func (d *demo) start(ctx context.Context, o demoOptions, stdout io.Writer) (err error) {
	if d.github, err = githubtest.New(githubtest.Config{Dir: filepath.Join(d.dir, "github"), Addr: o.addr, AnonymousFetch: true, Logger: d.log}); err != nil {
		return err
	}
	d.github.Start()
	if d.listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		return err
	}
	registered, err := d.github.CreateApp("Stanch")
	if err != nil {
		return err
	}
	d.github.CreateUser(demoBot)
	d.github.CreateOrganization(demoOwner)
	if _, err := d.github.CreateRepository(demoOwner, demoName, githubtest.RepoOptions{Private: true}); err != nil {
		return err
	}
	for login, permission := range map[string]string{demoBot: "write", demoPerson: "admin"} {
		if err := d.github.SetPermission(demoRepository, login, permission); err != nil {
			return err
		}
	}
	d.github.BrowseAs(demoPerson)
	d.github.SetCallback(registered.ID, d.dashboardURL()+web.CallbackPath)
	d.timeline = newTimeline(stdout, o.format)
	if err := d.keepTokens(ctx); err != nil {
		return err
	}
	if err := d.newApp(ctx, registered); err != nil {
		return err
	}
	// The history that was there before Stanch was installed.
	if err := d.seed(ctx); err != nil {
		return err
	}
	if _, err := d.github.Install(registered.ID, demoOwner); err != nil {
		return err
	}
	if err := d.github.SetWebhook(registered.ID, d.webhookURL(), registered.WebhookSecret); err != nil {
		return err
	}
	d.github.OnPush(d.timeline.pushed)
	d.timeline.ready(d)
	return nil
}

func (d *demo) dashboardURL() string { return "http://" + d.listener.Addr().String() }
func (d *demo) webhookURL() string   { return d.dashboardURL() + "/webhook" }

// keepTokens issues the two live tokens of the demo and puts them into the
// secret store, where their owner would keep them.
func (d *demo) keepTokens(ctx context.Context) error {
	for _, path := range []string{"ci/deploy", "ci/release"} {
		token, err := d.github.IssueToken(demoBot, githubtest.ClassicToken)
		if err != nil {
			return err
		}
		d.tokens = append(d.tokens, token)
		if err := d.keeper.keep(ctx, path, "github_token", token); err != nil {
			return fmt.Errorf("keep a token in the secret store: %w", err)
		}
	}
	return nil
}

func (d *demo) newApp(ctx context.Context, registered githubtest.App) error {
	catalogue, err := rules.Catalogue()
	if err != nil {
		return err
	}
	cfg := app.Config{
		Catalogue: catalogue, Keys: d.keeper.keys, Logger: d.log, Observe: d.timeline.observe,
		Policy:         app.Policy{Remedy: app.Remedy{Remediation: app.Automatic, Order: incident.ReplaceFirst, WithoutReplacement: app.Ask}, AutomaticPerHour: 1000},
		GitHub:         github.Config{AppID: registered.ID, PrivateKey: []byte(registered.PrivateKeyPEM), URL: d.github.URL(), Logger: d.log},
		WebhookSecrets: []string{registered.WebhookSecret},
		SecretStores:   []app.SecretStore{d.keeper.secrets},
		Dashboard:      &app.Dashboard{URL: d.dashboardURL(), ClientID: registered.ClientID, ClientSecret: checks.NewSecret(registered.ClientSecret)},
		Scratch:        filepath.Join(d.dir, "scratch"),
		Providers: provider.Config{
			BaseURLs:  map[string]string{"github": d.github.APIURL()},
			BrokerURL: d.github.URL() + "/broker", BrokerToken: checks.NewSecret(d.github.BrokerToken()),
			Logger: d.log,
		},
	}
	if d.memory, err = store.Open(ctx, "sqlite:"+filepath.Join(d.dir, "stanch.db"), cfg.Keys, d.log); err != nil {
		return err
	}
	d.app, err = app.New(cfg, d.memory)
	return err
}

// tell pushes the leak and waits until its check run is done with it.
func (d *demo) tell(ctx context.Context) (complete bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, demoTimeout)
	defer cancel()
	if d.pull, err = d.github.OpenPull(demoRepository, demoBranch, "main", "Ship it"); err != nil {
		return false, err
	}
	if err := d.settle(ctx); err != nil {
		return false, err
	}
	d.timeline.start()
	head, err := d.leak(ctx)
	if err != nil {
		return false, err
	}
	complete = d.timeline.wait(ctx, head, leakStages)
	d.timeline.show(d, head)
	return complete, nil
}

// settle waits until the pull request as it was opened is checked, so that its
// story and the leak's do not mix.
func (d *demo) settle(ctx context.Context) error {
	for _, p := range d.github.Pulls(demoRepository) {
		if !d.timeline.wait(ctx, p.HeadSHA, []app.Stage{app.Checked}) {
			return fmt.Errorf("the pull request was not checked within %s", demoTimeout)
		}
	}
	return nil
}

// seed makes the repository's first commits, by git.
func (d *demo) seed(ctx context.Context) error {
	work := filepath.Join(d.dir, "work")
	if err := os.MkdirAll(work, 0o700); err != nil {
		return err
	}
	g := demoGit{ctx: ctx, dir: work}
	g.run("init", "--quiet", "--initial-branch=main")
	g.write("README.md", "# Shop\n\nSells things.\n")
	g.commit("First commit")
	g.run("push", "--quiet", d.github.CloneURL(demoRepository), "main")
	g.run("checkout", "--quiet", "-b", demoBranch)
	g.write("deploy/deploy.sh", "#!/bin/sh\nset -eu\n. deploy/production.env\n./release\n")
	g.commit("Deploy by script")
	g.run("push", "--quiet", d.github.CloneURL(demoRepository), demoBranch)
	return g.err
}

// leak commits a live token and pushes it.
func (d *demo) leak(ctx context.Context) (head string, err error) {
	g := demoGit{ctx: ctx, dir: filepath.Join(d.dir, "work")}
	g.write(demoFile, "# Settings of the production deployment\nREGION=eu-central-1\nGITHUB_TOKEN="+d.tokens[0]+"\n")
	g.commit("Add settings for production")
	g.run("push", "--quiet", d.github.CloneURL(demoRepository), demoBranch)
	return g.output("rev-parse", "HEAD"), g.err
}

// timelineJSON is one line of --format json.
func timelineJSON(w io.Writer, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // plain structs of strings and numbers
	}
	fmt.Fprintln(w, string(b))
}
