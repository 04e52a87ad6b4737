package chrome_test

import (
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stillpage/stillpage/internal/chrome"
	"github.com/stillpage/stillpage/internal/prerender"
)

// site is what the pages of the fidelity suite find at their origin.
func fidelitySite(t testing.TB, page string) string {
	wait := func(w http.ResponseWriter, r *http.Request, d time.Duration) {
		select {
		case <-time.After(d): // a part of the origin under test
		case <-r.Context().Done():
		}
	}
	return serve(t, map[string]http.HandlerFunc{
		"/": html("<!DOCTYPE html><html><head></head><body><p id=p></p>" + page + "</body></html>"),
		"/api/{text}": func(w http.ResponseWriter, r *http.Request) {
			wait(w, r, 30*time.Millisecond)
			io.WriteString(w, r.PathValue("text"))
		},
		"/slow/{text}": func(w http.ResponseWriter, r *http.Request) {
			wait(w, r, 1500*time.Millisecond)
			io.WriteString(w, r.PathValue("text"))
		},
		"/pause/{text}": func(w http.ResponseWriter, r *http.Request) {
			wait(w, r, 400*time.Millisecond)
			io.WriteString(w, r.PathValue("text"))
		},
		"/slower/{text}": func(w http.ResponseWriter, r *http.Request) {
			wait(w, r, 5*time.Second)
			io.WriteString(w, r.PathValue("text"))
		},
		"/late-body": func(w http.ResponseWriter, r *http.Request) {
			w.(http.Flusher).Flush()
			wait(w, r, 2*time.Second)
			io.WriteString(w, "done")
		},
		"/now": func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, time.Now().UnixMilli()) },
		"/missing": func(w http.ResponseWriter, r *http.Request) {
			http.Error(w, strings.Repeat("missing ", 5000), http.StatusNotFound)
		},
		"/fine":   html("<b>fine</b>"),
		"/socket": talk,
		"/hang":   func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"/stream": func(w http.ResponseWriter, r *http.Request) {
			for i := range 4 {
				fmt.Fprint(w, "part", i, " ")
				w.(http.Flusher).Flush()
				wait(w, r, 100*time.Millisecond)
			}
		},
		"/events": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream")
			fmt.Fprint(w, "data: event\n\n")
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		},
		"/news": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream")
			w.(http.Flusher).Flush()
			wait(w, r, 2*time.Second)
			fmt.Fprint(w, "data: event\n\n")
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		},
		"/late-events": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream")
			w.(http.Flusher).Flush()
			wait(w, r, 150*time.Millisecond)
			fmt.Fprint(w, "data: event\n\n")
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		},
		"/module.js": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/javascript")
			io.WriteString(w, `export const text = await (await fetch("/api/module")).text();`)
		},
		"/chunk/": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/javascript")
			io.WriteString(w, `window.chunks = (window.chunks || 0) + 1`)
		},
		"/worker.js": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/javascript")
			io.WriteString(w, `onmessage = async (e) => postMessage(await (await fetch("/slow/" + e.data)).text());`)
		},
		"/queue.js": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/javascript")
			io.WriteString(w, `let last = Promise.resolve(); onmessage = (e) => { last = last.then(async () => postMessage(await (await fetch("/pause/" + e.data)).text())) }`)
		},
		"/shared.js": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/javascript")
			io.WriteString(w, `onconnect = (c) => { c.ports[0].onmessage = async (e) => c.ports[0].postMessage(await (await fetch("/slow/" + e.data)).text()) }`)
		},
		"/slow.js": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/javascript")
			wait(w, r, 700*time.Millisecond)
			io.WriteString(w, `p.append("slow script")`)
		},
		"/style.css": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/css")
			wait(w, r, 50*time.Millisecond)
		},
		"/pixel": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "image/svg+xml")
			io.WriteString(w, `<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>`)
		},
		"/frame": html(`<script>parent.postMessage("from frame", "*")</script>`),
	})
}

