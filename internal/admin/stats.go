package admin

import (
	"context"
	"net/http"
	"time"

	"github.com/stillpage/stillpage/internal/control"
	"github.com/stillpage/stillpage/internal/insight"
)

// statistics answers GET /v1/stats.
type statistics struct {
	From   time.Time    `json:"from"`
	To     time.Time    `json:"to"`
	Step   insight.Step `json:"step"`
	Total  counts       `json:"total"`
	Points []point      `json:"points"` // steps without anything are left out
}

// point is a step of a series.
type point struct {
	At time.Time `json:"at"` // its beginning
	counts
}

// counts is a tally, with what follows from it.
type counts struct {
	Requests int64             `json:"requests"`
	Cache    map[string]int64  `json:"cache"`    // requests by X-Stillpage-Cache, and refused
	HitRatio float64           `json:"hitRatio"` // of pages, from 0 to 1
	Refusals map[string]int64  `json:"refusals"` // by X-Stillpage-Reason
	Agents   map[string]askers `json:"agents"`   // "" is none of the known ones
	Purposes map[string]askers `json:"purposes"`
	Bytes    int64             `json:"bytes"`
	Latency  percentiles       `json:"latency"` // of answers with a page

	Renders    int64            `json:"renders"`
	Outcomes   map[string]int64 `json:"outcomes"` // of renders: complete, partial, or why there is no page
	Partials   map[string]int64 `json:"partials"` // by what they were waiting for
	RenderTime percentiles      `json:"renderTime"`

	Slow    []insight.PageCount `json:"slow"`
	Failing []insight.PageCount `json:"failing"`
	Money   insight.Money       `json:"money"`
}

// askers are agents of one name, or of one purpose.
type askers struct {
	Purpose  string           `json:"purpose,omitempty"`
	Requests int64            `json:"requests"`
	Cache    map[string]int64 `json:"cache"` // requests by X-Stillpage-Cache, and refused; misses were rendered for it
	HitRatio float64          `json:"hitRatio"`
	Latency  percentiles      `json:"latency"`
}

func askersOf(parts map[string]*insight.Part) map[string]askers {
	all := map[string]askers{}
	for name, p := range parts {
		a := askers{Purpose: p.Purpose, Cache: p.Requests, HitRatio: insight.HitRatio(p.Requests), Latency: percentilesOf(p.Latency)}
		for _, n := range p.Requests {
			a.Requests += n
		}
		all[name] = a
	}
	return all
}

// percentiles are in milliseconds.
type percentiles struct {
	P50 float64 `json:"p50"`
	P95 float64 `json:"p95"`
	P99 float64 `json:"p99"`
}

// The longest that a series may be.
const (
	mostHours = 8 * 24
	mostDays  = 400
)

func getStats(a *API, c *call) error {
	to, toErr := c.time("to")
	from, err := c.time("from")
	if err != nil {
		return err
	}
	if toErr != nil {
		return toErr
	}
	if to.IsZero() {
		to = a.now().UTC()
	}
	step := insight.Step(c.query("step"))
	length, most := time.Hour, mostHours
	switch step {
	case "":
		step = insight.Hours
	case insight.Hours:
	case insight.Days:
		length, most = 24*time.Hour, mostDays
	default:
		return problemf(http.StatusUnprocessableEntity, "step %.100q must be hour or day", step)
	}
	if from.IsZero() {
		from = to.Add(-24 * length)
	}
	if !from.Before(to) || to.Sub(from) > time.Duration(most)*length {
		return problemf(http.StatusUnprocessableEntity, "from must be before to, and by at most %d steps", most)
	}
	points, err := a.series(c, step, from, to)
	if err != nil {
		return err
	}
	stats := statistics{From: from, To: to, Step: step, Points: []point{}}
	var total insight.Tally
	for _, p := range points {
		total.Add(p.Tally)
	}
	for _, p := range points {
		stats.Points = append(stats.Points, point{p.At, a.counts(p.Tally, total)})
	}
	stats.Total = a.counts(total, total)
	return c.answer(http.StatusOK, stats)
}

// series is of one site, or of all that somebody may see.
func (a *API) series(c *call, step insight.Step, from, to time.Time) ([]insight.Point, error) {
	host := c.query("site")
	if host != "" {
		if err := c.allow(control.Viewer, host); err != nil {
			return nil, err
		}
		if _, err := a.Plane.SiteOrFixed(c.r.Context(), host); err != nil {
			return nil, err
		}
		return insight.Series(c.r.Context(), a.Plane.Records, host, step, from, to)
	}
	if c.who.May(control.Viewer, "") {
		return insight.Series(c.r.Context(), a.Plane.Records, insight.AllSites, step, from, to)
	}
	return sumOf(c.r.Context(), a.Plane.Records, c.who, step, from, to)
}

// sumOf adds the series of the sites that somebody is bound to.
func sumOf(ctx context.Context, records control.Store, who control.Principal, step insight.Step, from, to time.Time) ([]insight.Point, error) {
	sum := map[time.Time]*insight.Point{}
	seen := map[string]bool{}
	for _, grant := range who.Grants {
		for _, host := range grant.Sites {
			if seen[host] {
				continue
			}
			seen[host] = true
			points, err := insight.Series(ctx, records, host, step, from, to)
			if err != nil {
				return nil, err
			}
			for _, p := range points {
				if sum[p.At] == nil {
					sum[p.At] = &insight.Point{At: p.At}
				}
				sum[p.At].Add(p.Tally)
			}
		}
	}
	return insight.InOrder(sum), nil
}

func (a *API) counts(t, mean insight.Tally) counts {
	gb := a.RenderGB
	if gb == 0 {
		gb = DefaultRenderGB
	}
	some := func(m map[string]int64) map[string]int64 {
		if m == nil {
			return map[string]int64{}
		}
		return m
	}
	return counts{
		Requests: t.Asked(), Cache: some(t.Requests), HitRatio: t.HitRatio(), Refusals: some(t.Refusals), Agents: askersOf(t.Agents),
		Purposes: askersOf(t.Purposes()), Bytes: t.Bytes, Latency: percentilesOf(t.Latency),
		Renders: t.Rendered(), Outcomes: some(t.Renders), Partials: some(t.Partials), RenderTime: percentilesOf(t.RenderTime),
		Slow: append([]insight.PageCount{}, t.Slow...), Failing: append([]insight.PageCount{}, t.Worst()...), Money: insight.USEast1.Money(t, gb, mean),
	}
}

func percentilesOf(h insight.Histogram) percentiles {
	round := func(ms float64) float64 { return float64(int64(ms*10+0.5)) / 10 }
	return percentiles{round(h.Percentile(0.5)), round(h.Percentile(0.95)), round(h.Percentile(0.99))}
}
