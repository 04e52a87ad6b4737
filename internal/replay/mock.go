package replay

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Latency is how long a mock takes.
type Latency struct {
	Factor float64       // of what was recorded
	Fixed  time.Duration // in the place of it, if Factor is 0
}

// ParseLatency reads "recorded", a factor of it like "x0.5", or a time like "20ms".
func ParseLatency(text string) (Latency, error) {
	if text == "recorded" {
		return Latency{Factor: 1}, nil
	}
	if factor, ok := strings.CutPrefix(text, "x"); ok {
		n, err := strconv.ParseFloat(factor, 64)
		if err == nil && n > 0 && n <= 1000 {
			return Latency{Factor: n}, nil
		}
	} else if d, err := time.ParseDuration(text); err == nil && d >= 0 && d <= 10*time.Minute {
		return Latency{Fixed: d}, nil
	}
	return Latency{}, errors.New("must be recorded, a factor of that like x0.5, or a time like 20ms")
}

// of returns until when the header waits, and after that the rest.
func (l Latency) of(e *Exchange) (first, rest time.Duration) {
	if l.Factor == 0 {
		return l.Fixed, 0
	}
	scale := func(ms float64) time.Duration {
		return time.Duration(l.Factor * max(0, ms) * float64(time.Millisecond))
	}
	return scale(e.FirstMS), scale(e.AllMS - e.FirstMS)
}

// Mock answers what was recorded. A request that was made more than once is answered with what
// came of each, in their order; from then on with the last.
type Mock struct {
	Latency Latency
	Log     *slog.Logger // gets what was not recorded, once each. Nil means slog.Default()

	rules     Rules
	mu        sync.Mutex
	exchanges map[string][]Exchange
	asked     map[string]bool // method and target, whatever the body
	next      map[string]int
	answered  int
	unmatched map[string]int // by method and target
}

// NewMock makes a mock of a recording.
func NewMock(r io.Reader) (*Mock, error) {
	head, list, err := Read(r)
	if err != nil {
		return nil, err
	}
	m := &Mock{rules: head.Scrubbed, exchanges: map[string][]Exchange{}, asked: map[string]bool{}, next: map[string]int{}, unmatched: map[string]int{}, Latency: Latency{Factor: 1}}
	for _, e := range list {
		k := key(e.Method, e.Target, e.Body)
		m.exchanges[k] = append(m.exchanges[k], e)
		m.asked[e.Method+" "+e.Target] = true
	}
	return m, nil
}

// Exchanges is how many there are.
func (m *Mock) Exchanges() (n int) {
	for _, list := range m.exchanges {
		n += len(list)
	}
	return n
}

// Unmatched are the requests that were not recorded, by how often they came, and how many were
// answered.
func (m *Mock) Unmatched() (unmatched map[string]int, answered int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Clone(m.unmatched), m.answered
}

// mostUnmatched bounds what is remembered of them.
const mostUnmatched = 10_000

// ServeHTTP implements http.Handler. What was not recorded is 501, so that no page takes it for
// the site's own 404.
func (m *Mock) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, mostBody))
	if err != nil {
		http.Error(w, "the request breaks off", http.StatusBadRequest)
		return
	}
	target := m.rules.target(r.URL.RequestURI())
	e := m.find(r.Method, target, hash(m.rules.body(r.Header.Get("Content-Type"), body)))
	if e == nil {
		w.Header().Set("Cache-Control", "no-store")
		how := ""
		if m.asked[r.Method+" "+target] {
			how = " with this body"
		}
		http.Error(w, fmt.Sprintf("%s %s was not recorded%s", r.Method, target, how), http.StatusNotImplemented)
		return
	}
	first, rest := m.Latency.of(e)
	if !sleep(r.Context(), first) {
		return
	}
	header, answer := w.Header(), e.body()
	header["Content-Type"] = nil // net/http would guess one where the site gave none
	for name, values := range e.Header {
		header[name] = slices.Clone(values)
	}
	if e.Status != http.StatusNoContent && e.Status != http.StatusNotModified && (r.Method != http.MethodHead || len(answer) > 0) {
		header.Set("Content-Length", strconv.Itoa(len(answer)))
	}
	w.WriteHeader(e.Status)
	if rest > 0 {
		http.NewResponseController(w).Flush() // one that cannot has it all at the end
		if !sleep(r.Context(), rest) {
			return
		}
	}
	if r.Method != http.MethodHead {
		w.Write(answer)
	}
}

func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return true
	}
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}

func (m *Mock) find(method, target, body string) *Exchange {
	m.mu.Lock()
	defer m.mu.Unlock()
	k := key(method, target, body)
	list := m.exchanges[k]
	if len(list) == 0 && method == http.MethodHead { // a GET has the same header
		k = key(http.MethodGet, target, body)
		list = m.exchanges[k]
	}
	if len(list) == 0 {
		name := method + " " + target
		if m.unmatched[name]++; m.unmatched[name] == 1 {
			cmp.Or(m.Log, slog.Default()).Warn("not recorded", "method", method, "target", target)
		}
		if len(m.unmatched) > mostUnmatched {
			m.unmatched = map[string]int{"others": len(m.unmatched)}
		}
		return nil
	}
	m.answered++
	i := m.next[k]
	if i < len(list)-1 {
		m.next[k]++
	}
	return &list[i]
}
