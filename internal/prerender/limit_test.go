package prerender_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"sync/atomic"
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
	for name, tt := range map[string]struct {
		rule   prerender.LimitRule
		status int           // of greedy's pages
		takes  time.Duration // a render
		most   int           // that greedy gets in ten minutes, of 30,000
	}{
		"renders":                     {status: 200, most: 120 + 10*120},
		"addresses that lead nowhere": {status: 404, most: 120 + 10*120},
		"places":                      {rule: prerender.LimitRule{Concurrency: 3}, status: 200, takes: 3 * time.Second, most: 10 * 20},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s, _, _ := service(&browser{do: ok})
				s.Maker = maker(func(ctx context.Context, p prerender.Page) (*prerender.Snapshot, error) {
					time.Sleep(tt.takes)
					status := 200
					if strings.Contains(string(p.Key), "greedy") {
						status = tt.status
					}
					return &prerender.Snapshot{Status: status, RenderedAt: time.Now()}, nil
				})
				s.Limiter = &prerender.MemoryLimiter{}
				var wg sync.WaitGroup
				var greedy, modest, refused int
				wg.Go(func() { greedy, _ = crawl(t, s, tt.rule, "greedy", 10*3000, 20*time.Millisecond) })
				wg.Go(func() { modest, refused = crawl(t, s, tt.rule, "modest", 10*6, 10*time.Second) })
				wg.Wait()
				if modest != 60 || refused != 0 {
					t.Errorf("the modest client got %d pages of 60, and %d refusals", modest, refused)
				}
				if greedy > tt.most+5 || greedy < 50 {
					t.Errorf("the greedy client got %d pages, want %d at most", greedy, tt.most)
				}
			})
		})
	}
}

// maker makes snapshots that nobody keeps.
type maker func(context.Context, prerender.Page) (*prerender.Snapshot, error)

func (m maker) Make(ctx context.Context, p prerender.Page, _ int64) (*prerender.Snapshot, []prerender.Phase, error) {
	snap, err := m(ctx, p)
	return snap, nil, err
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
	p := page(t, "/")
	p.Rule.Limits.Concurrency = 1
	want(t, s, p, prerender.Miss, "render 1")
}

// A site has so many renders at once, whoever asks; who finds no place waits for one.
func TestSiteConcurrency(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var together, peak atomic.Int32
		b := &browser{do: func(ctx context.Context, n int) (*prerender.Rendering, error) {
			peak.Store(max(peak.Load(), together.Add(1)))
			defer together.Add(-1)
			time.Sleep(3 * time.Second)
			return ok(ctx, n)
		}}
		limiter := &prerender.MemoryLimiter{}
		var services [2]*prerender.Service // that share a limiter
		for i := range services {
			services[i], _, _ = service(b)
			services[i].Limiter = limiter
		}
		for _, round := range []string{"a", "b"} { // the places are given back
			var wg sync.WaitGroup
			var mu sync.Mutex
			made, limited := 0, 0
			for i := range 40 {
				p := page(t, fmt.Sprint("/", round, i))
				p.Rule.Limits.Concurrency = 3
				wg.Go(func() {
					_, err := services[i%2].Answer(t.Context(), prerender.Request{Page: p})
					mu.Lock()
					defer mu.Unlock()
					var full *prerender.LimitedError
					switch {
					case err == nil:
						made++
					case errors.As(err, &full) && full.Wait > 0:
						limited++
					default:
						t.Error(err)
					}
				})
			}
			wg.Wait()
			if made < 6 || made > 15 || limited != 40-made {
				t.Errorf("round %s: %d made and %d refused; 15 s are enough for 15 renders of 3 s", round, made, limited)
			}
		}
		if peak.Load() != 3 {
			t.Errorf("%d renders at once, want 3", peak.Load())
		}
	})
}

// What is not said of a rate is the default's; too much is as much as there is.
func TestRatesSaidInPart(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		rule prerender.LimitRule
		want int // of a hundred at once
	}{
		"only a minute's":   {prerender.LimitRule{Client: prerender.Rate{PerMinute: 10}}, 100},
		"only a burst":      {prerender.LimitRule{Client: prerender.Rate{Burst: 10}}, 10},
		"enormous":          {prerender.LimitRule{Client: prerender.Rate{PerMinute: 600, Burst: math.MaxInt}, Site: prerender.Rate{PerMinute: math.MaxInt, Burst: math.MaxInt}}, 100},
		"below zero":        {prerender.LimitRule{Client: prerender.Rate{PerMinute: -1, Burst: -1}, Concurrency: -1}, 1},
		"requests, in part": {prerender.LimitRule{Requests: prerender.Rate{PerMinute: 60_000}}, 100},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s, _, _ := service(&browser{do: ok})
				s.Limiter = &prerender.MemoryLimiter{}
				made := 0
				for i := range 100 {
					p := page(t, fmt.Sprint("/", i))
					p.Rule.Limits = tt.rule
					if _, err := s.Answer(t.Context(), prerender.Request{Page: p, Client: "c"}); err == nil {
						made++
					} else if !errors.Is(err, prerender.ErrLimited) {
						t.Fatal(err)
					}
				}
				if made != tt.want {
					t.Errorf("%d pages, want %d", made, tt.want)
				}
			})
		})
	}
}

