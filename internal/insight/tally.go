// Package insight counts what is asked for and what is rendered, by site, hour and day,
// so that an owner sees who came, how fast they were answered, and what it cost. What it
// keeps is small and bounded: a tally has a fixed number of counters, whatever happens.
//
// Each process keeps tallies of its own and writes them in the place of its earlier ones,
// so that nothing is counted twice; Collector.Merge makes one of them when an hour is
// over.
package insight

import (
	"cmp"
	"encoding/json"
	"maps"
	"math"
	"slices"
	"strconv"
	"time"
)

// Tally is what has happened to a site in an hour or a day.
type Tally struct {
	Requests map[string]int64 `json:"requests,omitempty"` // by cache: hit, stale, miss, coalesced, refused
	Refusals map[string]int64 `json:"refusals,omitempty"` // by X-Stillpage-Reason
	Agents   map[string]*Part `json:"agents,omitempty"`   // by name; "" is none of the known ones
	Bytes    int64            `json:"bytes,omitempty"`    // of bodies, as sent
	Latency  Histogram        `json:"latency,omitzero"`   // of answers with a page

	Renders    map[string]int64 `json:"renders,omitempty"` // by outcome: complete, partial, or why there is no page
	Partials   map[string]int64 `json:"partials,omitempty"`
	RenderTime Histogram        `json:"renderTime,omitzero"`

	Slow    []PageCount `json:"slow,omitempty"`    // pages by their slowest render
	Failing []PageCount `json:"failing,omitempty"` // pages by how often they failed or were partial
}

// Part is what one agent has asked for.
type Part struct {
	Purpose  string           `json:"purpose,omitempty"`  // package useragent's
	Requests map[string]int64 `json:"requests,omitempty"` // by cache; misses are renders
	Latency  Histogram        `json:"latency,omitzero"`   // of answers with a page
}

func (t *Tally) addAgent(name string, p Part) {
	if t.Agents == nil {
		t.Agents = map[string]*Part{}
	}
	if _, known := t.Agents[name]; !known && len(t.Agents) >= mostNames {
		name, p.Purpose = "other", ""
	}
	sum := t.Agents[name]
	if sum == nil {
		sum = &Part{}
		t.Agents[name] = sum
	}
	sum.Purpose = p.Purpose
	addAll(&sum.Requests, p.Requests)
	sum.Latency.Add(p.Latency)
}

// Purposes are the agents' parts together, by purpose.
func (t *Tally) Purposes() map[string]*Part {
	var sum Tally
	for _, p := range t.Agents {
		if p != nil && p.Purpose != "" {
			sum.addAgent(p.Purpose, *p)
		}
	}
	return sum.Agents
}

// PageCount is a page in a list of the worst.
type PageCount struct {
	URL    string `json:"url"`
	Reason string `json:"reason,omitempty"` // of the last failure
	Count  int64  `json:"count,omitempty"`  // failures
	MS     int64  `json:"ms,omitempty"`     // the slowest render
}

// What bounds a tally.
const (
	mostNames   = 100 // of each kind; the rest is counted as "other"
	mostPages   = 10  // that are shown in each list
	mostFailing = 40  // that are counted
	mostURL     = 300 // bytes of a page's URL
)

func count(names *map[string]int64, name string, n int64) {
	if *names == nil {
		*names = map[string]int64{}
	}
	if _, known := (*names)[name]; !known && len(*names) >= mostNames {
		name = "other"
	}
	(*names)[name] += n
}

func addAll(to *map[string]int64, from map[string]int64) {
	for _, name := range slices.Sorted(maps.Keys(from)) {
		count(to, name, from[name])
	}
}

// Add adds another tally's counts.
func (t *Tally) Add(o Tally) {
	addAll(&t.Requests, o.Requests)
	addAll(&t.Refusals, o.Refusals)
	for _, name := range slices.Sorted(maps.Keys(o.Agents)) {
		if p := o.Agents[name]; p != nil {
			t.addAgent(name, *p)
		}
	}
	addAll(&t.Renders, o.Renders)
	addAll(&t.Partials, o.Partials)
	t.Bytes += o.Bytes
	t.Latency.Add(o.Latency)
	t.RenderTime.Add(o.RenderTime)
	for _, page := range o.Slow {
		t.slow(page)
	}
	for _, page := range o.Failing {
		t.failing(page)
	}
}

func (t *Tally) slow(page PageCount) {
	t.Slow = worst(t.Slow, page, mostPages, func(old *PageCount) { old.MS = max(old.MS, page.MS) }, func(p PageCount) int64 { return p.MS })
}

