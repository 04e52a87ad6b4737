// Package sitemap reads which pages a site has: sitemaps and indexes of sitemaps
// (sitemaps.org, protocol 0.9), compressed or not, and plain lists with a URL a
// line. It fetches, and does nothing with the pages.
package sitemap

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Entry is one page of a sitemap.
type Entry struct {
	URL     string
	LastMod time.Time // zero: not said
}

// The protocol's limits: 50,000 entries and 50 MB (52,428,800 bytes) a file.
const (
	MaxEntries = 50_000
	maxBytes   = 52_428_800
)

// Timeout is what a client should wait for a sitemap: it may have maxBytes.
const Timeout = time.Minute

// maxURL is the longest address of an entry, in bytes; the protocol allows 2,048.
const maxURL = 8192

// maxDepth bounds indexes of indexes, which the protocol does not know.
const maxDepth = 3

// Read fetches a sitemap, and those that it lists, and calls found for each page,
// in their order, until that returns false. What cannot be read of it is an error at
// the end, after all that could be.
func Read(ctx context.Context, client *http.Client, address string, found func(Entry) bool) error {
	r := &reader{ctx: ctx, client: client, found: found, seen: map[string]bool{}}
	r.read(address, 0)
	return errors.Join(r.errs...)
}

type reader struct {
	ctx    context.Context
	client *http.Client
	found  func(Entry) bool
	seen   map[string]bool // sitemaps, so that two that list each other come to an end
	errs   []error
	done   bool
}

func (r *reader) read(address string, depth int) {
	if r.seen[address] || r.done {
		return
	}
	r.seen[address] = true
	text, err := r.fetch(address)
	if err != nil {
		r.errs = append(r.errs, err)
		return
	}
	var nested []string
	err = Parse(bytes.NewReader(text), func(e Entry) bool {
		r.done = r.done || !r.found(e)
		return !r.done
	}, func(sitemap string) { nested = append(nested, sitemap) })
	if err != nil {
		r.errs = append(r.errs, fmt.Errorf("sitemap %s: %w", address, err))
	}
	if len(nested) > 0 && depth == maxDepth {
		r.errs = append(r.errs, fmt.Errorf("sitemap %s: indexes are nested more than %d deep", address, maxDepth))
		return
	}
	for _, sitemap := range nested {
		r.read(sitemap, depth+1)
	}
}

func (r *reader) fetch(address string) ([]byte, error) {
	request, err := http.NewRequestWithContext(r.ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, fmt.Errorf("sitemap %q is no URL", address)
	}
	response, err := r.client.Do(request)
	if err != nil {
		return nil, fmt.Errorf("sitemap: %w", err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("sitemap %s: the site answers %s", address, response.Status)
	}
	text, err := unpack(response.Body)
	if err != nil {
		return nil, fmt.Errorf("sitemap %s: %w", address, err)
	}
	return text, nil
}

// unpack reads a body that may be a gzip file, whatever its name and type say.
func unpack(body io.Reader) ([]byte, error) {
	buffered := bufio.NewReader(body)
	var plain io.Reader = buffered
	if magic, _ := buffered.Peek(2); bytes.Equal(magic, []byte{0x1f, 0x8b}) {
		zr, err := gzip.NewReader(buffered)
		if err != nil {
			return nil, err
		}
		plain = zr
	}
	text, err := io.ReadAll(io.LimitReader(plain, maxBytes+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxBytes {
		return nil, fmt.Errorf("it has more than %d bytes, which is all that a sitemap may have", maxBytes)
	}
	return text, nil
}

// Parse reads one file: pages are found until that returns false, and sitemaps of
// an index are nested. A file that does not begin with "<" is a list with a URL a
// line, in which lines that begin with "#" are left out.
func Parse(file io.Reader, found func(Entry) bool, nested func(string)) error {
	buffered := bufio.NewReader(file)
	if isXML(buffered) {
		return parseXML(buffered, found, nested)
	}
	lines := bufio.NewScanner(buffered)
	lines.Buffer(nil, maxURL+2)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(strings.TrimPrefix(lines.Text(), "\ufeff"))
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if err := validURL(line); err != nil {
			return fmt.Errorf("line %d: %w", n, err)
		}
		if !found(Entry{URL: line}) {
			return nil
		}
	}
	return lines.Err()
}

func isXML(r *bufio.Reader) bool {
	begin, _ := r.Peek(512)
	begin = bytes.TrimLeft(bytes.TrimPrefix(begin, []byte("\ufeff")), " \t\r\n")
	return bytes.HasPrefix(begin, []byte("<"))
}

func parseXML(file io.Reader, found func(Entry) bool, nested func(string)) error {
	decoder := xml.NewDecoder(file)
	entries := 0
	for {
		token, err := decoder.Token()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		start, ok := token.(xml.StartElement)
		if !ok || start.Name.Local != "url" && start.Name.Local != "sitemap" {
			continue
		}
		var element struct {
			Loc     string `xml:"loc"`
			LastMod string `xml:"lastmod"`
		}
		if err := decoder.DecodeElement(&element, &start); err != nil {
			return err
		}
		if entries++; entries > MaxEntries {
			return fmt.Errorf("it has more than %d entries, which is all that a sitemap may have", MaxEntries)
		}
		address := strings.TrimSpace(element.Loc)
		if err := validURL(address); err != nil {
			return fmt.Errorf("entry %d: %w", entries, err)
		}
		if start.Name.Local == "sitemap" {
			nested(address)
		} else if !found(Entry{address, parseTime(strings.TrimSpace(element.LastMod))}) {
			return nil
		}
	}
}

func validURL(s string) error {
	if len(s) > maxURL {
		return fmt.Errorf("a URL of %d bytes is longer than %d", len(s), maxURL)
	}
	if u, err := url.Parse(s); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return fmt.Errorf("%q is no URL that begins with http:// or https://", s)
	}
	return nil
}

// parseTime reads W3C's profile of ISO 8601. What it does not understand is not said.
func parseTime(s string) time.Time {
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04Z07:00", time.DateOnly, "2006-01", "2006"} {
		if t, err := time.Parse(layout, s); err == nil {
			return t
		}
	}
	return time.Time{}
}
