package chrome

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/fetch"
	"github.com/chromedp/cdproto/inspector"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/stillpage/stillpage/internal/prerender"
)

//go:embed serialise.js
var serialiser string

// serialised is the value of serialise.js.
type serialised struct {
	HTML    string      `json:"html"`
	Title   string      `json:"title"`
	Status  int         `json:"status"`
	Headers [][2]string `json:"headers"`
}

// reserve is the part of a render's time that is kept for taking the page as it
// is when it does not become ready.
const reserve = 2 * time.Second

// load is one page on its way into a tab.
type load struct {
	page    prerender.Page
	egress  Egress
	started time.Time
	tab     *tab

	changed chan struct{} // has a value when something below has changed

	mu       sync.Mutex
	asked    bool      // the document was asked for
	doc      *document // nil until the origin has answered
	err      error     // why the document cannot be had
	idle     bool      // no request for half a second, see ready
	crashed  bool
	inFlight map[network.RequestID]string // URLs
	blocked  []string
	failed   []Failure
	warnings []string
	requests int
	bytes    int64
}

// capture loads a page in a new tab of p and takes it when it is ready.
func (r *Renderer) capture(ctx context.Context, p *process, target prerender.Page, options Options) (_ *Capture, err error) {
	l := &load{
		page: target, egress: r.config.Egress, started: time.Now(),
		changed: make(chan struct{}, 1), inFlight: map[network.RequestID]string{},
	}
	watch := stopwatch{last: l.started}
	if l.tab, err = r.openTab(ctx, p, target.Device); err != nil {
		return nil, err
	}
	defer l.tab.close()
	if err := chromedp.Listen(l.tab.ctx, l.onEvent); err != nil {
		return nil, fmt.Errorf("%w: %w", prerender.ErrRendererDown, err)
	}
	watch.lap("tab")

	doc, err := l.navigate(ctx)
	watch.lap("navigate")
	if err != nil {
		return nil, err
	}
	c := &Capture{URL: target.URL, Status: doc.status, Header: doc.handedOn(), Body: doc.body}
	if !doc.final {
		if err := l.finish(ctx, c, &watch, options); err != nil {
			return nil, err
		}
	}
	c.Phases = watch.phases
	l.summarise(c)
	return c, nil
}

// tabTimeout is how long a healthy Chromium may take to open a tab. It needs a
// tenth of a second; a machine with all its cores busy, one or two.
const tabTimeout = 5 * time.Second

// openTab opens a tab, or kills a Chromium that does not: one that has lost its
// zygote answers commands, and never starts another page.
func (r *Renderer) openTab(ctx context.Context, p *process, device prerender.Device) (*tab, error) {
	tabCtx, cancel := context.WithTimeout(ctx, tabTimeout)
	defer cancel()
	t, err := newTab(tabCtx, p, device, r.config.Blocked)
	if err == nil {
		return t, nil
	}
	if ctx.Err() != nil {
		return nil, deadlineIs(prerender.ErrRenderTimeout, err)
	}
	if tabCtx.Err() != nil && !p.isLost() {
		r.config.Log.Error("Chromium opens no tab; killing it", "pid", p.pid, "after", tabTimeout)
		p.stop()
	}
	return nil, fmt.Errorf("%w: %w", prerender.ErrRendererDown, err)
}

// finish waits for the page and serialises it.
func (l *load) finish(ctx context.Context, c *Capture, watch *stopwatch, options Options) error {
	partial, err := l.ready(ctx)
	watch.lap("ready")
	if err != nil {
		return err
	}
	c.Partial = partial
	s, err := l.serialise(ctx)
	watch.lap("serialise")
	if err != nil {
		return deadlineIs(prerender.ErrRenderTimeout, err)
	}
	c.apply(s)
	if options.Screenshot {
		shot, err := cdp.Call(ctx, l.tab.target, page.CaptureScreenshot, page.CaptureScreenshotParams{})
		if err != nil {
			return deadlineIs(prerender.ErrRenderTimeout, fmt.Errorf("screenshot: %w", err))
		}
		c.Screenshot = shot.Data
		watch.lap("screenshot")
	}
	return nil
}

