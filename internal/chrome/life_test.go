package chrome_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stillpage/stillpage/internal/chrome"
	"github.com/stillpage/stillpage/internal/egress"
	"github.com/stillpage/stillpage/internal/prerender"
)

// own starts a renderer of the test's own, with a temporary directory in which
// everything that it leaves behind is seen.
func own(t testing.TB, policy egress.Policy, concurrency int, options ...func(*chrome.Config)) (*chrome.Renderer, string) {
	t.Helper()
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	proxy, err := egress.Start(egress.Config{Policy: policy, Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { proxy.Close() })
	config := chrome.Config{Egress: proxy, Log: quiet, Concurrency: concurrency}
	for _, set := range options {
		set(&config)
	}
	r, err := chrome.Start(context.Background(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r, tmp
}

var loopback = egress.Policy{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}

// processes returns the command lines of a renderer's processes by their IDs:
// the keeper, which has dir in its arguments, and the session that it leads.
func processes(t testing.TB, dir string) map[int]string {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	all, sessions := map[int]string{}, map[int]bool{}
	for _, f := range files {
		line, err := os.ReadFile(f)
		if err != nil {
			continue
		}
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(f)))
		all[pid] = string(line)
		if bytes.Contains(line, []byte(dir)) {
			sessions[session(pid)] = true
		}
	}
	for pid := range all {
		if !sessions[session(pid)] {
			delete(all, pid)
		}
	}
	return all
}

func session(pid int) int {
	id, _, err := syscall.RawSyscall(syscall.SYS_GETSID, uintptr(pid), 0, 0)
	if err != 0 {
		return -1
	}
	return int(id)
}

// eventually polls for what other processes do.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
	}
}

func TestNothingIsLeftBehind(t *testing.T) {
	r, tmp := own(t, loopback, 2)
	url := serve(t, map[string]http.HandlerFunc{"/": html("<p>x</p>")})
	if _, err := captureWith(t, r, url+"/", prerender.DefaultTimeout, chrome.Options{}); err != nil {
		t.Fatal(err)
	}
	dirs, _ := filepath.Glob(tmp + "/*")
	if len(dirs) != 1 || len(processes(t, dirs[0])) < 3 {
		t.Fatalf("before Close: got %v with processes %v, want one directory and several", dirs, processes(t, dirs[0]))
	}
	r.Close()
	if left, _ := filepath.Glob(tmp + "/*"); len(left) != 0 || len(processes(t, tmp)) != 0 {
		t.Errorf("after Close: got %v and processes %v, want nothing", left, processes(t, tmp))
	}
	if _, err := captureWith(t, r, url+"/", time.Second, chrome.Options{}); !errors.Is(err, prerender.ErrStopping) {
		t.Errorf("render after Close: got %v, want ErrStopping", err)
	}
}

// A tab that was opened before the first page is that page's.
func TestWarm(t *testing.T) {
	r, tmp := own(t, loopback, 1)
	url := serve(t, map[string]http.HandlerFunc{"/": html("<p>page</p>")})
	if err := r.Warm(t.Context(), pageAt(t, url+"/", prerender.Desktop)); err != nil {
		t.Fatal(err)
	}
	tabs := func() (pids []int) {
		for pid, command := range processes(t, tmp) {
			if strings.Contains(command, "--type=renderer") {
				pids = append(pids, pid)
			}
		}
		slices.Sort(pids)
		return pids
	}
	capture := func(device prerender.Device) {
		t.Helper()
		if _, err := r.Capture(t.Context(), pageAt(t, url+"/", device), chrome.Options{}); err != nil {
			t.Fatal(err)
		}
	}
	before := tabs()
	for range 2 {
		capture(prerender.Desktop)
	}
	if after := tabs(); !slices.Equal(before, after) {
		t.Errorf("got processes %v before the first page and %v after, want no new one", before, after)
	}
	capture(prerender.Mobile)
	both := tabs()
	for _, device := range []prerender.Device{prerender.Desktop, prerender.Mobile, prerender.Desktop} {
		capture(device)
	}
	if after := tabs(); !slices.Equal(both, after) || len(after) != len(before)+1 {
		t.Errorf("pages in turns for two devices: got processes %v, %v and %v, want one more, and no other", before, both, after)
	}
}

