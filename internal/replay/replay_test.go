package replay_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stillpage/stillpage/internal/replay"
)

var quiet = slog.New(slog.DiscardHandler)

// exchange sends a request, and returns all of the answer that a client sees but for Date.
func exchange(t *testing.T, base, method, target, contentType, body string, header ...string) string {
	t.Helper()
	r, err := http.NewRequest(method, base+target, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	answer, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	answer.Header.Del("Date")
	var b bytes.Buffer
	answer.Header.Write(&b)
	return fmt.Sprintf("%d\n%s\n%s", answer.StatusCode, &b, text)
}

func record(t *testing.T, rules replay.Rules, upstreams ...string) (base string, recording *bytes.Buffer) {
	t.Helper()
	recorder := &replay.Recorder{Rules: rules, Log: quiet}
	for _, text := range upstreams {
		u, err := replay.ParseUpstream(text)
		if err != nil {
			t.Fatal(err)
		}
		recorder.Upstreams = append(recorder.Upstreams, u)
	}
	recording = &bytes.Buffer{}
	if err := recorder.Begin(recording); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(recorder)
	t.Cleanup(server.Close)
	return server.URL, recording
}

func mock(t *testing.T, recording string) (*replay.Mock, string) {
	t.Helper()
	m, err := replay.NewMock(strings.NewReader(recording))
	if err != nil {
		t.Fatalf("%v\n%s", err, recording)
	}
	m.Latency, m.Log = replay.Latency{}, quiet
	server := httptest.NewServer(m)
	t.Cleanup(server.Close)
	return m, server.URL
}

func TestReplay(t *testing.T) {
	t.Parallel()
	count := 0
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		switch r.URL.Path {
		case "/binary":
			w.Header().Set("Content-Type", "image/x")
			w.Write([]byte{0, 0xff, 0xfe, '\n', 0x80})
		case "/old":
			http.Redirect(w, r, "/new?a=1", http.StatusMovedPermanently)
		case "/untyped":
			w.Header()["Content-Type"] = nil
			io.WriteString(w, "<!DOCTYPE html><p>which a browser tells from its first bytes")
		case "/nothing":
			w.WriteHeader(http.StatusNoContent)
		case "/counter":
			count++
			fmt.Fprint(w, count)
		case "/echo":
			w.Header().Add("X-Twice", "a")
			w.Header().Add("X-Twice", "b")
			fmt.Fprintf(w, "%s %s", r.URL.RawQuery, body)
		default:
			http.NotFound(w, r)
		}
	}))
	defer app.Close()
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "api ", r.URL.Path) }))
	defer api.Close()
	base, recording := record(t, replay.DefaultScrubbed, app.URL, "/api/="+api.URL+"/v1")
	requests := [][]string{
		{"GET", "/binary", "", ""}, {"GET", "/old", "", ""}, {"GET", "/nothing", "", ""}, {"GET", "/none", "", ""}, {"HEAD", "/binary", "", ""},
		{"GET", "/echo?b=2&a=1", "", ""}, {"POST", "/echo", "text/plain", "one"}, {"POST", "/echo", "text/plain", "two"}, {"GET", "/api/items", "", ""},
		{"GET", "/a%2Fb?x=%20y", "", ""}, {"GET", "/untyped", "", ""},
	}
	var live []string
	for _, r := range requests {
		live = append(live, exchange(t, base, r[0], r[1], r[2], r[3]))
	}
	if !strings.Contains(live[8], "api /v1/api/items") {
		t.Errorf("the API was asked for %s", live[8])
	}
	if strings.Contains(live[10], "text/html") {
		t.Errorf("an answer without a type has got one: %s", live[10])
	}
	var counted []string
	for range 3 {
		counted = append(counted, exchange(t, base, "GET", "/counter", "", ""))
	}
	m, replayed := mock(t, recording.String())
	for i, r := range slices.Backward(requests) { // in any order
		if got := exchange(t, replayed, r[0], r[1], r[2], r[3]); got != live[i] {
			t.Errorf("%v:\ngot  %q\nwant %q", r, got, live[i])
		}
	}
	if got := exchange(t, replayed, "GET", "/echo?a=1&b=2", "", ""); !strings.Contains(got, "b=2&a=1") {
		t.Errorf("the order of parameters means nothing: got %q", got)
	}
	for i := range 5 { // each in its turn, and then the last
		if got, want := exchange(t, replayed, "GET", "/counter", "", ""), counted[min(i, 2)]; got != want {
			t.Errorf("time %d: got %q, want %q", i, got, want)
		}
	}
	// What was not recorded is said, and is no answer of the site's.
	for _, r := range [][]string{{"GET", "/other"}, {"GET", "/other"}, {"POST", "/echo", "three"}} {
		body := ""
		if len(r) > 2 {
			body = r[2]
		}
		if got := exchange(t, replayed, r[0], r[1], "text/plain", body); !strings.HasPrefix(got, "501") || !strings.Contains(got, r[1]+" was not recorded") {
			t.Errorf("%v: got %s", r, got)
		}
	}
	unmatched, answered := m.Unmatched()
	if unmatched["GET /other"] != 2 || unmatched["POST /echo"] != 1 || len(unmatched) != 2 || answered != len(requests)+6 {
		t.Errorf("got %v, and %d answered", unmatched, answered)
	}
}

