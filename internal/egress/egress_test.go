package egress_test

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stillpage/stillpage/internal/egress"
	"github.com/stillpage/stillpage/internal/prerender"
)

func start(t *testing.T, config egress.Config) (*egress.Proxy, *http.Client) {
	t.Helper()
	config.Log = slog.New(slog.NewTextHandler(io.Discard, nil))
	p, err := egress.Start(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	transport := &http.Transport{
		Proxy:           http.ProxyURL(&url.URL{Scheme: "http", Host: p.Addr()}),
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
	}
	t.Cleanup(transport.CloseIdleConnections)
	return p, &http.Client{Transport: transport}
}

func hello(t *testing.T, tls bool) *httptest.Server {
	t.Helper()
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set(egress.FailureHeader, "spoofed")
		fmt.Fprint(w, "hello "+r.URL.Path)
	})
	srv := httptest.NewUnstartedServer(h)
	if tls {
		srv.StartTLS()
	} else {
		srv.Start()
	}
	t.Cleanup(srv.Close)
	return srv
}

func TestPrivateAddressesAreRefused(t *testing.T) {
	t.Parallel()
	p, client := start(t, egress.Config{})
	plain, secure := hello(t, false), hello(t, true)
	begin := time.Now()

	res, err := client.Get(plain.URL)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusBadGateway || res.Header.Get(egress.FailureHeader) == "" {
		t.Errorf("http: got %d, want 502 with the failure header", res.StatusCode)
	}
	if _, err := client.Get(secure.URL); err == nil {
		t.Error("https: got an answer, want a refused tunnel")
	}
	for _, srv := range []*httptest.Server{plain, secure} {
		hostPort := srv.Listener.Addr().String()
		if err := p.Failure(hostPort, begin); !errors.Is(err, prerender.ErrAddressRefused) {
			t.Errorf("Failure(%s): got %v, want ErrAddressRefused", hostPort, err)
		}
		if err := p.Failure(hostPort, time.Now()); err != nil {
			t.Errorf("Failure since now: got %v, want none", err)
		}
	}
}

func TestNamesAreJudgedByTheirAddress(t *testing.T) {
	t.Parallel()
	p, client := start(t, egress.Config{})
	srv := hello(t, false)
	_, port, _ := net.SplitHostPort(srv.Listener.Addr().String())
	begin := time.Now()
	res, err := client.Get("http://localhost:" + port + "/")
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if err := p.Failure("localhost:"+port, begin); !errors.Is(err, prerender.ErrAddressRefused) {
		t.Errorf("localhost: got %v, want ErrAddressRefused", err)
	}
}

func TestAllowed(t *testing.T) {
	t.Parallel()
	plain, secure := hello(t, false), hello(t, true)
	addr := plain.Listener.Addr().String()
	for name, config := range map[string]egress.Config{
		"by range": {Policy: egress.Policy{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}},
		"as site":  {Policy: egress.Policy{Sites: map[string]bool{addr: true, secure.Listener.Addr().String(): true}}},
	} {
		_, client := start(t, config)
		for _, u := range []string{plain.URL, secure.URL} {
			res, err := client.Get(u + "/x")
			if err != nil {
				t.Errorf("%s: %s: %v", name, u, err)
				continue
			}
			body, _ := io.ReadAll(res.Body)
			res.Body.Close()
			if string(body) != "hello /x" {
				t.Errorf("%s: %s: got %q", name, u, body)
			}
			if u == plain.URL && res.Header.Get(egress.FailureHeader) != "" {
				t.Errorf("%s: an origin can pose as the proxy", name)
			}
		}
	}
}

// What a parser does not like in a query is the origin's business.
func TestQueriesPassUntouched(t *testing.T) {
	t.Parallel()
	var got string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { got = r.URL.RawQuery }))
	defer srv.Close()
	_, client := start(t, egress.Config{Policy: egress.Policy{Sites: map[string]bool{srv.Listener.Addr().String(): true}}})
	const want = "z=1;b=2&a=100%&c=%zz"
	res, err := client.Get(srv.URL + "/?" + want)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestRoutes(t *testing.T) {
	t.Parallel()
	srv := hello(t, false)
	_, client := start(t, egress.Config{Routes: map[string]string{"shop.example:80": srv.Listener.Addr().String()}})
	res, err := client.Get("http://shop.example/routed")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if body, _ := io.ReadAll(res.Body); string(body) != "hello /routed" {
		t.Errorf("got %q, want the routed server's answer", body)
	}
}

func TestFailuresHaveReasons(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := listener.Addr().String()
	listener.Close()
	p, client := start(t, egress.Config{Policy: egress.Policy{Sites: map[string]bool{closed: true}}})
	begin := time.Now()
	res, err := client.Get("http://" + closed)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if err := p.Failure(closed, begin); !errors.Is(err, prerender.ErrOriginUnreachable) {
		t.Errorf("closed port: got %v, want ErrOriginUnreachable", err)
	}
}

// WebSockets and TLS are streams that last: both directions, then an end.
func TestTunnelIsTransparent(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go func() {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		line, _ := bufio.NewReader(conn).ReadString('\n')
		fmt.Fprint(conn, "echo "+line)
	}()
	addr := listener.Addr().String()
	p, _ := start(t, egress.Config{Policy: egress.Policy{Sites: map[string]bool{addr: true}}})
	conn, err := net.Dial("tcp", p.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\nearly\n", addr, addr) // before the answer
	got, err := io.ReadAll(conn)
	if err != nil || !strings.HasSuffix(string(got), "echo early\n") || !strings.HasPrefix(string(got), "HTTP/1.1 200") {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestCloseEndsTunnels(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	addr := listener.Addr().String()
	p, _ := start(t, egress.Config{Policy: egress.Policy{Sites: map[string]bool{addr: true}}})
	conn, err := net.Dial("tcp", p.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n", addr, addr)
	r := bufio.NewReader(conn)
	if line, err := r.ReadString('\n'); err != nil || !strings.Contains(line, "200") {
		t.Fatalf("got %q, %v", line, err)
	}
	p.Close()
	if _, err := io.ReadAll(r); err != nil && !errors.Is(err, net.ErrClosed) && !strings.Contains(err.Error(), "reset") {
		t.Errorf("after Close: got %v, want the end", err)
	}
}

func TestNotAProxyRequest(t *testing.T) {
	t.Parallel()
	p, _ := start(t, egress.Config{})
	res, err := http.Get("http://" + p.Addr() + "/")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusBadRequest {
		t.Errorf("got %d, want 400", res.StatusCode)
	}
}
