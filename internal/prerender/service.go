package prerender

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
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

	flights  flights
	pauses   pauses
	requests MemoryLimiter

	outage      Outage // of store, leases and limits
	queueOutage Outage
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

	// Token is the name of the token that an integration has shown, whose renders are
	// counted together as well: it speaks for many clients.
	Token string

	// Patience is how long it waits for a page that has to be made. Zero: as long as
	// it takes.
	Patience time.Duration
}

// Answer returns the page. Its errors are the sentinels of errors.go, wrapped.
func (s *Service) Answer(ctx context.Context, request Request) (*Answer, error) {
	page := request.Page
	if err := s.flooded(ctx, request); err != nil {
		return nil, fmt.Errorf("page %s: %w", page.URL, err)
	}
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
	flight, first := s.fly(ctx, request)
	err := flight.wait(ctx, page, request.Patience)
	if err != nil && freshness == Expired && errors.Is(err, ErrNotAdmitted) {
		snap, freshness = s.lookup(ctx, page) // the maker has seen an old page, and this service not
	}
	switch {
	case err != nil && ctx.Err() == nil && freshness != Expired:
		return s.instead(page, snap, err, append(phases, Phase{"wait", time.Since(start)})), nil
	case err != nil:
		return nil, err
	case first:
		return s.answer(page, flight.snap, Miss, append(phases, flight.phases...)), nil
	default:
		return s.answer(page, flight.snap, Coalesced, append(phases, Phase{"wait", time.Since(start)})), nil
	}
}

// fly has the page made, or finds it being made by this service; first says which.
// The flight outlives a client that hangs up: others wait for it, and the next
// crawler is glad of it.
func (s *Service) fly(ctx context.Context, request Request) (_ *flight, first bool) {
	return s.flights.join(request.Page.Key, func() (*Snapshot, []Phase, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.timeout())
		defer cancel()
		return s.make(ctx, request)
	})
}

func (s *Service) instead(page Page, snap *Snapshot, err error, phases []Phase) *Answer {
	a := s.answer(page, snap, StaleHit, phases)
	a.Instead = err
	return a
}

// Remake renders a page, unless it has been made since it changed, and says why it cannot.
func (s *Service) Remake(ctx context.Context, page Page) (*Snapshot, error) {
	flight, _ := s.fly(ctx, Request{Page: page})
	if err := flight.wait(ctx, page, 0); err != nil {
		return nil, err
	}
	return flight.snap, nil
}

// Renew is Remake of a page that somebody queued. It is no error that the page is not to be
// made now.
func (s *Service) Renew(ctx context.Context, page Page) error {
	_, err := s.Remake(ctx, page)
	if errors.Is(err, ErrNotAdmitted) || errors.Is(err, ErrLimited) {
		s.log().WarnContext(ctx, "queued page not renewed; who asks for it next has it queued again", "key", page.Key, "err", err)
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
	ctx, done := s.outage.Bound(ctx, storeTimeout)
	defer done()
	snap, err := s.Store.Get(ctx, page.Key)
	if errors.Is(err, ErrNotFound) {
		return nil, Expired
	}
	if err != nil {
		s.log().ErrorContext(ctx, "store does not answer; rendering instead", "key", page.Key, "err", err)
		return nil, Expired
	}
	return snap, page.Freshness(snap, s.now())
}

func (s *Service) renewLater(ctx context.Context, page Page) {
	if s.Queue == nil {
		return
	}
	ctx, done := s.queueOutage.Bound(ctx, queueTimeout)
	defer done()
	if err := s.Queue.Enqueue(ctx, page); err != nil {
		s.log().WarnContext(ctx, "stale page not queued", "key", page.Key, "err", err)
	}
}

// make has the page made, by this service or by another that is at it already.
func (s *Service) make(ctx context.Context, request Request) (*Snapshot, []Phase, error) {
	page := request.Page
	var seen watch
	for poll := leasePoll; ; poll = min(2*poll, leasePollMost) {
		// Another flight may have landed between this request's look-up and its
		// take-off; and a queued page may have been made again long ago.
		old, freshness := s.lookup(ctx, page)
		if freshness == Fresh {
			return old, nil, nil
		}
		if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) < leastRender {
			return nil, nil, fmt.Errorf("render of %s: no time is left for it: %w", page.URL, ErrBusy)
		}
		if err := s.refused(request, old != nil); err != nil {
			return nil, nil, fmt.Errorf("render %s: %w", page.URL, err)
		}
		if s.Leases == nil {
			return s.render(ctx, request, old, 0)
		}
		lease, err := s.acquire(ctx, request, seen.dead())
		if err == nil {
			defer s.hold(ctx, request, lease)()
			if poll > leasePoll { // somebody had it, who may have come to an end since the look
				if old, freshness = s.lookup(ctx, page); freshness == Fresh {
					return old, nil, nil
				}
			}
			return s.render(ctx, request, old, lease.Fence)
		}
		var leased *LeasedError
		if !errors.As(err, &leased) {
			// Two renders of a page are better than none.
			s.log().ErrorContext(ctx, "leases do not answer; rendering without", "key", page.Key, "err", err)
			return s.render(ctx, request, old, 0)
		}
		seen.look(leased)
		select {
		case <-time.After(poll):
		case <-ctx.Done():
			return nil, nil, fmt.Errorf("wait for %s, which another is making: %w", page.URL, ErrBusy)
		}
	}
}

// render has the page made if it may be. Old is what is stored, or nil.
func (s *Service) render(ctx context.Context, request Request, old *Snapshot, fence int64) (*Snapshot, []Phase, error) {
	page := request.Page
	end, err := s.begin(ctx, request)
	if err != nil {
		return nil, nil, fmt.Errorf("render %s: %w", page.URL, err)
	}
	defer end()
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) < leastRender { // leases and limits may be slow to answer
		return nil, nil, fmt.Errorf("render of %s: no time is left for it: %w", page.URL, ErrBusy)
	}
	snap, phases, err := s.Maker.Make(ctx, page, fence)
	if err == nil && old == nil {
		s.countNotFound(ctx, request, snap)
	}
	return snap, phases, err
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
)

func (s *Service) answer(page Page, snap *Snapshot, source Source, phases []Phase) *Answer {
	return &Answer{Snapshot: snap, Page: page, Source: source, Age: snap.Age(s.now()), Phases: phases}
}

func (s *Service) timeout() time.Duration {
	if s.Timeout > 0 {
		return s.Timeout
	}
	return DefaultTimeout
}

func (s *Service) now() time.Time { return clock(s.Now) }

func (s *Service) log() *slog.Logger { return cmp.Or(s.Log, slog.Default()) }
