package health

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/stillpage/stillpage/internal/telemetry"
)

// Agent is the User-Agent of a probe. Package useragent knows it for a bot's.
const Agent = "Mozilla/5.0 (compatible; still-probe/1.0)"

// probeTime is what a bot that waits for a render waits at most.
const probeTime = 25 * time.Second

// Probe asks for a page as a bot does, over the way that bots take, and returns why Stillpage
// has not answered it. A page that the site itself does not have is an answer.
func Probe(ctx context.Context, client *http.Client, url string, recorder *telemetry.Recorder) error {
	start := time.Now()
	err := ask(ctx, client, url)
	if err != nil {
		recorder.Add(telemetry.Probes, "failed", 1)
		return fmt.Errorf("probe %s: %w", url, err)
	}
	recorder.Add(telemetry.Probes, "ok", 1)
	recorder.Time(telemetry.ProbeTime, "", time.Since(start))
	return nil
}

func ask(ctx context.Context, client *http.Client, url string) error {
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	request.Header.Set("User-Agent", Agent)
	request.Header.Set("Cookie", "still-probe="+rand.Text()) // CloudFront's cache is not asked
	answer, err := client.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if _, err := io.Copy(io.Discard, answer.Body); err != nil {
		return fmt.Errorf("its answer breaks off: %w", err)
	}
	switch reason := answer.Header.Get("X-Stillpage-Reason"); {
	case answer.Header.Get("X-Stillpage-Cache") != "" && answer.StatusCode < 500:
		return nil
	case reason != "":
		return fmt.Errorf("status %d, %s", answer.StatusCode, reason)
	case answer.StatusCode >= 500:
		return fmt.Errorf("status %d", answer.StatusCode)
	}
	return errors.New("the answer is not Stillpage's: it lacks X-Stillpage-Cache, so a bot gets the app")
}
