// Package egress is the one way from rendered pages to the network: an HTTP
// proxy in this process that looks at the address actually dialled, after the
// name was resolved, and refuses those that pages must not reach. A name that
// resolves differently on its second look-up therefore gains nothing.
//
// It does not look into TLS, and it does not decide which URLs are worth
// loading: blocking trackers is the renderer's work.
package egress

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/netip"
	"net/url"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/stillpage/stillpage/internal/prerender"
)

const (
	// dialTimeout is below a render's deadline, so that a host that drops
	// packets is reported as such.
	dialTimeout = 8 * time.Second

	// rememberedFailures bounds the memory for reasons of failed connections.
	rememberedFailures = 1000

	// FailureHeader marks the proxy's own error responses. It is removed from
	// what origins send.
	FailureHeader = "X-Stillpage-Egress-Failure"
)

// Config is what a Proxy is made of.
type Config struct {
	Policy Policy

	// Routes gives another address to dial for a "host:port", without a look at
	// the policy: the operator's word that this host is reached there.
	Routes map[string]string

	// Log gets every refusal. Nil means slog.Default().
	Log *slog.Logger
}

// Proxy is a running proxy on a loopback port.
type Proxy struct {
	config    Config
	listener  net.Listener
	server    *http.Server
	transport *http.Transport
	cache     *cache             // over transport
	stop      context.CancelFunc // ends the tunnels
	stopped   context.Context

	refusals atomic.Int64

	mu       sync.Mutex
	failures map[string]failure
}

type failure struct {
	err error
	at  time.Time
}

// Start opens the proxy on a free loopback port.
func Start(config Config) (*Proxy, error) {
	if config.Log == nil {
		config.Log = slog.Default()
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("start egress proxy: %w", err)
	}
	p := &Proxy{config: config, listener: listener, failures: make(map[string]failure)}
	p.stopped, p.stop = context.WithCancel(context.Background())
	p.transport = &http.Transport{
		DialContext:         func(ctx context.Context, _, hostPort string) (net.Conn, error) { return p.dial(ctx, hostPort) },
		DisableCompression:  true, // bodies pass as they are
		MaxIdleConnsPerHost: 32,   // a browser opens six a host and page
		IdleConnTimeout:     90 * time.Second,
	}
	p.cache = newCache(p.transport)
	p.server = &http.Server{
		Handler:           http.HandlerFunc(p.serve),
		ReadHeaderTimeout: 10 * time.Second,
		ErrorLog:          slog.NewLogLogger(config.Log.Handler(), slog.LevelDebug),
	}
	go p.server.Serve(listener)
	return p, nil
}

// Addr is the proxy's own "host:port".
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// Refusals is how many connections were refused.
func (p *Proxy) Refusals() int64 { return p.refusals.Load() }

// Client returns an HTTP client whose requests go through the proxy.
func (p *Proxy) Client(timeout time.Duration) *http.Client {
	proxy := &url.URL{Scheme: "http", Host: p.Addr()}
	return &http.Client{Timeout: timeout, Transport: &http.Transport{Proxy: http.ProxyURL(proxy)}}
}

// Close ends the proxy and every connection through it.
func (p *Proxy) Close() error {
	p.stop()
	err := p.server.Close()
	p.transport.CloseIdleConnections()
	return err
}

// Failure returns why connections to hostPort failed since the given time, or
// nil. It wraps ErrAddressRefused, ErrOriginTimeout or ErrOriginUnreachable.
// A browser says no more of it than "tunnel connection failed".
func (p *Proxy) Failure(hostPort string, since time.Time) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if f, ok := p.failures[hostPort]; ok && !f.at.Before(since) {
		return f.err
	}
	return nil
}

func (p *Proxy) serve(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.Method == http.MethodConnect:
		p.tunnel(w, r)
	case r.URL.IsAbs() && r.URL.Scheme == "http":
		p.forward(w, r)
	default:
		http.Error(w, "This is Stillpage's egress proxy; it takes CONNECT and absolute http URLs.", http.StatusBadRequest)
	}
}

