package insight_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stillpage/stillpage/internal/boltstore"
	"github.com/stillpage/stillpage/internal/control"
	"github.com/stillpage/stillpage/internal/insight"
	"github.com/stillpage/stillpage/internal/prerender"
	"github.com/stillpage/stillpage/internal/telemetry"
)

// A percentile is within a step of the true one, whatever the distribution.
func TestPercentiles(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	var h insight.Histogram
	var all []float64
	for range 10_000 {
		ms := math.Exp(r.NormFloat64()*1.5 + 5)
		all = append(all, ms)
		h.Observe(time.Duration(ms * float64(time.Millisecond)))
	}
	slices.Sort(all)
	for _, share := range []float64{0.01, 0.5, 0.9, 0.95, 0.99} {
		want := all[int(share*float64(len(all)))]
		if got := h.Percentile(share); got < want*0.9 || got > want*1.1 {
			t.Errorf("p%v: got %.1f ms, want %.1f", share, got, want)
		}
	}
	if h.Count() != 10_000 || (insight.Histogram{}).Percentile(0.5) != 0 {
		t.Errorf("%d were counted", h.Count())
	}
}

// A tally stays small, whatever is counted, and its JSON is read back as it was.
func TestTallyIsBounded(t *testing.T) {
	t.Parallel()
	var sum insight.Tally
	for i := range 3000 {
		name := fmt.Sprint("name ", i)
		one := insight.Tally{
			Requests: map[string]int64{"hit": 1}, Agents: map[string]*insight.Part{name: {Purpose: "search", Requests: map[string]int64{"hit": 1}}}, Refusals: map[string]int64{name: 1},
			Renders: map[string]int64{name: 1}, Partials: map[string]int64{name: 1},
			Slow: []insight.PageCount{{URL: "https://a.example/" + name + string(make([]byte, 10_000)), MS: int64(i)}}, Failing: []insight.PageCount{{URL: name, Count: 1}},
		}
		one.Latency.Observe(time.Duration(i) * time.Millisecond)
		sum.Add(one)
	}
	document, err := json.Marshal(sum)
	if err != nil || len(document) > 40_000 {
		t.Errorf("a tally has %d bytes, %v", len(document), err)
	}
	if sum.Asked() != 3000 || sum.Rendered() != 3000 || sum.Agents["other"].Requests["hit"] != 2900 || sum.Purposes()["search"].Requests["hit"] != 100 || sum.Slow[0].MS != 2999 || len(sum.Slow) != 10 {
		t.Errorf("got %d, %d, %d others, slowest %+v", sum.Asked(), sum.Rendered(), sum.Agents["other"].Requests["hit"], sum.Slow[0].MS)
	}
	var back insight.Tally
	if err := json.Unmarshal(document, &back); err != nil {
		t.Fatal(err)
	}
	again, _ := json.Marshal(back)
	if string(again) != string(document) {
		t.Error("a tally is not read back as it was")
	}
}

// Adding is the same in any order.
func FuzzTally(f *testing.F) {
	f.Add([]byte(`{"requests":{"hit":3},"latency":{"steps":{"5":2},"sumMs":9}}`), []byte(`{"renders":{"partial":1},"slow":[{"url":"x","ms":5}]}`))
	f.Fuzz(func(t *testing.T, a, b []byte) {
		var first, second insight.Tally
		if json.Unmarshal(a, &first) != nil || json.Unmarshal(b, &second) != nil {
			return
		}
		var one, other insight.Tally
		one.Add(first)
		one.Add(second)
		other.Add(second)
		other.Add(first)
		if one.Asked() != other.Asked() || one.Latency.Count() != other.Latency.Count() || one.Latency.Percentile(0.5) != other.Latency.Percentile(0.5) {
			t.Errorf("%s and %s: %+v, %+v", a, b, one, other)
		}
		insight.USEast1.Money(one, 2, one)
	})
}

