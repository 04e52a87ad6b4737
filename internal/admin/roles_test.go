package admin_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stillpage/stillpage/internal/admin"
	"github.com/stillpage/stillpage/internal/awstest"
	"github.com/stillpage/stillpage/internal/control"
	"github.com/stillpage/stillpage/internal/dynamo"
	"github.com/stillpage/stillpage/internal/prerender"
	"github.com/stillpage/stillpage/internal/report"
	"github.com/stillpage/stillpage/internal/storetest"
)

// as has requests sent by somebody with a role, for some sites or for all.
func (o *operator) as(role string, sites ...string) *operator {
	o.t.Helper()
	other := *o
	order, err := json.Marshal(map[string]any{"name": role, "use": role, "sites": append([]string{}, sites...)})
	if err != nil {
		o.t.Fatal(err)
	}
	var made struct{ Token string }
	o.into(&made, "POST", "/v1/tokens", string(order), 201)
	other.token = made.Token
	return &other
}

// put stores a page of a site.
func (o *operator) put(site prerender.Site, path, body string) prerender.Page {
	o.t.Helper()
	page, err := site.Page(path, prerender.Viewer{})
	if err != nil {
		o.t.Fatal(err)
	}
	snap := storetest.Snapshot(body, 100)
	var gzipped bytes.Buffer
	zw := gzip.NewWriter(&gzipped)
	zw.Write([]byte(body))
	zw.Close()
	snap.Gzip, snap.Size, snap.Header = gzipped.Bytes(), len(body), http.Header{"Content-Type": {"text/html; charset=utf-8"}}
	snap.RenderedAt, snap.StaleAt, snap.Expires = o.clock, o.clock.Add(1e12), o.clock.Add(1e15)
	if err := o.pages.Put(o.t.Context(), page.Key, snap); err != nil {
		o.t.Fatal(err)
	}
	return page
}

var ourSite = prerender.Site{Origin: prerender.Origin{Scheme: "https", Host: "our.example"}}

// requests has one good request for each route: its path, and its body. The site is that
// of the host.
func requests(o *operator, host string) map[string]struct{ path, headers, body string } {
	url := "https://" + host + "/page"
	return map[string]struct{ path, headers, body string }{
		"GET /v1/me":                       {path: "/v1/me"},
		"GET /v1/status":                   {path: "/v1/status"},
		"GET /v1/sites":                    {path: "/v1/sites"},
		"GET /v1/sites/{host}":             {path: "/v1/sites/" + host},
		"GET /v1/sites/{host}/effective":   {path: "/v1/sites/" + host + "/effective"},
		"POST /v1/sites/{host}/validation": {path: "/v1/sites/" + host + "/validation", body: `{"origin": "https://` + host + `"}`},
		"PUT /v1/sites/{host}":             {path: "/v1/sites/" + host + "?dryRun=true", headers: "If-Match: *", body: `{"origin": "https://` + host + `"}`},
		"DELETE /v1/sites/{host}":          {path: "/v1/sites/" + host + "?dryRun=true", headers: "If-Match: *"},
		"GET /v1/pages":                    {path: "/v1/pages?site=" + host},
		"GET /v1/pages/explanation":        {path: "/v1/pages/explanation?agent=GPTBot&url=" + url},
		"GET /v1/pages/stored":             {path: "/v1/pages/stored?url=" + url},
		"GET /v1/pages/html":               {path: "/v1/pages/html?url=" + url},
		"DELETE /v1/pages":                 {path: "/v1/pages?url=" + url + "-none"},
		"POST /v1/frames":                  {path: "/v1/frames", body: `{"url": "` + url + `"}`},
		"POST /v1/comparisons":             {path: "/v1/comparisons", body: `{"url": "` + url + `"}`},
		"POST /v1/renders":                 {path: "/v1/renders", body: `{"url": "` + url + `"}`},
		"POST /v1/purges":                  {path: "/v1/purges", body: `{"site": "https://` + host + `", "path": "/none"}`},
		"POST /v1/warmings":                {path: "/v1/warmings", body: `{"site": "https://` + host + `", "urls": ["` + url + `"]}`},
		"GET /v1/jobs":                     {path: "/v1/jobs"},
		"GET /v1/jobs/{id}":                {path: "/v1/jobs/" + o.job(host)},
		"DELETE /v1/jobs/{id}":             {path: "/v1/jobs/" + o.job(host)},
		"GET /v1/tokens":                   {path: "/v1/tokens"},
		"POST /v1/tokens":                  {path: "/v1/tokens", body: `{"name": "t", "use": "viewer", "sites": ["` + host + `"]}`},
		"DELETE /v1/tokens/{id}":           {path: "/v1/tokens/" + o.made(host)},
		"GET /v1/events":                   {path: "/v1/events"},
		"GET /v1/events/export":            {path: "/v1/events/export"},
		"GET /v1/events/verification":      {path: "/v1/events/verification"},
		"GET /v1/stats":                    {path: "/v1/stats?site=" + host},
	}
}

