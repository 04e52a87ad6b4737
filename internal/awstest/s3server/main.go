// S3server is a real S3 server for tests, in a module of its own: it brings more
// dependencies than the rest of Stillpage together. It serves a directory and
// prints its address when it is ready.
//
//	s3server DIR PORT ACCESS-KEY SECRET-KEY
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/versity/versitygw/backend/meta"
	"github.com/versity/versitygw/backend/posix"
	"github.com/versity/versitygw/embedgw"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "s3server:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 4 {
		return fmt.Errorf("usage: s3server DIR PORT ACCESS-KEY SECRET-KEY")
	}
	backend, err := posix.New(args[0], meta.XattrMeta{}, posix.PosixOpts{ForceNoObjLockFile: true, CopyObjectThreshold: 5 << 30})
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	return embedgw.RunVersityGW(ctx, backend, &embedgw.Config{
		RootUserAccess: args[2], RootUserSecret: args[3], Region: "us-east-1", Ports: []string{"127.0.0.1:" + args[1]},
		MaxConnections: 10000, MaxRequests: 5000, MultipartMaxParts: 10000, Quiet: true, KeepAlive: true,
	})
}
