package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"image/png"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stillpage/stillpage/internal/awstest"
	"github.com/stillpage/stillpage/internal/chrome"
)

// The test binary is the program when this variable is set, so that signals,
// exit codes and what is left behind are those of a real process.
const beProgram = "STILLPAGE_TEST_BE_PROGRAM"

func TestMain(m *testing.M) {
	chrome.KeepIfAsked()
	if os.Getenv(beProgram) != "" {
		main()
	}
	awstest.Main(m)
}

// program is a running stillpage.
type program struct {
	*exec.Cmd
	edge, router, admin, token string // URLs
	tmp                        string // its TMPDIR
	stderr                     *lockedBuffer
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func command(t *testing.T, tmp string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), beProgram+"=1", "TMPDIR="+tmp)
	return cmd
}

// start runs `stillpage serve` on free ports and waits until it is ready.
func start(t *testing.T, args ...string) *program {
	t.Helper()
	return startWith(t, nil, append([]string{"--listen=127.0.0.1:0", "--router-listen=127.0.0.1:0", "--admin-listen=127.0.0.1:0"}, args...)...)
}

// startWith runs `stillpage serve` with more in its environment, and waits until it is ready.
func startWith(t *testing.T, env []string, args ...string) *program {
	t.Helper()
	p := &program{tmp: t.TempDir(), stderr: &lockedBuffer{}}
	p.Cmd = command(t, p.tmp, append([]string{"serve"}, args...)...)
	p.Env = append(p.Env, env...)
	p.Stderr = p.stderr
	out, err := p.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.Process.Signal(syscall.SIGTERM)
		p.Wait()
		if t.Failed() {
			t.Logf("stderr of %v:\n%s", args, p.stderr)
		}
	})
	var banner strings.Builder
	buf := make([]byte, 4096)
	for !strings.Contains(banner.String(), "token") || strings.Contains(banner.String(), "shown this once") && !strings.Contains(banner.String(), "sp_admin_") {
		n, err := out.Read(buf)
		banner.Write(buf[:n])
		if err != nil {
			t.Fatalf("%v ended early: %v\n%s%s", args, err, banner.String(), p.stderr)
		}
	}
	for name, field := range map[string]*string{"edge": &p.edge, "router": &p.router, "admin": &p.admin} {
		if m := regexp.MustCompile(name + ` +(http://[0-9.:]+)`).FindStringSubmatch(banner.String()); m != nil {
			*field = m[1]
		}
	}
	said := banner.String()
	if m := regexp.MustCompile(`token is in (.+)\.\n`).FindStringSubmatch(said); m != nil {
		if strings.Contains(said, "sp_admin_") {
			t.Errorf("the token is in the log, which others read:\n%s", said)
		}
		text, err := os.ReadFile(m[1])
		if err != nil {
			t.Fatal(err)
		}
		said = string(text)
	}
	p.token = "Bearer " + regexp.MustCompile(`sp_admin_\w+|$`).FindString(said)
	return p
}

// left describes what the program left behind.
func (p *program) left() string {
	files, _ := filepath.Glob(p.tmp + "/*")
	lines, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, f := range lines {
		if line, err := os.ReadFile(f); err == nil && bytes.Contains(line, []byte(p.tmp)) {
			files = append(files, strings.ReplaceAll(string(line), "\x00", " "))
		}
	}
	return strings.Join(files, "\n")
}

func (p *program) wantNothingLeft(t *testing.T) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); p.left() != ""; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("left behind:\n%s", p.left())
		}
	}
}

type response struct {
	*http.Response
	body string
}

