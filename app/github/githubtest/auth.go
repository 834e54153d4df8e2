package githubtest

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// The limits of an App's JSON web token (GitHub Apps, "Generating a JSON web
// token"): it may end ten minutes ahead at most. A clock a little ahead of
// GitHub's is forgiven.
const (
	maxTokenAhead = 10 * time.Minute
	clockSkew     = time.Minute
)

// refuse is a 401.
func refuse(message string) *apiError {
	return &apiError{Status: http.StatusUnauthorized, Message: message}
}

// authenticate finds out who calls, and whether the route is for him.
func (c *call) authenticate(who who) error {
	scheme, credential := bearer(c.Request)
	switch {
	case credential == "":
		return anonymous(who)
	case who == nobody:
		return &apiError{Status: http.StatusForbidden, Message: "This endpoint may only be called without authentication."}
	case who == byClient:
		return c.authenticateClient()
	case who == byApp:
		return c.authenticateApp(scheme, credential)
	}
	t := c.tokens[credential]
	if !t.live(c.now()) || (scheme != "bearer" && scheme != "token") {
		return errBadCredentials
	}
	c.token = t
	if t.installation != nil {
		c.app = t.installation.app
	}
	if who == byInstalled && c.app == nil {
		return errNeedsApp
	}
	return nil
}

func anonymous(who who) error {
	switch who {
	case anyone, nobody:
		return nil
	case byApp:
		return refuse("A JSON web token could not be decoded")
	}
	return errNeedsToken
}

// claims are what an App says of itself.
type claims struct {
	Issuer  any     `json:"iss"`
	Issued  float64 `json:"iat"`
	Expires float64 `json:"exp"`
}

// authenticateApp checks an App's JSON web token: its signature too.
func (c *call) authenticateApp(scheme, credential string) error {
	parts := strings.Split(credential, ".")
	if scheme != "bearer" || len(parts) != 3 {
		return refuse("A JSON web token could not be decoded")
	}
	var header struct {
		Algorithm string `json:"alg"`
	}
	var claims claims
	if !decodePart(parts[0], &header) || !decodePart(parts[1], &claims) || header.Algorithm != "RS256" {
		return refuse("A JSON web token could not be decoded")
	}
	c.app = c.issuer(claims.Issuer)
	if c.app == nil {
		return &apiError{Status: http.StatusNotFound, Message: "Integration not found"}
	}
	if !verified(&c.app.key.PublicKey, parts) {
		return refuse("A JSON web token could not be decoded")
	}
	return claims.timely(c.now())
}

// timely checks the claims' times.
func (claims claims) timely(now time.Time) error {
	issued := time.Unix(int64(claims.Issued), 0)
	expires := time.Unix(int64(claims.Expires), 0)
	switch {
	case claims.Issued == 0 || issued.After(now.Add(clockSkew)):
		return refuse("'Issued at' claim ('iat') must be an Integer representing the time that the assertion was issued.")
	case claims.Expires == 0 || !expires.After(now):
		return refuse("'Expiration time' claim ('exp') must be a numeric value representing the future time at which the assertion expires.")
	case expires.After(now.Add(maxTokenAhead)):
		return refuse("'Expiration time' claim ('exp') is too far in the future")
	}
	return nil
}

func decodePart(part string, v any) bool {
	data, err := base64.RawURLEncoding.DecodeString(part)
	return err == nil && json.Unmarshal(data, v) == nil
}

func verified(public *rsa.PublicKey, parts []string) bool {
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil {
		return false
	}
	sum := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	return rsa.VerifyPKCS1v15(public, crypto.SHA256, sum[:], signature) == nil
}

// issuer is the App that a token says it is from, by its id or its client id.
func (s *Server) issuer(iss any) *app {
	name := ""
	switch iss := iss.(type) {
	case string:
		name = iss
	case float64:
		name = strconv.FormatInt(int64(iss), 10)
	}
	for _, app := range s.apps {
		if name == app.clientID || name == strconv.FormatInt(app.id, 10) {
			return app
		}
	}
	return nil
}

// maySee reports whether the caller can tell that a repository exists.
func (c *call) maySee(repo *repository) bool {
	switch {
	case c.token == nil && c.app != nil: // an App by itself learns where it is installed
		return c.app.installedAt(repo) != nil
	case !repo.private && (c.token == nil || c.token.user != nil):
		return true
	case c.token == nil:
		return false
	case c.token.user != nil:
		return repo.permissionOf(c.token.user.login) != "none"
	}
	return c.token.reaches(repo)
}

// reaches reports whether an installation's token is for a repository.
func (t *token) reaches(repo *repository) bool {
	return t.installation.has(repo) && (t.repositories == nil || t.repositories[repo.id])
}

// permit checks that an installation was given the permission that is needed,
// and that a person may write where he writes.
func (c *call) permit(need string) error {
	if need == "" || c.token == nil {
		return nil
	}
	name, level, _ := strings.Cut(need, ":")
	if c.token.user != nil {
		if level == "write" && c.repo.permissionOf(c.token.user.login) == "none" {
			return errNotFound
		}
		return nil
	}
	if granted := c.token.permissions[name]; granted == "write" || granted == level {
		return nil
	}
	return errNotAccessible
}
