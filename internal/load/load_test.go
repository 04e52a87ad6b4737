package load_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stillpage/stillpage/internal/load"
)

// server answers after a time, on the clock of the test.
type server func(n int64, r *http.Request) (after time.Duration, header http.Header, status int)

type transport struct {
	mu    *sync.Mutex
	asked *int64
	server
}

func (s transport) RoundTrip(r *http.Request) (*http.Response, error) {
	s.mu.Lock()
	after, header, status := s.server(*s.asked, r)
	*s.asked++
	s.mu.Unlock()
	select {
	case <-time.After(after):
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
	if status == 0 {
		return nil, errors.New("connection reset")
	}
	return &http.Response{StatusCode: status, Header: header, Body: io.NopCloser(strings.NewReader("page")), Request: r}, nil
}

func serve(s server) transport { return transport{new(sync.Mutex), new(int64), s} }

func cached(how string) http.Header { return http.Header{"X-Stillpage-Cache": {how}} }

// The percentiles are those of what the server is known to take: to three digits, which is
// what the histogram keeps. The time is the test's own, so it is the same on any machine.
func TestPercentilesOfAKnownDistribution(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// An exponential distribution with a mean of 40 ms, in an order that is mixed.
		const n, mean = 20_000, 40 * time.Millisecond
		times := make([]time.Duration, n)
		for i := range times {
			times[i] = time.Duration(-math.Log(1-(float64(i)+0.5)/n) * float64(mean))
		}
		random := rand.New(rand.NewPCG(1, 2))
		random.Shuffle(n, func(i, j int) { times[i], times[j] = times[j], times[i] })
		var taken []time.Duration
		result, err := load.Run(t.Context(), load.Config{
			URLs: []string{"http://a.example/"}, Arrivals: load.Arrivals{Shape: load.Constant, From: 200, To: 200}, Duration: 90 * time.Second, Seed: 7,
			Transport: serve(func(i int64, _ *http.Request) (time.Duration, http.Header, int) {
				taken = append(taken, times[i])
				return times[i], cached("hit"), 200
			}),
		})
		if err != nil {
			t.Fatal(err)
		}
		slices.Sort(taken)
		if len(taken) < 17_000 || len(taken) > 19_000 || result.Due != len(taken) || result.Failed != 0 {
			t.Fatalf("%d of about 18,000 were sent; %+v", len(taken), result.Outcomes)
		}
		for _, p := range []float64{50, 90, 99, 99.9, 100} {
			want := taken[max(0, int(math.Ceil(p/100*float64(len(taken))))-1)]
			for what, got := range map[string]time.Duration{"since due": result.Percentile(p), "since sent": result.Served(p), "of hits": result.Of("hit", p)} {
				if off := math.Abs(float64(got-want)) / float64(want); off > 0.002 {
					t.Errorf("p%g %s: got %v, want %v", p, what, got, want)
				}
			}
			// And the law's own, which the sample follows.
			if law := time.Duration(-math.Log(1-p/100) * float64(mean)); p < 99.9 && math.Abs(float64(want-law))/float64(law) > 0.06 {
				t.Errorf("p%g of the sample is %v, of the law %v", p, want, law)
			}
		}
	})
}

// A server that stands still for two seconds lets all wait that were due meanwhile. A tool that
// waits for an answer before it asks again would see one slow answer.
func TestNoCoordinatedOmission(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		result, err := load.Run(t.Context(), load.Config{
			URLs: []string{"http://a.example/"}, Arrivals: load.Arrivals{Shape: load.Constant, From: 100, To: 100}, Duration: 10 * time.Second,
			Transport: serve(func(int64, *http.Request) (time.Duration, http.Header, int) {
				at := time.Since(began)
				if stalled := at - 4*time.Second; stalled > 0 && stalled < 2*time.Second {
					return 2*time.Second - stalled, cached("hit"), 200
				}
				return time.Millisecond, cached("hit"), 200
			}),
		})
		if err != nil {
			t.Fatal(err)
		}
		// Two of ten seconds: a fifth waits, up to two seconds, evenly.
		for p, want := range map[float64]time.Duration{50: time.Millisecond, 75: time.Millisecond, 90: time.Second, 95: 1500 * time.Millisecond} {
			if got := result.Percentile(p); math.Abs(float64(got-want)) > float64(300*time.Millisecond) {
				t.Errorf("p%g: got %v, want about %v", p, got, want)
			}
		}
	})
}

