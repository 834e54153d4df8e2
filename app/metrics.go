package app

import (
	"net/http"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/stanch-dev/stanch/app/incident"
	"github.com/stanch-dev/stanch/app/provider"
	"github.com/stanch-dev/stanch/app/store"
	"github.com/stanch-dev/stanch/rules"
)

// metrics counts deliveries and the stages that pushes pass. Labels are few and
// of our own making: no names of repositories, no text of strangers.
type metrics struct {
	known      map[string]*rules.Rule // the catalogue's
	registry   *prometheus.Registry
	deliveries *prometheus.CounterVec
	stages     *prometheus.CounterVec
	took       *prometheus.HistogramVec
	sweeps     *prometheus.CounterVec
	found      *prometheus.CounterVec
	backfilled prometheus.Counter
	postponed  *prometheus.CounterVec
}

// newMetrics makes the metrics. working counts the jobs that wait or run; providers
// tell what they were asked.
func newMetrics(working func() float64, providers *provider.Providers, catalogue map[string]*rules.Rule) *metrics {
	m := &metrics{
		known:    catalogue,
		registry: prometheus.NewRegistry(),
		deliveries: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "stanch_deliveries_total", Help: "Webhook deliveries accepted, by event, whether new, and whether they ask for a job.",
		}, []string{"event", "fresh", "queued"}),
		stages: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "stanch_stages_total", Help: "Stages passed by pushes and by the credentials in them, by stage and rule.",
		}, []string{"stage", "rule"}),
		took: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "stanch_stage_seconds",
			Help:    "Seconds from the push that leaked a credential, or from the delivery where nobody told when that was, until the incident passed a stage, by stage and rule.",
			Buckets: stageBuckets,
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
	m.postponed = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "stanch_postponed_total", Help: "Jobs put off because of GitHub's rate limit: it is reached, or the rest is reserved for what somebody waits for.",
	}, []string{"why"})
	jobs := prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "stanch_jobs", Help: "Jobs that wait or run."}, working)
	m.registry.MustRegister(jobs, verdicts{providers}, m.deliveries, m.stages, m.took, m.sweeps, m.found, m.backfilled, m.postponed,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
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

func (m *metrics) stage(e Event) { m.stages.WithLabelValues(string(e.Stage), m.rule(e.Rule)).Inc() }

// rule is a rule as a label: repositories can have any number of their own.
func (m *metrics) rule(id string) string {
	if m.known[id] == nil && id != "" {
		return "repository's own"
	}
	return id
}

// stageBuckets are the bounds between which times are counted. They are close to each
// other where a remediation without a person ends, and reach as far as people take.
var stageBuckets = []float64{.1, .25, .5, .75, 1, 1.5, 2, 3, 5, 10, 30, 60, 300, 1800, 3600, 6 * 3600, 24 * 3600, 7 * 24 * 3600}

// opened counts the stages that new incidents have passed.
func (m *metrics) opened(all []store.Incident) {
	for _, i := range all {
		m.passed(i, incident.StageDelivered, incident.StageDetected, incident.StageVerified)
	}
}

// passed counts how long an incident took until those of the stages that it has passed,
// if it does not begin with them. What was due, and had not leaked, was in no hurry.
func (m *metrics) passed(i store.Incident, stages ...Stage) {
	if i.Approver == scheduler || i.Order == incident.Overlap {
		return
	}
	t := i.Timeline()
	for _, s := range stages {
		if took, ok := t.Until(s); ok && s != t[0].Stage {
			m.took.WithLabelValues(string(s), m.rule(i.Rule)).Observe(took.Seconds())
		}
	}
}

func (m *metrics) swept(what string, found int) {
	m.sweeps.WithLabelValues(what).Inc()
	m.found.WithLabelValues(what).Add(float64(found))
}

// postpone counts a job that waits for a rate limit.
func (m *metrics) postpone(reserved bool) {
	why := "reached"
	if reserved {
		why = "reserved"
	}
	m.postponed.WithLabelValues(why).Inc()
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
