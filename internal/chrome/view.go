package chrome

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/fetch"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/stillpage/stillpage/internal/prerender"
)

//go:embed view.js
var viewer string

// View is what a browser shows of a page.
type View struct {
	Text       string      `json:"text"`       // a line a block
	Meta       [][2]string `json:"meta"`       // name or property, and content
	Links      [][2]string `json:"links"`      // rel (and hreflang) of the head's links, and address
	Structured []string    `json:"structured"` // JSON-LD blocks
	Screenshot []byte      `json:"-"`          // JPEG of the whole page, up to tallestPicture
}

const (
	// viewTime bounds how long a page may take to fall silent; what is there then
	// is the view.
	viewTime = 8 * time.Second

	// mostViewTime bounds all of it, for a page that holds its process whatever is done.
	mostViewTime = 25 * time.Second

	// longestViewTask is how long a page may take to answer when its time is up. A large
	// one is busy for a second, a person's patience not much longer.
	longestViewTask = 3 * time.Second

	// tallestPicture is in CSS pixels: what still fits a report that is sent around.
	tallestPicture = 4000
)

// View shows a page as a person's browser does: in real time, with frames, and
// with nothing of this package in the page. When snapshot is not nil, that is
// shown in the page's place, at its address and with scripts off, as a crawler
// sees it. It is for comparing the two, and takes seconds.
func (r *Renderer) View(ctx context.Context, target prerender.Page, snapshot []byte) (*View, error) {
	ctx, cancel := context.WithTimeout(ctx, mostViewTime)
	defer cancel()
	if err := r.takePlace(ctx); err != nil {
		return nil, err
	}
	defer func() { <-r.places }()
	p, err := r.acquire(ctx)
	if err != nil {
		return nil, err
	}
	defer r.release(p, nil, false)
	t, err := p.openTab(tabKind{origin: target.Site.Origin, device: target.Device, language: target.Rule.Rendering.Language, painted: true})
	if err != nil {
		return nil, fmt.Errorf("%w: open tab: %w", prerender.ErrRendererDown, err)
	}
	defer t.close()
	v, err := t.view(ctx, p, target, snapshot, r.config.Blocked)
	if err != nil {
		return nil, fmt.Errorf("view %s: %w", target.URL, deadlineIs(prerender.ErrRenderTimeout, err))
	}
	return v, nil
}

func (t *tab) view(ctx context.Context, p *process, target prerender.Page, snapshot []byte, blocked []string) (*View, error) {
	silent := make(chan struct{}, 1)
	err := chromedp.Listen(t.ctx, func(ev any) {
		switch ev := ev.(type) {
		case *page.EventLifecycleEvent:
			if ev.Name == "networkIdle" {
				select {
				case silent <- struct{}{}:
				default:
				}
			}
		case *fetch.EventRequestPaused: // with a snapshot only
			if ev.FrameID != cdp.FrameID(t.target.TargetID) {
				go t.target.Call(t.ctx, fetch.ContinueRequest.Method, fetch.ContinueRequestParams{RequestID: ev.RequestID}, nil)
				return
			}
			go t.target.Call(t.ctx, fetch.FulfillRequest.Method, fetch.FulfillRequestParams{
				RequestID: ev.RequestID, ResponseCode: 200, Body: snapshot,
				ResponseHeaders: []*fetch.HeaderEntry{{Name: "Content-Type", Value: "text/html; charset=utf-8"}},
			}, nil)
		case *page.EventJavascriptDialogOpening:
			go t.target.Call(t.ctx, page.HandleJavaScriptDialog.Method, page.HandleJavaScriptDialogParams{}, nil)
		}
	})
	if err != nil {
		return nil, err
	}
	commands := t.poses(p, blocked)
	if snapshot != nil {
		commands = append(commands,
			command{emulation.SetScriptExecutionDisabled.Method, emulation.SetScriptExecutionDisabledParams{Value: true}},
			command{fetch.Enable.Method, fetch.EnableParams{Patterns: []*fetch.RequestPattern{
				{ResourceType: network.ResourceTypeDocument, RequestStage: fetch.RequestStageRequest}}}})
	}
	if err := t.send(ctx, commands); err != nil {
		return nil, err
	}
	for len(silent) > 0 { // about:blank's
		<-silent
	}
	res, err := cdp.Call(ctx, t.target, page.Navigate, page.NavigateParams{URL: target.URL})
	if err != nil {
		return nil, err
	}
	if res.ErrorText != "" {
		return nil, fmt.Errorf("%s: %w", res.ErrorText, prerender.ErrOriginUnreachable)
	}
	select {
	case <-silent:
	case <-time.After(viewTime):
	case <-ctx.Done():
	}
	t.interrupt(ctx, longestViewTask)
	// As a person does, look at all of it.
	yes := true
	shown, err := cdp.Call(ctx, t.target, runtime.Evaluate, runtime.EvaluateParams{
		Expression: fmt.Sprintf("(%s)({ scroll: %t })", viewer, snapshot == nil), AwaitPromise: &yes, ReturnByValue: &yes,
	})
	if err != nil {
		return nil, err
	}
	if shown.ExceptionDetails != nil {
		return nil, fmt.Errorf("read page: %s", exceptionText(shown.ExceptionDetails))
	}
	v := &View{}
	if err := json.Unmarshal(shown.Result.Value, v); err != nil {
		return nil, fmt.Errorf("read page: %w", err)
	}
	v.Screenshot, err = t.picture(ctx)
	return v, err
}

// pictureQuality of JPEGs: text is read well, and two pictures fit into a function's
// answer, which PNGs do not.
const pictureQuality = int64(80)

// picture takes a JPEG of the page from its top.
func (t *tab) picture(ctx context.Context) ([]byte, error) {
	size, err := cdp.Call(ctx, t.target, page.GetLayoutMetrics, cdp.Empty{})
	if err != nil {
		return nil, fmt.Errorf("screenshot: %w", err)
	}
	yes, quality := true, pictureQuality
	shot, err := cdp.Call(ctx, t.target, page.CaptureScreenshot, page.CaptureScreenshotParams{
		Format: page.CaptureScreenshotFormatJpeg, Quality: &quality, CaptureBeyondViewport: &yes,
		Clip: &page.Viewport{
			Width: float64(size.CSSLayoutViewport.ClientWidth), Height: min(tallestPicture, size.CSSContentSize.Height), Scale: 1,
		},
	})
	if err != nil {
		return nil, fmt.Errorf("screenshot: %w", err)
	}
	return shot.Data, nil
}
