package chrome_test

import (
	"bytes"
	"fmt"
	"image/png"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stillpage/stillpage/internal/chrome"
	"github.com/stillpage/stillpage/internal/prerender"
)

func TestMarkup(t *testing.T) {
	t.Parallel()
	url := serve(t, map[string]http.HandlerFunc{"/": html(`<!DOCTYPE html><!-- before -->
<html lang="en" data-x='a "b" & c'><head><meta charset="iso-8859-1"><title>t</title>
<script>document.documentElement.setAttribute("data-ran", "1")</script>
<script type="application/ld+json">{"a": "<b> & </b>"}</script><script type="text/template"><p>no</p></script>
<link rel="modulepreload" href="/m.js"><link rel="preload" as="script" href="/p.js"><link rel="preload" as="style" href="/kept.css">
<style>a > b { color: red }</style></head>
<body onload="x()"><noscript>switch it on</noscript><a href=" JavaScript:x()">j</a><a href="/rel#f">r</a>
<pre>

two</pre><textarea>&lt;t></textarea><p>1 &lt; 2 &amp; 3&nbsp;&gt;</p><template><i>in</i><script>1</script></template>
<svg viewBox="0 0 1 1"><a xlink:href="#x"/><script>1</script><path d="M0"/></svg><math><mfrac><mi>a</mi><mn>2</mn></mfrac></math><br><img alt="x"><!-- in -->
<form><input name="attributes"><input name="firstChild"><input name="localName"></form>
<img name="documentElement"><script>document.querySelector("p").append(" added")</script></body></html><!-- after -->`)})
	c := render(t, url+"/")
	wantBody(t, c, []string{
		"<!DOCTYPE html>\n<!-- before -->", `<html lang="en" data-x="a &quot;b&quot; &amp; c" data-ran="1">`, `<meta charset="utf-8">`,
		`{"a": "<b> & </b>"}</script>`, `<link rel="preload" as="style" href="/kept.css">`, "a > b { color: red }",
		`<body>`, `<a>j</a><a href="/rel#f">r</a>`, "<pre>\n\ntwo</pre>", "<textarea>&lt;t&gt;</textarea>",
		"<p>1 &lt; 2 &amp; 3&nbsp;&gt; added</p>", "<template><i>in</i></template>",
		`<svg viewBox="0 0 1 1"><a xlink:href="#x"></a><path d="M0"></path></svg><math><mfrac><mi>a</mi><mn>2</mn></mfrac></math><br><img alt="x"><!-- in -->`,
		`<form><input name="attributes"><input name="firstChild"><input name="localName"></form>`, "</html><!-- after -->",
	}, []string{"setAttribute", "text/template", "m.js", "p.js", "switch it on", "x()", "<base"})
	if c.Title != "t" || c.Status != 200 || c.Partial != "" || c.Header.Get("Content-Type") != "text/html; charset=utf-8" {
		t.Errorf("got title %q, status %d, partial %q, headers %v", c.Title, c.Status, c.Partial, c.Header)
	}
}

// What scripts have put into the head and the parser would not leave there comes at the
// begin of the body: a canonical link after it would be in the body otherwise, and worth nothing.
func TestStraysInHead(t *testing.T) {
	t.Parallel()
	url := serve(t, map[string]http.HandlerFunc{
		"/": html(`<!DOCTYPE html><title>t</title><body><p>text</p><script>
			const image = new Image(); image.src = "/pixel"; document.head.append(image, "stray ", document.createElement("x-y"));
			const link = document.createElement("link"); link.rel = "canonical"; link.href = "/"; document.head.append(document.createComment("kept"), link)</script>`),
		"/xhtml": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/xhtml+xml")
			io.WriteString(w, `<html xmlns="http://www.w3.org/1999/xhtml"><head><title>t</title></head><body><p><![CDATA[two < three]]></p></body></html>`)
		},
	})
	wantBody(t, render(t, url+"/"), []string{`<!--kept--><link rel="canonical" href="/"></head><body><img src="/pixel">stray <x-y></x-y><p>text</p></body>`}, nil)
	wantBody(t, render(t, url+"/xhtml"), []string{`<p>two &lt; three</p>`}, nil)
}

