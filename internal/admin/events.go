package admin

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/stillpage/stillpage/internal/control"
)

// eventList answers GET /v1/events.
type eventList struct {
	Events []control.Event `json:"events"` // the last first
	Next   string          `json:"next,omitempty"`
}

// eventQuery is which events are wanted.
type eventQuery struct {
	site, actor, action string
	since, until        time.Time
}

func (q eventQuery) wants(e control.Event) bool {
	return (q.site == "" || e.Site == q.site) && strings.Contains(strings.ToLower(e.Actor), q.actor) && (q.action == "" || e.Action == q.action) &&
		(q.until.IsZero() || e.At.Before(q.until))
}

// time reads a parameter that is a time.
func (c *call) time(name string) (time.Time, error) {
	text := c.query(name)
	if text == "" {
		return time.Time{}, nil
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return t, problemf(http.StatusUnprocessableEntity, "%s %.100q must be a time like 2026-11-22T10:30:00Z", name, text)
	}
	return t, nil
}

// number is a cursor that is an event's.
func (c *call) number() (int64, error) {
	text, err := c.cursor()
	if err != nil || text == "" {
		return 0, err
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 {
		return 0, problemf(http.StatusUnprocessableEntity, "cursor %.100q is not one that was answered as next", c.query("cursor"))
	}
	return n, nil
}

func listEvents(a *API, c *call) error {
	limit, err := c.limit()
	if err != nil {
		return err
	}
	before, err := c.number()
	if err != nil {
		return err
	}
	since, sinceErr := c.time("since")
	until, untilErr := c.time("until")
	if err := errors.Join(sinceErr, untilErr); err != nil {
		return err
	}
	wanted := eventQuery{c.query("site"), strings.ToLower(c.query("actor")), c.query("action"), since, until}
	list, looked, size := eventList{Events: []control.Event{}}, 0, 0
	err = a.Plane.Links(c.r.Context(), before, true, func(link control.Link, e control.Event) bool {
		if e.At.Before(since) {
			return false
		}
		if len(list.Events) == limit || looked == mostLooked || size > mostAnswer {
			list.Next = newCursor(strconv.FormatInt(before, 10))
			return false
		}
		if looked, before = looked+1, e.Number; wanted.wants(e) && c.who.May(control.Viewer, e.Site) {
			list.Events = append(list.Events, e)
			size += len(link.Event)
		}
		return true
	})
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, list)
}

// exportedAtOnce is how many events a part of the export has.
const exportedAtOnce = 2000

// exportEvents answers links of the chain as JSON lines, the first first. The header
// X-Next-Cursor is that of the next part; without it, this is the last. X-Audit-Head is the
// known end of the chain.
func exportEvents(a *API, c *call) error {
	if err := c.allow(control.Viewer, ""); err != nil {
		return err
	}
	after, err := c.number()
	if err != nil {
		return err
	}
	head, err := a.Plane.Head(c.r.Context())
	if err != nil {
		return err
	}
	var links []control.Link
	last, size := after, 0
	err = a.Plane.Links(c.r.Context(), after, false, func(link control.Link, e control.Event) bool {
		links, last = append(links, link), e.Number
		size += len(link.Event)
		return len(links) < exportedAtOnce && size < mostAnswer && e.Number != head.Number // what is added meanwhile comes after it
	})
	if err != nil {
		return err
	}
	header := c.w.Header()
	header.Set("Content-Type", "application/jsonl")
	header.Set("X-Audit-Head", strconv.FormatInt(head.Number, 10)+" "+head.Hash)
	if last < head.Number && len(links) > 0 {
		header.Set("X-Next-Cursor", newCursor(strconv.FormatInt(last, 10)))
	}
	encoder := json.NewEncoder(c.w)
	for _, link := range links {
		encoder.Encode(link)
	}
	return nil
}

// verification answers GET /v1/events/verification.
type verification struct {
	Good     bool         `json:"good"`
	Complete bool         `json:"complete"` // false: the time was up first
	Head     control.Head `json:"head"`     // of what was looked at
	Faults   []string     `json:"faults"`
}

func verifyEvents(a *API, c *call) error {
	if err := c.allow(control.Viewer, ""); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(c.r.Context(), countTime)
	defer cancel()
	head, err := a.Plane.Head(ctx)
	if err != nil {
		return err
	}
	v := control.Verifier{Known: head}
	err = a.Plane.Links(ctx, 0, false, func(link control.Link, e control.Event) bool {
		v.Add(link)
		return e.Number != head.Number
	})
	complete := !errors.Is(err, context.DeadlineExceeded)
	if complete && err != nil {
		v.Faults = append(v.Faults, err.Error()) // an event that cannot be read
	}
	if complete {
		v.End()
	}
	return c.answer(http.StatusOK, verification{len(v.Faults) == 0, complete, v.Head, append([]string{}, v.Faults...)})
}
