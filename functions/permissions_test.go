package functions_test

import (
	"debug/elf"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// grantedToLambda are calls that Lambda's poller makes with the function's role.
var grantedToLambda = map[string][]string{
	"render": {"sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ReceiveMessage"},
}

// unusual are the actions of calls that are named otherwise.
var unusual = map[string][]string{
	"lambda:Invoke": {"lambda:InvokeFunction"},
	// A transaction is granted by what is in it.
	"dynamodb:TransactWriteItems": {"dynamodb:PutItem", "dynamodb:DeleteItem"},
	// A missing object is 404 and not 403 only for those who may list.
	"s3:GetObject": {"s3:GetObject", "s3:ListBucket"},
}

// The linker leaves out what a program cannot reach, so the calls of AWS that are
// in a function's binary are those that it can make; its role grants them, and no
// others.
func TestRolesGrantWhatFunctionsCall(t *testing.T) {
	t.Parallel()
	template, err := os.ReadFile("../template.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for function, role := range map[string]string{"router": "RouterRole", "render": "RenderRole", "admin": "AdminRole", "check": "CheckRole"} {
		needed := map[string]bool{}
		for _, call := range calls(t, filepath.Join(binaries, function)) {
			actions, ok := unusual[call]
			if !ok {
				actions = []string{call}
			}
			for _, action := range actions {
				needed[action] = true
			}
		}
		for _, action := range grantedToLambda[function] {
			needed[action] = true
		}
		got, want := granted(t, string(template), role), slices.Sorted(maps.Keys(needed))
		if !slices.Equal(got, want) {
			t.Errorf("%s grants %v, and the code of %s can call %v", role, got, function, want)
		}
	}
}

// neverCalled are linked into every client of their service for a feature that is
// off: endpoint discovery, and S3's directory buckets.
var neverCalled = []string{"dynamodb:DescribeEndpoints", "s3:CreateSession"}

var operation = regexp.MustCompile(`^github\.com/aws/aws-sdk-go-v2/service/(\w+)\.\(\*Client\)\.([A-Z]\w+)$`)

// calls reads a binary's symbols.
func calls(t *testing.T, binary string) []string {
	t.Helper()
	file, err := elf.Open(binary)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	symbols, err := file.Symbols()
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, symbol := range symbols {
		m := operation.FindStringSubmatch(symbol.Name)
		if m == nil || m[2] == "Options" || slices.Contains(neverCalled, m[1]+":"+m[2]) {
			continue
		}
		all = append(all, m[1]+":"+m[2])
	}
	return all
}

// beside are not calls of ours: a condition's key, what Lambda needs of each function, and
// what package xray sends by the daemon.
var beside = []string{"dynamodb:LeadingKeys", "sts:AssumeRole", "logs:CreateLogStream", "logs:PutLogEvents", "xray:PutTraceSegments", "xray:PutTelemetryRecords"}

// granted reads the actions on Stillpage's own resources of a role.
func granted(t *testing.T, template, role string) []string {
	t.Helper()
	_, text, ok := strings.Cut(template, "\n  "+role+":\n")
	if !ok {
		t.Fatalf("template.yaml has no %s", role)
	}
	text = regexp.MustCompile(`\n  \w+:\n`).Split(text, 2)[0]
	actions := regexp.MustCompile(`\b[a-z][a-z0-9-]+:[A-Z*]\w*`).FindAllString(text, -1)
	slices.Sort(actions)
	return slices.DeleteFunc(slices.Compact(actions), func(a string) bool { return slices.Contains(beside, a) })
}
