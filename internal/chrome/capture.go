package chrome

import (
	"net/http"
	"strings"
	"time"

	"github.com/stillpage/stillpage/internal/prerender"
)

// Capture is all that is known of a page after its render.
type Capture struct {
	URL      string
	Status   int
	Header   http.Header // what may be handed on, see handedOn
	Body     []byte
	Title    string
	Content  *prerender.Content // nil: not a web page
	Partial  string
	Phases   []prerender.Phase
	Warnings []string
	Blocked  []string  // URLs that the block list kept from loading
	Failed   []Failure // requests that failed otherwise
	Requests int
	Bytes    int64 // received over the network, as sent
	Timeline []Request
	Work     []Work   // if it was asked for
	Ended    string   // why the page was taken when it was
	Console  []string // what the page reported as errors
	// Screenshot is a PNG, when one was asked for.
	Screenshot []byte
}

// Request is one of the page's. Start and End count from the render's begin; an
// End of zero means that it had not ended when the page was taken.
type Request struct {
	URL        string
	Kind       string // as the browser names it: Script, Fetch, Image, …
	Start, End time.Duration
	Status     int
	Bytes      int64
	Failed     string // why there is no answer
}

// Failure is a request of the page that got no answer.
type Failure struct {
	URL, Reason string
}

func (c *Capture) rendering() *prerender.Rendering {
	return &prerender.Rendering{Status: c.Status, Header: c.Header, Body: c.Body, Content: c.Content, Partial: c.Partial, Phases: c.Phases}
}

// handedOn are the origin's response headers that a crawler gets too, and the tags
// (Cache-Tag, Surrogate-Key), which the core keeps to itself. All others describe the empty shell, or belong to one visitor (Set-Cookie).
var handedOn = []string{
	"Cache-Control", "Cache-Tag", "Content-Language", "Etag", "Last-Modified", "Link", "Location", "Retry-After", "Surrogate-Key", "X-Robots-Tag",
}

// forbiddenWishes are headers that a page cannot set by a meta tag: they belong
// to the connection, to the body as this service sends it, or to one visitor.
var forbiddenWishes = map[string]bool{
	"Connection": true, "Content-Encoding": true, "Content-Length": true, "Content-Type": true, "Date": true,
	"Keep-Alive": true, "Set-Cookie": true, "Trailer": true, "Transfer-Encoding": true, "Upgrade": true,
}

// maxWishes bounds the headers that a page asks for, in bytes: what servers take
// of a client's.
const maxWishes = 8 << 10

// apply writes what the serialiser found into the capture.
func (c *Capture) apply(s serialised) {
	c.Body = []byte(s.HTML)
	c.Title = s.Title
	s.Content.Title = s.Title
	c.Content = prerender.NewContent(s.Content)
	switch {
	case s.Status != 0:
		c.Status = s.Status
	case s.SoftStatus != 0 && c.Status == http.StatusOK:
		c.Status = s.SoftStatus
	}
	wished := map[string]bool{}
	room := maxWishes
	for _, h := range s.Headers {
		name := http.CanonicalHeaderKey(h[0])
		if room -= len(h[0]) + len(h[1]); room < 0 {
			c.Warnings = append(c.Warnings, "the page asks for more headers than fit into 8 kB")
			break
		}
		if !validHeader(name, h[1]) || forbiddenWishes[name] || strings.HasPrefix(name, "X-Stillpage-") {
			c.Warnings = append(c.Warnings, "the page asks for header "+h[0]+", which it cannot set")
			continue
		}
		if !wished[name] {
			c.Header.Del(name) // the page knows better than the origin
			wished[name] = true
		}
		c.Header.Add(name, h[1])
	}
}

// validHeader holds a header against RFC 9110: a token, and a value without
// control characters.
func validHeader(name, value string) bool {
	for _, r := range name {
		if r <= ' ' || r >= 0x7f || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, r) {
			return false
		}
	}
	return name != "" && !strings.ContainsFunc(value, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f })
}

// stopwatch cuts the time of a render into phases.
type stopwatch struct {
	last   time.Time
	phases []prerender.Phase
}

func (s *stopwatch) lap(name string) {
	now := time.Now()
	s.phases = append(s.phases, prerender.Phase{Name: name, Duration: now.Sub(s.last)})
	s.last = now
}
