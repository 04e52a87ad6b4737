package chrome_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	neturl "net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stillpage/stillpage/internal/chrome"
	"github.com/stillpage/stillpage/internal/prerender"
)

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
		"/pdf":   answer(200, "Content-Type: application/pdf", "%PDF-1.4 small"),
		"/untyped": func(w http.ResponseWriter, r *http.Request) {
			w.Header()["Content-Type"] = nil // net/http would guess
			io.WriteString(w, r.URL.Query().Get("text"))
		},
		"/big": answer(200, "Content-Type: application/pdf\nContent-Length: 9000000", strings.Repeat("x", 9_000_000)),
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
		{"/pdf", 200, "Content-Type: application/pdf", "%PDF-1.4 small"},
		{"/untyped?text=%25PDF-1.4+small", 200, "Content-Type: application/pdf", "%PDF-1.4 small"},
		{"/untyped?text={%22a%22:1}", 200, "Content-Type: text/plain", `{"a":1}`},
		{"/untyped?text=<!doctype+html><p>page", 200, "Content-Type: text/html; charset=utf-8", "<p>page</p>"},
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

// A page that starts a download stays, and one that is sent to itself is not sent on.
func TestStaysOrGoes(t *testing.T) {
	t.Parallel()
	var once sync.Map
	url := serve(t, map[string]http.HandlerFunc{
		"/": func(w http.ResponseWriter, r *http.Request) {
			to, _ := neturl.QueryUnescape(r.URL.RawQuery)
			html(`<h1>Thanks</h1><script>setTimeout(() => location.href = "`+to+`", 1500)</script>`)(w, r)
		},
		"/refresh": html(`<h1>Thanks</h1><meta http-equiv=refresh content="1; url=/file.zip">`),
		"/file.zip": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Disposition", `attachment; filename="file.zip"`)
			io.WriteString(w, "PK")
		},
		"/bare.zip": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/zip")
			io.WriteString(w, "PK")
		},
		"/nothing": func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusNoContent) },
		"/page":    html("<p>page"),
		"/pdf": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/pdf")
			io.WriteString(w, "%PDF-1.4")
		},
		"/moved": func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/page", http.StatusFound) },
		"/gone": func(w http.ResponseWriter, r *http.Request) {
			conn, _, _ := w.(http.Hijacker).Hijack()
			conn.Close()
		},
		"/cookie": func(w http.ResponseWriter, r *http.Request) {
			if _, err := r.Cookie("seen"); err != nil {
				http.SetCookie(w, &http.Cookie{Name: "seen", Value: "1"})
				http.Redirect(w, r, r.URL.Path, http.StatusFound)
				return
			}
			html("<p>with a cookie")(w, r)
		},
		"/hints": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Accept-CH", "Sec-CH-Prefers-Color-Scheme, Device-Memory")
			w.Header().Set("Critical-CH", "Sec-CH-Prefers-Color-Scheme, Device-Memory")
			html("<p>with hints")(w, r)
		},
		"/twice": func(w http.ResponseWriter, r *http.Request) {
			if _, again := once.LoadOrStore("twice", true); again {
				http.Redirect(w, r, "/page", http.StatusMovedPermanently)
				return
			}
			http.Redirect(w, r, "/twice", http.StatusFound)
		},
	})
	for path, want := range map[string]string{
		"/?/file.zip": "200 Thanks", "/?/bare.zip": "200 Thanks", "/?/nothing": "200 Thanks", "/refresh": "200 Thanks",
		"/?/page": "302 /page", "/?/pdf": "302 /pdf", "/?/moved": "302 /moved", "/?/gone": "302 /gone",
		"/cookie": "200 with a cookie", "/hints": "200 with hints", "/twice": "301 /page",
	} {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			for range 2 {
				c := render(t, url+path)
				got := fmt.Sprint(c.Status, " ", strings.TrimPrefix(c.Header.Get("Location"), url))
				if c.Status == http.StatusOK {
					got += strings.NewReplacer("<h1>", "\n", "<p>", "\n", "</h1>", "\n", "</p>", "\n").Replace(string(c.Body))
				}
				if code, text, _ := strings.Cut(want, " "); !strings.HasPrefix(got, code) || !strings.Contains(got, text) {
					t.Errorf("got %q, want %q", got, want)
				}
				if path == "/twice" {
					break
				}
			}
		})
	}
}
