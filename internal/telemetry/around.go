package telemetry

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/stillpage/stillpage/internal/prerender"
)

// Maker tells an Observer of what another Maker makes.
type Maker struct {
	prerender.Maker
	Observer *Observer
	Reason   func(error) string // why there is no page, in a word
}

// Make implements prerender.Maker.
func (m Maker) Make(ctx context.Context, page prerender.Page, fence int64) (*prerender.Snapshot, []prerender.Phase, error) {
	start := time.Now()
	snap, phases, err := m.Maker.Make(ctx, page, fence)
	r := Render{
		URL: page.URL, Site: page.Site.Origin.Host, Device: string(page.Device),
		Outcome: "complete", Took: time.Since(start), Phases: phases, Err: err,
	}
	if err != nil {
		r.Outcome = m.Reason(err)
	} else {
		r.Status, r.Bytes, r.Waiting = snap.Status, int64(len(snap.Gzip)), snap.Partial
		switch {
		case snap.Partial != "":
			r.Outcome, r.Partial = "partial", "scripts"
			if strings.HasPrefix(snap.Partial, "requests") {
				r.Partial = "requests"
			}
		case snap.Status >= 500:
			r.Outcome = fmt.Sprintf("status-%d", snap.Status)
		}
	}
	m.Observer.Render(ctx, r)
	return snap, phases, err
}

// Store counts the calls of another Store that fail.
type Store struct {
	prerender.Store
	Recorder *Recorder
}

// Get implements prerender.Store.
func (s Store) Get(ctx context.Context, key prerender.Key) (*prerender.Snapshot, error) {
	snap, err := s.Store.Get(ctx, key)
	s.failed("get", err)
	return snap, err
}

// Put implements prerender.Store.
func (s Store) Put(ctx context.Context, key prerender.Key, snap *prerender.Snapshot) error {
	err := s.Store.Put(ctx, key, snap)
	s.failed("put", err)
	return err
}

// List implements prerender.Store.
func (s Store) List(ctx context.Context, site prerender.Origin, after prerender.Key, found func(prerender.Listed) bool) error {
	err := s.Store.List(ctx, site, after, found)
	s.failed("list", err)
	return err
}

// Delete implements prerender.Store.
func (s Store) Delete(ctx context.Context, keys ...prerender.Key) error {
	err := s.Store.Delete(ctx, keys...)
	s.failed("delete", err)
	return err
}

func (s Store) failed(call string, err error) { s.Recorder.failed(call, err) }

// failed counts an error that is a store's, and not an answer.
func (r *Recorder) failed(call string, err error) {
	for _, answer := range []error{prerender.ErrNotFound, prerender.ErrSuperseded, prerender.ErrLeased, prerender.ErrLimited, context.Canceled} {
		if errors.Is(err, answer) {
			return
		}
	}
	if err != nil {
		r.Add(StoreFailures, call, 1)
	}
}

// Leases counts what is taken over from holders that have died, and calls that fail.
type Leases struct {
	prerender.Leases
	Recorder *Recorder
}

// Acquire implements prerender.Leases.
func (l Leases) Acquire(ctx context.Context, key prerender.Key, d time.Duration, mark string) (prerender.Lease, error) {
	lease, err := l.Leases.Acquire(ctx, key, d, mark)
	if err == nil && mark != "" {
		l.Recorder.Add(LeaseTakeovers, "", 1)
	}
	l.Recorder.failed("lease", err)
	return lease, err
}

// Extend implements prerender.Leases.
func (l Leases) Extend(ctx context.Context, lease prerender.Lease, d time.Duration) error {
	err := l.Leases.Extend(ctx, lease, d)
	l.Recorder.failed("lease", err)
	return err
}

// Release implements prerender.Leases.
func (l Leases) Release(ctx context.Context, lease prerender.Lease) error {
	err := l.Leases.Release(ctx, lease)
	l.Recorder.failed("lease", err)
	return err
}

// Limiter counts the calls of another Limiter that fail.
type Limiter struct {
	prerender.Limiter
	Recorder *Recorder
}

// Take implements prerender.Limiter.
func (l Limiter) Take(ctx context.Context, name string, rate prerender.Rate) (time.Duration, error) {
	wait, err := l.Limiter.Take(ctx, name, rate)
	l.Recorder.failed("limit", err)
	return wait, err
}

// Enter implements prerender.Limiter.
func (l Limiter) Enter(ctx context.Context, name string, places int, d time.Duration) (func(context.Context) error, error) {
	leave, err := l.Limiter.Enter(ctx, name, places, d)
	l.Recorder.failed("limit", err)
	return leave, err
}

// Queue counts what it is given.
type Queue struct {
	prerender.Queue
	Recorder *Recorder
}

// Enqueue implements prerender.Queue.
func (q Queue) Enqueue(ctx context.Context, page prerender.Page) error {
	err := q.Queue.Enqueue(ctx, page)
	if err == nil {
		q.Recorder.Add(Queued, "", 1)
	}
	q.Recorder.failed("queue", err)
	return err
}
