package sqsqueue_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/smithy-go"

	"github.com/stillpage/stillpage/internal/prerender"
	"github.com/stillpage/stillpage/internal/sqsqueue"
)

type client struct {
	err  error
	sent []*sqs.SendMessageInput
}

func (c *client) SendMessage(_ context.Context, in *sqs.SendMessageInput, _ ...func(*sqs.Options)) (*sqs.SendMessageOutput, error) {
	c.sent = append(c.sent, in)
	return &sqs.SendMessageOutput{}, c.err
}

// A page is known by its key, whatever else is in its message.
func TestAPageIsOneMessage(t *testing.T) {
	t.Parallel()
	c := &client{}
	q := &sqsqueue.Queue{Client: c, URL: "https://sqs.example/q", Message: func(p prerender.Page) any { return p.URL }}
	for _, page := range []prerender.Page{{Key: "a", URL: "1"}, {Key: "a", URL: "2"}, {Key: "b", URL: "1"}} {
		if err := q.Enqueue(t.Context(), page); err != nil {
			t.Fatal(err)
		}
	}
	if a, again, b := c.sent[0], c.sent[1], c.sent[2]; *a.MessageDeduplicationId != *again.MessageDeduplicationId || *a.MessageDeduplicationId == *b.MessageDeduplicationId ||
		*a.MessageGroupId != *again.MessageGroupId || *a.MessageGroupId == *b.MessageGroupId || *a.MessageBody != `"1"` || *a.QueueUrl != q.URL {
		t.Errorf("got %+v", c.sent)
	}
}

// Each refusal says what an owner can do.
func TestRefused(t *testing.T) {
	t.Parallel()
	for code, want := range map[string]string{
		"AWS.SimpleQueueService.NonExistentQueue": "queue https://sqs.example/q does not exist",
		"RequestThrottled":                        "queue https://sqs.example/q is throttled",
		"ThrottlingException":                     "is throttled",
		"AccessDenied":                            "allow sqs:SendMessage on https://sqs.example/q",
		"Other":                                   "sqs:SendMessage of",
	} {
		q := &sqsqueue.Queue{Client: &client{err: &smithy.GenericAPIError{Code: code}}, URL: "https://sqs.example/q", Message: func(prerender.Page) any { return 1 }}
		err := q.Enqueue(t.Context(), prerender.Page{Key: "a"})
		var api smithy.APIError
		if err == nil || !strings.Contains(err.Error(), want) || !errors.As(err, &api) {
			t.Errorf("%s: got %v, want %q", code, err, want)
		}
	}
}
