package router_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/stillpage/stillpage/internal/prerender"
	"github.com/stillpage/stillpage/internal/router"
)

var modified = time.Date(2026, 11, 20, 9, 30, 15, 5e8, time.UTC)

// kept answers with a page that is stored and of the given age.
func kept(age time.Duration, change ...func(*prerender.Answer)) answerer {
	return func(p prerender.Page) (*prerender.Answer, error) {
		a, err := page(p)
		a.Page, a.Age, a.Partial = p, age, ""
		a.Expires, a.ETag, a.ModifiedAt = time.Now().Add(time.Hour), "abc", modified
		a.Header.Set("Etag", `"of the shell"`)
		a.Header.Set("Cache-Control", "no-cache")
		for _, f := range change {
			f(a)
		}
		return a, err
	}
}

func TestCacheControl(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	for name, tt := range map[string]struct {
		a    answerer
		want string
	}{
		"new":              {kept(0), "public, max-age=0, s-maxage=300, stale-while-revalidate=300, stale-if-error=1814400"},
		"an hour old":      {kept(time.Hour), "public, max-age=0, s-maxage=3900, stale-while-revalidate=300, stale-if-error=1814400"},
		"fresh for 1 min":  {kept(day - time.Minute), "public, max-age=0, s-maxage=86400, stale-while-revalidate=300, stale-if-error=1814400"},
		"stale":            {kept(2 * day), "public, max-age=0, s-maxage=172810, stale-while-revalidate=300, stale-if-error=1814400"},
		"404":              {kept(0, func(a *prerender.Answer) { a.Status = 404 }), "public, max-age=0, s-maxage=300, stale-while-revalidate=0, stale-if-error=0"},
		"not stored":       {kept(0, func(a *prerender.Answer) { a.Expires = time.Time{} }), "no-store"},
		"varies by header": {kept(0, func(a *prerender.Answer) { a.Page.Rule.Vary.Languages = []string{"en"} }), "private, no-cache"},
	} {
		if got := get(t, handler(t, tt.a), "GET", "/https://a.example/", nil).Header.Get("Cache-Control"); got != tt.want {
			t.Errorf("%s: got %q, want %q", name, got, tt.want)
		}
	}
	edge := get(t, handler(t, kept(time.Hour)), "GET", "/", http.Header{router.HostHeader: {"a.example"}})
	if got, want := edge.Header.Get("Cache-Control"), "public, max-age=0, s-maxage=300, stale-while-revalidate=300, stale-if-error=1814400"; got != want || edge.Header.Get("Age") != "" {
		t.Errorf("at the edge: got %q and Age %q, want %q and none", got, edge.Header.Get("Age"), want)
	}
	varied := get(t, handler(t, kept(0, func(a *prerender.Answer) { a.Page.Rule.Vary.Languages = []string{"en"} })), "GET", "/https://a.example/", nil)
	if got := varied.Header.Get("Vary"); got != "Accept-Encoding, Accept-Language" {
		t.Errorf("Vary: got %q", got)
	}
}

func TestConditionalRequests(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		header http.Header
		status int // of the page
		want   int
	}{
		{nil, 200, 200},
		{http.Header{"If-None-Match": {`W/"abc"`}}, 200, 304},
		{http.Header{"If-None-Match": {`"abc"`}}, 200, 304},
		{http.Header{"If-None-Match": {`"x", W/"abc"`}}, 200, 304},
		{http.Header{"If-None-Match": {`"x"`, `"abc"`}}, 200, 304},
		{http.Header{"If-None-Match": {"*"}}, 200, 304},
		{http.Header{"If-None-Match": {`"other"`}}, 200, 200},
		{http.Header{"If-None-Match": {"abc"}}, 200, 200},
		{http.Header{"If-None-Match": {`"abc"`}}, 404, 404},
		{http.Header{"If-Modified-Since": {"Fri, 20 Nov 2026 09:30:15 GMT"}}, 200, 304},
		{http.Header{"If-Modified-Since": {"Sat, 21 Nov 2026 09:30:15 GMT"}}, 200, 304},
		{http.Header{"If-Modified-Since": {"Fri, 20 Nov 2026 09:30:14 GMT"}}, 200, 200},
		{http.Header{"If-Modified-Since": {"yesterday"}}, 200, 200},
		// The tag is the better witness.
		{http.Header{"If-None-Match": {`"other"`}, "If-Modified-Since": {"Sat, 21 Nov 2026 09:30:15 GMT"}}, 200, 200},
	} {
		for _, method := range []string{"GET", "HEAD"} {
			res := get(t, handler(t, kept(time.Minute, func(a *prerender.Answer) { a.Status = tt.status })), method, "/https://a.example/", tt.header)
			if res.StatusCode != tt.want {
				t.Errorf("%s %v: got %d, want %d", method, tt.header, res.StatusCode, tt.want)
			}
			for name, want := range map[string]string{"Etag": `W/"abc"`, "Last-Modified": "Fri, 20 Nov 2026 09:30:15 GMT", "Age": "60", "X-Stillpage-Cache": "hit"} {
				if got := res.Header.Get(name); got != want {
					t.Errorf("%s %v: %s is %q, want %q", method, tt.header, name, got, want)
				}
			}
			if res.StatusCode == 304 && (res.Header.Get("Content-Length") != "" || res.Header.Get("Content-Encoding") != "") {
				t.Errorf("%s %v: 304 with %v", method, tt.header, res.Header)
			}
		}
	}
}

