package chrome_test

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/stillpage/stillpage/internal/chrome"
	"github.com/stillpage/stillpage/internal/prerender"
)

// visits counts its visits in everything that can outlive a page, also in its
// last moments, and writes the counts.
const visits = `<p id=p></p><iframe src="/frame"></iframe><script>
const count = (get, set) => { const n = Number(get() || 0) + 1; set(n); return n; };
const cookie = () => (/(?:^|; )n=(\d+)/.exec(document.cookie) || [])[1];
const request = (r) => new Promise((ok, no) => { r.onsuccess = () => ok(r.result); r.onerror = () => no(r.error); });
addEventListener("pagehide", () => { localStorage.n = 100; document.cookie = "n=100"; sessionStorage.n = 100; });
addEventListener("unload", () => { localStorage.n = 200; });
(async () => {
  const result = {
    cookie: count(cookie, (n) => document.cookie = "n=" + n + "; max-age=9999"),
    http: HTTP, // what the origin says
    local: count(() => localStorage.n, (n) => localStorage.n = n),
    session: count(() => sessionStorage.n, (n) => sessionStorage.n = n),
    name: count(() => window.name, (n) => window.name = n),
    history: history.length,
    sw: "serviceWorker" in navigator ? 2 : 1,
  };
  const open = indexedDB.open("db", 1);
  open.onupgradeneeded = () => open.result.createObjectStore("s");
  const db = await request(open);
  const store = () => db.transaction("s", "readwrite").objectStore("s");
  const n = Number(await request(store().get("n")) || 0) + 1;
  await request(store().put(n, "n"));
  result.indexedDB = n;
  if (window.caches) { // secure contexts, of which loopback is one
    const cache = await caches.open("c");
    const old = await cache.match("/n");
    const m = Number(old ? await old.text() : 0) + 1;
    await cache.put("/n", new Response(String(m)));
    result.caches = m;
  }
  const root = await navigator.storage.getDirectory();
  let k = 0;
  for await (const _ of root.keys()) k++;
  await root.getFileHandle("f" + k, { create: true });
  result.files = k + 1;
  const heard = [];
  const channel = new BroadcastChannel("visits");
  channel.onmessage = (e) => heard.push(e.data);
  channel.postMessage("hello");
  await new Promise((r) => setTimeout(r, 300));
  result.channel = heard.length + 1;
  result.frame = document.querySelector("iframe").contentDocument.querySelector("b").textContent;
  p.append("{" + Object.entries(result).map(([k, v]) => k + "=" + v).join(" ") + "}");
})().catch((e) => p.append("failed: " + e));
</script>`

const firstVisit = "{cookie=1 http=1 local=1 session=1 name=1 history=1 sw=1 indexedDB=1 caches=1 files=1 channel=1 frame=1}"

func visitsSite(t *testing.T) string {
	return serve(t, map[string]http.HandlerFunc{
		"/": func(w http.ResponseWriter, r *http.Request) {
			visit := "1"
			if _, err := r.Cookie("seen"); err == nil {
				visit = "2"
			}
			http.SetCookie(w, &http.Cookie{Name: "seen", Value: "1", MaxAge: 9999, Path: "/", HttpOnly: true})
			html(strings.Replace(visits, "HTTP", visit, 1))(w, r)
		},
		"/frame": html(`<body><script>const n = Number(localStorage.f || 0) + 1; localStorage.f = n; document.write("<b>" + n + "</b>")</script></body>`),
	})
}

func wantFirstVisit(t *testing.T, r *chrome.Renderer, url string) {
	t.Helper()
	c, err := captureWith(t, r, url, prerender.DefaultTimeout, chrome.Options{})
	if err != nil {
		t.Error(err)
	} else if !strings.Contains(string(c.Body), firstVisit) {
		t.Errorf("got %s\nwant %s\npartial: %q, phases: %v, warnings: %q", c.Body, firstVisit, c.Partial, c.Phases, c.Warnings)
	}
}

func TestEveryVisitIsTheFirst(t *testing.T) {
	r, tmp := own(t, loopback, 8)
	url := visitsSite(t)
	for i := range 4 {
		wantFirstVisit(t, r, fmt.Sprint(url, "/?", i))
	}
	var wg sync.WaitGroup
	for i := range 16 { // eight in flight, then eight more in the same tabs
		wg.Go(func() { wantFirstVisit(t, r, fmt.Sprint(url, "/?", i)) })
	}
	wg.Wait()
	for pid, line := range processes(t, tmp) {
		if strings.Contains(line, "--type=renderer") {
			syscall.Kill(pid, syscall.SIGKILL)
		}
	}
	for i := range 4 {
		wantFirstVisit(t, r, fmt.Sprint(url, "/?after", i))
	}
}

