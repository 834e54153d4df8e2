package cloud

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/stanch-dev/stanch/checks"
)

const (
	azureLogin = "https://login.microsoftonline.com"
	// azureAssertion is how a workload identity says who it is.
	// https://learn.microsoft.com/en-us/entra/identity-platform/v2-oauth2-client-creds-grant-flow
	azureAssertion = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
	// azureEarly is how long before its end a token is not used any more.
	azureEarly = 5 * time.Minute
)

// An AzureConfig says who Stanch is at Microsoft Entra, in the variables that Azure's
// own tools read.
type AzureConfig struct {
	Tenant    string        // AZURE_TENANT_ID
	Client    string        // AZURE_CLIENT_ID
	Secret    checks.Secret // AZURE_CLIENT_SECRET, or
	TokenFile string        // AZURE_FEDERATED_TOKEN_FILE, which somebody else renews
	Authority string        // AZURE_AUTHORITY_HOST; Entra of the public cloud when empty
}

// Azure is Stanch's account at Microsoft Entra.
type Azure struct {
	cfg    AzureConfig
	client *http.Client

	mu     sync.Mutex
	tokens map[string]azureToken // by scope
}

type azureToken struct {
	value checks.Secret
	until time.Time
}

var azureName = regexp.MustCompile(`^[0-9A-Za-z][0-9A-Za-z.-]{2,252}$`)

// NewAzure checks the settings. It connects to nothing.
func NewAzure(cfg AzureConfig) (*Azure, error) {
	switch {
	case !azureName.MatchString(cfg.Tenant) || !azureName.MatchString(cfg.Client):
		return nil, errors.New("AZURE_TENANT_ID and AZURE_CLIENT_ID must both be set, to the ids of the tenant and of Stanch's own app there")
	case (cfg.Secret.Len() == 0) == (cfg.TokenFile == ""):
		return nil, errors.New("set AZURE_FEDERATED_TOKEN_FILE, or AZURE_CLIENT_SECRET, and not both")
	}
	if cfg.Authority == "" {
		cfg.Authority = azureLogin
	}
	u, err := url.Parse(cfg.Authority)
	if err != nil || u.Host == "" || u.User != nil || u.Scheme != "https" && u.Hostname() != "127.0.0.1" {
		return nil, errors.New("AZURE_AUTHORITY_HOST is not of the form https://login.microsoftonline.com")
	}
	cfg.Authority = strings.TrimRight(cfg.Authority, "/")
	return &Azure{cfg: cfg, client: NewClient(), tokens: map[string]azureToken{}}, nil
}

var azureID = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)

// IsAzureID reports whether a text is an id as Azure's subscriptions and apps have.
func IsAzureID(text string) bool { return azureID.MatchString(text) }

// Is reports whether a client secret is Stanch's own.
func (a *Azure) Is(client string, secret checks.Secret) bool {
	return strings.EqualFold(client, a.cfg.Client) && secret == a.cfg.Secret
}

// Tenant is the id, or a domain, of the account's tenant.
func (a *Azure) Tenant() string { return a.cfg.Tenant }

// For gets tokens for one interface, such as "https://graph.microsoft.com".
func (a *Azure) For(resource string) func(context.Context) (checks.Secret, error) {
	scope := resource + "/.default"
	return func(ctx context.Context) (checks.Secret, error) { return a.token(ctx, scope) }
}

// token is a token that is kept, or a new one. Who else wants one waits.
func (a *Azure) token(ctx context.Context, scope string) (checks.Secret, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if known := a.tokens[scope]; time.Now().Before(known.until) {
		return known.value, nil
	}
	fresh, err := a.ask(ctx, scope)
	if err != nil {
		return checks.Secret{}, fmt.Errorf("no token for Stanch's own account at Microsoft Entra: %w", err)
	}
	a.tokens[scope] = fresh
	return fresh.value, nil
}

func (a *Azure) ask(ctx context.Context, scope string) (azureToken, error) {
	form := url.Values{"grant_type": {"client_credentials"}, "client_id": {a.cfg.Client}, "scope": {scope}}
	if a.cfg.TokenFile == "" {
		form.Set("client_secret", a.cfg.Secret.Expose())
	} else {
		assertion, err := os.ReadFile(a.cfg.TokenFile)
		if err != nil {
			return azureToken{}, fmt.Errorf("AZURE_FEDERATED_TOKEN_FILE: %w", err)
		}
		form.Set("client_assertion_type", azureAssertion)
		form.Set("client_assertion", strings.TrimSpace(string(assertion)))
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, a.cfg.Authority+"/"+a.cfg.Tenant+"/oauth2/v2.0/token", strings.NewReader(form.Encode()))
	if err != nil {
		return azureToken{}, errors.New("no request can be made of AZURE_TENANT_ID")
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := a.client.Do(req)
	if err != nil {
		return azureToken{}, errors.New("no answer")
	}
	defer resp.Body.Close()
	return readAzureToken(resp)
}

func readAzureToken(resp *http.Response) (azureToken, error) {
	var answer struct {
		AccessToken string `json:"access_token"`
		ExpiresIn   int    `json:"expires_in"`
		Error       string
		ErrorCodes  []int `json:"error_codes"`
	}
	err := json.NewDecoder(io.LimitReader(resp.Body, maxBody)).Decode(&answer)
	if err != nil || resp.StatusCode != http.StatusOK || answer.AccessToken == "" {
		return azureToken{}, fmt.Errorf("%d %s %v", resp.StatusCode, short(answer.Error), answer.ErrorCodes)
	}
	until := time.Now().Add(time.Duration(answer.ExpiresIn)*time.Second - azureEarly)
	return azureToken{checks.NewSecret(answer.AccessToken), until}, nil
}
