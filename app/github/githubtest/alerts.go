package githubtest

import (
	"fmt"
	"net/http"
	"time"
)

// An Alert is one of GitHub's own secret scanning.
type Alert struct {
	Number     int
	State      string // open or resolved
	Resolution string
	Comment    string
	By         string // who resolved it
}

type alert struct {
	Alert
	secret   string
	kind     string
	created  time.Time
	resolved time.Time
}

// FindSecret makes an alert about a secret, as GitHub's own scan does, and returns
// its number. The kind is GitHub's name of the kind of secret.
func (s *Server) FindSecret(repository, kind, secret string) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	repo, err := s.repository(repository)
	if err != nil {
		return 0, err
	}
	a := &alert{Alert: Alert{Number: len(repo.alerts) + 1, State: "open"}, secret: secret, kind: kind, created: s.now()}
	repo.alerts = append(repo.alerts, a)
	s.sendAlert(repo, a, "created", s.account("github", "Organization"))
	return a.Number, nil
}

// sendAlert tells the Apps of an alert. The secret is not told.
func (s *Server) sendAlert(repo *repository, a *alert, action string, sender *account) {
	shown := a.json(s, repo)
	delete(shown, "secret")
	s.sendAbout(repo, "secret_scanning_alert", object{"action": action, "alert": shown, "sender": sender.simple(s)})
}

// TellAlert sends an event about an alert again, with another action.
func (s *Server) TellAlert(repository string, number int, action string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	repo, err := s.repository(repository)
	if err != nil {
		return err
	}
	a := repo.alert(int64(number))
	if a == nil {
		return fmt.Errorf("tell of alert %d of %s: there is no such one", number, repository)
	}
	s.sendAlert(repo, a, action, s.account("github", "Organization"))
	return nil
}

// Alerts lists a repository's alerts.
func (s *Server) Alerts(repository string) []Alert {
	s.mu.Lock()
	defer s.mu.Unlock()
	repo, err := s.repository(repository)
	if err != nil {
		return nil
	}
	return each(repo.alerts, func(a *alert) Alert { return a.Alert })
}

func (r *repository) alert(number int64) *alert {
	if number < 1 || number > int64(len(r.alerts)) {
		return nil
	}
	return r.alerts[number-1]
}

func (a *alert) json(s *Server, repo *repository) object {
	at := s.api("/repos/%s/secret-scanning/alerts/%d", repo.fullName(), a.Number)
	shown := object{
		"number": a.Number, "created_at": stamp(a.created), "updated_at": stamp(a.created), "url": at,
		"html_url": s.web("/%s/security/secret-scanning/%d", repo.fullName(), a.Number), "locations_url": at + "/locations",
		"state": a.State, "resolution": nullable(a.Resolution), "resolved_at": stamp(a.resolved), "resolved_by": nil,
		"resolution_comment": nullable(a.Comment), "secret_type": a.kind, "secret_type_display_name": a.kind, "secret": a.secret,
		"validity": "unknown", "push_protection_bypassed": false, "push_protection_bypassed_by": nil, "push_protection_bypassed_at": nil,
		"publicly_leaked": false, "multi_repo": false,
	}
	if a.By != "" {
		shown["resolved_by"] = s.account(a.By, "User").simple(s)
	}
	return shown
}

func showAlert(c *call) (int, any, error) {
	a := c.repo.alert(c.id("number"))
	if a == nil {
		return 0, nil, errNotFound
	}
	shown := a.json(c.Server, c.repo)
	if c.query().Get("hide_secret") == "true" {
		delete(shown, "secret")
	}
	return http.StatusOK, shown, nil
}

// updateAlert answers PATCH: whoever resolves an alert says how.
func updateAlert(c *call) (int, any, error) {
	a := c.repo.alert(c.id("number"))
	if a == nil {
		return 0, nil, errNotFound
	}
	var ask struct {
		State      string `json:"state"`
		Resolution string `json:"resolution"`
		Comment    string `json:"resolution_comment"`
	}
	if err := c.decode(&ask); err != nil {
		return 0, nil, err
	}
	if ask.State == "resolved" && ask.Resolution == "" || ask.State != "resolved" && ask.State != "open" {
		return 0, nil, invalid("Validation Failed")
	}
	a.State, a.Resolution, a.Comment, a.By, a.resolved = ask.State, ask.Resolution, ask.Comment, c.app.bot.login, c.now()
	action := "resolved"
	if ask.State == "open" {
		a.Resolution, a.By, a.resolved = "", "", time.Time{}
		action = "reopened"
	}
	c.sendAlert(c.repo, a, action, c.app.bot)
	return http.StatusOK, a.json(c.Server, c.repo), nil
}