// What is due while too many wait is not sent, and not forgotten.
func TestTooManyWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		result, err := load.Run(t.Context(), load.Config{
			URLs: []string{"http://a.example/"}, Arrivals: load.Arrivals{Shape: load.Constant, From: 100, To: 100}, Duration: 5 * time.Second, MostOpen: 10,
			Transport: serve(func(int64, *http.Request) (time.Duration, http.Header, int) { return time.Hour, nil, 200 }), Timeout: time.Minute,
		})
		if err != nil {
			t.Fatal(err)
		}
		if result.Failed != result.Due || result.Outcomes["no answer: timeout"] != 10 || result.Outcomes["not sent: too many wait"] != result.Due-10 {
			t.Errorf("got %d due, %v", result.Due, result.Outcomes)
		}
		if result.Percentile(99) != 0 {
			t.Errorf("what has failed counts as fast: %v", result.Percentile(99))
		}
	})
}

func TestOutcomes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		answers := []struct {
			header http.Header
			status int
			want   string
			failed bool
		}{
			{cached("miss"), 200, "miss", false},
			{cached("stale"), 404, "stale", false},
			{http.Header{"X-Stillpage-Reason": {"busy"}}, 503, "refused: busy", true},
			{http.Header{"X-Stillpage-Reason": {"site-unknown"}}, 404, "refused: site-unknown", true},
			{nil, 429, "status 429", true},
			{cached("hit"), 502, "status 502", true},
			{nil, 200, "status 200", false},
			{nil, 0, "no answer: connection lost", true},
		}
		want := map[string]int{}
		failed := 0
		var seconds []load.Second
		result, err := load.Run(t.Context(), load.Config{
			URLs: []string{"http://a.example/"}, Arrivals: load.Arrivals{Shape: load.Constant, From: 50, To: 50}, Duration: 4 * time.Second,
			Header: http.Header{"X-Prerender-Token": {"t"}},
			Transport: serve(func(i int64, r *http.Request) (time.Duration, http.Header, int) {
				if r.UserAgent() != load.Agent || r.Header.Get("X-Prerender-Token") != "t" || r.Header.Get("Accept-Encoding") != "gzip" {
					t.Errorf("sent %v", r.Header)
				}
				a := answers[i%int64(len(answers))]
				want[a.want]++
				if a.failed {
					failed++
				}
				return 0, a.header, a.status
			}),
			Look:   func(context.Context) (load.Usage, error) { return load.Usage{Memory: 5, Processor: time.Second}, nil },
			Second: func(s load.Second) { seconds = append(seconds, s) },
		})
		if err != nil {
			t.Fatal(err)
		}
		for name, n := range want {
			if result.Outcomes[name] != n {
				t.Errorf("%s: got %d, want %d", name, result.Outcomes[name], n)
			}
		}
		if result.Failed != failed || len(result.Outcomes) != len(want) {
			t.Errorf("got %d failed of %v, want %d", result.Failed, result.Outcomes, failed)
		}
		due := 0
		for _, s := range seconds {
			due += s.Due
		}
		if due != result.Due || len(seconds) < 4 || seconds[0].Used == nil || seconds[0].Used.Memory != 5 {
			t.Errorf("got %d in %d seconds, want %d", due, len(seconds), result.Due)
		}
	})
}

func TestArrivals(t *testing.T) {
	t.Parallel()
	count := func(text string, from, to time.Duration) (n int) {
		a, err := load.ParseArrivals(text)
		if err != nil {
			t.Fatal(err)
		}
		if a.String() != text {
			t.Errorf("%q is written %q", text, a)
		}
		last := time.Duration(-1)
		for at := range a.Times(60*time.Second, rand.New(rand.NewPCG(3, 4))) {
			if at < last {
				t.Errorf("%s: %v after %v", text, at, last)
			}
			last = at
			if at >= from && at < to {
				n++
			}
		}
		return n
	}
	within := func(what string, got, want int) {
		t.Helper()
		if float64(got) < 0.9*float64(want) || float64(got) > 1.1*float64(want) {
			t.Errorf("%s: got %d, want about %d", what, got, want)
		}
	}
	within("constant", count("100", 0, time.Minute), 6000)
	within("ramp, its first half", count("10..200", 0, 30*time.Second), 30*(10+105)/2)
	within("ramp, its second half", count("10..200", 30*time.Second, time.Minute), 30*(105+200)/2)
	within("bursts, in all", count("bursts:50", 0, time.Minute), 3000)
	within("bursts, the first crawler", count("bursts:50", 0, 3*time.Second), 750)
	if n := count("bursts:50", 3*time.Second, 15*time.Second); n != 0 {
		t.Errorf("between two crawlers: got %d", n)
	}
	for _, bad := range []string{"", "x", "0", "-1", "1..", "..2", "bursts:", "bursts:x", "NaN", "1e9", "1..2..3"} {
		if a, err := load.ParseArrivals(bad); err == nil {
			t.Errorf("%q is %v", bad, a)
		}
	}
}