// navigate asks for the document and returns the origin's answer. If that is a
// web page, the browser has begun to show it.
func (l *load) navigate(ctx context.Context) (*document, error) {
	res, err := cdp.Call(ctx, l.tab.target, page.Navigate, page.NavigateParams{URL: l.page.URL})
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.err != nil:
		return nil, l.err
	case l.doc != nil && (l.doc.final || err == nil && res.ErrorText == ""):
		return l.doc, nil
	case l.crashed:
		return nil, fmt.Errorf("page %s crashed its process: %w", l.page.URL, prerender.ErrRendererDown)
	case err != nil && l.asked && l.doc == nil:
		return nil, deadlineIs(prerender.ErrOriginTimeout, err)
	case err != nil:
		return nil, deadlineIs(prerender.ErrRenderTimeout, err)
	case l.doc != nil && l.doc.status >= 400:
		// The body was empty, for which the browser shows a page of its own.
		l.doc.final = true
		return l.doc, nil
	default:
		return nil, l.navigationError(res.ErrorText)
	}
}

// navigationError turns the browser's word for a failed navigation into an
// error. The egress proxy knows more: "net::ERR_TUNNEL_CONNECTION_FAILED" is
// all that a browser says of what it told it.
func (l *load) navigationError(text string) error {
	if err := l.egress.Failure(l.page.Site.Origin.HostPort(), l.started); err != nil {
		return err
	}
	if strings.Contains(text, "TIMED_OUT") {
		return fmt.Errorf("load %s: %s: %w", l.page.URL, text, prerender.ErrOriginTimeout)
	}
	return fmt.Errorf("load %s: %s: %w", l.page.URL, text, prerender.ErrOriginUnreachable)
}

// serialise runs in a world of its own, so that the page cannot have changed
// what it uses.
func (l *load) serialise(ctx context.Context) (serialised, error) {
	var s serialised
	world, err := cdp.Call(ctx, l.tab.target, page.CreateIsolatedWorld, page.CreateIsolatedWorldParams{FrameID: l.mainFrame()})
	if err != nil {
		return s, fmt.Errorf("serialise: %w", err)
	}
	err = l.evaluate(ctx, serialiser, world.ExecutionContextID, &s)
	return s, err
}

// evaluate runs an expression in a world (0: the page's own) and decodes its value.
func (l *load) evaluate(ctx context.Context, expression string, world runtime.ExecutionContextID, value any) error {
	yes := true
	res, err := cdp.Call(ctx, l.tab.target, runtime.Evaluate, runtime.EvaluateParams{
		Expression: expression, ContextID: world, ReturnByValue: &yes,
	})
	if err != nil {
		return fmt.Errorf("evaluate: %w", err)
	}
	if res.ExceptionDetails != nil {
		return fmt.Errorf("evaluate: %s", exceptionText(res.ExceptionDetails))
	}
	return decodeValue(res.Result.Value, value)
}

func (l *load) mainFrame() cdp.FrameID { return cdp.FrameID(l.tab.target.TargetID) }

// onEvent sees the tab's events in their order. Commands in answer to an event
// are sent from goroutines of their own.
func (l *load) onEvent(ev any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch ev := ev.(type) {
	case *fetch.EventRequestPaused:
		go l.onPaused(ev)
	case *network.EventRequestWillBeSent:
		l.inFlight[ev.RequestID] = ev.Request.URL
		l.requests++
	case *network.EventLoadingFinished:
		delete(l.inFlight, ev.RequestID)
		l.bytes += int64(ev.EncodedDataLength)
	case *network.EventLoadingFailed:
		l.onFailed(ev)
	case *page.EventJavascriptDialogOpening:
		l.warn("dismissed a dialog: " + ev.Message)
		go l.tab.target.Call(l.tab.ctx, page.HandleJavaScriptDialog.Method,
			page.HandleJavaScriptDialogParams{Accept: ev.Type == page.DialogTypeBeforeunload}, nil)
	case *page.EventLifecycleEvent:
		if ev.FrameID == l.mainFrame() {
			l.idle = ev.Name == "networkIdle" || l.idle && ev.Name != "init"
		}
	case *runtime.EventExceptionThrown:
		l.warn("uncaught: " + exceptionText(ev.ExceptionDetails))
	case *inspector.EventTargetCrashed:
		l.crashed = true
	default:
		return
	}
	select {
	case l.changed <- struct{}{}:
	default:
	}
}

func exceptionText(d *runtime.ExceptionDetails) string {
	if d.Exception != nil && d.Exception.Description != "" {
		first, _, _ := strings.Cut(d.Exception.Description, "\n")
		return first
	}
	return d.Text
}

// warn keeps a page from filling memory with what it says. l.mu is held.
func (l *load) warn(text string) {
	const mostWarnings, longest = 50, 500
	if len(l.warnings) < mostWarnings {
		l.warnings = append(l.warnings, text[:min(len(text), longest)])
	}
}

