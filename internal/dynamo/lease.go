package dynamo

import (
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
func (s *Store) Acquire(ctx context.Context, key prerender.Key, d time.Duration) (prerender.Lease, error) {
	owner := rand.Text()
	now := s.now()
	out, err := s.Client.UpdateItem(ctx, &dynamodb.UpdateItemInput{
		TableName: &s.Table, Key: itemKey("lease", key),
		// A retry of an update that had succeeded finds itself the owner.
		ConditionExpression: aws.String("attribute_not_exists(pk) OR #until < :now OR #owner = :owner"),
		UpdateExpression: aws.String(
			"SET #key = :key, #owner = :owner, #until = :until, expires = :expires, fence = if_not_exists(fence, :now) + :one"),
		ExpressionAttributeNames: map[string]string{"#key": "key", "#owner": "owner", "#until": "until"},
		ExpressionAttributeValues: map[string]types.AttributeValue{
			":key": text(string(key)), ":owner": text(owner), ":one": number(1),
			":now": number(now.UnixMilli()), ":until": number(now.Add(d).UnixMilli()), ":expires": number(now.Add(d + leaseKept).Unix()),
		},
		ReturnValues:                        types.ReturnValueUpdatedNew,
		ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
	})
	var failed *types.ConditionalCheckFailedException
	if errors.As(err, &failed) {
		until := time.UnixMilli(numberOf(failed.Item["until"])).UTC()
		return prerender.Lease{}, fmt.Errorf("lease of %.200q is another's until %v: %w", key, until.Format(time.RFC3339), prerender.ErrLeased)
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
		UpdateExpression:         aws.String("SET #until = :until, expires = :expires"),
		ExpressionAttributeNames: map[string]string{"#owner": "owner", "#until": "until"},
		ExpressionAttributeValues: map[string]types.AttributeValue{
			":owner": text(l.Owner), ":until": number(until.UnixMilli()), ":expires": number(until.Add(leaseKept).Unix()),
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

// Release implements prerender.Leases. The item stays, and with it its fence.
func (s *Store) Release(ctx context.Context, l prerender.Lease) error {
	_, err := s.Client.UpdateItem(ctx, &dynamodb.UpdateItemInput{
		TableName: &s.Table, Key: itemKey("lease", l.Key),
		ConditionExpression:      aws.String("#owner = :owner"),
		UpdateExpression:         aws.String("SET #until = :zero"),
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
