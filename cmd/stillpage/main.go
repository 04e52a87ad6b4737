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
	"runtime"
	"strings"
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
	if !asksAsBot(name, args) {
		if ok, err := operate(ctx, append([]string{name}, args...), getenv, os.Stdin, stdout, stderr); ok {
			return exit(name, err, stdout, stderr)
		}
	}
	var err error
	switch name {
	case "serve":
		err = serve(ctx, args, getenv, stdout, stderr)
	case "render":
		err = render(ctx, args, getenv, stdout, stderr)
	case "warm":
		err = warmUp(ctx, args, getenv, stdout, stderr)
	case "load":
		err = loadTest(ctx, args, getenv, stdout, stderr)
	case "size":
		err = size(ctx, args, getenv, stdout, stderr)
	case "record":
		err = record(ctx, args, getenv, stdout, stderr)
	case "mock":
		err = mock(ctx, args, getenv, stdout, stderr)
	case "health":
		err = healthCheck(ctx, args, getenv)
	case "completion":
		err = completion(args, stdout)
	case "version", "--version":
		fmt.Fprintf(stdout, "stillpage %s (%s, %s/%s)\n", version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	case "help", "-h", "--help":
		help(stdout)
	default:
		err = usageError{fmt.Errorf("there is no command %q; `stillpage help` lists them", strings.Join(append([]string{name}, args...), " "))}
	}
	return exit(name, err, stdout, stderr)
}

// asksAsBot tells `stillpage warm --sitemap URL`, which asks for pages as a bot does, from
// `stillpage warm ORIGIN`, which has an installation do it.
func asksAsBot(name string, args []string) bool {
	return name == "warm" && (len(args) == 0 || strings.HasPrefix(args[0], "-"))
}

// exit says what was wrong, and returns the exit code.
func exit(name string, err error, stdout, stderr io.Writer) int {
	var usage usageError
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, flag.ErrHelp):
		helpOf(stdout, name)
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

// asUsage is what a command returns whose configuration cannot be read: a mistake, or a call for
// help.
func asUsage(err error) error {
	if errors.Is(err, flag.ErrHelp) {
		return err
	}
	return usageError{err}
}

// helpOf prints the flags of one command.
func helpOf(w io.Writer, name string) {
	switch name {
	case "serve":
		fmt.Fprint(w, "stillpage serve runs everything on this machine.\n\n")
		config.Usage(w, new(config.Serve).ServeOptions())
	case "render":
		fmt.Fprint(w, "stillpage render URL prints one page as a crawler would get it.\n\n")
		config.Usage(w, new(config.Render).RenderOptions())
	case "warm":
		fmt.Fprint(w, "stillpage warm asks for a site's pages as a bot does. With an ORIGIN, an installation renders them unasked: stillpage warm ORIGIN --help.\n\n")
		config.Usage(w, new(config.Warm).WarmOptions())
	case "health":
		fmt.Fprint(w, "stillpage health [URL] asks the admin address of an instance whether it can render: http://127.0.0.1:8081, or what STILLPAGE_ADMIN_LISTEN says, unless URL does. Exit status 0 if it can.\n")
	case "load":
		fmt.Fprint(w, "stillpage load [URL…] asks for pages as crawlers do, at times that do not depend on the answers, and measures what they wait.\n\n")
		config.Usage(w, new(config.Load).LoadOptions())
	case "record":
		fmt.Fprint(w, "stillpage record passes requests on, and writes down what is answered, for stillpage mock.\n\n")
		config.Usage(w, new(config.Record).RecordOptions())
	case "size":
		fmt.Fprint(w, "stillpage size [URL…] renders pages, and says what a rate of requests needs: on AWS, and on machines of your own.\n\n")
		config.Usage(w, new(config.Size).SizeOptions())
	case "mock":
		fmt.Fprint(w, "stillpage mock answers from a recording of stillpage record, so that a load test asks nobody's real API.\n\n")
		config.Usage(w, new(config.Mock).MockOptions())
	default:
		help(w)
	}
}

func help(w io.Writer) {
	fmt.Fprint(w, `Stillpage gives crawlers the finished HTML of JavaScript sites.

  stillpage serve        run everything on this machine
  stillpage render URL   print one page as a crawler would get it
  stillpage warm         ask for a site's pages, so that they are there when bots come
  stillpage load URL…    measure what bots wait when many come
  stillpage size URL…    say what a rate of requests needs, on AWS and on machines of your own
  stillpage record       record what a site's servers answer
  stillpage mock         answer in their place
  stillpage health       ask an instance whether it can render, for container hosts
  stillpage completion bash|zsh|fish
  stillpage version
  stillpage help

An installation is operated by

`)
	for _, op := range operations() {
		fmt.Fprintf(w, "  stillpage %-24s %s\n", op.name+" "+op.args, op.help)
	}
	fmt.Fprint(w, `
with --help for the flags of each, and these flags of all:

`)
	config.Usage(w, new(config.Operate).Options())
	fmt.Fprint(w, `
Flags of serve, and the variables that set them too:

`)
	config.Usage(w, new(config.Serve).ServeOptions())
	fmt.Fprint(w, "\nFlags of render:\n\n")
	config.Usage(w, new(config.Render).RenderOptions())
	fmt.Fprint(w, "\nFlags of warm:\n\n")
	config.Usage(w, new(config.Warm).WarmOptions())
	fmt.Fprint(w, "\nFlags of load:\n\n")
	config.Usage(w, new(config.Load).LoadOptions())
	fmt.Fprint(w, "\nFlags of size:\n\n")
	config.Usage(w, new(config.Size).SizeOptions())
	fmt.Fprint(w, "\nFlags of record:\n\n")
	config.Usage(w, new(config.Record).RecordOptions())
	fmt.Fprint(w, "\nFlags of mock:\n\n")
	config.Usage(w, new(config.Mock).MockOptions())
}
