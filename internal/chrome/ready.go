package chrome

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/stillpage/stillpage/internal/prerender"
)

// ready returns when the page is finished: its network has been silent for half
// a second, and it does not hold window.prerenderReady at false. When the time
// is up, partial says what the page was waiting for.
//
// It is the one place that decides this; the rest of the package does not know
// how.
func (l *load) ready(ctx context.Context) (partial string, err error) {
	if deadline, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, deadline.Add(-reserve))
		defer cancel()
	}
	poll := time.NewTicker(50 * time.Millisecond)
	defer poll.Stop()
	for {
		l.mu.Lock()
		idle, crashed, over := l.isIdle(), l.crashed, l.err != nil || l.elsewhere != ""
		l.mu.Unlock()
		if over {
			return "", nil
		}
		if crashed {
			return "", fmt.Errorf("page %s crashed its process: %w", l.page.URL, prerender.ErrRendererDown)
		}
		if idle {
			// An error is no answer: the page has reloaded itself, or the flag is a
			// getter that throws.
			var held bool
			if err := l.evaluate(ctx, "window.prerenderReady === false", 0, &held); err == nil && !held {
				return "", nil
			}
			if l.process.isLost() {
				return "", fmt.Errorf("%w: lost it while %s loaded", prerender.ErrRendererDown, l.page.URL)
			}
		}
		select {
		case <-l.changed:
		case <-poll.C:
		case <-ctx.Done():
			return l.waitingFor(idle), nil
		}
	}
}

// waitingFor describes what kept the page from being ready.
func (l *load) waitingFor(idle bool) string {
	if idle {
		return "window.prerenderReady, which the page left at false"
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	const most = 3
	var urls []string
	for _, url := range l.inFlight {
		urls = append(urls, url)
	}
	slices.Sort(urls)
	if len(urls) > most {
		urls = append(urls[:most], fmt.Sprintf("and %d more", len(urls)-most))
	}
	if len(urls) == 0 {
		return "the network to be silent"
	}
	return "requests without an answer: " + strings.Join(urls, ", ")
}
