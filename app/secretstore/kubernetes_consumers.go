package secretstore

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// A Consumer is a workload that reads a secret. Those that name the secret in their own
// template are known: not pods that stand alone, and not who asks the API for it.
type Consumer struct {
	Kind      string `json:"kind"`
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	By        string `json:"by"` // how it reads it: "environment", "files", "image pulls"
	// Restart means that its pods read the secret when they start, and not again.
	Restart bool      `json:"restart,omitempty"`
	Version Version   `json:"version"`        // of the secret, that it is to read
	Written time.Time `json:"written"`        // when Stanch wrote that; the zero Time if somebody else did
	Jobs    []string  `json:"jobs,omitempty"` // that a CronJob had started by then
}

// String names the workload for people.
func (c Consumer) String() string {
	return strings.ToLower(c.Kind) + " " + c.Namespace + "/" + c.Name
}

// A workloadKind is a kind of workload with its place in the API.
type workloadKind struct{ kind, group, resource string }

var workloadKinds = []workloadKind{
	{"Deployment", "apps", "deployments"}, {"StatefulSet", "apps", "statefulsets"}, {"DaemonSet", "apps", "daemonsets"}, {cronJob, "batch", "cronjobs"},
}

const cronJob = "CronJob"

func (k workloadKind) folder(namespace string) string {
	return "/apis/" + k.group + "/v1/namespaces/" + namespace + "/" + k.resource
}

// A workload is what is looked at of any of these kinds.
// Source: https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/
type workload struct {
	Metadata metadata `json:"metadata"`
	Spec     struct {
		Replicas       *int         `json:"replicas"`
		Paused         bool         `json:"paused"`
		UpdateStrategy strategy     `json:"updateStrategy"`
		Template       podTemplate  `json:"template"`
		JobTemplate    *jobTemplate `json:"jobTemplate"`
	} `json:"spec"`
	Status workloadStatus `json:"status"`
}

type strategy struct {
	Type          string `json:"type"`
	RollingUpdate struct {
		Partition int `json:"partition"`
	} `json:"rollingUpdate"`
}

type jobTemplate struct {
	Spec struct {
		Template podTemplate `json:"template"`
	} `json:"spec"`
}

type workloadStatus struct {
	ObservedGeneration int64 `json:"observedGeneration"`
	Replicas           int   `json:"replicas"`
	UpdatedReplicas    int   `json:"updatedReplicas"`
	AvailableReplicas  int   `json:"availableReplicas"`
	Desired            int   `json:"desiredNumberScheduled"` // these three are a DaemonSet's
	Updated            int   `json:"updatedNumberScheduled"`
	Available          int   `json:"numberAvailable"`
	Active             []struct {
		Name string `json:"name"`
	} `json:"active"` // a CronJob's
	Conditions []struct {
		Type   string `json:"type"`
		Status string `json:"status"`
		Reason string `json:"reason"`
	} `json:"conditions"`
}

// pods is the template of the pods.
func (w workload) pods() podTemplate {
	if w.Spec.JobTemplate != nil {
		return w.Spec.JobTemplate.Spec.Template
	}
	return w.Spec.Template
}

func (w workload) jobs() (names []string) {
	for _, j := range w.Status.Active {
		names = append(names, j.Name)
	}
	return names
}

// Consumers lists the workloads that read a field of a secret. Those through a service
// account's image pull secrets are not looked for.
func (k *Kubernetes) Consumers(ctx context.Context, loc Location) ([]Consumer, error) {
	s, err := k.read(ctx, loc)
	if err != nil {
		return nil, fmt.Errorf("consumers of %s: %w", loc, err)
	}
	namespace, name, _ := strings.Cut(loc.Path, "/")
	written, _ := time.Parse(time.RFC3339, s.Metadata.Annotations[writtenNote])
	var all []Consumer
	for _, kind := range workloadKinds {
		workloads, err := list[workload](ctx, k.cluster, kind.folder(namespace), plainJSON)
		if err != nil {
			return nil, fmt.Errorf("consumers of %s: %w", loc, definite(err))
		}
		for _, w := range workloads {
			by, atStart := w.pods().Spec.reads(name, loc.Field)
			if by == "" {
				continue
			}
			all = append(all, Consumer{
				Kind: kind.kind, Namespace: namespace, Name: w.Metadata.Name, By: by, Restart: atStart && kind.kind != cronJob,
				Version: s.Metadata.Version, Written: written, Jobs: w.jobs(),
			})
		}
	}
	return all, nil
}

// ErrRefused means that the cluster refused what was asked, and will again until a person
// has changed something there.
var ErrRefused = errors.New("the cluster does not allow it")

