package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/stanch-dev/stanch/app"
	"github.com/stanch-dev/stanch/app/secretstore"
)

const (
	// GitHub gives a delivery 10 seconds (30 on Enterprise Server); a client
	// that is slower than that is not GitHub.
	serverReadTimeout  = 30 * time.Second
	serverWriteTimeout = 30 * time.Second
	serverIdleTimeout  = 2 * time.Minute
	// stopTimeout is how long running jobs may finish when the server is told to
	// stop. What does not finish runs again at the next start.
	stopTimeout = 20 * time.Second
	// What GitHub did not tell is looked for this often. A delivery that failed can
	// be had again for three days; refs that moved unseen cost a request for each
	// repository.
	sweepDeliveries = 10 * time.Minute
	sweepRefs       = time.Hour
	// Providers are asked again by the minute; how long each incident waits for that
	// is package app's to say.
	sweepVerdicts = time.Minute
	// What is rotated from time to time is read from its store this often, which is in
	// time for the shortest age that a policy can name, an hour.
	sweepSchedule = 10 * time.Minute
)

const serveUsage = `Usage: stanch serve

Runs the GitHub App: takes its webhooks, scans what is pushed, reports on check
runs, and, as far as the policy allows, replaces and kills leaked credentials.
It is configured by environment variables. Each of them can be given as NAME_FILE
instead, the path of a file with the value; do that with secrets.

Paths: POST /webhook; with STANCH_API_TOKEN the API at /api/v1 (POST import and
remediations, GET incidents, …); GET /healthz, /readyz, /metrics; and the dashboard,
whose callback URL in the App's settings is STANCH_URL/sign-in/callback.

`

// onStep is told how remediations go. It is for tests that kill the process meanwhile.
var onStep func(app.Progress)

func runServe(ctx context.Context, env *environment, args []string) int {
	var usage strings.Builder
	usage.WriteString(serveUsage)
	printVariables(&usage)
	rest, err := env.parseFlags(flag.NewFlagSet("serve", flag.ContinueOnError), usage.String(), args)
	if err != nil {
		return env.exit(err)
	}
	if len(rest) > 0 {
		return env.fail(fmt.Errorf("serve takes no arguments, and was given %q", rest[0]))
	}
	if err := serve(ctx, env); err != nil {
		return env.fail(err)
	}
	return exitDone
}

// serve runs the App as the environment says, until ctx ends.
func serve(ctx context.Context, env *environment) error {
	s, err := loadSettings(ctx, env.getenv)
	if err != nil {
		return err
	}
	var level slog.Level
	if err := level.UnmarshalText([]byte(s.LogLevel)); err != nil {
		return fmt.Errorf("STANCH_LOG_LEVEL is %q: it must be debug, info, warn or error", s.LogLevel)
	}
	log := slog.New(slog.NewTextHandler(env.stderr, &slog.HandlerOptions{Level: level}))
	cfg, memory, err := s.config(ctx, log)
	if err != nil {
		return err
	}
	defer memory.Close()
	cfg.Step = onStep
	a, err := app.New(cfg, memory)
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", s.Addr)
	if err != nil {
		return fmt.Errorf("listen on STANCH_ADDR: %w", err)
	}
	log.Info("stanch serves", "address", l.Addr().String(), "version", version(), "github", s.GitHubURL,
		"remediation", string(cfg.Policy.Remediation), "secret_stores", len(cfg.SecretStores))
	keepAlive(ctx, cfg.SecretStores, log)
	return serveApp(ctx, a, l, log)
}

// keepAlive renews Stanch's own tokens until ctx ends.
func keepAlive(ctx context.Context, stores []app.SecretStore, log *slog.Logger) {
	for _, s := range stores {
		vault, ok := s.(*secretstore.Vault)
		if !ok {
			continue
		}
		go func() {
			if err := vault.KeepAlive(ctx); err != nil {
				log.Warn("Stanch's own Vault token will end", "error", err)
			}
		}()
	}
}

// serveApp runs an App behind a listener until ctx ends.
func serveApp(ctx context.Context, a *app.App, l net.Listener, log *slog.Logger) error {
	handler, err := a.Handler()
	if err != nil {
		return err
	}
	if err := a.Start(context.WithoutCancel(ctx)); err != nil {
		return err
	}
	server := &http.Server{
		Handler: handler, ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout: serverReadTimeout, WriteTimeout: serverWriteTimeout, IdleTimeout: serverIdleTimeout,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(l) }()
	select {
	case err = <-failed:
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	if err = errors.Join(err, server.Shutdown(stop), a.Stop(stop)); err != nil {
		return fmt.Errorf("serve: %w", err)
	}
	return nil
}
