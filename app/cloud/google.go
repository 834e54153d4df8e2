package cloud

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/google"

	"github.com/stanch-dev/stanch/checks"
)

// googleScope is the one scope that all of Google Cloud's interfaces take. What the
// account may do is for IAM to say.
const googleScope = "https://www.googleapis.com/auth/cloud-platform"

// Google is Stanch's account at Google Cloud.
type Google struct {
	Email string // of the service account whose key it is; empty without a key
	KeyID string
	// Key is the private key that Stanch logs in with, if it does so with a key.
	Key    checks.Secret
	source oauth2.TokenSource
}

// NewGoogle reads the file that GOOGLE_APPLICATION_CREDENTIALS names: the key of a
// service account, or the configuration of a workload identity. Without one the
// machine's own account is asked of Google's metadata server. It connects to nothing.
func NewGoogle(file []byte) (*Google, error) {
	if len(file) == 0 {
		return &Google{source: google.ComputeTokenSource("", googleScope)}, nil
	}
	var said struct {
		Type         string
		ClientEmail  string `json:"client_email"`
		PrivateKeyID string `json:"private_key_id"`
		PrivateKey   string `json:"private_key"`
	}
	if json.Unmarshal(file, &said) != nil {
		return nil, errors.New("GOOGLE_APPLICATION_CREDENTIALS does not name a JSON file")
	}
	kind := google.CredentialsType(said.Type)
	if kind != google.ServiceAccount && kind != google.ExternalAccount {
		return nil, fmt.Errorf("GOOGLE_APPLICATION_CREDENTIALS names a file of type %q: Stanch takes %q, or better %q, a workload identity", short(said.Type), google.ServiceAccount, google.ExternalAccount)
	}
	ctx := context.WithValue(context.Background(), oauth2.HTTPClient, NewClient())
	credentials, err := google.CredentialsFromJSONWithType(ctx, file, kind, googleScope)
	if err != nil {
		return nil, errors.New("the file that GOOGLE_APPLICATION_CREDENTIALS names cannot be used") // the error might quote it
	}
	return &Google{Email: said.ClientEmail, KeyID: said.PrivateKeyID, Key: checks.NewSecret(said.PrivateKey), source: credentials.TokenSource}, nil
}

// Token is a token of the account, kept until shortly before it ends.
func (g *Google) Token(context.Context) (checks.Secret, error) {
	token, err := g.source.Token()
	var answer *oauth2.RetrieveError
	switch {
	case errors.As(err, &answer):
		var said struct{ Error string }
		_ = json.Unmarshal(answer.Body, &said) // without one the status must do
		return checks.Secret{}, fmt.Errorf("no token for Stanch's own account at Google Cloud: %d %s", answer.Response.StatusCode, short(said.Error))
	case err != nil:
		return checks.Secret{}, errors.New("no token for Stanch's own account at Google Cloud: no answer that is one")
	}
	return checks.NewSecret(token.AccessToken), nil
}
