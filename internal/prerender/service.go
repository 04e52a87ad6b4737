package prerender

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// Service answers requests for pages. It is the flow of the whole product:
// look up, answer what is fresh, answer what is stale and have it made again,
// render what is missing, once, however many ask.
type Service struct {
	Store Store
	Maker Maker

	// Leases are for services that share a store. Nil: this is the only one, and
	// knows what it has in flight.
	Leases Leases

	// Queue gets stale pages. Nil: they stay stale until they expire.
	Queue Queue

	// Limiter bounds renders. Nil: they are not bounded.
	Limiter Limiter

	// Timeout bounds a render from the moment it is asked for, its wait for a
	// free tab included. Zero means DefaultTimeout.
	Timeout time.Duration

	// Now is the clock that decides freshness. Nil means time.Now.
	Now func() time.Time

	// Log gets what goes wrong beside an answer. Nil means slog.Default().
	Log *slog.Logger

	flights flights
}

// DefaultTimeout leaves a reserve below the 20 s after which clients of
// prerender's protocol give up.
const DefaultTimeout = 15 * time.Second

// Source says where an answer came from.
type Source string

const (
	Hit       Source = "hit"       // stored and fresh
	StaleHit  Source = "stale"     // stored, and being made again
	Miss      Source = "miss"      // rendered for this request
	Coalesced Source = "coalesced" // rendered for another request at the same time
)

// Answer is a snapshot on its way to a crawler.
type Answer struct {
	*Snapshot
	Page   Page
	Source Source
	Age    time.Duration
	Phases []Phase

	// Instead is why an old page is answered in the place of a new one, which could
	// not be made. Nil: it was not tried, or it is not so.
	Instead error
}

// Request is who asks for a page, and how.
type Request struct {
	Page Page

	// Client is whose renders are counted together, such as a crawler's network.
	// Empty: they are not limited by client.
	Client string

	// Patience is how long it waits for a page that has to be made. Zero: as long as
	// it takes.
	Patience time.Duration
}

// Answer returns the page. Its errors are the sentinels of errors.go, wrapped.
func (s *Service) Answer(ctx context.Context, request Request) (*Answer, error) {
	page := request.Page
	start := time.Now()
	snap, freshness := s.lookup(ctx, page)
	phases := []Phase{{"store", time.Since(start)}}

	switch freshness {
	case Fresh:
		return s.answer(page, snap, Hit, phases), nil
	case Stale:
		s.renewLater(ctx, page)
		return s.answer(page, snap, StaleHit, phases), nil
	}

	if err := s.flights.failed(page.Key); err != nil && freshness == Spare {
		return s.instead(page, snap, err, phases), nil
	}
	flight, first := s.flights.join(page.Key, func() (*Snapshot, []Phase, error) {
		// The flight outlives a client that hangs up: others wait for it, and
		// the next crawler is glad of it.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.timeout())
		defer cancel()
		return s.make(ctx, page, request.Client)
	})
	err := flight.wait(ctx, page, request.Patience)
	switch {
	case err != nil && ctx.Err() == nil && s.hasOld(ctx, page, err, &snap, freshness):
		return s.instead(page, snap, err, append(phases, Phase{"wait", time.Since(start)})), nil
	case err != nil:
		return nil, err
	case first:
		return s.answer(page, flight.snap, Miss, append(phases, flight.phases...)), nil
	default:
		return s.answer(page, flight.snap, Coalesced, append(phases, Phase{"wait", time.Since(start)})), nil
	}
}

// hasOld says whether there is an old page to answer in the place of a new one. One
// that the maker has seen and this service not is looked up again.
func (s *Service) hasOld(ctx context.Context, page Page, err error, snap **Snapshot, freshness Freshness) bool {
	if freshness == Expired && errors.Is(err, ErrNotAdmitted) {
		*snap, freshness = s.lookup(ctx, page)
	}
	return freshness != Expired
}

func (s *Service) instead(page Page, snap *Snapshot, err error, phases []Phase) *Answer {
	a := s.answer(page, snap, StaleHit, phases)
	a.Instead = err
	return a
}