// A page that leaves hardly a trace is not cleaned up after with all means. Each
// way to store something is therefore tried alone.
func TestEachStorageAlone(t *testing.T) {
	t.Parallel()
	for name, script := range map[string]string{
		"local storage":      `done(localStorage.n = Number(localStorage.n || 0) + 1)`,
		"by reflection":      `const s = Reflect.get(self, "sessionStorage"); s.setItem("n", Number(s.getItem("n") || 0) + 1); done(s.n)`,
		"name":               `name = Number(name || 0) + 1; done(name)`,
		"cookie":             `const n = Number((/n=(\d+)/.exec(document.cookie) || [0, 0])[1]) + 1; document.cookie = "n=" + n; done(n)`,
		"cookie of response": `fetch("/cookie").then((r) => r.text()).then(done)`,
		"frame that goes":    `const f = document.createElement("iframe"); document.body.append(f); const s = f.contentWindow.localStorage; s.n = Number(s.n || 0) + 1; done(s.n); f.remove()`,
		"history":            `history.pushState({ n: 1 }, "", "#x"); done(history.length - 1)`,
		"state":              `done((history.state ? history.state.n : 0) + 1); history.replaceState({ n: 9 }, "")`,
		"cache storage":      `caches.keys().then((k) => caches.open("c" + k.length)).then(() => caches.keys()).then((k) => done(k.length))`,
		"indexed database":   `indexedDB.databases().then((d) => { const r = indexedDB.open("d" + d.length); r.onsuccess = () => done(d.length + 1) })`,
		"last moment":        `done(localStorage.n || 1); onpagehide = () => localStorage.n = 2`,
		"last moment, late":  `let n = document.cookie ? 2 : 1; done(n); setTimeout(() => addEventListener("visibilitychange", () => document.cookie = "n=2"), 100)`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := serve(t, map[string]http.HandlerFunc{
				"/": html(`<body><p id=p></p><script>const done = (n) => p.append("visit " + n + "."); ` + script + `</script>`),
				"/cookie": func(w http.ResponseWriter, r *http.Request) {
					n := 1
					if r.Header.Get("Cookie") != "" {
						n = 2
					}
					http.SetCookie(w, &http.Cookie{Name: "n", Value: "1", HttpOnly: true})
					fmt.Fprint(w, n)
				},
			})
			for range 3 {
				wantBody(t, render(t, url+"/"), []string{"visit 1."}, nil)
			}
		})
	}
}

// What a tab has fetched is not what the origin says now: nothing but scripts, styles,
// images and fonts comes from the tab's own cache.
func TestFreshEachTime(t *testing.T) {
	t.Parallel()
	for name, header := range map[string][2]string{
		"for a while":   {"Cache-Control", "max-age=600"},
		"private":       {"Cache-Control", "private, max-age=600"},
		"stale allowed": {"Cache-Control", "max-age=0, stale-while-revalidate=600"},
		"by age":        {"Last-Modified", "Wed, 01 Jan 2020 00:00:00 GMT"},
		"by date":       {"Expires", "Fri, 01 Jan 2100 00:00:00 GMT"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var version atomic.Int64
			version.Store(1)
			var scripts atomic.Int64
			say := func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set(header[0], header[1])
				fmt.Fprint(w, version.Load())
			}
			url := serve(t, map[string]http.HandlerFunc{
				"/": func(w http.ResponseWriter, r *http.Request) {
					w.Header().Set(header[0], header[1])
					html(fmt.Sprint(`<p id=p>document `, version.Load(), `</p><link rel=preload as=fetch href="/preloaded" crossorigin=anonymous><script>const framed = new Promise((ok) => { onmessage = (e) => ok(e.data) })</script><iframe src="/frame"></iframe><script src="/app.js"></script><script>(async () => {
						p.append(" frame " + await framed);
						p.append(" preloaded " + await (await fetch("/preloaded")).text());
						p.append(" fetch " + await (await fetch("/fetch")).text());
						p.append(" request " + await (await fetch(new Request("/post", { method: "POST", body: "x" }))).text());
						const x = new XMLHttpRequest(); x.open("GET", "/xhr"); x.send(); await new Promise((ok) => { x.onload = ok });
						p.append(" xhr " + x.responseText);
						p.append(" worker " + await new Promise((ok) => { new Worker("/worker.js").onmessage = (e) => ok(e.data) }) + ".");
					})()</script>`))(w, r)
				},
				"/frame": func(w http.ResponseWriter, r *http.Request) {
					w.Header().Set(header[0], header[1])
					html(fmt.Sprint("<script>parent.postMessage(", version.Load(), `, "*")</script>`))(w, r)
				},
				"/preloaded": say, "/fetch": say, "/xhr": say, "/worker": say, "/post": say,
				"/app.js": func(w http.ResponseWriter, r *http.Request) {
					scripts.Add(1)
					w.Header().Set("Content-Type", "text/javascript")
					w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
				},
				"/worker.js": func(w http.ResponseWriter, r *http.Request) {
					w.Header().Set("Content-Type", "text/javascript")
					io.WriteString(w, `fetch("/worker").then((r) => r.text()).then(postMessage)`)
				},
			})
			for n := range 3 {
				v := n + 1
				version.Store(int64(v))
				wantBody(t, render(t, url+"/"), []string{strings.ReplaceAll("document N frame N preloaded N fetch N request N xhr N worker N.", "N", fmt.Sprint(v))}, nil)
			}
			if got := scripts.Load(); got != 1 {
				t.Errorf("got %d requests for the script, want 1", got)
			}
		})
	}
}

