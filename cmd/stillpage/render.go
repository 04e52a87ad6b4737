package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"time"

	"github.com/stillpage/stillpage/internal/chrome"
	"github.com/stillpage/stillpage/internal/config"
	"github.com/stillpage/stillpage/internal/egress"
	"github.com/stillpage/stillpage/internal/prerender"
)

// render is `stillpage render URL`.
func render(ctx context.Context, args []string, getenv func(string) string, stdout, stderr io.Writer) error {
	cfg, err := config.ParseRender(args, getenv)
	if err != nil {
		return asUsage(err)
	}
	page, err := pageOf(cfg)
	if err != nil {
		return usageError{err}
	}
	log := slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	renderer, _, stop, err := startRenderer(ctx, cfg.Chrome, egress.Config{
		Policy: egress.Policy{Allow: cfg.EgressAllow, Sites: map[string]bool{page.Site.Origin.HostPort(): true}},
		Log:    log,
	})
	if err != nil {
		return err
	}
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, cfg.Timeout)
	defer cancel()
	capture, err := renderer.Capture(ctx, page, chrome.Options{Screenshot: cfg.Screenshot != "", Work: cfg.Report != ""})
	if err != nil {
		return err
	}
	if capture.Partial != "" && cfg.Rendering.RefusePartial {
		return fmt.Errorf("the page did not finish; it was waiting for %s: %w", capture.Partial, prerender.ErrRenderTimeout)
	}
	if cfg.Screenshot != "" {
		if len(capture.Screenshot) == 0 {
			return fmt.Errorf("no screenshot: %s answered %d, which is no page to look at", page.URL, capture.Status)
		}
		if err := os.WriteFile(cfg.Screenshot, capture.Screenshot, 0o644); err != nil {
			return fmt.Errorf("write screenshot: %w", err)
		}
	}
	if cfg.Report != "" {
		if err := writeReport(ctx, cfg.Report, renderer, page, capture); err != nil {
			return err
		}
	}
	if cfg.JSON {
		return printJSON(stdout, capture)
	}
	if capture.Partial != "" {
		fmt.Fprintln(stderr, "the page did not finish; it was waiting for", capture.Partial)
	}
	_, err = stdout.Write(capture.Body)
	return err
}

// pageOf makes a site of the URL's host, so that any page can be tried.
func pageOf(cfg config.Render) (prerender.Page, error) {
	u, err := url.Parse(cfg.URL)
	if err != nil || u.Host == "" {
		return prerender.Page{}, fmt.Errorf("%q is not a URL; write it like https://www.example.com/page", cfg.URL)
	}
	origin, err := prerender.ParseOrigin(u.Scheme + "://" + u.Host)
	if err != nil {
		return prerender.Page{}, err
	}
	device := prerender.Desktop
	if cfg.Mobile {
		device = prerender.Mobile
	}
	// Nothing is stored, so no parameter needs to be dropped.
	site := prerender.Site{Origin: origin, Settings: prerender.Settings{
		Vary: &prerender.VaryRule{Mobile: true}, Query: &prerender.QueryRule{Drop: []string{}}, Rendering: &cfg.Rendering,
	}}
	target := u.EscapedPath()
	if target == "" {
		target = "/"
	}
	if u.RawQuery != "" {
		target += "?" + u.RawQuery
	}
	if u.Fragment != "" {
		target += "#" + u.EscapedFragment()
	}
	return site.Page(target, prerender.Viewer{Device: device})
}

// startRenderer starts the egress proxy and Chromium behind it. stop ends both.
func startRenderer(ctx context.Context, cfg config.Chrome, egressConfig egress.Config) (_ *chrome.Renderer, _ *egress.Proxy, stop func(), err error) {
	proxy, err := egress.Start(egressConfig)
	if err != nil {
		return nil, nil, nil, err
	}
	var flags []string
	if cfg.NoSandbox {
		flags = []string{"--no-sandbox"}
	}
	renderer, err := chrome.Start(ctx, chrome.Config{
		Binary: cfg.Chromium, Flags: flags, Concurrency: cfg.Concurrency, Egress: proxy, Log: egressConfig.Log,
	})
	if err != nil {
		proxy.Close()
		return nil, nil, nil, err
	}
	return renderer, proxy, func() {
		renderer.Close()
		proxy.Close()
	}, nil
}

// printJSON writes what --json promises. Times are in milliseconds, sizes in
// bytes.
func printJSON(w io.Writer, c *chrome.Capture) error {
	type size struct {
		HTML        int   `json:"html"`
		Transferred int64 `json:"transferred"`
	}
	type failure struct {
		URL    string `json:"url"`
		Reason string `json:"reason"`
	}
	out := struct {
		URL      string             `json:"url"`
		Status   int                `json:"status"`
		Headers  http.Header        `json:"headers"`
		Title    string             `json:"title"`
		Partial  string             `json:"partial,omitempty"`
		Timings  map[string]float64 `json:"timings"`
		Sizes    size               `json:"sizes"`
		Requests int                `json:"requests"`
		Warnings []string           `json:"warnings"`
		Blocked  []string           `json:"blocked"`
		Failed   []failure          `json:"failed"`
	}{
		URL: c.URL, Status: c.Status, Headers: c.Header, Title: c.Title, Partial: c.Partial,
		Timings: map[string]float64{}, Sizes: size{len(c.Body), c.Bytes}, Requests: c.Requests,
		Warnings: append([]string{}, c.Warnings...), Blocked: append([]string{}, c.Blocked...), Failed: []failure{},
	}
	total := time.Duration(0)
	for _, p := range c.Phases {
		out.Timings[p.Name] = milliseconds(p.Duration)
		total += p.Duration
	}
	out.Timings["total"] = milliseconds(total)
	for _, f := range c.Failed {
		out.Failed = append(out.Failed, failure(f))
	}
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(out)
}

func milliseconds(d time.Duration) float64 {
	return float64(d.Round(100*time.Microsecond)) / float64(time.Millisecond)
}
