package app

import (
	"context"
	"fmt"
	"strings"

	"github.com/stanch-dev/stanch/app/secretstore"
	"github.com/stanch-dev/stanch/app/store"
	"github.com/stanch-dev/stanch/checks"
)

// adopt names where the replacement of a credential that no store holds goes: the
// store and path of the policy, below that the rule and the incident.
func (a *App) adopt(i store.Incident) ([]place, error) {
	name, path, _ := strings.Cut(i.Adopt, ":")
	if path == "" {
		return nil, needPerson("No secret store that Stanch knows holds this credential, and the policy does not say which one takes its replacement: set adopt, then press Rotate now.")
	}
	if _, err := a.secretStore(name); err != nil {
		return nil, err
	}
	at := secretstore.Location{Store: name, Path: strings.TrimSuffix(path, "/") + "/" + i.Rule + "/" + i.ID, Field: checks.PartSecret}
	return []place{{Leaked: at, Adopted: true}}, nil
}

// putAdopted puts a replacement with all of its parts where nothing was.
func (r *remediation) putAdopted(ctx context.Context, s SecretStore, p *place, replacement checks.Credential, operation string) error {
	put, err := s.Put(ctx, p.Leaked, replacement.Parts, operation)
	if err != nil {
		return fmt.Errorf("store the replacement in %s: %w", p.Leaked, err)
	}
	p.Replacement = &put
	return nil
}
