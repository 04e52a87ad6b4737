// Package warm sees to it that pages are there when a bot comes.
//
// Warmer asks for them as a bot does: it goes by the site's public addresses, whoever
// serves them, at a pace; what it asked for is kept, so that a run that was stopped
// goes on, and the next one asks for what has changed.
//
// Scheduler works from within: it looks at what is stored, and queues what is to be
// made.
package warm

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// Agent is what the edge knows as a bot (package useragent), and owners in their logs.
const Agent = "Mozilla/5.0 (compatible; still-warm/1.0)"

// PhoneAgent is the same as a phone.
const PhoneAgent = "Mozilla/5.0 (Linux; Android 14; Mobile) (compatible; still-warm/1.0)"

// Page is one to be asked for.
type Page struct {
	URL     string
	LastMod time.Time // of its content; zero: not known
}

// Result is what became of a page. The state is a file of them, one a line.
type Result struct {
	URL    string    `json:"url"`
	At     time.Time `json:"at"`
	Status int       `json:"status,omitempty"`
	Cache  string    `json:"cache,omitempty"` // X-Stillpage-Cache
	Fault  string    `json:"fault,omitempty"` // why it counts as a failure
	MS     int64     `json:"ms"`
}

// Warmer asks for pages.
type Warmer struct {
	// Client follows no redirects. Nil: one with a timeout of 60 s.
	Client *http.Client

	// Agent is sent as User-Agent. Empty: the constant.
	Agent string

	// Rate is how many pages are asked for in a second, at most. Zero: DefaultRate.
	Rate float64

	// Concurrency is how many are waited for at once. Zero: DefaultConcurrency.
	Concurrency int

	// State is what earlier runs have written, and what this one adds to. Nil: none.
	State io.ReadWriter

	// Again is after how long a page without LastMod is asked for again. Zero:
	// DefaultAgain.
	Again time.Duration

	// Done is called after each page, one at a time. Nil: it is not.
	Done func(Result)

	// Now is the clock of State. Nil means time.Now.
	Now func() time.Time
}

const (
	// DefaultRate and DefaultConcurrency are what a small site bears beside its
	// visitors.
	DefaultRate        = 2.0
	DefaultConcurrency = 4

	// DefaultAgain is how long a page is fresh if nobody says otherwise.
	DefaultAgain = 24 * time.Hour
)

// attempts and mostPause bound what is done about 503, which asks to come back.
const (
	attempts  = 3
	mostPause = time.Minute
)

// Choose returns the pages that are to be asked for: those that have changed since
// they were asked for with success, and those of which that is not known.
func (w *Warmer) Choose(pages []Page) ([]Page, error) {
	known := map[string]time.Time{}
	if w.State != nil {
		lines := bufio.NewScanner(w.State)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			var r Result
			// A line that was cut off by a crash is a page that is asked for again.
			if json.Unmarshal(lines.Bytes(), &r) == nil && r.Fault == "" {
				known[r.URL] = r.At
			}
		}
		if err := lines.Err(); err != nil {
			return nil, fmt.Errorf("read the state: %w", err)
		}
	}
	again := w.Again
	if again == 0 {
		again = DefaultAgain
	}
	var chosen []Page
	seen := map[string]bool{}
	for _, p := range pages {
		at, asked := known[p.URL]
		current := asked && (!p.LastMod.IsZero() && p.LastMod.Before(at) || p.LastMod.IsZero() && w.now().Sub(at) < again)
		if !current && !seen[p.URL] {
			chosen = append(chosen, p)
		}
		seen[p.URL] = true
	}
	return chosen, nil
}