func get(t *testing.T, method, url, agent string, header ...string) response {
	t.Helper()
	r, err := http.NewRequest(method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("User-Agent", agent)
	r.Header.Set("Accept-Encoding", "identity")
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	client := http.Client{Timeout: 40 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	res, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response{res, string(body)}
}

func (r response) cache() string { return r.Header.Get("X-Stillpage-Cache") }

const (
	bot    = "Mozilla/5.0 (compatible; GPTBot/1.2; +https://openai.com/gptbot)"
	person = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Safari/537.36"
)

// What README's tour shows.
func TestDemo(t *testing.T) {
	t.Parallel()
	p := start(t, "--demo")
	item := p.edge + "/items/brass-kettle"

	page := get(t, "GET", item, bot)
	for _, want := range []string{"<h1>Brass Kettle</h1>", "€74.00", `"@type":"Product"`, ".price { color:", "Tea Tin", `rel="canonical"`} {
		if !strings.Contains(page.body, want) {
			t.Errorf("bot's page lacks %q:\n%s", want, page.body)
		}
	}
	if strings.Contains(page.body, "<script type=\"module\"") || page.StatusCode != 200 || page.cache() != "miss" {
		t.Errorf("bot's page: got %d %q:\n%s", page.StatusCode, page.cache(), page.body)
	}
	if again := get(t, "GET", item, bot); again.cache() != "hit" || again.body != page.body {
		t.Errorf("second request: got %q, want the same page as a hit", again.cache())
	}
	if zipped := get(t, "GET", item, bot, "Accept-Encoding", "gzip"); zipped.Header.Get("Content-Encoding") != "gzip" || len(zipped.body) >= len(page.body) {
		t.Errorf("gzip: got %q, %d bytes", zipped.Header.Get("Content-Encoding"), len(zipped.body))
	}
	if head := get(t, "HEAD", item, bot); head.body != "" || head.Header.Get("Content-Length") != fmt.Sprint(len(page.body)) {
		t.Errorf("HEAD: got %q, Content-Length %s", head.body, head.Header.Get("Content-Length"))
	}
	if shell := get(t, "GET", item, person); !strings.Contains(shell.body, `<div id="app"></div>`) || strings.Contains(shell.body, "Kettle") || shell.cache() != "" {
		t.Errorf("person: got %s", shell.body)
	}
	if missing := get(t, "GET", p.edge+"/items/nothing", bot); missing.StatusCode != 404 || !strings.Contains(missing.body, "Not found") {
		t.Errorf("missing item: got %d", missing.StatusCode)
	}
	if moved := get(t, "GET", p.edge+"/old/tea-tin", bot); moved.StatusCode != 301 || moved.Header.Get("Location") != "/items/tea-tin" || moved.body != "" {
		t.Errorf("moved item: got %d %q", moved.StatusCode, moved.Header.Get("Location"))
	}
	if asset := get(t, "GET", p.edge+"/app.js", bot); !strings.Contains(asset.Header.Get("Content-Type"), "javascript") {
		t.Errorf("asset: got %v", asset.Header)
	}
	if api := get(t, "GET", p.router+"/"+strings.Replace(item, "http://127.0.0.1", "http://localhost", 1), bot); !strings.Contains(api.body, "Brass Kettle") {
		t.Errorf("by the router, under the machine's other name: got %d %s", api.StatusCode, api.body)
	}
	if health := get(t, "GET", p.admin+"/healthz", ""); health.StatusCode != 200 || health.body != "ok\n" {
		t.Errorf("health: got %d %q", health.StatusCode, health.body)
	}
}

func (p *program) renders(t *testing.T) int {
	t.Helper()
	var s struct {
		Renderer struct{ Renders int }
		Pages    int
	}
	if err := json.Unmarshal([]byte(get(t, "GET", p.admin+"/v1/status", "", "Authorization", p.token).body), &s); err != nil {
		t.Fatal(err)
	}
	return s.Renderer.Renders
}

func TestTenBotsOneRender(t *testing.T) {
	t.Parallel()
	p := start(t, "--demo")
	sources := make(chan string, 10)
	for range cap(sources) {
		go func() { sources <- get(t, "GET", p.edge+"/items/oak-board", bot).cache() }()
	}
	count := map[string]int{}
	for range cap(sources) {
		count[<-sources]++
	}
	if n := p.renders(t); n != 1 || count["miss"] != 1 || count["miss"]+count["coalesced"]+count["hit"] != 10 {
		t.Errorf("got %d renders and %v, want one render, one miss", n, count)
	}
}

func TestStopFinishesWhatIsInFlight(t *testing.T) {
	t.Parallel()
	asked, release := make(chan struct{}), make(chan struct{})
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/api" {
			close(asked)
			<-release
			io.WriteString(w, "data")
			return
		}
		w.Header().Set("Content-Type", "text/html")
		io.WriteString(w, `<p id=p></p><script>fetch("/api").then((r) => r.text()).then(() => fetch("/late.txt")).then((r) => p.append(r.ok ? "finished" : "cut off"))</script>`)
	}))
	defer app.Close()
	p := start(t, "--origin", app.URL)
	answer := make(chan response, 1)
	go func() { answer <- get(t, "GET", p.edge+"/", bot) }()
	<-asked
	p.Process.Signal(syscall.SIGTERM)
	addr := strings.TrimPrefix(p.edge, "http://")
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			break // no longer accepted
		}
		conn.Close()
		if time.Now().After(deadline) {
			t.Fatal("still accepting after SIGTERM")
		}
	}
	close(release)
	if got := <-answer; got.StatusCode != 200 || !strings.Contains(got.body, "finished") {
		t.Errorf("in flight: got %d %q, want the whole page", got.StatusCode, got.body)
	}
	if err := p.Wait(); err != nil {
		t.Errorf("exit: %v", err)
	}
	if left := p.left(); left != "" {
		t.Errorf("left behind:\n%s", left)
	}
}

