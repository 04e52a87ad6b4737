package insight

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/stillpage/stillpage/internal/control"
	"github.com/stillpage/stillpage/internal/prerender"
)

// AllSites is the place of the host in tallies of all sites together.
const AllSites = "*"

// Collector counts for one process. A nil Collector counts nothing.
//
// It is safe for concurrent use.
type Collector struct {
	Records control.Store

	// Instance tells this process from others, those before it among them.
	Instance string

	// Now is the clock of hours. Nil means time.Now.
	Now func() time.Time

	// Log gets what cannot be written. Nil means slog.Default().
	Log *slog.Logger

	mu      sync.Mutex
	tallies map[place]*tally
	flushed time.Time
}

// place is where a tally belongs.
type place struct{ host, hour string }

type tally struct {
	Tally
	dirty bool
}

// NewInstance returns a name that no other instance has.
func NewInstance() string { return strconv.FormatUint(rand.Uint64(), 36) }

// FlushEvery is how much is lost when a process is killed.
const FlushEvery = 10 * time.Second

// A tally's ID is its host, "/h/" or "/d/", the hour or day in UTC, "/", and of one that
// is not merged yet, the instance that counts.
const (
	hourForm = "2006-01-02T15"
	dayForm  = "2006-01-02"

	// hourLife and dayLife are for how long tallies are kept.
	hourLife = 9 * 24 * time.Hour
	dayLife  = 400 * 24 * time.Hour
)

func hourID(host, hour, instance string) string { return host + "/h/" + hour + "/" + instance }
func dayID(host, day string) string             { return host + "/d/" + day + "/" }

// Request is one that was answered or refused.
type Request struct {
	Host    string // of a known site; empty: of none
	Agent   string
	Purpose string
	Cache   string // hit, stale, miss, coalesced or refused
	Reason  string // of a refusal
	Took    time.Duration
	Bytes   int64
}

// Request counts a request.
func (c *Collector) Request(r Request) {
	c.add(r.Host, func(t *Tally) {
		count(&t.Requests, r.Cache, 1)
		count(&t.Agents, r.Agent, 1)
		if r.Purpose != "" {
			count(&t.Purposes, r.Purpose, 1)
		}
		if r.Reason != "" {
			count(&t.Refusals, r.Reason, 1)
		} else {
			t.Latency.Observe(r.Took)
		}
		t.Bytes += r.Bytes
	})
}

// Render is one that has ended.
type Render struct {
	Host, URL string
	Outcome   string // complete, partial, or why there is no page
	Partial   string // why a page is partial
	Took      time.Duration
}

// Render counts a render.
func (c *Collector) Render(r Render) {
	c.add(r.Host, func(t *Tally) {
		count(&t.Renders, r.Outcome, 1)
		t.RenderTime.Observe(r.Took)
		t.slow(PageCount{URL: r.URL, MS: r.Took.Milliseconds()})
		if r.Partial != "" {
			count(&t.Partials, r.Partial, 1)
		}
		if r.Outcome != "complete" {
			t.failing(PageCount{URL: r.URL, Reason: cmp.Or(r.Partial, r.Outcome), Count: 1})
		}
	})
}

func (c *Collector) add(host string, change func(*Tally)) {
	if c == nil {
		return
	}
	hour := c.now().UTC().Format(hourForm)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.tallies == nil {
		c.tallies = map[place]*tally{}
	}
	for _, h := range []string{AllSites, host} {
		if h == "" {
			continue
		}
		t := c.tallies[place{h, hour}]
		if t == nil {
			t = &tally{}
			c.tallies[place{h, hour}] = t
		}
		change(&t.Tally)
		t.dirty = true
	}
}

// FlushIfDue is Flush, if that was FlushEvery ago. It is for processes that are frozen
// between requests.
func (c *Collector) FlushIfDue(ctx context.Context) {
	c.mu.Lock()
	due := c.now().Sub(c.flushed) >= FlushEvery
	if due {
		c.flushed = c.now()
	}
	c.mu.Unlock()
	if due {
		c.Flush(ctx)
	}
}

// flushTime bounds a flush: somebody may be waiting for it.
const flushTime = 2 * time.Second

// Flush writes what was counted since the last one. What cannot be written is with the
// next.
func (c *Collector) Flush(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushTime)
	defer cancel()
	hour := c.now().UTC().Format(hourForm)
	for at, document := range c.dirty(hour) {
		err := c.Records.Note(ctx, control.Record{
			Kind: control.TallyRecord, ID: hourID(at.host, at.hour, c.Instance), Version: 1, Document: document, Expires: c.now().Add(hourLife),
		})
		c.mu.Lock()
		t := c.tallies[at]
		if err != nil {
			t.dirty = true
		} else if at.hour != hour && !t.dirty {
			delete(c.tallies, at)
		}
		c.mu.Unlock()
		if err != nil {
			cmp.Or(c.Log, slog.Default()).WarnContext(ctx, "what was counted is not written yet", "err", err)
			return
		}
	}
}

// dirty returns the documents of the tallies that have changed.
func (c *Collector) dirty(hour string) map[place][]byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	documents := map[place][]byte{}
	for at, t := range c.tallies {
		if !t.dirty {
			if at.hour != hour {
				delete(c.tallies, at)
			}
			continue
		}
		document, err := json.Marshal(t.Tally)
		if err != nil {
			panic(fmt.Sprintf("insight: a tally that is no JSON: %v", err))
		}
		documents[at], t.dirty = document, false
	}
	return documents
}

func (c *Collector) now() time.Time {
	if c.Now != nil {
		return c.Now()
	}
	return time.Now()
}

// Maker counts what another Maker makes.
type Maker struct {
	prerender.Maker
	Collector *Collector
	Reason    func(error) string // why there is no page, in a word
}

// Make implements prerender.Maker.
func (m Maker) Make(ctx context.Context, page prerender.Page, fence int64) (*prerender.Snapshot, []prerender.Phase, error) {
	start := time.Now()
	snap, phases, err := m.Maker.Make(ctx, page, fence)
	r := Render{Host: page.Site.Origin.Host, URL: page.URL, Outcome: "complete", Took: time.Since(start)}
	switch {
	case err != nil:
		r.Outcome = m.Reason(err)
	case snap.Partial != "":
		r.Outcome, r.Partial = "partial", "scripts"
		if strings.HasPrefix(snap.Partial, "requests") {
			r.Partial = "requests"
		}
	case snap.Status >= 500:
		r.Outcome = fmt.Sprintf("status-%d", snap.Status)
	}
	m.Collector.Render(r)
	return snap, phases, err
}
