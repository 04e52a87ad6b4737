package prerender

import (
	"cmp"
	"fmt"
	"strings"
)

// Settings are what an owner may say of pages. What is nil is not said.
type Settings struct {
	Lifetimes    Lifetimes    `json:"lifetimes,omitzero"`
	CacheControl *CacheRule   `json:"cacheControl,omitempty"`
	Query        *QueryRule   `json:"query,omitempty"`
	Vary         *VaryRule    `json:"vary,omitempty"`
	Rendering    *RenderRule  `json:"rendering,omitempty"`
	Failure      *FailureRule `json:"failure,omitempty"`
	Admission    *AdmitRule   `json:"admission,omitempty"`

	// Limits are the whole site's: those of a path count for nothing.
	Limits *LimitRule `json:"limits,omitempty"`

	// Agents say what bots get, by what they come for (package useragent: "search",
	// "ai-training", "ai-user-fetch", "social-preview", "seo-tool", "archive",
	// "monitoring"). Others get the page.
	Agents map[string]Policy `json:"agents,omitzero"`
}

// Policy is what a kind of bots gets.
type Policy string

const (
	RenderPage Policy = "render" // the page
	PlainApp   Policy = "app"    // the app, as people get it
	Refuse     Policy = "refuse" // nothing
)

// UnmarshalText refuses what is no policy.
func (p *Policy) UnmarshalText(text []byte) error {
	switch *p = Policy(text); *p {
	case RenderPage, PlainApp, Refuse:
		return nil
	}
	return fmt.Errorf("policy %q must be render, app or refuse", text)
}

// PathSettings are for the pages whose path matches.
type PathSettings struct {
	// Path is a pattern such as "/blog/*": a "*" stands for any characters, "/"
	// among them. It is compared with the path in its normal form, without query.
	Path string `json:"path"`
	Settings
}

// Rule is what holds for one page: its site's settings, with all that was not
// said filled in.
type Rule struct {
	Lifetimes    Lifetimes
	CacheControl CacheRule
	Query        QueryRule
	Vary         VaryRule
	Rendering    RenderRule
	Failure      FailureRule
	Admission    AdmitRule
	Limits       LimitRule
	Agents       map[string]Policy
}

// rule returns what holds for a path in normal form.
func (s *Site) rule(path string) Rule {
	said := s.Settings
	for _, p := range s.Paths {
		if MatchPattern(p.Path, path) {
			said = p.Settings.or(s.Settings)
			break
		}
	}
	return Rule{
		Lifetimes:    said.Lifetimes,
		CacheControl: value(said.CacheControl), Query: value(said.Query), Vary: value(said.Vary),
		Rendering: value(said.Rendering), Failure: value(said.Failure), Admission: value(said.Admission),
		Limits: value(s.Limits), Agents: said.Agents, // limits are the whole site's
	}
}

// or returns these settings, and where they say nothing, others. A part that is
// said takes the place of the other's as a whole.
func (s Settings) or(others Settings) Settings {
	agents := s.Agents
	if agents == nil {
		agents = others.Agents
	}
	return Settings{
		Agents:       agents,
		Limits:       cmp.Or(s.Limits, others.Limits),
		Lifetimes:    s.Lifetimes.or(others.Lifetimes),
		CacheControl: cmp.Or(s.CacheControl, others.CacheControl), Query: cmp.Or(s.Query, others.Query),
		Vary: cmp.Or(s.Vary, others.Vary), Rendering: cmp.Or(s.Rendering, others.Rendering),
		Failure: cmp.Or(s.Failure, others.Failure), Admission: cmp.Or(s.Admission, others.Admission),
	}
}

func value[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}

// MatchPattern says whether a pattern fits a path or a name, in time proportional to the
// product of their lengths at worst.
func MatchPattern(pattern, path string) bool {
	first, rest, hasStar := strings.Cut(pattern, "*")
	path, ok := strings.CutPrefix(path, first)
	if !ok || !hasStar {
		return ok && path == ""
	}
	for {
		part, more, again := strings.Cut(rest, "*")
		if !again {
			return strings.HasSuffix(path, part)
		}
		_, path, ok = strings.Cut(path, part)
		if !ok {
			return false
		}
		rest = more
	}
}

// VaryRule says which pages differ by who asks. Cookies never make a difference.
type VaryRule struct {
	// Mobile keeps a page of its own for mobile agents. When false, every agent gets
	// the desktop page, at half the renders.
	Mobile bool `json:"mobile,omitempty"`

	// Languages are those that the site has by Accept-Language, such as "en" and
	// "de-CH"; the first is for who wants none of them. When there are none, every
	// agent gets the same page. With them, CloudFront keeps no copies: it would mix
	// them up.
	Languages []string `json:"languages,omitempty"`
}

// RenderRule is how pages are rendered. The zero value is for most.
type RenderRule struct {
	// RealTime renders without the jumping clock, for sites that do not bear it:
	// slower by a second a page.
	RealTime bool `json:"realTime,omitempty"`

	// FollowRedirects shows the page that a script or a meta refresh leads to.
	// When false, the crawler is answered 302 and asks for it itself.
	FollowRedirects bool `json:"followRedirects,omitempty"`

	// DeclarativeShadow writes shadow roots as <template shadowrootmode>. When
	// false, they are flattened into plain HTML, which every crawler reads.
	DeclarativeShadow bool `json:"declarativeShadow,omitempty"`

	// RefusePartial answers with an error when a page did not finish in its time.
	// When false, what there is of it is answered. It is never stored.
	RefusePartial bool `json:"refusePartial,omitempty"`

	// Language is the Accept-Language of the requests, and what scripts see as
	// the person's. Empty: DefaultLanguage. Pages that vary by language have their own.
	Language string `json:"language,omitempty"`
}

// DefaultLanguage is that of most crawlers which send one.
const DefaultLanguage = "en-US,en"

// FailureRule says what is answered when there is no page, neither new nor old.
type FailureRule struct {
	// PlainApp gives bots the app as people get it. When false, they are answered
	// 503 with Retry-After, after which they come back.
	PlainApp bool `json:"plainApp,omitempty"`
}
