package dynamo_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/stillpage/stillpage/internal/awstest"
	"github.com/stillpage/stillpage/internal/dynamo"
	"github.com/stillpage/stillpage/internal/prerender"
	"github.com/stillpage/stillpage/internal/s3store"
	"github.com/stillpage/stillpage/internal/storetest"
)

func TestMain(m *testing.M) { awstest.Main(m) }

func open(t *testing.T) *dynamo.Store {
	return &dynamo.Store{
		Client: awstest.DynamoDB(t), Table: awstest.Table(t),
		Bodies: &s3store.Bodies{Client: awstest.S3(t), Bucket: awstest.Bucket(t)},
	}
}

func TestStore(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T) prerender.Store { return open(t) })
}

func TestLeases(t *testing.T) {
	t.Parallel()
	storetest.RunLeases(t, func(t *testing.T, now func() time.Time) prerender.Leases {
		s := open(t)
		s.Now = now
		return s
	})
}

// A body is in the item as long as it fits, with the longest key and header
// that there can be.
func TestWhereBodiesAre(t *testing.T) {
	t.Parallel()
	s := open(t)
	objects := &counting{Client: s.Bodies.(*s3store.Bodies).Client}
	s.Bodies.(*s3store.Bodies).Client = objects
	long := prerender.Key("https://a.example/" + strings.Repeat("x", prerender.MaxURL) + " desktop")
	for _, size := range []int{1000, 350_000, 389_000, 395_000, 410_000} {
		snap := storetest.Snapshot(fmt.Sprint(size), size)
		if err := s.Put(t.Context(), long, snap); err != nil {
			t.Fatalf("%d bytes: %v", size, err)
		}
		got, err := s.Get(t.Context(), long)
		if err != nil || string(got.Gzip) != string(snap.Gzip) {
			t.Fatalf("%d bytes: got %v", size, err)
		}
	}
	if n := objects.puts.Load(); n != 3 {
		t.Errorf("got %d bodies in S3, want those of 389,000 bytes (the key is 8 kB) and more", n)
	}
}

type counting struct {
	s3store.Client
	puts atomic.Int32
}

func (c *counting) PutObject(ctx context.Context, in *s3.PutObjectInput, o ...func(*s3.Options)) (*s3.PutObjectOutput, error) {
	c.puts.Add(1)
	return c.Client.PutObject(ctx, in, o...)
}

// The bucket's rule has removed a body that the table still names.
func TestBodyIsGone(t *testing.T) {
	t.Parallel()
	s := open(t)
	if err := s.Put(t.Context(), "k", storetest.Snapshot("large", 500_000)); err != nil {
		t.Fatal(err)
	}
	s.Bodies = &s3store.Bodies{Client: awstest.S3(t), Bucket: awstest.Bucket(t)}
	if _, err := s.Get(t.Context(), "k"); !errors.Is(err, prerender.ErrNotFound) {
		t.Errorf("got %v, want ErrNotFound: the page is to be made again", err)
	}
}

// A connection that breaks after DynamoDB has done its work has the SDK ask
// again. The second time must not take the first for another's.
func TestRetriesMeetTheirOwnSuccess(t *testing.T) {
	t.Parallel()
	s := open(t)
	s.Client = twice{s.Client}
	if err := s.Put(t.Context(), "k", storetest.Snapshot("a", 10)); err != nil {
		t.Errorf("Put: %v", err)
	}
	lease, err := s.Acquire(t.Context(), "k", time.Minute)
	if err != nil {
		t.Fatalf("Acquire: %v", err)
	}
	if err := s.Release(t.Context(), lease); err != nil {
		t.Errorf("Release: %v", err)
	}
}

// twice does all writes twice and returns what came of the second.
type twice struct{ dynamo.Client }

func (c twice) PutItem(ctx context.Context, in *dynamodb.PutItemInput, o ...func(*dynamodb.Options)) (*dynamodb.PutItemOutput, error) {
	c.Client.PutItem(ctx, in, o...)
	return c.Client.PutItem(ctx, in, o...)
}

func (c twice) UpdateItem(ctx context.Context, in *dynamodb.UpdateItemInput, o ...func(*dynamodb.Options)) (*dynamodb.UpdateItemOutput, error) {
	c.Client.UpdateItem(ctx, in, o...)
	return c.Client.UpdateItem(ctx, in, o...)
}

// What a wrong installation looks like in the log.
func TestErrorsSayWhatToMend(t *testing.T) {
	t.Parallel()
	s := open(t)
	s.Table = "no-such-table"
	_, err := s.Get(t.Context(), "k")
	wantText(t, err, "dynamodb:GetItem", "no-such-table", "does not exist")
	_, err = s.Acquire(t.Context(), "k", time.Second)
	wantText(t, err, "dynamodb:UpdateItem", "no-such-table", "does not exist")
	s.Table = awstest.Table(t)
	if err := s.Put(t.Context(), "k", storetest.Snapshot("large", 500_000)); err != nil {
		t.Fatal(err)
	}
	// A read: a server may close the connection before it has read a large body.
	s.Bodies = &s3store.Bodies{Client: awstest.S3(t), Bucket: "no-such-bucket"}
	_, err = s.Get(t.Context(), "k")
	wantText(t, err, "s3:GetObject", "no-such-bucket", "does not exist")
}

func wantText(t *testing.T, err error, words ...string) {
	t.Helper()
	for _, word := range words {
		if err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("got error %v, want one that names %q", err, word)
		}
	}
}

func TestTwoHundredWantOneLease(t *testing.T) {
	t.Parallel()
	s := open(t)
	var won, lost atomic.Int32
	var all sync.WaitGroup
	for range 200 {
		all.Go(func() {
			switch _, err := s.Acquire(context.Background(), "k", time.Minute); {
			case err == nil:
				won.Add(1)
			case errors.Is(err, prerender.ErrLeased):
				lost.Add(1)
			default:
				t.Errorf("Acquire: %v", err)
			}
		})
	}
	all.Wait()
	if won.Load() != 1 || lost.Load() != 199 {
		t.Errorf("got %d winners and %d losers, want 1 and 199", won.Load(), lost.Load())
	}
}
