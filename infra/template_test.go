// Package infra_test holds the templates against the code that runs on what they
// make: names, limits, and the grants whose lack AWS tells nobody.
package infra_test

import (
	"context"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	edgefunction "github.com/stillpage/stillpage/infra/edge"
	"github.com/stillpage/stillpage/internal/control"
	"github.com/stillpage/stillpage/internal/dynamo"
	"github.com/stillpage/stillpage/internal/edge"
	"github.com/stillpage/stillpage/internal/prerender"
	"github.com/stillpage/stillpage/internal/router"
	"github.com/stillpage/stillpage/internal/s3store"
)

const (
	mainTemplate = "../template.yaml"
	edgeTemplate = "edge.yaml"
)

// CloudFront gets 403 from a function URL unless it has both.
func TestBothGrantsToCloudFront(t *testing.T) {
	t.Parallel()
	granted := map[string]bool{}
	for name := range children(t, edgeTemplate, "Resources") {
		if value(t, edgeTemplate, "Resources", name, "Type") != "AWS::Lambda::Permission" {
			continue
		}
		path := []string{"Resources", name, "Properties"}
		granted[value(t, edgeTemplate, append(path, "Action")...)] = true
		for key, want := range map[string]string{"Principal": "cloudfront.amazonaws.com", "FunctionName": "!Ref RouterAlias"} {
			if got := value(t, edgeTemplate, append(path, key)...); got != want {
				t.Errorf("%s: got %s %q, want %q", name, key, got, want)
			}
		}
		wantText(t, section(t, edgeTemplate, append(path, "SourceArn")...), "distribution/${Id}")
	}
	for _, action := range []string{"lambda:InvokeFunctionUrl", "lambda:InvokeFunction"} {
		if !granted[action] {
			t.Errorf("CloudFront is not granted %s", action)
		}
	}
	if got := value(t, edgeTemplate, "Resources", "InvokeGrant", "Properties", "InvokedViaFunctionUrl"); got != "true" {
		t.Errorf("InvokedViaFunctionUrl: got %q, want true: the grant would be for direct invocations too", got)
	}
}

// Without the variant in the cache's key people get the pages of bots; without
// the host, bots get the pages of another domain. Host itself breaks function URLs.
func TestCacheKey(t *testing.T) {
	t.Parallel()
	headers := section(t, edgeTemplate, "Resources", "CachePolicy", "Properties", "CachePolicyConfig",
		"ParametersInCacheKeyAndForwardedToOrigin", "HeadersConfig", "Headers")
	for _, name := range []string{"x-stillpage-variant", strings.ToLower(router.HostHeader)} {
		if !strings.Contains(edgefunction.ViewerRequest, "headers['"+name+"'] = ") {
			t.Errorf("the edge function does not write %s itself", name)
		}
		if !slices.Contains(lines(headers), "- "+name) {
			t.Errorf("the cache policy lacks %s", name)
		}
	}
	if slices.Contains(lines(headers), "- Host") {
		t.Error("the cache policy has Host, which the router's function URL needs for itself")
	}
	behavior := []string{"Resources", "Distribution", "Properties", "DistributionConfig", "DefaultCacheBehavior"}
	if got := value(t, edgeTemplate, append(behavior, "CachePolicyId")...); got != "!Ref CachePolicy" {
		t.Errorf("default behaviour's cache policy: got %q", got)
	}
	wantText(t, section(t, edgeTemplate, append(behavior, "FunctionAssociations")...), "viewer-request", "!GetAtt Function.FunctionMetadata.FunctionARN")
}

