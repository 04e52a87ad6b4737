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

	mu      sync.Mutex
	process *process
	closed  bool
	stats   Stats
}

// Stats count what a renderer has done.
type Stats struct {
	Running  bool  `json:"running"`
	Starts   int   `json:"starts"`  // of Chromium; more than one: it died
	Renders  int64 `json:"renders"` // finished, well or not
	InFlight int   `json:"inFlight"`
	Capacity int   `json:"capacity"`
}

// Start returns a renderer whose Chromium is running.
func Start(config Config) (*Renderer, error) {
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
	if _, err := r.browser(); err != nil {
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
	select {
	case r.places <- struct{}{}:
	case <-ctx.Done():
		return nil, fmt.Errorf("%d renders are under way: %w", cap(r.places), prerender.ErrBusy)
	}
	defer func() {
		r.mu.Lock()
		r.stats.Renders++
		r.mu.Unlock()
		<-r.places
	}()

	// A browser that dies takes all its pages along. They are innocent but for
	// one, so each gets a second chance in a new browser.
	for attempt := 1; ; attempt++ {
		p, err := r.browser()
		if err != nil {
			return nil, err
		}
		capture, err := r.capture(ctx, p, page, options)
		if !p.isLost() || err == nil {
			return capture, err
		}
		if attempt == 2 || ctx.Err() != nil {
			return nil, fmt.Errorf("%w: Chromium died twice over this page: %w", prerender.ErrRendererDown, err)
		}
	}
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
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	if r.process != nil {
		r.process.stop()
	}
	return nil
}

// browser returns the running Chromium, a new one if need be.
func (r *Renderer) browser() (*process, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil, fmt.Errorf("renderer is closed: %w", prerender.ErrStopping)
	}
	if r.process != nil && !r.process.isLost() {
		return r.process, nil
	}
	if r.process != nil {
		r.config.Log.Error("Chromium died; starting another", "pid", r.process.pid)
		r.process.stop()
		r.process = nil
	}
	p, err := startProcess(r.config.Binary, r.config.Egress.Addr(), r.config.Log)
	if err != nil {
		return nil, errors.Join(prerender.ErrRendererDown, err)
	}
	r.process = p
	r.stats.Starts++
	r.config.Log.Info("Chromium started", "pid", p.pid, "version", p.product)
	go r.replace(p)
	return p, nil
}

// replace starts another Chromium as soon as p is gone, so that no page has to
// wait for it. If that fails, the next page tries again.
func (r *Renderer) replace(p *process) {
	<-p.lost
	if _, err := r.browser(); err != nil && !errors.Is(err, prerender.ErrStopping) {
		r.config.Log.Error("Chromium cannot be started", "err", err)
	}
}
