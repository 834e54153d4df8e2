package secretstore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/stanch-dev/stanch/app/grants"
	"github.com/stanch-dev/stanch/checks"
)

// A KubernetesConfig says which cluster's secrets to search, and as whom.
type KubernetesConfig struct {
	URL       string // of the API
	TokenFile string // of Stanch's own token, read at each request
	CAFile    string // of the API's certificate; the system's authorities when empty
	// Namespaces are those to search, all when there are none.
	Namespaces []string
	// Restart lets consumers be restarted.
	Restart    bool
	Key        checks.FingerprintKey
	MaxSecrets int              // 10,000 when zero
	Now        func() time.Time // time.Now when nil
	Logger     *slog.Logger     // nothing is logged when nil
}

// Kubernetes is a store in the secrets of a cluster. Paths of its locations are
// NAMESPACE/NAME, fields are the keys of the secret's data, and versions are
// resourceVersions, of which only the newest exists: what is overwritten is gone, except
// for the minutes that etcd takes to compact itself, and the copies that backups hold.
type Kubernetes struct {
	cluster    *cluster
	namespaces []string
	restart    bool
	key        checks.FingerprintKey
	max        int
	now        func() time.Time
	log        *slog.Logger

	mu        sync.Mutex // held while the index is refreshed or searched
	index     map[string]indexedSecret
	refreshed time.Time
	skipped   []string
}

// NewKubernetes returns the store. It connects to nothing yet.
func NewKubernetes(cfg KubernetesConfig) (*Kubernetes, error) {
	c, err := newCluster(cfg.URL, cfg.TokenFile, cfg.CAFile)
	if err != nil {
		return nil, err
	}
	k := &Kubernetes{cluster: c, namespaces: cfg.Namespaces, restart: cfg.Restart, key: cfg.Key, max: cfg.MaxSecrets, now: cfg.Now, log: cfg.Logger}
	for _, n := range cfg.Namespaces {
		if !objectName.MatchString(n) {
			return nil, fmt.Errorf("%q is no name of a Kubernetes namespace", n)
		}
	}
	if k.max == 0 {
		k.max = defaultMaxSecrets
	}
	if k.now == nil {
		k.now = time.Now
	}
	if k.log == nil {
		k.log = slog.New(slog.DiscardHandler)
	}
	return k, nil
}

// KubernetesPolicy is what Stanch's own service account needs, as rules of a Role or a
// ClusterRole. With restart it may restart those who use a secret.
func KubernetesPolicy(restart bool) grants.Policy {
	rule := func(group, resources, verb string) string {
		return fmt.Sprintf(`{apiGroups: [%q], resources: [%s], verbs: [%s]}`, group, resources, verb)
	}
	const workloads = "deployments, statefulsets, daemonsets"
	p := grants.Policy{Name: "Kubernetes secrets", Syntax: "rbac", Lines: []grants.Line{
		{Grant: rule("", "secrets", "list"), For: "locate"},
		{Grant: rule("", "secrets", "get"), For: "locate and put"},
		{Grant: rule("", "secrets", "patch"), For: "put"},
		{Grant: rule("", "secrets", "create"), For: "put where there is no secret yet", Optional: true},
		{Grant: rule("apps", workloads, "list"), For: "consumers", Optional: true},
		{Grant: rule("batch", "cronjobs", "list"), For: "consumers", Optional: true},
		{Grant: rule("apps", workloads, "get"), For: "see whether consumers have the new value", Optional: true},
		{Grant: rule("batch", "cronjobs", "get"), For: "see whether consumers have the new value", Optional: true},
	}}
	if restart {
		p.Lines = append(p.Lines, grants.Line{Grant: rule("apps", workloads, "patch"), For: "restart"})
	}
	return p
}

// objectName is what Kubernetes allows in names, and all that may become an element of a
// path: https://kubernetes.io/docs/concepts/overview/working-with-objects/names/
var objectName = regexp.MustCompile(`^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$`)

