package config

import (
	"errors"
	"flag"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Operate is the configuration of the commands that operate an installation.
type Operate struct {
	API    string // address
	Token  string // empty: the data directory's, or requests are signed
	Data   string // directory of a local installation
	Region string
	JSON   bool

	File                 string
	Yes, DryRun          bool
	Site, Path, Tag      string
	Hard, Again          bool
	Search, State, Agent string
	Limit                int
	Use                  string
	Sites                []string
	ExpiresIn            time.Duration
	Actor, Action        string
	Since, Until         string
	Head                 string
	Days                 int
	Sitemaps             []string
	Device, Language     string

	Args []string // what is no flag
}

// operateOptions are all options of these commands. Each command takes some of them.
func (c *Operate) operateOptions() []Option {
	return []Option{
		{"api", "URL", "http://127.0.0.1:8081", "the admin address of the installation", setString(&c.API), false, false},
		{"api-token", "T", "that of --data; else requests are signed with AWS credentials", "a token for the admin API", setString(&c.Token), false, false},
		{"data", "DIR", "", "the data directory of an installation on this machine, which has its token", setString(&c.Data), false, false},
		{"region", "R", "that of the address", "the AWS region that requests are signed for", setString(&c.Region), false, false},
		{"json", "", "off", "print the API's answer as it is", setBool(&c.JSON), false, false},
		{"file", "FILE", "", "the file to read; of sites, YAML or JSON, and - is standard input; -f is the same", setString(&c.File), false, false},
		{"yes", "", "off", "do not ask before something is changed", setBool(&c.Yes), false, false},
		{"dry-run", "", "off", "say what would be done, and do nothing", setBool(&c.DryRun), false, false},
		{"site", "HOST", "all", "of one site only", setString(&c.Site), false, false},
		{"path", "P", "all", "pages whose path is like /blog/*", setString(&c.Path), false, false},
		{"tag", "T", "any", "pages with a Cache-Tag or Surrogate-Key", setString(&c.Tag), false, false},
		{"hard", "", "off", "do not answer old pages while new ones are made", setBool(&c.Hard), false, false},
		{"again", "", "off", "have them rendered again now", setBool(&c.Again), false, false},
		{"search", "TEXT", "", "only those with this in their address; of pages, a path that they begin with", setString(&c.Search), false, false},
		{"state", "S", "any", "fresh, stale or purged", setString(&c.State), false, false},
		{"agent", "UA", "GPTBot/1.2", "the User-Agent that would ask", setString(&c.Agent), false, false},
		{"device", "D", "desktop", "desktop or mobile", setString(&c.Device), false, false},
		{"accept-language", "L", "", "as in Accept-Language", setString(&c.Language), false, false},
		{"limit", "N", "50", "how many are listed", setNumber(&c.Limit, 1, 10_000), false, false},
		{"use", "U", "integration", "what a token is for: integration, viewer, operator or admin", setString(&c.Use), false, false},
		{"for-site", "HOST", "all", "a site that a token is for", func(s string) error { c.Sites = append(c.Sites, s); return nil }, true, false},
		{"expires-in", "D", "never", "how long a token is good for, like 90d", setInterval(&c.ExpiresIn), false, false},
		{"actor", "A", "anybody", "who has done it", setString(&c.Actor), false, false},
		{"action", "A", "anything", "what was done, like site.update", setString(&c.Action), false, false},
		{"since", "T", "", "a time like 2026-11-22T10:30:00Z, or a day", setTime(&c.Since), false, false},
		{"until", "T", "", "the same", setTime(&c.Until), false, false},
		{"head", "N:HASH", "the installation's", "the end of the chain as you have noted it", setString(&c.Head), false, false},
		{"days", "N", "1", "of how many days", setNumber(&c.Days, 1, 400), false, false},
		{"sitemap", "URL", "those in the site's settings", "a sitemap with the pages", setURL(&c.Sitemaps), true, false},
	}
}

// operateAll are the options of every one of these commands.
var operateAll = []string{"api", "api-token", "data", "region", "json"}

// Options returns those with these names, and those that every command has.
func (c *Operate) Options(names ...string) []Option {
	all := c.AllOptions()
	return slices.DeleteFunc(all, func(o Option) bool { return !slices.Contains(names, o.Name) && !slices.Contains(operateAll, o.Name) })
}

// AllOptions returns the options of all commands. Those that not every command has are
// about one call, and have no variables.
func (c *Operate) AllOptions() []Option {
	all := c.operateOptions()
	for i := range all {
		all[i].flagOnly = !slices.Contains(operateAll, all[i].Name)
	}
	return all
}

// ParseOperate reads the configuration of a command that takes the options with these
// names.
func ParseOperate(args []string, getenv func(string) string, names ...string) (Operate, error) {
	c := Operate{API: "http://127.0.0.1:8081", Agent: "GPTBot/1.2", Limit: 50, Use: "integration", Days: 1}
	args = slices.Clone(args)
	for i, arg := range args {
		if arg == "-f" { // as kubectl's
			args[i] = "--file"
		}
	}
	var err error
	if c.Args, err = parse(c.Options(names...), args, getenv); errors.Is(err, flag.ErrHelp) {
		return c, err
	}
	c.API = strings.TrimSuffix(c.API, "/")
	if !strings.HasPrefix(c.API, "http://") && !strings.HasPrefix(c.API, "https://") {
		err = errors.Join(err, fmt.Errorf("--api %q must be an address like http://127.0.0.1:8081", c.API))
	}
	return c, err
}

// setTime takes a day as well.
func setTime(field *string) func(string) error {
	return func(s string) error {
		if day, err := time.Parse(time.DateOnly, s); err == nil {
			*field = day.Format(time.RFC3339)
			return nil
		}
		if _, err := time.Parse(time.RFC3339, s); err != nil {
			return errors.New("must be a time like 2026-11-22T10:30:00Z, or a day like 2026-11-22")
		}
		*field = s
		return nil
	}
}