// talk is a web socket's server: whoever sends a message gets two, the second a while later
// (RFC 6455; short messages only).
func talk(w http.ResponseWriter, r *http.Request) {
	sum := sha1.Sum([]byte(r.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	conn, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer conn.Close()
	fmt.Fprintf(rw, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n", base64.StdEncoding.EncodeToString(sum[:]))
	rw.Flush()
	head := make([]byte, 6) // of the frame: kind, length, mask
	if _, err := io.ReadFull(rw, head); err != nil {
		return
	}
	if _, err := io.CopyN(io.Discard, rw, int64(head[1]&0x7f)); err != nil {
		return
	}
	for _, text := range []string{"joined", "done"} {
		fmt.Fprintf(rw, "\x81%c%s", len(text), text)
		rw.Flush()
		time.Sleep(150 * time.Millisecond) // a part of the origin under test
	}
	io.Copy(io.Discard, rw)
}

// Each page ends with the text "done" where a person's browser would show it.
var fidelityPages = map[string]string{
	"timing/timer of 4 s":           `<script>setTimeout(() => p.append("done"), 4000)</script>`,
	"timing/body that nobody reads": `<script>fetch("/missing").then((r) => { if (!r.ok) setTimeout(() => fetch("/api/x").then((r) => r.text()).then(() => p.append("done")), 500) })</script>`,
	"timing/body read late":         `<script>Promise.all([fetch("/late-body"), fetch("/slow/x")]).then(async ([a, b]) => { await b.text(); p.append(await a.text()) })</script>`,
	"timing/timers for ever":        `<script>for (const d of [1e300, 2 ** 31, Number.MAX_SAFE_INTEGER, Infinity, NaN, "x"]) setTimeout(() => {}, d); setTimeout(() => p.append("done"), 3000)</script>`,
	"timing/timer and debounce":     `<script>let t; addEventListener("scroll", () => { clearTimeout(t); t = setTimeout(() => p.textContent || p.append("done"), 300) }); setTimeout(() => document.title = "x", 5000)</script>`,
	"timing/replaced clocks":        `<script>Object.defineProperty(window, "performance", { value: {} }); window.Promise = class {}; setTimeout(() => createImageBitmap(new ImageData(2, 2)), 2000); setTimeout(() => p.append("done"), 7000)</script>`,
	"timing/one answer to three":    `<script>const code = 'onmessage = (e) => { if (e.data == "z") postMessage("done") }'; const w = new Worker(URL.createObjectURL(new Blob([code]))); w.onmessage = (e) => p.append(e.data); for (const c of "xyz") w.postMessage(c)</script>`,
	"timing/timer of 9 s":           `<script>setTimeout(() => p.append("done"), 9000)</script>`,
	"timing/two timers of 3 s":      `<script>setTimeout(() => setTimeout(() => p.append("done"), 3000), 3000)</script>`,
	"timing/timer taken back":       `<script>const id = setTimeout(() => p.append("never"), 8000); setTimeout(() => { clearTimeout(id); p.append("done") }, 100)</script>`,
	"timing/nested timers":          `<script>let n = 0; const f = () => ++n < 20 ? setTimeout(f, 200) : p.append("done"); f()</script>`,
	"timing/fetch chain":            `<script>(async () => { for (let i = 0; i < 5; i++) await (await fetch("/api/" + i)).text(); p.append("done") })()</script>`,
	"timing/timer, fetch, timer":    `<script>setTimeout(async () => { await fetch("/api/x"); setTimeout(() => p.append("done"), 1500) }, 1500)</script>`,
	"timing/slow API":               `<script>fetch("/slow/done").then((r) => r.text()).then((t) => p.append(t))</script>`,
	"timing/slower API":             `<script>fetch("/slower/done").then((r) => r.text()).then((t) => p.append(t))</script>`,
	"timing/late body":              `<script>fetch("/late-body").then((r) => r.text()).then((t) => p.append(t))</script>`,
	"timing/endless poll":           `<script>(async () => { for (;;) p.textContent = await (await fetch("/slow/done")).text() })()</script>`,
	"timing/XMLHttpRequest":         `<script>const x = new XMLHttpRequest(); x.onload = () => p.append(x.responseText); x.open("GET", "/api/done"); x.send()</script>`,
	"timing/poll":                   `<script>let n = 0; const i = setInterval(async () => { await fetch("/api/x"); if (++n == 10) { clearInterval(i); p.append("done") } }, 200)</script>`,
	"timing/endless interval":       `<script>setInterval(() => document.title += ".", 50); fetch("/api/x").then(() => p.append("done"))</script>`,
	"timing/animation frames":       `<script>let n = 0; const f = () => ++n < 30 ? requestAnimationFrame(f) : p.append("done"); requestAnimationFrame(f)</script>`,
	"timing/endless animation":      `<script>const f = () => requestAnimationFrame(f); f(); fetch("/api/x").then(() => p.append("done"))</script>`,
	"timing/idle callback":          `<script>requestIdleCallback((d) => d.timeRemaining() > 0 && p.append("done"))</script>`,
	"timing/message channel":        `<script>const c = new MessageChannel(); c.port1.onmessage = () => p.append("done"); c.port2.postMessage(1)</script>`,
	"timing/worker that fetches":    `<script>const w = new Worker("/worker.js"); w.onmessage = (e) => p.append(e.data); w.postMessage("done")</script>`,
	"timing/worker with a queue":    `<script>const w = new Worker("/queue.js"); let s = ""; w.onmessage = (e) => { s += e.data; if (s == "abc") p.append("done") }; for (const c of "abc") w.postMessage(c)</script>`,
	"timing/shared worker":          `<script>const w = new SharedWorker("/shared.js"); w.port.onmessage = (e) => p.append(e.data); w.port.postMessage("done")</script>`,
	"timing/lock":                   `<script>navigator.locks.request("x", async () => { await fetch("/api/x"); p.append("done") })</script>`,
	"timing/lock held for ever":     `<script>navigator.locks.request("leader", () => { p.append("done"); return new Promise(() => {}) })</script>`,
	"timing/bitmap":                 `<script>createImageBitmap(new ImageData(2, 2)).then((b) => p.append(b.width == 2 ? "done" : ""))</script>`,
	"timing/streamed body":          `<script>(async () => { const r = (await fetch("/stream")).body.getReader(); let n = 0; for (;;) { const {done} = await r.read(); if (done) break; n++ } setTimeout(() => p.append("done"), 500) })()</script>`,
	"timing/module":                 `<script type="module">const m = await import("/module.js"); p.append(m.text == "module" ? "done" : "")</script>`,
	"timing/imports in a row":       `<script type="module">for (let i = 0; i < 40; i++) await import("/chunk/" + i); p.append(chunks == 40 ? "done" : "")</script>`,
	"timing/import after import":    `<script>const next = (i) => i < 40 ? import("/chunk/" + i).then(() => next(i + 1)) : p.append("done"); next(0)</script>`,
	"timing/scripts in a row":       `<script>const next = (i) => { if (i == 40) return p.append("done"); const s = document.createElement("script"); s.src = "/chunk/" + i; s.onload = () => next(i + 1); document.head.append(s) }; next(0)</script>`,
	"timing/slow script":            `<script src="/slow.js"></script><script>p.append(p.textContent == "slow script" ? " done" : "")</script>`,
	"timing/window load":            `<img src="/pixel"><link rel=stylesheet href="/style.css"><script>onload = () => p.append("done")</script>`,
	"timing/image gate":             `<script>const i = new Image(); i.onload = () => i.decode().then(() => p.append("done " + i.naturalWidth)); i.src = "/pixel"</script>`,
	"timing/style gate":             `<script>const l = document.createElement("link"); l.rel = "stylesheet"; l.href = "/style.css"; l.onload = () => p.append("done"); document.head.append(l)</script>`,
	"timing/frame's message":        `<script>onmessage = (e) => p.append(e.data == "from frame" ? "done" : "")</script><iframe src="/frame"></iframe>`,
	"timing/hanging request":        `<script>fetch("/hang"); setTimeout(() => fetch("/api/x").then(() => p.append("done")), 1000)</script>`,
	"timing/event source":           `<script>new EventSource("/events").onmessage = (e) => p.append(e.data == "event" ? "done" : "")</script>`,
	"timing/event source, timer":    `<script>new EventSource("/events"); setTimeout(() => p.append("done"), 2000)</script>`,
	"timing/late event":             `<script>new EventSource("/late-events").onmessage = (e) => p.append(e.data == "event" ? "done" : "")</script>`,
	"timing/web socket":             `<script>new WebSocket(location.href.replace("http", "ws") + "hang"); setTimeout(() => p.append("done"), 2000)</script>`,
	"timing/web socket's messages":  `<script>const s = new WebSocket(location.href.replace("http", "ws") + "socket"); s.onopen = () => s.send("join"); s.onmessage = (e) => p.append(e.data)</script>`,
	"timing/server's clock":         `<script>fetch("/now").then((r) => r.text()).then((t) => p.append(Math.abs(Date.now() - t) < 4000 ? "done" : "apart by " + (Date.now() - t)))</script>`,
	"timing/clock in words":         `<script>const f = new Intl.DateTimeFormat("en", { dateStyle: "short", timeStyle: "short" }); const a = f.format(), b = f.format(Date.now()), c = f.formatToParts().map((x) => x.value).join(""); p.append(a == b && c == b && f.format === f.format && ["x"].map(() => f.format(0))[0].startsWith("1/1/70") ? "done" : [a, b, c].join(" | "))</script>`,
	"timing/clock":                  `<script>const a = Date.now(), b = performance.now(); setTimeout(() => { const c = Date.now() - a, d = performance.now() - b; p.append(c >= 999 && c < 1100 && d >= 999 && d < 1100 && b < 1000 && new Date() - new Date(a) == c && new Date().constructor === Date ? "done" : [a, b, c, d].join()) }, 1000)</script>`,
	"timing/ready early":            `<script>window.prerenderReady = true; fetch("/api/x").then(() => p.append("done"))</script>`,
	"timing/ready with an event":    `<script>prerenderReady = false; new EventSource("/news").onmessage = (e) => { p.append("done"); prerenderReady = true }</script>`,
	"timing/ready late":             `<script>window.prerenderReady = false; setTimeout(() => { p.append("done"); prerenderReady = true }, 8000)</script>`,

	"timing/transition":         `<style>#d { opacity: 0; transition: opacity 1s } #d.in { opacity: 1 }</style><div id=d>x</div><script>d.addEventListener("transitionend", (e) => p.append(e.propertyName == "opacity" && getComputedStyle(d).opacity == 1 ? "done" : "early")); setTimeout(() => d.classList.add("in"), 100)</script>`,
	"timing/CSS animation":      `<style>@keyframes k { from { left: 0 } to { left: 9px } } #d { animation: k 2s 1s }</style><div id=d>x</div><script>d.onanimationend = (e) => p.append(e.animationName == "k" ? "done" : "")</script>`,
	"timing/scripted animation": `<div id=d>x</div><script>d.animate({ opacity: [0, 1] }, 800).onfinish = () => d.animate({ opacity: [1, 0] }, 800).finished.then(() => p.append("done"))</script>`,
	"timing/endless CSS":        `<style>@keyframes k { to { rotate: 1turn } } #d { animation: k 1s infinite }</style><div id=d>x</div><script>d.onanimationend = () => p.append("never"); fetch("/api/x").then(() => p.append("done"))</script>`,
	"timing/view transition":    `<script>const show = () => p.append("done"); document.startViewTransition ? document.startViewTransition(show) : show()</script>`,
	"timing/geolocation":        `<script>navigator.geolocation.getCurrentPosition(() => p.append("position"), (e) => p.append(e.code == 1 ? "done" : "error " + e.code))</script>`,
	"timing/permissions":        `<script>Promise.all([Notification.requestPermission(), navigator.permissions.query({ name: "geolocation" }).then((s) => s.state)]).then((s) => p.append(s.includes("granted") ? "granted" : "done"))</script>`,
	"timing/print and close":    `<script>print(); close(); stop; setTimeout(() => p.append("done"), 100)</script>`,
	"timing/fonts":              `<style>@font-face { font-family: f; src: url(/hang-not-found.woff) }</style><div style="font-family: f">x</div><script>document.fonts.ready.then(() => p.append("done"))</script>`,

	"lazy/image":               `<div style="height: 9000px"></div><img loading=lazy src="/pixel" onload="p.append('done')">`,
	"lazy/frame":               `<script>onmessage = (e) => p.append(e.data == "from frame" ? "done" : "")</script><div style="height: 9000px"></div><iframe loading=lazy src="/frame"></iframe>`,
	"lazy/growing":             `<div id=d style="height: 9px">x</div><script>const seen = []; new ResizeObserver((e) => { seen.push(e[0].contentRect.height); if (seen.join() == "9,50") p.append("done") }).observe(d); setTimeout(() => d.style.height = "50px", 700)</script>`,
	"lazy/near":                `<div id=d>x</div><script>new IntersectionObserver((e) => e[0].isIntersecting && p.append("done")).observe(d)</script>`,
	"lazy/far below":           `<div style="height: 20000px"></div><div id=d>x</div><script>new IntersectionObserver((e, o) => { if (e.some((x) => x.isIntersecting)) { o.disconnect(); fetch("/api/x").then(() => p.append("done")) } }).observe(d)</script>`,
	"lazy/shown later":         `<div id=d style="display: none">x</div><script>new IntersectionObserver((e) => e[0].isIntersecting && p.append("done")).observe(d); setTimeout(() => d.style.display = "", 500)</script>`,
	"lazy/never shown":         `<div id=d style="display: none">x</div><script>let n = 0; new IntersectionObserver((e) => { for (const x of e) if (x.isIntersecting) n++ }).observe(d); setTimeout(() => p.append(n == 0 ? "done" : "seen"), 1000)</script>`,
	"lazy/scroll listener":     `<div style="height: 9000px"></div><div id=d>x</div><script>addEventListener("scroll", () => { if (d.getBoundingClientRect().top < innerHeight && !p.textContent) p.append("done") })</script>`,
	"lazy/smooth scrolling":    `<style>html { scroll-behavior: smooth }</style><div style="height: 9000px"></div><div id=d>x</div><script>addEventListener("scroll", () => { if (d.getBoundingClientRect().top < innerHeight && !p.textContent) p.append("done") })</script>`,
	"lazy/scroller":            `<div id=s style="height: 300px; overflow: auto; scroll-behavior: smooth"><div id=d style="height: 5000px"></div></div><script>let n = 0; s.addEventListener("scroll", () => { if (s.scrollTop + s.clientHeight < s.scrollHeight - 9 || n++ > 0) return; fetch("/api/x").then(() => { d.style.height = "6000px"; setTimeout(() => p.append(s.scrollTop === 0 ? "done" : "not at its top"), 3000) }) }, { passive: true })</script>`,
	"lazy/scroll by frames":    `<div style="height: 4000px"></div><div id=d>x</div><script>let t; addEventListener("scroll", () => { if (t) return; t = 1; requestAnimationFrame(() => { t = 0; if (d.getBoundingClientRect().top < innerHeight && !p.textContent) p.append("done") }) })</script>`,
	"lazy/scroll throttled":    `<div style="height: 4000px"></div><div id=d>x</div><script>let t; addEventListener("scroll", () => { t ??= setTimeout(() => { t = null; if (d.getBoundingClientRect().top < innerHeight && !p.textContent) p.append("done") }, 100) })</script>`,
	"lazy/scroll debounced":    `<div style="height: 4000px"></div><div id=d>x</div><script>let t; addEventListener("scroll", () => { clearTimeout(t); t = setTimeout(() => { if (d.getBoundingClientRect().top < innerHeight && !p.textContent) p.append("done") }, 100) })</script>`,
	"lazy/counts when seen":    `<div style="height: 4000px"></div><b id=d>0</b><script>let t; addEventListener("scroll", () => { if (!t && d.getBoundingClientRect().top < innerHeight) t = setInterval(() => { if (++d.textContent == 40) { clearInterval(t); p.append("done") } }, 100) })</script>`,
	"lazy/back at the top":     `<body><div style="height: 4000px"></div><p id=q>scrolled</p><script>let t; addEventListener("scroll", () => { t ??= setTimeout(() => { t = null; q.textContent = scrollY > 50 ? "scrolled" : "done" }, 100) })</script>`,
	"lazy/endless observers":   `<div id=s></div><script>let o, n = 0; const load = async () => { await fetch("/api/x"); for (let i = 0; i < 10; i++) { const e = document.createElement("div"); e.style.height = "200px"; s.before(e) } o?.disconnect(); if (++n === 3) p.append("done"); o = new IntersectionObserver((e) => e[0].isIntersecting && load()); o.observe(s) }; load()</script>`,
	"lazy/shown much later":    `<div id=d style="display: none">x</div><script>new IntersectionObserver((e) => e[0].isIntersecting && e[0] instanceof IntersectionObserverEntry && p.append("done")).observe(d); setTimeout(() => d.style.display = "", 4500)</script>`,
	"timing/prefetch":          `<link rel=prefetch href=/hang><script>setTimeout(() => p.append("done"), 100)</script>`,
	"timing/frame counters":    `<script>for (let i = 0; i < 4; i++) { let n = 0; const b = document.createElement("b"); p.append(b); const f = () => { b.textContent = ++n; if (n < 100) requestAnimationFrame(f); else p.append("d,o,n,e".split(",")[i]) }; requestAnimationFrame(f) } requestAnimationFrame(() => { throw new Error("one of them") }); setTimeout(() => { if (p.textContent.match(/100/g).length === 4) p.textContent = "done" }, 3000)</script>`,
	"timing/finished":          `<style>b { transition: opacity 1s } .out { opacity: 0 }</style><b id=b>bye</b><script>setTimeout(async () => { b.className = "out"; await Promise.all(b.getAnimations().map((a) => a.finished)); b.remove(); const a = new Animation(new KeyframeEffect(p, { opacity: [0, 1] }, 300)); a.play(); await a.finished; p.append("done") }, 50)</script>`,
	"timing/insertion":         `<style>@keyframes here { from { opacity: 1 } } i { animation: here 1ms }</style><script>addEventListener("animationstart", (e) => e.animationName === "here" && p.append("done")); setTimeout(() => p.append(document.createElement("i")), 100)</script>`,
	"timing/database cursor":   `<script>const o = indexedDB.open("c", 1); o.onupgradeneeded = () => { const s = o.result.createObjectStore("s"); for (let i = 0; i < 60; i++) s.put(i, i) }; o.onsuccess = () => { let n = 0; o.result.transaction("s").objectStore("s").openCursor().onsuccess = (e) => { if (e.target.result) { n++; e.target.result.continue() } else if (n === 60) p.append("done") } }</script>`,
	"timing/file reader":       `<script>fetch("/api/x").then((r) => r.blob()).then((b) => { const f = new FileReader(); f.onload = () => { if (f.result.startsWith("data:")) p.append("done") }; f.readAsDataURL(b) })</script>`,
	"lazy/carousel":            `<div id=s style="width: 300px; overflow-x: scroll; white-space: nowrap"><span style="display: inline-block; width: 2000px">x</span><span id=d>x</span></div><script>s.onscroll = () => { if (d.getBoundingClientRect().left < 300 && !p.textContent) p.append("done") }</script>`,
	"lazy/data-src":            `<div style="height: 5000px"></div><img id=i data-src="/pixel"><script>new IntersectionObserver((e) => { if (e[0].isIntersecting) { i.src = i.dataset.src; i.onload = () => p.append("done") } }).observe(i)</script>`,
	"lazy/resize observer":     `<div id=d>x</div><script>new ResizeObserver((e) => p.append(e[0].contentRect.width > 0 ? "done" : "")).observe(d)</script>`,
	"lazy/endless list":        `<ul id=u></ul><div id=d>x</div><script>const more = () => fetch("/api/x").then(() => { for (let i = 0; i < 5; i++) u.append(document.createElement("li")); o.unobserve(d); o.observe(d); p.textContent = "done" }); const o = new IntersectionObserver((e) => e.at(-1).isIntersecting && more()); o.observe(d)</script>`,
	"style/insertRule":         `<style id=s></style><script>s.sheet.insertRule(".done { top: 0 }")</script>`,
	"style/adopted":            `<script>const s = new CSSStyleSheet(); s.replaceSync(".done { top: 0 }"); document.adoptedStyleSheets = [s]</script>`,
	"shadow/open":              `<div id=d></div><script>d.attachShadow({mode: "open"}).innerHTML = "<b>done</b>"</script>`,
	"shadow/closed":            `<div id=d></div><script>d.attachShadow({mode: "closed"}).innerHTML = "<b>done</b>"</script>`,
	"shadow/nested":            `<div id=d></div><script>const r = d.attachShadow({mode: "open"}); r.innerHTML = "<i></i>"; r.firstChild.attachShadow; const e = document.createElement("div"); r.append(e); e.attachShadow({mode: "closed"}).innerHTML = "<b>done</b>"</script>`,
	"shadow/slotted":           `<div id=d><b slot=s>done</b><b>default</b></div><script>d.attachShadow({mode: "open"}).innerHTML = "<h1>[<slot name=s></slot>]</h1><slot></slot><slot name=none>fallback</slot>"</script>`,
	"shadow/declarative":       `<div><template shadowrootmode="open"><style>:host { color: red }</style><b>done</b></template></div>`,
	"shadow/constructed sheet": `<div id=d></div><script>const s = new CSSStyleSheet(); s.replaceSync(":host(.x) b, ::slotted(i) { color: red }"); const r = d.attachShadow({mode: "open"}); r.adoptedStyleSheets = [s]; r.innerHTML = "<b>done</b>"</script>`,
}

// also are further demands on the HTML of some pages.
var fidelityAlso = map[string][]string{
	"shadow/slotted":           {"<h1>[<b slot=\"s\">done</b>]</h1><b>default</b>fallback</div>"},
	"shadow/declarative":       {`<style>:where([data-shadow-host="1"]) { color: red; }</style></head>`, `<style data-shadow-tree="1"></style><b data-shadow-tree="1">done</b>`},
	"shadow/constructed sheet": {`:is(.x):where([data-shadow-host="1"]) b[data-shadow-tree="1"], :is(i):where([data-shadow-slotted="1"]) { color: red; }`},
}

// What a site may ask for.
func TestRenderRules(t *testing.T) {
	t.Parallel()
	const shadow = `<div id=d><b slot=s>light</b></div><script>const s = new CSSStyleSheet(); s.replaceSync("b { color: red }"); const r = d.attachShadow({mode: "closed"}); r.adoptedStyleSheets = [s]; r.innerHTML = "<style>:host { top: 0 }</style><h1><slot name=s></slot></h1>"</script>`
	url := serve(t, map[string]http.HandlerFunc{
		"/shadow":  html(shadow),
		"/away":    html(`<script>location = "/meta"</script>`),
		"/meta":    html(`<meta http-equiv=refresh content="0; url=/there">`),
		"/there":   html("<p>there</p>"),
		"/endless": html(`<script>let n = 0; onload = () => location = "/endless?" + Math.random()</script>`),
		"/language": func(w http.ResponseWriter, r *http.Request) {
			html("<p id=p>"+r.Header.Get("Accept-Language")+"</p><script>p.append(' ' + navigator.language + ' ' + Intl.DateTimeFormat().resolvedOptions().timeZone + ' ' + matchMedia('(prefers-reduced-motion: reduce)').matches)</script>")(w, r)
		},
	})
	capture := func(path string, rule prerender.RenderRule) *chrome.Capture {
		t.Helper()
		page := pageAt(t, url+path, prerender.Desktop)
		page.Rule.Rendering = rule
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		c, err := shared.Capture(ctx, page, chrome.Options{})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	wantBody(t, capture("/shadow", prerender.RenderRule{DeclarativeShadow: true}), []string{
		`<div id="d"><template shadowrootmode="open"><style>:host { top: 0 }</style><h1><slot name="s"></slot></h1><style>b { color: red; }</style></template><b slot="s">light</b></div>`,
	}, nil)
	if c := capture("/away", prerender.RenderRule{}); c.Status != http.StatusFound || c.Header.Get("Location") != url+"/meta" {
		t.Errorf("not followed: got %d to %q, want 302 to /meta", c.Status, c.Header.Get("Location"))
	}
	followed := capture("/away", prerender.RenderRule{FollowRedirects: true})
	wantBody(t, followed, []string{"<p>there</p>"}, nil)
	if followed.Status != http.StatusOK {
		t.Errorf("followed: got status %d, want 200", followed.Status)
	}
	if c := capture("/endless", prerender.RenderRule{FollowRedirects: true}); c.Status != http.StatusFound {
		t.Errorf("endless: got status %d, want 302 in the end", c.Status)
	}
	wantBody(t, capture("/language", prerender.RenderRule{Language: "de-CH,de"}), []string{"de-CH,de;q=0.9 de-CH UTC true"}, nil)
	wantBody(t, capture("/language", prerender.RenderRule{}), []string{"en-US,en;q=0.9 en-US UTC true"}, nil)
}

// Tabs share nothing, and still the origin is asked once for what it has
// declared immutable.
func TestImmutableScriptIsFetchedOnce(t *testing.T) {
	t.Parallel()
	var scripts atomic.Int64
	url := serve(t, map[string]http.HandlerFunc{
		"/": html(`<p id=p></p><script src="/app.js"></script>`),
		"/app.js": func(w http.ResponseWriter, r *http.Request) {
			scripts.Add(1)
			w.Header().Set("Content-Type", "text/javascript")
			w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
			io.WriteString(w, `p.append("done")`)
		},
	})
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() { wantBody(t, render(t, url+"/"), []string{"done"}, nil) })
	}
	all.Wait()
	if got := scripts.Load(); got != 1 {
		t.Errorf("got %d requests for the script, want 1", got)
	}
}

func TestFidelity(t *testing.T) {
	t.Parallel()
	for name, body := range fidelityPages {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := fidelitySite(t, body)
			for visit := range 2 { // in a new tab, and in one that has been used
				c := render(t, url+"/")
				html := string(c.Body)
				if !strings.Contains(html, "done") || c.Partial != "" {
					t.Errorf("visit %d: got partial %q, phases %v, HTML %s", visit, c.Partial, c.Phases, html)
				}
				if warnings := strings.Join(c.Warnings, "; "); strings.Contains(warnings, "no more of the answer") || strings.Contains(warnings, "has not answered") || name == "timing/prefetch" && warnings != "" {
					t.Errorf("it was waited for in vain: %s", warnings)
				}
				wantBody(t, c, fidelityAlso[name], []string{"<script", "shadowrootmode", "<slot", "never"})
			}
		})
	}
}

