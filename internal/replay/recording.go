// Package replay records what a site's pages ask of its servers (Recorder), and answers in
// their place (Mock), so that a load test asks nobody's real API. What must not be kept is
// scrubbed before it is written (Rules).
//
// A recording is a text file with a JSON document a line: first Head, then an Exchange for
// each request, as it was answered.
package replay

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"
	"unicode/utf8"
)

// format is the version of the file's form.
const format = 1

// Head is the first line.
type Head struct {
	Format     int       `json:"stillpageRecording"`
	RecordedAt time.Time `json:"recordedAt"`
	Scrubbed   []string  `json:"scrubbed"` // names whose values were taken out: Rules
}

// Exchange is a request and its answer. Times are in milliseconds.
type Exchange struct {
	Method string `json:"method"`
	Target string `json:"target"`         // path and query, scrubbed
	Body   string `json:"body,omitempty"` // SHA-256 of the request's, scrubbed; empty: it had none

	Status  int         `json:"status"`
	Header  http.Header `json:"header"`
	Text    *string     `json:"text,omitempty"`   // the answer's body, if it is one
	Base64  []byte      `json:"base64,omitempty"` // if it is none
	FirstMS float64     `json:"firstMs"`          // until its header came
	AllMS   float64     `json:"allMs"`            // until all of it had come
}

func (e *Exchange) body() []byte {
	if e.Text != nil {
		return []byte(*e.Text)
	}
	return e.Base64
}

func (e *Exchange) setBody(body []byte) {
	if utf8.Valid(body) {
		text := string(body)
		e.Text = &text
		return
	}
	e.Base64 = body
}

// key is what a request is known by: the order of a query's parameters means nothing.
func key(method, target, body string) string {
	path, query, _ := bytes.Cut([]byte(target), []byte("?"))
	if values, err := url.ParseQuery(string(query)); err == nil {
		query = []byte(values.Encode())
	}
	return method + " " + string(path) + "?" + string(query) + " " + body
}

func hash(body []byte) string {
	if len(body) == 0 {
		return ""
	}
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:])
}

// Read reads a recording. A last line that was cut off is left out.
func Read(r io.Reader) (Head, []Exchange, error) {
	lines := bufio.NewReader(r)
	var head Head
	var list []Exchange
	for n := 1; ; n++ {
		line, end := lines.ReadBytes('\n')
		if end != nil && !errors.Is(end, io.EOF) {
			return head, nil, fmt.Errorf("the recording: %w", end)
		}
		if end != nil && len(line) == 0 {
			break
		}
		if n == 1 {
			if err := json.Unmarshal(line, &head); err != nil || head.Format == 0 {
				return head, nil, errors.New("this is no recording of `stillpage record`: its first line lacks stillpageRecording")
			}
			if head.Format != format {
				return head, nil, fmt.Errorf("the recording has format %d, and this version reads %d", head.Format, format)
			}
			continue
		}
		var e Exchange
		err := json.Unmarshal(line, &e)
		var broken *json.SyntaxError
		if errors.As(err, &broken) && end != nil {
			break // its end was never written
		}
		if err == nil && (e.Method == "" || len(e.Target) == 0 || e.Target[0] != '/' || e.Status < 200 || e.Status > 599) {
			err = errors.New("it lacks a method, a target that begins with / or a status from 200 to 599")
		}
		if err != nil {
			return head, nil, fmt.Errorf("line %d of the recording: %w", n, err)
		}
		list = append(list, e)
	}
	if head.Format == 0 {
		return head, nil, errors.New("the recording is empty")
	}
	return head, list, nil
}
