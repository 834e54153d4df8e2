// Package kubetest is an API server of Kubernetes in memory, for tests: there is none that
// a test could start.
package kubetest

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/stanch-dev/stanch/app/grants"
)

// An Object is one as the API shows it.
type Object = map[string]any

// A Rule is one of a Role, or of a ClusterRole where no namespace is named.
type Rule struct {
	APIGroups []string `yaml:"apiGroups"`
	Resources []string `yaml:"resources"`
	Verbs     []string `yaml:"verbs"`
	Namespace string   `yaml:"-"`
}

// RulesOf reads the rules in a policy's lines.
func RulesOf(t *testing.T, p grants.Policy) (all []Rule) {
	t.Helper()
	for _, line := range p.Lines {
		var r Rule
		if err := yaml.Unmarshal([]byte(line.Grant), &r); err != nil || len(r.Verbs) != 1 || len(r.Resources) == 0 {
			t.Fatalf("%q is no rule: %v", line.Grant, err)
		}
		all = append(all, r)
	}
	return all
}

// A Server is an API server of Kubernetes with bearer tokens, RBAC, chunked lists,
// merge patches and optimistic locking.
type Server struct {
	*httptest.Server
	t   *testing.T
	dir string

	mu      sync.Mutex
	version int
	objects map[string]Object // by group/resource/namespace/name
	rules   map[string][]Rule // by token
	chunk   int               // the largest, 0 for what is asked for
	expire  int               // continuations that have expired
	lose    int               // answers to writes that are lost
	reads   int               // of single objects
}

// Start starts a server that ends with its test.
func Start(t *testing.T) *Server {
	t.Helper()
	f := &Server{t: t, dir: t.TempDir(), version: 100, objects: map[string]Object{}, rules: map[string][]Rule{}}
	f.Server = httptest.NewTLSServer(f)
	t.Cleanup(f.Close)
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: f.Certificate().Raw})
	if err := os.WriteFile(f.Path("ca.crt"), ca, 0o600); err != nil {
		t.Fatal(err)
	}
	return f
}

// Path is where a file of the server is: ca.crt, and the token of each account by its name.
func (f *Server) Path(name string) string { return filepath.Join(f.dir, name) }

// Allow gives an account another token, with these rules, and ends the one before.
func (f *Server) Allow(account string, rules []Rule) {
	f.t.Helper()
	token := "token-" + rand.Text()
	f.mu.Lock()
	defer f.mu.Unlock()
	if old, err := os.ReadFile(f.Path(account)); err == nil {
		delete(f.rules, strings.TrimSpace(string(old)))
	}
	f.rules[token] = rules
	if err := os.WriteFile(f.Path(account), []byte(token+"\n"), 0o600); err != nil {
		f.t.Fatal(err)
	}
}

// Set makes an object, as somebody else does.
func (f *Server) Set(group, resource, namespace, name string, o Object) {
	f.mu.Lock()
	defer f.mu.Unlock()
	text, _ := json.Marshal(o)
	var copied Object
	_ = json.Unmarshal(text, &copied)
	meta, _ := copied["metadata"].(Object)
	if meta == nil {
		meta = Object{}
	}
	copied["metadata"] = meta
	meta["namespace"], meta["name"] = namespace, name
	f.touch(copied)
	f.objects[strings.Join([]string{group, resource, namespace, name}, "/")] = copied
}

// Secret makes a secret with text.
func (f *Server) Secret(namespace, name string, data map[string]string, more Object) {
	o := Object{"apiVersion": "v1", "kind": "Secret", "type": "Opaque", "data": encoded(data)}
	maps.Copy(o, more)
	f.Set("", "secrets", namespace, name, o)
}

func encoded(data map[string]string) Object {
	out := Object{}
	for name, value := range data {
		out[name] = base64.StdEncoding.EncodeToString([]byte(value))
	}
	return out
}

// Get is an object as it is stored.
func (f *Server) Get(group, resource, namespace, name string) Object {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.objects[strings.Join([]string{group, resource, namespace, name}, "/")]
}

// Value is what a field of a secret holds.
func (f *Server) Value(namespace, name, field string) string { return f.Values(namespace, name)[field] }

