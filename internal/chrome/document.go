package chrome

import (
	"context"
	"fmt"
	"mime"
	"net/http"
	"strconv"
	"strings"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/fetch"
	cdpio "github.com/chromedp/cdproto/io"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"

	"github.com/stillpage/stillpage/internal/prerender"
)

// document is the origin's answer to the request for the page itself.
type document struct {
	url    string
	status int
	header http.Header

	// body is set when the browser is not to see the document: a redirect
	// (empty), or a file that is no web page (handed on as it is).
	body  []byte
	final bool
}

// egressFailureHeader marks the responses that come from the proxy itself (see
// package egress, which removes it from what plain HTTP origins send).
const egressFailureHeader = "X-Stillpage-Egress-Failure"

const (
	// maxFile bounds a document that is handed on and not rendered: what a Lambda
	// function may answer.
	maxFile = 6 << 20

	// maxBody bounds a rendered page. Google reads the first 15 MB of a page.
	maxBody = 16 << 20
)

func newDocument(r *network.Response) *document {
	d := &document{url: r.URL, status: int(r.Status), header: headerOf(r.Headers)}
	if d.header.Get("Content-Type") == "" && r.MimeType != "" {
		d.header.Set("Content-Type", r.MimeType) // which the browser has told from its first bytes
	}
	return d
}

// headerOf returns what an event says of headers.
func headerOf(headers network.Headers) http.Header {
	h := http.Header{}
	for name, value := range headers {
		if values, ok := value.(string); ok {
			for v := range strings.SplitSeq(values, "\n") { // a repeated header is one here
				h.Add(name, v)
			}
		}
	}
	return h
}

// mayBeKept says whether a browser may answer a later request with this response (RFC
// 9111, section 4), by its own word or by its age.
func mayBeKept(headers network.Headers) bool {
	h := headerOf(headers)
	control := strings.ToLower(strings.Join(h.Values("Cache-Control"), ","))
	for directive := range strings.SplitSeq(control, ",") {
		switch d := strings.TrimSpace(directive); {
		case d == "no-store", d == "no-cache", d == "max-age=0" && !strings.Contains(control, "stale-while-revalidate"):
			return false
		}
	}
	return control != "" || h.Get("Expires") != "" || h.Get("Last-Modified") != ""
}

// isEgressFailure says whether the egress proxy answered in the origin's place.
// Only the answers to plain HTTP are the proxy's to mark.
func (d *document) isEgressFailure() bool {
	return d.header.Get(egressFailureHeader) != "" && strings.HasPrefix(d.url, "http:")
}

// isFile says whether the document is something else than a web page.
func (d *document) isFile() bool {
	if disposition, _, _ := mime.ParseMediaType(d.header.Get("Content-Disposition")); disposition == "attachment" {
		return true
	}
	mediaType, _, _ := mime.ParseMediaType(d.header.Get("Content-Type"))
	return mediaType != "" && mediaType != "text/html" && mediaType != "application/xhtml+xml"
}

// isEmpty says whether there is no body, for which a browser shows an error
// page of its own, or nothing at all.
func (d *document) isEmpty() bool {
	return d.status == 204 || d.status == 205 || d.status == 304 || d.header.Get("Content-Length") == "0"
}

// keepsPage says whether a browser that is sent to the document keeps the page that it
// shows: there is nothing to be shown, or it is saved.
func (d *document) keepsPage() bool {
	disposition, _, _ := mime.ParseMediaType(d.header.Get("Content-Disposition"))
	mediaType, _, _ := mime.ParseMediaType(d.header.Get("Content-Type"))
	switch kind, _, _ := strings.Cut(mediaType, "/"); {
	case d.status == http.StatusNoContent, d.status == http.StatusResetContent, disposition == "attachment":
		return true
	case mediaType == "", kind == "text", kind == "image", kind == "audio", kind == "video", mediaType == "application/pdf",
		strings.HasSuffix(mediaType, "json"), strings.HasSuffix(mediaType, "xml"):
		return false // it is shown
	default:
		return true
	}
}

// tooLarge names the size of a file that must not be handed on.
func (d *document) tooLarge() error {
	n, err := strconv.ParseInt(d.header.Get("Content-Length"), 10, 64)
	if err == nil && n > maxFile {
		return fmt.Errorf("%s of %d bytes, and at most %d are handed on", d.header.Get("Content-Type"), n, maxFile)
	}
	return nil
}

// handedOn picks the headers that the crawler gets.
func (d *document) handedOn() http.Header {
	h := http.Header{}
	for _, name := range handedOn {
		if values := d.header.Values(name); len(values) > 0 {
			h[name] = values
		}
	}
	if links := withoutScripts(h.Values("Link")); len(links) > 0 {
		h["Link"] = links
	} else {
		h.Del("Link")
	}
	contentType := "text/html; charset=utf-8"
	if d.final && len(d.body) > 0 {
		contentType = strings.TrimSpace(d.header.Get("Content-Type"))
	}
	h.Set("Content-Type", contentType)
	return h
}

