// Package sizing says what a rate of requests needs, from what a render was measured to take:
// on AWS memory, concurrency and dollars, on machines of one's own cores. Prices and shares of
// processors are AWS's; the rest is measured, or said to be an assumption.
package sizing

import (
	"math"
	"time"

	"github.com/stillpage/stillpage/internal/insight"
)

// Measured is what renders of some pages took on one machine.
type Measured struct {
	Renders   int           `json:"renders"`
	Median    time.Duration `json:"median"` // of one at a time
	P95       time.Duration `json:"p95"`
	Processor time.Duration `json:"processor"` // of one, Chromium's and this program's
	Memory    int64         `json:"memory"`    // bytes, the most while one page is rendered at a time
	Body      int           `json:"body"`      // bytes of a page, compressed, in the mean

	// Saturated is how many pages a second the machine renders at most, and Cores how many it
	// has, as far as its limits let it.
	Saturated float64 `json:"saturated"`
	Cores     float64 `json:"cores"`
}

// MegabytesPerCore is how much memory a Lambda function has for one core's time ("At 1,769 MB,
// a function has the equivalent of one vCPU", Lambda's guide).
const MegabytesPerCore = 1769

// Memories are the settings that are looked at, in MB.
var Memories = []int{1024, 1280, 1536, 1769, 2048, 2560, 3008, 3538}

// At is how long a render takes with a share of a core: what it waits for stays, and what it
// computes takes longer. With a share above one, what it computes is shared out as far as the
// measurement says that it can be (its processor time in the time that it took).
//
// docs/scaling.md has this beside what was measured under such limits.
func (m Measured) At(share float64) time.Duration {
	wait := max(0, m.Median-m.Processor) // at most one core's worth was computed at a time
	most := max(1, float64(m.Processor)/float64(max(1, m.Median)))
	return wait + time.Duration(float64(m.Processor)/min(share, most))
}

// Load is what is asked for.
type Load struct {
	Rate     float64 // requests a second, in the mean
	HitRatio float64 // of them, from 0 to 1
	Peak     float64 // how many times the mean the busiest minute is
}

// Lambda is what an installation on AWS needs for it.
type Lambda struct {
	MB          int
	Render      time.Duration // of one
	Concurrency int           // at the peak
	Dollars     float64       // a month, of the functions and the table
	PerMillion  float64       // dollars for a million renders, of the render function alone
}

// secondsPerMonth are AWS's: 730 hours.
const secondsPerMonth = 730 * 3600

// On says what it takes with so much memory for the render function.
func (m Measured) On(mb int, l Load, p insight.Prices) Lambda {
	render := m.At(float64(mb) / MegabytesPerCore)
	misses := l.Rate * (1 - l.HitRatio)
	perRender := p.Render(render, float64(mb)/1024)
	return Lambda{
		MB: mb, Render: render,
		Concurrency: places(misses * l.Peak * render.Seconds()),
		Dollars:     secondsPerMonth * (misses*perRender + l.Rate*p.Answer()),
		PerMillion:  1e6 * (p.Invocation + render.Seconds()*float64(mb)/1024*p.GBSecond),
	}
}

// places are as many as are in use in all but one of a thousand moments, if so many are in the
// mean and bots come when they like (a Poisson distribution, by its standard deviation).
func places(mean float64) int {
	if mean == 0 {
		return 0
	}
	return int(math.Ceil(mean + 3*math.Sqrt(mean)))
}

// Machines is what it takes on machines of one's own.
type Machines struct {
	Cores float64 // at the peak, two thirds of their time in use
	GB    float64 // of memory
}

// inUse is how much of its time a core may be used at the peak: queues grow without end near
// one. At two thirds, what waits is about as long as what is served.
const inUse = 2.0 / 3

const (
	// perInstance is for one of two cores with four pages at a time (docs/selfhost.md), of which
	// a hostile one may take 1.3 GB before it is ended.
	perInstance = 1.5

	// answer is the processor time of a page from the store (docs/benchmarks.md, hits).
	answer = 200 * time.Microsecond
)

// OnMachines says what it takes.
func (m Measured) OnMachines(l Load) Machines {
	misses := l.Rate * (1 - l.HitRatio) * l.Peak
	cores := (misses*m.Processor.Seconds() + l.Rate*l.Peak*answer.Seconds()) / inUse
	return Machines{Cores: cores, GB: max(1, math.Ceil(cores/2)) * perInstance}
}

// PublishedCores is what 1 request a second took of Rendertron, by those who measured it
// (the article "Implement the dynamic rendering service": "to serve 1 RPS consumes around 4 CPU
// cores").
const PublishedCores = 4

// Choose returns the setting with the lowest price of those that take at most so much longer
// than the fastest.
func (m Measured) Choose(p insight.Prices, patience float64) Lambda {
	var all []Lambda
	for _, mb := range Memories {
		all = append(all, m.On(mb, Load{}, p))
	}
	fastest := all[0].Render
	for _, l := range all {
		fastest = min(fastest, l.Render)
	}
	best := all[len(all)-1]
	for _, l := range all {
		if float64(l.Render) <= patience*float64(fastest) && l.PerMillion < best.PerMillion {
			best = l
		}
	}
	return best
}
