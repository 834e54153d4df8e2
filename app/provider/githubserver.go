package provider

import (
	"fmt"
	"maps"
	"slices"

	"github.com/stanch-dev/stanch/rules"
)

// The operator's own GitHub Enterprise Server revokes tokens by their values as github.com
// does, but it wants to know who asks, and knows personal access tokens alone.
// Source: https://docs.github.com/enterprise-server@3.19/rest/credentials/revoke
const (
	githubProvider = "github"
	partRevoker    = "revoker" // the token of whoever asks, in the request
)

var revokedByServers = []string{"github-pat", "github-fine-grained-pat"}

// asksAsSomebody reports whether a kind is revoked at the operator's GitHub, as whoever the
// operator said.
func (w *web) asksAsSomebody(rule *rules.Rule) bool {
	_, own := w.operator[githubProvider]
	return own && w.revoker.Len() > 0 && rule.Revoke.Batch != nil && rule.Provider != nil && rule.Provider.Name == githubProvider
}

func (w *web) whyNoServerRevokes(rule *rules.Rule) string {
	if w.asksAsSomebody(rule) && !slices.Contains(revokedByServers, rule.ID) {
		return "revoke: GitHub Enterprise Server revokes personal access tokens alone"
	}
	return ""
}

// introduced is a request with who asks.
func (w *web) introduced(request *rules.Request, f *filler) *rules.Request {
	with := *request
	with.Header = maps.Clone(request.Header)
	with.Header["Authorization"] = fmt.Sprintf("Bearer {%s}", partRevoker)
	f.parts[partRevoker] = w.revoker
	return &with
}
