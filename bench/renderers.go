package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/stillpage/stillpage/internal/chrome"
	"github.com/stillpage/stillpage/internal/egress"
	"github.com/stillpage/stillpage/internal/prerender"
)

// row is a renderer that is compared. All are asked over HTTP, as their users
// do: GET base + path + the page's URL.
type row struct {
	name    string
	what    string // in the report
	command []string
	path    string
	extras  []string // pages that are measured too, at one at a time
}

var rows = []row{
	{name: "stillpage", what: "this project: `internal/chrome` and `internal/egress` behind a plain HTTP handler",
		command: []string{self, "stillpage"}, path: "/", extras: []string{"/static", "/timer"}},
	{name: "prerender", what: "[prerender](https://github.com/prerender/prerender) 5.21.6 with the plugins of its own server.js",
		command: []string{"node", "prerender.js"}, path: "/"},
	{name: "rendertron", what: "[rendertron](https://github.com/GoogleChrome/rendertron) 3.1.0 with its defaults: no cache",
		command: []string{"node", "rendertron.js"}, path: "/render/"},
	{name: "oracle", what: "chromedp on reused tabs, each in a context of its own, polling every 4 ms for this page's marker; no service can know it",
		command: []string{self, "oracle"}, path: "/", extras: []string{"/static"}},
	{name: "bare", what: "a process a page: `chromium --headless --dump-dom --virtual-time-budget=5000 URL`",
		command: []string{self, "bare"}, path: "/"},
}

func rowNames() []string {
	var names []string
	for _, r := range rows {
		names = append(names, r.name)
	}
	return names
}

func rowNamed(name string) (row, bool) {
	i := slices.IndexFunc(rows, func(r row) bool { return r.name == name })
	if i < 0 {
		return row{}, false
	}
	return rows[i], true
}

// pages are what a row is measured on.
func (r row) pages(level int) []string {
	if level > 1 {
		return []string{"/items"}
	}
	return append([]string{"/items"}, r.extras...)
}

// start runs the row's renderer for pages of the site, and returns when it has
// rendered one.
func (r row) start(ctx context.Context, env *environment, level int) (*held, *client, error) {
	port, err := freePort()
	if err != nil {
		return nil, nil, err
	}
	debugging, err := freePort()
	if err != nil {
		return nil, nil, err
	}
	h, err := env.start(r.name, slices.Clone(r.command),
		"PORT="+port, "LEVEL="+strconv.Itoa(level), "DEBUGGING_PORT="+debugging,
		"PUPPETEER_EXECUTABLE_PATH="+env.browser, "CHROMIUM_FLAGS="+strings.Join(quietFlags(), " "))
	if err != nil {
		return nil, nil, err
	}
	c := &client{base: "http://127.0.0.1:" + port + r.path, origin: env.origin}
	if err := c.await(ctx, "/static"); err != nil {
		h.stop()
		return nil, nil, fmt.Errorf("start: %w (its log is in %s)", err, env.logs())
	}
	return h, c, nil
}

// quietFlags keep a Chromium that is not Stillpage's from the network, and let
// it start as root.
func quietFlags() []string {
	flags := []string{"--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-default-apps",
		"--no-first-run", "--disable-breakpad"}
	if os.Getuid() == 0 {
		flags = append(flags, "--no-sandbox")
	}
	return flags
}

// client asks a renderer for pages.
type client struct {
	base   string
	origin string
}

// transport opens a connection for each page that is asked for at a time.
var transport = &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 8}

// pageTimeout is above every renderer's own.
const pageTimeout = 30 * time.Second

// Render returns the HTML of one of the site's pages.
func (c *client) Render(ctx context.Context, path string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, pageTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+c.origin+path, nil)
	if err != nil {
		return "", err
	}
	res, err := transport.RoundTrip(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return "", err
	}
	if res.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s: %s", res.Status, body)
	}
	return string(body), nil
}

// await asks until there is an answer.
func (c *client) await(ctx context.Context, path string) error {
	ctx, cancel := context.WithTimeout(ctx, 40*time.Second)
	defer cancel()
	for {
		_, err := c.Render(ctx, path)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// level is how many pages a role will be asked for at a time.
func level() int {
	n, err := strconv.Atoi(os.Getenv("LEVEL"))
	if err != nil {
		return 1
	}
	return n
}

// answerWith serves a renderer in Go over HTTP.
func answerWith(render func(ctx context.Context, url string) ([]byte, error)) error {
	return http.ListenAndServe("127.0.0.1:"+os.Getenv("PORT"), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		html, err := render(r.Context(), strings.TrimPrefix(r.RequestURI, "/"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		answer(w, "text/html; charset=utf-8", "no-store", html)
	}))
}

// serveStillpage is a role.
func serveStillpage() error {
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	proxy, err := egress.Start(egress.Config{
		Policy: egress.Policy{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}, Log: log,
	})
	if err != nil {
		return err
	}
	defer proxy.Close()
	// With the number of places that it has by default: more requests wait.
	renderer, err := chrome.Start(context.Background(), chrome.Config{
		Binary: os.Getenv("CHROMIUM"), Egress: proxy, Log: log,
	})
	if err != nil {
		return err
	}
	defer renderer.Close()
	return answerWith(func(ctx context.Context, url string) ([]byte, error) {
		ctx, cancel := context.WithTimeout(ctx, prerender.DefaultTimeout)
		defer cancel()
		page, err := pageAt(url)
		if err != nil {
			return nil, err
		}
		rendering, err := renderer.Render(ctx, page)
		if err != nil {
			return nil, err
		}
		if rendering.Partial != "" {
			return nil, fmt.Errorf("partial: %s", rendering.Partial)
		}
		return rendering.Body, nil
	})
}

func pageAt(url string) (prerender.Page, error) {
	scheme, rest, _ := strings.Cut(url, "://")
	host, path, _ := strings.Cut(rest, "/")
	origin, err := prerender.ParseOrigin(scheme + "://" + host)
	if err != nil {
		return prerender.Page{}, err
	}
	return prerender.Site{Origin: origin}.Page("/"+path, prerender.Viewer{})
}

// serveBare is a role: what can be had from Chromium without a program.
func serveBare() error {
	return answerWith(func(ctx context.Context, url string) ([]byte, error) {
		profile, err := os.MkdirTemp("", "profile-")
		if err != nil {
			return nil, err
		}
		defer os.RemoveAll(profile)
		args := append(quietFlags(), "--headless", "--disable-gpu", "--user-data-dir="+profile, "--dump-dom", "--virtual-time-budget=5000", url)
		return exec.CommandContext(ctx, os.Getenv("CHROMIUM"), args...).Output()
	})
}
