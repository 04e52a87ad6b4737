package telemetry_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/stillpage/stillpage/internal/prerender"
	"github.com/stillpage/stillpage/internal/telemetry"
)

var quiet = slog.New(slog.DiscardHandler)

// parts answer as they are told to.
type parts struct {
	prerender.Store
	prerender.Leases
	prerender.Limiter
	snap *prerender.Snapshot
	err  error
}

func (p parts) Make(context.Context, prerender.Page, int64) (*prerender.Snapshot, []prerender.Phase, error) {
	return p.snap, []prerender.Phase{{Name: "ready", Duration: 20 * time.Millisecond}}, p.err
}
func (p parts) Get(context.Context, prerender.Key) (*prerender.Snapshot, error) { return p.snap, p.err }
func (p parts) Put(context.Context, prerender.Key, *prerender.Snapshot) error   { return p.err }
func (p parts) List(context.Context, prerender.Origin, prerender.Key, func(prerender.Listed) bool) error {
	return p.err
}
func (p parts) Delete(context.Context, ...prerender.Key) error { return p.err }
func (p parts) Acquire(context.Context, prerender.Key, time.Duration, string) (prerender.Lease, error) {
	return prerender.Lease{}, p.err
}
func (p parts) Extend(context.Context, prerender.Lease, time.Duration) error { return p.err }
func (p parts) Release(context.Context, prerender.Lease) error               { return p.err }
func (p parts) Take(context.Context, string, prerender.Rate) (time.Duration, error) {
	return 0, p.err
}
func (p parts) Enter(context.Context, string, int, time.Duration) (func(context.Context) error, error) {
	return nil, p.err
}
func (p parts) Enqueue(context.Context, prerender.Page) error { return p.err }

// everything makes each metric happen that this package counts by itself, and says by how much.
func everything(r *telemetry.Recorder) map[string]float64 {
	ctx := context.Background()
	o := &telemetry.Observer{Recorder: r, Log: quiet}
	o.Request(ctx, telemetry.Request{Cache: "hit", Status: 200, Bytes: 1000, Took: 3 * time.Millisecond})
	o.Request(ctx, telemetry.Request{Cache: "stale", Status: 200, Bytes: 500, Instead: "busy"})
	o.Request(ctx, telemetry.Request{Cache: "refused", Status: 429, Reason: "limited", Err: prerender.ErrLimited})
	o.Request(ctx, telemetry.Request{Cache: "refused", Status: 418, Reason: "a new reason", Err: prerender.ErrBusy})
	o.Request(ctx, telemetry.Request{Cache: "refused", Err: context.Canceled, HungUp: true}) // is not counted
	make := func(p parts) {
		telemetry.Maker{Maker: p, Observer: o, Reason: func(error) string { return "not-admitted" }}.Make(ctx, prerender.Page{}, 0)
	}
	make(parts{snap: &prerender.Snapshot{Status: 200}})
	make(parts{snap: &prerender.Snapshot{Status: 200, Partial: "requests: https://a.example/"}})
	make(parts{snap: &prerender.Snapshot{Status: 200, Partial: "scripts"}})
	make(parts{snap: &prerender.Snapshot{Status: 502}})
	make(parts{err: prerender.ErrNotAdmitted})

	for _, err := range []error{nil, prerender.ErrNotFound, prerender.ErrSuperseded, prerender.ErrLeased, errors.New("it is down")} {
		p := parts{err: err}
		store := telemetry.Store{Store: p, Recorder: r}
		store.Get(ctx, "")
		store.Put(ctx, "", nil)
		store.List(ctx, prerender.Origin{}, "", nil)
		store.Delete(ctx)
		leases := telemetry.Leases{Leases: p, Recorder: r}
		leases.Acquire(ctx, "", 0, "")
		leases.Acquire(ctx, "", 0, "the mark of one who has died")
		leases.Extend(ctx, prerender.Lease{}, 0)
		leases.Release(ctx, prerender.Lease{})
		limiter := telemetry.Limiter{Limiter: p, Recorder: r}
		limiter.Take(ctx, "", prerender.Rate{})
		limiter.Enter(ctx, "", 1, 0)
		telemetry.Queue{Queue: p, Recorder: r}.Enqueue(ctx, prerender.Page{})
	}
	return map[string]float64{
		"Requests hit": 1, "Requests stale": 1, "Requests refused": 2, "Refusals limited": 1, "Refusals other": 1,
		"RequestTime hit": 1, "RequestTime stale": 1, "OldAnswers": 1, "Answered": 1500, "Throttles limit": 1, "Throttles concurrency": 1,
		"Renders complete": 1, "Renders partial": 2, "Renders origin-error": 1, "Renders not-admitted": 1, "RenderTime": 5, "PhaseTime ready": 5,
		"Partials requests": 1, "Partials scripts": 1,
		"StoreFailures get": 1, "StoreFailures put": 1, "StoreFailures list": 1, "StoreFailures delete": 1,
		"StoreFailures lease": 4, "StoreFailures limit": 2, "StoreFailures queue": 1, "LeaseTakeovers": 1, "Queued": 1,
	}
}