// Frames of others store under keys of their own.
func TestThirdPartyFrames(t *testing.T) {
	var frame string
	url := serve(t, map[string]http.HandlerFunc{
		"/": func(w http.ResponseWriter, r *http.Request) {
			html(`<p id=p></p><script>onmessage = (e) => p.append(e.data); (async () => { while (!p.textContent) await indexedDB.databases() })()</script><iframe src="`+frame+`"></iframe>`)(w, r)
		},
		"/frame": html(`<script>(async () => {
			const local = localStorage.n = Number(localStorage.n || 0) + 1, session = sessionStorage.n = Number(sessionStorage.n || 0) + 1;
			const cached = await caches.keys(); await caches.open("c" + cached.length);
			const bases = await indexedDB.databases();
			await new Promise((ok) => { indexedDB.open("d" + bases.length).onsuccess = ok });
			parent.postMessage("visits " + [local, session, cached.length + 1, bases.length + 1], "*");
		})().catch((e) => parent.postMessage(String(e), "*"))</script>`),
	})
	frame = strings.Replace(url, "127.0.0.1", "localhost", 1) + "/frame"
	var log said
	r, _ := own(t, loopback, 1, func(c *chrome.Config) {
		c.TidyFirst = true
		c.Log = slog.New(slog.NewTextHandler(&log, nil))
	})
	for range 3 {
		c, err := captureWith(t, r, url+"/", prerender.DefaultTimeout, chrome.Options{})
		if err != nil {
			t.Fatal(err)
		}
		wantBody(t, c, []string{"visits 1,1,1,1"}, nil)
	}
	r.Close()
	if strings.Contains(log.String(), "could not be cleaned") {
		t.Errorf("its tabs were not used again: %s", log.String())
	}
}

// said is a log that several goroutines write.
type said struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *said) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(b)
}

func (s *said) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// What a page leaves under way when it goes does not hold the next one's clock.
func TestLastWords(t *testing.T) {
	t.Parallel()
	for name, last := range map[string]string{
		"beacon":         `navigator.sendBeacon("/hang", "a")`,
		"hidden":         `addEventListener("visibilitychange", () => { if (document.visibilityState == "hidden") navigator.sendBeacon("/hang", "a") })`,
		"page hide":      `addEventListener("pagehide", () => fetch("/hang", { method: "POST", keepalive: true }))`,
		"kept alive":     `fetch("/hang", { method: "POST", keepalive: true, body: "x" }).catch(() => 0)`,
		"asked, as such": `addEventListener("pagehide", () => fetch(new Request("/hang", { method: "POST", keepalive: true, body: "x" })))`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := serve(t, map[string]http.HandlerFunc{
				"/a": html(`<p>done</p><script>` + last + `</script>`),
				"/b": html(`<p id=p></p><script>setTimeout(() => p.append("done"), 500)</script>`),
				"/hang": func(w http.ResponseWriter, r *http.Request) {
					io.Copy(io.Discard, r.Body) // or its client's end would not be seen
					<-r.Context().Done()
				},
			})
			for _, path := range []string{"/a", "/b", "/a", "/b"} {
				c := render(t, url+path)
				wantBody(t, c, []string{"done"}, nil)
				if c.Partial != "" {
					t.Errorf("%s: partial %q, phases %v", path, c.Partial, c.Phases)
				}
			}
		})
	}
}

// The way back leads nowhere: what was before a page is another render's.
func TestNoWayBack(t *testing.T) {
	t.Parallel()
	for name, script := range map[string]string{
		"back":             `history.back()`,
		"go":               `history.go(-1)`,
		"two back":         `history.pushState(1, "", "#a"); history.go(-2)`,
		"navigation":       `navigation.back().committed.catch(() => 0)`,
		"traverse":         `for (const e of navigation.entries()) if (e.key !== navigation.currentEntry.key) navigation.traverseTo(e.key)`,
		"nothing to see":   `if (navigation.canGoBack || navigation.entries().length > 1) p.textContent = "not alone"`,
		"back in the page": `history.pushState(1, "", "/other"); history.back(); setTimeout(() => { if (location.pathname === "/other") p.textContent = location }, 100)`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := serve(t, map[string]http.HandlerFunc{
				"/":       html(`<p id=p>done</p><script>` + script + `</script>`),
				"/later":  html(`<p id=p>done</p><script>setTimeout(() => { ` + script + ` }, 300)</script>`),
				"/stores": html(`<p>done</p><script>localStorage.x = 1</script>`),
			})
			for _, path := range []string{"/", "/", "/stores", "/", "/later"} {
				c := render(t, url+path)
				if c.Status != http.StatusOK {
					t.Errorf("%s: got %d to %s", path, c.Status, c.Header.Get("Location"))
				}
				wantBody(t, c, []string{"done</p>"}, nil)
			}
		})
	}
}
