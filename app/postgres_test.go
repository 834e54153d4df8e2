package app_test

import "testing"

// TestOnPostgres runs tests that go all the way once more, on PostgreSQL.
func TestOnPostgres(t *testing.T) {
	t.Setenv(testDatabase, "postgres")
	for name, test := range map[string]func(*testing.T){
		"pushes":                            TestPushes,
		"two people rotate by command":      TestTwoPeopleRotateByCommand,
		"asked before it acts":              TestAskedBeforeItActs,
		"an alert is remediated":            TestAlertIsRemediated,
		"an import is remediated":           TestImportIsRemediated,
		"repositories come, move and go":    TestDashboardOfTwoRepositories,
		"a long push after a restart":       TestLongPushGoesOnAfterARestart,
		"somebody else changed the store":   TestSomebodyElseChangedTheStore,
		"one comment for many quick pushes": TestOneCommentForQuickPushes,
	} {
		t.Run(name, test)
	}
}