// job orders one that goes on.
func (o *operator) job(host string) string {
	o.t.Helper()
	open, err := o.plane.OpenJobs(o.t.Context())
	for _, job := range open {
		if err == nil && len(open) > 10 {
			_, err = o.plane.CancelJob(o.t.Context(), control.By{Actor: "test"}, job.ID)
		}
	}
	if err != nil {
		o.t.Fatal(err)
	}
	job, err := o.plane.Warm(o.t.Context(), control.By{Actor: "test"}, host, control.WarmOrder{URLs: []string{"https://" + host + "/page"}})
	if err != nil {
		o.t.Fatal(err)
	}
	return job.ID
}

// made makes a token, and returns its ID.
func (o *operator) made(host string) string {
	o.t.Helper()
	token, _, err := o.plane.MakeToken(o.t.Context(), control.By{Actor: "test"}, control.Token{Name: "x", Use: control.Integration, Sites: []string{host}})
	if err != nil {
		o.t.Fatal(err)
	}
	return token.ID
}

func withSites(t *testing.T) *operator {
	o := newOperator(t)
	o.inspect = func(prerender.Page) (*report.Report, error) {
		return &report.Report{Status: 200, HTML: []byte("<p>new")}, nil
	}
	for _, host := range []string{"our.example", "their.example"} {
		site := prerender.Site{Origin: prerender.Origin{Scheme: "https", Host: host}}
		if _, err := o.plane.PutSite(t.Context(), control.By{Actor: "test"}, "site.create", prerender.Site{}, site); err != nil {
			t.Fatal(err)
		}
		o.put(site, "/page", "<p>"+host)
	}
	return o
}

// Every route is walked with every role, and with none: who has the role that the route
// states is served, and nobody else.
func TestEveryRouteWithEveryRole(t *testing.T) {
	t.Parallel()
	o := withSites(t)
	ranks := []string{"nobody", "viewer", "operator", "admin"}
	askers := map[string]*operator{"viewer": o.as("viewer"), "operator": o.as("operator"), "admin": o.as("admin")}
	walked := 0
	for _, route := range admin.Routes() {
		name := route.Method + " " + route.Path
		if route.Role == "nobody" {
			continue
		}
		nobody := *o
		for _, token := range []string{"", "sp_0000000000_wrong", "nonsense"} {
			nobody.token = token
			request := requests(o, "our.example")[name]
			if request.path == "" {
				t.Fatalf("%s: the test has no request for it", name)
			}
			if w := nobody.send(route.Method, request.path, request.headers, request.body); w.Code != 401 || w.Header().Get("WWW-Authenticate") == "" {
				t.Errorf("%s with token %q: got %d, want 401", name, token, w.Code)
			}
		}
		for _, role := range ranks[1:] {
			request := requests(o, "our.example")[name] // with a job and a token of its own
			w := askers[role].send(route.Method, request.path, request.headers, request.body)
			may := slices.Index(ranks, role) >= slices.Index(ranks, route.Role)
			if may && w.Code >= 300 || !may && w.Code != 403 {
				t.Errorf("%s as %s, which needs %s: got %d %s", name, role, route.Role, w.Code, w.Body)
			}
			walked++
		}
	}
	if walked < 80 {
		t.Errorf("only %d were walked", walked)
	}
}

