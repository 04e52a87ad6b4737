package prerender

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// Studio is the Maker that has a browser: it renders, decides what is kept, and
// stores it.
type Studio struct {
	Renderer Renderer
	Store    Store

	// Now is the clock that dates snapshots. Nil means time.Now.
	Now func() time.Time

	// Log gets what goes wrong beside a page. Nil means slog.Default().
	Log *slog.Logger

	outage Outage // of the store
}

// Make implements Maker. A page that cannot be stored is still an answer; one that
// may not take the place of the stored one is ErrNotAdmitted.
func (s *Studio) Make(ctx context.Context, page Page, fence int64) (*Snapshot, []Phase, error) {
	began := s.now()
	rendering, err := s.Renderer.Render(ctx, page)
	if err != nil {
		return nil, nil, fmt.Errorf("render %s: %w", page.URL, err)
	}
	if rendering.Partial != "" && page.Rule.Rendering.RefusePartial {
		return nil, nil, fmt.Errorf("render %s: it was waiting for %s: %w", page.URL, rendering.Partial, ErrRenderTimeout)
	}
	if c := rendering.Content; rendering.Partial != "" && (len(rendering.Body) == 0 || c != nil && c.Text+c.Links+c.Images == 0) {
		return nil, nil, fmt.Errorf("render %s: nothing was on it yet, and it was waiting for %s: %w", page.URL, rendering.Partial, ErrRenderTimeout)
	}
	start := time.Now()
	snap, err := newSnapshot(rendering, began)
	if err != nil {
		return nil, nil, err
	}
	snap.Fence, snap.SiteVersion = fence, page.Site.Version
	keep, err := s.admit(ctx, page, rendering, snap)
	if err != nil {
		return nil, nil, err
	}
	if keep {
		s.put(ctx, page, snap)
	}
	return snap, append(rendering.Phases, Phase{"put", time.Since(start)}), nil
}

// admit decides whether a snapshot is kept: one that is not is answered once and
// forgotten. In the place of a good page comes none that is worse.
func (s *Studio) admit(ctx context.Context, page Page, rendering *Rendering, snap *Snapshot) (keep bool, err error) {
	rule := page.Rule.Admission
	life := page.Rule.Lifetime(snap.Status, snap.Header)
	unfit := rule.unfit(rendering)
	old, err := s.good(ctx, page)
	snap.AskedAt = page.askedAt(old, snap.RenderedAt)
	if errors.Is(err, ErrNotFound) {
		if unfit != "" {
			s.log().WarnContext(ctx, "page answered and not kept", "key", page.Key, "why", unfit)
		} else if c := rendering.Content; c != nil && c.Failed > 0 {
			s.log().WarnContext(ctx, "page kept although calls of its scripts have failed", "key", page.Key, "calls", c.Failed)
		}
		// A failure may be kept for a while, as a failure.
		return life != (Lifetime{}) && (unfit == "" || snap.Status >= 500 && snap.Partial == ""), nil
	}
	if err != nil {
		s.log().ErrorContext(ctx, "page answered but not stored: it cannot be compared with the stored one", "key", page.Key, "err", err)
		return false, nil
	}
	if unfit != "" {
		return false, s.refuse(ctx, page, unfit)
	}
	if lost := rule.loses(old, rendering); lost != "" {
		rival := old.again(rendering)
		if rival.Seen < cmp.Or(rule.Agree, DefaultAgree) {
			set := *old // with its fence: what was stored since is not to be lost
			set.Rival = &rival
			s.put(ctx, page, &set)
			return false, s.refuse(ctx, page, fmt.Sprintf("%s (time %d in a row)", lost, rival.Seen))
		}
		s.log().WarnContext(ctx, "page admitted although it has lost content: renders agree", "key", page.Key, "lost", lost, "renders", rival.Seen)
	}
	if old.ETag == snap.ETag {
		snap.ModifiedAt = old.ModifiedAt
	}
	return life != (Lifetime{}), nil
}

// good returns the stored page. ErrNotFound: there is none, or it is not worth keeping.
func (s *Studio) good(ctx context.Context, page Page) (*Snapshot, error) {
	ctx, done := s.outage.Bound(ctx, storeTimeout)
	defer done()
	old, err := s.Store.Get(ctx, page.Key)
	if err == nil && (old.Status >= 500 || page.Freshness(old, s.now()) == Expired) {
		err = ErrNotFound
	}
	return old, err
}

func (s *Studio) refuse(ctx context.Context, page Page, why string) error {
	s.log().WarnContext(ctx, "page not admitted; the stored one stays", "key", page.Key, "why", why)
	return fmt.Errorf("render %s: %s: %w", page.URL, why, ErrNotAdmitted)
}

func (s *Studio) put(ctx context.Context, page Page, snap *Snapshot) {
	life := page.Rule.Lifetime(snap.Status, snap.Header)
	snap.StaleAt, snap.Expires = snap.RenderedAt.Add(life.Fresh), snap.RenderedAt.Add(life.Whole())
	bounded, done := s.outage.Bound(ctx, leaseReserve)
	err := s.Store.Put(bounded, page.Key, snap)
	done()
	if err != nil {
		snap.Expires = time.Time{} // it is not kept
	}
	switch {
	case errors.Is(err, ErrSuperseded):
		s.log().WarnContext(ctx, "page made too late; a newer one is stored", "key", page.Key)
	case err != nil:
		s.log().ErrorContext(ctx, "page answered but not stored", "key", page.Key, "err", err)
	}
}

func (s *Studio) now() time.Time { return clock(s.Now) }

func (s *Studio) log() *slog.Logger { return cmp.Or(s.Log, slog.Default()) }
