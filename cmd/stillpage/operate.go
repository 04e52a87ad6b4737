package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"unicode"

	"golang.org/x/term"

	"github.com/stillpage/stillpage/internal/adminclient"
	"github.com/stillpage/stillpage/internal/config"
)

// operation is a command that asks the admin API.
type operation struct {
	name    string // such as "site list"
	args    string // what it takes beside flags
	most    int    // how many of these there may be; -1: any number
	least   int
	help    string
	options []string
	run     func(o *operator) error
}

// operations are all of them.
func operations() []operation {
	return []operation{
		{"site list", "", 0, 0, "list the sites", []string{"search", "limit"}, siteList},
		{"site get", "HOST", 1, 1, "print a site as it was written", nil, siteGet},
		{"site apply", "", 0, 0, "store the sites of a file, after showing what that changes", []string{"file", "yes", "dry-run"}, siteApply},
		{"site delete", "HOST", 1, 1, "delete what is stored of a site", []string{"yes", "dry-run"}, siteDelete},
		{"site schema", "", 0, 0, "print the JSON Schema of such a file, for editors", nil, siteSchema},
		{"page explain", "URL", 1, 1, "say what an agent would get now, and why", []string{"agent", "accept-language"}, pageExplain},
		{"page list", "HOST", 1, 1, "list the stored pages of a site", []string{"search", "state", "limit"}, pageList},
		{"page html", "URL", 1, 1, "print the stored HTML", []string{"device", "accept-language"}, pageHTML},
		{"page compare", "URL", 1, 1, "render it, and compare with what a person sees and with what is stored", []string{"device", "accept-language"}, pageCompare},
		{"page render", "URL", 1, 1, "render it now", nil, pageRender},
		{"page delete", "URL", 1, 1, "delete what is stored of it", nil, pageDelete},
		{"purge", "ORIGIN", 1, 1, "purge pages of a site like https://www.example.com", []string{"path", "tag", "hard", "again", "dry-run", "yes"}, purge},
		{"warm", "ORIGIN [URL…]", -1, 1, "have an installation render pages unasked: these, those of --sitemap, or those of the site's own sitemaps", []string{"sitemap"}, warmSite},
		{"job list", "", 0, 0, "list jobs, the last first", []string{"site", "limit"}, jobList},
		{"job get", "ID", 1, 1, "say how far a job is", nil, jobGet},
		{"job cancel", "ID", 1, 1, "cancel a job", nil, jobCancel},
		{"token list", "", 0, 0, "list the tokens", nil, tokenList},
		{"token make", "NAME", 1, 1, "make a token, which is shown this once", []string{"use", "for-site", "expires-in"}, tokenMake},
		{"token revoke", "ID", 1, 1, "revoke a token", []string{"yes"}, tokenRevoke},
		{"audit list", "", 0, 0, "list what was done, the last first", []string{"site", "actor", "action", "since", "until", "limit"}, auditList},
		{"audit export", "", 0, 0, "print the chain of events as JSON lines", nil, auditExport},
		{"audit verify", "", 0, 0, "find any event that was edited, taken out or moved, of an installation or an exported file", []string{"file", "head"}, auditVerify},
		{"stats", "", 0, 0, "print what was asked for and rendered", []string{"site", "days"}, stats},
	}
}

// operator is an operation on its way.
type operator struct {
	ctx    context.Context
	client *adminclient.Client
	config.Operate
	stdin          io.Reader
	stdout, stderr io.Writer
}

// operate finds the operation that the arguments name, and runs it. ok is false when they
// name none.
func operate(ctx context.Context, args []string, getenv func(string) string, stdin io.Reader, stdout, stderr io.Writer) (ok bool, _ error) {
	for _, op := range operations() {
		words := strings.Fields(op.name)
		if len(args) < len(words) || !slices.Equal(args[:len(words)], words) {
			continue
		}
		cfg, err := config.ParseOperate(args[len(words):], getenv, op.options...)
		if errors.Is(err, flag.ErrHelp) {
			fmt.Fprintf(stdout, "stillpage %s %s\n    %s\n\n", op.name, op.args, op.help)
			config.Usage(stdout, new(config.Operate).Options(op.options...))
			return true, nil
		}
		if n := len(cfg.Args); err == nil && (n < op.least || op.most >= 0 && n > op.most) {
			err = fmt.Errorf("takes %s, and %d arguments were given", orNothing(op.args), n)
		}
		if err != nil {
			return true, usageError{err}
		}
		o, err := newOperator(ctx, cfg, stdin, stdout, stderr)
		if err == nil {
			err = op.run(o)
		}
		return true, err
	}
	return false, nil
}

