package prerender

import (
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
}

// Make implements Maker. A page that cannot be stored is still an answer.
func (s *Studio) Make(ctx context.Context, page Page, fence int64) (*Snapshot, []Phase, error) {
	rendering, err := s.Renderer.Render(ctx, page)
	if err != nil {
		return nil, nil, fmt.Errorf("render %s: %w", page.URL, err)
	}
	if rendering.Partial != "" && page.Site.Rendering.RefusePartial {
		return nil, nil, fmt.Errorf("render %s: it was waiting for %s: %w", page.URL, rendering.Partial, ErrRenderTimeout)
	}
	snap, err := newSnapshot(rendering, s.now())
	if err != nil {
		return nil, nil, err
	}
	snap.Fence = fence
	life := page.Site.Lifetime(snap.Status)
	if snap.Partial != "" || life == (Lifetime{}) {
		// One that did not finish, or that reports a failure of the site, is answered
		// once and forgotten.
		return snap, rendering.Phases, nil
	}
	snap.Expires = snap.RenderedAt.Add(life.Fresh + life.Stale)
	start := time.Now()
	switch err := s.Store.Put(ctx, page.Key, snap); {
	case errors.Is(err, ErrSuperseded):
		snap.Expires = time.Time{} // it is not kept
		s.log().WarnContext(ctx, "page made too late; a newer one is stored", "key", page.Key)
	case err != nil:
		snap.Expires = time.Time{}
		s.log().ErrorContext(ctx, "page answered but not stored", "key", page.Key, "err", err)
	}
	return snap, append(rendering.Phases, Phase{"put", time.Since(start)}), nil
}

func (s *Studio) now() time.Time {
	if s.Now != nil {
		return s.Now()
	}
	return time.Now()
}

func (s *Studio) log() *slog.Logger {
	if s.Log != nil {
		return s.Log
	}
	return slog.Default()
}
