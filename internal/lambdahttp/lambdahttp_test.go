package lambdahttp_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-lambda-go/lambdacontext"

	"github.com/stillpage/stillpage/internal/lambdahttp"
)

func read(t *testing.T, name string) []byte {
	t.Helper()
	event, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return event
}

func call(t *testing.T, event []byte, spill lambdahttp.Spill, handler http.HandlerFunc) events.APIGatewayV2HTTPResponse {
	t.Helper()
	response, err := lambdahttp.Serve(handler, spill, slog.New(slog.DiscardHandler))(t.Context(), event)
	if err != nil {
		t.Fatalf("the function fails: %v", err)
	}
	return response
}

func TestFunctionURL(t *testing.T) {
	t.Parallel()
	response := call(t, read(t, "function-url.json"), nil, func(w http.ResponseWriter, r *http.Request) {
		for got, want := range map[string]string{
			r.RequestURI:      "/caf%C3%A9//a%2Fb/ü?q=1%2B1&q=2&empty=&utm_source=x", // its bytes
			r.URL.RawQuery:    "q=1%2B1&q=2&empty=&utm_source=x",
			r.Method:          "GET",
			r.UserAgent():     "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; GPTBot/1.2; +https://openai.com/gptbot)", // with its comma
			r.RemoteAddr:      "203.0.113.1",
			cookies(r):        "a=1 b=2 c=",
			header(r, "Host"): "www.example.com",
		} {
			if got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		}
		w.Header()["Link"] = []string{"</a>; rel=canonical", "</b>; rel=alternate"}
		w.Header()["Set-Cookie"] = []string{"x=1", "y=2"}
		w.WriteHeader(http.StatusNotFound)
		io.WriteString(w, "<p>ü")
	})
	if response.StatusCode != 404 || response.Body != "<p>ü" || response.IsBase64Encoded ||
		response.Headers["Link"] != "</a>; rel=canonical,</b>; rel=alternate" || strings.Join(response.Cookies, " ") != "x=1 y=2" {
		t.Errorf("got %+v", response)
	}
}

func cookies(r *http.Request) string {
	var all []string
	for _, c := range r.Cookies() {
		all = append(all, c.String())
	}
	return strings.Join(all, " ")
}

func header(r *http.Request, name string) string { return r.Header.Get("X-Stillpage-" + name) }

func TestHTTPAPI(t *testing.T) {
	t.Parallel()
	response := call(t, read(t, "http-api-post.json"), nil, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || string(body) != "\x00\x01\xff" || r.Method != "POST" || r.UserAgent() != "" || len(r.Header["X-List"]) != 2 {
			t.Errorf("got %s %q %q %v %v", r.Method, body, r.UserAgent(), r.Header["X-List"], err)
		}
		w.Write([]byte("\xff\xfe"))
	})
	if response.StatusCode != 200 || !response.IsBase64Encoded || response.Body != "//4=" {
		t.Errorf("bytes that are no text: got %+v", response)
	}
}

func TestPanic(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	handler := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("oh no") })
	serve := lambdahttp.Serve(handler, nil, lambdahttp.Logger(slog.NewJSONHandler(&log, nil)))
	ctx := lambdacontext.NewContext(t.Context(), &lambdacontext.LambdaContext{AwsRequestID: "the-request"})
	response, err := serve(ctx, read(t, "function-url.json"))
	if err != nil || response.StatusCode != 500 || strings.Contains(response.Body, "oh no") {
		t.Errorf("got %v, %+v, want a 500 that tells nothing", err, response)
	}
	var line struct{ Panic, RequestID string }
	if err := json.Unmarshal(log.Bytes(), &line); err != nil || line.Panic != "oh no" || line.RequestID != "the-request" {
		t.Errorf("log: got %s", &log)
	}
}

// What was written before is not sent.
func TestPanicInTheMiddle(t *testing.T) {
	t.Parallel()
	response := call(t, read(t, "function-url.json"), nil, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Cache-Control", "max-age=3600")
		w.Header().Set("Content-Encoding", "gzip")
		w.WriteHeader(http.StatusOK)
		io.WriteString(w, "half a page")
		panic("oh no")
	})
	if response.StatusCode != 500 || strings.Contains(response.Body, "half") || response.Headers["Cache-Control"] != "no-store" || response.Headers["Content-Encoding"] != "" {
		t.Errorf("got %+v", response)
	}
}

