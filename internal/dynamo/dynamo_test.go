package dynamo_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"

	"github.com/stillpage/stillpage/internal/awsclients"
	"github.com/stillpage/stillpage/internal/awstest"
	"github.com/stillpage/stillpage/internal/control"
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

func TestLimits(t *testing.T) {
	t.Parallel()
	storetest.RunLimiter(t, func(t *testing.T, now func() time.Time) prerender.Limiter {
		s := open(t)
		s.Now = now
		return s
	})
}

func TestRecords(t *testing.T) {
	t.Parallel()
	storetest.RunRecords(t, func(t *testing.T, now func() time.Time) control.Store {
		return &dynamo.Records{Client: awstest.DynamoDB(t), Table: awstest.ConfigTable(t), Now: now}
	})
}

// DynamoDB may do a part of a batch only.
func TestUnprocessedItems(t *testing.T) {
	t.Parallel()
	s := open(t)
	var keys []prerender.Key
	for i := range 30 {
		keys = append(keys, prerender.Key(fmt.Sprint("k", i)))
		if err := s.Put(t.Context(), keys[i], storetest.Snapshot("a", 10)); err != nil {
			t.Fatal(err)
		}
	}
	busy := &halves{Client: s.Client}
	s.Client = busy
	if err := s.Delete(t.Context(), keys...); err != nil {
		t.Fatal(err)
	}
	for _, key := range keys {
		if _, err := s.Get(t.Context(), key); !errors.Is(err, prerender.ErrNotFound) {
			t.Errorf("%s: got %v, want it deleted", key, err)
		}
	}
	if busy.calls.Load() < 5 {
		t.Errorf("got %d calls, so nothing was left unprocessed", busy.calls.Load())
	}
	// A table that does nothing any more is no endless loop.
	s.Client = &halves{Client: s.Client, none: true}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	wantText(t, s.Delete(ctx, "k1", "k2"), "dynamodb:BatchWriteItem", "2 items are left", "throttled")
}

// halves writes half of a batch, or nothing.
type halves struct {
	dynamo.Client
	none  bool
	calls atomic.Int32
}

func (c *halves) BatchWriteItem(ctx context.Context, in *dynamodb.BatchWriteItemInput, o ...func(*dynamodb.Options)) (*dynamodb.BatchWriteItemOutput, error) {
	c.calls.Add(1)
	left := map[string][]types.WriteRequest{}
	done := map[string][]types.WriteRequest{}
	for table, writes := range in.RequestItems {
		half := (len(writes) + 1) / 2
		if c.none {
			half = 0
		}
		done[table], left[table] = writes[:half], writes[half:]
	}
	if c.none {
		return &dynamodb.BatchWriteItemOutput{UnprocessedItems: left}, nil
	}
	out, err := c.Client.BatchWriteItem(ctx, &dynamodb.BatchWriteItemInput{RequestItems: done}, o...)
	if err == nil {
		out.UnprocessedItems = left
	}
	return out, err
}

// What DynamoDB refuses is an error that says what to mend: neither a miss, nor
// another's lease, nor a newer page.
func TestRefused(t *testing.T) {
	t.Parallel()
	for what, tt := range map[string]struct {
		err  error
		want string
	}{
		"throttled": {&types.ProvisionedThroughputExceededException{Message: aws.String("too much")}, "throttled; if it is at its cap, raise TableReads"},
		"capped":    {&types.ThrottlingException{Message: aws.String("too much")}, "throttled; if it is at its cap, raise TableReads"},
		"limited":   {&types.RequestLimitExceeded{Message: aws.String("too much")}, "throttled; if it is at its cap, raise TableReads"},
		"cancelled": {&types.TransactionCanceledException{CancellationReasons: []types.CancellationReason{{Code: aws.String("None")}, {Code: aws.String("ThrottlingError")}}},
			"throttled; if it is at its cap"},
		"denied": {&smithy.GenericAPIError{Code: "AccessDeniedException", Message: "no"}, "on table pages to this function's role"},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			s := &dynamo.Store{Client: refusing{err: tt.err}, Table: "pages"}
			records := &dynamo.Records{Client: refusing{err: tt.err}, Table: "pages"}
			_, getErr := s.Get(t.Context(), "k")
			_, leaseErr := s.Acquire(t.Context(), "k", time.Second, "")
			listErr := records.List(t.Context(), control.Range{Kind: control.SiteRecord}, nil)
			write := control.Write{Record: control.Record{Kind: control.SiteRecord, ID: "a.example"}, Any: true}
			_, recordErr := records.Get(t.Context(), control.SiteRecord, "a.example")
			for action, err := range map[string]error{
				"dynamodb:GetItem": getErr, "dynamodb:UpdateItem": leaseErr, "dynamodb:Query": listErr, "dynamodb:GetItem ": recordErr,
				"dynamodb:PutItem": s.Put(t.Context(), "k", storetest.Snapshot("a", 10)), "dynamodb:PutItem ": records.Note(t.Context(), write.Record),
				"dynamodb:BatchWriteItem": s.Delete(t.Context(), "k"), "dynamodb:TransactWriteItems": records.Write(t.Context(), write, write),
			} {
				wantText(t, err, strings.TrimSpace(action), "table pages", tt.want)
				if what == "denied" && strings.Contains(err.Error(), "allow dynamodb:Transact") {
					t.Errorf("roles grant no transactions: %v", err)
				}
				for _, wrong := range []error{prerender.ErrNotFound, prerender.ErrLeased, prerender.ErrSuperseded, control.ErrConflict} {
					if errors.Is(err, wrong) {
						t.Errorf("%s: %v is taken for %v", action, err, wrong)
					}
				}
			}
		})
	}
}

