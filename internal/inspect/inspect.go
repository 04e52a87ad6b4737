// Package inspect has a page shown to a person's browser and to a bot's, and puts what
// happened into a report.
package inspect

import (
	"context"
	"fmt"
	"time"

	"github.com/stillpage/stillpage/internal/chrome"
	"github.com/stillpage/stillpage/internal/prerender"
	"github.com/stillpage/stillpage/internal/report"
)

// Page renders a page and reports on it.
func Page(ctx context.Context, renderer *chrome.Renderer, page prerender.Page) (*report.Report, error) {
	capture, err := renderer.Capture(ctx, page, chrome.Options{Work: true})
	if err != nil {
		return nil, err
	}
	return Capture(ctx, renderer, page, capture)
}

// Capture reports on a render. The two views, which a browser shows in real time, have
// a time of their own.
func Capture(ctx context.Context, renderer *chrome.Renderer, page prerender.Page, c *chrome.Capture) (*report.Report, error) {
	r := &report.Report{
		URL: c.URL, Device: string(page.Device), At: time.Now().UTC(), Status: c.Status, Header: c.Header,
		Partial: c.Partial, Ended: c.Ended, HTML: c.Body, Console: c.Console, Warnings: c.Warnings,
	}
	for _, p := range c.Phases {
		r.Phases = append(r.Phases, report.Phase(p))
	}
	for _, q := range c.Timeline {
		r.Requests = append(r.Requests, report.Request(q))
	}
	for _, w := range c.Work {
		r.Work = append(r.Work, report.Work(w))
	}
	if c.Status >= 300 && c.Status < 400 {
		return r, nil // there is nothing to look at
	}
	person, err := personView(ctx, renderer, page)
	if err != nil {
		r.Warnings = append(r.Warnings, fmt.Sprintf("What a person sees could not be shown: %v.", err))
	} else {
		r.Person = view(person)
	}
	bot, err := renderer.View(ctx, page, c.Body)
	if err != nil {
		return nil, fmt.Errorf("show the bot's page: %w", err)
	}
	r.Bot = view(bot)
	return r, nil
}

// botTime is kept for the bot's view, without which there is no report: a snapshot is
// shown in a second or two, but a person's page may hang.
const botTime = 8 * time.Second

func personView(ctx context.Context, renderer *chrome.Renderer, page prerender.Page) (*chrome.View, error) {
	if deadline, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, deadline.Add(-botTime))
		defer cancel()
	}
	return renderer.View(ctx, page, nil)
}

func view(v *chrome.View) report.View {
	return report.View{Picture: v.Screenshot, Text: v.Text, Meta: v.Meta, Links: v.Links, Structured: v.Structured}
}
