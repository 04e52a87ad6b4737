package main

import (
	"context"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/stillpage/stillpage/internal/boltstore"
	"github.com/stillpage/stillpage/internal/chrome"
	"github.com/stillpage/stillpage/internal/insight"
	"github.com/stillpage/stillpage/internal/telemetry"
)

// screenshots is where `make screenshots` has the console's pictures written.
var screenshots = flag.String("screenshots", "", "write pictures of the console into this directory")

// visitor is somebody with a browser at the console.
type visitor struct {
	t   *testing.T
	ctx context.Context

	mu     sync.Mutex
	faults []string // what the browser's console has said
}

// visit opens a browser.
func visit(t *testing.T) *visitor {
	t.Helper()
	binary, err := chrome.FindBinary()
	if err != nil {
		t.Fatal(err)
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(binary), chromedp.NoSandbox, chromedp.WindowSize(1280, 900),
		chromedp.Flag("disable-background-networking", true), chromedp.Flag("disable-component-update", true), chromedp.Flag("host-resolver-rules", "MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"),
		chromedp.UserDataDir(t.TempDir()))
	allocator, stop := chromedp.NewExecAllocator(context.Background(), options...)
	ctx, closeTab := chromedp.NewContext(allocator)
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	p := &visitor{t: t, ctx: ctx}
	t.Cleanup(func() {
		if t.Failed() && *screenshots == "" {
			p.picture(filepath.Join(os.TempDir(), "stillpage-console-failed.png"))
		}
		chromedp.Cancel(ctx)
		cancel()
		closeTab()
		stop()
	})
	if err := chromedp.Do(ctx); err != nil {
		t.Fatal(err)
	}
	err = chromedp.Listen(ctx, func(ev any) {
		switch ev := ev.(type) {
		case *runtime.EventExceptionThrown:
			p.fault(fmt.Sprintf("exception: %+v", ev.ExceptionDetails.Exception))
		case *runtime.EventConsoleAPICalled:
			if ev.Type == runtime.ConsoleAPICalledTypeError || ev.Type == runtime.ConsoleAPICalledTypeWarning {
				p.fault(fmt.Sprintf("console: %s", ev.Args[0].Value))
			}
		case *log.EventEntryAdded:
			if ev.Entry.Level == log.EntryLevelError || ev.Entry.Level == log.EntryLevelWarning {
				p.fault(fmt.Sprintf("log: %s %s", ev.Entry.Text, ev.Entry.URL))
			}
		case *page.EventJavascriptDialogOpening:
			go chromedp.Call(ctx, page.HandleJavaScriptDialog, page.HandleJavaScriptDialogParams{Accept: true})
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	call(p, log.Enable, cdp.Empty{})
	return p
}

func (p *visitor) fault(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.faults = append(p.faults, text)
}

func call[P, R any](p *visitor, command cdp.Command[P, R], params P) {
	p.t.Helper()
	if _, err := chromedp.Call(p.ctx, command, params); err != nil {
		p.t.Fatal(err)
	}
}

func (p *visitor) do(actions ...chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	if err := chromedp.Do(p.ctx, actions...); err != nil {
		p.t.Fatalf("%v\nshown: %s", err, p.text())
	}
}

func eval[T any](p *visitor, expression string) T {
	p.t.Helper()
	v, err := chromedp.Run(p.ctx, chromedp.Evaluate[T](expression))
	if err != nil {
		p.t.Fatal(err)
	}
	return v
}

func (p *visitor) text() string {
	text, _ := chromedp.Run(p.ctx, chromedp.Evaluate[string](`document.body?.innerText ?? ""`))
	return text
}

// sees waits until the page shows all of the texts.
func (p *visitor) sees(texts ...string) {
	p.t.Helper()
	for _, text := range texts {
		for deadline := time.Now().Add(40 * time.Second); !strings.Contains(strings.ToLower(p.text()), strings.ToLower(text)); {
			if time.Now().After(deadline) {
				p.t.Fatalf("%q is not shown, but this: %s", text, p.text())
			}
			time.Sleep(30 * time.Millisecond) // a pause between looks
		}
	}
}

// usable looks at what a screen reader and a keyboard need of a view.
func (p *visitor) usable() {
	p.t.Helper()
	faults := eval[[]string](p, `(() => {
		const faults = [], shown = (e) => e.checkVisibility();
		const say = (e, what) => faults.push(what + ': ' + e.outerHTML.slice(0, 120));
		if (document.querySelectorAll('h1').length !== 1) faults.push('not one h1');
		if (document.querySelectorAll('main').length !== 1 || !document.querySelector('nav[aria-label]')) faults.push('no landmarks');
		if (document.documentElement.lang !== 'en') faults.push('no language');
		if (document.body.firstElementChild.getAttribute('href') !== '#main') faults.push('no link over the navigation');
		for (const e of document.querySelectorAll('input, select, textarea')) if (shown(e) && !e.labels.length && !e.getAttribute('aria-label')) say(e, 'no label');
		for (const e of document.querySelectorAll('button, a, summary')) if (shown(e) && !(e.textContent.trim() || e.getAttribute('aria-label'))) say(e, 'no name');
		for (const e of document.querySelectorAll('img, svg')) if (!e.hasAttribute('alt') && !e.getAttribute('aria-label') && !e.closest('[aria-hidden]')) say(e, 'no text');
		for (const e of document.querySelectorAll('iframe')) if (!e.title) say(e, 'no title');
		for (const e of document.querySelectorAll('[onclick], [style]')) if (e.hasAttribute('onclick')) say(e, 'inline');
		const ids = [...document.querySelectorAll('[id]')].map((e) => e.id);
		if (new Set(ids).size !== ids.length) faults.push('an ID twice');
		return faults;
	})()`)
	for _, fault := range faults {
		p.t.Errorf("at %s: %s", eval[string](p, `location.hash`), fault)
	}
}

// contrast is of texts on what is behind them, as WCAG 2 counts it: 4.5 at least.
func (p *visitor) contrast() {
	p.t.Helper()
	for _, fault := range eval[[]string](p, `(() => {
		const rgb = (text) => text.match(/[\d.]+/g).map(Number);
		const light = ([r, g, b]) => { const f = (c) => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4; return 0.2126 * f(r) + 0.7152 * f(g) + 0.0722 * f(b); };
		const behind = (e) => { for (; e; e = e.parentElement) { const c = rgb(getComputedStyle(e).backgroundColor); if (c.length < 4 || c[3] === 1) return c; } return [255, 255, 255]; };
		const faults = new Set();
		for (const e of document.querySelectorAll('main *, nav *, #who')) {
			if (![...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim()) || !e.checkVisibility() || e.disabled || e.closest('svg')) continue;
			const [a, b] = [light(rgb(getComputedStyle(e).color)), light(behind(e))].sort((x, y) => y - x);
			const ratio = (a + 0.05) / (b + 0.05);
			if (ratio < 4.5) faults.add(e.tagName + '.' + e.className + ' ' + ratio.toFixed(2) + ' ' + e.textContent.slice(0, 30));
		}
		return [...faults];
	})()`) {
		p.t.Errorf("too faint: %s", fault)
	}
}

// opens goes to a view by the navigation, and waits until it is there.
func (p *visitor) opens(name string) {
	p.t.Helper()
	p.do(chromedp.Click(chromedp.CSS(fmt.Sprintf(`#nav a[data-view=%q]`, name))), chromedp.WaitVisible(chromedp.CSS(fmt.Sprintf(`#main[data-ready=%q] h1`, name))))
	p.usable()
	p.contrast()
}

// types writes into a field in the place of what is in it.
func (p *visitor) types(id, text string) {
	p.t.Helper()
	eval[bool](p, fmt.Sprintf(`(() => { const e = document.getElementById(%q); e.closest('details').open = true; e.focus(); e.select(); return true; })()`, id))
	p.do(chromedp.KeyEvent(text))
}

// framed waits until the frame shows a text. What is in it has another origin, so the
// browser itself is asked.
func (p *visitor) framed(text string) {
	p.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		tree, err := chromedp.Call(p.ctx, page.GetFrameTree, cdp.Empty{})
		if err != nil {
			p.t.Fatal(err)
		}
		for _, frame := range tree.FrameTree.ChildFrames {
			world, err := chromedp.Call(p.ctx, page.CreateIsolatedWorld, page.CreateIsolatedWorldParams{FrameID: frame.Frame.ID})
			if err != nil {
				continue
			}
			shown, err := chromedp.Call(p.ctx, runtime.Evaluate, runtime.EvaluateParams{Expression: "document.body.innerText", ContextID: world.ExecutionContextID, ReturnByValue: &yes})
			if err == nil && strings.Contains(string(shown.Result.Value), text) {
				return
			}
		}
		if time.Now().After(deadline) {
			p.t.Fatalf("the frame does not show %q", text)
		}
	}
}

var yes = true

// presses clicks the button with a text.
func (p *visitor) presses(text string) {
	p.t.Helper()
	p.do(chromedp.Click(chromedp.Search(fmt.Sprintf(`//*[self::button or self::a][normalize-space()=%q]`, text))))
}

// wantNoFaults: the browser has nothing to say about the console.
func (p *visitor) wantNoFaults() {
	p.t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, fault := range p.faults {
		p.t.Errorf("the browser says: %s", fault)
	}
}

// shot writes pictures for docs/console.md, if they are asked for.
func (p *visitor) shot(name string) {
	if *screenshots == "" {
		return
	}
	p.picture(filepath.Join(*screenshots, name+".png"))
}

func (p *visitor) picture(path string) {
	// The screen is made as tall as the page: what is in a frame is painted on a screen only.
	size := eval[[]int64](p, `[innerWidth, document.documentElement.scrollHeight]`)
	p.screen(size[0], size[1])
	chromedp.Do(p.ctx, chromedp.Sleep(500*time.Millisecond))
	if picture, err := chromedp.Run(p.ctx, chromedp.CaptureScreenshot()); err == nil {
		os.WriteFile(path, picture, 0o644)
	}
	p.screen(size[0], 900)
}

func (p *visitor) screen(width, height int64) {
	p.t.Helper()
	call(p, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{Width: width, Height: height, DeviceScaleFactor: 1, Mobile: width < 600})
}

// looks sets the colours that the person prefers, and the width of the screen.
func (p *visitor) looks(scheme string, width int64) {
	call(p, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
		{Name: "prefers-color-scheme", Value: scheme}, {Name: "prefers-reduced-motion", Value: "reduce"},
	}})
	p.screen(width, 900)
}