// An old page in the place of a new one says so, and why.
func TestInsteadOfANewPage(t *testing.T) {
	t.Parallel()
	res := get(t, handler(t, kept(9*24*time.Hour, func(a *prerender.Answer) {
		a.Source, a.Instead = prerender.StaleHit, fmt.Errorf("render: %w", prerender.ErrOriginTimeout)
	})), "GET", "/https://a.example/", nil)
	if res.StatusCode != 200 || res.Header.Get("X-Stillpage-Cache") != "stale" || res.Header.Get("X-Stillpage-Reason") != "origin-timeout" {
		t.Errorf("got %d %v", res.StatusCode, res.Header)
	}
}

// What CloudFront does with a refusal is the site's choice: pass 503 on to the
// bot, or fail over from 504 to the plain app. Others get the protocol's status.
func TestRefusalsAtTheEdge(t *testing.T) {
	t.Parallel()
	const bot, preview = "GPTBot/1.2", "Slackbot-LinkExpanding 1.0"
	for _, tt := range []struct {
		err      error
		agent    string
		plainApp bool
		edge     int
		others   int
	}{
		{prerender.ErrBusy, bot, false, 503, 503},
		{prerender.ErrOriginTimeout, bot, false, 503, 504},
		{prerender.ErrOriginUnreachable, bot, false, 503, 502},
		{prerender.ErrOriginUnreachable, bot, true, 504, 502},
		{prerender.ErrNotAdmitted, bot, true, 504, 503},
		{prerender.ErrUnfinished, preview, false, 504, 503}, // it does not come back
		{prerender.ErrSiteUnknown, bot, false, 403, 404},    // the app may know it
		{prerender.ErrSitesDown, bot, false, 503, 503},
		{prerender.ErrContentRefused, bot, true, 502, 502}, // the app has it
		{errors.New("else"), bot, false, 500, 500},
	} {
		h := handler(t, func(prerender.Page) (*prerender.Answer, error) { return nil, tt.err })
		site := h.Sites.(prerender.SiteList)["a.example"]
		site.Failure = &prerender.FailureRule{PlainApp: tt.plainApp}
		h.Sites.(prerender.SiteList)["a.example"] = site
		edge := get(t, h, "GET", "/", http.Header{router.HostHeader: {"a.example"}, "User-Agent": {tt.agent}})
		others := get(t, h, "GET", "/https://a.example/", http.Header{"User-Agent": {tt.agent}})
		if edge.StatusCode != tt.edge || others.StatusCode != tt.others {
			t.Errorf("%v: got %d at the edge and %d for others, want %d and %d", tt.err, edge.StatusCode, others.StatusCode, tt.edge, tt.others)
		}
		if edge.Header.Get("Retry-After") != others.Header.Get("Retry-After") || edge.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%v: got %v at the edge", tt.err, edge.Header)
		}
	}
}

// A site's own failure, which is no page to keep, has bots come back.
func TestSiteFails(t *testing.T) {
	t.Parallel()
	for _, status := range []int{500, 502, 503, 504} {
		h := handler(t, kept(0, func(a *prerender.Answer) { a.Status, a.Expires = status, time.Time{} }))
		edge := get(t, h, "GET", "/", http.Header{router.HostHeader: {"a.example"}})
		others := get(t, h, "GET", "/https://a.example/", nil)
		if edge.StatusCode != 503 || (status != 503) != (edge.Header.Get("X-Stillpage-Reason") == "origin-error" && edge.Header.Get("Retry-After") == "60") || others.StatusCode != status {
			t.Errorf("%d: got %d %v at the edge, %d for others", status, edge.StatusCode, edge.Header, others.StatusCode)
		}
	}
}

