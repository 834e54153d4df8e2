// Package githubtest is a simulated GitHub: real HTTP on the loopback
// interface, real git repositories that are cloned and pushed to over HTTP, and
// webhooks that are signed and delivered as GitHub's are. It holds what Stanch
// needs of github.com: Apps, installations and their tokens, check runs, pull
// requests and their comments, users' tokens and their revocation.
//
// It remembers everything that it was told, so that a test can ask, and it can
// be told to misbehave: to limit the rate, to lose a delivery, to answer 502.
// It serves the tests and the demonstration, and nothing else: it must not be
// reachable from a network.
package githubtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"
)

// APIPrefix is the path under which the API is served, as GitHub Enterprise
// Server does.
const APIPrefix = "/api/v3"

// maxRequest is the most that the API reads of one request. The largest honest
// one, fifty annotations of 64 KB twice over, stays below.
const maxRequest = 10 << 20

// A Config says how a Server is. The zero Config is a good one for tests.
type Config struct {
	Dir    string           // where bare repositories live; a temporary directory when empty
	Addr   string           // "127.0.0.1:0" when empty
	Logger *slog.Logger     // nothing is logged when nil
	Clock  func() time.Time // time.Now when nil

	// APIHost serves the API on an address of its own, without a prefix, as
	// github.com does with api.github.com.
	APIHost bool
	// Enterprise leaves out what an Enterprise Server does not have: merge groups,
	// the revocation of credentials, and rate limits.
	Enterprise bool

	// Wrap, when set, wraps the API's handler, and nothing else. Package
	// githubtest/openapi has a validator for it.
	Wrap func(http.Handler) http.Handler

	// StatelessTokens makes installation tokens of the long kind that GitHub
	// introduced in 2026, ghs_APPID_JWT, of about 520 characters.
	StatelessTokens bool
	// RevocationDelay is how long a token lives after its revocation was accepted.
	RevocationDelay time.Duration
	// RevocationLimit is how many requests to revoke are answered each hour; no
	// limit when zero. GitHub's is RevocationsPerHour.
	RevocationLimit int
	// AnonymousFetch lets whoever reaches the server clone private repositories.
	// A token that is given must be good all the same.
	AnonymousFetch bool
	// PushNeedsToken refuses pushes that carry no live user's token. Without it
	// whoever reaches the server may push.
	PushNeedsToken bool
	// Ping sends the ping event when a webhook is set, as GitHub does.
	Ping bool
	// DeliveryTimeout is how long a webhook's receiver has; GitHub's ten seconds
	// when zero.
	DeliveryTimeout time.Duration
}

// A Server is a simulated GitHub.
type Server struct {
	cfg      Config
	log      *slog.Logger
	now      func() time.Time
	listener net.Listener
	http     *http.Server
	apiHost  net.Listener // nil unless the API has an address of its own
	git      gitCommand
	ownsDir  bool
	work     sync.WaitGroup // webhook senders and delayed revocations
	stop     chan struct{}
	// closeOnce is shut, once.
	closeOnce func() error

	mu sync.Mutex // guards what follows; unexported methods expect it held
	state
}

// state is everything that the simulated GitHub knows.
type state struct {
	lastID        int64
	accounts      map[string]*account
	apps          map[int64]*app
	installations map[int64]*installation
	tokens        map[string]*token
	grants        map[string]*grant // codes of people who sign in
	browser       *account          // who sits in front of it
	repositories  map[string]*repository
	checkRuns     map[int64]*checkRun
	suites        map[suiteKey]int64
	comments      map[int64]*comment
	deliveries    []*delivery
	requests      []Request
	unknown       []string
	broker        broker
	limit         func(*http.Request) *LimitAnswer
	quota         map[string]*quota
	onPush        []func(Push)
	latest        []Push
	subjects      map[string]string // of commits, once somebody looked
	secrets       map[string]*secretBox
	gate          gate
}

// New makes a Server that listens already and answers after Start.
func New(cfg Config) (*Server, error) {
	if cfg.Addr == "" {
		cfg.Addr = "127.0.0.1:0"
	}
	if cfg.DeliveryTimeout == 0 {
		cfg.DeliveryTimeout = DeliveryTimeout
	}
	s := &Server{cfg: cfg, log: cfg.Logger, now: cfg.Clock, stop: make(chan struct{})}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.now == nil {
		s.now = time.Now
	}
	s.closeOnce = sync.OnceValue(s.shut)
	s.state = newState()
	if err := s.makeDir(); err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", cfg.Addr)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("listen for the simulated GitHub: %w", err), s.removeDir())
	}
	s.listener = listener
	s.http = &http.Server{Handler: s.handler(), ReadHeaderTimeout: 10 * time.Second}
	if cfg.APIHost {
		if s.apiHost, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			return nil, errors.Join(fmt.Errorf("listen for the simulated GitHub's API: %w", err), listener.Close(), s.removeDir())
		}
	}
	return s, nil
}