func orNothing(args string) string {
	if args == "" {
		return "no arguments"
	}
	return "one " + args
}

func newOperator(ctx context.Context, cfg config.Operate, stdin io.Reader, stdout, stderr io.Writer) (*operator, error) {
	o := &operator{ctx: ctx, Operate: cfg, stdin: stdin, stdout: stdout, stderr: stderr}
	o.client = &adminclient.Client{Address: cfg.API, Token: cfg.Token, Region: cfg.Region}
	if cfg.Token == "" && cfg.Data != "" && isLocal(cfg.API) { // it is this machine's secret
		token, _, err := readAdminToken(filepath.Join(cfg.Data, adminTokenFile))
		if err != nil {
			return nil, err
		}
		o.client.Token = token
	}
	return o, nil
}

func isLocal(address string) bool {
	u, err := url.Parse(address)
	if err != nil {
		return false
	}
	ip, err := netip.ParseAddr(u.Hostname())
	return u.Hostname() == "localhost" || err == nil && ip.IsLoopback()
}

// get asks, and reads the answer into the value that v points to. With --json, the answer
// is printed, and shown is true.
func (o *operator) get(path string, query url.Values, v any) (shown bool, _ error) {
	return o.ask(http.MethodGet, path, query, nil, v)
}

func (o *operator) ask(method, path string, query url.Values, body, v any) (shown bool, _ error) {
	answer, err := o.client.Ask(o.ctx, method, path, query, nil, body)
	if err != nil {
		return false, err
	}
	if o.JSON {
		_, err := o.stdout.Write(answer.Body)
		return true, err
	}
	if v == nil || len(answer.Body) == 0 {
		return false, nil
	}
	return false, json.Unmarshal(answer.Body, v)
}

// table prints rows under a head.
func (o *operator) table(head string, rows [][]string) {
	w := tabwriter.NewWriter(o.stdout, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, strings.ReplaceAll(head, " | ", "\t"))
	for _, row := range rows {
		for i := range row {
			row[i] = plain(row[i])
		}
		fmt.Fprintln(w, strings.Join(row, "\t"))
	}
	w.Flush()
}

// plain is a text without what a terminal would take for a command: pages write it.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return '\uFFFD'
		}
		return r
	}, s)
}

// confirm asks a person. Where there is none, --yes must be given.
func (o *operator) confirm(question string) error {
	if o.Yes {
		return nil
	}
	if !isTerminal(o.stdin) {
		return usageError{errors.New("nobody can be asked here; give --yes")}
	}
	fmt.Fprintf(o.stderr, "%s [y/N] ", question)
	line, _ := bufio.NewReader(o.stdin).ReadString('\n')
	if strings.ToLower(strings.TrimSpace(line)) != "y" {
		return errors.New("nothing was changed")
	}
	return nil
}

func isTerminal(of any) bool {
	file, ok := of.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}

// pages follows a list's cursors until as many entries as wanted are there.
func (o *operator) pages(path string, query url.Values, found func(body []byte) (n int, next string, err error)) error {
	for left := o.Limit; left > 0; {
		query.Set("limit", strconv.Itoa(min(left, 500)))
		answer, err := o.client.Ask(o.ctx, http.MethodGet, path, query, nil, nil)
		if err != nil {
			return err
		}
		if o.JSON { // a document a part
			o.stdout.Write(answer.Body)
		}
		n, next, err := found(answer.Body)
		if err != nil || next == "" {
			return err
		}
		left -= n
		query.Set("cursor", next)
	}
	fmt.Fprintf(o.stderr, "There are more; --limit %d shows as many again.\n", 2*o.Limit)
	return nil
}

func values(pairs ...string) url.Values {
	v := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			v.Set(pairs[i], pairs[i+1])
		}
	}
	return v
}
