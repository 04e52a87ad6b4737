package prerender_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
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

// The simulation lets crawlers ask several instances for pages, over days of
// virtual time, while the site, the store, the leases and the renderers fail at
// random, pages are purged and instances die; and holds every answer against the
// promises. More worlds:
//
//	go test -run Simulation ./internal/prerender -simulate 100000
var worlds = flag.Int("simulate", 100, "how many worlds to simulate")

// parts of the worlds run side by side.
const parts = 4

func TestSimulation(t *testing.T) {
	t.Parallel()
	total := counts{}
	var mu sync.Mutex
	t.Run("worlds", func(t *testing.T) { // returns when all parts have
		for part := range parts {
			t.Run(fmt.Sprint("part ", part), func(t *testing.T) {
				t.Parallel()
				for seed := part; seed < *worlds && !t.Failed(); seed += parts {
					synctest.Test(t, func(t *testing.T) {
						w := newWorld(uint64(seed))
						w.run(t.Context())
						for _, broken := range w.broken {
							t.Errorf("seed %d: %s", seed, broken)
						}
						mu.Lock()
						defer mu.Unlock()
						total.add(w.counts)
					})
				}
			})
		}
	})
	// A simulation in which nothing happens proves nothing.
	for what, n := range total {
		t.Logf("%-12s %d", what, n)
	}
	for _, what := range []string{"hit", "stale", "miss", "coalesced", "instead", "error", "partial", "crash", "outage", "takeover", "purge", "extended", "limited", "death", "flood"} {
		if total[what] == 0 {
			t.Errorf("in %d worlds, not once: %s", *worlds, what)
		}
	}
}

// The promises are not empty words: each is broken on purpose, and seen.
func TestSimulationNotices(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		breaks func(*world)
		want   string
	}{
		"leases for everybody":        {func(w *world) { w.everybodyHasLeases = true }, "at once"},
		"pages under other keys":      {func(w *world) { w.mixesKeys = true }, "of another page"},
		"a store that forgets":        {func(w *world) { w.forgets = true }, "although"},
		"partial pages look complete": {func(w *world) { w.hidesPartial = true }, "partial"},
		"limits that limit nothing":   {func(w *world) { w.hasNoLimits = true }, "the site's limit"},
		"clients without limits":      {func(w *world) { w.clientsHaveNone = true }, "its limit"},
		"places without end":          {func(w *world) { w.hasNoPlaces = true }, "places"},
		"late renders win":            {func(w *world) { w.ignoresFences = true }, "older"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			seen := false
			for seed := 0; seed < *worlds && !seen; seed++ {
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(uint64(seed))
					tt.breaks(w)
					w.run(t.Context())
					for _, broken := range w.broken {
						seen = seen || strings.Contains(broken, tt.want)
					}
				})
			}
			if !seen {
				t.Errorf("nobody has noticed in %d worlds", *worlds)
			}
		})
	}
}

type counts map[string]int

func (c counts) add(others counts) {
	for what, n := range others {
		c[what] += n
	}
}

// world is a site, its store, and the instances that serve it; store, leases and
// renderers fail at times.
type world struct {
	random *rand.Rand
	site   prerender.Site

	mu       sync.Mutex
	pages    map[prerender.Key]*prerender.Snapshot
	holders  map[prerender.Key]holder
	fence    int64
	marks    int
	making   map[prerender.Key]int       // renders under way
	unleased map[prerender.Key]time.Time // until when one may be under way without lease
	trouble  map[string]time.Time        // until when something fails
	instance []*node
	limits   prerender.MemoryLimiter
	renders  []begun // in the last ten minutes
	broken   []string
	counts   counts

	everybodyHasLeases, mixesKeys, forgets, hidesPartial, ignoresFences, hasNoLimits bool
	clientsHaveNone, hasNoPlaces                                                     bool
}

type holder struct {
	owner, mark string
	fence       int64
	until       time.Time // by the clock of who took it
	lasts       time.Duration
}

// begun is a render.
type begun struct {
	at     time.Time
	client string
}