// Renew renders a page that somebody queued, unless it has been made since.
func (s *Service) Renew(ctx context.Context, page Page) error {
	flight, _ := s.flights.join(page.Key, func() (*Snapshot, []Phase, error) {
		// Crawlers may come to wait for it too, so it does not end with ctx.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.timeout())
		defer cancel()
		return s.make(ctx, page, "")
	})
	err := flight.wait(ctx, page, 0)
	if errors.Is(err, ErrNotAdmitted) {
		return nil // once more would be the same again
	}
	return err
}

// Wait returns when no render is in flight any more, or with the context's
// error. Renders that begin meanwhile are waited for too.
func (s *Service) Wait(ctx context.Context) error { return s.flights.wait(ctx) }

// lookup treats a store that fails like one that has nothing: a render is
// slower than a read, but it is an answer.
func (s *Service) lookup(ctx context.Context, page Page) (*Snapshot, Freshness) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	snap, err := s.Store.Get(ctx, page.Key)
	if errors.Is(err, ErrNotFound) {
		return nil, Expired
	}
	if err != nil {
		s.log().ErrorContext(ctx, "store does not answer; rendering instead", "key", page.Key, "err", err)
		return nil, Expired
	}
	return snap, page.freshness(snap, s.now())
}

func (s *Service) renewLater(ctx context.Context, page Page) {
	if s.Queue == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, queueTimeout)
	defer cancel()
	if err := s.Queue.Enqueue(ctx, page); err != nil {
		s.log().WarnContext(ctx, "stale page not queued", "key", page.Key, "err", err)
	}
}

// make has the page made, by this service or by another that is at it already.
func (s *Service) make(ctx context.Context, page Page, client string) (*Snapshot, []Phase, error) {
	for poll := leasePoll; ; poll = min(2*poll, leasePollMost) {
		// Another flight may have landed between this request's look-up and its
		// take-off; and a queued page may have been made again long ago.
		if snap, freshness := s.lookup(ctx, page); freshness == Fresh {
			return snap, nil, nil
		}
		if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) < leastRender {
			return nil, nil, fmt.Errorf("render of %s: no time is left for it: %w", page.URL, ErrBusy)
		}
		if s.Leases == nil {
			return s.render(ctx, page, client, 0)
		}
		lease, err := s.acquire(ctx, page)
		if err == nil {
			defer s.release(ctx, lease)
			if poll > leasePoll { // somebody had it, who may have come to an end since the look
				if snap, freshness := s.lookup(ctx, page); freshness == Fresh {
					return snap, nil, nil
				}
			}
			return s.render(ctx, page, client, lease.Fence)
		}
		if !errors.Is(err, ErrLeased) {
			// Two renders of a page are better than none.
			s.log().ErrorContext(ctx, "leases do not answer; rendering without", "key", page.Key, "err", err)
			return s.render(ctx, page, client, 0)
		}
		select {
		case <-time.After(poll):
		case <-ctx.Done():
			return nil, nil, fmt.Errorf("wait for %s, which another is making: %w", page.URL, ErrBusy)
		}
	}
}

// render has the page made if it may be.
func (s *Service) render(ctx context.Context, page Page, client string, fence int64) (*Snapshot, []Phase, error) {
	if err := s.limit(ctx, page, client); err != nil {
		return nil, nil, fmt.Errorf("render %s: %w", page.URL, err)
	}
	return s.Maker.Make(ctx, page, fence)
}

func (s *Service) acquire(ctx context.Context, page Page) (Lease, error) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	return s.Leases.Acquire(ctx, page.Key, s.timeout()+leaseReserve)
}

const (
	// storeTimeout and queueTimeout bound what a bot waits for besides a render. The
	// services answer in some milliseconds, or, through a connection that has died
	// while a function was frozen, never.
	storeTimeout = 3 * time.Second
	queueTimeout = time.Second

	// leastRender is what a render must have left to be begun: with less, it would
	// take a place from others and come to nothing.
	leastRender = 2 * time.Second

	// leaseReserve is what storing a page may take after its render.
	leaseReserve = 5 * time.Second

	// leasePoll is when a service first looks again for what another is making, a
	// tenth of what a slow page takes; later it looks less often, at a write and a
	// read each time.
	leasePoll     = 200 * time.Millisecond
	leasePollMost = time.Second
)

