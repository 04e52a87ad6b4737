// Stillpage renders the pages of JavaScript sites for crawlers, link previews
// and AI agents. This is the program for one machine.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/stillpage/stillpage/internal/chrome"
	"github.com/stillpage/stillpage/internal/config"
)

// version is set by the build (see Makefile).
var version = "dev"

func main() {
	chrome.KeepIfAsked()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	code := run(ctx, os.Args[1:], os.Getenv, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// Exit codes.
const (
	exitOK      = 0
	exitFailure = 1
	exitUsage   = 2
)

// run is the whole program but for the process around it.
func run(ctx context.Context, args []string, getenv func(string) string, stdout, stderr io.Writer) int {
	name := "help"
	if len(args) > 0 {
		name, args = args[0], args[1:]
	}
	var err error
	switch name {
	case "serve":
		err = serve(ctx, args, getenv, stdout, stderr)
	case "render":
		err = render(ctx, args, getenv, stdout, stderr)
	case "warm":
		err = warmUp(ctx, args, getenv, stdout, stderr)
	case "version", "--version":
		fmt.Fprintln(stdout, "stillpage", version)
	case "help", "-h", "--help":
		help(stdout)
	default:
		err = usageError{fmt.Errorf("there is no command %q; the commands are serve, render, warm, version and help", name)}
	}
	var usage usageError
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, flag.ErrHelp):
		help(stdout)
		return exitOK
	case errors.As(err, &usage):
		fmt.Fprintf(stderr, "stillpage %s: %v\n", name, err)
		return exitUsage
	default:
		fmt.Fprintf(stderr, "stillpage %s: %v\n", name, err)
		return exitFailure
	}
}

// usageError is a mistake in the command line or the environment.
type usageError struct{ error }

func help(w io.Writer) {
	fmt.Fprint(w, `Stillpage gives crawlers the finished HTML of JavaScript sites.

  stillpage serve        run everything on this machine
  stillpage render URL   print one page as a crawler would get it
  stillpage warm         ask for a site's pages, so that they are there when bots come
  stillpage version
  stillpage help

Flags of serve, and the variables that set them too:

`)
	config.Usage(w, new(config.Serve).ServeOptions())
	fmt.Fprint(w, "\nFlags of render:\n\n")
	config.Usage(w, new(config.Render).RenderOptions())
	fmt.Fprint(w, "\nFlags of warm:\n\n")
	config.Usage(w, new(config.Warm).WarmOptions())
}