// pastDay writes statistics of the day before, so that there is something to see.
func pastDay(t *testing.T, dir string) {
	t.Helper()
	store, err := boltstore.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	r := rand.New(rand.NewPCG(1, 2))
	agents := []struct {
		name, purpose string
		share         int
	}{{"GPTBot", "ai-training", 30}, {"Googlebot", "search", 40}, {"Bingbot", "search", 12}, {"ClaudeBot", "ai-training", 9}, {"ChatGPT-User", "ai-user-fetch", 6}, {"Slackbot", "social-preview", 3}}
	for ago := 23; ago > 0; ago-- {
		at := time.Now().Add(-time.Duration(ago) * time.Hour)
		c := &insight.Collector{Records: store.Records(), Instance: fmt.Sprint(ago), Now: func() time.Time { return at }}
		for range 150 + int(110*math.Sin(float64(at.Hour())/24*2*math.Pi)) + r.IntN(40) {
			agent, pick := agents[0], r.IntN(100)
			for _, a := range agents {
				if pick -= a.share; pick < 0 {
					agent = a
					break
				}
			}
			request := telemetry.Request{Site: "www.example.com", Agent: agent.name, Purpose: agent.purpose, Cache: "hit", Took: time.Duration(8+r.ExpFloat64()*9) * time.Millisecond, Bytes: 9000}
			switch n := r.IntN(100); {
			case n < 9:
				request.Cache, request.Took = "miss", time.Duration(180+r.ExpFloat64()*240)*time.Millisecond
				render := telemetry.Render{Site: request.Site, URL: fmt.Sprintf("https://www.example.com/products/%d", r.IntN(400)), Outcome: "complete", Took: request.Took}
				if r.IntN(30) == 0 {
					render.Outcome, render.Partial, render.Took = "partial", "requests", 15*time.Second
				}
				c.Render(render)
			case n < 17:
				request.Cache = "stale"
			case n < 18:
				request.Cache, request.Reason = "refused", "url-invalid"
			}
			c.Request(request)
		}
		c.Flush(t.Context())
	}
}