// What is deployed is the function that package edge runs, but for a parameter.
func TestEdgeFunctionIsEmbedded(t *testing.T) {
	t.Parallel()
	code, ok := strings.CutPrefix(section(t, edgeTemplate, "Resources", "Function", "Properties", "FunctionCode"), "!Sub |\n")
	if !ok {
		t.Fatal("FunctionCode is no text with references")
	}
	code, _, _ = strings.Cut(code, "      # END EMBEDDED")
	want := strings.Replace(edgefunction.ViewerRequest, "const APP_ORIGIN = 'stillpage-app';", "const APP_ORIGIN = '${AppOriginId}';", 1)
	if !strings.Contains(want, "${AppOriginId}") || !strings.Contains(want, "'"+edge.RouterOrigin+"'") {
		t.Error("viewer-request.js does not name the two origins")
	}
	if got := regexp.MustCompile(`(?m)^ {8}`).ReplaceAllString(code, ""); got != want {
		t.Errorf("edge.yaml has another function than edge/viewer-request.js; run scripts/embed-edge.sh\ngot:\n%s", got)
	}
	const limit = 10 << 10 // CloudFront's, for a function
	if len(want) > limit {
		t.Errorf("the function has %d bytes, more than CloudFront takes (%d)", len(want), limit)
	}
	origins := section(t, edgeTemplate, "Resources", "Distribution", "Properties", "DistributionConfig", "Origins")
	wantText(t, origins, "- Id: "+edge.RouterOrigin, "- Id: !Ref AppOriginId", "OriginAccessControlId: !GetAtt OriginAccessControl.Id")
}

// Background work must leave a place for a crawler that waits. Templates cannot
// compare numbers, so the rules enumerate; this does too.
func TestBackgroundIsBelowReserved(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]string{
		"ReservedConcurrentExecutions":               "!If [ReservesConcurrency, !Ref RenderConcurrency, !Ref AWS::NoValue]",
		"Events/StalePages/Properties/ScalingConfig": "{MaximumConcurrency: !Ref BackgroundConcurrency}",
	} {
		full := append([]string{"Resources", "Render", "Properties"}, strings.Split(path, "/")...)
		if got := value(t, mainTemplate, full...); got != want {
			t.Errorf("%s: got %q, want %q", path, got, want)
		}
	}
	allowed := map[string][]string{} // by BackgroundConcurrency; without an entry: all
	for name, rule := range children(t, mainTemplate, "Rules") {
		background := regexp.MustCompile(`RuleCondition: \{'Fn::Equals': \[!Ref BackgroundConcurrency, '(\d+)'\]\}`).FindStringSubmatch(rule)
		if background == nil {
			continue
		}
		list := regexp.MustCompile(`Assert: \{'Fn::Contains': \[\[(.*)\], !Ref RenderConcurrency\]\}`).FindStringSubmatch(rule)
		if list == nil {
			t.Fatalf("rule %s has another form than this test reads", name)
		}
		allowed[background[1]] = strings.Split(list[1], ", ")
	}
	refused := func(background, reserved int) bool {
		list, limited := allowed[strconv.Itoa(background)]
		return limited && !slices.Contains(list, "'"+strconv.Itoa(reserved)+"'")
	}
	reservable := numbers(t, "RenderConcurrency", "AllowedValues")
	for _, background := range numbers(t, "BackgroundConcurrency", "AllowedValues") {
		if background < 2 || background > 1000 {
			t.Errorf("BackgroundConcurrency may be %d; Lambda takes 2 to 1000", background)
		}
		for _, reserved := range reservable {
			// Without a reservation, a new account has 10 places in all.
			got, want := refused(background, reserved), background >= reserved && (reserved != 0 || background > 4)
			if got != want {
				t.Errorf("BackgroundConcurrency %d, RenderConcurrency %d: refused is %v, want %v", background, reserved, got, want)
			}
		}
	}
	if b, r := numbers(t, "BackgroundConcurrency", "Default")[0], numbers(t, "RenderConcurrency", "Default")[0]; b >= r {
		t.Errorf("defaults: background %d is not below reserved %d", b, r)
	}
}

// item catches what package dynamo puts.
type item struct {
	dynamo.Client
	put map[string]types.AttributeValue
}

func (c *item) PutItem(_ context.Context, in *dynamodb.PutItemInput, _ ...func(*dynamodb.Options)) (*dynamodb.PutItemOutput, error) {
	c.put = in.Item
	return &dynamodb.PutItemOutput{}, nil
}

