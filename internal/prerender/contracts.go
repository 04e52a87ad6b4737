package prerender

import (
	"context"
	"net/http"
	"time"
)

// Store keeps snapshots. Every implementation passes package storetest.
//
// A Store is safe for concurrent use. It owns nothing of what it is given or
// gives: callers must not change a Snapshot after Put or after Get.
type Store interface {
	// Get returns the snapshot last put under key, or ErrNotFound.
	Get(ctx context.Context, key Key) (*Snapshot, error)

	// Put stores the snapshot under key in place of an older one.
	Put(ctx context.Context, key Key, s *Snapshot) error

	// Delete removes the snapshot. One that is not there is no error.
	Delete(ctx context.Context, key Key) error
}

// Renderer turns a page into HTML by running it in a browser.
//
// It is safe for concurrent use and bounds its own concurrency: it returns
// ErrBusy when no place became free before the context's deadline. Its other
// errors are the sentinels of errors.go; a page that answered with an error
// status is not an error but a Rendering with that status.
type Renderer interface {
	Render(ctx context.Context, page Page) (*Rendering, error)
}

// Queue takes pages that are to be rendered again when there is time.
type Queue interface {
	// Enqueue returns at once. A page that is queued already is not queued
	// twice; a full queue is an error, and the page stays stale for now.
	Enqueue(ctx context.Context, page Page) error
}

// Rendering is what a renderer made of a page.
type Rendering struct {
	// Status is the page's own: the origin's, or what the page asked for by
	// its status meta.
	Status int

	// Header holds what may be handed on: Content-Type always, Location on a
	// redirect.
	Header http.Header

	// Body is the finished document in UTF-8, or the origin's bytes when the
	// document is not HTML.
	Body []byte

	// Partial says what the page was still waiting for when its time was up.
	// Empty: the page is complete.
	Partial string

	// Phases are the parts of the time that the render took, in their order.
	Phases []Phase
}

// Phase is a named part of the time that an answer took.
type Phase struct {
	Name     string
	Duration time.Duration
}
