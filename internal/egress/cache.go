package egress

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
)

const (
	// cacheBytes bounds the cache: the scripts and styles of some ten large sites.
	cacheBytes = 64 << 20

	// cacheEntryBytes bounds one response in it.
	cacheEntryBytes = 8 << 20

	// cacheFetchTimeout bounds a fetch that several requests may wait for, and
	// that therefore does not end with one of them.
	cacheFetchTimeout = 30 * time.Second
)

// cache keeps the responses that the site has declared immutable, so that its
// origin sees one request for a script and not one from each tab: tabs share
// nothing, not even Chromium's cache. It is for plain HTTP only, since what goes
// through TLS is not seen here.
//
// Only what may be shared among visitors is kept (RFC 9111, section 3): answers
// to requests without cookies and credentials, that set no cookie, are not
// private, and vary with nothing but their encoding.
type cache struct {
	next http.RoundTripper
	now  func() time.Time

	fetches singleflight.Group

	mu      sync.Mutex
	entries map[string]*cached
	bytes   int
}

// cached is a response that is kept.
type cached struct {
	header http.Header
	body   []byte
	at     time.Time
	fresh  time.Duration
}

func newCache(next http.RoundTripper) *cache {
	return &cache{next: next, now: time.Now, entries: map[string]*cached{}}
}

// RoundTrip implements http.RoundTripper. Requests for the same thing at the
// same time become one.
func (c *cache) RoundTrip(r *http.Request) (*http.Response, error) {
	if !mayBeCached(r) {
		return c.next.RoundTrip(r)
	}
	key := r.Header.Get("Accept-Encoding") + " " + r.URL.String()
	if e := c.get(key); e != nil {
		return e.response(r, c.now()), nil
	}
	var own *http.Response // what this request has fetched, if it is not kept
	v, err, _ := c.fetches.Do(key, func() (any, error) {
		e, res, err := c.fetch(r)
		own = res
		if e != nil {
			c.put(key, e)
		}
		return e, err
	})
	switch e, _ := v.(*cached); {
	case e != nil:
		return e.response(r, c.now()), nil
	case own != nil:
		return own, nil
	case err != nil:
		return nil, err
	default:
		return c.next.RoundTrip(r) // another's answer was its own
	}
}

// mayBeCached says whether the answer to a request may be another's, too.
func mayBeCached(r *http.Request) bool {
	if r.Method != http.MethodGet {
		return false
	}
	for _, name := range []string{"Cookie", "Authorization", "Range", "Upgrade"} {
		if r.Header.Get(name) != "" {
			return false
		}
	}
	// A reload by the page or a check of its age asks for the origin's word.
	return !strings.Contains(r.Header.Get("Cache-Control"), "no-cache") && r.Header.Get("If-None-Match") == "" &&
		r.Header.Get("If-Modified-Since") == ""
}

// fetch asks the origin. It returns the response either to be kept or, not yet
// read, for the one who asked.
func (c *cache) fetch(r *http.Request) (*cached, *http.Response, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), cacheFetchTimeout)
	unhook := context.AfterFunc(r.Context(), cancel)
	res, err := c.next.RoundTrip(r.WithContext(ctx))
	if err != nil {
		cancel()
		return nil, nil, err
	}
	fresh := freshness(res)
	if fresh <= 0 || res.ContentLength > cacheEntryBytes {
		res.Body = &cancelBody{res.Body, cancel}
		return nil, res, nil
	}
	unhook() // others may wait for it
	defer cancel()
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, cacheEntryBytes+1))
	if err != nil {
		return nil, nil, fmt.Errorf("read %s: %w", r.URL, err)
	}
	if len(body) > cacheEntryBytes {
		return nil, nil, nil // of unknown length, and too long after all: everybody for themselves
	}
	return &cached{header: res.Header, body: body, at: c.now(), fresh: fresh}, nil, nil
}

// cancelBody ends a request with its body.
type cancelBody struct {
	io.ReadCloser
	cancel context.CancelFunc
}

func (b *cancelBody) Close() error {
	defer b.cancel()
	return b.ReadCloser.Close()
}

// freshness is how long a response may be kept. Only what is declared immutable
// is: the rest is for the origin to answer, render by render.
func freshness(res *http.Response) time.Duration {
	if res.StatusCode != http.StatusOK || len(res.Header.Values("Set-Cookie")) > 0 {
		return 0
	}
	for _, vary := range res.Header.Values("Vary") {
		for name := range strings.SplitSeq(vary, ",") {
			if !strings.EqualFold(strings.TrimSpace(name), "Accept-Encoding") {
				return 0
			}
		}
	}
	immutable, seconds := false, 0
	for directive := range strings.SplitSeq(strings.ToLower(strings.Join(res.Header.Values("Cache-Control"), ",")), ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(directive), "=")
		switch name {
		case "no-store", "private", "no-cache":
			return 0
		case "immutable":
			immutable = true
		case "max-age":
			seconds, _ = strconv.Atoi(strings.Trim(value, `"`))
		}
	}
	if !immutable {
		return 0
	}
	return time.Duration(min(seconds, 365*24*3600)) * time.Second
}

func (c *cache) get(key string) *cached {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.entries[key]
	if e == nil || c.now().Sub(e.at) < e.fresh {
		return e
	}
	c.drop(key)
	return nil
}

// put keeps a response. A full cache is emptied of any others: what is in use
// comes back with one request.
func (c *cache) put(key string, e *cached) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.drop(key)
	for other := range c.entries {
		if c.bytes+len(e.body) <= cacheBytes {
			break
		}
		c.drop(other)
	}
	c.entries[key] = e
	c.bytes += len(e.body)
}

func (c *cache) drop(key string) {
	if e := c.entries[key]; e != nil {
		c.bytes -= len(e.body)
		delete(c.entries, key)
	}
}

func (e *cached) response(r *http.Request, now time.Time) *http.Response {
	header := e.header.Clone()
	header.Set("Age", strconv.Itoa(int(now.Sub(e.at).Seconds())))
	return &http.Response{
		Status: "200 OK", StatusCode: http.StatusOK, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: header, Body: io.NopCloser(bytes.NewReader(e.body)), ContentLength: int64(len(e.body)), Request: r,
	}
}
