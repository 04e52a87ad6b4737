package dynamo

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/stillpage/stillpage/internal/prerender"
)

// siteIndex lists the pages of a site: partition key "site", sort key "place", and
// "listed". One partition takes 1,000 writes a second, which is more pages than all
// Chromiums of an account's default make.
const siteIndex = "site"

// firstListed is how many entries are read at first: whoever wants a few does not pay for
// the megabyte that DynamoDB reads otherwise, 128 units.
const firstListed = 500

// maxPlace is the most of a key that is in a sort key, which has 1,024 bytes.
const maxPlace = 900

// place is where a page stands in the index: its key, or of a long one the
// beginning and the hash.
func place(key prerender.Key) string {
	if len(key) <= maxPlace {
		return string(key)
	}
	return string(key[:maxPlace]) + " " + hash(key)
}

// List implements prerender.Store. What was put a moment ago may be missing: an index
// is never consistent.
func (s *Store) List(ctx context.Context, site prerender.Origin, after prerender.Key, found func(prerender.Listed) bool) error {
	query := &dynamodb.QueryInput{
		TableName: &s.Table, IndexName: aws.String(siteIndex), KeyConditionExpression: aws.String("site = :site"),
		ExpressionAttributeValues: map[string]types.AttributeValue{":site": text(site.String())},
	}
	if after != "" {
		query.KeyConditionExpression = aws.String("site = :site AND place > :after")
		query.ExpressionAttributeValues[":after"] = text(place(after))
	}
	now := s.now()
	query.Limit = aws.Int32(firstListed)
	for {
		page, err := s.Client.Query(ctx, query)
		if err != nil {
			return explain("dynamodb:Query", s.Table+"/index/"+siteIndex, site.String(), err)
		}
		for _, item := range page.Items {
			var listed prerender.Listed
			if err := json.Unmarshal([]byte(textOf(item["listed"])), &listed); err != nil {
				return fmt.Errorf("list pages of %s: item %s: %w", site, textOf(item["pk"]), err)
			}
			if !listed.Forgotten(now) && !found(listed) {
				return nil
			}
		}
		if page.LastEvaluatedKey == nil {
			return nil
		}
		query.ExclusiveStartKey, query.Limit = page.LastEvaluatedKey, nil
	}
}
