package router_test

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stillpage/stillpage/internal/control"
	"github.com/stillpage/stillpage/internal/prerender"
	"github.com/stillpage/stillpage/internal/router"
	"github.com/stillpage/stillpage/internal/telemetry"
)

type answerer func(page prerender.Page) (*prerender.Answer, error)

func (a answerer) Answer(_ context.Context, r prerender.Request) (*prerender.Answer, error) {
	return a(r.Page)
}

const body = "<!DOCTYPE html><title>t</title>"

// page answers every page with its URL in a header.
func page(p prerender.Page) (*prerender.Answer, error) {
	var gz strings.Builder
	zw := gzip.NewWriter(&gz)
	zw.Write([]byte(body))
	zw.Close()
	return &prerender.Answer{
		Snapshot: &prerender.Snapshot{
			Status: 200, Gzip: []byte(gz.String()), Size: len(body), Partial: "a\nb",
			Header: http.Header{"Content-Type": {"text/html; charset=utf-8"}, "Page-Url": {p.URL}, "Page-Device": {string(p.Device)}},
		},
		Source: prerender.Hit, Age: 90 * time.Second,
		Phases: []prerender.Phase{{Name: "store", Duration: 1500 * time.Microsecond}, {Name: "ready", Duration: time.Second}},
	}, nil
}

func handler(t *testing.T, a answerer) *router.Handler {
	t.Helper()
	var sites []prerender.Site
	for _, s := range []string{"https://a.example", "http://b.example:9000"} {
		o, err := prerender.ParseOrigin(s)
		if err != nil {
			t.Fatal(err)
		}
		sites = append(sites, prerender.Site{Origin: o, Settings: prerender.Settings{Vary: &prerender.VaryRule{Mobile: true}}})
	}
	list, err := prerender.NewSiteList(sites...)
	if err != nil {
		t.Fatal(err)
	}
	return &router.Handler{Sites: list, Service: a, Observer: &telemetry.Observer{Log: slog.New(slog.DiscardHandler)}}
}