// node is an instance, whose clock is not everybody's, and which dies: what it was
// doing then comes to nothing.
type node struct {
	*world
	service *prerender.Service
	skew    time.Duration
	dead    atomic.Bool
}

var errDead = errors.New("dead")

func (n *node) now() time.Time { return time.Now().Add(n.skew) }

func (n *node) Get(ctx context.Context, key prerender.Key) (*prerender.Snapshot, error) {
	if n.dead.Load() {
		return nil, errDead
	}
	return n.get(key, n.now())
}

func (n *node) Put(ctx context.Context, key prerender.Key, snap *prerender.Snapshot) error {
	if n.dead.Load() {
		return errDead
	}
	return n.put(key, snap)
}

func (n *node) Acquire(_ context.Context, key prerender.Key, d time.Duration, mark string) (prerender.Lease, error) {
	if n.dead.Load() {
		return prerender.Lease{}, errDead
	}
	return n.acquire(key, d, mark, n.now())
}

func (n *node) Extend(_ context.Context, l prerender.Lease, d time.Duration) error {
	if n.dead.Load() {
		return errDead
	}
	return n.extend(l, d, n.now())
}

func (n *node) Release(_ context.Context, l prerender.Lease) error {
	if n.dead.Load() {
		return errDead
	}
	return n.release(l)
}

func (n *node) Render(ctx context.Context, page prerender.Page) (*prerender.Rendering, error) {
	if n.dead.Load() {
		return nil, prerender.ErrStopping
	}
	return n.render(ctx, page, &n.dead)
}

// List and Delete implement prerender.Store.
func (n *node) List(context.Context, prerender.Origin, prerender.Key, func(prerender.Listed) bool) error {
	panic("nobody does")
}
func (n *node) Delete(context.Context, ...prerender.Key) error { panic("nobody does") }

const (
	instances  = 3
	mostRender = 15 * time.Second // a service's Timeout
	sitePlaces = 2
	clients    = 3

	// mostSkew is by how much a clock is ahead or behind.
	mostSkew = 15 * time.Second
)

var (
	siteRate   = prerender.Rate{PerMinute: 2, Burst: 4}
	clientRate = prerender.Rate{PerMinute: 1, Burst: 3}
)

func newWorld(seed uint64) *world {
	origin, err := prerender.ParseOrigin("https://a.example")
	if err != nil {
		panic(err)
	}
	w := &world{
		random: rand.New(rand.NewPCG(seed, 1)), pages: map[prerender.Key]*prerender.Snapshot{}, holders: map[prerender.Key]holder{},
		making: map[prerender.Key]int{}, unleased: map[prerender.Key]time.Time{}, trouble: map[string]time.Time{}, counts: counts{},
		site: prerender.Site{Origin: origin, Settings: prerender.Settings{
			Lifetimes: prerender.Lifetimes{Success: &prerender.Lifetime{Fresh: 10 * time.Minute, Stale: 20 * time.Minute, IfError: time.Hour}},
			Limits:    &prerender.LimitRule{Site: siteRate, Client: clientRate, Concurrency: sitePlaces},
		}},
	}
	for range instances {
		w.instance = append(w.instance, w.newInstance())
	}
	return w
}

func (w *world) newInstance() *node {
	n := &node{world: w, skew: time.Duration(w.random.Int64N(int64(2*mostSkew))) - mostSkew}
	studio := &prerender.Studio{Renderer: n, Store: n, Now: n.now, Log: quiet}
	n.service = &prerender.Service{
		Store: n, Leases: n, Limiter: limiter{w}, Maker: studio, Queue: renewer{w}, Timeout: mostRender, Now: n.now, Log: quiet,
	}
	return n
}

// renewer renders what is queued at once, on any instance.
type renewer struct{ *world }

func (r renewer) Enqueue(ctx context.Context, page prerender.Page) error {
	go r.pick().service.Renew(context.WithValue(context.WithoutCancel(ctx), clientKey{}, ""), page)
	return nil
}

