// Package telemetry is what Stillpage says of itself: a line in the log for each request
// and each render, and metrics. One table defines every metric (Table); CloudWatch's
// embedded metric format and Prometheus' text are two ways to write the same counts.
//
// Statistics for owners, by site and agent, are package insight's; traces package xray's.
package telemetry

import (
	"slices"
	"strings"
)

// Kind says how a metric's values become one.
type Kind string

const (
	Counter      Kind = "counter"      // values are added up
	Gauge        Kind = "gauge"        // the last one counts
	Distribution Kind = "distribution" // each one counts
)

// Unit is that of a metric's values, as CloudWatch calls it.
type Unit string

const (
	Count        Unit = "Count"
	Bytes        Unit = "Bytes"
	Milliseconds Unit = "Milliseconds" // in Prometheus seconds, as is the custom there
	Seconds      Unit = "Seconds"
	None         Unit = "None"
)

// Metric is one row of the table.
type Metric struct {
	Name string // CloudWatch's; see Prometheus for the other
	Kind Kind
	Unit Unit
	Help string

	// Label is the one dimension, and Values what it may be; whatever else it is counts as
	// Other. Empty: there is none.
	Label  string
	Values []string

	// From are the programs that know it: the functions router, render and admin, and serve.
	From []string
}

// Other is what a label is that has none of its values.
const Other = "other"

// Where metrics come from.
var (
	everywhere = []string{"router", "render", "admin", "serve"}
	functions  = []string{"router", "render", "admin"}
	answering  = []string{"router", "serve"}
	rendering  = []string{"render", "serve"}
	queueing   = []string{"router", "admin", "serve"}
	serving    = []string{"serve"}
)

// reasons are why there is no page: X-Stillpage-Reason (package router has a test that
// they are all here).
var reasons = []string{
	"address-refused", "agent-refused", "busy", "content-refused", "internal-error", "limited", "loop", "method-not-allowed", "not-admitted",
	"origin-error", "origin-timeout", "origin-unreachable", "plain-app", "render-timeout", "renderer-missing", "renderer-unavailable", "site-unknown",
	"sites-unavailable", "stopping", "token-invalid", "token-missing", "unfinished", "url-invalid",
}

