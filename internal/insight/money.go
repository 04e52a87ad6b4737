package insight

import (
	"time"

	"github.com/stillpage/stillpage/internal/telemetry"
)

// Prices are what AWS asks for in us-east-1, in dollars, as of June 2026
// (aws.amazon.com/lambda/pricing, /dynamodb/pricing/on-demand, /cloudfront/pricing).
type Prices struct {
	GBSecond    float64 // Lambda, arm64
	Invocation  float64 // Lambda
	Read, Write float64 // DynamoDB, a unit
}

// USEast1 are the prices in us-east-1.
var USEast1 = Prices{GBSecond: telemetry.DollarsPerGBSecond, Invocation: telemetry.DollarsPerInvocation, Read: 0.125 / 1e6, Write: 0.625 / 1e6}

// Money is an estimate, in dollars.
type Money struct {
	Spent float64 `json:"spent"` // on renders and answers
	Saved float64 `json:"saved"` // what it would have cost to render each answer
}

const (
	// routerGB and routerSeconds are what an answer from the store takes of the router.
	routerGB, routerSeconds = 0.5, 0.02

	// readUnits and writeUnits are what a page of 20 kB, compressed, takes: eventually
	// consistent to read, and with its index to write; and a lease.
	readUnits, writeUnits = 2.5, 24
)

// Answer is what a request costs, whatever is answered.
func (p Prices) Answer() float64 {
	return p.Invocation + routerGB*routerSeconds*p.GBSecond + readUnits*p.Read
}

// Render is what a render costs, beside the request that it is for.
func (p Prices) Render(took time.Duration, gb float64) float64 {
	return p.Invocation + writeUnits*p.Write + took.Seconds()*gb*p.GBSecond
}

// Money estimates what a tally has cost, with so much memory for a render, in GB. What
// was saved is by what a render has cost in a longer time, of which mean is the tally.
func (p Prices) Money(t Tally, renderGB float64, mean Tally) Money {
	renders := float64(t.Rendered())*p.Render(0, renderGB) + t.RenderTime.SumMS/1000*renderGB*p.GBSecond
	m := Money{Spent: float64(t.Asked())*p.Answer() + renders}
	if n := mean.Rendered(); n > 0 {
		render := p.Render(time.Duration(mean.RenderTime.SumMS/float64(n)*float64(time.Millisecond)), renderGB)
		m.Saved = float64(t.Requests["hit"]+t.Requests["stale"]+t.Requests["coalesced"]) * render
	}
	return m
}
