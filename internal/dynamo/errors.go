package dynamo

import (
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/smithy-go"
)

// explain says what an owner can do about an error of DynamoDB.
func explain(action, table, of string, err error) error {
	advice := ""
	var missing *types.ResourceNotFoundException
	var throttled *types.ProvisionedThroughputExceededException
	var limited *types.RequestLimitExceeded
	var capped *types.ThrottlingException
	var api smithy.APIError
	switch {
	case errors.As(err, &missing):
		advice = "table " + table + " does not exist in this account and region; "
	case errors.As(err, &throttled), errors.As(err, &limited), errors.As(err, &capped):
		advice = "table " + table + " is throttled; raise its OnDemandThroughput; "
	case errors.As(err, &api) && api.ErrorCode() == "AccessDeniedException":
		advice = "allow " + action + " on table " + table + " to this function's role; "
	}
	return fmt.Errorf("%s of %.200q: %s%w", action, of, advice, err)
}
