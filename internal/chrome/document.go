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

func newDocument(ev *fetch.EventRequestPaused) *document {
	d := &document{url: ev.Request.URL, status: int(ev.ResponseStatusCode), header: http.Header{}}
	for _, h := range ev.ResponseHeaders {
		d.header.Add(h.Name, h.Value)
	}
	return d
}

// isEgressFailure says whether the egress proxy answered in the origin's place.
// Only the answers to plain HTTP are the proxy's to mark.
func (d *document) isEgressFailure() bool {
	return d.header.Get(egressFailureHeader) != "" && strings.HasPrefix(d.url, "http:")
}

// isRedirect says whether a browser would go elsewhere.
func (d *document) isRedirect() bool {
	switch d.status {
	case 301, 302, 303, 307, 308:
		return d.header.Get("Location") != ""
	}
	return false
}

// isFile says whether the document is something else than a web page. One
// without a type is left to the browser, which looks at its first bytes.
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

// onPaused decides on documents: the page's own and those of its frames.
func (l *load) onPaused(ev *fetch.EventRequestPaused) {
	ctx, target := l.tab.ctx, l.tab.target
	isResponse := ev.ResponseStatusCode != 0 || ev.ResponseErrorReason != ""
	isMain := ev.FrameID == l.mainFrame()
	switch {
	case isMain && !isResponse && !l.mayLoad(ev):
		target.Call(ctx, fetch.FailRequest.Method, fetch.FailRequestParams{
			RequestID: ev.RequestID, ErrorReason: network.ErrorReasonAborted}, nil)
	case isMain && !isResponse:
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

// maxReloads is how often a page may reload itself: once for a cookie that it
// wants to have set, and twice more.
const maxReloads = 3

// maxFollowed is how many documents a page may lead to, one after the other,
// on sites that want them followed.
const maxFollowed = 5

// mayLoad decides on a request for a document in the main frame: the page, and
// the page again, but no other. That is where a visitor would be sent, and so
// is the crawler.
func (l *load) mayLoad(ev *fetch.EventRequestPaused) bool {
	url := ev.Request.URL
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case !l.asked:
		l.asked, l.url, l.asker = true, url, cdp.LoaderID(ev.NetworkID)
		return true
	case sameDocument(url, l.url):
		l.reloads++
		return l.reloads <= maxReloads
	case l.page.Site.Rendering.FollowRedirects && l.followed < maxFollowed:
		l.followed++
		l.url = url
		return true
	default:
		if l.elsewhere == "" {
			l.elsewhere = url
		}
		return false
	}
}

// sameDocument compares URLs but for the place in the document.
func sameDocument(a, b string) bool {
	a, _, _ = strings.Cut(a, "#")
	b, _, _ = strings.Cut(b, "#")
	return a == b
}

// takeOver records the origin's answer. It returns true if the browser is not
// to see it.
func (l *load) takeOver(ctx context.Context, ev *fetch.EventRequestPaused) bool {
	doc := newDocument(ev)
	l.mu.Lock()
	isReload := l.doc != nil
	l.mu.Unlock()
	var err error
	switch {
	case doc.isEgressFailure():
		err = l.navigationError("refused by the egress proxy")
	case isReload && doc.isRedirect():
		return false // followed, and mayLoad looks at where to
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
	stream, err := cdp.Call(ctx, l.tab.target, fetch.TakeResponseBodyAsStream, fetch.TakeResponseBodyAsStreamParams{RequestID: id})
	if err != nil {
		return nil, fmt.Errorf("read %s: %v: %w", l.page.URL, err, prerender.ErrOriginUnreachable)
	}
	var body []byte
	for {
		part, err := cdp.Call(ctx, l.tab.target, cdpio.Read, cdpio.ReadParams{Handle: stream.Stream})
		if err != nil {
			return nil, fmt.Errorf("read %s: %v: %w", l.page.URL, err, prerender.ErrOriginUnreachable)
		}
		body = append(body, part.Data...)
		if len(body) > maxFile {
			return nil, fmt.Errorf("%s has more than the %d bytes that are handed on: %w", l.page.URL, maxFile, prerender.ErrContentRefused)
		}
		if part.EOF {
			return body, nil
		}
	}
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
