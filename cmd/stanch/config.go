package main

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/sethvargo/go-envconfig"

	"github.com/stanch-dev/stanch/app"
	"github.com/stanch-dev/stanch/app/github"
	"github.com/stanch-dev/stanch/app/provider"
	"github.com/stanch-dev/stanch/app/secretstore"
	"github.com/stanch-dev/stanch/app/store"
	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/rules"
)

// A settings is the environment of stanch serve. Every variable can also be
// given as NAME_FILE, the path of a file that holds the value; secrets should be.
type settings struct {
	Addr        string `env:"STANCH_ADDR, default=127.0.0.1:8080" help:"address to listen on"`
	DatabaseURL string `env:"STANCH_DATABASE_URL, default=sqlite:stanch.db" help:"where to remember: sqlite:PATH, or postgres://USER:PASSWORD@HOST:PORT/DATABASE for several replicas"`
	Key         string `env:"STANCH_KEY" help:"master key, 32 bytes in base64; default: the file beside the SQLite database, made at the first start"`
	Scratch     string `env:"STANCH_SCRATCH" help:"folder for what is fetched to be scanned, one for each process; default: beside the SQLite database, or stanch.scratch"`
	Policy      string `env:"STANCH_POLICY" help:"policy file; without one Stanch reports, verifies, and asks before it acts"`
	LogLevel    string `env:"STANCH_LOG_LEVEL, default=info" help:"debug, info, warn or error"`

	AppID          int64    `env:"STANCH_GITHUB_APP_ID, required" help:"id of the GitHub App"`
	PrivateKey     string   `env:"STANCH_GITHUB_PRIVATE_KEY, required" help:"private key of the GitHub App, PEM"`
	WebhookSecrets []string `env:"STANCH_GITHUB_WEBHOOK_SECRETS, required" help:"webhook secrets, comma-separated; several while one is being replaced"`

	URL          string            `env:"STANCH_URL" help:"public address of this server, https://stanch.example.com: switches the dashboard on, with the next two"`
	ClientID     string            `env:"STANCH_GITHUB_CLIENT_ID" help:"client id of the GitHub App, with which people sign in"`
	ClientSecret string            `env:"STANCH_GITHUB_CLIENT_SECRET" help:"a client secret of the GitHub App"`
	APIToken     string            `env:"STANCH_API_TOKEN" help:"what callers of the API say, at least 32 characters; without any token there is no API"`
	APITokens    map[string]string `env:"STANCH_API_TOKENS" help:"tokens of callers who have one of their own: ada:TOKEN,bob:TOKEN; where two people must agree nobody can pretend to be one of them"`

	VaultMounts    []string `env:"STANCH_VAULT_MOUNTS" help:"KV version 2 mounts in which leaked credentials are looked for and replaced; default: all that the token can see"`
	VaultIssueRole string   `env:"STANCH_VAULT_ISSUE_ROLE" help:"token role with which replacements of leaked Vault tokens are made"`
	StoreFile      string   `env:"STANCH_STORE_FILE" help:"encrypted secret store in a file, for teams without Vault"`

	BrokerURL   string `env:"STANCH_BROKER_URL" help:"endpoint of yours that issues credentials for providers without an interface for it"`
	BrokerToken string `env:"STANCH_BROKER_TOKEN" help:"what Stanch says to it"`

	AtAWS
	GitHubOptions
	KubernetesOptions
	AtDatabases
	CloudOptions
	Reach
}

