package app

import (
	"net/http"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/stanch-dev/stanch/app/provider"
)

// metrics counts deliveries and the stages that pushes pass. Labels are few and
// of our own making: no names of repositories, no text of strangers.
type metrics struct {
	registry   *prometheus.Registry
	deliveries *prometheus.CounterVec
	stages     *prometheus.CounterVec
	sweeps     *prometheus.CounterVec
	found      *prometheus.CounterVec
	backfilled prometheus.Counter
}

// newMetrics makes the metrics. working counts the jobs that wait or run; providers
// tell what they were asked.
func newMetrics(working func() float64, providers *provider.Providers) *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		deliveries: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "stanch_deliveries_total", Help: "Webhook deliveries accepted, by event, whether new, and whether they ask for a job.",
		}, []string{"event", "fresh", "queued"}),
		stages: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "stanch_stages_total", Help: "Stages passed by pushes and by the credentials in them, by stage and rule.",
		}, []string{"stage", "rule"}),
		sweeps: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "stanch_sweeps_total", Help: "Sweeps that ended well, by what was swept: all failed deliveries, or the refs of one repository.",
		}, []string{"swept"}),
		found: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "stanch_swept_total", Help: "What sweeps found: deliveries that were asked for again, refs that had moved unseen.",
		}, []string{"swept"}),
		backfilled: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "stanch_backfilled_commits_total", Help: "Commits of repositories' histories that backfills scanned.",
		}),
	}
	jobs := prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "stanch_jobs", Help: "Jobs that wait or run."}, working)
	m.registry.MustRegister(jobs, verdicts{providers}, m.deliveries, m.stages, m.sweeps, m.found, m.backfilled, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

func (m *metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}

// delivery counts a delivery. Events are GitHub's names; only those that we know
// become labels, because anybody with the secret can send others.
func (m *metrics) delivery(event string, fresh, queued bool) {
	switch event {
	case "push", "pull_request", "check_run", "check_suite", "installation", "installation_repositories", "repository",
		"merge_group", "secret_scanning_alert", "issue_comment", "ping":
	default:
		event = "other"
	}
	m.deliveries.WithLabelValues(event, strconv.FormatBool(fresh), strconv.FormatBool(queued)).Inc()
}

func (m *metrics) stage(e Event) { m.stages.WithLabelValues(string(e.Stage), e.Rule).Inc() }

func (m *metrics) swept(what string, found int) {
	m.sweeps.WithLabelValues(what).Inc()
	m.found.WithLabelValues(what).Add(float64(found))
}

// verdicts collects what the providers tell when somebody looks.
type verdicts struct{ providers *provider.Providers }

var (
	verificationsDesc = prometheus.NewDesc("stanch_verifications_total",
		"Questions to providers whether a credential is live, by what came of them; reason says why it is unknown.", []string{"provider", "validity", "grade", "reason"}, nil)
	heldDesc = prometheus.NewDesc("stanch_providers_held",
		"Kinds of credential held at grade C because their provider did not refuse a random value.", []string{"provider"}, nil)
)

// Describe implements prometheus.Collector.
func (v verdicts) Describe(ch chan<- *prometheus.Desc) {
	ch <- verificationsDesc
	ch <- heldDesc
}

// Collect implements prometheus.Collector.
func (v verdicts) Collect(ch chan<- prometheus.Metric) {
	for c, n := range v.providers.Counts() {
		ch <- prometheus.MustNewConstMetric(verificationsDesc, prometheus.CounterValue, float64(n), c.Provider, string(c.Validity), string(c.Grade), string(c.Reason))
	}
	held := map[string]int{}
	for _, h := range v.providers.Held() {
		held[h.Provider]++
	}
	for name, n := range held {
		ch <- prometheus.MustNewConstMetric(heldDesc, prometheus.GaugeValue, float64(n), name)
	}
}