// refusing is a table that does nothing.
type refusing struct {
	dynamo.Client
	err error
}

func (c refusing) TransactWriteItems(context.Context, *dynamodb.TransactWriteItemsInput, ...func(*dynamodb.Options)) (*dynamodb.TransactWriteItemsOutput, error) {
	return nil, c.err
}

func (c refusing) GetItem(context.Context, *dynamodb.GetItemInput, ...func(*dynamodb.Options)) (*dynamodb.GetItemOutput, error) {
	return nil, c.err
}

func (c refusing) PutItem(context.Context, *dynamodb.PutItemInput, ...func(*dynamodb.Options)) (*dynamodb.PutItemOutput, error) {
	return nil, c.err
}

func (c refusing) UpdateItem(context.Context, *dynamodb.UpdateItemInput, ...func(*dynamodb.Options)) (*dynamodb.UpdateItemOutput, error) {
	return nil, c.err
}

func (c refusing) BatchWriteItem(context.Context, *dynamodb.BatchWriteItemInput, ...func(*dynamodb.Options)) (*dynamodb.BatchWriteItemOutput, error) {
	return nil, c.err
}

func (c refusing) Query(context.Context, *dynamodb.QueryInput, ...func(*dynamodb.Options)) (*dynamodb.QueryOutput, error) {
	return nil, c.err
}

