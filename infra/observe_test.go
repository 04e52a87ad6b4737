package infra_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/stillpage/stillpage/internal/telemetry"
)

const (
	alarmsTemplate    = "alarms.yaml"
	dashboardTemplate = "dashboard.yaml"
)

// known says whether a metric of ours has such a dimension, and the functions write it.
func known(t *testing.T, where, name, dimension, value string) {
	t.Helper()
	i := slices.IndexFunc(telemetry.Table, func(m *telemetry.Metric) bool { return m.Name == name })
	if i < 0 {
		t.Errorf("%s: there is no metric %q", where, name)
		return
	}
	m := telemetry.Table[i]
	if m.Label != dimension || value != "" && m.Label != "" && !slices.Contains(m.Values, value) {
		t.Errorf("%s: metric %s has no %s=%q", where, name, dimension, value)
	}
	if slices.Equal(m.From, []string{"serve"}) {
		t.Errorf("%s: metric %s is not the functions'", where, name)
	}
}

// Each alarm watches a metric that there is, tells somebody, and has its entry in the
// runbook; and the runbook has no others.
func TestAlarms(t *testing.T) {
	t.Parallel()
	var raw struct {
		Resources map[string]struct {
			Type       string         `yaml:"Type"`
			Properties map[string]any `yaml:"Properties"`
		} `yaml:"Resources"`
	}
	if err := yaml.Unmarshal([]byte(read(t, alarmsTemplate)), &raw); err != nil {
		t.Fatal(err)
	}
	runbook := read(t, "../docs/runbook.md")
	entries := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^## (\w+)$`).FindAllStringSubmatch(runbook, -1) {
		entries[m[1]] = true
	}
	alarms := 0
	for name, resource := range raw.Resources {
		if resource.Type != "AWS::CloudWatch::Alarm" {
			continue
		}
		alarms++
		if !entries[name] {
			t.Errorf("docs/runbook.md has no entry for %s", name)
		}
		delete(entries, name)
		p := resource.Properties
		if description, _ := p["AlarmDescription"].(string); !strings.HasSuffix(description, " docs/runbook.md, "+name+".") {
			t.Errorf("%s does not say where its entry is: %q", name, p["AlarmDescription"])
		}
		for _, actions := range []string{"AlarmActions", "OKActions"} {
			if list, _ := p[actions].([]any); len(list) != 1 {
				t.Errorf("%s has no %s", name, actions)
			}
		}
		metrics := []map[string]any{p}
		list, _ := p["Metrics"].([]any)
		for _, entry := range list {
			if stat, ok := entry.(map[string]any)["MetricStat"].(map[string]any); ok {
				metrics = append(metrics, stat["Metric"].(map[string]any))
			}
		}
		if len(list) > 0 {
			metrics = metrics[1:]
		}
		for _, m := range metrics {
			namespace, _ := m["Namespace"].(string)
			if namespace != "MetricNamespace" { // by !Ref
				if !strings.HasPrefix(namespace, "AWS/") {
					t.Errorf("%s watches a metric of %q", name, namespace)
				}
				continue
			}
			dimension, value := "", ""
			if list, _ := m["Dimensions"].([]any); len(list) == 1 {
				d := list[0].(map[string]any)
				dimension, value = d["Name"].(string), d["Value"].(string)
			}
			known(t, name, m["MetricName"].(string), dimension, value)
		}
	}
	if alarms < 15 {
		t.Errorf("found %d alarms", alarms)
	}
	for name := range entries {
		t.Errorf("docs/runbook.md has an entry for %s, which is no alarm", name)
	}
	for _, m := range regexp.MustCompile(`quer(?:y|ies) (\d+)`).FindAllStringSubmatch(runbook, -1) {
		if !strings.Contains(read(t, dashboardTemplate), "/"+strings.Repeat("0", 2-len(m[1]))+m[1]+" ") {
			t.Errorf("the runbook names query %s, which is not in dashboard.yaml", m[1])
		}
	}
}