// The fallback for sites that do not bear a jumping clock.
func TestRealTime(t *testing.T) {
	t.Parallel()
	page := pageAt(t, fidelitySite(t, fidelityPages["timing/fetch chain"])+"/", prerender.Desktop)
	if _, err := shared.Capture(t.Context(), page, chrome.Options{}); err != nil { // its tab's clock stands still now
		t.Fatal(err)
	}
	page.Rule.Rendering.RealTime = true
	for range 2 {
		c, err := shared.Capture(t.Context(), page, chrome.Options{})
		if err != nil {
			t.Fatal(err)
		}
		wantBody(t, c, []string{"done"}, nil)
	}
}

// A page gets its budget and no more; its neighbours and the next one notice
// nothing.
func TestHostilePages(t *testing.T) {
	t.Parallel()
	for name, body := range map[string]string{
		"endless script":     `<p>made</p><script>for (;;);</script>`,
		"endless microtasks": `<p>made</p><script>const f = () => Promise.resolve().then(f); f()</script>`,
		"endless timers":     `<p>made</p><script>const f = () => setTimeout(f, 0); for (let i = 0; i < 100; i++) f()</script>`,
		"endless history":    `<p>made</p><script>setInterval(() => { try { history.pushState(0, "", "/?" + Math.random()) } catch {} }, 0)</script>`,
		"DOM bomb":           `<p>made</p><script>const e = document.body; setInterval(() => { for (let i = 0; i < 5000; i++) e.append(document.createElement("i")) }, 0)</script>`,
		"doubling DOM":       `<p>made</p><div id=d><i></i></div><script>const f = () => { d.append(d.cloneNode(true)); setTimeout(f, 0) }; f()</script>`,
		"heap bomb":          `<p>made</p><script>const a = []; setInterval(() => { for (let i = 0; i < 20; i++) a.push(new Array(1e5).fill(Math.random())) }, 0)</script>`,
		"buffer bomb":        `<p>made</p><script>const a = []; setInterval(() => { try { a.push(new Uint8Array(1 << 26).fill(1)) } catch { a.length = 0 } }, 0)</script>`,
		"popup storm":        `<p>made</p><a id=a target=_blank href="/"></a><script>for (let i = 0; i < 500; i++) { open("/?" + i); a.click() }; setInterval(() => open("/"), 1)</script>`,
		"frames in frames":   `<p>made</p><script>if (location.search.length < 12) { const f = document.createElement("iframe"); f.src = location.pathname + (location.search || "?") + "x"; document.body.append(f, f.cloneNode()) }</script>`,
		"endless messages":   `<p>made</p><script>onmessage = () => postMessage(1); postMessage(1)</script>`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := fidelitySite(t, body)
			c, err := captureWith(t, shared, url+"/", 10*time.Second, chrome.Options{})
			// A page that wants more memory than it may have ends its process.
			outOfMemory := strings.Contains(name, "bomb") && errors.Is(err, prerender.ErrRendererDown)
			if err != nil && !outOfMemory && !errors.Is(err, prerender.ErrRenderTimeout) {
				t.Errorf("got %v, want a page or ErrRenderTimeout", err)
			}
			if err == nil && !strings.Contains(string(c.Body), "made") {
				t.Errorf("got %s", c.Body)
			}
			if strings.HasPrefix(name, "endless script") || strings.HasPrefix(name, "endless microtasks") {
				if err != nil {
					t.Error(err)
				} else if !strings.Contains(c.Partial, "its own scripts") {
					t.Errorf("got partial %q, want the reason", c.Partial)
				}
			}
			wantBody(t, render(t, url+"/fine"), []string{"fine"}, nil)
		})
	}
}

