package secretstore

import (
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/stanch-dev/stanch/app/ownaws"
	"github.com/stanch-dev/stanch/app/ownaws/awstest"
	"github.com/stanch-dev/stanch/checks"
)

// A manager is AWS Secrets Manager, with Stanch as a user who has no rights where moto
// asks for any.
type manager struct {
	*awstest.Server
	t *testing.T
}

func newManager(t *testing.T) *manager {
	t.Helper()
	m := &manager{awstest.Start(t), t}
	m.As("stanch")
	return m
}

// under has a subtest be the one that fails.
func (m *manager) under(t *testing.T) {
	m.t = t
	m.Under(t)
}

// count counts the requests of an action since it was last asked.
func (m *manager) count(actions ...string) (n []int) {
	for _, action := range actions {
		n = append(n, len(m.Requests(action)))
	}
	m.Forget()
	return n
}

// stages are a secret's versions that have labels, by the label.
func (m *manager) stages(name string) map[string]string {
	m.t.Helper()
	all := map[string]string{}
	versions, _ := m.Secrets("DescribeSecret", map[string]any{"SecretId": name})["VersionIdsToStages"].(map[string]any)
	for version, labels := range versions {
		for _, label := range labels.([]any) {
			all[label.(string)] = version
		}
	}
	return all
}

func (m *manager) store(cfg AWSConfig) *AWS {
	m.t.Helper()
	cfg.Own, cfg.Key = ownaws.New(ownaws.Config{Endpoint: m.URL}), testKey
	if cfg.Regions == nil {
		cfg.Regions = []string{awstest.Region}
	}
	a, err := NewAWS(cfg)
	if err != nil {
		m.t.Fatal(err)
	}
	return a
}

func (m *manager) at(name, field string, version Version) Location {
	return Location{Store: "aws", Path: awstest.Region + "/" + name, Field: field, Version: version}
}

func TestAWS(t *testing.T) {
	m := newManager(t)
	testStore(t, m.store(AWSConfig{}), m.store(AWSConfig{}), awstest.Region+"/", previousOnly)
}

// A Put whose answer was lost, or that crashed halfway, is done once when it is done
// again; AWSPENDING stays nowhere.
func TestAWSPutAgain(t *testing.T) {
	m := newManager(t)
	for _, action := range []string{"PutSecretValue", "UpdateSecretVersionStage", "CreateSecret", "DescribeSecret", "GetSecretValue"} {
		t.Run(action, func(t *testing.T) {
			m.under(t)
			s, name := m.store(AWSConfig{}), "again/"+action
			loc := m.at(name, "token", "")
			if action != "CreateSecret" {
				var err error
				if loc, err = putOne(t.Context(), s, loc, fresh(), "op-0"); err != nil {
					t.Fatal(err)
				}
			}
			value := fresh()
			m.Lose(action, 99) // the SDK's own attempts too
			if _, err := putOne(t.Context(), s, loc, value, "op-1"); err == nil {
				t.Fatal("no answer came, and that is no error")
			}
			m.Lose(action, 0)
			first, err := putOne(t.Context(), m.store(AWSConfig{}), loc, value, "op-1")
			if err != nil {
				t.Fatal(err)
			}
			again, err := putOne(t.Context(), s, loc, value, "op-1")
			if err != nil || again != first {
				t.Errorf("%s, %v; want %s", again, err, first)
			}
			now, err := s.Get(t.Context(), first)
			if err != nil || now.Fields["token"] != value {
				t.Errorf("%v", err)
			}
			want := map[string]string{awsCurrent: string(first.Version)}
			if loc.Version != "" {
				want["AWSPREVIOUS"] = string(loc.Version)
			}
			if got := m.stages(name); !maps.Equal(got, want) {
				t.Errorf("labels %v, want %v", got, want)
			}
			if other, err := putOne(t.Context(), s, loc, fresh(), "op-1"); !errors.Is(err, ErrConflict) {
				t.Errorf("another value of the same operation: %s, %v", other, err)
			}
		})
	}
}

