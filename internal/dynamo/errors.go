package dynamo

import (
	"errors"
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
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
	case errors.As(err, &throttled), errors.As(err, &limited), errors.As(err, &capped), isThrottled(err):
		advice = "table " + table + " is throttled; if it is at its cap, raise TableReads or TableWrites (its OnDemandThroughput); "
	case errors.As(err, &api) && api.ErrorCode() == "AccessDeniedException":
		advice = "allow " + grantOf(action) + " on table " + table + " to this function's role; "
	}
	return fmt.Errorf("%s of %.200q: %s%w", action, of, advice, err)
}

// grantOf is the action that a role grants for a call: transactions have none of their own.
func grantOf(action string) string {
	if action == "dynamodb:TransactWriteItems" {
		return "dynamodb:PutItem and dynamodb:DeleteItem"
	}
	return action
}

// isThrottled says whether a transaction was cancelled for that.
func isThrottled(err error) bool {
	var cancelled *types.TransactionCanceledException
	return errors.As(err, &cancelled) && slices.ContainsFunc(cancelled.CancellationReasons, func(r types.CancellationReason) bool {
		code := aws.ToString(r.Code)
		return code == "ThrottlingError" || code == "ProvisionedThroughputExceeded"
	})
}
