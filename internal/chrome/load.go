package chrome

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/fetch"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"

	"github.com/stillpage/stillpage/internal/prerender"
)

//go:embed serialise.js
var serialiser string

// serialised is the value of serialise.js.
type serialised struct {
	HTML       string      `json:"html"`
	Title      string      `json:"title"`
	Status     int         `json:"status"`
	SoftStatus int         `json:"softStatus"` // counts if the origin has answered 200, as with rendertron
	Headers    [][2]string `json:"headers"`

	Content prerender.Content `json:"content"` // but for the title
}

// reserve is the part of a render's time that is kept for taking the page as it
// is when it does not become ready.
const reserve = 3 * time.Second

// longestTask is how long the last task of a page whose time is up may still take.
const longestTask = 300 * time.Millisecond

// load is one page on its way into a tab.
type load struct {
	page    prerender.Page
	egress  Egress
	started time.Time
	process *process
	abort   context.CancelFunc // ends the load
	tab     *tab

	traces     bool // the page may have left something in its tab
	cached     bool // its scripts may have left answers in the tab's HTTP cache
	heldAtLast bool // prerenderReady was false when the page was last looked at

	world runtime.ExecutionContextID // for serialise; 0: not made yet

	changed chan struct{}                  // has a value when something below has changed
	files   chan *fetch.EventRequestPaused // see file
	orders  sync.WaitGroup                 // under way, see order

	mu        sync.Mutex
	left      bool      // the tab is another's
	url       string    // the document's, as the browser spells it
	asked     bool      // the document was asked for
	doc       *document // nil until the origin has answered
	err       error     // why the document cannot be had
	elsewhere string    // where the page has sent its visitor by itself
	leaving   string    // the same, while it has not answered
	leaver    network.RequestID
	reloads   int            // of the page by itself
	followed  int            // documents that the page has led to
	asker     cdp.LoaderID   // of the navigation that asked for the document
	first     cdp.LoaderID   // of the document that navigate loaded
	loaders   []cdp.LoaderID // of the documents in the main frame, in their order
	idle      cdp.LoaderID   // the document that has made no request for half a second, see ready
	crashed   bool
	frames    bool            // the page has had frames, which may have stored something
	origins   map[string]bool // of the documents in all frames
	inFlight  map[network.RequestID]*request
	asks      map[string]asking // by URL
	expired   bool              // the virtual time of the last grant is used up
	blocked   []string
	failed    []Failure
	warnings  []string
	requests  int
	timeline  []*Request
	console   []string
	ended     string
	bytes     int64
}

// capture loads a page in a tab of p and takes it when it is ready. The tab is
// returned to be given back, unless there was none.
func (r *Renderer) capture(ctx context.Context, p *process, target prerender.Page, options Options) (_ *Capture, _ *tab, err error) {
	l := &load{
		page: target, egress: r.config.Egress, process: p, started: time.Now(),
		changed: make(chan struct{}, 1), files: make(chan *fetch.EventRequestPaused, 1), origins: map[string]bool{}, inFlight: map[network.RequestID]*request{},
		asks: map[string]asking{},
	}
	watch := stopwatch{last: l.started}
	if l.tab, err = r.tab(ctx, p, kindOf(target, options)); err != nil {
		return nil, nil, err
	}
	ctx, l.abort = context.WithCancel(ctx) // a dead process answers no command
	defer l.abort()
	l.tab.enter(l)
	if l.tab.dead.Load() {
		return nil, l.tab, l.deadTab()
	}
	watch.lap("tab")
	taken := l.watchWork(ctx, options.Work)

	doc, err := l.navigate(ctx)
	watch.lap("navigate")
	if err != nil {
		return nil, l.tab, err
	}
	c := &Capture{URL: target.URL, Status: doc.status, Header: doc.handedOn(), Body: doc.body}
	if !doc.final {
		if err := l.finish(ctx, c, &watch, options); err != nil {
			return nil, l.tab, err
		}
	}
	if len(c.Body) > maxBody {
		return nil, l.tab, fmt.Errorf("%s has %d bytes when rendered, and at most %d are kept: %w", target.URL, len(c.Body), maxBody, prerender.ErrContentRefused)
	}
	c.Phases, c.Work = watch.phases, taken(ctx)
	l.summarise(c)
	return c, l.tab, nil
}

// errDeadTab: the tab's process had died while it was idle.
var errDeadTab = errors.New("tab is dead")

// deadTab sees to it that the tab is closed and the page gets another.
func (l *load) deadTab() error {
	l.tab.dead.Store(true)
	return fmt.Errorf("load %s: %w: %w", l.page.URL, errDeadTab, prerender.ErrRendererDown)
}