func TestKillLeavesNothing(t *testing.T) {
	t.Parallel()
	p := start(t, "--demo")
	get(t, "GET", p.edge+"/about", bot)
	if p.left() == "" {
		t.Fatal("no process and no file is seen while it runs")
	}
	p.Process.Kill()
	p.Wait()
	p.wantNothingLeft(t)
}

func TestDataSurvivesARestart(t *testing.T) {
	t.Parallel()
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		io.WriteString(w, "<p>kept</p>")
	}))
	defer app.Close()
	data := filepath.Join(t.TempDir(), "data")
	for _, want := range []string{"miss", "hit"} {
		p := start(t, "--site", app.URL, "--data", data)
		if got := get(t, "GET", p.router+"/"+app.URL+"/page", bot); got.cache() != want || !strings.Contains(got.body, "kept") {
			t.Errorf("got %q %q, want %s", got.cache(), got.body, want)
		}
		if want == "miss" {
			out, err := command(t, t.TempDir(), "serve", "--demo", "--data", data, "--listen=127.0.0.1:0", "--router-listen=127.0.0.1:0", "--admin-listen=127.0.0.1:0").CombinedOutput()
			if err == nil || !strings.Contains(string(out), "another stillpage uses this data directory") {
				t.Errorf("second program on one directory: got %v, %s", err, out)
			}
		}
		p.Process.Signal(syscall.SIGTERM)
		if err := p.Wait(); err != nil {
			t.Fatal(err)
		}
	}
}

