package chrome_test

import (
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stillpage/stillpage/internal/prerender"
)

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
		"/file": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/plain")
			w.Write([]byte("text"))
		},
	})
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
