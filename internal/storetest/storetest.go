// Package storetest is the contracts of prerender.Store, Leases and Limiter, and of
// control.Store, as test suites. Every store runs them against the real database that it
// speaks to.
package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/stillpage/stillpage/internal/prerender"
)

// Run tests the stores that open makes. Each call of open returns an empty
// store, which open closes when its test ends.
func Run(t *testing.T, open func(t *testing.T) prerender.Store) {
	for name, test := range map[string]func(*testing.T, prerender.Store){
		"a miss is ErrNotFound":        missIsNotFound,
		"what was put comes back":      roundTrip,
		"a put takes the place":        replaces,
		"keys do not touch each other": keysAreDistinct,
		"delete":                       deletes,
		"a site's pages are listed":    lists,
		"large bodies":                 largeBodies,
		"concurrent use":               concurrentUse,
		"a late put is superseded":     fences,
		"what has expired is a miss":   expires,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, open(t))
		})
	}
}

var inAnHour = time.Now().Add(time.Hour).UTC().Truncate(time.Second)

// Snapshot returns a snapshot whose every field is set, with a body of the
// given size.
func Snapshot(seed string, size int) *prerender.Snapshot {
	return &prerender.Snapshot{
		Status:     200,
		Header:     http.Header{"Content-Type": {"text/html; charset=utf-8"}, "Link": {"<a>; rel=x", "<b>; rel=y"}},
		RenderedAt: time.Date(2026, 11, 22, 10, 30, 0, 123e6, time.UTC),
		ModifiedAt: time.Date(2026, 11, 21, 10, 30, 0, 0, time.UTC),
		ETag:       "tag of " + seed,
		Tags:       []string{"tag", seed}, SiteVersion: 7,
		Content: &prerender.Content{Text: 1, Links: 2, Images: 3, Data: 4, Failed: 5, Title: "title of " + seed, Canonical: "https://a.example/"},
		Rival:   &prerender.Rival{Content: prerender.Content{Text: 5}, Status: 404, Seen: 2},
		Gzip:    []byte(strings.Repeat(seed+" ", size/(len(seed)+1)+1))[:size],
		Size:    3 * size,
		Partial: "the reason of " + seed,
		Fence:   3,
		StaleAt: inAnHour.Add(-time.Minute),
		AskedAt: inAnHour.Add(-time.Hour),
		Expires: inAnHour,
	}
}

func missIsNotFound(t *testing.T, s prerender.Store) {
	snap, err := s.Get(t.Context(), "https://a.example/ desktop")
	if !errors.Is(err, prerender.ErrNotFound) || snap != nil {
		t.Errorf("Get of a missing key: got %v, %v, want nil, ErrNotFound", snap, err)
	}
}

func roundTrip(t *testing.T, s prerender.Store) {
	want := Snapshot("round trip", 1000)
	put(t, s, "https://a.example/p?q=%C3%A9&r=/ mobile", want)
	wantStored(t, s, "https://a.example/p?q=%C3%A9&r=/ mobile", want)

	empty := &prerender.Snapshot{Status: 301, Header: http.Header{"Location": {"/x"}}, RenderedAt: want.RenderedAt, Gzip: []byte{}}
	put(t, s, "https://a.example/moved desktop", empty)
	wantStored(t, s, "https://a.example/moved desktop", empty)
}

func replaces(t *testing.T, s prerender.Store) {
	put(t, s, "k", Snapshot("old", 5000))
	put(t, s, "k", Snapshot("new", 10))
	wantStored(t, s, "k", Snapshot("new", 10))
}