func TestDoctypes(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		`<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0 Strict//EN" "http://www.w3.org/TR/xhtml1/DTD/xhtml1-strict.dtd"><p>`: `<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0 Strict//EN" "http://www.w3.org/TR/xhtml1/DTD/xhtml1-strict.dtd">`,
		`<!DOCTYPE html SYSTEM "about:legacy-compat"><p>`:                                                                  `<!DOCTYPE html SYSTEM "about:legacy-compat">`,
		`<p>none`: `<html>`,
	} {
		c := render(t, serve(t, map[string]http.HandlerFunc{"/": html(in)})+"/")
		if !strings.HasPrefix(string(c.Body), want) {
			t.Errorf("got %.150q, want it to start with %q", c.Body, want)
		}
	}
}

// Libraries that keep their rules in memory leave empty style elements.
func TestStylesInsertedByScript(t *testing.T) {
	t.Parallel()
	url := serve(t, map[string]http.HandlerFunc{"/": html(`<html><head><style id=a></style><style id=b>i { top: 1px }</style></head><body><script>
a.sheet.insertRule('b::before { content: "</style>" }'); b.sheet.insertRule('u { left: 2px }');
const s = new CSSStyleSheet(); s.replaceSync('q { right: 3px }'); document.adoptedStyleSheets = [s];
</script></body></html>`)})
	wantBody(t, render(t, url+"/"), []string{
		`<style id="a">b::before { content: "<\/style>"; }</style>`, "u { left: 2px; }\ni { top: 1px; }", "<style>q { right: 3px; }</style></head>",
	}, nil)
}

// What the controls of a form show is in the HTML, but for secrets.
func TestFormState(t *testing.T) {
	t.Parallel()
	url := serve(t, map[string]http.HandlerFunc{"/": html(`<form><input id=a value=old><input id=b type=checkbox checked><input id=c type=radio><input id=d type=password>
<input id=e value="same"><input id=f type=hidden value=h><input id=g type=range><textarea id=h>old</textarea><select><option id=i selected>1<option id=j>2</select><select><option id=k>1</select></form>
<script>a.value = "a \"new\" one"; b.checked = false; c.checked = true; d.value = "secret"; h.value = "\nnew <b>"; j.selected = true</script>`)})
	wantBody(t, render(t, url+"/"), []string{
		`<input id="a" value="a &quot;new&quot; one">`, `<input id="b" type="checkbox">`, `<input id="c" type="radio" checked="">`, `<input id="d" type="password">`,
		`<input id="e" value="same">`, `<input id="f" type="hidden" value="h">`, `<input id="g" type="range">`, "<textarea id=\"h\">\n\nnew &lt;b&gt;</textarea>",
		`<option id="i">`, `<option id="j" selected="">`, `<option id="k">`,
	}, []string{"secret"})
}

func TestPageSetsStatusAndHeaders(t *testing.T) {
	t.Parallel()
	url := serve(t, map[string]http.HandlerFunc{
		"/p": html(`<meta name="prerender-status-code" content="404"><meta name="prerender-header" content="X-A: 1">
<meta name="prerender-header" content="X-A: 2"><meta name="prerender-header" content="Set-Cookie: a=b"><meta name="prerender-header" content="Content-Length: 1">`),
		"/r": html(`<meta name="render:status_code" content="410"><meta name="render:header" content="Location: /x">`),
		"/e": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			w.WriteHeader(503)
			io.WriteString(w, `<meta name="render:status_code" content="404">`)
		},
		"/n": html(`<meta name="render:status_code" content="99"><meta name="prerender-status-code" content="abc">`),
	})
	p := render(t, url+"/p")
	if got := fmt.Sprint(p.Status, p.Header["X-A"], p.Header["Set-Cookie"], p.Header["Content-Length"]); got != "404 [1 2] [] []" {
		t.Errorf("prerender's metas: got %s", got)
	}
	if len(p.Warnings) != 2 {
		t.Errorf("warnings: got %q, want one for each header that cannot be set", p.Warnings)
	}
	if r := render(t, url+"/r"); r.Status != 410 || r.Header.Get("Location") != "/x" {
		t.Errorf("rendertron's metas: got %d %v", r.Status, r.Header)
	}
	if e := render(t, url+"/e"); e.Status != 503 {
		t.Errorf("rendertron's meta on a page that the origin has failed: got %d, want 503", e.Status)
	}
	if n := render(t, url+"/n"); n.Status != 200 {
		t.Errorf("metas that are no status: got %d, want 200", n.Status)
	}
}

