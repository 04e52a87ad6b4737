// Package lambdatest runs Lambda functions on this machine, for tests: the very
// binaries that are deployed, under the Runtime API, one process an environment,
// frozen between two events. It answers Invoke as the service does, with its
// limits: reserved concurrency, timeouts, six megabytes, functions that crash.
package lambdatest

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// maxPayload is Lambda's limit on an event and on an answer, in bytes.
const maxPayload = 6_291_556

// Function is one to be run.
type Function struct {
	Name     string
	Command  []string
	Env      []string      // beside what Lambda sets
	Timeout  time.Duration // of an event. Zero: 3 s, as on Lambda
	Reserved int           // concurrency. Zero: none is reserved
}

// Service is Lambda.
type Service struct {
	// URL is the endpoint of the Invoke API.
	URL string

	mu   sync.Mutex
	byID map[string]*deployment
}

type deployment struct {
	Function
	mu    sync.Mutex
	idle  []*environment
	all   []*environment
	busy  int
	block bool // every invocation is throttled
}

// Start runs an empty service that ends with the test.
func Start(t testing.TB) *Service {
	s := &Service{byID: map[string]*deployment{}}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /2015-03-31/functions/{name}/invocations", s.serveInvoke)
	server := httptest.NewServer(mux)
	s.URL = server.URL
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
		for _, d := range s.byID {
			d.kill()
		}
	})
	return s
}

// Deploy makes a function known, in the place of one with the same name, whose
// environments end.
func (s *Service) Deploy(f Function) {
	if f.Timeout == 0 {
		f.Timeout = 3 * time.Second
	}
	s.mu.Lock()
	old := s.byID[f.Name]
	s.byID[f.Name] = &deployment{Function: f}
	s.mu.Unlock()
	if old != nil {
		old.kill()
	}
}

func (s *Service) find(name string) *deployment {
	// A name, or an ARN with an alias: …:function:name:live
	if parts := strings.Split(name, ":function:"); len(parts) == 2 {
		name, _, _ = strings.Cut(parts[1], ":")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.byID[name]
}

// Throttle has every invocation refused, or no more.
func (s *Service) Throttle(name string, on bool) {
	d := s.find(name)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.block = on
}

// Environments is how many of a function are alive.
func (s *Service) Environments(name string) int {
	d := s.find(name)
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.all)
}

// Processes calls do for every process of a function's environments.
func (s *Service) Processes(name string, do func(pid int, command string)) {
	d := s.find(name)
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, e := range d.all {
		for _, pid := range descendants(e.cmd.Process.Pid) {
			line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
			do(pid, strings.ReplaceAll(string(line), "\x00", " "))
		}
	}
}

// Result is what an invocation came to.
type Result struct {
	Payload       []byte
	FunctionError string // "Unhandled", or "" if the function has answered
}

// Throttled is the error of an invocation that found no concurrency.
type Throttled struct{ Reason string }

func (t Throttled) Error() string { return "TooManyRequestsException: " + t.Reason }

// Trace is what an invocation is traced as when nobody says otherwise.
const Trace = "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Parent=9a9197af755a6419;Sampled=1"

// Invoke has a function work on an event.
func (s *Service) Invoke(ctx context.Context, name string, event []byte) (Result, error) {
	return s.invoke(name, invocation{id: rand.Text(), event: event, trace: Trace})
}

func (s *Service) invoke(name string, in invocation) (Result, error) {
	d := s.find(name)
	if d == nil {
		return Result{}, fmt.Errorf("no function %s", name)
	}
	e, err := d.take()
	if err != nil {
		return Result{}, err
	}
	result, alive := e.work(in, d.Timeout)
	d.giveBack(e, alive)
	return result, nil
}

func (d *deployment) take() (*environment, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.block || d.Reserved > 0 && d.busy >= d.Reserved {
		return nil, Throttled{"ReservedFunctionConcurrentInvocationLimitExceeded"}
	}
	d.busy++
	if n := len(d.idle); n > 0 {
		e := d.idle[n-1]
		d.idle = d.idle[:n-1]
		return e, nil
	}
	e, err := d.start()
	if err != nil {
		d.busy--
		return nil, err
	}
	d.all = append(d.all, e)
	return e, nil
}

func (d *deployment) giveBack(e *environment, alive bool) {
	if !alive {
		e.kill()
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.busy--
	if alive {
		d.idle = append(d.idle, e)
		return
	}
	for i := range d.all {
		if d.all[i] == e {
			d.all = append(d.all[:i], d.all[i+1:]...)
			break
		}
	}
}

// kill ends all environments.
func (d *deployment) kill() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, e := range d.all {
		e.kill()
	}
	d.all, d.idle = nil, nil
}