// RunLeases tests the leases that open makes, whose clock is now.
func RunLeases(t *testing.T, open func(t *testing.T, now func() time.Time) prerender.Leases) {
	t.Run("leases", func(t *testing.T) {
		t.Parallel()
		clock := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
		l := open(t, func() time.Time { return clock })
		acquire := func(key prerender.Key, mark string) prerender.Lease {
			t.Helper()
			lease, err := l.Acquire(t.Context(), key, 10*time.Second, mark)
			if err != nil {
				t.Fatalf("Acquire(%q): %v", key, err)
			}
			return lease
		}
		refused := func(key prerender.Key, mark string) string {
			t.Helper()
			_, err := l.Acquire(t.Context(), key, time.Second, mark)
			var leased *prerender.LeasedError
			if !errors.As(err, &leased) || !errors.Is(err, prerender.ErrLeased) || leased.Mark == "" || leased.For != 10*time.Second {
				t.Fatalf("Acquire(%q) of what another has for 10 s: got %v, want a LeasedError that says so", key, err)
			}
			return leased.Mark
		}
		release := func(lease prerender.Lease) {
			t.Helper()
			if err := l.Release(t.Context(), lease); err != nil {
				t.Errorf("Release: %v", err)
			}
		}
		extend := func(lease prerender.Lease, want error) {
			t.Helper()
			if err := l.Extend(t.Context(), lease, 10*time.Second); !errors.Is(err, want) {
				t.Errorf("Extend: got %v, want %v", err, want)
			}
		}
		first := acquire("a", "")
		refused("a", "")
		acquire("b", "") // another page is another lease
		release(first)
		extend(first, prerender.ErrLeased)
		second := acquire("a", "")
		mark := refused("a", "none of it")
		clock = clock.Add(30 * time.Second) // clocks are apart
		if again := refused("a", ""); again != mark {
			t.Errorf("the mark has changed from %q to %q, and nobody has extended the lease", mark, again)
		}
		extend(second, nil)
		extended := refused("a", mark) // it lives
		if extended == mark {
			t.Error("the mark has not changed with an extension")
		}
		third := acquire("a", extended) // it was seen for its time without a change
		refused("a", extended)
		release(second) // it was only slow
		refused("a", "")
		extend(second, prerender.ErrLeased)
		clock = clock.Add(10*time.Second + prerender.ClockTolerance - time.Millisecond)
		refused("a", "")
		clock = clock.Add(2 * time.Millisecond)
		fourth := acquire("a", "")
		fences := []int64{first.Fence, second.Fence, third.Fence, fourth.Fence}
		if !slices.IsSorted(fences) || len(slices.Compact(fences)) != 4 {
			t.Errorf("fences: got %v, want them to go up", fences)
		}
	})
}

// RunLimiter tests the limiters that open makes, whose clock is now.
func RunLimiter(t *testing.T, open func(t *testing.T, now func() time.Time) prerender.Limiter) {
	runRates(t, open)
	runPlaces(t, open)
}

func runRates(t *testing.T, open func(t *testing.T, now func() time.Time) prerender.Limiter) {
	t.Run("limits", func(t *testing.T) {
		t.Parallel()
		clock := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
		l := open(t, func() time.Time { return clock })
		rate := prerender.Rate{PerMinute: 30, Burst: 3}
		want := func(name string, want time.Duration) {
			t.Helper()
			if got, err := l.Take(t.Context(), name, rate); got != want || err != nil {
				t.Errorf("Take(%q): got %v, %v, want %v", name, got, err, want)
			}
		}
		for range 3 {
			want("a", 0)
		}
		want("a", 2*time.Second)
		want("a", 2*time.Second) // what is refused costs nothing
		want("b", 0)             // buckets do not touch each other
		clock = clock.Add(time.Second)
		want("a", time.Second)
		clock = clock.Add(time.Second)
		want("a", 0)
		want("a", 2*time.Second)
		clock = clock.Add(time.Hour)
		for range 3 { // full again, and no more than that
			want("a", 0)
		}
		want("a", 2*time.Second)
	})
	t.Run("limits: many at once", func(t *testing.T) {
		t.Parallel()
		clock := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
		l := open(t, func() time.Time { return clock })
		var taken atomic.Int32
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				wait, err := l.Take(context.Background(), "a", prerender.Rate{PerMinute: 60, Burst: 10})
				if err != nil {
					t.Errorf("Take: %v", err)
				}
				if wait == 0 {
					taken.Add(1)
				}
			})
		}
		wg.Wait()
		if n := taken.Load(); n > 10 || n < 8 { // under contention a limiter may refuse one too many, and never too few
			t.Errorf("%d of 50 were let pass, want 10", n)
		}
	})
}