// document is a line of EMF.
type document struct {
	AWS struct {
		Timestamp         int64
		CloudWatchMetrics []struct {
			Namespace  string
			Dimensions [][]string
			Metrics    []struct{ Name, Unit string }
		}
	} `json:"_aws"`
	members map[string]any
}

func parse(t *testing.T, lines string) (list []document) {
	t.Helper()
	for line := range strings.Lines(lines) {
		var d document
		if err := errors.Join(json.Unmarshal([]byte(line), &d), json.Unmarshal([]byte(line), &d.members)); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		list = append(list, d)
	}
	return list
}

// values are what CloudWatch makes of the lines: sums of counters, and numbers of values.
func values(t *testing.T, list []document) map[string]float64 {
	t.Helper()
	got := map[string]float64{}
	for _, d := range list {
		// CloudWatch's specification: what a line must have.
		if len(d.AWS.CloudWatchMetrics) != 1 || d.AWS.Timestamp == 0 {
			t.Fatalf("got %+v", d)
		}
		directive := d.AWS.CloudWatchMetrics[0]
		if directive.Namespace != "Stillpage/test" || len(directive.Dimensions) != 1 || len(directive.Dimensions[0]) > 1 || len(directive.Metrics) == 0 {
			t.Fatalf("got %+v", directive)
		}
		label := ""
		for _, dimension := range directive.Dimensions[0] {
			value, ok := d.members[dimension].(string)
			if !ok || value == "" {
				t.Fatalf("the value of dimension %q is %v", dimension, d.members[dimension])
			}
			label = " " + value
		}
		for _, m := range directive.Metrics {
			i := slices.IndexFunc(telemetry.Table, func(row *telemetry.Metric) bool { return row.Name == m.Name })
			if i < 0 || string(telemetry.Table[i].Unit) != m.Unit {
				t.Fatalf("%+v is not in the table", m)
			}
			switch v := d.members[m.Name].(type) {
			case float64:
				got[m.Name+label] += v
			case []any:
				if len(v) == 0 || len(v) > 100 {
					t.Errorf("%s has %d values", m.Name, len(v))
				}
				got[m.Name+label] += float64(len(v))
			default:
				t.Fatalf("%s is %v", m.Name, v)
			}
		}
	}
	return got
}