// The metrics. docs/metrics.md is written from them.
var (
	Requests = &Metric{"Requests", Counter, Count, "requests of bots, by where the answer came from; refused are those that got no page",
		"cache", []string{"hit", "stale", "miss", "coalesced", "refused"}, answering}
	RequestTime = &Metric{"RequestTime", Distribution, Milliseconds, "time that requests took which got a page",
		"cache", []string{"hit", "stale", "miss", "coalesced"}, answering}
	Refusals   = &Metric{"Refusals", Counter, Count, "requests that got no page, by X-Stillpage-Reason", "reason", reasons, answering}
	OldAnswers = &Metric{"OldAnswers", Counter, Count, "requests that got an old page because no new one could be made", "", nil, answering}
	Answered   = &Metric{"Answered", Counter, Bytes, "compressed bodies of the pages answered", "", nil, answering}

	Renders = &Metric{"Renders", Counter, Count, "renders by how they ended: complete, partial, with an error status of the site (origin-error), or why there is no page",
		"outcome", append([]string{"complete", "partial"}, renderReasons...), rendering}
	RenderTime = &Metric{"RenderTime", Distribution, Milliseconds, "time that renders took, from their order to the page or the failure", "", nil, rendering}
	PhaseTime  = &Metric{"PhaseTime", Distribution, Milliseconds, "time of the parts of a render: a tab, the document, the page's own work, the HTML, the store",
		"phase", []string{"tab", "navigate", "ready", "serialise", "put"}, rendering}
	Partials = &Metric{"Partials", Counter, Count, "pages that did not finish in their time, by what they were waiting for", "waiting", []string{"requests", "scripts"}, rendering}

	Queued    = &Metric{"Queued", Counter, Count, "pages given to the queue to be rendered when there is time", "", nil, queueing}
	QueueAge  = &Metric{"QueueAge", Distribution, Seconds, "how long a page had waited in the queue when its turn came", "", nil, rendering}
	Throttles = &Metric{"Throttles", Counter, Count, "requests that got no new page because of a limit (the site's, a client's or a token's), or because all places were taken",
		"by", []string{"limit", "concurrency"}, answering}
	LeaseTakeovers = &Metric{"LeaseTakeovers", Counter, Count, "leases taken over before their end from instances that had died with them", "", nil, everywhere}
	StoreFailures  = &Metric{"StoreFailures", Counter, Count, "calls of the store, its leases, its limits and the queue that failed", "call",
		[]string{"get", "put", "list", "delete", "lease", "limit", "queue"}, everywhere}

	BrowserStarts = &Metric{"BrowserStarts", Counter, Count, "Chromiums started: the first, one in the place of one that died, or of one that had grown old or large",
		"why", []string{"first", "died", "replaced"}, rendering}
	Memory         = &Metric{"Memory", Gauge, Bytes, "memory of this program and its Chromium, without what is shared with files", "", nil, rendering}
	EgressRefusals = &Metric{"EgressRefusals", Counter, Count, "connections of pages to addresses that they must not reach", "", nil, append(rendering, "admin")}

	GBSeconds = &Metric{"GBSeconds", Counter, None, "memory of the function times its time; starts, and calls that never ended, are missing in it", "", nil, functions}
	Dollars   = &Metric{"Dollars", Counter, None, "what that and the invocations cost in us-east-1, so a little less than is billed; tables, queue and bucket are not in it", "", nil, functions}

	Probes    = &Metric{"Probes", Counter, Count, "the site asked as a bot asks, once a minute, by whether it got its page", "result", []string{"ok", "failed"}, []string{"admin"}}
	ProbeTime = &Metric{"ProbeTime", Distribution, Milliseconds, "time of those that got their page", "", nil, []string{"admin"}}

	Healthy     = &Metric{"Healthy", Gauge, None, "0: the last page that should have been rendered could not be, for no fault of its own; else 1", "", nil, serving}
	InFlight    = &Metric{"InFlight", Gauge, Count, "pages being rendered", "", nil, serving}
	Places      = &Metric{"Places", Gauge, Count, "pages that may be rendered at once", "", nil, serving}
	QueueLength = &Metric{"QueueLength", Gauge, Count, "pages that wait in the queue", "", nil, serving}
	Descriptors = &Metric{"Descriptors", Gauge, Count, "files and connections that this program has open", "", nil, serving}
	Processor   = &Metric{"Processor", Counter, Seconds, "processor time of this program and its Chromium", "", nil, serving}
)

// renderReasons are those of reasons that a render can come to.
var renderReasons = []string{
	"address-refused", "busy", "content-refused", "limited", "not-admitted", "origin-error", "origin-timeout", "origin-unreachable",
	"render-timeout", "renderer-unavailable", "stopping",
}

// Table has every metric.
var Table = []*Metric{
	Requests, RequestTime, Refusals, OldAnswers, Answered,
	Renders, RenderTime, PhaseTime, Partials,
	Queued, QueueAge, Throttles, LeaseTakeovers, StoreFailures,
	BrowserStarts, Memory, EgressRefusals,
	GBSeconds, Dollars,
	Probes, ProbeTime,
	Healthy, InFlight, Places, QueueLength, Descriptors, Processor,
}

// Prometheus is the metric's name there.
func (m *Metric) Prometheus() string {
	var name strings.Builder
	name.WriteString("stillpage")
	upper := true // of GB, no letter begins a word but the first
	for _, r := range m.Name {
		is := r >= 'A' && r <= 'Z'
		if is && !upper {
			name.WriteByte('_')
		} else if name.Len() == len("stillpage") {
			name.WriteByte('_')
		}
		upper = is
		name.WriteString(strings.ToLower(string(r)))
	}
	switch m.Unit {
	case Milliseconds, Seconds:
		name.WriteString("_seconds")
	case Bytes:
		name.WriteString("_bytes")
	}
	if m.Kind == Counter {
		name.WriteString("_total")
	}
	return name.String()
}

// value is what a label counts as.
func (m *Metric) value(label string) string {
	if m.Label == "" || slices.Contains(m.Values, label) {
		return label
	}
	return Other
}

// isFrom says whether a program knows it.
func (m *Metric) isFrom(program string) bool { return slices.Contains(m.From, program) }

// Series is how many a metric can be at most, each of which CloudWatch bills as one.
func (m *Metric) Series() int {
	if m.Label == "" {
		return 1
	}
	return len(m.Values) + 1
}
