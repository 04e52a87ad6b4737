package warm_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stillpage/stillpage/internal/boltstore"
	"github.com/stillpage/stillpage/internal/control"
	"github.com/stillpage/stillpage/internal/prerender"
	"github.com/stillpage/stillpage/internal/warm"
)

// installation is a site with sitemaps, and a scheduler that looks after it.
type installation struct {
	*warm.Scheduler
	t        *testing.T
	store    *boltstore.Store
	site     prerender.Site
	clock    time.Time
	sitemaps map[string]string
	asked    atomic.Int32 // sitemaps
	queued   []prerender.Page
	refuse   func() error // by the queue
	renewed  []prerender.Key
}

func (i *installation) remake(_ context.Context, p prerender.Page) (*prerender.Snapshot, error) {
	i.renewed = append(i.renewed, p.Key)
	return &prerender.Snapshot{Expires: i.clock.Add(time.Hour)}, nil
}

func (i *installation) All(context.Context) ([]prerender.Site, error) {
	return []prerender.Site{i.site}, nil
}

func (i *installation) Enqueue(_ context.Context, p prerender.Page) error {
	if i.refuse != nil {
		if err := i.refuse(); err != nil {
			return err
		}
	}
	i.queued = append(i.queued, p)
	return nil
}

func installed(t *testing.T) *installation {
	store, err := boltstore.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	i := &installation{t: t, store: store, clock: time.Now(), sitemaps: map[string]string{}}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		i.asked.Add(1)
		text, ok := i.sitemaps[r.URL.Path]
		if !ok {
			http.NotFound(w, r)
			return
		}
		io.WriteString(w, text)
	}))
	t.Cleanup(server.Close)
	i.site = prerender.Site{
		Origin:  prerender.Origin{Scheme: "https", Host: "a.example"},
		Warming: &prerender.WarmRule{Sitemaps: []string{server.URL + "/sitemap.xml"}, PerMinute: 60_000},
	}
	quiet := slog.New(slog.DiscardHandler)
	now := func() time.Time { return i.clock }
	plane := &control.Plane{Ledger: &control.Ledger{Records: store.Records(), Now: now, Log: quiet}, Pages: store, Fixed: prerender.SiteList{}}
	i.Scheduler = &warm.Scheduler{
		Sites: i, Plane: plane, Queue: i, Remake: i.remake, Client: server.Client(), Now: now, Log: quiet,
	}
	return i
}

func sitemapOf(entries ...string) string {
	var b strings.Builder
	b.WriteString(`<urlset>`)
	for _, e := range entries {
		loc, mod, _ := strings.Cut(e, " ")
		fmt.Fprintf(&b, `<url><loc>%s</loc><lastmod>%s</lastmod></url>`, loc, mod)
	}
	b.WriteString(`</urlset>`)
	return b.String()
}

// made stores a page as it was made at a time, and last asked for at another.
func (i *installation) made(path string, at, asked time.Time) {
	i.t.Helper()
	page, err := i.site.Page(path, prerender.Viewer{})
	if err != nil {
		i.t.Fatal(err)
	}
	err = i.store.Put(i.t.Context(), page.Key, &prerender.Snapshot{Status: 200, RenderedAt: at, StaleAt: at.Add(24 * time.Hour), AskedAt: asked, Gzip: []byte{}})
	if err != nil {
		i.t.Fatal(err)
	}
}

// tick lets the scheduler work, and returns what it has queued.
func (i *installation) tick(ctx context.Context) []string {
	i.t.Helper()
	i.queued = nil
	if err := i.Tick(ctx); err != nil {
		i.t.Errorf("Tick: %v", err)
	}
	var keys []string
	for _, p := range i.queued {
		if !p.Unasked {
			i.t.Errorf("%s is queued as if somebody had asked", p.Key)
		}
		keys = append(keys, strings.TrimPrefix(string(p.Key), "https://a.example"))
	}
	return keys
}

func (i *installation) run() prerender.WarmRun {
	i.t.Helper()
	run, err := i.Plane.Run(i.t.Context(), "a.example")
	if err != nil {
		i.t.Fatal(err)
	}
	return run
}

