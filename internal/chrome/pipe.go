package chrome

import (
	"context"
	"os"

	"github.com/chromedp/cdproto"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/fetch"
	"github.com/chromedp/cdproto/inspector"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// pipe is chromedp's connection to a Chromium that runs already. It keeps away
// the events that nobody listens to, which are half of a page's.
type pipe struct {
	*chromedp.PipeConn
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
	return &pipe{chromedp.NewPipeConn(r, w)}, toBrowser, fromBrowser, nil
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
		if m.Method == "" || m.SessionID == "" || heard[string(m.Method)] {
			return nil
		}
		*m = cdproto.Message{}
	}
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
	page.FrameAttached.Method:                 true,
	page.FrameNavigated.Method:                true,
	page.JavascriptDialogOpening.Method:       true,
	page.LifecycleEvent.Method:                true,
	runtime.ConsoleAPICalled.Method:           true,
	runtime.ExceptionThrown.Method:            true,
}
