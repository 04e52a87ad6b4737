package main

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

func stats(o *operator) error {
	step, length := "hour", time.Hour
	if o.Days > 8 {
		step, length = "day", 24*time.Hour
	}
	now := time.Now().UTC()
	var s struct {
		Total struct {
			Requests, Renders  int64
			Refusals, Outcomes map[string]int64
			Agents             map[string]struct {
				Requests int64
				HitRatio float64
				Latency  struct{ P95 float64 }
			}
			HitRatio            float64
			Latency, RenderTime struct{ P50, P95, P99 float64 }
			Money               struct{ Spent, Saved float64 }
			Slow, Failing       []struct {
				URL, Reason string
				Count, MS   int64
			}
		}
	}
	query := values("site", hostOf(o.Site), "step", step, "from", now.Add(-time.Duration(o.Days)*24*time.Hour).Add(length/2).Format(time.RFC3339), "to", now.Format(time.RFC3339))
	shown, err := o.get("/v1/stats", query, &s)
	if shown || err != nil {
		return err
	}
	t := s.Total
	if t.Requests == 0 {
		fmt.Fprintln(o.stderr, "Nothing was counted in this time. What is asked for is counted every ten seconds.")
	}
	o.table("OF THE LAST | "+map[bool]string{true: "day", false: strconv.Itoa(o.Days) + " days"}[o.Days == 1], [][]string{
		{"requests", strconv.FormatInt(t.Requests, 10)}, {"from the store", fmt.Sprintf("%.1f %%", 100*t.HitRatio)},
		{"answered within", fmt.Sprintf("p50 %.0f ms, p95 %.0f ms, p99 %.0f ms", t.Latency.P50, t.Latency.P95, t.Latency.P99)},
		{"renders", fmt.Sprintf("%d, p50 %.0f ms, p95 %.0f ms", t.Renders, t.RenderTime.P50, t.RenderTime.P95)},
		{"spent, by AWS prices", fmt.Sprintf("$%.4f", t.Money.Spent)}, {"saved by the store", fmt.Sprintf("$%.4f", t.Money.Saved)},
	})
	agents := map[string]int64{}
	for name, a := range t.Agents {
		agents[name] = a.Requests
	}
	if rows := ranked(agents); len(rows) > 0 {
		fmt.Fprintln(o.stdout)
		for i, name := range slices.SortedFunc(maps.Keys(agents), func(a, b string) int { return cmp.Or(cmp.Compare(agents[b], agents[a]), strings.Compare(a, b)) }) {
			rows[i] = append(rows[i], fmt.Sprintf("%.1f %%", 100*t.Agents[name].HitRatio), fmt.Sprintf("%.0f ms", t.Agents[name].Latency.P95))
		}
		o.table("AGENT | REQUESTS | FROM THE STORE | P95", rows)
	}
	for _, part := range []struct {
		name   string
		counts map[string]int64
	}{{"OUTCOME OF RENDERS", t.Outcomes}, {"REFUSED BECAUSE", t.Refusals}} {
		if len(part.counts) > 0 {
			fmt.Fprintln(o.stdout)
			o.table(part.name+" | TIMES", ranked(part.counts))
		}
	}
	var worst [][]string
	for _, p := range t.Failing {
		worst = append(worst, []string{p.URL, p.Reason, strconv.FormatInt(p.Count, 10)})
	}
	if len(worst) > 0 {
		fmt.Fprintln(o.stdout)
		o.table("FAILING PAGE | WHY | TIMES", worst)
	}
	return nil
}

func ranked(counts map[string]int64) [][]string {
	var rows [][]string
	names := slices.SortedFunc(maps.Keys(counts), func(a, b string) int { return cmp.Or(cmp.Compare(counts[b], counts[a]), strings.Compare(a, b)) })
	for _, name := range names {
		rows = append(rows, []string{cmp.Or(name, "none of the known ones"), strconv.FormatInt(counts[name], 10)})
	}
	return rows
}
