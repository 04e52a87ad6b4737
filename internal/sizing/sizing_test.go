package sizing_test

import (
	"math"
	"testing"
	"time"

	"github.com/stillpage/stillpage/internal/insight"
	"github.com/stillpage/stillpage/internal/sizing"
)

// A page that waits 40 ms and computes 60.
var page = sizing.Measured{Median: 100 * time.Millisecond, Processor: 60 * time.Millisecond}

func TestShareOfACore(t *testing.T) {
	t.Parallel()
	for share, want := range map[float64]time.Duration{0.5: 160 * time.Millisecond, 1: 100 * time.Millisecond, 2: 100 * time.Millisecond} {
		if got := page.At(share); got != want {
			t.Errorf("with %v of a core: got %v, want %v", share, got, want)
		}
	}
	// One that keeps two cores busy is faster with two.
	busy := sizing.Measured{Median: 100 * time.Millisecond, Processor: 200 * time.Millisecond}
	if one, two := busy.At(1), busy.At(2); one != 200*time.Millisecond || two != 100*time.Millisecond {
		t.Errorf("got %v with one core and %v with two", one, two)
	}
}

func TestLambda(t *testing.T) {
	t.Parallel()
	// 100 requests a second, 10 of them renders of 0.1 s, three times as many at the peak: three
	// at once in the mean, and nine in one of a thousand moments.
	got := page.On(1769, sizing.Load{Rate: 100, HitRatio: 0.9, Peak: 3}, insight.USEast1)
	if got.Concurrency != 9 || got.Render != 100*time.Millisecond {
		t.Errorf("got %+v", got)
	}
	// 0.1 s of 1769/1024 GB at 0.0000133334 and a call at 0.0000002.
	if want := 1e6 * (0.1*1769/1024*0.0000133334 + 0.0000002); math.Abs(got.PerMillion-want) > 1e-6 {
		t.Errorf("a million renders cost %v, want %v", got.PerMillion, want)
	}
	renders, requests := 10*730*3600.0, 100*730*3600.0
	want := renders*insight.USEast1.Render(100*time.Millisecond, 1769.0/1024) + requests*insight.USEast1.Answer()
	if math.Abs(got.Dollars-want) > 1e-6 {
		t.Errorf("a month costs %v, want %v", got.Dollars, want)
	}
	all := page.On(1769, sizing.Load{Rate: 100, HitRatio: 1, Peak: 3}, insight.USEast1)
	if all.Concurrency != 0 || all.Dollars >= got.Dollars {
		t.Errorf("if all is stored: %+v", all)
	}
}

func TestChoose(t *testing.T) {
	t.Parallel()
	// Twice as slow is too slow, however cheap: half a core would be 160 ms.
	if got := page.Choose(insight.USEast1, 1.01); got.MB != 1769 {
		t.Errorf("who wants the fastest gets %+v", got)
	}
	if got := page.Choose(insight.USEast1, 10); got.MB != sizing.Memories[0] {
		t.Errorf("who has time gets %+v", got)
	}
}

func TestMachines(t *testing.T) {
	t.Parallel()
	// 30 renders a second of 0.06 core seconds, at two thirds: 2.7 cores, and a little for hits.
	got := page.OnMachines(sizing.Load{Rate: 100, HitRatio: 0.9, Peak: 3})
	if got.Cores < 2.7 || got.Cores > 2.9 || got.GB != 3 {
		t.Errorf("got %+v", got)
	}
}
