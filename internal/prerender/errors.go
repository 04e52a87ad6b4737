package prerender

import "errors"

// What can go wrong, once for all adapters: they translate the errors of what
// they speak to into these. Which status a crawler sees for each of them is
// decided in one table, in package router.
var (
	// ErrNotFound is a store's word for a miss.
	ErrNotFound = errors.New("no snapshot stored")

	// ErrLeased: somebody else is making the page.
	ErrLeased = errors.New("page is being made")

	// ErrSuperseded: a snapshot is stored that was made under a later lease.
	ErrSuperseded = errors.New("a newer snapshot is stored")

	// ErrNotAdmitted: what was rendered is worse than what is stored, which stays.
	ErrNotAdmitted = errors.New("new page is worse than the stored one")

	// ErrUnfinished: the page is still being made, and who asks does not wait longer.
	ErrUnfinished = errors.New("page is still being made")

	// ErrSiteUnknown: the host is not one that this service renders.
	ErrSiteUnknown = errors.New("site unknown")

	// ErrSitesDown: the host is none of those that are known, and the others cannot
	// be read.
	ErrSitesDown = errors.New("sites cannot be read")

	// ErrURLInvalid: the request names no page.
	ErrURLInvalid = errors.New("URL invalid")

	// ErrLoop: Stillpage's own browser asked Stillpage for a page.
	ErrLoop = errors.New("request comes from Stillpage's own browser")

	// ErrOriginUnreachable: the page's origin refused the connection, its name
	// does not resolve, or its certificate or protocol is broken.
	ErrOriginUnreachable = errors.New("origin unreachable")

	// ErrOriginTimeout: the origin did not answer the document request in time.
	ErrOriginTimeout = errors.New("origin did not answer in time")

	// ErrAddressRefused: the page's address is one that pages may not reach.
	ErrAddressRefused = errors.New("address refused")

	// ErrContentRefused: the document is not one that can be handed on.
	ErrContentRefused = errors.New("document cannot be handed on")

	// ErrRenderTimeout: the page kept the browser from answering until the
	// deadline had passed.
	ErrRenderTimeout = errors.New("render did not end in time")

	// ErrBusy: no browser tab became free in time.
	ErrBusy = errors.New("all render capacity is in use")

	// ErrRendererDown: the browser cannot be started or died twice over a page.
	ErrRendererDown = errors.New("renderer unavailable")

	// ErrNoRenderer: there is no renderer, or this program may not use it. It will be so
	// until somebody mends it.
	ErrNoRenderer = errors.New("renderer missing or forbidden")

	// ErrStopping: the service is shutting down.
	ErrStopping = errors.New("service is stopping")
)