// What leads out of the browser leaves the page as it is, and what a script sends
// is not sent with every render.
func TestPagesThatGoNowhere(t *testing.T) {
	t.Parallel()
	var posts atomic.Int64
	url := serve(t, map[string]http.HandlerFunc{
		"/tel":    html(`<p>kept</p><script>location.href = "tel:123"</script>`),
		"/app":    html(`<p>kept</p><script>location.href = "myapp://open?x=1"</script>`),
		"/mail":   html(`<p>kept</p><script>location.assign("mailto:a@a.example")</script>`),
		"/form":   html(`<p>kept</p><form action=/buy method=post><input name=a value=1></form><script>document.forms[0].submit()</script>`),
		"/framed": html(`<p>kept</p><iframe srcdoc="<form action=/buy method=post></form><script>document.forms[0].submit()</script>"></iframe>`),
		"/buy":    func(w http.ResponseWriter, r *http.Request) { posts.Add(1) },
	})
	for _, path := range []string{"/tel", "/app", "/mail", "/form", "/framed"} {
		c := render(t, url+path)
		if c.Status != 200 {
			t.Errorf("%s: got status %d", path, c.Status)
		}
		wantBody(t, c, []string{"<p>kept</p>"}, nil)
	}
	if n := posts.Load(); n != 0 {
		t.Errorf("forms were sent %d times", n)
	}
}

func TestHostileManners(t *testing.T) {
	t.Parallel()
	url := serve(t, map[string]http.HandlerFunc{
		"/dialogs": html(`<script>alert(1); confirm(2); prompt(3); onbeforeunload = () => "stay"; document.write("<p>after</p>")</script>`),
		"/globals": html(`<p>kept</p><script>JSON = Array = Object = Map = Set = String = null; Element.prototype.getAttribute = Document.prototype.querySelectorAll = () => { throw 1 };
			Object_ = {}.constructor; for (const n of ["nodeType", "firstChild", "nextSibling", "textContent"]) Object_.defineProperty(Node.prototype, n, { get() { throw 2 } });</script>`),
		"/getters": html(`<p>kept</p><script>for (const n of ["documentElement", "body", "head", "title", "cookie", "scrollingElement", "getElementsByTagName", "adoptedStyleSheets", "fonts"])
			Object.defineProperty(document, n, { get() { throw new Error("no " + n) } });
			for (const n of ["innerHeight", "scrollTo", "setTimeout", "prerenderReady", "name"]) try { Object.defineProperty(window, n, { get() { throw new Error("no " + n) } }) } catch {}
			Function.prototype.call = Function.prototype.apply = Promise.prototype.then = () => { throw 3 };</script>`),
		"/worker": html(`<p id=p></p><script>p.append("serviceWorker" in navigator ? "offered" : "missing")</script>`),
		"/throws": html(`<p>kept</p><script>throw new Error("oh no")</script>`),
	})
	wantBody(t, render(t, url+"/dialogs"), []string{"<p>after</p>"}, nil)
	wantBody(t, render(t, url+"/globals"), []string{"<p>kept</p>"}, []string{"<script"})
	for range 2 { // in a used tab too
		wantBody(t, render(t, url+"/getters"), []string{"<p>kept</p>"}, []string{"<script"})
	}
	wantBody(t, render(t, url+"/worker"), []string{"missing"}, nil)
	if c := render(t, url+"/throws"); !strings.Contains(strings.Join(c.Warnings, "\n"), "Error: oh no") {
		t.Errorf("warnings: got %q, want the exception", c.Warnings)
	}
}

