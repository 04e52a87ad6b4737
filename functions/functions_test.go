// Package functions_test runs the three functions as they are deployed, built
// binaries under the Runtime API, behind the real edge function and in front of
// DynamoDB Local, an S3 server and a queue. Only CloudFront's own work is left out.
package functions_test

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/stillpage/stillpage/internal/awstest"
	"github.com/stillpage/stillpage/internal/control"
	"github.com/stillpage/stillpage/internal/dynamo"
	"github.com/stillpage/stillpage/internal/edge"
	"github.com/stillpage/stillpage/internal/lambdatest"
	"github.com/stillpage/stillpage/internal/prerender"
)

var binaries string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "stillpage-functions-")
	if err == nil {
		binaries = dir
		for _, name := range []string{"router", "render", "admin", "check"} {
			build := exec.Command("go", "build", "-tags", "lambda.norpc", "-o", filepath.Join(dir, name), "./"+name)
			build.Env = append(os.Environ(), "CGO_ENABLED=0")
			if out, failed := build.CombinedOutput(); failed != nil {
				err = fmt.Errorf("build %s: %w\n%s", name, failed, out)
			}
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	awstest.Main(m, func() { os.RemoveAll(dir) })
}

// account is an installation.
type account struct {
	t       *testing.T
	lambda  *lambdatest.Service
	queue   *awstest.SQS
	front   *httptest.Server // CloudFront: the edge function, and what it chooses
	renders *atomic.Int32    // documents that the site has given to Stillpage's browser
	env     []string
	table   string
	config  string
	version atomic.Int32 // of the site
	sitemap atomic.Value // its text
}

const agent = "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko); compatible; GPTBot/1.2; +https://openai.com/gptbot"

func install(t *testing.T) *account {
	a := &account{t: t, lambda: lambdatest.Start(t), queue: awstest.StartSQS(t), renders: new(atomic.Int32)}
	app := httptest.NewServer(http.HandlerFunc(a.site))
	t.Cleanup(app.Close)
	appURL, err := url.Parse(app.URL)
	if err != nil {
		t.Fatal(err)
	}
	// The site's public address is the edge's, so that Stillpage's own browser
	// passes it as everybody does.
	front, err := edge.New(appURL, http.HandlerFunc(a.functionURL), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	a.front = httptest.NewServer(front)
	t.Cleanup(a.front.Close)
	a.table, a.config = awstest.Tables(t)
	a.env = []string{
		"AWS_ACCESS_KEY_ID=" + awstest.AccessKey, "AWS_SECRET_ACCESS_KEY=" + awstest.SecretKey,
		"AWS_ENDPOINT_URL_DYNAMODB=" + awstest.DynamoDBEndpoint(t), "AWS_ENDPOINT_URL_S3=" + awstest.S3Endpoint(t),
		"AWS_ENDPOINT_URL_SQS=" + a.queue.Endpoint, "AWS_ENDPOINT_URL_LAMBDA=" + a.lambda.URL,
		"STILLPAGE_TABLE=" + a.table, "STILLPAGE_CONFIG_TABLE=" + a.config, "STILLPAGE_EGRESS_ALLOW=127.0.0.0/8", "STILLPAGE_BUCKET=" + awstest.Bucket(t), "STILLPAGE_QUEUE_URL=" + a.queue.QueueURL,
		"STILLPAGE_RENDER_FUNCTION=arn:aws:lambda:us-east-1:123456789012:function:render:live",
		"STILLPAGE_SITES=" + a.front.URL,
	}
	a.deploy("router", 25*time.Second, 0)
	a.deploy("render", 30*time.Second, 2)
	a.deploy("admin", 40*time.Second, 0)
	return a
}

func (a *account) deploy(name string, timeout time.Duration, reserved int) {
	a.lambda.Deploy(lambdatest.Function{
		Name: name, Command: []string{filepath.Join(binaries, name)}, Env: a.env, Timeout: timeout, Reserved: reserved,
	})
}

// site is a shop whose pages are made by script.
func (a *account) site(w http.ResponseWriter, r *http.Request) {
	switch {
	case strings.HasPrefix(r.URL.Path, "/api/"):
		fmt.Fprintf(w, "content %d of %s", a.version.Load(), strings.TrimPrefix(r.URL.Path, "/api"))
		return
	case r.URL.Path == "/sitemap.xml":
		io.WriteString(w, a.sitemap.Load().(string))
		return
	case r.URL.Path == "/crash":
		a.renders.Add(1)
		time.Sleep(3 * time.Second) // time for the test to kill the function
	default:
		if strings.Contains(r.UserAgent(), "Stillpage") {
			a.renders.Add(1)
		}
	}
	w.Header().Set("Content-Type", "text/html")
	size := 0
	fmt.Sscanf(r.URL.Path, "/large/%d", &size)
	fmt.Fprintf(w, `<!DOCTYPE html><title>Shop</title><div id=root></div><script>
fetch("/api" + location.pathname).then((r) => r.text()).then((t) => {
	root.textContent = t;
	if (%[1]d) { const bytes = new Uint8Array(%[1]d); for (let i = 0; i < bytes.length; i += 65536) crypto.getRandomValues(bytes.subarray(i, i + 65536));
		root.append(Array.from(bytes, (b) => b.toString(16).padStart(2, "0")).join("")) }
})</script>`, size)
}

// functionURL is what CloudFront and Lambda make of a request to the router.
func (a *account) functionURL(w http.ResponseWriter, r *http.Request) {
	event := events.LambdaFunctionURLRequest{
		Version: "2.0", RawPath: r.URL.EscapedPath(), RawQueryString: r.URL.RawQuery, Headers: map[string]string{},
		RequestContext: events.LambdaFunctionURLRequestContext{
			DomainName: "abc.lambda-url.us-east-1.on.aws",
			HTTP:       events.LambdaFunctionURLRequestContextHTTPDescription{Method: r.Method, Path: r.URL.Path, Protocol: "HTTP/1.1", SourceIP: "203.0.113.1", UserAgent: r.UserAgent()},
		},
	}
	for name, values := range r.Header {
		event.Headers[strings.ToLower(name)] = strings.Join(values, ",")
	}
	event.Headers["host"] = event.RequestContext.DomainName
	event.Headers["authorization"] = "AWS4-HMAC-SHA256 Credential=…" // by OAC
	raw, err := json.Marshal(event)
	if err != nil {
		a.t.Error(err)
	}
	a.answer(w, r, "router", raw)
}

func (a *account) answer(w http.ResponseWriter, r *http.Request, function string, event []byte) {
	result, err := a.lambda.Invoke(r.Context(), function, event)
	var answer events.APIGatewayV2HTTPResponse
	if err != nil || result.FunctionError != "" || json.Unmarshal(result.Payload, &answer) != nil {
		http.Error(w, fmt.Sprintf("Internal Server Error: %v %s", err, result.Payload), http.StatusBadGateway) // as a function URL answers
		return
	}
	for name, value := range answer.Headers {
		w.Header().Set(name, value)
	}
	w.WriteHeader(answer.StatusCode)
	body := []byte(answer.Body)
	if answer.IsBase64Encoded {
		body, _ = base64.StdEncoding.DecodeString(answer.Body)
	}
	w.Write(body)
}

// want asks as a bot does, and compares status, cache state and a part of the body.
func (a *account) want(path string, status int, cache, text string) *http.Response {
	a.t.Helper()
	request, err := http.NewRequest(http.MethodGet, a.front.URL+path, nil)
	if err != nil {
		a.t.Fatal(err)
	}
	request.Header.Set("User-Agent", agent)
	response, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		a.t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		a.t.Fatal(err)
	}
	if response.StatusCode != status || response.Header.Get("X-Stillpage-Cache") != cache || !strings.Contains(string(body), text) {
		a.t.Errorf("%s: got %d, cache %q, %q, body %.300s\nwant %d, cache %q, and %q in the body\nrouter's log: %s\nrender's log: %s", path,
			response.StatusCode, response.Header.Get("X-Stillpage-Cache"), response.Header.Get("X-Stillpage-Reason"), body, status, cache, text,
			a.lambda.Log("router"), a.lambda.Log("render"))
	}
	return response
}

func TestLifeOfAPage(t *testing.T) {
	t.Parallel()
	a := install(t)
	a.want("/shop?b=2&a=1", 200, "miss", "content 0 of /shop")
	a.want("/shop?a=1&b=2&utm_source=x", 200, "hit", "content 0 of /shop")
	if n := a.renders.Load(); n != 1 {
		t.Errorf("the site was rendered %d times, want once", n)
	}
	response := a.want("/shop?b=2&a=1", 200, "hit", "content 0")
	if got := response.Header.Get("Content-Type"); got != "text/html; charset=utf-8" {
		t.Errorf("content type: got %q", got)
	}
	// A person gets the app.
	res, err := http.Get(a.front.URL + "/shop")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if body, _ := io.ReadAll(res.Body); !strings.Contains(string(body), "<script>") || res.Header.Get("X-Stillpage-Cache") != "" {
		t.Errorf("a person got %s", body)
	}
}

// A site that is in the table of the configuration needs no deployment.
func TestStoredSite(t *testing.T) {
	t.Parallel()
	a := install(t)
	a.front.URL = strings.Replace(a.front.URL, "127.0.0.1", "localhost", 1)
	if response := a.want("/shop", 200, "", "<script>"); response.Header.Get("X-Stillpage-Reason") != "site-unknown" { // the app may know it
		t.Errorf("got %v, want the app", response.Header)
	}
	origin, err := prerender.ParseOrigin(a.front.URL)
	if err != nil {
		t.Fatal(err)
	}
	plane := &control.Plane{Ledger: &control.Ledger{Records: &dynamo.Records{Client: awstest.DynamoDB(t), Table: a.config}}}
	limits := prerender.Settings{Limits: &prerender.LimitRule{Client: prerender.Rate{PerMinute: 1, Burst: 1}}}
	if _, err := plane.PutSite(t.Context(), control.By{Actor: "test"}, "site.create", prerender.Site{}, prerender.Site{Origin: origin, Settings: limits}); err != nil {
		t.Fatal(err)
	}
	a.deploy("router", 25*time.Second, 0) // instead of waiting until it reads again
	a.want("/shop", 200, "miss", "content 0 of /shop")
	// Its limits hold over all instances, and for renders only.
	a.deploy("router", 25*time.Second, 0)
	a.want("/shop", 200, "hit", "content 0 of /shop")
	if response := a.want("/other", 503, "", "reached"); response.Header.Get("Retry-After") == "" {
		t.Error("503 without Retry-After")
	}
}

// A page that is a day old is answered as it is and made again by way of the queue,
// once for all who ask. A queue that refuses costs nobody an answer.
func TestStalePage(t *testing.T) {
	t.Parallel()
	a := install(t)
	a.want("/news", 200, "miss", "content 0")
	a.version.Store(1)
	a.age(25 * time.Hour)
	a.queue.Refuse(true)
	a.want("/news", 200, "stale", "content 0")
	if log := a.lambda.Log("router"); !strings.Contains(log, "allow sqs:SendMessage") {
		t.Errorf("the log does not say what to mend: %s", log)
	}
	a.queue.Refuse(false)
	for range 3 {
		a.want("/news", 200, "stale", "content 0")
	}
	if n := a.queue.Len(); n != 1 {
		t.Fatalf("got %d messages, want 1", n)
	}
	renew := func(event []byte) []byte {
		result, err := a.lambda.Invoke(t.Context(), "render", event)
		if err != nil {
			return []byte(`{"batchItemFailures":[]}`)
		}
		return result.Payload
	}
	if left := a.queue.Deliver(t, renew); left != 0 {
		t.Errorf("%d messages are left", left)
	}
	a.want("/news", 200, "hit", "content 1")
}

// age makes all pages older.
func (a *account) age(d time.Duration) {
	a.t.Helper()
	a.meta(func(meta map[string]any) { meta["renderedAt"] = time.Now().Add(-d).UTC() })
}

// meta changes what is stored beside the bodies of all pages.
func (a *account) meta(change func(map[string]any)) {
	a.t.Helper()
	db, table := awstest.DynamoDB(a.t), a.table
	pages, err := db.Scan(a.t.Context(), &dynamodb.ScanInput{TableName: &table, FilterExpression: aws.String("attribute_exists(meta)")})
	if err != nil || len(pages.Items) == 0 {
		a.t.Fatalf("pages in the table: %v, %v", pages, err)
	}
	for _, item := range pages.Items {
		var meta map[string]any
		if err := json.Unmarshal([]byte(item["meta"].(*types.AttributeValueMemberS).Value), &meta); err != nil {
			a.t.Fatal(err)
		}
		change(meta)
		text, err := json.Marshal(meta)
		if err != nil {
			a.t.Fatal(err)
		}
		item["meta"] = &types.AttributeValueMemberS{Value: string(text)}
		if _, err := db.PutItem(a.t.Context(), &dynamodb.PutItemInput{TableName: &table, Item: item}); err != nil {
			a.t.Fatal(err)
		}
	}
}

// Without its table, Stillpage renders every page for each bot, and says why.
func TestTableRefuses(t *testing.T) {
	t.Parallel()
	a := install(t)
	a.env = append(a.env, "STILLPAGE_TABLE=no-such-table") // the last one counts
	a.deploy("router", 25*time.Second, 0)
	a.deploy("render", 30*time.Second, 2)
	a.want("/a", 200, "miss", "content 0 of /a")
	a.want("/a", 200, "miss", "content 0 of /a")
	for name, action := range map[string]string{"router": "dynamodb:GetItem", "render": "dynamodb:GetItem"} {
		if log := a.lambda.Log(name); !strings.Contains(log, action) || !strings.Contains(log, "no-such-table does not exist") {
			t.Errorf("%s's log does not say what to mend: %s", name, log)
		}
	}
}

// A canary: an older router beside a newer one, with two releases between them, so that it cannot
// read its pages. Bots get their pages from both; what is written in the older format both can
// read. (Of releases that follow each other, each reads what the other writes.)
func TestOlderRouterBesideANewerOne(t *testing.T) {
	t.Parallel()
	a := install(t)
	a.want("/shop", 200, "miss", "content 0")
	a.version.Store(1)
	a.meta(func(meta map[string]any) { // as a newer version would have written it
		meta["format"], meta["status"], meta["header"] = prerender.NewestFormat+1, map[string]any{"code": 200}, "none"
	})
	a.want("/shop", 200, "miss", "content 1")
	a.want("/shop", 200, "hit", "content 1")
	a.meta(func(meta map[string]any) { // and what an older one has written, for a newer one
		delete(meta, "format")
		meta["memberOfTheFuture"] = true
	})
	a.want("/shop", 200, "hit", "content 1")
	if n := a.renders.Load(); n != 2 {
		t.Errorf("the site was rendered %d times, want twice", n)
	}
}

// More pages at once than are reserved are refused by Lambda itself, and come back later.
func TestReservedConcurrency(t *testing.T) {
	t.Parallel()
	a := install(t)
	type result struct {
		status int
		reason string
	}
	results := make(chan result, 3)
	for i := range cap(results) {
		go func() {
			request, _ := http.NewRequest(http.MethodGet, fmt.Sprintf("%s/crash?slow=%d", a.front.URL, i), nil) // takes three seconds
			request.Header.Set("User-Agent", agent)
			response, err := http.DefaultTransport.RoundTrip(request)
			if err != nil {
				t.Error(err)
				results <- result{}
				return
			}
			response.Body.Close()
			results <- result{response.StatusCode, response.Header.Get("X-Stillpage-Reason")}
		}()
	}
	got := map[result]int{}
	for range cap(results) {
		got[<-results]++
	}
	if got[result{200, ""}] != 2 || got[result{503, "busy"}] != 1 {
		t.Errorf("got %v, want two pages, as many as are reserved, and one refusal", got)
	}
}

// What only the owner can mend is no reason to come back: bots get the app.
func TestRenderFunctionForbidden(t *testing.T) {
	t.Parallel()
	a := install(t)
	a.env = append(a.env, "STILLPAGE_RENDER_FUNCTION=arn:aws:lambda:us-east-1:123456789012:function:none:live")
	a.deploy("router", 25*time.Second, 0)
	response := a.want("/shop", 200, "", "<script>")
	if got := response.Header.Get("X-Stillpage-Reason"); got != "renderer-missing" {
		t.Errorf("got reason %q", got)
	}
	if log := a.lambda.Log("router"); !strings.Contains(log, "lambda:InvokeFunction") || !strings.Contains(log, "does not exist") {
		t.Errorf("the log does not say what to mend: %s", log)
	}
}

// What is no request is answered, and the environment lives on.
func TestMalformedEvents(t *testing.T) {
	t.Parallel()
	a := install(t)
	for _, event := range []string{`null`, `[]`, `"text"`, `{"version":"1.0","httpMethod":"GET","path":"/"}`, `{"version":"2.0","rawPath":"/","requestContext":{}}`} {
		for name, want := range map[string]string{"router": `"statusCode":400`, "admin": `"statusCode":400`, "render": `"fault":"url-invalid"`} {
			result, err := a.lambda.Invoke(t.Context(), name, []byte(event))
			if err != nil || result.FunctionError != "" || !strings.Contains(string(result.Payload), want) {
				t.Errorf("%s of %s: got %v, %+v, want %s", name, event, err, string(result.Payload), want)
			}
		}
	}
	for _, name := range []string{"router", "admin", "render"} {
		if n := a.lambda.Environments(name); n != 1 {
			t.Errorf("%s has %d environments, want the one that it began with", name, n)
		}
	}
	// A render function renders its own sites only, whoever asks.
	result, err := a.lambda.Invoke(t.Context(), "render", []byte(`{"origin":"http://169.254.169.254","target":"/latest/meta-data","device":"desktop"}`))
	if err != nil || !strings.Contains(string(result.Payload), `"fault":"site-unknown"`) {
		t.Errorf("a foreign site: got %v %s", err, result.Payload)
	}
}

// Ten bots at once at ten environments of the router: one render.
func TestOneRenderForMany(t *testing.T) {
	t.Parallel()
	a := install(t)
	done := make(chan bool)
	for range 10 {
		go func() {
			defer func() { done <- true }()
			request, _ := http.NewRequest(http.MethodGet, a.front.URL+"/busy", nil)
			request.Header.Set("User-Agent", agent)
			response, err := http.DefaultTransport.RoundTrip(request)
			if err != nil {
				t.Error(err)
				return
			}
			body, _ := io.ReadAll(response.Body)
			response.Body.Close()
			if response.StatusCode != 200 || !bytes.Contains(body, []byte("content 0 of /busy")) {
				t.Errorf("got %d %s", response.StatusCode, body)
			}
		}()
	}
	for range 10 {
		<-done
	}
	if n := a.renders.Load(); n != 1 {
		t.Errorf("got %d renders, want 1", n)
	}
	if n := a.lambda.Environments("router"); n < 2 {
		t.Errorf("got %d environments of the router, want several", n)
	}
}

func TestLargePages(t *testing.T) {
	t.Parallel()
	a := install(t)
	// 1 MB of noise is half a megabyte when compressed: in S3, and handed over.
	a.want("/large/500000", 200, "miss", "content 0")
	a.want("/large/500000", 200, "hit", "content 0")
	// 12 MB, 6 when compressed: more than an answer holds, so it waits in S3.
	for _, cache := range []string{"miss", "hit"} {
		response := a.want("/large/6000000", http.StatusTemporaryRedirect, cache, "waits elsewhere")
		link, err := http.Get(response.Header.Get("Location"))
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(link.Body)
		link.Body.Close()
		if link.StatusCode != 200 || len(body) < 12_000_000 || link.Header.Get("Content-Type") != "text/html; charset=utf-8" {
			t.Errorf("the link gives %d, %d bytes of %q", link.StatusCode, len(body), link.Header.Get("Content-Type"))
		}
	}
}

func TestRenderFunctionInTrouble(t *testing.T) {
	t.Parallel()
	a := install(t)
	a.want("/kept", 200, "miss", "content 0")

	a.lambda.Throttle("render", true)
	a.want("/kept", 200, "hit", "content 0")
	if response := a.want("/new", http.StatusServiceUnavailable, "", "busy"); response.Header.Get("Retry-After") == "" {
		t.Error("503 without Retry-After")
	}
	a.lambda.Throttle("render", false)
	a.want("/new", 200, "miss", "content 0 of /new")

	// Frozen, and something has killed Chromium meanwhile.
	a.lambda.Processes("render", func(pid int, command string) {
		if strings.Contains(command, "--type=zygote") || strings.Contains(command, "--type=renderer") {
			syscall.Kill(pid, syscall.SIGKILL)
		}
	})
	a.want("/after-crash", 200, "miss", "content 0 of /after-crash")

	// The whole function dies in the middle of a page.
	answered := make(chan bool)
	go func() {
		a.want("/crash", http.StatusServiceUnavailable, "", "renderer-unavailable")
		close(answered)
	}()
	for a.renders.Load() < 4 {
		time.Sleep(10 * time.Millisecond)
	}
	a.lambda.Processes("render", func(pid int, command string) {
		if strings.HasSuffix(strings.TrimSpace(command), "/render") {
			syscall.Kill(pid, syscall.SIGKILL)
		}
	})
	<-answered
	a.want("/after-death", 200, "miss", "content 0 of /after-death")
}

func TestAdmin(t *testing.T) {
	t.Parallel()
	a := install(t)
	event, err := os.ReadFile("testdata/httpapi-status.json")
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	a.answer(w, httptest.NewRequest("GET", "/", nil), "admin", event)
	if w.Code != 200 || !strings.Contains(w.Body.String(), a.front.URL) || !strings.Contains(w.Body.String(), `"healthy": true`) {
		t.Errorf("got %d %s", w.Code, w.Body)
	}
}

// call asks the admin function as API Gateway does. The caller is what the authorizer says.
func (a *account) call(method, path, caller, body string) *httptest.ResponseRecorder {
	a.t.Helper()
	text, err := os.ReadFile("testdata/httpapi-status.json")
	if err != nil {
		a.t.Fatal(err)
	}
	var event map[string]any
	if err := json.Unmarshal(text, &event); err != nil {
		a.t.Fatal(err)
	}
	request := event["requestContext"].(map[string]any)
	rawPath, query, _ := strings.Cut(path, "?")
	event["rawPath"], event["rawQueryString"], event["body"] = rawPath, query, body
	event["headers"].(map[string]any)["content-type"] = "application/json"
	http := request["http"].(map[string]any)
	http["method"], http["path"] = method, rawPath
	delete(request, "authorizer")
	if claims, ok := strings.CutPrefix(caller, "jwt "); ok {
		event["headers"].(map[string]any)["authorization"] = "Bearer head." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + ".signature"
		caller = `{"jwt": {"claims": {"sub": "1234"}}}`
	}
	if caller != "" {
		var authorizer any
		if err := json.Unmarshal([]byte(caller), &authorizer); err != nil {
			a.t.Fatal(err)
		}
		request["authorizer"] = authorizer
	}
	if text, err = json.Marshal(event); err != nil {
		a.t.Fatal(err)
	}
	w := httptest.NewRecorder()
	a.answer(w, httptest.NewRequest("GET", "/", nil), "admin", text)
	return w
}

func iam(name string) string {
	return `{"iam": {"userArn": "arn:aws:sts::123456789012:assumed-role/` + name + `/alice"}}`
}

func groups(names ...string) string {
	list, _ := json.Marshal(names)
	return fmt.Sprintf(`jwt {"sub": "1234", "email": "alice@example.com", "cognito:groups": %s}`, list)
}

// Who API Gateway has let in has the role that the rules say; nobody else gets more than
// the console's files.
func TestAdminRoles(t *testing.T) {
	t.Parallel()
	a := install(t)
	order := fmt.Sprintf(`{"site": %q, "path": "/none"}`, a.front.URL)
	host := strings.TrimPrefix(a.front.URL, "http://")
	want := func(caller, method, path, body string, status int) *httptest.ResponseRecorder {
		t.Helper()
		w := a.call(method, path, caller, body)
		if w.Code != status {
			t.Errorf("%s %s as %s: got %d %s, want %d", method, path, caller, w.Code, w.Body, status)
		}
		return w
	}
	// Without rules: whoever IAM lets in; of those with a token the members of three groups.
	want(iam("anybody"), "POST", "/v1/purges", order, 201)
	want(groups("stillpage-viewer", "not stillpage-admin really"), "GET", "/v1/sites", "", 200)
	want(groups("stillpage-viewer", "not stillpage-admin really"), "POST", "/v1/purges", order, 403)
	want(groups("stillpage-operator"), "POST", "/v1/purges", order, 201)
	want(groups("stillpage-operator"), "GET", "/v1/tokens", "", 403)
	want(groups("strangers"), "GET", "/v1/sites", "", 403)
	want("", "GET", "/v1/sites", "", 401)
	want("", "GET", "/", "", 200)
	if w := want("", "GET", "/v1/login", "", 200); !strings.Contains(w.Body.String(), `"mode": "iam"`) {
		t.Errorf("login: got %s", w.Body)
	}

	a.env = append(a.env, "STILLPAGE_ACCESS=arn:aws:sts::123456789012:assumed-role/ops/*=admin,shop=operator@"+host, "STILLPAGE_JWT_ISSUER=https://idp.example/realm", "STILLPAGE_JWT_AUDIENCE=app")
	a.deploy("admin", 30*time.Second, 0)
	want(iam("anybody"), "GET", "/v1/sites", "", 403)
	want(iam("ops"), "GET", "/v1/tokens", "", 200)
	want(groups("shop"), "POST", "/v1/purges", order, 201)
	want(groups("shop"), "GET", "/v1/sites/other.example", "", 404)
	if w := want("", "GET", "/", "", 200); !strings.Contains(w.Header().Get("Content-Security-Policy"), "connect-src 'self' https://idp.example") {
		t.Errorf("the console may not ask the issuer: %v", w.Header())
	}
	var events struct{ Events []control.Event }
	w := want(iam("ops"), "GET", "/v1/events?limit=1", "", 200)
	if err := json.Unmarshal(w.Body.Bytes(), &events); err != nil || len(events.Events) != 1 || events.Events[0].Actor != "1234 (alice@example.com)" || events.Events[0].From != "203.0.113.9" {
		t.Errorf("the audit: got %+v, %v", events, err)
	}
}

// Pages are looked at, rendered and compared by way of the render function, and jobs are
// done by the schedule.
func TestAdminPages(t *testing.T) {
	t.Parallel()
	a := install(t)
	a.want("/shop", 200, "miss", "content 0 of /shop")
	a.version.Store(1)
	url := a.front.URL + "/shop"
	w := a.call("POST", "/v1/comparisons", iam("x"), fmt.Sprintf(`{"url": %q}`, url))
	var c struct {
		Same   bool
		Person struct{ Picture []byte }
		Stored []struct{ Mark, Text string }
	}
	if err := json.Unmarshal(w.Body.Bytes(), &c); err != nil || w.Code != 200 || c.Same || len(c.Person.Picture) < 1000 || !strings.Contains(w.Body.String(), "content 1 of /shop") {
		t.Fatalf("comparison: got %d %.300s, %v; log: %s", w.Code, w.Body, err, a.lambda.Log("admin"))
	}
	if w := a.call("POST", "/v1/renders", iam("x"), fmt.Sprintf(`{"url": %q}`, url)); w.Code != 201 || !strings.Contains(w.Body.String(), `"done"`) {
		t.Errorf("render: got %d %s; log: %s", w.Code, w.Body, a.lambda.Log("admin"))
	}
	a.want("/shop", 200, "hit", "content 1 of /shop")
	w = a.call("POST", "/v1/purges", iam("x"), fmt.Sprintf(`{"site": %q, "path": "/shop", "again": true}`, a.front.URL))
	if w.Code != 202 {
		t.Fatalf("purge: got %d %s", w.Code, w.Body)
	}
	a.deploy("render", 30*time.Second, 2) // instead of waiting until it reads the site again
	if result, err := a.lambda.Invoke(t.Context(), "admin", []byte(`{"warm": true}`)); err != nil || result.FunctionError != "" {
		t.Fatalf("schedule: %v %s", err, result.Payload)
	}
	if n := a.queue.Len(); n != 1 {
		t.Errorf("%d pages are queued, want 1; log: %s", n, a.lambda.Log("admin"))
	}
	if w := a.call("GET", "/v1/jobs", iam("x"), ""); !strings.Contains(w.Body.String(), `"queued": 1`) {
		t.Errorf("jobs: got %s", w.Body)
	}
	if w := a.call("DELETE", "/v1/pages?url="+url, iam("x"), ""); w.Code != 201 {
		t.Errorf("delete: got %d %s", w.Code, w.Body)
	}
	// What the router and the renderer have counted is merged and shown.
	if result, err := a.lambda.Invoke(t.Context(), "admin", []byte(`{"merge": true}`)); err != nil || result.FunctionError != "" {
		t.Fatalf("merge: %v %s", err, result.Payload)
	}
	if w := a.call("GET", "/v1/stats", iam("x"), ""); !strings.Contains(w.Body.String(), `"miss": 1`) || !strings.Contains(w.Body.String(), `"complete": 1`) {
		t.Errorf("statistics: got %s", w.Body)
	}
}

// A function that has less time than the page ends it before Lambda ends the function.
func TestRenderFunctionTimesOut(t *testing.T) {
	t.Parallel()
	a := install(t)
	a.deploy("render", time.Second, 2)
	a.want("/crash", http.StatusServiceUnavailable, "", "-timeout") // the render's, if the machine is too busy to get to the origin
	if n := a.lambda.Environments("render"); n != 1 {
		t.Errorf("got %d environments, want the one that has answered", n)
	}
	a.deploy("render", 30*time.Second, 2)
	a.want("/after", 200, "miss", "content 0 of /after")
}

// Before Lambda takes an environment away, it says so: half a second to go. The
// function itself waits for its end; Chromium has ended by then.
func TestSIGTERM(t *testing.T) {
	t.Parallel()
	a := install(t)
	a.want("/shop", 200, "miss", "content 0 of /shop")
	if _, err := a.lambda.Invoke(t.Context(), "admin", []byte(`{"merge": true}`)); err != nil {
		t.Fatal(err)
	}
	for name, function := range map[string]string{"router": "/router", "render": "/render", "admin": "/admin"} {
		var pids []int
		a.lambda.Processes(name, func(pid int, command string) {
			if strings.HasSuffix(strings.TrimSpace(command), function) {
				syscall.Kill(pid, syscall.SIGTERM)
			} else {
				pids = append(pids, pid)
			}
			syscall.Kill(pid, syscall.SIGCONT) // as Lambda thaws it
		})
		if (name == "render") != (len(pids) > 0) {
			t.Errorf("%s has %d processes besides its own", name, len(pids))
		}
		for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
			left := slices.DeleteFunc(slices.Clone(pids), func(pid int) bool { return gone(pid) })
			if len(left) == 0 && strings.Contains(a.lambda.Log(name), "stopping") {
				break
			}
			if time.Now().After(deadline) {
				t.Errorf("%s: %d of %d processes are left after SIGTERM, or nothing was said; log: %s", name, len(left), len(pids), a.lambda.Log(name))
				break
			}
		}
	}
}

