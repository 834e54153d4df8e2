package awstest

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
)

// An STSKey is one that STS knows.
type STSKey struct {
	Secret, Token string
	Inactive      bool
	Expired       bool
}

// STS decides whose a request is as AWS does: by a signature with the secret of an
// active key.
type STS struct {
	mu   sync.Mutex
	keys map[string]STSKey
}

// Set makes a key known.
func (s *STS) Set(id string, key STSKey) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.keys == nil {
		s.keys = map[string]STSKey{}
	}
	s.keys[id] = key
}

func (s *STS) activate(id string, active bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if key, ok := s.keys[id]; ok {
		key.Inactive = !active
		s.keys[id] = key
	}
}

func (s *STS) delete(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.keys, id)
}

// Works reports whether a key that does not expire is good.
func (s *STS) Works(id, secret string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	key, known := s.keys[id]
	return known && !key.Inactive && key.Secret == secret
}

// CallerIdentity is STS's answer about a user or role.
func CallerIdentity(arn string) string {
	account := strings.Split(arn+":::::", ":")[4]
	return fmt.Sprintf(`<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetCallerIdentityResult><Arn>%s</Arn><UserId>AIDASHOP</UserId><Account>%s</Account></GetCallerIdentityResult><ResponseMetadata><RequestId>1</RequestId></ResponseMetadata></GetCallerIdentityResponse>`, arn, account)
}

// Error is a refusal of STS or IAM.
func Error(code, message string) string {
	return fmt.Sprintf(`<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type><Code>%s</Code><Message>%s</Message></Error><RequestId>1</RequestId></ErrorResponse>`, code, message)
}

// Judge checks a signature of version 4, and returns the key's id or STS's refusal:
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
func (s *STS) Judge(r *http.Request, body []byte) (id, code, message string) {
	named := map[string]string{}
	authorization, ok := strings.CutPrefix(r.Header.Get("Authorization"), "AWS4-HMAC-SHA256 ")
	for field := range strings.SplitSeq(authorization, ", ") {
		name, value, _ := strings.Cut(field, "=")
		named[name] = value
	}
	scope := strings.Split(named["Credential"], "/")
	if !ok || len(scope) != 5 {
		return "", "IncompleteSignature", "no signature of version 4"
	}
	s.mu.Lock()
	key, known := s.keys[scope[0]]
	s.mu.Unlock()
	switch {
	case !known || key.Inactive || key.Token != r.Header.Get("X-Amz-Security-Token"):
		return "", "InvalidClientTokenId", "The security token included in the request is invalid."
	case key.Expired:
		return "", "ExpiredToken", "The security token included in the request is expired"
	}
	headers := strings.Split(named["SignedHeaders"], ";")
	request := strings.Join([]string{r.Method, "/", "", canonical(r, headers), named["SignedHeaders"], fmt.Sprintf("%x", sha256.Sum256(body))}, "\n")
	text := strings.Join([]string{"AWS4-HMAC-SHA256", r.Header.Get("X-Amz-Date"), strings.Join(scope[1:], "/"), fmt.Sprintf("%x", sha256.Sum256([]byte(request)))}, "\n")
	sum := []byte("AWS4" + key.Secret)
	for _, part := range append(scope[1:], text) {
		mac := hmac.New(sha256.New, sum)
		io.WriteString(mac, part)
		sum = mac.Sum(nil)
	}
	if hex.EncodeToString(sum) != named["Signature"] || !slices.Contains(headers, "host") || !slices.Contains(headers, "x-amz-date") {
		return "", "SignatureDoesNotMatch", "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method."
	}
	return scope[0], "", ""
}

func canonical(r *http.Request, headers []string) string {
	var text strings.Builder
	for _, name := range headers {
		value := r.Header.Get(name)
		switch name {
		case "host":
			value = r.Host
		case "content-length":
			value = fmt.Sprint(r.ContentLength)
		}
		fmt.Fprintf(&text, "%s:%s\n", name, strings.TrimSpace(value))
	}
	return text.String()
}

// OnlySTS answers GetCallerIdentity, and nothing else, about keys whose owner is told by
// their ids.
func (s *STS) OnlySTS(owner func(id string) string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		form, _ := url.ParseQuery(string(body))
		id, code, message := s.Judge(r, body)
		w.Header().Set("Content-Type", "text/xml")
		switch {
		case code != "":
			w.WriteHeader(http.StatusForbidden)
			io.WriteString(w, Error(code, message))
		case form.Get("Action") == "GetCallerIdentity":
			io.WriteString(w, CallerIdentity(owner(id)))
		}
	}
}
