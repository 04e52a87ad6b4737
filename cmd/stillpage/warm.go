package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"

	"github.com/stillpage/stillpage/internal/config"
	"github.com/stillpage/stillpage/internal/sitemap"
	"github.com/stillpage/stillpage/internal/warm"
)

// warmUp is `stillpage warm`: it asks for the pages of sitemaps and lists as a bot.
func warmUp(ctx context.Context, args []string, getenv func(string) string, stdout, stderr io.Writer) error {
	cfg, err := config.ParseWarm(args, getenv)
	if err != nil {
		return asUsage(err)
	}
	pages, unread := pagesOf(ctx, cfg.Sitemaps, cfg.Lists)
	if unread != nil {
		fmt.Fprintf(stderr, "%v\n", unread)
	}
	if len(pages) == 0 {
		if unread != nil {
			return errors.New("no page is known, because nothing could be read")
		}
		return errors.New("the sitemaps and lists name no page")
	}
	w := &warm.Warmer{Rate: cfg.Rate, Concurrency: cfg.Parallel, Again: cfg.Again}
	if cfg.Mobile {
		w.Agent = warm.PhoneAgent
	}
	if cfg.State != "" {
		state, err := os.OpenFile(cfg.State, os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600)
		if err != nil {
			return fmt.Errorf("state: %w", err)
		}
		defer state.Close()
		w.State = state
	}
	chosen, err := w.Choose(pages)
	if err != nil {
		return err
	}
	fmt.Fprintf(stderr, "%d pages, %d to be asked for\n", len(pages), len(chosen))
	bar := newProgress(stderr, len(chosen))
	done := &tally{}
	w.Done = func(r warm.Result) {
		done.add(r)
		bar.step(done.String())
	}
	err = w.Run(ctx, chosen)
	bar.end(done.String())
	done.report(stdout)
	if err != nil {
		return fmt.Errorf("stopped after %d of %d pages: %w", done.pages, len(chosen), err)
	}
	if done.failed > 0 || unread != nil {
		return fmt.Errorf("%d of %d pages are not there", done.failed, done.pages)
	}
	return nil
}

// pagesOf reads all sitemaps and lists. What could be read is returned with the
// error of what could not.
func pagesOf(ctx context.Context, sitemaps, lists []string) ([]warm.Page, error) {
	var pages []warm.Page
	found := func(e sitemap.Entry) bool {
		pages = append(pages, warm.Page{URL: e.URL, LastMod: e.LastMod})
		return true
	}
	var errs []error
	client := &http.Client{Timeout: sitemap.Timeout}
	for _, address := range sitemaps {
		errs = append(errs, sitemap.Read(ctx, client, address, found))
	}
	for _, name := range lists {
		file, err := os.Open(name)
		if err == nil {
			err = sitemap.Parse(file, found, func(nested string) {
				errs = append(errs, sitemap.Read(ctx, client, nested, found))
			})
			file.Close()
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("list %s: %w", name, err))
		}
	}
	return pages, errors.Join(errs...)
}

// tally counts what became of pages.
type tally struct {
	pages, failed int
	cache         map[string]int
	faults        map[string][]string // reason → pages
}

func (t *tally) add(r warm.Result) {
	if t.cache == nil {
		t.cache, t.faults = map[string]int{}, map[string][]string{}
	}
	t.pages++
	if r.Fault == "" {
		t.cache[r.Cache]++
		return
	}
	t.failed++
	t.faults[r.Fault] = append(t.faults[r.Fault], r.URL)
}

func (t *tally) String() string {
	rendered := t.cache["miss"] + t.cache["coalesced"]
	return fmt.Sprintf("%d rendered, %d there already, %d being renewed, %d failed", rendered, t.cache["hit"], t.cache["stale"], t.failed)
}

// report names the pages that have failed, some of each reason.
func (t *tally) report(w io.Writer) {
	fmt.Fprintln(w, t)
	const shown = 5
	reasons := slices.SortedFunc(maps.Keys(t.faults), func(a, b string) int {
		if d := len(t.faults[b]) - len(t.faults[a]); d != 0 {
			return d
		}
		return strings.Compare(a, b)
	})
	for _, reason := range reasons {
		pages := t.faults[reason]
		fmt.Fprintf(w, "%d × %s\n", len(pages), reason)
		for _, page := range pages[:min(shown, len(pages))] {
			fmt.Fprintf(w, "    %s\n", page)
		}
		if len(pages) > shown {
			fmt.Fprintf(w, "    … and %d more\n", len(pages)-shown)
		}
	}
}
