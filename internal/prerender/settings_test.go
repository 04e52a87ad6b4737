package prerender_test

import (
	"encoding/json"
	"net/http"
	"os"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stillpage/stillpage/internal/prerender"
)

func TestPathSettings(t *testing.T) {
	t.Parallel()
	minute := &prerender.Lifetime{Fresh: time.Minute}
	hour := &prerender.Lifetime{Fresh: time.Hour}
	s := site(t, "https://a.example")
	s.Lifetimes.Success, s.Vary = hour, &prerender.VaryRule{Mobile: true}
	s.Paths = []prerender.PathSettings{
		{Path: "/blog/*.html", Settings: prerender.Settings{Lifetimes: prerender.Lifetimes{Success: minute}}},
		{Path: "/blog/*", Settings: prerender.Settings{Vary: &prerender.VaryRule{}, Query: &prerender.QueryRule{Keep: []string{"page"}}}},
		{Path: "/exact", Settings: prerender.Settings{Rendering: &prerender.RenderRule{RealTime: true}}},
	}
	for target, want := range map[string]struct {
		key      prerender.Key
		fresh    time.Duration
		realTime bool
	}{
		"/":                  {"https://a.example/ mobile", time.Hour, false},
		"/blog/a/b.html?x=1": {"https://a.example/blog/a/b.html?x=1 mobile", time.Minute, false},
		"/blog/a?x=1&page=2": {"https://a.example/blog/a?page=2 desktop", time.Hour, false},
		"/%62log/a?x=1":      {"https://a.example/blog/a desktop", time.Hour, false}, // the normal form counts
		"/x/../blog/a":       {"https://a.example/blog/a desktop", time.Hour, false},
		"/blog":              {"https://a.example/blog mobile", time.Hour, false},
		"/exact":             {"https://a.example/exact mobile", time.Hour, true},
		"/exact/":            {"https://a.example/exact/ mobile", time.Hour, false},
	} {
		p, err := s.Page(target, prerender.Viewer{Device: prerender.Mobile})
		if err != nil {
			t.Fatal(err)
		}
		if fresh := p.Rule.Lifetime(200, nil).Fresh; p.Key != want.key || fresh != want.fresh || p.Rule.Rendering.RealTime != want.realTime {
			t.Errorf("%s: got %s, fresh for %v, real time %v, want %+v", target, p.Key, fresh, p.Rule.Rendering.RealTime, want)
		}
	}
}