// serveInvoke is the Invoke API.
func (s *Service) serveInvoke(w http.ResponseWriter, r *http.Request) {
	fail := func(status int, kind, text string) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("X-Amzn-Errortype", kind)
		w.WriteHeader(status)
		json.NewEncoder(w).Encode(map[string]string{"Type": "User", "message": text, "Message": text, "Reason": text})
	}
	name, _ := url.PathUnescape(r.PathValue("name"))
	if s.find(name) == nil {
		fail(http.StatusNotFound, "ResourceNotFoundException", "Function not found: "+name)
		return
	}
	event, err := io.ReadAll(io.LimitReader(r.Body, maxPayload+1))
	if err != nil || len(event) > maxPayload {
		fail(http.StatusRequestEntityTooLarge, "RequestTooLargeException", "the event has more than 6291556 bytes")
		return
	}
	// Lambda puts a segment of its own between the caller's and the function's.
	in := invocation{id: rand.Text(), event: event, trace: cmp.Or(r.Header.Get("X-Amzn-Trace-Id"), Trace)}
	result, err := s.invoke(name, in)
	if t, ok := err.(Throttled); ok {
		fail(http.StatusTooManyRequests, "TooManyRequestsException", t.Reason)
		return
	}
	if err != nil {
		fail(http.StatusInternalServerError, "ServiceException", err.Error())
		return
	}
	if result.FunctionError != "" {
		w.Header().Set("X-Amz-Function-Error", result.FunctionError)
	}
	w.Header().Set("X-Amz-Executed-Version", "1")
	w.Write(result.Payload)
}

// AwaitNext serves a Runtime API that has no events: asked is closed when a function
// that was started with address as AWS_LAMBDA_RUNTIME_API asks for its first.
func AwaitNext() (address string, asked <-chan struct{}, stop func()) {
	var once sync.Once
	first := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost { // as an extension, for SIGTERM
			w.Header().Set("Lambda-Extension-Identifier", "e")
			w.Write([]byte("{}"))
			return
		}
		if r.URL.Path == "/2018-06-01/runtime/invocation/next" {
			once.Do(func() { close(first) })
		}
		<-r.Context().Done()
	}))
	return server.Listener.Addr().String(), first, func() {
		server.CloseClientConnections()
		server.Close()
	}
}

// environment is one process of a function, and the Runtime API that it asks.
type environment struct {
	cmd    *exec.Cmd
	dir    string
	server *httptest.Server
	said   words
	exited chan struct{}

	mu    sync.Mutex
	known []int // processes that it has run

	events  chan invocation
	results chan Result
}

type invocation struct {
	id       string
	event    []byte
	trace    string
	deadline time.Time
}

func (d *deployment) start() (*environment, error) {
	dir, err := os.MkdirTemp("", "stillpage-lambdatest-")
	if err != nil {
		return nil, err
	}
	e := &environment{dir: dir, exited: make(chan struct{}), events: make(chan invocation), results: make(chan Result, 1)}
	e.server = httptest.NewServer(e.runtimeAPI())
	e.cmd = exec.Command(d.Command[0], d.Command[1:]...)
	e.cmd.Dir = dir
	e.cmd.Env = append([]string{
		"AWS_LAMBDA_RUNTIME_API=" + e.server.Listener.Addr().String(),
		"AWS_LAMBDA_FUNCTION_NAME=" + d.Name, "AWS_LAMBDA_FUNCTION_VERSION=1", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE=2048",
		"AWS_REGION=us-east-1", "PATH=/usr/local/bin:/usr/bin:/bin", "LANG=en_US.UTF-8", "TZ=:UTC", "TMPDIR=" + dir, "_HANDLER=bootstrap",
	}, d.Env...)
	e.cmd.Stdout, e.cmd.Stderr = &e.said, &e.said
	e.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := e.cmd.Start(); err != nil {
		e.server.Close()
		os.RemoveAll(dir)
		return nil, err
	}
	go func() {
		e.cmd.Wait()
		close(e.exited)
	}()
	return e, nil
}