func TestConfigTableIsThatOfPackageDynamo(t *testing.T) {
	t.Parallel()
	client := &recordItem{}
	record := control.Record{Kind: control.JobRecord, ID: "a", Expires: time.Now()}
	if err := (&dynamo.Records{Client: client, Table: "t"}).Note(t.Context(), record); err != nil {
		t.Fatal(err)
	}
	ttl := fmt.Sprint(value(t, mainTemplate, "Resources", "ConfigTable", "Properties", "TimeToLiveSpecification"))
	if _, ok := client.put["expires"].(*types.AttributeValueMemberN); !ok || !strings.Contains(ttl, "AttributeName: expires") {
		t.Errorf("the table's TTL is %s, and an item has %v", ttl, client.put)
	}
	keys := value(t, mainTemplate, "Resources", "ConfigTable", "Properties", "KeySchema")
	for _, name := range regexp.MustCompile(`AttributeName: (\w+)`).FindAllStringSubmatch(keys, -1) {
		if _, ok := client.put[name[1]].(*types.AttributeValueMemberS); !ok {
			t.Errorf("the table's key has %q, which is no text in an item: %v", name[1], slices.Collect(maps.Keys(client.put)))
		}
	}
	if strings.Count(keys, "AttributeName") != 2 || !strings.Contains(keys, "KeyType: RANGE") {
		t.Errorf("the table's key is %s, want a partition key and a sort key", keys)
	}
}

type recordItem struct {
	dynamo.RecordsClient
	put map[string]types.AttributeValue
}

func (c *recordItem) PutItem(_ context.Context, in *dynamodb.PutItemInput, _ ...func(*dynamodb.Options)) (*dynamodb.PutItemOutput, error) {
	c.put = in.Item
	return &dynamodb.PutItemOutput{}, nil
}

// queries catches what package dynamo asks an index for.
type queries struct {
	dynamo.Client
	in *dynamodb.QueryInput
}

func (c *queries) Query(_ context.Context, in *dynamodb.QueryInput, _ ...func(*dynamodb.Options)) (*dynamodb.QueryOutput, error) {
	c.in = in
	return &dynamodb.QueryOutput{}, nil
}

// What is kept is protected, encrypted and not public; what cannot be done waits somewhere.
func TestSafeguards(t *testing.T) {
	t.Parallel()
	for resource, words := range map[string][]string{
		"Table":       {"PointInTimeRecoveryEnabled: true", "SSEEnabled: true", "DeletionProtectionEnabled: !Ref DeletionProtection", "TimeToLiveSpecification: {AttributeName: expires, Enabled: true}"},
		"ConfigTable": {"PointInTimeRecoveryEnabled: true", "SSEEnabled: true", "DeletionProtectionEnabled: !Ref DeletionProtection"},
		"Bucket":      {"BlockPublicAcls: true", "BlockPublicPolicy: true", "IgnorePublicAcls: true", "RestrictPublicBuckets: true", "SSEAlgorithm: AES256", "ExpirationInDays: 60"},
		"Queue":       {"SqsManagedSseEnabled: true", "deadLetterTargetArn: !GetAtt DeadLetterQueue.Arn, maxReceiveCount: 5"},
		"Render":      {"FunctionResponseTypes: [ReportBatchItemFailures]", "PreTraffic: !Ref CheckRender", "!GetAtt Alarms.Outputs.RenderCrashes"},
		"Router":      {"PreTraffic: !Ref CheckRouter", "!GetAtt Alarms.Outputs.RouterCrashes, !GetAtt Alarms.Outputs.RouterFaults"},
		"Admin":       {"PreTraffic: !Ref CheckAdmin", "!GetAtt Alarms.Outputs.AdminCrashes"},
	} {
		wantText(t, section(t, mainTemplate, "Resources", resource), words...)
	}
	for name, resource := range children(t, mainTemplate, "Resources") {
		if strings.Contains(resource, "AWS::Logs::LogGroup\n") && !strings.Contains(resource, "RetentionInDays: !Ref LogRetentionDays") {
			t.Errorf("%s keeps logs for ever", name)
		}
		if strings.Contains(resource, "AWS::SQS::Queue\n") && !regexp.MustCompile(`Queues: \[[^\]]*!Ref `+name+`\b`).MatchString(read(t, mainTemplate)) {
			t.Errorf("%s may be asked without TLS", name)
		}
	}
}

