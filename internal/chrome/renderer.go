// Package chrome renders pages with Chromium: the browser's life (renderer.go,
// browser.go, keeper.go), the load of one page (load.go), when it is finished
// (ready.go, requests.go), and its HTML (serialise.js). It stores nothing and knows no
// crawlers. All of Chromium's traffic goes through the proxy it is given.
package chrome

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stillpage/stillpage/internal/prerender"
)

// Egress is the proxy that all of Chromium's traffic goes through.
type Egress interface {
	// Addr is the proxy's "host:port".
	Addr() string

	// Failure returns why connections to hostPort failed since the given time,
	// as one of the core's errors, or nil.
	Failure(hostPort string, since time.Time) error
}

// Config is what a Renderer is made of.
type Config struct {
	// Binary is Chromium's path. Empty: FindBinary looks for it.
	Binary string

	// Flags are added to Chromium's command line, each with its dashes: what the
	// machine asks for, such as "--no-sandbox" where the sandbox cannot be had.
	Flags []string

	// Egress is required.
	Egress Egress

	// Concurrency is how many pages are rendered at once. Zero: two a core,
	// since half of a render is waiting for the site.
	Concurrency int

	// MostRenders is after how many pages Chromium is replaced by a new one, and
	// MostMemory at how many bytes (process.memory). Zero: DefaultMostRenders, and
	// 200 MB and 100 MB more for each tab that is kept, about twice what it holds after
	// hundreds of pages of an ordinary app.
	MostRenders int
	MostMemory  int64

	// LongIdle is after what pause Chromium is asked whether it is alive: a machine
	// that was frozen meanwhile, as Lambda's are, may have lost it. Zero: 30 s.
	LongIdle time.Duration

	// TidyFirst has the answer wait until its tab is clean, for a machine that is
	// frozen between answers.
	TidyFirst bool

	// Blocked are URL patterns that pages must not load. Nil: DefaultBlocked.
	Blocked []string

	// Log gets the browser's life and death. Nil means slog.Default().
	Log *slog.Logger
}

// Renderer implements prerender.Renderer. It keeps one Chromium running, and
// starts another when that one dies.
type Renderer struct {
	config Config
	places chan struct{} // one is taken by each render

	life context.Context // ends with Close
	end  context.CancelFunc

	mu       sync.Mutex
	process  *process
	retired  []*process // others have taken their place; the last user ends them
	starting *starting  // the start under way, or nil
	closed   bool
	stats    Stats

	spent atomic.Int64 // processor time of Chromiums that were ended, in nanoseconds
}

// starting is a start of Chromium that several renders may wait for. err is to
// be read after done is closed.
type starting struct {
	done chan struct{}
	err  error
}

// DefaultMostRenders is far fewer than it takes to leak, and so many that the
// second which a start costs does not count.
const DefaultMostRenders = 10000

// memoryInterval is how many renders lie between two looks at memory,
// which take a millisecond.
const memoryInterval = 20

// mostDisk is half of the temporary storage of a Lambda function. Chromium's
// caches are in memory; what pages may write is in files.
const mostDisk = 256 << 20

// startPause is the least time between two starts of a Chromium that fails.
const startPause = time.Second

// Stats count what a renderer has done.
type Stats struct {
	Running  bool  `json:"running"`
	Starts   int   `json:"starts"`  // of Chromium
	Retired  int   `json:"retired"` // replaced by another in time; the other starts but one: it died
	Renders  int64 `json:"renders"` // finished, well or not
	InFlight int   `json:"inFlight"`
	Capacity int   `json:"capacity"`
}

// Usage is what Chromium takes of the machine.
type Usage struct {
	Memory    int64         // bytes that its processes do not share
	Processor time.Duration // that they, and those that have ended, have used
}

