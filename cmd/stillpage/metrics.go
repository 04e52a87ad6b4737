package main

import (
	"github.com/stillpage/stillpage/internal/chrome"
	"github.com/stillpage/stillpage/internal/egress"
	"github.com/stillpage/stillpage/internal/health"
	"github.com/stillpage/stillpage/internal/localqueue"
	"github.com/stillpage/stillpage/internal/telemetry"
)

// look sets the metrics that others know.
func look(r *telemetry.Recorder, renderer *chrome.Renderer, proxy *egress.Proxy, queue *localqueue.Queue, check *health.Check) {
	stats, usage := renderer.Stats(), renderer.Usage()
	telemetry.Browsers(r, stats.Starts, stats.Retired)
	r.Set(telemetry.InFlight, "", float64(stats.InFlight))
	r.Set(telemetry.Places, "", float64(stats.Capacity))
	r.Set(telemetry.QueueLength, "", float64(queue.Len()))
	r.Set(telemetry.Memory, "", float64(usage.Memory+telemetry.OwnMemory()))
	r.Set(telemetry.Descriptors, "", float64(telemetry.OwnDescriptors()))
	r.Total(telemetry.Processor, "", (usage.Processor + telemetry.OwnProcessor()).Seconds())
	r.Total(telemetry.EgressRefusals, "", float64(proxy.Refusals()))
	healthy := 0.0
	if check.Last() == nil {
		healthy = 1
	}
	r.Set(telemetry.Healthy, "", healthy)
}
