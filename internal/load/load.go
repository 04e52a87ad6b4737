// Package load asks for pages as crawlers do, at times that do not depend on the answers, and
// measures what they wait. A page's time begins when its request was due, not when it was
// sent: a server that stands still for a second has let all wait that were due within it
// (Gil Tene's "coordinated omission").
package load

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Agent is the User-Agent that is sent unless another is. Package useragent knows it for a
// bot's.
const Agent = "Mozilla/5.0 (compatible; still-load/1.0)"

// Config is what a test is made of.
type Config struct {
	URLs     []string      // pages; the first are asked for most
	Arrivals Arrivals      // when
	Duration time.Duration // of the arrivals; answers may take longer

	// Zipf is the exponent by which the n-th page is asked for 1/n^Zipf as often as the
	// first. Zero: all are as often.
	Zipf float64

	// Seed makes two tests the same.
	Seed uint64

	Agent  string      // empty: Agent
	Header http.Header // sent beside

	// MostOpen is how many requests may wait for answers; those that are due beyond it are
	// not sent, and counted. Zero: 2,000.
	MostOpen int

	// Timeout is for each answer. Zero: 60 s.
	Timeout time.Duration

	// Transport sends. Nil: one of its own.
	Transport http.RoundTripper

	// Look reads what the server uses, once a second. Nil: it is not looked at.
	Look func(context.Context) (Usage, error)

	// Second is told of each second that is over. Nil: nobody is.
	Second func(Second)
}

// Usage is what a server uses of its machine.
type Usage struct {
	Processor   time.Duration // so far
	Memory      float64       // bytes
	Descriptors float64
}

// Second is what happened in one second of a test: what was due, and what was answered.
type Second struct {
	At       time.Duration // its end, since the begin
	Due      int
	Answered int // with a page
	Failed   int
	Open     int           // at its end
	P50, P99 time.Duration // of those that were answered in it
	Used     *Usage        // nil: it was not looked, or there was no answer
	Outcomes map[string]int
}

// Result is what a test has found.
type Result struct {
	Began    time.Time
	Took     time.Duration // until the last answer
	Due      int
	Outcomes map[string]int // by X-Stillpage-Cache, the reason of a refusal, the status, or the fault
	Failed   int            // no answer, 5xx, 429, a refusal, or not sent
	Bytes    int64
	Seconds  []Second

	all     *hdrhistogram.Histogram // microseconds since the request was due
	sent    *hdrhistogram.Histogram // since it was sent
	outcome map[string]*hdrhistogram.Histogram
}

// The longest time that is told apart, and how finely: three digits.
const (
	longest = time.Hour
	digits  = 3
)

func newHistogram() *hdrhistogram.Histogram {
	return hdrhistogram.New(1, longest.Microseconds(), digits)
}

// Percentile is the time that so many in a hundred did not exceed, since they were due.
func (r *Result) Percentile(p float64) time.Duration { return percentile(r.all, p) }

// Served is the same since requests were sent. The difference is what a test would not see
// that waits for answers before it asks again.
func (r *Result) Served(p float64) time.Duration { return percentile(r.sent, p) }

// Of is Percentile of one outcome.
func (r *Result) Of(outcome string, p float64) time.Duration {
	return percentile(r.outcome[outcome], p)
}

func percentile(h *hdrhistogram.Histogram, p float64) time.Duration {
	if h == nil || h.TotalCount() == 0 {
		return 0
	}
	return time.Duration(h.ValueAtPercentile(p)) * time.Microsecond
}

// Rate is how many pages a second were answered.
func (r *Result) Rate() float64 {
	return float64(r.Due-r.Failed) / max(r.Took.Seconds(), 0.001)
}

// FailedShare is how many requests in a hundred have failed.
func (r *Result) FailedShare() float64 {
	return 100 * float64(r.Failed) / float64(max(1, r.Due))
}

// grace is what answers have when a test is stopped.
const grace = 5 * time.Second

// run is a test under way.
type run struct {
	config Config
	client *http.Client
	began  time.Time

	mu     sync.Mutex
	result *Result
	second Second
	within *hdrhistogram.Histogram // of the second
	open   int
}

// Run does a test. It returns what was found until ctx ended, and its error.
func Run(ctx context.Context, c Config) (*Result, error) {
	if len(c.URLs) == 0 {
		return nil, fmt.Errorf("there is no page to ask for")
	}
	if c.MostOpen <= 0 {
		c.MostOpen = 2000
	}
	if c.Timeout <= 0 {
		c.Timeout = time.Minute
	}
	if c.Transport == nil {
		transport := http.DefaultTransport.(*http.Transport).Clone()
		transport.MaxIdleConnsPerHost, transport.MaxIdleConns, transport.DisableCompression = c.MostOpen, c.MostOpen, true
		defer transport.CloseIdleConnections()
		c.Transport = transport
	}
	r := &run{
		config: c, began: time.Now(), within: newHistogram(),
		client: &http.Client{Timeout: c.Timeout, Transport: c.Transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
	}
	r.result = &Result{Began: r.began, Outcomes: map[string]int{}, all: newHistogram(), sent: newHistogram(), outcome: map[string]*hdrhistogram.Histogram{}}
	err := r.do(ctx)
	r.result.Took = time.Since(r.began)
	return r.result, err
}

func (r *run) do(ctx context.Context) error {
	// What was sent when the test is stopped has a moment to be answered.
	sent, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(grace, cut) })()
	watching, stop := context.WithCancel(context.WithoutCancel(ctx))
	var beside, requests sync.WaitGroup
	beside.Go(func() { r.watch(watching) })
	defer beside.Wait()
	defer stop()
	defer requests.Wait()
	random := rand.New(rand.NewPCG(r.config.Seed, 1))
	choose := chooser(len(r.config.URLs), r.config.Zipf, random)
	for due := range r.config.Arrivals.Times(r.config.Duration, random) {
		url := r.config.URLs[choose()]
		select {
		case <-time.After(time.Until(r.began.Add(due))): // at once if it is late
		case <-ctx.Done():
			return ctx.Err()
		}
		if !r.begin() {
			continue
		}
		requests.Go(func() { r.ask(sent, url, r.began.Add(due)) })
	}
	return nil
}