// get asks over a real connection: RequestURI must be what the wire says.
func get(t *testing.T, h http.Handler, method, target string, header http.Header) *http.Response {
	t.Helper()
	r := httptest.NewRequest(method, "http://router.example/", nil)
	u, err := r.URL.Parse(target)
	if err == nil {
		r.URL = u
	}
	r.RequestURI = target
	for name, values := range header {
		r.Header[name] = values
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

func TestIntegrationPaths(t *testing.T) {
	t.Parallel()
	h := handler(t, page)
	edge := http.Header{"X-Stillpage-Host": {"a.example"}}
	for _, tt := range []struct {
		target string
		header http.Header
		want   string
	}{
		{"/https://a.example/p?x=1&y=a%2Cb", nil, "https://a.example/p?x=1&y=a%2Cb"},
		{"/https:/a.example/p", nil, "https://a.example/p"},
		{"/https%3A%2F%2Fa.example/p?x=1", nil, "https://a.example/p?x=1"},
		{"/https%3a%2f%2fa.example/%2Fkept?x", nil, "https://a.example/%2Fkept?x"},
		{"/https%3A%2F%2Fa.example%2Fp%3Fx%3D1", nil, "https://a.example/p?x=1"},
		{"/http%3A%2F%2Fb.example%3A9000%2Fa%2Fb", nil, "http://b.example:9000/a/b"},
		{"/https://a.example/p?_escaped_fragment_=a%20b", nil, "https://a.example/p#!a%20b"},
		{"/http://a.example/", nil, "https://a.example/"},
		{"/https://A.EXAMPLE:443", nil, "https://a.example/"},
		{"/https://b.example:9000/x", nil, "http://b.example:9000/x"},
		{"/render?url=https%3A%2F%2Fa.example%2Fp%3Fx%3D1%26y%3D2", nil, "https://a.example/p?x=1&y=2"},
		{"/render/https%3A%2F%2Fa.example%2Fp%3Fx%3D1?mobile", nil, "https://a.example/p?x=1"},
		{"/https://a.example/p?_escaped_fragment_=&x=1", nil, "https://a.example/p?x=1"},
		{"/https://a.example/p?_escaped_fragment_=k%3Dv", nil, "https://a.example/p#!k=v"},
		{"/p//q?x=%2F", edge, "https://a.example/p//q?x=%2F"},
		{"/https://b.example:9000/", edge, "https://a.example/https://b.example:9000/"}, // the edge's path is a path
		{"/a|b", edge, "https://a.example/a|b"},
	} {
		res := get(t, h, "GET", tt.target, tt.header)
		if got := res.Header.Get("Page-Url"); got != tt.want {
			t.Errorf("%s: got %q (%d %s), want %q", tt.target, got, res.StatusCode, res.Header.Get("X-Stillpage-Reason"), tt.want)
		}
	}
}

func TestAnswer(t *testing.T) {
	t.Parallel()
	h := handler(t, page)
	res := get(t, h, "GET", "/https://a.example/", http.Header{"X-Prerender-Request-Id": {"r1"}})
	got, _ := io.ReadAll(res.Body)
	if string(got) != body {
		t.Errorf("body: got %q, want %q", got, body)
	}
	for name, want := range map[string]string{
		"Content-Length": strconv.Itoa(len(body)), "Content-Encoding": "", "Vary": "Accept-Encoding", "Age": "90",
		"X-Stillpage-Cache": "hit", "Server-Timing": "store;dur=1.5, ready;dur=1000.0", "X-Stillpage-Partial": "a?b",
		"Content-Type": "text/html; charset=utf-8", "X-Prerender-Requestid": "r1", "Page-Device": "desktop",
	} {
		if got := res.Header.Get(name); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	phone := get(t, h, "GET", "/https://a.example/", http.Header{"User-Agent": {"Mozilla/5.0 (Android 14; Mobile) Googlebot"}})
	if got := phone.Header.Get("Page-Device"); got != "mobile" {
		t.Errorf("a phone's bot: got %q, want mobile", got)
	}
}

func TestGzipOnlyWhenAsked(t *testing.T) {
	t.Parallel()
	h := handler(t, page)
	for accept, want := range map[string]bool{
		"": false, "gzip": true, "br, GZIP;q=0.5": true, "gzip;q=0": false, "gzip; q=0.0": false, "*": true, "*;q=0": false,
		"*;q=0, gzip": true, "gzip;q=0, *": false, "br": false, "identity": false, "xgzip": false, "gzip;q=x": false,
	} {
		res := get(t, h, "GET", "/https://a.example/", http.Header{"Accept-Encoding": {accept}})
		got, _ := io.ReadAll(res.Body)
		if isGzip := res.Header.Get("Content-Encoding") == "gzip"; isGzip != want {
			t.Errorf("Accept-Encoding %q: got gzip=%v, want %v", accept, isGzip, want)
		}
		if n, _ := strconv.Atoi(res.Header.Get("Content-Length")); n != len(got) {
			t.Errorf("Accept-Encoding %q: Content-Length %d, body %d", accept, n, len(got))
		}
	}
}

func TestHead(t *testing.T) {
	t.Parallel()
	h := handler(t, page)
	res := get(t, h, "HEAD", "/https://a.example/", nil)
	got, _ := io.ReadAll(res.Body)
	if len(got) != 0 || res.Header.Get("Content-Length") != strconv.Itoa(len(body)) || res.StatusCode != 200 {
		t.Errorf("got %d, %d bytes, Content-Length %q; want 200, none, %d", res.StatusCode, len(got), res.Header.Get("Content-Length"), len(body))
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	failing := func(err error) answerer {
		return func(prerender.Page) (*prerender.Answer, error) { return nil, fmt.Errorf("render: %w", err) }
	}
	for _, tt := range []struct {
		name, method, target string
		header               http.Header
		err                  error
		status               int
		reason               string
	}{
		{name: "unknown site", target: "/https://c.example/", status: 404, reason: "site-unknown"},
		{name: "unknown port", target: "/http://b.example/", status: 404, reason: "site-unknown"},
		{name: "no URL", target: "/", status: 404, reason: "url-invalid"},
		{name: "no scheme", target: "/a.example/", status: 404, reason: "url-invalid"},
		{name: "other scheme", target: "/ftp://a.example/", status: 404, reason: "url-invalid"},
		{name: "no host", target: "/https://", status: 404, reason: "url-invalid"},
		{name: "user in URL", target: "/https://a.example@c.example/", status: 404, reason: "url-invalid"},
		{name: "bad host", target: "/https://a..example/", status: 404, reason: "url-invalid"},
		{name: "bad encoding", target: "/render/%zz", status: 404, reason: "url-invalid"},
		{name: "empty render", target: "/render?url=", status: 404, reason: "url-invalid"},
		{name: "backslash", target: `/https://a.example/\x`, status: 404, reason: "url-invalid"},
		{name: "empty host from the edge", target: "/", header: http.Header{"X-Stillpage-Host": {" "}}, status: 403, reason: "url-invalid"},
		{name: "POST", method: "POST", target: "/https://a.example/", status: 405, reason: "method-not-allowed"},
		{name: "own browser", target: "/https://a.example/", header: http.Header{"User-Agent": {"Chrome Prerender (Stillpage)"}}, status: 508, reason: "loop"},
		{name: "own header", target: "/https://a.example/", header: http.Header{"X-Prerender": {"1"}}, status: 508, reason: "loop"},
		{name: "unreachable", target: "/https://a.example/", err: prerender.ErrOriginUnreachable, status: 502, reason: "origin-unreachable"},
		{name: "refused address", target: "/https://a.example/", err: prerender.ErrAddressRefused, status: 502, reason: "address-refused"},
		{name: "silent origin", target: "/https://a.example/", err: prerender.ErrOriginTimeout, status: 504, reason: "origin-timeout"},
		{name: "endless page", target: "/https://a.example/", err: prerender.ErrRenderTimeout, status: 504, reason: "render-timeout"},
		{name: "busy", target: "/https://a.example/", err: prerender.ErrBusy, status: 503, reason: "busy"},
		{name: "no browser", target: "/https://a.example/", err: prerender.ErrRendererDown, status: 503, reason: "renderer-unavailable"},
		{name: "bug", target: "/https://a.example/", err: errors.New("oops"), status: 500, reason: "internal-error"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			a := answerer(page)
			if tt.err != nil {
				a = failing(tt.err)
			}
			method := tt.method
			if method == "" {
				method = "GET"
			}
			res := get(t, handler(t, a), method, tt.target, tt.header)
			text, _ := io.ReadAll(res.Body)
			if res.StatusCode != tt.status || res.Header.Get("X-Stillpage-Reason") != tt.reason {
				t.Errorf("got %d %q, want %d %q", res.StatusCode, res.Header.Get("X-Stillpage-Reason"), tt.status, tt.reason)
			}
			if res.Header.Get("Cache-Control") != "no-store" || len(text) == 0 || res.Header.Get("Content-Length") != strconv.Itoa(len(text)) {
				t.Errorf("got headers %v and text %q, want no-store and a text with its length", res.Header, text)
			}
			if (res.StatusCode == 503) != (res.Header.Get("Retry-After") != "" && res.StatusCode == 503) {
				t.Errorf("503 without Retry-After")
			}
		})
	}
}

func TestToken(t *testing.T) {
	t.Parallel()
	h := handler(t, page)
	h.Token = "secret"
	for token, want := range map[string]int{"": 403, "wrong": 401, "secret": 200} {
		header := http.Header{}
		if token != "" {
			header.Set("X-Prerender-Token", token)
		}
		if got := get(t, h, "GET", "/https://a.example/", header).StatusCode; got != want {
			t.Errorf("token %q: got %d, want %d", token, got, want)
		}
	}
}

func TestDamagedPageIsAnError(t *testing.T) {
	t.Parallel()
	h := handler(t, func(prerender.Page) (*prerender.Answer, error) {
		return &prerender.Answer{Snapshot: &prerender.Snapshot{Status: 200, Header: http.Header{"X-Page": {"1"}}, Gzip: []byte("x"), Size: 9}}, nil
	})
	res := get(t, h, "GET", "/https://a.example/", nil)
	if res.StatusCode != 500 || res.Header.Get("X-Page") != "" {
		t.Errorf("got %d %v, want a clean 500", res.StatusCode, res.Header)
	}
}

// Whatever is asked for, the answer has a reason or a page of a known site.
func FuzzTarget(f *testing.F) {
	for _, s := range []string{"/https://a.example/p?q=1", "/https:/a.example", "/https%3A%2F%2Fa.example%2F", "/render?url=https://a.example/",
		"/render/https%3A%2F%2Fa.example", "/?_escaped_fragment_=%", "/https://a.example/?_escaped_fragment_=x", "/%", "//", "/http:"} {
		f.Add(s, "")
		f.Add(s, "a.example")
	}
	f.Fuzz(func(t *testing.T, target, host string) {
		if !strings.HasPrefix(target, "/") {
			return
		}
		header := http.Header{}
		if host != "" {
			header["X-Stillpage-Host"] = []string{host}
		}
		res := get(t, handler(t, page), "GET", target, header)
		url, reason := res.Header.Get("Page-Url"), res.Header.Get("X-Stillpage-Reason")
		switch {
		case res.StatusCode == 200 && (strings.HasPrefix(url, "https://a.example/") || strings.HasPrefix(url, "http://b.example:9000/")):
		case (res.StatusCode == 404 || host != "" && res.StatusCode == 403) && (reason == "url-invalid" || reason == "site-unknown"):
		default:
			t.Errorf("%q at %q: got %d %q %q", target, host, res.StatusCode, url, reason)
		}
	})
}

// tokens are those of integrations, by their texts.
type tokens map[string]control.Token

func (t tokens) Check(_ context.Context, text string) (control.Token, error) {
	if text == "down" {
		return control.Token{}, errors.New("dynamodb at 10.0.0.1")
	}
	token, ok := t[text]
	if !ok {
		return control.Token{}, control.ErrTokenUnknown
	}
	return token, nil
}

// Stored tokens are good beside the fixed one, each for its own sites and counted by
// itself; those of operators are not.
func TestStoredTokens(t *testing.T) {
	t.Parallel()
	var named string
	h := handler(t, page)
	h.Service = namer{&named}
	h.Token = "secret"
	h.Tokens = tokens{
		"all": {ID: "1", Use: control.Integration}, "a": {ID: "2", Use: control.Integration, Sites: []string{"a.example"}}, "admin": {ID: "3", Use: "admin"},
	}
	for _, tt := range []struct {
		token, target string
		status        int
		name          string
	}{
		{"secret", "/https://a.example/", 200, "integrations"}, {"all", "/https://a.example/", 200, "token 1"}, {"a", "/https://a.example/", 200, "token 2"},
		{"a", "/http://b.example:9000/", 401, ""}, {"admin", "/https://a.example/", 401, ""}, {"none", "/https://a.example/", 401, ""}, {"", "/https://a.example/", 403, ""}, {"down", "/https://a.example/", 503, ""},
	} {
		named = ""
		header := http.Header{}
		if tt.token != "" {
			header.Set("X-Prerender-Token", tt.token)
		}
		res := get(t, h, "GET", tt.target, header)
		text, _ := io.ReadAll(res.Body)
		if res.StatusCode != tt.status || named != tt.name || strings.Contains(string(text), "10.0.0.1") {
			t.Errorf("%q for %s: got %d as %q, want %d as %q; %s", tt.token, tt.target, res.StatusCode, named, tt.status, tt.name, text)
		}
	}
	// Where none is asked for, one that is known has its name, and a stranger's is not looked at.
	h.Token = ""
	// One that looks like ours and is not good is refused: its owner believes that it is asked for.
	for token, name := range map[string]string{"a": "token 2", "none": "integrations", "down": "integrations", "sp_revoked": ""} {
		named = ""
		get(t, h, "GET", "/https://a.example/", http.Header{"X-Prerender-Token": {token}})
		if named != name {
			t.Errorf("none asked for, %q: counted as %q, want %q", token, named, name)
		}
	}
}

// namer answers every page, and keeps the token's name.
type namer struct{ name *string }

func (n namer) Answer(_ context.Context, r prerender.Request) (*prerender.Answer, error) {
	*n.name = r.Token
	return page(r.Page)
}

// Whatever a request is refused for is a value of a metric's label.
func TestReasonsAreInTheTableOfMetrics(t *testing.T) {
	t.Parallel()
	source, err := os.ReadFile("refusals.go")
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`Status\w+, "([a-z-]+)", `).FindAllStringSubmatch(string(source), -1)
	if len(found) < 20 {
		t.Fatalf("got %v", found)
	}
	for _, reason := range found {
		if !slices.Contains(telemetry.Refusals.Values, reason[1]) {
			t.Errorf("%s is missing in telemetry.Refusals", reason[1])
		}
	}
}