// What is nobody's business is in no recording, and is matched all the same.
func TestScrub(t *testing.T) {
	t.Parallel()
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.SetCookie(w, &http.Cookie{Name: "sid", Value: "TOPSECRET-1"})
		w.Header().Set("X-Auth-Token", "TOPSECRET-2")
		w.Header().Set("X-Customer", "TOPSECRET-3")
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		io.WriteString(w, `{ "name": "Ada",  "accessToken" : "TOPSECRET-4", "list": [{"password": {"a": ["TOPSECRET-5"]}, "n": 1.50}], "client_secret":12345678, "csrf": null }`)
	}))
	defer app.Close()
	base, recording := record(t, append(replay.Rules{"x-customer"}, replay.DefaultScrubbed...), app.URL)
	ask := func(base, n string) string {
		return exchange(t, base, "POST", "/login?api_key=TOPSECRET-6"+n+"&page=2", "application/x-www-form-urlencoded", "user=ada&password=TOPSECRET-7"+n, "Authorization", "TOPSECRET-8", "Cookie", "TOPSECRET-9")
	}
	if live := ask(base, "a"); strings.Count(live, "TOPSECRET") != 5 {
		t.Errorf("the client itself gets all of it, not %s", live)
	}
	if strings.Contains(recording.String(), "TOPSECRET") || strings.Contains(recording.String(), "12345678") {
		t.Errorf("recorded is %s", recording)
	}
	_, replayed := mock(t, recording.String())
	got := ask(replayed, "b") // another token, and the same request
	if want := `{ "name": "Ada",  "accessToken" : "SCRUBBED", "list": [{"password": "SCRUBBED", "n": 1.50}], "client_secret":"SCRUBBED", "csrf": null }`; !strings.HasSuffix(got, want) || !strings.HasPrefix(got, "200") {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if strings.Contains(got, "Set-Cookie") {
		t.Errorf("got %s", got)
	}
}

// What a server compresses although nobody asked for it is looked into all the same.
func TestScrubCompressed(t *testing.T) {
	t.Parallel()
	encoding := "gzip"
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Encoding", encoding)
		zw := gzip.NewWriter(w)
		io.WriteString(zw, `{"jwt": "TOPSECRET", "n": 1}`)
		zw.Close()
	}))
	defer app.Close()
	base, recording := record(t, replay.DefaultScrubbed, app.URL)
	exchange(t, base, "GET", "/a", "", "", "Accept-Encoding", "gzip")
	encoding = "br" // it says so
	exchange(t, base, "GET", "/b", "", "", "Accept-Encoding", "br")
	_, replayed := mock(t, recording.String())
	if got := exchange(t, replayed, "GET", "/a", "", ""); !strings.HasSuffix(got, `{"jwt": "SCRUBBED", "n": 1}`) || strings.Contains(got, "gzip") {
		t.Errorf("got %s", got)
	}
	if got := exchange(t, replayed, "GET", "/b", "", ""); !strings.HasPrefix(got, "501") {
		t.Errorf("what cannot be looked into is recorded: %s", got)
	}
}

func TestLatency(t *testing.T) {
	t.Parallel()
	recording := `{"stillpageRecording":1,"recordedAt":"2026-11-22T10:00:00Z","scrubbed":[]}
{"method":"GET","target":"/","status":200,"header":{},"text":"x","firstMs":300,"allMs":1000}
`
	for text, want := range map[string]time.Duration{"recorded": time.Second, "x0.5": 500 * time.Millisecond, "20ms": 20 * time.Millisecond, "0s": 0} {
		synctest.Test(t, func(t *testing.T) {
			m, err := replay.NewMock(strings.NewReader(recording))
			if err != nil {
				t.Fatal(err)
			}
			if m.Latency, err = replay.ParseLatency(text); err != nil {
				t.Fatal(err)
			}
			start := time.Now()
			m.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil))
			if got := time.Since(start); got != want {
				t.Errorf("%s: took %v, want %v", text, got, want)
			}
		})
	}
	for _, bad := range []string{"", "x", "x0", "-1s", "1h", "fast", "xNaN"} {
		if l, err := replay.ParseLatency(bad); err == nil {
			t.Errorf("%q is %+v", bad, l)
		}
	}
}

