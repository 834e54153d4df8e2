package cloudtest

import (
	"encoding/base64"
	"fmt"
	"hash/crc32"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// googleProjectNumber is what Google calls project "shop" in its answers.
const googleProjectNumber = "20000000001"

// A SecretVersion is one of a secret at a SecretManager.
type SecretVersion struct {
	Data, State string
	created     time.Time
}

// A ManagedSecret is one at a SecretManager.
type ManagedSecret struct {
	Annotations map[string]string
	Aliases     map[string]string
	Versions    []SecretVersion // the oldest first
	etag        int
}

// SecretManager is Google's for the project "shop", with pages of two.
type SecretManager struct {
	*Cloud
	Names     []string // in the order in which they are listed
	Secrets   map[string]*ManagedSecret
	BeforeAdd func(name string) // somebody else, who is quicker
	AfterAdd  func(name string) // or who comes next
	Limited   int               // how many readings are refused
	Closed    string            // a secret that Stanch's account may not read
}

// NewSecretManager adds one to a Google Cloud.
func NewSecretManager(c *Cloud) *SecretManager {
	f := &SecretManager{Cloud: c}
	f.Empty()
	c.Find(f.find)
	return f
}

// Empty removes all secrets.
func (f *SecretManager) Empty() { f.Names, f.Secrets = nil, map[string]*ManagedSecret{} }

// Remove removes a secret.
func (f *SecretManager) Remove(name string) {
	f.Names = slices.DeleteFunc(f.Names, func(n string) bool { return n == name })
	delete(f.Secrets, name)
}

// Insert adds a version, by whomever.
func (f *SecretManager) Insert(name, data string) int {
	if f.Secrets[name] == nil {
		f.Names, f.Secrets[name] = append(f.Names, name), &ManagedSecret{}
	}
	s := f.Secrets[name]
	s.Versions = append(s.Versions, SecretVersion{Data: data, State: "ENABLED", created: time.Now().UTC()})
	return len(s.Versions)
}

func (f *SecretManager) find(r *http.Request) (Operation, bool) {
	rest, ok := strings.CutPrefix(r.URL.Path, "/v1/projects/shop/secrets")
	name, rest, nested := strings.Cut(strings.TrimPrefix(rest, "/"), "/versions")
	name, verb, _ := strings.Cut(name, ":")
	number, access, _ := strings.Cut(strings.TrimPrefix(rest, "/"), ":")
	do := func(needs string, do func() (int, any)) (Operation, bool) {
		return Operation{Needs: "secretmanager." + needs, Do: do}, true
	}
	switch s := f.Secrets[name]; {
	case !ok:
		return Operation{}, false
	case name == "" && r.Method == "GET":
		return do("secrets.list", func() (int, any) { return f.listSecrets(r) })
	case name == "" && r.Method == "POST":
		return do("secrets.create", func() (int, any) { return f.create(r) })
	case s == nil:
		return do("secrets.get", func() (int, any) { return GoogleError(404, "NOT_FOUND") })
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
	return Operation{}, false
}

func (s *ManagedSecret) shown(name string) map[string]any {
	return map[string]any{"name": "projects/" + googleProjectNumber + "/secrets/" + name, "etag": fmt.Sprint(s.etag), "annotations": s.Annotations, "versionAliases": s.Aliases}
}

// page cuts two out of n, and says where the next two begin.
func page(r *http.Request, n int) (from, to int, next string) {
	from, _ = strconv.Atoi(r.URL.Query().Get("pageToken"))
	if to = from + 2; to < n {
		return from, to, strconv.Itoa(to)
	}
	return min(from, n), n, ""
}

func (f *SecretManager) listSecrets(r *http.Request) (int, any) {
	from, to, next := page(r, len(f.Names))
	all := []any{}
	for _, name := range f.Names[from:to] {
		all = append(all, f.Secrets[name].shown(name))
	}
	return 200, map[string]any{"secrets": all, "nextPageToken": next}
}

func (f *SecretManager) listVersions(name string, r *http.Request) (int, any) {
	versions := f.Secrets[name].Versions
	from, to, next := page(r, len(versions))
	all := []any{}
	for n := from; n < to; n++ {
		all = append(all, map[string]any{"name": fmt.Sprintf("projects/%s/secrets/%s/versions/%d", googleProjectNumber, name, n+1),
			"state": versions[n].State, "createTime": versions[n].created})
	}
	return 200, map[string]any{"versions": all, "nextPageToken": next}
}

func (f *SecretManager) create(r *http.Request) (int, any) {
	name := r.URL.Query().Get("secretId")
	if f.Secrets[name] != nil {
		return GoogleError(409, "ALREADY_EXISTS")
	}
	body := Body[struct{ Annotations map[string]string }](r)
	f.Names, f.Secrets[name] = append(f.Names, name), &ManagedSecret{Annotations: body.Annotations}
	return 200, f.Secrets[name].shown(name)
}

func (f *SecretManager) annotate(name string, r *http.Request) (int, any) {
	body := Body[struct {
		Etag        string
		Annotations map[string]string
	}](r)
	s := f.Secrets[name]
	if body.Etag != fmt.Sprint(s.etag) {
		return GoogleError(400, "FAILED_PRECONDITION")
	}
	s.etag++
	s.Annotations = body.Annotations
	return 200, s.shown(name)
}

func (f *SecretManager) add(name string, r *http.Request) (int, any) {
	body := Body[struct {
		Payload struct {
			Data       []byte
			DataCrc32c string
		}
	}](r)
	if body.Payload.DataCrc32c != sum(body.Payload.Data) {
		return GoogleError(400, "INVALID_ARGUMENT")
	}
	if before := f.BeforeAdd; before != nil {
		f.BeforeAdd = nil
		before(name)
	}
	n := f.Insert(name, string(body.Payload.Data))
	if after := f.AfterAdd; after != nil {
		f.AfterAdd = nil
		after(name)
	}
	return 200, map[string]any{"name": fmt.Sprintf("projects/%s/secrets/%s/versions/%d", googleProjectNumber, name, n)}
}

func (f *SecretManager) access(name, number string) (int, any) {
	n, _ := strconv.Atoi(number)
	switch s := f.Secrets[name]; {
	case f.Limited > 0:
		f.Limited--
		return GoogleError(429, "RESOURCE_EXHAUSTED")
	case name == f.Closed:
		return GoogleError(403, "PERMISSION_DENIED")
	case n < 1 || n > len(s.Versions):
		return GoogleError(404, "NOT_FOUND")
	case s.Versions[n-1].State != "ENABLED":
		return GoogleError(400, "FAILED_PRECONDITION")
	default:
		data := []byte(s.Versions[n-1].Data)
		return 200, map[string]any{"payload": map[string]any{"data": base64.StdEncoding.EncodeToString(data), "dataCrc32c": sum(data)}}
	}
}

func (f *SecretManager) destroy(s *ManagedSecret, number string) (int, any) {
	n, _ := strconv.Atoi(number)
	if n < 1 || n > len(s.Versions) {
		return GoogleError(404, "NOT_FOUND")
	}
	s.Versions[n-1].State, s.Versions[n-1].Data = "DESTROYED", ""
	return 200, map[string]any{}
}

// Text is what readers of "latest" get.
func (f *SecretManager) Text(name string) (text string) {
	f.Do(func() {
		versions := f.Secrets[name].Versions
		if last := versions[len(versions)-1]; last.State == "ENABLED" {
			text = last.Data
		}
	})
	return text
}

// sum is the checksum that goes along with a text.
func sum(text []byte) string {
	return strconv.FormatUint(uint64(crc32.Checksum(text, crc32.MakeTable(crc32.Castagnoli))), 10)
}
