package boltstore_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.etcd.io/bbolt"

	"github.com/stillpage/stillpage/internal/boltstore"
	"github.com/stillpage/stillpage/internal/control"
	"github.com/stillpage/stillpage/internal/prerender"
	"github.com/stillpage/stillpage/internal/storetest"
)

// at is the records of a store with another clock.
func at(s *boltstore.Store, now func() time.Time) control.Store {
	boltstore.SetClock(s, now)
	return s.Records()
}

func open(t *testing.T, dir string) *boltstore.Store {
	t.Helper()
	s, err := boltstore.Open(dir)
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func TestContract(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T) prerender.Store { return open(t, t.TempDir()) })
}

func TestSites(t *testing.T) {
	t.Parallel()
	storetest.RunRecords(t, func(t *testing.T, now func() time.Time) control.Store { return at(open(t, t.TempDir()), now) })
}

func TestPagesSurviveARestart(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "made", "by", "Open")
	want := storetest.Snapshot("kept", 2000)
	first := open(t, dir)
	if err := first.Put(t.Context(), "k", want); err != nil {
		t.Fatal(err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}

	second := open(t, dir)
	got, err := second.Get(t.Context(), "k")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("after a restart (-want +got):\n%s", diff)
	}
	if n, err := second.Pages(); n != 1 || err != nil {
		t.Errorf("Pages: got %d, %v, want 1", n, err)
	}
}

func TestSweep(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir())
	old, kept, forever := storetest.Snapshot("old", 10), storetest.Snapshot("kept", 10), storetest.Snapshot("forever", 10)
	old.Expires, forever.Expires = time.Now().Add(-time.Second), time.Time{}
	for key, snap := range map[prerender.Key]*prerender.Snapshot{"old": old, "kept": kept, "forever": forever} {
		if err := s.Put(t.Context(), key, snap); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []int{1, 0} {
		if n, err := s.Sweep(t.Context()); n != want || err != nil {
			t.Errorf("Sweep: got %d, %v, want %d", n, err, want)
		}
	}
	if n, err := s.Pages(); n != 2 || err != nil {
		t.Errorf("Pages: got %d, %v, want 2", n, err)
	}
}

func TestSecondProcessIsRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	open(t, dir)
	_, err := boltstore.Open(dir)
	if err == nil || !strings.Contains(err.Error(), "another stillpage") {
		t.Errorf("second Open: got %v, want an error that names the other process", err)
	}
}

// A damaged record must be an error of its own kind, so that the service logs
// it and renders, and never a wrong page.
func TestDamagedRecord(t *testing.T) {
	t.Parallel()
	for name, record := range map[string][]byte{
		"empty": {}, "other format": {9, 2, '{', '}'}, "cut": {1, 200, 1, '{'}, "no JSON": {1, 2, 'x', 'y'}, "bad length": {1, 0xff},
	} {
		dir := t.TempDir()
		open(t, dir).Close()
		db, err := bbolt.Open(filepath.Join(dir, "stillpage.db"), 0o600, nil)
		if err != nil {
			t.Fatal(err)
		}
		err = db.Update(func(tx *bbolt.Tx) error { return tx.Bucket([]byte("pages")).Put([]byte("k"), record) })
		if err := errors.Join(err, db.Close()); err != nil {
			t.Fatal(err)
		}
		snap, err := open(t, dir).Get(t.Context(), "k")
		if err == nil || errors.Is(err, prerender.ErrNotFound) {
			t.Errorf("%s: got %v, %v, want an error that is not a miss", name, snap, err)
		}
	}
}

func TestUnusableDirectory(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := boltstore.Open(file); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("Open of a file: got %v, want an error that names it", err)
	}
}

func FuzzRecord(f *testing.F) {
	f.Add([]byte{1, 2, '{', '}', 'b'})
	f.Add([]byte{1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01})
	f.Fuzz(func(t *testing.T, record []byte) {
		if snap, err := boltstore.Decode(record); (snap == nil) == (err == nil) {
			t.Errorf("got %v, %v, want one of them", snap, err)
		}
	})
}