// While a page takes all it can get, others are under way in the same Chromium.
func TestHostilePageAmongOthers(t *testing.T) {
	r, _ := own(t, loopback, 4)
	const timeout = 8 * time.Second
	for _, bomb := range []string{
		`<script>for (;;);</script>`,
		`<script>const a = []; setInterval(() => { for (let i = 0; i < 20; i++) a.push(new Array(1e5).fill(Math.random())) }, 0)</script>`,
		`<script>onbeforeunload = () => "stay"; for (;;) alert(1)</script>`,
	} {
		url := fidelitySite(t, bomb)
		var all sync.WaitGroup
		for i := range 3 {
			all.Go(func() {
				c, err := captureWith(t, r, fidelitySite(t, fidelityPages["timing/slow API"])+"/", prerender.DefaultTimeout, chrome.Options{})
				if err != nil || c.Partial != "" || !strings.Contains(string(c.Body), "done") {
					t.Errorf("%s: neighbour %d: got %+v, %v", bomb, i, c, err)
				}
			})
		}
		start := time.Now()
		_, err := captureWith(t, r, url+"/", timeout, chrome.Options{})
		if took := time.Since(start); took > timeout+2*time.Second {
			t.Errorf("%s: it was given %v of its %v (%v)", bomb, took, timeout, err)
		}
		all.Wait()
		c, err := captureWith(t, r, url+"/fine", prerender.DefaultTimeout, chrome.Options{})
		if err != nil || !strings.Contains(string(c.Body), "fine") {
			t.Errorf("%s: the site's next page: got %+v, %v", bomb, c, err)
		}
	}
}

