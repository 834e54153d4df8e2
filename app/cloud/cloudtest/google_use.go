package cloudtest

import (
	"net/http"
	"regexp"
	"strings"
	"time"
)

// KeyUse is Google's Policy Analyzer, as far as it tells of the keys of an IAM.
type KeyUse struct {
	Until time.Time            // the end of what it has looked through
	Used  map[string]time.Time // the day of a key's last use by the key's id; the zero Time for never
	Off   bool                 // it is not enabled in the project
	iam   *IAM
}

// NewKeyUse adds one to an IAM's cloud. It has not looked at any key yet.
func NewKeyUse(iam *IAM, until time.Time) *KeyUse {
	f := &KeyUse{Until: until, Used: map[string]time.Time{}, iam: iam}
	iam.Find(f.find)
	return f
}

func (f *KeyUse) find(r *http.Request) (Operation, bool) {
	ok := r.Method == "GET" && r.URL.Path == "/v1/projects/shop/locations/global/activityTypes/serviceAccountKeyLastAuthentication/activities:query"
	return Operation{Needs: "policyanalyzer.serviceAccountKeyLastAuthenticationActivities.query", Do: func() (int, any) {
		if f.Off {
			return 403, map[string]any{"error": map[string]any{"code": 403, "status": "PERMISSION_DENIED", "details": []any{map[string]string{"reason": "SERVICE_DISABLED"}}}}
		}
		return f.query(r.URL.Query().Get("filter"))
	}}, ok
}

var useFilter = regexp.MustCompile(`^activities\.full_resource_name="//iam\.googleapis\.com/projects/shop/serviceAccounts/([^/"]+)/keys/([0-9a-f]{40})"$`)

func (f *KeyUse) query(filter string) (int, any) {
	all := []any{}
	for _, one := range strings.Split(filter, " OR ") {
		m := useFilter.FindStringSubmatch(one)
		if m == nil {
			return GoogleError(400, "INVALID_ARGUMENT")
		}
		used, seen := f.Used[m[2]]
		if !seen || f.iam.Key(m[1], m[2]) == nil {
			continue
		}
		name := "//iam.googleapis.com/projects/shop/serviceAccounts/" + m[1] + "/keys/" + m[2]
		activity := map[string]any{"serviceAccountKey": map[string]string{"fullResourceName": name, "projectNumber": googleProjectNumber}}
		if !used.IsZero() {
			activity["lastAuthenticatedTime"] = used
		}
		all = append(all, map[string]any{
			"fullResourceName": name, "activityType": "serviceAccountKeyLastAuthentication", "activity": activity,
			"observationPeriod": map[string]any{"startTime": f.Until.AddDate(-1, 0, 0), "endTime": f.Until},
		})
	}
	return 200, map[string]any{"activities": all}
}
