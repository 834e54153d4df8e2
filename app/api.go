package app

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/json"
	"net/http"
	"strings"

	"github.com/stanch-dev/stanch/checks"
)

// authenticated lets through who knows the API's token, and tells others nothing.
func (a *App) authenticated(next http.Handler) http.Handler {
	// Fingerprints under a random key are compared: of equal length, and in constant time.
	key := make(checks.FingerprintKey, 32)
	rand.Read(key) // never fails
	want := []byte(a.cfg.APIToken.Fingerprint(key))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		got := []byte(checks.NewSecret(strings.TrimSpace(token)).Fingerprint(key))
		if !strings.EqualFold(scheme, "Bearer") || subtle.ConstantTimeCompare(got, want) != 1 {
			w.Header().Set("WWW-Authenticate", `Bearer realm="stanch"`)
			refuse(w, http.StatusUnauthorized, "say the API's token: Authorization: Bearer …")
			return
		}
		next.ServeHTTP(w, r)
	})
}

// refuse answers with a message.
func refuse(w http.ResponseWriter, status int, message string) {
	answerJSON(w, status, map[string]string{"message": message})
}

func answerJSON(w http.ResponseWriter, status int, value any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(value) // the caller is gone if it fails
}
