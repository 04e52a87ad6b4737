package load

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"maps"
	"math"
	"slices"
	"strings"
	"time"
)

//go:embed report.html
var reportText string

var reportPage = template.Must(template.New("").Parse(reportText))

// Percentiles are those of a report.
var Percentiles = []float64{50, 75, 90, 95, 99, 99.9, 100}

// Check is something that a test was to show.
type Check struct {
	Text string `json:"text"`
	OK   bool   `json:"ok"`
}

// Report writes a page that needs nothing else: numbers, and plots of them over the time.
func Report(w io.Writer, title string, c Config, r *Result, checks []Check) error {
	type row struct {
		Name  string
		Cells []string
	}
	var latency []row
	add := func(name string, of func(float64) time.Duration) {
		cells := make([]string, len(Percentiles))
		for i, p := range Percentiles {
			cells[i] = milliseconds(of(p))
		}
		latency = append(latency, row{name, cells})
	}
	add("all, since they were due", r.Percentile)
	add("all, since they were sent", r.Served)
	for _, outcome := range slices.Sorted(maps.Keys(r.outcome)) {
		add(outcome, func(p float64) time.Duration { return r.Of(outcome, p) })
	}
	var heads []string
	for _, p := range Percentiles {
		heads = append(heads, fmt.Sprintf("p%g", p))
	}
	heads[len(heads)-1] = "most"
	var outcomes []row
	for _, name := range r.OutcomeNames() {
		n := r.Outcomes[name]
		outcomes = append(outcomes, row{name, []string{fmt.Sprint(n), fmt.Sprintf("%.2f %%", 100*float64(n)/float64(max(1, r.Due)))}})
	}
	return reportPage.Execute(w, map[string]any{
		"Title": title, "Began": r.Began.UTC().Format("2006-01-02 15:04:05 UTC"), "Took": r.Took.Round(time.Millisecond),
		"Arrivals": c.Arrivals, "Pages": len(c.URLs), "Zipf": c.Zipf, "Due": r.Due, "Rate": fmt.Sprintf("%.1f", r.Rate()),
		"Failed": fmt.Sprintf("%d (%.2f %%)", r.Failed, r.FailedShare()), "Megabytes": fmt.Sprintf("%.1f", float64(r.Bytes)/1e6),
		"Heads": heads, "Latency": latency, "Outcomes": outcomes, "Checks": checks, "Plots": r.plots(),
	})
}

// OutcomeNames are the outcomes, the most frequent first.
func (r *Result) OutcomeNames() []string {
	return slices.SortedFunc(maps.Keys(r.Outcomes), func(a, b string) int {
		if d := r.Outcomes[b] - r.Outcomes[a]; d != 0 {
			return d
		}
		return strings.Compare(a, b)
	})
}

func milliseconds(d time.Duration) string {
	ms := float64(d) / float64(time.Millisecond)
	switch {
	case ms < 10:
		return fmt.Sprintf("%.2f", ms)
	case ms < 100:
		return fmt.Sprintf("%.1f", ms)
	}
	return fmt.Sprintf("%.0f", ms)
}

// plots are pictures of the seconds.
func (r *Result) plots() []template.HTML {
	n := len(r.Seconds)
	if n == 0 {
		return nil
	}
	series := func(of func(i int, s Second) float64) []float64 {
		out := make([]float64, n)
		for i, s := range r.Seconds {
			out[i] = of(i, s)
		}
		return out
	}
	ms := func(d time.Duration) float64 {
		if d == 0 {
			return math.NaN()
		}
		return float64(d) / float64(time.Millisecond)
	}
	length := func(i int) float64 {
		if i == 0 {
			return r.Seconds[0].At.Seconds()
		}
		return max(0.001, (r.Seconds[i].At - r.Seconds[i-1].At).Seconds())
	}
	last := r.Seconds[n-1].At
	out := []template.HTML{
		plot("Time until the answer, ms", last, true, map[string][]float64{
			"p50": series(func(_ int, s Second) float64 { return ms(s.P50) }), "p99": series(func(_ int, s Second) float64 { return ms(s.P99) })}),
		plot("Requests a second", last, false, map[string][]float64{
			"due":      series(func(i int, s Second) float64 { return float64(s.Due) / length(i) }),
			"answered": series(func(i int, s Second) float64 { return float64(s.Answered) / length(i) }),
			"failed":   series(func(i int, s Second) float64 { return float64(s.Failed) / length(i) })}),
		r.percentilePlot(),
		plot("Requests that wait", last, false, map[string][]float64{"open": series(func(_ int, s Second) float64 { return float64(s.Open) })}),
	}
	outcomes := map[string][]float64{}
	for _, name := range r.OutcomeNames()[:min(6, len(r.Outcomes))] {
		outcomes[name] = series(func(i int, s Second) float64 { return float64(s.Outcomes[name]) / length(i) })
	}
	out = append(out, plot("Outcomes a second", last, false, outcomes))
	if !slices.ContainsFunc(r.Seconds, func(s Second) bool { return s.Used != nil }) {
		return out
	}
	used := func(of func(Usage) float64) []float64 {
		return series(func(_ int, s Second) float64 {
			if s.Used == nil {
				return math.NaN()
			}
			return of(*s.Used)
		})
	}
	cores := series(func(i int, s Second) float64 {
		if i == 0 || s.Used == nil || r.Seconds[i-1].Used == nil {
			return math.NaN()
		}
		return max(0, (s.Used.Processor-r.Seconds[i-1].Used.Processor).Seconds()/length(i))
	})
	return append(out,
		plot("Processor, cores in use", last, false, map[string][]float64{"cores": cores}),
		plot("Memory, MB", last, false, map[string][]float64{"memory": used(func(u Usage) float64 { return u.Memory / (1 << 20) })}),
		plot("Descriptors", last, false, map[string][]float64{"open": used(func(u Usage) float64 { return u.Descriptors })}),
	)
}
