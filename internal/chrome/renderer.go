// Package chrome renders pages with Chromium: the browser's life (renderer.go,
// browser.go, keeper.go), the load of one page (load.go), when it is finished
// (ready.go), and its HTML (serialise.js). It stores nothing and knows no
// crawlers. All of Chromium's traffic goes through the proxy it is given.
package chrome

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
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

	// Egress is required.
	Egress Egress

	// Concurrency is how many pages are rendered at once. Zero: two a core,
	// since half of a render is waiting for the site.
	Concurrency int

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
	starting *starting // the start under way, or nil
	closed   bool
	stats    Stats
}

// starting is a start of Chromium that several renders may wait for. err is to
// be read after done is closed.
type starting struct {
	done chan struct{}
	err  error
}

// startPause is the least time between two starts of a Chromium that fails.
const startPause = time.Second

// Stats count what a renderer has done.
type Stats struct {
	Running  bool  `json:"running"`
	Starts   int   `json:"starts"`  // of Chromium; more than one: it died
	Renders  int64 `json:"renders"` // finished, well or not
	InFlight int   `json:"inFlight"`
	Capacity int   `json:"capacity"`
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
	if config.Blocked == nil {
		config.Blocked = DefaultBlocked
	}
	if config.Log == nil {
		config.Log = slog.Default()
	}
	sweep(time.Now())
	r := &Renderer{config: config, places: make(chan struct{}, config.Concurrency)}
	r.life, r.end = context.WithCancel(context.Background())
	if _, err := r.browser(ctx); err != nil {
		r.Close()
		return nil, err
	}
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
}

// Capture renders a page and returns all that is known of it.
func (r *Renderer) Capture(ctx context.Context, page prerender.Page, options Options) (*Capture, error) {
	if err := r.takePlace(ctx); err != nil {
		return nil, err
	}
	var p *process
	var used *tab
	var capture *Capture
	var err error
	defer func() {
		r.mu.Lock()
		r.stats.Renders++
		r.mu.Unlock()
		go func() {
			if used != nil && !p.isLost() {
				p.giveBack(used, err == nil && capture.Partial == "")
			}
			<-r.places
		}()
	}()

	// A browser that dies takes all its pages along, and so does one of its
	// processes. They are innocent but for one, so each gets a second chance.
	for attempt := 1; ; attempt++ {
		if p, err = r.browser(ctx); err != nil {
			return nil, err
		}
		capture, used, err = r.capture(ctx, p, page, options)
		died := p.isLost() || used != nil && used.dead.Load()
		if !died || err == nil {
			return capture, err
		}
		if used != nil && !p.isLost() {
			p.giveBack(used, false)
		}
		used = nil
		if errors.Is(err, errDeadTab) && ctx.Err() == nil {
			attempt-- // it was dead before the page came
			continue
		}
		if attempt == 2 || ctx.Err() != nil {
			return nil, fmt.Errorf("%w: Chromium died at attempt %d: %w", prerender.ErrRendererDown, attempt, err)
		}
	}
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
	p := r.process
	r.mu.Unlock()
	if p != nil {
		p.stop()
	}
	return nil
}

// browser returns the running Chromium, a new one if need be. Starting one is
// the work of one goroutine, so that nobody waits longer than their context.
func (r *Renderer) browser(ctx context.Context) (*process, error) {
	for {
		r.mu.Lock()
		if r.closed {
			r.mu.Unlock()
			return nil, fmt.Errorf("renderer is closed: %w", prerender.ErrStopping)
		}
		if p := r.process; p != nil && !p.isLost() {
			r.mu.Unlock()
			return p, nil
		}
		if r.starting == nil {
			r.starting = &starting{done: make(chan struct{})}
			go r.start(r.starting, r.process)
		}
		start := r.starting
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

// start puts a new Chromium in the place of one that died, or of none.
func (r *Renderer) start(s *starting, dead *process) {
	if dead != nil {
		r.config.Log.Error("Chromium died; starting another", "pid", dead.pid)
		dead.stop()
	}
	p, err := startProcess(r.life, r.config.Binary, r.config.Egress.Addr(), r.config.Log)
	r.mu.Lock()
	r.process, s.err = p, err
	if err == nil {
		r.stats.Starts++
		r.starting = nil
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
	r.config.Log.Info("Chromium started", "pid", p.pid, "version", p.product)
	<-p.lost
	r.browser(context.Background()) // so that no page has to wait for the next one
}