func (c refusing) DeleteItem(context.Context, *dynamodb.DeleteItemInput, ...func(*dynamodb.Options)) (*dynamodb.DeleteItemOutput, error) {
	return nil, c.err
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
	records := &dynamo.Records{Client: recordTwice{awstest.DynamoDB(t)}, Table: awstest.ConfigTable(t)}
	ledger := &control.Ledger{Records: records, Log: slog.New(slog.DiscardHandler)}
	for n := range int64(2) {
		write := control.Write{Record: control.Record{Kind: control.SiteRecord, ID: "a", Version: n + 1, Document: []byte("1")}, Was: n}
		if _, err := ledger.Commit(t.Context(), control.Event{Action: "test"}, write); err != nil {
			t.Errorf("Commit of version %d: %v", n+1, err)
		}
	}
	if head, err := ledger.Head(t.Context()); err != nil || head.Number != 2 {
		t.Errorf("two events: got %+v, %v", head, err)
	}
	lease, err := s.Acquire(t.Context(), "k", time.Minute, "")
	if err != nil {
		t.Fatalf("Acquire: %v", err)
	}
	if err := s.Release(t.Context(), lease); err != nil {
		t.Errorf("Release: %v", err)
	}
	for n := range 5 {
		wait, err := s.Take(t.Context(), "bucket", prerender.Rate{PerMinute: 1, Burst: 4})
		if err != nil || (wait > 0) != (n == 4) {
			t.Errorf("Take %d of 4: wait %v, %v", n+1, wait, err)
		}
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

// recordTwice sends a transaction twice with one token, as the SDK does when it tries
// again.
type recordTwice struct{ *dynamodb.Client }

func (c recordTwice) TransactWriteItems(ctx context.Context, in *dynamodb.TransactWriteItemsInput, o ...func(*dynamodb.Options)) (*dynamodb.TransactWriteItemsOutput, error) {
	token := fmt.Sprintf("%x", rand.Uint64())
	in.ClientRequestToken = &token
	c.Client.TransactWriteItems(ctx, in, o...)
	return c.Client.TransactWriteItems(ctx, in, o...)
}

// What a wrong installation looks like in the log.
func TestErrorsSayWhatToMend(t *testing.T) {
	t.Parallel()
	s := open(t)
	s.Table = "no-such-table"
	_, err := s.Get(t.Context(), "k")
	wantText(t, err, "dynamodb:GetItem", "no-such-table", "does not exist")
	_, err = s.Acquire(t.Context(), "k", time.Second, "")
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
			switch _, err := s.Acquire(context.Background(), "k", time.Minute, ""); {
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

// More pages than one query returns.
func TestListGoesOn(t *testing.T) {
	t.Parallel()
	s := open(t)
	const pages = 700
	site := prerender.Origin{Scheme: "https", Host: "a.example"}
	var all sync.WaitGroup
	for worker := range 8 {
		all.Go(func() {
			for n := worker; n < pages; n += 8 {
				if err := s.Put(t.Context(), prerender.Key(fmt.Sprintf("https://a.example/%04d desktop", n)), storetest.Snapshot("x", 10)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	var last prerender.Key
	n := 0
	err := s.List(t.Context(), site, "", func(l prerender.Listed) bool {
		if l.Key <= last {
			t.Errorf("%s comes after %s", l.Key, last)
		}
		last = l.Key
		n++
		return true
	})
	if err != nil || n != pages {
		t.Errorf("got %d pages, %v, want %d", n, err, pages)
	}
}

// What DynamoDB refuses for a moment is tried again by the functions' client.
func TestThrottledForAMoment(t *testing.T) {
	real, err := url.Parse(awstest.DynamoDBEndpoint(t))
	if err != nil {
		t.Fatal(err)
	}
	pages := awstest.Table(t)
	var asked atomic.Int32
	way := httputil.NewSingleHostReverseProxy(real)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if asked.Add(1) <= 2 {
			w.Header().Set("Content-Type", "application/x-amz-json-1.0")
			w.WriteHeader(http.StatusBadRequest)
			io.WriteString(w, `{"__type":"com.amazonaws.dynamodb.v20120810#ThrottlingException","message":"Rate exceeded"}`)
			return
		}
		way.ServeHTTP(w, r)
	}))
	defer server.Close()
	for name, value := range map[string]string{"AWS_REGION": awstest.Region, "AWS_ACCESS_KEY_ID": awstest.AccessKey, "AWS_SECRET_ACCESS_KEY": awstest.SecretKey, "AWS_ENDPOINT_URL_DYNAMODB": server.URL} {
		t.Setenv(name, value)
	}
	s := &dynamo.Store{Client: awsclients.DynamoDB(), Table: pages}
	if err := s.Put(t.Context(), "k", storetest.Snapshot("a", 10)); err != nil {
		t.Fatal(err)
	}
	if n := asked.Load(); n != 3 {
		t.Errorf("asked %d times, want 3", n)
	}
}

// A version that meets pages of one that is too new for it takes them for not there, and what it
// stores both can read. What is oldest has no format.
func TestFormats(t *testing.T) {
	t.Parallel()
	s, db := open(t), awstest.DynamoDB(t)
	if err := s.Put(t.Context(), "k", storetest.Snapshot("a", 10)); err != nil {
		t.Fatal(err)
	}
	edit := func(meta func(map[string]any)) {
		t.Helper()
		items, err := db.Scan(t.Context(), &dynamodb.ScanInput{TableName: &s.Table})
		if err != nil || len(items.Items) != 1 {
			t.Fatal(items, err)
		}
		item, members := items.Items[0], map[string]any{}
		if err := json.Unmarshal([]byte(item["meta"].(*types.AttributeValueMemberS).Value), &members); err != nil {
			t.Fatal(err)
		}
		if members["format"] != float64(prerender.SnapshotFormat) {
			t.Errorf("stored with format %v", members["format"])
		}
		meta(members)
		text, _ := json.Marshal(members)
		item["meta"] = &types.AttributeValueMemberS{Value: string(text)}
		if _, err := db.PutItem(t.Context(), &dynamodb.PutItemInput{TableName: &s.Table, Item: item}); err != nil {
			t.Fatal(err)
		}
	}
	edit(func(m map[string]any) {
		m["format"], m["status"] = prerender.NewestFormat+1, map[string]any{"code": 200}
	})
	if _, err := s.Get(t.Context(), "k"); !errors.Is(err, prerender.ErrNotFound) {
		t.Errorf("a newer format: got %v, want a miss", err)
	}
	if err := s.Put(t.Context(), "k", storetest.Snapshot("b", 10)); err != nil {
		t.Errorf("in its place: %v", err)
	}
	edit(func(m map[string]any) { delete(m, "format"); m["aMemberOfTheFuture"] = []int{1} })
	if snap, err := s.Get(t.Context(), "k"); err != nil || snap.Format != 0 {
		t.Errorf("an older format, and a member that is not known: %+v, %v", snap, err)
	}
}
