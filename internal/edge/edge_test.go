package edge_test

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"strings"
	"sync"
	"testing"

	"github.com/grafana/sobek/ast"
	"github.com/grafana/sobek/parser"

	edgefunction "github.com/stillpage/stillpage/infra/edge"
	"github.com/stillpage/stillpage/internal/edge"
	"github.com/stillpage/stillpage/internal/useragent"
)

const (
	chromeUA = "Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Safari/537.36"
	phoneBot = "Mozilla/5.0 (Linux; Android 6.0.1) Mobile Safari/537.36 (compatible; Googlebot/2.1)"
)

// newEdge returns an edge whose two origins say who they are and what they got.
func newEdge(t *testing.T) http.Handler {
	t.Helper()
	echo := func(name string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Origin-Name", name)
			w.Header().Set("Got-Variant", strings.Join(r.Header.Values("X-Stillpage-Variant"), "|"))
			w.Header().Set("Got-Host", strings.Join(r.Header.Values("X-Stillpage-Host"), "|"))
			w.Header().Set("Got-Client", strings.Join(r.Header.Values("X-Stillpage-Client"), "|"))
			w.Header().Set("Got-Uri", r.RequestURI)
			w.Header().Set("Got-Accept", strings.Join(r.Header.Values("Accept"), "|"))
		}
	}
	app := httptest.NewServer(echo("app"))
	t.Cleanup(app.Close)
	u, err := url.Parse(app.URL)
	if err != nil {
		t.Fatal(err)
	}
	e, err := edge.New(u, echo("router"), slog.New(slog.NewTextHandler(io.Discard, nil)))
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestWhoGoesWhere(t *testing.T) {
	t.Parallel()
	e := newEdge(t)
	for _, tt := range []struct {
		name, method, target, agent string
		header                      http.Header
		origin, variant, host       string
	}{
		{name: "person", target: "/", agent: chromeUA, origin: "app", variant: "app"},
		{name: "no user agent", target: "/", agent: "", origin: "app", variant: "app"},
		{name: "bot", target: "/shop?a=1", agent: "GPTBot/1.2", origin: "router", variant: "bot-desktop", host: "site.example:8080"},
		{name: "bot in capitals", target: "/", agent: "GPTBOT/1.2", origin: "router", variant: "bot-desktop", host: "site.example:8080"},
		{name: "phone's bot", target: "/", agent: phoneBot, origin: "router", variant: "bot-mobile", host: "site.example:8080"},
		{name: "HEAD of a bot", method: "HEAD", target: "/", agent: "bingbot", origin: "router", variant: "bot-desktop", host: "site.example:8080"},
		{name: "POST of a bot", method: "POST", target: "/", agent: "bingbot", origin: "app", variant: "app"},
		{name: "OPTIONS of a bot", method: "OPTIONS", target: "/", agent: "bingbot", origin: "app", variant: "app"},
		{name: "asset", target: "/a/main.js", agent: "bingbot", origin: "app", variant: "app"},
		{name: "asset in capitals", target: "/LOGO.PNG", agent: "bingbot", origin: "app", variant: "app"},
		{name: "asset with a query", target: "/main.css?v=1", agent: "bingbot", origin: "app", variant: "app"},
		{name: "extension in the query only", target: "/p?file=a.js", agent: "bingbot", origin: "router", variant: "bot-desktop", host: "site.example:8080"},
		{name: "unknown extension", target: "/v1.2", agent: "bingbot", origin: "router", variant: "bot-desktop", host: "site.example:8080"},
		{name: "html", target: "/p.html", agent: "bingbot", origin: "router", variant: "bot-desktop", host: "site.example:8080"},
		{name: "own browser by agent", target: "/", agent: chromeUA + " Prerender (Stillpage) bingbot", origin: "app", variant: "app"},
		{name: "own browser by header", target: "/", agent: "bingbot", header: http.Header{"X-Prerender": {"1"}}, origin: "app", variant: "app"},
		{name: "own browser by cookie", target: "/", agent: "bingbot", header: http.Header{"Cookie": {"a=b; from_prerender=1"}}, origin: "app", variant: "app"},
		{name: "spoofed variant of a person", target: "/", agent: chromeUA, header: http.Header{"X-Stillpage-Variant": {"bot-desktop", "x"}}, origin: "app", variant: "app"},
		{name: "spoofed host of a person", target: "/", agent: chromeUA, header: http.Header{"X-Stillpage-Host": {"evil.example"}}, origin: "app", variant: "app"},
		{name: "spoofed host of a bot", target: "/", agent: "bingbot", header: http.Header{"X-Stillpage-Host": {"evil.example"}}, origin: "router", variant: "bot-desktop", host: "site.example:8080"},
		{name: "query that is not well-formed", target: "/q?a=1;b=2&z=%&c=3", agent: chromeUA, origin: "app", variant: "app"},
		{name: "asset that the path only seems to be", target: "/main.js/", agent: "bingbot", origin: "router", variant: "bot-desktop", host: "site.example:8080"},
		{name: "encoded dot", target: "/main%2Ejs", agent: "bingbot", origin: "router", variant: "bot-desktop", host: "site.example:8080"},
		{name: "unicode and parentheses", target: "/caf%C3%A9/(a)%20b", agent: "bingbot", origin: "router", variant: "bot-desktop", host: "site.example:8080"},
		{name: "long", target: "/" + strings.Repeat("x", 7000), agent: "bingbot", origin: "router", variant: "bot-desktop", host: "site.example:8080"},
		{name: "spoofed own browser of a person", target: "/", agent: chromeUA, header: http.Header{"X-Prerender": {"1"}}, origin: "app", variant: "app"},
		{name: "odd path", target: "//a/%2F%C3%A9/../x", agent: "bingbot", origin: "router", variant: "bot-desktop", host: "site.example:8080"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			method := tt.method
			if method == "" {
				method = "GET"
			}
			r := httptest.NewRequest(method, "http://site.example:8080"+tt.target, nil)
			r.RequestURI = tt.target
			r.Header = tt.header.Clone()
			if r.Header == nil {
				r.Header = http.Header{}
			}
			r.Header.Set("User-Agent", tt.agent)
			r.Header["Accept"] = []string{"text/html", "*/*"}
			w := httptest.NewRecorder()
			e.ServeHTTP(w, r)
			got := [...]string{w.Header().Get("Origin-Name"), w.Header().Get("Got-Variant"), w.Header().Get("Got-Host")}
			if want := [...]string{tt.origin, tt.variant, tt.host}; got != want {
				t.Errorf("origin, variant, host: got %q, want %q", got, want)
			}
			if got := w.Header().Get("Got-Uri"); got != tt.target {
				t.Errorf("target: got %q, want %q", got, tt.target)
			}
			if got := w.Header().Get("Got-Accept"); got != "text/html|*/*" {
				t.Errorf("repeated header: got %q, want it untouched", got)
			}
		})
	}
}