func (s *Service) release(ctx context.Context, lease Lease) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaseReserve)
	defer cancel()
	if err := s.Leases.Release(ctx, lease); err != nil {
		s.log().WarnContext(ctx, "lease not given back; it will run out", "key", lease.Key, "err", err)
	}
}

func (s *Service) answer(page Page, snap *Snapshot, source Source, phases []Phase) *Answer {
	return &Answer{Snapshot: snap, Page: page, Source: source, Age: snap.Age(s.now()), Phases: phases}
}

func (s *Service) timeout() time.Duration {
	if s.Timeout > 0 {
		return s.Timeout
	}
	return DefaultTimeout
}

func (s *Service) now() time.Time {
	if s.Now != nil {
		return s.Now()
	}
	return time.Now()
}

func (s *Service) log() *slog.Logger {
	if s.Log != nil {
		return s.Log
	}
	return slog.Default()
}

// flights are the renders under way, one a key, and those that have failed a
// moment ago.
type flights struct {
	mu       sync.Mutex
	byKey    map[Key]*flight
	failures map[Key]failure
}

type failure struct {
	err error
	at  time.Time
}

const (
	// failurePause is for how long a page that cannot be made is not tried again,
	// while there is an old one.
	failurePause = 30 * time.Second

	// mostFailures bounds what is remembered of them.
	mostFailures = 10_000

	// flightMost is after how long a render is taken for lost: a function that was
	// frozen in the middle of one finds its connection dead when it thaws.
	flightMost = time.Minute
)

// failed returns why a page could not be made a moment ago, or nil.
func (f *flights) failed(key Key) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	last, ok := f.failures[key]
	if since := wall().Sub(last.at); !ok || since < 0 || since > failurePause {
		return nil
	}
	return last.err
}

// landed notes how a flight has ended. The caller holds the lock.
func (f *flights) landed(key Key, err error) {
	delete(f.failures, key)
	if err == nil || errors.Is(err, ErrBusy) || errors.Is(err, ErrStopping) || errors.Is(err, ErrLimited) {
		return
	}
	if len(f.failures) >= mostFailures {
		clear(f.failures)
	}
	if f.failures == nil {
		f.failures = map[Key]failure{}
	}
	f.failures[key] = failure{err, wall()}
}

// wall is the clock on the wall: the monotonic one stands still while a function
// is frozen.
func wall() time.Time { return time.Now().Round(0) }

// flight is one render that several requests may wait for. Its fields are to be
// read after done is closed.
type flight struct {
	began  time.Time // by the wall
	done   chan struct{}
	snap   *Snapshot
	phases []Phase
	err    error
}

// wait returns when the flight has landed, with its error, or with another that
// says why nobody waits for it any more.
func (f *flight) wait(ctx context.Context, page Page, patience time.Duration) error {
	if patience > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, patience, ErrUnfinished)
		defer cancel()
	}
	select {
	case <-f.done:
		return f.err
	case <-ctx.Done():
		return fmt.Errorf("wait for %s: %w", page.URL, context.Cause(ctx))
	}
}

// join returns the flight of key; first says that it was started by this call.
func (f *flights) join(key Key, do func() (*Snapshot, []Phase, error)) (_ *flight, first bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if running, ok := f.byKey[key]; ok {
		if since := wall().Sub(running.began); since >= 0 && since < flightMost {
			return running, false
		}
	}
	if f.byKey == nil {
		f.byKey = make(map[Key]*flight)
	}
	started := &flight{began: wall(), done: make(chan struct{})}
	f.byKey[key] = started
	go func() {
		defer func() {
			if p := recover(); p != nil {
				started.err = fmt.Errorf("render of %s panicked: %v: %w", key, p, ErrRendererDown)
			}
			f.mu.Lock()
			f.landed(key, started.err)
			if f.byKey[key] == started {
				delete(f.byKey, key)
			}
			f.mu.Unlock()
			close(started.done)
		}()
		started.snap, started.phases, started.err = do()
	}()
	return started, true
}

func (f *flights) wait(ctx context.Context) error {
	for {
		f.mu.Lock()
		var one *flight
		for _, one = range f.byKey {
			break
		}
		f.mu.Unlock()
		if one == nil {
			return nil
		}
		select {
		case <-one.done:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
