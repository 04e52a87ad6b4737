package load

import (
	"fmt"
	"iter"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"
)

// Arrivals say when requests are due.
type Arrivals struct {
	Shape Shape
	From  float64 // a second
	To    float64 // a second, at the end of a ramp
}

// Shape is how a rate goes over the time.
type Shape string

const (
	// Constant: one after the other, at random times like those of many that know nothing of
	// each other (a Poisson process).
	Constant Shape = "constant"

	// Ramp: the same, with a rate that goes from one to another.
	Ramp Shape = "ramp"

	// Bursts: crawlers, each of which comes for some seconds, asks for burstRate times the
	// mean, and goes.
	Bursts Shape = "bursts"
)

// A crawler comes every burstEvery, and asks during burstFor: five times the mean rate, a
// fifth of the time.
const (
	burstEvery = 15 * time.Second
	burstFor   = 3 * time.Second
	burstRate  = float64(burstEvery) / float64(burstFor)
)

// ParseArrivals reads "20", "10..200" or "bursts:20", which are requests a second.
func ParseArrivals(text string) (Arrivals, error) {
	fault := fmt.Errorf("must be requests a second like 20, a ramp like 10..200, or crawlers like bursts:20; each from 0.01 to 100000")
	number := func(s string) (float64, error) {
		n, err := strconv.ParseFloat(s, 64)
		if err != nil || !(n >= 0.01 && n <= 100_000) {
			return 0, fault
		}
		return n, nil
	}
	if mean, ok := strings.CutPrefix(text, "bursts:"); ok {
		n, err := number(mean)
		return Arrivals{Bursts, n, n}, err
	}
	if from, to, ok := strings.Cut(text, ".."); ok {
		a, err := number(from)
		if err != nil {
			return Arrivals{}, err
		}
		b, err := number(to)
		return Arrivals{Ramp, a, b}, err
	}
	n, err := number(text)
	return Arrivals{Constant, n, n}, err
}

// String is what ParseArrivals reads.
func (a Arrivals) String() string {
	switch a.Shape {
	case Bursts:
		return fmt.Sprintf("bursts:%g", a.From)
	case Ramp:
		return fmt.Sprintf("%g..%g", a.From, a.To)
	}
	return fmt.Sprintf("%g", a.From)
}

// rate is that at a time, and the highest is the most that it ever is.
func (a Arrivals) rate(at, whole time.Duration) float64 {
	switch a.Shape {
	case Ramp:
		return a.From + (a.To-a.From)*float64(at)/float64(whole)
	case Bursts:
		if at%burstEvery < burstFor {
			return a.From * burstRate
		}
		return 0
	}
	return a.From
}

func (a Arrivals) highest() float64 {
	if a.Shape == Bursts {
		return a.From * burstRate
	}
	return max(a.From, a.To)
}

// Times are when requests are due within so long: those of a Poisson process at the highest
// rate, of which as many are kept as the rate of the moment has (Lewis and Shedler's thinning).
func (a Arrivals) Times(whole time.Duration, random *rand.Rand) iter.Seq[time.Duration] {
	return func(yield func(time.Duration) bool) {
		highest := a.highest()
		at := time.Duration(0)
		for {
			at += time.Duration(random.ExpFloat64() / highest * float64(time.Second))
			if at >= whole {
				return
			}
			if random.Float64()*highest < a.rate(at, whole) && !yield(at) {
				return
			}
		}
	}
}
