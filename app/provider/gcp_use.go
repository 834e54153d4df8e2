package provider

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/stanch-dev/stanch/app/cloud"
	"github.com/stanch-dev/stanch/rules"
)

// When a key was last used, Google's Policy Analyzer tells: on which day, up to the end
// of what it has looked through, which is some days behind. Of uses outside Google
// Cloud, such as those of Workspace, it knows nothing.
// https://cloud.google.com/policy-intelligence/docs/activity-analyzer-service-account-authentication
const (
	googleAnalyzer = "https://policyanalyzer.googleapis.com"
	googleKeyUse   = "serviceAccountKeyLastAuthentication"
	mayQueryUse    = "policyanalyzer.serviceAccountKeyLastAuthenticationActivities.query"
	googleDay      = "2006-01-02"
)

// googleKeyName is the name of a key as IAM lists it. The first part is its project's.
var googleKeyName = regexp.MustCompile(`^projects/([0-9a-z.:-]+)/serviceAccounts/[0-9a-z_.@-]+/keys/[0-9a-f]+$`)

// A keyUse is what the Policy Analyzer tells of one key. A day is told as its beginning in
// Pacific time; a key that was never used has none.
type keyUse struct {
	FullResourceName  string
	ObservationPeriod struct{ EndTime time.Time }
	Activity          struct{ LastAuthenticatedTime time.Time }
}

// lastUse asks for the leaked key under all of its ids. That Stanch's account may not ask,
// or that Google has not looked at a key yet, is not known to be no use.
func (g *google) lastUse(ctx context.Context, rule *rules.Rule, t Target) (u Use, known bool, err error) {
	keys, _, err := g.victims(ctx, t)
	var said *cloud.Error
	switch {
	case errors.As(err, &said):
		return u, false, fmt.Errorf("find the key of %s: %w", rule.ID, err)
	case err != nil: // it is not known which key it is
		u.Evidence.Answer = err.Error()
		return u, false, nil
	case len(keys) == 0:
		u.Evidence.Answer = "the account has no such key"
		return u, false, nil
	}
	u.Evidence = Evidence{Request: "GET " + googleAnalyzer, At: g.now()}
	found, err := g.uses(ctx, keys)
	switch {
	case errors.As(err, &said) && said.Mentions("SERVICE_DISABLED"):
		u.Evidence.Answer = "the Policy Analyzer API is not enabled in the key's project"
		return u, false, nil
	case errors.As(err, &said) && said.Denied():
		u.Evidence.Answer = said.Error()
		return u, false, nil
	case err != nil:
		return u, false, fmt.Errorf("the last use of the key of %s: %w", rule.ID, err)
	case len(found) < len(keys):
		u.Evidence.Answer = "Google has not looked yet at when the key was used"
		return u, false, nil
	}
	u.Evidence.Status, u.Evidence.Answer = http.StatusOK, "200"
	until := found[0].ObservationPeriod.EndTime
	for _, k := range found {
		u.At = later(u.At, k.Activity.LastAuthenticatedTime)
		if k.ObservationPeriod.EndTime.Before(until) {
			until = k.ObservationPeriod.EndTime
		}
	}
	u.Partial = "Google tells the day, knows of no use since " + until.UTC().Format(googleDay) + " yet, and of none outside Google Cloud"
	return u, true, nil
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// uses asks about keys, of which there is at least one, and all of one account.
func (g *google) uses(ctx context.Context, keys []userKey) ([]keyUse, error) {
	var wanted, filter []string
	project := ""
	for _, k := range keys {
		m := googleKeyName.FindStringSubmatch(k.name)
		if m == nil {
			return nil, fmt.Errorf("%s is not the name of a key", short(k.name))
		}
		project = m[1]
		wanted = append(wanted, "//iam.googleapis.com/"+k.name)
		filter = append(filter, `activities.full_resource_name="//iam.googleapis.com/`+k.name+`"`)
	}
	path := "/v1/projects/" + project + "/locations/global/activityTypes/" + googleKeyUse + "/activities:query?filter=" + url.QueryEscape(strings.Join(filter, " OR "))
	var answer struct{ Activities []keyUse }
	err := g.web.api("gcp", googleAnalyzer, g.account.Token).Do(ctx, cloud.Call{Method: http.MethodGet, Path: path, Needs: mayQueryUse}, &answer)
	return slices.DeleteFunc(answer.Activities, func(u keyUse) bool { return !slices.Contains(wanted, u.FullResourceName) }), err
}
