package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/stillpage/stillpage/internal/config"
	"github.com/stillpage/stillpage/internal/load"
	"github.com/stillpage/stillpage/internal/telemetry"
	"github.com/stillpage/stillpage/internal/warm"
)

// loadTest is `stillpage load`.
func loadTest(ctx context.Context, args []string, getenv func(string) string, stdout, stderr io.Writer) error {
	cfg, err := config.ParseLoad(args, getenv)
	if err != nil {
		return asUsage(err)
	}
	pages, unread := pagesOf(ctx, cfg.Sitemaps, cfg.Lists)
	if unread != nil {
		return unread
	}
	test := cfg.Test
	test.URLs = cfg.URLs
	for _, page := range pages {
		test.URLs = append(test.URLs, page.URL)
	}
	if cfg.Rebase != nil {
		for i, page := range test.URLs {
			if u, err := url.Parse(page); err == nil {
				u.Scheme, u.Host = cfg.Rebase.Scheme, cfg.Rebase.Host
				test.URLs[i] = u.String()
			}
		}
	} else if other := elsewhere(cfg, pages); other != "" && cfg.Through == "" {
		return fmt.Errorf("the sitemap names pages of %s, and was read from another host: to ask that one, give --rebase %s; to ask for its pages at the sitemap's own address, give --rebase URL with that", other, other)
	}
	if cfg.Through != "" {
		for i, page := range test.URLs {
			test.URLs[i] = cfg.Through + "/" + page
		}
	}
	if len(test.URLs) == 0 {
		return errors.New("the sitemaps and lists name no page")
	}
	if len(cfg.Metrics) > 0 {
		test.Look = func(ctx context.Context) (load.Usage, error) { return usageOf(ctx, cfg.Metrics) }
		if _, err := test.Look(ctx); err != nil {
			return err
		}
	}
	var report *os.File // before the test: its numbers are not to be lost
	if cfg.Report != "" {
		if report, err = os.Create(cfg.Report); err != nil {
			return fmt.Errorf("report: %w", err)
		}
		defer report.Close()
	}
	live := &liveLoad{w: stderr, terminal: isTerminal(stderr), whole: test.Duration}
	test.Second = live.second
	fmt.Fprintf(stderr, "%s requests a second for %v, %d pages\n", test.Arrivals, test.Duration, len(test.URLs))
	result, stopped := load.Run(ctx, test)
	live.end()
	if result == nil {
		return stopped
	}
	checks := checksOf(cfg, result)
	if cfg.JSON {
		err = printLoadJSON(stdout, result, checks)
	} else {
		printLoad(stdout, result, checks)
	}
	if report != nil {
		err = errors.Join(err, writeLoadReport(report, test, result, checks))
	}
	if err != nil {
		return err
	}
	if stopped != nil {
		return fmt.Errorf("stopped after %v of %v", result.Took.Round(time.Second), test.Duration)
	}
	var missed []string
	for _, c := range checks {
		if !c.OK {
			missed = append(missed, c.Text)
		}
	}
	if result.Failed == result.Due {
		missed = append(missed, "every request has failed")
	}
	if len(missed) > 0 {
		return fmt.Errorf("missed: %s", strings.Join(missed, "; "))
	}
	return nil
}

// elsewhere is the origin of the first page that a sitemap names on another host than its own: a
// recorded sitemap names the real site, which is not to be tested by mistake.
func elsewhere(cfg config.Load, pages []warm.Page) string {
	own := map[string]bool{}
	for _, address := range cfg.Sitemaps {
		if u, err := url.Parse(address); err == nil {
			own[u.Host] = true
		}
	}
	for _, page := range pages {
		if u, err := url.Parse(page.URL); err == nil && len(own) > 0 && len(cfg.Lists) == 0 && !own[u.Host] {
			return u.Scheme + "://" + u.Host
		}
	}
	return ""
}

func checksOf(cfg config.Load, r *load.Result) []load.Check {
	var checks []load.Check
	for _, p := range []struct {
		percentile float64
		most       time.Duration
	}{{50, cfg.P50}, {95, cfg.P95}, {99, cfg.P99}} {
		if p.most > 0 {
			got := r.Percentile(p.percentile) // of nothing, 0
			checks = append(checks, load.Check{Text: fmt.Sprintf("p%g is %v, at most %v", p.percentile, got.Round(time.Millisecond/10), p.most), OK: got <= p.most && got > 0})
		}
	}
	if cfg.Failed >= 0 {
		checks = append(checks, load.Check{Text: fmt.Sprintf("%.3f %% have failed, at most %g %%", r.FailedShare(), cfg.Failed), OK: r.FailedShare() <= cfg.Failed})
	}
	if cfg.Rate > 0 {
		checks = append(checks, load.Check{Text: fmt.Sprintf("%.1f pages a second, at least %g", r.Rate(), cfg.Rate), OK: r.Rate() >= cfg.Rate})
	}
	return checks
}