// Every view of the console loads, and its main action works, in the real browser, against
// the whole program.
func TestConsole(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	pastDay(t, data)
	p := start(t, "--demo", "--data", data)
	for _, path := range []string{"/", "/items/brass-kettle", "/items/nothing", "/items/brass-kettle"} {
		for _, agent := range []string{"GPTBot/1.2", "Googlebot/2.1", "Slackbot-LinkExpanding 1.0"} {
			get(t, "GET", p.edge+path, agent)
		}
	}
	me := visit(t)
	me.looks("light", 1280)

	// Logging in.
	me.do(chromedp.Navigate(p.admin + "/"))
	me.sees("Log in")
	me.do(chromedp.SendKeys(chromedp.CSS(`input[type=password]`), "wrong\r"))
	me.sees("token unknown")
	me.shot("login")
	me.faults = nil // the browser reports the 401
	me.do(chromedp.SendKeys(chromedp.CSS(`input[type=password]`), strings.TrimPrefix(p.token, "Bearer ")+"\r"))
	me.sees("Overview", "What needs attention", "admin token")

	// Overview: what was counted is there when it has been written.
	counted := func() bool {
		return strings.Contains(get(t, "GET", p.admin+"/v1/stats?site="+strings.TrimPrefix(p.edge, "http://"), "", "Authorization", p.token).body, "GPTBot")
	}
	for deadline := time.Now().Add(40 * time.Second); !counted(); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("what was asked for is not counted")
		}
	}
	me.do(chromedp.Reload())
	me.sees("Requests", "Slowest renders", "from the store", "Version dev")
	me.shot("overview")
	me.usable()
	me.contrast()
	me.looks("dark", 1280)
	me.shot("overview-dark")
	me.contrast()
	me.looks("light", 390)
	me.shot("overview-phone")
	if wide := eval[int](me, `document.documentElement.scrollWidth`); wide > 390 {
		t.Errorf("on a phone, the page is %d pixels wide", wide)
	}
	me.looks("light", 1280)
	me.presses("30 days")
	me.sees("in the last 30 days")

	// Sites: a mistake is shown where it is; what is right is saved.
	me.opens("sites")

	me.sees(p.edge, "as flags or the template say")
	me.presses(p.edge)
	me.sees("Nothing is changed", "As a file")
	me.usable()
	me.types("in-/lifetimes/success/fresh", "1 day")
	me.sees("What is wrong", "must be like 90s")
	me.types("in-/lifetimes/success/fresh", "12h")
	me.sees("What would change", `"1d"`, `"12h"`)
	if strings.Contains(me.text(), "not set") {
		t.Errorf("what is left empty is lost: %s", me.text())
	}
	me.shot("site")
	me.presses("Save")
	me.sees("Nothing is changed")
	if fresh := eval[string](me, `JSON.parse(document.querySelector('textarea').value).lifetimes.success.fresh`); fresh != "12h" {
		t.Errorf("saved: got %q", fresh)
	}

	// Page: why, the stored page in its frame, and a comparison with a new render.
	item := p.edge + "/items/brass-kettle"
	me.opens("pages")
	me.sees("/items/brass-kettle", "fresh")
	me.shot("pages")
	me.do(chromedp.SendKeys(chromedp.CSS(`input[type=url]`), item+"\r"))
	me.sees("What would it get now?", "So it is answered as it is")
	me.usable()
	me.presses("Compare with a new render")
	me.sees("A person sees", "What stands out", "The page was taken because")
	me.shot("page")
	frames := eval[int](me, `[...document.querySelectorAll('iframe')].filter((f) => f.getAttribute('sandbox') === '' && f.contentDocument === null).length`)
	if frames != 1 {
		t.Errorf("%d frames with the stored page, sandboxed and of another origin, want 1", frames)
	}
	me.framed("Brass Kettle")
	me.presses("Show its HTML")
	me.sees("<h1>Brass Kettle</h1>")
	me.presses("Render now")
	me.sees("Rendered and stored")
	me.presses("Purge")
	me.sees("It has been purged since")
	me.presses("Delete")
	me.sees("Nothing is stored for it")

	// Jobs.
	me.opens("jobs")
	me.sees("Purge pages", "rendered", "deleted", "/items/brass-kettle")
	me.do(chromedp.SendKeys(chromedp.CSS(`input[placeholder="/blog/*"]`), "/items/*"))
	me.presses("Count them first")
	me.sees("stored pages would be purged")
	me.presses("Purge")
	me.sees("All instances notice within ten seconds")
	me.do(chromedp.SendKeys(chromedp.CSS(`input[placeholder$="sitemap.xml"]`), item))
	me.presses("Warm")
	me.sees("1 page", "1 to be rendered")
	me.shot("jobs")

	// By the keyboard: from the link over the navigation to the main part, and on a link.
	me.do(chromedp.Reload(), chromedp.WaitVisible(chromedp.CSS(`#main[data-ready=jobs] h1`)), chromedp.KeyEvent("\t"))
	if at := eval[string](me, `document.activeElement.textContent`); at != "Skip to the content" {
		t.Errorf("the first stop of the keyboard is %q", at)
	}
	for range 10 {
		me.do(chromedp.KeyEvent("\t"))
		if eval[string](me, `document.activeElement.textContent`) == "Audit" {
			break
		}
	}
	me.do(chromedp.KeyEvent("\r"))
	me.do(chromedp.WaitVisible(chromedp.CSS(`#main[data-ready=audit] h1`)))
	if at := eval[string](me, `document.activeElement.textContent`); at != "Audit" {
		t.Errorf("after a way to another view, the focus is at %q", at)
	}

	me.opens("agents")
	me.sees("GPTBot", "AI training", "Slack")
	me.shot("agents")

	// Tokens: one is made, is good for what it is for, and is revoked.
	me.opens("tokens")
	me.sees("No tokens yet")
	me.do(chromedp.SendKeys(chromedp.CSS(`input[required]`), "nginx in Frankfurt"))
	me.presses("Make")
	me.sees("shown this once", "nginx in Frankfurt", "never")
	me.shot("tokens")
	me.presses("Revoke")
	me.sees("No tokens yet")

	me.opens("audit")
	me.sees("site.create", "purge", "token.delete", "page.render")
	me.presses("Verify the chain")
	me.sees("events are as they were written")
	me.shot("audit")
	me.wantNoFaults()
}
