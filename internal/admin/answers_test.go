package admin_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stillpage/stillpage/internal/admin"
	"github.com/stillpage/stillpage/internal/control"
	"github.com/stillpage/stillpage/internal/insight"
	"github.com/stillpage/stillpage/internal/prerender"
	"github.com/stillpage/stillpage/internal/report"
	"github.com/stillpage/stillpage/internal/telemetry"
)

// What every route refuses: those who are nobody here, bodies of a wrong type or length,
// keys that were used for something else, and everything while the store fails.
func TestRefusals(t *testing.T) {
	t.Parallel()
	store := openBolt(t)
	records := &breaking{Store: store.Records()}
	o := newOperatorWith(t, store, records)
	for _, host := range []string{"our.example", "their.example"} {
		site := prerender.Site{Origin: prerender.Origin{Scheme: "https", Host: host}}
		if _, err := o.plane.PutSite(t.Context(), control.By{Actor: "test"}, "site.create", prerender.Site{}, site); err != nil {
			t.Fatal(err)
		}
		o.put(site, "/page", "<p>"+host)
	}
	o.inspect = func(prerender.Page) (*report.Report, error) { return &report.Report{Status: 200}, nil }
	integration := o.as("integration")
	fresh := o.as("admin") // whose token nobody has looked up yet
	for _, route := range admin.Routes() {
		name := route.Method + " " + route.Path
		if route.Role == "nobody" {
			continue
		}
		request := requests(o, "our.example")[name]
		if w := integration.send(route.Method, request.path, request.headers, request.body); w.Code != 403 {
			t.Errorf("%s by an integration: got %d", name, w.Code)
		}
		if request.body != "" {
			if w := o.send(route.Method, request.path, request.headers+"\nContent-Type: text/plain", request.body); w.Code != 415 {
				t.Errorf("%s as a form: got %d", name, w.Code)
			}
			if w := o.send(route.Method, request.path, request.headers, strings.Repeat(" ", 300_000)+request.body); w.Code != 413 {
				t.Errorf("%s, long: got %d", name, w.Code)
			}
			if w := o.send(route.Method, request.path, request.headers, "{"); w.Code != 422 && !strings.HasSuffix(name, "/validation") {
				t.Errorf("%s, garbage: got %d", name, w.Code)
			}
		}
		if route.Writes {
			key := request.headers + "\nIdempotency-Key: " + name
			if w := o.send(route.Method, request.path, key, strings.Repeat(" ", 300_000)); w.Code != 413 {
				t.Errorf("%s with a key, long: got %d", name, w.Code)
			}
			o.send(route.Method, request.path, key, request.body)
			if w := o.send(route.Method, request.path, key, request.body+" "); w.Code != 422 {
				t.Errorf("%s with the key of another: got %d", name, w.Code)
			}
			// Its process ends before it has answered.
			written := 0
			records.fail = func(writes []control.Write) bool {
				if writes[0].Kind == control.AnswerRecord {
					written++
				}
				return written == 2
			}
			request = requests(o, "our.example")[name]
			o.send(route.Method, request.path, key+"2", request.body)
			records.fail = nil
			if w := o.send(route.Method, request.path, key+"2", request.body); w.Code != 409 {
				t.Errorf("%s, which is being answered: got %d", name, w.Code)
			}
		}
	}
	requested := requests(o, "our.example")
	records.down.Store(true)
	for _, route := range admin.Routes() {
		name := route.Method + " " + route.Path
		if route.Role == "nobody" {
			continue
		}
		request := requested[name]
		if w := fresh.send(route.Method, request.path, request.headers, request.body); w.Code != 503 || strings.Contains(w.Body.String(), "10.0.0.1") {
			t.Errorf("%s, store down: got %d %s", name, w.Code, w.Body)
		}
	}
}

