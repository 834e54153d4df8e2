package cloudtest

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"time"
)

// An AppSecret is a secret of an app at an Entra.
type AppSecret struct {
	KeyID, Name, Text string
	Start, End        time.Time
	Hidden            int // how many lists do not show it yet
}

// Entra is Microsoft Graph with apps, and where the apps log in.
type Entra struct {
	*Cloud
	Apps  map[string][]*AppSecret
	Late  []string // texts that were removed, and work on
	Lag   int      // how many lists do not show a new secret
	Begin []string // how the next texts begin
	next  int
	text  func() string // a new secret's
}

// NewEntra adds one to an Azure, without an app.
func NewEntra(c *Cloud, text func() string) *Entra {
	f := &Entra{Cloud: c, Apps: map[string][]*AppSecret{}, text: text}
	c.Find(f.find)
	c.Public(f.logIn)
	return f
}

// EntraError is what Entra answers who may not log in.
func EntraError(code int) map[string]any {
	return map[string]any{"error": "invalid_client", "error_description": "AADSTS" + strconv.Itoa(code) + ": …", "error_codes": []int{code}, "trace_id": "1"}
}

// EntraGrant is what Entra answers an app that may.
func EntraGrant(app string) map[string]any {
	claims, _ := json.Marshal(map[string]any{"appid": app, "tid": AzureTenant, "oid": "9", "app_displayname": "Shop", "roles": []string{"User.Read.All"}}) // texts can always be
	encode := base64.RawURLEncoding.EncodeToString
	token := encode([]byte(`{"alg":"RS256"}`)) + "." + encode(claims) + ".c2ln"
	return map[string]any{"token_type": "Bearer", "expires_in": 3599, "access_token": token}
}

// Insert gives an app a secret, by whomever.
func (f *Entra) Insert(app, name, text string) *AppSecret {
	f.next++
	s := &AppSecret{KeyID: fmt.Sprintf("00000000-0000-0000-0000-%012x", f.next), Name: name, Text: text,
		Start: time.Now(), End: time.Now().Add(2 * 365 * 24 * time.Hour), Hidden: f.Lag}
	f.Apps[app] = slices.Insert(f.Apps[app], len(f.Apps[app])/2, s)
	return s
}

// logIn is for apps other than Stanch's.
func (f *Entra) logIn(w http.ResponseWriter, r *http.Request) bool {
	if r.URL.Path != "/"+AzureTenant+"/oauth2/v2.0/token" {
		return false
	}
	app, text := r.FormValue("client_id"), r.FormValue("client_secret")
	works := func(s *AppSecret) bool { return s.Text == text && s.End.After(time.Now()) }
	if slices.ContainsFunc(f.Apps[app], works) || slices.Contains(f.Late, text) {
		f.answer(w, 200, EntraGrant(app))
	} else {
		f.answer(w, 401, EntraError(7000215))
	}
	return true
}

var appPath = regexp.MustCompile(`^/v1\.0/applications\(appId='([0-9a-f-]{36})'\)(/addPassword|/removePassword)?$`)

func (f *Entra) find(r *http.Request) (Operation, bool) {
	m := appPath.FindStringSubmatch(r.URL.Path)
	if r.Header.Get("Scope") != "https://graph.microsoft.com" {
		return Operation{}, false
	}
	app := ""
	if m != nil {
		app = m[1]
	}
	return Operation{Needs: "Application.ReadWrite.OwnedBy", Do: func() (int, any) {
		switch {
		case f.Apps[app] == nil:
			return AzureError(404, "Request_ResourceNotFound")
		case r.Method+m[2] == "GET":
			return 200, map[string]any{"appId": app, "passwordCredentials": f.list(app)}
		case m[2] == "/addPassword":
			return f.addPassword(app, r)
		}
		keyID := Body[struct{ KeyID string }](r).KeyID
		n := slices.IndexFunc(f.Apps[app], func(s *AppSecret) bool { return s.KeyID == keyID })
		if n < 0 {
			return AzureError(400, "Request_BadRequest")
		}
		f.Apps[app] = slices.Delete(f.Apps[app], n, n+1)
		return 204, nil
	}}, true
}

func (s *AppSecret) shown() map[string]any {
	return map[string]any{"keyId": s.KeyID, "displayName": s.Name, "hint": s.Text[:3], "startDateTime": s.Start, "endDateTime": s.End, "secretText": nil}
}

func (f *Entra) list(app string) []any {
	all := []any{}
	for _, s := range f.Apps[app] {
		if s.Hidden--; s.Hidden < 0 {
			all = append(all, s.shown())
		}
	}
	return all
}

func (f *Entra) addPassword(app string, r *http.Request) (int, any) {
	wanted := Body[struct {
		PasswordCredential struct {
			DisplayName string
			EndDateTime time.Time
		}
	}](r).PasswordCredential
	text := f.text()
	if len(f.Begin) > 0 {
		text, f.Begin = f.Begin[0]+text[3:], f.Begin[1:]
	}
	s := f.Insert(app, wanted.DisplayName, text)
	if !wanted.EndDateTime.IsZero() {
		s.End = wanted.EndDateTime
	}
	shown := s.shown()
	shown["secretText"] = text
	return 200, shown
}
