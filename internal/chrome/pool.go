package chrome

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/fetch"
	"github.com/chromedp/cdproto/heapprofiler"
	"github.com/chromedp/cdproto/inspector"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/cdproto/storage"

	"github.com/stillpage/stillpage/internal/prerender"
)

const (
	// tabTimeout is how long a healthy Chromium may take to open a tab. It needs a
	// tenth of a second; a machine with all its cores busy, one or two.
	tabTimeout = 5 * time.Second

	// tidyTimeout is the same for cleaning one.
	tidyTimeout = 3 * time.Second

	// tabUses is how many pages a tab serves: far more than it takes to be warm,
	// far fewer than it takes to leak.
	tabUses = 500

	// leastTabs are kept also by a renderer with one place, as in Lambda: a site's pages
	// come in turns for desktop and mobile, and each would find the other's tab.
	leastTabs = 2

	// collectEvery is after how many pages a tab's garbage is collected. Chromium
	// would do it when the page is idle, which none here ever is: without it, four
	// tabs held 770 MB after 300 pages of a React app. It is 3 % of the work.
	// V8's own gc would be cheaper, but to have it is to give it to workers, where
	// it writes files.
	collectEvery = 10
)

// tabKind is what a tab is kept for: pages of one site, for one device. The
// scripts that it has fetched and compiled are those of the site.
type tabKind struct {
	origin   prerender.Origin
	device   prerender.Device
	language string
	realTime bool // a clock that was virtual once stands still for ever
	painted  bool // frames are made, which nobody looks at but who takes a picture
}

func kindOf(page prerender.Page, options Options) tabKind {
	rule := page.Rule.Rendering
	return tabKind{
		origin: page.Site.Origin, device: page.Device, language: rule.Language,
		realTime: rule.RealTime, painted: rule.RealTime || options.Screenshot,
	}
}

// pool keeps the tabs of one Chromium from page to page. Tabs in use are bounded
// by the renderer's places, and with the idle ones by mostTabs.
type pool struct {
	mu   sync.Mutex
	idle []*tab // the one used last is the last
	open int    // idle and in use
}

// take returns an idle tab of the kind, or nil. In that case there is room for
// a new one, and evicted is to be closed first if it is not nil.
func (p *pool) take(kind tabKind, most int) (t, evicted *tab) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, t := range slices.Backward(p.idle) {
		if t.kind == kind {
			p.idle = slices.Delete(p.idle, i, i+1)
			return t, nil
		}
	}
	if p.open >= most && len(p.idle) > 0 {
		evicted = p.idle[0]
		p.idle = slices.Delete(p.idle, 0, 1)
		p.open--
	}
	p.open++
	return nil, evicted
}

func (p *pool) put(t *tab) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.idle = append(p.idle, t)
}

// drop makes room for a tab that is closed, or could not be opened.
func (p *pool) drop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.open--
}

func mostTabs(places int) int { return max(places, leastTabs) }

// tab returns a clean tab for the page, warm if there is one. A Chromium that
// opens none is killed: one that has lost its zygote answers commands, and never
// starts another page.
func (r *Renderer) tab(ctx context.Context, p *process, kind tabKind) (*tab, error) {
	for {
		t, evicted := p.tabs.take(kind, mostTabs(cap(r.places)))
		if evicted != nil {
			go evicted.close()
		}
		if t == nil {
			break
		}
		if !t.dead.Load() {
			return t, nil
		}
		p.tabs.drop()
		go t.close()
	}
	for {
		tabCtx, cancel := context.WithTimeout(ctx, tabTimeout)
		t, err := newTab(tabCtx, p, kind, r.config.Blocked)
		late := tabCtx.Err() != nil
		cancel()
		if err == nil {
			return t, nil
		}
		if late && ctx.Err() == nil && !p.isLost() && time.Since(time.Unix(0, p.lastTab.Load())) <= tabTimeout {
			continue // another tab was opened meanwhile, so Chromium is merely slow
		}
		p.tabs.drop()
		if ctx.Err() != nil {
			return nil, deadlineIs(prerender.ErrRenderTimeout, err)
		}
		if late && !p.isLost() {
			r.config.Log.ErrorContext(ctx, "Chromium opens no tab; killing it", "pid", p.pid, "after", tabTimeout)
			p.stop()
		}
		return nil, fmt.Errorf("%w: %w", prerender.ErrRendererDown, err)
	}
}

// giveBack takes a tab after a page. One that the page has left in doubt is
// closed; others are cleaned, after the answer is on its way.
func (p *process) giveBack(t *tab, healthy bool) {
	left := t.leave()
	t.uses++
	if healthy && t.uses < tabUses {
		ctx, cancel := context.WithTimeout(t.ctx, tidyTimeout)
		defer cancel()
		if t.uses%collectEvery == 0 {
			t.target.Call(ctx, heapprofiler.CollectGarbage.Method, cdp.Empty{}, nil)
		}
		err := t.tidy(ctx, left)
		if err == nil {
			p.tabs.put(t)
			return
		}
		if ctx.Err() == nil && !p.isLost() {
			p.log.Warn("a tab could not be cleaned, and is closed", "pid", p.pid, "err", err)
		}
	}
	p.tabs.drop()
	go t.close()
}

