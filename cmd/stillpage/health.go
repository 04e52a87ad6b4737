package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/stillpage/stillpage/internal/config"
)

// healthCheck is `stillpage health [URL]`: exit status 0 if the instance at this address, or
// where this environment's serve listens, is ready.
func healthCheck(ctx context.Context, args []string, getenv func(string) string) error {
	address := ""
	switch {
	case len(args) == 1 && (args[0] == "--help" || args[0] == "-h"):
		return flag.ErrHelp
	case len(args) == 1 && strings.HasPrefix(args[0], "http"):
		address = strings.TrimSuffix(args[0], "/")
	case len(args) > 0:
		return usageError{fmt.Errorf("health takes the admin address, like http://127.0.0.1:8081, and not %q", args)}
	default:
		host, port, err := net.SplitHostPort(config.AdminListen(getenv))
		if err != nil {
			return usageError{err}
		}
		if host == "" || net.ParseIP(host).IsUnspecified() {
			host = "127.0.0.1"
		}
		address = "http://" + net.JoinHostPort(host, port)
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address+"/health/ready", nil)
	if err != nil {
		return usageError{err}
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(answer.Body, 1000))
		return fmt.Errorf("status %d: %s", answer.StatusCode, strings.TrimSpace(string(text)))
	}
	return nil
}
