package app

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/stanch-dev/stanch/app/store"
	"github.com/stanch-dev/stanch/checks"
)

// authenticated lets through who knows a token of the API, and tells others nothing.
func (a *App) authenticated(next http.Handler) http.Handler {
	// Fingerprints under a random key are compared: of equal length, and in constant time.
	key := make(checks.FingerprintKey, 32)
	rand.Read(key)                // never fails
	tokens := map[string][]byte{} // by whose they are; "" is the one for all
	if a.cfg.APIToken.Len() > 0 {
		tokens[""] = []byte(a.cfg.APIToken.Fingerprint(key))
	}
	for name, token := range a.cfg.APITokens {
		tokens[strings.ToLower(name)] = []byte(token.Fingerprint(key))
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		got := []byte(checks.NewSecret(strings.TrimSpace(token)).Fingerprint(key))
		name, known := "", false
		for of, want := range tokens {
			if subtle.ConstantTimeCompare(got, want) == 1 {
				name, known = of, true
			}
		}
		if !known || !strings.EqualFold(scheme, "Bearer") {
			w.Header().Set("WWW-Authenticate", `Bearer realm="stanch"`)
			refuse(w, http.StatusUnauthorized, "say the API's token: Authorization: Bearer …")
			return
		}
		if said := r.Header.Get(CallerHeader); name == "" && said != "" {
			if tokens[strings.ToLower(said)] != nil {
				refuse(w, http.StatusForbidden, strings.ToLower(said)+" has a token of their own, and this is not it")
				return
			}
			name = said
		}
		who, err := apiCaller(name)
		if err != nil {
			refuse(w, http.StatusBadRequest, err.Error())
			return
		}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), callerKey{}, who)))
	})
}

// CallerHeader is the header in which a caller who says the token for all says for whom it
// calls, and is believed. Whose token it is counts more.
const CallerHeader = "Stanch-Caller"

// apiActor is the caller without a name.
const apiActor = "api"

// IsCaller reports whether callers can have a name.
func IsCaller(name string) bool { return callerName.MatchString(name) }

// callerName are the names that a caller can have.
var callerName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9@._+-]{0,63}$`)

// apiCaller is how the audit log names a caller.
func apiCaller(name string) (string, error) {
	switch {
	case name == "":
		return apiActor, nil
	case !IsCaller(name):
		return "", fmt.Errorf("%s names who calls: at most 64 letters, digits and @._+-, the first a letter or digit", CallerHeader)
	}
	return apiActor + ":" + strings.ToLower(name), nil
}

// callerKey is where a request's context keeps who calls.
type callerKey struct{}

// callerOf is who calls, as the audit log names them.
func callerOf(ctx context.Context) string {
	who, _ := ctx.Value(callerKey{}).(string)
	return cmp.Or(who, apiActor)
}

// incidentsAPI is the part of the API that is about incidents.
func (a *App) incidentsAPI() http.Handler {
	mux := http.NewServeMux()
	for pattern, answer := range map[string]answerer{
		"GET /api/v1/incidents":                a.listIncidents,
		"GET /api/v1/incidents/{id}":           a.showIncident,
		"GET /api/v1/incidents/{id}/plan":      a.planIncident,
		"POST /api/v1/incidents/{id}/approve":  a.approveIncident,
		"POST /api/v1/incidents/{id}/resolve":  a.resolveIncident,
		"POST /api/v1/incidents/{id}/undo":     a.change(a.Undo),
		"POST /api/v1/incidents/{id}/end-hold": a.change(a.EndHold),
		"POST /api/v1/incidents/{id}/confirm":  a.change(a.Confirm),
		"POST /api/v1/remediations":            a.remediate,
		"GET /api/v1/schedule":                 a.listSchedule,
		"GET /api/v1/halt":                     a.showHalt,
		"POST /api/v1/halt":                    a.halting(a.Halt),
		"POST /api/v1/resume":                  a.halting(a.Resume),
	} {
		mux.HandleFunc(pattern, a.answer(answer))
	}
	return mux
}

// An answerer answers a request with what is to be told, or with an error: a refusal,
// store.ErrNotFound, or what the log alone is to tell.
type answerer func(*http.Request) (any, error)

const (
	// apiTimeout bounds a call: providers and stores are asked for it.
	apiTimeout = 2 * time.Minute
	// maxCall bounds the body of a call: a key file is the largest credential.
	maxCall = 2 << 20
)

// answer serves what an answerer tells, as JSON.
func (a *App) answer(f answerer) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), apiTimeout)
		defer cancel()
		control := http.NewResponseController(w) // not every ResponseWriter can do this
		_ = control.SetWriteDeadline(time.Now().Add(apiTimeout + time.Second))
		r.Body = http.MaxBytesReader(w, r.Body, maxCall)
		told, err := f(r.WithContext(ctx))
		var why *refusal
		switch {
		case errors.As(err, &why):
			refuse(w, why.status, why.message)
		case errors.Is(err, store.ErrNotFound):
			refuse(w, http.StatusNotFound, "there is no such incident: GET /api/v1/incidents (stanch incidents list) lists them")
		case r.Context().Err() != nil: // nobody waits for the answer
		case err != nil:
			a.log.ErrorContext(ctx, "a call of the API failed", "path", r.URL.Path, "error", err)
			refuse(w, http.StatusInternalServerError, "the call failed: Stanch’s log says why; it is safe to send it again")
		default:
			answerJSON(w, http.StatusOK, told)
		}
	}
}

// readCall reads the body of a call. Errors do not quote it: it may hold a credential.
func readCall(r *http.Request, into any) error {
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	err := d.Decode(into)
	if err == nil && d.More() {
		err = errors.New("more than one value")
	}
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return &refusal{http.StatusRequestEntityTooLarge, fmt.Sprintf("the body has more than %d bytes", tooLarge.Limit)}
	case err != nil:
		return &refusal{http.StatusBadRequest, "the body is not the JSON object that this call takes: see docs/incidents.md"}
	}
	return nil
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
