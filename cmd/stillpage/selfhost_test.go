package main

import (
	"context"
	"fmt"
	"net"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stillpage/stillpage/internal/awstest"
	"github.com/stillpage/stillpage/internal/demo"
	"github.com/stillpage/stillpage/internal/load"
)

// cluster is two instances over one store, behind nginx, in front of the demo shop.
type cluster struct {
	t         *testing.T
	site      string // where people and bots go
	env, args []string
	routers   [2]string
	instances [2]*program
}

const clusterToken = "0123456789abcdef01234567"

func startCluster(t *testing.T) *cluster {
	t.Helper()
	if nginxPath() == "" {
		t.Fatal("nginx is missing; `make test` installs what it needs (scripts/deps.sh nginx)")
	}
	app := httptest.NewServer(demo.Handler())
	t.Cleanup(app.Close)
	c := &cluster{t: t, routers: [2]string{freeAddr(t), freeAddr(t)}}
	front := freeAddr(t)
	c.site = "http://" + front
	_, port, _ := net.SplitHostPort(front)
	startNginx(t, front, map[string]string{
		"${PORT}": port, "${SITE_NAME}": "127.0.0.1", "${APP}": strings.TrimPrefix(app.URL, "http://"),
		"${STILLPAGE_1}": c.routers[0], "${STILLPAGE_2}": c.routers[1], "${STILLPAGE_TOKEN}": clusterToken,
	})
	c.env = []string{
		"AWS_REGION=" + awstest.Region, "AWS_ACCESS_KEY_ID=" + awstest.AccessKey, "AWS_SECRET_ACCESS_KEY=" + awstest.SecretKey,
		"AWS_ENDPOINT_URL_DYNAMODB=" + awstest.DynamoDBEndpoint(t), "AWS_ENDPOINT_URL_S3=" + awstest.S3Endpoint(t),
	}
	name := strings.ToLower(strings.ReplaceAll(t.Name(), "/", "-")) + port
	c.args = []string{
		"--site", c.site, "--token", clusterToken, "--admin-listen=127.0.0.1:0", "--admin-token", clusterToken, "--drain", "500ms",
		"--table", name + "-pages", "--config-table", name + "-records", "--bucket", name, "--create-tables", "--log-format", "json",
	}
	for i := range c.instances {
		c.start(i)
	}
	return c
}

func (c *cluster) start(i int) {
	c.t.Helper()
	c.instances[i] = startWith(c.t, c.env, append([]string{"--router-listen", c.routers[i]}, c.args...)...)
}

// nginxPath is where nginx is: on Debian in a directory that users do not have in PATH.
func nginxPath() string {
	for _, name := range []string{"nginx", "/usr/sbin/nginx"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	return ""
}

func freeAddr(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

// startNginx runs the real nginx with infra/nginx, filled in.
func startNginx(t *testing.T, address string, values map[string]string) {
	t.Helper()
	dir := t.TempDir()
	template, err := os.ReadFile("../../infra/nginx/site.conf.template")
	if err != nil {
		t.Fatal(err)
	}
	bots, err := filepath.Abs("../../infra/nginx/stillpage-bots.conf")
	if err != nil {
		t.Fatal(err)
	}
	site := strings.ReplaceAll(string(template), "/etc/nginx/stillpage-bots.conf", bots)
	for name, value := range values {
		site = strings.ReplaceAll(site, name, value)
	}
	if strings.Contains(site, "${") {
		t.Fatalf("not all is filled in: %s", site)
	}
	user := ""
	if os.Getuid() == 0 {
		user = "user root;"
	}
	config := fmt.Sprintf("%s pid %s/pid; worker_processes 1; events {}\nhttp { access_log off;\n", user, dir)
	for _, kind := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		config += fmt.Sprintf("%s_temp_path %s/%s;\n", kind, dir, kind)
	}
	if err := os.WriteFile(filepath.Join(dir, "nginx.conf"), []byte(config+site+"}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	said := &lockedBuffer{}
	nginx := exec.Command(nginxPath(), "-p", dir, "-c", filepath.Join(dir, "nginx.conf"), "-e", "stderr", "-g", "daemon off; error_log stderr;")
	nginx.Stderr = said
	nginx.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := nginx.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		nginx.Process.Signal(syscall.SIGTERM)
		nginx.Wait()
		if t.Failed() {
			t.Logf("nginx: %s", said)
		}
	})
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if conn, err := net.Dial("tcp", address); err == nil {
			conn.Close()
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("nginx does not listen: %s", said)
		}
	}
}

