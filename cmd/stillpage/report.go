package main

import (
	"bytes"
	"context"
	"fmt"
	"os"

	"github.com/stillpage/stillpage/internal/chrome"
	"github.com/stillpage/stillpage/internal/inspect"
	"github.com/stillpage/stillpage/internal/prerender"
	"github.com/stillpage/stillpage/internal/report"
)

// writeReport is `stillpage render --report FILE`.
func writeReport(ctx context.Context, path string, renderer *chrome.Renderer, page prerender.Page, c *chrome.Capture) error {
	r, err := inspect.Capture(context.WithoutCancel(ctx), renderer, page, c)
	if err != nil {
		return err
	}
	var html bytes.Buffer
	if err := report.Write(&html, *r); err != nil {
		return err
	}
	if err := os.WriteFile(path, html.Bytes(), 0o644); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return nil
}
