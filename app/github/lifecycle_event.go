package github

import (
	"cmp"
	"errors"
	"strings"
)

// A MergeGroup says that a merge queue wants to know about a commit, or no longer.
type MergeGroup struct {
	Action           string
	HeadSHA, BaseSHA string
	BaseRef          string // the branch that it goes to
	Repository       Repository
	Installation     int64
}

// A CheckSuiteEvent says that somebody wants all checks of a commit run again, or
// that GitHub made a suite for it.
type CheckSuiteEvent struct {
	Action       string
	HeadSHA      string
	AppID        int64 // whose suite it is
	Sender       string
	Repository   Repository
	Installation int64
}

// An InstallationEvent says that the App may do more or less than before: events
// "installation" and "installation_repositories". GitHub leaves long lists out, so
// what is listed is not all.
type InstallationEvent struct {
	Action         string
	Added, Removed []Repository // without their default branches
	Installation   int64
}

// A RepositoryEvent says that something became of a repository itself.
type RepositoryEvent struct {
	Action       string
	Repository   Repository // as it is now
	Installation int64
}

// An AlertEvent says that GitHub's own secret scanning found something. It does
// not say the secret.
type AlertEvent struct {
	Action       string
	Number       int
	Sender       string
	Repository   Repository
	Installation int64
}

// From implements Event.
func (e MergeGroup) From() int64 { return e.Installation }

// From implements Event.
func (e CheckSuiteEvent) From() int64 { return e.Installation }

// From implements Event.
func (e InstallationEvent) From() int64 { return e.Installation }

// From implements Event.
func (e RepositoryEvent) From() int64 { return e.Installation }

// From implements Event.
func (e AlertEvent) From() int64 { return e.Installation }

// payloadCommon is what the payloads of these events share.
type payloadCommon struct {
	Action       string              `json:"action"`
	Sender       payloadAccount      `json:"sender"`
	Repository   payloadRepository   `json:"repository"`
	Installation payloadInstallation `json:"installation"`
}

// check judges the parts that are taken from it.
func (p payloadCommon) check() (Repository, error) {
	repo, err := p.Repository.repository()
	return repo, cmp.Or(err, checkText("action", p.Action), checkText("sender", p.Sender.Login), checkText("default_branch", repo.DefaultBranch))
}

func parseMergeGroup(body []byte) (Event, error) {
	var p struct {
		payloadCommon
		MergeGroup struct {
			HeadSHA string `json:"head_sha"`
			BaseSHA string `json:"base_sha"`
			BaseRef string `json:"base_ref"` // "refs/heads/main"
		} `json:"merge_group"`
	}
	if err := decode(body, &p); err != nil {
		return nil, err
	}
	repo, err := p.check()
	event := MergeGroup{
		Action: p.Action, HeadSHA: p.MergeGroup.HeadSHA, BaseSHA: p.MergeGroup.BaseSHA,
		BaseRef:    strings.TrimPrefix(p.MergeGroup.BaseRef, "refs/heads/"),
		Repository: repo, Installation: p.Installation.ID,
	}
	return event, cmp.Or(err, checkSHA("head_sha", event.HeadSHA), checkSHA("base_sha", event.BaseSHA),
		checkText("action", event.Action), checkText("base_ref", event.BaseRef))
}

func parseCheckSuite(body []byte) (Event, error) {
	var p struct {
		payloadCommon
		CheckSuite struct {
			HeadSHA string `json:"head_sha"`
			App     struct {
				ID int64 `json:"id"`
			} `json:"app"`
		} `json:"check_suite"`
	}
	if err := decode(body, &p); err != nil {
		return nil, err
	}
	repo, err := p.check()
	event := CheckSuiteEvent{
		Action: p.Action, HeadSHA: p.CheckSuite.HeadSHA, AppID: p.CheckSuite.App.ID, Sender: p.Sender.Login,
		Repository: repo, Installation: p.Installation.ID,
	}
	return event, cmp.Or(err, checkSHA("head_sha", event.HeadSHA))
}

func parseInstallation(body []byte) (Event, error) {
	var p struct {
		Action       string              `json:"action"`
		Repositories []payloadRepository `json:"repositories"`
		Added        []payloadRepository `json:"repositories_added"`
		Removed      []payloadRepository `json:"repositories_removed"`
		Installation payloadInstallation `json:"installation"`
	}
	if err := decode(body, &p); err != nil {
		return nil, err
	}
	event := InstallationEvent{Action: p.Action, Installation: p.Installation.ID}
	var err, removedErr error
	event.Added, err = repositories(append(p.Repositories, p.Added...))
	event.Removed, removedErr = repositories(p.Removed)
	return event, cmp.Or(err, removedErr, checkText("action", p.Action))
}

func repositories(payloads []payloadRepository) ([]Repository, error) {
	var all []Repository
	for _, p := range payloads {
		repo, err := p.repository()
		if err != nil {
			return nil, err
		}
		all = append(all, repo)
	}
	return all, nil
}

func parseRepositoryEvent(body []byte) (Event, error) {
	var p payloadCommon
	if err := decode(body, &p); err != nil {
		return nil, err
	}
	repo, err := p.check()
	return RepositoryEvent{Action: p.Action, Repository: repo, Installation: p.Installation.ID}, err
}

func parseAlert(body []byte) (Event, error) {
	var p struct {
		payloadCommon
		Alert struct {
			Number int `json:"number"`
		} `json:"alert"`
	}
	if err := decode(body, &p); err != nil {
		return nil, err
	}
	repo, err := p.check()
	if err == nil && p.Alert.Number <= 0 {
		err = errors.New("payload names no alert")
	}
	return AlertEvent{Action: p.Action, Number: p.Alert.Number, Sender: p.Sender.Login, Repository: repo, Installation: p.Installation.ID}, err
}
