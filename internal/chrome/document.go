package chrome

import (
	"fmt"
	"mime"
	"net/http"
	"strconv"
	"strings"

	"github.com/chromedp/cdproto/fetch"
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
	contentType := "text/html; charset=utf-8"
	if d.final && len(d.body) > 0 {
		contentType = strings.TrimSpace(d.header.Get("Content-Type"))
	}
	h.Set("Content-Type", contentType)
	return h
}