// gone says whether a process has ended, reaped or not.
func gone(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err != nil || bytes.Contains(stat, []byte(") Z "))
}

// A cold start begins with the download of the code.
func TestRouterIsSmall(t *testing.T) {
	t.Parallel()
	program, err := os.ReadFile(filepath.Join(binaries, "router"))
	if err != nil {
		t.Fatal(err)
	}
	var zipped bytes.Buffer
	zw := gzip.NewWriter(&zipped) // as zip compresses
	zw.Write(program)
	zw.Close()
	const most = 12 << 20
	if zipped.Len() > most {
		t.Errorf("the router has %d bytes when compressed, with its symbols; want %d at most", zipped.Len(), most)
	}
}

// An operator's purge by way of the admin function is a change of the site, which
// router and renderer see.
func TestPurge(t *testing.T) {
	t.Parallel()
	a := install(t)
	a.want("/news/1", 200, "miss", "content 0")
	a.want("/about", 200, "miss", "content 0")
	text, err := os.ReadFile("testdata/httpapi-status.json")
	if err != nil {
		t.Fatal(err)
	}
	var event events.APIGatewayV2HTTPRequest
	if err := json.Unmarshal(text, &event); err != nil {
		t.Fatal(err)
	}
	event.RawPath, event.RequestContext.HTTP.Path, event.RequestContext.HTTP.Method = "/v1/purges", "/v1/purges", "POST"
	event.Headers["content-type"] = "application/json"
	order := func(body string) *httptest.ResponseRecorder {
		t.Helper()
		event.Body = body
		if text, err = json.Marshal(event); err != nil {
			t.Fatal(err)
		}
		w := httptest.NewRecorder()
		a.answer(w, httptest.NewRequest("GET", "/", nil), "admin", text)
		return w
	}
	if w := order(fmt.Sprintf(`{"site":%q,"path":"/news/*","dryRun":true}`, a.front.URL)); w.Body.String() != "{\n  \"pages\": 1,\n  \"complete\": true\n}\n" {
		t.Errorf("dry run: got %d %s; log: %s", w.Code, w.Body, a.lambda.Log("admin"))
	}
	w := order(fmt.Sprintf(`{"site":%q,"path":"/news/*"}`, a.front.URL))
	if w.Code != http.StatusCreated {
		t.Fatalf("got %d %s; log: %s", w.Code, w.Body, a.lambda.Log("admin"))
	}
	a.version.Store(1)
	a.deploy("router", 25*time.Second, 0) // instead of waiting until they read the site again
	a.deploy("render", 30*time.Second, 2)
	a.want("/about", 200, "hit", "content 0")
	a.want("/news/1", 200, "stale", "content 0")
	a.queue.Deliver(t, func(event []byte) []byte {
		result, err := a.lambda.Invoke(t.Context(), "render", event)
		if err != nil {
			t.Error(err)
		}
		return result.Payload
	})
	a.want("/news/1", 200, "hit", "content 1")
}