func runPlaces(t *testing.T, open func(t *testing.T, now func() time.Time) prerender.Limiter) {
	t.Run("places", func(t *testing.T) {
		t.Parallel()
		clock := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
		l := open(t, func() time.Time { return clock })
		enter := func(name string, want error) func(context.Context) error {
			t.Helper()
			leave, err := l.Enter(t.Context(), name, 3, 10*time.Second)
			if !errors.Is(err, want) {
				t.Fatalf("Enter(%q): got %v, want %v", name, err, want)
			}
			return leave
		}
		leave := enter("a", nil)
		enter("a", nil)
		clock = clock.Add(time.Second)
		enter("a", nil)
		enter("a", prerender.ErrLimited)
		enter("b", nil) // names do not touch each other
		for range 2 {   // the second finds it left, which is no error
			if err := leave(t.Context()); err != nil {
				t.Errorf("leave: %v", err)
			}
		}
		enter("a", nil)
		enter("a", prerender.ErrLimited)
		clock = clock.Add(9500 * time.Millisecond) // the second's holder has died
		enter("a", nil)
		enter("a", prerender.ErrLimited)
	})
	t.Run("places: many at once", func(t *testing.T) {
		t.Parallel()
		l := open(t, time.Now)
		var inside, most atomic.Int32
		var wg sync.WaitGroup
		for range 30 {
			wg.Go(func() {
				leave, err := l.Enter(context.Background(), "a", 4, time.Minute)
				if errors.Is(err, prerender.ErrLimited) {
					return
				}
				if err != nil {
					t.Errorf("Enter: %v", err)
					return
				}
				for n := inside.Add(1); ; {
					if old := most.Load(); n <= old || most.CompareAndSwap(old, n) {
						break
					}
				}
				inside.Add(-1)
				if err := leave(context.Background()); err != nil {
					t.Errorf("leave: %v", err)
				}
			})
		}
		wg.Wait()
		if n := most.Load(); n > 4 || n < 1 {
			t.Errorf("%d were inside at once, want 1 to 4", n)
		}
	})
}

// FullSite returns a site whose every field is set.
func FullSite(host string) prerender.Site {
	return prerender.Site{
		Origin: prerender.Origin{Scheme: "https", Host: host},
		Settings: prerender.Settings{
			Lifetimes: prerender.Lifetimes{
				Success:  &prerender.Lifetime{Fresh: 90 * time.Minute, Stale: 36 * time.Hour, IfError: 20 * time.Hour},
				Redirect: &prerender.Lifetime{Fresh: 1500 * time.Millisecond}, NotFound: &prerender.Lifetime{Fresh: time.Second},
				Gone: &prerender.Lifetime{Stale: time.Hour}, Failure: &prerender.Lifetime{},
			},
			CacheControl: &prerender.CacheRule{Honour: true, Least: prerender.Duration(time.Minute), Most: prerender.Duration(time.Hour)},
			Query:        &prerender.QueryRule{Keep: []string{"page", "q*"}, Drop: []string{}},
			Vary:         &prerender.VaryRule{Mobile: true, Languages: []string{"en", "de-CH"}},
			Rendering: &prerender.RenderRule{
				RealTime: true, FollowRedirects: true, DeclarativeShadow: true, RefusePartial: true, Language: "de-CH,de",
			},
			Failure: &prerender.FailureRule{PlainApp: true},
			Limits: &prerender.LimitRule{Site: prerender.Rate{PerMinute: 1, Burst: 2}, Client: prerender.Rate{PerMinute: 3, Burst: 4},
				Token: prerender.Rate{PerMinute: 10, Burst: 11}, Concurrency: 5, NotFound: prerender.Rate{PerMinute: 6, Burst: 7}, Requests: prerender.Rate{PerMinute: 8, Burst: 9}},
			Agents:    map[string]prerender.Policy{"search": prerender.RenderPage, "seo-tool": prerender.Refuse},
			Admission: &prerender.AdmitRule{Off: true, TextShare: 0.25, LinkShare: 0.125, Agree: 5, ErrorTexts: []string{"Oops"}},
		},
		Paths: []prerender.PathSettings{
			{Path: "/blog/*", Settings: prerender.Settings{Vary: &prerender.VaryRule{}}},
			{Path: "/*"},
		},
		Warming: &prerender.WarmRule{Sitemaps: []string{"https://a.example/sitemap.xml"}, Every: prerender.Duration(time.Hour), Idle: prerender.Duration(2 * time.Hour), PerMinute: 3},
		Purges:  []prerender.Purge{{Path: "/a*", Tag: "t", Hard: true, Version: 3, At: inAnHour}, {Version: 4, At: inAnHour}},
	}
}

