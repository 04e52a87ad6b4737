package functions_test

import (
	"bytes"
	"encoding/json"
	"net"
	"testing"
	"time"
)

// segment is what the test reads of a packet to X-Ray's daemon.
type segment struct {
	Trace  string  `json:"trace_id"`
	ID     string  `json:"id"`
	Parent string  `json:"parent_id"`
	Name   string  `json:"name"`
	Start  float64 `json:"start_time"`
	End    float64 `json:"end_time"`
	AWS    struct {
		Operation string `json:"operation"`
		RequestID string `json:"request_id"`
	} `json:"aws"`
	Throttle bool `json:"throttle"`
	Error    bool `json:"error"`
}

// daemon collects what the functions of an account send to X-Ray.
func (a *account) daemon() (next func() segment) {
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		a.t.Fatal(err)
	}
	a.t.Cleanup(func() { conn.Close() })
	a.env = append(a.env, "AWS_XRAY_DAEMON_ADDRESS="+conn.LocalAddr().String())
	a.deploy("router", 25*time.Second, 0)
	a.deploy("render", 30*time.Second, 2)
	return func() (s segment) {
		packet := make([]byte, 64<<10)
		conn.SetReadDeadline(time.Now().Add(20 * time.Second))
		n, _, err := conn.ReadFrom(packet)
		if err != nil {
			a.t.Fatal(err)
		}
		header, body, _ := bytes.Cut(packet[:n], []byte("\n"))
		if string(header) != `{"format": "json", "version": 1}` {
			a.t.Errorf("packet begins %s", header)
		}
		if err := json.Unmarshal(body, &s); err != nil {
			a.t.Fatalf("%v: %s", err, body)
		}
		return s
	}
}

// One trace leads from the router through the invocation to the phases of the
// render and to what is stored.
func TestTrace(t *testing.T) {
	t.Parallel()
	a := install(t)
	next := a.daemon()
	a.want("/traced", 200, "miss", "content 0")

	const function = "9a9197af755a6419" // the router's own segment, see lambdatest.Trace
	byWhat := map[string]segment{}
	for byWhat["Lambda Invoke"].ID == "" || byWhat["DynamoDB PutItem"].ID == "" || byWhat["ready "].ID == "" || byWhat["put "].ID == "" {
		s := next()
		if s.Trace != "1-5bef4de7-ad49b0e87f6ef6c87fc2e700" || len(s.ID) != 16 || s.End < s.Start || time.Since(time.UnixMicro(int64(s.Start*1e6))) > time.Minute {
			t.Errorf("odd: %+v", s)
		}
		// The router's calls come first, and are looked at.
		if what := s.Name + " " + s.AWS.Operation; byWhat[what].ID == "" {
			byWhat[what] = s
		}
	}
	for what, parent := range map[string]string{
		"DynamoDB GetItem": function, "DynamoDB UpdateItem": function, "Lambda Invoke": function,
		"render ": byWhat["Lambda Invoke"].ID, "ready ": byWhat["render "].ID, "DynamoDB PutItem": byWhat["render "].ID,
	} {
		if got := byWhat[what].Parent; got != parent || parent == "" {
			t.Errorf("%s: parent is %q, want %q; all: %+v", what, got, parent, byWhat)
		}
	}
	if byWhat["DynamoDB GetItem"].AWS.RequestID == "" {
		t.Error("a call has no request ID")
	}

	a.lambda.Throttle("render", true)
	a.want("/throttled", 503, "", "busy")
	for {
		if s := next(); s.Name == "Lambda" {
			if !s.Throttle || !s.Error {
				t.Errorf("a throttled call: %+v", s)
			}
			break
		}
	}
}
