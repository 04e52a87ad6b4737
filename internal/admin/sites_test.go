package admin_test

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stillpage/stillpage/internal/admin"
	"github.com/stillpage/stillpage/internal/boltstore"
	"github.com/stillpage/stillpage/internal/prerender"
)

// operator asks an API with a real store, which has one fixed site.
type operator struct {
	t     *testing.T
	store *boltstore.Store
	api   http.Handler
}

func newOperator(t *testing.T) *operator {
	store, err := boltstore.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	fixed, err := prerender.NewSiteList(prerender.Site{
		Origin: prerender.Origin{Scheme: "http", Host: "127.0.0.1:8080"}, Settings: prerender.Settings{Vary: &prerender.VaryRule{Mobile: true}},
	})
	if err != nil {
		t.Fatal(err)
	}
	quiet := slog.New(slog.DiscardHandler)
	api := &admin.API{Purger: &prerender.Purger{Store: store, Pages: store, Fixed: fixed}, Sites: store, Fixed: fixed, Log: quiet}
	return &operator{t, store, api.Handler()}
}

// ask returns the ETag and the body of an answer, which must have the status.
func (o *operator) ask(method, path, ifMatch, body string, status int) (etag, text string) {
	o.t.Helper()
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	if ifMatch != "" {
		r.Header.Set("If-Match", ifMatch)
	}
	w := httptest.NewRecorder()
	o.api.ServeHTTP(w, r)
	if w.Code != status {
		o.t.Fatalf("%s %s: got %d %s, want %d", method, path, w.Code, w.Body, status)
	}
	if media := w.Header().Get("Content-Type"); status >= 400 && media != "application/problem+json" {
		o.t.Errorf("%s %s: a problem of type %q", method, path, media)
	}
	if w.Header().Get("Cache-Control") != "no-store" {
		o.t.Errorf("%s %s may be kept by caches", method, path)
	}
	return w.Header().Get("ETag"), w.Body.String()
}

// A site's life: made, read, changed, purged, deleted, and nobody's change is lost.
func TestSiteLife(t *testing.T) {
	t.Parallel()
	o := newOperator(t)
	const path = "/v1/sites/www.example.com"
	o.ask("GET", path, "", "", 404)
	o.ask("PUT", path, "", `{"origin": "https://www.example.com"}`, 428)
	o.ask("PUT", path, `"7"`, `{"origin": "https://www.example.com"}`, 412)

	const first = `{"origin": "https://www.example.com", "vary": {"mobile": true}}`
	if _, text := o.ask("PUT", path+"?dryRun=true", `"0"`, first, 200); !strings.Contains(text, `"/vary"`) {
		t.Errorf("dry run: got %s", text)
	}
	o.ask("GET", path, "", "", 404)
	etag, _ := o.ask("PUT", path, `"0"`, first, 201)
	read, text := o.ask("GET", path, "", "", 200)
	if read != etag || !strings.Contains(text, `"mobile": true`) {
		t.Errorf("got %s %s, want what was put under %s", read, text, etag)
	}

	// What was read can be sent back; purges in between are kept.
	o.ask("POST", "/v1/purges?dryRun=true", "", `{"site": "https://www.example.com", "path": "/a"}`, 200)
	o.ask("POST", "/v1/purges", "", `{"site": "https://www.example.com", "path": "/a"}`, 204)
	again, text := o.ask("GET", path, "", "", 200)
	if strings.Contains(text, "purges") || again != etag {
		t.Errorf("purges are not the owner's to write: %s, %s after %s", text, again, etag)
	}
	next, text := o.ask("PUT", path, etag, strings.Replace(text, "true", "false", 1), 200)
	if next == etag || !strings.Contains(text, `"pointer": "/vary/mobile"`) {
		t.Errorf("got %s %s after %s", next, text, etag)
	}
	sites, err := o.store.Sites(t.Context())
	if err != nil || len(sites) != 1 || len(sites[0].Purges) != 1 || sites[0].Vary.Mobile {
		t.Errorf("stored: %+v, %v", sites, err)
	}

	var list struct {
		Sites []struct {
			Origin  string
			Version int64
		}
	}
	_, text = o.ask("GET", "/v1/sites", "", "", 200)
	if err := json.Unmarshal([]byte(text), &list); err != nil || len(list.Sites) != 2 || list.Sites[0].Origin != "http://127.0.0.1:8080" || list.Sites[0].Version != 0 || list.Sites[1].Version == 0 {
		t.Errorf("list: got %s, %v", text, err)
	}
	o.ask("DELETE", path, etag, "", 412)
	o.ask("DELETE", path, "", "", 428)
	if _, text := o.ask("DELETE", path+"?dryRun=true", next, "", 200); !strings.Contains(text, `"/vary"`) {
		t.Errorf("dry run: got %s", text)
	}
	o.ask("DELETE", path, strings.Trim(next, `"`), "", 200)
	o.ask("GET", path, "", "", 404)
	o.ask("GET", "/", "", "", 404)
}

