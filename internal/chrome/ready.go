package chrome

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"

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

	// tasksPerStep is Chromium's bound on the tasks that run before the virtual
	// clock is moved by force; a page that keeps itself busy must not stop it.
	tasksPerStep = 10000
)

// ready returns when the page is finished. When its time is up, partial says
// what the page was waiting for.
//
// It decides this with requests.go, which knows what is worth waiting for; the rest of
// the package does not know how.
func (l *load) ready(ctx context.Context) (partial string, err error) {
	ctx, cancel := withoutLast(ctx, reserve)
	defer cancel()
	if l.page.Rule.Rendering.RealTime {
		return l.readyInRealTime(ctx)
	}
	grant, life := firstGrant, time.Duration(0)
	state, heldLooks, unanswered := -1, 0, false
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
			state, grant = -1, nextGrant
			continue
		}
		if page.Background && !calm.reached(page) {
			// Its work takes real time, and no round is to be wasted on that.
			if err := pause(ctx, calmStep); err != nil {
				return l.timeIsUp(ctx, err)
			}
			state, grant, round = page.State, nextGrant, round-1
			continue
		}
		if page.Asked > 0 && !unanswered {
			unanswered = true
			l.mu.Lock()
			l.warn("a worker or a lock has not answered within three seconds, and was not waited for")
			l.mu.Unlock()
		}
		if page.Walk > 0 {
			state, grant = -1, time.Duration(page.Walk)*time.Millisecond+time.Millisecond
			continue
		}
		if page.Owed > 0 {
			l.ended = "its work beside the clock did not end"
			return "storage or computation that did not end", nil
		}
		if page.Timer > 0 && page.Timer <= float64((mostLife-life)/time.Millisecond) {
			timer := time.Duration(page.Timer)*time.Millisecond + time.Millisecond
			state, grant = page.State, max(timer, nextGrant)
			continue
		}
		if page.Held && heldLooks < calmMost && l.mayStillCome() {
			// The page waits for something that takes real time, like a message.
			if err := pause(ctx, calmStep); err != nil {
				return l.timeIsUp(ctx, err)
			}
			heldLooks++
			state, grant, round = -1, calmStep, round-1
			continue
		}
		if !page.Held && page.State == state {
			l.ended = fmt.Sprintf("%v of its time had passed, and another second (round %d) had changed nothing", firstGrant, max(1, round))
			return "", nil
		}
		if state < 0 && !page.Held && !page.Watches && !late {
			l.ended = fmt.Sprintf("%v of its time had passed, no request was under way, and it watches for nothing else", firstGrant)
			return "", nil
		}
		state, grant = page.State, nextGrant
		if page.Held {
			state = -1
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
	state, text int
	same, looks int
}

const (
	calmStep = 20 * time.Millisecond
	calmSame = 5   // looks: a tenth of a second for what is not counted
	calmMore = 50  // looks: a second for workers that have answered, and may again
	calmMost = 150 // looks: three seconds
)

func (c *calm) reached(page settled) bool {
	if page.State == c.state && page.Text == c.text && page.Owed+page.Asked == 0 {
		c.same++
	} else {
		c.same = 0
	}
	c.state, c.text = page.State, page.Text
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

// settled is what prelude/settle.js returns.
type settled struct {
	State   int  `json:"state"` // another when something has changed
	Held    bool `json:"held"`
	Watches bool `json:"watches"`

	// Walk is for how many milliseconds the page is going to be scrolled.
	Walk float64 `json:"walk"`

	// Timer is after how many milliseconds the page's next timer fires that fires once; 0:
	// it has none.
	Timer float64 `json:"timer"`

	Traces  bool `json:"traces"`
	Workers bool `json:"workers"`

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
	l.mu.Lock()
	defer l.mu.Unlock()
	l.traces = l.traces || s.Traces || s.Background || err != nil
	l.cached = l.cached || s.Workers || err != nil
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

func (l *load) setPolicy(ctx context.Context, policy emulation.VirtualTimePolicy, budget *float64) error {
	_, err := cdp.Call(ctx, l.tab.target, emulation.SetVirtualTimePolicy, emulation.SetVirtualTimePolicyParams{
		Policy: policy, Budget: budget, MaxVirtualTimeTaskStarvationCount: tasksPerStep,
	})
	return err
}

// readyInRealTime is for sites that do not bear a jumping clock: the network has
// been silent for half a second, and prerenderReady is not false.
func (l *load) readyInRealTime(ctx context.Context) (partial string, err error) {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	walked := false
	for {
		l.mu.Lock()
		idle := l.isIdle()
		if walked && idle { // for what came into view
			waiting, _ := l.pending(time.Now())
			idle = !waiting
		}
		l.mu.Unlock()
		if l.isOver() {
			return "", nil
		}
		if idle {
			// An error is no answer: the page may just have reloaded itself.
			s, err := l.settle(ctx)
			if err == nil && s.Walk > 0 {
				if err := pause(ctx, time.Duration(s.Walk)*time.Millisecond); err != nil {
					return l.timeIsUp(ctx, err)
				}
				walked = true
				continue
			}
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