func (w *world) pick() *node {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.instance[w.random.IntN(instances)]
}

// run is two hours of a world.
func (w *world) run(ctx context.Context) {
	var all sync.WaitGroup
	for begin := time.Now(); time.Since(begin) < 2*time.Hour; {
		w.event()
		for range 1 + w.number(3) {
			all.Go(func() { w.ask(ctx, fmt.Sprintf("/%d", w.number(5)), fmt.Sprint("client ", w.number(clients))) })
		}
		if w.number(20) == 0 { // somebody makes addresses up
			w.note("flood")
			for range 60 {
				all.Go(func() { w.ask(ctx, fmt.Sprintf("/made-up-%d", w.number(1_000_000)), "client 0") })
				time.Sleep(5 * time.Second)
			}
		}
		time.Sleep(time.Duration(w.number(120_000)) * time.Millisecond)
	}
	all.Wait()
	for _, instance := range w.instance {
		instance.service.Wait(ctx)
	}
	time.Sleep(time.Minute) // for renders of instances that are no more
}

func (w *world) note(what string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.counts[what]++
}

func (w *world) number(n int) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.random.IntN(n)
}

// event lets something happen, or not.
func (w *world) event() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, what := range []string{"outage", "store", "leases", "crash", "slow"} {
		if w.random.IntN(30) == 0 {
			w.trouble[what] = time.Now().Add(time.Duration(w.random.IntN(20)) * time.Minute)
			w.counts[what]++
		}
	}
	if w.random.IntN(40) == 0 { // an instance dies, and another comes
		i := w.random.IntN(instances)
		w.instance[i].dead.Store(true)
		w.instance[i] = w.newInstance()
		w.counts["death"]++
	}
	if w.random.IntN(40) == 0 {
		site, err := w.site.WithPurge(prerender.Purge{Hard: w.random.IntN(2) == 0}, time.Now())
		if err != nil {
			panic(err)
		}
		site.Version++
		w.site = site
		w.counts["purge"]++
	}
}

func (w *world) fails(what string) bool { return time.Now().Before(w.trouble[what]) }

// promise notes a broken one.
func (w *world) promise(kept bool, format string, args ...any) {
	if !kept {
		w.broken = append(w.broken, fmt.Sprintf(format, args...))
	}
}

