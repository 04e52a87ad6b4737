package chrome

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/chromedp/cdproto/network"
	"golang.org/x/net/publicsuffix"
)

// What of a page's requests is worth waiting for, in real time; ready.go waits.
const (
	// slowRequest is how long, of real time, a request may go without an answer
	// before the clock goes on without it, or a script or style without more of its
	// body; slowContent is the same for scripts of the page's own site and what they
	// ask it for, which is the page. quietBody is for the body of what a script reads,
	// which may be a stream without end, and longBody for one that never stops.
	slowRequest = 4 * time.Second
	slowContent = 8 * time.Second
	quietBody   = 3 * time.Second
	longBody    = 8 * time.Second

	// unreadGrace is after what silence it is asked whether anybody reads a body: of many
	// answers scripts want to know the status only, and their end never comes.
	// unreadTime bounds the asking.
	unreadGrace = 100 * time.Millisecond
	unreadTime  = 200 * time.Millisecond

	// pollTime is after what time, of real time, a script that asks for the same again
	// and again is not waited for any more: there is always another.
	pollTime  = 8 * time.Second
	pollTimes = 4

	// pushGrace is how long, of real time, a web socket or event source may take to its
	// first message, which is often the page's content, or an answer to what the page
	// sends for it. When it has been quiet for pushQuiet, or has talked for pushMost, what
	// comes is news.
	pushGrace = 500 * time.Millisecond
	pushQuiet = 300 * time.Millisecond
	pushMost  = 2 * time.Second
)

// request is one of the page's that has not ended.
type request struct {
	entry     *Request
	url       string
	kind      network.ResourceType
	isContent bool // a script of the page's own site, or what one asks it for
	isPoll    bool // a script has asked for it time and again
	opened    time.Time
	isFramed  bool // of a document in a frame
	isPreload bool // of the markup, for a script that will ask
	answered  bool // the head of the response is there
	hasData   bool // some of the body, or a message, is there
	isUnread  bool // nobody reads the body

	answeredAt time.Time
	lastBytes  time.Time // of the body, or the last message, either way
}

// begin notes a request. l.mu is held.
func (l *load) begin(id network.RequestID, url string, kind network.ResourceType) *request {
	const most = 500
	entry := &Request{URL: short(url), Kind: string(kind), Start: time.Since(l.started)}
	if len(l.timeline) < most {
		l.timeline = append(l.timeline, entry)
	}
	isContent := (isByScript(kind) || kind == network.ResourceTypeScript) && sameSite(url, l.page.Site.Origin.Host)
	r := &request{url: entry.URL, kind: kind, isContent: isContent, opened: time.Now(), entry: entry}
	l.inFlight[id] = r
	return r
}

// asking is how often a script has asked for the same, and since when.
type asking struct {
	times int
	since time.Time
}

// isAskedAgain counts that a script asks for a URL, and says whether it does so without
// end. l.mu is held.
func (l *load) isAskedAgain(url string) bool {
	const most = 500
	a, known := l.asks[url]
	if !known && len(l.asks) >= most || !strings.HasPrefix(url, "http") {
		return false
	}
	if a.times++; !known {
		a.since = time.Now()
	}
	l.asks[url] = a
	return a.times >= pollTimes && time.Since(a.since) > pollTime
}

// isPush says whether the request is for messages without end.
func (r *request) isPush() bool {
	return r.kind == network.ResourceTypeEventSource || r.kind == network.ResourceTypeWebSocket
}

// isAside says whether nothing of the page depends on the answer.
func (r *request) isAside() bool {
	return r.kind == network.ResourceTypePing || r.kind == network.ResourceTypeMedia || r.kind == network.ResourceTypePrefetch
}

// isNews says whether what a push may still bring is not the page's content.
func (r *request) isNews(now time.Time) bool {
	switch {
	case now.Sub(r.opened) > pushMost:
		return true
	case r.hasData:
		return now.Sub(r.lastBytes) > pushQuiet
	default:
		return now.Sub(r.opened) > pushGrace && now.Sub(r.lastBytes) > pushGrace
	}
}

