// Package config reads the command's settings: defaults, then STILLPAGE_…
// variables, then flags; then everything is checked, and every fault is reported
// at once. What a setting does is the business of those who get it.
package config

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/stillpage/stillpage/internal/prerender"
)

// Option is one setting. The table in docs/configuration.md is written from it.
type Option struct {
	Name     string // the flag's, without dashes
	Value    string // what stands for its value in help; "" for a switch
	Default  string // in words
	Help     string
	set      func(string) error
	repeated bool // may be given more than once; the variable holds a comma-separated list
	flagOnly bool // there is no variable: it is about one call of the command
}

// Env is the option's environment variable. Empty: it has none.
func (o Option) Env() string {
	if o.flagOnly {
		return ""
	}
	return "STILLPAGE_" + strings.ToUpper(strings.ReplaceAll(o.Name, "-", "_"))
}

// Serve is the configuration of `stillpage serve`.
type Serve struct {
	Sites        []prerender.Origin // what may be rendered; none: the edge's own address
	Origin       *url.URL           // the app behind the edge; nil: no edge
	Demo         bool               // the app is the built-in demo
	Listen       string             // the edge
	RouterListen string
	AdminListen  string
	Data         string             // directory; "": pages are gone when the program ends
	Shared       Shared             // in the place of a directory; its zero value: none
	AdminToken   string             // "": one is made up
	LogFormat    string             // "text" or "json"
	Drain        time.Duration      // between the signal to stop and the end of listening
	Success      prerender.Lifetime // of pages
	Sitemaps     []string           // whose pages are made unasked
	WarmEvery    time.Duration      // 0: the default
	Token        string
	Chrome
}

// Shared is where instances keep what they share: tables of DynamoDB and a bucket of S3, or of
// what speaks their protocols.
type Shared struct {
	Table, ConfigTable, Bucket string
	Create                     bool // what is missing
}

// IsSet says whether there is any.
func (s Shared) IsSet() bool { return s.Table != "" || s.ConfigTable != "" || s.Bucket != "" }

// Chrome is the part of the configuration that all rendering commands share.
type Chrome struct {
	Chromium    string // path; "": looked for
	NoSandbox   bool
	Concurrency int // 0: the renderer's default
	Rendering   prerender.RenderRule
	EgressAllow []netip.Prefix
}

// Render is the configuration of `stillpage render URL`.
type Render struct {
	URL        string
	JSON       bool
	Screenshot string // file; "": none
	Report     string // file; "": none
	Mobile     bool
	Timeout    time.Duration
	Chrome
}

// Warm is the configuration of `stillpage warm`.
type Warm struct {
	Sitemaps []string
	Lists    []string // files
	Rate     float64  // pages a second; 0: the warmer's default
	Parallel int      // 0: the warmer's default
	Mobile   bool
	State    string        // file; "": none
	Again    time.Duration // 0: the warmer's default
}

