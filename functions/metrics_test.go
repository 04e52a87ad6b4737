package functions_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stillpage/stillpage/internal/telemetry"
)

// The functions' metrics, as CloudWatch would find them in the functions' logs, for all that
// can happen to a page. What is counted by the millisecond or the byte is only looked for.
func TestMetrics(t *testing.T) {
	t.Parallel()
	a := install(t)
	a.env = append(a.env, "STILLPAGE_METRICS=Stillpage/test")
	for name, timeout := range map[string]time.Duration{"router": 25 * time.Second, "render": 30 * time.Second, "admin": 40 * time.Second} {
		a.deploy(name, timeout, 0)
	}
	a.want("/shop", 200, "miss", "content 0")
	a.want("/shop", 200, "hit", "content 0")
	a.want("/shop", 200, "hit", "content 0")
	a.age(25 * time.Hour)
	a.want("/shop", 200, "stale", "content 0")
	a.queue.Deliver(t, func(event []byte) []byte {
		result, err := a.lambda.Invoke(t.Context(), "render", event)
		if err != nil {
			t.Error(err)
		}
		return result.Payload
	})
	a.lambda.Throttle("render", true)
	a.want("/other", 503, "", "busy")
	a.lambda.Throttle("render", false)
	for _, path := range []string{"/shop", "/assets/none.js"} { // the second is the app's, and none of Stillpage's
		if _, err := a.lambda.Invoke(t.Context(), "admin", fmt.Appendf(nil, `{"probe": %q}`, a.front.URL+path)); err != nil {
			t.Error(err)
		}
	}

	want := map[string]float64{
		"Requests hit": 3, "Requests miss": 1, "Requests stale": 1, "Requests refused": 1, "Refusals busy": 1, "Throttles concurrency": 1, // a hit is the probe's
		"RequestTime hit": 3, "RequestTime miss": 1, "RequestTime stale": 1,
		"Renders complete": 2, "RenderTime": 2, "PhaseTime ready": 2, "Queued": 1, "QueueAge": 1, "BrowserStarts first": 1,
		"Probes ok": 1, "Probes failed": 1, "ProbeTime": 1,
	}
	there := []string{"Answered", "Memory", "GBSeconds", "Dollars", "PhaseTime put"}
	var got map[string]float64
	complete := func() bool {
		got = a.metrics()
		for name, n := range want {
			if got[name] != n {
				return false
			}
		}
		return !slices.ContainsFunc(there, func(name string) bool { return got[name] <= 0 })
	}
	// What is not written yet is when Lambda ends them.
	for _, name := range []string{"router", "render", "admin"} {
		a.lambda.Processes(name, func(pid int, command string) {
			if strings.HasSuffix(strings.TrimSpace(command), "/"+name) {
				syscall.Kill(pid, syscall.SIGTERM)
			}
			syscall.Kill(pid, syscall.SIGCONT)
		})
	}
	for deadline := time.Now().Add(20 * time.Second); !complete(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("got  %v\nwant %v\nand some of %v; log: %s", got, want, there, a.lambda.Log("router"))
		}
	}
	for name := range got {
		metric, _, _ := strings.Cut(name, " ")
		if !slices.ContainsFunc(telemetry.Table, func(m *telemetry.Metric) bool { return m.Name == metric }) {
			t.Errorf("%s is not in the table", name)
		}
	}
}

// metrics sums up what the functions have written.
func (a *account) metrics() map[string]float64 {
	sums := map[string]float64{}
	for _, function := range []string{"router", "render", "admin"} {
		for line := range strings.Lines(a.lambda.Log(function)) {
			var members map[string]any
			var directive struct {
				AWS struct {
					CloudWatchMetrics []struct {
						Dimensions [][]string
						Metrics    []struct{ Name string }
					}
				} `json:"_aws"`
			}
			if json.Unmarshal([]byte(line), &directive) != nil || len(directive.AWS.CloudWatchMetrics) == 0 {
				continue
			}
			json.Unmarshal([]byte(line), &members)
			if members["function"] != function || members["version"] == "" {
				a.t.Errorf("%s has written %s", function, line)
			}
			for _, d := range directive.AWS.CloudWatchMetrics {
				label := ""
				for _, dimension := range d.Dimensions[0] {
					label = fmt.Sprint(" ", members[dimension])
				}
				for _, m := range d.Metrics {
					switch v := members[m.Name].(type) {
					case float64:
						sums[m.Name+label] += v
					case []any:
						sums[m.Name+label] += float64(len(v))
					}
				}
			}
		}
	}
	return sums
}