func TestBlockedAndFailedRequests(t *testing.T) {
	t.Parallel()
	var asked sync.Map
	url := serve(t, map[string]http.HandlerFunc{
		"/":         html(`<img src="/blocked/pixel"><img src="/gone"><script>fetch("http://127.0.0.1:1/x").catch(() => {})</script><p>ok</p>`),
		"/blocked/": func(w http.ResponseWriter, r *http.Request) { asked.Store(r.URL.Path, true) },
		"/gone":     func(w http.ResponseWriter, r *http.Request) { panic(http.ErrAbortHandler) },
	})
	c := render(t, url+"/")
	if got := fmt.Sprint(c.Blocked); got != "["+url+"/blocked/pixel]" {
		t.Errorf("blocked: got %s", got)
	}
	if _, ok := asked.Load("/blocked/pixel"); ok {
		t.Error("a blocked request reached the origin")
	}
}

func TestPrerenderReady(t *testing.T) {
	t.Parallel()
	url := serve(t, map[string]http.HandlerFunc{
		"/late":  html(`<p id=p></p><script>prerenderReady = false; setTimeout(() => { p.append("ready"); prerenderReady = true }, 1500)</script>`),
		"/never": html(`<p>partly</p><script>prerenderReady = false</script>`),
		"/hangs": html(`<p>partly</p><script>fetch("/hang")</script>`),
		"/hang":  func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
	})
	wantBody(t, render(t, url+"/late"), []string{"ready"}, nil)
	never := render(t, url+"/never")
	if !strings.Contains(never.Partial, "prerenderReady") || !strings.Contains(string(never.Body), "partly") {
		t.Errorf("never: got partial %q, body %q; want both, and the reason", never.Partial, never.Body)
	}
	hangs := render(t, url+"/hangs")
	if hangs.Partial != "" || !strings.Contains(strings.Join(hangs.Warnings, "\n"), url+"/hang") {
		t.Errorf("hanging request: got partial %q, warnings %q; want a complete page and a warning", hangs.Partial, hangs.Warnings)
	}
}

// A page that sends its visitor elsewhere sends the crawler there too.
func TestPagesThatGoElsewhere(t *testing.T) {
	t.Parallel()
	url := serve(t, map[string]http.HandlerFunc{
		"/replace": html(`<p>shell</p><script>location.replace("/target?x=1")</script>`),
		"/href":    html(`<p>shell</p><script>setTimeout(() => location.href = "http://other.invalid/x", 100)</script>`),
		"/meta":    html(`<meta http-equiv=refresh content="0;url=/target"><p>shell</p>`),
		"/target":  html(`<p>target</p>`),
		"/once":    html(`<p>shell</p><script>if (!document.cookie) { document.cookie = "a=b"; location.reload() } else document.write("<p>second</p>")</script>`),
		"/ever":    html(`<p>shell</p><script>location.reload()</script>`),
	})
	for path, want := range map[string]string{"/replace": url + "/target?x=1", "/href": "http://other.invalid/x", "/meta": url + "/target"} {
		if c := render(t, url+path); c.Status != 302 || c.Header.Get("Location") != want || len(c.Body) != 0 {
			t.Errorf("%s: got %d to %q, body %q; want 302 to %q", path, c.Status, c.Header.Get("Location"), c.Body, want)
		}
	}
	wantBody(t, render(t, url+"/once"), []string{"second"}, nil)
	wantBody(t, render(t, url+"/ever"), []string{"shell"}, nil)
}