func writeLoadReport(file *os.File, test load.Config, r *load.Result, checks []load.Check) error {
	title := "Load test of " + test.URLs[0]
	if len(test.URLs) > 1 {
		title += fmt.Sprintf(" and %d more", len(test.URLs)-1)
	}
	if err := errors.Join(load.Report(file, title, test, r, checks), file.Close()); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	return nil
}

func printLoad(w io.Writer, r *load.Result, checks []load.Check) {
	fmt.Fprintf(w, "requests  %d due in %v, %.1f pages a second answered, %d failed (%.2f %%)\n", r.Due, r.Took.Round(time.Millisecond), r.Rate(), r.Failed, r.FailedShare())
	fmt.Fprint(w, "ms        ")
	for _, p := range load.Percentiles {
		fmt.Fprintf(w, "p%g %.1f  ", p, float64(r.Percentile(p))/float64(time.Millisecond))
	}
	fmt.Fprintln(w)
	for _, name := range r.OutcomeNames() {
		fmt.Fprintf(w, "%-9s %d (%.2f %%), p50 %v, p99 %v\n", name, r.Outcomes[name], 100*float64(r.Outcomes[name])/float64(r.Due),
			r.Of(name, 50).Round(time.Millisecond/10), r.Of(name, 99).Round(time.Millisecond/10))
	}
	for _, c := range checks {
		verdict := "met"
		if !c.OK {
			verdict = "MISSED"
		}
		fmt.Fprintf(w, "%-9s %s\n", verdict, c.Text)
	}
}

func printLoadJSON(w io.Writer, r *load.Result, checks []load.Check) error {
	percentiles := map[string]float64{}
	for _, p := range load.Percentiles {
		percentiles[fmt.Sprintf("p%g", p)] = float64(r.Percentile(p)) / float64(time.Millisecond)
	}
	byOutcome := map[string]map[string]float64{}
	for name := range r.Outcomes {
		byOutcome[name] = map[string]float64{}
		for _, p := range load.Percentiles {
			byOutcome[name][fmt.Sprintf("p%g", p)] = float64(r.Of(name, p)) / float64(time.Millisecond)
		}
	}
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(map[string]any{
		"due": r.Due, "failed": r.Failed, "seconds": r.Took.Seconds(), "pagesPerSecond": r.Rate(), "bytes": r.Bytes,
		"milliseconds": percentiles, "outcomes": r.Outcomes, "byOutcome": byOutcome, "checks": append([]load.Check{}, checks...),
	})
}

// usageOf adds up what instances say at /metrics.
func usageOf(ctx context.Context, addresses []string) (sum load.Usage, _ error) {
	for _, address := range addresses {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
		if err != nil {
			return sum, err
		}
		answer, err := http.DefaultClient.Do(request)
		if err != nil {
			return sum, fmt.Errorf("metrics: %w", err)
		}
		found := 0
		lines := bufio.NewScanner(answer.Body)
		for lines.Scan() {
			name, value, _ := strings.Cut(lines.Text(), " ")
			n, err := strconv.ParseFloat(value, 64)
			if err != nil {
				continue
			}
			switch name {
			case telemetry.Processor.Prometheus():
				sum.Processor += time.Duration(n * float64(time.Second))
			case telemetry.Memory.Prometheus():
				sum.Memory += n
			case telemetry.Descriptors.Prometheus():
				sum.Descriptors += n
			default:
				continue
			}
			found++
		}
		answer.Body.Close()
		if found == 0 {
			return sum, fmt.Errorf("metrics: %s is not /metrics of stillpage serve (status %d)", address, answer.StatusCode)
		}
	}
	return sum, nil
}

// liveLoad shows a test while it runs: a bar on a terminal, a line now and then elsewhere.
type liveLoad struct {
	w        io.Writer
	terminal bool
	whole    time.Duration
	shown    time.Duration
	sum      load.Second // since it was shown
}

func (l *liveLoad) second(s load.Second) {
	l.sum.Due, l.sum.Answered, l.sum.Failed = l.sum.Due+s.Due, l.sum.Answered+s.Answered, l.sum.Failed+s.Failed
	interval := lineInterval
	if l.terminal {
		interval = time.Second / 2
	}
	since := s.At - l.shown
	if since < interval {
		return
	}
	const width = 20
	full := min(width, int(width*s.At/max(l.whole, 1)))
	line := fmt.Sprintf("[%s%s] %v of %v: %.1f/s due, %.1f/s answered, %d failed, %d waiting, p50 %v, p99 %v", strings.Repeat("#", full), strings.Repeat(" ", width-full),
		s.At.Round(time.Second), l.whole, float64(l.sum.Due)/since.Seconds(), float64(l.sum.Answered)/since.Seconds(), l.sum.Failed, s.Open,
		s.P50.Round(time.Millisecond/10), s.P99.Round(time.Millisecond/10))
	if l.terminal {
		fmt.Fprintf(l.w, "\r\x1b[K%s", line)
	} else {
		fmt.Fprintln(l.w, line)
	}
	l.shown, l.sum = s.At, load.Second{}
}

func (l *liveLoad) end() {
	if l.terminal {
		fmt.Fprintln(l.w)
	}
}
