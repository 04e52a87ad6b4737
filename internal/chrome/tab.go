package chrome

import (
	"cmp"
	"context"
	"embed"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/chromedp/cdproto/browser"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/css"
	"github.com/chromedp/cdproto/dom"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/cdproto/target"
	"github.com/chromedp/chromedp"

	"github.com/stillpage/stillpage/internal/prerender"
)

//go:embed prelude/*.js
var preludeFiles embed.FS

// prelude runs in every frame before the page's own scripts, in the page's world. A render
// has no person who looks, scrolls and waits, and its clock jumps (see ready.go). What a page
// would get from real frames it gets from timers here, and everything it watches for comes
// into view. Its parts are one function's, each with what those before it have declared.
var prelude = func() string {
	var b strings.Builder
	b.WriteString("(() => {\n")
	for _, part := range []string{"manners", "clock", "history", "frames", "observers", "waiting", "settle"} {
		text, err := preludeFiles.ReadFile("prelude/" + part + ".js")
		if err != nil {
			panic(err)
		}
		b.Write(text)
	}
	b.WriteString("})();\n")
	return b.String()
}()

// ownUserAgent is added to the browser's user agent. The edge lets it pass to
// the site (internal/useragent.OwnTokens), and site owners find it in their
// logs. "Prerender" is what the written contract of prerender's clients demands.
const ownUserAgent = " Prerender (Stillpage; +https://github.com/stillpage/stillpage)"

// viewport is the part of the page that the browser shows, in CSS pixels.
type viewport struct {
	width, height int64
	scale         float64
}

var (
	desktopViewport = viewport{1440, 900, 1}
	mobileViewport  = viewport{412, 915, 2.625} // a middling Android phone, as Googlebot Smartphone poses
)

const mobileUserAgent = "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) %s Mobile Safari/537.36"

// tab is a browser tab in a context of its own: no cookie, storage or cache is
// shared with another, also when both show the same site at once.
type tab struct {
	kind   tabKind
	ctx    context.Context
	target *chromedp.Target
	close  func() // returns when the tab is gone
	uses   int    // pages so far
	load   atomic.Pointer[load]
	dead   atomic.Bool // its process has crashed
}

// enter makes the tab's events the load's.
func (t *tab) enter(l *load) { t.load.Store(l) }

// remains are what a page may have left in its tab.
type remains struct {
	origins []string // of the documents that were shown
	site    string   // under whose key frames of others store
	traces  bool     // in storages, history or under way
	cached  bool     // answers to scripts in the HTTP cache
}

// leave ends that.
func (t *tab) leave() remains {
	l := t.load.Swap(nil)
	l.mu.Lock()
	l.left = true
	l.mu.Unlock()
	l.orders.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	if o, err := url.Parse(l.elsewhere); err == nil && l.elsewhere != "" {
		l.origins[o.Scheme+"://"+o.Host] = true // it may have come meanwhile
	}
	r := remains{
		origins: slices.Collect(maps.Keys(l.origins)), cached: l.cached,
		traces: l.traces || l.frames || len(l.inFlight) > 0 || l.reloads > 0,
	}
	for _, request := range l.inFlight {
		r.cached = r.cached || request.kind != network.ResourceTypeScript // its answer may still come
	}
	if l.frames {
		r.site = siteOf(l.url)
	}
	return r
}

// siteOf is the scheme and registered domain of an address, as Chromium writes it.
func siteOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	name := registered(u.Hostname())
	if strings.Contains(name, ":") {
		name = "[" + name + "]"
	}
	return u.Scheme + "://" + name
}

// newTab opens a tab and sets it up for a kind of pages.
func newTab(ctx context.Context, p *process, kind tabKind, blocked []string) (*tab, error) {
	// The tab lives as long as the context of its first call, which must
	// therefore not be the render's. And a tab that is given up in the middle of
	// being made is nobody's to close, so its making always goes to its end.
	type opened struct {
		tab *tab
		err error
	}
	done := make(chan opened, 1)
	go func() {
		t, err := p.openTab(kind)
		done <- opened{t, err}
	}()
	select {
	case o := <-done:
		if o.err != nil {
			return nil, fmt.Errorf("open tab: %w", o.err)
		}
		if err := o.tab.setUp(ctx, p, blocked); err != nil {
			go o.tab.close()
			return nil, fmt.Errorf("set up tab: %w", err)
		}
		p.lastTab.Store(time.Now().UnixNano())
		return o.tab, nil
	case <-ctx.Done():
		go func() {
			if o := <-done; o.err == nil {
				o.tab.close()
			}
		}()
		return nil, fmt.Errorf("open tab: %w", context.Cause(ctx))
	}
}