// A Reach is the part of the settings that says where credentials may be asked about,
// besides the catalogue's hosts. It is the environment of scans too.
type Reach struct {
	GitHubURL       string            `env:"STANCH_GITHUB_URL, default=https://github.com" help:"GitHub, or a GitHub Enterprise Server"`
	VaultAddr       string            `env:"VAULT_ADDR" help:"Vault or OpenBao server"`
	VaultToken      string            `env:"VAULT_TOKEN" help:"Stanch's own token there"`
	VaultNamespace  string            `env:"VAULT_NAMESPACE" help:"namespace there"`
	ProviderURLs    map[string]string `env:"STANCH_PROVIDER_URLS" help:"base URLs of self-hosted providers: gitlab:https://gitlab.example.com/api/v4,…"`
	AllowedNetworks []string          `env:"STANCH_ALLOWED_NETWORKS" help:"private networks in which providers may be: 10.0.0.0/8,…"`
	VerifyHosts     []string          `env:"STANCH_VERIFY_HOSTS" help:"your databases, at which leaked passwords may be tried: NAME, NAME:PORT, 10.0.0.0/8, insecure://NAME (no certificate wanted),…"`
	SSHAccounts     []string          `env:"STANCH_VERIFY_SSH" help:"accounts at SSH servers that may trust leaked keys: git@git.example.com:22=SHA256:…,… with the server's own fingerprint"`
	TLSServers      []string          `env:"STANCH_VERIFY_TLS" help:"TLS servers that may use leaked keys: www.example.com,mail.example.com:465,…"`
	GitHubUsers     []string          `env:"STANCH_VERIFY_GITHUB_USERS" help:"GitHub users whose published SSH keys leaked keys are compared with"`
	VerifyCA        string            `env:"STANCH_VERIFY_CA" help:"authorities of these servers' certificates, PEM, besides the system's"`
	VaultEngines
	AWSAccounts []string `env:"STANCH_AWS_ACCOUNTS" help:"AWS accounts whose access keys may be verified; default: all but known traps"`
	JWTIssuers  []string `env:"STANCH_JWT_ISSUERS" help:"issuers of JSON Web Tokens whose signatures are verified, with their key sets: https://id.example.com=https://id.example.com/keys,…"`

	Verify        string   `env:"STANCH_VERIFY, default=on" help:"off: no provider is asked about any credential, and none is revoked without a person"`
	VerifyRules   []string `env:"STANCH_VERIFY_RULES" help:"ids of the rules whose credentials are asked about; default: all"`
	OutboundProxy string   `env:"STANCH_OUTBOUND_PROXY" help:"http, https or socks5 URL through which the catalogue's hosts are reached; yours are dialled directly"`
}

// loadSettings reads the settings from the environment.
func loadSettings(ctx context.Context, getenv func(string) string) (settings, error) {
	var s settings
	err := readEnvironment(ctx, getenv, &s)
	if errors.Is(err, envconfig.ErrMissingRequired) {
		return s, fmt.Errorf("%w: stanch serve --help lists the settings", err)
	}
	return s, err
}

// readEnvironment fills the fields of a struct from the variables that they name.
func readEnvironment[T any](ctx context.Context, getenv func(string) string, into *T) error {
	values := map[string]string{}
	for _, v := range variables[T]() {
		value, err := lookup(getenv, v.name)
		if err != nil {
			return err
		}
		if value != "" {
			values[v.name] = value
		}
	}
	return fillFrom(ctx, values, into)
}

// fillFrom sets the fields of a struct from the values of the variables that they name.
func fillFrom[T any](ctx context.Context, values map[string]string, into *T) error {
	return envconfig.ProcessWith(ctx, &envconfig.Config{Target: into, Lookuper: envconfig.MapLookuper(values)})
}

// lookup reads a variable, or the file that its twin with _FILE names.
func lookup(getenv func(string) string, name string) (string, error) {
	value, file := getenv(name), getenv(name+"_FILE")
	switch {
	case file == "":
		return value, nil
	case value != "":
		return "", fmt.Errorf("both %s and %s_FILE are set: unset one", name, name)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("read %s_FILE: %w", name, err)
	}
	return strings.TrimSpace(string(b)), nil
}

// A variable is one setting as --help shows it.
type variable struct{ name, fallback, help string }

// variables are those that a struct's fields name, also the fields of what it embeds.
func variables[T any]() []variable {
	var vs []variable
	for _, field := range reflect.VisibleFields(reflect.TypeFor[T]()) {
		if field.Anonymous {
			continue
		}
		name, options, _ := strings.Cut(field.Tag.Get("env"), ", ")
		v := variable{name: name, help: field.Tag.Get("help")}
		if fallback, ok := strings.CutPrefix(options, "default="); ok {
			v.fallback = " (default " + fallback + ")"
		} else if options == "required" {
			v.fallback = " (required)"
		}
		vs = append(vs, v)
	}
	return vs
}