// The annotations that Stanch leaves on what it changes.
const (
	operationNote = "stanch.dev/operation"   // that wrote the secret
	writtenNote   = "stanch.dev/written-at"  // when
	restartedNote = "stanch.dev/restart-for" // of a workload: the version of the secret
)

// A metadata is what all objects have.
type metadata struct {
	Namespace   string            `json:"namespace,omitempty"`
	Name        string            `json:"name,omitempty"`
	Version     Version           `json:"resourceVersion,omitempty"`
	Generation  int64             `json:"generation,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

// A kubernetesSecret is a Secret: https://kubernetes.io/docs/reference/kubernetes-api/config-and-storage-resources/secret-v1/
type kubernetesSecret struct {
	APIVersion string            `json:"apiVersion,omitempty"`
	Kind       string            `json:"kind,omitempty"`
	Metadata   metadata          `json:"metadata"`
	Type       string            `json:"type,omitempty"`
	Immutable  bool              `json:"immutable,omitempty"`
	Data       map[string][]byte `json:"data,omitempty"`
}

// fields are the values that are text.
func (s kubernetesSecret) fields() map[string]string {
	fields := map[string]string{}
	for name, value := range s.Data {
		if utf8.Valid(value) {
			fields[name] = openRegistry(name, string(value))
		}
	}
	return fields
}

func (s kubernetesSecret) content() Content { return content(s.Metadata.Version, s.fields()) }

// ErrImmutable means that nobody can change the secret.
var ErrImmutable = errors.New("the secret is immutable: make another one with the replacement, and let those who use it name that")

// Name is "kubernetes".
func (*Kubernetes) Name() string { return "kubernetes" }

// Get returns what a secret holds now.
func (k *Kubernetes) Get(ctx context.Context, loc Location) (Content, error) {
	s, err := k.read(ctx, loc)
	if err != nil {
		return Content{}, fmt.Errorf("get %s: %w", loc, err)
	}
	return s.content(), nil
}

// read reads the secret of a location.
func (k *Kubernetes) read(ctx context.Context, loc Location) (s kubernetesSecret, err error) {
	path, err := secretPath(loc)
	if err != nil {
		return s, err
	}
	err = k.cluster.do(ctx, http.MethodGet, path, plainJSON, nil, &s)
	if refused(err, http.StatusNotFound) {
		err = fmt.Errorf("%w: %w", ErrNotFound, err)
	}
	return s, err
}

// secretPath is where the API has the secret of a location.
func secretPath(loc Location) (string, error) {
	namespace, name, _ := strings.Cut(loc.Path, "/")
	if !objectName.MatchString(namespace) || !objectName.MatchString(name) {
		return "", fmt.Errorf("%w: the path is not of the form NAMESPACE/NAME", ErrNotFound)
	}
	return "/api/v1/namespaces/" + namespace + "/secrets/" + name, nil
}

// Put replaces fields if the secret is still at loc.Version, and leaves the others. It
// returns where the new values are. Done twice it changes nothing more.
func (k *Kubernetes) Put(ctx context.Context, loc Location, values map[string]checks.Secret, operation string) (Location, error) {
	if err := checkPut(loc, values); err != nil {
		return Location{}, err
	}
	now, err := k.read(ctx, loc)
	switch {
	case errors.Is(err, ErrNotFound) && loc.Version == "":
		return k.create(ctx, loc, values, operation)
	case err != nil:
		return Location{}, fmt.Errorf("put %s: %w", loc, err)
	case now.Metadata.Version != loc.Version:
		return overtaken(loc, now, values)
	case now.Immutable:
		return Location{}, fmt.Errorf("put %s: %w", loc, ErrImmutable)
	}
	path, _ := secretPath(loc)
	patch := kubernetesSecret{Metadata: metadata{Version: loc.Version, Annotations: k.notes(operation)}, Data: closed(values)}
	var written kubernetesSecret
	err = k.cluster.do(ctx, http.MethodPatch, path, plainJSON, patch, &written)
	if refused(err, http.StatusConflict) {
		if now, err = k.read(ctx, loc); err == nil {
			return overtaken(loc, now, values)
		}
	}
	if err != nil {
		return Location{}, fmt.Errorf("put %s: %w", loc, err)
	}
	return loc.at(written.Metadata.Version), nil
}

// create makes a secret that is not there.
func (k *Kubernetes) create(ctx context.Context, loc Location, values map[string]checks.Secret, operation string) (Location, error) {
	path, err := secretPath(loc)
	if err != nil {
		return Location{}, fmt.Errorf("put %s: %w", loc, err)
	}
	folder, name := path[:strings.LastIndex(path, "/")], path[strings.LastIndex(path, "/")+1:]
	made := kubernetesSecret{APIVersion: "v1", Kind: "Secret", Type: "Opaque", Metadata: metadata{Name: name, Annotations: k.notes(operation)}, Data: closed(values)}
	var written kubernetesSecret
	err = k.cluster.do(ctx, http.MethodPost, folder, plainJSON, made, &written)
	if refused(err, http.StatusConflict) {
		if now, err := k.read(ctx, loc); err == nil {
			return overtaken(loc, now, values)
		}
	}
	if err != nil {
		return Location{}, fmt.Errorf("put %s: %w", loc, err)
	}
	return loc.at(written.Metadata.Version), nil
}

// notes are the annotations of a secret that an operation writes.
func (k *Kubernetes) notes(operation string) map[string]string {
	return map[string]string{operationNote: operation, writtenNote: k.now().UTC().Format(time.RFC3339)}
}

// closed are values as they are stored.
func closed(values map[string]checks.Secret) map[string][]byte {
	data := map[string][]byte{}
	for name, value := range values {
		data[name] = []byte(closeRegistry(name, value.Expose()))
	}
	return data
}

// overtaken says that somebody else was faster, unless it was this very Put, sent again
// after a crash.
func overtaken(loc Location, now kubernetesSecret, values map[string]checks.Secret) (Location, error) {
	if now.content().has(values) {
		return loc.at(now.Metadata.Version), nil
	}
	return Location{}, fmt.Errorf("put %s: %w: it is at version %s", loc, ErrConflict, now.Metadata.Version)
}

// Retire destroys nothing: a version that is not the current one no longer exists. The
// current one is not retired.
func (k *Kubernetes) Retire(ctx context.Context, loc Location) error {
	now, err := k.read(ctx, loc)
	switch {
	case errors.Is(err, ErrNotFound):
		return nil
	case err != nil:
		return fmt.Errorf("retire %s: %w", loc, err)
	case now.Metadata.Version == loc.Version:
		return fmt.Errorf("retire %s: it is the current version; put a replacement first", loc)
	}
	k.log.LogAttrs(ctx, slog.LevelDebug, "Kubernetes keeps no old versions: nothing is left to destroy", slog.String("path", loc.Path))
	return nil
}

// History is the current version alone: Kubernetes keeps no other.
func (k *Kubernetes) History(ctx context.Context, loc Location) ([]Past, error) {
	now, err := k.read(ctx, loc)
	if err != nil {
		return nil, fmt.Errorf("history of %s: %w", loc, err)
	}
	written, _ := time.Parse(time.RFC3339, now.Metadata.Annotations[writtenNote])
	return []Past{{Version: now.Metadata.Version, Created: written, Operation: now.Metadata.Annotations[operationNote], Current: true}}, nil
}

// Restore can only say that a version is still the current one: the values of others are
// gone.
func (k *Kubernetes) Restore(ctx context.Context, loc Location, _ string) (Location, error) {
	now, err := k.read(ctx, loc)
	switch {
	case err != nil:
		return Location{}, fmt.Errorf("restore %s: %w", loc, err)
	case now.Metadata.Version == loc.Version:
		return loc.at(loc.Version), nil
	}
	return Location{}, fmt.Errorf("restore %s: %w: Kubernetes keeps no old versions; put the value back from where it came", loc, ErrNotFound)
}
