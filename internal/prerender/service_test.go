package prerender_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stillpage/stillpage/internal/prerender"
)

// memory is a store that can be told to fail.
type memory struct {
	mu    sync.Mutex
	pages map[prerender.Key]*prerender.Snapshot
	fail  error
}

func (m *memory) Get(_ context.Context, key prerender.Key) (*prerender.Snapshot, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail != nil {
		return nil, m.fail
	}
	if s, ok := m.pages[key]; ok {
		return s, nil
	}
	return nil, prerender.ErrNotFound
}

func (m *memory) Put(_ context.Context, key prerender.Key, s *prerender.Snapshot) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if old, ok := m.pages[key]; ok && old.Fence > s.Fence {
		return prerender.ErrSuperseded
	}
	if m.fail == nil {
		m.pages[key] = s
	}
	return m.fail
}

func (m *memory) List(ctx context.Context, site prerender.Origin, after prerender.Key, found func(prerender.Listed) bool) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, key := range slices.Sorted(maps.Keys(m.pages)) {
		if ctx.Err() != nil || key.Site() == site.String() && key > after && !found(m.pages[key].Listed(key)) {
			return ctx.Err()
		}
	}
	return m.fail
}

func (m *memory) Delete(_ context.Context, keys ...prerender.Key) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, key := range keys {
		delete(m.pages, key)
	}
	return m.fail
}

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

// leases are one machine's that many services share.
type leases struct {
	mu    sync.Mutex
	fence int64
	until map[prerender.Key]time.Time
	lasts map[prerender.Key]time.Duration
	fail  error
}

func (l *leases) Acquire(_ context.Context, key prerender.Key, d time.Duration, mark string) (prerender.Lease, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fail != nil {
		return prerender.Lease{}, l.fail
	}
	if has := l.until[key].String(); !l.until[key].IsZero() && mark != has && time.Now().Before(l.until[key].Add(prerender.ClockTolerance)) {
		return prerender.Lease{}, &prerender.LeasedError{Key: key, Mark: has, For: l.lasts[key]}
	}
	if l.lasts == nil {
		l.lasts = map[prerender.Key]time.Duration{}
	}
	l.lasts[key] = d
	l.fence++
	l.until[key] = time.Now().Add(d)
	return prerender.Lease{Key: key, Fence: l.fence}, nil
}

func (l *leases) Extend(_ context.Context, lease prerender.Lease, d time.Duration) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fail != nil {
		return l.fail
	}
	if _, held := l.until[lease.Key]; !held || lease.Fence != l.fence {
		return prerender.ErrLeased
	}
	l.until[lease.Key] = time.Now().Add(d)
	return nil
}

func (l *leases) Release(_ context.Context, lease prerender.Lease) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if lease.Fence == l.fence {
		delete(l.until, lease.Key)
	}
	return nil
}

// browser renders what do says, and counts.
type browser struct {
	renders atomic.Int32
	do      func(ctx context.Context, n int) (*prerender.Rendering, error)
}

func (b *browser) Render(ctx context.Context, page prerender.Page) (*prerender.Rendering, error) {
	return b.do(ctx, int(b.renders.Add(1)))
}

func ok(ctx context.Context, n int) (*prerender.Rendering, error) {
	return &prerender.Rendering{Status: 200, Header: http.Header{}, Body: fmt.Appendf(nil, "render %d", n)}, nil
}

type queue struct{ pages []prerender.Page }

func (q *queue) Enqueue(_ context.Context, p prerender.Page) error {
	q.pages = append(q.pages, p)
	return nil
}

func service(b *browser) (*prerender.Service, *memory, *queue) {
	m, q := &memory{pages: map[prerender.Key]*prerender.Snapshot{}}, &queue{}
	return &prerender.Service{Store: m, Maker: &prerender.Studio{Renderer: b, Store: m, Log: quiet}, Queue: q, Log: quiet}, m, q
}

