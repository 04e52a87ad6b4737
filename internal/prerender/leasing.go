package prerender

import (
	"context"
	"sync"
	"time"
)

const (
	// leaseReserve is what giving a lease or a place back may take, and storing a page.
	leaseReserve = 5 * time.Second

	// leaseTime is by how much a holder's death delays the others. It is renewed every
	// leaseBeat, so that two of three may fail; most renders end before the first.
	leaseTime = 6 * time.Second
	leaseBeat = 2 * time.Second

	// leasePoll is when a service first looks again for what another is making, a
	// tenth of what a slow page takes; later it looks less often, at a write and a
	// read each time.
	leasePoll     = 200 * time.Millisecond
	leasePollMost = time.Second
)

// watch is what a service has seen of a lease that another has.
type watch struct {
	mark  string
	since time.Time // by its own clock
	most  time.Duration
}

func (w *watch) look(e *LeasedError) {
	if e.Mark != w.mark {
		*w = watch{e.Mark, time.Now(), e.For}
	}
}

// dead returns the mark of a lease whose holder is gone.
func (w *watch) dead() string {
	if w.mark == "" || time.Since(w.since) <= w.most {
		return ""
	}
	return w.mark
}

func (s *Service) acquire(ctx context.Context, request Request, mark string) (Lease, error) {
	ctx, done := s.outage.Bound(ctx, storeTimeout)
	defer done()
	return s.Leases.Acquire(ctx, request.Page.Key, s.lasts(request), mark)
}

// lasts is for how long a lease is taken, and extended. Who does not wait to the end of
// a render may be frozen then, and its beat with it.
func (s *Service) lasts(request Request) time.Duration {
	if request.Patience > 0 {
		return s.timeout() + leaseReserve
	}
	return leaseTime
}

// hold keeps a lease until the function that it returns is called, which gives it back.
func (s *Service) hold(ctx context.Context, request Request, lease Lease) (release func()) {
	ctx, stop := context.WithCancel(ctx)
	var beating sync.WaitGroup
	beating.Go(func() {
		beat := time.NewTicker(leaseBeat)
		defer beat.Stop()
		for {
			select {
			case <-beat.C:
			case <-ctx.Done():
				return
			}
			if err := s.extend(ctx, request, lease); err != nil && ctx.Err() == nil {
				s.log().WarnContext(ctx, "lease not kept; another may make the page as well", "key", lease.Key, "err", err)
			}
		}
	})
	return func() {
		stop()
		beating.Wait()
		s.release(ctx, lease)
	}
}

func (s *Service) extend(ctx context.Context, request Request, lease Lease) error {
	ctx, done := s.outage.Bound(ctx, storeTimeout)
	defer done()
	return s.Leases.Extend(ctx, lease, s.lasts(request))
}

func (s *Service) release(ctx context.Context, lease Lease) {
	ctx, done := s.outage.Bound(context.WithoutCancel(ctx), storeTimeout)
	defer done()
	if err := s.Leases.Release(ctx, lease); err != nil {
		s.log().WarnContext(ctx, "lease not given back; it will run out", "key", lease.Key, "err", err)
	}
}
