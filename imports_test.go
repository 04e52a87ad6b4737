// Package stillpage_test holds the repository's structure against its design.
package stillpage_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/stillpage/stillpage"

// rule is what a package may import beside the standard library. "core" is
// internal/prerender; tests may import whatever they need.
type rule struct {
	internal []string // packages of this module
	external []string // prefixes of import paths of other modules
}

// rules has an entry for every package. Imports point inwards: commands →
// handlers and adapters → core, and adapters never import each other.
var rules = map[string]rule{
	"internal/prerender":  {},
	"internal/useragent":  {},
	"internal/strictjson": {},
	"internal/schema":     {},
	"infra/edge":          {},
	"internal/demo":       {},

	"internal/useragent/generate": {internal: []string{"internal/useragent"}},

	"internal/boltstore": {internal: []string{"internal/control", "internal/prerender"}, external: []string{"go.etcd.io/bbolt"}},
	"internal/dynamo": {internal: []string{"internal/control", "internal/prerender"}, external: []string{
		"github.com/aws/aws-sdk-go-v2/aws", "github.com/aws/aws-sdk-go-v2/service/dynamodb", "github.com/aws/smithy-go"}},
	"internal/s3store": {internal: []string{"internal/prerender"}, external: []string{
		"github.com/aws/aws-sdk-go-v2/aws", "github.com/aws/aws-sdk-go-v2/service/s3", "github.com/aws/smithy-go"}},
	"internal/sqsqueue": {internal: []string{"internal/prerender"}, external: []string{
		"github.com/aws/aws-sdk-go-v2/service/sqs", "github.com/aws/smithy-go"}},
	"internal/lambdarender": {internal: []string{"internal/prerender", "internal/report"}, external: []string{
		"github.com/aws/aws-sdk-go-v2/service/lambda", "github.com/aws/smithy-go"}},
	"internal/lambdaadmin": {internal: []string{"internal/admin", "internal/control", "internal/lambdahttp", "internal/prerender"}},
	"internal/lambdatest":  {},
	"internal/lambdahttp":  {external: []string{"github.com/aws/aws-lambda-go", "github.com/awslabs/aws-lambda-go-api-proxy"}},
	"internal/awsclients":  {internal: []string{"internal/xray"}, external: []string{"github.com/aws/aws-sdk-go-v2", "github.com/aws/smithy-go"}},
	"internal/xray": {internal: []string{"internal/prerender"}, external: []string{
		"github.com/aws/aws-sdk-go-v2/aws/middleware", "github.com/aws/smithy-go"}},
	"functions/router": {
		internal: []string{"internal/awsclients", "internal/config", "internal/control", "internal/dynamo", "internal/insight", "internal/lambdahttp",
			"internal/lambdarender", "internal/prerender", "internal/router", "internal/s3store", "internal/sqsqueue", "internal/telemetry"},
		external: []string{"github.com/aws/aws-lambda-go"},
	},
	"functions/render": {
		internal: []string{"internal/awsclients", "internal/chrome", "internal/config", "internal/control", "internal/dynamo", "internal/egress",
			"internal/health", "internal/insight", "internal/inspect", "internal/lambdahttp", "internal/lambdarender", "internal/prerender", "internal/report",
			"internal/router", "internal/s3store", "internal/telemetry", "internal/xray"},
		external: []string{"github.com/aws/aws-lambda-go"},
	},
	"functions/admin": {
		internal: []string{"internal/admin", "internal/awsclients", "internal/config", "internal/control", "internal/dynamo", "internal/egress",
			"internal/health", "internal/insight", "internal/lambdaadmin", "internal/lambdahttp", "internal/lambdarender", "internal/prerender", "internal/s3store", "internal/sitemap", "internal/sqsqueue",
			"internal/telemetry", "internal/warm"},
		external: []string{"github.com/aws/aws-lambda-go"},
	},
	"functions/check":           {internal: []string{"internal/awsclients", "internal/config", "internal/lambdahttp", "internal/rollout"}, external: []string{"github.com/aws/aws-lambda-go"}},
	"internal/rollout":          {internal: []string{"internal/health"}, external: []string{"github.com/aws/aws-sdk-go-v2/service/codedeploy", "github.com/aws/aws-sdk-go-v2/service/lambda"}},
	"internal/awstest/s3server": {external: []string{"github.com/versity/versitygw"}}, // a module of its own
	"internal/awstest":          {internal: []string{"internal/dynamo"}, external: []string{"github.com/aws/aws-sdk-go-v2"}},
	"internal/localqueue":       {internal: []string{"internal/prerender"}},
	"internal/storetest":        {internal: []string{"internal/control", "internal/prerender"}, external: []string{"github.com/google/go-cmp"}},
	"internal/egress":           {internal: []string{"internal/prerender"}, external: []string{"golang.org/x/sync"}},
	"internal/chrome":           {internal: []string{"internal/prerender"}, external: []string{"github.com/chromedp", "golang.org/x/net/publicsuffix", "golang.org/x/sys"}},

	"internal/router":      {internal: []string{"internal/control", "internal/prerender", "internal/telemetry", "internal/useragent"}},
	"internal/sitemap":     {},
	"internal/warm":        {internal: []string{"internal/control", "internal/prerender", "internal/sitemap"}},
	"internal/control":     {internal: []string{"internal/prerender", "internal/strictjson", "internal/useragent"}},
	"internal/insight":     {internal: []string{"internal/control", "internal/prerender", "internal/telemetry"}},
	"internal/telemetry":   {internal: []string{"internal/prerender"}},
	"internal/sizing":      {internal: []string{"internal/insight"}},
	"internal/health":      {internal: []string{"internal/prerender", "internal/telemetry"}},
	"internal/inspect":     {internal: []string{"internal/chrome", "internal/prerender", "internal/report"}},
	"internal/admin":       {internal: []string{"internal/control", "internal/insight", "internal/prerender", "internal/report", "internal/schema", "internal/strictjson"}},
	"internal/report":      {},
	"internal/adminclient": {external: []string{"github.com/aws/aws-sdk-go-v2/aws", "github.com/aws/aws-sdk-go-v2/config"}},
	"internal/edge":        {internal: []string{"infra/edge"}, external: []string{"github.com/grafana/sobek"}},
	"internal/config":      {internal: []string{"internal/control", "internal/load", "internal/prerender", "internal/replay"}},
	"internal/replay":      {},
	"internal/load":        {external: []string{"github.com/HdrHistogram/hdrhistogram-go"}},

	// Its oracle drives Chromium by itself, to be another program than the one compared.
	"bench": {
		internal: []string{"internal/chrome", "internal/egress", "internal/prerender"},
		external: []string{"github.com/chromedp", "golang.org/x/sys"},
	},

	"bench/scaling": {internal: []string{"internal/insight"}},
	"bench/curve":   {internal: []string{"internal/insight", "internal/sizing"}},

	"cmd/stillpage": {external: []string{"github.com/aws/aws-sdk-go-v2/config", "github.com/aws/aws-sdk-go-v2/service/dynamodb", "github.com/aws/aws-sdk-go-v2/service/s3", "github.com/aws/smithy-go/logging",
		"go.yaml.in/yaml/v3", "golang.org/x/sys", "golang.org/x/term"}, internal: []string{
		"internal/admin", "internal/adminclient", "internal/boltstore", "internal/chrome", "internal/config", "internal/control", "internal/demo", "internal/dynamo", "internal/edge",
		"internal/egress", "internal/health", "internal/insight", "internal/inspect", "internal/load", "internal/localqueue", "internal/prerender", "internal/replay", "internal/report", "internal/router",
		"internal/s3store", "internal/sitemap", "internal/sizing", "internal/telemetry", "internal/warm",
	}},
}