// begin counts a request that is due, and says whether it may be sent.
func (r *run) begin() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.result.Due++
	r.second.Due++
	if r.open >= r.config.MostOpen {
		r.count("not sent: too many wait", true)
		return false
	}
	r.open++
	return true
}

// count is called with the lock.
func (r *run) count(outcome string, failed bool) {
	r.result.Outcomes[outcome]++
	if r.second.Outcomes == nil {
		r.second.Outcomes = map[string]int{}
	}
	r.second.Outcomes[outcome]++
	if failed {
		r.result.Failed++
		r.second.Failed++
	} else {
		r.second.Answered++
	}
}

func (r *run) ask(ctx context.Context, url string, due time.Time) {
	sent := time.Now()
	outcome, bytes, failed := r.send(ctx, url)
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.open--
	r.count(outcome, failed)
	r.result.Bytes += bytes
	if failed {
		return // a refusal is quick, and would make a server look fast
	}
	record(r.result.all, now.Sub(due))
	record(r.result.sent, now.Sub(sent))
	record(r.within, now.Sub(due))
	if r.result.outcome[outcome] == nil {
		r.result.outcome[outcome] = newHistogram()
	}
	record(r.result.outcome[outcome], now.Sub(due))
}

func record(h *hdrhistogram.Histogram, d time.Duration) {
	h.RecordValue(min(max(1, d.Microseconds()), longest.Microseconds())) // it is within
}

func (r *run) send(ctx context.Context, url string) (outcome string, bytes int64, failed bool) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "no URL", 0, true
	}
	for name, values := range r.config.Header {
		request.Header[name] = values
	}
	request.Header.Set("Accept-Encoding", "gzip") // as nearly all crawlers do
	request.Header.Set("User-Agent", Agent)
	if r.config.Agent != "" {
		request.Header.Set("User-Agent", r.config.Agent)
	}
	answer, err := r.client.Do(request)
	if err != nil {
		return "no answer: " + why(err), 0, true
	}
	defer answer.Body.Close()
	bytes, err = io.Copy(io.Discard, answer.Body)
	if err != nil {
		return "answer cut off", bytes, true
	}
	failed = answer.StatusCode >= 500 || answer.StatusCode == http.StatusTooManyRequests
	switch cache, reason := answer.Header.Get("X-Stillpage-Cache"), answer.Header.Get("X-Stillpage-Reason"); {
	case cache != "" && !failed:
		return cache, bytes, false
	case reason != "":
		return "refused: " + reason, bytes, true // whatever the status: it is no page
	}
	return "status " + strconv.Itoa(answer.StatusCode), bytes, failed
}

// why is an error in a word or two.
func why(err error) string {
	var timeout interface{ Timeout() bool }
	var dns *net.DNSError
	switch {
	case errors.As(err, &dns):
		return "no such host"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused"
	case errors.As(err, &timeout) && timeout.Timeout():
		return "timeout"
	case errors.Is(err, context.Canceled):
		return "stopped"
	}
	return "connection lost"
}

// watch ends each second.
func (r *run) watch(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			r.endSecond(ctx)
		case <-ctx.Done():
			r.endSecond(ctx)
			return
		}
	}
}

func (r *run) endSecond(ctx context.Context) {
	var used *Usage
	if r.config.Look != nil {
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		if u, err := r.config.Look(ctx); err == nil {
			used = &u
		}
		cancel()
	}
	r.mu.Lock()
	s := r.second
	s.At, s.Open, s.Used = time.Since(r.began), r.open, used
	s.P50, s.P99 = percentile(r.within, 50), percentile(r.within, 99)
	r.result.Seconds = append(r.result.Seconds, s)
	r.second = Second{}
	r.within.Reset()
	r.mu.Unlock()
	if r.config.Second != nil {
		r.config.Second(s)
	}
}

// chooser returns a function that chooses among n by Zipf's law.
func chooser(n int, exponent float64, random *rand.Rand) func() int {
	sums := make([]float64, n)
	sum := 0.0
	for i := range sums {
		sum += math.Pow(float64(i+1), -exponent)
		sums[i] = sum
	}
	return func() int {
		i, _ := slices.BinarySearch(sums, random.Float64()*sum)
		return min(i, n-1)
	}
}
