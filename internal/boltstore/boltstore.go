// Package boltstore keeps snapshots and records in bbolt files, for `stillpage serve`.
// It speaks the store's contract and nothing more; when a page is fresh or may
// be kept is the core's business.
package boltstore

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/stillpage/stillpage/internal/prerender"
)

// The files in the data directory: pages by their keys, see encode, and records, see
// record. They are two because they are kept differently: what operators write is on the
// disk when it is answered, and a page that is lost is rendered again.
const (
	pagesFile   = "stillpage.db"
	recordsFile = "control.db"
)

var pagesBucket, recordsBucket = []byte("pages"), []byte("records")

// Store implements prerender.Store. Records has the records beside it.
type Store struct {
	db      *bbolt.DB
	records *bbolt.DB
	now     func() time.Time
}

// Open opens the store in dir, which is created if it is missing. A second
// process on the same directory is refused within a second.
func Open(dir string) (*Store, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	pages, err := openFile(filepath.Join(dir, pagesFile), pagesBucket)
	if err != nil {
		return nil, err
	}
	// An fsync a page would cost more than the render. After a power cut, the last pages may
	// be missing, or all.
	pages.NoSync = true
	records, err := openFile(filepath.Join(dir, recordsFile), recordsBucket)
	if err != nil {
		return nil, errors.Join(err, pages.Close())
	}
	return &Store{db: pages, records: records, now: time.Now}, nil
}

func openFile(path string, bucket []byte) (_ *bbolt.DB, err error) {
	// bbolt panics where a file is not what it has written; and one that is cut short is a
	// fault of memory.
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("open %s: it is damaged (%v); of pages, delete the file, and they are made again; control.db holds sites and tokens, take it from a backup", path, p)
		}
	}()
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: time.Second})
	if errors.Is(err, bolterrors.ErrTimeout) {
		return nil, fmt.Errorf("open %s: another stillpage uses this data directory; stop it or give --data another one", path)
	}
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		_, err := tx.CreateBucketIfNotExists(bucket)
		return err
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("prepare %s: %w", path, err), db.Close())
	}
	return db, nil
}

// OpenTemporary opens a store that is gone when the process ends, however it
// ends: its files have no names.
func OpenTemporary() (*Store, error) {
	dir, err := os.MkdirTemp("", "stillpage-store-")
	if err != nil {
		return nil, fmt.Errorf("temporary store: %w", err)
	}
	s, err := Open(dir)
	if removeErr := os.RemoveAll(dir); err == nil && removeErr != nil {
		return nil, errors.Join(fmt.Errorf("temporary store: %w", removeErr), s.Close())
	}
	return s, err
}

// Close writes everything to disk and frees the directory.
func (s *Store) Close() error {
	return errors.Join(s.db.Sync(), s.db.Close(), s.records.Close())
}

