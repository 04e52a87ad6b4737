package dynamo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/stillpage/stillpage/internal/prerender"
)

// SitesClient is what Sites uses of DynamoDB. *dynamodb.Client has it.
type SitesClient interface {
	Query(context.Context, *dynamodb.QueryInput, ...func(*dynamodb.Options)) (*dynamodb.QueryOutput, error)
	PutItem(context.Context, *dynamodb.PutItemInput, ...func(*dynamodb.Options)) (*dynamodb.PutItemOutput, error)
	DeleteItem(context.Context, *dynamodb.DeleteItemInput, ...func(*dynamodb.Options)) (*dynamodb.DeleteItemOutput, error)
}

// Sites implements prerender.SiteStore and prerender.WarmRuns on the table of the
// configuration, which has a partition key "pk" and a sort key "sk", both strings. An
// item is one of
//
//	pk "site", sk its host, version, and site: its JSON
//	pk "warm", sk its host, and run: the JSON of its last run
//
// so that all sites are one query.
type Sites struct {
	Client SitesClient
	Table  string

	// Now is the clock of versions. Nil means time.Now.
	Now func() time.Time

	// Log gets sites that cannot be read. Nil means slog.Default().
	Log *slog.Logger
}

func (s *Sites) log() *slog.Logger {
	if s.Log != nil {
		return s.Log
	}
	return slog.Default()
}

func (s *Sites) now() time.Time {
	if s.Now != nil {
		return s.Now()
	}
	return time.Now()
}

// sitePartition is the partition key of all sites.
const sitePartition = "site"

// Sites implements prerender.SiteStore.
func (s *Sites) Sites(ctx context.Context) ([]prerender.Site, error) {
	pages := dynamodb.NewQueryPaginator(s.Client, &dynamodb.QueryInput{
		TableName: &s.Table, KeyConditionExpression: aws.String("pk = :site"),
		ExpressionAttributeValues: map[string]types.AttributeValue{":site": text(sitePartition)},
	})
	var all []prerender.Site
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, explain("dynamodb:Query", s.Table, "sites", err)
		}
		for _, item := range page.Items {
			site, err := decodeSite(item)
			if err != nil { // one that somebody has written by hand must not take the others along
				s.log().ErrorContext(ctx, "site left out: its item cannot be read", "table", s.Table, "host", textOf(item["sk"]), "err", err)
				continue
			}
			all = append(all, site)
		}
	}
	return all, nil
}

// PutSite implements prerender.SiteStore.
func (s *Sites) PutSite(ctx context.Context, site prerender.Site) (prerender.Site, error) {
	known := site.Version
	site.Version++
	if known == 0 {
		site.Version = s.now().UnixMicro()
	}
	document, err := json.Marshal(site)
	if err != nil {
		return prerender.Site{}, fmt.Errorf("put site %s: %w", site.Origin.Host, err)
	}
	item := siteKey(site.Origin.Host)
	item["version"] = number(site.Version)
	item["site"] = text(string(document))
	condition, values := sameVersion(known)
	_, err = s.Client.PutItem(ctx, &dynamodb.PutItemInput{
		TableName: &s.Table, Item: item, ConditionExpression: &condition, ExpressionAttributeValues: values,
		ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
	})
	var failed *types.ConditionalCheckFailedException
	switch {
	case errors.As(err, &failed) && textOf(failed.Item["site"]) == string(document):
		return site, nil // a put that was tried again has met its own success
	case failed != nil:
		return prerender.Site{}, fmt.Errorf("put site %s: %w", site.Origin.Host, prerender.ErrConflict)
	case err != nil:
		return prerender.Site{}, explain("dynamodb:PutItem", s.Table, site.Origin.Host, err)
	}
	return site, nil
}

// DeleteSite implements prerender.SiteStore.
func (s *Sites) DeleteSite(ctx context.Context, host string, version int64) error {
	_, err := s.Client.DeleteItem(ctx, &dynamodb.DeleteItemInput{
		TableName: &s.Table, Key: siteKey(host),
		ConditionExpression:       aws.String("attribute_not_exists(pk) OR version = :version"),
		ExpressionAttributeValues: map[string]types.AttributeValue{":version": number(version)},
	})
	var failed *types.ConditionalCheckFailedException
	if errors.As(err, &failed) {
		return fmt.Errorf("delete site %s: %w", host, prerender.ErrConflict)
	}
	if err != nil {
		return explain("dynamodb:DeleteItem", s.Table, host, err)
	}
	return nil
}

// sameVersion is the condition that a stored site has this version, 0 if there is
// none.
func sameVersion(version int64) (string, map[string]types.AttributeValue) {
	if version == 0 {
		return "attribute_not_exists(pk)", nil
	}
	return "version = :version", map[string]types.AttributeValue{":version": number(version)}
}

func siteKey(host string) map[string]types.AttributeValue {
	return map[string]types.AttributeValue{"pk": text(sitePartition), "sk": text(host)}
}

func decodeSite(item map[string]types.AttributeValue) (prerender.Site, error) {
	var site prerender.Site
	err := json.Unmarshal([]byte(textOf(item["site"])), &site)
	site.Version = numberOf(item["version"])
	return site, err
}

// runPartition is the partition key of the last runs of all sites.
const runPartition = "warm"

// WarmRun implements prerender.WarmRuns.
func (s *Sites) WarmRun(ctx context.Context, host string) (prerender.WarmRun, error) {
	out, err := s.Client.Query(ctx, &dynamodb.QueryInput{
		TableName: &s.Table, KeyConditionExpression: aws.String("pk = :warm AND sk = :host"), ConsistentRead: aws.Bool(true),
		ExpressionAttributeValues: map[string]types.AttributeValue{":warm": text(runPartition), ":host": text(host)},
	})
	if err != nil {
		return prerender.WarmRun{}, explain("dynamodb:Query", s.Table, host, err)
	}
	if len(out.Items) == 0 {
		return prerender.WarmRun{}, nil
	}
	var run prerender.WarmRun
	if err := json.Unmarshal([]byte(textOf(out.Items[0]["run"])), &run); err != nil {
		return prerender.WarmRun{}, fmt.Errorf("last run of site %s: %w", host, err)
	}
	return run, nil
}

// PutWarmRun implements prerender.WarmRuns.
func (s *Sites) PutWarmRun(ctx context.Context, host string, run prerender.WarmRun) error {
	document, err := json.Marshal(run)
	if err != nil {
		return fmt.Errorf("put run of site %s: %w", host, err)
	}
	_, err = s.Client.PutItem(ctx, &dynamodb.PutItemInput{TableName: &s.Table, Item: map[string]types.AttributeValue{
		"pk": text(runPartition), "sk": text(host), "run": text(string(document)),
	}})
	if err != nil {
		return explain("dynamodb:PutItem", s.Table, host, err)
	}
	return nil
}