// isByScript says whether a script has asked for it, to read it.
func isByScript(kind network.ResourceType) bool {
	return kind == network.ResourceTypeFetch || kind == network.ResourceTypeXHR
}

// mostSilence is how long the head of an answer may take, mostQuiet more of the body.
func (r *request) mostSilence() time.Duration {
	if r.isContent {
		return slowContent
	}
	return slowRequest
}

func (r *request) mostQuiet() time.Duration {
	if isByScript(r.kind) {
		return quietBody
	}
	return slowRequest
}

// pending looks at the requests under way: whether there are any that are worth
// waiting for, and any that are not. l.mu is held.
func (l *load) pending(now time.Time) (waiting, hopeless bool) {
	for _, r := range l.inFlight {
		switch {
		case r.isPush() && r.isNews(now),
			r.isAside(), r.isPoll, r.isUnread,
			!r.answered && now.Sub(r.opened) > r.mostSilence(),
			r.answered && now.Sub(r.lastBytes) > r.mostQuiet(),
			r.answered && now.Sub(r.answeredAt) > longBody:
			hopeless = true
		default:
			waiting = true
		}
	}
	return waiting, hopeless
}

// those picks of the requests under way.
func (l *load) those(are func(*request) bool) []*request {
	l.mu.Lock()
	defer l.mu.Unlock()
	var picked []*request
	for _, r := range l.inFlight {
		if are(r) {
			picked = append(picked, r)
		}
	}
	return picked
}

// mayStillCome says whether there is something that may bring the page what it waits for,
// messages among it.
func (l *load) mayStillCome() bool {
	if len(l.those((*request).isPush)) > 0 {
		return true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	waiting, _ := l.pending(time.Now())
	return waiting
}

// isUnanswered says whether a request has no answer yet.
func (l *load) isUnanswered() bool {
	return len(l.those(func(r *request) bool { return !r.answered && !r.isAside() })) > 0
}

// waitingFor describes what kept the page from being ready.
func (l *load) waitingFor() string {
	const most = 3
	var urls []string
	for _, r := range l.those(func(r *request) bool {
		return !r.isAside() && (r.kind != network.ResourceTypeDocument || !r.answered)
	}) {
		urls = append(urls, r.url) // an answered document is not it: a script in it may be what never ends
	}
	slices.Sort(urls)
	if len(urls) > most {
		urls = append(urls[:most], fmt.Sprintf("and %d more", len(urls)-most))
	}
	if len(urls) == 0 {
		return busy
	}
	return "requests without an answer: " + strings.Join(urls, ", ")
}

// findUnread looks for answers whose body no script reads, and says whether there are new
// ones. Frames are not asked.
func (l *load) findUnread(ctx context.Context) bool {
	quiet := l.those(func(r *request) bool {
		return r.kind == network.ResourceTypeFetch && r.answered && !r.isUnread && !r.isFramed && time.Since(r.lastBytes) > unreadGrace
	})
	if len(quiet) == 0 || l.isReading(ctx) {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range quiet {
		r.isUnread = true
	}
	return true
}

// isReadAfterAll says whether scripts have begun to read since, and then takes back what
// was found.
func (l *load) isReadAfterAll(ctx context.Context) bool {
	unread := l.those(func(r *request) bool { return r.isUnread })
	if len(unread) == 0 || !l.isReading(ctx) {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range unread {
		r.isUnread, r.lastBytes = false, time.Now()
	}
	return true
}

// isReading asks the page. One that does not answer may be reading.
func (l *load) isReading(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, unreadTime)
	defer cancel()
	reading := true
	return l.evaluate(ctx, "window.__stillpage.reading()", 0, &reading) != nil || reading
}

// sameSite says whether a URL's host belongs to the same site as another, as
// api.example.com and www.example.com do: what one owner has registered, by the public
// suffix list. What has no such name, as an address has none, is its own site.
func sameSite(address, host string) bool {
	u, err := url.Parse(address)
	return err == nil && registered(u.Hostname()) == registered((&url.URL{Host: host}).Hostname())
}

func registered(name string) string {
	if domain, err := publicsuffix.EffectiveTLDPlusOne(name); err == nil && net.ParseIP(name) == nil {
		return domain
	}
	return name
}
