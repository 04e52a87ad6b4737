package admin_test

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stillpage/stillpage/internal/control"
)

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
	o.ask("POST", "/v1/purges", "", `{"site": "https://www.example.com", "path": "/a"}`, 201)
	again, text := o.ask("GET", path, "", "", 200)
	if strings.Contains(text, "purges") || again != etag {
		t.Errorf("purges are not the owner's to write: %s, %s after %s", text, again, etag)
	}
	next, text := o.ask("PUT", path, etag, strings.Replace(text, "true", "false", 1), 200)
	if next == etag || !strings.Contains(text, `"pointer": "/vary/mobile"`) {
		t.Errorf("got %s %s after %s", next, text, etag)
	}
	sites, err := o.sites.Sites(t.Context())
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
	sites, err := o.sites.Sites(t.Context())
	if err != nil || len(sites) != 1 || sites[0].Lifetimes.Success.Fresh != 10*time.Minute {
		t.Errorf("stored: %+v, %v", sites, err)
	}
	if _, text := o.ask("GET", path, "", "", 200); strings.Contains(text, "mobile") {
		t.Errorf("what the flags say is stored: %s", text)
	}
	// Its purges outlive what was stored: its pages do.
	o.ask("POST", "/v1/purges", "", `{"site": "http://127.0.0.1:8080", "hard": true}`, 201)
	o.ask("DELETE", path, etag, "", 200)
	sites, err = o.sites.Sites(t.Context())
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
	if sites, err := o.sites.Sites(t.Context()); err != nil || len(sites) != 0 {
		t.Errorf("stored: %+v, %v", sites, err)
	}
	if got := o.send("PUT", path, "Content-Type: text/plain", "{}"); got.Code != 415 {
		t.Errorf("a form: got %d", got.Code)
	}
}

// A document as long as is taken, and purges of long paths, fit into DynamoDB's items, and
// so do their events.
func TestLongSite(t *testing.T) {
	t.Parallel()
	o := overDynamoDB(t)
	long := func(seed string) string {
		var paths []string
		for i := range 100 {
			var texts []string
			for n := range 40 {
				texts = append(texts, strconv.Quote(fmt.Sprintf("%s %d %d error", seed, i, n)))
			}
			paths = append(paths, fmt.Sprintf(`{"path": "/%s/%d/*", "admission": {"errorTexts": [%s]}}`, seed, i, strings.Join(texts, ",")))
		}
		return `{"origin": "https://our.example", "paths": [` + strings.Join(paths, ",") + `]}`
	}
	o.ask("PUT", "/v1/sites/our.example", `"0"`, long("a"), 201)
	o.ask("PUT", "/v1/sites/our.example", "*", long("b"), 200)
	o.ask("PUT", "/v1/sites/our.example", "*", long("b"), 200) // changes nothing, and is no event
	for i := range 40 {
		order := fmt.Sprintf(`{"site": "https://our.example", "path": "/%d%s"}`, i, strings.Repeat("x", 8000))
		o.ask("POST", "/v1/purges", "", order, 201)
	}
	o.ask("DELETE", "/v1/sites/our.example", "*", "", 200)
	var events struct{ Events []control.Event }
	o.into(&events, "GET", "/v1/events?limit=100", "", 200)
	if n := len(events.Events); n != 43 || !strings.Contains(fmt.Sprint(events.Events[n-2].Changes), "too long for an event") {
		t.Errorf("%d events", n)
	}
	o.ask("DELETE", "/v1/sites/127.0.0.1:8080", `"0"`, "", 404) // nothing is stored of it
}