func printVariables(w io.Writer) {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, v := range variables[settings]() {
		fmt.Fprintf(tw, "  %s\t%s%s\n", v.name, v.help, v.fallback)
	}
	tw.Flush()
}

// config turns the settings into what the App needs, and opens its database.
func (s settings) config(ctx context.Context, log *slog.Logger) (app.Config, *store.Store, error) {
	cfg, err := s.appConfig(log)
	if err != nil {
		return cfg, nil, err
	}
	memory, err := store.Open(ctx, s.DatabaseURL, cfg.Keys, log)
	return cfg, memory, err
}

// appConfig turns the settings into what the App needs besides its database.
func (s settings) appConfig(log *slog.Logger) (app.Config, error) {
	catalogue, err := rules.Catalogue()
	if err != nil {
		return app.Config{}, err
	}
	database, err := store.ParseURL(s.DatabaseURL)
	if err != nil {
		return app.Config{}, err
	}
	keys, err := s.keys(database)
	if err != nil {
		return app.Config{}, err
	}
	policy := app.DefaultPolicy()
	if s.Policy != "" {
		if policy, err = app.LoadPolicy(s.Policy, catalogue); err != nil {
			return app.Config{}, err
		}
	}
	cfg := app.Config{
		Catalogue: catalogue, Keys: keys, Policy: policy, Logger: log,
		GitHub:         github.Config{AppID: s.AppID, PrivateKey: []byte(s.PrivateKey), URL: s.GitHubURL, Logger: log},
		WebhookSecrets: s.WebhookSecrets,
		Scratch:        cmp.Or(s.Scratch, cmp.Or(database.File(), "stanch")+".scratch"),
		Sweep:          app.Sweep{Deliveries: sweepDeliveries, Refs: sweepRefs, Verdicts: sweepVerdicts, Schedule: sweepSchedule},
	}
	if cfg.Dashboard, err = s.dashboard(); err != nil {
		return cfg, err
	}
	if cfg.APIToken, cfg.APITokens, err = s.apiTokens(); err != nil {
		return cfg, err
	}
	if cfg.Providers, err = s.providers(catalogue, log); err != nil {
		return cfg, err
	}
	if err := s.checkBroker(); err != nil {
		return cfg, err
	}
	if err := s.addSecretStores(&cfg); err != nil {
		return cfg, err
	}
	cfg.Copies, err = s.copies()
	return cfg, err
}

// dashboard is nil when nothing of it is set. Set by half it would be a surprise.
func (s settings) dashboard() (*app.Dashboard, error) {
	if s.URL == "" && s.ClientID == "" && s.ClientSecret == "" {
		return nil, nil
	}
	if s.URL == "" || s.ClientID == "" || s.ClientSecret == "" {
		return nil, errors.New("the dashboard needs STANCH_URL, STANCH_GITHUB_CLIENT_ID and STANCH_GITHUB_CLIENT_SECRET: set all three, or none")
	}
	u, err := url.Parse(s.URL)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || u.User != nil || strings.Trim(u.Path, "/")+u.RawQuery+u.Fragment != "":
		return nil, errors.New("STANCH_URL is not of the form https://stanch.example.com, without a path")
	case u.Scheme != "https" && !isLoopback(u.Hostname()):
		return nil, errors.New("STANCH_URL is not https: whoever listens could act as the people who sign in")
	}
	return &app.Dashboard{URL: u.Scheme + "://" + u.Host, ClientID: s.ClientID, ClientSecret: checks.NewSecret(s.ClientSecret)}, nil
}

// isLoopback reports whether a host is this machine.
func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// keyFile is where the master key is kept beside a database.
func keyFile(database store.Database) string {
	return strings.TrimSuffix(database.File(), filepath.Ext(database.File())) + ".key"
}

