// Package sqsqueue is prerender.Queue on an SQS FIFO queue. A page's key is its
// deduplication ID, so that one which is stale for a thousand crawlers within five
// minutes (SQS's own interval) is rendered once, and its group, so that pages do
// not wait for each other.
package sqsqueue

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/smithy-go"

	"github.com/stillpage/stillpage/internal/prerender"
)

// Client is what is used of SQS. *sqs.Client has it.
type Client interface {
	SendMessage(context.Context, *sqs.SendMessageInput, ...func(*sqs.Options)) (*sqs.SendMessageOutput, error)
}

// Queue implements prerender.Queue.
type Queue struct {
	Client Client
	URL    string

	// Message is the text for a page, which its consumer reads.
	Message func(prerender.Page) any
}

// Enqueue implements prerender.Queue.
func (q *Queue) Enqueue(ctx context.Context, page prerender.Page) error {
	body, err := json.Marshal(q.Message(page))
	if err != nil {
		return fmt.Errorf("queue %s: %w", page.URL, err)
	}
	hash := sha256.Sum256([]byte(page.Key))
	id, text := hex.EncodeToString(hash[:]), string(body)
	_, err = q.Client.SendMessage(ctx, &sqs.SendMessageInput{
		QueueUrl: &q.URL, MessageBody: &text, MessageDeduplicationId: &id, MessageGroupId: &id,
	})
	if err != nil {
		return q.explain(page, err)
	}
	return nil
}

// explain says what an owner can do.
func (q *Queue) explain(page prerender.Page, err error) error {
	advice := ""
	var api smithy.APIError
	if errors.As(err, &api) {
		switch api.ErrorCode() {
		case "AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist":
			advice = "queue " + q.URL + " does not exist; "
		case "RequestThrottled", "ThrottlingException":
			advice = "queue " + q.URL + " is throttled; "
		case "AccessDenied", "AccessDeniedException":
			advice = "allow sqs:SendMessage on " + q.URL + " to this function's role; "
		}
	}
	return fmt.Errorf("sqs:SendMessage of %.200q: %s%w", page.Key, advice, err)
}
