package boltstore

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.etcd.io/bbolt"

	"github.com/stillpage/stillpage/internal/control"
	"github.com/stillpage/stillpage/internal/prerender"
)

// record is one as it is stored, under its kind, a slash and its ID.
type record struct {
	Version  int64     `json:"version,omitempty"`
	Expires  time.Time `json:"expires,omitzero"`
	Document string    `json:"document"` // a text, so that its bytes stay as they are
}

func recordKey(kind control.Kind, id string) []byte { return []byte(string(kind) + "/" + id) }

// Records returns the store of records in the same directory.
func (s *Store) Records() *Records { return &Records{s} }

// Records implements control.Store.
type Records struct{ store *Store }

// Get implements control.Store.
func (s *Records) Get(_ context.Context, kind control.Kind, id string) (control.Record, error) {
	var found control.Record
	err := s.store.records.View(func(tx *bbolt.Tx) error {
		stored, err := s.decode(kind, id, tx.Bucket(recordsBucket).Get(recordKey(kind, id)))
		if err == nil && stored == nil {
			err = prerender.ErrNotFound
		}
		if err == nil {
			found = *stored
		}
		return err
	})
	if err != nil {
		return control.Record{}, fmt.Errorf("get %s %q: %w", kind, id, err)
	}
	return found, nil
}

// decode returns nil for what is not there, or not any more.
func (s *Records) decode(kind control.Kind, id string, document []byte) (*control.Record, error) {
	if document == nil {
		return nil, nil
	}
	var r record
	if err := json.Unmarshal(document, &r); err != nil {
		return nil, err
	}
	if !r.Expires.IsZero() && s.store.now().After(r.Expires) {
		return nil, nil
	}
	return &control.Record{Kind: kind, ID: id, Version: r.Version, Expires: r.Expires, Document: []byte(r.Document)}, nil
}

// readAtOnce is how many records are read in one transaction: found may write.
const readAtOnce = 500

// List implements control.Store.
func (s *Records) List(ctx context.Context, r control.Range, found func(control.Record) bool) error {
	for {
		part, more, err := s.read(r)
		if err != nil {
			return fmt.Errorf("list %ss: %w", r.Kind, err)
		}
		for _, record := range part {
			if err := ctx.Err(); err != nil {
				return fmt.Errorf("list %ss: %w", r.Kind, err)
			}
			if !found(record) {
				return nil
			}
		}
		if more == "" {
			return nil
		}
		if r.Backwards {
			r.Before = more
		} else {
			r.After = more
		}
	}
}

// read returns the first records of a range, and the last ID that was looked at if there
// may be more.
func (s *Records) read(r control.Range) (part []control.Record, more string, err error) {
	prefix := recordKey(r.Kind, "")
	inside := func(key []byte) bool {
		id := string(bytes.TrimPrefix(key, prefix))
		return bytes.HasPrefix(key, prefix) && id > r.After && (r.Before == "" || id < r.Before)
	}
	err = s.store.records.View(func(tx *bbolt.Tx) error {
		cursor := tx.Bucket(recordsBucket).Cursor()
		next := cursor.Next
		key, document := cursor.Seek(recordKey(r.Kind, r.After))
		if r.Backwards {
			next = cursor.Prev
			end := slices.Concat(prefix[:len(prefix)-1], []byte("0")) // the byte after the slash
			if r.Before != "" {
				end = recordKey(r.Kind, r.Before)
			}
			if key, _ = cursor.Seek(end); key == nil {
				key, document = cursor.Last()
			} else {
				key, document = cursor.Prev()
			}
		} else if string(key) == string(recordKey(r.Kind, r.After)) {
			key, document = cursor.Next()
		}
		for looked := 0; inside(key); key, document = next() {
			id := strings.TrimPrefix(string(key), string(prefix))
			record, err := s.decode(r.Kind, id, document)
			if err != nil {
				return fmt.Errorf("%q: %w", id, err)
			}
			if record != nil {
				part = append(part, *record)
			}
			if looked++; looked == readAtOnce {
				more = id
				return nil
			}
		}
		return nil
	})
	return part, more, err
}

// Note implements control.Store.
func (s *Records) Note(_ context.Context, r control.Record) error {
	document, err := json.Marshal(record{r.Version, r.Expires, string(r.Document)})
	if err == nil {
		err = s.store.records.Batch(func(tx *bbolt.Tx) error { return tx.Bucket(recordsBucket).Put(recordKey(r.Kind, r.ID), document) })
	}
	if err != nil {
		return fmt.Errorf("note %s %q: %w", r.Kind, r.ID, err)
	}
	return nil
}

// Write implements control.Store. It is on disk when it returns.
func (s *Records) Write(_ context.Context, writes ...control.Write) error {
	err := s.store.records.Update(func(tx *bbolt.Tx) error {
		records := tx.Bucket(recordsBucket)
		for _, w := range writes {
			key := recordKey(w.Kind, w.ID)
			stored, err := s.decode(w.Kind, w.ID, records.Get(key))
			if err != nil {
				return err
			}
			was := int64(0)
			if stored != nil {
				was = stored.Version
			}
			if !w.Any && (was != w.Was || (stored != nil) != (w.Was != 0)) {
				return &control.ConflictError{Kind: w.Kind, ID: w.ID}
			}
			if w.Delete {
				err = records.Delete(key)
			} else {
				var document []byte
				if document, err = json.Marshal(record{w.Version, w.Expires, string(w.Document)}); err == nil {
					err = records.Put(key, document)
				}
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("write %d records: %w", len(writes), err)
	}
	return nil
}

// sweepRecords deletes the records that have expired.
func (s *Store) sweepRecords() (int, error) {
	var expired [][]byte
	now := s.now()
	err := s.records.View(func(tx *bbolt.Tx) error {
		return tx.Bucket(recordsBucket).ForEach(func(key, document []byte) error {
			var r record
			if json.Unmarshal(document, &r) == nil && !r.Expires.IsZero() && now.After(r.Expires) {
				expired = append(expired, bytes.Clone(key))
			}
			return nil
		})
	})
	if err != nil || len(expired) == 0 {
		return 0, err
	}
	return len(expired), s.records.Update(func(tx *bbolt.Tx) error {
		for _, key := range expired {
			if err := tx.Bucket(recordsBucket).Delete(key); err != nil {
				return err
			}
		}
		return nil
	})
}
