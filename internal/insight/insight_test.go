package insight_test

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stillpage/stillpage/internal/insight"
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
			Requests: map[string]int64{"hit": 1}, Agents: map[string]int64{name: 1}, Refusals: map[string]int64{name: 1}, Purposes: map[string]int64{name: 1},
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
	if sum.Asked() != 3000 || sum.Rendered() != 3000 || sum.Agents["other"] != 2900+1 && sum.Agents["other"] != 2900 || sum.Slow[0].MS != 2999 || len(sum.Slow) != 10 {
		t.Errorf("got %d, %d, %d others, slowest %+v", sum.Asked(), sum.Rendered(), sum.Agents["other"], sum.Slow[0].MS)
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
		insight.USEast1.Money(one, 2)
	})
}

// What is saved is what the answers from the store would have cost as renders.
func TestMoney(t *testing.T) {
	t.Parallel()
	tally := insight.Tally{Requests: map[string]int64{"hit": 900, "miss": 100}, Renders: map[string]int64{"complete": 100}}
	for range 100 {
		tally.RenderTime.Observe(time.Second)
	}
	m := insight.USEast1.Money(tally, 2)
	if render := 100 * 2 * 0.0000133334; m.Spent < render || m.Spent > 2*render {
		t.Errorf("spent %v for renders of %v", m.Spent, render)
	}
	if m.Saved < 0.0238 || m.Saved > 0.04 {
		t.Errorf("saved %v, want nine renders for each of a hundred", m.Saved)
	}
	if m := insight.USEast1.Money(insight.Tally{}, 2); m != (insight.Money{}) {
		t.Errorf("nothing costs %+v", m)
	}
}