// ServeOptions lists the options of `stillpage serve`, each bound to a field.
func (c *Serve) ServeOptions() []Option {
	return append([]Option{
		{"site", "URL", "the edge's own address", "a site's public origin that may be rendered, like https://www.example.com", func(s string) error {
			o, err := prerender.ParseOrigin(s)
			c.Sites = append(c.Sites, o)
			return err
		}, true, false},
		{"origin", "URL", "", "the app that the edge stands in front of, like http://127.0.0.1:3000", func(s string) (err error) {
			c.Origin, err = parseURL(s, "http://127.0.0.1:3000")
			return err
		}, false, false},
		{"demo", "", "off", "put the edge in front of a built-in demo app", setBool(&c.Demo), false, false},
		{"listen", "ADDR", "127.0.0.1:8080", "where the edge listens, for people and bots", setAddr(&c.Listen), false, false},
		{"router-listen", "ADDR", "127.0.0.1:8082", "where the router listens: /https://host/path and the other integration paths", setAddr(&c.RouterListen), false, false},
		{"admin-listen", "ADDR", "127.0.0.1:8081", "where operators find the console and the admin API", setAddr(&c.AdminListen), false, false},
		{"data", "DIR", "nothing is kept", "directory that keeps pages, sites, tokens, statistics and the audit over a restart", setString(&c.Data), false, false},
		{"table", "NAME", "none", "DynamoDB table of pages that instances share, in the place of --data", setString(&c.Shared.Table), false, false},
		{"config-table", "NAME", "none", "DynamoDB table of sites, tokens, statistics and the audit; with --table", setString(&c.Shared.ConfigTable), false, false},
		{"bucket", "NAME", "none", "S3 bucket of large pages; with --table", setString(&c.Shared.Bucket), false, false},
		{"create-tables", "", "off", "create these tables and the bucket if they are missing", setBool(&c.Shared.Create), false, false},
		{"admin-token", "T", "that in --data, or a new one", "the token of the first admin, 24 characters or more", func(s string) error {
			if len(s) < 24 {
				return errors.New("must have 24 characters or more; openssl rand -hex 24 makes one")
			}
			c.AdminToken = s
			return nil
		}, false, false},
		{"log-format", "F", "text", "how the log is written: text for people, json for programs", func(s string) error {
			if s != "text" && s != "json" {
				return errors.New("must be text or json")
			}
			c.LogFormat = s
			return nil
		}, false, false},
		{"drain", "D", "0s", "with a balancer in front: for how long to go on answering, and say at /health/ready that it ends, before listening stops", func(s string) error {
			d, err := time.ParseDuration(s)
			if err != nil || d < 0 || d > time.Minute {
				return errors.New("must be between 0s and 1m, like 5s")
			}
			c.Drain = d
			return nil
		}, false, false},
		{"fresh", "D", "1d", "how long a page is answered as it is, like 90m, 12h or 7d", setDuration(&c.Success.Fresh), false, false},
		{"stale", "D", "7d", "how long after that it may still be answered, while a new one is made", setDuration(&c.Success.Stale), false, false},
		{"warm-sitemap", "URL", "none", "a site's sitemap whose pages are made before anybody asks, like https://www.example.com/sitemap.xml", setURL(&c.Sitemaps), true, false},
		{"warm-every", "D", "1d", "how often its pages are looked through for what is missing, stale or has changed", setInterval(&c.WarmEvery), false, false},
		{"token", "T", "none is asked for", "what integrations must send as X-Prerender-Token", setString(&c.Token), false, false},
	}, c.Chrome.options()...)
}

// RenderOptions lists the options of `stillpage render`, each bound to a field.
func (c *Render) RenderOptions() []Option {
	return append([]Option{
		{"json", "", "off", "print status, headers, timings, sizes, warnings and blocked requests instead of the page", setBool(&c.JSON), false, false},
		{"screenshot", "FILE", "", "write a PNG of what the browser saw", setString(&c.Screenshot), false, false},
		{"report", "FILE", "", "write an HTML page that compares what a person sees with what the bot gets", setString(&c.Report), false, false},
		{"mobile", "", "off", "render as a phone", setBool(&c.Mobile), false, false},
		{"timeout", "D", prerender.DefaultTimeout.String(), "time for the whole render", func(s string) error {
			d, err := time.ParseDuration(s)
			if err != nil || d < 3*time.Second || d > 5*time.Minute {
				return errors.New("must be between 3s and 5m, like 20s")
			}
			c.Timeout = d
			return nil
		}, false, false},
	}, c.Chrome.options()...)
}

