package prerender

import (
	"context"
	"fmt"
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

	// Put stores the snapshot under key in place of an older one. If one is there
	// that was made under a later lease, it stays, and the error is ErrSuperseded.
	Put(ctx context.Context, key Key, s *Snapshot) error

	// List calls found for the snapshots of a site whose keys come after one, in an
	// order that is always the same, until it returns false. What has expired is left
	// out; what is put or deleted meanwhile may be.
	List(ctx context.Context, site Origin, after Key, found func(Listed) bool) error

	// Delete removes the snapshots of any number of keys. One that is not there is
	// no error. After an error, some may be gone.
	Delete(ctx context.Context, keys ...Key) error
}

// SiteStore has the sites that their owners have configured (package control).
//
// It is safe for concurrent use.
type SiteStore interface {
	// Sites returns all of them, ordered by host.
	Sites(ctx context.Context) ([]Site, error)
}

// Leases see to it that a page is made once at a time, by however many machines.
// They are advice: what a late holder makes is kept out by Store.Put.
//
// It is safe for concurrent use.
type Leases interface {
	// Acquire takes the lease of a page for the given time, or returns a LeasedError when
	// somebody has it. Clocks are apart, so a lease that has not been given back ends
	// for others a minute after its time; but one with the given mark is taken over:
	// whoever has seen that for the lease's own time without a change knows that its
	// holder is gone. An empty mark is that of none.
	Acquire(ctx context.Context, key Key, d time.Duration, mark string) (Lease, error)

	// Extend has a lease last for the given time from now, or returns ErrLeased when it
	// has passed on to somebody else.
	Extend(ctx context.Context, l Lease, d time.Duration) error

	// Release gives a lease back before its time. One that has passed on to
	// somebody else is no error.
	Release(ctx context.Context, l Lease) error
}

// LeasedError is an ErrLeased.
type LeasedError struct {
	Key  Key
	Mark string        // changes whenever the lease is extended or passes on
	For  time.Duration // was asked for, by who has it, when the mark was made
}

func (e *LeasedError) Error() string {
	return fmt.Sprintf("another has the lease of %.200q, for %v: %v", e.Key, e.For, ErrLeased)
}

// Is says that it is an ErrLeased.
func (e *LeasedError) Is(target error) bool { return target == ErrLeased }

// ClockTolerance is by how much the clocks of instances may be apart.
const ClockTolerance = time.Minute

// Lease is the right to make a page.
type Lease struct {
	Key   Key
	Owner string // of this one lease

	// Fence is higher than that of every lease of the page before it.
	Fence int64
}

// Maker makes the snapshot of a page and stores it, if it is to be kept. Studio
// is the one that does it itself.
//
// It is safe for concurrent use.
type Maker interface {
	Make(ctx context.Context, page Page, fence int64) (*Snapshot, []Phase, error)
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

	// Content is what a web page has on it. Nil: it is none.
	Content *Content

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
