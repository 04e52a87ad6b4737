// Package lambdahttp serves an http.Handler as a Lambda function: the events of
// function URLs and of API Gateway's HTTP APIs, payload version 2.0. It knows
// nothing of pages.
package lambdahttp

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"runtime/debug"
	"strconv"
	"unicode/utf8"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-lambda-go/lambdacontext"
	"github.com/awslabs/aws-lambda-go-api-proxy/core"
	"github.com/awslabs/aws-lambda-go-api-proxy/httpadapter"
)

// maxBody is what fits into an answer: Lambda takes 6 MB (6,291,556 bytes) of
// JSON, of which some kilobytes are the headers'.
const maxBody = 6_200_000

// fits says whether a body does, as it is written in JSON: bytes that are no text
// as base64, a third longer; text with escapes, of up to six bytes for one.
func fits(body []byte) bool {
	switch {
	case len(body) < maxBody/6:
		return true
	case len(body) > maxBody:
		return false
	case !utf8.Valid(body):
		return base64.StdEncoding.EncodedLen(len(body)) <= maxBody
	}
	text, err := json.Marshal(string(body))
	return err == nil && len(text) <= maxBody
}

// Spill puts a compressed body where the client can get it, and returns its
// address.
type Spill func(ctx context.Context, gzipped []byte, header http.Header) (url string, err error)

// Function is what aws-lambda-go runs.
type Function func(ctx context.Context, event json.RawMessage) (events.APIGatewayV2HTTPResponse, error)

// Serve makes a function of a handler. An event that is no request is answered
// 400, a panic 500. A body that does not fit is compressed, even if nobody asked
// for that; one that does not fit then either is left to spill, and the answer is
// a redirect to it. spill may be nil.
func Serve(handler http.Handler, spill Spill, log *slog.Logger) Function {
	return func(ctx context.Context, raw json.RawMessage) (events.APIGatewayV2HTTPResponse, error) {
		var event events.APIGatewayV2HTTPRequest
		if err := json.Unmarshal(raw, &event); err != nil || event.RequestContext.HTTP.Method == "" {
			log.ErrorContext(ctx, "event is no HTTP request of payload version 2.0", "err", err, "event", fmt.Sprintf("%.500s", raw))
			return plain(http.StatusBadRequest, "The event is no HTTP request of payload version 2.0."), nil
		}
		adapter := httpadapter.NewV2(fit(exact(safe(handler, log), event), spill, log))
		response, err := adapter.ProxyWithContext(ctx, event)
		if err != nil {
			log.ErrorContext(ctx, "event cannot be read as a request", "err", err, "event", fmt.Sprintf("%.500s", raw))
			return plain(http.StatusBadRequest, "The request cannot be read."), nil
		}
		return response, nil
	}
}

func plain(status int, text string) events.APIGatewayV2HTTPResponse {
	return events.APIGatewayV2HTTPResponse{
		StatusCode: status, Body: text + "\n",
		Headers: map[string]string{"Content-Type": "text/plain; charset=utf-8", "Cache-Control": "no-store"},
	}
}

// exact gives the request the bytes of its path and query, which a URL has taken
// apart and put together again, and the User-Agent that was split at its commas.
func exact(handler http.Handler, event events.APIGatewayV2HTTPRequest) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if event.RawPath != "" {
			r.RequestURI = event.RawPath
			if event.RawQueryString != "" {
				r.RequestURI += "?" + event.RawQueryString
			}
		}
		for name, value := range event.Headers {
			if http.CanonicalHeaderKey(name) == "User-Agent" {
				r.Header.Set("User-Agent", value)
			}
		}
		handler.ServeHTTP(w, r)
	})
}

// safe turns a panic into a 500, so that the environment lives on.
func safe(handler http.Handler, log *slog.Logger) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			if p := recover(); p != nil {
				log.ErrorContext(r.Context(), "handler panicked", "panic", p, "stack", string(debug.Stack()))
				if written, ok := w.(*answer); ok {
					*written = answer{header: http.Header{"Cache-Control": {"no-store"}}} // half a page is none
				}
				http.Error(w, "internal error", http.StatusInternalServerError)
			}
		}()
		handler.ServeHTTP(w, r)
	})
}