// withoutScripts drops the links by which a browser would fetch scripts early:
// what the crawler gets has none. Others, canonical and hreflang among them, stay.
func withoutScripts(values []string) []string {
	var kept []string
	for _, value := range values {
		for _, link := range splitLinks(value) {
			var rel, as string
			for parameter := range strings.SplitSeq(link, ";") {
				name, v, _ := strings.Cut(strings.TrimSpace(parameter), "=")
				v = strings.ToLower(strings.Trim(v, `"`))
				switch strings.ToLower(name) {
				case "rel":
					rel = v
				case "as":
					as = v
				}
			}
			if rel != "modulepreload" && !((rel == "preload" || rel == "prefetch") && as == "script") {
				kept = append(kept, link)
			}
		}
	}
	return kept
}

// splitLinks cuts a Link header at its commas, but not at those in a URL or in
// quotes (RFC 8288, section 3).
func splitLinks(value string) []string {
	var links []string
	begin, closing := 0, rune(0)
	for i, r := range value + "," {
		switch {
		case closing != 0 && r == closing:
			closing = 0
		case closing != 0 && i < len(value):
		case r == '<':
			closing = '>'
		case r == '"':
			closing = '"'
		case r == ',':
			if link := strings.TrimSpace(value[begin:i]); link != "" {
				links = append(links, link)
			}
			begin = min(i+1, len(value))
		}
	}
	return links
}

// maxReloads is how often a page may reload itself: once for a cookie that it
// wants to have set, and twice more.
const maxReloads = 3

// maxFollowed is how many documents a page may lead to, one after the other,
// on sites that want them followed.
const maxFollowed = 5

// onDocumentRequest sees the main frame ask for a document: the page, the page
// again, or another. l.mu is held.
func (l *load) onDocumentRequest(ev *network.EventRequestWillBeSent) {
	url := ev.Request.URL
	switch {
	case !strings.HasPrefix(url, "http:") && !strings.HasPrefix(url, "https:"):
		// tel:, mailto: and what apps have made their own lead out of the browser, which
		// has none of those; the page stays.
	case l.doc != nil && l.doc.final:
	case ev.RedirectResponse != nil && ev.LoaderID == l.asker && l.doc == nil && sameDocument(url, l.url):
		// To itself: with the cookie that the origin has set, or what it wants to be told, it
		// is answered. The crawler would go round for ever. What is asked now is not marked.
		l.cached = true
	case ev.RedirectResponse != nil && ev.LoaderID == l.asker && l.doc == nil:
		// Where the origin sends its visitor, the crawler is sent.
		l.doc = newDocument(ev.RedirectResponse)
		l.doc.final, l.traces = true, true
		l.order(func(ctx context.Context) { l.tab.target.Call(ctx, page.StopLoading.Method, cdp.Empty{}, nil) })
	case !l.asked:
		l.asked, l.url, l.asker = true, url, ev.LoaderID
	case sameDocument(url, l.url):
		if ev.RequestID == l.leaver {
			l.leaving = "" // and was sent back
		}
		l.cached = true
		if l.reloads++; l.reloads == 1 {
			// One that reloads itself for ever is to be stopped without harm to what
			// it is loading, which takes a pause before each.
			l.order(func(ctx context.Context) { l.tab.pauseDocuments(ctx, fetch.RequestStageRequest) })
		}
	case l.page.Rule.Rendering.FollowRedirects && l.followed < maxFollowed:
		l.followed++
		l.url, l.cached = url, true
	case l.elsewhere == "" && ev.RequestID != l.leaver:
		l.leaving, l.leaver, l.traces = url, ev.RequestID, true // unless it is a download, see onDocument
	}
}

// order sends a command in answer to an event. The tab is not left before it has
// been carried out: it would meet the next page. l.mu is held.
func (l *load) order(send func(context.Context)) {
	if l.left {
		return
	}
	l.orders.Go(func() {
		ctx, cancel := context.WithTimeout(l.tab.ctx, tidyTimeout)
		defer cancel()
		send(ctx)
	})
}

// sameDocument compares URLs but for the place in the document.
func sameDocument(a, b string) bool {
	a, _, _ = strings.Cut(a, "#")
	b, _, _ = strings.Cut(b, "#")
	return a == b
}

// onDocument sees the origin's answer. l.mu is held.
func (l *load) onDocument(ev *network.EventResponseReceived) {
	doc := newDocument(ev.Response)
	switch first := l.doc == nil; {
	case !l.asked: // of the page before
	case l.elsewhere != "" || l.doc != nil && l.doc.final:
	case l.leaving != "" && doc.keepsPage():
		l.leaving = ""
	case l.leaving != "":
		l.elsewhere = l.leaving
	case doc.isEgressFailure():
		l.err = l.navigationError("refused by the egress proxy")
	case first:
		doc.final = doc.isEmpty()
		l.doc = doc
	case !doc.isFile() && !doc.isEmpty():
		l.doc = doc // the page has reloaded itself, or was followed
	}
}

