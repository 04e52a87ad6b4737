package prerender

import (
	"cmp"
	"context"
	"net/http"
	"strings"
	"sync"
	"time"
)

// notFounds are the directories and sites in which more addresses have turned out to
// lead nowhere than is allowed. The addresses are counted by all instances together
// (Limiter); each keeps for itself what it was told.
type notFounds struct {
	mu    sync.Mutex
	until map[string]time.Time // by the wall
}

const (
	// notFoundPause is for how long nothing is tried there, so that many instances
	// do not try once a second each.
	notFoundPause = time.Minute

	// notFoundDirectories is how many directories' share a whole site has: who makes
	// addresses up makes directories up too.
	notFoundDirectories = 4

	// mostNotFounds bounds what is remembered.
	mostNotFounds = 10_000
)

// notFoundIn are the names under which an address is counted that leads nowhere: its
// directory and its site.
func notFoundIn(page Page) (directory, site string) {
	path := page.Key.Path()
	site = page.Key.Site()
	return site + path[:strings.LastIndexByte(path, '/')+1], site
}

// refused returns a LimitedError for a page that is likely to lead nowhere.
func (n *notFounds) refused(page Page) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	directory, site := notFoundIn(page)
	for _, name := range []string{directory, site} {
		if left := n.until[name].Sub(wall()); left > 0 && left <= notFoundPause {
			return &LimitedError{"pages that do not exist in " + name, left}
		}
	}
	return nil
}

func (n *notFounds) pause(name string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.until == nil || len(n.until) >= mostNotFounds {
		n.until = map[string]time.Time{}
	}
	n.until[name] = wall().Add(notFoundPause)
}

// count notes an address that leads nowhere.
func (s *Service) countNotFound(ctx context.Context, page Page, snap *Snapshot) {
	if s.Limiter == nil || snap.Status != http.StatusNotFound && snap.Status != http.StatusGone {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTimeout)
	defer cancel()
	rate := cmp.Or(page.Rule.Limits.NotFound, DefaultNotFoundRate)
	directory, site := notFoundIn(page)
	if s.take(ctx, "not found "+directory, directory, rate) != nil {
		s.log().WarnContext(ctx, "too many addresses that lead nowhere; a pause", "in", directory)
		s.notFounds.pause(directory)
	}
	rate.PerMinute *= notFoundDirectories
	rate.Burst *= notFoundDirectories
	if s.take(ctx, "not found "+site, site, rate) != nil {
		s.log().WarnContext(ctx, "too many addresses that lead nowhere; a pause", "in", site)
		s.notFounds.pause(site)
	}
}