// Values are what all its fields hold.
func (f *Server) Values(namespace, name string) map[string]string {
	data, _ := f.Get("", "secrets", namespace, name)["data"].(Object)
	values := map[string]string{}
	for field, value := range data {
		text, _ := value.(string)
		decoded, _ := base64.StdEncoding.DecodeString(text)
		values[field] = string(decoded)
	}
	return values
}

// Delete takes an object away.
func (f *Server) Delete(group, resource, namespace, name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.objects, strings.Join([]string{group, resource, namespace, name}, "/"))
}

// Chunk makes lists come in pieces of at most n.
func (f *Server) Chunk(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.chunk = n
}

// Expire makes the next n continuations of lists too old.
func (f *Server) Expire(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.expire = n
}

// Lose makes the answers to the next n writes get lost, which are done.
func (f *Server) Lose(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lose = n
}

// Reads is how often a single object was read.
func (f *Server) Reads() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.reads
}

func (f *Server) touch(o Object) {
	f.version++
	o["metadata"].(Object)["resourceVersion"] = strconv.Itoa(f.version)
}

// A place is what a path names.
type resourcePath struct{ group, resource, namespace, name string }

func parsePath(path string) (p resourcePath, ok bool) {
	parts := strings.Split(strings.Trim(path, "/"), "/")
	switch {
	case len(parts) > 2 && parts[0] == "api" && parts[1] == "v1":
		parts = parts[2:]
	case len(parts) > 3 && parts[0] == "apis" && parts[2] == "v1":
		p.group, parts = parts[1], parts[3:]
	default:
		return p, false
	}
	if parts[0] == "namespaces" && len(parts) > 2 {
		p.namespace, parts = parts[1], parts[2:]
	}
	p.resource = parts[0]
	if len(parts) == 2 {
		p.name = parts[1]
	}
	return p, len(parts) < 3
}

func (p resourcePath) key() string {
	return strings.Join([]string{p.group, p.resource, p.namespace, p.name}, "/")
}

