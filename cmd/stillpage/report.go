package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"time"

	"github.com/stillpage/stillpage/internal/chrome"
	"github.com/stillpage/stillpage/internal/prerender"
	"github.com/stillpage/stillpage/internal/report"
)

// reportTime is for the two views of a report, which a browser shows in real time.
const reportTime = 60 * time.Second

// writeReport is `stillpage render --report FILE`: it has the page shown to a
// person, and what was captured to a bot.
func writeReport(ctx context.Context, path string, renderer *chrome.Renderer, page prerender.Page, c *chrome.Capture) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), reportTime)
	defer cancel()
	r := report.Report{
		URL: c.URL, Device: string(page.Device), At: time.Now().UTC(), Status: c.Status, Header: c.Header,
		Partial: c.Partial, Ended: c.Ended, HTMLBytes: len(c.Body), Console: c.Console, Warnings: c.Warnings,
	}
	for _, p := range c.Phases {
		r.Phases = append(r.Phases, report.Phase(p))
	}
	for _, q := range c.Timeline {
		r.Requests = append(r.Requests, report.Request(q))
	}
	if c.Status < 300 || c.Status >= 400 {
		person, err := renderer.View(ctx, page, nil)
		if err != nil {
			r.Warnings = append(r.Warnings, fmt.Sprintf("What a person sees could not be shown: %v.", err))
		} else {
			r.Person = view(person)
		}
		bot, err := renderer.View(ctx, page, c.Body)
		if err != nil {
			return fmt.Errorf("show the bot's page: %w", err)
		}
		r.Bot = view(bot)
	}
	var html bytes.Buffer
	if err := report.Write(&html, r); err != nil {
		return err
	}
	if err := os.WriteFile(path, html.Bytes(), 0o644); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return nil
}

func view(v *chrome.View) report.View {
	return report.View{PNG: v.Screenshot, Text: v.Text, Meta: v.Meta, Links: v.Links, Structured: v.Structured}
}
