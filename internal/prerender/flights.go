package prerender

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

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