// ask is a crawler's request, and what was promised to it.
func (w *world) ask(ctx context.Context, path, client string) {
	w.mu.Lock()
	site := w.site
	page, err := site.Page(path, prerender.Viewer{})
	if err != nil {
		panic(err)
	}
	patience := time.Duration(w.random.IntN(2)) * 4 * time.Second
	stored, had := w.pages[page.Key]
	w.mu.Unlock()
	begin := time.Now()
	instance := w.pick()
	ctx = context.WithValue(ctx, clientKey{}, client)
	answer, err := instance.service.Answer(ctx, prerender.Request{Page: page, Patience: patience, Client: client})

	if instance.dead.Load() {
		return // nobody hears it
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	life := page.Rule.Lifetime(200, nil)
	storeFails := w.trouble["store"].After(begin) // at some time since
	// Whatever the clocks say, and beside the render that it may have waited for.
	const tolerance = 2*mostSkew + mostRender
	if err != nil {
		w.counts["error"]++
		if errors.Is(err, prerender.ErrLimited) {
			w.counts["limited"]++
		}
		// A page that may still be answered is.
		usable := had && stored.SiteVersion >= hardest(site) && begin.Sub(stored.RenderedAt) <= life.Whole()-tolerance && !storeFails
		w.promise(!usable, "error %v although a page of %v was stored", err, stored)
		w.promise(time.Since(begin) <= 16*time.Second, "an error after %v", time.Since(begin))
		return
	}
	w.counts[string(answer.Source)]++
	if answer.Instead != nil {
		w.counts["instead"]++
	}
	body, err := answer.Body()
	if err != nil {
		panic(err)
	}
	w.promise(strings.Contains(string(body), " of "+page.URL+" "), "%s: got %q of another page", page.URL, body)
	w.promise(strings.Contains(string(body), "partial") == (answer.Partial != ""), "%s: %q is partial, and the answer says %q", page.URL, body, answer.Partial)
	switch answer.Source {
	case prerender.Hit, prerender.StaleHit:
		w.promise(answer.Partial == "", "a partial page was kept: %q", body)
		// One that was looked up in time may have waited for a render that failed.
		w.promise(answer.Age <= life.Whole()+tolerance, "answered at the age of %v", answer.Age)
		w.promise(answer.Source == prerender.StaleHit || answer.Age <= life.Fresh, "%v old and called fresh", answer.Age)
		w.promise(answer.SiteVersion >= hardest(site), "purged, and answered: version %d of %d", answer.SiteVersion, site.Version)
	}
	// Who asks for a stale page does not wait for a new one.
	if had && stored.SiteVersion >= hardest(site) && begin.Sub(stored.RenderedAt) <= life.Fresh+life.Stale-tolerance && !storeFails {
		w.promise(time.Since(begin) <= 100*time.Millisecond, "an answer after %v, although there was a stale page", time.Since(begin))
	}
	if patience > 0 {
		w.promise(time.Since(begin) <= patience+time.Second, "an answer after %v to who waits %v", time.Since(begin), patience)
	}
}

// hardest is the version of the last hard purge.
func hardest(site prerender.Site) (version int64) {
	for _, purge := range site.Purges {
		if purge.Hard {
			version = purge.Version
		}
	}
	return version
}

// render is prerender.Renderer's, on an instance that may die.
func (w *world) render(ctx context.Context, page prerender.Page, dead *atomic.Bool) (*prerender.Rendering, error) {
	w.mu.Lock()
	w.making[page.Key]++
	// A second render is right when the leases did not answer one of the two.
	w.promise(w.making[page.Key] == 1 || time.Now().Before(w.unleased[page.Key]), "%d renders of %s at once", w.making[page.Key], page.Key)
	client, _ := ctx.Value(clientKey{}).(string)
	w.renders = slices.DeleteFunc(append(w.renders, begun{time.Now(), client}), func(b begun) bool { return time.Since(b.at) > 10*time.Minute })
	n, own, together := len(w.renders), 0, 0
	for _, b := range w.renders {
		if b.client == client {
			own++
		}
	}
	for _, at := range w.making {
		together += at
	}
	// A render takes from its bucket a moment before it begins.
	w.promise(n <= siteRate.Burst+10*siteRate.PerMinute+1, "%d renders in ten minutes, and the site's limit is a burst of %d and %d a minute", n, siteRate.Burst, siteRate.PerMinute)
	w.promise(client == "" || own <= clientRate.Burst+10*clientRate.PerMinute+1, "%d renders in ten minutes for %s, and its limit is a burst of %d and %d a minute", own, client, clientRate.Burst, clientRate.PerMinute)
	w.promise(together <= sitePlaces, "%d renders at once, and the site has %d places", together, sitePlaces)
	took := time.Duration(100+w.random.IntN(2000)) * time.Millisecond
	if w.fails("slow") {
		took += time.Duration(w.random.IntN(14)) * time.Second
	}
	outage, crash, partial := w.fails("outage"), w.fails("crash") && w.random.IntN(2) == 0, w.random.IntN(10) == 0
	w.mu.Unlock()
	defer func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.making[page.Key]--
	}()
	for end := time.After(took); ; {
		select {
		case <-time.After(100 * time.Millisecond):
			if !dead.Load() {
				continue
			}
			return nil, prerender.ErrStopping // its browser has died with it
		case <-end:
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: %w", prerender.ErrRenderTimeout, ctx.Err())
		}
		break
	}
	switch {
	case crash:
		return nil, prerender.ErrRendererDown
	case outage:
		return nil, prerender.ErrOriginUnreachable
	}
	r := &prerender.Rendering{Status: 200, Header: http.Header{}, Content: &prerender.Content{Text: 1000, Title: page.URL}}
	what := "page"
	if partial {
		what = "partial"
		if !w.hidesPartial {
			r.Partial = "a request"
		}
		w.mu.Lock()
		w.counts["partial"]++
		w.mu.Unlock()
	}
	r.Body = fmt.Appendf(nil, "%s of %s of %v", what, page.URL, time.Now())
	return r, nil
}

