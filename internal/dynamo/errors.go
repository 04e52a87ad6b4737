package dynamo

import (
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/smithy-go"

	"github.com/stillpage/stillpage/internal/prerender"
)

// explain says what an owner can do about an error of DynamoDB.
func (s *Store) explain(action string, key prerender.Key, err error) error {
	advice := ""
	var missing *types.ResourceNotFoundException
	var throttled *types.ProvisionedThroughputExceededException
	var limited *types.RequestLimitExceeded
	var api smithy.APIError
	switch {
	case errors.As(err, &missing):
		advice = "table " + s.Table + " does not exist in this account and region; "
	case errors.As(err, &throttled), errors.As(err, &limited):
		advice = "table " + s.Table + " is throttled; raise its OnDemandThroughput; "
	case errors.As(err, &api) && api.ErrorCode() == "AccessDeniedException":
		advice = "allow " + action + " on table " + s.Table + " to this function's role; "
	}
	return fmt.Errorf("%s of %.200q: %s%w", action, key, advice, err)
}