func page(t *testing.T, target string) prerender.Page {
	t.Helper()
	p, err := site(t, "https://a.example").Page(target, prerender.Viewer{})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// want asks for a page and compares where it came from and its body.
func want(t *testing.T, s *prerender.Service, p prerender.Page, source prerender.Source, body string) *prerender.Answer {
	t.Helper()
	a, err := s.Answer(t.Context(), prerender.Request{Page: p})
	if err != nil {
		t.Fatalf("Answer: %v", err)
	}
	got, err := a.Body()
	if err != nil {
		t.Fatal(err)
	}
	if a.Source != source || string(got) != body {
		t.Errorf("got %s %q, want %s %q", a.Source, got, source, body)
	}
	return a
}

func TestLifeOfAPage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, _, q := service(&browser{do: ok})
		p := page(t, "/")
		life := prerender.DefaultSuccess

		want(t, s, p, prerender.Miss, "render 1")
		time.Sleep(life.Fresh)
		if a := want(t, s, p, prerender.Hit, "render 1"); a.Age != life.Fresh {
			t.Errorf("age: got %v, want %v", a.Age, life.Fresh)
		}
		time.Sleep(time.Second)
		want(t, s, p, prerender.StaleHit, "render 1")
		if len(q.pages) != 1 || q.pages[0].Key != p.Key {
			t.Fatalf("queued: got %v, want the page", q.pages)
		}
		if err := s.Renew(t.Context(), q.pages[0]); err != nil {
			t.Fatal(err)
		}
		want(t, s, p, prerender.Hit, "render 2")
		if err := s.Renew(t.Context(), p); err != nil { // made since it was queued
			t.Fatal(err)
		}
		want(t, s, p, prerender.Hit, "render 2")
		time.Sleep(life.Fresh + life.Stale + time.Second)
		want(t, s, p, prerender.Miss, "render 3")
	})
}

func TestManyAskOneRenders(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := &browser{do: func(ctx context.Context, n int) (*prerender.Rendering, error) {
			time.Sleep(time.Second)
			return ok(ctx, n)
		}}
		s, _, _ := service(b)
		sources := make(chan prerender.Source, 10)
		for range 10 {
			go func() {
				a, err := s.Answer(t.Context(), prerender.Request{Page: page(t, "/")})
				if err != nil {
					t.Error(err)
				}
				sources <- a.Source
			}()
		}
		count := map[prerender.Source]int{}
		for range 10 {
			count[<-sources]++
		}
		if got := b.renders.Load(); got != 1 || count[prerender.Miss] != 1 || count[prerender.Coalesced] != 9 {
			t.Errorf("got %d renders, answers %v; want 1 render, 1 miss, 9 coalesced", got, count)
		}
	})
}

func TestClientThatHangsUpDoesNotStopTheRender(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, _, _ := service(&browser{do: func(ctx context.Context, n int) (*prerender.Rendering, error) {
			select {
			case <-time.After(time.Second):
				return ok(ctx, n)
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}})
		ctx, hangUp := context.WithTimeout(t.Context(), time.Millisecond)
		defer hangUp()
		if _, err := s.Answer(ctx, prerender.Request{Page: page(t, "/")}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want the client's own deadline", err)
		}
		if err := s.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		want(t, s, page(t, "/"), prerender.Hit, "render 1")
	})
}

func TestWhatIsNotStored(t *testing.T) {
	t.Parallel()
	for name, r := range map[string]prerender.Rendering{
		"partial":              {Status: 200, Partial: "a request", Body: []byte("<p>so far</p>")},
		"error of the site":    {Status: 500},
		"overload of the site": {Status: 503},
		"forbidden":            {Status: 403},
	} {
		s, _, _ := service(&browser{do: func(context.Context, int) (*prerender.Rendering, error) { return &r, nil }})
		for range 2 {
			a, err := s.Answer(t.Context(), prerender.Request{Page: page(t, "/")})
			if err != nil || a.Source != prerender.Miss || a.Status != r.Status {
				t.Errorf("%s: got %v, %v, want a miss each time with status %d", name, a, err, r.Status)
			}
		}
	}
	for _, status := range []int{200, 301, 404, 410} {
		s, _, _ := service(&browser{do: func(context.Context, int) (*prerender.Rendering, error) {
			return &prerender.Rendering{Status: status}, nil
		}})
		want(t, s, page(t, "/"), prerender.Miss, "")
		want(t, s, page(t, "/"), prerender.Hit, "")
	}
}

