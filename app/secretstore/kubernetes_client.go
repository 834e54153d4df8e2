package secretstore

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
)

const (
	kubernetesTimeout = 15 * time.Second
	// maxKubernetesAnswer is more than a secret of the largest size in base64, or a page
	// of names, can be.
	// Source: https://kubernetes.io/docs/concepts/configuration/secret/#restriction-data-size
	maxKubernetesAnswer = 16 << 20
)

// A cluster is spoken to in the few calls of its REST API that the store takes. The
// official client would bring some fifty modules along, with caches, informers and
// generated types of every resource, for less than ten calls of JSON.
type cluster struct {
	base      string
	tokenFile string
	client    *http.Client
}

// newCluster reads the authority's certificate; it connects to nothing.
func newCluster(address, tokenFile, caFile string) (*cluster, error) {
	u, err := url.Parse(address)
	host := ""
	if err == nil {
		host = u.Hostname()
	}
	loopback := host == "localhost" || net.ParseIP(host).IsLoopback()
	switch {
	case host == "" || u.User != nil || u.RawQuery != "":
		return nil, errors.New("the address of the Kubernetes API is not of the form https://HOST:PORT")
	case u.Scheme != "https" && !(u.Scheme == "http" && loopback):
		return nil, errors.New("the address of the Kubernetes API is not https: secrets would travel in the clear")
	case tokenFile == "":
		return nil, errors.New("the file of Stanch's own Kubernetes token is missing")
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.Proxy = nil // the cluster is the operator's own
	if caFile != "" {
		text, err := os.ReadFile(caFile)
		if err != nil {
			return nil, fmt.Errorf("read the authority of the Kubernetes API: %w", err)
		}
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("the authority of the Kubernetes API, %s, has no certificate in PEM", caFile)
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	}
	return &cluster{base: strings.TrimSuffix(address, "/"), tokenFile: tokenFile, client: &http.Client{
		Transport: transport, Timeout: kubernetesTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return errors.New("redirected: refused") },
	}}, nil
}

// A refusal is the API's: https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/status/
type refusal struct {
	Kind    string `json:"kind"`
	Message string `json:"message"`
	Reason  string `json:"reason"`
	Code    int    `json:"code"`
}

// Error says what the API said. Of what was wrong with what was written only the reason
// is told: the message may quote it.
func (r *refusal) Error() string {
	if r.Code == http.StatusUnprocessableEntity || r.Code == http.StatusBadRequest || r.Message == "" {
		return fmt.Sprintf("Kubernetes answered %d %s", r.Code, r.Reason)
	}
	return fmt.Sprintf("Kubernetes answered %d: %s", r.Code, r.Message)
}

// refused reports whether the API itself answered with a status.
func refused(err error, code int) bool {
	r := new(refusal)
	return errors.As(err, &r) && r.Code == code && r.Kind == "Status"
}

// The formats of requests and answers.
const (
	mergePatch   = "application/merge-patch+json"
	plainJSON    = "application/json"
	metadataOnly = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
)

// do makes a call; body and out may be nil.
func (c *cluster) do(ctx context.Context, method, path, accept string, body, out any) error {
	var payload io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return err
		}
		payload = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, payload)
	if err != nil {
		return err
	}
	// A pod's token is replaced every hour; its file is where the next one is.
	token, err := os.ReadFile(c.tokenFile)
	if err != nil {
		return fmt.Errorf("read Stanch's own Kubernetes token: %w", err)
	}
	req.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
	req.Header.Set("Accept", accept)
	if method == http.MethodPatch {
		req.Header.Set("Content-Type", mergePatch)
	} else if body != nil {
		req.Header.Set("Content-Type", plainJSON)
	}
	return c.exchange(req, out)
}

func (c *cluster) exchange(req *http.Request, out any) error {
	resp, err := c.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxKubernetesAnswer+1))
	switch {
	case err != nil:
		return err
	case len(text) > maxKubernetesAnswer:
		return fmt.Errorf("Kubernetes' answer is larger than %d MB", maxKubernetesAnswer>>20)
	case resp.StatusCode >= 300:
		r := &refusal{}
		if json.Unmarshal(text, r) != nil || r.Kind != "Status" {
			return fmt.Errorf("something that is not the Kubernetes API answered %d", resp.StatusCode)
		}
		r.Code = resp.StatusCode
		return r
	case out == nil:
		return nil
	}
	if err := json.Unmarshal(text, out); err != nil {
		return errors.New("Kubernetes' answer is no JSON of the expected kind") // the error might quote it
	}
	return nil
}

// A listed page has what is common to all lists.
type listed[T any] struct {
	Metadata struct {
		Continue string `json:"continue"`
	} `json:"metadata"`
	Items []T `json:"items"`
}

const (
	pageSize = 500
	// listAttempts is how often a list is begun again after its continuation expired,
	// which takes minutes.
	listAttempts = 3
)

// list returns all that a path lists, which comes in chunks. It begins anew when the API
// has forgotten the state of which the first ones were.
// Source: https://kubernetes.io/docs/reference/using-api/api-concepts/#retrieving-large-results-sets-in-chunks
func list[T any](ctx context.Context, c *cluster, path, accept string) ([]T, error) {
	var err error
	for range listAttempts {
		var all []T
		if all, err = listOnce[T](ctx, c, path, accept); !refused(err, http.StatusGone) {
			return all, err
		}
	}
	return nil, err
}

func listOnce[T any](ctx context.Context, c *cluster, path, accept string) ([]T, error) {
	var all []T
	for next := ""; ; {
		query := url.Values{"limit": {fmt.Sprint(pageSize)}}
		if next != "" {
			query.Set("continue", next)
		}
		var page listed[T]
		if err := c.do(ctx, http.MethodGet, path+"?"+query.Encode(), accept, nil, &page); err != nil {
			return nil, err
		}
		all = append(all, page.Items...)
		if next = page.Metadata.Continue; next == "" {
			return all, nil
		}
	}
}
