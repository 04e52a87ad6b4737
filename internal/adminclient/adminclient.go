// Package adminclient speaks to the admin API: with a token, or with requests that are
// signed by AWS credentials. It knows nothing of what the answers mean.
package adminclient

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/config"
)

// Client asks one installation.
type Client struct {
	Address string // like https://abc.execute-api.eu-central-1.amazonaws.com, without a slash at the end

	// Token is sent as Authorization: Bearer. Empty: requests are signed.
	Token string

	// Region is what requests are signed for. Empty: that of Address, or of the credentials.
	Region string

	HTTP *http.Client // nil: one with a time limit
}

// timeout is more than API Gateway waits for.
const timeout = 40 * time.Second

// Problem is an answer that is no success.
type Problem struct {
	Status int     `json:"status"`
	Detail string  `json:"detail"`
	Faults []Fault `json:"faults,omitempty"`
}

// Fault is something that is wrong with the document that was sent.
type Fault struct {
	Pointer string `json:"pointer"`
	Detail  string `json:"detail"`
}

func (p *Problem) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s (%d)", p.Detail, p.Status)
	for _, f := range p.Faults {
		fmt.Fprintf(&b, "\n  %s: %s", f.Pointer, f.Detail)
	}
	return b.String()
}

// Answer is a success.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
}

// Ask sends a request. A body that is not nil is sent as JSON. Those that write are sent
// with an Idempotency-Key, and once more when the connection breaks.
func (c *Client) Ask(ctx context.Context, method, path string, query url.Values, header http.Header, body any) (*Answer, error) {
	var document []byte
	if body != nil {
		var err error
		if document, err = json.Marshal(body); err != nil {
			return nil, err
		}
	}
	address := c.Address + path
	if len(query) > 0 {
		address += "?" + query.Encode()
	}
	header = header.Clone()
	if header == nil {
		header = http.Header{}
	}
	if method != http.MethodGet {
		header.Set("Idempotency-Key", rand.Text())
	}
	answer, err := c.send(ctx, method, address, header, document)
	var problem *Problem
	if err != nil && !errors.As(err, &problem) && ctx.Err() == nil {
		answer, err = c.send(ctx, method, address, header, document)
	}
	return answer, err
}

func (c *Client) send(ctx context.Context, method, address string, header http.Header, document []byte) (*Answer, error) {
	r, err := http.NewRequestWithContext(ctx, method, address, bytes.NewReader(document))
	if err != nil {
		return nil, err
	}
	r.Header = header.Clone()
	if document != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	if c.Token != "" {
		r.Header.Set("Authorization", "Bearer "+c.Token)
	} else if r.URL.Scheme == "http" {
		return nil, fmt.Errorf("%s wants a token: give --api-token, or --data with the data directory of an installation on this machine", c.Address)
	} else if err := c.sign(ctx, r, document); err != nil {
		return nil, err
	}
	client := c.HTTP
	if client == nil {
		client = &http.Client{Timeout: timeout}
	}
	response, err := client.Do(r)
	if err != nil {
		return nil, fmt.Errorf("ask the admin API: %w", err)
	}
	defer response.Body.Close()
	answer := &Answer{Status: response.StatusCode, Header: response.Header}
	if answer.Body, err = io.ReadAll(response.Body); err != nil {
		return nil, fmt.Errorf("ask the admin API: %w", err)
	}
	if response.StatusCode >= 300 {
		return nil, problemOf(answer)
	}
	if media, _, _ := strings.Cut(response.Header.Get("Content-Type"), ";"); media == "text/html" {
		return nil, fmt.Errorf("%s answers a page: it is not an admin address", c.Address)
	}
	return answer, nil
}

// problemOf reads a problem, or what API Gateway says in its own form.
func problemOf(a *Answer) error {
	var said struct {
		Problem
		Message string `json:"message"`
	}
	if json.Unmarshal(a.Body, &said) != nil || said.Detail == "" && said.Message == "" {
		said.Message = fmt.Sprintf("the answer is not Stillpage's: %.200s", a.Body)
	}
	if said.Detail == "" {
		said.Detail = said.Message
	}
	said.Status = a.Status
	return &said.Problem
}

// sign signs a request for API Gateway with the credentials that AWS's own tools would
// use: the environment, the shared files, SSO, or the machine's role.
func (c *Client) sign(ctx context.Context, r *http.Request, document []byte) error {
	loaded, err := config.LoadDefaultConfig(ctx)
	if err != nil {
		return fmt.Errorf("AWS credentials: %w", err)
	}
	credentials, err := loaded.Credentials.Retrieve(ctx)
	if err != nil {
		return fmt.Errorf("no token is given, and there are no AWS credentials to sign with: %w", err)
	}
	region := c.Region
	if region == "" {
		region = regionOf(r.URL.Hostname())
	}
	if region == "" {
		region = loaded.Region
	}
	sum := sha256.Sum256(document)
	return v4.NewSigner().SignHTTP(ctx, aws.Credentials(credentials), r, hex.EncodeToString(sum[:]), "execute-api", region, time.Now())
}

// regionOf reads a host like abc.execute-api.eu-central-1.amazonaws.com.
func regionOf(host string) string {
	_, rest, ok := strings.Cut(host, ".execute-api.")
	if !ok {
		return ""
	}
	region, _, _ := strings.Cut(rest, ".")
	return region
}