// Get implements prerender.Store.
func (s *Store) Get(_ context.Context, key prerender.Key) (*prerender.Snapshot, error) {
	var snap *prerender.Snapshot
	err := s.db.View(func(tx *bbolt.Tx) error {
		record := tx.Bucket(pagesBucket).Get(boltKey(key))
		if record == nil {
			return prerender.ErrNotFound
		}
		var err error
		if snap, err = decode(record); err == nil && snap.Forgotten(s.now()) {
			return prerender.ErrNotFound
		}
		if err == nil {
			snap.Gzip = slices.Clone(snap.Gzip)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("get page %q: %w", key, err)
	}
	return snap, nil
}

// Put implements prerender.Store.
func (s *Store) Put(_ context.Context, key prerender.Key, snap *prerender.Snapshot) error {
	record, err := encode(snap)
	if err != nil {
		return fmt.Errorf("put page %q: %w", key, err)
	}
	err = s.db.Batch(func(tx *bbolt.Tx) error {
		pages := tx.Bucket(pagesBucket)
		if old, err := decode(pages.Get(boltKey(key))); err == nil && old.Fence > snap.Fence {
			return prerender.ErrSuperseded
		}
		return pages.Put(boltKey(key), record)
	})
	if err != nil {
		return fmt.Errorf("put page %q: %w", key, err)
	}
	return nil
}

// List implements prerender.Store, in the order of the keys' bytes. It reads what is
// there when it begins.
func (s *Store) List(ctx context.Context, site prerender.Origin, after prerender.Key, found func(prerender.Listed) bool) error {
	prefix, now := []byte(site.String()+"/"), s.now()
	err := s.db.View(func(tx *bbolt.Tx) error {
		pages := tx.Bucket(pagesBucket).Cursor()
		key, record := pages.Seek([]byte(max(string(prefix), string(after))))
		for ; bytes.HasPrefix(key, prefix); key, record = pages.Next() {
			if err := ctx.Err(); err != nil {
				return err
			}
			snap, err := decode(record)
			if err != nil || string(key) <= string(after) || snap.Forgotten(now) {
				continue // one that cannot be read is kept, for whoever looks into it
			}
			if !found(snap.Listed(prerender.Key(key))) {
				return nil
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("list pages of %s: %w", site, err)
	}
	return nil
}

// Delete implements prerender.Store.
func (s *Store) Delete(_ context.Context, keys ...prerender.Key) error {
	err := s.db.Batch(func(tx *bbolt.Tx) error {
		for _, key := range keys {
			if err := tx.Bucket(pagesBucket).Delete(boltKey(key)); err != nil {
				return fmt.Errorf("delete page %q: %w", key, err)
			}
		}
		return nil
	})
	return err
}

// Sweep deletes the pages and records that have expired, and says how many pages. It is
// for the file's size: nothing returns any of them.
func (s *Store) Sweep(ctx context.Context) (int, error) {
	now := s.now()
	var expired []prerender.Key
	err := s.db.View(func(tx *bbolt.Tx) error {
		return tx.Bucket(pagesBucket).ForEach(func(key, record []byte) error {
			// One that cannot be read is kept, for whoever looks into it.
			if snap, err := decode(record); err == nil && snap.Forgotten(now) {
				expired = append(expired, prerender.Key(key))
			}
			return ctx.Err()
		})
	})
	if err != nil {
		return 0, fmt.Errorf("look for expired pages: %w", err)
	}
	_, err = s.sweepRecords()
	return len(expired), errors.Join(err, s.Delete(ctx, expired...))
}

// Pages counts the stored pages.
func (s *Store) Pages() (int, error) {
	n := 0
	err := s.db.View(func(tx *bbolt.Tx) error {
		n = tx.Bucket(pagesBucket).Stats().KeyN
		return nil
	})
	return n, err
}

// boltKey is the key itself: its longest form is far below bbolt's 32 kB.
func boltKey(key prerender.Key) []byte { return []byte(key) }

// A record is
//
//	byte     format, 1
//	uvarint  length of the metadata
//	...      metadata, JSON
//	...      the compressed body
const recordFormat = 1

func encode(s *prerender.Snapshot) ([]byte, error) {
	meta, err := s.EncodeMeta()
	if err != nil {
		return nil, err
	}
	record := append(make([]byte, 0, len(meta)+len(s.Gzip)+8), recordFormat)
	record = binary.AppendUvarint(record, uint64(len(meta)))
	return append(append(record, meta...), s.Gzip...), nil
}

// decode returns a snapshot whose body is the record's own, which belongs to the
// transaction.
func decode(record []byte) (*prerender.Snapshot, error) {
	if len(record) < 2 || record[0] != recordFormat {
		return nil, errors.New("record has a format that this version does not know")
	}
	length, n := binary.Uvarint(record[1:])
	rest := record[1+max(n, 0):]
	if n <= 0 || length > uint64(len(rest)) {
		return nil, errors.New("record is cut short")
	}
	snap, err := prerender.DecodeMeta(rest[:length])
	if err != nil {
		return nil, err
	}
	snap.Gzip = rest[length:]
	return snap, nil
}
