package awstest

import (
	"crypto/md5"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"testing"
	"time"
)

// SQS is a stand-in that speaks the protocol of a FIFO queue as far as it is used:
// SendMessage with deduplication. What Lambda's poller does with the messages,
// Receive and Delete, are methods.
type SQS struct {
	Endpoint string // of the service
	QueueURL string

	mu       sync.Mutex
	messages []Message
	seen     map[string]time.Time // deduplication ID → when
	refuse   bool
}

// Message is one in the queue.
type Message struct {
	ID, Body, Group string
}

// deduplication is SQS's interval.
const deduplication = 5 * time.Minute

// StartSQS runs an empty queue that ends with the test.
func StartSQS(t testing.TB) *SQS {
	q := &SQS{seen: map[string]time.Time{}}
	server := httptest.NewServer(http.HandlerFunc(q.serve))
	t.Cleanup(server.Close)
	q.Endpoint, q.QueueURL = server.URL, server.URL+"/123456789012/renders.fifo"
	return q
}

func (q *SQS) serve(w http.ResponseWriter, r *http.Request) {
	var in struct{ QueueUrl, MessageBody, MessageDeduplicationId, MessageGroupId string }
	fail := func(status int, kind, text string) {
		w.Header().Set("Content-Type", "application/x-amz-json-1.0")
		w.WriteHeader(status)
		json.NewEncoder(w).Encode(map[string]string{"__type": "com.amazonaws.sqs#" + kind, "message": text})
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.refuse:
		fail(http.StatusForbidden, "AccessDenied", "not authorized to perform: sqs:SendMessage")
	case r.Header.Get("X-Amz-Target") != "AmazonSQS.SendMessage":
		fail(http.StatusBadRequest, "UnsupportedOperation", r.Header.Get("X-Amz-Target"))
	case json.NewDecoder(r.Body).Decode(&in) != nil || in.MessageBody == "" || in.MessageGroupId == "" || in.MessageDeduplicationId == "":
		fail(http.StatusBadRequest, "MissingParameter", "a FIFO queue needs body, group and deduplication ID")
	case in.QueueUrl != q.QueueURL:
		fail(http.StatusBadRequest, "QueueDoesNotExist", "The specified queue does not exist.")
	default:
		id := rand.Text()
		if at, ok := q.seen[in.MessageDeduplicationId]; !ok || time.Since(at) > deduplication {
			q.seen[in.MessageDeduplicationId] = time.Now()
			q.messages = append(q.messages, Message{ID: id, Body: in.MessageBody, Group: in.MessageGroupId})
		}
		sum := md5.Sum([]byte(in.MessageBody))
		w.Header().Set("Content-Type", "application/x-amz-json-1.0")
		json.NewEncoder(w).Encode(map[string]string{"MessageId": id, "MD5OfMessageBody": hex.EncodeToString(sum[:]), "SequenceNumber": "1"})
	}
}

// Refuse has every request denied, or no more.
func (q *SQS) Refuse(on bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.refuse = on
}

// Len is how many messages wait.
func (q *SQS) Len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.messages)
}

// Deliver hands all messages over in one event, as Lambda's poller does, and
// deletes those that work does not name in its answer. It returns how many are
// left.
func (q *SQS) Deliver(t testing.TB, work func(event []byte) (answer []byte)) int {
	t.Helper()
	q.mu.Lock()
	batch := q.messages
	q.messages = nil
	q.mu.Unlock()
	type record struct {
		MessageID   string            `json:"messageId"`
		Body        string            `json:"body"`
		EventSource string            `json:"eventSource"`
		Attributes  map[string]string `json:"attributes"`
	}
	var event struct {
		Records []record `json:"Records"`
	}
	for _, m := range batch {
		event.Records = append(event.Records, record{m.ID, m.Body, "aws:sqs", map[string]string{"MessageGroupId": m.Group, "SentTimestamp": strconv.FormatInt(time.Now().UnixMilli(), 10)}})
	}
	raw, err := json.Marshal(event)
	if err != nil {
		t.Fatal(err)
	}
	var answer struct {
		Failures []struct {
			ID string `json:"itemIdentifier"`
		} `json:"batchItemFailures"`
	}
	if err := json.Unmarshal(work(raw), &answer); err != nil {
		t.Fatalf("answer to a batch: %v", err)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, failure := range answer.Failures {
		for _, m := range batch {
			if m.ID == failure.ID {
				q.messages = append(q.messages, m)
			}
		}
	}
	return len(q.messages)
}
