package admin

import (
	"net/http"

	"github.com/stillpage/stillpage/internal/control"
	"github.com/stillpage/stillpage/internal/prerender"
)

// route is a way to ask for something. What it says of itself is what the OpenAPI document
// says.
type route struct {
	method, path string
	summary      string
	role         control.Role // for any site; those for the site that it is about are asked for by serve
	serve        func(*API, *call) error

	writes bool // it takes an Idempotency-Key
	secret bool // its answer is shown once

	query    []parameter
	headers  []parameter
	body     any         // of the request: a value of its type
	answers  map[int]any // by status: a value of the type, a media type, or nil for none
	problems []int       // beside those that all have
}

// parameter is one of a query, or a header.
type parameter struct {
	name, means string
	required    bool
}

// media is an answer that is no JSON.
type media string

var (
	paramCursor = parameter{"cursor", "next of the list before", false}
	paramLimit  = parameter{"limit", "how many entries, from 1 to 1000; 50 otherwise", false}
	paramURL    = parameter{"url", "the page's address, like https://www.example.com/page", true}
	paramDevice = parameter{"device", "desktop or mobile; desktop otherwise", false}
	paramLang   = parameter{"language", "as in Accept-Language", false}
	paramSite   = parameter{"site", "the host of a site, like www.example.com", false}
	paramDryRun = parameter{"dryRun", "true: nothing is done, and the answer says what would be", false}
	headerMatch = parameter{"If-Match", `the ETag of what was read; "0" of a site that is not stored`, true}
)