// WarmOptions lists the options of `stillpage warm`, each bound to a field.
func (c *Warm) WarmOptions() []Option {
	return []Option{
		{"sitemap", "URL", "", "a sitemap, or an index of sitemaps, like https://www.example.com/sitemap.xml", setURL(&c.Sitemaps), true, false},
		{"list", "FILE", "", "a file with a URL a line, or a sitemap", func(s string) error {
			c.Lists = append(c.Lists, s)
			return nil
		}, true, false},
		{"rate", "N", "2", "pages asked for in a second, at most", func(s string) error {
			rate, err := strconv.ParseFloat(s, 64)
			if err != nil || !(rate >= 0.01 && rate <= 1000) {
				return errors.New("must be a number from 0.01 to 1000")
			}
			c.Rate = rate
			return nil
		}, false, false},
		{"parallel", "N", "4", "pages waited for at once", setNumber(&c.Parallel, 1, 256), false, false},
		{"mobile", "", "off", "ask as a phone", setBool(&c.Mobile), false, false},
		{"state", "FILE", "", "what was asked for, so that a run goes on where it was stopped, and the next asks for what has changed", setString(&c.State), false, false},
		{"again", "D", "1d", "with --state: after how long a page is asked for again whose sitemap does not say when it has changed", setInterval(&c.Again), false, false},
	}
}

func (c *Chrome) options() []Option {
	return []Option{
		{"egress-allow", "CIDR", "none but the sites themselves", "private address range that pages may reach, like 10.0.0.0/8", func(s string) error {
			p, err := parsePrefix(s)
			c.EgressAllow = append(c.EgressAllow, p)
			return err
		}, true, false},
		{"concurrency", "N", "two a core", "pages rendered at once", setNumber(&c.Concurrency, 1, 256), false, false},
		{"language", "L", prerender.DefaultLanguage, "language of the person that pages are rendered for, as in Accept-Language", setString(&c.Rendering.Language), false, false},
		{"follow-redirects", "", "off: the bot is answered 302", "show the page that a script or a meta refresh leads to", setBool(&c.Rendering.FollowRedirects), false, false},
		{"declarative-shadow", "", "off: they are flattened", "write shadow roots as <template shadowrootmode>", setBool(&c.Rendering.DeclarativeShadow), false, false},
		{"refuse-partial", "", "off: what there is is answered", "answer with an error when a page did not finish in its time", setBool(&c.Rendering.RefusePartial), false, false},
		{"real-time", "", "off", "render without the jumping clock, a second slower", setBool(&c.Rendering.RealTime), false, false},
		{"no-sandbox", "", "off, but for root", "run Chromium without its sandbox, where the machine forbids user namespaces, as most containers do", setBool(&c.NoSandbox), false, false},
		{"chromium", "PATH", "looked for in PATH", "the Chromium to use", setString(&c.Chromium), false, false},
	}
}

// ParseServe reads the configuration of `stillpage serve`. A call for help is
// flag.ErrHelp.
func ParseServe(args []string, getenv func(string) string) (Serve, error) {
	c := Serve{LogFormat: "text", Success: prerender.DefaultSuccess, Listen: "127.0.0.1:8080", RouterListen: "127.0.0.1:8082", AdminListen: "127.0.0.1:8081"}
	rest, err := parse(c.ServeOptions(), args, getenv)
	if errors.Is(err, flag.ErrHelp) {
		return c, err
	}
	if len(rest) > 0 {
		err = errors.Join(err, fmt.Errorf("serve takes flags only, not %q", rest[0]))
	}
	return c, errors.Join(err, c.validate())
}

