// Package localqueue is prerender.Queue within one process: pages that are to
// be rendered again wait here until a worker has time. It forgets everything
// when the process ends; stale pages then wait for their next crawler.
package localqueue

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/stillpage/stillpage/internal/prerender"
)

// capacity bounds the pages that wait; mostUnasked those before which one that nobody
// has asked for is queued: stale pages that somebody has asked for are not to wait long
// behind it.
const (
	capacity    = 1000
	mostUnasked = 20
)

// ErrFull is returned by Enqueue when too many pages wait.
var ErrFull = errors.New("render queue is full")

// Queue implements prerender.Queue.
type Queue struct {
	// Waited, if it is set before Work begins, is told how long each page has waited.
	Waited func(time.Duration)

	pages chan waiting

	mu     sync.Mutex
	queued map[prerender.Key]bool
}

type waiting struct {
	prerender.Page
	since time.Time
}

// Len is how many pages wait.
func (q *Queue) Len() int { return len(q.pages) }

// New returns an empty queue.
func New() *Queue {
	return &Queue{pages: make(chan waiting, capacity), queued: make(map[prerender.Key]bool)}
}

// Enqueue implements prerender.Queue.
func (q *Queue) Enqueue(_ context.Context, page prerender.Page) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.queued[page.Key] {
		return nil
	}
	if page.Unasked && len(q.pages) >= mostUnasked {
		return ErrFull
	}
	select {
	case q.pages <- waiting{page, time.Now()}:
		q.queued[page.Key] = true
		return nil
	default:
		return ErrFull
	}
}

// Work renders queued pages one after the other until ctx ends: one at a time,
// so that crawlers that wait find the other places free.
func (q *Queue) Work(ctx context.Context, renew func(context.Context, prerender.Page) error, log *slog.Logger) {
	for {
		select {
		case <-ctx.Done():
			return
		case page := <-q.pages:
			q.mu.Lock()
			delete(q.queued, page.Key)
			q.mu.Unlock()
			if q.Waited != nil {
				q.Waited(time.Since(page.since))
			}
			if err := renew(ctx, page.Page); err != nil && ctx.Err() == nil {
				log.WarnContext(ctx, "stale page not renewed", "key", page.Key, "err", err)
			}
		}
	}
}