func (l *load) onFailed(ev *network.EventLoadingFailed) {
	url := l.inFlight[ev.RequestID]
	delete(l.inFlight, ev.RequestID)
	const most = 200
	switch {
	case url == "" || ev.Type == network.ResourceTypeDocument && url == l.page.URL:
	case ev.BlockedReason == network.BlockedReasonInspector && len(l.blocked) < most:
		l.blocked = append(l.blocked, url)
	case ev.BlockedReason != network.BlockedReasonInspector && len(l.failed) < most:
		l.failed = append(l.failed, Failure{url, ev.ErrorText})
	}
}

// onPaused decides on documents: the page's own and those of its frames.
func (l *load) onPaused(ev *fetch.EventRequestPaused) {
	ctx, target := l.tab.ctx, l.tab.target
	isResponse := ev.ResponseStatusCode != 0 || ev.ResponseErrorReason != ""
	isMain := ev.FrameID == l.mainFrame()
	switch {
	case isMain && !isResponse:
		l.mu.Lock()
		l.asked = true
		l.mu.Unlock()
		// Only this request is marked: a custom header on API calls would make
		// them fail CORS.
		target.Call(ctx, fetch.ContinueRequest.Method, fetch.ContinueRequestParams{
			RequestID: ev.RequestID, Headers: markedHeaders(ev.Request.Headers)}, nil)
	case isMain && ev.ResponseStatusCode != 0 && l.takeOver(ctx, ev):
		target.Call(ctx, fetch.FailRequest.Method, fetch.FailRequestParams{
			RequestID: ev.RequestID, ErrorReason: network.ErrorReasonAborted}, nil)
	default:
		target.Call(ctx, fetch.ContinueRequest.Method, fetch.ContinueRequestParams{RequestID: ev.RequestID}, nil)
	}
}

// takeOver records the origin's answer. It returns true if the browser is not
// to see it.
func (l *load) takeOver(ctx context.Context, ev *fetch.EventRequestPaused) bool {
	l.mu.Lock()
	first := l.doc == nil && l.err == nil
	l.mu.Unlock()
	if !first {
		return false // the page has gone elsewhere by itself
	}
	doc := newDocument(ev)
	var err error
	switch {
	case doc.isEgressFailure():
		err = l.navigationError("refused by the egress proxy")
	case doc.isRedirect(), doc.isEmpty():
		doc.final = true
	case doc.isFile():
		doc.final = true
		doc.body, err = l.file(ctx, ev.RequestID, doc)
	}
	l.mu.Lock()
	l.doc, l.err = doc, err
	l.mu.Unlock()
	return doc.final || err != nil
}

// file reads a document that is handed on as it is.
func (l *load) file(ctx context.Context, id fetch.RequestID, doc *document) ([]byte, error) {
	if err := doc.tooLarge(); err != nil {
		return nil, fmt.Errorf("%s is %w: %w", l.page.URL, err, prerender.ErrContentRefused)
	}
	res, err := cdp.Call(ctx, l.tab.target, fetch.GetResponseBody, fetch.GetResponseBodyParams{RequestID: id})
	if err != nil {
		return nil, fmt.Errorf("read %s: %v: %w", l.page.URL, err, prerender.ErrOriginUnreachable)
	}
	if len(res.Body) > maxFile {
		return nil, fmt.Errorf("%s has %d bytes, and at most %d are handed on: %w", l.page.URL, len(res.Body), maxFile, prerender.ErrContentRefused)
	}
	return res.Body, nil
}

// markedHeaders adds the loop marker to the document request.
func markedHeaders(headers network.Headers) []*fetch.HeaderEntry {
	marked := []*fetch.HeaderEntry{{Name: "X-Prerender", Value: "1"}}
	for name, value := range headers {
		if s, ok := value.(string); ok {
			marked = append(marked, &fetch.HeaderEntry{Name: name, Value: s})
		}
	}
	return marked
}

// summarise writes what happened on the way into the capture.
func (l *load) summarise(c *Capture) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c.Requests, c.Bytes = l.requests, l.bytes
	c.Blocked, c.Failed = slices.Clone(l.blocked), slices.Clone(l.failed)
	c.Warnings = append(c.Warnings, l.warnings...)
}

// deadlineIs gives a core error to a call that ended with its deadline.
func deadlineIs(core, err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%w (%w)", core, err)
	}
	return fmt.Errorf("%w: %w", prerender.ErrRendererDown, err)
}

func decodeValue(raw []byte, value any) error {
	if err := json.Unmarshal(raw, value); err != nil {
		return fmt.Errorf("evaluate: %w", err)
	}
	return nil
}