// A site may want some kinds of bots to have its app, or nothing.
func TestPolicies(t *testing.T) {
	t.Parallel()
	h := handler(t, page)
	site := h.Sites.(prerender.SiteList)["a.example"]
	site.Agents = map[string]prerender.Policy{"ai-training": prerender.Refuse, "seo-tool": prerender.PlainApp, "search": prerender.RenderPage}
	site.Paths = []prerender.PathSettings{{Path: "/open*", Settings: prerender.Settings{Agents: map[string]prerender.Policy{}}}}
	h.Sites.(prerender.SiteList)["a.example"] = site
	for _, tt := range []struct {
		agent, path string
		want        int
		reason      string
	}{
		{"GPTBot/1.2", "/", 401, "agent-refused"},
		{"GPTBot/1.2", "/open", 200, ""},
		{"AhrefsBot/7.0", "/", 403, "plain-app"},
		{"Googlebot/2.1", "/", 200, ""},
		{"Slackbot 1.0", "/", 200, ""},
		{"curl/8", "/", 200, ""},
	} {
		for _, edge := range []bool{true, false} {
			target, header := "/https://a.example"+tt.path, http.Header{"User-Agent": {tt.agent}}
			if edge {
				target = tt.path
				header.Set(router.HostHeader, "a.example")
			}
			if res := get(t, h, "GET", target, header); res.StatusCode != tt.want || res.Header.Get("X-Stillpage-Reason") != tt.reason {
				t.Errorf("%s at %s, edge %v: got %d %q, want %d %q", tt.agent, tt.path, edge, res.StatusCode, res.Header.Get("X-Stillpage-Reason"), tt.want, tt.reason)
			}
		}
	}
}

// Link previews are not kept waiting.
func TestPreviewsHaveLittlePatience(t *testing.T) {
	t.Parallel()
	for agent, want := range map[string]time.Duration{
		"Slackbot-LinkExpanding 1.0": 4 * time.Second, "facebookexternalhit/1.1": 4 * time.Second, "WhatsApp/2.23": 4 * time.Second,
		"GPTBot/1.2": 0, "Googlebot/2.1": 0, "curl": 0,
	} {
		patient := &patience{}
		h := handler(t, nil)
		h.Service = patient
		get(t, h, "GET", "/https://a.example/", http.Header{"User-Agent": {agent}})
		if patient.got != want {
			t.Errorf("%s: got %v, want %v", agent, patient.got, want)
		}
	}
}

type patience struct {
	got    time.Duration
	client string
}

func (p *patience) Answer(_ context.Context, r prerender.Request) (*prerender.Answer, error) {
	p.got, p.client = r.Patience, r.Client
	return nil, prerender.ErrBusy
}

// Renders are counted by network, and only the edge knows it.
func TestClients(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]string{
		"203.0.113.77": "203.0.113.0/24", "::ffff:203.0.113.77": "203.0.113.0/24", "2001:db8:1:23ff::1": "2001:db8:1:2300::/56",
		"fe80::1%eth0": "fe80::/56", "": "", "x": "", "203.0.113.77:80": "",
	} {
		p := &patience{}
		h := handler(t, nil)
		h.Service = p
		get(t, h, "GET", "/", http.Header{router.HostHeader: {"a.example"}, router.ClientHeader: {address}})
		if p.client != want {
			t.Errorf("%q: got %q, want %q", address, p.client, want)
		}
		get(t, h, "GET", "/https://a.example/", http.Header{router.ClientHeader: {address}})
		if p.client != "" {
			t.Errorf("%q, not from the edge: got %q, want none", address, p.client)
		}
	}
}

// The wait is the limiter's.
func TestLimited(t *testing.T) {
	t.Parallel()
	h := handler(t, func(prerender.Page) (*prerender.Answer, error) {
		return nil, fmt.Errorf("render: %w", &prerender.LimitedError{Of: "site", Wait: 1500 * time.Millisecond})
	})
	edge := get(t, h, "GET", "/", http.Header{router.HostHeader: {"a.example"}})
	others := get(t, h, "GET", "/https://a.example/", nil)
	if edge.StatusCode != 503 || others.StatusCode != 429 || edge.Header.Get("Retry-After") != "2" || others.Header.Get("Retry-After") != "2" || others.Header.Get("X-Stillpage-Reason") != "limited" {
		t.Errorf("got %d %v at the edge, %d %v for others", edge.StatusCode, edge.Header, others.StatusCode, others.Header)
	}
}
