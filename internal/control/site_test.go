package control_test

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stillpage/stillpage/internal/control"
	"github.com/stillpage/stillpage/internal/prerender"
	"github.com/stillpage/stillpage/internal/storetest"
)

// What is documented is what can be written.
func TestDocumentedSite(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/serving.md")
	if err != nil {
		t.Fatal(err)
	}
	_, block, _ := strings.Cut(string(text), "```json\n")
	block, _, _ = strings.Cut(block, "```")
	site, faults := control.ParseSite([]byte(block))
	if faults != nil || site.Origin.Host != "www.example.com" || len(site.Paths) != 2 {
		t.Errorf("got %+v, %v", site, faults)
	}
}

// A site with everything set comes through whole.
func TestFullSite(t *testing.T) {
	t.Parallel()
	want := storetest.FullSite("a.example")
	want.Purges, want.Version, want.Query.Drop = nil, 0, nil
	text, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	got, faults := control.ParseSite(text)
	if faults != nil {
		t.Fatalf("got %v for %s", faults, text)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// What is of the wrong kind and what makes no sense is said at once, each once.
func TestAllFaultsAtOnce(t *testing.T) {
	t.Parallel()
	_, faults := control.ParseSite([]byte(`{"origin": "https://a.example", "speed": 1, "vary": {"mobile": "yes", "languages": ["d e"]},
		"paths": [7, {"path": "blog"}, {"path": 1, "cacheControl": {"least": "2h", "most": "1h"}}], "limits": {"concurrency": 5000}}`))
	var got []string
	for _, f := range faults {
		got = append(got, f.Pointer)
	}
	want := []string{"/limits/concurrency", "/paths/0", "/paths/1/path", "/paths/2/cacheControl/least", "/paths/2/path", "/speed", "/vary/languages/0", "/vary/mobile"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestSiteFaults(t *testing.T) {
	t.Parallel()
	for document, want := range map[string]string{
		`{}`:                                "/origin",
		`{"origin": "www.example.com"}`:     "/origin",
		`{"origin": "https://a.example/x"}`: "/origin",
		`{"lifetimes": {"success": {"fresh": "1x", "stael": "1d"}}}`:                                 "/lifetimes/success/fresh /lifetimes/success/stael",
		`{"lifetimes": {"success": {"fresh": "50d", "stale": "9d"}}}`:                                "/lifetimes/success",
		`{"lifetimes": {"gone": {"fresh": "36500d", "stale": "36500d"}}}`:                            "/lifetimes/gone",
		`{"cacheControl": {"least": "2h", "most": "1h"}}`:                                            "/cacheControl/least",
		`{"query": {"keep": ["a"], "drop": ["b", ""]}}`:                                              "/query/drop /query/drop/1",
		`{"vary": {"languages": ["en", "d e", "en"]}}`:                                               "/vary/languages/1 /vary/languages/2",
		`{"admission": {"textShare": 2, "linkShare": -1, "agree": 1000}}`:                            "/admission/agree /admission/linkShare /admission/textShare",
		`{"agents": {"ai-training": "refuse", "seo": "app"}}`:                                        "/agents/seo",
		`{"agents": {"seo-tool": "block"}}`:                                                          "/agents/seo-tool",
		`{"limits": {"site": {"perMinute": -1}, "concurrency": 5000}}`:                               "/limits/concurrency /limits/site",
		`{"paths": [{"path": "/a"}, {"path": "b"}, {"path": "/a?x"}, {"path": "/a", "limits": {}}]}`: "/paths/1/path /paths/2/path /paths/3/limits /paths/3/path",
		`{"paths": [{"path": "/a", "vary": {"languages": ["?"]}}]}`:                                  "/paths/0/vary/languages/0",
		`{"warming": {"sitemaps": ["sitemap.xml"], "every": "1m", "perMinute": -1}}`:                 "/warming/every /warming/perMinute /warming/sitemaps/0",
		`{"purges": [{"path": "/a", "version": 1, "at": "2026-11-22T10:30:00Z"}], "version": 3}`:     "/purges /version",
	} {
		if !strings.Contains(document, "origin") && document != "{}" {
			document = `{"origin": "https://a.example", ` + document[1:]
		}
		site, faults := control.ParseSite([]byte(document))
		var pointers []string
		for _, f := range faults {
			pointers = append(pointers, f.Pointer)
		}
		if got := strings.Join(pointers, " "); got != want || site.Origin != (prerender.Origin{}) {
			t.Errorf("%s: got faults %q: %v, want %q", document, got, faults, want)
		}
	}
}

// Whatever is taken can be stored, and is the same when it comes back.
func FuzzParseSite(f *testing.F) {
	full, err := json.Marshal(storetest.FullSite("a.example"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(full))
	f.Add(`{"origin": "https://a.example", "paths": [{"path": "/*", "lifetimes": {"success": {"fresh": "1h"}}}]}`)
	f.Fuzz(func(t *testing.T, text string) {
		site, faults := control.ParseSite([]byte(text))
		if faults != nil {
			return
		}
		stored, err := json.Marshal(site)
		if err != nil {
			t.Fatalf("%q cannot be stored: %v", text, err)
		}
		again, faults := control.ParseSite(stored)
		if faults != nil {
			t.Fatalf("%q is stored as %s, which is wrong: %v", text, stored, faults)
		}
		if twice, err := json.Marshal(again); err != nil || string(twice) != string(stored) {
			t.Errorf("%q is stored as %s, and then as %s", text, stored, twice)
		}
		if _, err := site.Page("/", prerender.Viewer{}); err != nil {
			t.Errorf("%q has no pages: %v", text, err)
		}
	})
}