// What is asked for wrongly is refused with what would be right.
func TestWrongQuestions(t *testing.T) {
	t.Parallel()
	o := withSites(t)
	for request, want := range map[string]string{
		"GET /v1/sites?limit=0":                                               "from 1 to 1000",
		"GET /v1/sites?cursor=***":                                            "answered as next",
		"GET /v1/jobs?limit=x":                                                "from 1 to 1000",
		"GET /v1/pages":                                                       "say of which site",
		"GET /v1/pages/explanation?url=page":                                  "like https://www.example.com/page",
		"GET /v1/pages/explanation?url=http://our.example/":                   "not a page of https://our.example",
		"GET /v1/pages/stored?url=":                                           "like https://",
		"GET /v1/pages/html?url=ftp://x/":                                     "like https://",
		"DELETE /v1/pages?url=x":                                              "like https://",
		"GET /v1/events?since=yesterday":                                      "2026-11-22T10:30:00Z",
		"GET /v1/events/export?cursor=eHg":                                    "answered as next",
		"GET /v1/stats?step=minute":                                           "hour or day",
		"GET /v1/stats?from=2020-01-01T00:00:00Z":                             "at most 192 steps",
		"GET /v1/stats?from=x":                                                "2026-11-22T10:30:00Z",
		`POST /v1/renders {"url": "x"}`:                                       "like https://",
		`POST /v1/frames {"url": "x"}`:                                        "like https://",
		`POST /v1/comparisons {"url": "https://our.example/ x"}`:              "has a space",
		`POST /v1/warmings {"site": "https://our.example"}`:                   "has no sitemaps",
		`POST /v1/warmings {"site": "https://our.example", "sitemaps": [""]}`: "must be a URL",
		`POST /v1/warmings {"site": "https://our.example", "sitemaps": ["https://our.example/s"], "urls": ["https://our.example/"]}`: "not both",
		`POST /v1/warmings {"urls": []}`:                                                       "/site",
		`POST /v1/purges {"site": "https://our.example", "path": "blog"}`:                      "must start with /",
		`POST /v1/purges {"site": "https://our.example", "paths": "/"}`:                        "paths",
		`POST /v1/tokens {"name": " ", "sites": ["a b"], "expiresAt": "2020-01-01T00:00:00Z"}`: "/expiresAt",
		`POST /v1/tokens {"name": "x", "use": "boss"}`:                                         "must be integration, viewer, operator or admin",
	} {
		line, body, _ := strings.Cut(request, " {")
		method, path, _ := strings.Cut(line, " ")
		if body != "" {
			body = "{" + body
		}
		w := o.send(method, strings.ReplaceAll(path, " ", "%20"), "", body)
		if w.Code != 422 || !strings.Contains(w.Body.String(), want) {
			t.Errorf("%s: got %d %s, want %s", request, w.Code, w.Body, want)
		}
	}
	for request, want := range map[string]string{
		"GET /v1/jobs/x":      "there is no job",
		"DELETE /v1/tokens/x": "there is no token",
		"GET /v1/pages/stored?url=https://our.example/x": "nothing is stored",
		"GET /v1/pages?site=nowhere.example":             "nowhere.example",
		"GET /v1/sites/a..b":                             "a..b",
		"GET /frames/x":                                  "POST /v1/frames",
	} {
		method, path, _ := strings.Cut(request, " ")
		if w := o.send(method, path, "", ""); w.Code != 404 || !strings.Contains(w.Body.String(), want) {
			t.Errorf("%s: got %d %s, want %s", request, w.Code, w.Body, want)
		}
	}
	// A parameter that is misspelt is not left out: it may be what keeps an order from being done.
	for _, route := range admin.Routes() {
		path := strings.NewReplacer("{host}", "our.example", "{id}", "x", "{ticket}", "x").Replace(route.Path)
		if w := o.send(route.Method, path+"?dryrun=true", "If-Match: *", "{}"); w.Code != 422 && path != "/healthz" || !strings.Contains(w.Body.String(), "dryrun") {
			t.Errorf("%s %s with an unknown parameter: got %d %s", route.Method, path, w.Code, w.Body)
		}
	}
	o.ask("DELETE", "/v1/sites/our.example?dryRun=1", "*", "", 422)
	o.ask("GET", "/v1/pages?site=our.example&state=old", "", "", 422)
	o.inspect = func(prerender.Page) (*report.Report, error) { return nil, errors.New("unreachable") }
	o.ask("POST", "/v1/comparisons", "", `{"url": "https://our.example/page"}`, 502)
	for _, path := range []string{"/v1/openapi.json", "/v1/site.schema.json", "/v1/login"} {
		o.ask("GET", path, "", "", 200)
	}
}