// What is missing, stale, purged or has changed is made again, and nothing else.
func TestSchedulerChooses(t *testing.T) {
	t.Parallel()
	i := installed(t)
	ago := func(days int) time.Time { return i.clock.Add(-time.Duration(days) * 24 * time.Hour) }
	yesterday := ago(1).Add(time.Hour)
	i.made("/fresh", yesterday, yesterday)
	i.made("/stale", ago(2), ago(2))
	i.made("/changed", yesterday, yesterday)
	i.made("/unchanged", yesterday, yesterday)
	i.made("/purged", yesterday, yesterday)
	i.made("/idle", ago(2), ago(31))
	i.site.Purges = []prerender.Purge{{Path: "/purged", Version: 1}, {Path: "/idle", Version: 1}}
	changed := i.clock.Add(-time.Hour).UTC().Truncate(time.Second)
	i.sitemaps["/sitemap.xml"] = sitemapOf("https://a.example/fresh", "https://a.example/stale", "https://A.example/changed "+changed.Format(time.RFC3339),
		"https://a.example/unchanged 2020-01-01", "https://a.example/fresh 2999-01-01", "https://a.example/purged", "https://a.example/idle", "https://a.example/missing", "https://a.example/old 2020-01-01",
		"https://b.example/", "http://a.example/")

	want := []string{"/stale desktop", "/changed desktop", "/purged desktop", "/missing desktop", "/old desktop"}
	if diff := cmp.Diff(want, i.tick(t.Context())); diff != "" {
		t.Errorf("queued (-want +got):\n%s", diff)
	}
	if at := i.queued[1].ChangedAt; !at.Equal(changed) {
		t.Errorf("changed at %v, want %v: the renderer would find a fresh page", at, changed)
	}
	run := i.run()
	counts := map[prerender.Warmth]int{prerender.Queued: 5, prerender.Warm: 3, prerender.Idle: 1, prerender.Foreign: 2}
	if diff := cmp.Diff(counts, run.Pages); diff != "" || run.Ended.IsZero() || run.Entries != 11 || len(run.Faults) != 2 {
		t.Errorf("got %+v; pages (-want +got):\n%s", run, diff)
	}

	// Not before its time.
	i.clock = i.clock.Add(23 * time.Hour)
	if got := i.tick(t.Context()); got != nil || i.asked.Load() != 1 {
		t.Errorf("before its time: queued %q, %d sitemaps read", got, i.asked.Load())
	}
	i.clock = i.clock.Add(time.Hour)
	if got := i.tick(t.Context()); !slices.Contains(got, "/missing desktop") || slices.Contains(got, "/idle desktop") {
		t.Errorf("a day later: queued %q, run %+v", got, i.run())
	}
}

// An entry stands for every device and language of the site.
func TestSchedulerKnowsVariants(t *testing.T) {
	t.Parallel()
	i := installed(t)
	i.site.Vary = &prerender.VaryRule{Mobile: true, Languages: []string{"en", "de-CH"}}
	i.sitemaps["/sitemap.xml"] = sitemapOf("https://a.example?x=1")
	want := []string{"/?x=1 desktop en", "/?x=1 desktop de-CH", "/?x=1 mobile en", "/?x=1 mobile de-CH"}
	if diff := cmp.Diff(want, i.tick(t.Context())); diff != "" {
		t.Errorf("queued (-want +got):\n%s", diff)
	}
}

// A run that was cut off goes on where it was, and leaves nothing out.
func TestSchedulerGoesOn(t *testing.T) {
	t.Parallel()
	i := installed(t)
	var entries, want []string
	for n := range 1200 {
		entries = append(entries, fmt.Sprint("https://a.example/", n))
		want = append(want, fmt.Sprintf("/%d desktop", n))
	}
	i.sitemaps["/sitemap.xml"] = sitemapOf(entries...)
	var all []string
	for _, cut := range []int{100, 550, 2000} {
		ctx, cancel := context.WithCancel(t.Context())
		i.refuse = func() error {
			if len(i.queued) == cut-1 {
				cancel()
			}
			return nil
		}
		all = append(all, i.tick(ctx)...)
		cancel()
		if ended := !i.run().Ended.IsZero(); ended != (cut == 2000) {
			t.Errorf("after %d: ended is %v", cut, ended)
		}
	}
	if diff := cmp.Diff(want, all); diff != "" {
		t.Errorf("queued (-want +got):\n%s", diff)
	}
}

// A sitemap that cannot be read is tried again, then given up; the others count.
func TestSchedulerWithoutSitemap(t *testing.T) {
	t.Parallel()
	i := installed(t)
	server := strings.TrimSuffix(i.site.Warming.Sitemaps[0], "/sitemap.xml")
	i.sitemaps["/sitemap.xml"] = fmt.Sprintf(`<sitemapindex><sitemap><loc>%s/missing.xml</loc></sitemap><sitemap><loc>%s/good.xml</loc></sitemap></sitemapindex>`, server, server)
	i.sitemaps["/good.xml"] = sitemapOf("https://a.example/")
	for n := 1; n <= 3; n++ {
		if got := i.tick(t.Context()); len(got) != 1 {
			t.Errorf("time %d: queued %q", n, got)
		}
		run := i.run()
		if run.Attempts != n || run.Ended.IsZero() != (n < 3) || len(run.Faults) != 1 || !strings.Contains(run.Faults[0], "missing.xml") {
			t.Errorf("time %d: got %+v", n, run)
		}
	}
	if n := i.run().Pages[prerender.Queued]; n != 1 {
		t.Errorf("%d pages are counted, want 1", n)
	}
	if got := i.tick(t.Context()); got != nil {
		t.Errorf("given up: queued %q", got)
	}
}

