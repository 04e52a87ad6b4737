package prerender

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"time"
)

const (
	// placeWait is when to ask again where all places are taken: after some renders.
	placeWait = 10 * time.Second

	// placePoll is when it is looked again for a free place, half of it and more, so that
	// those who wait do not look all at once: about as long as a render takes.
	placePoll = 400 * time.Millisecond

	// notFoundPause is for how long nothing is tried where too many addresses lead
	// nowhere, so that many instances do not try once a second each.
	notFoundPause = time.Minute

	// notFoundSites is how many directories' share a whole site has, and notFoundClients
	// what part of a directory's one client has: who makes addresses up makes directories
	// up too, and is not to shut one for the others.
	notFoundSites   = 4
	notFoundClients = 4
)

// who is whose renders are counted together, or "".
func (r Request) who() string {
	host := r.Page.Site.Origin.Host
	switch {
	case r.Client != "":
		return "client " + r.Client + " " + host
	case r.Token != "":
		return "token " + r.Token + " " + host
	}
	return ""
}

func (r Request) site() string { return "site " + r.Page.Site.Origin.Host }

// nowhere are the names under which an address is counted that leads nowhere: its
// client's, its directory's and its site's.
func (r Request) nowhere() (client, directory, site string) {
	path := r.Page.Key.Path()
	directory = r.Page.Key.Site() + path[:strings.LastIndexByte(path, '/')+1]
	if len(directory) > 200 {
		hash := sha256.Sum256([]byte(directory))
		directory = hex.EncodeToString(hash[:])
	}
	return "not found " + r.who(), "not found " + directory, "not found " + r.site()
}

// pauses are what an instance was told by the limiter: until when there is nothing
// under a name. So most refusals cost no write.
type pauses struct {
	mu    sync.Mutex
	until map[string]time.Time // by the wall
}

// mostPauses bounds what is remembered.
const mostPauses = 10_000

// left returns a LimitedError if one of the names has a pause.
func (p *pauses) left(names ...string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, name := range names {
		if left := p.until[name].Sub(wall()); left > 0 && left <= mostWait {
			return &LimitedError{name, left}
		}
	}
	return nil
}

// mostWait is the longest pause that is believed: the clock may have been set back.
const mostWait = time.Hour

func (p *pauses) set(name string, d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.until == nil || len(p.until) >= mostPauses {
		p.until = map[string]time.Time{}
	}
	p.until[name] = wall().Add(min(d, mostWait))
}

// refused says whether it is known already that a page must not be rendered now.
// What is not stored is not tried where too many addresses lead nowhere.
func (s *Service) refused(request Request, isStored bool) error {
	names := []string{request.who(), request.site()}
	if !isStored {
		client, directory, site := request.nowhere()
		names = append(names, client, directory, site)
	}
	return s.pauses.left(names...)
}

// begin takes what a render needs: from the client's bucket, a place, and from the
// site's bucket, in this order, so that what one asks for in vain is not taken from
// all. end gives the place back. A limiter that does not answer lets it pass:
// reserved concurrency is the last limit.
func (s *Service) begin(ctx context.Context, request Request) (end func(), err error) {
	if s.Limiter == nil {
		return func() {}, nil
	}
	rule := request.Page.Rule.Limits
	switch {
	case request.Client != "":
		err = s.take(ctx, request.who(), rule.Client.or(DefaultClientRate), 0)
	case request.Token != "":
		err = s.take(ctx, request.who(), rule.Token.or(DefaultTokenRate), 0)
	}
	if err != nil {
		return nil, err
	}
	if end, err = s.enter(ctx, request); err != nil {
		return nil, err
	}
	if err := s.take(ctx, request.site(), rule.Site.or(DefaultSiteRate), 0); err != nil {
		end()
		return nil, err
	}
	return end, nil
}

