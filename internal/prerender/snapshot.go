package prerender

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"
)

// Snapshot is a stored page. Its JSON is on the wire between functions, and
// without the body in boltstore's file.
type Snapshot struct {
	// Format is that of the stored snapshot: stores write it (EncodeMeta).
	Format int `json:"format,omitempty"`

	Status     int         `json:"status"`
	Header     http.Header `json:"header"`
	RenderedAt time.Time   `json:"renderedAt"` // when its render began: it is not newer than that

	// ModifiedAt is since when the body is as it is.
	ModifiedAt time.Time `json:"modifiedAt,omitzero"`

	// ETag tells bodies apart, without quotes.
	ETag string `json:"etag,omitempty"`

	// Gzip is the body, compressed: nine of ten crawlers take it as it is.
	Gzip []byte `json:"gzip,omitempty"`

	// Size is the body's length in bytes before compression.
	Size int `json:"size"`

	// StaleAt is until when it is fresh by the rules under which it was made.
	StaleAt time.Time `json:"staleAt,omitzero"`

	// AskedAt is when somebody has asked for it last, as far as renders tell; of one
	// that was only ever made unasked, when that was first.
	AskedAt time.Time `json:"askedAt,omitzero"`

	// Expires is when it may be forgotten. Stores may keep it longer, but do not
	// return it any more. Zero: never.
	Expires time.Time `json:"expires,omitzero"`

	// Partial is Rendering.Partial.
	Partial string `json:"partial,omitempty"`

	// Tags are what it can be purged by.
	Tags []string `json:"tags,omitempty"`

	// SiteVersion is the site's when its render began.
	SiteVersion int64 `json:"siteVersion,omitempty"`

	// Content is Rendering.Content.
	Content *Content `json:"content,omitempty"`

	// Rival was made since and not admitted in this one's place.
	Rival *Rival `json:"rival,omitempty"`

	// Fence is that of the lease it was made under, 0 without leases.
	Fence int64 `json:"fence,omitempty"`
}

// A format is raised when those who know the one before would misunderstand what is stored. A
// member that they can leave out raises nothing.
//
// While a deployment goes on, and after one that was taken back, an older and a newer version
// share a store. So a release first reads a new format, and the next one writes it: each can
// read what the one before and the one after it write. Who meets a format that is newer still
// takes the page for one that is not there, and has it made again, at each request until the
// deployment is over: on AWS it is the render function that writes, which may be the newer.
const (
	SnapshotFormat = 1 // that is written
	NewestFormat   = 1 // that is read, with all before it
)

// EncodeMeta is all of a snapshot but its body, as stores keep it.
func (s *Snapshot) EncodeMeta() ([]byte, error) {
	bare := *s
	bare.Gzip, bare.Format = nil, SnapshotFormat
	return json.Marshal(bare)
}

// DecodeMeta reads what EncodeMeta has written, in this version or another. That of a newer one
// is ErrNotFound.
func DecodeMeta(meta []byte) (*Snapshot, error) {
	s := &Snapshot{}
	err := json.Unmarshal(meta, s)
	format := s.Format
	if err != nil { // a newer one may be written otherwise in all but this
		var only struct{ Format int }
		json.Unmarshal(meta, &only)
		format = only.Format
	}
	if format > NewestFormat {
		return nil, fmt.Errorf("stored snapshot has format %d, and this version reads up to %d: %w", format, NewestFormat, ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("stored snapshot: %w", err)
	}
	s.Format = 0 // it is the store's business
	return s, nil
}

// Forgotten says whether the snapshot has expired.
func (s *Snapshot) Forgotten(now time.Time) bool { return forgotten(s.Expires, now) }

// Forgotten says whether the snapshot has expired.
func (l Listed) Forgotten(now time.Time) bool { return forgotten(l.Expires, now) }

func forgotten(expires, now time.Time) bool { return !expires.IsZero() && now.After(expires) }

// Listed is what a list of snapshots says of each.
type Listed struct {
	Key         Key       `json:"key"`
	Status      int       `json:"status"`
	RenderedAt  time.Time `json:"renderedAt"`
	StaleAt     time.Time `json:"staleAt,omitzero"`
	AskedAt     time.Time `json:"askedAt,omitzero"`
	Expires     time.Time `json:"expires,omitzero"`
	Size        int       `json:"size"`
	Tags        []string  `json:"tags,omitempty"`
	SiteVersion int64     `json:"siteVersion,omitempty"`
}

// Listed returns what a list says of the snapshot, which is stored under key.
func (s *Snapshot) Listed(key Key) Listed {
	return Listed{
		Key: key, Status: s.Status, RenderedAt: s.RenderedAt, StaleAt: s.StaleAt, AskedAt: s.AskedAt, Expires: s.Expires,
		Size: s.Size, Tags: s.Tags, SiteVersion: s.SiteVersion,
	}
}

// compressors are used again: each has 800 kB.
var compressors = sync.Pool{New: func() any { return gzip.NewWriter(nil) }}

// newSnapshot compresses a rendering.
func newSnapshot(r *Rendering, began time.Time) (*Snapshot, error) {
	var buf bytes.Buffer
	zw := compressors.Get().(*gzip.Writer)
	defer compressors.Put(zw)
	zw.Reset(&buf)
	if _, err := zw.Write(r.Body); err != nil {
		return nil, fmt.Errorf("compress page: %w", err)
	}
	if err := zw.Close(); err != nil {
		return nil, fmt.Errorf("compress page: %w", err)
	}
	hash := sha256.Sum256(r.Body)
	return &Snapshot{
		Status: r.Status, Header: r.Header, RenderedAt: began, ModifiedAt: began, AskedAt: began, ETag: hex.EncodeToString(hash[:8]),
		Gzip: buf.Bytes(), Size: len(r.Body), Partial: r.Partial, Tags: takeTags(r.Header), Content: r.Content,
	}, nil
}

// Body returns the body without compression.
func (s *Snapshot) Body() ([]byte, error) {
	zr, err := gzip.NewReader(bytes.NewReader(s.Gzip))
	if err != nil {
		return nil, fmt.Errorf("stored page is damaged: %w", err)
	}
	body := make([]byte, 0, s.Size)
	buf := bytes.NewBuffer(body)
	if _, err := io.Copy(buf, zr); err != nil {
		return nil, fmt.Errorf("stored page is damaged: %w", err)
	}
	return buf.Bytes(), nil
}

// Freshness is what may be done with a snapshot of a certain age.
type Freshness int

const (
	Expired Freshness = iota // must not be answered
	Spare                    // may be answered if a new one cannot be made
	Stale                    // may be answered while a new one is made
	Fresh                    // is answered
)

// Freshness tells what may be done with the snapshot now. A snapshot from the
// future, made by a machine whose clock is ahead, is fresh.
func (s *Snapshot) Freshness(l Lifetime, now time.Time) Freshness {
	switch age := s.Age(now); {
	case l == Lifetime{}:
		return Expired
	case age <= l.Fresh:
		return Fresh
	case age <= l.Fresh+l.Stale:
		return Stale
	case age <= l.Whole():
		return Spare
	default:
		return Expired
	}
}

// Age is how long ago the snapshot was made, never negative.
func (s *Snapshot) Age(now time.Time) time.Duration {
	return max(0, now.Sub(s.RenderedAt))
}