// ServeHTTP implements http.Handler.
func (f *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	rules, known := f.rules[strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")]
	p, ok := parsePath(r.URL.Path)
	verb := map[string]string{http.MethodGet: "get", http.MethodPost: "create", http.MethodPatch: "patch"}[r.Method]
	if verb == "get" && p.name == "" {
		verb = "list"
	}
	switch {
	case !known:
		status(w, http.StatusUnauthorized, "Unauthorized", "Unauthorized")
	case !ok || verb == "":
		status(w, http.StatusNotFound, "NotFound", "the server could not find the requested resource")
	case !slices.ContainsFunc(rules, func(r Rule) bool { return r.allows(verb, p) }):
		status(w, http.StatusForbidden, "Forbidden", fmt.Sprintf("%s %q is forbidden: User \"stanch\" cannot %s resource %q in API group %q in the namespace %q", p.resource, p.name, verb, p.resource, p.group, p.namespace))
	case verb == "list":
		f.list(w, r, p)
	case verb == "create":
		f.create(w, r, p)
	case f.objects[p.key()] == nil:
		status(w, http.StatusNotFound, "NotFound", fmt.Sprintf("%s %q not found", p.resource, p.name))
	case verb == "patch":
		f.patch(w, r, p)
	default:
		f.reads++
		answer(w, http.StatusOK, f.objects[p.key()])
	}
}

func (r Rule) allows(verb string, p resourcePath) bool {
	return slices.Contains(r.APIGroups, p.group) && slices.Contains(r.Resources, p.resource) && slices.Contains(r.Verbs, verb) &&
		(r.Namespace == "" || r.Namespace == p.namespace)
}

func status(w http.ResponseWriter, code int, reason, message string) {
	answer(w, code, Object{"kind": "Status", "apiVersion": "v1", "metadata": Object{}, "status": "Failure", "message": message, "reason": reason, "code": code})
}

func answer(w http.ResponseWriter, code int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(body)
}

func (f *Server) list(w http.ResponseWriter, r *http.Request, p resourcePath) {
	var keys []string
	for key := range f.objects {
		if parts := strings.Split(key, "/"); parts[0] == p.group && parts[1] == p.resource && (p.namespace == "" || parts[2] == p.namespace) {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	limit, _ := strconv.Atoi(r.URL.Query().Get("limit"))
	if f.chunk > 0 {
		limit = min(limit, f.chunk)
	}
	from, _ := strconv.Atoi(r.URL.Query().Get("continue"))
	if from > 0 && f.expire > 0 {
		f.expire--
		status(w, http.StatusGone, "Expired", "The provided continue parameter is too old")
		return
	}
	kind, next := "List", ""
	if limit == 0 || from+limit >= len(keys) {
		limit = len(keys) - from
	} else {
		next = strconv.Itoa(from + limit)
	}
	items := []any{}
	for _, key := range keys[from : from+limit] {
		if strings.Contains(r.Header.Get("Accept"), "as=PartialObjectMetadataList") {
			kind = "PartialObjectMetadataList"
			items = append(items, Object{"kind": "PartialObjectMetadata", "metadata": f.objects[key]["metadata"]})
			continue
		}
		items = append(items, f.objects[key])
	}
	answer(w, http.StatusOK, Object{"kind": kind, "metadata": Object{"continue": next, "resourceVersion": strconv.Itoa(f.version)}, "items": items})
}

// lost ends the connection after the deed.
func (f *Server) lost() {
	if f.lose > 0 {
		f.lose--
		panic(http.ErrAbortHandler)
	}
}

func (f *Server) create(w http.ResponseWriter, r *http.Request, p resourcePath) {
	var o Object
	if json.NewDecoder(r.Body).Decode(&o) != nil || r.Header.Get("Content-Type") != "application/json" || !goodData(o) {
		status(w, http.StatusBadRequest, "BadRequest", "the object cannot be decoded")
		return
	}
	meta, _ := o["metadata"].(Object)
	p.name, _ = meta["name"].(string)
	switch {
	case p.name == "" || o["kind"] != "Secret" || o["apiVersion"] != "v1":
		status(w, http.StatusUnprocessableEntity, "Invalid", "metadata.name: Required value")
		return
	case f.objects[p.key()] != nil:
		status(w, http.StatusConflict, "AlreadyExists", fmt.Sprintf("secrets %q already exists", p.name))
		return
	}
	meta["namespace"] = p.namespace
	f.touch(o)
	f.objects[p.key()] = o
	f.lost()
	answer(w, http.StatusCreated, o)
}

func goodData(o Object) bool {
	data, _ := o["data"].(Object)
	for _, value := range data {
		text, ok := value.(string)
		if _, err := base64.StdEncoding.DecodeString(text); !ok || err != nil {
			return false
		}
	}
	return true
}

func (f *Server) patch(w http.ResponseWriter, r *http.Request, p resourcePath) {
	var change Object
	if r.Header.Get("Content-Type") != "application/merge-patch+json" {
		status(w, http.StatusUnsupportedMediaType, "UnsupportedMediaType", "the body of the request was in an unknown format")
		return
	}
	if json.NewDecoder(r.Body).Decode(&change) != nil || !goodData(change) {
		status(w, http.StatusBadRequest, "BadRequest", "the patch cannot be decoded")
		return
	}
	now := f.objects[p.key()]
	meta, _ := change["metadata"].(Object)
	if wants, ok := meta["resourceVersion"]; ok && wants != now["metadata"].(Object)["resourceVersion"] {
		status(w, http.StatusConflict, "Conflict", "the object has been modified; please apply your changes to the latest version and try again")
		return
	}
	if now["immutable"] == true && change["data"] != nil {
		status(w, http.StatusUnprocessableEntity, "Invalid", "data: Forbidden: field is immutable when `immutable` is set")
		return
	}
	patched := merge(now, change)
	f.touch(patched)
	if _, ok := change["spec"]; ok {
		meta := patched["metadata"].(Object)
		generation, _ := meta["generation"].(float64)
		meta["generation"] = generation + 1
	}
	f.objects[p.key()] = patched
	f.lost()
	answer(w, http.StatusOK, patched)
}

// merge is RFC 7386.
func merge(now, change Object) Object {
	out := Object{}
	maps.Copy(out, now)
	for name, value := range change {
		inner, ok := value.(Object)
		switch {
		case value == nil:
			delete(out, name)
		case ok:
			old, _ := out[name].(Object)
			out[name] = merge(old, inner)
		default:
			out[name] = value
		}
	}
	return out
}