func TestDashboard(t *testing.T) {
	t.Parallel()
	text := section(t, dashboardTemplate, "Resources", "Dashboard", "Properties", "DashboardBody")
	_, body, _ := strings.Cut(text, "|\n")
	var dashboard struct {
		Widgets []struct {
			Type                string
			X, Y, Width, Height int
			Properties          struct {
				Title, Markdown string
				Metrics         [][]any
			}
		}
	}
	if err := json.Unmarshal([]byte(body), &dashboard); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	groups, seen := 0, map[string]bool{}
	for _, w := range dashboard.Widgets {
		if w.Type == "text" {
			groups++
		}
		if w.X+w.Width > 24 {
			t.Errorf("%s is outside of the grid", w.Properties.Title)
		}
		for _, metric := range w.Properties.Metrics {
			var words []string
			for _, part := range metric {
				if word, ok := part.(string); ok {
					words = append(words, word)
				}
			}
			switch {
			case len(words) == 0 || words[0] != "${MetricNamespace}":
			case len(words) == 2:
				known(t, w.Properties.Title, words[1], "", "")
				seen[words[1]] = true
			default:
				known(t, w.Properties.Title, words[1], words[2], words[3])
				seen[words[1]] = true
			}
		}
	}
	if groups != 4 {
		t.Errorf("got %d groups, want: are bots served, how fast, at what price, what is breaking", groups)
	}
	for _, m := range telemetry.Table {
		if m != telemetry.ProbeTime && m != telemetry.RenderTime && !seen[m.Name] && !strings.Contains(body, `\"`+m.Name+`\"`) && !slices.Equal(m.From, []string{"serve"}) {
			t.Errorf("the dashboard does not show %s", m.Name)
		}
	}
}

// The saved queries ask for fields that lines have.
func TestQueries(t *testing.T) {
	t.Parallel()
	fields := map[string]bool{"@timestamp": true, "level": true, "phases": true}
	for _, m := range regexp.MustCompile("(?m)^\\| `(\\w+)` \\|").FindAllStringSubmatch(read(t, "../docs/logs.md"), -1) {
		fields[m[1]] = true
	}
	questions := regexp.MustCompile(`(?m)^(\d+)\. (.+?)\?`).FindAllStringSubmatch(read(t, "../docs/logs.md"), -1)
	if len(questions) != 10 {
		t.Fatalf("docs/logs.md has %d questions", len(questions))
	}
	text := read(t, dashboardTemplate)
	for _, q := range questions {
		if want := strings.ReplaceAll(strings.Repeat("0", 2-len(q[1]))+q[1]+" "+q[2]+"'", "'s ", "''s "); !strings.Contains(text, want) {
			t.Errorf("dashboard.yaml has no query %q", want)
		}
	}
	words := map[string]bool{}
	for _, word := range strings.Fields("filter stats sort limit by and or as desc count sum pct avg max latest bin ispresent like sum weight 15m") {
		words[word] = true
	}
	for name, resource := range children(t, dashboardTemplate, "Resources") {
		if !strings.Contains(resource, "AWS::Logs::QueryDefinition") {
			continue
		}
		_, query, _ := strings.Cut(resource, "QueryString: |\n")
		query = regexp.MustCompile(`"[^"]*"`).ReplaceAllString(query, "")
		aliases := map[string]bool{}
		for _, m := range regexp.MustCompile(` as (\w+)`).FindAllStringSubmatch(query, -1) {
			aliases[m[1]] = true
		}
		for _, word := range regexp.MustCompile(`@?[a-zA-Z]\w*(?:\.\w+)?|\d+m`).FindAllString(query, -1) {
			first, _, _ := strings.Cut(word, ".")
			if !words[word] && !fields[first] && !aliases[word] && word != "fields" {
				t.Errorf("%s: %q is no field of a line", name, word)
			}
		}
	}
}

// What runbook and other documents link to is there.
func TestLinks(t *testing.T) {
	t.Parallel()
	documents, err := filepath.Glob("../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	more, _ := filepath.Glob("../docs/decisions/*.md")
	for _, document := range append(append(documents, more...), "../README.md") {
		for _, m := range regexp.MustCompile(`\]\(([^)#:]+)(?:#[^)]*)?\)`).FindAllStringSubmatch(read(t, document), -1) {
			if _, err := os.Stat(filepath.Join(filepath.Dir(document), m[1])); err != nil {
				t.Errorf("%s links to %s, which is not there", document, m[1])
			}
		}
	}
}