// errNoKey is told where the database has no folder in which the key could be.
var errNoKey = errors.New("STANCH_KEY is not set: all processes on one PostgreSQL database need the same master key; make one with “openssl rand -base64 32”")

// keys come from STANCH_KEY, or else from the file beside the database.
func (s settings) keys(database store.Database) (store.Keys, error) {
	var master []byte
	var err error
	switch {
	case s.Key != "":
		master, err = store.DecodeKey(s.Key)
	case database.File() == "":
		return store.Keys{}, errNoKey
	default:
		master, err = store.LoadKey(keyFile(database))
	}
	if err != nil {
		return store.Keys{}, fmt.Errorf("STANCH_KEY: %w", err)
	}
	return store.NewKeys(master)
}

// providers says where the credentials of each provider are asked about. Where
// that is an installation of the operator's, its refusal proves nothing about
// credentials that the public one may have handed out.
func (s settings) providers(catalogue []*rules.Rule, log *slog.Logger) (provider.Config, error) {
	cfg := provider.Config{
		BaseURLs: map[string]string{}, SelfHosted: map[string]bool{},
		VaultAddr: s.VaultAddr, VaultToken: checks.NewSecret(s.VaultToken), VaultNamespace: s.VaultNamespace, VaultIssueRole: s.VaultIssueRole,
		BrokerURL: s.BrokerURL, BrokerToken: checks.NewSecret(s.BrokerToken), DeployKeyRepos: s.DeployKeys,
		GitHubRevoker: checks.NewSecret(s.RevokeToken),
		Logger:        log,
	}
	s.VaultEngines.tell(&cfg)
	api, err := github.APIURL(s.GitHubURL)
	if err != nil {
		return cfg, fmt.Errorf("STANCH_GITHUB_URL: %w", err)
	}
	bases := map[string]string{} // the public ones
	for _, r := range catalogue {
		bases[r.Provider.Name] = r.Provider.Base
	}
	if strings.TrimSuffix(api, "/") != bases["github"] {
		cfg.BaseURLs["github"], cfg.SelfHosted["github"] = api, true
	} else if s.RevokeToken != "" {
		return cfg, errors.New("STANCH_GITHUB_REVOKE_TOKEN is set, and STANCH_GITHUB_URL names no GitHub Enterprise Server: github.com revokes for nobody who says who they are; unset it")
	}
	for name, url := range s.ProviderURLs {
		public, known := bases[name]
		if !known {
			return cfg, fmt.Errorf("STANCH_PROVIDER_URLS: there is no provider %q: stanch rules list shows them", name)
		}
		// Who names the public one says that the credentials are from there.
		cfg.BaseURLs[name], cfg.SelfHosted[name] = url, public != "" && strings.TrimSuffix(url, "/") != strings.TrimSuffix(public, "/")
	}
	for _, n := range s.AllowedNetworks {
		prefix, err := netip.ParsePrefix(n)
		if err != nil {
			return cfg, fmt.Errorf("STANCH_ALLOWED_NETWORKS: %q is not a network like 10.0.0.0/8", n)
		}
		cfg.AllowedNetworks = append(cfg.AllowedNetworks, prefix)
	}
	if err := s.restrict(&cfg, catalogue); err != nil {
		return cfg, err
	}
	if err := s.accounts(&cfg); err != nil {
		return cfg, err
	}
	if err := s.ownServers(&cfg); err != nil {
		return cfg, err
	}
	s.administrate(&cfg)
	return cfg, s.awsKeys(&cfg)
}

// restrict says which credentials are asked about, and through what.
func (s settings) restrict(cfg *provider.Config, catalogue []*rules.Rule) error {
	switch s.Verify {
	case "on", "":
	case "off":
		cfg.Off = true
	default:
		return fmt.Errorf("STANCH_VERIFY is %q: it must be on or off", s.Verify)
	}
	for _, id := range s.VerifyRules {
		if !slices.ContainsFunc(catalogue, func(r *rules.Rule) bool { return r.ID == id }) {
			return fmt.Errorf("STANCH_VERIFY_RULES: there is no rule %q: “stanch rules list” shows them", id)
		}
	}
	cfg.Only = s.VerifyRules
	if s.OutboundProxy == "" {
		return nil
	}
	var err error
	if cfg.Proxy, err = url.Parse(s.OutboundProxy); err != nil {
		return errors.New("STANCH_OUTBOUND_PROXY is no URL") // it is not repeated: it may hold a password
	}
	return nil
}

