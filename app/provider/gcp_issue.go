package provider

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"path"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/stanch-dev/stanch/app/cloud"
	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/rules"
)

const (
	// https://cloud.google.com/iam/quotas: keys of one service account
	googleMostKeys = 10
	googleKeyBits  = 2048
	// What forbids one of the two ways to a key, with or without ".managed" in its name.
	// https://cloud.google.com/iam/docs/troubleshoot-org-policies
	forbidsUpload = "disableServiceAccountKeyUpload"
	forbidsCreate = "disableServiceAccountKeyCreation"
	// keysSeen are the ids of the account's keys before anything was asked for.
	keysSeen = "keys"
)

// noEnd is the end of a certificate that has none, as that of the keys which Google
// makes itself. https://www.rfc-editor.org/rfc/rfc5280#section-4.1.2.5
var noEnd = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)

func (g *google) whyNoIssue(*rules.Rule) string {
	if g.account == nil {
		return "issue: " + noGoogle
	}
	return ""
}

// holds is the service account, which has room for ten keys.
func (g *google) holds(_ *rules.Rule, t Target) string {
	return "gcp service account " + t.Parts["email"].Expose()
}

// prepare makes a key pair here, so that Google never has its private half, and the
// request for it can be repeated.
func (g *google) prepare(ctx context.Context, rule *rules.Rule, t Target, _ string) (Prepared, error) {
	if whyNoKeyFile(t) != "" {
		return Prepared{}, nil // issue says so
	}
	all, err := g.userKeys(ctx, t.Parts["email"].Expose())
	if err != nil && !cloud.Answered(err, http.StatusForbidden, http.StatusNotFound) { // these, issue tells
		return Prepared{}, fmt.Errorf("%s: %w", rule.ID, err)
	}
	private, err := rsa.GenerateKey(rand.Reader, googleKeyBits)
	if err != nil {
		return Prepared{}, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return Prepared{}, err
	}
	var ids []string
	for _, k := range all {
		ids = append(ids, k.id)
	}
	text := string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	return Prepared{Draft: keyFile(t, "", text), Seen: map[string]string{keysSeen: strings.Join(ids, " ")}}, nil
}

// whyNoKeyFile says why a new key could not take a leaked one's place.
func whyNoKeyFile(t Target) string {
	if t.Parts["id"].Len() == 0 || !googleEmail.MatchString(t.Parts["email"].Expose()) {
		return "the private_key_id and the client_email do not stand beside the leaked key, so that nobody knows where the new ones belong: a person replaces it"
	}
	return ""
}

// keyFile is the credential of a new key of the same account, its private half written
// as that of the old one is: in a JSON file the ends of its lines are escaped.
func keyFile(old Target, id, private string) checks.Credential {
	was := old.Secret().Expose()
	if strings.HasSuffix(was, "-----") {
		private = strings.TrimSuffix(private, "\n")
	}
	if strings.Contains(was, `\n`) {
		private = strings.ReplaceAll(private, "\n", `\n`)
	}
	fresh := checks.Credential{Rule: old.Rule, Parts: map[string]checks.Secret{checks.PartSecret: checks.NewSecret(private)}}
	for _, same := range []string{"email", "project"} {
		if part, ok := old.Parts[same]; ok {
			fresh.Parts[same] = part
		}
	}
	if id != "" {
		fresh.Parts["id"] = checks.NewSecret(id)
	}
	return fresh
}

// issue uploads the certificate of the key that was prepared, unless it is there
// already. Where the organisation forbids that, Google makes a key.
func (g *google) issue(ctx context.Context, rule *rules.Rule, r Request) (checks.Credential, error) {
	cannot := func(err error) (checks.Credential, error) {
		return checks.Credential{}, fmt.Errorf("issue %s: %w: %w", rule.ID, ErrCannotIssue, err)
	}
	email, draft := r.Old.Parts["email"].Expose(), r.Prepared.Draft.Secret().Expose()
	if why := whyNoKeyFile(r.Old); why != "" {
		return cannot(errors.New(why))
	}
	mine, err := readKey(draft)
	if err != nil {
		return checks.Credential{}, fmt.Errorf("issue %s: the key that was prepared cannot be read", rule.ID)
	}
	all, err := g.userKeys(ctx, email)
	switch {
	case err != nil && !r.Again && cloud.Answered(err, http.StatusForbidden, http.StatusNotFound):
		return cannot(err)
	case err != nil:
		return checks.Credential{}, fmt.Errorf("issue %s: %w", rule.ID, err)
	}
	if there := ofKey(all, mine.spki); len(there) > 0 {
		return g.settle(ctx, r, there, draft)
	}
	if len(all) >= googleMostKeys {
		return cannot(fmt.Errorf("the service account has %d keys, and Google allows no more: a person deletes one that nobody uses", len(all)))
	}
	id, err := g.upload(ctx, email, draft, r.Operation)
	switch said := new(cloud.Error); {
	case err == nil:
		return keyFile(r.Old, id, asPEM(draft)), nil
	case errors.As(err, &said) && said.Mentions(forbidsUpload):
		return g.create(ctx, rule, r, all)
	case errors.As(err, &said) && said.Refused() && said.Status != http.StatusTooManyRequests:
		return cannot(err)
	}
	return checks.Credential{}, fmt.Errorf("issue %s: %w", rule.ID, err)
}

