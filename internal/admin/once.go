package admin

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"time"

	"github.com/stillpage/stillpage/internal/control"
)

// kept is what was answered to an Idempotency-Key.
type kept struct {
	Request string      `json:"request"` // the hash of what was asked
	Status  int         `json:"status"`  // 0: it is being answered
	Header  http.Header `json:"header,omitempty"`
	Body    []byte      `json:"body,omitempty"`
}

const (
	// keptLife is for how long a key is remembered: a client that has not had its answer
	// by then asks for something new.
	keptLife = 24 * time.Hour

	// claimLife is how long a request may take; then its process is gone.
	claimLife = 2 * time.Minute

	// mostKey bounds a key, in bytes.
	mostKey = 200

	// mostKept bounds an answer that is kept, in bytes; longer ones are not kept, and their
	// requests are those that can be sent twice.
	mostKept = 100 << 10
)

// once lets a route answer; with an Idempotency-Key only the first time, and then the same
// again.
func (a *API) once(c *call, route route) error {
	key := c.r.Header.Get("Idempotency-Key")
	if key == "" || !route.writes {
		return route.serve(a, c)
	}
	if len(key) > mostKey {
		return problemf(http.StatusUnprocessableEntity, "Idempotency-Key has more than %d bytes", mostKey)
	}
	body, err := io.ReadAll(http.MaxBytesReader(c.w, c.r.Body, maxOrder))
	if err != nil {
		return problemf(http.StatusRequestEntityTooLarge, "the body cannot be read, or has more than %d bytes: %v", maxOrder, err)
	}
	c.r.Body = io.NopCloser(bytes.NewReader(body))
	request := digest(c.r.Method, c.r.URL.RequestURI(), c.r.Header.Get("If-Match"), string(body))
	id := digest(c.who.ID, key)
	ctx := c.r.Context()
	claim := a.keep(id, kept{Request: request}, claimLife)
	err = a.Plane.Records.Write(ctx, claim)
	if errors.Is(err, control.ErrConflict) {
		return a.again(c, id, request)
	}
	if err != nil {
		return err
	}
	answer := &recorder{header: http.Header{}}
	w := c.w
	c.w = answer
	if err := route.serve(a, c); err != nil {
		write(answer, a.explain(c, err))
	}
	k := kept{request, answer.status, answer.header, answer.body}
	switch {
	case route.secret && answer.status < 300:
		k.Body = nil // it is shown once
	case answer.status >= 500 || len(answer.body) > mostKept:
		claim.Delete = true // it is to be tried again
	}
	done := a.keep(id, k, keptLife)
	done.Any, done.Delete = true, claim.Delete
	if err := a.Plane.Records.Write(ctx, done); err != nil {
		a.Log.WarnContext(ctx, "an answer is not kept for its Idempotency-Key", "err", err)
	}
	replay(w, k.Status, k.Header, answer.body)
	return nil
}

// again answers what was answered before.
func (a *API) again(c *call, id, request string) error {
	record, err := a.Plane.Records.Get(c.r.Context(), control.AnswerRecord, id)
	if err != nil {
		return err
	}
	var k kept
	if err := json.Unmarshal(record.Document, &k); err != nil {
		return fmt.Errorf("kept answer: %w", err)
	}
	switch {
	case k.Request != request:
		return problemf(http.StatusUnprocessableEntity, "this Idempotency-Key was sent with another request; use a new one")
	case k.Status == 0:
		return problemf(http.StatusConflict, "the request with this Idempotency-Key is being answered; ask again")
	case k.Body == nil && k.Status == http.StatusCreated:
		return problemf(http.StatusConflict, "this was done already, and its secret was shown then; delete what was made at %s, and make another", k.Header.Get("Location"))
	}
	replay(c.w, k.Status, k.Header, k.Body)
	return nil
}

func replay(w http.ResponseWriter, status int, header http.Header, body []byte) {
	maps.Copy(w.Header(), header)
	w.WriteHeader(status)
	w.Write(body)
}

func (a *API) keep(id string, k kept, life time.Duration) control.Write {
	document, _ := json.Marshal(k) // texts and bytes
	return control.Write{Record: control.Record{
		Kind: control.AnswerRecord, ID: id, Version: 1, Document: document, Expires: a.now().Add(life),
	}}
}

func digest(parts ...string) string {
	h := sha256.New()
	for _, part := range parts {
		fmt.Fprintf(h, "%d %s", len(part), part)
	}
	return hex.EncodeToString(h.Sum(nil))
}
