package chrome_test

import (
	"bytes"
	"errors"
	"fmt"
	"image/png"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

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
<svg viewBox="0 0 1 1"><a xlink:href="#x"/><script>1</script><path d="M0"/></svg><br><img alt="x"><!-- in -->
<form><input name="attributes"><input name="firstChild"><input name="localName"></form>
<img name="documentElement"><script>document.querySelector("p").append(" added")</script></body></html><!-- after -->`)})
	c := render(t, url+"/")
	wantBody(t, c, []string{
		"<!DOCTYPE html>\n<!-- before -->", `<html lang="en" data-x="a &quot;b&quot; &amp; c" data-ran="1">`, `<meta charset="utf-8">`,
		`{"a": "<b> & </b>"}</script>`, `<link rel="preload" as="style" href="/kept.css">`, "a > b { color: red }",
		`<body>`, `<a>j</a><a href="/rel#f">r</a>`, "<pre>\n\ntwo</pre>", "<textarea>&lt;t&gt;</textarea>",
		"<p>1 &lt; 2 &amp; 3&nbsp;&gt; added</p>", "<template><i>in</i></template>",
		`<svg viewBox="0 0 1 1"><a xlink:href="#x"></a><path d="M0"></path></svg><br><img alt="x"><!-- in -->`,
		`<form><input name="attributes"><input name="firstChild"><input name="localName"></form>`, "</html><!-- after -->",
	}, []string{"setAttribute", "text/template", "m.js", "p.js", "switch it on", "x()", "<base"})
	if c.Title != "t" || c.Status != 200 || c.Partial != "" || c.Header.Get("Content-Type") != "text/html; charset=utf-8" {
		t.Errorf("got title %q, status %d, partial %q, headers %v", c.Title, c.Status, c.Partial, c.Header)
	}
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

func TestPageSetsStatusAndHeaders(t *testing.T) {
	t.Parallel()
	url := serve(t, map[string]http.HandlerFunc{
		"/p": html(`<meta name="prerender-status-code" content="404"><meta name="prerender-header" content="X-A: 1">
<meta name="prerender-header" content="X-A: 2"><meta name="prerender-header" content="Set-Cookie: a=b"><meta name="prerender-header" content="Content-Length: 1">`),
		"/r": html(`<meta name="render:status_code" content="410"><meta name="render:header" content="Location: /x">`),
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
	if n := render(t, url+"/n"); n.Status != 200 {
		t.Errorf("metas that are no status: got %d, want 200", n.Status)
	}
}

// What search engines read besides the text comes out as it was.
func TestMeaning(t *testing.T) {
	t.Parallel()
	url := serve(t, map[string]http.HandlerFunc{"/a/b": func(w http.ResponseWriter, r *http.Request) {
		for name, value := range map[string]string{
			"ETag": `"v1"`, "Last-Modified": "Mon, 02 Nov 2026 10:00:00 GMT", "Content-Language": "de", "Cache-Control": "max-age=60",
			"X-Robots-Tag": "noarchive", "Set-Cookie": "a=b", "X-Powered-By": "x",
			"Link": `</x>; rel="alternate"; hreflang="de,at", </app.js>; rel=preload; as="script", </m.js>; rel=modulepreload, <https://a.example/a,b>; rel="canonical"`,
		} {
			w.Header().Set(name, value)
		}
		html(`<!DOCTYPE html><html><head><script>document.head.innerHTML = '<link rel="canonical" href="../c?x=1&amp;y=2"><link rel="alternate" hreflang="fr" href="/fr"><meta name="description" content="d &lt; e">'</script></head>
<body><div itemscope itemtype="https://schema.org/Product"><span itemprop="name">N</span><meta itemprop="sku" content="1"></div><a href="../rel?q#f">l</a><img srcset="a.png 1x, b.png 2x" src="a.png">
<math><mi>x</mi><mo>&lt;</mo></math><script type="application/ld+json">{"name": "</scr" }</script></body></html>`)(w, r)
	}})
	c := render(t, url+"/a/b")
	wantBody(t, c, []string{
		`<link rel="canonical" href="../c?x=1&amp;y=2"><link rel="alternate" hreflang="fr" href="/fr"><meta name="description" content="d &lt; e">`,
		`<div itemscope="" itemtype="https://schema.org/Product"><span itemprop="name">N</span><meta itemprop="sku" content="1"></div>`,
		`<a href="../rel?q#f">l</a><img srcset="a.png 1x, b.png 2x" src="a.png">`, `<math><mi>x</mi><mo>&lt;</mo></math>`, `{"name": "</scr" }`,
	}, []string{"<base", "127.0.0.1"})
	want := http.Header{
		"Etag": {`"v1"`}, "Last-Modified": {"Mon, 02 Nov 2026 10:00:00 GMT"}, "Content-Language": {"de"}, "Cache-Control": {"max-age=60"},
		"X-Robots-Tag": {"noarchive"}, "Content-Type": {"text/html; charset=utf-8"},
		"Link": {`</x>; rel="alternate"; hreflang="de,at"`, `<https://a.example/a,b>; rel="canonical"`},
	}
	if diff := cmp.Diff(want, c.Header); diff != "" {
		t.Errorf("headers (-want +got):\n%s", diff)
	}
}