func TestAWSRetire(t *testing.T) {
	m := newManager(t)
	s := m.store(AWSConfig{})
	one, err := putOne(t.Context(), s, m.at("labels", "token", ""), fresh(), "op-1")
	if err != nil {
		t.Fatal(err)
	}
	two, err := putOne(t.Context(), s, one, fresh(), "op-2")
	if err != nil {
		t.Fatal(err)
	}
	m.Secrets("UpdateSecretVersionStage", map[string]any{"SecretId": "labels", "VersionStage": "blue", "MoveToVersionId": string(one.Version)})
	m.Secrets("UpdateSecretVersionStage", map[string]any{"SecretId": "labels", "VersionStage": "green", "MoveToVersionId": string(two.Version)})
	for range 2 {
		if err := s.Retire(t.Context(), one); err != nil {
			t.Fatal(err)
		}
		if got := m.stages("labels"); !maps.Equal(got, map[string]string{awsCurrent: string(two.Version), "green": string(two.Version)}) {
			t.Errorf("labels %v", got)
		}
	}
}

// What AWS or the owners rotate by themselves is found, and not written.
func TestAWSManaged(t *testing.T) {
	m := newManager(t)
	s := m.store(AWSConfig{})
	value := fresh()
	m.Secrets("CreateSecret", map[string]any{"Name": "managed", "SecretString": `{"password":"` + value.Expose() + `"}`})
	for flag, want := range map[string]string{
		`"RotationEnabled":true`:           "rotate-secret --region " + awstest.Region,
		`"OwningService":"rds"`:            "the service rds owns it",
		`"PrimaryRegion":"ap-southeast-2"`: "copy of the secret in ap-southeast-2",
	} {
		m.On("DescribeSecret", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/x-amz-json-1.1")
			io.WriteString(w, `{"Name":"managed",`+flag+`,"VersionIdsToStages":{"`+m.stages("managed")[awsCurrent]+`":["AWSCURRENT"]}}`)
		})
		found, err := s.Locate(t.Context(), fingerprint(value))
		if err != nil || len(found) != 1 || found[0].Field != "password" {
			t.Fatalf("%v, %v", found, err)
		}
		_, err = putOne(t.Context(), s, found[0], fresh(), "op")
		if err == nil || !strings.Contains(err.Error(), want) || errors.Is(err, ErrManaged) == strings.Contains(flag, "Primary") {
			t.Errorf("%s: %v", flag, err)
		}
		if n := m.count("PutSecretValue")[0]; n > 0 {
			t.Errorf("%s: %d versions were written", flag, n)
		}
	}
}

// The index reads each version once, and looks again at what it finds.
func TestAWSIndex(t *testing.T) {
	m := newManager(t)
	s := m.store(AWSConfig{})
	const secrets = 230
	values := map[string]checks.Secret{}
	for n := range secrets {
		name := "many/" + string(rune('a'+n%26)) + strings.Repeat("x", n/26)
		values[name] = fresh()
		m.Secrets("CreateSecret", map[string]any{"Name": name, "SecretString": values[name].Expose()})
	}
	m.Secrets("CreateSecret", map[string]any{"Name": "raw", "SecretBinary": "AAEC"})
	name := "many/cxxx"
	find := func() []Location {
		t.Helper()
		found, err := s.Locate(t.Context(), fingerprint(values[name]))
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	if found := find(); len(found) != 1 || found[0].Path != awstest.Region+"/"+name || found[0].Field != WholeText || found[0].Superseded {
		t.Fatalf("found %v", found)
	}
	if n := m.count("ListSecrets", "GetSecretValue"); n[0] != 3 || n[1] != secrets+1 {
		t.Errorf("%d lists and reads of %d secrets", n, secrets+1)
	}
	find()
	if n := m.count("ListSecrets", "GetSecretValue"); n[0] != 3 || n[1] != 0 {
		t.Errorf("again %d lists and reads", n)
	}
	if got := s.Skipped(); !slices.Equal(got, []string{awstest.Region + "/raw (binary)"}) {
		t.Errorf("skipped %q", got)
	}
	t.Run("a list that is old", func(t *testing.T) {
		page := m.Secrets("ListSecrets", map[string]any{"MaxResults": 100, "Filters": []any{map[string]any{"Key": "name", "Values": []string{name}}}})
		m.Secrets("PutSecretValue", map[string]any{"SecretId": name, "SecretString": fresh().Expose()})
		m.On("ListSecrets", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/x-amz-json-1.1")
			json.NewEncoder(w).Encode(page)
		})
		defer m.On("ListSecrets", nil)
		if found := find(); len(found) != 1 || !found[0].Superseded {
			t.Errorf("found %v: the secret has another value by now", found)
		}
	})
	if _, err := m.store(AWSConfig{MaxSecrets: 50}).Locate(t.Context(), fingerprint(values[name])); !errors.Is(err, ErrTooMany) {
		t.Errorf("%v, want ErrTooMany", err)
	}
}