// A page's life at the API: listed, searched, explained, read, framed, compared, rendered,
// purged, deleted; over both stores.
func TestPages(t *testing.T) {
	t.Parallel()
	for name, open := range stores {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := open(t)
			o.ask("PUT", "/v1/sites/our.example", `"0"`, `{"origin": "https://our.example", "agents": {"seo-tool": "refuse", "archive": "app"}}`, 201)
			for _, path := range []string{"/a", "/blog/1", "/blog/2", "/blog/3", "/z"} {
				o.put(ourSite, path, "<!DOCTYPE html><html><head><title>x</title></head><p>at "+path)
			}
			list := func(query string) (paths []string, next string) {
				var answer struct {
					Pages []struct{ URL, State string }
					Next  string
				}
				o.into(&answer, "GET", "/v1/pages?site=our.example&"+query, "", 200)
				for _, p := range answer.Pages {
					paths = append(paths, strings.TrimPrefix(p.URL, "https://our.example"))
				}
				return paths, answer.Next
			}
			first, next := list("q=/blog/&limit=2")
			rest, end := list("q=/blog/&limit=2&cursor=" + next)
			if got := append(first, rest...); !slices.Equal(got, []string{"/blog/1", "/blog/2", "/blog/3"}) || next == "" || end != "" {
				t.Errorf("below /blog/: got %q, cursors %q, %q", got, next, end)
			}
			if got, _ := list("q=z"); !slices.Equal(got, []string{"/z"}) {
				t.Errorf("with a z: got %q", got)
			}
			explain := func(path, agent string) (would, because string) {
				var e control.Explanation
				o.into(&e, "GET", "/v1/pages/explanation?url=https://our.example"+path+"&agent="+agent, "", 200)
				return e.Would, strings.Join(e.Because, " ")
			}
			for _, tt := range []struct{ path, agent, would, because string }{
				{"/a", "GPTBot", "hit", "answered as it is"}, {"/b", "GPTBot", "miss", "Nothing is stored"}, {"/a", "AhrefsBot", "refused", "refuse agents"},
				{"/a", "archive.org_bot", "app", "the app"}, {"/a", "Mozilla/5.0", "app", "not on the list"}, {"/a", "Stillpage", "app", "rendering service"}, {"/app.js", "GPTBot", "app", "It is a file"},
			} {
				if would, because := explain(tt.path, tt.agent); would != tt.would || !strings.Contains(because, tt.because) {
					t.Errorf("%s for %s: got %s, %s", tt.path, tt.agent, would, because)
				}
			}
			if w := o.send("GET", "/v1/pages/html?url=https://our.example/a", "", ""); !strings.Contains(w.Body.String(), "at /a") || !strings.HasPrefix(w.Header().Get("Content-Type"), "text/plain") || !strings.Contains(w.Header().Get("Content-Security-Policy"), "sandbox") {
				t.Errorf("HTML: got %v %s", w.Header(), w.Body)
			}

			// A frame's ticket shows the page to whoever has it, for a minute.
			var frame struct{ Address string }
			o.into(&frame, "POST", "/v1/frames", `{"url": "https://our.example/a"}`, 201)
			nobody := *o
			nobody.token = ""
			w := nobody.send("GET", frame.Address, "", "")
			if w.Code != 200 || !strings.Contains(w.Body.String(), `<head><base href="https://our.example/a">`) || !strings.HasPrefix(w.Header().Get("Content-Security-Policy"), "sandbox; default-src 'none'") {
				t.Errorf("frame: got %d %v %s", w.Code, w.Header(), w.Body)
			}
			nobody.ask("GET", frame.Address+"x", "", "", 404)
			o.clock = o.clock.Add(2 * time.Minute)
			nobody.ask("GET", frame.Address, "", "", 404)

			o.inspect = func(page prerender.Page) (*report.Report, error) {
				return &report.Report{URL: page.URL, Device: string(page.Device), Status: 200, Ended: "it was", HTML: []byte("<!DOCTYPE html><html><head><title>x</title></head><p>new"),
					Person: report.View{Text: "one\ntwo", Picture: []byte("jpeg")}, Bot: report.View{Text: "one"}, Phases: []report.Phase{{Name: "navigate", Duration: time.Second}},
					Requests: []report.Request{{URL: page.URL, Kind: "Document", End: time.Second, Status: 200}}}, nil
			}
			var c struct {
				Same         bool
				Text, Stored []struct{ Mark, Text string }
				Findings     []string
				Person       struct{ Picture []byte }
				Phases       []struct{ MS float64 }
			}
			o.into(&c, "POST", "/v1/comparisons", `{"url": "https://our.example/a"}`, 200)
			if c.Same || len(c.Text) != 2 || c.Text[1].Mark != "-" || string(c.Person.Picture) != "jpeg" || len(c.Phases) != 1 || c.Phases[0].MS != 1000 {
				t.Errorf("comparison: got %+v", c)
			}
			if len(c.Stored) != 3 || c.Stored[1].Mark+c.Stored[1].Text != "-<p>at /a" || c.Stored[2].Mark+c.Stored[2].Text != "+<p>new" {
				t.Errorf("stored and new: got %+v", c.Stored)
			}

			order := func(method, path, body string, status int) control.Job {
				t.Helper()
				o.clock = o.clock.Add(time.Millisecond) // jobs are in the order of time
				var answered control.Job
				o.into(&answered, method, path, body, status)
				job, err := o.plane.Job(t.Context(), answered.ID)
				if err != nil || job.State != answered.State {
					t.Errorf("%s: answered %+v, stored %+v, %v", path, answered, job, err)
				}
				return job
			}
			job := order("POST", "/v1/renders", `{"url": "https://our.example/a"}`, 201)
			if job.State != control.Done || len(o.renewed) != 1 || o.renewed[0] != "https://our.example/a desktop" {
				t.Errorf("render: got %+v, renewed %q", job, o.renewed)
			}
			job = order("POST", "/v1/purges", `{"site": "https://our.example", "path": "/blog/*", "again": true}`, 202)
			if err := o.admin.Do(t.Context(), &job); err != nil || job.State != control.Done || len(o.queued) != 3 || job.Progress.Pages["queued"] != 3 {
				t.Errorf("purge and render again: got %+v, %v, queued %q", job, err, o.queued)
			}
			if got, _ := list("state=purged"); len(got) != 3 {
				t.Errorf("purged: got %q", got)
			}
			job = order("DELETE", "/v1/pages?url=https://our.example/a", "", 201)
			if would, _ := explain("/a", "GPTBot"); would != "miss" {
				t.Errorf("deleted: got %s", would)
			}
			o.ask("GET", "/v1/jobs/"+job.ID, "", "", 200)
			var jobs struct {
				Jobs []control.Job
				Next string
			}
			o.into(&jobs, "GET", "/v1/jobs?limit=2&site=our.example", "", 200)
			if len(jobs.Jobs) != 2 || jobs.Jobs[0].Kind != control.DeleteJob || jobs.Next == "" {
				t.Errorf("jobs: got %+v", jobs)
			}
			// One that goes on is cancelled once.
			job = order("POST", "/v1/warmings", `{"site": "https://our.example", "urls": ["https://our.example/a"]}`, 202)
			open := job
			job = order("DELETE", "/v1/jobs/"+job.ID, "", 200)
			if job.State != control.Cancelled {
				t.Errorf("cancelled: got %+v", job)
			}
			o.ask("DELETE", "/v1/jobs/"+job.ID, "", "", 409)
			if err := o.admin.Do(t.Context(), &open); err != nil || open.State != control.Cancelled {
				t.Errorf("a cancelled job was done: %+v, %v", job, err)
			}

			for range 25 {
				if w := o.send("POST", "/v1/warmings", "", `{"site": "http://127.0.0.1:8080", "urls": ["http://127.0.0.1:8080/"]}`); w.Code == 409 {
					break
				}
			}
			if _, text := o.ask("POST", "/v1/warmings", "", `{"site": "http://127.0.0.1:8080", "urls": ["http://127.0.0.1:8080/"]}`, 409); !strings.Contains(text, "20; wait, or cancel some") {
				t.Errorf("too many jobs: got %s", text)
			}

			var events struct {
				Events []control.Event
				Next   string
			}
			o.into(&events, "GET", "/v1/events?site=our.example&limit=3", "", 200)
			if len(events.Events) != 3 || events.Events[0].Action != "job.cancel" || events.Events[0].Actor != "admin token" || events.Events[0].From != "192.0.2.1" || events.Next == "" {
				t.Errorf("events: got %+v", events)
			}
			o.into(&events, "GET", "/v1/events?action=site.create&cursor="+events.Next, "", 200)
			if len(events.Events) != 1 || len(events.Events[0].Changes) == 0 {
				t.Errorf("older events: got %+v", events)
			}
			var verdict struct {
				Good, Complete bool
				Head           control.Head
			}
			o.into(&verdict, "GET", "/v1/events/verification", "", 200)
			if !verdict.Good || !verdict.Complete || verdict.Head.Number != 26 {
				t.Errorf("verification: got %+v", verdict)
			}
			// What somebody has edited in the table is found.
			link, err := o.plane.Records.Get(t.Context(), control.EventRecord, fmt.Sprintf("%016d", 3))
			if err != nil {
				t.Fatal(err)
			}
			link.Document = []byte(strings.Replace(string(link.Document), "admin token", "nobody else", 1))
			if err := o.plane.Records.Note(t.Context(), link); err != nil {
				t.Fatal(err)
			}
			o.into(&verdict, "GET", "/v1/events/verification", "", 200)
			if verdict.Good {
				t.Error("an edited event was not found")
			}
		})
	}
}