func TestOriginsAnswers(t *testing.T) {
	t.Parallel()
	answer := func(status int, header, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			for line := range strings.SplitSeq(header, "\n") {
				if name, value, ok := strings.Cut(line, ": "); ok {
					w.Header().Add(name, value)
				}
			}
			w.WriteHeader(status)
			io.WriteString(w, body)
		}
	}
	const page = "Content-Type: text/html"
	url := serve(t, map[string]http.HandlerFunc{
		"/301":   answer(301, "Location: /next?a=1", "moved"),
		"/307":   answer(307, "Location: http://other.example/", ""),
		"/404":   answer(404, page+"\nX-Robots-Tag: noindex\nSet-Cookie: a=b\nServer: x", "<p>gone</p>"),
		"/500":   answer(500, page, "<p>oops</p>"),
		"/empty": answer(503, page+"\nRetry-After: 7", ""),
		"/204":   answer(204, "", ""),
		"/json":  answer(200, "Content-Type: application/json", `{"a":1}`),
		"/save":  answer(200, page+"\nContent-Disposition: attachment; filename=a.html", "<p>file</p>"),
		"/links": answer(200, page+"\nLink: <a>; rel=x\nLink: <b>; rel=y", "<p>links</p>"),
		"/big":   answer(200, "Content-Type: application/pdf\nContent-Length: 9000000", strings.Repeat("x", 9_000_000)),
	})
	for _, tt := range []struct {
		path     string
		status   int
		header   string // "Name: value", or "Name" for one that must be missing
		contains string
	}{
		{"/301", 301, "Location: /next?a=1", ""},
		{"/307", 307, "Location: http://other.example/", ""},
		{"/404", 404, "X-Robots-Tag: noindex", "<p>gone</p>"},
		{"/404", 404, "Set-Cookie", ""}, {"/404", 404, "Server", ""},
		{"/500", 500, "Content-Type: text/html; charset=utf-8", "<p>oops</p>"},
		{"/empty", 503, "Retry-After: 7", ""},
		{"/204", 204, "", ""},
		{"/json", 200, "Content-Type: application/json", `{"a":1}`},
		{"/save", 200, "Content-Type: text/html", "<p>file</p>"},
		{"/links", 200, "Link: <a>; rel=x|<b>; rel=y", "links"},
	} {
		c := render(t, url+tt.path)
		name, value, _ := strings.Cut(tt.header, ": ")
		if got := strings.Join(c.Header.Values(name), "|"); c.Status != tt.status || got != value || !strings.Contains(string(c.Body), tt.contains) {
			t.Errorf("%s: got %d, %s %q, body %q; want %d, %q, %q", tt.path, c.Status, name, got, c.Body, tt.status, value, tt.contains)
		}
		if tt.contains == "" && tt.status != 404 && len(c.Body) != 0 {
			t.Errorf("%s: got body %q, want none", tt.path, c.Body)
		}
	}
	if _, err := capture(t, url+"/big"); !errors.Is(err, prerender.ErrContentRefused) {
		t.Errorf("/big: got %v, want ErrContentRefused", err)
	}
}