// A schedule has the pages of a sitemap rendered before anybody asks: the admin
// function queues them, and the renderer makes them.
func TestSitemapIsKeptWarm(t *testing.T) {
	t.Parallel()
	a := install(t)
	a.env = append(a.env, "STILLPAGE_WARM_SITEMAP="+a.front.URL+"/sitemap.xml")
	a.deploy("admin", 30*time.Second, 0)
	a.sitemap.Store(strings.Join([]string{a.front.URL + "/news/1", a.front.URL + "/news/2", a.front.URL + "/news/3"}, "\n"))
	tick := func() {
		t.Helper()
		result, err := a.lambda.Invoke(t.Context(), "admin", []byte(`{"warm": true}`))
		if err != nil || result.FunctionError != "" {
			t.Fatalf("got %v %s; log: %s", err, result.Payload, a.lambda.Log("admin"))
		}
	}
	deliver := func() {
		t.Helper()
		a.queue.Deliver(t, func(event []byte) []byte {
			result, err := a.lambda.Invoke(t.Context(), "render", event)
			if err != nil {
				t.Error(err)
			}
			return result.Payload
		})
	}
	tick()
	for range 3 {
		deliver()
	}
	if n := a.renders.Load(); n != 3 {
		t.Errorf("%d pages were rendered, want 3; log: %s", n, a.lambda.Log("admin"))
	}
	a.want("/news/1", 200, "hit", "content 0")
	a.want("/news/3", 200, "hit", "content 0")
	a.want("/news/4", 200, "miss", "content 0")
	tick() // before its time
	deliver()
	if n := a.renders.Load(); n != 4 {
		t.Errorf("%d pages were rendered after another tick, want 4", n)
	}
}

