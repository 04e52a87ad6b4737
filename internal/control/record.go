package control

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Kind says what a record is about.
type Kind string

// The kinds of records. Those that somebody answers for are changed by Ledger only;
// the others are what the service notes by itself.
const (
	SiteRecord  Kind = "site"  // by host: prerender.Site
	TokenRecord Kind = "token" // by ID: Token
	JobRecord   Kind = "job"   // by ID: Job
	EventRecord Kind = "event" // by number: a link of the chain
	HeadRecord  Kind = "head"  // one, "event": the chain's end

	OpenRecord   Kind = "open"   // by a job's ID: it is not done
	RunRecord    Kind = "run"    // by host: prerender.WarmRun
	UseRecord    Kind = "use"    // by a token's ID: when it was used last
	AnswerRecord Kind = "answer" // by an idempotency key: what was answered
	TallyRecord  Kind = "tally"  // with a slash and the host, see package insight
	SecretRecord Kind = "secret" // by name: what this installation signs with
)

// Record is a document that operators, or the service, keep.
type Record struct {
	Kind Kind
	ID   string

	// Version goes up with every change, if changes of the kind are conditional.
	Version int64

	Document []byte // JSON

	// Expires is when it may be forgotten. Zero: never.
	Expires time.Time
}

// Write stores a record, or deletes it.
type Write struct {
	Record

	// Was is the version that the stored record must have, 0 that there must be none.
	Was int64

	// Any does it whatever is there.
	Any bool

	Delete bool
}

// Range is a part of the records of a kind: those whose IDs come after After and before
// Before, in the order of their bytes. Empty bounds are none.
type Range struct {
	Kind          Kind
	After, Before string
	Backwards     bool // the last first
	AtOnce        int  // about how many are wanted; 0: all
	Eventually    bool // what was written a moment ago may be missing, at half the price
}

// MostWrites is how many records can be written at once: DynamoDB's transactions have
// 100 items.
const MostWrites = 100

// Store keeps records. Every implementation passes storetest.RunRecords.
//
// It is safe for concurrent use. What has expired is not returned any more.
type Store interface {
	// Get returns a record as it was last written, or prerender.ErrNotFound.
	Get(ctx context.Context, kind Kind, id string) (Record, error)

	// List calls found for the records of a range, in its order, until that returns
	// false.
	List(ctx context.Context, r Range, found func(Record) bool) error

	// Note stores a record whatever is there.
	Note(ctx context.Context, record Record) error

	// Write does all of the writes or none. When a stored record has not the version
	// that it must have, the error is a ConflictError.
	Write(ctx context.Context, writes ...Write) error
}

// ConflictError says which record has been changed by somebody else meanwhile.
type ConflictError struct {
	Kind Kind
	ID   string
}

func (e *ConflictError) Error() string {
	return fmt.Sprintf("%s %q has changed meanwhile", e.Kind, e.ID)
}

// conflicts says whether a write has failed because of a record of this kind.
func conflicts(err error, kind Kind) bool {
	var conflict *ConflictError
	return errors.As(err, &conflict) && conflict.Kind == kind
}

// NextVersion is that of a record whose stored one has the version was, or none is
// stored: then it is the time's, so that a record which was deleted and comes back has no
// version again that it had before.
func NextVersion(was int64, now time.Time) int64 {
	if was == 0 {
		return now.UnixMicro()
	}
	return was + 1
}