// work gives the environment an event, thawed, and freezes it afterwards. It is
// not alive when it has crashed or run out of time.
func (e *environment) work(in invocation, timeout time.Duration) (_ Result, alive bool) {
	e.signal(syscall.SIGCONT)
	in.deadline = time.Now().Add(timeout)
	const initTimeout = 10 * time.Second
	select {
	case e.events <- in:
	case <-e.exited:
		return e.crashed(in.id), false
	case <-time.After(initTimeout):
		return unhandled("Sandbox.Timedout", fmt.Sprintf("RequestId: %s Error: Task timed out after %.2f seconds", in.id, initTimeout.Seconds())), false
	}
	in.deadline = time.Now().Add(timeout)
	select {
	case result := <-e.results:
		if len(result.Payload) > maxPayload {
			result = unhandled("Function.ResponseSizeTooLarge", fmt.Sprintf("Response payload size (%d bytes) exceeded maximum allowed payload size (6291556 bytes).", len(result.Payload)))
		}
		e.signal(syscall.SIGSTOP)
		return result, true
	case <-e.exited:
		return e.crashed(in.id), false
	case <-time.After(time.Until(in.deadline)):
		return unhandled("Sandbox.Timedout", fmt.Sprintf("RequestId: %s Error: Task timed out after %.2f seconds", in.id, timeout.Seconds())), false
	}
}

func (e *environment) crashed(id string) Result {
	return unhandled("Runtime.ExitError", fmt.Sprintf("RequestId: %s Error: Runtime exited: %v; it said: %s", id, e.cmd.ProcessState, e.said.last()))
}

func unhandled(kind, text string) Result {
	payload, _ := json.Marshal(map[string]string{"errorType": kind, "errorMessage": text})
	return Result{Payload: payload, FunctionError: "Unhandled"}
}

// runtimeAPI is what the function asks for events, and the part of the Extensions
// API that has SIGTERM delivered.
func (e *environment) runtimeAPI() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /2018-06-01/runtime/invocation/next", func(w http.ResponseWriter, r *http.Request) {
		select {
		case in := <-e.events:
			h := w.Header()
			h.Set("Lambda-Runtime-Aws-Request-Id", in.id)
			h.Set("Lambda-Runtime-Deadline-Ms", strconv.FormatInt(in.deadline.UnixMilli(), 10))
			h.Set("Lambda-Runtime-Invoked-Function-Arn", "arn:aws:lambda:us-east-1:123456789012:function:test:live")
			h.Set("Lambda-Runtime-Trace-Id", in.trace)
			h.Set("Content-Type", "application/json")
			w.Write(in.event)
		case <-r.Context().Done():
		}
	})
	mux.HandleFunc("POST /2018-06-01/runtime/invocation/{id}/{outcome}", func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.WriteHeader(http.StatusAccepted)
		result := Result{Payload: body}
		if r.PathValue("outcome") == "error" {
			result.FunctionError = "Unhandled"
		}
		e.results <- result
	})
	mux.HandleFunc("POST /2018-06-01/runtime/init/error", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusAccepted) })
	mux.HandleFunc("POST /2020-01-01/extension/register", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Lambda-Extension-Identifier", rand.Text())
		io.WriteString(w, `{}`)
	})
	mux.HandleFunc("GET /2020-01-01/extension/event/next", func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	return mux
}

// signal reaches all that the environment runs: on Lambda, it is a machine. What
// was there once is reached too when the process that has started it is gone.
func (e *environment) signal(sig syscall.Signal) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, root := range append(slices.Clone(e.known), e.cmd.Process.Pid) {
		for _, pid := range descendants(root) {
			if !slices.Contains(e.known, pid) {
				e.known = append(e.known, pid)
			}
		}
	}
	for _, pid := range e.known {
		syscall.Kill(pid, sig)
	}
}

func (e *environment) kill() {
	e.signal(syscall.SIGKILL)
	<-e.exited
	e.server.CloseClientConnections()
	e.server.Close()
	os.RemoveAll(e.dir)
}

// descendants returns a process and all that it has started, in whatever session.
func descendants(root int) []int {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	children := map[int][]int{}
	for _, path := range stats {
		stat, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		var pid, parent int
		var state string
		fmt.Sscan(string(stat), &pid)
		fmt.Sscan(string(stat[bytes.LastIndexByte(stat, ')')+1:]), &state, &parent)
		children[parent] = append(children[parent], pid)
	}
	all := []int{root}
	for i := 0; i < len(all); i++ {
		all = append(all, children[all[i]]...)
	}
	return all
}

// words keeps what a function prints.
type words struct {
	mu   sync.Mutex
	text []byte
}

func (w *words) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.text = append(w.text, p...)
	return len(p), nil
}

func (w *words) last() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.TrimSpace(string(w.text[max(0, len(w.text)-2000):]))
}

// Log is what the environments of a function that are alive have printed.
func (s *Service) Log(name string) string {
	d := s.find(name)
	d.mu.Lock()
	defer d.mu.Unlock()
	var all strings.Builder
	for _, e := range d.all {
		e.said.mu.Lock()
		all.Write(e.said.text)
		e.said.mu.Unlock()
	}
	return all.String()
}