// A header that only the document request carries, and no API call, where it
// would break CORS.
func TestLoopMarker(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	marks, agents := map[string]string{}, map[string]string{}
	note := func(next http.HandlerFunc) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			mu.Lock()
			marks[r.URL.Path], agents[r.URL.Path] = r.Header.Get("X-Prerender"), r.UserAgent()
			mu.Unlock()
			next(w, r)
		}
	}
	url := serve(t, map[string]http.HandlerFunc{
		"/":      note(html(`<p id=p></p><iframe src="/frame"></iframe><script src="/s.js"></script>`)),
		"/frame": note(html(`<p>f</p>`)),
		"/s.js": note(func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, `fetch("/api").then(() => p.append("done"))`)
		}),
		"/api": note(html(``)),
	})
	wantBody(t, render(t, url+"/"), []string{"done"}, nil)
	mu.Lock()
	defer mu.Unlock()
	if got := fmt.Sprint(marks); got != "map[/:1 /api: /frame: /s.js:]" {
		t.Errorf("X-Prerender: got %s, want it on / only", got)
	}
	for path, agent := range agents {
		if !strings.Contains(agent, "Prerender (Stillpage") || strings.Contains(agent, "Headless") {
			t.Errorf("%s: user agent %q", path, agent)
		}
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

// The tab's own about:blank falls silent while a slow document is on its way.
func TestSlowDocument(t *testing.T) {
	t.Parallel()
	url := serve(t, map[string]http.HandlerFunc{
		"/": func(w http.ResponseWriter, r *http.Request) {
			select {
			case <-time.After(3 * time.Second): // the origin's slowness is what is tested
			case <-r.Context().Done():
			}
			html(`<p id=p>shell</p><script>fetch("/api").then(() => p.append(" and content"))</script>`)(w, r)
		},
		"/api": html(""),
	})
	wantBody(t, render(t, url+"/"), []string{"shell and content"}, nil)
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

func TestEndlessFile(t *testing.T) {
	t.Parallel()
	url := serve(t, map[string]http.HandlerFunc{"/": func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		for r.Context().Err() == nil {
			if _, err := w.Write(make([]byte, 1<<20)); err != nil {
				return
			}
		}
	}})
	if _, err := capture(t, url+"/"); !errors.Is(err, prerender.ErrContentRefused) {
		t.Errorf("got %v, want ErrContentRefused", err)
	}
}

func TestOriginThatFails(t *testing.T) {
	t.Parallel()
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { silent.Close() })
	garbage, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { garbage.Close() })
	go func() {
		for {
			conn, err := garbage.Accept()
			if err != nil {
				return
			}
			io.WriteString(conn, "SSH-2.0-nonsense\r\n")
			conn.Close()
		}
	}()
	for name, tt := range map[string]struct {
		url  string
		want error
	}{
		"closed port":             {"http://127.0.0.1:1/", prerender.ErrOriginUnreachable},
		"closed port, https":      {"https://127.0.0.1:1/", prerender.ErrOriginUnreachable},
		"no such name":            {"http://name.invalid/", prerender.ErrOriginUnreachable},
		"no HTTP":                 {"http://" + garbage.Addr().String() + "/", prerender.ErrOriginUnreachable},
		"no TLS":                  {"https://" + garbage.Addr().String() + "/", prerender.ErrOriginUnreachable},
		"silent":                  {"http://" + silent.Addr().String() + "/", prerender.ErrOriginTimeout},
		"private address":         {"http://10.0.0.1/", prerender.ErrAddressRefused},
		"metadata service":        {"http://169.254.169.254/latest/", prerender.ErrAddressRefused},
		"private address, https:": {"https://192.168.0.1/", prerender.ErrAddressRefused},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if c, err := captureWith(t, shared, tt.url, 10*time.Second, chrome.Options{}); !errors.Is(err, tt.want) {
				t.Errorf("got %+v, %v, want %v", c, err, tt.want)
			}
		})
	}
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
	url := serve(t, map[string]http.HandlerFunc{"/": html(`<meta name=viewport content="width=device-width"><p id=p></p>
<script>p.append(innerWidth + " " + /Android.*Mobile/.test(navigator.userAgent))</script>`)})
	wantBody(t, render(t, url+"/"), []string{"1440 false"}, nil)
	c, err := shared.Capture(t.Context(), pageAt(t, url+"/", prerender.Mobile), chrome.Options{})
	if err != nil {
		t.Fatal(err)
	}
	wantBody(t, c, []string{"412 true"}, nil)
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
