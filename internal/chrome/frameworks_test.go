package chrome_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/google/go-cmp/cmp"

	"github.com/stillpage/stillpage/internal/chrome"
)

// Small apps in production builds of real frameworks: what a bot gets, loaded
// without scripts, looks like the app in a person's Chromium.
func TestFrameworks(t *testing.T) {
	t.Parallel()
	dir := buildFrameworks(t)
	person := startPerson(t)
	for _, name := range []string{"angular", "react", "emotion", "vue", "svelte", "lit", "solid", "preact"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var still atomic.Value
			url := serveFramework(t, filepath.Join(dir, name), &still) + "/items/7"
			tab, cancel := chromedp.NewContext(person)
			defer cancel()
			if err := chromedp.Do(tab); err != nil { // opens the tab
				t.Fatal(err)
			}

			want := shown(t, tab, url)
			all := strings.Join(want, "\n")
			for _, part := range []string{"title: Kettle №7 | Shop", "description: Boils <fast> & quietly,  1.7 l", "canonical: " + url, "text: 茶 & <Sugar>", "/items/12", "style of link"} {
				if !strings.Contains(all, part) {
					t.Errorf("the app does not show %q:\n%s", part, all)
				}
			}

			first, second := render(t, url), render(t, url) // in a new tab, and in one that has been used
			if diff := cmp.Diff(withoutMarkers(first), withoutMarkers(second)); diff != "" {
				t.Errorf("HTML of the second visit (-first +second):\n%s", diff)
			}

			if _, err := chromedp.Call(tab, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true}); err != nil {
				t.Fatal(err)
			}
			for visit, c := range []*chrome.Capture{first, second} {
				still.Store(string(c.Body))
				if diff := cmp.Diff(want, shown(t, tab, url)); diff != "" || c.Partial != "" {
					t.Errorf("visit %d: partial %q; what a person sees (-) and a bot (+):\n%s", visit, c.Partial, diff)
				}
				wantBody(t, c, nil, []string{"<script", "<slot"})
			}
		})
	}
}

