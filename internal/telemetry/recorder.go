package telemetry

import (
	"slices"
	"sync"
	"time"
)

// Recorder keeps the metrics of a process. Its methods may be called on nil, which keeps
// nothing, and by many at once.
type Recorder struct {
	// Now dates what is written. Nil means time.Now.
	Now func() time.Time

	// Look sets what is known elsewhere, each time before the metrics are read.
	Look func(*Recorder)

	mu      sync.Mutex
	series  map[series]*values
	changed time.Time
}

// series is a metric with one value of its label.
type series struct {
	metric *Metric
	label  string
}

type values struct {
	sum     float64 // of a counter or a distribution; the last value of a gauge
	written float64 // of a counter: what EMF has written
	count   uint64
	buckets []uint64  // of a distribution, by bounds
	samples []float64 // of a distribution: those that EMF has not written
	fresh   bool      // there is something that EMF has not written
}

// bounds are those of Prometheus' buckets, in seconds.
var bounds = []float64{0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15, 30, 60, 300}

// Add adds to a counter.
func (r *Recorder) Add(m *Metric, label string, n float64) {
	r.change(m, Counter, label, func(v *values) { v.sum += n })
}

// Total sets a counter to what somebody else has counted.
func (r *Recorder) Total(m *Metric, label string, n float64) {
	r.change(m, Counter, label, func(v *values) { v.sum = max(v.sum, n) }) // it never falls
}

// Set sets a gauge.
func (r *Recorder) Set(m *Metric, label string, n float64) {
	r.change(m, Gauge, label, func(v *values) { v.sum = n })
}

// Observe adds a value to a distribution, in its unit.
func (r *Recorder) Observe(m *Metric, label string, n float64) {
	r.change(m, Distribution, label, func(v *values) {
		if v.buckets == nil {
			v.buckets = make([]uint64, len(bounds)+1)
		}
		i, _ := slices.BinarySearch(bounds, m.inSeconds(n))
		v.buckets[i]++
		v.count++
		v.sum += n
		if len(v.samples) < mostSamples { // without EMF, nobody takes them
			v.samples = append(v.samples, n)
		}
	})
}

// Time adds a duration to a distribution.
func (r *Recorder) Time(m *Metric, label string, d time.Duration) {
	n := float64(d) / float64(time.Millisecond)
	if m.Unit == Seconds {
		n = d.Seconds()
	}
	r.Observe(m, label, n)
}

func (m *Metric) inSeconds(n float64) float64 {
	if m.Unit == Milliseconds {
		return n / 1000
	}
	return n
}

func (r *Recorder) change(m *Metric, kind Kind, label string, change func(*values)) {
	if r == nil {
		return
	}
	if m.Kind != kind {
		panic("telemetry: " + m.Name + " is a " + string(m.Kind) + ", not a " + string(kind))
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.series == nil {
		r.series = map[series]*values{}
	}
	at := series{m, m.value(label)}
	v := r.series[at]
	if v == nil {
		v = &values{}
		r.series[at] = v
	}
	before := v.sum
	change(v)
	if kind != Counter || v.sum != before {
		v.fresh = true
		r.changed = r.now()
	}
}

func (r *Recorder) now() time.Time {
	if r.Now != nil {
		return r.Now()
	}
	return time.Now().Round(0) // by the wall: the other clock stands still while a function is frozen
}

// look has Look set what it knows.
func (r *Recorder) look() {
	if r.Look != nil {
		r.Look(r)
	}
}

// labels are those of a metric that have values, in the table's order.
func (r *Recorder) labels(m *Metric) []string {
	var labels []string
	for _, label := range append(slices.Clone(m.Values), Other, "") {
		if r.series[series{m, label}] != nil {
			labels = append(labels, label)
		}
	}
	return labels
}

// Browsers sets how many Chromiums were started, of which some took the place of one that was
// old or large.
func Browsers(r *Recorder, starts, replaced int) {
	r.Total(BrowserStarts, "first", float64(min(starts, 1)))
	r.Total(BrowserStarts, "replaced", float64(replaced))
	r.Total(BrowserStarts, "died", float64(max(0, starts-1-replaced)))
}