// What is saved is what the answers from the store would have cost as renders.
func TestMoney(t *testing.T) {
	t.Parallel()
	tally := insight.Tally{Requests: map[string]int64{"hit": 900, "miss": 100}, Renders: map[string]int64{"complete": 100}}
	for range 100 {
		tally.RenderTime.Observe(time.Second)
	}
	m := insight.USEast1.Money(tally, 2, tally)
	if render := 100 * 2 * 0.0000133334; m.Spent < render || m.Spent > 2*render {
		t.Errorf("spent %v for renders of %v", m.Spent, render)
	}
	if m.Saved < 0.0238 || m.Saved > 0.04 {
		t.Errorf("saved %v, want nine renders for each of a hundred", m.Saved)
	}
	if m := insight.USEast1.Money(insight.Tally{}, 2, tally); m != (insight.Money{}) {
		t.Errorf("nothing costs %+v", m)
	}
}

// failing is a store that takes no notes for a while.
type failing struct {
	control.Store
	on bool
}

func (f *failing) Note(ctx context.Context, r control.Record) error {
	if f.on {
		return errors.New("injected fault")
	}
	return f.Store.Note(ctx, r)
}

// What cannot be written is written with the next; what comes too late, when its hour has
// been merged, is not counted twice but lost.
func TestFlush(t *testing.T) {
	t.Parallel()
	store, err := boltstore.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	clock := time.Date(2026, 11, 22, 10, 50, 0, 0, time.UTC)
	records := &failing{Store: store.Records(), on: true}
	c := &insight.Collector{Records: records, Instance: "a", Now: func() time.Time { return clock }, Log: slog.New(slog.DiscardHandler)}
	var sites []prerender.Site
	for i := range 10 {
		host := fmt.Sprintf("site-%d.example", i)
		sites = append(sites, prerender.Site{Origin: prerender.Origin{Scheme: "https", Host: host}})
		c.Request(telemetry.Request{Site: host, Cache: "hit"})
	}
	want := func(what string, n int64) {
		t.Helper()
		for _, site := range sites {
			points, err := insight.Series(t.Context(), records, site.Origin.Host, insight.Hours, clock.Add(-12*time.Hour), clock)
			sum := int64(0)
			for _, p := range points {
				sum += p.Asked()
			}
			if err != nil || sum != n {
				t.Errorf("%s: %s has %d, %v, want %d", what, site.Origin.Host, sum, err, n)
			}
		}
	}
	c.Flush(t.Context())
	want("after a failure", 0)
	records.on = false
	c.Flush(t.Context())
	want("after the next", 1)
	for _, site := range sites {
		c.Request(telemetry.Request{Site: site.Origin.Host, Cache: "hit"}) // and the process is frozen
	}
	clock = clock.Add(30 * time.Minute)
	if err := insight.MergeAll(t.Context(), records, sites, clock); err != nil {
		t.Fatal(err)
	}
	c.Flush(t.Context())
	want("too late", 1)
	clock = clock.Add(time.Hour)
	if err := insight.MergeAll(t.Context(), records, sites, clock); err != nil {
		t.Fatal(err)
	}
	want("merged again", 1)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			c.Request(telemetry.Request{Site: "a", Cache: "hit"})
			c.Flush(context.Background())
			c.FlushIfDue(context.Background())
		})
	}
	all.Wait()
}

// Who fails most is found, however late they begin.
func TestWorst(t *testing.T) {
	t.Parallel()
	var sum insight.Tally
	for i := range 200 {
		sum.Add(insight.Tally{Failing: []insight.PageCount{{URL: fmt.Sprint("once ", i), Count: 1}}})
	}
	for range 50 {
		sum.Add(insight.Tally{Failing: []insight.PageCount{{URL: "again and again", Count: 1}}})
		sum.Add(insight.Tally{Failing: []insight.PageCount{{URL: fmt.Sprint("noise ", rand.Int()), Count: 1}}})
	}
	if worst := sum.Worst(); len(worst) != 10 || worst[0].URL != "again and again" || worst[0].Count < 50 {
		t.Errorf("got %+v", worst)
	}
}
