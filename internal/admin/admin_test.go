package admin_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stillpage/stillpage/internal/admin"
	"github.com/stillpage/stillpage/internal/awstest"
	"github.com/stillpage/stillpage/internal/boltstore"
	"github.com/stillpage/stillpage/internal/control"
	"github.com/stillpage/stillpage/internal/dynamo"
	"github.com/stillpage/stillpage/internal/prerender"
	"github.com/stillpage/stillpage/internal/report"
	"github.com/stillpage/stillpage/internal/warm"
)

func TestMain(m *testing.M) { awstest.Main(documented{m}) }

// operator asks an API with a real store, which has one fixed site.
type operator struct {
	t     testing.TB
	pages prerender.Store
	sites *control.Sites
	plane *control.Plane
	admin *admin.API
	api   http.Handler
	token string // the first admin's; another is sent when it is another
	clock time.Time

	queued, renewed []prerender.Key
	inspect         func(page prerender.Page) (*report.Report, error)
}

const firstToken = "sp_admin_test"

var quiet = slog.New(slog.DiscardHandler)

func newOperator(t testing.TB) *operator {
	store := openBolt(t)
	return newOperatorWith(t, store, store.Records())
}

func openBolt(t testing.TB) *boltstore.Store {
	store, err := boltstore.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	return store
}

// overDynamoDB is newOperator on DynamoDB Local.
func overDynamoDB(t testing.TB) *operator {
	db := awstest.DynamoDB(t)
	pages, records := awstest.Tables(t)
	return newOperatorWith(t, &dynamo.Store{Client: db, Table: pages, Consistent: true}, &dynamo.Records{Client: db, Table: records})
}

// stores are what everything is tested over.
var stores = map[string]func(testing.TB) *operator{"bbolt": newOperator, "DynamoDB Local": overDynamoDB}

func newOperatorWith(t testing.TB, pages prerender.Store, records control.Store) *operator {
	fixed, err := prerender.NewSiteList(prerender.Site{
		Origin: prerender.Origin{Scheme: "http", Host: "127.0.0.1:8080"}, Settings: prerender.Settings{Vary: &prerender.VaryRule{Mobile: true}},
	})
	if err != nil {
		t.Fatal(err)
	}
	o := &operator{t: t, pages: pages, sites: &control.Sites{Records: records, Log: quiet}, token: firstToken, clock: time.Now()}
	now := func() time.Time { return o.clock }
	o.plane = &control.Plane{Ledger: &control.Ledger{Records: records, Now: now, Log: quiet}, Pages: pages, Fixed: fixed}
	jobs := &warm.Scheduler{Plane: o.plane, Queue: o, Remake: o.remake, Now: now, Log: quiet}
	o.admin = &admin.API{
		Status: func(context.Context) admin.Status {
			return admin.Status{Sites: []string{"https://our.example", "https://their.example"}, Warming: map[string]prerender.WarmRun{"https://their.example": {}}}
		}, Plane: o.plane, Log: quiet, Now: now, Do: jobs.Do,
		Principal: admin.Bearer(firstToken, &control.TokenCache{Records: records, Now: now}), Login: admin.Login{Mode: "token"},
		Inspect: func(_ context.Context, page prerender.Page) (*report.Report, error) { return o.inspect(page) },
	}
	o.api = o.admin.Handler()
	return o
}

func (o *operator) Enqueue(_ context.Context, p prerender.Page) error {
	o.queued = append(o.queued, p.Key)
	return nil
}

func (o *operator) remake(_ context.Context, p prerender.Page) (*prerender.Snapshot, error) {
	o.renewed = append(o.renewed, p.Key)
	return &prerender.Snapshot{Expires: o.clock.Add(time.Hour)}, nil
}

// send sends a request with headers like "If-Match: 1", a line each.
func (o *operator) send(method, path, headers, body string) *httptest.ResponseRecorder {
	o.t.Helper()
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	if o.token != "" {
		r.Header.Set("Authorization", "Bearer "+o.token)
	}
	for line := range strings.Lines(headers) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		r.Header.Set(name, value)
	}
	w := httptest.NewRecorder()
	o.api.ServeHTTP(w, r)
	note(r, body, w)
	return w
}

// ask returns the ETag and the body of an answer, which must have the status.
func (o *operator) ask(method, path, ifMatch, body string, status int) (etag, text string) {
	o.t.Helper()
	headers := ""
	if ifMatch != "" {
		headers = "If-Match: " + ifMatch
	}
	w := o.send(method, path, headers, body)
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

// into is ask, whose body is read into a value.
func (o *operator) into(v any, method, path, body string, status int) {
	o.t.Helper()
	_, text := o.ask(method, path, "", body, status)
	if err := json.Unmarshal([]byte(text), v); err != nil {
		o.t.Fatalf("%s %s: %v in %s", method, path, err, text)
	}
}

func TestHealthFollowsFaults(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		status admin.Status
		code   int
		body   string
	}{
		{admin.Status{}, 200, "ok\n"},
		{admin.Status{Faults: []string{"Chromium is not running"}}, 503, "Chromium is not running\n"},
	} {
		o := newOperator(t)
		o.admin.Status = func(context.Context) admin.Status { return tt.status }
		if w := o.send("GET", "/healthz", "", ""); w.Code != tt.code || w.Body.String() != tt.body {
			t.Errorf("got %d %q, want %d %q", w.Code, w.Body, tt.code, tt.body)
		}
		var got admin.Status
		if o.into(&got, "GET", "/v1/status", "", 200); got.Healthy != (tt.code == 200) {
			t.Errorf("status: got %+v", got)
		}
	}
}

// What is not there, and what is not done, is said as a problem.
func TestUnrouted(t *testing.T) {
	t.Parallel()
	o := newOperator(t)
	if w := o.send("POST", "/v1/status", "", ""); w.Code != 405 || !strings.Contains(w.Header().Get("Allow"), "GET") || !strings.Contains(w.Body.String(), "/v1/status") {
		t.Errorf("POST: got %d %v %s", w.Code, w.Header(), w.Body)
	}
	o.ask("GET", "/v2", "", "", 404)
	o.ask("GET", "/console/nothing.js", "", "", 404)
}