// A page for which the clock had to go on without a request leaves the next one in its tab
// a clock that is right.
func TestClockAfterHangingRequest(t *testing.T) {
	r, _ := own(t, loopback, 1, func(c *chrome.Config) { c.TidyFirst = true })
	url := serve(t, map[string]http.HandlerFunc{
		"/hangs": html(`<p id=p></p><script>fetch("/hang"); setTimeout(() => p.append("done"), 4000)</script>`),
		"/timer": html(`<p id=p></p><script>setTimeout(() => p.append("done"), 4000)</script>`),
		"/hang":  func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
	})
	for _, path := range []string{"/hangs", "/timer", "/timer"} {
		c, err := captureWith(t, r, url+path, prerender.DefaultTimeout, chrome.Options{})
		if err != nil {
			t.Fatal(err)
		}
		wantBody(t, c, []string{"done"}, nil)
	}
}

// What a partial page says it was waiting for.
func TestPartialSaysWhy(t *testing.T) {
	t.Parallel()
	for page, want := range map[string]string{
		`<p>x</p><script>let i = 0; const f = () => fetch("/slow/" + i++).then(f); f()</script>`: "requests without an answer: http://",
		`<p>x</p><script>fetch("/api/x").then(() => { for (;;); })</script>`:                     "its own scripts",
	} {
		c, err := captureWith(t, shared, fidelitySite(t, page)+"/", 8*time.Second, chrome.Options{})
		if err != nil {
			t.Errorf("%s: %v", page, err)
		} else if !strings.Contains(c.Partial, want) || !strings.Contains(string(c.Body), "<p>x</p>") {
			t.Errorf("%s: got %s, which was waiting for %q; want %q", page, c.Body, c.Partial, want)
		}
	}
}