// fit makes a body fit.
func fit(handler http.Handler, spill Spill, log *slog.Logger) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer := &answer{header: http.Header{}, status: http.StatusOK}
		handler.ServeHTTP(answer, r)
		body := answer.body.Bytes()
		ok := fits(body)
		if !ok && answer.header.Get("Content-Encoding") == "" {
			body = compress(body)
			ok = fits(body)
			answer.header.Set("Content-Encoding", "gzip")
			answer.header.Set("Content-Length", strconv.Itoa(len(body)))
		}
		if !ok {
			status, text := http.StatusBadGateway, "The page is too large to be answered.\n"
			if spill != nil {
				if url, err := spill(r.Context(), body, answer.header); err != nil {
					log.ErrorContext(r.Context(), "body too large, and not spilled", "bytes", len(body), "err", err)
				} else {
					status, text = http.StatusTemporaryRedirect, "The page is large, and waits elsewhere.\n"
					answer.header.Set("Location", url)
				}
			}
			body = []byte(text)
			answer.status = status
			answer.header.Del("Content-Encoding")
			answer.header.Set("Content-Type", "text/plain; charset=utf-8")
			answer.header.Set("Content-Length", strconv.Itoa(len(body)))
			answer.header.Set("Cache-Control", "no-store")
		}
		maps.Copy(w.Header(), answer.header)
		w.WriteHeader(answer.status)
		if len(body) > 0 { // of nothing, it would guess a Content-Type
			w.Write(body)
		}
	})
}

// answer is a response that is held back.
type answer struct {
	header http.Header
	status int
	sent   bool
	body   bytes.Buffer
}

func (a *answer) Header() http.Header { return a.header }

func (a *answer) WriteHeader(status int) {
	if !a.sent && status >= 200 {
		a.status, a.sent = status, true
	}
}

func (a *answer) Write(p []byte) (int, error) {
	a.sent = true
	return a.body.Write(p)
}

func compress(body []byte) []byte {
	var buf bytes.Buffer
	zw := gzip.NewWriter(&buf)
	zw.Write(body) // to memory: it does not fail
	zw.Close()
	return buf.Bytes()
}

// Logger writes JSON lines that carry the request's ID.
func Logger(handler slog.Handler) *slog.Logger { return slog.New(withRequest{handler}) }

type withRequest struct{ slog.Handler }

func (h withRequest) Handle(ctx context.Context, record slog.Record) error {
	if lambda, ok := lambdacontext.FromContext(ctx); ok {
		record.AddAttrs(slog.String("requestId", lambda.AwsRequestID))
	}
	return h.Handler.Handle(ctx, record)
}

func (h withRequest) WithAttrs(attrs []slog.Attr) slog.Handler {
	return withRequest{h.Handler.WithAttrs(attrs)}
}

func (h withRequest) WithGroup(name string) slog.Handler {
	return withRequest{h.Handler.WithGroup(name)}
}

// Caller is who an API Gateway's authorizer has let in.
type Caller struct {
	ARN string // of one who has signed with AWS credentials; empty: a JSON Web Token was shown
}

// CallerOf returns who has sent a request. Nobody: the route has no authorizer.
func CallerOf(r *http.Request) (Caller, bool) {
	event, ok := core.GetAPIGatewayV2ContextFromContext(r.Context())
	if !ok || event.Authorizer == nil {
		return Caller{}, false
	}
	switch a := event.Authorizer; {
	case a.IAM != nil && a.IAM.UserARN != "":
		return Caller{ARN: a.IAM.UserARN}, true
	case a.JWT != nil && len(a.JWT.Claims) > 0:
		return Caller{}, true
	}
	return Caller{}, false
}