func (t *Tally) failing(page PageCount) {
	if i := slices.IndexFunc(t.Failing, func(p PageCount) bool { return p.URL == page.URL }); i < 0 && len(t.Failing) >= mostFailing {
		// A newcomer takes the place of the least, with its count: who fails often comes up, and
		// no count is too low (Metwally's space-saving).
		least := t.Failing[len(t.Failing)-1]
		page.Count += least.Count
		t.Failing = t.Failing[:len(t.Failing)-1]
	}
	t.Failing = worst(t.Failing, page, mostFailing, func(old *PageCount) { old.Count, old.Reason = old.Count+page.Count, page.Reason }, func(p PageCount) int64 { return p.Count })
}

// worst adds a page to a list that keeps the worst.
func worst(list []PageCount, page PageCount, kept int, merge func(old *PageCount), badness func(PageCount) int64) []PageCount {
	if len(page.URL) > mostURL {
		page.URL = page.URL[:mostURL] + "…"
	}
	list = slices.Clone(list)
	if i := slices.IndexFunc(list, func(p PageCount) bool { return p.URL == page.URL }); i >= 0 {
		merge(&list[i])
	} else {
		list = append(list, page)
	}
	slices.SortStableFunc(list, func(a, b PageCount) int { return cmp.Compare(badness(b), badness(a)) })
	return list[:min(len(list), kept)]
}

// Worst returns the pages that fail most, as many as are shown.
func (t *Tally) Worst() []PageCount { return t.Failing[:min(len(t.Failing), mostPages)] }

// Asked is how many requests there were.
func (t *Tally) Asked() int64 { return total(t.Requests) }

// Rendered is how many renders there were, good or not.
func (t *Tally) Rendered() int64 { return total(t.Renders) }

func total(counts map[string]int64) (n int64) {
	for _, c := range counts {
		n += c
	}
	return n
}

// HitRatio is the share of pages that were answered from the store, from 0 to 1; of no
// pages, 0.
func (t *Tally) HitRatio() float64 { return HitRatio(t.Requests) }

// HitRatio is that of requests by cache.
func HitRatio(requests map[string]int64) float64 {
	stored := requests["hit"] + requests["stale"]
	all := stored + requests["miss"] + requests["coalesced"]
	if all == 0 {
		return 0
	}
	return float64(stored) / float64(all)
}

// Histogram counts durations in steps of a sixth more each, so that a percentile is within
// 8 % of the true one. Its JSON is the counts by step, and the sum in milliseconds.
type Histogram struct {
	Steps map[int]int64
	SumMS float64
}

// perOctave is how many steps double a duration.
const perOctave = 4.5

// longest bounds the steps: 17 minutes.
const longest = 90

// Observe counts a duration.
func (h *Histogram) Observe(d time.Duration) {
	ms := float64(d) / float64(time.Millisecond)
	step := 0
	if ms > 1 {
		step = min(longest, int(math.Ceil(math.Log2(ms)*perOctave)))
	}
	if h.Steps == nil {
		h.Steps = map[int]int64{}
	}
	h.Steps[step]++
	h.SumMS += ms
}

// Add adds another's counts.
func (h *Histogram) Add(o Histogram) {
	for step, n := range o.Steps {
		if h.Steps == nil {
			h.Steps = map[int]int64{}
		}
		h.Steps[min(max(step, 0), longest)] += n
	}
	h.SumMS += o.SumMS
}

// Count is how many durations were observed.
func (h Histogram) Count() (n int64) {
	for _, c := range h.Steps {
		n += c
	}
	return n
}

// Percentile is the duration in milliseconds that a share of those observed did not
// exceed, like 0.95: the middle of its step. Of none, it is 0.
func (h Histogram) Percentile(share float64) float64 {
	need := int64(math.Ceil(share * float64(h.Count())))
	seen := int64(0)
	for _, step := range slices.Sorted(maps.Keys(h.Steps)) {
		if seen += h.Steps[step]; seen >= need && seen > 0 {
			if step == 0 {
				return 0.5
			}
			return math.Exp2((float64(step) - 0.5) / perOctave)
		}
	}
	return 0
}

// IsZero is for encoding/json.
func (h Histogram) IsZero() bool { return len(h.Steps) == 0 }

type histogramJSON struct {
	Steps map[string]int64 `json:"steps"`
	SumMS float64          `json:"sumMs"`
}

// MarshalJSON implements json.Marshaler.
func (h Histogram) MarshalJSON() ([]byte, error) {
	out := histogramJSON{map[string]int64{}, math.Round(h.SumMS)}
	for step, n := range h.Steps {
		out.Steps[strconv.Itoa(step)] = n
	}
	return json.Marshal(out)
}

// UnmarshalJSON implements json.Unmarshaler.
func (h *Histogram) UnmarshalJSON(text []byte) error {
	var in histogramJSON
	if err := json.Unmarshal(text, &in); err != nil {
		return err
	}
	*h = Histogram{SumMS: in.SumMS}
	for name, n := range in.Steps {
		step, err := strconv.Atoi(name)
		if err != nil {
			return err
		}
		h.Add(Histogram{Steps: map[int]int64{step: n}})
	}
	return nil
}