// A page in real time does not go on when its answer is there.
func TestRealTimePageEnds(t *testing.T) {
	t.Parallel()
	var asked atomic.Int64
	url := serve(t, map[string]http.HandlerFunc{
		"/":    html(`<p>x</p><script>setInterval(() => fetch("/ask"), 600)</script>`),
		"/ask": func(w http.ResponseWriter, r *http.Request) { asked.Add(1) },
	})
	page := pageAt(t, url+"/", prerender.Desktop)
	page.Rule.Rendering.RealTime = true
	if _, err := shared.Capture(t.Context(), page, chrome.Options{}); err != nil { // its tab is clean by now
		t.Fatal(err)
	}
	before := asked.Load()
	time.Sleep(2 * time.Second) // in which it would ask three times
	if after := asked.Load(); after != before {
		t.Errorf("it has asked %d times more after its answer", after-before)
	}
}

// A full disk would be the next page's: a Chromium with many files is replaced.
func TestManyFiles(t *testing.T) {
	r, tmp := own(t, loopback, 1)
	url := serve(t, map[string]http.HandlerFunc{"/": html("<p>page</p>")})
	capture := func() {
		t.Helper()
		if _, err := captureWith(t, r, url+"/", prerender.DefaultTimeout, chrome.Options{}); err != nil {
			t.Fatal(err)
		}
	}
	capture()
	dirs, err := filepath.Glob(filepath.Join(tmp, "stillpage-*"))
	if err != nil || len(dirs) != 1 {
		t.Fatalf("Chromium's directory: %v, %v", dirs, err)
	}
	if err := os.WriteFile(filepath.Join(dirs[0], "hole"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(filepath.Join(dirs[0], "hole"), 300<<20); err != nil { // as many bytes, and none on the disk
		t.Fatal(err)
	}
	_, left := os.Stat(dirs[0])
	for deadline := time.Now().Add(30 * time.Second); left == nil && time.Now().Before(deadline); _, left = os.Stat(dirs[0]) {
		capture()
	}
	if r.Stats().Starts != 2 || left == nil {
		t.Errorf("got %d starts, and the old directory: %v", r.Stats().Starts, left)
	}
}

// A machine that is frozen between pages starts the next one with a Chromium that has filled
// nothing.
func TestManyFilesBeforeAFreeze(t *testing.T) {
	r, tmp := own(t, loopback, 1, func(c *chrome.Config) { c.TidyFirst = true })
	url := serve(t, map[string]http.HandlerFunc{"/": html("<p>page</p>")})
	fill := func() string {
		dirs, err := filepath.Glob(filepath.Join(tmp, "stillpage-*"))
		if err != nil || len(dirs) != 1 {
			t.Fatalf("Chromium's directory: %v, %v", dirs, err)
		}
		hole := filepath.Join(dirs[0], "hole")
		if err := errors.Join(os.WriteFile(hole, nil, 0o600), os.Truncate(hole, 300<<20)); err != nil {
			t.Fatal(err)
		}
		return dirs[0]
	}
	old := fill()
	for range 2 {
		if _, err := captureWith(t, r, url+"/", prerender.DefaultTimeout, chrome.Options{}); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(old); err == nil {
			t.Error("after its answer, the old one's files are still there")
		}
	}
	if s := r.Stats(); s.Starts != 2 || s.Retired != 1 {
		t.Errorf("got %+v, want one that was replaced", s)
	}
}

// Killing any part of it costs a restart, and no page.
func TestKilledBrowserIsReplaced(t *testing.T) {
	r, tmp := own(t, loopback, 4)
	begun := make(chan struct{}, 100)
	url := serve(t, map[string]http.HandlerFunc{"/": func(w http.ResponseWriter, r *http.Request) {
		select {
		case begun <- struct{}{}:
		default:
		}
		html("<p>fine</p>")(w, r)
	}})
	for _, victim := range []string{"chromium-keeper\x00", "--type=zygote", "--remote-debugging-pipe"} {
		results := make(chan error, 8)
		for range cap(results) {
			go func() {
				c, err := captureWith(t, r, url+"/", 20*time.Second, chrome.Options{})
				if err == nil && !strings.Contains(string(c.Body), "fine") {
					err = errors.New("not the page: " + string(c.Body))
				}
				results <- err
			}()
		}
		<-begun
		killed := 0
		for pid, line := range processes(t, tmp) {
			isKeeper := strings.HasPrefix(line, "chromium-keeper\x00")
			if strings.Contains(line, victim) && isKeeper == strings.HasPrefix(victim, "chromium-keeper") {
				syscall.Kill(pid, syscall.SIGKILL)
				killed++
			}
		}
		if killed == 0 {
			t.Fatalf("no process has %q", victim)
		}
		for range cap(results) {
			if err := <-results; err != nil {
				t.Errorf("killed %q: %v", victim, err)
			}
		}
		eventually(t, "one browser, running", func() bool {
			dirs, _ := filepath.Glob(tmp + "/*")
			return len(dirs) == 1 && r.Stats().Running
		})
	}
}

// A Chromium that has grown old or large is replaced by another, and no page
// notices.
func TestOldChromiumIsReplaced(t *testing.T) {
	for name, limit := range map[string]func(*chrome.Config){
		"count":  func(c *chrome.Config) { c.MostRenders = 20 },
		"memory": func(c *chrome.Config) { c.MostMemory = 1 },
	} {
		t.Run(name, func(t *testing.T) {
			r, tmp := own(t, loopback, 4, limit)
			url := serve(t, map[string]http.HandlerFunc{"/": html("<p>fine</p>")})
			results := make(chan error, 100)
			for i := range cap(results) {
				go func() {
					c, err := captureWith(t, r, fmt.Sprint(url, "/?", i), time.Minute, chrome.Options{})
					if err == nil && !strings.Contains(string(c.Body), "fine") {
						err = errors.New("not the page: " + string(c.Body))
					}
					results <- err
				}()
			}
			for range cap(results) {
				if err := <-results; err != nil {
					t.Error(err)
				}
			}
			if got := r.Stats().Retired; got == 0 {
				t.Errorf("got %d Chromiums retired, want some", got)
			}
			eventually(t, "one browser, running", func() bool {
				dirs, _ := filepath.Glob(tmp + "/*")
				return len(dirs) == 1 && r.Stats().Running
			})
		})
	}
}

func TestEnvironmentIsEmpty(t *testing.T) {
	_, tmp := own(t, loopback, 1)
	pids := processes(t, tmp)
	if len(pids) < 3 {
		t.Fatalf("got %v, want Chromium's processes", pids)
	}
	for pid := range pids {
		env, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/environ")
		if err == nil && bytes.Contains(env, []byte(secret)) {
			t.Errorf("process %d has this process's environment:\n%s", pid, env)
		}
	}
}

func TestBusy(t *testing.T) {
	r, _ := own(t, loopback, 1)
	asked, release := make(chan struct{}), make(chan struct{})
	url := serve(t, map[string]http.HandlerFunc{"/": func(w http.ResponseWriter, r *http.Request) {
		close(asked)
		<-release
		html("<p>x</p>")(w, r)
	}})
	first := make(chan error, 1)
	go func() {
		_, err := captureWith(t, r, url+"/", 20*time.Second, chrome.Options{})
		first <- err
	}()
	<-asked
	if _, err := captureWith(t, r, url+"/", 50*time.Millisecond, chrome.Options{}); !errors.Is(err, prerender.ErrBusy) {
		t.Errorf("got %v, want ErrBusy", err)
	}
	close(release)
	if err := <-first; err != nil {
		t.Errorf("the page that was under way: %v", err)
	}
}

// A page tries every way out to addresses that it must not reach.
func TestPagesCannotReachPrivateAddresses(t *testing.T) {
	udp, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	inside := serve(t, map[string]http.HandlerFunc{"/": func(w http.ResponseWriter, r *http.Request) {
		t.Errorf("reached by %s %s", r.Method, r.URL)
	}})
	_, port, _ := net.SplitHostPort(strings.TrimPrefix(inside, "http://"))
	origin := serve(t, map[string]http.HandlerFunc{
		"/bounce": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, inside+"/redirect", http.StatusFound)
		},
		"/": func(w http.ResponseWriter, r *http.Request) {
			html(`<p id=p></p><img src="`+inside+`/img"><iframe src="`+inside+`/frame"></iframe><link rel=stylesheet href="`+inside+`/css">
<link rel=preconnect href="`+inside+`"><link rel=prefetch href="`+inside+`/prefetch"><script src="`+inside+`/js"></script>
<iframe src="/bounce"></iframe><img src="/bounce"><script>
const tries = [fetch("`+inside+`/fetch", {mode: "no-cors"}), fetch("http://localhost:`+port+`/name"), fetch("http://[::ffff:127.0.0.1]:`+port+`/mapped"),
  fetch("http://2130706433:`+port+`/decimal"), fetch("/bounce")];
navigator.sendBeacon("`+inside+`/beacon", "x");
new WebSocket("ws://127.0.0.1:`+port+`/ws"); new EventSource("`+inside+`/events");
const pc = new RTCPeerConnection({iceServers: [{urls: "stun:`+udp.LocalAddr().String()+`"}]});
pc.createDataChannel("x"); pc.createOffer().then((o) => pc.setLocalDescription(o));
Promise.allSettled(tries).then((r) => p.append(r.map((x) => x.status + (x.value ? x.value.status : "")).join(" ")));
</script>`)(w, r)
		},
	})
	r, _ := own(t, egress.Policy{Sites: map[string]bool{strings.TrimPrefix(origin, "http://"): true}}, 2)
	c, err := captureWith(t, r, origin+"/", 15*time.Second, chrome.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(c.Body), "rejected") && !strings.Contains(string(c.Body), "502") {
		t.Errorf("the page's attempts left no trace, so they may not have been made:\n%s", c.Body)
	}
	udp.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
	if n, from, err := udp.ReadFrom(make([]byte, 100)); err == nil {
		t.Errorf("WebRTC sent %d bytes from %s past the proxy", n, from)
	}
}