func TestMalformed(t *testing.T) {
	t.Parallel()
	for _, event := range []string{
		``, `null`, `[]`, `{}`, `{"version":"2.0"}`, `{"requestContext":{"http":{"method":"GET\n"}},"rawPath":"/"}`,
		`{"requestContext":{"http":{"method":"GET"}},"rawPath":"/%zz"}`, `{"requestContext":{"http":{"method":"POST"}},"rawPath":"/","isBase64Encoded":true,"body":"!"}`,
	} {
		var log bytes.Buffer
		handler := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Errorf("%s was served", event) })
		response, err := lambdahttp.Serve(handler, nil, slog.New(slog.NewJSONHandler(&log, nil)))(t.Context(), []byte(event))
		if err != nil || response.StatusCode != 400 {
			t.Errorf("%s: got %d, %v, want 400", event, response.StatusCode, err)
		}
		var line struct{ Level, Event string }
		if err := json.Unmarshal(log.Bytes(), &line); err != nil || line.Level != "ERROR" || line.Event != event {
			t.Errorf("%s: the log has %s", event, &log)
		}
	}
}

// Lambda takes 6,291,556 bytes of JSON, the base64 of a compressed body included.
func TestBodiesThatDoNotFit(t *testing.T) {
	t.Parallel()
	noise := make([]byte, 5_000_000)
	rand.NewChaCha8([32]byte{}).Read(noise)
	text := bytes.Repeat([]byte("words "), 2_000_000)
	quotes := bytes.Repeat([]byte("<a b=\"c\">\n"), 400_000) // twice as long in JSON
	spilled := func(context.Context, []byte, http.Header) (string, error) { return "https://bucket.example/x", nil }
	for name, tt := range map[string]struct {
		body     []byte
		encoding string
		spill    lambdahttp.Spill
		status   int
	}{
		"fits":                            {text[:4_000_000], "", nil, 200},
		"fits when compressed":            {text, "", nil, 200},
		"fits, but not its escapes":       {quotes, "", nil, 200},
		"does not fit":                    {noise, "", spilled, 307},
		"compressed, and does not fit":    {noise, "gzip", spilled, 307},
		"nowhere to put it":               {noise, "", nil, 502},
		"where it is put does not answer": {noise, "", func(context.Context, []byte, http.Header) (string, error) { return "", errors.New("no") }, 502},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			response := call(t, read(t, "function-url.json"), tt.spill, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "text/html")
				w.Header().Set("X-Stillpage-Cache", "hit")
				if tt.encoding != "" {
					w.Header().Set("Content-Encoding", tt.encoding)
				}
				w.Write(tt.body)
			})
			raw, err := json.Marshal(response)
			if err != nil || len(raw) > 6_291_556 {
				t.Errorf("the answer has %d bytes, %v", len(raw), err)
			}
			if response.StatusCode != tt.status || response.Headers["X-Stillpage-Cache"] != "hit" {
				t.Fatalf("got %d %v, want %d", response.StatusCode, response.Headers, tt.status)
			}
			if tt.status == 307 && response.Headers["Location"] != "https://bucket.example/x" {
				t.Errorf("got Location %q", response.Headers["Location"])
			}
			if tt.status == 200 && !bytes.Equal(decoded(t, response), tt.body) {
				t.Error("the body is another")
			}
		})
	}
}

func decoded(t *testing.T, response events.APIGatewayV2HTTPResponse) []byte {
	t.Helper()
	body := []byte(response.Body)
	if response.IsBase64Encoded {
		var err error
		if body, err = base64.StdEncoding.DecodeString(response.Body); err != nil {
			t.Fatal(err)
		}
	}
	if response.Headers["Content-Encoding"] != "gzip" {
		return body
	}
	zr, err := gzip.NewReader(bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	body, err = io.ReadAll(zr)
	if err != nil {
		t.Fatal(err)
	}
	return body
}

func FuzzServe(f *testing.F) {
	for _, name := range []string{"function-url.json", "http-api-post.json"} {
		event, err := os.ReadFile("testdata/" + name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(event)
	}
	serve := lambdahttp.Serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.RequestURI) }), nil, slog.New(slog.DiscardHandler))
	f.Fuzz(func(t *testing.T, event []byte) {
		if response, err := serve(t.Context(), event); err != nil || response.StatusCode < 200 {
			t.Errorf("got %v, %+v", err, response)
		}
	})
}

// A body that is not there has no type: caches would take it for the page's.
func TestNoBodyNoType(t *testing.T) {
	t.Parallel()
	for _, status := range []int{204, 301, 304} {
		serve := lambdahttp.Serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(status) }), nil, slog.New(slog.DiscardHandler))
		event, err := os.ReadFile("testdata/function-url.json")
		if err != nil {
			t.Fatal(err)
		}
		answer, err := serve(t.Context(), event)
		if err != nil || answer.StatusCode != status || answer.Headers["Content-Type"] != "" {
			t.Errorf("%d: got %+v, %v", status, answer, err)
		}
	}
}
