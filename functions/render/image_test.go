//go:build image

// Package main_test runs the image of the render function as Lambda would: a
// read-only root, a user without rights, a /tmp of 512 MB, no /dev/shm, and the
// processor's time of 2048 MB. `make test-image` builds the image and calls it.
package main_test

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/stillpage/stillpage/internal/awstest"
	"github.com/stillpage/stillpage/internal/demo"
	"github.com/stillpage/stillpage/internal/lambdatest"
	"github.com/stillpage/stillpage/internal/prerender"
)

func TestMain(m *testing.M) { awstest.Main(m) }

// user and group are such as Lambda takes: not the image's own.
const user = "993:990"

// machine is the function's place: a container, its events, and what it speaks to.
type machine struct {
	t      *testing.T
	name   string // of the container
	lambda *lambdatest.Service
	site   string
	secure string // a site whose certificate nobody knows
	table  string // of pages
	config string // of sites
	bucket string
}

// secret is in the function's environment, and must not be in Chromium's.
const secret = awstest.SecretKey

func newMachine(t *testing.T) *machine {
	noise := make([]byte, 500_000) // half a megabyte when compressed: more than an item of the table
	rand.Read(noise)
	mux := http.NewServeMux()
	mux.Handle("/", demo.Handler())
	mux.HandleFunc("GET /large", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprintf(w, "<title>Large</title><p>%s", hex.EncodeToString(noise))
	})
	site, secure := httptest.NewServer(mux), httptest.NewUnstartedServer(mux)
	secure.Config.ErrorLog = log.New(io.Discard, "", 0) // that nobody trusts it
	secure.StartTLS()
	t.Cleanup(site.Close)
	t.Cleanup(secure.Close)
	pages, records := awstest.Tables(t)
	m := &machine{
		t: t, name: "stillpage-test-" + strings.ToLower(rand.Text()), lambda: lambdatest.Start(t),
		site: site.URL, secure: secure.URL, table: pages, config: records, bucket: awstest.Bucket(t),
	}
	env := m.environment()
	m.lambda.Deploy(lambdatest.Function{
		Name: "render", Timeout: 30 * time.Second, Reserved: 1, Env: append(dockerEnvironment(), env...),
		Command: m.run(append(names(env), "AWS_LAMBDA_RUNTIME_API", "AWS_LAMBDA_FUNCTION_NAME", "AWS_LAMBDA_FUNCTION_VERSION",
			"AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "AWS_REGION", "LANG", "TZ", "_HANDLER")),
	})
	t.Cleanup(m.remove) // before the command that has started it is killed
	return m
}

func (m *machine) environment() []string {
	return []string{
		"AWS_ACCESS_KEY_ID=" + awstest.AccessKey, "AWS_SECRET_ACCESS_KEY=" + secret,
		"AWS_ENDPOINT_URL_DYNAMODB=" + awstest.DynamoDBEndpoint(m.t), "AWS_ENDPOINT_URL_S3=" + awstest.S3Endpoint(m.t),
		"STILLPAGE_TABLE=" + m.table, "STILLPAGE_CONFIG_TABLE=" + m.config, "STILLPAGE_BUCKET=" + m.bucket,
		"STILLPAGE_SITES=" + m.site + "," + m.secure, "STILLPAGE_EGRESS_ALLOW=127.0.0.0/8",
	}
}

// run returns the command that runs the image, with the named variables of the
// environment that it is started in.
func (m *machine) run(variables []string) []string {
	docker, err := exec.LookPath("docker")
	if err != nil {
		m.t.Fatal(err)
	}
	command := []string{docker, "run", "--rm", "--name=" + m.name,
		"--network=host", // the Runtime API, the site and the stores are on loopback
		"--read-only", "--tmpfs=/tmp:size=512m", "--ipc=none", "--user=" + user,
		"--cap-drop=ALL", "--security-opt=no-new-privileges",
		"--memory=2g", "--memory-swap=2g", "--cpus=1.15", "--pids-limit=1024", "--ulimit=nofile=1024"}
	for _, name := range variables {
		command = append(command, "--env="+name)
	}
	return append(command, os.Getenv("STILLPAGE_IMAGE"))
}

func names(environment []string) []string {
	var list []string
	for _, variable := range environment {
		name, _, _ := strings.Cut(variable, "=")
		list = append(list, name)
	}
	return list
}

// dockerEnvironment is what the docker command itself needs.
func dockerEnvironment() []string {
	return slices.DeleteFunc(os.Environ(), func(variable string) bool {
		return !strings.HasPrefix(variable, "DOCKER_") && !strings.HasPrefix(variable, "HOME=")
	})
}

func (m *machine) docker(arguments ...string) string {
	m.t.Helper()
	out, err := exec.Command("docker", arguments...).Output()
	if err != nil {
		var said []byte
		if exit, ok := err.(*exec.ExitError); ok {
			said = exit.Stderr
		}
		m.t.Fatalf("docker %s: %v\n%s", strings.Join(arguments, " "), err, said)
	}
	return strings.TrimSpace(string(out))
}

func (m *machine) remove() { exec.Command("docker", "rm", "--force", m.name).Run() }

// inside runs a shell script as the function's user, among its processes. The image
// has no shell, so another container brings one; the function's root is
// /proc/1/root.
func (m *machine) inside(script string) string {
	m.t.Helper()
	return m.docker("run", "--rm", "--network=none", "--pid=container:"+m.name, "--user="+user, "--cap-drop=ALL",
		os.Getenv("STILLPAGE_TOOLS"), "sh", "-c", script)
}

// process is one in the container.
type process struct {
	pid         int
	state       string // R, S, Z, …
	command     string
	environment []string
}

// processes returns those of the function.
func (m *machine) processes() []process {
	m.t.Helper()
	out := m.inside(`for p in /proc/[0-9]*; do
	[ "$p" != /proc/$$ ] || continue
	state=$(sed 's/.*) \(.\).*/\1/' $p/stat) && command=$(tr '\0' ' ' <$p/cmdline) || continue
	environment=$(base64 -w 0 $p/environ) || environment=unreadable
	printf '%s\t%s\t%s\t%s\n' "${p#/proc/}" "$state" "$command" "$environment"
done 2>/dev/null`)
	var list []process
	for line := range strings.Lines(out) {
		part := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if len(part) != 4 {
			m.t.Fatalf("no process: %q", line)
		}
		pid, err := strconv.Atoi(part[0])
		if err != nil {
			m.t.Fatal(err)
		}
		var environment []byte
		if err := json.Unmarshal([]byte(`"`+part[3]+`"`), &environment); err != nil {
			m.t.Errorf("%s: environment is %s", part[2], part[3])
		}
		list = append(list, process{pid, part[1], part[2], strings.Split(strings.Trim(string(environment), "\x00"), "\x00")})
	}
	return list
}

// browser returns Chromium's first process.
func (m *machine) browser() process {
	m.t.Helper()
	for _, p := range m.processes() {
		if strings.HasPrefix(p.command, "/usr/bin/chromium-headless-shell ") {
			return p
		}
	}
	m.t.Fatal("Chromium does not run")
	panic("unreachable")
}

// render has the function render a page of a site.
func (m *machine) render(site, path string) (html, fault string, took time.Duration) {
	m.t.Helper()
	order := fmt.Sprintf(`{"origin":%q,"target":%q,"device":"desktop","fence":%d}`, site, path, time.Now().UnixNano())
	began := time.Now()
	result, err := m.lambda.Invoke(m.t.Context(), "render", []byte(order))
	took = time.Since(began)
	if err != nil || result.FunctionError != "" {
		m.t.Fatalf("%s: %v %s\nlog: %s", path, err, result.Payload, m.lambda.Log("render"))
	}
	var answer struct {
		Snapshot *prerender.Snapshot
		Fault    string
		Text     string
	}
	if err := json.Unmarshal(result.Payload, &answer); err != nil {
		m.t.Fatalf("%s: %v: %s", path, err, result.Payload)
	}
	if answer.Snapshot == nil {
		return "", answer.Fault, took
	}
	body, err := answer.Snapshot.Body()
	if err != nil {
		m.t.Fatal(err)
	}
	if answer.Snapshot.Partial != "" {
		m.t.Errorf("%s is partial: %s", path, answer.Snapshot.Partial)
	}
	return string(body), "", took
}

// want renders a page that must have a text, and returns how long it took.
func (m *machine) want(path, text string) time.Duration {
	m.t.Helper()
	html, fault, took := m.render(m.site, path)
	if !strings.Contains(html, text) {
		m.t.Errorf("%s: got fault %q, HTML %.500q, want %q in it\nlog: %s", path, fault, html, text, m.lambda.Log("render"))
	}
	return took
}

func TestImage(t *testing.T) {
	m := newMachine(t)
	cold := m.want("/items/brass-kettle", "Spun from one sheet, tinned inside")
	first := m.browser()

	// Environment.
	for _, p := range m.processes() {
		chromium := strings.Contains(p.command, "chromium")
		if !chromium && !slices.Contains(p.environment, "AWS_SECRET_ACCESS_KEY="+secret) {
			t.Errorf("%s: has no credentials, so this test can show nothing: %q", p.command, p.environment)
		}
		if chromium && (len(p.environment) > 5 || strings.Contains(strings.Join(p.environment, " "), secret)) {
			t.Errorf("%.80s: knows %q", p.command, p.environment)
		}
	}
	if !strings.Contains(first.command, " --no-sandbox --no-zygote ") {
		t.Errorf("Chromium's flags are %s", first.command)
	}

	// Files.
	out := m.inside(`for path in / /dev/shm /var /usr/lib/chromium /root /home; do
	if touch /proc/1/root$path/x; then echo writable: $path; fi
done 2>/dev/null
awk '$2 == "/" && $4 !~ /^ro,/ { print "writable: all of the root" }' /proc/1/mounts
touch /proc/1/root/tmp/x && rm /proc/1/root/tmp/x
find /proc/1/root/tmp -path '*fontconfig*'
ls -A /proc/1/root/tmp | grep -v '^stillpage-chromium-' || true`)
	if out != "" {
		t.Errorf("what may be written, an index of fonts that Chromium has made, or files that nobody removes:\n%s", out)
	}

	// Warm.
	var warm []time.Duration
	for range 5 {
		for path, text := range map[string]string{"/": "Everything we make", "/items/tea-tin": "Keeps 250 grams dry", "/items/oak-board": "End grain, oiled"} {
			warm = append(warm, m.want(path, text))
		}
	}
	m.sameBrowser(first)

	// Both stores.
	m.want("/large", "<title>Large</title>")
	if out, err := awstest.DynamoDB(t).Scan(t.Context(), &dynamodb.ScanInput{TableName: &m.table}); err != nil || out.Count != 5 {
		t.Errorf("the table has %d items (%v), want the five pages", out.Count, err)
	}
	if out, err := awstest.S3(t).ListObjectsV2(t.Context(), &s3.ListObjectsV2Input{Bucket: &m.bucket}); err != nil || len(out.Contents) != 1 {
		t.Errorf("the bucket has %d objects (%v), want the large body", len(out.Contents), err)
	}

	// Chromium looks at certificates with libraries that it opens only then.
	if html, fault, _ := m.render(m.secure, "/"); fault == "" || fault == "renderer-down" {
		t.Errorf("a certificate that nobody has signed: got fault %q, HTML %.200q", fault, html)
	}
	m.sameBrowser(first)

	// Frozen, for longer than Chromium is trusted afterwards, and thawed.
	m.docker("pause", m.name)
	time.Sleep(31 * time.Second)
	m.docker("unpause", m.name)
	thawed := m.want("/about", "</html>")
	m.sameBrowser(first)

	// Killed.
	m.inside(fmt.Sprintf("kill -9 %d", first.pid))
	killed := m.want("/items/enamel-mug", "chips honestly")
	if second := m.browser(); second.pid == first.pid {
		t.Error("a killed Chromium lives")
	}
	browsers := 0
	for _, p := range m.processes() {
		if p.state == "Z" {
			t.Errorf("a zombie: %+v", p)
		}
		if strings.HasPrefix(p.command, "/usr/bin/chromium-headless-shell ") {
			browsers++
		}
	}
	if browsers != 1 {
		t.Errorf("got %d Chromiums, want 1", browsers)
	}
	if n := m.lambda.Environments("render"); n != 1 {
		t.Errorf("got %d environments, want the one that it began with", n)
	}

	slices.Sort(warm)
	t.Logf("from nothing to the first page %v; warm pages %v (median of %d); after a freeze %v; after Chromium was killed %v",
		cold.Round(time.Millisecond), warm[len(warm)/2].Round(time.Millisecond), len(warm), thawed.Round(time.Millisecond), killed.Round(time.Millisecond))
	t.Logf("memory: %s", m.docker("stats", "--no-stream", "--format={{.MemUsage}}", m.name))
	t.Logf("image: %s bytes; in kB:\n%s", m.docker("image", "inspect", "--format={{.Size}}", os.Getenv("STILLPAGE_IMAGE")),
		m.inside(`cd /proc/1/root && du -sk render usr/lib/chromium usr/share/fonts && du -sk --exclude=chromium usr/lib`))
}

// sameBrowser fails when Chromium is another than it was.
func (m *machine) sameBrowser(first process) {
	m.t.Helper()
	if now := m.browser(); now.pid != first.pid {
		m.t.Errorf("Chromium was started again: %d, then %d\nlog: %s", first.pid, now.pid, m.lambda.Log("render"))
	}
}

// TestStart measures how long it takes until the function asks for its first event,
// with Chromium running: Lambda grants ten seconds.
func TestStart(t *testing.T) {
	m := newMachine(t)
	var took []time.Duration
	for range 5 {
		took = append(took, m.start())
	}
	slices.Sort(took)
	t.Logf("from `docker run` to the first request for an event %v (median of %d)", took[len(took)/2].Round(time.Millisecond), len(took))
}

// start runs the function until it asks for an event.
func (m *machine) start() time.Duration {
	address, asked, stop := lambdatest.AwaitNext()
	defer stop()
	env := append(m.environment(), "AWS_LAMBDA_RUNTIME_API="+address,
		"AWS_LAMBDA_FUNCTION_NAME=render", "AWS_REGION=us-east-1")
	command := m.run(names(env))
	ctx, cancel := context.WithTimeout(m.t.Context(), 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Env = append(dockerEnvironment(), env...)
	var said strings.Builder
	cmd.Stderr = &said
	began := time.Now()
	if err := cmd.Start(); err != nil {
		m.t.Fatal(err)
	}
	select {
	case <-asked:
	case <-ctx.Done():
		m.t.Error("the function does not ask for an event")
	}
	took := time.Since(began)
	m.remove()
	cmd.Wait()
	if m.t.Failed() {
		m.t.Log(said.String())
	}
	return took
}
