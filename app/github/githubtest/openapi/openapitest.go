package openapi

import (
	"os"
	"testing"
)

// Variable names the environment variable that says where the description is.
const Variable = "STANCH_OPENAPI"

// Path is where the description is. Without one the test is skipped, unless
// STANCH_CI=1 says that there has to be one.
func Path(t testing.TB) string {
	t.Helper()
	path := os.Getenv(Variable)
	switch {
	case path != "":
	case os.Getenv("STANCH_CI") == "1":
		t.Fatalf("%s is not set: it must name GitHub's API description", Variable)
	default:
		t.Skipf("%s is not set: it names GitHub's API description", Variable)
	}
	return path
}

// ForTest loads the description for a test; see Path.
func ForTest(t testing.TB) *Validator {
	t.Helper()
	v, err := Load(Path(t))
	if err != nil {
		t.Fatal(err)
	}
	return v
}
