package main

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/stillpage/stillpage/internal/demo"
)

// listening runs a command that says where it listens.
func listening(t *testing.T, args ...string) (cmd *exec.Cmd, base string, rest *lockedBuffer) {
	t.Helper()
	cmd, rest = command(t, t.TempDir(), args...), &lockedBuffer{}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = rest
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill() })
	address := regexp.MustCompile(`http://[0-9.]+:\d+`)
	buf := make([]byte, 4096)
	said := ""
	for !address.MatchString(said) {
		n, err := out.Read(buf)
		if said += string(buf[:n]); err != nil {
			t.Fatalf("%v: %v\n%s%s", args, err, said, rest)
		}
	}
	go io.Copy(rest, out)
	return cmd, address.FindString(said), rest
}

// A session of the demo shop is recorded through the whole program, and comes again byte for
// byte: each answer of its servers, and so each page.
func TestRecordedSessionReplays(t *testing.T) {
	t.Parallel()
	shop := demo.Handler()
	type answer struct {
		status int
		body   string
	}
	var mu sync.Mutex
	live := map[string]answer{}
	var order []string
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen := httptest.NewRecorder()
		shop.ServeHTTP(seen, r)
		for name, values := range seen.Header() {
			w.Header()[name] = values
		}
		w.WriteHeader(seen.Code)
		w.Write(seen.Body.Bytes())
		target := r.Method + " " + r.URL.RequestURI()
		mu.Lock()
		defer mu.Unlock()
		if _, again := live[target]; !again {
			order = append(order, target)
		}
		live[target] = answer{seen.Code, seen.Body.String()}
	}))
	defer app.Close()
	file := filepath.Join(t.TempDir(), "session.jsonl")
	recorder, recording, _ := listening(t, "record", "--to", app.URL, "--listen", "127.0.0.1:0", "--file", file)

	paths := []string{"/", "/about", "/items/brass-kettle", "/items/oak-board", "/items/nothing", "/items/tea-tin", "/old/tea-tin"}
	session := func(origin string) map[string]string {
		p := start(t, "--origin", origin, "--concurrency", "1")
		pages := map[string]string{}
		for _, path := range paths {
			r := get(t, "GET", p.edge+path, bot)
			pages[path] = r.Status + " " + r.Header.Get("Location") + "\n" + strings.ReplaceAll(r.body, strings.TrimPrefix(p.edge, "http://"), "EDGE")
		}
		p.Process.Signal(syscall.SIGTERM)
		p.Wait()
		return pages
	}
	want := session(recording)
	recorder.Process.Signal(syscall.SIGTERM)
	if err := recorder.Wait(); err != nil {
		t.Errorf("record: %v", err)
	}
	app.Close() // nobody asks it from here on

	player, replay, said := listening(t, "mock", "--file", file, "--listen", "127.0.0.1:0", "--latency", "1ms")
	got := session(replay)
	for _, path := range paths {
		if got[path] != strings.ReplaceAll(want[path], strings.TrimPrefix(recording, "http://"), strings.TrimPrefix(replay, "http://")) {
			t.Errorf("%s:\ngot  %q\nwant %q", path, got[path], want[path])
		}
	}
	if !strings.Contains(want["/items/brass-kettle"], "loud when it boils") {
		t.Errorf("the session has no page: %s", want["/items/brass-kettle"])
	}
	if len(order) < 10 {
		t.Errorf("only %v was asked for", order)
	}
	for _, target := range order {
		method, path, _ := strings.Cut(target, " ")
		r := get(t, method, replay+path, "curl")
		if r.StatusCode != live[target].status || r.body != live[target].body {
			t.Errorf("%s: got %d %q, want %d %q", target, r.StatusCode, r.body, live[target].status, live[target].body)
		}
	}
	player.Process.Signal(syscall.SIGTERM)
	if err := player.Wait(); err != nil {
		t.Errorf("mock: %v\n%s", err, said)
	}
}

