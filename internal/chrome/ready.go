package chrome

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/network"

	"github.com/stillpage/stillpage/internal/prerender"
)

// Readiness by virtual time. The page's clock jumps over idle timers and stands
// still while requests are under way, so five seconds of the page's life take
// as long as its work and its requests. It is granted time in rounds, and is
// finished when a round has changed nothing.
const (
	// firstGrant is how much of its life every page is given: what a patient
	// person waits. Timers within it fire.
	firstGrant = 5 * time.Second

	// nextGrant is for what settling has started: content that came into view,
	// and what it loads.
	nextGrant = time.Second

	// mostLife is how far a page's timers are followed that fire once: what a render has
	// by default, without reserve. What comes later, nobody waits for.
	mostLife = 12 * time.Second

	// mostRounds bounds a page that changes for ever.
	mostRounds = 15

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

	// tasksPerStep is Chromium's bound on the tasks that run before the virtual
	// clock is moved by force; a page that keeps itself busy must not stop it.
	tasksPerStep = 10000

	// pushGrace is how long, of real time, a web socket or event source may take to its
	// first message, which is often the page's content, or an answer to what the page
	// sends for it. When it has been quiet for pushQuiet, or has talked for pushMost, what
	// comes is news.
	pushGrace = 500 * time.Millisecond
	pushQuiet = 300 * time.Millisecond
	pushMost  = 2 * time.Second
)

// ready returns when the page is finished. When its time is up, partial says
// what the page was waiting for.
//
// It is the one place that decides this; the rest of the package does not know
// how.
func (l *load) ready(ctx context.Context) (partial string, err error) {
	ctx, cancel := withoutLast(ctx, reserve)
	defer cancel()
	if l.page.Rule.Rendering.RealTime {
		return l.readyInRealTime(ctx)
	}
	grant, life := firstGrant, time.Duration(0)
	elements, heldLooks, unanswered := -1, 0, false
	var calm calm
	for round := 0; round < mostRounds; round++ {
		late, err := l.grant(ctx, grant)
		if err != nil {
			return l.timeIsUp(ctx, err)
		}
		life += grant
		if l.isOver() {
			return "", nil
		}
		page, err := l.settle(ctx)
		if err != nil && ctx.Err() != nil {
			return l.timeIsUp(ctx, err)
		}
		if err != nil {
			// No answer is not "nothing moves": the page has just reloaded itself.
			elements, grant = -1, nextGrant
			continue
		}
		if page.Background && !calm.reached(page) {
			// Its work takes real time, and no round is to be wasted on that.
			if err := pause(ctx, calmStep); err != nil {
				return l.timeIsUp(ctx, err)
			}
			elements, grant, round = page.Elements, nextGrant, round-1
			continue
		}
		if page.Asked > 0 && !unanswered {
			unanswered = true
			l.mu.Lock()
			l.warn("a worker or a lock has not answered within three seconds, and was not waited for")
			l.mu.Unlock()
		}
		if page.Owed > 0 {
			l.ended = "its work beside the clock did not end"
			return "storage or computation that did not end", nil
		}
		if page.Timer > 0 && page.Timer <= float64((mostLife-life)/time.Millisecond) {
			timer := time.Duration(page.Timer)*time.Millisecond + time.Millisecond
			elements, grant = page.Elements, max(timer, nextGrant)
			continue
		}
		if page.Held && heldLooks < calmMost && l.mayStillCome() {
			// The page waits for something that takes real time, like a message.
			if err := pause(ctx, calmStep); err != nil {
				return l.timeIsUp(ctx, err)
			}
			heldLooks++
			elements, grant, round = -1, calmStep, round-1
			continue
		}
		if !page.Held && page.Elements == elements {
			l.ended = fmt.Sprintf("another second of its time, after %d rounds, had changed nothing", round)
			return "", nil
		}
		if elements < 0 && !page.Held && !page.Watches && !late {
			l.ended = fmt.Sprintf("%v of its time had passed, no request was under way, and it watches for nothing else", firstGrant)
			return "", nil
		}
		elements, grant = page.Elements, nextGrant
		if page.Held {
			elements = -1
		}
	}
	l.ended = fmt.Sprintf("it was still changing after %d rounds", mostRounds)
	if l.heldAtLast {
		return heldBack, nil
	}
	return "", nil
}

