package control

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/stillpage/stillpage/internal/prerender"
)

// Event is something that somebody has done. Its JSON is what is stored, logged and
// exported.
type Event struct {
	Number  int64     `json:"number"` // from 1, without gaps
	At      time.Time `json:"at"`
	Actor   string    `json:"actor"`             // Principal.Name
	From    string    `json:"from,omitempty"`    // the address that the request came from
	Action  string    `json:"action"`            // such as "site.update"
	Site    string    `json:"site,omitempty"`    // its host; empty: of no site
	Subject string    `json:"subject,omitempty"` // the ID of a token or job
	Changes []Change  `json:"changes"`           // secrets are masked

	// Previous is the hash of the event before, empty of the first.
	Previous string `json:"previous"`
}

// By is who does something, and from where.
type By struct {
	Actor string
	From  string
}

// Link is an event in the chain: its bytes, and the SHA-256 of them in hexadecimal
// digits. The bytes have the hash of the event before in them, so whoever changes one
// event must change all after it.
type Link struct {
	Hash  string          `json:"hash"`
	Event json.RawMessage `json:"event"`
}

// Head is the end of the chain, or was.
type Head struct {
	Number int64     `json:"number"`
	Hash   string    `json:"hash"`
	At     time.Time `json:"at,omitzero"` // of the last event
}

// headID is the ID of the one HeadRecord.
const headID = "event"

// eventID orders events as texts.
func eventID(number int64) string { return fmt.Sprintf("%016d", number) }

// Ledger writes what people change, and that they did: both or neither.
type Ledger struct {
	Records Store

	// Now is the clock of events. Nil means time.Now.
	Now func() time.Time

	// Log gets each event. Nil means slog.Default().
	Log *slog.Logger
}

// Others may be adding an event at the same moment. Each attempt is lost to another's
// success, and waits a random time of up to commitPause times its number.
const (
	commitAttempts = 50
	commitPause    = 10 * time.Millisecond
)

// Commit does the writes and adds the event to the chain, in one transaction. When a
// record of the writes has changed meanwhile, the error is its ConflictError.
func (l *Ledger) Commit(ctx context.Context, e Event, writes ...Write) (Event, error) {
	if e.Changes = bounded(e.Changes); e.Changes == nil {
		e.Changes = []Change{}
	}
	var link Link
	var err error
	for attempt := range commitAttempts {
		if err = pause(ctx, attempt); err != nil {
			break
		}
		if e, link, err = l.append(ctx, e, writes); !conflicts(err, HeadRecord) && !conflicts(err, EventRecord) {
			break
		}
	}
	if err != nil {
		return e, fmt.Errorf("%s: %w", e.Action, err)
	}
	cmp.Or(l.Log, slog.Default()).InfoContext(ctx, "audit", "hash", link.Hash, "event", string(link.Event))
	return e, nil
}

