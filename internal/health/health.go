// Package health says whether Stillpage can do its work: whether a page was rendered a
// moment ago, or else, whether one of its own can be; and, from outside, whether a site's
// bots get their pages.
package health

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/stillpage/stillpage/internal/prerender"
)

// Host is that of the page that is rendered when nothing else was. It is nobody's
// (RFC 6762 and 2606 keep .invalid and .test; browsers look at neither): the way to it is one
// of the egress proxy's Routes.
const Host = "health.stillpage.invalid"

//go:embed page.html
var page []byte

// rendered is what its script leaves, and nothing in its source has.
const rendered = "<p>3 of 3 parts are well.</p>"

// Site serves that page on this machine.
type Site struct {
	server   http.Server
	listener net.Listener
}

// Listen opens it on a free loopback port.
func Listen() (*Site, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen for the page of health: %w", err)
	}
	s := &Site{listener: listener, server: http.Server{Handler: own(), ReadHeaderTimeout: checkTime}}
	go s.server.Serve(listener)
	return s, nil
}

// Routes are the way to it, for the egress proxy.
func (s *Site) Routes() map[string]string {
	return map[string]string{Host + ":80": s.listener.Addr().String()}
}

// Close stops it.
func (s *Site) Close() error { return s.server.Close() }

// own serves the page, and the data that its script asks for.
func own() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Write(page)
	})
	mux.HandleFunc("GET /parts", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, `["fetch", "timer", "frame"]`)
	})
	return mux
}

const (
	// goodFor is for how long a render shows that the next one will succeed, and badFor
	// for how long a failure is answered without trying again.
	goodFor = 30 * time.Second
	badFor  = 5 * time.Second

	// checkTime is below the time that probes wait at most.
	checkTime = 8 * time.Second
)

// Check is a prerender.Renderer that knows whether it works.
type Check struct {
	prerender.Renderer

	// Now is the clock. Nil means time.Now.
	Now func() time.Time

	checking sync.Mutex // one at a time

	mu   sync.Mutex
	good time.Time // when a page was rendered last
	bad  time.Time // when Stillpage's own could not be
	err  error
}

// Render implements prerender.Renderer.
func (c *Check) Render(ctx context.Context, p prerender.Page) (*prerender.Rendering, error) {
	r, err := c.Renderer.Render(ctx, p)
	if err == nil && r.Partial == "" && r.Status < 500 {
		c.note(nil)
	}
	return r, err
}

// Healthy returns why no page can be rendered, or nil. It renders if none was within the last
// half minute.
func (c *Check) Healthy(ctx context.Context) error {
	c.checking.Lock()
	defer c.checking.Unlock()
	c.mu.Lock()
	good, bad, err := c.good, c.bad, c.err
	c.mu.Unlock()
	if since := c.now().Sub(good); since >= 0 && since < goodFor {
		return nil
	}
	if since := c.now().Sub(bad); since >= 0 && since < badFor {
		return err
	}
	return c.RenderOwn(ctx)
}

// RenderOwn renders Stillpage's own page, and returns why it cannot.
func (c *Check) RenderOwn(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, checkTime)
	defer cancel()
	site := prerender.Site{Origin: prerender.Origin{Scheme: "http", Host: Host}}
	p, err := site.Page("/", prerender.Viewer{})
	if err != nil {
		return err
	}
	r, err := c.Renderer.Render(ctx, p)
	switch {
	case err != nil:
	case r.Partial != "":
		err = fmt.Errorf("it was still waiting for %s", r.Partial)
	case !bytes.Contains(r.Body, []byte(rendered)):
		err = fmt.Errorf("status %d, and a page without what its script writes: %.300s", r.Status, r.Body)
	}
	if err != nil {
		err = fmt.Errorf("a page of Stillpage's own cannot be rendered: %w", err)
	}
	if errors.Is(err, prerender.ErrBusy) {
		return nil // all places are in use, each for a page that has its time: that says nothing
	}
	if ctx.Err() == nil || err == nil || errors.Is(err, prerender.ErrRenderTimeout) {
		c.note(err)
	}
	return err
}

// Last is what is known without rendering: why the last page could not be, or nil.
func (c *Check) Last() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

func (c *Check) note(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err == nil {
		c.good, c.bad, c.err = c.now(), time.Time{}, nil
		return
	}
	c.bad, c.err = c.now(), err
}

func (c *Check) now() time.Time {
	if c.Now != nil {
		return c.Now()
	}
	return time.Now()
}

// Handler answers GET /health/live, which says that this program answers, and GET
// /health/ready, whether it renders: 200, or 503 with the reason, and while draining says
// that it is about to end.
func (c *Check) Handler(draining func() bool) http.Handler {
	answer := func(w http.ResponseWriter, status int, text string) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		w.WriteHeader(status)
		json.NewEncoder(w).Encode(map[string]string{"status": text})
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /health/live", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, "ok") })
	mux.HandleFunc("GET /health/ready", func(w http.ResponseWriter, r *http.Request) {
		if draining() {
			answer(w, http.StatusServiceUnavailable, "draining")
			return
		}
		if err := c.Healthy(context.WithoutCancel(r.Context())); err != nil {
			answer(w, http.StatusServiceUnavailable, err.Error())
			return
		}
		answer(w, http.StatusOK, "ok")
	})
	return mux
}