// calm tells when a page's work beside the clock has come to an end: nothing has
// moved for some looks, and nothing is owed. What never ends is given up.
type calm struct {
	elements, text int
	same, looks    int
}

const (
	calmStep = 20 * time.Millisecond
	calmSame = 5   // looks: a tenth of a second for what is not counted
	calmMore = 50  // looks: a second for workers that have answered, and may again
	calmMost = 150 // looks: three seconds
)

func (c *calm) reached(page settled) bool {
	if page.Elements == c.elements && page.Text == c.text && page.Owed+page.Asked == 0 {
		c.same++
	} else {
		c.same = 0
	}
	c.elements, c.text = page.Elements, page.Text
	c.looks++
	most := calmSame
	if page.More > 0 {
		most = calmMore
	}
	return c.same >= most || c.looks >= calmMost
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// What a page is waiting for that is no request.
const busy = "its own scripts, which kept the browser busy"

const heldBack = "window.prerenderReady, which the page left at false"

// isOver says whether the page is not to be shown whatever becomes of it.
func (l *load) isOver() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err != nil || l.elsewhere != ""
}

// timeIsUp tells a page that is late from a browser that is gone.
func (l *load) timeIsUp(ctx context.Context, err error) (string, error) {
	l.mu.Lock()
	crashed := l.crashed
	l.ended = "the time for its render was up"
	l.mu.Unlock()
	switch {
	case crashed:
		return "", fmt.Errorf("page %s crashed its process: %w", l.page.URL, prerender.ErrRendererDown)
	case ctx.Err() == nil || l.process.isLost():
		return "", fmt.Errorf("%w: %w", prerender.ErrRendererDown, err)
	case l.heldAtLast:
		return heldBack, nil
	}
	return l.waitingFor(), nil
}

// settled is what settle of prelude.js returns.
type settled struct {
	Elements int  `json:"elements"`
	Held     bool `json:"held"`
	Watches  bool `json:"watches"`

	// Timer is after how many milliseconds the page's next timer fires that fires once; 0:
	// it has none.
	Timer float64 `json:"timer"`

	Traces bool `json:"traces"`

	Background bool `json:"background"`
	Text       int  `json:"text"`
	Owed       int  `json:"owed"`  // by storage and computation
	Asked      int  `json:"asked"` // workers and locks that have not answered
	More       int  `json:"more"`  // workers that have, but not to all that they were asked
}

// settle has the page looked at from top to end.
func (l *load) settle(ctx context.Context) (settled, error) {
	var s settled
	var beside sync.WaitGroup
	if l.world == 0 { // it is wanted soon, and the way there and back is the most of it
		beside.Go(func() { l.world, _ = l.makeWorld(ctx) })
	}
	err := l.evaluate(ctx, "window.__stillpage.settle()", 0, &s)
	beside.Wait()
	if err == nil {
		l.heldAtLast = s.Held
	}
	l.traces = l.traces || s.Traces || s.Background || err != nil
	return s, err
}

// grant gives the page virtual time and returns when it is used up and what the
// page has asked the network for is there. late says that something came when
// the clock had stopped already, so that the page may want more time for it.
func (l *load) grant(ctx context.Context, virtual time.Duration) (late bool, err error) {
	l.mu.Lock()
	l.expired = false
	l.mu.Unlock()
	policy := emulation.VirtualTimePolicyPauseIfNetworkFetchesPending
	budget := float64(virtual / time.Millisecond)
	if err := l.setPolicy(ctx, policy, &budget); err != nil {
		return false, err
	}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		l.mu.Lock()
		expired, crashed := l.expired, l.crashed
		waiting, hopeless := l.pending(time.Now())
		over := l.err != nil || l.elsewhere != ""
		l.mu.Unlock()
		switch {
		case over:
			return false, nil
		case crashed || l.process.isLost():
			return false, fmt.Errorf("load %s: %w", l.page.URL, prerender.ErrRendererDown)
		case expired && !waiting && l.isReadAfterAll(ctx):
			continue
		case expired && !waiting:
			return late, nil
		case waiting && l.findUnread(ctx):
			continue
		case !expired && !waiting && hopeless && policy != emulation.VirtualTimePolicyAdvance:
			// Only requests that never end are left, and the clock waits for them. The budget
			// stays: with another, there would be two ends, and the second would be taken for
			// that of a later grant, in this page or in the tab's next.
			policy = emulation.VirtualTimePolicyAdvance
			if err := l.setPolicy(ctx, policy, nil); err != nil {
				return false, err
			}
		}
		late = late || expired
		select {
		case <-l.changed:
		case <-tick.C:
		case <-ctx.Done():
			return false, ctx.Err()
		}
	}
}

