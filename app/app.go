// Package app is the GitHub App: it takes deliveries, scans what they bring,
// verifies what it finds, and, where it may, kills and replaces what is live.
//
// Follow a delivery: deliver.go records it, scan.go examines it, verify.go asks
// the providers, report.go tells GitHub, act.go and rotate.go remediate. Every
// step is a job of the store's queue, and what a step decides is recorded in the
// same transaction as the job that follows from it.
package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"

	"github.com/stanch-dev/stanch/app/github"
	"github.com/stanch-dev/stanch/app/provider"
	"github.com/stanch-dev/stanch/app/store"
	"github.com/stanch-dev/stanch/app/webhook"
	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/rules"
)

// The queues, so that a flood of one kind of work does not hold up another:
// somebody's key is live while a remediation waits.
const (
	queueScan      = "scan"
	queueScanNext  = "scan_next" // of installations that have a scan waiting or running
	queueRemediate = "remediate"
	queueLocal     = "local" // those that were ordered of a process without a server
	queueReport    = "report"
	queueSweep     = "sweep"    // what is done from time to time, and what comes of it
	queueBackfill  = "backfill" // whole histories: nobody waits for them
	queueRecheck   = "recheck"  // providers are asked again, some of whom are slow
)

// priorityBackground is River's priority for what nobody waits for.
const priorityBackground = 4

// workers is the number of concurrent jobs of each queue. Scans use the CPU; the
// others wait for answers. One installation has queueScanNext's scans at once, and
// one more.
var workers = map[string]int{
	queueScan: 4, queueScanNext: 4, queueRemediate: 16, queueLocal: 4, queueReport: 8, queueSweep: 2, queueBackfill: 1, queueRecheck: 4, river.QueueDefault: 4,
}

// maxRetryWait is the longest pause between two attempts of a job.
const maxRetryWait = time.Minute

var noTime time.Time

// A Config is everything that an App needs.
type Config struct {
	Catalogue      []*rules.Rule
	Keys           store.Keys
	Policy         Policy
	GitHub         github.Config
	WebhookSecrets []string
	// WithoutGitHub is for an App that carries out orders on this machine alone, of which
	// GitHub need not know: Local
	// and StartLocal are all that it has.
	WithoutGitHub bool
	// APIToken is what callers of the API say, and APITokens are those of callers who have
	// one of their own, by their names. Without any there is no API.
	APIToken     checks.Secret
	APITokens    map[string]checks.Secret
	Providers    provider.Config
	SecretStores []SecretStore
	// Copies are secrets at GitHub that are written when their place in a secret store is.
	Copies []Copy
	// Own are the fingerprints of credentials that Stanch itself lives on, which
	// it will not kill by itself.
	Own []checks.Fingerprint
	// Scratch is a directory for fetched objects, for this App alone. It is emptied at
	// the start.
	Scratch string
	// Dashboard is nil when there is none.
	Dashboard *Dashboard
	// Sweep says how often what GitHub did not tell is looked for.
	Sweep Sweep
	// Turn bounds one run of a scan.
	Turn Turn
	// Observe is told of every stage that is passed, on the goroutine that
	// passed it. It may be nil.
	Observe func(Event)
	// Step is told how each step of a remediation goes, on the goroutine that takes it.
	// It may be nil.
	Step   func(Progress)
	Logger *slog.Logger
	Now    func() time.Time // time.Now when nil
}

// An App is the running GitHub App.
type App struct {
	cfg       Config
	store     *store.Store
	github    *github.App
	providers *provider.Providers
	scanner   *checks.Scanner
	rules     map[string]*rules.Rule
	metrics   *metrics
	log       *slog.Logger
	now       func() time.Time
	memories  memories
	ordered   sync.Map    // ids of the incidents that were ordered of this process
	ending    atomic.Bool // no further step is begun

	login      atomic.Pointer[string] // the App's own, once GitHub has told
	background sync.WaitGroup
	cancel     context.CancelFunc // of the background
	unlock     func()             // the scratch directory
}

// New puts an App together. It starts nothing and connects to nothing.
func New(cfg Config, s *store.Store) (*App, error) {
	a := &App{cfg: cfg, store: s, log: cfg.Logger, now: cfg.Now, rules: map[string]*rules.Rule{}}
	if a.now == nil {
		a.now = time.Now
	}
	for _, r := range cfg.Catalogue {
		a.rules[r.ID] = r
	}
	if err := errors.Join(cfg.checkCopies(), cfg.checkSchedule()); err != nil {
		return nil, err
	}
	var err error
	if a.scanner, err = checks.NewScanner(cfg.Catalogue, cfg.Keys.Fingerprint); err != nil {
		return nil, err
	}
	if !cfg.WithoutGitHub || cfg.GitHub.AppID != 0 {
		if a.github, err = github.New(cfg.GitHub); err != nil {
			return nil, err
		}
	}
	cfg.Providers.Catalogue = cfg.Catalogue
	if a.github != nil {
		cfg.Providers.DeployKeys = deployKeys{a.github}
	}
	if a.providers, err = provider.New(cfg.Providers); err != nil {
		return nil, err
	}
	a.metrics = newMetrics(a.working, a.providers, a.rules)
	return a, nil
}

// Start makes the App work off its queue. Call Stop to end it.
func (a *App) Start(ctx context.Context) error {
	if err := a.takeScratch(); err != nil {
		return fmt.Errorf("take scratch directory %s: %w", a.cfg.Scratch, err)
	}
	ws := a.otherWorkers()
	river.AddWorker(ws, remediateWorker{app: a})
	background, cancel := context.WithCancel(ctx)
	a.cancel = cancel
	a.background.Go(func() { a.warmUp(background) })
	a.background.Go(func() { a.learnLogin(background) })
	a.background.Go(func() { a.recontrol(background) })
	return a.store.Work(ctx, ws, workers, retryPolicy{}, a.cfg.Sweep.jobs()...)
}