// Start returns a renderer whose Chromium is running.
func Start(ctx context.Context, config Config) (*Renderer, error) {
	if config.Binary == "" {
		path, err := FindBinary()
		if err != nil {
			return nil, err
		}
		config.Binary = path
	}
	if config.Concurrency <= 0 {
		config.Concurrency = 2 * runtime.NumCPU()
	}
	if config.MostRenders <= 0 {
		config.MostRenders = DefaultMostRenders
	}
	if config.MostMemory <= 0 {
		config.MostMemory = (200 + 100*int64(mostTabs(config.Concurrency))) << 20
	}
	if config.LongIdle <= 0 {
		config.LongIdle = 30 * time.Second
	}
	if config.Blocked == nil {
		config.Blocked = DefaultBlocked
	}
	if config.Log == nil {
		config.Log = slog.Default()
	}
	sweep(time.Now())
	r := &Renderer{config: config, places: make(chan struct{}, config.Concurrency)}
	r.life, r.end = context.WithCancel(context.Background())
	p, err := r.acquire(ctx)
	if err != nil {
		r.Close()
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	p.users--
	return r, nil
}

// Render implements prerender.Renderer.
func (r *Renderer) Render(ctx context.Context, page prerender.Page) (*prerender.Rendering, error) {
	capture, err := r.Capture(ctx, page, Options{})
	if err != nil {
		return nil, err
	}
	return capture.rendering(), nil
}

// Options are extras of a capture.
type Options struct {
	Screenshot bool // take a PNG of what the browser shows
	Work       bool // watch what takes the page's process its time, for some of it
}

// Capture renders a page and returns all that is known of it.
func (r *Renderer) Capture(ctx context.Context, page prerender.Page, options Options) (*Capture, error) {
	if err := r.takePlace(ctx); err != nil {
		return nil, err
	}
	defer func() {
		r.mu.Lock()
		r.stats.Renders++
		r.mu.Unlock()
	}()
	// A browser that dies takes all its pages along, and so does one of its
	// processes. They are innocent but for one, so each gets a second chance.
	spared := false // a browser that opened no tab was not held against the page
	for attempt := 1; ; attempt++ {
		p, err := r.acquire(ctx)
		if err != nil {
			<-r.places
			return nil, err
		}
		capture, used, err := r.capture(ctx, p, page, options)
		died := p.isLost() || used != nil && used.dead.Load()
		deadBefore := errors.Is(err, errDeadTab)
		if used == nil && !spared {
			deadBefore, spared = true, true // no tab was opened: the page has not begun
		}
		if err != nil && died && ctx.Err() == nil && (attempt == 1 || deadBefore) {
			r.release(p, used, false)
			if deadBefore {
				attempt--
			}
			continue
		}
		finish := func() {
			r.release(p, used, err == nil && capture.Partial == "")
			<-r.places
		}
		if r.config.TidyFirst {
			finish()
		} else {
			go finish() // the answer need not wait for the cleaning
		}
		if err != nil && died {
			return nil, fmt.Errorf("%w: Chromium died at attempt %d: %w", prerender.ErrRendererDown, attempt, err)
		}
		return capture, err
	}
}

// Warm opens the tab that a page will want, so that the page does not wait for it.
func (r *Renderer) Warm(ctx context.Context, page prerender.Page) error {
	if err := r.takePlace(ctx); err != nil {
		return err
	}
	defer func() { <-r.places }()
	p, err := r.acquire(ctx)
	if err != nil {
		return err
	}
	defer func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		p.users--
	}()
	t, err := r.tab(ctx, p, kindOf(page, Options{}))
	if err != nil {
		return fmt.Errorf("open a tab for %s: %w", page.URL, err)
	}
	p.tabs.put(t)
	return nil
}

// leastTime is what a render must have left when it gets its place: with less,
// it would take the place from others and come to nothing.
const leastTime = 4 * time.Second

// takePlace waits for a place as long as there is a use in it.
func (r *Renderer) takePlace(ctx context.Context) error {
	select {
	case r.places <- struct{}{}:
		return nil
	default:
	}
	ctx, cancel := withoutLast(ctx, leastTime)
	defer cancel()
	select {
	case r.places <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%d renders are under way: %w", cap(r.places), prerender.ErrBusy)
	}
}

// withoutLast ends d before ctx does, if ctx has a deadline.
func withoutLast(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	if deadline, ok := ctx.Deadline(); ok {
		return context.WithDeadline(ctx, deadline.Add(-d))
	}
	return context.WithCancel(ctx)
}

// Stats returns the counts so far.
func (r *Renderer) Stats() Stats {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.stats
	s.Running = r.process != nil && !r.process.isLost()
	s.InFlight, s.Capacity = len(r.places), cap(r.places)
	return s
}

// Usage looks at the Chromium that runs. On systems without /proc it is zero.
func (r *Renderer) Usage() Usage {
	r.mu.Lock()
	all := slices.Clone(r.retired)
	if r.process != nil {
		all = append(all, r.process)
	}
	u := Usage{Processor: time.Duration(r.spent.Load())} // with the lock: who is in the list is not in it
	r.mu.Unlock()
	for _, p := range all {
		u.Processor += p.processor()
		if !p.isLost() {
			u.Memory += p.memory()
		}
	}
	return u
}

// Close kills Chromium and returns when nothing of it is left. Renders in
// flight fail.
func (r *Renderer) Close() error {
	r.end()
	r.mu.Lock()
	r.closed = true
	start := r.starting
	r.mu.Unlock()
	if start != nil {
		<-start.done
	}
	r.mu.Lock()
	all := slices.Clone(r.retired)
	if r.process != nil {
		all = append(all, r.process)
	}
	r.mu.Unlock()
	for _, p := range all {
		p.stop()
	}
	return nil
}