func TestEMF(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	at := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	r := &telemetry.Recorder{Now: func() time.Time { return at }}
	emf := &telemetry.EMF{Recorder: r, Namespace: "Stillpage/test", Out: &out, Properties: map[string]string{"function": "router"}}
	want := everything(r)
	emf.FlushIfDue()
	list := parse(t, out.String())
	if got := values(t, list); !maps.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
	for _, d := range list {
		if d.members["function"] != "router" || d.AWS.Timestamp != at.UnixMilli() {
			t.Errorf("got %v", d.members)
		}
	}

	// What was written is not written again, and what is new waits for its time.
	out.Reset()
	r.Add(telemetry.Requests, "hit", 2)
	emf.FlushIfDue()
	if out.Len() > 0 {
		t.Errorf("within ten seconds, got %s", &out)
	}
	at = at.Add(10 * time.Second)
	emf.FlushIfDue()
	if got := values(t, parse(t, out.String())); !maps.Equal(got, map[string]float64{"Requests hit": 2}) {
		t.Errorf("got %v", got)
	}
	// But a line has a hundred values at most, and none is lost.
	out.Reset()
	for range 250 {
		r.Time(telemetry.RequestTime, "miss", time.Millisecond)
		emf.FlushIfDue()
	}
	emf.Flush()
	if got := values(t, parse(t, out.String())); got["RequestTime miss"] != 250 {
		t.Errorf("got %v, want 250 values", got)
	}
}

// What Prometheus' own parser reads.
func TestPrometheus(t *testing.T) {
	t.Parallel()
	r := &telemetry.Recorder{Look: func(r *telemetry.Recorder) { r.Set(telemetry.Healthy, "", 1) }}
	want := everything(r)
	answer := httptest.NewRecorder()
	r.Prometheus(`1.2 "x"`, "serve").ServeHTTP(answer, nil)
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	if got := families["stillpage_build_info"].GetMetric()[0].GetLabel()[0].GetValue(); got != `1.2 "x"` {
		t.Errorf("version: got %q", got)
	}
	if got := families["stillpage_healthy"].GetMetric()[0].GetGauge().GetValue(); got != 1 {
		t.Errorf("what is looked at: got %v", got)
	}
	for _, m := range telemetry.Table {
		family := families[m.Prometheus()]
		if slices.Contains(m.From, "serve") && family == nil && m.Label == "" {
			t.Errorf("%s is missing", m.Prometheus())
		}
		for _, sample := range family.GetMetric() {
			name := m.Name
			for _, label := range sample.GetLabel() {
				if label.GetName() != m.Label {
					t.Errorf("%s has label %s", m.Prometheus(), label.GetName())
				}
				name += " " + label.GetValue()
			}
			got := sample.GetCounter().GetValue()
			if h := sample.GetHistogram(); h != nil {
				got = float64(h.GetSampleCount())
				last := h.GetBucket()[len(h.GetBucket())-1]
				if last.GetCumulativeCount() != h.GetSampleCount() {
					t.Errorf("%s: the last bucket has %d of %d", name, last.GetCumulativeCount(), h.GetSampleCount())
				}
			}
			if _, counted := want[name]; counted && got != want[name] {
				t.Errorf("%s: got %v, want %v", name, got, want[name])
			}
		}
	}
	hits := families["stillpage_request_time_seconds"].GetMetric()[0].GetHistogram()
	if got := hits.GetSampleSum(); got != 0.003 {
		t.Errorf("3 ms are %v seconds", got)
	}
	for _, b := range hits.GetBucket() {
		if want := uint64(0); b.GetUpperBound() >= 0.003 != (b.GetCumulativeCount() > want) {
			t.Errorf("bucket to %v has %d", b.GetUpperBound(), b.GetCumulativeCount())
		}
	}
}

