package health_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stillpage/stillpage/internal/health"
	"github.com/stillpage/stillpage/internal/prerender"
	"github.com/stillpage/stillpage/internal/telemetry"
)

// browser renders what it is told to.
type browser struct {
	rendering prerender.Rendering
	err       error
	asked     []string
}

func (b *browser) Render(_ context.Context, page prerender.Page) (*prerender.Rendering, error) {
	b.asked = append(b.asked, page.URL)
	return &b.rendering, b.err
}

var whole = prerender.Rendering{Status: 200, Body: []byte("<p>3 of 3 parts are well.</p>")}

func TestHealthIsARender(t *testing.T) {
	t.Parallel()
	clock := time.Now()
	b := &browser{rendering: whole}
	c := &health.Check{Renderer: b, Now: func() time.Time { return clock }}
	ask := func(want string, renders int) {
		t.Helper()
		before := len(b.asked)
		got := ""
		if err := c.Healthy(t.Context()); err != nil {
			got = err.Error()
		}
		if !strings.Contains(got, want) || (got == "") != (want == "") || len(b.asked)-before != renders {
			t.Errorf("got %q and %d renders, want %q and %d", got, len(b.asked)-before, want, renders)
		}
	}
	ask("", 1)
	ask("", 0) // a render of a moment ago is enough
	if b.asked[0] != "http://"+health.Host+"/" {
		t.Errorf("rendered %v", b.asked)
	}
	clock = clock.Add(31 * time.Second)
	b.err = errors.New("no browser")
	ask("no browser", 1)
	ask("no browser", 0) // and a failure too, for less
	clock = clock.Add(6 * time.Second)
	b.err = nil
	for _, bad := range []struct {
		rendering prerender.Rendering
		want      string
	}{
		{prerender.Rendering{Status: 200, Body: []byte("<p>Nothing is known yet.</p>")}, "without what its script writes"},
		{prerender.Rendering{Status: 200, Body: whole.Body, Partial: "scripts"}, "waiting for scripts"},
	} {
		b.rendering = bad.rendering
		ask(bad.want, 1)
		clock = clock.Add(6 * time.Second)
	}
	// Any page shows it; but one that did not finish, or the site's error, does not.
	page := prerender.Page{URL: "https://a.example/"}
	for _, r := range []prerender.Rendering{{Status: 502}, {Status: 200, Partial: "requests"}} {
		b.rendering = r
		c.Render(t.Context(), page)
		ask("cannot be rendered", 1)
		clock = clock.Add(6 * time.Second)
	}
	b.rendering = prerender.Rendering{Status: 404}
	c.Render(t.Context(), page)
	ask("", 0)
	clock = clock.Add(-time.Hour) // the clock was set back
	b.rendering = whole
	ask("", 1)
}

func TestHandler(t *testing.T) {
	t.Parallel()
	b, draining := &browser{rendering: whole}, false
	c := &health.Check{Renderer: b}
	h := c.Handler(func() bool { return draining })
	want := func(path string, status int, text string) {
		t.Helper()
		answer := httptest.NewRecorder()
		h.ServeHTTP(answer, httptest.NewRequest("GET", path, nil))
		if answer.Code != status || !strings.Contains(answer.Body.String(), text) {
			t.Errorf("%s: got %d %s, want %d %s", path, answer.Code, answer.Body, status, text)
		}
	}
	want("/health/ready", 200, "ok")
	draining = true
	want("/health/ready", 503, "draining")
	want("/health/live", 200, "ok")
	c = &health.Check{Renderer: &browser{err: errors.New("no browser")}}
	h = c.Handler(func() bool { return false })
	want("/health/ready", 503, "no browser")
	want("/health/live", 200, "ok") // to start it again would not help
}

// The page of its own needs its script.
func TestPage(t *testing.T) {
	t.Parallel()
	site, err := health.Listen()
	if err != nil {
		t.Fatal(err)
	}
	defer site.Close()
	address, ok := site.Routes()[health.Host+":80"]
	if !ok {
		t.Fatalf("got %v", site.Routes())
	}
	for path, want := range map[string]string{"/": "Nothing is known yet", "/parts": `["fetch", "timer", "frame"]`} {
		answer, err := http.Get("http://" + address + path)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(answer.Body)
		answer.Body.Close()
		if !strings.Contains(string(body), want) || strings.Contains(string(body), "3 of 3") {
			t.Errorf("%s: got %s", path, body)
		}
	}
}

func TestProbe(t *testing.T) {
	t.Parallel()
	status, header := 200, map[string]string{}
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.UserAgent() != health.Agent {
			t.Errorf("asked as %q", r.UserAgent())
		}
		for name, value := range header {
			w.Header().Set(name, value)
		}
		w.WriteHeader(status)
	}))
	defer site.Close()
	for _, c := range []struct {
		status        int
		cache, reason string
		want          string
	}{
		{200, "hit", "", ""},
		{404, "miss", "", ""}, // the site's own answer
		{200, "stale", "busy", ""},
		{200, "", "", "lacks X-Stillpage-Cache"},
		{503, "", "busy", "503, busy"},
		{502, "", "", "status 502"},
		{500, "hit", "", "status 500"},
	} {
		status, header = c.status, map[string]string{"X-Stillpage-Cache": c.cache, "X-Stillpage-Reason": c.reason}
		var r telemetry.Recorder
		err := health.Probe(t.Context(), site.Client(), site.URL, &r)
		if got := ""; err == nil != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: got %v%s", c, err, got)
		}
	}
	site.Close()
	if err := health.Probe(t.Context(), http.DefaultClient, site.URL, nil); err == nil {
		t.Error("nobody is there, and that is no failure")
	}
}
