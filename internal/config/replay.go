package config

import (
	"errors"
	"flag"
	"fmt"
	"slices"
	"strings"

	"github.com/stillpage/stillpage/internal/replay"
)

// Record is the configuration of `stillpage record`.
type Record struct {
	Upstreams []replay.Upstream
	Listen    string
	File      string
	Rules     replay.Rules
	keep      []string
}

// Mock is the configuration of `stillpage mock`.
type Mock struct {
	File    string
	Listen  string
	Latency replay.Latency
}

// RecordOptions lists the options of `stillpage record`, each bound to a field.
func (c *Record) RecordOptions() []Option {
	return []Option{
		{"to", "URL", "", "the server to ask, like https://app.example; or with the paths that it has, like /api/=https://api.example", func(s string) error {
			u, err := replay.ParseUpstream(s)
			c.Upstreams = append(c.Upstreams, u)
			return err
		}, true, true},
		{"listen", "ADDR", "127.0.0.1:9000", "where to listen", setAddr(&c.Listen), false, true},
		{"file", "FILE", "", "the recording, which must not exist yet", setString(&c.File), false, true},
		{"scrub", "NAME", strings.Join(replay.DefaultScrubbed, ", "), "beside these, names of headers, parameters, form fields and JSON members whose values are not kept; * is any letters", func(s string) error {
			if len(replay.Rules{s}.Check()) > 0 {
				return errors.New("must be a name like x-customer or *-id")
			}
			c.Rules = append(c.Rules, s)
			return nil
		}, true, true},
		{"keep", "NAME", "none", "one of these names that is kept all the same, as it stands there", func(s string) error {
			if !slices.Contains(replay.DefaultScrubbed, s) {
				return fmt.Errorf("must be one of %s", strings.Join(replay.DefaultScrubbed, ", "))
			}
			c.keep = append(c.keep, s)
			return nil
		}, true, true},
	}
}

// MockOptions lists the options of `stillpage mock`, each bound to a field.
func (c *Mock) MockOptions() []Option {
	return []Option{
		{"file", "FILE", "", "the recording", setString(&c.File), false, true},
		{"listen", "ADDR", "127.0.0.1:9000", "where to listen", setAddr(&c.Listen), false, true},
		{"latency", "L", "recorded", "how long answers take: as recorded, a factor of that like x0.5, or a time like 20ms", func(s string) (err error) {
			c.Latency, err = replay.ParseLatency(s)
			return err
		}, false, true},
	}
}

// ParseRecord reads the configuration of `stillpage record`.
func ParseRecord(args []string, getenv func(string) string) (Record, error) {
	c := Record{Listen: "127.0.0.1:9000"}
	rest, err := parse(c.RecordOptions(), args, getenv)
	if errors.Is(err, flag.ErrHelp) {
		return c, err
	}
	if len(rest) > 0 {
		err = errors.Join(err, fmt.Errorf("record takes flags only, not %q", rest[0]))
	}
	if len(c.Upstreams) == 0 && err == nil {
		err = errors.New("nobody to ask: give --to URL")
	}
	if c.File == "" {
		err = errors.Join(err, errors.New("nowhere to write to: give --file FILE"))
	}
	for _, rule := range replay.DefaultScrubbed {
		if !slices.Contains(c.keep, rule) {
			c.Rules = append(c.Rules, rule)
		}
	}
	return c, err
}

// ParseMock reads the configuration of `stillpage mock`.
func ParseMock(args []string, getenv func(string) string) (Mock, error) {
	c := Mock{Listen: "127.0.0.1:9000", Latency: replay.Latency{Factor: 1}}
	rest, err := parse(c.MockOptions(), args, getenv)
	if errors.Is(err, flag.ErrHelp) {
		return c, err
	}
	if len(rest) > 0 {
		err = errors.Join(err, fmt.Errorf("mock takes flags only, not %q", rest[0]))
	}
	if c.File == "" {
		err = errors.Join(err, errors.New("nothing to answer from: give --file FILE"))
	}
	return c, err
}
