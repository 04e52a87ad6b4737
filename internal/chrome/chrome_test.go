package chrome_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stillpage/stillpage/internal/chrome"
	"github.com/stillpage/stillpage/internal/egress"
	"github.com/stillpage/stillpage/internal/prerender"
)

// shared is the one Chromium of this package's tests, each of which has a tab.
var shared *chrome.Renderer

func TestMain(m *testing.M) {
	chrome.KeepIfAsked()
	os.Exit(run(m))
}

func run(m *testing.M) int {
	os.Setenv("STILLPAGE_TEST_SECRET", secret)
	proxy, err := egress.Start(egress.Config{
		Policy: egress.Policy{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}, Log: quiet,
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer proxy.Close()
	// A tab is clean before the answer comes, so that the next visit of a test has a used one.
	shared, err = chrome.Start(context.Background(), chrome.Config{Egress: proxy, Log: quiet, TidyFirst: true, Blocked: []string{"http://*:*/blocked/*"}})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer shared.Close()
	return m.Run()
}

const secret = "not-for-chromium"

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

// serve starts an origin. A path without a handler is 404.
func serve(t testing.TB, pages map[string]http.HandlerFunc) string {
	t.Helper()
	mux := http.NewServeMux()
	for pattern, h := range pages {
		mux.HandleFunc(pattern, h)
	}
	srv := httptest.NewServer(mux)
	t.Cleanup(func() {
		srv.CloseClientConnections()
		srv.Close()
	})
	return srv.URL
}

func html(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		io.WriteString(w, body)
	}
}

// pageAt returns the page of a URL that serve gave.
func pageAt(t testing.TB, url string, device prerender.Device) prerender.Page {
	t.Helper()
	scheme, rest, _ := strings.Cut(url, "://")
	host, path, _ := strings.Cut(rest, "/")
	origin, err := prerender.ParseOrigin(scheme + "://" + host)
	if err != nil {
		t.Fatal(err)
	}
	page, err := prerender.Site{Origin: origin, Settings: prerender.Settings{Vary: &prerender.VaryRule{Mobile: true}}}.Page("/"+path, prerender.Viewer{Device: device})
	if err != nil {
		t.Fatal(err)
	}
	return page
}

// capture renders with the shared Chromium.
func capture(t *testing.T, url string) (*chrome.Capture, error) {
	t.Helper()
	return captureWith(t, shared, url, prerender.DefaultTimeout, chrome.Options{})
}

func captureWith(t testing.TB, r *chrome.Renderer, url string, timeout time.Duration, options chrome.Options) (*chrome.Capture, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	return r.Capture(ctx, pageAt(t, url, prerender.Desktop), options)
}

// render renders with the shared Chromium, and must succeed.
func render(t *testing.T, url string) *chrome.Capture {
	t.Helper()
	c, err := capture(t, url)
	if err != nil {
		t.Fatalf("render %s: %v", url, err)
	}
	return c
}

// wantBody compares what is, and what is not, in the HTML.
func wantBody(t *testing.T, c *chrome.Capture, has, hasNot []string) {
	t.Helper()
	for _, s := range has {
		if !strings.Contains(string(c.Body), s) {
			t.Errorf("HTML lacks %q:\n%s", s, c.Body)
		}
	}
	for _, s := range hasNot {
		if strings.Contains(string(c.Body), s) {
			t.Errorf("HTML has %q:\n%s", s, c.Body)
		}
	}
}