func TestImports(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	err := filepath.WalkDir(".", func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && file != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata" || d.Name() == "node_modules") {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_test.go") {
			return nil
		}
		pkg := path.Dir(filepath.ToSlash(file))
		seen[pkg] = true
		r, ok := rules[pkg]
		if !ok {
			t.Errorf("%s: package %s has no rule; say in imports_test.go what it may import", file, pkg)
			return nil
		}
		for _, imported := range importsOf(t, file) {
			if !r.allows(imported) {
				t.Errorf("%s imports %s, which its rule does not allow", file, imported)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for pkg := range rules {
		if !seen[pkg] {
			t.Errorf("there is a rule for %s, which does not exist", pkg)
		}
	}
}

func importsOf(t *testing.T, file string) []string {
	f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, i := range f.Imports {
		p, err := strconv.Unquote(i.Path.Value)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, p)
	}
	return list
}

func (r rule) allows(imported string) bool {
	if own, ok := strings.CutPrefix(imported, module+"/"); ok {
		return slices.Contains(r.internal, own)
	}
	first, _, _ := strings.Cut(imported, "/")
	if !strings.Contains(first, ".") {
		return true // standard library
	}
	return slices.ContainsFunc(r.external, func(prefix string) bool { return strings.HasPrefix(imported, prefix) })
}

// The test itself must notice: a package without a rule, and each kind of wrong
// import.
func TestRulesAreNotEmptyWords(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		pkg, imported string
		want          bool
	}{
		{"internal/prerender", "net/http", true},
		{"internal/prerender", "go.etcd.io/bbolt", false},
		{"internal/prerender", module + "/internal/useragent", false},
		{"internal/boltstore", module + "/internal/chrome", false},
		{"internal/router", "github.com/chromedp/chromedp", false},
		{"internal/chrome", "github.com/chromedp/cdproto/page", true},
	} {
		if got := rules[tt.pkg].allows(tt.imported); got != tt.want {
			t.Errorf("%s importing %s: got %v, want %v", tt.pkg, tt.imported, got, tt.want)
		}
	}
}