// Who goes where, by the maps that are made from the list of agents; and what one instance has
// made, the other has.
func TestSelfHosted(t *testing.T) {
	t.Parallel()
	c := startCluster(t)
	ask := func(what, want string, r response) response {
		t.Helper()
		if r.cache() != want || want == "" && !strings.Contains(r.body, "<script") || r.StatusCode != 200 {
			t.Errorf("%s: got %d, cache %q, want %q; %.200s", what, r.StatusCode, r.cache(), want, r.body)
		}
		return r
	}
	page := c.site + "/items/brass-kettle"
	ask("a person", "", get(t, "GET", page, "Mozilla/5.0 Chrome/156"))
	if r := ask("a bot", "miss", get(t, "GET", page, bot)); !strings.Contains(r.body, "loud when it boils") || r.Header.Get("Vary") == "" {
		t.Errorf("a bot got %s", r.body)
	}
	ask("a bot in capitals", "hit", get(t, "GET", page, strings.ToUpper(bot)))
	for i, router := range c.routers {
		r := get(t, "GET", "http://"+router+"/"+page, bot, "X-Prerender-Token", clusterToken)
		ask(fmt.Sprintf("instance %d", i+1), "hit", r)
	}
	ask("our own browser", "", get(t, "GET", page, "Mozilla/5.0 Prerender (Stillpage) GPTBot"))
	ask("a marked request", "", get(t, "GET", page, bot, "X-Prerender", "1"))
	ask("a marked request, by cookie", "", get(t, "GET", page, bot, "Cookie", "a=b; from_prerender=1"))
	if r := get(t, "GET", c.site+"/app.js", bot); r.cache() != "" || !strings.Contains(r.Header.Get("Content-Type"), "javascript") {
		t.Errorf("a file: got %v", r.Header)
	}
	if r := get(t, "POST", page, bot); r.cache() != "" {
		t.Errorf("a POST: got %v", r.Header)
	}
	if r := get(t, "GET", c.site+"/items/nothing", bot); r.StatusCode != 404 || r.cache() != "miss" {
		t.Errorf("a page that is not there: got %d %q", r.StatusCode, r.cache())
	}
	if r := get(t, "GET", c.site+"/a%2Fb//c?x=%20&y", bot); !strings.Contains(c.instances[0].stderr.String()+c.instances[1].stderr.String(), "/a%2Fb//c?x=%20&y") {
		t.Errorf("the path is changed on the way: %d", r.StatusCode)
	}
	// Settings are shared as well.
	made := get(t, "GET", c.instances[1].admin+"/v1/pages?site="+strings.TrimPrefix(c.site, "http://"), "", "Authorization", "Bearer "+clusterToken)
	if !strings.Contains(made.body, "brass-kettle") {
		t.Errorf("the second instance lists %s", made.body)
	}
	health := command(t, t.TempDir(), "health", c.instances[0].admin)
	if out, err := health.CombinedOutput(); err != nil {
		t.Errorf("health: %v %s", err, out)
	}
	// Without Stillpage, bots get the app.
	for _, p := range c.instances {
		p.Process.Kill()
		p.Wait()
	}
	ask("nobody is there", "", get(t, "GET", page, bot))
	if out, err := command(t, t.TempDir(), "health", c.instances[0].admin).CombinedOutput(); err == nil {
		t.Errorf("health of nobody: %s", out)
	}
}

// Instances are stopped and started one after the other, and one is killed, under load: no
// request is lost, and none gets the plain app.
func TestRollingRestart(t *testing.T) {
	t.Parallel()
	c := startCluster(t)
	var pages []string
	for i := range 300 {
		pages = append(pages, fmt.Sprintf("%s/items/%s?n=%d", c.site, []string{"brass-kettle", "enamel-mug", "tea-tin"}[i%3], i))
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan *load.Result, 1)
	seconds := make(chan load.Second, 1000)
	go func() {
		// Clients' renders are limited, and these are all from one address.
		r, _ := load.Run(ctx, load.Config{
			URLs: pages, Arrivals: load.Arrivals{Shape: load.Constant, From: 12, To: 12}, Duration: 5 * time.Minute, Zipf: 1,
			Second: func(s load.Second) { seconds <- s },
		})
		done <- r // it is stopped, which is its error
	}()
	answered := func(i int) float64 {
		m := c.instances[i].scrape(t)
		return m["stillpage_requests_total hit"] + m["stillpage_requests_total miss"]
	}
	until := func(what string, ok func() bool) {
		t.Helper()
		for deadline := time.Now().Add(60 * time.Second); !ok(); time.Sleep(50 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("never: %s", what)
			}
		}
	}
	for i := range c.instances {
		until("both are asked", func() bool { return answered(0) >= 3 && answered(1) >= 3 })
		c.instances[i].Process.Signal(syscall.SIGTERM)
		if err := c.instances[i].Wait(); err != nil {
			t.Errorf("instance %d: %v", i+1, err)
		}
		c.start(i)
		until("it is asked again", func() bool { return answered(i) >= 3 })
	}
	c.instances[0].Process.Kill()
	c.instances[0].Wait()
	before := answered(1)
	until("the other one has all", func() bool { return answered(1) >= before+60 })
	stop()
	result := <-done
	close(seconds)
	for s := range seconds {
		if s.Failed > 0 {
			t.Errorf("at %v: %v", s.At.Round(time.Second), s.Outcomes)
		}
	}
	good := result.Outcomes["hit"] + result.Outcomes["miss"] + result.Outcomes["coalesced"] + result.Outcomes["stale"]
	if good != result.Due || good < 150 {
		t.Errorf("%d of %d requests are lost: %v", result.Due-good, result.Due, result.Outcomes)
	}
}
