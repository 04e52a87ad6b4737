package prerender_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stillpage/stillpage/internal/prerender"
	"github.com/stillpage/stillpage/internal/storetest"
)

func TestMemoryLimiter(t *testing.T) {
	t.Parallel()
	storetest.RunLimiter(t, func(_ *testing.T, now func() time.Time) prerender.Limiter { return &prerender.MemoryLimiter{Now: now} })
}

// crawl asks for n made-up pages at an interval, and counts what came of them.
func crawl(t *testing.T, s *prerender.Service, rule prerender.LimitRule, client string, n int, interval time.Duration) (made, limited int) {
	var wg sync.WaitGroup
	var mu sync.Mutex
	for i := range n {
		p := page(t, fmt.Sprintf("/%s?random=%d", client, i))
		p.Rule.Limits = rule
		wg.Go(func() {
			_, err := s.Answer(t.Context(), prerender.Request{Page: p, Client: client})
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				made++
			case errors.Is(err, prerender.ErrLimited):
				limited++
			default:
				t.Error(err)
			}
		})
		time.Sleep(interval)
	}
	wg.Wait()
	return made, limited
}

// A client that makes up addresses pays for its own: the others get their pages.
func TestOneClientCannotStarveAnother(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := &browser{do: ok}
		s, _, _ := service(b)
		s.Limiter = &prerender.MemoryLimiter{}
		var rule prerender.LimitRule // the defaults
		var wg sync.WaitGroup
		var greedy, modest, refused int
		wg.Go(func() { greedy, _ = crawl(t, s, rule, "greedy", 10*600, 100*time.Millisecond) }) // ten a second for ten minutes
		wg.Go(func() { modest, refused = crawl(t, s, rule, "modest", 10*6, 10*time.Second) })
		wg.Wait()
		if modest != 60 || refused != 0 {
			t.Errorf("the modest client got %d pages of 60, and %d refusals", modest, refused)
		}
		// Without limits it would be 6,000.
		if most := 120 + 10*120; greedy > most || greedy < most-5 {
			t.Errorf("the greedy client got %d pages, want %d", greedy, most)
		}
	})
}

// A thousand clients that make up addresses have the site's limit.
func TestSiteLimit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := &browser{do: ok}
		s, _, _ := service(b)
		s.Limiter = &prerender.MemoryLimiter{}
		var wg sync.WaitGroup
		for i := range 1000 {
			wg.Go(func() { crawl(t, s, prerender.LimitRule{}, fmt.Sprint("client-", i), 4, 30*time.Second) }) // for two minutes
		}
		wg.Wait()
		if n, most := int(b.renders.Load()), 600+2*1200; n > most || n < most*8/10 {
			t.Errorf("got %d renders of 4,000 that were asked for, want %d", n, most)
		}
	})
}

// Stored pages cost nothing, and an old page is better than a refusal.
func TestLimitsAreForRenders(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, _, _ := service(&browser{do: ok})
		s.Limiter = &prerender.MemoryLimiter{}
		p := page(t, "/")
		p.Rule.Limits.Site = prerender.Rate{PerMinute: 1, Burst: 1}
		want(t, s, p, prerender.Miss, "render 1")
		for range 1000 {
			want(t, s, p, prerender.Hit, "render 1")
		}
		other := page(t, "/other")
		other.Rule.Limits = p.Rule.Limits
		_, err := s.Answer(t.Context(), prerender.Request{Page: other})
		var limited *prerender.LimitedError
		if !errors.As(err, &limited) || limited.Wait != time.Minute {
			t.Errorf("got %v, want a wait of a minute", err)
		}
		time.Sleep(prerender.DefaultSuccess.Fresh + prerender.DefaultSuccess.Stale + time.Second)
		want(t, s, other, prerender.Miss, "render 2") // takes what there is
		if a := want(t, s, p, prerender.StaleHit, "render 1"); !errors.Is(a.Instead, prerender.ErrLimited) {
			t.Errorf("got %v, want the old page because of the limit", a.Instead)
		}
	})
}

// A limiter that does not answer stops nobody.
func TestLimiterDown(t *testing.T) {
	t.Parallel()
	s, _, _ := service(&browser{do: ok})
	s.Limiter = brokenLimiter{}
	want(t, s, page(t, "/"), prerender.Miss, "render 1")
}

type brokenLimiter struct{}

func (brokenLimiter) Take(context.Context, string, prerender.Rate) (time.Duration, error) {
	return 0, errors.New("down")
}
