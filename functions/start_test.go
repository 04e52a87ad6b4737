package functions_test

import (
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stillpage/stillpage/internal/lambdatest"
)

// BenchmarkStart starts a function until it asks for its first event, which is
// what a bot waits for when there is no environment yet, beside what Lambda
// itself needs. It reports the processor's time, which is what Lambda gives by
// memory: at 512 MB, a second has 0.29 of it.
//
//	go test -run '^$' -bench Start -benchtime 20x ./functions
func BenchmarkStart(b *testing.B) {
	for _, name := range []string{"router", "admin"} {
		b.Run(name, func(b *testing.B) {
			var used time.Duration
			for b.Loop() {
				used += start(b, name)
			}
			b.ReportMetric(float64(used.Microseconds())/1000/float64(b.N), "cpu-ms/op")
		})
	}
}

// start returns the processor's time that a function has used when it asks for
// its first event.
func start(b *testing.B, name string) time.Duration {
	address, asked, stop := lambdatest.AwaitNext()
	defer stop()
	cmd := exec.Command(filepath.Join(binaries, name))
	cmd.Env = []string{
		"AWS_LAMBDA_RUNTIME_API=" + address, "AWS_LAMBDA_FUNCTION_NAME=" + name,
		"AWS_REGION=us-east-1", "AWS_ACCESS_KEY_ID=a", "AWS_SECRET_ACCESS_KEY=b",
		"STILLPAGE_TABLE=t", "STILLPAGE_CONFIG_TABLE=c", "STILLPAGE_BUCKET=b", "STILLPAGE_QUEUE_URL=https://queue.example/q",
		"STILLPAGE_RENDER_FUNCTION=render", "STILLPAGE_SITES=https://www.example.com",
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	select {
	case <-asked:
	case <-time.After(20 * time.Second):
		b.Error("the function does not ask for an event")
	}
	cmd.Process.Kill()
	cmd.Wait()
	return cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
}