// bury ends a Chromium that is retired.
func (r *Renderer) bury(p *process) {
	p.processor()
	p.stop()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.spent.Add(p.spent.Load())
	r.retired = slices.DeleteFunc(r.retired, func(o *process) bool { return o == p })
}

// acquire returns the running Chromium, a new one if need be, to be released.
// Starting one is the work of one goroutine, so that nobody waits longer than
// their context.
func (r *Renderer) acquire(ctx context.Context) (*process, error) {
	for {
		r.mu.Lock()
		if r.closed {
			r.mu.Unlock()
			return nil, fmt.Errorf("renderer is closed: %w", prerender.ErrStopping)
		}
		if p := r.process; p != nil && !p.isLost() {
			p.users++
			// By the wall: the monotonic clock stands still while a function is frozen.
			now := time.Now().Round(0)
			idle := now.Sub(p.used)
			p.used = now
			r.mu.Unlock()
			if (idle > r.config.LongIdle || idle < 0) && !p.answers(ctx) {
				r.config.Log.ErrorContext(ctx, "Chromium does not answer after a pause; killing it", "pid", p.pid, "idle", idle)
				p.stop()
				r.mu.Lock()
				p.users--
				r.mu.Unlock()
				continue
			}
			return p, nil
		}
		start := r.startAnother()
		r.mu.Unlock()

		select {
		case <-start.done:
			if start.err != nil {
				return nil, fmt.Errorf("%w: %w", prerender.ErrRendererDown, start.err)
			}
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for Chromium to start: %w", prerender.ErrRendererDown)
		}
	}
}

// release ends one use of a Chromium, with the tab that was used or nil, and has
// it replaced when it has grown old or large. Renders go on meanwhile, in the old
// one until the new one is there.
func (r *Renderer) release(p *process, used *tab, healthy bool) {
	if used != nil && !p.isLost() {
		p.giveBack(used, healthy)
	}
	r.mu.Lock()
	p.users--
	p.renders++
	renders := p.renders
	if p.users == 0 && slices.Contains(r.retired, p) {
		go r.bury(p)
	}
	r.mu.Unlock()
	tooLarge := p.disk() > mostDisk || renders%memoryInterval == 0 && p.memory() > r.config.MostMemory
	if !tooLarge && renders < r.config.MostRenders {
		return
	}
	r.mu.Lock()
	if p != r.process || r.starting != nil || r.closed || p.isLost() {
		r.mu.Unlock()
		return
	}
	r.config.Log.Info("Chromium is replaced", "pid", p.pid, "renders", renders, "tooLarge", tooLarge)
	now := r.config.TidyFirst && p.users == 0
	if now {
		// The machine is about to be frozen, and what is started beside is not ready then: the
		// next page would have the old one, and the disk that it has filled.
		r.process = nil
		r.stats.Retired++
		r.retired = append(r.retired, p)
	}
	r.startAnother()
	r.mu.Unlock()
	if now {
		r.bury(p)
	}
}

// startAnother has a Chromium started in the place of r.process, unless that is
// under way. r.mu is held.
func (r *Renderer) startAnother() *starting {
	if r.starting == nil {
		r.starting = &starting{done: make(chan struct{})}
		go r.start(r.starting, r.process)
	}
	return r.starting
}

// start puts a new Chromium in the place of an old one, or of none.
func (r *Renderer) start(s *starting, old *process) {
	if old != nil && old.isLost() {
		r.config.Log.Error("Chromium died; starting another", "pid", old.pid)
		old.stop()
	}
	p, err := startProcess(r.life, r.config.Binary, r.config.Egress.Addr(), r.config.Flags, r.config.Log)
	r.mu.Lock()
	s.err = err
	if err == nil {
		r.process = p
		r.stats.Starts++
		r.starting = nil
		if old != nil && old.isLost() {
			r.spent.Add(old.spent.Load())
		}
		if old != nil && !old.isLost() {
			r.stats.Retired++
			r.retired = append(r.retired, old)
			if old.users == 0 {
				go r.bury(old)
			}
		}
	}
	r.mu.Unlock()
	close(s.done)
	if err != nil {
		r.config.Log.Error("Chromium cannot be started", "err", err)
		// Until then, everybody gets this error.
		time.Sleep(startPause)
		r.mu.Lock()
		r.starting = nil
		r.mu.Unlock()
		return
	}
	r.config.Log.Info("Chromium started", "pid", p.pid, "product", p.product)
	<-p.lost
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.process == p && !r.closed {
		r.startAnother() // so that no page has to wait for it
	}
}
