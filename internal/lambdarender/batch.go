package lambdarender

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"time"

	"github.com/stillpage/stillpage/internal/prerender"
)

// batch is an event of SQS.
type batch struct {
	Records []struct {
		MessageID  string `json:"messageId"`
		Body       string `json:"body"`
		Attributes struct {
			SentTimestamp string // milliseconds since 1970
		} `json:"attributes"`
	} `json:"Records"`
}

// BatchAnswer names the messages that are to come again
// (ReportBatchItemFailures).
type BatchAnswer struct {
	Failures []BatchFailure `json:"batchItemFailures"`
}

// BatchFailure is one of them.
type BatchFailure struct {
	MessageID string `json:"itemIdentifier"`
}

// work renews the pages of a batch, one after the other. A page whose own site is
// at fault does not come again: its next crawler will ask for it.
func (w *Worker) work(ctx context.Context, b batch) BatchAnswer {
	answer := BatchAnswer{Failures: []BatchFailure{}}
	for _, record := range b.Records {
		var order Order
		err := json.Unmarshal([]byte(record.Body), &order)
		var page prerender.Page
		if err == nil {
			page, err = order.Page(ctx, w.Sites)
		}
		if err != nil && !errors.Is(err, prerender.ErrSitesDown) {
			w.Log.ErrorContext(ctx, "message names no page; dropped", "message", record.MessageID, "body", record.Body, "err", err)
			continue
		}
		if sent, no := strconv.ParseInt(record.Attributes.SentTimestamp, 10, 64); no == nil && w.Waited != nil {
			w.Waited(time.Since(time.UnixMilli(sent)))
		}
		if err == nil {
			err = w.Renew(ctx, page)
		}
		switch {
		case err == nil:
		case comesAgain(err) || ctx.Err() != nil:
			w.Log.WarnContext(ctx, "page not renewed; it comes again", "message", record.MessageID, "err", err)
			answer.Failures = append(answer.Failures, BatchFailure{record.MessageID})
		default:
			w.Log.WarnContext(ctx, "page not renewed", "url", page.URL, "err", err)
		}
	}
	return answer
}

// comesAgain says whether it is not the page's site that is at fault.
func comesAgain(err error) bool {
	for _, ours := range []error{prerender.ErrBusy, prerender.ErrLimited, prerender.ErrRendererDown, prerender.ErrSitesDown, prerender.ErrStopping} {
		if errors.Is(err, ours) {
			return true
		}
	}
	return false
}