// Two teams share a deployment: an admin of one site neither sees nor changes anything of
// another.
func TestTeamsDoNotSeeEachOther(t *testing.T) {
	t.Parallel()
	o := withSites(t)
	ours := o.as("admin", "our.example")
	for _, route := range admin.Routes() {
		name := route.Method + " " + route.Path
		if route.Role == "nobody" || name == "GET /v1/me" {
			continue
		}
		theirs := requests(o, "their.example")[name]
		w := ours.send(route.Method, theirs.path, theirs.headers, theirs.body)
		if isList := strings.Contains("GET /v1/status GET /v1/sites GET /v1/jobs GET /v1/tokens GET /v1/events", name); isList && w.Code != 200 || !isList && w.Code != 404 && w.Code != 403 {
			t.Errorf("%s of another's site: got %d", name, w.Code)
		}
		if text := w.Body.String(); w.Code < 300 && strings.Contains(text, "their.example") {
			t.Errorf("%s shows what is another's: %s", name, text)
		}
		mine := requests(o, "our.example")[name]
		w = ours.send(route.Method, mine.path, mine.headers, mine.body)
		if all := strings.Contains(name, "/v1/events/"); !all && w.Code >= 300 || all && w.Code != 403 {
			t.Errorf("%s of their own site: got %d %s", name, w.Code, w.Body)
		}
	}
	// A port that is a scheme's own makes it another site.
	for _, path := range []string{"/v1/sites/our.example:443", "/v1/sites/OUR.example:80"} {
		ours.ask("PUT", path, `"0"`, `{"origin": "http://our.example:443"}`, 404)
	}
	bob := o.as("admin", "their.example") // with a token of the same name
	order := `{"site": "https://our.example", "path": "/a"}`
	if first, w := ours.send("POST", "/v1/purges", "Idempotency-Key: k", order), bob.send("POST", "/v1/purges", "Idempotency-Key: k", order); first.Code != 201 || w.Code != 404 {
		t.Errorf("another's key: got %d, then %d %s", first.Code, w.Code, w.Body)
	}
	ours.ask("POST", "/v1/tokens", "", `{"name": "t", "use": "admin"}`, 403)
	ours.ask("POST", "/v1/tokens", "", `{"name": "t", "use": "admin", "sites": ["our.example", "their.example"]}`, 404)
	ours.ask("GET", "/v1/stats", "", "", 200)
	ours.ask("PUT", "/v1/sites/new.example", `"0"`, `{"origin": "https://new.example"}`, 404)
	if w := ours.send("POST", "/v1/sites/our.example/validation", "", `{"origin": "https://their.example"}`); w.Code != 404 {
		t.Errorf("validation by another's host: got %d %s", w.Code, w.Body)
	}
}