// Statistics are those of the site, or of all, by hour and by day.
func TestStats(t *testing.T) {
	t.Parallel()
	for name, open := range stores {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := open(t)
			o.clock = time.Date(2026, 11, 22, 10, 30, 0, 0, time.UTC)
			for _, host := range []string{"our.example", "their.example"} {
				o.ask("PUT", "/v1/sites/"+host, `"0"`, `{"origin": "https://`+host+`"}`, 201)
			}
			var frozen []*insight.Collector
			for _, instance := range []string{"a", "b"} {
				c := &insight.Collector{Records: o.plane.Records, Instance: instance, Now: func() time.Time { return o.clock }, Log: quiet}
				for _, host := range []string{"our.example", "our.example", "their.example"} {
					c.Request(telemetry.Request{Site: host, Agent: "GPTBot", Purpose: "ai-training", Cache: "hit", Took: 10 * time.Millisecond, Bytes: 100})
				}
				c.Request(telemetry.Request{Site: "our.example", Cache: "refused", Reason: "limited"})
				c.Render(telemetry.Render{Site: "our.example", URL: "https://our.example/slow", Outcome: "partial", Partial: "requests", Took: 3 * time.Second})
				c.Flush(t.Context())
				c.Flush(t.Context()) // writes nothing twice
				frozen = append(frozen, c)
			}
			check := func(query string, requests, renders int64, points int) {
				t.Helper()
				var s struct {
					Total struct {
						Requests, Renders int64
						HitRatio          float64
						Latency           struct{ P50 float64 }
						Agents, Purposes  map[string]struct {
							Requests int64
							Latency  struct{ P50 float64 }
						}
						Slow, Failing []insight.PageCount
						Money         insight.Money
					}
					Points []json.RawMessage
				}
				o.into(&s, "GET", "/v1/stats?"+query, "", 200)
				if s.Total.Requests != requests || s.Total.Renders != renders || len(s.Points) != points {
					t.Errorf("%s: got %+v with %d points, want %d requests and %d renders in %d", query, s.Total, len(s.Points), requests, renders, points)
				}
				if requests > 0 && (s.Total.HitRatio != 1 || s.Total.Latency.P50 < 9 || s.Total.Latency.P50 > 11 || s.Total.Money.Spent <= 0) {
					t.Errorf("%s: got %+v", query, s.Total)
				}
				if bots := s.Total.Agents["GPTBot"]; requests > 0 && (bots.Requests == 0 || bots.Latency.P50 < 9 || s.Total.Purposes["ai-training"].Requests != bots.Requests) {
					t.Errorf("%s: by agent and purpose %+v, %+v", query, s.Total.Agents, s.Total.Purposes)
				}
				if renders > 0 && (len(s.Total.Failing) != 1 || s.Total.Failing[0].Count != renders || s.Total.Slow[0].MS != 3000) {
					t.Errorf("%s: got %+v", query, s.Total)
				}
			}
			steps := func(requests, renders, theirs int64) {
				t.Helper()
				check("", requests, renders, 1)
				check("site=our.example", requests-theirs, renders, 1)
				check("step=day&site=their.example", theirs, 0, 1)
				check("step=day", requests, renders, 1)
			}
			steps(8, 2, 2)
			o.ask("GET", "/v1/stats?site=nothing.example", "", "", 404)
			check("from=2026-11-21T00:00:00Z&to=2026-11-22T09:59:00Z", 0, 0, 0)
			// Hours are merged when they are over, and days when they are: nothing is lost or
			// counted twice, however often.
			sites := []prerender.Site{ourSite, {Origin: prerender.Origin{Scheme: "https", Host: "their.example"}}}
			for _, later := range []time.Duration{time.Hour, 5 * time.Hour, 12 * time.Hour, time.Hour} {
				o.clock = o.clock.Add(later)
				for range 2 {
					if err := insight.MergeAll(t.Context(), o.plane.Records, sites, o.clock); err != nil {
						t.Fatal(err)
					}
				}
				for _, c := range frozen { // that have slept since, and go on
					c.Flush(t.Context())
				}
				steps(8, 2, 2)
			}
			n := 0
			for _, host := range []string{"*", "our.example", "their.example"} {
				o.plane.Records.List(t.Context(), control.Range{Kind: control.Kind("tally/" + host)}, func(control.Record) bool { n++; return true })
			}
			if n != 6 { // an hour and a day of each
				t.Errorf("%d tallies are left, want 6", n)
			}
			bound := o.as("viewer", "their.example")
			var s struct{ Total struct{ Requests int64 } }
			bound.into(&s, "GET", "/v1/stats", "", 200)
			if s.Total.Requests != 2 {
				t.Errorf("of somebody who may see one site: %d requests, want 2", s.Total.Requests)
			}
		})
	}
}

// The console's files say what a browser may do with them.
func TestConsoleFiles(t *testing.T) {
	t.Parallel()
	o := newOperator(t)
	o.token = ""
	for _, path := range []string{"/", "/console/app.js", "/console/style.css", "/console/icon.svg"} {
		w := o.send("GET", path, "", "")
		policy := w.Header().Get("Content-Security-Policy")
		if w.Code != http.StatusOK || !strings.Contains(policy, "default-src 'none'; script-src 'self'; style-src 'self'") || !strings.Contains(policy, "frame-ancestors 'none'") || strings.Contains(policy, "unsafe") {
			t.Errorf("%s: got %d, policy %q", path, w.Code, policy)
		}
		if text := w.Body.String(); path == "/" && (strings.Contains(text, " style=") || strings.Contains(text, "onclick") || strings.Contains(text, "<script>")) {
			t.Errorf("the page has something inline: %s", text)
		}
	}
	if w := o.send("OPTIONS", "/v1/sites", "Origin: https://evil.example\nAccess-Control-Request-Method: GET", ""); w.Header().Get("Access-Control-Allow-Origin") != "" || w.Code < 400 {
		t.Errorf("another site's page may ask: %d %v", w.Code, w.Header())
	}
}
