// Package provider asks providers about one credential, and tells them to kill
// it or to hand out its replacement.
//
// Most providers are spoken to as the catalogue spells out (http.go); Vault, the
// operator's broker, and whoever wants a signature or has a protocol of his own are
// spoken to in Go, a file each (vault.go, broker.go, postgres.go, …). Three things
// hold for all of them. A host is named by the catalogue or by the operator and
// never by the text that was scanned. Whatever the network does wrong, a proxy's
// page, a redirect, a timeout, is no answer: the validity stays unknown. And a
// yes or no counts only if the same host says no to a random value of the same
// shape (control.go).
package provider

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"net/url"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/stanch-dev/stanch/app/cloud"
	"github.com/stanch-dev/stanch/app/ownaws"
	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/rules"
)

// answerWithin bounds one question or command, from the dial to the last byte.
const answerWithin = 10 * time.Second

// The drivers that actions of the catalogue can name.
const (
	driverHTTP   = "http"
	driverVault  = "vault"
	driverBroker = "broker"
	driverManual = "manual"

	driverAppRole    = "approle"
	driverDeployKey  = "deploykey"
	driverAWS        = "aws"
	driverAzure      = "azure"
	driverStorage    = "azure-storage"
	driverGCP        = "gcp"
	driverGCPAPIKey  = "gcp-api-key"
	driverJWT        = "jwt"
	driverKey        = "key"
	driverKubernetes = "kubernetes"
	driverPostgres   = "postgres"
	driverMongoDB    = "mongodb"
	driverMySQL      = "mysql"
	driverRedis      = "redis"
)

// A Config says which providers there are and how to reach them.
type Config struct {
	Catalogue []*rules.Rule

	// BaseURLs are the operator's own base URLs, by the provider's name. They
	// overrule the catalogue's, and may be private or plain http, because the
	// operator named them.
	BaseURLs map[string]string
	// SelfHosted names the providers of which BaseURLs gives the operator's own
	// installation while others, such as the public one, hand out credentials of
	// the same shape: there a refusal does not say that a credential is dead
	// everywhere.
	SelfHosted map[string]bool
	// AllowedNetworks are private networks in which catalogue hosts may be.
	AllowedNetworks []netip.Prefix

	// VerifyHosts are the operator's servers, such as databases, at which a leaked
	// password may be tried where the text that was scanned names them: "NAME",
	// "NAME:PORT", or a network of addresses, "10.0.0.0/8"; without a port it is the
	// protocol's own. "insecure://NAME" is one that need not prove who it is. Without
	// any nobody is asked.
	VerifyHosts []string
	// VerifyRoots are the authorities that the certificates of the operator's servers
	// are of, the system's when nil.
	VerifyRoots *x509.CertPool

	// AdminURLs are logins at these servers by which Stanch may change other users'
	// passwords: "postgres://USER:PASSWORD@HOST:PORT/DATABASE", mysql, redis. A leaked
	// password is rotated only at the host and port that one of them names exactly.
	AdminURLs []checks.Secret

	// AWSAccounts are the accounts of whose access keys AWS is asked; of all but known
	// traps when there is none.
	AWSAccounts []string
	// AWS is Stanch's own identity there, with which access keys are disabled, replaced
	// and deleted; nil without one.
	AWS *ownaws.Caller

	// JWTIssuers are the issuers whose signatures of JSON Web Tokens are verified, each
	// with the URL of its key set: "https://id.example.net=https://id.example.net/keys".
	JWTIssuers []string

	// Where leaked private keys are looked for, by their public halves: accounts at SSH
	// servers ("USER@HOST:PORT=SHA256:…", the fingerprint being the server's own), TLS
	// servers ("HOST:PORT"), and users of GitHub.
	SSHAccounts []string
	TLSServers  []string
	GitHubUsers []string

	// DeployKeyRepos are the repositories at GitHub, OWNER/REPOSITORY, among whose deploy
	// keys leaked private keys are looked for, and replaced. DeployKeys is who asks there;
	// without it nobody does.
	DeployKeyRepos []string
	DeployKeys     DeployKeys

	// VaultAddr is the one Vault or OpenBao server that Vault tokens are asked
	// of. VaultToken is Stanch's own token there; without it a token that may
	// not look itself up stays unknown on OpenBao, and none can be issued.
	// VAULT_CACERT, VAULT_CLIENT_CERT and the like are honoured.
	VaultAddr      string
	VaultToken     checks.Secret
	VaultNamespace string
	// VaultIssueRole is the token role that replacements are created with; see
	// deploy/vault/stanch-issue.hcl. Without one they are created as orphans,
	// for which Vault wants sudo.
	VaultIssueRole string
	// VaultAppRoleMounts are where AppRole is mounted there, "approle" when empty.
	VaultAppRoleMounts []string
	// VaultDatabaseMounts are where the database engine is mounted there, which then is
	// asked whether it keeps a leaked password.
	VaultDatabaseMounts []string
	// VaultPKIMounts are its PKI engines, whose certificates of leaked keys are revoked.
	VaultPKIMounts []string

	// Google and Azure are Stanch's own accounts at the clouds, with which their
	// credentials are replaced and revoked; nil without one.
	Google *cloud.Google
	Azure  *cloud.Azure
	// AzureSubscriptions are those in which storage accounts are looked up.
	AzureSubscriptions []string

	// BrokerURL is the operator's endpoint that issues credentials for providers
	// without an interface for it; BrokerToken is what Stanch says to it.
	BrokerURL   string
	BrokerToken checks.Secret

	// Off has no provider asked about anything, and Only, when it is not empty, only
	// about these kinds, by the ids of their rules. What cannot be asked about cannot
	// be proved dead either, and nothing is done to it without a person.
	Off  bool
	Only []string
	// Proxy is what the hosts of the catalogue are reached through. The operator's own
	// are dialled directly.
	Proxy *url.URL

	Now    func() time.Time // time.Now when nil
	Logger *slog.Logger     // nothing is logged when nil
}