// What was not recorded is named at the end, and is a failure.
func TestMockNamesWhatIsMissing(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "session.jsonl")
	if err := os.WriteFile(file, []byte(`{"stillpageRecording":1,"recordedAt":"2026-11-22T10:00:00Z","scrubbed":[]}`+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	player, replay, said := listening(t, "mock", "--file", file, "--listen", "127.0.0.1:0")
	get(t, "GET", replay+"/api/items?page=2", "curl")
	player.Process.Signal(syscall.SIGTERM)
	if err := player.Wait(); err == nil || player.ProcessState.ExitCode() != exitFailure || !strings.Contains(said.String(), "1 not recorded: GET /api/items?page=2") {
		t.Errorf("got %v: %s", err, said)
	}
}

func TestLoadCommand(t *testing.T) {
	t.Parallel()
	p := start(t, "--demo")
	report := filepath.Join(t.TempDir(), "load.html")
	run := func(want int, args ...string) (stdout, stderr string) {
		t.Helper()
		var out, err bytes.Buffer
		cmd := command(t, t.TempDir(), append([]string{"load"}, args...)...)
		cmd.Stdout, cmd.Stderr = &out, &err
		cmd.Run()
		if got := cmd.ProcessState.ExitCode(); got != want {
			t.Errorf("load %v: exit status %d, want %d\n%s%s", args, got, want, &out, &err)
		}
		return out.String(), err.String()
	}
	page := p.edge + "/items/brass-kettle"
	out, _ := run(exitOK, page, p.edge+"/about", "--rate", "20", "--for", "3s", "--metrics", p.admin+"/metrics", "--report", report, "--json", "--max-failed", "0", "--max-p50", "1m")
	var numbers struct {
		Due, Failed  int
		Outcomes     map[string]int
		Milliseconds map[string]float64
		Checks       []struct{ OK bool }
	}
	if err := json.Unmarshal([]byte(out), &numbers); err != nil {
		t.Fatal(err)
	}
	if numbers.Due < 20 || numbers.Failed != 0 || numbers.Outcomes["hit"] < 10 || numbers.Outcomes["miss"] != 2 || len(numbers.Checks) != 2 || numbers.Milliseconds["p99"] <= 0 {
		t.Errorf("got %+v", numbers)
	}
	html, err := os.ReadFile(report)
	if err != nil || !strings.Contains(string(html), "Memory, MB") || !strings.Contains(string(html), "Processor, cores in use") {
		t.Errorf("the report: %v, %.300s", err, html)
	}
	if text, err := run(exitFailure, page, "--for", "2s", "--max-p99", "1us"); !strings.Contains(text, "MISSED") || !strings.Contains(err, "missed: p99 is") {
		t.Errorf("got %s%s", text, err)
	}
	if _, err := run(exitFailure, page, "--metrics", p.edge+"/"); !strings.Contains(err, "is not /metrics") {
		t.Errorf("got %s", err)
	}
	if text, _ := run(exitFailure, p.router+"/http://other.example/", "--for", "1s", "--rate", "20", "--min-rate", "100"); !strings.Contains(text, "refused: site-unknown") {
		t.Errorf("got %s", text)
	}
	for _, bad := range [][]string{{}, {"not a url"}, {page, "--rate", "fast"}, {page, "--for", "x"}, {page, "--max-failed", "200"}, {page, "--header", "x"}} {
		run(exitUsage, bad...)
	}
}

// What pipelines ask a deployed site with.
func TestSmoke(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("curl"); err != nil {
		t.Fatal("curl is missing; `make test` installs what it needs")
	}
	p := start(t, "--demo")
	smoke := func(url string) (string, error) {
		cmd := exec.Command("sh", "../../scripts/smoke.sh", url)
		cmd.Env = append(os.Environ(), "SMOKE_TRIES=1")
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	if out, err := smoke(p.edge + "/items/brass-kettle"); err != nil || !strings.Contains(out, "again, from the store (hit)") || !strings.Contains(out, "a person got the app") {
		t.Errorf("got %v: %s", err, out)
	}
	app := httptest.NewServer(demo.Handler())
	defer app.Close()
	if out, err := smoke(app.URL + "/"); err == nil || !strings.Contains(out, "a bot got status 200, X-Stillpage-Cache ''") {
		t.Errorf("a site without Stillpage: got %v: %s", err, out)
	}
	if out, err := smoke(p.edge + "/items/nothing"); err == nil || !strings.Contains(out, "status 404") {
		t.Errorf("a page that is not there: got %v: %s", err, out)
	}
}

func TestSizeCommand(t *testing.T) {
	t.Parallel()
	var out, said bytes.Buffer
	cmd := command(t, t.TempDir(), "size", "--demo", "--renders", "8", "--json", "--rate", "100", "--hit-ratio", "0.5")
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s", err, &said)
	}
	var document struct {
		Measured struct {
			Renders                                                           int
			MedianMs, ProcessorMs, MemoryMB, PagesPerSecond, BodyBytes, Cores float64
		}
		AWS   []struct{ MB, RenderMs, Concurrency, DollarsAMonth float64 }
		Cores float64
	}
	if err := json.Unmarshal(out.Bytes(), &document); err != nil {
		t.Fatal(err)
	}
	m := document.Measured
	if m.Renders != 8 || m.MedianMs <= 0 || m.ProcessorMs <= 0 || m.MemoryMB < 30 || m.PagesPerSecond <= 0 || m.BodyBytes < 300 || m.Cores <= 0 || document.Cores <= 0 {
		t.Errorf("got %+v", document)
	}
	if len(document.AWS) < 5 || document.AWS[0].Concurrency < 1 || document.AWS[0].DollarsAMonth <= 0 {
		t.Errorf("got %+v", document.AWS)
	}
	text, err := command(t, t.TempDir(), "size", "--demo", "--renders", "5").Output()
	if err != nil || !strings.Contains(string(text), "RenderConcurrency") || !strings.Contains(string(text), "On machines of your own") || strings.Count(string(text), "←") != 2 {
		t.Errorf("got %v: %s", err, text)
	}
	for _, bad := range [][]string{{"size"}, {"size", "--demo", "http://a.example/"}, {"size", "--demo", "--hit-ratio", "2"}, {"size", "x"}} {
		cmd := command(t, t.TempDir(), bad...)
		cmd.Run()
		if cmd.ProcessState.ExitCode() != exitUsage {
			t.Errorf("%v: exit status %d", bad, cmd.ProcessState.ExitCode())
		}
	}
	dead := httptest.NewServer(http.NotFoundHandler())
	if out, err := command(t, t.TempDir(), "size", dead.URL+"/gone", "--renders", "5").CombinedOutput(); err != nil || !strings.Contains(string(out), "/gone is answered with 404") {
		t.Errorf("an address that is no page: %v %s", err, out)
	}
	dead.Close()
	if out, err := command(t, t.TempDir(), "size", dead.URL+"/").CombinedOutput(); err == nil || !strings.Contains(string(out), "have failed") {
		t.Errorf("a site that is down: %v %s", err, out)
	}
}
