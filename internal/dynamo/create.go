package dynamo

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// Creator is what is used of DynamoDB to create tables. *dynamodb.Client has it.
type Creator interface {
	CreateTable(context.Context, *dynamodb.CreateTableInput, ...func(*dynamodb.Options)) (*dynamodb.CreateTableOutput, error)
	DescribeTable(context.Context, *dynamodb.DescribeTableInput, ...func(*dynamodb.Options)) (*dynamodb.DescribeTableOutput, error)
	UpdateTimeToLive(context.Context, *dynamodb.UpdateTimeToLiveInput, ...func(*dynamodb.Options)) (*dynamodb.UpdateTimeToLiveOutput, error)
}

// Create creates the table of pages and that of records as template.yaml does, for who runs
// Stillpage elsewhere. One that is there is left as it is.
func Create(ctx context.Context, db Creator, pages, records string) error {
	key := func(name string, kind types.KeyType) types.KeySchemaElement {
		return types.KeySchemaElement{AttributeName: &name, KeyType: kind}
	}
	return errors.Join(
		create(ctx, db, pages, []types.KeySchemaElement{key("pk", types.KeyTypeHash)}, types.GlobalSecondaryIndex{
			IndexName: aws.String("site"), KeySchema: []types.KeySchemaElement{key("site", types.KeyTypeHash), key("place", types.KeyTypeRange)},
			Projection: &types.Projection{ProjectionType: types.ProjectionTypeInclude, NonKeyAttributes: []string{"listed"}},
		}),
		create(ctx, db, records, []types.KeySchemaElement{key("pk", types.KeyTypeHash), key("sk", types.KeyTypeRange)}),
	)
}

// createPoll is how often it is looked whether a table is ready, which takes some seconds.
const createPoll = 500 * time.Millisecond

func create(ctx context.Context, db Creator, table string, keys []types.KeySchemaElement, indexes ...types.GlobalSecondaryIndex) error {
	all := slices.Clone(keys)
	for _, index := range indexes {
		all = append(all, index.KeySchema...)
	}
	var attributes []types.AttributeDefinition
	for _, key := range all {
		attributes = append(attributes, types.AttributeDefinition{AttributeName: key.AttributeName, AttributeType: types.ScalarAttributeTypeS})
	}
	_, err := db.CreateTable(ctx, &dynamodb.CreateTableInput{
		TableName: &table, BillingMode: types.BillingModePayPerRequest, AttributeDefinitions: attributes, KeySchema: keys, GlobalSecondaryIndexes: indexes,
	})
	var there *types.ResourceInUseException
	if errors.As(err, &there) {
		return nil
	}
	for err == nil {
		var out *dynamodb.DescribeTableOutput
		if out, err = db.DescribeTable(ctx, &dynamodb.DescribeTableInput{TableName: &table}); err == nil && out.Table.TableStatus == types.TableStatusActive {
			break
		}
		select {
		case <-time.After(createPoll):
		case <-ctx.Done():
			err = ctx.Err()
		}
	}
	if err == nil {
		_, err = db.UpdateTimeToLive(ctx, &dynamodb.UpdateTimeToLiveInput{TableName: &table, TimeToLiveSpecification: &types.TimeToLiveSpecification{
			AttributeName: aws.String("expires"), Enabled: aws.Bool(true),
		}})
	}
	if err != nil {
		return fmt.Errorf("create table %s: %w", table, err)
	}
	return nil
}