// Grade says how much a verdict can bear.
type Grade string

// Reason says why a validity is unknown.
type Reason string

// The reasons.
const (
	ReasonNotAsked    Reason = "not_asked"    // nothing was sent: no host, switched off, a limit of our own
	ReasonUnreachable Reason = "unreachable"  // no connection, no certificate, no answer in time
	ReasonLimited     Reason = "rate_limited" // the provider wants to be asked later
	ReasonServerError Reason = "server_error" // the provider is not well
	ReasonNoAnswer    Reason = "no_answer"    // a page, a redirect, a broken body: somebody else than the provider
	ReasonUnfit       Reason = "undocumented" // the provider's answer is none that the catalogue knows
	ReasonLies        Reason = "accepts_any"  // a random value was accepted as well
)

// failure reports whether a reason tells that the host had better be left alone. Who
// writes what is scanned can make a firewall answer in place of a host, but not this.
func (r Reason) failure() bool {
	return r == ReasonUnreachable || r == ReasonLimited || r == ReasonServerError
}

// The grades. Only a verdict of grade A may revoke without a person.
const (
	GradeA Grade = "A" // named the credential's owner, and refused a random value
	GradeB Grade = "B" // a documented answer, but less than that
	GradeC Grade = "C" // anything else
)

// A Verdict is what a provider says about a credential.
type Verdict struct {
	Validity   checks.Validity `json:"validity"`
	Grade      Grade           `json:"grade"`
	LacksScope bool            `json:"lacks_scope,omitempty"` // active, but may not do what was asked of it
	SelfHosted bool            `json:"self_hosted,omitempty"` // only an installation of the operator's was asked; see Config
	Reason     Reason          `json:"reason,omitempty"`      // why the validity is unknown
	Evidence   Evidence        `json:"evidence"`

	// RetryAfter is how long a provider asked to be left alone.
	RetryAfter time.Duration `json:"-"`
}