// A page on which nothing was yet is no answer: a bot would take it for the page.
func TestPartialWithNothingOnIt(t *testing.T) {
	t.Parallel()
	for _, r := range []prerender.Rendering{
		{Status: 200, Partial: "a request"},
		{Status: 200, Partial: "scripts", Body: []byte("<div id=root></div>"), Content: &prerender.Content{}},
	} {
		s, _, _ := service(&browser{do: func(context.Context, int) (*prerender.Rendering, error) { return &r, nil }})
		if a, err := s.Answer(t.Context(), prerender.Request{Page: page(t, "/")}); !errors.Is(err, prerender.ErrRenderTimeout) {
			t.Errorf("got %+v, %v", a, err)
		}
	}
}

// A site may want no page that is not finished.
func TestRefusePartial(t *testing.T) {
	t.Parallel()
	r := prerender.Rendering{Status: 200, Partial: "a request", Body: []byte("<p>so far</p>")}
	s, m, _ := service(&browser{do: func(context.Context, int) (*prerender.Rendering, error) { return &r, nil }})
	p := page(t, "/")
	want(t, s, p, prerender.Miss, "<p>so far</p>")
	p.Rule.Rendering.RefusePartial = true
	if a, err := s.Answer(t.Context(), prerender.Request{Page: p}); !errors.Is(err, prerender.ErrRenderTimeout) || !strings.Contains(err.Error(), "a request") {
		t.Errorf("got %+v, %v; want ErrRenderTimeout, and what it was waiting for", a, err)
	}
	if len(m.pages) != 0 {
		t.Errorf("stored: %v", m.pages)
	}
}

func TestFailures(t *testing.T) {
	t.Parallel()
	fail := true
	b := &browser{do: func(ctx context.Context, n int) (*prerender.Rendering, error) {
		if fail {
			return nil, fmt.Errorf("dial: %w", prerender.ErrOriginUnreachable)
		}
		return ok(ctx, n)
	}}
	s, m, _ := service(b)
	if _, err := s.Answer(t.Context(), prerender.Request{Page: page(t, "/")}); !errors.Is(err, prerender.ErrOriginUnreachable) {
		t.Errorf("got %v, want ErrOriginUnreachable", err)
	}
	fail = false
	want(t, s, page(t, "/"), prerender.Miss, "render 2") // the failure was not kept

	m.fail = errors.New("disk full")
	want(t, s, page(t, "/"), prerender.Miss, "render 3") // no store: still an answer
}

func TestPanicIsAnError(t *testing.T) {
	t.Parallel()
	s, _, _ := service(&browser{do: func(context.Context, int) (*prerender.Rendering, error) { panic("boom") }})
	if _, err := s.Answer(t.Context(), prerender.Request{Page: page(t, "/")}); !errors.Is(err, prerender.ErrRendererDown) {
		t.Errorf("got %v, want ErrRendererDown", err)
	}
}

func TestRenderDeadline(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, _, _ := service(&browser{do: func(ctx context.Context, _ int) (*prerender.Rendering, error) {
			<-ctx.Done()
			return nil, fmt.Errorf("%w", prerender.ErrRenderTimeout)
		}})
		start := time.Now()
		_, err := s.Answer(t.Context(), prerender.Request{Page: page(t, "/")})
		if took := time.Since(start); !errors.Is(err, prerender.ErrRenderTimeout) || took != prerender.DefaultTimeout {
			t.Errorf("got %v after %v, want ErrRenderTimeout after %v", err, took, prerender.DefaultTimeout)
		}
	})
}

func TestWaitHonoursItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, _, _ := service(&browser{do: func(ctx context.Context, n int) (*prerender.Rendering, error) {
			time.Sleep(10 * time.Second)
			return ok(ctx, n)
		}})
		go s.Answer(t.Context(), prerender.Request{Page: page(t, "/")})
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := s.Wait(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Wait with a short deadline: got %v", err)
		}
		if err := s.Wait(t.Context()); err != nil {
			t.Errorf("Wait: got %v", err)
		}
	})
}

func TestFreshness(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	l := prerender.Lifetime{Fresh: time.Hour, Stale: time.Minute}
	for _, tt := range []struct {
		age  time.Duration
		life prerender.Lifetime
		want prerender.Freshness
	}{
		{0, l, prerender.Fresh}, {time.Hour, l, prerender.Fresh}, {time.Hour + 1, l, prerender.Stale},
		{time.Hour + time.Minute, l, prerender.Stale}, {time.Hour + time.Minute + 1, l, prerender.Expired},
		{-time.Minute, l, prerender.Fresh}, // a machine whose clock is ahead
		{0, prerender.Lifetime{}, prerender.Expired},
	} {
		s := &prerender.Snapshot{RenderedAt: now.Add(-tt.age)}
		if got := s.Freshness(tt.life, now); got != tt.want {
			t.Errorf("age %v: got %v, want %v", tt.age, got, tt.want)
		}
	}
}

func TestSiteLifetimes(t *testing.T) {
	t.Parallel()
	custom := prerender.Rule{Lifetimes: prerender.Lifetimes{
		Success: &prerender.Lifetime{Fresh: time.Minute}, Redirect: &prerender.Lifetime{Fresh: time.Second},
		NotFound: &prerender.Lifetime{Fresh: 2 * time.Second}, Gone: &prerender.Lifetime{Fresh: 3 * time.Second},
	}}
	for status, want := range map[int]time.Duration{200: time.Minute, 204: time.Minute, 301: time.Second, 304: 0, 404: 2 * time.Second, 410: 3 * time.Second, 403: 0, 500: 0, 503: 0} {
		if got := custom.Lifetime(status, nil).Fresh; got != want {
			t.Errorf("status %d: got %v, want %v", status, got, want)
		}
	}
	if got := (prerender.Rule{}).Lifetime(200, nil); got != prerender.DefaultSuccess {
		t.Errorf("nothing said: got %v, want the default", got)
	}
}

func TestSiteList(t *testing.T) {
	t.Parallel()
	a, b := site(t, "https://a.example"), site(t, "http://b.example:81")
	list, err := prerender.NewSiteList(a, b)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := list.Site(t.Context(), "b.example:81"); err != nil || got.Origin != b.Origin {
		t.Errorf("got %v, %v, want %v", got.Origin, err, b.Origin)
	}
	if _, err := list.Site(t.Context(), "c.example"); !errors.Is(err, prerender.ErrSiteUnknown) {
		t.Errorf("got %v, want ErrSiteUnknown", err)
	}
	if _, err := prerender.NewSiteList(a, a); err == nil {
		t.Error("a site given twice: got no error")
	}
}

// Ten services share a store and leases, as functions do. A crawler at each asks
// for the same page, and it is rendered once.
func TestManyServicesOneRenders(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := &browser{do: func(ctx context.Context, n int) (*prerender.Rendering, error) {
			time.Sleep(3 * time.Second)
			return ok(ctx, n)
		}}
		first, store, _ := service(b)
		held := &leases{until: map[prerender.Key]time.Time{}}
		first.Leases = held
		p := page(t, "/")
		var all sync.WaitGroup
		for range 10 {
			s := &prerender.Service{Store: store, Maker: first.Maker, Leases: first.Leases, Log: quiet}
			all.Go(func() {
				a, err := s.Answer(t.Context(), prerender.Request{Page: p})
				if err != nil {
					t.Errorf("Answer: %v", err)
				} else if body, _ := a.Body(); string(body) != "render 1" {
					t.Errorf("got %q, want the one render", body)
				}
			})
		}
		all.Wait()
		if n := b.renders.Load(); n != 1 {
			t.Errorf("got %d renders, want 1", n)
		}
		if len(held.until) != 0 {
			t.Errorf("leases that were not given back: %v", held.until)
		}
	})
}

