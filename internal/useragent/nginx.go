package useragent

import (
	"fmt"
	"regexp"
	"strings"
)

// NginxMaps returns the same decision as the edge function's, as maps of nginx: $stillpage is 1
// for requests that bots make for pages.
func NginxMaps() string {
	var b strings.Builder
	b.WriteString(`# Which requests are bots' for pages. Included at the level of http, it gives $stillpage.
# Written by ` + "`make generate`" + ` from internal/useragent; do not edit.

map $http_user_agent $stillpage_bot {
    default 0;
`)
	for _, a := range Agents {
		fmt.Fprintf(&b, "    %-48s 1; # %s\n", pattern(regexp.QuoteMeta(a.Token)), a.Name)
	}
	b.WriteString(`}

# Browsers that render for bots get the app, or they would be sent round without end.
map $http_user_agent $stillpage_own {
    default 0;
`)
	fmt.Fprintf(&b, "    %s 1;\n}\n\n", pattern(strings.Join(OwnTokens, "|")))
	b.WriteString(`map "$http_x_prerender$cookie_from_prerender" $stillpage_marked {
    "" 0;
    default 1;
}

`)
	b.WriteString("map $uri $stillpage_asset {\n    default 0;\n")
	fmt.Fprintf(&b, "    %s 1;\n}\n\n", pattern(`\.(?:`+strings.Join(AssetExtensions, "|")+`)$`))
	b.WriteString(`map "$request_method $stillpage_bot$stillpage_own$stillpage_marked$stillpage_asset" $stillpage {
    default 0;
    "GET 1000" 1;
    "HEAD 1000" 1;
}
`)
	return b.String()
}

// pattern is a regular expression that does not look at the case, as nginx writes it.
func pattern(expr string) string {
	return `"~*` + strings.ReplaceAll(expr, `"`, `\"`) + `"`
}