func fences(t *testing.T, s prerender.Store) {
	under := func(fence int64) *prerender.Snapshot {
		snap := Snapshot(fmt.Sprint("fence ", fence), 100)
		snap.Fence = fence
		return snap
	}
	put(t, s, "k", under(5))
	for _, late := range []int64{0, 4} {
		if err := s.Put(t.Context(), "k", under(late)); !errors.Is(err, prerender.ErrSuperseded) {
			t.Errorf("Put under fence %d after 5: got %v, want ErrSuperseded", late, err)
		}
	}
	wantStored(t, s, "k", under(5))
	put(t, s, "k", under(5)) // a retry of its own
	put(t, s, "k", under(6))
	wantStored(t, s, "k", under(6))

	// Hundreds at once: the highest stays.
	var wg sync.WaitGroup
	for fence := int64(7); fence < 107; fence++ {
		wg.Go(func() {
			if err := s.Put(context.Background(), "k", under(fence)); err != nil && !errors.Is(err, prerender.ErrSuperseded) {
				t.Errorf("Put: %v", err)
			}
		})
	}
	wg.Wait()
	wantStored(t, s, "k", under(106))
}

func expires(t *testing.T, s prerender.Store) {
	old := Snapshot("old", 10)
	old.Expires = time.Now().Add(-2 * time.Second).UTC()
	put(t, s, "old", old)
	if _, err := s.Get(t.Context(), "old"); !errors.Is(err, prerender.ErrNotFound) {
		t.Errorf("Get of what has expired: got %v, want ErrNotFound", err)
	}
	forever := Snapshot("forever", 10)
	forever.Expires = time.Time{}
	put(t, s, "forever", forever)
	wantStored(t, s, "forever", forever)
}

func keysAreDistinct(t *testing.T, s prerender.Store) {
	keys := []prerender.Key{
		"https://a.example/ desktop", "https://a.example/ mobile", "https://a.example// desktop",
		"https://a.example/A desktop", "https://a.example/a desktop", "https://a.example/%2F desktop",
		prerender.Key("https://a.example/" + strings.Repeat("x", prerender.MaxURL) + "1 desktop"),
		prerender.Key("https://a.example/" + strings.Repeat("x", prerender.MaxURL) + "2 desktop"),
	}
	for i, k := range keys {
		put(t, s, k, Snapshot(fmt.Sprint("page ", i), 100))
	}
	for i, k := range keys {
		wantStored(t, s, k, Snapshot(fmt.Sprint("page ", i), 100))
	}
}

func deletes(t *testing.T, s prerender.Store) {
	put(t, s, "gone", Snapshot("gone", 10))
	put(t, s, "stays", Snapshot("stays", 10))
	for range 2 { // the second finds nothing, which is no error
		if err := s.Delete(t.Context(), "gone"); err != nil {
			t.Fatalf("Delete: %v", err)
		}
	}
	var many []prerender.Key
	for i := range 60 {
		key := prerender.Key(fmt.Sprint("many ", i))
		put(t, s, key, Snapshot("many", 10))
		many = append(many, key, key) // twice is once
	}
	if err := s.Delete(t.Context(), many...); err != nil {
		t.Fatalf("Delete of 60: %v", err)
	}
	if err := s.Delete(t.Context()); err != nil {
		t.Errorf("Delete of none: %v", err)
	}
	for _, key := range append(many, "gone") {
		if _, err := s.Get(t.Context(), key); !errors.Is(err, prerender.ErrNotFound) {
			t.Errorf("Get(%q) after Delete: got %v, want ErrNotFound", key, err)
		}
	}
	wantStored(t, s, "stays", Snapshot("stays", 10))
}

