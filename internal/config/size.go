package config

import (
	"errors"
	"flag"
	"fmt"
	"strconv"
	"time"
)

// Size is the configuration of `stillpage size`.
type Size struct {
	URLs     []string
	Sitemaps []string
	Lists    []string // files
	Demo     bool
	Renders  int     // one at a time, and again as many at once
	Rate     float64 // requests a second
	HitRatio float64
	Peak     float64
	JSON     bool
	Timeout  time.Duration
	Chrome
}

// SizeOptions lists the options of `stillpage size`, each bound to a field.
func (c *Size) SizeOptions() []Option {
	between := func(field *float64, low, high float64) func(string) error {
		return func(s string) error {
			n, err := strconv.ParseFloat(s, 64)
			if err != nil || !(n >= low && n <= high) {
				return fmt.Errorf("must be a number from %g to %g", low, high)
			}
			*field = n
			return nil
		}
	}
	return append([]Option{
		{"sitemap", "URL", "", "a sitemap, or an index of sitemaps, whose first pages are rendered", setURL(&c.Sitemaps), true, true},
		{"list", "FILE", "", "a file with a URL a line, or a sitemap", func(s string) error {
			c.Lists = append(c.Lists, s)
			return nil
		}, true, true},
		{"demo", "", "off", "render the built-in demo shop", setBool(&c.Demo), false, true},
		{"renders", "N", "60", "how many pages are rendered one at a time, and then as many at once", setNumber(&c.Renders, 5, 10_000), false, true},
		{"rate", "R", "10", "requests a second that are to be answered, in the mean", between(&c.Rate, 0.001, 1e6), false, true},
		{"hit-ratio", "H", "0.9", "how many of them are in the store", between(&c.HitRatio, 0, 1), false, true},
		{"peak", "F", "3", "how many times the mean the busiest minute is", between(&c.Peak, 1, 1000), false, true},
		{"json", "", "off", "print the numbers as JSON", setBool(&c.JSON), false, true},
	}, c.Chrome.options()...)
}

// ParseSize reads the configuration of `stillpage size [URL…]`.
func ParseSize(args []string, getenv func(string) string) (Size, error) {
	c := Size{Renders: 60, Rate: 10, HitRatio: 0.9, Peak: 3}
	rest, err := parse(c.SizeOptions(), args, getenv)
	if errors.Is(err, flag.ErrHelp) {
		return c, err
	}
	for _, page := range rest {
		if bad := setURL(&c.URLs)(page); bad != nil {
			err = errors.Join(err, fmt.Errorf("%q: %w", page, bad))
		}
	}
	if given := len(c.URLs)+len(c.Sitemaps)+len(c.Lists) > 0; given == c.Demo {
		err = errors.Join(err, errors.New("give pages to render (URLs, --sitemap URL or --list FILE), or --demo"))
	}
	return c, err
}
