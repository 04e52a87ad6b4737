package chrome

import (
	"context"
	_ "embed"
	"fmt"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/css"
	"github.com/chromedp/cdproto/dom"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/fetch"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"

	"github.com/stillpage/stillpage/internal/prerender"
)

//go:embed prelude.js
var prelude string

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

// leave ends that. It returns the origins of the documents that were shown, and
// whether they may have left something behind.
func (t *tab) leave() (origins []string, traces bool) {
	l := t.load.Swap(nil)
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Collect(maps.Keys(l.origins)), l.traces || len(l.inFlight) > 0 || l.reloads > 0
}

// newTab opens a tab and sets it up for a kind of pages.
func newTab(ctx context.Context, p *process, kind tabKind, blocked []string) (*tab, error) {
	tabCtx, closeTab := chromedp.NewContext(p.ctx, chromedp.WithNewBrowserContext())
	// The tab lives as long as the context of its first call, which must
	// therefore not be the render's. And a tab that is given up in the middle of
	// being made is nobody's to close, so its making always goes to its end.
	opened := make(chan error, 1)
	go func() { opened <- chromedp.Do(tabCtx) }()
	select {
	case err := <-opened:
		t := &tab{kind: kind, ctx: tabCtx, target: chromedp.FromContext(tabCtx).Target, close: closeTab}
		if err == nil {
			err = t.setUp(ctx, p, blocked)
		}
		if err != nil {
			go closeTab()
			return nil, fmt.Errorf("open tab: %w", err)
		}
		p.lastTab.Store(time.Now().UnixNano())
		return t, nil
	case <-ctx.Done():
		go func() {
			<-opened
			closeTab()
		}()
		return nil, fmt.Errorf("open tab: %w", context.Cause(ctx))
	}
}

func (t *tab) setUp(ctx context.Context, p *process, blocked []string) error {
	if err := chromedp.Listen(t.ctx, t.onEvent); err != nil {
		return err
	}
	isMobile := t.kind.device == prerender.Mobile
	view, agent := desktopViewport, p.userAgent
	if isMobile {
		view, agent = mobileViewport, fmt.Sprintf(mobileUserAgent, p.product)
	}
	document := func(stage fetch.RequestStage) *fetch.RequestPattern {
		return &fetch.RequestPattern{ResourceType: network.ResourceTypeDocument, RequestStage: stage}
	}
	commands := []struct {
		method string
		params any
	}{
		// chromedp follows the DOM for its queries, which are not used here.
		{dom.Disable.Method, cdp.Empty{}},
		{css.Disable.Method, cdp.Empty{}},
		{log.Disable.Method, cdp.Empty{}},
		// Bodies are not asked for again, so they need not be kept.
		{network.Enable.Method, network.EnableParams{MaxTotalBufferSize: new(int64), MaxResourceBufferSize: new(int64)}},
		{page.AddScriptToEvaluateOnNewDocument.Method, page.AddScriptToEvaluateOnNewDocumentParams{Source: prelude}},
		{network.SetBypassServiceWorker.Method, network.SetBypassServiceWorkerParams{Bypass: true}},
		{network.SetBlockedURLs.Method, blockParams(blocked)},
		{emulation.SetUserAgentOverride.Method, emulation.SetUserAgentOverrideParams{
			UserAgent: agent + ownUserAgent, AcceptLanguage: "en-US,en"}},
		{emulation.SetDeviceMetricsOverride.Method, emulation.SetDeviceMetricsOverrideParams{
			Width: view.width, Height: view.height, DeviceScaleFactor: view.scale, Mobile: isMobile}},
		{fetch.Enable.Method, fetch.EnableParams{Patterns: []*fetch.RequestPattern{
			document(fetch.RequestStageRequest), document(fetch.RequestStageResponse)}}},
	}
	for _, c := range commands {
		if err := t.target.Call(ctx, c.method, c.params, nil); err != nil {
			return fmt.Errorf("%s: %w", c.method, err)
		}
	}
	return nil
}
