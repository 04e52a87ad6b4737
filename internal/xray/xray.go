// Package xray tells AWS X-Ray what a function's time went into: a subsegment for
// each call of the SDK (Instrument), and one for each phase of a render (Maker).
// They are sent to the daemon that Lambda runs beside a function, each when it
// ends. An invocation that is not sampled costs a look into its context.
//
// AWS's own library for this ends in February 2027 and would double the router's
// size; docs/decisions/aws.md. The daemon takes UDP packets of at most 64 kB:
//
//	{"format": "json", "version": 1}
//	{"type": "subsegment", "trace_id": …, "parent_id": …, "id": …, "name": …, "start_time": 1.5, "end_time": 1.7, …}
package xray

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/stillpage/stillpage/internal/prerender"
)

// position is where in a trace a call is made.
type position struct {
	trace, parent string
}

type positionKey struct{}

// here returns the position that begin has left in the context, or the one that
// Lambda has given the invocation; false if it is not sampled.
func here(ctx context.Context) (position, bool) {
	if p, ok := ctx.Value(positionKey{}).(position); ok {
		return p, true
	}
	// By aws-lambda-go, under a key that is a plain text: "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"
	header, _ := ctx.Value("x-amzn-trace-id").(string)
	fields := map[string]string{}
	for part := range strings.SplitSeq(header, ";") {
		name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		fields[name] = value
	}
	p := position{fields["Root"], fields["Parent"]}
	return p, p.trace != "" && p.parent != "" && fields["Sampled"] == "1"
}

// subsegment is one as the daemon takes it.
type subsegment struct {
	Type     string         `json:"type"`
	Trace    string         `json:"trace_id"`
	Parent   string         `json:"parent_id"`
	ID       string         `json:"id"`
	Name     string         `json:"name"`
	Start    float64        `json:"start_time"` // s since 1970
	End      float64        `json:"end_time"`
	Space    string         `json:"namespace,omitempty"` // "aws" for a service of AWS, "" for a part of ours
	AWS      map[string]any `json:"aws,omitempty"`
	Metadata map[string]any `json:"metadata,omitempty"`
	Fault    bool           `json:"fault,omitempty"`    // it has failed
	Error    bool           `json:"error,omitempty"`    // it was refused
	Throttle bool           `json:"throttle,omitempty"` // because there were too many
	Cause    *cause         `json:"cause,omitempty"`
}

type cause struct {
	Exceptions []exception `json:"exceptions"`
}

type exception struct {
	ID      string `json:"id"`
	Type    string `json:"type"`
	Message string `json:"message"`
}

func newSubsegment(at position, name string, start, end time.Time) subsegment {
	return subsegment{
		Type: "subsegment", Trace: at.trace, Parent: at.parent, ID: newID(), Name: name,
		Start: seconds(start), End: seconds(end),
	}
}

func newID() string { return fmt.Sprintf("%016x", rand.Uint64()) }

func seconds(t time.Time) float64 { return float64(t.UnixMicro()) / 1e6 }

// maxMessage bounds an error's text, so that a packet never comes near 64 kB.
const maxMessage = 1000

func (s *subsegment) failed(err error) {
	if err == nil {
		return
	}
	kind := "error"
	var api smithy.APIError
	if errors.As(err, &api) {
		kind = api.ErrorCode()
		s.Error = api.ErrorFault() == smithy.FaultClient
		s.Throttle = strings.Contains(kind, "Throttl") || strings.Contains(kind, "TooManyRequests") || strings.Contains(kind, "ThroughputExceeded")
	}
	s.Fault = !s.Error
	s.Cause = &cause{[]exception{{newID(), kind, fmt.Sprintf("%.*s", maxMessage, err.Error())}}}
}

// Maker writes a subsegment for a render, and in it one for each of its phases.
type Maker struct{ prerender.Maker }

// Make implements prerender.Maker.
func (m Maker) Make(ctx context.Context, page prerender.Page, fence int64) (*prerender.Snapshot, []prerender.Phase, error) {
	at, sampled := here(ctx)
	if !sampled {
		return m.Maker.Make(ctx, page, fence)
	}
	start := time.Now()
	whole := newSubsegment(at, "render", start, start)
	inside := position{at.trace, whole.ID}
	snap, phases, err := m.Maker.Make(context.WithValue(ctx, positionKey{}, inside), page, fence)
	whole.End = seconds(time.Now())
	whole.Metadata = map[string]any{"stillpage": map[string]any{"url": page.URL, "device": page.Device}}
	whole.failed(err)
	send(whole)
	for _, phase := range phases {
		end := start.Add(phase.Duration)
		send(newSubsegment(inside, phase.Name, start, end))
		start = end
	}
	return snap, phases, err
}

// Instrument has each call of an SDK client written; it is one of the client's
// APIOptions. What the call reaches, a function for one, becomes part of the trace.
func Instrument(stack *middleware.Stack) error {
	err := stack.Initialize.Add(middleware.InitializeMiddlewareFunc("stillpage.xray", traceCall), middleware.After)
	if err != nil {
		return err
	}
	// Before the SDK's own, which names the invocation as the parent.
	return stack.Build.Add(middleware.BuildMiddlewareFunc("stillpage.xray.header", setHeader), middleware.Before)
}

func traceCall(ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler) (middleware.InitializeOutput, middleware.Metadata, error) {
	at, sampled := here(ctx)
	if !sampled {
		return next.HandleInitialize(ctx, in)
	}
	start := time.Now()
	call := newSubsegment(at, awsmiddleware.GetServiceID(ctx), start, start)
	out, metadata, err := next.HandleInitialize(context.WithValue(ctx, positionKey{}, position{at.trace, call.ID}), in)
	call.End = seconds(time.Now())
	call.Space = "aws"
	call.AWS = map[string]any{"operation": awsmiddleware.GetOperationName(ctx), "region": awsmiddleware.GetRegion(ctx)}
	if id, ok := awsmiddleware.GetRequestIDMetadata(metadata); ok {
		call.AWS["request_id"] = id
	}
	call.failed(err)
	send(call)
	return out, metadata, err
}

func setHeader(ctx context.Context, in middleware.BuildInput, next middleware.BuildHandler) (middleware.BuildOutput, middleware.Metadata, error) {
	if at, ok := ctx.Value(positionKey{}).(position); ok {
		if request, ok := in.Request.(*smithyhttp.Request); ok {
			request.Header.Set("X-Amzn-Trace-Id", "Root="+at.trace+";Parent="+at.parent+";Sampled=1")
		}
	}
	return next.HandleBuild(ctx, in)
}

// daemon is where packets go, or nil.
var daemon = sync.OnceValue(func() net.Conn {
	address := os.Getenv("AWS_XRAY_DAEMON_ADDRESS")
	if address == "" {
		return nil
	}
	conn, err := net.Dial("udp", address)
	if err != nil {
		return nil
	}
	return conn
})

// send writes a packet. A trace is not worth an answer, so nobody hears of one
// that is lost.
func send(s subsegment) {
	conn := daemon()
	if conn == nil {
		return
	}
	text, err := json.Marshal(s)
	if err != nil {
		return
	}
	conn.Write(append([]byte(`{"format": "json", "version": 1}`+"\n"), text...))
}