// A lease lasts as long as its render, however long that takes.
func TestLongRenderKeepsItsLease(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := &browser{do: func(ctx context.Context, n int) (*prerender.Rendering, error) {
			time.Sleep(13 * time.Second)
			return ok(ctx, n)
		}}
		first, store, _ := service(b)
		first.Leases = &leases{until: map[prerender.Key]time.Time{}}
		second := &prerender.Service{Store: store, Maker: first.Maker, Leases: first.Leases, Log: quiet}
		p := page(t, "/")
		var all sync.WaitGroup
		for i, s := range []*prerender.Service{first, second} {
			all.Go(func() {
				time.Sleep(time.Duration(i) * time.Second)
				if _, err := s.Answer(t.Context(), prerender.Request{Page: p}); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if n := b.renders.Load(); n != 1 {
			t.Errorf("%d renders, want 1", n)
		}
	})
}

// A service that dies keeps its lease. The page is made when nobody has extended that
// for its time, and what the dead one may still store is kept out by its fence.
func TestLeaseRunsOut(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := &browser{do: ok}
		s, _, _ := service(b)
		l := &leases{until: map[prerender.Key]time.Time{}}
		s.Leases, s.Timeout = l, 30*time.Second
		p := page(t, "/")
		if _, err := l.Acquire(t.Context(), p.Key, 10*time.Second, ""); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		if a := want(t, s, p, prerender.Miss, "render 1"); a.Fence != 2 {
			t.Errorf("fence: got %d, want 2", a.Fence)
		}
		if waited := time.Since(began); waited < 10*time.Second || waited > 11*time.Second {
			t.Errorf("waited %v for a lease of 10 s", waited)
		}
		time.Sleep(prerender.DefaultSuccess.Whole() + time.Second)
		l.until[p.Key], l.lasts[p.Key] = time.Now().Add(time.Hour), time.Hour
		if _, err := s.Answer(t.Context(), prerender.Request{Page: p}); !errors.Is(err, prerender.ErrBusy) {
			t.Errorf("held by another for longer than a request lasts: got %v, want ErrBusy", err)
		}
	})
}

// Leases are for thrift. Without them pages are still made.
func TestLeasesDown(t *testing.T) {
	t.Parallel()
	s, _, _ := service(&browser{do: ok})
	s.Leases = &leases{fail: errors.New("throttled")}
	want(t, s, page(t, "/"), prerender.Miss, "render 1")
}

// A preview gives up after some seconds, and its function may be frozen then: the
// lease is taken for as long as the render may last.
func TestLeaseOfAPreview(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := &leases{until: map[prerender.Key]time.Time{}}
		s, _, _ := service(&browser{do: func(ctx context.Context, n int) (*prerender.Rendering, error) {
			time.Sleep(10 * time.Second)
			return ok(ctx, n)
		}})
		s.Leases = l
		p := page(t, "/")
		begin := time.Now()
		if _, err := s.Answer(t.Context(), prerender.Request{Page: p, Patience: 4 * time.Second}); !errors.Is(err, prerender.ErrUnfinished) {
			t.Errorf("got %v, want ErrUnfinished", err)
		}
		l.mu.Lock()
		if left := l.until[p.Key].Sub(begin); left < prerender.DefaultTimeout {
			t.Errorf("after 4 s the lease lasts %v from its beginning, want %v at least", left, prerender.DefaultTimeout)
		}
		l.mu.Unlock()
		s.Wait(t.Context())
	})
}