// Evidence is what a verdict or a receipt rests on. It holds no secret: it can
// be stored, logged and shown.
type Evidence struct {
	Request  string            `json:"request"`            // "GET https://api.github.com/user", placeholders unfilled
	Status   int               `json:"status,omitempty"`   // of the response, 0 when none came
	Answer   string            `json:"answer"`             // short: "200 with identity", "html", "timeout"
	Identity map[string]string `json:"identity,omitempty"` // whose credential it is, in the provider's words
	Control  string            `json:"control,omitempty"`  // what the negative control said
	Radius   *Radius           `json:"radius,omitempty"`   // what it can do, of grade A alone
	At       time.Time         `json:"at"`
}

// A Receipt says what a provider answered to a revocation.
type Receipt struct {
	Meaning  rules.Meaning `json:"meaning"` // revoked, accepted or already_dead
	Evidence Evidence      `json:"evidence"`
}

// Abilities says what can be done, as configured, about a kind of credential.
type Abilities struct {
	Verify     bool
	Revoke     bool
	Reversible bool // revoking begins with a step that can be taken back
	Issue      bool
	Reason     string // why something cannot be done; empty when all can
}

// Definite refusals: nothing has changed anywhere.
var (
	// ErrCannotRevoke means that no program can revoke this credential.
	ErrCannotRevoke = errors.New("cannot be revoked")
	// ErrCannotIssue means that nothing was issued.
	ErrCannotIssue = errors.New("cannot be issued")
)

// An AnswerError is an answer that does not say what was asked for. The
// credential may or may not have changed: verify it.
type AnswerError struct {
	Rule     string
	Evidence Evidence
}

// Error names the request and the answer.
func (e *AnswerError) Error() string {
	return fmt.Sprintf("%s: %s answered %q (status %d): verify the credential before trying again",
		e.Rule, e.Evidence.Request, e.Evidence.Answer, e.Evidence.Status)
}

// Providers speaks to all providers of the catalogue.
type Providers struct {
	rules      map[string]*rules.Rule
	selfHosted map[string]bool
	verifiers  map[string]verifier // by the driver's name, like the next two
	revokers   map[string]revoker
	issuers    map[string]issuer
	web        *web
	vault      *vault
	engine     *engine
	off        bool
	only       map[string]bool // the kinds that are asked about; nil for all
	control    control
	limits     *limits
	cache      cache
	tally      tally
	flights    singleflight.Group
	key        []byte // of the names of credentials in memory; lives as long as the process
	within     time.Duration
	// changeWithin bounds a command, which may take several requests.
	changeWithin time.Duration
	now          func() time.Time
	log          *slog.Logger
}

// selfHosted names the providers whose refusal says nothing about other hosts. Who
// names a host for one knows where the credentials are from.
func selfHosted(cfg Config) map[string]bool {
	all := map[string]bool{}
	for _, rule := range cfg.Catalogue {
		if rule.Provider == nil {
			continue
		}
		name := rule.Provider.Name
		all[name] = cfg.SelfHosted[name] || rule.Provider.Elsewhere && cfg.BaseURLs[name] == ""
	}
	return all
}

// New returns the providers of a configuration. It connects to none of them.
func New(cfg Config) (*Providers, error) {
	p := &Providers{
		rules:        make(map[string]*rules.Rule, len(cfg.Catalogue)),
		selfHosted:   selfHosted(cfg),
		key:          make([]byte, sha256.Size),
		within:       answerWithin,
		changeWithin: 3 * answerWithin,
		now:          cfg.Now,
		log:          cfg.Logger,
	}
	rand.Read(p.key) // never fails: see crypto/rand
	if p.now == nil {
		p.now = time.Now
	}
	if p.log == nil {
		p.log = slog.New(slog.DiscardHandler)
	}
	for _, r := range cfg.Catalogue {
		p.rules[r.ID] = r
	}
	for _, id := range cfg.Only {
		if p.rules[id] == nil {
			return nil, fmt.Errorf("only some rules' credentials are to be verified, and %q is no rule: “stanch rules list” shows them", id)
		}
		if p.only == nil {
			p.only = map[string]bool{}
		}
		p.only[id] = true
	}
	p.off, p.limits = cfg.Off, newLimits(p.now)
	p.control = control{now: p.now, known: map[string]controlled{}}
	p.cache = cache{now: p.now, known: map[string]remembered{}}
	p.tally.all = map[Count]int{}
	var err error
	if p.web, err = newWeb(cfg, p.now, p.limits); err != nil {
		return nil, err
	}
	if p.vault, err = newVault(cfg, p.now); err != nil {
		return nil, err
	}
	if err := p.addDrivers(cfg); err != nil {
		return nil, err
	}
	return p, nil
}