// Text that scripts have put where HTML has no escapes must not become markup.
func TestTextDoesNotBecomeMarkup(t *testing.T) {
	t.Parallel()
	url := serve(t, map[string]http.HandlerFunc{"/": html(`<html><head></head><body><script>
const evil = "<\/script><\/style><img id=pwn><!-- x --><script>alert(1)<\/script>";
const add = (name, text) => { const e = document.createElement(name); e.textContent = text; if (name == "script") e.type = "application/ld+json"; document.body.append(e); };
add("script", JSON.stringify({name: evil})); add("style", "/*" + evil + "*/ p { color: red }"); add("xmp", "<\/xmp>" + evil); add("noframes", "<\/noframes>" + evil);
document.body.append(document.createComment("--><img id=pwn>"), document.createComment(">x"), document.createComment("fine"));
const f = document.createElement("iframe"); f.srcdoc = "<script>1<\/script>"; document.body.append(f);
</script></body></html>`)})
	c := render(t, url+"/")
	wantBody(t, c, []string{`\u003c/script>`, `<\/style>`, "<!--fine-->"}, []string{"--><img", "<!-->", "srcdoc"})
	again := render(t, serve(t, map[string]http.HandlerFunc{"/": html(string(c.Body) + `<p id=p></p><script>p.append("pwned: " + document.querySelectorAll("#pwn").length)</script>`)})+"/")
	wantBody(t, again, []string{"pwned: 0"}, nil)
}

// What runs is left out wherever it stands, and what only looks like it is kept.
func TestWhatRunsIsLeftOut(t *testing.T) {
	t.Parallel()
	const parts = `<script>run()</script><script type=module src=/run.js></script><link rel=modulepreload href=/run.js><link rel=preload as=script href=/run.js><link rel=prefetch as=script href=/run.js>` +
		`<a href="javascript:run()" onclick="run()">a</a><a href=" java&#10;script:run()">b</a><form action="javascript:run()"><button formaction="javascript:run()" ONFOCUS="run()">c</button></form>` +
		`<svg onload="run()"><a xlink:href="javascript:run()"><animate onbegin="run()"/></a></svg><object data="javascript:run()"></object><b only="kept" one="kept" on="kept">d</b>` +
		`<a tabindex=1 onfocusin="run()" ontouchstart=" run()" onwebkitfullscreenchange="run()" ongesturestart='run()'>e</a>`
	page := func(mode string) string {
		return `<div id=d></div><script>d.attachShadow({ mode: "` + mode + `" }).innerHTML = ` + "`" + strings.ReplaceAll(parts, "</script>", "<\\/script>") + "`" + `</script>`
	}
	url := serve(t, map[string]http.HandlerFunc{
		"/light":       html("<body>" + parts),
		"/template":    html("<template>" + parts + "</template>"),
		"/open":        html(page("open")),
		"/closed":      html(page("closed")),
		"/declarative": html(`<div><template shadowrootmode=open>` + parts + `</template></div>`),
	})
	for _, path := range []string{"/light", "/template", "/open", "/closed", "/declarative"} {
		for _, declarative := range []bool{false, true} {
			page := pageAt(t, url+path, prerender.Desktop)
			page.Rule.Rendering.DeclarativeShadow = declarative
			c, err := shared.Capture(t.Context(), page, chrome.Options{})
			if err != nil {
				t.Fatal(err)
			}
			wantBody(t, c, []string{"a</a>", "b</a>", "c</button>", "e</a>", "<svg", "<animate", `only="kept" one="kept" on="kept"`, "d</b>"}, []string{"run", "script:"})
		}
	}
}

func TestPopupsAreNotOpened(t *testing.T) {
	t.Parallel()
	var asked sync.Map
	url := serve(t, map[string]http.HandlerFunc{
		"/":      html(`<a id=a target=_blank href="/popup?link">x</a><script>for (let i = 0; i < 20; i++) open("/popup?" + i); a.click()</script><p>kept</p>`),
		"/popup": func(w http.ResponseWriter, r *http.Request) { asked.Store(r.URL.RawQuery, r.UserAgent()) },
	})
	wantBody(t, render(t, url+"/"), []string{"kept"}, nil)
	asked.Range(func(query, agent any) bool {
		t.Errorf("popup %s was loaded as %s", query, agent)
		return true
	})
}

