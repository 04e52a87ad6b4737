package config

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/stillpage/stillpage/internal/control"
	"github.com/stillpage/stillpage/internal/prerender"
)

// Function is the environment of a Lambda function. Each has a part of it.
type Function struct {
	Table          string // of pages and leases
	ConfigTable    string // of sites
	Bucket         string // of large bodies
	QueueURL       string
	RenderFunction string             // ARN, with its alias
	Sites          prerender.SiteList // those of the template; others are in ConfigTable
	EgressAllow    []netip.Prefix
	Token          string
	LogLevel       slog.Level

	// Who may do what at the admin API; see control.ParseAccess. Empty: whoever IAM lets in
	// may do everything, and of those with a token the members of three groups.
	Access   control.Access
	JWTClaim string // that says what groups somebody is in

	// How people log in to the console.
	JWTIssuer, JWTAudience, LoginDomain string

	RenderMB int // the render function's memory
	MemoryMB int // this function's

	Metrics string // CloudWatch's namespace; empty: none are written

	Check, CheckVersion string // the function and its version that a deployment tries

	Sitemaps  []string      // whose pages are made unasked
	WarmEvery time.Duration // 0: the default

	success prerender.Lifetime // of Sites
}

// functionVariables are read into fields of Function. A function must have those
// that it names to ParseFunction.
func functionVariables(f *Function) map[string]func(string) error {
	text := func(field *string) func(string) error {
		return func(s string) error { *field = s; return nil }
	}
	return map[string]func(string) error{
		"STILLPAGE_TABLE":           text(&f.Table),
		"STILLPAGE_CONFIG_TABLE":    text(&f.ConfigTable),
		"STILLPAGE_BUCKET":          text(&f.Bucket),
		"STILLPAGE_QUEUE_URL":       text(&f.QueueURL),
		"STILLPAGE_RENDER_FUNCTION": text(&f.RenderFunction),
		"STILLPAGE_TOKEN":           text(&f.Token),
		"STILLPAGE_LOG_LEVEL":       func(s string) error { return f.LogLevel.UnmarshalText([]byte(s)) },
		"STILLPAGE_SITES":           f.parseSites,
		"STILLPAGE_FRESH":           setDuration(&f.success.Fresh),
		"STILLPAGE_STALE":           setDuration(&f.success.Stale),
		"STILLPAGE_ACCESS":          f.parseAccess,
		"STILLPAGE_JWT_CLAIM":       text(&f.JWTClaim),
		"STILLPAGE_JWT_ISSUER":      text(&f.JWTIssuer),
		"STILLPAGE_JWT_AUDIENCE":    text(&f.JWTAudience),
		"STILLPAGE_LOGIN_DOMAIN":    text(&f.LoginDomain),
		"STILLPAGE_RENDER_MB":       number(&f.RenderMB),
		"STILLPAGE_METRICS":         text(&f.Metrics),
		"STILLPAGE_CHECK":           text(&f.Check),
		"STILLPAGE_CHECK_VERSION":   text(&f.CheckVersion),
		"STILLPAGE_EGRESS_ALLOW":    each(f.addEgressAllow),
		"STILLPAGE_WARM_EVERY":      setInterval(&f.WarmEvery),
		"STILLPAGE_WARM_SITEMAP":    each(setURL(&f.Sitemaps)),
	}
}

// ParseFunction reads a function's environment. The error names every variable
// that is missing or wrong.
func ParseFunction(getenv func(string) string, needed ...string) (Function, error) {
	f := Function{success: prerender.DefaultSuccess}
	var missing []string
	var errs []error
	variables := functionVariables(&f)
	for _, name := range needed {
		if variables[name] == nil {
			panic("no such variable: " + name)
		}
		if getenv(name) == "" {
			missing = append(missing, name)
		}
	}
	if len(missing) > 0 {
		errs = append(errs, fmt.Errorf("the environment lacks %s; template.yaml sets them", strings.Join(missing, ", ")))
	}
	variables["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"] = number(&f.MemoryMB) // Lambda's own
	for name, set := range variables {
		if value := getenv(name); value != "" {
			if err := set(value); err != nil {
				errs = append(errs, fmt.Errorf("%s=%q: %w", name, value, err))
			}
		}
	}
	for host, site := range f.Sites {
		site.Lifetimes.Success = &f.success
		f.Sites[host] = site
	}
	return f, errors.Join(errs...)
}

// FirstSite is the origin of the first of Sites, by host.
func (f Function) FirstSite() prerender.Origin {
	if len(f.Sites) == 0 {
		return prerender.Origin{}
	}
	return f.Sites[slices.Min(slices.Collect(maps.Keys(f.Sites)))].Origin
}

// each reads a list that is separated by commas.
func each(set func(string) error) func(string) error {
	return func(value string) error {
		var errs []error
		for part := range strings.SplitSeq(value, ",") {
			errs = append(errs, set(strings.TrimSpace(part)))
		}
		return errors.Join(errs...)
	}
}

func (f *Function) addEgressAllow(part string) error {
	prefix, err := parsePrefix(part)
	f.EgressAllow = append(f.EgressAllow, prefix)
	return err
}

func (f *Function) parseAccess(value string) (err error) {
	f.Access, err = control.ParseAccess(value)
	return err
}

func number(field *int) func(string) error {
	return func(value string) (err error) {
		*field, err = strconv.Atoi(value)
		return err
	}
}

func (f *Function) parseSites(value string) error {
	var sites []prerender.Site
	err := each(func(part string) error {
		origin, err := prerender.ParseOrigin(part)
		sites = append(sites, prerender.Site{Origin: origin})
		return err
	})(value)
	if err != nil {
		return err
	}
	f.Sites, err = prerender.NewSiteList(sites...)
	return err
}