// ownServers names the operator's servers at which credentials of no provider, such as
// passwords of databases, may be verified.
func (r Reach) ownServers(cfg *provider.Config) (err error) {
	cfg.VerifyHosts, cfg.AWSAccounts, cfg.JWTIssuers = r.VerifyHosts, r.AWSAccounts, r.JWTIssuers
	cfg.SSHAccounts, cfg.TLSServers, cfg.GitHubUsers = r.SSHAccounts, r.TLSServers, r.GitHubUsers
	if r.VerifyCA == "" {
		return nil
	}
	if cfg.VerifyRoots, err = x509.SystemCertPool(); err != nil {
		return fmt.Errorf("the system's authorities: %w", err)
	}
	if !cfg.VerifyRoots.AppendCertsFromPEM([]byte(r.VerifyCA)) {
		return errors.New("STANCH_VERIFY_CA has no certificate in PEM: give the certificates themselves, or their file in STANCH_VERIFY_CA_FILE")
	}
	return nil
}

// checkBroker refuses a broker to which credentials would travel in the clear, or
// that anybody could ask.
func (s settings) checkBroker() error {
	switch {
	case s.BrokerURL == "" && s.BrokerToken != "":
		return errors.New("STANCH_BROKER_TOKEN is set and STANCH_BROKER_URL is not: set both, or none")
	case s.BrokerURL == "":
		return nil
	case s.BrokerToken == "":
		return errors.New("STANCH_BROKER_URL is set and STANCH_BROKER_TOKEN is not: a broker that issues credentials to anybody is a leak itself")
	}
	u, err := url.Parse(s.BrokerURL)
	if err != nil || u.Host == "" {
		return errors.New("STANCH_BROKER_URL is not a URL with a host") // it is not repeated: it may hold a password
	}
	if u.Scheme != "https" && !isLoopback(u.Hostname()) {
		return errors.New("STANCH_BROKER_URL is not https: credentials would travel in the clear")
	}
	return nil
}

func (s settings) addSecretStores(cfg *app.Config) error {
	key := cfg.Keys.Fingerprint
	reachable := s.VaultAddr != "" && s.VaultToken != ""
	if !reachable && (len(s.VaultMounts) > 0 || s.VaultIssueRole != "") {
		return errors.New("STANCH_VAULT_MOUNTS or STANCH_VAULT_ISSUE_ROLE is set: set VAULT_ADDR and VAULT_TOKEN too")
	}
	if err := s.VaultEngines.check(reachable); err != nil {
		return err
	}
	if reachable {
		v, err := secretstore.NewVault(secretstore.VaultConfig{
			Addr: s.VaultAddr, Token: checks.NewSecret(s.VaultToken), Namespace: s.VaultNamespace, Mounts: s.VaultMounts, Key: key, Logger: cfg.Logger,
			AuditLog: s.VaultAuditLog, AuditDevice: s.VaultAuditDevice,
		})
		if err != nil {
			return err
		}
		cfg.SecretStores = append(cfg.SecretStores, v)
	}
	if s.StoreFile != "" {
		f, err := secretstore.OpenFile(s.StoreFile, s.StoreFile+".key", key)
		if err != nil {
			return err
		}
		cfg.SecretStores = append(cfg.SecretStores, f)
	}
	s.addOwn(cfg)
	s.addRevoker(cfg)
	if err := s.addAWSSecrets(cfg); err != nil {
		return err
	}
	if err := s.addClouds(cfg); err != nil {
		return err
	}
	if err := s.addKubernetes(cfg); err != nil {
		return err
	}
	for _, own := range []string{s.VaultToken, s.BrokerToken} {
		if own != "" {
			cfg.Own = append(cfg.Own, checks.NewSecret(own).Fingerprint(key))
		}
	}
	return nil
}