func TestNothingIsShared(t *testing.T) {
	t.Parallel()
	url := serve(t, map[string]http.HandlerFunc{"/": html(`<p id=p></p><script>
const n = Number(localStorage.n || 0) + 1; localStorage.n = n; const c = document.cookie; document.cookie = "a=b"; p.append("visit " + n + " cookie [" + c + "]")</script>`)})
	for range 2 {
		wantBody(t, render(t, url+"/"), []string{"visit 1 cookie []"}, nil)
	}
}

func TestDevices(t *testing.T) {
	t.Parallel()
	url := serve(t, map[string]http.HandlerFunc{"/": func(w http.ResponseWriter, r *http.Request) {
		html(`<meta name=viewport content="width=device-width"><p id=p>`+r.Header.Get("Sec-CH-UA-Mobile")+` </p><script>
			p.append([innerWidth, /Android.*Mobile/.test(navigator.userAgent), /Headless/.test(navigator.userAgent + navigator.appVersion),
				navigator.userAgentData?.mobile, navigator.maxTouchPoints, "ontouchstart" in window, matchMedia("(pointer: coarse)").matches, screen.orientation.type].join(" "))</script>`)(w, r)
	}})
	for device, want := range map[prerender.Device]string{
		prerender.Desktop: "?0 1440 false false false 0 false false landscape-primary",
		prerender.Mobile:  "?1 412 true false true 5 true true portrait-primary",
	} {
		c, err := shared.Capture(t.Context(), pageAt(t, url+"/", device), chrome.Options{})
		if err != nil {
			t.Fatal(err)
		}
		wantBody(t, c, []string{">" + want + "<"}, nil)
	}
}

func TestScreenshot(t *testing.T) {
	t.Parallel()
	url := serve(t, map[string]http.HandlerFunc{"/": html(`<body style="background: #f00">`)})
	c, err := captureWith(t, shared, url+"/", prerender.DefaultTimeout, chrome.Options{Screenshot: true})
	if err != nil {
		t.Fatal(err)
	}
	img, err := png.Decode(bytes.NewReader(c.Screenshot))
	if err != nil {
		t.Fatal(err)
	}
	if r, g, _, _ := img.At(10, 10).RGBA(); r != 0xffff || g != 0 || img.Bounds().Dx() != 1440 {
		t.Errorf("got a pixel of %x %x and width %d, want red, 1440", r, g, img.Bounds().Dx())
	}
}

// What the page's process did is told by script.
func TestWork(t *testing.T) {
	t.Parallel()
	url := serve(t, map[string]http.HandlerFunc{
		"/": html(`<script src="/busy.js"></script>`),
		"/busy.js": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/javascript")
			io.WriteString(w, `for (let i = 0, s = 0; i < 3e7; i++) s += Math.sqrt(i) % 7;`)
		},
	})
	c, err := captureWith(t, shared, url+"/", prerender.DefaultTimeout, chrome.Options{Work: true})
	if err != nil {
		t.Fatal(err)
	}
	var busy, rest int
	for i, w := range c.Work {
		if w.Script == url+"/busy.js" {
			busy++
		} else {
			rest++
		}
		if w.End <= w.Start || i > 0 && w.Start < c.Work[i-1].End {
			t.Errorf("work %d is from %v to %v, after %v", i, w.Start, w.End, c.Work[max(0, i-1)].End)
		}
	}
	if busy == 0 || rest == 0 {
		t.Errorf("busy.js was seen %d times, other work %d times: %v", busy, rest, c.Work)
	}
	if c, err := capture(t, url+"/"); err != nil || c.Work != nil {
		t.Errorf("a render was watched that was not to be (%v)", err)
	}
}