// docs/metrics.md has the table as it is in the code, and what it costs.
func TestDocumentation(t *testing.T) {
	t.Parallel()
	doc, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	var table strings.Builder
	table.WriteString("| CloudWatch | Prometheus | kind, unit | from | meaning |\n| --- | --- | --- | --- | --- |\n")
	names := map[string]bool{}
	for _, m := range telemetry.Table {
		if names[m.Name] || names[m.Prometheus()] || !regexp.MustCompile(`^[A-Z][A-Za-z]+$`).MatchString(m.Name) {
			t.Errorf("%s stands twice, or is no name", m.Name)
		}
		names[m.Name], names[m.Prometheus()] = true, true
		help := m.Help
		if m.Label != "" {
			help += fmt.Sprintf("; by `%s`: %s", m.Label, strings.Join(m.Values, ", "))
		}
		fmt.Fprintf(&table, "| `%s` | `%s` | %s, %s | %s | %s |\n", m.Name, m.Prometheus(), m.Kind, strings.ToLower(string(m.Unit)), strings.Join(m.From, ", "), help)
	}
	if !strings.Contains(string(doc), table.String()) {
		t.Errorf("docs/metrics.md lacks the table; it is to read:\n\n%s", &table)
	}
	metrics, dollars := telemetry.Cost("router", "render", "admin")
	if want := fmt.Sprintf("%d metrics at most, %.2f dollars a month", metrics, dollars); !strings.Contains(string(doc), want) {
		t.Errorf("docs/metrics.md lacks %q", want)
	}
}

func TestMisuse(t *testing.T) {
	t.Parallel()
	defer func() {
		if recover() == nil {
			t.Error("a gauge was added to")
		}
	}()
	new(telemetry.Recorder).Add(telemetry.Memory, "", 1)
}

func TestNothingIsKept(t *testing.T) {
	t.Parallel()
	everything(nil)
}

// Each line has the fields that docs/logs.md documents, and no others.
func TestLines(t *testing.T) {
	t.Parallel()
	doc, err := os.ReadFile("../../docs/logs.md")
	if err != nil {
		t.Fatal(err)
	}
	documented := map[string]map[string]bool{}
	message := ""
	for line := range strings.Lines(string(doc)) {
		if m := regexp.MustCompile("^## .*`(.+)`").FindStringSubmatch(line); m != nil {
			message = m[1]
			documented[message] = map[string]bool{}
		}
		if m := regexp.MustCompile("^\\| `([^`]+)` \\|").FindStringSubmatch(line); m != nil && message != "" {
			documented[message][m[1]] = true
		}
	}
	var out bytes.Buffer
	o := &telemetry.Observer{Log: slog.New(slog.NewJSONHandler(&out, nil)).With("function", "serve", "version", "dev")}
	full := telemetry.Request{
		Method: "GET", URI: "/a", Host: "a.example", Site: "a.example", Agent: "GPTBot", Purpose: "ai-training",
		Cache: "hit", Status: 200, Bytes: 10, Took: time.Second, Instead: "busy", Reason: "busy",
	}
	o.Request(t.Context(), full)
	refused := full
	refused.Err = prerender.ErrBusy
	o.Request(t.Context(), refused)
	refused.HungUp = true
	o.Request(t.Context(), refused)
	o.Render(t.Context(), telemetry.Render{URL: "u", Site: "s", Device: "d", Outcome: "partial", Status: 200, Waiting: "scripts", Phases: []prerender.Phase{{Name: "ready"}}})
	o.Render(t.Context(), telemetry.Render{Err: prerender.ErrBusy})
	seen := map[string]map[string]bool{}
	for line := range strings.Lines(out.String()) {
		var fields map[string]any
		if err := json.Unmarshal([]byte(line), &fields); err != nil {
			t.Fatal(err)
		}
		kind := "request"
		if fields["msg"] == "render" {
			kind = "render"
		}
		for name := range fields {
			if seen[kind] == nil {
				seen[kind] = map[string]bool{"requestId": true} // on Lambda
			}
			seen[kind][name] = true
		}
	}
	for _, kind := range []string{"request", "render"} {
		got, want := slices.Sorted(maps.Keys(seen[kind])), slices.Sorted(maps.Keys(documented[kind]))
		if !slices.Equal(got, want) {
			t.Errorf("a line of a %s has %v\ndocumented are %v", kind, got, want)
		}
	}
}