// openTab opens a tab in a context of its own.
func (p *process) openTab(kind tabKind) (*tab, error) {
	b := chromedp.FromContext(p.ctx).Browser
	own, err := cdp.Call(p.ctx, b, target.CreateBrowserContext, target.CreateBrowserContextParams{DisposeOnDetach: new(true)})
	if err != nil {
		return nil, err
	}
	deny := browser.SetDownloadBehaviorParams{Behavior: browser.SetDownloadBehaviorBehaviorDeny, BrowserContextID: own.BrowserContextID}
	dispose := func() {
		b.Call(p.ctx, target.DisposeBrowserContext.Method, target.DisposeBrowserContextParams(own), nil)
	}
	if _, err := cdp.Call(p.ctx, b, browser.SetDownloadBehavior, deny); err != nil {
		dispose()
		return nil, err
	}
	params := target.CreateTargetParams{
		URL: "about:blank", BrowserContextID: own.BrowserContextID, NewWindow: new(true),
		Width: desktopViewport.width, Height: desktopViewport.height,
		EnableBeginFrameControl: new(!kind.painted),
	}
	created, err := cdp.Call(p.ctx, b, target.CreateTarget, params)
	if err != nil && !kind.painted {
		params.EnableBeginFrameControl = nil // the headless shell alone has it
		created, err = cdp.Call(p.ctx, b, target.CreateTarget, params)
	}
	if err != nil {
		dispose()
		return nil, err
	}
	ctx, cancel := chromedp.NewContext(p.ctx, chromedp.WithTargetID(created.TargetID))
	t := &tab{kind: kind, ctx: ctx, close: func() { cancel(); dispose() }}
	if err := chromedp.Do(ctx); err != nil {
		t.close()
		return nil, err
	}
	t.target = chromedp.FromContext(ctx).Target
	return t, nil
}

// command is one to be sent to a tab.
type command struct {
	method string
	params any
}

func (t *tab) send(ctx context.Context, commands []command) error {
	for _, c := range commands {
		if err := t.target.Call(ctx, c.method, c.params, nil); err != nil {
			return fmt.Errorf("%s: %w", c.method, err)
		}
	}
	return nil
}

// interrupt ends a script that does not return within the longest time a task may take,
// so that what it has made can be taken, and says whether there may be one. A page that
// answers has none.
func (t *tab) interrupt(ctx context.Context, longest time.Duration) bool {
	answering, cancel := context.WithTimeout(ctx, longest)
	defer cancel()
	if _, err := cdp.Call(answering, t.target, runtime.Evaluate, runtime.EvaluateParams{Expression: "true"}); err == nil {
		return false
	}
	t.target.Call(ctx, runtime.TerminateExecution.Method, cdp.Empty{}, nil)
	return true
}

func (t *tab) setUp(ctx context.Context, p *process, blocked []string) error {
	if err := chromedp.Listen(t.ctx, t.onEvent); err != nil {
		return err
	}
	return t.send(ctx, append(t.poses(p, blocked), []command{
		// chromedp follows the DOM and other tabs, which is not used here.
		{dom.Disable.Method, cdp.Empty{}},
		{css.Disable.Method, cdp.Empty{}},
		{log.Disable.Method, cdp.Empty{}},
		{target.SetDiscoverTargets.Method, target.SetDiscoverTargetsParams{}},
		{target.SetAutoAttach.Method, target.SetAutoAttachParams{}},
		{page.SetLifecycleEventsEnabled.Method, page.SetLifecycleEventsEnabledParams{Enabled: t.kind.realTime}},
		// Bodies are not asked for again, so they need not be kept.
		{network.Enable.Method, network.EnableParams{MaxTotalBufferSize: new(int64), MaxResourceBufferSize: new(int64)}},
		{page.AddScriptToEvaluateOnNewDocument.Method, page.AddScriptToEvaluateOnNewDocumentParams{Source: prelude}},
		{network.SetBypassServiceWorker.Method, network.SetBypassServiceWorkerParams{Bypass: true}},
	}...))
}

// poses makes the tab the browser of the person that it poses as.
func (t *tab) poses(p *process, blocked []string) []command {
	isMobile := t.kind.device == prerender.Mobile
	view, agent, platform := desktopViewport, p.userAgent, "Linux"
	orientation := emulation.ScreenOrientation{Type: emulation.ScreenOrientationTypeLandscapePrimary}
	touch := emulation.SetTouchEmulationEnabledParams{}
	if isMobile {
		view, agent, platform = mobileViewport, fmt.Sprintf(mobileUserAgent, p.product), "Android"
		orientation.Type = emulation.ScreenOrientationTypePortraitPrimary
		touch = emulation.SetTouchEmulationEnabledParams{Enabled: true, MaxTouchPoints: 5}
	}
	_, version, _ := strings.Cut(p.product, "/")
	major, _, _ := strings.Cut(version, ".")
	return []command{
		{network.SetBlockedURLs.Method, blockParams(blocked)},
		{emulation.SetUserAgentOverride.Method, emulation.SetUserAgentOverrideParams{
			UserAgent: agent + ownUserAgent, AcceptLanguage: cmp.Or(t.kind.language, prerender.DefaultLanguage),
			UserAgentMetadata: &emulation.UserAgentMetadata{
				Brands: []*emulation.UserAgentBrandVersion{{Brand: "Chromium", Version: major}}, Platform: platform, Mobile: isMobile,
			}}},
		{emulation.SetTouchEmulationEnabled.Method, touch},
		// A still has no motion, and nobody's evening.
		{emulation.SetEmulatedMedia.Method, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
			{Name: "prefers-reduced-motion", Value: "reduce"}, {Name: "prefers-color-scheme", Value: "light"}}}},
		{emulation.SetDeviceMetricsOverride.Method, emulation.SetDeviceMetricsOverrideParams{
			Width: view.width, Height: view.height, DeviceScaleFactor: view.scale, Mobile: isMobile, ScreenOrientation: &orientation}},
	}
}