// A purge by the admin address reaches the pages with the tag, and no others.
func TestPurge(t *testing.T) {
	t.Parallel()
	var version atomic.Int32
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprintf(w, `<meta name=prerender-header content="Cache-Tag: of%s"><p>version %d</p>`, strings.ReplaceAll(r.URL.Path, "/", "-"), version.Load())
	}))
	defer app.Close()
	p := start(t, "--site", app.URL)
	for _, path := range []string{"/a", "/b"} {
		if got := get(t, "GET", p.router+"/"+app.URL+path, bot); got.cache() != "miss" || got.Header.Get("Cache-Tag") != "" {
			t.Fatalf("%s: got %q %v", path, got.cache(), got.Header)
		}
	}
	version.Store(1)
	order := func(more string) (status int, body string) {
		t.Helper()
		r, err := http.NewRequest("POST", p.admin+"/v1/purges", strings.NewReader(fmt.Sprintf(`{"site":%q,%s}`, app.URL, more)))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Authorization", p.token)
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		text, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return res.StatusCode, string(text)
	}
	for purge, pages := range map[string]int{`"tag":"of-a"`: 1, `"path":"/*"`: 2, `"path":"/b","hard":true`: 1, `"tag":"of"`: 0} {
		if status, body := order(purge + `,"dryRun":true`); status != 200 || body != fmt.Sprintf("{\n  \"pages\": %d,\n  \"complete\": true\n}\n", pages) {
			t.Errorf("dry run of %s: got %d %s, want %d pages", purge, status, body, pages)
		}
	}
	if status, body := order(`"tag":"of-a","hard":true`); status != http.StatusCreated {
		t.Fatalf("purge: got %d %s", status, body)
	}
	got := get(t, "GET", p.router+"/"+app.URL+"/a", bot)
	for deadline := time.Now().Add(20 * time.Second); got.cache() == "hit" && time.Now().Before(deadline); { // it reads its sites every second
		got = get(t, "GET", p.router+"/"+app.URL+"/a", bot)
	}
	if got.cache() != "miss" || !strings.Contains(got.body, "version 1") {
		t.Errorf("purged: got %q %s", got.cache(), got.body)
	}
	if got := get(t, "GET", p.router+"/"+app.URL+"/b", bot); got.cache() != "hit" || !strings.Contains(got.body, "version 0") {
		t.Errorf("not purged: got %q %s", got.cache(), got.body)
	}
}

// What is warmed is there when a bot comes; a second run asks for what has failed
// or changed.
func TestWarm(t *testing.T) {
	t.Parallel()
	var siteURL atomic.Value
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/sitemap.xml":
			fmt.Fprintf(w, `<urlset><url><loc>%[1]s/a</loc><lastmod>2020-01-01</lastmod></url><url><loc>%[1]s/b</loc></url><url><loc>%[1]s/logo.png</loc></url></urlset>`, siteURL.Load())
		default:
			w.Header().Set("Content-Type", "text/html")
			fmt.Fprintf(w, "<p>page %s</p>", r.URL.Path)
		}
	}))
	defer app.Close()
	p := start(t, "--origin", app.URL)
	siteURL.Store(p.edge)
	state := filepath.Join(t.TempDir(), "state")
	run := func() (string, string, error) {
		var stdout, stderr strings.Builder
		cmd := command(t, t.TempDir(), "warm", "--sitemap", p.edge+"/sitemap.xml", "--rate=100", "--state", state)
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		err := cmd.Run()
		return stdout.String(), stderr.String(), err
	}
	stdout, stderr, err := run()
	for _, text := range []string{"2 rendered, 0 there already, 0 being renewed, 1 failed", "1 × the answer is not Stillpage's", "/logo.png"} {
		if !strings.Contains(stdout, text) {
			t.Errorf("got %s, want it to say %q", stdout, text)
		}
	}
	if err == nil || !strings.Contains(stderr, "3 pages, 3 to be asked for") || !strings.Contains(stderr, "1 of 3 pages are not there") {
		t.Errorf("got %v, %s, want a failure that counts", err, stderr)
	}
	for _, path := range []string{"/a", "/b"} {
		if got := get(t, "GET", p.edge+path, bot); got.cache() != "hit" {
			t.Errorf("%s: got %q, want a hit", path, got.cache())
		}
	}
	if _, stderr, _ := run(); !strings.Contains(stderr, "3 pages, 1 to be asked for") {
		t.Errorf("second run: got %s", stderr)
	}
}

