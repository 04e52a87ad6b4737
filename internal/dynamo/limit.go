package dynamo

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/stillpage/stillpage/internal/prerender"
)

// limitKept is how long the item of a bucket that is full stays.
const limitKept = time.Hour

// Take implements prerender.Limiter by one number a bucket: when it will be full
// again. A bucket in use takes one write, one that has been full two.
func (s *Store) Take(ctx context.Context, name string, r prerender.Rate) (time.Duration, error) {
	now, interval := s.now().UnixMicro(), r.Interval().Microseconds()
	latest := now + r.Room().Microseconds()
	for range 3 { // others may fill and empty it between two writes
		// In use: there is room for one more.
		full, err := s.takeIf(ctx, name, "#full > :now AND #full <= :latest AND #by <> :by", "SET #full = #full + :interval, #by = :by, expires = :expires", now, latest, interval)
		if err == nil || !errors.Is(err, errFull) {
			return 0, err
		}
		if full > latest {
			return time.Duration(full-latest) * time.Microsecond, nil
		}
		// Not in use: it was full.
		full, err = s.takeIf(ctx, name, "attribute_not_exists(pk) OR #full <= :now AND #by <> :by", "SET #full = :now + :interval, #by = :by, expires = :expires", now, latest, interval)
		if err == nil || !errors.Is(err, errFull) {
			return 0, err
		}
		if full > latest {
			return time.Duration(full-latest) * time.Microsecond, nil
		}
	}
	return r.Interval(), nil
}

// mostLooks is how many places Enter looks at, a write each.
const mostLooks = 4

// Enter implements prerender.Limiter: each place is a lease.
func (s *Store) Enter(ctx context.Context, name string, places int, d time.Duration) (func(context.Context) error, error) {
	first := rand.IntN(max(1, places))
	for look := range min(places, mostLooks) {
		i := (first + look) % places
		lease, err := s.acquire(ctx, prerender.Key(fmt.Sprintf("place %d of %s", i, name)), d, "", 0)
		if err == nil {
			return func(ctx context.Context) error { return s.Release(ctx, lease) }, nil
		}
		if !errors.Is(err, prerender.ErrLeased) {
			return nil, err
		}
	}
	return nil, fmt.Errorf("%d places of %s: %w", places, name, prerender.ErrLimited)
}

// errFull: the condition of an update was not met.
var errFull = errors.New("no room")

func (s *Store) takeIf(ctx context.Context, name, condition, update string, now, latest, interval int64) (full int64, err error) {
	by := strconv.FormatUint(rand.Uint64(), 36) // of this one attempt
	values := map[string]types.AttributeValue{
		":by": text(by), ":now": number(now), ":interval": number(interval),
		":expires": number(time.UnixMicro(latest).Add(limitKept).Unix()),
	}
	if strings.Contains(condition, ":latest") { // what is not used is an error
		values[":latest"] = number(latest)
	}
	_, err = s.Client.UpdateItem(ctx, &dynamodb.UpdateItemInput{
		TableName: &s.Table, Key: itemKey("limit", prerender.Key(name)), ConditionExpression: &condition, UpdateExpression: aws.String(update),
		ExpressionAttributeNames: map[string]string{"#full": "full", "#by": "by"}, ExpressionAttributeValues: values,
		ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
	})
	var failed *types.ConditionalCheckFailedException
	if errors.As(err, &failed) && textOf(failed.Item["by"]) == by {
		return 0, nil // the SDK has tried again, and met its own success
	}
	if errors.As(err, &failed) {
		return numberOf(failed.Item["full"]), fmt.Errorf("limit %q: %w", name, errFull)
	}
	if err != nil {
		return 0, explain("dynamodb:UpdateItem", s.Table, name, err)
	}
	return 0, nil
}
