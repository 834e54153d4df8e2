package secretstore

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// An Examination is what a Vault server says of Stanch's own token.
type Examination struct {
	Policies  []string
	Ends      time.Duration // how long the token is still good; 0 for ever
	Renewable bool
	Mounts    []string // that are searched
	Lacks     []Lack
	// Unasked says that the token may not ask what it may do: what it lacks shows
	// only when it is needed.
	Unasked bool
}

// A Lack is something that the token may not do, and what comes of it.
type Lack struct {
	Path, Capability string
	Without          string
	Optional         bool
}

// wanted are the lines of deploy/vault/stanch.hcl. MOUNT stands for a mount that is
// searched, and PATH for a secret in it.
var wanted = []Lack{
	{"MOUNT/metadata/", "list", "leaked credentials are not found there", false},
	{"MOUNT/metadata/PATH", "read", "leaked credentials are not found there", false},
	{"MOUNT/data/PATH", "read", "leaked credentials are not found there", false},
	{"MOUNT/data/PATH", "update", "leaked credentials there are not replaced", false},
	{"MOUNT/destroy/PATH", "update", "the leaked value stays in the secret's history", false},
	{"MOUNT/detailed-metadata/", "list", "each search asks for every secret by itself, as it must of Vault", true},
	{"MOUNT/metadata/PATH", "patch", "the operation is not noted beside a replacement", true},
	{"auth/token/lookup", "update", "a dead Vault token cannot be told from one that may not look itself up", true},
	{"auth/token/revoke", "update", "leaked Vault tokens that may not revoke themselves are left to a person", true},
}

// Examine asks the server about the token: whether it is good, and what it may do. It
// reads the names of secrets, and none of them.
func (v *Vault) Examine(ctx context.Context) (e Examination, err error) {
	self, err := v.client.Auth().Token().LookupSelfWithContext(ctx)
	if err != nil {
		return e, fmt.Errorf("look up Stanch's own token: %w", tell(err))
	}
	if e.Policies, err = self.TokenPolicies(); err != nil {
		return e, fmt.Errorf("read the policies of Stanch's own token: %w", err)
	}
	if e.Ends, err = self.TokenTTL(); err != nil {
		return e, fmt.Errorf("read the end of Stanch's own token: %w", err)
	}
	if e.Renewable, err = self.TokenIsRenewable(); err != nil {
		return e, fmt.Errorf("read whether Stanch's own token can be renewed: %w", err)
	}
	if e.Mounts, err = v.findMounts(ctx); err != nil {
		return e, err
	}
	return e, v.findLacks(ctx, &e)
}

func (v *Vault) findLacks(ctx context.Context, e *Examination) error {
	for _, w := range wanted {
		for _, at := range v.places(ctx, w.Path, e.Mounts) {
			can, err := v.client.Sys().CapabilitiesSelfWithContext(ctx, at)
			if denied(err) {
				e.Unasked = true
				return nil
			}
			if err != nil {
				return fmt.Errorf("ask what Stanch's own token may do at %s: %w", at, tell(err))
			}
			if !slices.Contains(can, w.Capability) && !slices.Contains(can, "root") {
				w.Path = at
				e.Lacks = append(e.Lacks, w)
			}
		}
	}
	return nil
}

// places fills in a path for each mount.
func (v *Vault) places(ctx context.Context, path string, mounts []string) (places []string) {
	if !strings.HasPrefix(path, "MOUNT/") {
		return []string{path}
	}
	for _, mount := range mounts {
		at := strings.Replace(path, "MOUNT", mount, 1)
		if strings.HasSuffix(at, "/PATH") {
			at = strings.TrimSuffix(at, "PATH") + v.sample(ctx, mount)
		}
		places = append(places, at)
	}
	return places
}

// deepest bounds how far down a secret is looked for.
const deepest = 16

// sample is the path of a secret that may be listed: policies may name the folders
// that Stanch is to look after. Without any it is a path that could be one.
func (v *Vault) sample(ctx context.Context, mount string) string {
	const none = "example"
	folder := ""
	for range deepest {
		names, err := v.list(ctx, mount, folder)
		if err != nil || len(names) == 0 {
			return folder + none
		}
		if name := names[0]; !strings.HasSuffix(name, "/") {
			return folder + name
		}
		folder += names[0]
	}
	return folder + none
}