// A site of flags or the template is changed like any other, and is itself again
// when what was stored is deleted.
func TestFixedSite(t *testing.T) {
	t.Parallel()
	o := newOperator(t)
	const path = "/v1/sites/127.0.0.1:8080"
	etag, text := o.ask("GET", path, "", "", 200)
	if etag != `"0"` {
		t.Errorf("got %s %s", etag, text)
	}
	etag, text = o.ask("PUT", path, etag, `{"origin": "http://127.0.0.1:8080", "lifetimes": {"success": {"fresh": "10m"}}}`, 201)
	if strings.Contains(text, "/vary") { // it is what the flags say, as before
		t.Errorf("what does not change is said to: %s", text)
	}
	sites, err := o.store.Sites(t.Context())
	if err != nil || len(sites) != 1 || sites[0].Lifetimes.Success.Fresh != 10*time.Minute {
		t.Errorf("stored: %+v, %v", sites, err)
	}
	if _, text := o.ask("GET", path, "", "", 200); strings.Contains(text, "mobile") {
		t.Errorf("what the flags say is stored: %s", text)
	}
	// Its purges outlive what was stored: its pages do.
	o.ask("POST", "/v1/purges", "", `{"site": "http://127.0.0.1:8080", "hard": true}`, 204)
	o.ask("DELETE", path, etag, "", 200)
	sites, err = o.store.Sites(t.Context())
	if err != nil || len(sites) != 1 || len(sites[0].Purges) != 1 || sites[0].Lifetimes.Success != nil {
		t.Errorf("after DELETE: %+v, %v", sites, err)
	}
}

// All faults are reported, with their places, and nothing is stored.
func TestSiteRefused(t *testing.T) {
	t.Parallel()
	o := newOperator(t)
	const path = "/v1/sites/www.example.com"
	_, text := o.ask("PUT", path, `"0"`, `{"origin": "https://www.example.com", "lifetimes": {"success": {"fresh": "1 day"}}, "vari": {}, "paths": [{"path": "blog"}]}`, 422)
	for _, want := range []string{`"pointer":"/lifetimes/success/fresh"`, `"pointer":"/vari"`} {
		if !strings.Contains(text, want) {
			t.Errorf("got %s, want %s", text, want)
		}
	}
	o.ask("PUT", path, `"0"`, `{"origin": "https://other.example.com"}`, 422)
	o.ask("PUT", path, `"0"`, `{"origin": "https://www.example.com", "version": 3}`, 422)
	o.ask("PUT", path, `"0"`, strings.Repeat(" ", 200_000), 413)
	o.ask("GET", "/v1/sites/a..b", "", "", 404)
	if sites, err := o.store.Sites(t.Context()); err != nil || len(sites) != 0 {
		t.Errorf("stored: %+v, %v", sites, err)
	}
	r := httptest.NewRequest("PUT", path, strings.NewReader(`{}`))
	r.Header.Set("Content-Type", "text/plain")
	w := httptest.NewRecorder()
	o.api.ServeHTTP(w, r)
	if w.Code != 415 {
		t.Errorf("a form: got %d", w.Code)
	}
}