func TestTableIsThatOfPackageDynamo(t *testing.T) {
	t.Parallel()
	client := &item{}
	snap := &prerender.Snapshot{Status: 200, RenderedAt: time.Unix(1, 0), Expires: time.Unix(1_000_000, 0)}
	if err := (&dynamo.Store{Client: client, Table: "t"}).Put(t.Context(), "k", snap); err != nil {
		t.Fatal(err)
	}
	table := []string{"Resources", "Table", "Properties"}
	key := field(t, value(t, mainTemplate, append(table, "KeySchema")...), "AttributeName")
	if _, ok := client.put[key].(*types.AttributeValueMemberS); !ok {
		t.Errorf("the table's key is %q, which is no text in an item: %v", key, slices.Collect(maps.Keys(client.put)))
	}
	if got := value(t, mainTemplate, append(table, "AttributeDefinitions")...); field(t, got, "AttributeName") != key || field(t, got, "AttributeType") != "S" {
		t.Errorf("key's definition: got %s, want %s as S", got, key)
	}
	if err := (&dynamo.Store{Client: client, Table: "t"}).Put(t.Context(), "https://a.example/ desktop", snap); err != nil {
		t.Fatal(err)
	}
	var indexed []string // by the query of List
	query := &queries{}
	if err := (&dynamo.Store{Client: query, Table: "t"}).List(t.Context(), prerender.Origin{Scheme: "https", Host: "a.example"}, "x", nil); err != nil {
		t.Fatal(err)
	}
	for name := range strings.FieldsSeq(strings.NewReplacer("=", " ", ">", " ", ":", " ").Replace(*query.in.KeyConditionExpression)) {
		if _, ok := client.put[name]; ok {
			indexed = append(indexed, name)
		}
	}
	index := fmt.Sprint(value(t, mainTemplate, append(table, "GlobalSecondaryIndexes")...))
	for _, want := range append(indexed, *query.in.IndexName, "listed") {
		if !strings.Contains(index, want) {
			t.Errorf("the index lacks %q: %s", want, index)
		}
	}
	if len(indexed) < 2 {
		t.Errorf("List asks by %q, want a partition key and a sort key of the item", indexed)
	}
	ttl := field(t, value(t, mainTemplate, append(table, "TimeToLiveSpecification")...), "AttributeName")
	if n, ok := client.put[ttl].(*types.AttributeValueMemberN); !ok || n.Value != "1000000" {
		t.Errorf("the table's TTL attribute is %q, which is not when an item expires: %v", ttl, client.put[ttl])
	}
}

// object catches what package s3store puts.
type object struct {
	s3store.Client
	name string
}

func (c *object) PutObject(_ context.Context, in *s3.PutObjectInput, _ ...func(*s3.Options)) (*s3.PutObjectOutput, error) {
	c.name = *in.Key
	return &s3.PutObjectOutput{}, nil
}

func TestBucketIsThatOfPackageS3store(t *testing.T) {
	t.Parallel()
	client := &object{}
	if _, err := (&s3store.Bodies{Client: client, Bucket: "b"}).Put(t.Context(), []byte("body")); err != nil {
		t.Fatal(err)
	}
	prefix, _, _ := strings.Cut(client.name, "/")
	prefix += "/"
	rule := section(t, mainTemplate, "Resources", "Bucket", "Properties", "LifecycleConfiguration", "Rules")
	wantText(t, rule, "Status: Enabled", "Prefix: "+prefix+"\n")
	for _, role := range []string{"RouterRole", "RenderRole"} {
		wantText(t, section(t, mainTemplate, "Resources", role), "${Bucket.Arn}/"+prefix+"*'", "s3:prefix: "+prefix+"*")
	}

	days := regexp.MustCompile(`ExpirationInDays: (\d+)`).FindStringSubmatch(rule)
	if days == nil {
		t.Fatal("bodies never expire")
	}
	n, _ := strconv.Atoi(days[1])
	if life := time.Duration(n) * 24 * time.Hour; life <= prerender.MostLifetime {
		t.Errorf("bodies expire after %v, before the pages that have them (%v)", life, prerender.MostLifetime)
	}
	most := time.Duration(numbers(t, "FreshHours", "MaxValue")[0]+numbers(t, "StaleHours", "MaxValue")[0])*time.Hour + prerender.DefaultSuccess.IfError
	if most > prerender.MostLifetime {
		t.Errorf("parameters allow %v, and no page is kept for more than %v", most, prerender.MostLifetime)
	}
	for parameter, want := range map[string]time.Duration{"FreshHours": prerender.DefaultSuccess.Fresh, "StaleHours": prerender.DefaultSuccess.Stale} {
		if got := time.Duration(numbers(t, parameter, "Default")[0]) * time.Hour; got != want {
			t.Errorf("%s: default is %v, and %v everywhere else", parameter, got, want)
		}
	}
}