// enter waits for one of the site's places, if it has a number of them, as long as
// there is time for a render.
func (s *Service) enter(ctx context.Context, request Request) (leave func(), err error) {
	places := request.Page.Rule.Limits.Concurrency
	if places <= 0 {
		return func() {}, nil
	}
	for {
		poll := placePoll/2 + rand.N(placePoll)
		leave, err := s.enterNow(ctx, request, places)
		if !errors.Is(err, ErrLimited) {
			return leave, err
		}
		if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) < leastRender+poll {
			return nil, &LimitedError{"places of " + request.site(), placeWait}
		}
		select {
		case <-time.After(poll):
		case <-ctx.Done():
			return nil, &LimitedError{"places of " + request.site(), placeWait}
		}
	}
}

// enterNow takes one of the client's places, which are half of the site's, and one of
// those.
func (s *Service) enterNow(ctx context.Context, request Request, places int) (leave func(), err error) {
	ctx, done := s.outage.Bound(ctx, storeTimeout)
	defer done()
	var left []func(context.Context) error
	leave = func() {
		if len(left) == 0 {
			return
		}
		ctx, done := s.outage.Bound(context.WithoutCancel(ctx), storeTimeout)
		defer done()
		for _, give := range left {
			if err := give(ctx); err != nil {
				s.log().WarnContext(ctx, "place not given back; it will run out", "of", request.site(), "err", err)
			}
		}
	}
	shares := []struct {
		name   string
		places int
	}{{request.who(), max(1, places/2)}, {request.site(), places}}
	if request.who() == "" {
		shares = shares[1:]
	}
	for _, share := range shares {
		give, err := s.Limiter.Enter(ctx, share.name, share.places, s.timeout()+leaseReserve)
		if errors.Is(err, ErrLimited) {
			leave()
			return nil, err
		}
		if err != nil {
			s.log().ErrorContext(ctx, "limits do not answer; rendering without", "of", share.name, "err", err)
			continue
		}
		left = append(left, give)
	}
	return leave, nil
}

// take takes from a bucket. When that is empty, it is not looked at again until there
// is more in it, nor for pause.
func (s *Service) take(ctx context.Context, name string, r Rate, pause time.Duration) error {
	ctx, done := s.outage.Bound(ctx, storeTimeout)
	defer done()
	wait, err := s.Limiter.Take(ctx, name, r)
	if err != nil {
		s.log().ErrorContext(ctx, "limits do not answer; rendering without", "of", name, "err", err)
		return nil
	}
	if wait <= 0 {
		return nil
	}
	wait = max(wait, pause)
	s.pauses.set(name, wait)
	return &LimitedError{name, wait}
}

// countNotFound notes an address that leads nowhere. The client first: when it has
// made up too many, it is refused alone.
func (s *Service) countNotFound(ctx context.Context, request Request, snap *Snapshot) {
	if s.Limiter == nil || snap.Status != http.StatusNotFound && snap.Status != http.StatusGone {
		return
	}
	ctx = context.WithoutCancel(ctx)
	rate := request.Page.Rule.Limits.NotFound.or(DefaultNotFoundRate)
	client, directory, site := request.nowhere()
	count := func(name string, times, parts int) error {
		share := Rate{PerMinute: max(1, min(rate.PerMinute, mostPerMinute)*times/parts), Burst: max(1, min(rate.Burst, mostBurst)*times/parts)}
		err := s.take(ctx, name, share, notFoundPause)
		if err != nil {
			s.log().WarnContext(ctx, "too many addresses that lead nowhere; a pause", "of", name, "pause", notFoundPause)
		}
		return err
	}
	if request.who() != "" && count(client, 1, notFoundClients) != nil {
		return
	}
	count(directory, 1, 1)
	count(site, notFoundSites, 1)
}

// flooded says whether a client asks for more than any does. Each instance counts
// for itself: a count that all share would cost more than the answers.
func (s *Service) flooded(ctx context.Context, r Request) error {
	if r.Client == "" {
		return nil
	}
	if wait, _ := s.requests.Take(ctx, r.who(), r.Page.Rule.Limits.Requests.or(DefaultRequestRate)); wait > 0 {
		return &LimitedError{"requests of " + r.who(), max(wait, time.Second)}
	}
	return nil
}
