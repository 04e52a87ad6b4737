package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/stillpage/stillpage/internal/chrome"
	"github.com/stillpage/stillpage/internal/telemetry"
)

// scrape reads /metrics: the first value of each, by its name and labels.
func (p *program) scrape(t *testing.T) map[string]float64 {
	t.Helper()
	answer, err := http.Get(p.admin + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for name, family := range families {
		for _, sample := range family.GetMetric() {
			at := name
			for _, label := range sample.GetLabel() {
				at += " " + label.GetValue()
			}
			got[at] = sample.GetCounter().GetValue() + sample.GetGauge().GetValue() + float64(sample.GetHistogram().GetSampleCount())
		}
	}
	return got
}

// Each metric of serve that pages make happen, in the whole program.
func TestMetrics(t *testing.T) {
	t.Parallel()
	p := start(t, "--demo")
	for _, path := range []string{"/items/brass-kettle", "/items/brass-kettle", "/items/nothing"} {
		get(t, "GET", p.edge+path, bot)
	}
	get(t, "GET", p.router+"/http://127.0.0.1:1/", bot) // no site of ours
	got := p.scrape(t)
	for name, want := range map[string]float64{
		"stillpage_requests_total miss": 2, "stillpage_requests_total hit": 1, "stillpage_requests_total refused": 1,
		"stillpage_refusals_total site-unknown": 1, "stillpage_request_time_seconds hit": 1,
		"stillpage_renders_total complete": 2, "stillpage_render_time_seconds": 2, "stillpage_phase_time_seconds serialise": 2,
		"stillpage_browser_starts_total first": 1, "stillpage_browser_starts_total died": 0, "stillpage_healthy": 1, "stillpage_in_flight": 0,
	} {
		if got[name] != want {
			t.Errorf("%s: got %v, want %v", name, got[name], want)
		}
	}
	for _, m := range []*telemetry.Metric{telemetry.Answered, telemetry.Memory, telemetry.Places, telemetry.Descriptors, telemetry.Processor} {
		if got[m.Prometheus()] <= 0 {
			t.Errorf("%s: got %v", m.Prometheus(), got[m.Prometheus()])
		}
	}
	if got[telemetry.Memory.Prometheus()] < 30<<20 {
		t.Errorf("Chromium has %v bytes", got[telemetry.Memory.Prometheus()])
	}
	// One that dies is counted.
	syscall.Kill(chromiums(t, p.tmp)[0], syscall.SIGKILL)
	for deadline := time.Now().Add(20 * time.Second); p.scrape(t)["stillpage_browser_starts_total died"] != 1; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("got %v", p.scrape(t))
		}
	}
	if after := p.scrape(t)[telemetry.Processor.Prometheus()]; after < got[telemetry.Processor.Prometheus()] {
		t.Errorf("processor time was %v and is %v", got[telemetry.Processor.Prometheus()], after)
	}
}

// chromiums are the browsers' own processes whose files are below a directory.
func chromiums(t *testing.T, tmp string) []int {
	t.Helper()
	var pids []int
	lines, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, file := range lines {
		line, err := os.ReadFile(file)
		words := strings.Split(string(line), "\x00")
		if err == nil && strings.Contains(string(line), "--user-data-dir="+tmp) && !strings.Contains(string(line), "--type=") && !strings.Contains(words[0], "keeper") {
			var pid int
			fmt.Sscanf(file, "/proc/%d/", &pid)
			pids = append(pids, pid)
		}
	}
	if len(pids) == 0 {
		t.Fatal("no Chromium runs")
	}
	return pids
}

// Ready is who can render: not who has a browser that does not start.
func TestReadyIsARender(t *testing.T) {
	t.Parallel()
	real, err := chrome.FindBinary()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	once := filepath.Join(dir, "chromium")
	script := fmt.Sprintf("#!/bin/sh\nmkdir %s/began 2>/dev/null || exit 1\nexec %s \"$@\"\n", dir, real)
	if err := os.WriteFile(once, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	p := start(t, "--demo", "--chromium", once)
	syscall.Kill(chromiums(t, p.tmp)[0], syscall.SIGKILL)
	answer := get(t, "GET", p.admin+"/health/ready", "kube-probe/1.30")
	if answer.StatusCode != 503 || !strings.Contains(answer.body, "cannot be rendered") {
		t.Errorf("without a browser: got %d %s", answer.StatusCode, answer.body)
	}
	if answer := get(t, "GET", p.admin+"/health/live", "kube-probe/1.30"); answer.StatusCode != 200 {
		t.Errorf("alive: got %d", answer.StatusCode)
	}
	os.Remove(filepath.Join(dir, "began"))
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		if answer = get(t, "GET", p.admin+"/health/ready", "kube-probe/1.30"); answer.StatusCode == 200 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("with a browser again: got %d %s", answer.StatusCode, answer.body)
		}
	}
}

// A balancer hears that an instance is about to end while that still answers.
func TestDrain(t *testing.T) {
	t.Parallel()
	p := start(t, "--demo", "--drain", "3s")
	p.Process.Signal(syscall.SIGTERM)
	for deadline := time.Now().Add(2 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		answer := get(t, "GET", p.admin+"/health/ready", "kube-probe/1.30")
		if answer.StatusCode == 503 && strings.Contains(answer.body, "draining") {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("got %d %s", answer.StatusCode, answer.body)
		}
	}
	if answer := get(t, "GET", p.edge+"/items/brass-kettle", bot); answer.StatusCode != 200 || answer.Header.Get("X-Stillpage-Cache") != "miss" {
		t.Errorf("while draining: got %d %v", answer.StatusCode, answer.Header)
	}
	if err := p.Wait(); err != nil {
		t.Errorf("the end: %v", err)
	}
	p.wantNothingLeft(t)
}

// Those that only trouble makes happen, and pages that are made again.
func TestMetricsOfTrouble(t *testing.T) {
	t.Parallel()
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		switch r.URL.Path {
		case "/inside": // a page that wants to know who it runs for
			fmt.Fprint(w, `<p>x</p><script>fetch("http://169.254.169.254/latest/meta-data/").catch(() => document.body.append("refused"))</script>`)
		case "/slow":
			fmt.Fprint(w, `<p>x</p><script>window.prerenderReady = false</script>`) // and it never is
		case "/down":
			w.WriteHeader(http.StatusBadGateway)
		default:
			fmt.Fprint(w, `<p>a page</p>`)
		}
	}))
	defer app.Close()
	p := start(t, "--origin", app.URL, "--fresh", "1s", "--stale", "1h")
	get(t, "GET", p.edge+"/inside", bot)
	get(t, "GET", p.edge+"/slow", bot)
	get(t, "GET", p.edge+"/down", bot)
	get(t, "GET", p.edge+"/page", bot)
	want := map[string]float64{
		"stillpage_egress_refusals_total": 1, "stillpage_partials_total scripts": 1, "stillpage_renders_total partial": 1, "stillpage_renders_total origin-error": 1,
		"stillpage_requests_total stale": 1, "stillpage_queued_total": 1, "stillpage_queue_age_seconds": 1, "stillpage_queue_length": 0,
	}
	for deadline := time.Now().Add(30 * time.Second); get(t, "GET", p.edge+"/page", bot).cache() != "stale"; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the page is never stale")
		}
	}
	var got map[string]float64
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		got = p.scrape(t)
		missing := ""
		for name, n := range want {
			if got[name] < n {
				missing += fmt.Sprintf("%s: got %v, want %v; ", name, got[name], n)
			}
		}
		if missing == "" {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal(missing)
		}
	}
}
