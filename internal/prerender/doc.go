// Package prerender is the core of Stillpage: which pages there are, when a
// stored snapshot may be answered, when a page is rendered, and what may be
// stored. service.go tells the whole flow from top to bottom.
//
// It knows neither browsers nor databases nor HTTP handlers. What lies outside
// is reached through the small interfaces of contracts.go, and it imports the
// standard library only.
package prerender
