package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/stanch-dev/stanch/app"
	"github.com/stanch-dev/stanch/app/secretstore"
	"github.com/stanch-dev/stanch/checks"
	"github.com/stanch-dev/stanch/checks/report"
)

// KubernetesOptions say in which cluster's secrets leaked credentials are looked for.
type KubernetesOptions struct {
	KubernetesURL        string   `env:"STANCH_KUBERNETES_URL" help:"API of the Kubernetes cluster in whose secrets leaked credentials are looked for and replaced: https://HOST:PORT, or in-cluster for the one that Stanch runs in"`
	KubernetesToken      string   `env:"STANCH_KUBERNETES_TOKEN_FILE" help:"file of Stanch's own token there, read at each request; default in the cluster: the pod's"`
	KubernetesCA         string   `env:"STANCH_KUBERNETES_CA_FILE" help:"file of the authority of its certificate; default in the cluster: the pod's"`
	KubernetesNamespaces []string `env:"STANCH_KUBERNETES_NAMESPACES" help:"namespaces that are searched; default: all"`
	KubernetesRestart    bool     `env:"STANCH_KUBERNETES_RESTART" help:"true: workloads that read a replaced secret only when they start may be restarted"`
}

// Where a pod finds its cluster.
// Source: https://kubernetes.io/docs/tasks/run-application/access-api-from-pod/
const (
	inCluster      = "in-cluster"
	podCluster     = "https://kubernetes.default.svc"
	podToken       = "/var/run/secrets/kubernetes.io/serviceaccount/token"
	podAuthority   = "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt"
	kubernetesName = "kubernetes"
)

// kubernetes is the store, nil when none is configured.
func (s KubernetesOptions) kubernetes(cfg secretstore.KubernetesConfig) (*secretstore.Kubernetes, error) {
	if s.KubernetesURL == "" {
		if s.KubernetesToken != "" || s.KubernetesCA != "" || len(s.KubernetesNamespaces) > 0 || s.KubernetesRestart {
			return nil, errors.New("settings STANCH_KUBERNETES_… are set without STANCH_KUBERNETES_URL: set that too, or none")
		}
		return nil, nil
	}
	cfg.URL, cfg.TokenFile, cfg.CAFile = s.KubernetesURL, s.KubernetesToken, s.KubernetesCA
	cfg.Namespaces, cfg.Restart = s.KubernetesNamespaces, s.KubernetesRestart
	if s.KubernetesURL == inCluster {
		cfg.URL = podCluster
		if cfg.TokenFile == "" {
			cfg.TokenFile = podToken
		}
		if cfg.CAFile == "" {
			cfg.CAFile = podAuthority
		}
	}
	k, err := secretstore.NewKubernetes(cfg)
	if err != nil {
		return nil, fmt.Errorf("STANCH_KUBERNETES_URL: %w", err)
	}
	return k, nil
}

func (s KubernetesOptions) addKubernetes(cfg *app.Config) error {
	k, err := s.kubernetes(secretstore.KubernetesConfig{Key: cfg.Keys.Fingerprint, Logger: cfg.Logger})
	if k != nil {
		cfg.SecretStores = append(cfg.SecretStores, k)
	}
	return err
}

// kubernetes asks the cluster which secrets there are. None is read.
func (d *doctor) kubernetes(ctx context.Context) {
	k, err := d.settings.kubernetes(secretstore.KubernetesConfig{Key: make(checks.FingerprintKey, 32)}) // nothing is looked for
	switch {
	case err != nil:
		d.problem(kubernetesName, err.Error(), "correct the settings; docs/kubernetes.md explains them")
		return
	case k == nil:
		d.note(kubernetesName, "STANCH_KUBERNETES_URL is not set: no secrets of a cluster are searched")
		return
	}
	ctx, cancel := context.WithTimeout(ctx, doctorPatience)
	defer cancel()
	n, skipped, err := k.Examine(ctx)
	switch {
	case err != nil:
		d.problem(kubernetesName, err.Error(), "see that the API can be reached from here, and that Stanch's account has the rules of docs/kubernetes.md")
	case len(skipped) > 0:
		d.problem(kubernetesName, "the account may not list secrets in "+strings.Join(skipped, ", ")+": leaked credentials are not found there", "give it the rules of docs/kubernetes.md there, or take the namespace out of STANCH_KUBERNETES_NAMESPACES")
	default:
		d.ok(kubernetesName, "it takes the token, and holds %s that can be searched", report.Count(n, "secret"))
	}
}
