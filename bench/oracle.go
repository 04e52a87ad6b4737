package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/css"
	"github.com/chromedp/cdproto/dom"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
)

// pollInterval is how often the oracle looks for the marker: a tenth of what
// the fastest page takes.
const pollInterval = 4 * time.Millisecond

// serveOracle is a role: the renderer that knows when this site's pages are
// complete. What it does beside is as cheap as it can be with ordinary flags.
func serveOracle() error {
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(os.Getenv("CHROMIUM")))
	allocator, stop := chromedp.NewExecAllocator(context.Background(), options...)
	defer stop()
	browser, closeBrowser := chromedp.NewContext(allocator)
	defer closeBrowser()
	if err := chromedp.Do(browser); err != nil {
		return err
	}
	tabs := make(chan context.Context, level())
	for range cap(tabs) {
		tab, closeTab := chromedp.NewContext(browser, chromedp.WithNewBrowserContext())
		defer closeTab()
		if err := chromedp.Do(tab, plain); err != nil {
			return err
		}
		tabs <- tab
	}
	return answerWith(func(ctx context.Context, url string) ([]byte, error) {
		tab := <-tabs
		defer func() { tabs <- tab }()
		bounded, cancel := context.WithTimeout(tab, 15*time.Second)
		defer cancel()
		defer context.AfterFunc(ctx, cancel)()
		html, err := chromedp.Run(bounded, whenDone(url))
		return []byte(html), err
	})
}

// plain turns off what chromedp follows and nobody needs here.
func plain(ctx context.Context, t *chromedp.Target) (chromedp.Void, error) {
	for _, method := range []string{dom.Disable.Method, css.Disable.Method, log.Disable.Method} {
		if err := t.Call(ctx, method, cdp.Empty{}, nil); err != nil {
			return chromedp.Void{}, fmt.Errorf("%s: %w", method, err)
		}
	}
	return chromedp.Void{}, nil
}

func whenDone(url string) chromedp.Action[string] {
	look := chromedp.Evaluate[bool](`document.getElementById("done") !== null`)
	take := chromedp.Evaluate[string](`document.documentElement.outerHTML`)
	return func(ctx context.Context, t *chromedp.Target) (string, error) {
		// It returns when the new document has replaced the one before.
		if _, err := cdp.Call(ctx, t, page.Navigate, page.NavigateParams{URL: url}); err != nil {
			return "", err
		}
		for {
			if done, err := look(ctx, t); err == nil && done {
				return take(ctx, t)
			}
			select {
			case <-ctx.Done():
				return "", ctx.Err()
			case <-time.After(pollInterval):
			}
		}
	}
}