// blankPath names a blank page of the site's own origin. about:blank would cost
// a new process each time.
const blankPath = "/.stillpage-blank"

// tidy removes what a page can leave behind in its tab. Scripts, styles and images stay in
// the HTTP cache. The blank page comes first: the page's last words (unload,
// pagehide) would be written otherwise. A page that has left no traces stays,
// with its clock stopped, until the next one takes its place: that saves half of
// a small page's cost.
func (t *tab) tidy(ctx context.Context, left remains) error {
	if !left.traces && !t.kind.realTime { // whose clock cannot be stopped
		if err := t.emptyCache(ctx, left); err != nil {
			return err
		}
		// Cookies that scripts cannot see.
		_, err := cdp.Call(ctx, t.target, network.ClearBrowserCookies, cdp.Empty{})
		return err
	}
	if err := t.blank(ctx); err != nil {
		return fmt.Errorf("blank page: %w", err)
	}
	if err := t.emptyCache(ctx, left); err != nil {
		return err
	}
	// Session storage and the window's name belong to the tab. Local storage is
	// also kept in its process, where an order from outside may come before the
	// page's last words; and reading cookies returns when those have been set.
	const clear = "localStorage.clear(); sessionStorage.clear(); window.name = ''; document.cookie"
	if _, err := cdp.Call(ctx, t.target, runtime.Evaluate, runtime.EvaluateParams{Expression: clear}); err != nil {
		return fmt.Errorf("local storage: %w", err)
	}
	if _, err := cdp.Call(ctx, t.target, network.ClearBrowserCookies, cdp.Empty{}); err != nil {
		return fmt.Errorf("cookies: %w", err)
	}
	for _, origin := range left.origins {
		if _, err := cdp.Call(ctx, t.target, storage.ClearDataForOrigin, storage.ClearDataForOriginParams{
			Origin: origin, StorageTypes: "all",
		}); err != nil {
			return fmt.Errorf("storage: %w", err)
		}
		if left.site == "" {
			continue
		}
		// Chromium's notation of a key: the origin, and the site in whose page it is; or that
		// a frame of another site is between two of the same (third_party/blink/common/storage_key).
		keys := []string{origin + "/^31"}
		if siteOf(origin) != left.site {
			keys = append(keys, origin+"/^0"+left.site)
		}
		for _, key := range keys {
			if _, err := cdp.Call(ctx, t.target, storage.ClearDataForStorageKey, storage.ClearDataForStorageKeyParams{
				StorageKey: key, StorageTypes: "all",
			}); err != nil {
				return fmt.Errorf("storage of %s: %w", key, err)
			}
		}
	}
	if _, err := cdp.Call(ctx, t.target, page.ResetNavigationHistory, cdp.Empty{}); err != nil {
		return fmt.Errorf("history: %w", err)
	}
	return nil
}

// emptyCache forgets what scripts were told; what may be reused goes with it.
func (t *tab) emptyCache(ctx context.Context, left remains) error {
	if !left.cached {
		return nil
	}
	if _, err := cdp.Call(ctx, t.target, network.ClearBrowserCache, cdp.Empty{}); err != nil {
		return fmt.Errorf("cache: %w", err)
	}
	return nil
}

// blank shows a page that exists in the browser only.
func (t *tab) blank(ctx context.Context) error {
	url := t.kind.origin.String() + blankPath
	if err := t.target.Call(ctx, fetch.Enable.Method, fetch.EnableParams{Patterns: []*fetch.RequestPattern{{URLPattern: url}}}, nil); err != nil {
		return err
	}
	res, err := cdp.Call(ctx, t.target, page.Navigate, page.NavigateParams{URL: url})
	if err != nil {
		return err
	}
	if res.ErrorText != "" {
		return errors.New(res.ErrorText)
	}
	return t.target.Call(ctx, fetch.Disable.Method, cdp.Empty{}, nil)
}

// onEvent serves the blank page, which nobody else is asked for.
func (t *tab) onEvent(ev any) {
	if _, ok := ev.(*inspector.EventTargetCrashed); ok {
		t.dead.Store(true)
	}
	if l := t.load.Load(); l != nil {
		l.onEvent(ev)
		return
	}
	if ev, ok := ev.(*fetch.EventRequestPaused); ok {
		go t.target.Call(t.ctx, fetch.FulfillRequest.Method, fetch.FulfillRequestParams{
			RequestID: ev.RequestID, ResponseCode: 200,
			ResponseHeaders: []*fetch.HeaderEntry{{Name: "Content-Type", Value: "text/html"}, {Name: "Cache-Control", Value: "no-store"}},
			Body:            []byte("<!DOCTYPE html>"),
		}, nil)
	}
}
