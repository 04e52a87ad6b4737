package xray_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stillpage/stillpage/internal/prerender"
	"github.com/stillpage/stillpage/internal/xray"
)

// How calls of the SDK are traced is shown in package functions, where there is
// something to call.

var daemon net.PacketConn

func TestMain(m *testing.M) {
	var err error
	if daemon, err = net.ListenPacket("udp", "127.0.0.1:0"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Setenv("AWS_XRAY_DAEMON_ADDRESS", daemon.LocalAddr().String())
	os.Exit(m.Run())
}

type maker struct{ err error }

func (m maker) Make(context.Context, prerender.Page, int64) (*prerender.Snapshot, []prerender.Phase, error) {
	if m.err != nil {
		return nil, nil, m.err
	}
	return &prerender.Snapshot{}, []prerender.Phase{{Name: "navigate", Duration: time.Second}, {Name: "ready", Duration: time.Minute}}, nil
}

// made returns the packets of one render. The last is of an own, sampled one, so
// that nobody waits for what does not come.
func made(t *testing.T, header string, err error) []string {
	t.Helper()
	make := func(header string, err error) {
		//lint:ignore SA1029 it is aws-lambda-go that has chosen this key
		ctx := context.WithValue(t.Context(), "x-amzn-trace-id", header)
		if _, _, got := (xray.Maker{Maker: maker{err}}).Make(ctx, prerender.Page{URL: "https://a.example/p"}, 1); got != err {
			t.Errorf("got error %v, want %v", got, err)
		}
	}
	make(header, err)
	make("Root=1-end;Parent=0;Sampled=1", errors.New("end"))
	var all []string
	for {
		packet := [64 << 10]byte{}
		daemon.SetReadDeadline(time.Now().Add(10 * time.Second))
		n, _, err := daemon.ReadFrom(packet[:])
		if err != nil {
			t.Fatal(err)
		}
		if text := string(packet[:n]); !strings.Contains(text, "1-end") {
			all = append(all, text)
			continue
		}
		return all
	}
}

func TestPhases(t *testing.T) {
	all := made(t, "Root=1-abc;Parent=53995c3f42cd8ad8;Sampled=1;Lineage=x", nil)
	if len(all) != 3 {
		t.Fatalf("got %q, want the render and its two phases", all)
	}
	for i, words := range [][]string{
		{`"parent_id":"53995c3f42cd8ad8"`, `"name":"render"`, "https://a.example/p"}, {`"name":"navigate"`}, {`"name":"ready"`},
	} {
		for _, word := range append(words, `"type":"subsegment"`, `"trace_id":"1-abc"`) {
			if !strings.Contains(all[i], word) {
				t.Errorf("got %s, want it to have %s", all[i], word)
			}
		}
	}
}

func TestFailures(t *testing.T) {
	all := made(t, "Root=1-abc;Parent=53995c3f42cd8ad8;Sampled=1", errors.New(strings.Repeat("long ", 100_000)))
	if len(all) != 1 || !strings.Contains(all[0], `"fault":true`) || !strings.Contains(all[0], "long long") {
		t.Errorf("got %.300q, want one that has failed", all)
	}
}

func TestNotSampled(t *testing.T) {
	for _, header := range []string{"", "Root=1-abc;Parent=53995c3f42cd8ad8;Sampled=0", "Root=1-abc;Parent=53995c3f42cd8ad8", "Sampled=1", "=;;;Root"} {
		if all := made(t, header, nil); len(all) != 0 {
			t.Errorf("%q: got %q", header, all)
		}
	}
}