// otherWorkers are the workers of all jobs but remediations.
func (a *App) otherWorkers() *river.Workers {
	ws := river.NewWorkers()
	river.AddWorker(ws, scanWorker{app: a})
	river.AddWorker(ws, reportWorker{app: a})
	river.AddWorker(ws, approveWorker{app: a})
	river.AddWorker(ws, rerunWorker{app: a})
	river.AddWorker(ws, commandWorker{app: a})
	river.AddWorker(ws, reactWorker{app: a})
	river.AddWorker(ws, expireWorker{app: a})
	river.AddWorker(ws, suggestWorker{app: a})
	river.AddWorker(ws, syncWorker{app: a})
	river.AddWorker(ws, eraseWorker{app: a})
	river.AddWorker(ws, backfillWorker{app: a})
	river.AddWorker(ws, alertWorker{app: a})
	river.AddWorker(ws, resolveAlertWorker{app: a})
	river.AddWorker(ws, sweepDeliveriesWorker{app: a})
	river.AddWorker(ws, sweepRefsWorker{app: a})
	river.AddWorker(ws, sweepRepositoryWorker{app: a})
	river.AddWorker(ws, sweepVerdictsWorker{app: a})
	river.AddWorker(ws, recheckWorker{app: a})
	river.AddWorker(ws, sweepScheduleWorker{app: a})
	return ws
}

// warmUp has the secret stores build their indexes, so that the first leak does
// not wait for that, and says at once what would keep a leak from being found.
func (a *App) warmUp(ctx context.Context) {
	for _, s := range a.cfg.SecretStores {
		if _, err := s.Locate(ctx, ""); err != nil && ctx.Err() == nil {
			a.log.WarnContext(ctx, "a secret store cannot be searched: leaked credentials will not be found there", "store", s.Name(), "error", err)
		}
		if skipped := s.Skipped(); len(skipped) > 0 {
			a.log.WarnContext(ctx, "a secret store denies a part of itself: leaked credentials will not be found there", "store", s.Name(), "denied", skipped)
		}
	}
}

// working counts the jobs that wait or run, for the metrics.
func (a *App) working() float64 {
	n, err := a.store.Working(context.Background())
	if err != nil {
		return math.NaN()
	}
	return float64(n)
}

// learnLogin asks GitHub what the App is called, so that it does not answer itself.
func (a *App) learnLogin(ctx context.Context) {
	login, err := a.github.Login(ctx)
	if err != nil {
		if ctx.Err() == nil {
			a.log.WarnContext(ctx, "GitHub does not say what the App is called: see STANCH_GITHUB_APP_ID and the private key", "error", err)
		}
		return
	}
	a.login.Store(&login)
}

// isSelf reports whether an event's sender is the App.
func (a *App) isSelf(sender string) bool {
	login := a.login.Load()
	return login != nil && strings.EqualFold(sender, *login)
}

// Stop waits for running jobs until ctx ends.
func (a *App) Stop(ctx context.Context) error {
	if a.cancel != nil {
		a.cancel()
	}
	a.background.Wait()
	err := a.store.Stop(ctx)
	if a.unlock != nil {
		a.unlock()
	}
	return err
}

// Handler serves the webhook, the API, health, metrics and the dashboard.
func (a *App) Handler() (http.Handler, error) {
	hook, err := webhook.New(a.cfg.WebhookSecrets, a.Accept, a.now, a.log)
	if err != nil {
		return nil, err
	}
	dashboard, err := a.dashboard()
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("/", dashboard)
	mux.Handle("POST /webhook", hook)
	if a.cfg.APIToken.Len() > 0 || len(a.cfg.APITokens) > 0 {
		mux.Handle("POST /api/v1/import", a.authenticated(newImporter(a)))
		mux.Handle("/api/v1/", a.authenticated(a.incidentsAPI()))
	}
	mux.Handle("GET /metrics", a.metrics.handler())
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		if err := a.store.Ping(r.Context()); err != nil {
			http.Error(w, "the database does not answer", http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	return mux, nil
}

// takeScratch removes what a killed process left behind: fetched objects may
// hold credentials. What another process uses is not touched.
func (a *App) takeScratch() (err error) {
	if err := os.MkdirAll(a.cfg.Scratch, 0o700); err != nil {
		return err
	}
	if a.unlock, err = store.Lock(filepath.Join(a.cfg.Scratch, "lock")); err != nil {
		return fmt.Errorf("%w, or give each its own by STANCH_SCRATCH", err)
	}
	left, err := filepath.Glob(filepath.Join(a.cfg.Scratch, "scan-*"))
	for _, dir := range left {
		err = errors.Join(err, os.RemoveAll(dir))
	}
	return err
}

// postpone turns a rate limit into a pause of the job that costs no attempt.
func (a *App) postpone(err error) error {
	if limited := new(github.RateLimited); errors.As(err, &limited) {
		a.log.Info("a job waits for GitHub's rate limit", "wait", limited.RetryAfter, "reserved", limited.Reserved)
		a.metrics.postpone(limited.Reserved)
		return river.JobSnooze(limited.RetryAfter)
	}
	return err
}

// retryPolicy waits half a second after the first failure and twice as long
// after each further one, up to maxRetryWait.
type retryPolicy struct{}

// NextRetry implements river.ClientRetryPolicy.
func (retryPolicy) NextRetry(job *rivertype.JobRow) time.Time {
	wait := maxRetryWait
	if n := len(job.Errors); n < 8 {
		wait = min(wait, time.Second/2<<n)
	}
	return time.Now().Add(wait)
}
