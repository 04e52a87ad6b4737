package telemetry

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"
)

// mostSamples is how many values of a metric one line may have ("Numeric array metric
// targets MUST NOT have more than 100 members", CloudWatch's specification).
const mostSamples = 100

// EMF writes a Recorder's metrics as lines of CloudWatch's embedded metric format, which
// CloudWatch Logs makes metrics of. A line has the metrics of one value of a label, or
// those without:
//
//	{"_aws": {"Timestamp": ms, "CloudWatchMetrics": [{"Namespace": "Stillpage/prod", "Dimensions": [["cache"]],
//	  "Metrics": [{"Name": "Requests", "Unit": "Count"}, …]}]}, "cache": "hit", "Requests": 12, "RequestTime": [3.1, …], "function": "router", "version": "1.2.0"}
//
// Instances are told apart by properties, which are no dimensions.
type EMF struct {
	Recorder  *Recorder
	Namespace string
	Out       io.Writer // one Write a line

	// Properties are on each line.
	Properties map[string]string

	mu      sync.Mutex
	written time.Time
}

// writeEvery is how far apart lines are while there are requests: what a process that is
// killed has not written is lost.
const writeEvery = 10 * time.Second

// FlushIfDue is Flush, if that was writeEvery ago or there are as many values as fit.
func (e *EMF) FlushIfDue() {
	e.mu.Lock()
	now := e.Recorder.now()
	due := now.Sub(e.written) >= writeEvery || now.Before(e.written) || e.Recorder.full()
	if due {
		e.written = now
	}
	e.mu.Unlock()
	if due {
		e.Flush()
	}
}

// full says whether a distribution has all the values that it can have.
func (r *Recorder) full() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, v := range r.series {
		if len(v.samples) >= mostSamples {
			return true
		}
	}
	return false
}

// Flush writes what has changed.
func (e *EMF) Flush() {
	e.Recorder.look()
	for _, line := range e.lines() {
		e.Out.Write(line) // where its own log goes; nobody is left to tell
	}
}

type emfLine struct {
	label, value string
	metrics      []emfMetric
	members      map[string]any
}

type emfMetric struct {
	Name string
	Unit Unit
}

func (e *EMF) lines() [][]byte {
	r := e.Recorder
	r.mu.Lock()
	defer r.mu.Unlock()
	var order []*emfLine
	byLabel := map[string]*emfLine{}
	for _, m := range Table {
		for _, label := range r.labels(m) {
			v := r.series[series{m, label}]
			if !v.fresh {
				continue
			}
			id := m.Label + "=" + label
			line := byLabel[id]
			if line == nil {
				line = &emfLine{label: m.Label, value: label, members: map[string]any{}}
				byLabel[id], order = line, append(order, line)
			}
			line.metrics = append(line.metrics, emfMetric{m.Name, m.Unit})
			line.members[m.Name] = v.take(m.Kind)
		}
	}
	lines := make([][]byte, len(order))
	for i, line := range order {
		lines[i] = e.encode(line, r.changed)
	}
	return lines
}

// take returns what has not been written.
func (v *values) take(kind Kind) any {
	v.fresh = false
	switch kind {
	case Counter:
		n := v.sum - v.written
		v.written = v.sum
		return n
	case Distribution:
		samples := v.samples
		v.samples = nil
		return samples
	}
	return v.sum
}

func (e *EMF) encode(line *emfLine, at time.Time) []byte {
	dimensions := []string{}
	if line.label != "" {
		dimensions = append(dimensions, line.label)
		line.members[line.label] = line.value
	}
	for name, value := range e.Properties {
		line.members[name] = value
	}
	line.members["_aws"] = map[string]any{
		"Timestamp": at.UnixMilli(),
		"CloudWatchMetrics": []any{map[string]any{
			"Namespace": e.Namespace, "Dimensions": [][]string{dimensions}, "Metrics": line.metrics,
		}},
	}
	text, err := json.Marshal(line.members)
	if err != nil {
		panic(fmt.Sprintf("telemetry: metrics that are no JSON: %v", err))
	}
	return append(text, '\n')
}

// Cost is what the metrics of some programs cost in CloudWatch at most, in dollars a month,
// when each of their series has a value in every hour: 0.30 dollars a metric (us-east-1, June
// 2026, aws.amazon.com/cloudwatch/pricing).
func Cost(from ...string) (metrics int, dollars float64) {
	for _, m := range Table {
		if slices.ContainsFunc(from, m.isFrom) {
			metrics += m.Series() // the functions share their dimensions, so it is one metric
		}
	}
	return metrics, 0.30 * float64(metrics)
}