// routes are all that there are, but for the console's files.
func routes() []route {
	return []route{
		{method: "GET", path: "/healthz", summary: "Ask whether all is well", serve: health, answers: map[int]any{200: media("text/plain"), 503: media("text/plain")}},
		{method: "GET", path: "/v1/openapi.json", summary: "Read this document", serve: getOpenAPI, answers: map[int]any{200: map[string]any{}}},
		{method: "GET", path: "/v1/site.schema.json", summary: "Read the JSON Schema of a site", serve: getSchema, answers: map[int]any{200: map[string]any{}}},
		{method: "GET", path: "/v1/login", summary: "Read how people log in", serve: getLogin, answers: map[int]any{200: Login{}}},
		{method: "GET", path: "/frames/{ticket}", summary: "Look at a stored page, with an address of POST /v1/frames", serve: getFrame,
			answers: map[int]any{200: media("text/html")}, problems: []int{404}},

		{method: "GET", path: "/v1/me", summary: "Read who asks", role: control.Viewer, serve: whoAmI, answers: map[int]any{200: me{}}},
		{method: "GET", path: "/v1/status", summary: "Read the state of the service", role: control.Viewer, serve: status, answers: map[int]any{200: Status{}}},

		{method: "GET", path: "/v1/sites", summary: "List the sites", role: control.Viewer, serve: listSites,
			query: []parameter{{"q", "a part of the host", false}, paramCursor, paramLimit}, answers: map[int]any{200: siteList{}}, problems: []int{422}},
		{method: "GET", path: "/v1/sites/{host}", summary: "Read a site as its owner has written it, with its ETag", role: control.Viewer, serve: getSite,
			answers: map[int]any{200: prerender.Site{}}, problems: []int{404}},
		{method: "GET", path: "/v1/sites/{host}/effective", summary: "Read all that holds for a site, its purges among it", role: control.Viewer, serve: getEffective,
			answers: map[int]any{200: prerender.Site{}}, problems: []int{404}},
		{method: "POST", path: "/v1/sites/{host}/validation", summary: "Ask what is wrong with a site, and what storing it would change", role: control.Viewer, serve: validateSite,
			body: prerender.Site{}, answers: map[int]any{200: validation{}}, problems: []int{404, 413, 415}},
		{method: "PUT", path: "/v1/sites/{host}", summary: "Store a site", role: control.Admin, serve: putSite, writes: true, query: []parameter{paramDryRun},
			headers: []parameter{headerMatch}, body: prerender.Site{}, answers: map[int]any{200: siteChange{}, 201: siteChange{}}, problems: []int{404, 409, 412, 413, 415, 422, 428}},
		{method: "DELETE", path: "/v1/sites/{host}", summary: "Delete what is stored of a site", role: control.Admin, serve: deleteSite, writes: true, query: []parameter{paramDryRun},
			headers: []parameter{headerMatch}, answers: map[int]any{200: siteChange{}}, problems: []int{404, 409, 412, 428}},

		{method: "GET", path: "/v1/pages", summary: "List and search the stored pages of a site", role: control.Viewer, serve: listPages,
			query: []parameter{{"site", paramSite.means, true}, {"q", "a path that the page's begins with, or any part of its address", false},
				{"state", "fresh, stale or purged", false}, paramCursor, paramLimit}, answers: map[int]any{200: pageList{}}, problems: []int{404, 422}},
		{method: "GET", path: "/v1/pages/explanation", summary: "Ask what an agent would get for a URL now, and why", role: control.Viewer, serve: explainPage,
			query:   []parameter{paramURL, {"agent", "its User-Agent, like GPTBot/1.2", false}, paramLang},
			answers: map[int]any{200: control.Explanation{}}, problems: []int{404, 422}},
		{method: "GET", path: "/v1/pages/stored", summary: "Read what is stored of a page", role: control.Viewer, serve: getStored,
			query: []parameter{paramURL, paramDevice, paramLang}, answers: map[int]any{200: control.StoredPage{}}, problems: []int{404, 422}},
		{method: "GET", path: "/v1/pages/html", summary: "Read a stored page's HTML", role: control.Viewer, serve: getHTML,
			query: []parameter{paramURL, paramDevice, paramLang}, answers: map[int]any{200: media("text/plain")}, problems: []int{404, 422}},
		{method: "DELETE", path: "/v1/pages", summary: "Delete what is stored of a page, in all its variants", role: control.Operator, serve: deletePage, writes: true,
			query: []parameter{paramURL}, answers: map[int]any{201: control.Job{}}, problems: []int{404, 422}},
		{method: "POST", path: "/v1/frames", summary: "Get an address that shows a stored page in a frame, for a minute", role: control.Viewer, serve: postFrame,
			body: pageName{}, answers: map[int]any{201: frame{}}, problems: []int{404, 413, 415, 422}},
		{method: "POST", path: "/v1/comparisons", summary: "Render a page as a person's browser and as a bot's, and compare", role: control.Operator, serve: postComparison,
			body: pageName{}, answers: map[int]any{200: comparison{}}, problems: []int{404, 413, 415, 422, 502}},

		{method: "POST", path: "/v1/renders", summary: "Render a page now, in all its variants", role: control.Operator, serve: postRender, writes: true,
			body: control.PageOrder{}, answers: map[int]any{201: control.Job{}}, problems: []int{404, 413, 415, 422}},
		{method: "POST", path: "/v1/purges", summary: "Purge pages by path or tag, or all of a site", role: control.Operator, serve: postPurge, writes: true, query: []parameter{paramDryRun},
			body: purgeOrder{}, answers: map[int]any{200: purgeCount{}, 201: control.Job{}, 202: control.Job{}}, problems: []int{404, 409, 413, 415, 422}},
		{method: "POST", path: "/v1/warmings", summary: "Have pages rendered unasked", role: control.Operator, serve: postWarming, writes: true,
			body: warmOrder{}, answers: map[int]any{202: control.Job{}}, problems: []int{404, 413, 415, 422}},
		{method: "GET", path: "/v1/jobs", summary: "List jobs, the last first", role: control.Viewer, serve: listJobs,
			query: []parameter{paramSite, paramCursor, paramLimit}, answers: map[int]any{200: jobList{}}, problems: []int{422}},
		{method: "GET", path: "/v1/jobs/{id}", summary: "Read how far a job is", role: control.Viewer, serve: getJob, answers: map[int]any{200: control.Job{}}, problems: []int{404}},
		{method: "DELETE", path: "/v1/jobs/{id}", summary: "Cancel a job", role: control.Operator, serve: cancelJob, writes: true,
			answers: map[int]any{200: control.Job{}}, problems: []int{404, 409}},

		{method: "GET", path: "/v1/tokens", summary: "List the tokens", role: control.Admin, serve: listTokens, answers: map[int]any{200: tokenList{}}},
		{method: "POST", path: "/v1/tokens", summary: "Make a token, which is shown this once", role: control.Admin, serve: postToken, writes: true, secret: true,
			body: tokenOrder{}, answers: map[int]any{201: newToken{}}, problems: []int{404, 413, 415, 422}},
		{method: "DELETE", path: "/v1/tokens/{id}", summary: "Revoke a token", role: control.Admin, serve: deleteToken, writes: true,
			answers: map[int]any{204: nil}, problems: []int{404}},

		{method: "GET", path: "/v1/events", summary: "List what was done, the last first", role: control.Viewer, serve: listEvents,
			query: []parameter{paramSite, {"actor", "a part of the name of who has done it", false}, {"action", "such as site.update", false}, {"since", "RFC 3339", false}, {"until", "RFC 3339", false},
				paramCursor, paramLimit}, answers: map[int]any{200: eventList{}}, problems: []int{422}},
		{method: "GET", path: "/v1/events/export", summary: "Export the chain of events as JSON lines, the first first, in parts", role: control.Viewer, serve: exportEvents,
			query: []parameter{{"cursor", "X-Next-Cursor of the part before", false}}, answers: map[int]any{200: media("application/jsonl")}, problems: []int{422}},
		{method: "GET", path: "/v1/events/verification", summary: "Verify the chain of events", role: control.Viewer, serve: verifyEvents, answers: map[int]any{200: verification{}}},

		{method: "GET", path: "/v1/stats", summary: "Read what was asked for and rendered, by hour or day", role: control.Viewer, serve: getStats,
			query: []parameter{paramSite, {"step", "hour (of the last 8 days) or day (of the last 400); hour otherwise", false}, {"from", "RFC 3339; 24 steps before to otherwise", false},
				{"to", "RFC 3339; now otherwise", false}}, answers: map[int]any{200: statistics{}}, problems: []int{404, 422}},
	}
}

func getLogin(a *API, c *call) error { return c.answer(http.StatusOK, a.Login) }