// When the router fails, bots get the app; when it asks them to come back, that.
func TestFailover(t *testing.T) {
	t.Parallel()
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "app") }))
	defer app.Close()
	u, err := url.Parse(app.URL)
	if err != nil {
		t.Fatal(err)
	}
	for status, want := range map[int]string{
		200: "200 router", 404: "404 router", 429: "429 router", 503: "503 router", 403: "200 app", 500: "200 app", 502: "200 app", 504: "200 app",
	} {
		e, err := edge.New(u, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Of-Router", "yes")
			w.WriteHeader(status)
			io.WriteString(w, "router")
		}), slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		r := httptest.NewRequest("GET", "http://site.example/", nil)
		r.Header.Set("User-Agent", "GPTBot")
		w := httptest.NewRecorder()
		e.ServeHTTP(w, r)
		if got := fmt.Sprint(w.Code, " ", w.Body); got != want || (w.Header().Get("Of-Router") == "") != strings.HasSuffix(want, "app") {
			t.Errorf("%d: got %s, %v, want %s", status, got, w.Header(), want)
		}
	}
}

// What the app sends without a type comes without one: the browser tells it from its bytes.
func TestUntypedAnswer(t *testing.T) {
	t.Parallel()
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header()["Content-Type"] = nil
		io.WriteString(w, "<!DOCTYPE html><p>page")
	}))
	defer app.Close()
	u, err := url.Parse(app.URL)
	if err != nil {
		t.Fatal(err)
	}
	e, err := edge.New(u, http.NotFoundHandler(), slog.New(slog.NewTextHandler(io.Discard, nil)))
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(e)
	defer server.Close()
	res, err := http.Get(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if got := res.Header.Values("Content-Type"); len(got) > 0 || res.StatusCode != http.StatusOK {
		t.Errorf("got %d of type %q, want 200 of none", res.StatusCode, got)
	}
}

// The oldest request there is: no host, no agent.
func TestHTTP10(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(newEdge(t))
	defer server.Close()
	for text, want := range map[string]string{
		"GET / HTTP/1.0\r\n\r\n":                       "Origin-Name: app",
		"GET / HTTP/1.0\r\nUser-Agent: GPTBot\r\n\r\n": "Origin-Name: router",
	} {
		conn, err := net.Dial("tcp", server.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(conn, text)
		answer, err := io.ReadAll(conn)
		conn.Close()
		if err != nil || !strings.HasPrefix(string(answer), "HTTP/1.0 200 ") || !strings.Contains(string(answer), want) {
			t.Errorf("%q: got %s, %v, want %s", text, answer, err, want)
		}
	}
}

// Every agent of the list, and none of its near misses.
func TestEveryAgentIsRouted(t *testing.T) {
	t.Parallel()
	e := newEdge(t)
	for _, a := range useragent.Agents {
		r := httptest.NewRequest("GET", "http://site.example/", nil)
		r.Header.Set("User-Agent", "Mozilla/5.0 (compatible; "+strings.ToUpper(a.Token)+"/1.0)")
		w := httptest.NewRecorder()
		e.ServeHTTP(w, r)
		if got := w.Header().Get("Origin-Name"); got != "router" {
			t.Errorf("%s: got %q, want router", a.Name, got)
		}
	}
}

func TestConcurrentUse(t *testing.T) {
	t.Parallel()
	e := newEdge(t)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			agent, want := "bingbot", "router"
			if i%2 == 0 {
				agent, want = chromeUA, "app"
			}
			for range 50 {
				r := httptest.NewRequest("GET", "http://site.example/", nil)
				r.Header.Set("User-Agent", agent)
				w := httptest.NewRecorder()
				e.ServeHTTP(w, r)
				if got := w.Header().Get("Origin-Name"); got != want {
					t.Errorf("got %q, want %q", got, want)
				}
			}
		})
	}
	wg.Wait()
}