// Run asks for all pages. Its error is the context's, or that of State; failures
// of pages are results.
func (w *Warmer) Run(ctx context.Context, pages []Page) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	rate, concurrency := w.Rate, w.Concurrency
	if rate <= 0 {
		rate = DefaultRate
	}
	if concurrency <= 0 {
		concurrency = DefaultConcurrency
	}
	pace := time.NewTicker(time.Duration(float64(time.Second) / rate))
	defer pace.Stop()
	var mu sync.Mutex
	note := func(r Result) {
		mu.Lock()
		defer mu.Unlock()
		if w.State != nil {
			line, err := json.Marshal(r)
			if err == nil {
				_, err = w.State.Write(append(line, '\n'))
			}
			if err != nil {
				stop(fmt.Errorf("write the state: %w", err))
			}
		}
		if w.Done != nil {
			w.Done(r)
		}
	}
	places := make(chan struct{}, concurrency)
	var all sync.WaitGroup
	defer all.Wait()
	for i, page := range pages {
		if i > 0 {
			select {
			case <-pace.C:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		select {
		case places <- struct{}{}:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		all.Go(func() {
			defer func() { <-places }()
			if r := w.ask(ctx, page); ctx.Err() == nil {
				note(r)
			}
		})
	}
	all.Wait()
	return context.Cause(ctx)
}

// ask asks for a page, and again if it is asked to come back.
func (w *Warmer) ask(ctx context.Context, page Page) Result {
	for attempt := 1; ; attempt++ {
		r, pause := w.once(ctx, page)
		if pause == 0 || attempt == attempts {
			return r
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return r
		}
	}
}

// once returns what became of a request, and for how long to wait for another.
func (w *Warmer) once(ctx context.Context, page Page) (_ Result, pause time.Duration) {
	start := time.Now()
	result := Result{URL: page.URL, At: w.now().UTC()}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, page.URL, nil)
	if err != nil {
		result.Fault = "it is no URL"
		return result, 0
	}
	agent := w.Agent
	if agent == "" {
		agent = Agent
	}
	request.Header.Set("User-Agent", agent)
	response, err := w.client().Do(request)
	result.MS = time.Since(start).Milliseconds()
	if err != nil {
		result.Fault = "no answer: " + cause(err)
		return result, 0
	}
	defer response.Body.Close()
	io.Copy(io.Discard, response.Body)
	result.Status, result.Cache = response.StatusCode, response.Header.Get("X-Stillpage-Cache")
	result.MS = time.Since(start).Milliseconds()
	reason := response.Header.Get("X-Stillpage-Reason")
	switch {
	case result.Cache == "" && reason != "":
		result.Fault = reason
	case result.Cache == "":
		result.Fault = "the answer is not Stillpage's: bots get the app at this address; ask for the edge's"
	case response.Header.Get("X-Stillpage-Partial") == "" && result.Status < 400 && response.Header.Get("Cache-Control") == "no-store":
		result.Fault = "it was rendered and not kept: nothing is on it, or an error; `stillpage render --report` shows it"
	case response.Header.Get("X-Stillpage-Partial") != "":
		result.Fault = "it did not finish"
	case result.Status >= 500 || result.Status == 401 || result.Status == 403 || result.Status == 429:
		result.Fault = "status " + strconv.Itoa(result.Status)
	}
	if response.StatusCode == http.StatusServiceUnavailable {
		seconds, _ := strconv.Atoi(response.Header.Get("Retry-After"))
		pause = min(mostPause, time.Duration(seconds)*time.Second)
	}
	return result, pause
}

// cause leaves out the method and the address, which stand beside it.
func cause(err error) string {
	for next := errors.Unwrap(err); next != nil; next = errors.Unwrap(next) {
		err = next
	}
	return err.Error()
}

// defaultClient waits longer than a render takes, and shows redirects as they are:
// the pages that they lead to are pages of their own.
var defaultClient = &http.Client{
	Timeout:       time.Minute,
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

func (w *Warmer) client() *http.Client {
	if w.Client != nil {
		return w.Client
	}
	return defaultClient
}

func (w *Warmer) now() time.Time {
	if w.Now != nil {
		return w.Now()
	}
	return time.Now()
}