func (c *Serve) validate() error {
	var errs []error
	fault := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if c.Demo && c.Origin != nil {
		fault("--demo and --origin are two apps for one edge; give one of them")
	}
	if !c.Demo && c.Origin == nil && len(c.Sites) == 0 {
		fault("nothing to render: give --site URL (a public site), --origin URL (an app to stand in front of) or --demo")
	}
	if c.HasEdge() && len(c.Sites) == 0 && !isLoopback(c.Listen) {
		fault("--listen %s is open to others, so give --site URL, the address under which they know the site", c.Listen)
	}
	if c.Origin != nil {
		for _, listen := range []string{c.Listen, c.RouterListen, c.AdminListen} {
			if c.Origin.Host == listen {
				fault("--origin %s is this program itself, which listens on %s; give the app's address", c.Origin, listen)
			}
		}
	}
	if c.Shared.IsSet() && (c.Shared.Table == "" || c.Shared.ConfigTable == "" || c.Shared.Bucket == "") {
		fault("--table, --config-table and --bucket belong together; give all three")
	}
	if c.Shared.IsSet() && c.Data != "" {
		fault("--data and --table are two places for the same; give one of them")
	}
	if c.Shared.Create && !c.Shared.IsSet() {
		fault("--create-tables creates what --table, --config-table and --bucket name, which are not given")
	}
	if c.Token != "" && len(c.Token) < 24 && !isLoopback(c.RouterListen) {
		fault("--router-listen %s is open to others, and --token has %d characters; give it 24 or more, openssl rand -hex 24 makes one", c.RouterListen, len(c.Token))
	}
	if c.Token == "" && !isLoopback(c.RouterListen) {
		fault("--router-listen %s is open to others, so give --token, which they must send", c.RouterListen)
	}
	return errors.Join(errs...)
}

// HasEdge says whether there is an app to put the edge in front of.
func (c *Serve) HasEdge() bool { return c.Demo || c.Origin != nil }

func isLoopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return true // reported where it was set
	}
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// ParseRender reads the configuration of `stillpage render URL`.
func ParseRender(args []string, getenv func(string) string) (Render, error) {
	c := Render{Timeout: prerender.DefaultTimeout}
	rest, err := parse(c.RenderOptions(), args, getenv)
	if errors.Is(err, flag.ErrHelp) {
		return c, err
	}
	if len(rest) != 1 {
		return c, errors.Join(err, fmt.Errorf("render takes one URL, and %d were given", len(rest)))
	}
	c.URL = rest[0]
	return c, err
}

// ParseWarm reads the configuration of `stillpage warm`.
func ParseWarm(args []string, getenv func(string) string) (Warm, error) {
	var c Warm
	rest, err := parse(c.WarmOptions(), args, getenv)
	if errors.Is(err, flag.ErrHelp) {
		return c, err
	}
	if len(rest) > 0 {
		err = errors.Join(err, fmt.Errorf("warm takes flags only, not %q", rest[0]))
	}
	if len(c.Sitemaps)+len(c.Lists) == 0 {
		err = errors.Join(err, errors.New("nothing to ask for: give --sitemap URL or --list FILE"))
	}
	return c, err
}

// parse sets options from variables, then from flags, which may stand before
// and after other arguments; those are returned.
func parse(options []Option, args []string, getenv func(string) string) (rest []string, err error) {
	var errs []error
	fs := flag.NewFlagSet("", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	given := map[string][]string{}
	for _, o := range options {
		keep := func(s string) error {
			given[o.Name] = append(given[o.Name], s)
			return nil
		}
		if o.Value == "" {
			fs.BoolFunc(o.Name, o.Help, keep)
		} else {
			fs.Func(o.Name, o.Help, keep)
		}
	}
	for len(args) > 0 {
		if err := fs.Parse(args); errors.Is(err, flag.ErrHelp) {
			return nil, err
		} else if err != nil {
			errs = append(errs, fmt.Errorf("%w; see --help", err))
			break
		}
		if args = fs.Args(); len(args) > 0 {
			rest, args = append(rest, args[0]), args[1:]
		}
	}
	for _, o := range options {
		variable := ""
		if o.Env() != "" {
			variable = getenv(o.Env())
		}
		errs = append(errs, o.apply(given[o.Name], variable))
	}
	return rest, errors.Join(errs...)
}

// apply sets the option from the flag's values, or else from its variable.
func (o Option) apply(flags []string, variable string) error {
	source, values := "--"+o.Name, flags
	if len(flags) == 0 && variable != "" {
		source, values = o.Env(), []string{variable}
		if o.repeated {
			values = strings.FieldsFunc(variable, func(r rune) bool { return r == ',' || r == ' ' })
		}
	}
	if len(values) > 1 && !o.repeated {
		return fmt.Errorf("%s is given %d times; give it once", source, len(values))
	}
	var errs []error
	for _, v := range values {
		if err := o.set(v); err != nil {
			errs = append(errs, fmt.Errorf("%s %q: %w", source, v, err))
		}
	}
	return errors.Join(errs...)
}

func setString(field *string) func(string) error {
	return func(s string) error {
		*field = s
		return nil
	}
}

func setBool(field *bool) func(string) error {
	return func(s string) error {
		b, err := strconv.ParseBool(s)
		if err != nil {
			return errors.New("must be true or false")
		}
		*field = b
		return nil
	}
}

func parsePrefix(s string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return p, errors.New("must be an address range like 10.0.0.0/8 or 127.0.0.1/32")
	}
	return p.Masked(), nil
}