// Most sites are served by TLS, and ask an API at another address.
func TestTLS(t *testing.T) {
	var scripts atomic.Int64
	api := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Access-Control-Allow-Origin", r.Header.Get("Origin"))
		w.Header().Set("Access-Control-Allow-Credentials", "true")
		w.Header().Set("Access-Control-Allow-Headers", "X-Tenant")
		if r.Method == http.MethodOptions && r.Header.Get("Access-Control-Request-Headers") == "x-tenant" {
			return
		}
		if r.Header.Get("X-Tenant") != "shop" || r.Header.Get("X-Prerender") != "" {
			http.Error(w, "headers", http.StatusBadRequest)
			return
		}
		io.WriteString(w, "done")
	}))
	defer api.Close()
	mux := http.NewServeMux()
	mux.HandleFunc("/", html(`<p id=p></p><script src="/app.js"></script>`))
	mux.HandleFunc("/app.js", func(w http.ResponseWriter, r *http.Request) {
		scripts.Add(1)
		w.Header().Set("Content-Type", "text/javascript")
		w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
		fmt.Fprintf(w, `fetch("%s/item", { credentials: "include", headers: { "X-Tenant": "shop" } }).then((r) => r.text()).then((t) => p.append(t))`, api.URL)
	})
	site := httptest.NewTLSServer(mux)
	defer site.Close()
	key := sha256.Sum256(site.Certificate().RawSubjectPublicKeyInfo) // both have the same
	r, _ := own(t, loopback, 1, func(c *chrome.Config) {
		c.TidyFirst = true
		c.Flags = []string{"--ignore-certificate-errors-spki-list=" + base64.StdEncoding.EncodeToString(key[:])}
	})
	for range 3 {
		c, err := captureWith(t, r, site.URL+"/", prerender.DefaultTimeout, chrome.Options{})
		if err != nil {
			t.Fatal(err)
		}
		wantBody(t, c, []string{"<p id=\"p\">done</p>"}, nil)
	}
	if got := scripts.Load(); got != 1 {
		t.Errorf("got %d requests for the script in one tab, want 1", got)
	}
}

