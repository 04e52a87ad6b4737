package dynamo

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/stillpage/stillpage/internal/control"
	"github.com/stillpage/stillpage/internal/prerender"
)

// RecordsClient is what Records uses of DynamoDB. *dynamodb.Client has it.
type RecordsClient interface {
	GetItem(context.Context, *dynamodb.GetItemInput, ...func(*dynamodb.Options)) (*dynamodb.GetItemOutput, error)
	Query(context.Context, *dynamodb.QueryInput, ...func(*dynamodb.Options)) (*dynamodb.QueryOutput, error)
	PutItem(context.Context, *dynamodb.PutItemInput, ...func(*dynamodb.Options)) (*dynamodb.PutItemOutput, error)
	TransactWriteItems(context.Context, *dynamodb.TransactWriteItemsInput, ...func(*dynamodb.Options)) (*dynamodb.TransactWriteItemsOutput, error)
}

// Records implements control.Store on the table of the configuration, which has a
// partition key "pk" and a sort key "sk", both strings. An item is a record: pk its
// kind, sk its ID, version, document, the JSON, and expires, the table's TTL attribute.
type Records struct {
	Client RecordsClient
	Table  string

	// Now is the clock of expiry. Nil means time.Now.
	Now func() time.Time
}

func (s *Records) now() time.Time {
	if s.Now != nil {
		return s.Now()
	}
	return time.Now()
}

// Get implements control.Store.
func (s *Records) Get(ctx context.Context, kind control.Kind, id string) (control.Record, error) {
	out, err := s.Client.GetItem(ctx, &dynamodb.GetItemInput{TableName: &s.Table, Key: recordKey(kind, id), ConsistentRead: aws.Bool(true)})
	if err != nil {
		return control.Record{}, explain("dynamodb:GetItem", s.Table, string(kind)+" "+id, err)
	}
	record := decodeRecord(out.Item)
	if out.Item == nil || s.forgotten(record) {
		return control.Record{}, fmt.Errorf("get %s %q: %w", kind, id, prerender.ErrNotFound)
	}
	return record, nil
}

// List implements control.Store.
func (s *Records) List(ctx context.Context, r control.Range, found func(control.Record) bool) error {
	// A sort key has one condition, so an end at the lower side is looked for here: BETWEEN
	// takes both of its bounds in.
	condition := "pk = :kind"
	values := map[string]types.AttributeValue{":kind": text(string(r.Kind))}
	switch {
	case r.After != "" && r.Before != "":
		condition += " AND sk BETWEEN :after AND :before"
		values[":after"], values[":before"] = text(r.After), text(r.Before)
	case r.After != "":
		condition += " AND sk > :after"
		values[":after"] = text(r.After)
	case r.Before != "":
		condition += " AND sk < :before"
		values[":before"] = text(r.Before)
	}
	if r.After != "" && r.Before != "" && r.After >= r.Before {
		return nil
	}
	var limit *int32
	if r.AtOnce > 0 {
		limit = aws.Int32(int32(min(r.AtOnce, 1000)))
	}
	pages := dynamodb.NewQueryPaginator(s.Client, &dynamodb.QueryInput{
		TableName: &s.Table, KeyConditionExpression: &condition, ExpressionAttributeValues: values,
		ScanIndexForward: aws.Bool(!r.Backwards), ConsistentRead: aws.Bool(!r.Eventually), Limit: limit,
	})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return explain("dynamodb:Query", s.Table, string(r.Kind), err)
		}
		for _, item := range page.Items {
			record := decodeRecord(item)
			if record.ID == r.After || record.ID == r.Before || s.forgotten(record) {
				continue
			}
			if !found(record) {
				return nil
			}
		}
	}
	return nil
}

// Note implements control.Store.
func (s *Records) Note(ctx context.Context, r control.Record) error {
	_, err := s.Client.PutItem(ctx, &dynamodb.PutItemInput{TableName: &s.Table, Item: encodeRecord(r)})
	if err != nil {
		return explain("dynamodb:PutItem", s.Table, string(r.Kind)+" "+r.ID, err)
	}
	return nil
}

// Write implements control.Store. The SDK gives a transaction a token, so that one which
// is tried again does not meet its own success.
func (s *Records) Write(ctx context.Context, writes ...control.Write) error {
	items := make([]types.TransactWriteItem, len(writes))
	for i, w := range writes {
		items[i] = s.item(w)
	}
	_, err := s.Client.TransactWriteItems(ctx, &dynamodb.TransactWriteItemsInput{TransactItems: items})
	var cancelled *types.TransactionCanceledException
	if errors.As(err, &cancelled) {
		for i, reason := range cancelled.CancellationReasons {
			if code := aws.ToString(reason.Code); code == "ConditionalCheckFailed" || code == "TransactionConflict" {
				return &control.ConflictError{Kind: writes[i].Kind, ID: writes[i].ID}
			}
		}
	}
	if err != nil {
		return explain("dynamodb:TransactWriteItems", s.Table, string(writes[0].Kind)+" "+writes[0].ID, err)
	}
	return nil
}

func (s *Records) item(w control.Write) types.TransactWriteItem {
	condition, values := "", map[string]types.AttributeValue(nil)
	switch {
	case w.Any:
	case w.Was == 0: // one that has expired is none, though DynamoDB has it for days
		condition = "attribute_not_exists(pk) OR expires < :now"
		values = map[string]types.AttributeValue{":now": number(s.now().Unix())}
	default:
		condition = "version = :was"
		values = map[string]types.AttributeValue{":was": number(w.Was)}
	}
	var conditioned *string
	if condition != "" {
		conditioned = &condition
	}
	if w.Delete {
		return types.TransactWriteItem{Delete: &types.Delete{
			TableName: &s.Table, Key: recordKey(w.Kind, w.ID), ConditionExpression: conditioned, ExpressionAttributeValues: values,
		}}
	}
	return types.TransactWriteItem{Put: &types.Put{
		TableName: &s.Table, Item: encodeRecord(w.Record), ConditionExpression: conditioned, ExpressionAttributeValues: values,
	}}
}

func recordKey(kind control.Kind, id string) map[string]types.AttributeValue {
	return map[string]types.AttributeValue{"pk": text(string(kind)), "sk": text(id)}
}

func encodeRecord(r control.Record) map[string]types.AttributeValue {
	item := recordKey(r.Kind, r.ID)
	item["version"] = number(r.Version)
	item["document"] = text(string(r.Document))
	if !r.Expires.IsZero() {
		item["expires"] = number(r.Expires.Unix())
	}
	return item
}

func decodeRecord(item map[string]types.AttributeValue) control.Record {
	r := control.Record{
		Kind: control.Kind(textOf(item["pk"])), ID: textOf(item["sk"]), Version: numberOf(item["version"]), Document: []byte(textOf(item["document"])),
	}
	if expires := numberOf(item["expires"]); expires != 0 {
		r.Expires = time.Unix(expires, 0).UTC()
	}
	return r
}

func (s *Records) forgotten(r control.Record) bool {
	return !r.Expires.IsZero() && s.now().Unix() > r.Expires.Unix()
}