// apiServer serves the API where it has an address of its own.
func (s *Server) apiServer() *http.Server {
	site := s.http.Handler
	return &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r = r.Clone(r.Context())
		r.URL.Path = APIPrefix + r.URL.Path
		if r.URL.RawPath != "" {
			r.URL.RawPath = APIPrefix + r.URL.RawPath
		}
		site.ServeHTTP(w, r)
	})}
}

func newState() state {
	return state{
		lastID:        1000,
		accounts:      map[string]*account{},
		apps:          map[int64]*app{},
		installations: map[int64]*installation{},
		tokens:        map[string]*token{},
		grants:        map[string]*grant{},
		repositories:  map[string]*repository{},
		checkRuns:     map[int64]*checkRun{},
		suites:        map[suiteKey]int64{},
		comments:      map[int64]*comment{},
		quota:         map[string]*quota{},
		subjects:      map[string]string{},
		secrets:       map[string]*secretBox{},
		broker:        newBroker(),
		gate:          newGate(),
	}
}

func (s *Server) makeDir() error {
	dir := s.cfg.Dir
	if dir == "" {
		made, err := os.MkdirTemp("", "githubtest-")
		if err != nil {
			return fmt.Errorf("make a directory for repositories: %w", err)
		}
		dir, s.ownsDir = made, true
	}
	git, err := newGitCommand(dir)
	if err != nil {
		return errors.Join(err, s.removeDir())
	}
	s.git = git
	return nil
}

func (s *Server) removeDir() error {
	if !s.ownsDir {
		return nil
	}
	return os.RemoveAll(s.git.dir)
}

// Start begins to answer.
func (s *Server) Start() {
	s.work.Go(func() {
		if err := s.http.Serve(s.listener); !errors.Is(err, http.ErrServerClosed) {
			s.log.Error("serve the simulated GitHub", "error", err)
		}
	})
	if s.apiHost == nil {
		return
	}
	api := s.apiServer()
	s.http.RegisterOnShutdown(func() { api.Close() })
	s.work.Go(func() {
		if err := api.Serve(s.apiHost); !errors.Is(err, http.ErrServerClosed) {
			s.log.Error("serve the simulated GitHub's API", "error", err)
		}
	})
}

// Close stops answering and delivering, and removes the repositories if New
// made their directory.
func (s *Server) Close() error { return s.closeOnce() }

func (s *Server) shut() error {
	close(s.stop)
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	err := s.http.Shutdown(ctx)
	if err != nil {
		err = s.http.Close()
	}
	s.gate.open()
	s.work.Wait()
	return errors.Join(err, ignoreClosed(s.listener.Close()), s.removeDir())
}

func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// URL is the address of the web pages and of the git repositories, without a
// slash at its end.
func (s *Server) URL() string { return "http://" + s.listener.Addr().String() }

// APIURL is the address of the API, with a slash at its end.
func (s *Server) APIURL() string { return s.api("/") }

func (s *Server) api(format string, args ...any) string {
	base := s.URL() + APIPrefix
	if s.apiHost != nil {
		base = "http://" + s.apiHost.Addr().String()
	}
	return base + fmt.Sprintf(format, args...)
}

func (s *Server) web(format string, args ...any) string {
	return s.URL() + fmt.Sprintf(format, args...)
}

// nextID returns a number that nothing else has.
func (s *Server) nextID() int64 {
	s.lastID++
	return s.lastID
}

// handler is the whole site: the API behind its limits, and the rest.
func (s *Server) handler() http.Handler {
	var api http.Handler = s.apiHandler()
	if s.cfg.Wrap != nil {
		api = s.cfg.Wrap(api)
	}
	api = s.limited(api)
	site := s.siteHandler()
	return s.recorded(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, APIPrefix+"/") {
			api.ServeHTTP(w, r)
			return
		}
		site.ServeHTTP(w, r)
	}))
}

// siteHandler serves what a browser and git see, and the token broker.
func (s *Server) siteHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /broker", s.serveBroker)
	mux.HandleFunc("GET /{owner}/{repo}/info/refs", s.serveGit)
	mux.HandleFunc("POST /{owner}/{repo}/git-upload-pack", s.serveGit)
	mux.HandleFunc("POST /{owner}/{repo}/git-receive-pack", s.serveGit)
	s.pages(mux)
	return mux
}

// readBody reads a request's body up to the limit.
func readBody(r *http.Request) ([]byte, error) {
	if r.Body == nil {
		return nil, nil
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxRequest+1))
	if err != nil {
		return nil, fmt.Errorf("read the request's body: %w", err)
	}
	if len(body) > maxRequest {
		return nil, &apiError{Status: http.StatusRequestEntityTooLarge, Message: "Request body is too large."}
	}
	return body, nil
}
