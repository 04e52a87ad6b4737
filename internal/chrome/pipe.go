package chrome

import (
	"context"
	"os"
	"strings"
	"sync"

	"github.com/chromedp/cdproto"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/cdp/jsonv2"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/fetch"
	"github.com/chromedp/cdproto/inspector"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// pipe is chromedp's connection to a Chromium that runs already. It keeps away
// the events that nobody listens to, which are half of a page's, and marks the
// requests for pages.
type pipe struct {
	*chromedp.PipeConn

	mu   sync.Mutex
	next map[cdp.FrameID]bool // whose next document request is to be marked
}

// openPipe returns a connection, and the ends that Chromium is to get.
func openPipe() (p *pipe, toBrowser, fromBrowser *os.File, err error) {
	toBrowser, w, err := os.Pipe()
	if err != nil {
		return nil, nil, nil, err
	}
	r, fromBrowser, err := os.Pipe()
	if err != nil {
		toBrowser.Close()
		w.Close()
		return nil, nil, nil, err
	}
	return &pipe{PipeConn: chromedp.NewPipeConn(r, w), next: map[cdp.FrameID]bool{}}, toBrowser, fromBrowser, nil
}

// Allocate implements chromedp.Allocator.
func (p *pipe) Allocate(ctx context.Context, options ...chromedp.BrowserOption) (*chromedp.Browser, error) {
	return chromedp.NewBrowserTransport(ctx, p, options...)
}

// Wait implements chromedp.Allocator. There is nothing to wait for.
func (p *pipe) Wait() {}

// Attaches implements chromedp.Attacher.
func (p *pipe) Attaches() bool { return true }

// Read implements chromedp.Transport.
func (p *pipe) Read(ctx context.Context, m *cdproto.Message) error {
	for {
		if err := p.PipeConn.Read(ctx, m); err != nil {
			return err
		}
		switch {
		case m.SessionID == "" && string(m.Method) == fetch.RequestPaused.Method:
			p.onPaused(ctx, m.Params)
		case m.ID < 0: // nobody waits for the answers to what is sent here
		case m.Method == "" || m.SessionID == "" || heard[string(m.Method)]:
			return nil
		}
		*m = cdproto.Message{}
	}
}

// mark has the next document request of a tab's main frame marked as
// Stillpage's own, and no other request: a custom header on API calls would make
// them fail CORS.
//
// To be marked, a request has to be paused. Fetch.enable for a tab would lead
// every request of its page through the browser's main thread and back, for 11 %
// of the CPU time and 6 % of the wall time of a page. So it is enabled for the
// browser instead, and only between the start of a navigation and its request:
// what a page is to load with is decided when its document has come.
func (p *pipe) mark(ctx context.Context, frame cdp.FrameID) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.next[frame] = true
	return p.send(ctx, fetch.Enable.Method, fetch.EnableParams{Patterns: []*fetch.RequestPattern{
		{ResourceType: network.ResourceTypeDocument, RequestStage: fetch.RequestStageRequest}}})
}

// unmark ends mark for a navigation that has made no request, or has made it.
func (p *pipe) unmark(ctx context.Context, frame cdp.FrameID) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.next[frame] {
		return nil
	}
	delete(p.next, frame)
	if len(p.next) > 0 {
		return nil
	}
	return p.send(ctx, fetch.Disable.Method, cdp.Empty{})
}

// onPaused lets a document request go, marked if it is to be.
func (p *pipe) onPaused(ctx context.Context, params jsonv2.Value) {
	var ev fetch.EventRequestPaused
	if jsonv2.Unmarshal(params, &ev, chromedp.DefaultUnmarshalOptions) != nil {
		return // the deadline of the load will tell
	}
	p.mu.Lock()
	marked := p.next[ev.FrameID]
	p.mu.Unlock()
	proceed := fetch.ContinueRequestParams{RequestID: ev.RequestID}
	if marked {
		proceed.Headers = markedHeaders(ev.Request.Headers)
	}
	p.send(ctx, fetch.ContinueRequest.Method, proceed)
	p.unmark(ctx, ev.FrameID)
}

// markedHeaders adds the loop marker, whose name is from the written contract of
// prerender's clients, and keeps the tab's HTTP cache from answering: what it has is the
// page of an earlier render.
func markedHeaders(headers network.Headers) []*fetch.HeaderEntry {
	marked := []*fetch.HeaderEntry{{Name: "X-Prerender", Value: "1"}, {Name: "Cache-Control", Value: "no-cache"}}
	for name, value := range headers {
		if s, ok := value.(string); ok && !strings.EqualFold(name, "Cache-Control") {
			marked = append(marked, &fetch.HeaderEntry{Name: name, Value: s})
		}
	}
	return marked
}

// send sends a command to the browser, to whose answer nobody listens. When it
// returns, the command comes before all that are sent later.
func (p *pipe) send(ctx context.Context, method string, params any) error {
	raw, err := jsonv2.Marshal(params, chromedp.DefaultMarshalOptions)
	if err != nil {
		return err
	}
	return p.Write(ctx, &cdproto.Message{ID: -1, Method: cdproto.MethodType(method), Params: raw})
}

// heard are the events of tabs that somebody listens to.
var heard = map[string]bool{
	emulation.VirtualTimeBudgetExpired.Method: true,
	fetch.RequestPaused.Method:                true,
	inspector.TargetCrashed.Method:            true,
	network.DataReceived.Method:               true,
	network.LoadingFailed.Method:              true,
	network.LoadingFinished.Method:            true,
	network.RequestWillBeSent.Method:          true,
	network.ResponseReceived.Method:           true,
	network.WebSocketClosed.Method:            true,
	network.WebSocketCreated.Method:           true,
	network.WebSocketFrameReceived.Method:     true,
	network.WebSocketFrameSent.Method:         true,
	page.FrameAttached.Method:                 true,
	page.FrameNavigated.Method:                true,
	page.JavascriptDialogOpening.Method:       true,
	page.LifecycleEvent.Method:                true,
	runtime.ConsoleAPICalled.Method:           true,
	runtime.ExceptionThrown.Method:            true,
}
