// Package dynamo keeps snapshots and leases in a DynamoDB table, and sites in
// another (Sites). A page that is
// small enough is one item, so that a hit is one read; the body of a larger one
// is elsewhere (Bodies). When a page is fresh is the core's business.
//
// The table of pages has a string partition key, "pk", and its TTL attribute is
// "expires". An item is one of
//
//	page#<hash>   key, fence, meta, the snapshot's JSON without its body, and gzip, the
//	              body, or object, its name in Bodies; site and place, by which the
//	              index of this name lists it, and listed, all that it holds beside
//	lease#<hash>  key, owner, until (ms), for (ms), mark, fence
//	limit#<hash>  full (µs): when a bucket of Take will be full again; by: who took of it last
//
// where hash is the key's SHA-256: keys are longer than DynamoDB's 2,048 bytes.
package dynamo

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/stillpage/stillpage/internal/prerender"
)

// Client is what is used of DynamoDB. *dynamodb.Client has it.
type Client interface {
	GetItem(context.Context, *dynamodb.GetItemInput, ...func(*dynamodb.Options)) (*dynamodb.GetItemOutput, error)
	PutItem(context.Context, *dynamodb.PutItemInput, ...func(*dynamodb.Options)) (*dynamodb.PutItemOutput, error)
	Query(context.Context, *dynamodb.QueryInput, ...func(*dynamodb.Options)) (*dynamodb.QueryOutput, error)
	UpdateItem(context.Context, *dynamodb.UpdateItemInput, ...func(*dynamodb.Options)) (*dynamodb.UpdateItemOutput, error)
	BatchWriteItem(context.Context, *dynamodb.BatchWriteItemInput, ...func(*dynamodb.Options)) (*dynamodb.BatchWriteItemOutput, error)
}

// Bodies keeps what does not fit into an item.
type Bodies interface {
	// Put stores a body and returns its name. The same body has the same name.
	Put(ctx context.Context, body []byte) (name string, err error)

	// Get returns a body, or prerender.ErrNotFound.
	Get(ctx context.Context, name string) ([]byte, error)
}

// maxItem bounds what is kept in an item. DynamoDB takes 400 kB (409,600 bytes),
// names of attributes included; the rest is for what is estimated.
const maxItem = 390_000

// Store implements prerender.Store, prerender.Leases and prerender.Limiter.
type Store struct {
	Client Client
	Table  string
	Bodies Bodies

	// Consistent has reads see what was written a moment ago, at twice the price.
	Consistent bool

	// Now is the clock of expiry and leases. Nil means time.Now.
	Now func() time.Time
}

// Get implements prerender.Store.
func (s *Store) Get(ctx context.Context, key prerender.Key) (*prerender.Snapshot, error) {
	out, err := s.Client.GetItem(ctx, &dynamodb.GetItemInput{TableName: &s.Table, Key: itemKey("page", key), ConsistentRead: &s.Consistent})
	if err != nil {
		return nil, explain("dynamodb:GetItem", s.Table, string(key), err)
	}
	if out.Item == nil {
		return nil, fmt.Errorf("get page %.200q: %w", key, prerender.ErrNotFound)
	}
	snap, object, err := decode(out.Item)
	if err != nil {
		return nil, fmt.Errorf("get page %.200q: %w", key, err)
	}
	// DynamoDB deletes what has expired within days.
	if snap.Forgotten(s.now()) {
		return nil, fmt.Errorf("get page %.200q, which has expired: %w", key, prerender.ErrNotFound)
	}
	if object != "" {
		if snap.Gzip, err = s.Bodies.Get(ctx, object); err != nil {
			return nil, fmt.Errorf("get page %.200q: %w", key, err)
		}
	}
	return snap, nil
}

// Put implements prerender.Store.
func (s *Store) Put(ctx context.Context, key prerender.Key, snap *prerender.Snapshot) error {
	item, size, err := encode(key, snap)
	if err != nil {
		return fmt.Errorf("put page %.200q: %w", key, err)
	}
	if size > maxItem {
		return fmt.Errorf("put page %.200q: its headers and key have %d bytes, and an item has room for %d", key, size, maxItem)
	}
	if size+len(snap.Gzip) <= maxItem {
		item["gzip"] = &types.AttributeValueMemberB{Value: snap.Gzip}
	} else {
		object, err := s.Bodies.Put(ctx, snap.Gzip)
		if err != nil {
			return fmt.Errorf("put page %.200q: %w", key, err)
		}
		item["object"] = text(object)
	}
	// Not "<": a put that is tried again meets its own success.
	_, err = s.Client.PutItem(ctx, &dynamodb.PutItemInput{
		TableName: &s.Table, Item: item,
		ConditionExpression:       aws.String("attribute_not_exists(pk) OR fence <= :fence"),
		ExpressionAttributeValues: map[string]types.AttributeValue{":fence": number(snap.Fence)},
	})
	var failed *types.ConditionalCheckFailedException
	if errors.As(err, &failed) {
		return fmt.Errorf("put page %.200q under fence %d: %w", key, snap.Fence, prerender.ErrSuperseded)
	}
	if err != nil {
		return explain("dynamodb:PutItem", s.Table, string(key), err)
	}
	return nil
}

