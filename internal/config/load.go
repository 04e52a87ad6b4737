package config

import (
	"errors"
	"flag"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/stillpage/stillpage/internal/load"
)

// Load is the configuration of `stillpage load`.
type Load struct {
	URLs     []string
	Sitemaps []string
	Lists    []string // files
	Through  string   // URL of an edge or router that is asked in the place of the pages' own hosts; "": none
	Rebase   *url.URL // whose scheme and host take the place of the pages'; nil: they stay
	Test     load.Config
	Metrics  []string // URLs of /metrics
	Report   string   // file; "": none
	JSON     bool

	// What the test is to show. Zero: nothing.
	P50, P95, P99 time.Duration
	Failed        float64 // in a hundred; below zero: not asked
	Rate          float64 // pages a second at least
}

// LoadOptions lists the options of `stillpage load`, each bound to a field.
func (c *Load) LoadOptions() []Option {
	limit := func(name string, field *time.Duration) Option {
		return Option{Name: name, Value: "D", Help: "exit status 1 if " + strings.TrimPrefix(name, "max-") + " is longer, like 500ms", set: func(s string) error {
			d, err := time.ParseDuration(s)
			if err != nil || d <= 0 {
				return errors.New("must be a time like 500ms")
			}
			*field = d
			return nil
		}, flagOnly: true}
	}
	return []Option{
		{"sitemap", "URL", "", "a sitemap, or an index of sitemaps, whose pages are asked for", setURL(&c.Sitemaps), true, true},
		{"list", "FILE", "", "a file with a URL a line, or a sitemap", func(s string) error {
			c.Lists = append(c.Lists, s)
			return nil
		}, true, true},
		{"through", "URL", "the pages' own addresses", "a router that is asked instead, by /https://host/path, like http://127.0.0.1:8082", func(s string) error {
			_, err := parseURL(s, "http://127.0.0.1:8082")
			c.Through = strings.TrimSuffix(s, "/")
			return err
		}, false, true},
		{"rebase", "URL", "the pages' own addresses", "where the pages of a sitemap or list are asked for, like http://127.0.0.1:8080", func(s string) (err error) {
			c.Rebase, err = parseURL(s, "http://127.0.0.1:8080")
			return err
		}, false, true},
		{"rate", "R", "10", "requests a second: 20; a ramp, 10..200; crawlers that come and go, bursts:20", func(s string) (err error) {
			c.Test.Arrivals, err = load.ParseArrivals(s)
			return err
		}, false, true},
		{"for", "D", "1m", "for how long, like 90s, 10m or 1h", setInterval(&c.Test.Duration), false, true},
		{"zipf", "S", "1", "how much more often the first pages of the list are asked for: the n-th 1/n^S times; 0 is all alike", func(s string) error {
			n, err := strconv.ParseFloat(s, 64)
			if err != nil || !(n >= 0 && n <= 5) {
				return errors.New("must be a number from 0 to 5")
			}
			c.Test.Zipf = n
			return nil
		}, false, true},
		{"seed", "N", "1", "the same number makes the same choices at the same times", func(s string) (err error) {
			c.Test.Seed, err = strconv.ParseUint(s, 10, 64)
			return err
		}, false, true},
		{"agent", "UA", load.Agent, "the User-Agent to send", setString(&c.Test.Agent), false, true},
		{"header", "NAME: VALUE", "none", "a header to send, like 'X-Prerender-Token: secret'", func(s string) error {
			name, value, ok := strings.Cut(s, ":")
			if !ok || strings.TrimSpace(name) == "" {
				return errors.New("must be like X-Prerender-Token: secret")
			}
			if c.Test.Header == nil {
				c.Test.Header = http.Header{}
			}
			c.Test.Header.Add(strings.TrimSpace(name), strings.TrimSpace(value))
			return nil
		}, true, true},
		{"open", "N", "2000", "requests that may wait at once; those due beyond it are not sent, and count as failed", setNumber(&c.Test.MostOpen, 1, 100_000), false, true},
		{"metrics", "URL", "none", "/metrics of an instance, for processor and memory, like http://127.0.0.1:8081/metrics", setURL(&c.Metrics), true, true},
		{"report", "FILE", "none", "write an HTML page with numbers and plots", setString(&c.Report), false, true},
		{"json", "", "off", "print the numbers as JSON", setBool(&c.JSON), false, true},
		limit("max-p50", &c.P50), limit("max-p95", &c.P95), limit("max-p99", &c.P99),
		{"max-failed", "PERCENT", "", "exit status 1 if more have failed, like 0.1", func(s string) error {
			n, err := strconv.ParseFloat(strings.TrimSuffix(s, "%"), 64)
			if err != nil || !(n >= 0 && n <= 100) {
				return errors.New("must be from 0 to 100")
			}
			c.Failed = n
			return nil
		}, false, true},
		{"min-rate", "R", "", "exit status 1 if fewer pages a second were answered", func(s string) error {
			n, err := strconv.ParseFloat(s, 64)
			if err != nil || !(n > 0) {
				return errors.New("must be a number above 0")
			}
			c.Rate = n
			return nil
		}, false, true},
	}
}

// ParseLoad reads the configuration of `stillpage load [URL…]`.
func ParseLoad(args []string, getenv func(string) string) (Load, error) {
	c := Load{Failed: -1, Test: load.Config{Arrivals: load.Arrivals{Shape: load.Constant, From: 10, To: 10}, Duration: time.Minute, Zipf: 1, Seed: 1}}
	rest, err := parse(c.LoadOptions(), args, getenv)
	if errors.Is(err, flag.ErrHelp) {
		return c, err
	}
	for _, page := range rest {
		if bad := setURL(&c.URLs)(page); bad != nil {
			err = errors.Join(err, fmt.Errorf("%q: %w", page, bad))
		}
	}
	if len(c.URLs)+len(c.Sitemaps)+len(c.Lists) == 0 && err == nil {
		err = errors.Join(err, errors.New("nothing to ask for: give URLs, --sitemap URL or --list FILE"))
	}
	return c, err
}