// A Chromium that never comes up must not hold up anybody longer than they wait.
// A machine that was frozen wakes up with a Chromium that does not.
func TestChromiumHangsAfterPause(t *testing.T) {
	r, tmp := own(t, loopback, 1, func(c *chrome.Config) { c.LongIdle = time.Nanosecond })
	url := serve(t, map[string]http.HandlerFunc{"/": html("<p>done</p>")})
	renderDone := func() {
		t.Helper()
		c, err := captureWith(t, r, url+"/", prerender.DefaultTimeout, chrome.Options{})
		if err != nil {
			t.Fatal(err)
		}
		wantBody(t, c, []string{"<p>done</p>"}, nil)
	}
	renderDone() // its tab is warm
	for pid, line := range processes(t, tmp) {
		if !strings.Contains(line, "--type=") && !strings.Contains(line, "chromium-keeper") {
			syscall.Kill(pid, syscall.SIGSTOP)
		}
	}
	renderDone()
	if n := r.Stats().Starts; n != 2 {
		t.Errorf("got %d starts, want 2", n)
	}
}

func TestChromiumThatHangs(t *testing.T) {
	proxy, err := egress.Start(egress.Config{Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	defer proxy.Close()
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	hangs := filepath.Join(t.TempDir(), "chromium")
	if err := os.WriteFile(hangs, []byte("#!/bin/sh\nsleep 1000\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := chrome.Start(ctx, chrome.Config{Binary: hangs, Egress: proxy, Log: quiet}); !errors.Is(err, prerender.ErrRendererDown) {
		t.Errorf("got %v, want ErrRendererDown", err)
	}
	if left, _ := filepath.Glob(tmp + "/*"); len(left) != 0 || len(processes(t, tmp)) != 0 {
		t.Errorf("left behind: %v, %v", left, processes(t, tmp))
	}
}

func TestNoChromium(t *testing.T) {
	proxy, err := egress.Start(egress.Config{Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	defer proxy.Close()
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	for _, binary := range []string{"/nonexistent/chromium", "/bin/false"} {
		_, err := chrome.Start(context.Background(), chrome.Config{Binary: binary, Egress: proxy, Log: quiet})
		if !errors.Is(err, prerender.ErrRendererDown) || !strings.Contains(err.Error(), binary) {
			t.Errorf("%s: got %v, want ErrRendererDown and the path", binary, err)
		}
	}
	if left, _ := filepath.Glob(tmp + "/*"); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
	t.Setenv("PATH", tmp)
	if _, err := chrome.FindBinary(); err == nil || !strings.Contains(err.Error(), "apt-get install") {
		t.Errorf("got %v, want an error that says how to install one", err)
	}
}
