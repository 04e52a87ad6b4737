package useragent

import (
	"fmt"
	"regexp"
	"strings"
)

const (
	beginGenerated = "// BEGIN GENERATED\n"
	endGenerated   = "// END GENERATED\n"
)

// WriteEdgeLists returns the edge function's source with its generated part
// made anew from the lists of this package.
func WriteEdgeLists(source string) (string, error) {
	head, rest, ok := strings.Cut(source, beginGenerated)
	_, tail, ok2 := strings.Cut(rest, endGenerated)
	if !ok || !ok2 {
		return "", fmt.Errorf("edge function has no %q … %q", strings.TrimSpace(beginGenerated), strings.TrimSpace(endGenerated))
	}
	var bots []string
	for _, a := range Agents {
		bots = append(bots, a.Token)
	}
	return head + beginGenerated +
		constant("BOTS", alternation(shortest(bots))) +
		constant("OWN", alternation(OwnTokens)) +
		constant("MOBILE", alternation(MobileTokens)) +
		constant("ASSETS", `\.(?:`+alternation(AssetExtensions)+`)$`) +
		endGenerated + tail, nil
}

// constant writes a regular expression; assets match whatever the case of the
// path, user agents come in lower case.
func constant(name, expr string) string {
	flags := ""
	if name == "ASSETS" {
		flags = "i"
	}
	return fmt.Sprintf("const %s = /%s/%s;\n", name, expr, flags)
}

func alternation(tokens []string) string {
	quoted := make([]string, len(tokens))
	for i, t := range tokens {
		quoted[i] = strings.ReplaceAll(regexp.QuoteMeta(t), "/", `\/`)
	}
	return strings.Join(quoted, "|")
}

// shortest leaves out tokens that contain another one: the edge asks only
// whether an agent is a bot, and has ten kilobytes.
func shortest(tokens []string) []string {
	var out []string
	for i, t := range tokens {
		covered := false
		for j, u := range tokens {
			covered = covered || i != j && strings.Contains(t, u)
		}
		if !covered {
			out = append(out, t)
		}
	}
	return out
}