// settle takes what came of earlier requests: the key is there, under one id or, where
// a list was behind the times, under several, of which one is enough.
func (g *google) settle(ctx context.Context, r Request, there []userKey, draft string) (checks.Credential, error) {
	slices.SortFunc(there, func(a, b userKey) int { return strings.Compare(a.id, b.id) })
	for _, k := range there[1:] {
		err := g.iam().Do(ctx, keyCall(http.MethodDelete, r.Old.Parts["email"].Expose(), k.id, "", mayDeleteKey), nil)
		if err != nil && !cloud.Answered(err, http.StatusNotFound) {
			return checks.Credential{}, fmt.Errorf("delete a second id of the new key: %w", err)
		}
	}
	return keyFile(r.Old, there[0].id, asPEM(draft)), nil
}

// upload has Google know a key's public half.
// https://cloud.google.com/iam/docs/keys-upload
func (g *google) upload(ctx context.Context, email, private, operation string) (id string, err error) {
	certificate, err := selfSigned(private, operation)
	if err != nil {
		return "", err
	}
	call := keyCall(http.MethodPost, email, "", ":upload", mayCreateKey)
	call.Body = map[string]string{"publicKeyData": certificateData(certificate)}
	var made struct{ Name string }
	if err := g.iam().Do(ctx, call, &made); err != nil {
		return "", err
	}
	if id = path.Base(made.Name); made.Name == "" {
		return "", errors.New("the answer to the upload names no key")
	}
	return id, nil
}

// selfSigned is the certificate that Google wants a public key in.
func selfSigned(private, operation string) ([]byte, error) {
	parsed, err := ssh.ParseRawPrivateKey([]byte(asPEM(private)))
	if err != nil {
		return nil, errKeyText
	}
	key, ok := parsed.(*rsa.PrivateKey)
	if !ok {
		return nil, errKeyText
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: short("stanch " + operation)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: noEnd, // clocks differ
	}
	return x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
}

// asPEM takes the escapes out of a key that keyFile wrote.
func asPEM(text string) string { return strings.ReplaceAll(text, `\n`, "\n") }

// create has Google make the key. Its private half comes once, in the answer: when
// that was lost nobody has it, and nothing tells whose the key is that was made.
func (g *google) create(ctx context.Context, rule *rules.Rule, r Request, all []userKey) (checks.Credential, error) {
	email := r.Old.Parts["email"].Expose()
	if r.Again {
		return checks.Credential{}, unsettledKeys(r, email, all)
	}
	call := keyCall(http.MethodPost, email, "", "", mayCreateKey)
	call.Body = map[string]string{"privateKeyType": "TYPE_GOOGLE_CREDENTIALS_FILE", "keyAlgorithm": "KEY_ALG_RSA_2048"}
	var made struct{ PrivateKeyData []byte }
	err := g.iam().Do(ctx, call, &made)
	var said *cloud.Error
	switch {
	case errors.As(err, &said) && said.Mentions(forbidsCreate):
		return checks.Credential{}, fmt.Errorf("issue %s: %w: the organisation forbids to upload keys of service accounts and to create them: give the workload an identity that needs no key", rule.ID, ErrCannotIssue)
	case errors.As(err, &said) && said.Refused() && said.Status != http.StatusTooManyRequests:
		return checks.Credential{}, fmt.Errorf("issue %s: %w: %w", rule.ID, ErrCannotIssue, err)
	case err != nil:
		return checks.Credential{}, fmt.Errorf("issue %s: %w", rule.ID, err)
	}
	var file struct {
		ID      string `json:"private_key_id"`
		Email   string `json:"client_email"`
		Private string `json:"private_key"`
	}
	if json.Unmarshal(made.PrivateKeyData, &file) != nil || file.ID == "" || file.Email != email {
		return checks.Credential{}, &UnsettledError{"a key of " + email + " was created, and the answer is no key file of it: find the newest key and delete it."}
	}
	return keyFile(r.Old, file.ID, file.Private), nil
}

// unsettledKeys tells which keys came into being since the request was prepared.
func unsettledKeys(r Request, email string, all []userKey) error {
	before := strings.Fields(r.Prepared.Seen[keysSeen])
	var since []string
	for _, k := range all {
		if !slices.Contains(before, k.id) {
			since = append(since, k.id)
		}
	}
	if len(since) == 0 {
		return &UnsettledError{"no new key of " + email + " shows so far; look again in a few minutes, and delete one that nobody made."}
	}
	return &UnsettledError{"of " + email + " these keys are new, and the private half of one may be lost: " + strings.Join(since, ", ") + "; delete it if nobody else made it."}
}
