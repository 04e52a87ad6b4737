package replay

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"time"
)

// Upstream is a server that is asked. It has the requests whose path begins with Prefix.
type Upstream struct {
	Prefix string // such as /api/; empty: whatever no other has
	URL    *url.URL
}

// ParseUpstream reads "https://app.example" or "/api/=https://api.example".
func ParseUpstream(text string) (Upstream, error) {
	var u Upstream
	if strings.HasPrefix(text, "/") {
		prefix, rest, ok := strings.Cut(text, "=")
		if !ok {
			return u, errors.New("must be like /api/=https://api.example.com")
		}
		u.Prefix, text = prefix, rest
	}
	parsed, err := url.Parse(text)
	if err != nil || parsed.Scheme != "http" && parsed.Scheme != "https" || parsed.Host == "" || parsed.RawQuery != "" {
		return u, errors.New("must be a URL like https://api.example.com, or one with the paths that it has, like /api/=https://api.example.com")
	}
	u.URL = parsed
	return u, nil
}

// mostBody bounds what is kept of a body. A longer one is passed on, and not recorded.
const mostBody = 16 << 20

// Recorder is a proxy that writes down what it passes on.
type Recorder struct {
	Upstreams []Upstream
	Rules     Rules
	Log       *slog.Logger

	mu      sync.Mutex
	file    io.Writer
	written int
	err     error
}

// Begin writes the head of a recording.
func (r *Recorder) Begin(file io.Writer) error {
	r.file = file
	return r.write(Head{Format: format, RecordedAt: time.Now().UTC().Truncate(time.Second), Scrubbed: r.Rules})
}

// Recorded is how many exchanges are written, and the error that has ended it.
func (r *Recorder) Recorded() (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return max(0, r.written-1), r.err
}

func (r *Recorder) write(document any) error {
	line, err := json.Marshal(document)
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err == nil {
		_, r.err = r.file.Write(append(line, '\n'))
		r.written++
	}
	return r.err
}

func (r *Recorder) upstream(path string) *Upstream {
	var best *Upstream
	for i, u := range r.Upstreams {
		if strings.HasPrefix(path, u.Prefix) && (best == nil || len(u.Prefix) > len(best.Prefix)) {
			best = &r.Upstreams[i]
		}
	}
	return best
}

// ServeHTTP implements http.Handler.
func (r *Recorder) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	upstream := r.upstream(req.URL.Path)
	if upstream == nil {
		http.Error(w, "no --to has "+req.URL.Path, http.StatusBadGateway)
		return
	}
	asked, err := io.ReadAll(io.LimitReader(req.Body, mostBody+1))
	if err != nil {
		http.Error(w, "the request breaks off", http.StatusBadRequest)
		return
	}
	whole := len(asked) <= mostBody
	req.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(asked), req.Body), req.Body}
	start := time.Now()
	e := Exchange{
		Method: req.Method, Target: r.Rules.target(req.URL.RequestURI()),
		Body: hash(r.Rules.body(req.Header.Get("Content-Type"), asked)),
	}
	proxy := httputil.ReverseProxy{
		Rewrite: func(pr *httputil.ProxyRequest) {
			pr.SetURL(upstream.URL)
			pr.Out.URL.RawQuery = pr.In.URL.RawQuery
			pr.Out.Host = upstream.URL.Host
			pr.Out.Header.Set("Accept-Encoding", "identity") // a recording is read by people and by clients of all kinds
		},
		FlushInterval: -1,
		ModifyResponse: func(res *http.Response) error {
			if res.StatusCode == http.StatusSwitchingProtocols {
				r.log().Warn("not recorded: a connection that is no request and answer", "target", e.Target)
				return nil
			}
			e.Status, e.Header, e.FirstMS = res.StatusCode, r.kept(res.Header), milliseconds(time.Since(start))
			if length := res.Header.Get("Content-Length"); length != "" && req.Method == http.MethodHead {
				e.Header.Set("Content-Length", length) // of what it would have
			}
			res.Body = &copied{ReadCloser: res.Body, end: func(body []byte, complete bool) {
				if !complete || !whole {
					r.log().Warn("not recorded: it was cut off, or is longer than is kept", "target", e.Target, "bytes", len(body))
					return
				}
				e.AllMS = milliseconds(time.Since(start))
				body, ok := plainBody(e.Header, body)
				if !ok {
					r.log().Warn("not recorded: it is compressed in a way that is not known here, and what is in it cannot be scrubbed", "target", e.Target, "encoding", res.Header.Get("Content-Encoding"))
					return
				}
				e.setBody(r.Rules.body(res.Header.Get("Content-Type"), body))
				if err := r.write(e); err != nil {
					r.log().Error("the recording cannot be written", "err", err)
				}
			}}
			return nil
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			r.log().Error("no answer", "from", upstream.URL.Host, "target", e.Target, "err", err)
			http.Error(w, fmt.Sprintf("no answer from %s", upstream.URL.Host), http.StatusBadGateway)
		},
		ErrorLog: slog.NewLogLogger(r.log().Handler(), slog.LevelDebug),
	}
	w.Header()["Content-Type"] = nil // net/http would guess one where the site gives none
	proxy.ServeHTTP(w, req)
}

// connection are headers of one connection, and what the mock says by itself.
var connection = []string{"Connection", "Keep-Alive", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade", "Content-Length", "Date"}

func (r *Recorder) kept(h http.Header) http.Header {
	out := r.Rules.header(h)
	for _, name := range connection {
		out.Del(name)
	}
	return out
}

// plainBody decompresses what a server has compressed although nobody asked for it.
func plainBody(h http.Header, body []byte) ([]byte, bool) {
	switch strings.ToLower(h.Get("Content-Encoding")) {
	case "", "identity":
		return body, true
	case "gzip", "x-gzip":
		if len(body) == 0 { // of a HEAD
			return body, true
		}
		zr, err := gzip.NewReader(bytes.NewReader(body))
		if err != nil {
			return nil, false
		}
		plain, err := io.ReadAll(io.LimitReader(zr, mostBody+1))
		if err != nil || len(plain) > mostBody {
			return nil, false
		}
		h.Del("Content-Encoding")
		return plain, true
	}
	return nil, false
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func (r *Recorder) log() *slog.Logger { return cmp.Or(r.Log, slog.Default()) }

// copied keeps what is read of a body.
type copied struct {
	io.ReadCloser
	kept bytes.Buffer
	long bool
	end  func(body []byte, complete bool)
	once sync.Once
}

func (c *copied) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	if c.kept.Len()+n > mostBody {
		c.long = true
	} else if !c.long {
		c.kept.Write(p[:n])
	}
	if err != nil {
		c.once.Do(func() { c.end(c.kept.Bytes(), errors.Is(err, io.EOF) && !c.long) })
	}
	return n, err
}

func (c *copied) Close() error {
	c.once.Do(func() { c.end(c.kept.Bytes(), false) })
	return c.ReadCloser.Close()
}
