package prerender

import (
	"context"
	"errors"
	"sync"
	"time"
)

// Outage bounds calls to what services share, a store, leases, limits or a queue, and
// remembers that one was not answered in its time: then those that follow are given a
// moment only, so that a page whose making takes ten calls does not wait ten times. The
// zero Outage is ready to use.
type Outage struct {
	mu    sync.Mutex
	until time.Time // calls are given outageMoment only
}

const (
	// outageLasts is how long after a call that was not answered it is believed that none
	// will be. After it, one call finds out, and the others go on believing.
	outageLasts = 10 * time.Second

	// outageMoment is what calls are given meanwhile: what a new connection takes and an
	// answer, so that the first one to be answered ends the outage. What is given up may be
	// done all the same; a lease or a place that nobody knows of runs out (leaseTime, Enter).
	outageMoment = 300 * time.Millisecond
)

// errNoAnswer is the cause with which a call's context ends.
var errNoAnswer = errors.New("not answered in time")

// Bound is context.WithTimeout, with less than most during an outage. Done must be
// called when the call has ended; without a call, nothing is to be bounded.
func (o *Outage) Bound(ctx context.Context, most time.Duration) (_ context.Context, done func()) {
	isShort := o.hurries(most)
	d := most
	if isShort {
		d = min(d, outageMoment)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, d, errNoAnswer)
	return ctx, func() {
		switch {
		case ctx.Err() == nil:
			o.end()
		case !isShort && context.Cause(ctx) == errNoAnswer:
			o.begin()
		}
		cancel()
	}
}

// hurries says whether a call is given a moment only. The first one after outageLasts is
// not, and finds out whether the outage is over.
func (o *Outage) hurries(most time.Duration) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := wall()
	if o.until.IsZero() || now.Before(o.until) {
		return !o.until.IsZero()
	}
	o.until = now.Add(most)
	return false
}

func (o *Outage) begin() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.until = wall().Add(outageLasts)
}

func (o *Outage) end() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.until = time.Time{}
}