// forward passes on a plain HTTP request.
func (p *Proxy) forward(w http.ResponseWriter, r *http.Request) {
	rp := httputil.ReverseProxy{
		Rewrite: func(pr *httputil.ProxyRequest) {
			pr.Out.URL.RawQuery = pr.In.URL.RawQuery // it would clean away what it cannot parse
		},
		Transport:     p.cache,
		FlushInterval: -1, // streams and events must not wait for a full buffer
		ErrorLog:      p.server.ErrorLog,
		ModifyResponse: func(res *http.Response) error {
			res.Header.Del(FailureHeader)
			return nil
		},
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			p.fail(w, hostPort(r), err)
		},
	}
	w.Header()["Content-Type"] = nil // net/http would guess one where the origin has none; that is the browser's to do
	rp.ServeHTTP(w, r)
}

func hostPort(r *http.Request) string {
	port := r.URL.Port()
	if port == "" {
		port = "80"
	}
	return net.JoinHostPort(r.URL.Hostname(), port)
}

// tunnel connects the browser with the host for TLS and WebSockets.
func (p *Proxy) tunnel(w http.ResponseWriter, r *http.Request) {
	upstream, err := p.dial(r.Context(), r.Host)
	if err != nil {
		p.fail(w, r.Host, err)
		return
	}
	defer upstream.Close()
	w.WriteHeader(http.StatusOK)
	client, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		p.config.Log.Error("egress: hijack", "err", err)
		return
	}
	defer client.Close()
	unhook := context.AfterFunc(p.stopped, func() { client.Close(); upstream.Close() })
	defer unhook()

	// Browsers close whole connections only, so the end of one direction is the
	// end of both; waiting for the other would leave it to the peer how long.
	go func() {
		io.Copy(upstream, buffered)
		upstream.Close()
	}()
	io.Copy(client, upstream)
}

// dial connects to the host that a page asked for. The check is in the dialer's
// control function, which runs once for each address, just before the connect.
func (p *Proxy) dial(ctx context.Context, hostPort string) (net.Conn, error) {
	if address, ok := p.config.Routes[hostPort]; ok {
		d := net.Dialer{Timeout: dialTimeout}
		return d.DialContext(ctx, "tcp", address)
	}
	d := net.Dialer{
		Timeout: dialTimeout,
		ControlContext: func(_ context.Context, _, address string, _ syscall.RawConn) error {
			addr, err := netip.ParseAddrPort(address)
			if err != nil {
				return fmt.Errorf("%s: %w", address, prerender.ErrAddressRefused)
			}
			return p.config.Policy.check(hostPort, addr.Addr())
		},
	}
	return d.DialContext(ctx, "tcp", hostPort)
}

// fail remembers why, and answers the browser.
func (p *Proxy) fail(w http.ResponseWriter, hostPort string, err error) {
	err = translate(hostPort, err)
	if errors.Is(err, prerender.ErrAddressRefused) {
		p.refusals.Add(1)
		p.config.Log.Warn("egress refused", "host", hostPort, "err", err)
	}
	p.mu.Lock()
	if len(p.failures) >= rememberedFailures {
		clear(p.failures) // older ones are of renders that have ended
	}
	p.failures[hostPort] = failure{err, time.Now()}
	p.mu.Unlock()
	w.Header().Set(FailureHeader, "1")
	w.WriteHeader(http.StatusBadGateway)
}

func translate(hostPort string, err error) error {
	var timeout interface{ Timeout() bool }
	switch {
	case errors.Is(err, prerender.ErrAddressRefused):
		return fmt.Errorf("connect to %s: %w", hostPort, err)
	case errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return fmt.Errorf("connect to %s: %v: %w", hostPort, err, prerender.ErrOriginTimeout)
	default:
		return fmt.Errorf("connect to %s: %v: %w", hostPort, err, prerender.ErrOriginUnreachable)
	}
}