// A client that floods an instance with requests is refused, stored pages or not;
// the others are not.
func TestFlood(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, _, _ := service(&browser{do: ok})
		p := page(t, "/")
		want(t, s, p, prerender.Miss, "render 1")
		answered, refused := 0, 0
		for i := range 20_000 { // a thousand a second
			_, err := s.Answer(t.Context(), prerender.Request{Page: p, Client: "flood"})
			if errors.Is(err, prerender.ErrLimited) {
				refused++
			} else if err == nil {
				answered++
			} else {
				t.Fatal(err)
			}
			if i%100 == 0 {
				if _, err := s.Answer(t.Context(), prerender.Request{Page: p, Client: "modest"}); err != nil {
					t.Fatalf("a client that asks ten times a second: %v", err)
				}
			}
			time.Sleep(time.Millisecond)
		}
		if want := 6000 + 20*100; answered < want-2 || answered > want+2 || answered+refused != 20_000 {
			t.Errorf("%d answers and %d refusals, want %d answers", answered, refused, want)
		}
	})
}

// What an attack costs that makes addresses up: a thousand networks, each asking
// once a minute, for ten minutes.
func TestBillOfMadeUpAddresses(t *testing.T) {
	t.Parallel()
	const networks, minutes = 1000, 10
	for name, tt := range map[string]struct {
		address func(n int) string
		prepare func(*prerender.Service, *prerender.Rule)
		most    int
	}{
		"paths, nothing set":        {func(n int) string { return fmt.Sprint("/shop/", n) }, func(s *prerender.Service, _ *prerender.Rule) { s.Limiter = nil }, networks * minutes},
		"paths":                     {func(n int) string { return fmt.Sprint("/shop/", n) }, nil, 600 + 60*minutes},
		"paths in made-up paths":    {func(n int) string { return fmt.Sprintf("/%d/%d", n, n) }, nil, 4 * (600 + 60*minutes)},
		"queries, nothing set":      {func(n int) string { return fmt.Sprint("/?x=", n) }, func(s *prerender.Service, _ *prerender.Rule) { s.Limiter = nil }, networks * minutes},
		"queries, not kept":         {func(n int) string { return fmt.Sprint("/?x=", n) }, func(_ *prerender.Service, r *prerender.Rule) { r.Query.Keep = []string{"page"} }, 1},
		"queries of tracking links": {func(n int) string { return fmt.Sprint("/?utm_source=", n) }, nil, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := &browser{do: func(ctx context.Context, n int) (*prerender.Rendering, error) {
					r, err := ok(ctx, n)
					r.Status = 404
					return r, err
				}}
				s, _, _ := service(b)
				s.Limiter = &prerender.MemoryLimiter{}
				site := prerender.Site{Origin: prerender.Origin{Scheme: "https", Host: "a.example"}}
				if tt.prepare != nil {
					rule := prerender.Rule{}
					tt.prepare(s, &rule)
					site.Settings.Query = &rule.Query
				}
				for n := range networks * minutes {
					p, err := site.Page(tt.address(n), prerender.Viewer{})
					if err != nil {
						t.Fatal(err)
					}
					if _, err := s.Answer(t.Context(), prerender.Request{Page: p, Client: fmt.Sprint(n % networks)}); err != nil && !errors.Is(err, prerender.ErrLimited) {
						t.Fatal(err)
					}
					time.Sleep(time.Minute / networks)
				}
				t.Logf("%d renders", b.renders.Load())
				if n := int(b.renders.Load()); n > tt.most || n < tt.most/3 {
					t.Errorf("%d renders of %d requests, want at most %d", n, networks*minutes, tt.most)
				}
			})
		})
	}
}

// Where too many addresses lead nowhere, what is stored is answered all the same, and
// other directories do not notice; after a pause it is tried again.
func TestTooManyNotFound(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		status := 200
		s, _, _ := service(&browser{do: func(ctx context.Context, n int) (*prerender.Rendering, error) {
			r, err := ok(ctx, n)
			r.Status = status
			return r, err
		}})
		s.Limiter = &prerender.MemoryLimiter{}
		ask := func(path string) error {
			p := page(t, path)
			p.Rule.Limits.NotFound = prerender.Rate{PerMinute: 1, Burst: 5}
			_, err := s.Answer(t.Context(), prerender.Request{Page: p})
			return err
		}
		good := func(path string) {
			t.Helper()
			if err := ask(path); err != nil {
				t.Errorf("%s: %v", path, err)
			}
		}
		good("/a/page")
		status = 404
		for i := range 6 {
			good(fmt.Sprint("/a/wrong-", i))
		}
		var limited *prerender.LimitedError
		if err := ask("/a/other"); !errors.As(err, &limited) || limited.Wait <= 0 || limited.Wait > time.Minute {
			t.Errorf("got %v, want a wait of a minute at most", err)
		}
		good("/a/page")
		good("/a/wrong-1")
		good("/b/other")
		time.Sleep(time.Minute + time.Second)
		good("/a/other")
		time.Sleep(prerender.DefaultSuccess.Fresh)
		if err := ask("/a/new"); err != nil {
			t.Error(err)
		}
	})
}

type brokenLimiter struct{}

func (brokenLimiter) Enter(context.Context, string, int, time.Duration) (func(context.Context) error, error) {
	return nil, errors.New("down")
}

func (brokenLimiter) Take(context.Context, string, prerender.Rate) (time.Duration, error) {
	return 0, errors.New("down")
}