// Styles that scripts have changed and those of shadow trees, whose rules must
// reach what they reach in a person's browser and no more. In the pages, shadow
// makes of an element's <template> its shadow tree.
func TestStylesLookTheSame(t *testing.T) {
	t.Parallel()
	const tools = `<!DOCTYPE html><meta charset=utf-8><body data-done><script>
const shadow = (e) => { const t = e.querySelector(":scope > template"); const r = e.attachShadow({ mode: "open" }); t.remove(); r.append(t.content); for (const x of r.querySelectorAll("x-a, x-b")) shadow(x); return r };
const sheet = (css, o) => { const s = new CSSStyleSheet(o); s.replaceSync(css); return s };
const all = () => { for (const x of document.querySelectorAll("x-a")) shadow(x) }</script>`
	person := startPerson(t)
	for name, body := range map[string]string{
		"own rules and slotted":   `<x-a><template><style>p { color: red }</style><p data-style=own>o</p><slot></slot></template><p data-style=slotted>s</p></x-a><script>all()</script>`,
		"slotted rules and own":   `<x-a><template><style>::slotted(p) { color: red }</style><p data-style=own>o</p><slot></slot></template><p data-style=slotted>s</p></x-a><script>all()</script>`,
		"nested trees":            `<x-a><template><style>p { color: red }</style><p data-style=outer>o</p><x-b><template><style>b { color: blue }</style><p data-style=inner>i <b data-style=b>b</b></p></template></x-b><b data-style=c>c</b></template></x-a><script>all()</script>`,
		"instances":               `<x-a class=on><template><style>:host(.on) p { color: red }</style><p data-style=on>o</p></template></x-a><x-a><template><style>:host(.on) p { color: red }</style><p data-style=off>o</p></template></x-a><script>all()</script>`,
		"host with a negation":    `<x-a data-style=host><template><style>:host(:not([hidden])) { display: block; color: red }</style>x</template></x-a><script>all()</script>`,
		"host context":            `<div class=dark><x-a data-style=host><template><style>:host-context(.dark) { color: red }</style>x</template></x-a></div><script>all()</script>`,
		"document against host":   `<style>x-a { color: blue } p { color: blue }</style><x-a data-style=host><template><style>:host { color: red } ::slotted(p) { color: red }</style><slot></slot></template><p data-style=slotted>s</p></x-a><script>all()</script>`,
		"media, layers, order":    `<x-a><template><style>@media (min-width: 1px) { p { color: red } } @layer a { p { font-size: 30px } } @supports (top: 0) { p:first-child { padding-left: 9px } }</style><p data-style=p>p</p></template></x-a><script>all()</script>`,
		"adopted, last child":     `<x-a><template><p data-style=p>p</p></template></x-a><script>shadow(document.querySelector("x-a")).adoptedStyleSheets = [sheet("p:last-child { color: red } p::before { content: 'a, b' }")]</script>`,
		"odd selectors":           `<x-a><template><style>p[data-x="a, b > c"]:is(.y, .z):not(:empty) { color: red } .w > slot::slotted(.s) { color: blue }</style><p class=z data-x="a, b > c" data-style=p>p</p><div class=w><slot></slot></div></template><i class=s data-style=slotted>s</i></x-a><script>all()</script>`,
		"escaped names":           `<x-a><template><style>.sm\:before\:c { color: red } .a\:host\:b::before { content: "x"; color: blue }</style><p class="sm:before:c a:host:b" data-style=p>p</p></template></x-a><script>all()</script>`,
		"disabled style":          `<style id=s>p { color: red }</style><p data-style=p>p</p><script>s.disabled = true</script>`,
		"disabled adopted":        `<p data-style=p>p</p><script>document.adoptedStyleSheets = [sheet("p { color: red }", { disabled: true })]</script>`,
		"adopted over body style": `<p data-style=p>p</p><style>p { color: red }</style><script>document.adoptedStyleSheets = [sheet("p { color: blue }")]</script>`,
		"rule replaced":           `<style id=s>p { color: red }</style><p data-style=p>p</p><script>s.sheet.deleteRule(0); s.sheet.insertRule("p { color: blue }")</script>`,
		"declaration changed":     `<style id=s>p { color: red }</style><p data-style=p>p</p><script>s.sheet.cssRules[0].style.color = "blue"</script>`,
		"rules moved":             `<style id=s></style><p class="a b" data-style=p>p</p><script>s.sheet.insertRule(".a { color: red; --x: 1 }"); s.sheet.insertRule(".b { color: blue; padding: 1px 2px 3px 4px }")</script>`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var still atomic.Value
			url := serve(t, map[string]http.HandlerFunc{"/": func(w http.ResponseWriter, r *http.Request) {
				page, ok := still.Load().(string)
				if !ok {
					page = tools + body
				}
				html(page)(w, r)
			}}) + "/"
			tab, cancel := chromedp.NewContext(person)
			defer cancel()
			if err := chromedp.Do(tab); err != nil { // opens the tab
				t.Fatal(err)
			}
			want := shown(t, tab, url)
			c := render(t, url)
			still.Store(string(c.Body))
			if diff := cmp.Diff(want, shown(t, tab, url)); diff != "" {
				t.Errorf("what a person sees (-) and a bot (+):\n%s\nHTML:\n%s", diff, c.Body)
			}
		})
	}
}

// Lit names its markers at random on every load.
var litMarker = regexp.MustCompile(`lit\$\d+`)

func withoutMarkers(c *chrome.Capture) string {
	return litMarker.ReplaceAllString(string(c.Body), "lit$")
}