func TestAppThatIsDown(t *testing.T) {
	t.Parallel()
	e, err := edge.New(&url.URL{Scheme: "http", Host: "127.0.0.1:1"}, nil, slog.New(slog.NewTextHandler(io.Discard, nil)))
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	e.ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
	if w.Code != http.StatusBadGateway || strings.Contains(w.Body.String(), "127.0.0.1:1") {
		t.Errorf("got %d %q, want 502 that keeps the app's address to itself", w.Code, w.Body)
	}
}

func TestFunctionFitsCloudFront(t *testing.T) {
	t.Parallel()
	if n := len(edgefunction.ViewerRequest); n >= 10_000 {
		t.Errorf("the function has %d bytes; CloudFront takes less than 10,000", n)
	}
	program, err := parser.ParseFile(nil, "viewer-request.js", edgefunction.ViewerRequest, 0, parser.IsModule)
	if err != nil {
		t.Fatal(err)
	}
	for kind := range nodeKinds(reflect.ValueOf(program), map[string]bool{}, map[any]bool{}) {
		if !allowedSyntax[kind] {
			t.Errorf("the function uses %s, which is not among the features of cloudfront-js-2.0 that it may use", kind)
		}
	}
	for _, name := range []string{"fetch", "setTimeout", "eval", "new Function", "globalThis", "console.error"} {
		if strings.Contains(edgefunction.ViewerRequest, name+"(") {
			t.Errorf("the function calls %s, which CloudFront does not offer", name)
		}
	}
}

// allowedSyntax are the syntax tree's node types for ECMAScript 5.1, const,
// let and import: what the developer guide lists for cloudfront-js-2.0 (arrow
// functions, template literals, async and await are offered too; add them here
// when they are used).
var allowedSyntax = map[string]bool{
	"Program": true, "ImportDeclaration": true, "ImportClause": true, "FromClause": true,
	"FunctionDeclaration": true, "FunctionLiteral": true, "ParameterList": true, "BlockStatement": true,
	"LexicalDeclaration": true, "VariableDeclaration": true, "Binding": true, "Identifier": true,
	"ReturnStatement": true, "IfStatement": true, "ExpressionStatement": true, "AssignExpression": true,
	"CallExpression": true, "DotExpression": true, "BracketExpression": true, "BinaryExpression": true,
	"UnaryExpression": true, "ConditionalExpression": true, "ObjectLiteral": true, "ArrayLiteral": true, "PropertyKeyed": true,
	"StringLiteral": true, "RegExpLiteral": true, "NumberLiteral": true, "BooleanLiteral": true, "NullLiteral": true,
	"ForStatement": true, "ForInStatement": true, "ThrowStatement": true, "TryStatement": true, "CatchStatement": true,
	"EmptyStatement": true, // what the parser makes of the semicolon after an import
}

// nodeKinds collects the names of the node types of a syntax tree.
func nodeKinds(v reflect.Value, kinds map[string]bool, seen map[any]bool) map[string]bool {
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() || seen[v.Interface()] {
			return kinds
		}
		seen[v.Interface()] = true
		if _, ok := v.Interface().(ast.Node); ok {
			kinds[v.Elem().Type().Name()] = true
		}
		nodeKinds(v.Elem(), kinds, seen)
	case reflect.Interface:
		nodeKinds(v.Elem(), kinds, seen)
	case reflect.Struct:
		if !strings.HasSuffix(v.Type().PkgPath(), "sobek/ast") {
			return kinds
		}
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				nodeKinds(v.Field(i), kinds, seen)
			}
		}
	case reflect.Slice:
		for i := range v.Len() {
			nodeKinds(v.Index(i), kinds, seen)
		}
	}
	return kinds
}

// Limits are counted by who CloudFront says has asked, not by who a client says it is.
func TestClientCannotBeMadeUp(t *testing.T) {
	t.Parallel()
	e := newEdge(t)
	for _, agent := range []string{"GPTBot/1.2", chromeUA} {
		r := httptest.NewRequest("GET", "http://site.example/", nil)
		r.RemoteAddr = "203.0.113.7:4711"
		r.Header.Set("User-Agent", agent)
		r.Header["X-Stillpage-Client"] = []string{"198.51.100.1", "198.51.100.2"}
		w := httptest.NewRecorder()
		e.ServeHTTP(w, r)
		if got := w.Header().Get("Got-Client"); strings.Contains(got, "198.51.100") || agent != chromeUA && got != "203.0.113.7" {
			t.Errorf("%s: the origin was told of client %q", agent, got)
		}
	}
}
