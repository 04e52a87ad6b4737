package prerender_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stillpage/stillpage/internal/prerender"
)

// deaf is all that services share. While it hangs, nothing is answered, and nothing
// refused.
type deaf struct {
	*memory
	*leases
	prerender.MemoryLimiter
	hangs atomic.Bool
	calls atomic.Int32 // while it hung
}

func (d *deaf) wait(ctx context.Context) error {
	if !d.hangs.Load() {
		return nil
	}
	d.calls.Add(1)
	<-ctx.Done()
	return ctx.Err()
}

func (d *deaf) Get(ctx context.Context, key prerender.Key) (*prerender.Snapshot, error) {
	if err := d.wait(ctx); err != nil {
		return nil, err
	}
	return d.memory.Get(ctx, key)
}

func (d *deaf) Put(ctx context.Context, key prerender.Key, s *prerender.Snapshot) error {
	if err := d.wait(ctx); err != nil {
		return err
	}
	return d.memory.Put(ctx, key, s)
}

func (d *deaf) Acquire(ctx context.Context, key prerender.Key, t time.Duration, mark string) (prerender.Lease, error) {
	if err := d.wait(ctx); err != nil {
		return prerender.Lease{}, err
	}
	return d.leases.Acquire(ctx, key, t, mark)
}

func (d *deaf) Take(ctx context.Context, name string, r prerender.Rate) (time.Duration, error) {
	if err := d.wait(ctx); err != nil {
		return 0, err
	}
	return d.MemoryLimiter.Take(ctx, name, r)
}

func (d *deaf) Enter(ctx context.Context, name string, places int, t time.Duration) (func(context.Context) error, error) {
	if err := d.wait(ctx); err != nil {
		return nil, err
	}
	return d.MemoryLimiter.Enter(ctx, name, places, t)
}

func (d *deaf) Enqueue(ctx context.Context, _ prerender.Page) error { return d.wait(ctx) }

// What all share does not answer any more: pages are rendered, and do not wait for each
// of the ten calls that a page takes. When it answers again, all is as before.
func TestStoreThatHangs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := &deaf{memory: &memory{pages: map[prerender.Key]*prerender.Snapshot{}}, leases: &leases{until: map[prerender.Key]time.Time{}}}
		s := &prerender.Service{
			Store: d, Leases: d, Limiter: d, Queue: d, Log: quiet,
			Maker: &prerender.Studio{Renderer: &browser{do: ok}, Store: d, Log: quiet},
		}
		ask := func(path string) (prerender.Source, time.Duration) {
			start := time.Now()
			p := page(t, path)
			p.Rule.Limits.Concurrency = 3
			a, err := s.Answer(t.Context(), prerender.Request{Page: p, Client: "crawler"})
			if err != nil {
				t.Fatalf("%s: %v", path, err)
			}
			return a.Source, time.Since(start)
		}
		if source, took := ask("/"); source != prerender.Miss || took != 0 {
			t.Fatalf("before: got a %s after %v", source, took)
		}

		d.hangs.Store(true)
		// One wait of the service and one of the maker, and moments.
		if source, took := ask("/"); source != prerender.Miss || took > 9*time.Second || d.calls.Load() < 8 {
			t.Errorf("the first: got a %s after %v and %d calls", source, took, d.calls.Load())
		}
		if source, took := ask("/"); source != prerender.Miss || took > 3*time.Second {
			t.Errorf("the next: got a %s after %v", source, took)
		}
		long := 0
		for start := time.Now(); time.Since(start) < 40*time.Second; { // now and then one finds out
			if _, took := ask("/"); took > 4*time.Second {
				long++
			}
		}
		if long < 2 || long > 6 {
			t.Errorf("in 40 seconds %d pages have found out whether it is over", long)
		}
		time.Sleep(20 * time.Second) // of many at once, one does
		took := make(chan time.Duration, 20)
		for i := range cap(took) {
			go func() {
				_, d := ask(fmt.Sprint("/", i))
				took <- d
			}()
		}
		long = 0
		for range cap(took) {
			if <-took > 3*time.Second {
				long++
			}
		}
		if long < 1 || long > 2 { // a look-up, and a comparison with what is stored
			t.Errorf("%d of %d pages have waited for a store that is known to hang, want one or two", long, cap(took))
		}

		d.hangs.Store(false)
		if source, took := ask("/"); source != prerender.Hit || took != 0 {
			t.Errorf("after: got a %s after %v", source, took)
		}
		d.hangs.Store(true)
		if _, took := ask("/"); took < 3*time.Second {
			t.Errorf("after: it was given %v only", took)
		}
	})
}