// buildFrameworks makes all apps and returns their directory.
func buildFrameworks(t *testing.T) string {
	t.Helper()
	modules := installFrameworks(t)
	source, built := t.TempDir(), t.TempDir()
	if err := os.CopyFS(source, os.DirFS("testdata/frameworks")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(modules, filepath.Join(source, "node_modules")); err != nil {
		t.Fatal(err)
	}
	runIn(t, source, "node", "build.mjs", built)
	return built
}

// installFrameworks returns the directory of the packages that package.json
// names. They stay in the user's cache for the next run.
func installFrameworks(t *testing.T) string {
	t.Helper()
	manifest, err := os.ReadFile("testdata/frameworks/package.json")
	if err != nil {
		t.Fatal(err)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	cache = filepath.Join(cache, "stillpage-test")
	dir := filepath.Join(cache, fmt.Sprintf("frameworks-%.8x", sha256.Sum256(manifest)))
	modules := filepath.Join(dir, "node_modules")
	if _, err := os.Stat(modules); err == nil {
		return modules
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		t.Fatal(err)
	}
	tmp, err := os.MkdirTemp(cache, "new-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(tmp)
	if err := os.WriteFile(filepath.Join(tmp, "package.json"), manifest, 0o644); err != nil {
		t.Fatal(err)
	}
	runIn(t, tmp, "npm", "install", "--no-package-lock", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error")
	// Where two runs install at once, the first one's directory stays.
	if err := os.Rename(tmp, dir); err != nil && !errors.Is(err, fs.ErrExist) {
		t.Fatal(err)
	}
	return modules
}

func runIn(t *testing.T, dir, name string, args ...string) {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		t.Fatalf("%v: the apps are built with Node.js 18 or newer and npm; install them with `apt-get install nodejs npm`", err)
	}
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, out)
	}
}

// serveFramework serves an app as a static host does, and its API. Once there
// is a still, that is the answer to every path.
func serveFramework(t *testing.T, dir string, still *atomic.Value) string {
	api := func(body string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			select {
			case <-time.After(30 * time.Millisecond): // a part of the origin under test
			case <-r.Context().Done():
			}
			w.Header().Set("Content-Type", "application/json")
			io.WriteString(w, body)
		}
	}
	index, err := os.ReadFile(filepath.Join(dir, "index.html"))
	if err != nil {
		t.Fatal(err)
	}
	assets := http.FileServer(http.Dir(dir))
	return serve(t, map[string]http.HandlerFunc{
		"/api/items/7":         api(`{"id": 7, "name": "Kettle №7", "text": "Boils <fast> & quietly,  1.7 l", "html": "Boils <em>fast</em> &amp; quietly"}`),
		"/api/items/7/related": api(`[{"id": 8, "name": "Teapot"}, {"id": 9, "name": "Cups, \"set of 6\""}, {"id": 12, "name": "茶 & <Sugar>"}]`),
		"/assets/": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
			assets.ServeHTTP(w, r)
		},
		"/": func(w http.ResponseWriter, r *http.Request) {
			if body, ok := still.Load().(string); ok {
				html(body)(w, r)
				return
			}
			html(string(index))(w, r)
		},
	})
}

// startPerson starts a Chromium of its own, without anything of this package.
func startPerson(t *testing.T) context.Context {
	t.Helper()
	binary, err := chrome.FindBinary()
	if err != nil {
		t.Fatal(err)
	}
	options := append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]), chromedp.ExecPath(binary), chromedp.WindowSize(1440, 900))
	if os.Getuid() == 0 {
		options = append(options, chromedp.NoSandbox)
	}
	ctx, cancel := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	if err := chromedp.Do(ctx); err != nil {
		t.Fatal(err)
	}
	return ctx
}

// shown waits until the app says that it is done, and returns what a person
// sees of the page, see testdata/frameworks/shown.js.
func shown(t *testing.T, tab context.Context, url string) []string {
	t.Helper()
	script, err := os.ReadFile("testdata/frameworks/shown.js")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(tab, 20*time.Second)
	defer cancel()
	type look struct {
		Done  bool
		Lines []string
	}
	var page look
	for err = chromedp.Do(ctx, chromedp.Navigate(url)); err == nil && !page.Done; {
		err = chromedp.Do(ctx, chromedp.Sleep(20*time.Millisecond)) // a pause between looks
		if err == nil {
			page, err = chromedp.Run(ctx, chromedp.Evaluate[look](string(script)))
		}
	}
	if err != nil {
		t.Fatalf("%s: %v; it shows %q", url, err, page.Lines)
	}
	return page.Lines
}