// Patterns agree with path.Match where both know the same: names without "/".
func FuzzPathPattern(f *testing.F) {
	for _, s := range [][2]string{{"/*", "/a"}, {"/a*b*c", "/aXbYc"}, {"/*a*a", "/aa"}, {"/**", "/"}, {"/", "/"}, {"*", ""}} {
		f.Add(s[0], s[1])
	}
	f.Fuzz(func(t *testing.T, pattern, text string) {
		const special = `/?[]\`
		if strings.ContainsAny(pattern, special) || strings.ContainsAny(text, special+"*") || len(pattern) > 50 {
			return
		}
		want, err := path.Match(pattern, text)
		if err != nil {
			return
		}
		if got := prerender.MatchPattern(pattern, text); got != want {
			t.Errorf("%q on %q: got %v, want %v", pattern, text, got, want)
		}
	})
}

func TestLanguages(t *testing.T) {
	t.Parallel()
	s := site(t, "https://a.example")
	s.Vary = &prerender.VaryRule{Languages: []string{"en", "de-CH", "fr", "pt-BR"}}
	for header, want := range map[string]string{
		"": "en", "*": "en", "es": "en", "de": "de-CH", "de-AT": "de-CH", "DE-ch": "de-CH", "fr-FR,fr;q=0.9,en;q=0.8": "fr",
		"es,de;q=0.5,fr;q=0.7": "fr", "en;q=0.1, de;q=0.9": "de-CH", "fr;q=0,de": "de-CH", "fr;q=0": "en", "de;q=x,fr;q=0.1": "fr",
		"de;q=2,fr": "fr", "fr;q=NaN,de": "de-CH", "pt": "pt-BR", "pt-PT": "pt-BR", ";;;,,,=": "en",
		strings.Repeat("x-", 3000) + "de": "en",
	} {
		p, err := s.Page("/", prerender.Viewer{AcceptLanguage: header})
		if err != nil {
			t.Fatal(err)
		}
		if p.Language != want || p.Rule.Rendering.Language != want || p.Key != prerender.Key("https://a.example/ desktop "+want) {
			t.Errorf("%.50q: got %q, rendered as %q, key %q, want %q", header, p.Language, p.Rule.Rendering.Language, p.Key, want)
		}
		// A renderer elsewhere gets the choice and chooses the same.
		if again, _ := s.Page("/", prerender.Viewer{AcceptLanguage: p.Language}); again.Key != p.Key {
			t.Errorf("%q chosen again: got %q, want %q", p.Language, again.Key, p.Key)
		}
	}
}

func TestOriginsCacheControl(t *testing.T) {
	t.Parallel()
	whole := prerender.Lifetime{Fresh: time.Hour, Stale: 2 * time.Hour, IfError: 3 * time.Hour}
	rule := prerender.Rule{Lifetimes: prerender.Lifetimes{Success: &whole}}
	honoured := rule
	honoured.CacheControl = prerender.CacheRule{Honour: true, Least: prerender.Duration(time.Minute), Most: prerender.Duration(24 * time.Hour)}
	for header, want := range map[string]prerender.Lifetime{
		"":                                  whole,
		"public":                            whole,
		"max-age=600":                       {Fresh: 10 * time.Minute, Stale: whole.Stale, IfError: whole.IfError},
		"max-age=600, s-maxage=1200":        {Fresh: 20 * time.Minute, Stale: whole.Stale, IfError: whole.IfError},
		`S-MaxAge="1200"`:                   {Fresh: 20 * time.Minute, Stale: whole.Stale, IfError: whole.IfError},
		"no-store":                          {Fresh: time.Minute, Stale: whole.Stale, IfError: whole.IfError},
		"max-age=9999, private":             {Fresh: time.Minute, Stale: whole.Stale, IfError: whole.IfError},
		"max-age=999999999":                 {Fresh: 24 * time.Hour, Stale: whole.Stale, IfError: whole.IfError},
		"max-age=-1":                        whole,
		"max-age=99999999999999999999":      whole,
		"stale-while-revalidate=60":         {Fresh: whole.Fresh, Stale: time.Minute, IfError: whole.IfError},
		"stale-if-error=0, max-age=1, ,=,a": {Fresh: time.Minute, Stale: whole.Stale},
	} {
		h := http.Header{"Cache-Control": {header}}
		if got := honoured.Lifetime(200, h); got != want {
			t.Errorf("%q: got %+v, want %+v", header, got, want)
		}
		if got := rule.Lifetime(200, h); got != whole {
			t.Errorf("%q, not honoured: got %+v, want %+v", header, got, whole)
		}
	}
	if got := honoured.Lifetime(500, http.Header{"Cache-Control": {"max-age=600"}}); got != (prerender.Lifetime{}) {
		t.Errorf("a failure: got %+v, want it not kept", got)
	}
}

// docs/serving.md shows a site with all defaults written out.
func TestDocumentedSite(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/serving.md")
	if err != nil {
		t.Fatal(err)
	}
	_, block, _ := strings.Cut(string(text), "```json\n")
	block, _, _ = strings.Cut(block, "```")
	decoder := json.NewDecoder(strings.NewReader(block))
	decoder.DisallowUnknownFields()
	var documented prerender.Site
	if err := decoder.Decode(&documented); err != nil {
		t.Fatal(err)
	}
	rules := func(s prerender.Site) prerender.Rule {
		p, err := s.Page("/", prerender.Viewer{})
		if err != nil {
			t.Fatal(err)
		}
		return p.Rule
	}
	got, silent := rules(documented), rules(prerender.Site{Origin: documented.Origin})
	for _, status := range []int{200, 204, 301, 302, 307, 304, 403, 404, 410, 429, 500, 503} {
		if a, b := got.Lifetime(status, nil), silent.Lifetime(status, nil); a != b {
			t.Errorf("status %d: documented as %v, and the default is %v", status, a, b)
		}
	}
	if a := got.Admission; a.TextShare != prerender.DefaultTextShare || a.LinkShare != prerender.DefaultLinkShare || a.Agree != prerender.DefaultAgree || a.Off {
		t.Errorf("admission is documented as %+v", a)
	}
	if got.Failure != silent.Failure || got.CacheControl != silent.CacheControl || got.Vary.Mobile || len(got.Vary.Languages) > 0 {
		t.Errorf("documented as %+v, and the default is %+v", got, silent)
	}
	if got, want := got.Limits, (prerender.LimitRule{
		Site: prerender.DefaultSiteRate, Client: prerender.DefaultClientRate, Token: prerender.DefaultTokenRate,
		NotFound: prerender.DefaultNotFoundRate, Requests: prerender.DefaultRequestRate,
	}); got != want {
		t.Errorf("limits are documented as %+v, and the defaults are %+v", got, want)
	}
	if w := documented.Warming; time.Duration(w.Every) != prerender.DefaultWarmEvery || time.Duration(w.Idle) != prerender.DefaultIdle ||
		w.PerMinute != prerender.DefaultWarmRate || len(w.Sitemaps) > 0 {
		t.Errorf("warming is documented as %+v", w)
	}
	for _, name := range got.Query.Drop {
		if !slices.Contains(prerender.TrackingParameters, name) {
			t.Errorf("%s is documented as dropped", name)
		}
	}
}
