// Package outage has parts fail under load that are as real as they get on one
// machine: Chromium, DynamoDB Local, an S3 server, and an origin.
package outage_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/stillpage/stillpage/internal/awstest"
	"github.com/stillpage/stillpage/internal/chrome"
	"github.com/stillpage/stillpage/internal/dynamo"
	"github.com/stillpage/stillpage/internal/egress"
	"github.com/stillpage/stillpage/internal/localqueue"
	"github.com/stillpage/stillpage/internal/prerender"
	"github.com/stillpage/stillpage/internal/router"
	"github.com/stillpage/stillpage/internal/s3store"
	"github.com/stillpage/stillpage/internal/telemetry"
)

func TestMain(m *testing.M) {
	chrome.KeepIfAsked()
	awstest.Main(m)
}

var quiet = slog.New(slog.DiscardHandler)

const (
	pages = 12

	// originDown is for how long the origin answers nobody.
	originDown = time.Minute

	// storeDown is for how long the store refuses everything.
	storeDown = 6 * time.Second

	// skew is how far the clocks of the two instances are apart.
	skew = 30 * time.Second
)

// world is a site, its outages, and two instances that share a store.
type world struct {
	t         *testing.T
	origin    *httptest.Server
	version   atomic.Int32 // of all pages
	originOff atomic.Bool
	storeOff  atomic.Bool
	instances [2]http.Handler

	mu      sync.Mutex
	making  map[prerender.Key]int // renders under way
	phase   string
	answers map[string]int // by phase and outcome
}

// answer is what came of one request.
type answer struct {
	status  int
	cache   string
	reason  string
	retry   string
	version int // of the page's content; -1: it is not the page
	body    string
}

func TestOutages(t *testing.T) {
	w := &world{t: t, answers: map[string]int{}, making: map[prerender.Key]int{}}
	w.version.Store(1)
	w.open()

	w.begin("warm")
	w.converge(1)
	stop := w.load()
	time.Sleep(3 * time.Second)

	w.begin("Chromium killed")
	for range 3 {
		if w.killChromium() == 0 {
			t.Error("no Chromium was killed")
		}
		time.Sleep(2 * time.Second)
	}

	w.begin("origin down")
	w.version.Store(2)
	w.originOff.Store(true)
	time.Sleep(originDown)
	w.originOff.Store(false)

	w.begin("origin back")
	w.converge(2)

	w.begin("store down")
	w.version.Store(3)
	w.storeOff.Store(true)
	time.Sleep(storeDown)
	w.storeOff.Store(false)

	w.begin("store back")
	w.converge(3)
	stop()

	for _, phase := range []string{"warm", "Chromium killed", "origin down", "origin back", "store down", "store back"} {
		t.Logf("%-16s %d pages, %d refusals", phase, w.answers[phase+" page"], w.answers[phase+" refused"])
		if w.answers[phase+" page"] == 0 {
			t.Errorf("%s: nobody got a page", phase)
		}
	}
	if w.answers["origin down origin-unreachable"] == 0 {
		t.Error("origin down: no answer says so")
	}
}

