package github

import (
	"context"
	"fmt"
	"net/http"

	gh "github.com/google/go-github/v62/github"

	"github.com/stanch-dev/stanch/checks"
)

// An Alert is what GitHub's own secret scanning found.
type Alert struct {
	Secret checks.Secret
	Type   string // GitHub's name of the kind of secret
	Open   bool
}

// Alert asks GitHub for an alert with its secret. The webhook does not tell it.
func (i *Installation) Alert(ctx context.Context, repo Repository, number int) (Alert, error) {
	if err := checkPath(repo); err != nil {
		return Alert{}, err
	}
	var alert struct {
		Secret string `json:"secret"`
		Type   string `json:"secret_type"`
		State  string `json:"state"`
	}
	err := i.do(ctx, readAlerts.in(repo), func(ctx context.Context, c *gh.Client) error {
		_, err := send(ctx, c, http.MethodGet, alertPath(repo, number)+"?hide_secret=false", nil, &alert)
		return err
	})
	if err != nil {
		return Alert{}, fmt.Errorf("ask for alert %d of %s: %w", number, repo.FullName(), err)
	}
	return Alert{Secret: checks.NewSecret(alert.Secret), Type: alert.Type, Open: alert.State == "open"}, nil
}

// ResolveAlert closes an alert as revoked, with the reason.
func (i *Installation) ResolveAlert(ctx context.Context, repo Repository, number int, comment string) error {
	if err := checkPath(repo); err != nil {
		return err
	}
	body := map[string]string{"state": "resolved", "resolution": "revoked", "resolution_comment": comment}
	err := i.do(ctx, writeAlerts.in(repo), func(ctx context.Context, c *gh.Client) error {
		_, err := send(ctx, c, http.MethodPatch, alertPath(repo, number), body, nil)
		return err
	})
	if err != nil {
		return fmt.Errorf("resolve alert %d of %s: %w", number, repo.FullName(), err)
	}
	return nil
}

func alertPath(repo Repository, number int) string {
	return fmt.Sprintf("repos/%s/%s/secret-scanning/alerts/%d", repo.Owner, repo.Name, number)
}
