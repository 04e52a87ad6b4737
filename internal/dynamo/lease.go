package dynamo

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/stillpage/stillpage/internal/prerender"
)

// leaseKept is how long the item of a lease outlives it, so that fences go up
// by one. When it is gone, they go on from the clock, which is higher.
const leaseKept = 24 * time.Hour

// Acquire implements prerender.Leases.
func (s *Store) Acquire(ctx context.Context, key prerender.Key, d time.Duration, mark string) (prerender.Lease, error) {
	return s.acquire(ctx, key, d, mark, prerender.ClockTolerance)
}

// acquire takes a lease that is free, has the mark, or ran out so long ago.
func (s *Store) acquire(ctx context.Context, key prerender.Key, d time.Duration, mark string, ago time.Duration) (prerender.Lease, error) {
	owner := rand.Text()
	now := s.now()
	out, err := s.Client.UpdateItem(ctx, &dynamodb.UpdateItemInput{
		TableName: &s.Table, Key: itemKey("lease", key),
		// A retry of an update that had succeeded finds itself the owner.
		ConditionExpression: aws.String("attribute_not_exists(pk) OR #until < :ago OR #owner = :owner OR mark = :dead"),
		UpdateExpression: aws.String(
			"SET #key = :key, #owner = :owner, #until = :until, mark = :mark, #for = :for, expires = :expires, fence = if_not_exists(fence, :now) + :one"),
		ExpressionAttributeNames: map[string]string{"#key": "key", "#owner": "owner", "#until": "until", "#for": "for"},
		ExpressionAttributeValues: map[string]types.AttributeValue{
			":key": text(string(key)), ":owner": text(owner), ":one": number(1), ":dead": text(cmp.Or(mark, "none")), ":mark": text(rand.Text()),
			":now": number(now.UnixMilli()), ":ago": number(now.Add(-ago).UnixMilli()), ":until": number(now.Add(d).UnixMilli()),
			":for": number(d.Milliseconds()), ":expires": number(now.Add(d + leaseKept).Unix()),
		},
		ReturnValues:                        types.ReturnValueUpdatedNew,
		ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
	})
	var failed *types.ConditionalCheckFailedException
	if errors.As(err, &failed) {
		return prerender.Lease{}, &prerender.LeasedError{
			Key: key, Mark: textOf(failed.Item["mark"]), For: time.Duration(numberOf(failed.Item["for"])) * time.Millisecond,
		}
	}
	if err != nil {
		return prerender.Lease{}, explain("dynamodb:UpdateItem", s.Table, string(key), err)
	}
	return prerender.Lease{Key: key, Owner: owner, Fence: numberOf(out.Attributes["fence"])}, nil
}

// Extend implements prerender.Leases.
func (s *Store) Extend(ctx context.Context, l prerender.Lease, d time.Duration) error {
	until := s.now().Add(d)
	_, err := s.Client.UpdateItem(ctx, &dynamodb.UpdateItemInput{
		TableName: &s.Table, Key: itemKey("lease", l.Key),
		ConditionExpression:      aws.String("#owner = :owner"),
		UpdateExpression:         aws.String("SET #until = :until, mark = :mark, #for = :for, expires = :expires"),
		ExpressionAttributeNames: map[string]string{"#owner": "owner", "#until": "until", "#for": "for"},
		ExpressionAttributeValues: map[string]types.AttributeValue{
			":owner": text(l.Owner), ":until": number(until.UnixMilli()), ":mark": text(rand.Text()), ":for": number(d.Milliseconds()),
			":expires": number(until.Add(leaseKept).Unix()),
		},
	})
	var failed *types.ConditionalCheckFailedException
	if errors.As(err, &failed) {
		return fmt.Errorf("lease of %.200q has passed on: %w", l.Key, prerender.ErrLeased)
	}
	if err != nil {
		return explain("dynamodb:UpdateItem", s.Table, string(l.Key), err)
	}
	return nil
}

// Release implements prerender.Leases. The item stays, and with it its fence; an
// extension that comes late finds no owner.
func (s *Store) Release(ctx context.Context, l prerender.Lease) error {
	_, err := s.Client.UpdateItem(ctx, &dynamodb.UpdateItemInput{
		TableName: &s.Table, Key: itemKey("lease", l.Key),
		ConditionExpression:      aws.String("#owner = :owner"),
		UpdateExpression:         aws.String("SET #until = :zero REMOVE #owner"),
		ExpressionAttributeNames: map[string]string{"#owner": "owner", "#until": "until"},
		ExpressionAttributeValues: map[string]types.AttributeValue{
			":owner": text(l.Owner), ":zero": number(0),
		},
	})
	var failed *types.ConditionalCheckFailedException
	if err == nil || errors.As(err, &failed) {
		return nil
	}
	return explain("dynamodb:UpdateItem", s.Table, string(l.Key), err)
}