// addDrivers makes the drivers of all kinds, by their names.
func (p *Providers) addDrivers(cfg Config) error {
	broker, err := newBroker(cfg, p.now)
	if err != nil {
		return err
	}
	hosts, err := parseHosts(cfg.VerifyHosts, cfg.VerifyRoots)
	if err != nil {
		return err
	}
	keySets, err := parseKeySets(cfg.JWTIssuers)
	if err != nil {
		return err
	}
	places, err := newPlaces(cfg, p.web, p.now)
	if err != nil {
		return err
	}
	administered, err := newAdministered(cfg, hosts, p.now)
	if err != nil {
		return err
	}
	accessKeys := newAccessKeys(cfg, p.now, p.log)
	deploys, err := newDeployKeys(cfg, p.now)
	if err != nil {
		return err
	}
	places = append(places, deploys.places()...)
	gcp := newGoogle(p.web, cfg.Google, p.now)
	apiKeys := &googleAPIKeys{gcp: gcp, pause: newKeyPause}
	apps := &entra{web: p.web, account: cfg.Azure, now: p.now}
	blobs := &storage{web: p.web, account: cfg.Azure, subscriptions: cfg.AzureSubscriptions, now: p.now}
	p.revokers = map[string]revoker{
		driverHTTP: p.web, driverVault: p.vault, driverAWS: accessKeys,
		driverGCP: gcp, driverGCPAPIKey: apiKeys, driverAzure: apps, driverStorage: blobs,
	}
	p.issuers = map[string]issuer{
		driverBroker: broker, driverVault: p.vault, driverAWS: accessKeys, driverDeployKey: deploys,
		driverGCP: gcp, driverGCPAPIKey: apiKeys, driverAzure: apps, driverStorage: blobs,
	}
	p.verifiers = map[string]verifier{
		driverHTTP:       p.web,
		driverVault:      p.vault,
		driverAWS:        &amazon{web: p.web, own: accessKeys, public: awsPartitions, accounts: cfg.AWSAccounts, pause: awsPause, now: p.now},
		driverJWT:        &tokens{keySets: keySets, client: p.web.trusted, now: p.now, fetched: map[string]fetchedKeys{}},
		driverGCP:        gcp,
		driverKubernetes: &kubernetes{web: p.web, now: p.now},
		driverAzure:      apps,
		driverStorage:    blobs,
	}
	for name, d := range administered {
		p.verifiers[name], p.revokers[name], p.issuers[name] = d, d, d
	}
	p.addVault(cfg, places, deploys)
	return nil
}

// Can says what can be done about a kind of credential as things are configured.
func (p *Providers) Can(rule string) Abilities {
	r, ok := p.rules[rule]
	if !ok {
		return Abilities{Reason: "no such rule: " + rule}
	}
	reasons := []string{p.whyNoVerify(r), p.whyNoRevoke(r), p.whyNoIssue(r)}
	can := Abilities{Verify: reasons[0] == "", Revoke: reasons[1] == "", Issue: reasons[2] == ""}
	_, can.Reversible = p.disabler(r)
	can.Reason = joinReasons(reasons)
	return can
}

func (p *Providers) rule(cred checks.Credential) (*rules.Rule, error) {
	rule, ok := p.rules[cred.Rule]
	if !ok {
		return nil, fmt.Errorf("rule %q is not in the catalogue", cred.Rule)
	}
	if cred.Secret().Len() == 0 {
		return nil, fmt.Errorf("credential of rule %s has no part %q", cred.Rule, checks.PartSecret)
	}
	return rule, nil
}

func (p *Providers) verifier(rule *rules.Rule) verifier {
	return p.verifiers[rule.Verify.DriverName()]
}