// With an Idempotency-Key, nothing is done twice, and the answer is the same.
func TestIdempotency(t *testing.T) {
	t.Parallel()
	for name, open := range stores {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := open(t)
			const order = `{"site": "http://127.0.0.1:8080", "path": "/a"}`
			first := o.send("POST", "/v1/purges", "Idempotency-Key: one", order)
			again := o.send("POST", "/v1/purges", "Idempotency-Key: one", order)
			if first.Code != 201 || again.Code != 201 || first.Body.String() != again.Body.String() || again.Header().Get("Location") != first.Header().Get("Location") {
				t.Errorf("got %d %s, then %d %s", first.Code, first.Body, again.Code, again.Body)
			}
			if other := o.send("POST", "/v1/purges", "Idempotency-Key: one", strings.Replace(order, "/a", "/b", 1)); other.Code != 422 {
				t.Errorf("another request with the key: got %d", other.Code)
			}
			bob := o.as("operator")
			if w := bob.send("POST", "/v1/purges", "Idempotency-Key: one", order); w.Code != 201 || w.Body.String() == first.Body.String() {
				t.Errorf("somebody else's key: got %d %s", w.Code, w.Body)
			}
			site, err := o.plane.Site(t.Context(), "127.0.0.1:8080")
			if err != nil || len(site.Purges) != 1 {
				t.Errorf("purges: %+v, %v", site.Purges, err)
			}
			// A secret is shown once, and kept nowhere.
			token := `{"name": "t", "use": "integration"}`
			made := o.send("POST", "/v1/tokens", "Idempotency-Key: two", token)
			if w := o.send("POST", "/v1/tokens", "Idempotency-Key: two", token); made.Code != 201 || w.Code != 409 || !strings.Contains(w.Body.String(), made.Header().Get("Location")) {
				t.Errorf("token: got %d, then %d %s", made.Code, w.Code, w.Body)
			}
			var answer struct{ Token string }
			json.Unmarshal(made.Body.Bytes(), &answer)
			for _, kind := range []control.Kind{control.AnswerRecord, control.TokenRecord, control.EventRecord} {
				o.plane.Records.List(t.Context(), control.Range{Kind: kind}, func(r control.Record) bool {
					if strings.Contains(string(r.Document), answer.Token[len("sp_0000000000_"):]) {
						t.Errorf("a %s has the secret: %s", kind, r.Document)
					}
					return true
				})
			}
			// A failure of ours is not remembered.
			if w := o.send("POST", "/v1/purges", "Idempotency-Key: "+strings.Repeat("k", 201), order); w.Code != 422 {
				t.Errorf("a long key: got %d", w.Code)
			}
			if w := o.send("PUT", "/v1/sites/new.example", "If-Match: \"0\"\nIdempotency-Key: three", `{"origin": "https://new.example"}`); w.Code != 201 {
				t.Errorf("PUT: got %d", w.Code)
			}
			if w := o.send("PUT", "/v1/sites/new.example", "If-Match: \"0\"\nIdempotency-Key: three", `{"origin": "https://new.example"}`); w.Code != 201 || w.Header().Get("ETag") == "" {
				t.Errorf("PUT again: got %d %v", w.Code, w.Header())
			}
		})
	}
}

// breaking is a store whose writes fail, or seem to.
type breaking struct {
	control.Store
	fail  func(writes []control.Write) bool
	after bool // it is done, and the answer is lost
	down  atomic.Bool
}

var errDown = errors.New("dynamodb at 10.0.0.1 does not answer")

func (b *breaking) Get(ctx context.Context, kind control.Kind, id string) (control.Record, error) {
	if b.down.Load() {
		return control.Record{}, errDown
	}
	return b.Store.Get(ctx, kind, id)
}

func (b *breaking) List(ctx context.Context, r control.Range, found func(control.Record) bool) error {
	if b.down.Load() {
		return errDown
	}
	return b.Store.List(ctx, r, found)
}

func (b *breaking) Write(ctx context.Context, writes ...control.Write) error {
	if b.down.Load() {
		return errDown
	}
	if b.fail == nil || !b.fail(writes) {
		return b.Store.Write(ctx, writes...)
	}
	if b.after {
		b.Store.Write(ctx, writes...)
	}
	return fmt.Errorf("injected fault")
}

// Whatever fails, and wherever: a change and its event are both there, or neither is.
func TestNoChangeWithoutItsEvent(t *testing.T) {
	t.Parallel()
	for name, open := range map[string]func() (prerender.Store, control.Store){
		"bbolt": func() (prerender.Store, control.Store) { s := openBolt(t); return s, s.Records() },
		"DynamoDB Local": func() (prerender.Store, control.Store) {
			db := awstest.DynamoDB(t)
			pages, records := awstest.Tables(t)
			return &dynamo.Store{Client: db, Table: pages, Consistent: true}, &dynamo.Records{Client: db, Table: records}
		},
	} {
		for _, after := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/done %v", name, after), func(t *testing.T) {
				t.Parallel()
				pages, records := open()
				faultsAtEveryChange(t, pages, records, after)
			})
		}
	}
}