// What is cut off is no answer.
func TestCutOff(t *testing.T) {
	t.Parallel()
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "100")
		io.WriteString(w, "half")
	}))
	defer app.Close()
	base, recording := record(t, nil, app.URL)
	answer, err := http.Get(base + "/")
	if err == nil {
		io.Copy(io.Discard, answer.Body)
		answer.Body.Close()
	}
	if n := strings.Count(recording.String(), "\n"); n != 1 {
		t.Errorf("recorded is %s", recording)
	}
	app.Close()
	if got := exchange(t, base, "GET", "/", "", ""); !strings.HasPrefix(got, "502") {
		t.Errorf("nobody is there: got %s", got)
	}
}

func TestBadRecordings(t *testing.T) {
	t.Parallel()
	head := `{"stillpageRecording":1,"recordedAt":"2026-11-22T10:00:00Z","scrubbed":[]}` + "\n"
	for text, want := range map[string]string{
		"":                         "is empty",
		"<html>":                   "is no recording",
		"{}":                       "is no recording",
		`{"log":{}}`:               "is no recording",
		`{"stillpageRecording":9}`: "format 9",
		head + "{\n":               "line 2",
		head + `{"method":"GET","target":"x","status":200}`: "target that begins with /",
		head + "\n": "line 2",
		head + `{"method":"GET","target":"/","status":99}`:             "status",
		head + `{"method":"GET","target":"/","status":200,"base64":1}`: "line 2",
	} {
		if _, err := replay.NewMock(strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", text, err, want)
		}
	}
	for _, bad := range []string{"", "app.example", "ftp://a.example", "/api/", "/api/=", "/api/=x", "http://a.example?x=1"} {
		if u, err := replay.ParseUpstream(bad); err == nil {
			t.Errorf("%q is %+v", bad, u)
		}
	}
}

// A recorder that was killed, or a disk that was full, leaves half a line.
func TestCutOffRecording(t *testing.T) {
	t.Parallel()
	m, err := replay.NewMock(strings.NewReader(`{"stillpageRecording":1,"recordedAt":"2026-11-22T10:00:00Z","scrubbed":[]}
{"method":"GET","target":"/","status":200,"header":{},"text":"x"}
{"method":"GET","target":"/b","sta`))
	if err != nil || m.Exchanges() != 1 {
		t.Errorf("got %v, %v", m, err)
	}
}

func FuzzRead(f *testing.F) {
	head := `{"stillpageRecording":1,"recordedAt":"2026-11-22T10:00:00Z","scrubbed":["*token*","["]}` + "\n"
	f.Add(head+`{"method":"GET","target":"/?a=1&a=%zz","status":200,"header":{"X":["y"]},"text":"x"}`, "/?a=1&a=%zz")
	f.Add(head+`{"method":"HEAD","target":"/","status":204,"base64":"AA=="}`, "/")
	f.Fuzz(func(t *testing.T, recording, target string) {
		m, err := replay.NewMock(strings.NewReader(recording))
		if err != nil {
			return
		}
		m.Latency, m.Log = replay.Latency{}, quiet
		r := httptest.NewRequest("GET", "/", nil)
		if parsed, err := r.URL.Parse(target); err != nil || !strings.HasPrefix(parsed.Path, "/") {
			return
		} else {
			r.URL = parsed
		}
		m.ServeHTTP(httptest.NewRecorder(), r)
	})
}

// Scrubbed JSON is JSON, and what has no secrets is as it was.
func FuzzScrubJSON(f *testing.F) {
	f.Add(`{"a":1,"token":{"x":[1,2]},"b":[{"password":null}]}`)
	f.Add(`[" \u0000", 1e9, {"To\u006ben": true}]`)
	f.Fuzz(func(t *testing.T, text string) {
		out := replay.ScrubJSON(replay.Rules{"*token*", "password"}, []byte(text))
		if !json.Valid([]byte(text)) {
			if string(out) != text {
				t.Errorf("what is no JSON has changed: %q", out)
			}
			return
		}
		if !json.Valid(out) {
			t.Errorf("%q is no JSON any more: %q", text, out)
		}
		if again := replay.ScrubJSON(replay.Rules{"*token*", "password"}, out); string(again) != string(out) {
			t.Errorf("%q, and again %q", out, again)
		}
		if lower := strings.ToLower(text); !strings.Contains(lower, "token") && !strings.Contains(lower, "password") && !strings.Contains(lower, `\u`) && string(out) != text {
			t.Errorf("%q has become %q", text, out)
		}
	})
}
