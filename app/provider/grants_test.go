package provider

import (
	"strings"
	"testing"

	"github.com/stanch-dev/stanch/app/cloud/cloudtest"
	"github.com/stanch-dev/stanch/app/grants"
)

// checkPolicy tries each action of a policy with the whole of it, and without each line
// that it needs, which has to fail and to name the line.
func checkPolicy(t *testing.T, c *cloudtest.Cloud, policy grants.Policy, try func(action string) error) {
	t.Helper()
	for n, line := range policy.Lines {
		for _, action := range strings.Split(line.For, ", ") {
			c.Grant(granted(policy)...)
			if err := try(action); err != nil {
				t.Errorf("%s with the whole policy: %v", action, err)
			}
			c.Grant(granted(policy.Without(n))...)
			if err := try(action); err == nil || !strings.Contains(err.Error(), line.Grant) {
				t.Errorf("%s without %s: %v", action, line.Grant, err)
			}
		}
	}
}

func granted(p grants.Policy) (all []string) {
	for _, l := range p.Lines {
		all = append(all, l.Grant)
	}
	return all
}