// A message is handed out again after six times the function's timeout, as Lambda
// asks for, and the functions' timeouts fit into each other and into CloudFront's.
func TestTimeouts(t *testing.T) {
	t.Parallel()
	seconds := func(file string, path ...string) time.Duration {
		n, err := strconv.Atoi(value(t, file, path...))
		if err != nil {
			t.Fatal(err)
		}
		return time.Duration(n) * time.Second
	}
	render := seconds(mainTemplate, "Resources", "Render", "Properties", "Timeout")
	routerTimeout := seconds(mainTemplate, "Resources", "Router", "Properties", "Timeout")
	visible := seconds(mainTemplate, "Resources", "Queue", "Properties", "VisibilityTimeout")
	if visible < 6*render {
		t.Errorf("visibility timeout: got %v, want 6 x %v", visible, render)
	}
	if render <= prerender.DefaultTimeout || routerTimeout <= prerender.DefaultTimeout {
		t.Errorf("timeouts of render (%v) and router (%v) must be above a render's %v", render, routerTimeout, prerender.DefaultTimeout)
	}
	origins := section(t, edgeTemplate, "Resources", "Distribution", "Properties", "DistributionConfig", "Origins")
	read := regexp.MustCompile(`OriginReadTimeout: (\d+)`).FindStringSubmatch(origins)
	if read == nil {
		t.Fatal("the router's origin has no OriginReadTimeout")
	}
	if n, _ := strconv.Atoi(read[1]); time.Duration(n)*time.Second <= routerTimeout {
		t.Errorf("CloudFront waits %d s, not longer than the router's %v", n, routerTimeout)
	}
}

func TestEnvironment(t *testing.T) {
	t.Parallel()
	all := children(t, mainTemplate, "Globals", "Function", "Environment", "Variables")
	for _, function := range []string{"Router", "Render", "Admin"} {
		set := maps.Clone(all)
		if properties := children(t, mainTemplate, "Resources", function, "Properties"); properties["Environment"] != "" {
			maps.Copy(set, children(t, mainTemplate, "Resources", function, "Properties", "Environment", "Variables"))
		}
		source, err := os.ReadFile("../functions/" + strings.ToLower(function) + "/main.go")
		if err != nil {
			t.Fatal(err)
		}
		for _, needed := range regexp.MustCompile(`"(STILLPAGE_\w+)"`).FindAllStringSubmatch(string(source), -1) {
			if _, ok := set[needed[1]]; !ok {
				t.Errorf("%s needs %s, which the template does not set", function, needed[1])
			}
		}
		if got := set["STILLPAGE_SITES"]; got != "!Sub ['https://${Rest}', {Rest: !Join [',https://', !Split [',', !Ref SiteDomains]]}]" {
			t.Errorf("%s: STILLPAGE_SITES is %q", function, got)
		}
	}
}

