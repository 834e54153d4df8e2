package secretstore

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stanch-dev/stanch/app/cloud"
	"github.com/stanch-dev/stanch/app/cloud/cloudtest"
)

// googleProjectNumber is what Google calls project "shop" in its answers.
const googleProjectNumber = "20000000001"

// A fakeVersion is a version at a fakeSecretManager.
type fakeVersion struct {
	data, state string
	created     time.Time
}

type fakeGCPSecret struct {
	annotations map[string]string
	aliases     map[string]string
	etag        int
	versions    []fakeVersion
}

// fakeSecretManager is Secret Manager with pages of two.
type fakeSecretManager struct {
	*cloudtest.Cloud
	t         *testing.T
	own       []byte
	names     []string // in the order in which they are listed
	secrets   map[string]*fakeGCPSecret
	beforeAdd func(name string) // somebody else, who is quicker
	afterAdd  func(name string) // or who comes next
	limited   int               // how many readings are refused
	closed    string            // a secret that Stanch's account may not read
}

func newFakeSecretManager(t *testing.T) *fakeSecretManager {
	f := &fakeSecretManager{t: t, secrets: map[string]*fakeGCPSecret{}}
	f.Cloud, f.own = cloudtest.Google(t)
	f.Find(f.find)
	return f
}

func (f *fakeSecretManager) open() *GCP {
	f.t.Helper()
	account, err := cloud.NewGoogle(f.own)
	if err != nil {
		f.t.Fatal(err)
	}
	s, err := NewGCP(GCPConfig{Account: account, Projects: []string{"shop"}, Key: testKey, BaseURL: f.URL})
	if err != nil {
		f.t.Fatal(err)
	}
	s.keeper.(*gcpKeeper).pause = time.Millisecond
	return s
}

// insert adds a version, by whomever.
func (f *fakeSecretManager) insert(name, data string) int {
	if f.secrets[name] == nil {
		f.names, f.secrets[name] = append(f.names, name), &fakeGCPSecret{}
	}
	s := f.secrets[name]
	s.versions = append(s.versions, fakeVersion{data: data, state: "ENABLED", created: time.Now().UTC()})
	return len(s.versions)
}

func (f *fakeSecretManager) find(r *http.Request) (cloudtest.Operation, bool) {
	rest, ok := strings.CutPrefix(r.URL.Path, "/v1/projects/shop/secrets")
	name, rest, nested := strings.Cut(strings.TrimPrefix(rest, "/"), "/versions")
	name, verb, _ := strings.Cut(name, ":")
	number, access, _ := strings.Cut(strings.TrimPrefix(rest, "/"), ":")
	do := func(needs string, do func() (int, any)) (cloudtest.Operation, bool) {
		return cloudtest.Operation{Needs: "secretmanager." + needs, Do: do}, true
	}
	switch s := f.secrets[name]; {
	case !ok:
		return cloudtest.Operation{}, false
	case name == "" && r.Method == "GET":
		return do("secrets.list", func() (int, any) { return f.listSecrets(r) })
	case name == "" && r.Method == "POST":
		return do("secrets.create", func() (int, any) { return f.create(r) })
	case s == nil:
		return do("secrets.get", func() (int, any) { return cloudtest.GoogleError(404, "NOT_FOUND") })
	case verb == "addVersion":
		return do("versions.add", func() (int, any) { return f.add(name, r) })
	case nested && number == "":
		return do("versions.list", func() (int, any) { return f.listVersions(name, r) })
	case nested && access == "access":
		return do("versions.access", func() (int, any) { return f.access(name, number) })
	case nested && access == "destroy":
		return do("versions.destroy", func() (int, any) { return f.destroy(s, number) })
	case r.Method == "GET":
		return do("secrets.get", func() (int, any) { return 200, s.shown(name) })
	case r.Method == "PATCH" && r.URL.Query().Get("updateMask") == "annotations":
		return do("secrets.update", func() (int, any) { return f.annotate(name, r) })
	}
	return cloudtest.Operation{}, false
}

func (s *fakeGCPSecret) shown(name string) map[string]any {
	return map[string]any{"name": "projects/" + googleProjectNumber + "/secrets/" + name, "etag": fmt.Sprint(s.etag), "annotations": s.annotations, "versionAliases": s.aliases}
}

// page cuts two out of n, and says where the next two begin.
func page(r *http.Request, n int) (from, to int, next string) {
	from, _ = strconv.Atoi(r.URL.Query().Get("pageToken"))
	if to = from + 2; to < n {
		return from, to, strconv.Itoa(to)
	}
	return min(from, n), n, ""
}

