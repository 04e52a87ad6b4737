package chrome_test

import (
	"net/http"
	neturl "net/url"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stillpage/stillpage/internal/prerender"
)

func decoded(r *http.Request) string {
	s, _ := neturl.QueryUnescape(r.URL.RawQuery)
	return s
}

// What is on a page, in numbers: shadow trees count, and what nobody reads does not.
func TestContent(t *testing.T) {
	t.Parallel()
	url := serve(t, map[string]http.HandlerFunc{
		"/full": html(`<title> The title </title><link rel="alternate canonical" href=/full>
<script type="application/ld+json">{"a": 1}</script><script>var unread = "unread"</script><style>p { top: 0 }</style>
<p>12345</p><template><p>unread</p><a href=x></a></template><noscript>unread</noscript><select><option>unread</select>
<a href=/1>6</a><a name=x>7</a><svg><text>8</text></svg><img src=data:,><canvas></canvas><div id=host></div>
<script>host.attachShadow({ mode: "closed" }).innerHTML = "<b>9</b><a href=/2>0</a>"</script>`),
		"/empty": html(`<title>App</title><div id=root></div><script>1</script>`),
		"/calls": func(w http.ResponseWriter, r *http.Request) {
			html("<p>text</p><script>"+decoded(r)+"</script>")(w, r)
		},
		"/500":  func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(500) },
		"/hang": func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"/404":  func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(404) },
		"/ok":   func(w http.ResponseWriter, r *http.Request) {},
		"/cut": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "100")
			w.Write([]byte("begin"))
			panic(http.ErrAbortHandler)
		},
		"/file": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/plain")
			w.Write([]byte("text"))
		},
	})
	for kind, want := range map[string]int{
		"fetch('/500').catch(() => 0)": 1, "fetch('/404')": 0, "fetch('/ok')": 0,
		"fetch('/hang')": 1, "fetch('/500'), fetch('/500?2')": 2, "x = new XMLHttpRequest, x.open('GET', '/500'), x.send()": 1,
		"fetch('http://other.example/500').catch(() => 0)": 0, "new Image().src = '/500'": 0,
		"c = new AbortController, fetch('/ok', c).catch(() => 0), c.abort()": 0, "fetch('/cut').then((r) => r.text()).catch(() => 0)": 1,
	} {
		if got := render(t, url+"/calls?"+neturl.QueryEscape(kind)).Content.Failed; got != want {
			t.Errorf("%s: got %d failed calls, want %d", kind, got, want)
		}
	}
	want := &prerender.Content{Text: 10, Links: 2, Images: 3, Data: 1, Title: "The title", Canonical: "/full"}
	if diff := cmp.Diff(want, render(t, url+"/full").Content); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(&prerender.Content{Title: "App"}, render(t, url+"/empty").Content); diff != "" {
		t.Errorf("empty (-want +got):\n%s", diff)
	}
	if got := render(t, url+"/file").Content; got != nil {
		t.Errorf("file: got %+v, want none", got)
	}
}