// maxBatch is how many items DynamoDB writes in one call.
const maxBatch = 25

// Delete implements prerender.Store. The body of a large page stays until the
// bucket's rule removes it: others may have the same.
func (s *Store) Delete(ctx context.Context, keys ...prerender.Key) error {
	keys = slices.Clone(keys)
	slices.Sort(keys)
	for batch := range slices.Chunk(slices.Compact(keys), maxBatch) { // twice the same in a call is an error
		var writes []types.WriteRequest
		for _, key := range batch {
			writes = append(writes, types.WriteRequest{DeleteRequest: &types.DeleteRequest{Key: itemKey("page", key)}})
		}
		if err := s.write(ctx, writes); err != nil {
			return explain("dynamodb:BatchWriteItem", s.Table, string(batch[0]), err)
		}
	}
	return nil
}

// write repeats what DynamoDB leaves unprocessed, which is how it throttles a part
// of a batch, until the context ends.
func (s *Store) write(ctx context.Context, writes []types.WriteRequest) error {
	for pause := firstPause; len(writes) > 0; pause = min(2*pause, longestPause) {
		out, err := s.Client.BatchWriteItem(ctx, &dynamodb.BatchWriteItemInput{RequestItems: map[string][]types.WriteRequest{s.Table: writes}})
		if err != nil {
			return err
		}
		if writes = out.UnprocessedItems[s.Table]; len(writes) == 0 {
			return nil
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return fmt.Errorf("%d items are left, the table is throttled: %w", len(writes), context.Cause(ctx))
		}
	}
	return nil
}

// The pauses of the SDK's own retries are of this order.
const firstPause, longestPause = 50 * time.Millisecond, 5 * time.Second

// encode returns an item without its body, and about how many bytes it has.
func encode(key prerender.Key, snap *prerender.Snapshot) (item map[string]types.AttributeValue, size int, err error) {
	meta, err := snap.EncodeMeta()
	if err != nil {
		return nil, 0, err
	}
	item = itemKey("page", key)
	item["key"] = text(string(key))
	item["meta"] = text(string(meta))
	item["fence"] = number(snap.Fence)
	listed, err := json.Marshal(snap.Listed(key))
	if err != nil {
		return nil, 0, err
	}
	if site := key.Site(); site != "" {
		item["site"], item["place"], item["listed"] = text(site), text(place(key)), text(string(listed))
	}
	if !snap.Expires.IsZero() {
		item["expires"] = number(snap.Expires.Unix())
	}
	const fixed = 500 // names, hash, numbers
	return item, fixed + 3*len(key) + len(meta) + len(listed), nil
}

func decode(item map[string]types.AttributeValue) (_ *prerender.Snapshot, object string, err error) {
	snap, err := prerender.DecodeMeta([]byte(textOf(item["meta"])))
	if err != nil {
		return nil, "", err
	}
	snap.Gzip = []byte{}
	if b, ok := item["gzip"].(*types.AttributeValueMemberB); ok {
		snap.Gzip = b.Value
	}
	return snap, textOf(item["object"]), nil
}

func itemKey(kind string, key prerender.Key) map[string]types.AttributeValue {
	return map[string]types.AttributeValue{"pk": text(kind + "#" + hash(key))}
}

func hash(key prerender.Key) string {
	sum := sha256.Sum256([]byte(key))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

func text(s string) types.AttributeValue { return &types.AttributeValueMemberS{Value: s} }

func number(n int64) types.AttributeValue {
	return &types.AttributeValueMemberN{Value: strconv.FormatInt(n, 10)}
}

func textOf(v types.AttributeValue) string {
	s, _ := v.(*types.AttributeValueMemberS)
	if s == nil {
		return ""
	}
	return s.Value
}

func numberOf(v types.AttributeValue) int64 {
	n, _ := v.(*types.AttributeValueMemberN)
	if n == nil {
		return 0
	}
	i, _ := strconv.ParseInt(n.Value, 10, 64) // nobody else writes it
	return i
}

func (s *Store) now() time.Time {
	if s.Now != nil {
		return s.Now()
	}
	return time.Now()
}