func faultsAtEveryChange(t *testing.T, pages prerender.Store, records control.Store, after bool) {
	broken := &breaking{Store: records, after: after}
	o := newOperatorWith(t, pages, broken)
	o.ask("PUT", "/v1/sites/our.example", `"0"`, `{"origin": "https://our.example"}`, 201)
	old, job := o.made("our.example"), o.job("our.example")
	actions := map[string]func(){
		"site.update": func() {
			o.send("PUT", "/v1/sites/our.example", "If-Match: *", `{"origin": "https://our.example", "vary": {"mobile": true}}`)
		},
		"purge":        func() { o.send("POST", "/v1/purges", "", `{"site": "https://our.example", "path": "/a"}`) },
		"token.create": func() { o.send("POST", "/v1/tokens", "", `{"name": "t", "use": "integration"}`) },
		"warm": func() {
			o.send("POST", "/v1/warmings", "", `{"site": "https://our.example", "urls": ["https://our.example/"]}`)
		},
		"page.render":  func() { o.send("POST", "/v1/renders", "", `{"url": "https://our.example/"}`) },
		"site.create":  func() { o.send("PUT", "/v1/sites/new.example", "If-Match: \"0\"", `{"origin": "https://new.example"}`) },
		"token.delete": func() { o.send("DELETE", "/v1/tokens/"+old, "", "") },
		"page.delete":  func() { o.send("DELETE", "/v1/pages?url=https://our.example/", "", "") },
		"job.cancel":   func() { o.send("DELETE", "/v1/jobs/"+job, "", "") },
		"site.delete":  func() { o.send("DELETE", "/v1/sites/our.example", "If-Match: *", "") },
	}
	for _, action := range []string{"site.create", "site.update", "purge", "token.create", "token.delete", "warm", "page.render", "page.delete", "job.cancel", "site.delete"} {
		before := snapshot(t, broken)
		broken.fail = func(writes []control.Write) bool {
			return slices.ContainsFunc(writes, func(w control.Write) bool { return w.Kind == control.EventRecord })
		}
		actions[action]()
		broken.fail = nil
		changes, events := snapshot(t, broken).minus(before)
		if want := map[bool]int{true: 1}[after]; events != want || (changes > 0) != after {
			t.Errorf("%s, whose write fails (done: %v): %d changes and %d events", action, after, changes, events)
		}
	}
	var v control.Verifier
	if err := o.plane.Links(t.Context(), 0, false, func(l control.Link, _ control.Event) bool { v.Add(l); return true }); err != nil || len(v.Faults) > 0 {
		t.Errorf("the chain: %v, %q", err, v.Faults)
	}
}

// contents are the records that people change, by their bytes.
type contents map[string]string

func snapshot(t *testing.T, s control.Store) contents {
	t.Helper()
	all := contents{}
	for _, kind := range []control.Kind{control.SiteRecord, control.TokenRecord, control.JobRecord, control.EventRecord} {
		err := s.List(t.Context(), control.Range{Kind: kind}, func(r control.Record) bool {
			all[string(kind)+"/"+r.ID] = string(r.Document)
			return true
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// minus counts what has changed since.
func (c contents) minus(before contents) (changes, events int) {
	for name, document := range c {
		switch {
		case before[name] == document:
		case strings.HasPrefix(name, "event/"):
			events++
		default:
			changes++
		}
	}
	for name := range before {
		if _, ok := c[name]; !ok {
			changes++
		}
	}
	return changes, events
}

// Two administrators edit one site at once: neither loses a change silently.
func TestTwoAdministrators(t *testing.T) {
	t.Parallel()
	for name, open := range stores {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := open(t)
			const path = "/v1/sites/www.example.com"
			o.ask("PUT", path, `"0"`, `{"origin": "https://www.example.com"}`, 201)
			etag, _ := o.ask("GET", path, "", "", 200)
			codes := make(chan int, 8)
			for i := range 8 {
				go func() {
					codes <- o.send("PUT", path, "If-Match: "+etag, fmt.Sprintf(`{"origin": "https://www.example.com", "warming": {"sitemaps": [], "perMinute": %d}}`, i+1)).Code
				}()
			}
			counts := map[int]int{}
			for range 8 {
				counts[<-codes]++
			}
			if counts[http.StatusOK] != 1 || counts[http.StatusPreconditionFailed] != 7 {
				t.Errorf("got %v, want one 200 and seven 412", counts)
			}
		})
	}
}