func TestProgressLine(t *testing.T) {
	t.Parallel()
	for want, got := range map[string]string{
		"[########            ] 40 % of 500, 2.0/s, 2m30s left: x": progressLine(200, 500, 100*time.Second, "x"),
		"[                    ] 0 % of 3, 0.0/s, ? left: x":        progressLine(0, 3, 0, "x"),
		"[####################] 100 % of 3, 3.0/s, 0s left: x":     progressLine(3, 3, time.Second, "x"),
		"[                    ] 0 % of 0, 0.0/s, ? left: x":        progressLine(0, 0, time.Second, "x"),
	} {
		if got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

func TestBadRequests(t *testing.T) {
	t.Parallel()
	var asked sync.Map
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { asked.Store(r.URL.Path, true) }))
	defer app.Close()
	closed := httptest.NewServer(nil)
	closed.Close()
	p := start(t, "--site", closed.URL, "--token", "secret")
	for _, tt := range []struct {
		path   string
		status int
		reason string
	}{
		{"/" + app.URL + "/x", 404, "site-unknown"},
		{"/not-a-url", 404, "url-invalid"},
		{"/" + closed.URL + "/x", 502, "origin-unreachable"},
		{"/" + closed.URL + "/x", 502, "origin-unreachable"}, // it was not kept as a page
	} {
		got := get(t, "GET", p.router+tt.path, bot, "X-Prerender-Token", "secret")
		if got.StatusCode != tt.status || got.Header.Get("X-Stillpage-Reason") != tt.reason {
			t.Errorf("%s: got %d %q, want %d %q", tt.path, got.StatusCode, got.Header.Get("X-Stillpage-Reason"), tt.status, tt.reason)
		}
	}
	if got := get(t, "GET", p.router+"/"+closed.URL+"/", bot); got.StatusCode != 403 {
		t.Errorf("without the token: got %d, want 403", got.StatusCode)
	}
	asked.Range(func(path, _ any) bool {
		t.Errorf("the unknown site was asked for %s", path)
		return true
	})
}

func TestCommandLine(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for _, tt := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"serve"}, exitUsage, "give --site URL"},
		{[]string{"serve", "--demo", "--concurrency", "many"}, exitUsage, "must be a number from 1 to 256"},
		{[]string{"serve", "--demo", "--listen", taken.Addr().String(), "--router-listen=127.0.0.1:0", "--admin-listen=127.0.0.1:0"}, exitFailure, "is in use"},
		{[]string{"serve", "--site=http://a.example", "--site=https://A.example", "--router-listen=127.0.0.1:0", "--admin-listen=127.0.0.1:0"}, exitUsage, "given twice"},
		{[]string{"nonsense"}, exitUsage, "there is no command"},
		{[]string{"render"}, exitUsage, "takes one URL"},
		{[]string{"render", "example.com"}, exitUsage, "write it like https://"},
		{[]string{"render", "http://127.0.0.1:1/"}, exitFailure, "origin unreachable"},
		{[]string{"render", "--chromium=/nonexistent", "http://127.0.0.1:1/"}, exitFailure, "/nonexistent"},
		{[]string{"help"}, exitOK, "STILLPAGE_EGRESS_ALLOW"},
		{[]string{"serve", "--help"}, exitOK, "--egress-allow"},
		{nil, exitOK, "stillpage render URL"},
		{[]string{"version"}, exitOK, "stillpage dev"},
	} {
		cmd := command(t, t.TempDir(), tt.args...)
		out, _ := cmd.CombinedOutput()
		if code := cmd.ProcessState.ExitCode(); code != tt.code || !strings.Contains(string(out), tt.want) {
			t.Errorf("stillpage %q: got exit %d, %q; want %d and %q", tt.args, code, out, tt.code, tt.want)
		}
	}
}

// The report shows both sides of a page that bots get less of than people: the
// app looks at who asks.
func TestReport(t *testing.T) {
	t.Parallel()
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Robots-Tag", "noindex")
		io.WriteString(w, `<!DOCTYPE html><title>Two faces</title><link rel="canonical" href="/elsewhere">
<script type="application/ld+json">{"@type": "Thing"}</script><p>Both see this line, which is long enough to count as text.</p>
<p id=p></p><script>console.error("no luck"); p.textContent = window.__stillpage ? "a bot only" : "a person only"; fetch("/x").catch(() => 0)</script>`)
	}))
	defer app.Close()
	file := filepath.Join(t.TempDir(), "out.html")
	if out, err := command(t, t.TempDir(), "render", app.URL+"/p#!/x", "--report", file).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	html, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"Noindex: ", "Canonical elsewhere: the page says that it is " + app.URL + "/elsewhere", "Console errors: 1", "<pre>no luck</pre>",
		`<p class="person">- a person only</p>`, `<p class="bot">&#43; a bot only</p>`, `<p class="both">  Both see this line`,
		"{&#34;@type&#34;: &#34;Thing&#34;}", "Two faces", "<svg", `alt="The page in a browser" src="data:image/jpeg;base64,/9j/`,
		`alt="The snapshot in a browser, with scripts off" src="data:image/jpeg;base64,/9j/`, "The page was taken because ",
	} {
		if !strings.Contains(string(html), want) {
			t.Errorf("the report lacks %q", want)
		}
	}
	if strings.Contains(string(html), "<script") {
		t.Error("the report has a script")
	}
}