// The table of docs/fidelity.md names the pages.
func TestFidelityDocument(t *testing.T) {
	t.Parallel()
	doc, err := os.ReadFile("../../docs/fidelity.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, group := range []string{"timing", "lazy"} {
		var names []string
		for name := range fidelityPages {
			if rest, ok := strings.CutPrefix(name, group+"/"); ok {
				names = append(names, strings.ReplaceAll(rest, ", ", " and "))
			}
		}
		slices.Sort(names)
		if row := "| " + group + " | " + strings.Join(names, ", "); !strings.Contains(string(doc), row) {
			t.Errorf("docs/fidelity.md lacks:\n%s", row)
		}
	}
}

// Whatever the origin's encoding, the answer is UTF-8 and says so.
func TestEncodings(t *testing.T) {
	t.Parallel()
	utf16 := []byte{0xff, 0xfe}
	for _, r := range "<html><head><meta charset=utf-16></head><body>é日</body></html>" {
		utf16 = append(utf16, byte(r), byte(r>>8))
	}
	for name, tt := range map[string]struct{ contentType, body, want, meta string }{
		"ISO-8859-1 by header":  {"text/html; charset=iso-8859-1", "<html><head><title>x</title></head><body>caf\xe9</body></html>", "café", `<head><meta charset="utf-8"><title>`},
		"Shift_JIS by header":   {"text/html; charset=Shift_JIS", "<html><head></head><body>\x93\xfa\x96{</body></html>", "日本", `<meta charset="utf-8">`},
		"EUC-JP by header":      {"text/html; charset=EUC-JP", "<html><head></head><body>\xc6\xfc\xcb\xdc</body></html>", "日本", `<meta charset="utf-8">`},
		"GBK by meta":           {"text/html", "<html><head><meta charset=gbk></head><body>\xc8\xd5\xb1\xbe</body></html>", "日本", `<meta charset="utf-8">`},
		"UTF-16BE by header":    {"text/html; charset=utf-16be", "\x00<\x00p\x00>\x00\xe9\x65\xe5", "é日", `<meta charset="utf-8">`},
		"ISO-8859-1 by meta":    {"text/html", "<html><head><meta charset=\"ISO-8859-1\"></head><body>caf\xe9</body></html>", "café", `<meta charset="utf-8">`},
		"Shift_JIS by old meta": {"text/html", "<html><head><meta http-equiv=Content-Type content=\"text/html; charset=Shift_JIS\"></head><body>\x93\xfa\x96{</body></html>", "日本", `content="text/html; charset=utf-8"`},
		"UTF-16 by mark":        {"text/html", string(utf16), "é日", `<meta charset="utf-8">`},
	} {
		url := serve(t, map[string]http.HandlerFunc{"/": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", tt.contentType)
			io.WriteString(w, tt.body)
		}})
		c := render(t, url+"/")
		if html := string(c.Body); !strings.Contains(html, tt.want) || !strings.Contains(html, tt.meta) || c.Header.Get("Content-Type") != "text/html; charset=utf-8" {
			t.Errorf("%s: got %q as %q, want %q and %q", name, html, c.Header.Get("Content-Type"), tt.want, tt.meta)
		}
	}
}

func TestLargePages(t *testing.T) {
	t.Parallel()
	url := serve(t, map[string]http.HandlerFunc{
		"/nodes": html(`<ul id=u></ul><script>for (let i = 0; i < 20000; i++) { const e = document.createElement("li"); e.textContent = i; u.append(e) }</script>`),
		"/deep":  html(`<div id=d></div><script>let e = d; for (let i = 0; i < 5000; i++) { const c = document.createElement("i"); e.append(c); e = c } e.textContent = "bottom"</script>`),
		"/text":  html(`<p id=p></p><script>p.textContent = "x<é ".repeat(1 << 20) + "end"</script>`),
	})
	wantLarge := func(path, last string, size int) {
		t.Helper()
		if c := render(t, url+path); !strings.Contains(string(c.Body), last) || len(c.Body) < size || c.Partial != "" {
			t.Errorf("%s: got %d bytes, partial %q; want %q and at least %d bytes", path, len(c.Body), c.Partial, last, size)
		}
	}
	wantLarge("/nodes", "<li>19999</li>", 20000*len("<li>1</li>"))
	wantLarge("/deep", "bottom</i></i>", 5000*len("<i></i>"))
	wantLarge("/text", "end</p>", 4<<20)
}