// A queue that is full for a moment has the page a second later.
func TestSchedulerWaitsForTheQueue(t *testing.T) {
	t.Parallel()
	i := installed(t)
	i.sitemaps["/sitemap.xml"] = sitemapOf("https://a.example/1", "https://a.example/2")
	refused := false
	i.refuse = func() error {
		if !refused {
			refused = true
			return errors.New("full")
		}
		return nil
	}
	if diff := cmp.Diff([]string{"/1 desktop", "/2 desktop"}, i.tick(t.Context())); diff != "" || !refused {
		t.Errorf("queued (-want +got):\n%s", diff)
	}
}

// failing is a store of pages that is down for a while.
type failing struct {
	prerender.Store
	down bool
}

func (f *failing) List(ctx context.Context, site prerender.Origin, after prerender.Key, found func(prerender.Listed) bool) error {
	if f.down {
		return errors.New("throttled")
	}
	return f.Store.List(ctx, site, after, found)
}

// A job outlives a store that fails and a process that ends, and does everything once.
func TestJobGoesOn(t *testing.T) {
	t.Parallel()
	i := installed(t)
	store := &failing{Store: i.store, down: true}
	i.Plane.Pages = store
	var want []string
	for n := range 30 {
		i.made(fmt.Sprintf("/%02d", n), i.clock.Add(-time.Hour), i.clock.Add(-time.Hour))
		want = append(want, fmt.Sprintf("/%02d desktop", n))
	}
	i.made("/idle", i.clock.Add(-time.Hour), i.clock.Add(-40*24*time.Hour))
	by := control.By{Actor: "me"}
	if _, err := i.Plane.PutSite(t.Context(), by, "site.create", prerender.Site{}, i.site); err != nil {
		t.Fatal(err)
	}
	i.site.Warming.Sitemaps = nil // only the job
	ordered, err := i.Plane.Purge(t.Context(), by, "a.example", control.PurgeOrder{Again: true})
	if err != nil {
		t.Fatal(err)
	}
	job := func() control.Job {
		t.Helper()
		job, err := i.Plane.Job(t.Context(), ordered.ID)
		if err != nil {
			t.Fatal(err)
		}
		return job
	}
	if err := i.Tick(t.Context()); err == nil || job().State.Over() {
		t.Errorf("with a store that fails: %v, %+v", err, job())
	}
	store.down = false
	var all []string
	for _, cut := range []int{10, 1000} {
		ctx, cancel := context.WithCancel(t.Context())
		i.refuse = func() error {
			if len(i.queued) == cut-1 {
				cancel()
			}
			return nil
		}
		all = append(all, i.tick(ctx)...)
		cancel()
	}
	if diff := cmp.Diff(want, all); diff != "" {
		t.Errorf("queued (-want +got):\n%s", diff)
	}
	if j := job(); j.State != control.Done || j.Progress.Pages[prerender.Queued] != 30 || j.Progress.Pages[prerender.Idle] != 1 {
		t.Errorf("got %+v", j)
	}
	if open, err := i.Plane.OpenJobs(t.Context()); err != nil || len(open) != 0 {
		t.Errorf("open: %+v, %v", open, err)
	}
	// One that makes no sense has failed; one of a page whose process has ended is done.
	if _, err := i.Plane.Warm(t.Context(), by, "gone.example", control.WarmOrder{}); err != nil {
		t.Fatal(err)
	}
	if _, err := i.Plane.OrderPage(t.Context(), by, control.RenderJob, "a.example", control.PageOrder{URL: "https://a.example/x"}); err != nil {
		t.Fatal(err)
	}
	i.tick(t.Context())
	if len(i.renewed) != 0 {
		t.Errorf("whoever has ordered a page is not given the time to make it: %q", i.renewed)
	}
	i.clock = i.clock.Add(2 * time.Minute)
	i.tick(t.Context())
	states := map[control.JobKind]control.JobState{}
	i.Plane.Jobs(t.Context(), "", func(j control.Job) bool { states[j.Kind] = j.State; return true })
	if states[control.WarmJob] != control.Failed || states[control.RenderJob] != control.Done || len(i.renewed) != 1 {
		t.Errorf("got %v, renewed %q", states, i.renewed)
	}
}