// A parameter that makes no sense is refused before anything is created, with the
// reason.
func TestParameters(t *testing.T) {
	t.Parallel()
	groups := section(t, mainTemplate, "Metadata")
	for name, text := range children(t, mainTemplate, "Parameters") {
		constrained := strings.Contains(text, "AllowedPattern:") || strings.Contains(text, "AllowedValues:") || strings.Contains(text, "MinValue:") || strings.Contains(text, "Type: Number")
		if !strings.Contains(text, "Description: ") || constrained && !strings.Contains(text, "ConstraintDescription: ") {
			t.Errorf("%s does not say what it is, or what may be in it", name)
		}
		if !regexp.MustCompile(`[\[ ]` + name + `[,\]]`).MatchString(groups) {
			t.Errorf("%s is in no group", name)
		}
	}
	for name, values := range map[string]struct{ good, bad []string }{
		"SiteDomains": {
			[]string{"example.com", "www.example.com,example.com", "a-b.xn--bcher-kva.example", "1.example.com"},
			[]string{"", "https://example.com", "example.com/", "example.com, www.example.com", "Example.com", "example", "-a.example", "a..b", "exa mple.com", "example.com,", "*.example.com"},
		},
		"OriginDomain":           {[]string{"", "app.example.net", "Bucket-1.s3.amazonaws.com"}, []string{"https://app.example.net", "app", "app.example.net/path", "app.example.net:8080", "10.0.0.1"}},
		"WarmSitemap":            {[]string{"", "https://www.example.com/sitemap.xml", "https://www.example.com/s?a=1&b=2"}, []string{"http://www.example.com/sitemap.xml", "www.example.com/sitemap.xml", "https://www.example.com", "https://www.example.com/a b", "https://www.example.com/'$(x)"}},
		"CertificateArn":         {[]string{"", "arn:aws:acm:us-east-1:123456789012:certificate/12345678-1234-1234-1234-123456789012"}, []string{"arn:aws:acm:eu-west-1:123456789012:certificate/12345678-1234-1234-1234-123456789012", "arn:aws:iam::123456789012:server-certificate/x"}},
		"StaticPath":             {[]string{"/assets/*", "/_next/static/*"}, []string{"", "assets/*", "/a b", "https://x/"}},
		"ExistingDistributionId": {[]string{"", "E1ABCDEFGHIJKL"}, []string{"d111111abcdef8.cloudfront.net", "e1abcdefghijkl", "1234"}},
		"ExistingOriginId":       {[]string{"", "app", "my origin-1", "S3/x.y:z"}, []string{"it's", "a\nb", "${x}"}},
		"AlarmEmail":             {[]string{"", "ops@example.com"}, []string{"ops", "ops@example", "a b@example.com"}},
		"AlarmTopicArn":          {[]string{"", "arn:aws:sns:eu-central-1:123456789012:ops"}, []string{"ops", "arn:aws:sqs:eu-central-1:123456789012:ops"}},
		"ProbePath":              {[]string{"", "/", "/shop?a=1"}, []string{"shop", "https://www.example.com/", `/"`, "/a b"}},
		"JwtIssuer":              {[]string{"", "https://idp.example/realm"}, []string{"http://idp.example", "idp.example", "https://a b"}},
		"JwtClaim":               {[]string{"groups", "cognito:groups", "https://idp.example/roles"}, []string{"", "a b", "a,b"}},
		"Access": {[]string{"", "arn:aws:sts::123456789012:assumed-role/ops/*=admin", "shop=operator@a.example+b.example:8443, eve=viewer", "cn=a=admin"},
			[]string{"shop", "shop=boss", "=admin", "shop=operator@", "a=admin,", "a=admin,,b=viewer"}},
		"IntegrationToken": {[]string{"", strings.Repeat("a", 24), strings.Repeat("0", 128)}, []string{"short", strings.Repeat("a", 129), strings.Repeat("ä", 24), strings.Repeat("a", 23) + " "}},
	} {
		pattern := strings.Trim(value(t, mainTemplate, "Parameters", name, "AllowedPattern"), "'")
		allowed := regexp.MustCompile(`^(?:` + pattern + `)$`)
		for _, text := range values.good {
			if !allowed.MatchString(text) {
				t.Errorf("%s %q is refused", name, text)
			}
		}
		for _, text := range values.bad {
			if allowed.MatchString(text) {
				t.Errorf("%s %q is accepted", name, text)
			}
		}
	}
}

// Parameters that a function sees must be in the description of its version: see
// the comment at Router.
func TestParametersPublishVersions(t *testing.T) {
	t.Parallel()
	for function, want := range map[string][]string{
		"Router": {"SiteDomains", "FreshHours", "StaleHours", "LogLevel", "IntegrationTokenNumber", "Metrics"},
		"Render": {"SiteDomains", "FreshHours", "StaleHours", "LogLevel", "RenderMemory", "Metrics"},
		"Admin":  {"SiteDomains", "FreshHours", "StaleHours", "WarmHours", "WarmSitemap", "LogLevel", "AccessNumber", "RenderMemory", "Metrics"},
	} {
		description := value(t, mainTemplate, "Resources", function, "Properties", "VersionDescription")
		wantText(t, description, want...)
		longest := description
		for _, parameter := range want {
			most := 6 // a number or a level
			if text := section(t, mainTemplate, "Parameters", parameter); strings.Contains(text, "MaxLength:") {
				fmt.Sscan(value(t, mainTemplate, "Parameters", parameter, "MaxLength"), &most)
			}
			longest = strings.ReplaceAll(longest, "${"+parameter+"}", strings.Repeat("x", most))
		}
		if len(longest) > 256 {
			t.Errorf("%s: the description of a version may have %d characters, and Lambda takes 256", function, len(longest))
		}
	}
}

