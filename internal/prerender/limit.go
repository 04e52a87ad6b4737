package prerender

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
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

	// Enter takes one of a number of places under a name, for d at most, or returns
	// ErrLimited. It may do so although one of the last places is free. leave gives it
	// back.
	Enter(ctx context.Context, name string, places int, d time.Duration) (leave func(context.Context) error, err error)
}

// Rate is a token bucket.
type Rate struct {
	PerMinute int `json:"perMinute"`

	// Burst is how many there are after a pause.
	Burst int `json:"burst"`
}

// What is beyond these is taken for them: an interval has microseconds.
const (
	mostPerMinute = 60_000_000
	mostBurst     = 1_000_000
)

// Interval is the time in which one more is allowed.
func (r Rate) Interval() time.Duration {
	return time.Minute / time.Duration(min(max(1, r.PerMinute), mostPerMinute))
}

// Room is by how much a bucket's time of being full may be ahead when one more is
// taken.
func (r Rate) Room() time.Duration {
	return time.Duration(min(max(1, r.Burst), mostBurst)-1) * r.Interval()
}

// or returns the rate, and where it says nothing, another.
func (r Rate) or(other Rate) Rate {
	return Rate{PerMinute: cmp.Or(r.PerMinute, other.PerMinute), Burst: cmp.Or(r.Burst, other.Burst)}
}

// LimitRule bounds renders, and the requests of a client. Pages that are stored count
// for nothing but Requests.
type LimitRule struct {
	// Site is for all renders of the site, Client for those of a crawler's network, Token
	// for those of an integration. Zero: the defaults.
	Site   Rate `json:"site,omitzero"`
	Client Rate `json:"client,omitzero"`
	Token  Rate `json:"token,omitzero"`

	// Concurrency is how many renders of the site there may be at once, half of them for
	// one client. Zero: as many as there are places for all sites.
	Concurrency int `json:"concurrency,omitempty"`

	// NotFound is how many addresses in a directory may turn out to lead nowhere (404,
	// 410), and four times that in all of the site. When there are more, pages there
	// that are not stored are not rendered for a minute. Zero: DefaultNotFoundRate.
	NotFound Rate `json:"notFound,omitzero"`

	// Requests is for all requests of a client, whatever is answered, at each
	// instance. Zero: DefaultRequestRate.
	Requests Rate `json:"requests,omitzero"`
}

var (
	// DefaultSiteRate is what ten Chromiums at once come to, two a second each.
	DefaultSiteRate = Rate{PerMinute: 1200, Burst: 600}

	// DefaultClientRate lets a crawler have 170,000 new pages a day, which cost less
	// than ten dollars; what asks for more has made addresses up.
	DefaultClientRate = Rate{PerMinute: 120, Burst: 120}

	// DefaultTokenRate is half of the site's: what is left is for bots that come by
	// themselves.
	DefaultTokenRate = Rate{PerMinute: 600, Burst: 300}

	// DefaultNotFoundRate lets a crawler look at a thousand dead links of an old site
	// within minutes, and costs a dollar a day where somebody makes addresses up.
	DefaultNotFoundRate = Rate{PerMinute: 60, Burst: 600}

	// DefaultRequestRate is a hundred a second: no crawler asks as much of a site.
	DefaultRequestRate = Rate{PerMinute: 6000, Burst: 6000}
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
	return fmt.Sprintf("limit of %s reached, more in %v", e.Of, e.Wait.Round(time.Second))
}

// Is says that it is an ErrLimited.
func (e *LimitedError) Is(target error) bool { return target == ErrLimited }

// MemoryLimiter is a Limiter for one instance. The zero value is ready.
type MemoryLimiter struct {
	// Now is its clock. Nil means time.Now.
	Now func() time.Time

	mu     sync.Mutex
	full   map[string]time.Time    // when a bucket is full again: GCRA's theoretical arrival time
	places map[string][]*time.Time // until when those that are taken are
}

// now is the clock on the wall: a bucket fills while a function is frozen, too.
func (m *MemoryLimiter) now() time.Time { return clock(m.Now).Round(0) }

// mostBuckets bounds what is remembered; buckets that are full need not be.
const mostBuckets = 100_000

// Take implements Limiter.
func (m *MemoryLimiter) Take(_ context.Context, name string, r Rate) (time.Duration, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.now()
	if len(m.full) >= mostBuckets {
		maps.DeleteFunc(m.full, func(_ string, at time.Time) bool { return !at.After(now) })
		// Some are forgotten, so that it is not done at each call.
		for other := range m.full {
			if len(m.full) <= mostBuckets/2 {
				break
			}
			delete(m.full, other)
		}
	}
	if m.full == nil {
		m.full = map[string]time.Time{}
	}
	full := m.full[name]
	if full.Before(now) {
		full = now
	}
	room := r.Room()
	if full.Sub(now) > room+r.Interval() {
		full = now // the clock was set back, or the rate has changed
	}
	if wait := full.Sub(now) - room; wait > 0 {
		return wait, nil
	}
	m.full[name] = full.Add(r.Interval())
	return 0, nil
}

// Enter implements Limiter.
func (m *MemoryLimiter) Enter(_ context.Context, name string, places int, d time.Duration) (func(context.Context) error, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.now()
	taken := slices.DeleteFunc(m.places[name], func(until *time.Time) bool { return !until.After(now) })
	if len(taken) >= places {
		return nil, fmt.Errorf("%d places of %s: %w", places, name, ErrLimited)
	}
	until := now.Add(d)
	if m.places == nil {
		m.places = map[string][]*time.Time{}
	}
	m.places[name] = append(taken, &until)
	return func(context.Context) error {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.places[name] = slices.DeleteFunc(m.places[name], func(other *time.Time) bool { return other == &until })
		if len(m.places[name]) == 0 {
			delete(m.places, name)
		}
		return nil
	}, nil
}