func (w *world) open() {
	t := w.t
	w.origin = httptest.NewServer(http.HandlerFunc(w.site))
	t.Cleanup(w.origin.Close)

	target, err := url.Parse(awstest.DynamoDBEndpoint(t))
	if err != nil {
		t.Fatal(err)
	}
	forward := httputil.NewSingleHostReverseProxy(target)
	forward.ErrorLog = slog.NewLogLogger(quiet.Handler(), slog.LevelDebug) // clients that give up
	database := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if w.storeOff.Load() {
			rw.Header().Set("Content-Type", "application/x-amz-json-1.0")
			rw.WriteHeader(http.StatusInternalServerError)
			io.WriteString(rw, `{"__type":"com.amazonaws.dynamodb.v20120810#InternalServerError"}`)
			return
		}
		forward.ServeHTTP(rw, r)
	}))
	t.Cleanup(database.Close)

	proxy, err := egress.Start(egress.Config{Policy: egress.Policy{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}, Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { proxy.Close() })
	renderer, err := chrome.Start(t.Context(), chrome.Config{Egress: proxy, Concurrency: 2, Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { renderer.Close() })

	origin, err := prerender.ParseOrigin(w.origin.URL)
	if err != nil {
		t.Fatal(err)
	}
	sites, err := prerender.NewSiteList(prerender.Site{Origin: origin, Settings: prerender.Settings{Lifetimes: prerender.Lifetimes{
		Success: &prerender.Lifetime{Fresh: 3 * time.Second, Stale: 3 * time.Second, IfError: time.Hour},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	table, bucket := awstest.Table(t), awstest.Bucket(t)
	for i := range w.instances {
		ahead := time.Duration(i) * skew
		now := func() time.Time { return time.Now().Add(ahead) }
		client := dynamodb.NewFromConfig(awstest.Config(), func(o *dynamodb.Options) { o.BaseEndpoint = &database.URL })
		store := &dynamo.Store{Client: client, Table: table, Bodies: &s3store.Bodies{Client: awstest.S3(t), Bucket: bucket}, Consistent: true, Now: now}
		queue := localqueue.New()
		service := &prerender.Service{
			Store: store, Leases: store, Limiter: store, Queue: queue, Now: now, Log: quiet,
			Maker: &prerender.Studio{Renderer: counted{renderer, w}, Store: store, Now: now, Log: quiet},
		}
		ctx, stop := context.WithCancel(context.Background())
		var working sync.WaitGroup
		working.Go(func() { queue.Work(ctx, service.Renew, quiet) })
		t.Cleanup(func() {
			stop()
			working.Wait()
			service.Wait(context.Background())
		})
		w.instances[i] = &router.Handler{Sites: sites, Service: service, Observer: &telemetry.Observer{Log: quiet}}
	}
}

// counted is a renderer that holds what goes through it against the promise that a page is
// made once at a time, by however many instances, and whatever their clocks say.
type counted struct {
	prerender.Renderer
	*world
}

func (c counted) Render(ctx context.Context, page prerender.Page) (*prerender.Rendering, error) {
	c.count(page.Key, 1)
	defer c.count(page.Key, -1)
	return c.Renderer.Render(ctx, page)
}

func (w *world) count(key prerender.Key, more int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.making[key] += more
	if w.making[key] > 1 && !strings.HasPrefix(w.phase, "store") { // without leases, two are better than none
		w.t.Errorf("%s: %d renders of %s at once", w.phase, w.making[key], key)
	}
}

// site is an app whose content comes from its API.
func (w *world) site(rw http.ResponseWriter, r *http.Request) {
	if w.originOff.Load() {
		panic(http.ErrAbortHandler)
	}
	if page, ok := strings.CutPrefix(r.URL.Path, "/api/"); ok {
		time.Sleep(20 * time.Millisecond) // a part of the origin under test
		fmt.Fprintf(rw, "Content of page %s, version %d. %s", page, w.version.Load(), strings.Repeat("Some more of it. ", 20))
		return
	}
	rw.Header().Set("Content-Type", "text/html")
	io.WriteString(rw, `<!DOCTYPE html><title>Shop</title><div id=root>Loading</div><script>
fetch("/api" + location.pathname).then((r) => r.text()).then((t) => root.textContent = t)</script>`)
}

func (w *world) begin(phase string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.phase = phase
}

// ask asks an instance for a page as a bot does, and holds the answer to the promise.
func (w *world) ask(instance, page int) answer {
	w.mu.Lock()
	phase := w.phase
	w.mu.Unlock()
	r := httptest.NewRequest("GET", fmt.Sprintf("/%s/%d", w.origin.URL, page), nil)
	r.Header.Set("User-Agent", "GPTBot/1.2")
	rec := httptest.NewRecorder()
	w.instances[instance].ServeHTTP(rec, r)
	a := answer{
		status: rec.Code, cache: rec.Header().Get("X-Stillpage-Cache"), reason: rec.Header().Get("X-Stillpage-Reason"),
		retry: rec.Header().Get("Retry-After"), body: rec.Body.String(), version: -1,
	}
	if _, content, ok := strings.Cut(a.body, fmt.Sprintf("Content of page %d, version ", page)); ok {
		version, _, _ := strings.Cut(content, ".")
		a.version, _ = strconv.Atoi(version)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	outcome := "page"
	switch {
	case a.status == 200 && a.version < 1:
		w.t.Errorf("%s: page %d at instance %d is not the page: %.300s", phase, page, instance, a.body)
	case a.status == 200:
	case strings.HasPrefix(phase, "store") || phase == "warm":
		// Without a store there is nothing old, and there are more pages to be made at
		// once than can be.
		outcome = "refused"
		if a.status < 500 || a.retry == "" || a.reason == "" {
			w.t.Errorf("%s: page %d at instance %d: got %d, reason %q, Retry-After %q", phase, page, instance, a.status, a.reason, a.retry)
		}
	default:
		w.t.Errorf("%s: page %d at instance %d: got %d %q, although there is an old one", phase, page, instance, a.status, a.reason)
	}
	w.answers[phase+" "+outcome]++
	w.answers[phase+" "+a.reason]++
	return a
}

// load asks for pages at random until stop is called.
func (w *world) load() (stop func()) {
	ctx, cancel := context.WithCancel(w.t.Context())
	var all sync.WaitGroup
	for range 3 {
		all.Go(func() {
			for ctx.Err() == nil {
				w.ask(rand.IntN(len(w.instances)), rand.IntN(pages))
				time.Sleep(150 * time.Millisecond) // the pace of the load
			}
		})
	}
	return func() {
		cancel()
		all.Wait()
	}
}

// converge returns when both instances answer a version of every page.
func (w *world) converge(version int) {
	w.t.Helper()
	deadline := time.Now().Add(2 * time.Minute)
	for instance := range w.instances {
		for page := range pages {
			for a := w.ask(instance, page); a.version != version; a = w.ask(instance, page) {
				if time.Now().After(deadline) {
					w.t.Fatalf("page %d at instance %d stays at version %d, %q %q; want %d", page, instance, a.version, a.cache, a.reason, version)
				}
				time.Sleep(100 * time.Millisecond) // the pace of asking again
			}
		}
	}
}

// killChromium kills the browser's processes, and says how many. They are those of
// this process: nothing else on the machine is touched.
func (w *world) killChromium() (killed int) {
	files, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		w.t.Fatal(err)
	}
	parents := map[int]int{}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			continue // it has ended
		}
		fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(f)))
		parents[pid], _ = strconv.Atoi(fields[1])
	}
	for pid := range parents {
		ours := false
		for parent := pid; parent > 1 && !ours; parent = parents[parent] {
			ours = parents[parent] == os.Getpid()
		}
		line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		chromium := strings.Contains(string(line), "--type=") || strings.Contains(string(line), "--headless")
		if ours && err == nil && chromium && syscall.Kill(pid, syscall.SIGKILL) == nil {
			killed++
		}
	}
	return killed
}
