package insight

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strconv"
	"sync"
	"time"

	"github.com/stillpage/stillpage/internal/control"
	"github.com/stillpage/stillpage/internal/telemetry"
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

	flushing sync.Mutex

	mu      sync.Mutex
	tallies map[place]*tally
	flushed time.Time
}

// place is where a tally belongs.
type place struct{ host, hour string }

type tally struct {
	Tally
	dirty   bool
	version int64 // as it was written last
}

// NewInstance returns a name that no other instance has.
func NewInstance() string { return strconv.FormatUint(rand.Uint64(), 36) }

// FlushEvery is how much is lost when a process is killed.
const FlushEvery = 10 * time.Second

// A tally is a record of the kind "tally/" and its host. Its ID is "h/" or "d/", the hour
// or day in UTC, "/", and of one that is not merged yet, the instance that counts.
const (
	hourForm = "2006-01-02T15"
	dayForm  = "2006-01-02"

	// hourLife and dayLife are for how long tallies are kept.
	hourLife = 9 * 24 * time.Hour
	dayLife  = 400 * 24 * time.Hour
)

func kindOf(host string) control.Kind     { return control.TallyRecord + "/" + control.Kind(host) }
func hourID(hour, instance string) string { return "h/" + hour + "/" + instance }
func dayID(day string) string             { return "d/" + day + "/" }

// Request counts a request.
func (c *Collector) Request(r telemetry.Request) {
	c.add(r.Site, func(t *Tally) {
		count(&t.Requests, r.Cache, 1)
		agent := Part{Purpose: r.Purpose, Requests: map[string]int64{r.Cache: 1}}
		if r.Reason == "" {
			agent.Latency.Observe(r.Took)
		}
		t.addAgent(r.Agent, agent)
		if r.Reason != "" {
			count(&t.Refusals, r.Reason, 1)
		} else {
			t.Latency.Observe(r.Took)
		}
		t.Bytes += r.Bytes
	})
}

// Render counts a render.
func (c *Collector) Render(r telemetry.Render) {
	c.add(r.Site, func(t *Tally) {
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
const flushTime = time.Second

// Flush writes what was counted since the last one. What cannot be written is with the
// next, unless its hour has been merged by then: merged are the tallies that are there, and
// one that came after would be counted twice.
func (c *Collector) Flush(ctx context.Context) {
	c.flushing.Lock() // one at a time
	defer c.flushing.Unlock()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushTime)
	defer cancel()
	records, lost := c.dirty()
	errs := make([]error, len(records))
	var all sync.WaitGroup
	for i, r := range records {
		all.Go(func() { errs[i] = c.Records.Note(ctx, r.Record) })
	}
	all.Wait()
	c.mu.Lock()
	for i, r := range records {
		if t := c.tallies[r.place]; errs[i] != nil && t != nil {
			t.dirty = true
		}
	}
	c.mu.Unlock()
	if err := errors.Join(errs...); err != nil || lost > 0 {
		cmp.Or(c.Log, slog.Default()).WarnContext(ctx, "what was counted is not written yet", "tallies", len(records), "lost", lost, "err", err)
	}
}

type noted struct {
	place
	control.Record
}

// dirty returns the records of the tallies that have changed, and forgets those whose hour
// is over and that are written, or may have been merged.
func (c *Collector) dirty() (records []noted, lost int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	for at, t := range c.tallies {
		began, _ := time.Parse(hourForm, at.hour) // it was written so
		switch over := now.Sub(began.Add(time.Hour)); {
		case !t.dirty && over > 0:
			delete(c.tallies, at)
			continue
		case !t.dirty:
			continue
		case over > mergeAfter/2:
			delete(c.tallies, at)
			lost++
			continue
		}
		document, err := json.Marshal(t.Tally)
		if err != nil {
			panic(fmt.Sprintf("insight: a tally that is no JSON: %v", err))
		}
		t.dirty = false
		t.version++
		records = append(records, noted{at, control.Record{
			Kind: kindOf(at.host), ID: hourID(at.hour, c.Instance), Version: t.version, Document: document, Expires: now.Add(hourLife),
		}})
	}
	return records, lost
}

func (c *Collector) now() time.Time {
	if c.Now != nil {
		return c.Now()
	}
	return time.Now().Round(0) // by the wall: the other clock stands still while a function is frozen
}
