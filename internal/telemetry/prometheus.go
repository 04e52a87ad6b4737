package telemetry

import (
	"bytes"
	"fmt"
	"net/http"
	"strconv"
)

// Prometheus serves the metrics of one kind of program as text, format 0.0.4. A series is
// there from its first value on; a metric without a label always is.
func (r *Recorder) Prometheus(version string, from string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		r.look()
		w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
		w.Write(r.text(version, from))
	})
}

func (r *Recorder) text(version, from string) []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	var b bytes.Buffer
	fmt.Fprintf(&b, "# HELP stillpage_build_info the version that runs\n# TYPE stillpage_build_info gauge\nstillpage_build_info{version=%q} 1\n", version)
	for _, m := range Table {
		if !m.isFrom(from) {
			continue
		}
		name, kind := m.Prometheus(), string(m.Kind)
		if m.Kind == Distribution {
			kind = "histogram"
		}
		fmt.Fprintf(&b, "# HELP %s %s\n# TYPE %s %s\n", name, m.Help, name, kind)
		labels := r.labels(m)
		if m.Label == "" && len(labels) == 0 {
			labels = []string{""}
		}
		for _, label := range labels {
			v := r.series[series{m, label}]
			if v == nil {
				v = &values{}
			}
			m.write(&b, name, label, v)
		}
	}
	return b.Bytes()
}

func (m *Metric) write(b *bytes.Buffer, name, label string, v *values) {
	own := ""
	if m.Label != "" {
		own = fmt.Sprintf("%s=%q", m.Label, label)
	}
	sample := func(suffix, labels, value string) {
		if labels != "" {
			labels = "{" + labels + "}"
		}
		fmt.Fprintf(b, "%s%s%s %s\n", name, suffix, labels, value)
	}
	if m.Kind != Distribution {
		sample("", own, number(v.sum))
		return
	}
	both := own
	if own != "" {
		both += ","
	}
	var sum uint64
	for i, bound := range bounds {
		if v.buckets != nil {
			sum += v.buckets[i]
		}
		sample("_bucket", both+fmt.Sprintf("le=%q", number(bound)), strconv.FormatUint(sum, 10))
	}
	sample("_bucket", both+`le="+Inf"`, strconv.FormatUint(v.count, 10))
	sample("_sum", own, number(m.inSeconds(v.sum)))
	sample("_count", own, strconv.FormatUint(v.count, 10))
}

func number(n float64) string { return strconv.FormatFloat(n, 'g', -1, 64) }