// finish waits for the page and serialises it.
func (l *load) finish(ctx context.Context, c *Capture, watch *stopwatch, options Options) error {
	partial, err := l.ready(ctx)
	watch.lap("ready")
	if err != nil {
		return err
	}
	c.Partial = partial
	if done, err := l.outcome(c); done || err != nil {
		return err
	}
	if partial != "" && l.tab.interrupt(ctx, longestTask) && partial != heldBack && !l.isUnanswered() {
		c.Partial = busy
	}
	s, err := l.serialise(ctx)
	if err != nil && ctx.Err() == nil && !l.process.isLost() {
		s, err = l.serialise(ctx) // the page has just reloaded itself, and its world was gone
	}
	watch.lap("serialise")
	if done, err := l.outcome(c); done || err != nil { // it may have gone only now
		return err
	}
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

// outcome looks at what became of the document while the page ran. It returns
// true if the page is not to be shown: it has sent its visitor elsewhere.
func (l *load) outcome(c *Capture) (bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return false, l.err
	}
	c.Status, c.Header = l.doc.status, l.doc.handedOn() // a reload's are newer
	if l.elsewhere == "" {
		l.elsewhere = l.leaving // which takes its time
	}
	if l.elsewhere == "" {
		return false, nil
	}
	// What a visitor's browser would do. 302: a script's decision says nothing
	// of permanence.
	c.Status, c.Body, c.Partial = http.StatusFound, nil, ""
	c.Header = http.Header{"Location": {l.elsewhere}}
	return true, nil
}

// navigate asks for the document and returns the origin's answer. If that is a
// web page, the browser has begun to show it.
func (l *load) navigate(ctx context.Context) (*document, error) {
	if err := l.process.pipe.mark(ctx, l.mainFrame()); err != nil {
		return nil, fmt.Errorf("%w: %w", prerender.ErrRendererDown, err)
	}
	res, err := cdp.Call(ctx, l.tab.target, page.Navigate, page.NavigateParams{URL: l.page.URL})
	l.process.pipe.unmark(ctx, l.mainFrame())
	doc, err := l.answer(res, err)
	if err == nil && !doc.final && doc.isFile() {
		return l.file(ctx)
	}
	return doc, err
}

// answer tells what became of the navigation.
func (l *load) answer(res page.NavigateResult, err error) (*document, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.first = res.LoaderID
	if err == nil && res.LoaderID != "" && l.asker != "" && l.asker != res.LoaderID {
		// The page before this one has gone elsewhere at the last moment. What has
		// come may be that page, which must not be taken for this one.
		return nil, l.deadTab()
	}
	switch {
	case l.err != nil:
		return nil, l.err
	case l.doc != nil && (l.doc.final || l.doc.isFile() || err == nil && res.ErrorText == ""):
		return l.doc, nil
	case l.crashed && l.doc == nil:
		return nil, l.deadTab()
	case l.crashed:
		return nil, fmt.Errorf("page %s crashed its process: %w", l.page.URL, prerender.ErrRendererDown)
	case err != nil && l.asked && l.doc == nil:
		return nil, deadlineIs(prerender.ErrOriginTimeout, err)
	case err != nil:
		return nil, deadlineIs(prerender.ErrRenderTimeout, err)
	case l.doc != nil && res.ErrorText == "net::ERR_HTTP_RESPONSE_CODE_FAILURE":
		// The body was empty, for which the browser shows a page of its own.
		l.doc.final = true
		return l.doc, nil
	case l.doc == nil && res.ErrorText == "net::ERR_ABORTED":
		// The process of an idle tab has died, and its end is not yet known here.
		return nil, l.deadTab()
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
	world := l.world
	l.world = 0 // if the page has reloaded itself, it is gone
	if world == 0 {
		var err error
		if world, err = l.makeWorld(ctx); err != nil {
			return s, fmt.Errorf("serialise: %w", err)
		}
	}
	expression := fmt.Sprintf("(%s)({ declarative: %t })", serialiser, l.page.Rule.Rendering.DeclarativeShadow)
	err := l.evaluate(ctx, expression, world, &s)
	return s, err
}

// makeWorld returns the isolated world. The name matters: a world without one is
// a new one each time, and none is ever freed. Two hundred pages took 150 MB and
// twice the time.
func (l *load) makeWorld(ctx context.Context) (runtime.ExecutionContextID, error) {
	world, err := cdp.Call(ctx, l.tab.target, page.CreateIsolatedWorld, page.CreateIsolatedWorldParams{
		FrameID: l.mainFrame(), WorldName: "stillpage",
	})
	return world.ExecutionContextID, err
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
	if err := json.Unmarshal(res.Result.Value, value); err != nil {
		return fmt.Errorf("evaluate: %w", err)
	}
	return nil
}

func (l *load) mainFrame() cdp.FrameID { return cdp.FrameID(l.tab.target.TargetID) }

// deadlineIs gives a core error to a call that ended with its deadline.
func deadlineIs(core, err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%w (%w)", core, err)
	}
	return fmt.Errorf("%w: %w", prerender.ErrRendererDown, err)
}
