package prerender

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// Limiter bounds how often something is done, over all instances that share it.
// Every implementation passes package storetest.
//
// It is safe for concurrent use.
type Limiter interface {
	// Take takes one of what a rate allows under a name. A wait above zero: there is
	// none, and that long until there is.
	Take(ctx context.Context, name string, r Rate) (wait time.Duration, err error)
}

// Rate is a token bucket.
type Rate struct {
	PerMinute int `json:"perMinute"`

	// Burst is how many there are after a pause.
	Burst int `json:"burst"`
}

// Interval is the time in which one more is allowed.
func (r Rate) Interval() time.Duration { return time.Minute / time.Duration(max(1, r.PerMinute)) }

// LimitRule bounds renders. Pages that are stored count for nothing.
type LimitRule struct {
	// Site is for all renders of the site, Client for those of a client: a crawler's
	// network. Zero: DefaultSiteRate and DefaultClientRate.
	Site   Rate `json:"site,omitzero"`
	Client Rate `json:"client,omitzero"`
}

var (
	// DefaultSiteRate is what ten Chromiums at once come to, two a second each.
	DefaultSiteRate = Rate{PerMinute: 1200, Burst: 600}

	// DefaultClientRate lets a crawler have 170,000 new pages a day, which cost less
	// than ten dollars; what asks for more has made addresses up.
	DefaultClientRate = Rate{PerMinute: 120, Burst: 120}
)

// ErrLimited: as much was rendered as is allowed. As a LimitedError it says when
// there is more.
var ErrLimited = errors.New("render limit reached")

// LimitedError is an ErrLimited that passes.
type LimitedError struct {
	Of   string // what is limited
	Wait time.Duration
}

func (e *LimitedError) Error() string {
	return fmt.Sprintf("the renders of %s are used up, more in %v", e.Of, e.Wait.Round(time.Second))
}

// Is says that it is an ErrLimited.
func (e *LimitedError) Is(target error) bool { return target == ErrLimited }

// limit takes a render from what the site and the client have. A limiter that does
// not answer lets it pass: reserved concurrency is the last limit.
func (s *Service) limit(ctx context.Context, page Page, client string) error {
	if s.Limiter == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	host := page.Site.Origin.Host
	rule := page.Rule.Limits
	// The client first: what one asks for in vain is not taken from all.
	if client != "" {
		if err := s.take(ctx, "client "+client+" "+host, "client "+client, cmp.Or(rule.Client, DefaultClientRate)); err != nil {
			return err
		}
	}
	return s.take(ctx, "site "+host, "site "+host, cmp.Or(rule.Site, DefaultSiteRate))
}

func (s *Service) take(ctx context.Context, name, of string, r Rate) error {
	wait, err := s.Limiter.Take(ctx, name, r)
	if err != nil {
		s.log().ErrorContext(ctx, "limits do not answer; rendering without", "of", of, "err", err)
		return nil
	}
	if wait > 0 {
		return &LimitedError{of, wait}
	}
	return nil
}

// MemoryLimiter is a Limiter for one instance. The zero value is ready.
type MemoryLimiter struct {
	// Now is its clock. Nil means time.Now.
	Now func() time.Time

	mu   sync.Mutex
	full map[string]time.Time // when a bucket is full again: GCRA's theoretical arrival time
}

// mostBuckets bounds what is remembered; buckets that are full need not be.
const mostBuckets = 100_000

// Take implements Limiter.
func (m *MemoryLimiter) Take(_ context.Context, name string, r Rate) (time.Duration, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := clock(m.Now)
	if len(m.full) >= mostBuckets {
		for other, at := range m.full {
			if !at.After(now) {
				delete(m.full, other)
			}
		}
	}
	if m.full == nil {
		m.full = map[string]time.Time{}
	}
	full := m.full[name]
	if full.Before(now) {
		full = now
	}
	room := time.Duration(max(1, r.Burst)-1) * r.Interval()
	if wait := full.Sub(now) - room; wait > 0 {
		return wait, nil
	}
	m.full[name] = full.Add(r.Interval())
	return 0, nil
}