func FuzzParseArrivals(f *testing.F) {
	for _, seed := range []string{"1", "1..2", "bursts:3", "1e3", "..", "0x1p4"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		a, err := load.ParseArrivals(text)
		if err != nil {
			return
		}
		again, err := load.ParseArrivals(a.String())
		if err != nil || again != a {
			t.Errorf("%q is %+v, written %q, which is %+v, %v", text, a, a, again, err)
		}
	})
}

// The first pages are asked for most, by Zipf's law.
func TestZipf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		counts := map[string]int{}
		urls := []string{"http://a.example/1", "http://a.example/2", "http://a.example/3", "http://a.example/4"}
		for _, exponent := range []float64{0, 1} {
			clear(counts)
			result, err := load.Run(t.Context(), load.Config{
				URLs: urls, Arrivals: load.Arrivals{Shape: load.Constant, From: 1000, To: 1000}, Duration: 10 * time.Second, Zipf: exponent,
				Transport: serve(func(_ int64, r *http.Request) (time.Duration, http.Header, int) {
					counts[r.URL.String()]++
					return 0, nil, 200
				}),
			})
			if err != nil {
				t.Fatal(err)
			}
			sum := 0.0
			for i := range urls {
				sum += math.Pow(float64(i+1), -exponent)
			}
			for i, url := range urls {
				want := float64(result.Due) * math.Pow(float64(i+1), -exponent) / sum
				if got := float64(counts[url]); math.Abs(got-want) > 0.1*want {
					t.Errorf("exponent %v, page %d: got %v of %d, want %.0f", exponent, i+1, got, result.Due, want)
				}
			}
		}
	})
}

func TestStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		result, err := load.Run(ctx, load.Config{
			URLs: []string{"http://a.example/"}, Arrivals: load.Arrivals{Shape: load.Constant, From: 10, To: 10}, Duration: time.Hour,
			Transport: serve(func(int64, *http.Request) (time.Duration, http.Header, int) { return time.Second, cached("hit"), 200 }),
		})
		if err == nil || result == nil || result.Due < 10 || result.Failed != 0 || result.Took > 5*time.Second {
			t.Errorf("got %+v, %v", result, err)
		}
	})
	if _, err := load.Run(t.Context(), load.Config{}); err == nil {
		t.Error("a test without pages has begun")
	}
}

// A report needs nothing else, and shows what was found.
func TestReport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		config := load.Config{
			URLs: []string{"http://a.example/"}, Arrivals: load.Arrivals{Shape: load.Ramp, From: 5, To: 50}, Duration: 10 * time.Second,
			Transport: serve(func(i int64, _ *http.Request) (time.Duration, http.Header, int) {
				return time.Duration(i) * time.Millisecond, cached([]string{"hit", "miss"}[i%2]), 200
			}),
			Look: func(context.Context) (load.Usage, error) { return load.Usage{Memory: 100 << 20}, nil },
		}
		result, err := load.Run(t.Context(), config)
		if err != nil {
			t.Fatal(err)
		}
		var page bytes.Buffer
		if err := load.Report(&page, "<b>a title</b>", config, result, []load.Check{{Text: "p99 is short", OK: true}, {Text: "none has failed", OK: false}}); err != nil {
			t.Fatal(err)
		}
		html := page.String()
		for _, want := range []string{"&lt;b&gt;a title", "5..50 a second", "p99 is short: met", "none has failed: missed", "<td>hit</td>", "Memory, MB", "Time by share of requests"} {
			if !strings.Contains(html, want) {
				t.Errorf("the report lacks %q", want)
			}
		}
		if bad := regexp.MustCompile(`(?i)<script|https?://[^a]|<link|NaN|Inf`).FindString(strings.ReplaceAll(html, "http://www.w3.org", "")); bad != "" {
			t.Errorf("the report has %q", bad)
		}
		if n := strings.Count(html, "<svg"); n != 8 {
			t.Errorf("got %d plots", n)
		}
	})
}