func TestRenderCommand(t *testing.T) {
	t.Parallel()
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		io.WriteString(w, `<meta name="prerender-status-code" content="410"><p id=p></p>
<script>p.append(location.search + location.hash); document.title = "T"</script><script src="https://www.google-analytics.com/a.js"></script><script>oops()</script>`)
	}))
	defer app.Close()
	url := app.URL + "/p?utm_source=kept&x=%2C#!/route"
	tmp := t.TempDir()
	out, err := command(t, tmp, "render", url).Output()
	if err != nil || !strings.Contains(string(out), "?utm_source=kept&amp;x=%2C#!/route</p>") {
		t.Errorf("got %v, %s", err, out)
	}

	shot := filepath.Join(t.TempDir(), "shot.png")
	out, err = command(t, tmp, "render", url, "--json", "--screenshot", shot).Output()
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		URL, Title        string
		Status            int
		Headers           http.Header
		Timings           map[string]float64
		Sizes             struct{ HTML, Transferred int }
		Requests          int
		Warnings, Blocked []string
		Failed            []any
	}
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if got.URL != url || got.Status != 410 || got.Title != "T" || got.Headers.Get("Content-Type") == "" || got.Timings["total"] <= 0 ||
		got.Sizes.HTML == 0 || got.Sizes.Transferred == 0 || got.Requests != 2 ||
		len(got.Blocked) != 1 || len(got.Warnings) != 1 || got.Failed == nil {
		t.Errorf("got %s", out)
	}
	f, err := os.Open(shot)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := png.Decode(f); err != nil {
		t.Errorf("screenshot: %v", err)
	}
	if left, _ := filepath.Glob(tmp + "/*"); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// The pages of a sitemap are there before anybody has asked for them.
func TestServeKeepsSitemapWarm(t *testing.T) {
	t.Parallel()
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/sitemap.xml" {
			fmt.Fprintf(w, "http://%[1]s/a\nhttp://%[1]s/b\nhttps://elsewhere.example/\n", r.Host)
			return
		}
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprintf(w, `<p>page %s</p>`, r.URL.Path)
	}))
	defer app.Close()
	p := start(t, "--site", app.URL, "--warm-sitemap", app.URL+"/sitemap.xml")
	var status struct {
		Pages   int
		Warming map[string]struct {
			Ended time.Time
			Pages map[string]int
		}
	}
	for deadline := time.Now().Add(30 * time.Second); status.Pages < 2 || status.Warming[app.URL].Ended.IsZero(); {
		if time.Now().After(deadline) {
			t.Fatalf("not warm: %+v", status)
		}
		time.Sleep(50 * time.Millisecond) // a pause between looks
		if err := json.Unmarshal([]byte(get(t, "GET", p.admin+"/v1/status", "", "Authorization", p.token).body), &status); err != nil {
			t.Fatal(err)
		}
	}
	if run := status.Warming[app.URL]; run.Pages["queued"] != 2 || run.Pages["foreign"] != 1 {
		t.Errorf("got %+v", run)
	}
	for _, path := range []string{"/a", "/b"} {
		if got := get(t, "GET", p.router+"/"+app.URL+path, bot); got.cache() != "hit" || !strings.Contains(got.body, "page "+path) {
			t.Errorf("%s: got %q %s", path, got.cache(), got.body)
		}
	}
}