func setDuration(field *time.Duration) func(string) error {
	return func(s string) (err error) {
		*field, err = prerender.ParseDuration(s)
		return err
	}
}

// setInterval is setDuration for what must not be zero.
func setInterval(field *time.Duration) func(string) error {
	return func(s string) error {
		d, err := prerender.ParseDuration(s)
		if err == nil && d == 0 {
			err = errors.New("must be like 12h or 1d")
		}
		*field = d
		return err
	}
}

func setURL(field *[]string) func(string) error {
	return func(s string) error {
		if _, err := parseURL(s, "https://www.example.com/sitemap.xml"); err != nil {
			return err
		}
		*field = append(*field, s)
		return nil
	}
}

// parseURL reads an http URL; the example is for who has written none.
func parseURL(s, example string) (*url.URL, error) {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, errors.New("must be a URL like " + example)
	}
	return u, nil
}

// setNumber reads a whole number.
func setNumber(field *int, least, most int) func(string) error {
	return func(s string) error {
		n, err := strconv.Atoi(s)
		if err != nil || n < least || n > most {
			return fmt.Errorf("must be a number from %d to %d", least, most)
		}
		*field = n
		return nil
	}
}

func setAddr(field *string) func(string) error {
	return func(s string) error {
		host, port, err := net.SplitHostPort(s)
		if _, portErr := strconv.ParseUint(port, 10, 16); err != nil || portErr != nil || host == "" {
			return errors.New("must be an address and a port, like 127.0.0.1:8080")
		}
		*field = s
		return nil
	}
}

// Usage writes the options for --help.
func Usage(w io.Writer, options []Option) {
	for _, o := range options {
		name := "--" + o.Name
		if o.Value != "" {
			name += " " + o.Value
		}
		if o.repeated {
			name += " …"
		}
		fmt.Fprintf(w, "  %-22s %s", name, o.Help)
		if o.Default != "" {
			fmt.Fprintf(w, " (default: %s)", o.Default)
		}
		fmt.Fprintln(w)
		if o.Env() != "" {
			fmt.Fprintf(w, "  %22s %s\n", "", o.Env())
		}
	}
}

// Markdown writes the options as a table for docs/configuration.md.
func Markdown(w io.Writer, options []Option) {
	fmt.Fprintln(w, "| flag | variable | default | meaning |\n| --- | --- | --- | --- |")
	for _, o := range options {
		name := "--" + o.Name
		if o.Value != "" {
			name += " " + o.Value
		}
		help, variable := o.Help, "`"+o.Env()+"`"
		if o.Env() == "" {
			variable = ""
		}
		switch {
		case o.repeated && o.flagOnly:
			help += "; may be repeated"
		case o.repeated:
			help += "; may be repeated, separated by commas in the variable"
		}
		fmt.Fprintf(w, "| `%s` | %s | %s | %s |\n", name, variable, o.Default, help)
	}
}

// AdminListen is where serve listens for operators, as far as the environment says.
func AdminListen(getenv func(string) string) string {
	return cmp.Or(getenv("STILLPAGE_ADMIN_LISTEN"), "127.0.0.1:8081")
}