func definite(err error) error {
	if refused(err, http.StatusForbidden) || refused(err, http.StatusUnprocessableEntity) {
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	return err
}

// Restarts reports whether Restart may do anything.
func (k *Kubernetes) Restarts() bool { return k.restart }

// ErrNoRestart means that the operator has not switched restarts on.
var ErrNoRestart = errors.New("restarts are switched off: a person restarts it, or STANCH_KUBERNETES_RESTART switches them on")

// Restart has a workload replace its pods, one after another as its strategy says, as
// “kubectl rollout restart” does. Once for a version of the secret: to be asked again
// changes nothing.
func (k *Kubernetes) Restart(ctx context.Context, c Consumer) error {
	path, w, err := k.workload(ctx, c)
	if err != nil {
		return fmt.Errorf("restart %s: %w", c, definite(err))
	}
	switch {
	case !c.Restart || w.restartedFor(c):
		return nil
	case !k.restart:
		return fmt.Errorf("restart %s: %w", c, ErrNoRestart)
	}
	notes := map[string]string{restartedAt: k.now().UTC().Format(time.RFC3339), restartedNote: string(c.Version)}
	patch := map[string]any{"spec": map[string]any{"template": map[string]any{"metadata": metadata{Annotations: notes}}}}
	if err := k.cluster.do(ctx, http.MethodPatch, path, plainJSON, patch, nil); err != nil {
		return fmt.Errorf("restart %s: %w", c, definite(err))
	}
	return nil
}

// restartedAt is the annotation that kubectl leaves.
// Source: https://kubernetes.io/docs/reference/labels-annotations-taints/#kubectl-k8s-io-restart-at
const restartedAt = "kubectl.kubernetes.io/restartedAt"

// restartedFor reports whether a workload was restarted since the secret was written, by
// Stanch or by a person with kubectl.
func (w workload) restartedFor(c Consumer) bool {
	notes := w.pods().Metadata.Annotations
	at, err := time.Parse(time.RFC3339, notes[restartedAt])
	return notes[restartedNote] == string(c.Version) || err == nil && !c.Written.IsZero() && at.After(c.Written)
}

func (k *Kubernetes) workload(ctx context.Context, c Consumer) (path string, w workload, err error) {
	n := slices.IndexFunc(workloadKinds, func(w workloadKind) bool { return w.kind == c.Kind })
	if n < 0 || !objectName.MatchString(c.Namespace) || !objectName.MatchString(c.Name) {
		return "", w, fmt.Errorf("%w: no such kind or name of a workload", ErrNotFound)
	}
	path = workloadKinds[n].folder(c.Namespace) + "/" + c.Name
	err = k.cluster.do(ctx, http.MethodGet, path, plainJSON, nil, &w)
	return path, w, err
}

// filesWithin is how long kubelets may take to pass a secret on to the files of running
// pods: their sync period of a minute and what their cache adds.
// Source: https://kubernetes.io/docs/concepts/configuration/secret/#mounted-secrets-are-updated-automatically
const filesWithin = 2 * time.Minute

// Settled reports whether all pods of a workload can read the new value, or why not yet.
// Whether a program reads a file again that has changed is its own affair.
func (k *Kubernetes) Settled(ctx context.Context, c Consumer) (bool, string, error) {
	_, w, err := k.workload(ctx, c)
	switch {
	case refused(err, http.StatusNotFound):
		return true, "", nil // it is gone, and reads nothing
	case err != nil:
		return false, "", fmt.Errorf("look at %s: %w", c, definite(err))
	}
	why := w.unsettled(c)
	if why == "" && !c.Restart && c.Kind != cronJob && k.now().Sub(c.Written) < filesWithin {
		why = "running pods get the new value within two minutes"
	}
	return why == "", why, nil
}

// unsettled says why pods may still have the old value.
func (w workload) unsettled(c Consumer) string {
	switch {
	case c.Kind == cronJob:
		for _, job := range w.jobs() {
			if slices.Contains(c.Jobs, job) {
				return "its job " + job + " still runs, which began before"
			}
		}
		return ""
	case !c.Restart:
		return ""
	case !w.restartedFor(c):
		return "its pods read the secret when they start, and have not been restarted since it was written"
	case w.Spec.Paused:
		return "its rollout is paused: resume it"
	case w.Spec.UpdateStrategy.Type == "OnDelete":
		return "its strategy is OnDelete: delete its pods"
	case w.Spec.UpdateStrategy.RollingUpdate.Partition > 0:
		return "its rollout stops at a partition: take that away"
	case w.Status.ObservedGeneration < w.Metadata.Generation:
		return "its rollout has not begun"
	}
	return w.rollout(c.Kind)
}

// rollout says what is left of a rollout.
func (w workload) rollout(kind string) string {
	for _, condition := range w.Status.Conditions {
		if condition.Type == "Progressing" && condition.Reason == "ProgressDeadlineExceeded" {
			return "its rollout is stuck: see “kubectl rollout status”"
		}
	}
	all, updated, available, old := 1, w.Status.UpdatedReplicas, w.Status.AvailableReplicas, w.Status.Replicas-w.Status.UpdatedReplicas
	if w.Spec.Replicas != nil {
		all = *w.Spec.Replicas
	}
	if kind == "DaemonSet" {
		all, updated, available, old = w.Status.Desired, w.Status.Updated, w.Status.Available, 0
	}
	if updated < all || available < all || old > 0 {
		return fmt.Sprintf("%d of %d pods are new, %d are ready, %d old ones still run", updated, all, available, max(old, all-updated))
	}
	return ""
}