// However many requests there are, there are a hundred lines at once and ten a second, and
// together they stand for all.
func TestSampling(t *testing.T) {
	t.Parallel()
	start := time.Now()
	var at []time.Time
	for range 5000 {
		at = append(at, start)
	}
	at = append(at, start.Add(time.Second), start.Add(time.Second))
	weights := telemetry.Weights(at...)
	lines, sum := 0, 0
	for _, w := range weights[:5000] {
		sum += w
		lines += min(w, 1)
	}
	if lines != 100 || sum != 100 {
		t.Errorf("at once there are %d lines, which stand for %d, want 100", lines, sum)
	}
	if weights[5000] != 4901 || weights[5001] != 1 {
		t.Errorf("the next ones stand for %d and %d, want 4901 and 1", weights[5000], weights[5001])
	}
	// What is not as usual is written in any case.
	var out bytes.Buffer
	o := &telemetry.Observer{Log: slog.New(slog.NewJSONHandler(&out, nil))}
	for range 300 {
		o.Request(t.Context(), telemetry.Request{Cache: "refused", Status: 503, Err: prerender.ErrBusy})
		o.Request(t.Context(), telemetry.Request{Cache: "stale", Instead: "busy"})
	}
	if n := strings.Count(out.String(), "\n"); n != 600 {
		t.Errorf("got %d lines, want 600", n)
	}
}

// A function that is frozen between invocations writes what there is before it is.
func TestFunction(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	f := telemetry.NewFunction("render", "1.2", 2048, "Stillpage/test", &out)
	handle := telemetry.Measured(f, func(context.Context, json.RawMessage) (string, error) { return "x", errors.New("y") })
	if got, err := handle(t.Context(), nil); got != "x" || err == nil {
		t.Errorf("got %q, %v", got, err)
	}
	got := values(t, parse(t, out.String()))
	// A millisecond of 2 GB at least, and a call: 0.002 * 0.0000133334 + 0.0000002 dollars.
	if got["GBSeconds"] < 0.002 || got["GBSeconds"] > 2 || got["Dollars"] < 2.2e-7 {
		t.Errorf("got %v", got)
	}
	f.Recorder.Add(telemetry.Queued, "", 1)
	out.Reset()
	f.Stop()
	if got := values(t, parse(t, out.String())); got["Queued"] != 1 {
		t.Errorf("at the end, got %v", got)
	}

	silent := telemetry.NewFunction("render", "1.2", 2048, "", &out)
	out.Reset()
	telemetry.Measured(silent, func(context.Context, json.RawMessage) (int, error) { return 0, nil })(t.Context(), nil)
	silent.Stop()
	if out.Len() > 0 {
		t.Errorf("without a namespace, got %s", &out)
	}
}

// Each metric is made to happen by a test: here, or in the whole program or the functions by a
// test that names it.
func TestEachMetricHappens(t *testing.T) {
	t.Parallel()
	here := map[string]bool{}
	for name := range everything(&telemetry.Recorder{}) {
		name, _, _ = strings.Cut(name, " ")
		here[name] = true
	}
	var elsewhere strings.Builder
	for _, file := range []string{"../../cmd/stillpage/health_test.go", "../../functions/metrics_test.go"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		elsewhere.Write(text)
	}
	for _, m := range telemetry.Table {
		named := strings.Contains(elsewhere.String(), `"`+m.Name+`"`) || strings.Contains(elsewhere.String(), `"`+m.Name+" ") ||
			strings.Contains(elsewhere.String(), m.Prometheus()) || strings.Contains(elsewhere.String(), "telemetry."+m.Name)
		if !here[m.Name] && !named {
			t.Errorf("no test makes %s happen", m.Name)
		}
	}
}

func TestBrowsers(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	r := &telemetry.Recorder{}
	for _, seen := range [][2]int{{1, 0}, {3, 1}, {3, 1}} { // starts, of which one was planned
		telemetry.Browsers(r, seen[0], seen[1])
	}
	(&telemetry.EMF{Recorder: r, Namespace: "Stillpage/test", Out: &out}).Flush()
	if got := values(t, parse(t, out.String())); !maps.Equal(got, map[string]float64{"BrowserStarts first": 1, "BrowserStarts died": 1, "BrowserStarts replaced": 1}) {
		t.Errorf("got %v", got)
	}
}