// findUnread looks for answers whose body no script reads, and says whether there are new
// ones. Frames are not asked.
func (l *load) findUnread(ctx context.Context) bool {
	l.mu.Lock()
	var quiet []*request
	for _, r := range l.inFlight {
		if r.kind == network.ResourceTypeFetch && r.answered && !r.isUnread && !r.isFramed && time.Since(r.lastBytes) > unreadGrace {
			quiet = append(quiet, r)
		}
	}
	l.mu.Unlock()
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
	l.mu.Lock()
	var unread []*request
	for _, r := range l.inFlight {
		if r.isUnread {
			unread = append(unread, r)
		}
	}
	l.mu.Unlock()
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

func (l *load) setPolicy(ctx context.Context, policy emulation.VirtualTimePolicy, budget *float64) error {
	_, err := cdp.Call(ctx, l.tab.target, emulation.SetVirtualTimePolicy, emulation.SetVirtualTimePolicyParams{
		Policy: policy, Budget: budget, MaxVirtualTimeTaskStarvationCount: tasksPerStep,
	})
	return err
}

// request is one of the page's that has not ended.
type request struct {
	entry     *Request
	url       string
	kind      network.ResourceType
	isContent bool // a script of the page's own site, or what one asks it for
	isPoll    bool // a script has asked for it time and again
	opened    time.Time
	isFramed  bool // of a document in a frame
	answered  bool // the head of the response is there
	hasData   bool // some of the body, or a message, is there
	isUnread  bool // nobody reads the body

	answeredAt time.Time
	lastBytes  time.Time // of the body, or the last message, either way
}

// isPush says whether the request is for messages without end.
func (r *request) isPush() bool {
	return r.kind == network.ResourceTypeEventSource || r.kind == network.ResourceTypeWebSocket
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
			r.kind == network.ResourceTypePing, r.kind == network.ResourceTypeMedia, r.isPoll, r.isUnread,
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

// mayStillCome says whether there is something that may bring the page what it waits for,
// messages among it.
func (l *load) mayStillCome() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range l.inFlight {
		if r.isPush() {
			return true
		}
	}
	waiting, _ := l.pending(time.Now())
	return waiting
}

// isUnanswered says whether a request has no answer yet.
func (l *load) isUnanswered() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range l.inFlight {
		if !r.answered {
			return true
		}
	}
	return false
}

// waitingFor describes what kept the page from being ready.
func (l *load) waitingFor() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	const most = 3
	var urls []string
	for _, r := range l.inFlight {
		if r.kind != network.ResourceTypeDocument || !r.answered { // a script in it may be what never ends
			urls = append(urls, r.url)
		}
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

// readyInRealTime is for sites that do not bear a jumping clock: the network has
// been silent for half a second, and prerenderReady is not false.
func (l *load) readyInRealTime(ctx context.Context) (partial string, err error) {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		l.mu.Lock()
		idle := l.isIdle()
		l.mu.Unlock()
		if l.isOver() {
			return "", nil
		}
		if idle {
			// An error is no answer: the page may just have reloaded itself.
			s, err := l.settle(ctx)
			if err == nil && !s.Held {
				l.ended = "the network had been silent for half a second"
				return "", nil
			}
			if l.process.isLost() {
				return l.timeIsUp(ctx, err)
			}
		}
		select {
		case <-l.changed:
		case <-tick.C:
		case <-ctx.Done():
			return l.timeIsUp(ctx, ctx.Err())
		}
	}
}
