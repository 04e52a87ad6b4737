package chrome

import (
	"cmp"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/fetch"
	"github.com/chromedp/cdproto/inspector"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
)

// onEvent sees the tab's events in their order. Commands in answer to an event
// are sent from goroutines of their own.
func (l *load) onEvent(ev any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch ev := ev.(type) {
	case *page.EventFrameNavigated:
		if o := ev.Frame.SecurityOrigin; strings.HasPrefix(o, "http") {
			l.origins[o] = true
		}
	case *page.EventFrameAttached:
		l.frames = true
	case *fetch.EventRequestPaused:
		go l.onPaused(ev)
	case *network.EventRequestWillBeSent:
		if ev.Type == network.ResourceTypeDocument && ev.FrameID == l.mainFrame() {
			l.onDocumentRequest(ev)
		}
		l.requests++
		if ev.Type == network.ResourceTypeScript && ev.LoaderID == "" {
			break // a worker's, whose answer is told to the worker; see prelude/waiting.js
		}
		kind := ev.Type
		if kind == network.ResourceTypeOther && ev.Request.InitialPriority == network.ResourcePriorityVeryLow {
			kind = network.ResourceTypePrefetch // <link rel=prefetch>, by its priority alone
		}
		r := l.begin(ev.RequestID, ev.Request.URL, kind)
		r.isFramed = ev.FrameID != l.mainFrame()
		r.isPreload = ev.Initiator != nil && ev.Initiator.Type != network.InitiatorTypeScript
		r.isPoll = isByScript(ev.Type) && ev.Request.Method == "GET" && l.isAskedAgain(ev.Request.URL)
	case *network.EventResponseReceived:
		if ev.Type == network.ResourceTypeDocument && ev.FrameID == l.mainFrame() {
			l.onDocument(ev)
		}
		if r := l.inFlight[ev.RequestID]; r != nil {
			r.answered, r.answeredAt, r.lastBytes = true, time.Now(), time.Now()
			r.entry.Status = int(ev.Response.Status)
		}
		l.cached = l.cached || !l.isReused(ev) && mayBeKept(ev.Response.Headers)
	case *network.EventDataReceived:
		if r := l.inFlight[ev.RequestID]; r != nil {
			r.lastBytes, r.hasData, r.isUnread = time.Now(), true, false
		}
	case *network.EventWebSocketCreated:
		l.begin(ev.RequestID, ev.URL, network.ResourceTypeWebSocket)
	case *network.EventWebSocketFrameReceived:
		if r := l.inFlight[ev.RequestID]; r != nil {
			r.lastBytes, r.hasData = time.Now(), true
		}
	case *network.EventWebSocketFrameSent:
		if r := l.inFlight[ev.RequestID]; r != nil {
			r.lastBytes = time.Now()
		}
	case *network.EventWebSocketClosed:
		delete(l.inFlight, ev.RequestID)
	case *emulation.EventVirtualTimeBudgetExpired:
		l.expired = true
	case *network.EventLoadingFinished:
		if r := l.inFlight[ev.RequestID]; r != nil {
			r.entry.End, r.entry.Bytes = time.Since(l.started), int64(ev.EncodedDataLength)
		}
		delete(l.inFlight, ev.RequestID)
		l.bytes += int64(ev.EncodedDataLength)
	case *network.EventLoadingFailed:
		l.onFailed(ev)
	case *page.EventJavascriptDialogOpening:
		l.warn("dismissed a dialog: " + ev.Message)
		go l.tab.target.Call(l.tab.ctx, page.HandleJavaScriptDialog.Method,
			page.HandleJavaScriptDialogParams{Accept: ev.Type == page.DialogTypeBeforeunload}, nil)
	case *page.EventLifecycleEvent:
		l.onLifecycle(ev)
	case *runtime.EventConsoleAPICalled:
		if ev.Type == runtime.ConsoleAPICalledTypeError || ev.Type == runtime.ConsoleAPICalledTypeAssert {
			l.console = note(l.console, consoleText(ev.Args))
		}
	case *runtime.EventExceptionThrown:
		l.console = note(l.console, "uncaught: "+exceptionText(ev.ExceptionDetails))
		l.warn("uncaught: " + exceptionText(ev.ExceptionDetails))
	case *inspector.EventTargetCrashed:
		l.crashed = true
		l.abort()
	default:
		return
	}
	select {
	case l.changed <- struct{}{}:
	default:
	}
}

// isReused says whether an answer may come from the tab's cache another time, or is kept
// from it by other means: the page's document and fetch ask past the cache.
func (l *load) isReused(ev *network.EventResponseReceived) bool {
	r := l.inFlight[ev.RequestID]
	switch ev.Type {
	case network.ResourceTypeScript, network.ResourceTypeStylesheet, network.ResourceTypeImage, network.ResourceTypeFont, network.ResourceTypeMedia:
		return true
	case network.ResourceTypeFetch:
		return r == nil || !r.isPreload
	case network.ResourceTypeDocument:
		return ev.FrameID == l.mainFrame()
	default:
		return r != nil && r.kind == network.ResourceTypePrefetch
	}
}