func (f *fakeSecretManager) listSecrets(r *http.Request) (int, any) {
	from, to, next := page(r, len(f.names))
	all := []any{}
	for _, name := range f.names[from:to] {
		all = append(all, f.secrets[name].shown(name))
	}
	return 200, map[string]any{"secrets": all, "nextPageToken": next}
}

func (f *fakeSecretManager) listVersions(name string, r *http.Request) (int, any) {
	versions := f.secrets[name].versions
	from, to, next := page(r, len(versions))
	all := []any{}
	for n := from; n < to; n++ {
		all = append(all, map[string]any{"name": fmt.Sprintf("projects/%s/secrets/%s/versions/%d", googleProjectNumber, name, n+1),
			"state": versions[n].state, "createTime": versions[n].created})
	}
	return 200, map[string]any{"versions": all, "nextPageToken": next}
}

func (f *fakeSecretManager) create(r *http.Request) (int, any) {
	name := r.URL.Query().Get("secretId")
	if f.secrets[name] != nil {
		return cloudtest.GoogleError(409, "ALREADY_EXISTS")
	}
	body := cloudtest.Body[struct{ Annotations map[string]string }](r)
	f.names, f.secrets[name] = append(f.names, name), &fakeGCPSecret{annotations: body.Annotations}
	return 200, f.secrets[name].shown(name)
}

func (f *fakeSecretManager) annotate(name string, r *http.Request) (int, any) {
	body := cloudtest.Body[struct {
		Etag        string
		Annotations map[string]string
	}](r)
	s := f.secrets[name]
	if body.Etag != fmt.Sprint(s.etag) {
		return cloudtest.GoogleError(400, "FAILED_PRECONDITION")
	}
	s.etag++
	s.annotations = body.Annotations
	return 200, s.shown(name)
}

func (f *fakeSecretManager) add(name string, r *http.Request) (int, any) {
	body := cloudtest.Body[struct {
		Payload struct {
			Data       []byte
			DataCrc32c string
		}
	}](r)
	if body.Payload.DataCrc32c != sum(body.Payload.Data) {
		return cloudtest.GoogleError(400, "INVALID_ARGUMENT")
	}
	if before := f.beforeAdd; before != nil {
		f.beforeAdd = nil
		before(name)
	}
	n := f.insert(name, string(body.Payload.Data))
	if after := f.afterAdd; after != nil {
		f.afterAdd = nil
		after(name)
	}
	return 200, map[string]any{"name": fmt.Sprintf("projects/%s/secrets/%s/versions/%d", googleProjectNumber, name, n)}
}

func (f *fakeSecretManager) access(name, number string) (int, any) {
	n, _ := strconv.Atoi(number)
	switch s := f.secrets[name]; {
	case f.limited > 0:
		f.limited--
		return cloudtest.GoogleError(429, "RESOURCE_EXHAUSTED")
	case name == f.closed:
		return cloudtest.GoogleError(403, "PERMISSION_DENIED")
	case n < 1 || n > len(s.versions):
		return cloudtest.GoogleError(404, "NOT_FOUND")
	case s.versions[n-1].state != "ENABLED":
		return cloudtest.GoogleError(400, "FAILED_PRECONDITION")
	default:
		data := []byte(s.versions[n-1].data)
		return 200, map[string]any{"payload": map[string]any{"data": base64.StdEncoding.EncodeToString(data), "dataCrc32c": sum(data)}}
	}
}

func (f *fakeSecretManager) destroy(s *fakeGCPSecret, number string) (int, any) {
	n, _ := strconv.Atoi(number)
	if n < 1 || n > len(s.versions) {
		return cloudtest.GoogleError(404, "NOT_FOUND")
	}
	s.versions[n-1].state, s.versions[n-1].data = "DESTROYED", ""
	return 200, map[string]any{}
}

// calls are how many calls have this in them.
func (f *fakeSecretManager) calls(part string) (n int) {
	f.Do(func() {
		for _, c := range f.Calls {
			if strings.Contains(c, part) {
				n++
			}
		}
	})
	return n
}

// text is what readers of "latest" get.
func (f *fakeSecretManager) text(name string) (text string) {
	f.Do(func() {
		versions := f.secrets[name].versions
		if last := versions[len(versions)-1]; last.state == "ENABLED" {
			text = last.data
		}
	})
	return text
}

func deploy(version Version, field string) Location {
	return Location{Store: "gcp", Path: "projects/shop/secrets/deploy", Field: field, Version: version}
}