// pauseDocuments has the documents of the main frame and others stop for onPaused.
func (t *tab) pauseDocuments(ctx context.Context, stage fetch.RequestStage) error {
	return t.target.Call(ctx, fetch.Enable.Method, fetch.EnableParams{Patterns: []*fetch.RequestPattern{
		{ResourceType: network.ResourceTypeDocument, RequestStage: stage}}}, nil)
}

// onPaused decides on the documents of a page that reloads itself, and takes
// files (see file).
func (l *load) onPaused(ev *fetch.EventRequestPaused) {
	isMain := ev.FrameID == l.mainFrame()
	isResponse := ev.ResponseStatusCode != 0 || ev.ResponseErrorReason != ""
	l.mu.Lock()
	tooOften := l.reloads > maxReloads
	l.mu.Unlock()
	switch {
	case isMain && isResponse:
		l.files <- ev
	case isMain && tooOften:
		l.tab.target.Call(l.tab.ctx, fetch.FailRequest.Method, fetch.FailRequestParams{
			RequestID: ev.RequestID, ErrorReason: network.ErrorReasonAborted}, nil)
	default:
		l.tab.target.Call(l.tab.ctx, fetch.ContinueRequest.Method, fetch.ContinueRequestParams{RequestID: ev.RequestID}, nil)
	}
}

// file reads a document that is handed on as it is. What the browser has got of
// it is gone, so it is asked for again and stopped on its way: files are rare
// among pages, and only a pause of every page would spare them the second request.
func (l *load) file(ctx context.Context) (*document, error) {
	l.mu.Lock()
	l.traces, l.doc.final = true, true
	contentType := l.doc.header.Get("Content-Type")
	l.mu.Unlock()
	if err := l.tab.pauseDocuments(ctx, fetch.RequestStageResponse); err != nil {
		return nil, deadlineIs(prerender.ErrOriginTimeout, err)
	}
	if err := l.process.pipe.mark(ctx, l.mainFrame()); err != nil {
		return nil, fmt.Errorf("%w: %w", prerender.ErrRendererDown, err)
	}
	defer l.process.pipe.unmark(ctx, l.mainFrame())
	failed := make(chan error, 1)
	go func() {
		res, err := cdp.Call(ctx, l.tab.target, page.Navigate, page.NavigateParams{URL: l.page.URL})
		if err != nil {
			failed <- deadlineIs(prerender.ErrOriginTimeout, err)
			return
		}
		failed <- l.navigationError(res.ErrorText)
	}()
	select {
	case ev := <-l.files:
		defer l.tab.target.Call(ctx, fetch.FailRequest.Method, fetch.FailRequestParams{
			RequestID: ev.RequestID, ErrorReason: network.ErrorReasonAborted}, nil)
		doc, err := l.readFile(ctx, ev)
		if err == nil && doc.header.Get("Content-Type") == "" {
			doc.header.Set("Content-Type", contentType)
		}
		return doc, err
	case err := <-failed:
		return nil, err
	}
}

func (l *load) readFile(ctx context.Context, ev *fetch.EventRequestPaused) (*document, error) {
	doc := &document{url: ev.Request.URL, status: int(ev.ResponseStatusCode), header: http.Header{}, final: true}
	for _, h := range ev.ResponseHeaders {
		doc.header.Add(h.Name, h.Value)
	}
	if doc.isEgressFailure() {
		return nil, l.navigationError("refused by the egress proxy")
	}
	if doc.header.Get("Location") != "" && doc.status >= 300 && doc.status < 400 {
		return doc, nil // now it is elsewhere
	}
	if err := doc.tooLarge(); err != nil {
		return nil, fmt.Errorf("%s is %w: %w", l.page.URL, err, prerender.ErrContentRefused)
	}
	stream, err := cdp.Call(ctx, l.tab.target, fetch.TakeResponseBodyAsStream, fetch.TakeResponseBodyAsStreamParams{RequestID: ev.RequestID})
	if err != nil {
		return nil, fmt.Errorf("read %s: %v: %w", l.page.URL, err, prerender.ErrOriginUnreachable)
	}
	for {
		part, err := cdp.Call(ctx, l.tab.target, cdpio.Read, cdpio.ReadParams{Handle: stream.Stream})
		if err != nil {
			return nil, fmt.Errorf("read %s: %v: %w", l.page.URL, err, prerender.ErrOriginUnreachable)
		}
		doc.body = append(doc.body, part.Data...)
		if len(doc.body) > maxFile {
			return nil, fmt.Errorf("%s has more than the %d bytes that are handed on: %w", l.page.URL, maxFile, prerender.ErrContentRefused)
		}
		if part.EOF {
			return doc, nil
		}
	}
}