// pause waits before an attempt, but for the first.
func pause(ctx context.Context, attempt int) error {
	if attempt == 0 {
		return nil
	}
	select {
	case <-time.After(rand.N(commitPause * time.Duration(attempt))):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// append tries once.
func (l *Ledger) append(ctx context.Context, e Event, writes []Write) (Event, Link, error) {
	var head Head
	stored, err := l.Records.Get(ctx, HeadRecord, headID)
	switch {
	case errors.Is(err, prerender.ErrNotFound):
	case err != nil:
		return e, Link{}, err
	default:
		if err := json.Unmarshal(stored.Document, &head); err != nil {
			return e, Link{}, fmt.Errorf("end of the audit chain: %w", err)
		}
	}
	e.Number, e.Previous = head.Number+1, head.Hash
	// Clocks are apart, and events are in the order of time.
	if e.At = l.now().UTC().Truncate(time.Millisecond); e.At.Before(head.At) {
		e.At = head.At
	}
	bytes, err := json.Marshal(e)
	if err != nil {
		return e, Link{}, err
	}
	link := Link{Hash: hashOf(bytes), Event: bytes}
	return e, link, l.Records.Write(ctx, append([]Write{
		put(HeadRecord, headID, e.Number, stored.Version, Head{e.Number, link.Hash, e.At}),
		put(EventRecord, eventID(e.Number), 1, 0, link),
	}, writes...)...)
}

// put writes a document, which must be one that JSON knows.
func put(kind Kind, id string, version, was int64, document any) Write {
	text, err := json.Marshal(document)
	if err != nil {
		panic(fmt.Sprintf("control: a %s that is no JSON: %v", kind, err))
	}
	return Write{Record: Record{Kind: kind, ID: id, Version: version, Document: text}, Was: was}
}

func hashOf(bytes []byte) string {
	sum := sha256.Sum256(bytes)
	return hex.EncodeToString(sum[:])
}

func (l *Ledger) now() time.Time { return clock(l.Now) }

func clock(now func() time.Time) time.Time {
	if now != nil {
		return now()
	}
	return time.Now()
}

// Links calls found for the events with numbers after one, in their order or the last
// first, until it returns false. 0 is before the first, and also after the last.
func (l *Ledger) Links(ctx context.Context, after int64, backwards bool, found func(Link, Event) bool) error {
	r := Range{Kind: EventRecord, Backwards: backwards}
	if after > 0 && backwards {
		r.Before = eventID(after)
	} else if after > 0 {
		r.After = eventID(after)
	}
	var broken error
	err := l.Records.List(ctx, r, func(record Record) bool {
		var link Link
		var e Event
		if broken = json.Unmarshal(record.Document, &link); broken == nil {
			broken = json.Unmarshal(link.Event, &e)
		}
		if broken != nil {
			broken = fmt.Errorf("event %s: %w", record.ID, broken)
			return false
		}
		return found(link, e)
	})
	return cmp.Or(err, broken)
}

// Head returns the end of the chain; of an empty one, the zero Head.
func (l *Ledger) Head(ctx context.Context) (head Head, _ error) {
	record, err := l.Records.Get(ctx, HeadRecord, headID)
	if errors.Is(err, prerender.ErrNotFound) {
		return head, nil
	}
	if err == nil {
		err = json.Unmarshal(record.Document, &head)
	}
	return head, err
}

// mostChanges bounds what an event says of changes, in bytes: DynamoDB's items have 400 kB.
const mostChanges = 200 << 10

// bounded replaces changes that are too long by the hashes of what was and what is.
func bounded(changes []Change) []Change {
	text, err := json.Marshal(changes)
	if err != nil || len(text) <= mostChanges {
		return changes
	}
	var before, after []Change
	for _, c := range changes {
		before, after = append(before, Change{Pointer: c.Pointer, Before: c.Before}), append(after, Change{Pointer: c.Pointer, After: c.After})
	}
	short := func(part []Change) string {
		text, _ := json.Marshal(part) // a part of what was marshalled
		return fmt.Sprintf("%d values, too long for an event; SHA-256 %s", len(part), hashOf(text))
	}
	return []Change{{Before: short(before), After: short(after)}}
}

// Verifier follows a chain, link by link.
type Verifier struct {
	// Known is an end of the chain that was noted before: it must still be in it. Zero:
	// none was.
	Known Head

	Head   Head     // of what was followed
	Faults []string // what is wrong with it

	met bool // Known
}

// mostChainFaults are reported; one fault is enough.
const mostChainFaults = 20

func (v *Verifier) fault(format string, args ...any) {
	if len(v.Faults) < mostChainFaults {
		v.Faults = append(v.Faults, fmt.Sprintf(format, args...))
	}
}

// Add looks at the next link.
func (v *Verifier) Add(link Link) {
	var e Event
	if err := json.Unmarshal(link.Event, &e); err != nil {
		v.fault("after event %d comes something that is no event: %v", v.Head.Number, err)
		return
	}
	name := "event " + strconv.FormatInt(e.Number, 10)
	if hashOf(link.Event) != link.Hash {
		v.fault("%s has been edited: its hash is not that of its bytes", name)
	}
	if e.Number != v.Head.Number+1 {
		v.fault("%s comes after event %d: some are missing, or the order has been changed", name, v.Head.Number)
	} else if e.Previous != v.Head.Hash {
		v.fault("%s does not follow the event before it, which has been replaced", name)
	}
	v.Head = Head{e.Number, link.Hash, e.At}
	if e.Number == v.Known.Number {
		if v.met = true; link.Hash != v.Known.Hash {
			v.fault("%s has the hash %s, and had %s when that was noted: the chain has been written anew", name, link.Hash, v.Known.Hash)
		}
	}
}

// End says that there are no more links. The chain must have come to what is known.
func (v *Verifier) End() {
	if v.Known != (Head{}) && !v.met {
		v.fault("the chain ends with event %d, and event %d is known: events at the end are missing", v.Head.Number, v.Known.Number)
	}
}