func exceptionText(d *runtime.ExceptionDetails) string {
	if d.Exception != nil && d.Exception.Description != "" {
		first, _, _ := strings.Cut(d.Exception.Description, "\n")
		return first
	}
	return d.Text
}

func consoleText(args []*runtime.RemoteObject) string {
	var words []string
	for _, a := range args {
		var text string
		if json.Unmarshal(a.Value, &text) != nil {
			text = cmp.Or(a.Description, string(a.Value))
		}
		words = append(words, text)
	}
	return strings.Join(words, " ")
}

// warn notes something for the page's owner. l.mu is held.
func (l *load) warn(text string) { l.warnings = note(l.warnings, text) }

// note appends to what a page says, but does not let it fill the memory.
func note(list []string, text string) []string {
	const most, longest = 50, 500
	if len(list) >= most {
		return list
	}
	return append(list, strings.ToValidUTF8(text[:min(len(text), longest)], ""))
}

// short cuts URLs, among which data: URLs are of any length.
func short(url string) string {
	const most = 300
	if len(url) <= most {
		return url
	}
	return url[:most] + "…"
}

// onLifecycle notes which documents the main frame has had, and when the network
// fell silent under each. The tab's about:blank falls silent too, perhaps when
// the page's document is still on its way.
func (l *load) onLifecycle(ev *page.EventLifecycleEvent) {
	if ev.FrameID != l.mainFrame() {
		return
	}
	switch ev.Name {
	case "init":
		l.loaders = append(l.loaders, ev.LoaderID)
	case "networkIdle":
		l.idle = ev.LoaderID
	}
}

// isIdle says whether the network is silent under the document that navigate
// loaded, or under one that has come after it. l.mu is held.
func (l *load) isIdle() bool {
	last := len(l.loaders) - 1
	return last >= 0 && l.idle == l.loaders[last] && slices.Contains(l.loaders, l.first)
}

func (l *load) onFailed(ev *network.EventLoadingFailed) {
	var url string
	if r := l.inFlight[ev.RequestID]; r != nil {
		url = r.url
		r.entry.End, r.entry.Failed = time.Since(l.started), ev.ErrorText
		if ev.BlockedReason == network.BlockedReasonInspector {
			r.entry.Failed = "blocked"
		}
	}
	delete(l.inFlight, ev.RequestID)
	if l.leaving != "" && ev.RequestID == l.leaver {
		if ev.ErrorText != aborted {
			l.elsewhere = l.leaving
		}
		l.leaving = ""
	}
	const most = 200
	switch {
	case url == "" || ev.Type == network.ResourceTypeDocument && url == short(l.url):
	case ev.BlockedReason == network.BlockedReasonInspector && len(l.blocked) < most:
		l.blocked = append(l.blocked, url)
	case ev.BlockedReason != network.BlockedReasonInspector && !ev.Canceled && len(l.failed) < most:
		l.failed = append(l.failed, Failure{url, ev.ErrorText})
	}
}

// summarise writes what happened on the way into the capture.
func (l *load) summarise(c *Capture) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c.Requests, c.Bytes = l.requests, l.bytes
	c.Ended, c.Console = l.ended, slices.Clone(l.console)
	for _, entry := range l.timeline {
		c.Timeline = append(c.Timeline, *entry)
	}
	c.Blocked, c.Failed = slices.Clone(l.blocked), slices.Clone(l.failed)
	if c.Content != nil {
		c.Content.Failed = failedCalls(c.Timeline, l.page.Site.Origin.Host)
	}
	for _, r := range l.inFlight {
		if most := r.mostSilence(); r.isAside() {
			continue
		} else if !r.answered && time.Since(r.opened) > most && !r.isPush() {
			l.warn("no answer within " + most.String() + ", so not waited for: " + r.url)
		} else if r.isPoll {
			l.warn("asked for time and again, so not waited for: " + r.url)
		} else if most := r.mostQuiet(); r.answered && isByScript(r.kind) && !r.isUnread && time.Since(r.lastBytes) > most {
			l.warn("no more of the answer for " + most.String() + ", so not waited for: " + r.url)
		}
	}
	c.Warnings = append(c.Warnings, l.warnings...)
}

// aborted is what became of a request that its script has taken back.
const aborted = "net::ERR_ABORTED"

// failedCalls counts what scripts have asked the page's own site for and not got.
// What others do not answer, advertising for the most part, is no part of the page.
func failedCalls(timeline []Request, host string) int {
	n := 0
	for _, r := range timeline {
		failed := r.Failed != "" && r.Failed != "blocked" && r.Failed != aborted
		unanswered := r.Failed == "" && r.Status == 0 && r.End == 0
		if (r.Kind == "Fetch" || r.Kind == "XHR") && (failed || unanswered || r.Status >= 500) && sameSite(r.URL, host) {
			n++
		}
	}
	return n
}