// A store that answers, late, is no outage.
func TestOutageBelievesAnswers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var o prerender.Outage
		call := func(ctx context.Context, takes, most time.Duration) time.Duration {
			start := time.Now()
			ctx, done := o.Bound(ctx, most)
			defer done()
			select {
			case <-time.After(takes):
			case <-ctx.Done():
			}
			return time.Since(start)
		}
		for range 3 {
			if took := call(t.Context(), 2*time.Second, 3*time.Second); took != 2*time.Second {
				t.Fatalf("a slow answer ended after %v", took)
			}
		}
		hurried, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		call(hurried, time.Minute, 3*time.Second)
		if took := call(t.Context(), 2*time.Second, 3*time.Second); took != 2*time.Second {
			t.Errorf("who asks for more haste has others given %v", took)
		}
		call(t.Context(), time.Minute, 3*time.Second)
		short := call(t.Context(), time.Minute, 3*time.Second)
		if short >= time.Second {
			t.Errorf("in an outage: %v", short)
		}
		if took := call(t.Context(), time.Minute, short/2); took != short/2 {
			t.Errorf("in an outage a call may not take longer than ever: %v", took)
		}
		call(t.Context(), short/2, 3*time.Second)
		if took := call(t.Context(), 2*time.Second, 3*time.Second); took != 2*time.Second {
			t.Errorf("after an answer: %v", took)
		}
	})
}

// Sites that cannot be read: who asks for a host that nobody knows does not have those
// wait whose sites are known.
func TestSitesThatHang(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		hangs := &hangingSites{}
		cache := &prerender.SiteCache{Store: hangs, Fixed: prerender.SiteList{"a.example": site(t, "https://a.example")}, Log: quiet}
		var waited time.Duration
		for range 10 {
			start := time.Now()
			if _, err := cache.Site(t.Context(), "unknown.example"); !errors.Is(err, prerender.ErrSitesDown) {
				t.Fatalf("got %v", err)
			}
			if _, err := cache.Site(t.Context(), "a.example"); err != nil {
				t.Fatal(err)
			}
			waited += time.Since(start)
			time.Sleep(2 * time.Second)
		}
		if waited > 9*time.Second {
			t.Errorf("one after the other, twenty requests have waited %v", waited)
		}
		time.Sleep(20 * time.Second)
		start := time.Now()
		for range 20 { // who has waited for the first of them does not ask once more
			cache.Site(t.Context(), "unknown.example")
		}
		if took := time.Since(start); took > 2*time.Second {
			t.Errorf("of twenty that came at once, the last has waited %v", took)
		}
	})
}

// A queue that hangs holds up the first stale answers, and not each.
func TestQueueThatHangs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, _, _ := service(&browser{do: ok})
		d := &deaf{}
		d.hangs.Store(true)
		s.Queue = d
		want(t, s, page(t, "/"), prerender.Miss, "render 1")
		time.Sleep(prerender.DefaultSuccess.Fresh + time.Second)
		start := time.Now()
		for range 10 {
			want(t, s, page(t, "/"), prerender.StaleHit, "render 1")
		}
		if took := time.Since(start); took < time.Second || took > 5*time.Second {
			t.Errorf("ten stale answers took %v", took)
		}
	})
}

type hangingSites struct{}

func (hangingSites) Sites(ctx context.Context) ([]prerender.Site, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}