// What each role grants is held against the code in functions/permissions_test.go.
func TestRolesNameTheirResources(t *testing.T) {
	t.Parallel()
	for _, role := range []string{"RouterRole", "RenderRole", "AdminRole"} {
		text := section(t, mainTemplate, "Resources", role)
		if n := strings.Count(text, "Resource: '*'"); n != 1 || !strings.Contains(text, "Action: [xray:PutTraceSegments, xray:PutTelemetryRecords]\n                Resource: '*'") {
			t.Errorf("%s has %d statements for all resources, want X-Ray's alone, which knows no others", role, n)
		}
		// Who may write leases may not write pages, and the other way round.
		if n, limited := strings.Count(text, "!GetAtt Table.Arn\n"), strings.Count(text, "!GetAtt Table.Arn\n                Condition: {'ForAllValues:StringLike': {dynamodb:LeadingKeys: ['"); n == 0 || n != limited {
			t.Errorf("%s: of %d statements on the table of pages, %d name its keys", role, n, limited)
		}
		if wide := regexp.MustCompile(`\b\w+:\w*\*`).FindString(text); strings.Contains(text, "Action: '*'") || wide != "" {
			t.Errorf("%s grants %q, want actions by their names", role, wide)
		}
	}
}

// ---- What is read of a template: block mappings by their indentation. The
// templates are written so that this is enough.

// section returns what is under a key: the rest of its line, and the lines below
// it that are indented further.
func section(t *testing.T, file string, path ...string) string {
	t.Helper()
	text := read(t, file)
	for depth, key := range path {
		found := ""
		under(text, func(k, body string) {
			if k == key {
				found = body
			}
		})
		if found == "" {
			t.Fatalf("%s has no %s", file, strings.Join(path[:depth+1], "/"))
		}
		text = found
	}
	return text
}

// value is a section on one line.
func value(t *testing.T, file string, path ...string) string {
	t.Helper()
	return strings.TrimSpace(section(t, file, path...))
}

// children returns the sections under a key.
func children(t *testing.T, file string, path ...string) map[string]string {
	t.Helper()
	all := map[string]string{}
	under(section(t, file, path...), func(key, body string) { all[key] = strings.TrimSpace(body) })
	return all
}

var keyLine = regexp.MustCompile(`^( *)([\w:]+):(?: (.*))?$`)

// under calls found for each key of a section, whose first line is the rest of
// its own key's.
func under(text string, found func(key, body string)) {
	all := strings.SplitAfter(text, "\n")
	level := -1
	for i := 1; i < len(all); i++ {
		m := keyLine.FindStringSubmatch(strings.TrimSuffix(all[i], "\n"))
		if m == nil || level >= 0 && len(m[1]) != level {
			continue
		}
		level = len(m[1])
		body := m[3] + "\n"
		for i+1 < len(all) && (strings.TrimSpace(all[i+1]) == "" || indent(all[i+1]) > level) {
			i++
			body += all[i]
		}
		found(m[2], body)
	}
}

func indent(line string) int { return len(line) - len(strings.TrimLeft(line, " ")) }

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return "\n" + string(text)
}

func lines(text string) []string {
	var all []string
	for line := range strings.Lines(text) {
		all = append(all, strings.TrimSpace(line))
	}
	return all
}

// field reads a key of a flow mapping.
func field(t *testing.T, flow, key string) string {
	t.Helper()
	m := regexp.MustCompile(`\b` + key + `: (\w+)`).FindStringSubmatch(flow)
	if m == nil {
		t.Fatalf("%s has no %s", flow, key)
	}
	return m[1]
}

// numbers reads a number of a parameter, or a list of them.
func numbers(t *testing.T, parameter, key string) []int {
	t.Helper()
	var all []int
	for _, text := range regexp.MustCompile(`\d+`).FindAllString(value(t, mainTemplate, "Parameters", parameter, key), -1) {
		n, err := strconv.Atoi(text)
		if err != nil {
			t.Fatal(fmt.Errorf("%s of %s: %w", key, parameter, err))
		}
		all = append(all, n)
	}
	return all
}

func wantText(t *testing.T, text string, words ...string) {
	t.Helper()
	for _, word := range words {
		if !strings.Contains(text, word) {
			t.Errorf("got %q, want it to have %q", text, word)
		}
	}
}
