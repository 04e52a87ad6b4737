package telemetry

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"math"
	"time"
)

// Function is a Lambda function as it is measured.
type Function struct {
	Recorder *Recorder

	properties map[string]string
	memoryMB   int
	emf        *EMF // nil: no metrics are written
}

// What Lambda asks for in us-east-1 on arm64, in dollars (aws.amazon.com/lambda/pricing, June
// 2026).
const (
	DollarsPerGBSecond   = 0.0000133334
	DollarsPerInvocation = 0.20 / 1e6
)

// NewFunction measures a function with so much memory. Metrics are written to out, in a
// namespace of CloudWatch's; without one they are not.
func NewFunction(name, version string, memoryMB int, namespace string, out io.Writer) *Function {
	f := &Function{Recorder: &Recorder{}, properties: map[string]string{"function": name, "version": version}, memoryMB: memoryMB}
	if namespace != "" {
		f.emf = &EMF{Recorder: f.Recorder, Namespace: namespace, Out: out, Properties: f.properties}
	}
	return f
}

// Logger has each line say which function and version has written it.
func (f *Function) Logger(log *slog.Logger) *slog.Logger {
	return log.With("function", f.properties["function"], "version", f.properties["version"])
}

// Stop writes what is not written yet.
func (f *Function) Stop() {
	if f.emf != nil {
		f.emf.Flush()
	}
}

// ended counts an invocation, and writes metrics when it is time for it: between two
// invocations a function is frozen.
func (f *Function) ended(took time.Duration) {
	seconds := math.Ceil(float64(took)/float64(time.Millisecond)) / 1000 // as it is billed
	used := seconds * float64(f.memoryMB) / 1024
	f.Recorder.Add(GBSeconds, "", used)
	f.Recorder.Add(Dollars, "", used*DollarsPerGBSecond+DollarsPerInvocation)
	if f.emf != nil {
		f.emf.FlushIfDue()
	}
}

// Measured is a handler whose invocations are counted.
func Measured[T any](f *Function, handle func(context.Context, json.RawMessage) (T, error)) func(context.Context, json.RawMessage) (T, error) {
	return func(ctx context.Context, event json.RawMessage) (T, error) {
		start := time.Now()
		defer func() { f.ended(time.Since(start)) }()
		return handle(ctx, event)
	}
}