// A function that was deployed wrongly says what it lacks, all of it.
func TestMissingEnvironment(t *testing.T) {
	t.Parallel()
	for name, variables := range map[string][]string{
		"router": {"STILLPAGE_TABLE", "STILLPAGE_CONFIG_TABLE", "STILLPAGE_BUCKET", "STILLPAGE_QUEUE_URL", "STILLPAGE_RENDER_FUNCTION", "STILLPAGE_SITES"},
		"render": {"STILLPAGE_TABLE", "STILLPAGE_CONFIG_TABLE", "STILLPAGE_BUCKET", "STILLPAGE_SITES"},
		"admin":  {"STILLPAGE_TABLE", "STILLPAGE_CONFIG_TABLE", "STILLPAGE_BUCKET", "STILLPAGE_QUEUE_URL", "STILLPAGE_RENDER_FUNCTION", "STILLPAGE_SITES"},
	} {
		cmd := exec.Command(filepath.Join(binaries, name))
		cmd.Env = []string{"STILLPAGE_LOG_LEVEL=loud"}
		out, err := cmd.CombinedOutput()
		if err == nil {
			t.Errorf("%s starts without an environment", name)
		}
		for _, variable := range append(variables, "STILLPAGE_LOG_LEVEL") {
			if !strings.Contains(string(out), variable) {
				t.Errorf("%s does not name %s: %s", name, variable, out)
			}
		}
	}
}