func lists(t *testing.T, s prerender.Store) {
	site := prerender.Origin{Scheme: "https", Host: "a.example"}
	want := map[prerender.Key]prerender.Listed{}
	add := func(path string) {
		key, snap := prerender.Key("https://a.example"+path+" desktop"), Snapshot(path, 10)
		put(t, s, key, snap)
		want[key] = snap.Listed(key)
	}
	for i := range 40 {
		add(fmt.Sprintf("/%d", i))
	}
	for i := range 10 { // longer than the keys of some databases' indexes
		add(fmt.Sprint("/", strings.Repeat("x", 2000), i))
	}
	add("/?q=%20")
	add("/0")
	for _, other := range []prerender.Key{
		"https://a.example:8080/ desktop", "http://a.example/ desktop", "https://a.example.org/ desktop", "https://a.exampl/ desktop", "health",
	} {
		put(t, s, other, Snapshot("other", 10))
	}
	expired := Snapshot("expired", 10)
	expired.Expires = time.Now().Add(-2 * time.Second)
	put(t, s, "https://a.example/expired desktop", expired)

	list := func(after prerender.Key, most int) (keys []prerender.Key) {
		t.Helper()
		err := s.List(t.Context(), site, after, func(l prerender.Listed) bool {
			if diff := cmp.Diff(want[l.Key], l); diff != "" {
				t.Errorf("listed %.80q (-want +got):\n%s", l.Key, diff)
			}
			keys = append(keys, l.Key)
			return len(keys) < most
		})
		if err != nil {
			t.Fatalf("List: %v", err)
		}
		return keys
	}
	all := list("", 1000)
	if len(all) != len(want) {
		t.Errorf("%d pages are listed, want %d", len(all), len(want))
	}
	var parts []prerender.Key
	for part := list("", 7); len(part) > 0; part = list(part[len(part)-1], 7) {
		parts = append(parts, part...)
	}
	if diff := cmp.Diff(all, parts); diff != "" {
		t.Errorf("listed in parts (-at once +in parts):\n%s", diff)
	}
	if err := s.Delete(t.Context(), all[0]); err != nil {
		t.Fatal(err)
	}
	if left := list("", 1000); len(left) != len(all)-1 || left[0] != all[1] {
		t.Errorf("after a delete: %d pages are listed, want %d", len(left), len(all)-1)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.List(ctx, site, "", func(prerender.Listed) bool { return true }); !errors.Is(err, context.Canceled) {
		t.Errorf("List without time: got %v, want %v", err, context.Canceled)
	}
}

func largeBodies(t *testing.T, s prerender.Store) {
	for _, size := range []int{300_000, 399_000, 401_000, 5 << 20} {
		key := prerender.Key(fmt.Sprint("large ", size))
		want := Snapshot(string(key), size)
		put(t, s, key, want)
		wantStored(t, s, key, want)
	}
}

func concurrentUse(t *testing.T, s prerender.Store) {
	ctx := t.Context()
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			key := prerender.Key(fmt.Sprint("key ", i%4))
			want := Snapshot(string(key), 2000)
			for range 10 {
				if err := s.Put(ctx, key, want); err != nil {
					t.Errorf("Put: %v", err)
				}
				got, err := s.Get(ctx, key)
				if err != nil {
					t.Errorf("Get: %v", err)
				} else if diff := diff(want, got); diff != "" {
					t.Errorf("Get under load (-want +got):\n%s", diff)
				}
			}
		})
	}
	wg.Wait()
}

func put(t *testing.T, s prerender.Store, key prerender.Key, snap *prerender.Snapshot) {
	t.Helper()
	if err := s.Put(context.Background(), key, snap); err != nil {
		t.Fatalf("Put(%.80q): %v", key, err)
	}
}

func wantStored(t *testing.T, s prerender.Store, key prerender.Key, want *prerender.Snapshot) {
	t.Helper()
	got, err := s.Get(context.Background(), key)
	if err != nil {
		t.Fatalf("Get(%.80q): %v", key, err)
	}
	if diff := diff(want, got); diff != "" {
		t.Errorf("Get(%.80q) (-put +got):\n%s", key, diff)
	}
}

// diff compares bodies by their bytes at once: cmp takes seconds over megabytes.
func diff(want, got *prerender.Snapshot) string {
	if bytes.Equal(want.Gzip, got.Gzip) {
		return cmp.Diff(want, got, cmpopts.IgnoreFields(prerender.Snapshot{}, "Gzip"))
	}
	return fmt.Sprintf("bodies differ: %d and %d bytes\n", len(want.Gzip), len(got.Gzip)) +
		cmp.Diff(want, got, cmpopts.IgnoreFields(prerender.Snapshot{}, "Gzip"))
}