// limiter is what all instances share.
type limiter struct{ *world }

func (l limiter) Take(ctx context.Context, name string, r prerender.Rate) (time.Duration, error) {
	if l.hasNoLimits && strings.HasPrefix(name, "site") || l.clientsHaveNone && strings.HasPrefix(name, "client") {
		return 0, nil
	}
	return l.limits.Take(ctx, name, r)
}

func (l limiter) Enter(ctx context.Context, name string, places int, d time.Duration) (func(context.Context) error, error) {
	if l.hasNoPlaces {
		places = 100
	}
	return l.limits.Enter(ctx, name, places, d)
}

// clientKey is under which a request's context has its client: a render is told who it is
// for by nothing else.
type clientKey struct{}

var errStore = errors.New("the store does not answer")

func (w *world) get(key prerender.Key, now time.Time) (*prerender.Snapshot, error) {
	time.Sleep(2 * time.Millisecond)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.fails("store") && w.random.IntN(2) == 0 {
		return nil, errStore
	}
	if w.mixesKeys && w.random.IntN(10) == 0 {
		key = "https://a.example/0 desktop"
	}
	snap, ok := w.pages[key]
	if !ok || now.After(snap.Expires) || w.forgets && w.random.IntN(3) == 0 {
		return nil, prerender.ErrNotFound
	}
	return snap, nil
}

func (w *world) put(key prerender.Key, snap *prerender.Snapshot) error {
	time.Sleep(4 * time.Millisecond)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.fails("store") && w.random.IntN(2) == 0 {
		return errStore
	}
	if old, ok := w.pages[key]; ok {
		if old.Fence > snap.Fence && !w.ignoresFences {
			w.counts["refused"]++
			return prerender.ErrSuperseded
		}
		w.promise(old.Fence <= snap.Fence, "a page was replaced by an older one, of fence %d by %d", old.Fence, snap.Fence)
	}
	w.pages[key] = snap
	return nil
}

func (w *world) acquire(key prerender.Key, d time.Duration, mark string, now time.Time) (prerender.Lease, error) {
	time.Sleep(3 * time.Millisecond)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.fails("leases") {
		w.unleased[key] = time.Now().Add(mostRender)
		return prerender.Lease{}, errStore
	}
	held := w.holders[key]
	if held.owner != "" && held.mark != mark && now.Before(held.until.Add(prerender.ClockTolerance)) && !w.everybodyHasLeases {
		return prerender.Lease{}, &prerender.LeasedError{Key: key, Mark: held.mark, For: held.lasts}
	}
	if held.owner != "" {
		w.counts["takeover"]++
	}
	w.fence++
	owner := fmt.Sprint("owner ", w.fence)
	w.holders[key] = holder{owner, w.newMark(), w.fence, now.Add(d), d}
	return prerender.Lease{Key: key, Owner: owner, Fence: w.fence}, nil
}

func (w *world) newMark() string {
	w.marks++
	return fmt.Sprint("mark ", w.marks)
}

func (w *world) extend(l prerender.Lease, d time.Duration, now time.Time) error {
	time.Sleep(3 * time.Millisecond)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.fails("leases") {
		w.unleased[l.Key] = time.Now().Add(mostRender)
		return errStore
	}
	if w.holders[l.Key].owner != l.Owner {
		return prerender.ErrLeased
	}
	w.counts["extended"]++
	w.holders[l.Key] = holder{l.Owner, w.newMark(), l.Fence, now.Add(d), d}
	return nil
}

func (w *world) release(l prerender.Lease) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.random.IntN(20) != 0 && w.holders[l.Key].owner == l.Owner { // or the call is lost
		delete(w.holders, l.Key)
	}
	return nil
}
