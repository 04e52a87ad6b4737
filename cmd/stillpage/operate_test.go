package main

import (
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// An installation is operated by the command, from the first look to the audit.
func TestOperate(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	p := start(t, "--demo", "--data", data)
	if info, err := os.Stat(filepath.Join(data, adminTokenFile)); err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("the admin token's file: %v, %v, want mode 0600", info, err)
	}
	if text, err := os.ReadFile(filepath.Join(data, adminTokenFile)); err != nil || p.token != "Bearer "+strings.TrimSpace(string(text)) {
		t.Fatalf("the banner leads to %q, and the file has %q, %v", p.token, text, err)
	}
	host := strings.TrimPrefix(p.edge, "http://")
	item := p.edge + "/items/brass-kettle"
	get(t, "GET", item, "GPTBot/1.2")

	run := func(code int, args ...string) string {
		t.Helper()
		cmd := command(t, t.TempDir(), args...)
		cmd.Env = append(cmd.Env, "STILLPAGE_API="+p.admin, "STILLPAGE_DATA="+data)
		out, _ := cmd.CombinedOutput()
		if got := cmd.ProcessState.ExitCode(); got != code {
			t.Fatalf("stillpage %q: got exit %d, want %d: %s", args, got, code, out)
		}
		return string(out)
	}
	says := func(text string, want ...string) {
		t.Helper()
		for _, w := range want {
			if !regexp.MustCompile(w).MatchString(text) {
				t.Errorf("got %s, want %s", text, w)
			}
		}
	}

	says(run(0, "site", "list"), "SITE +SETTINGS", p.edge+" +as flags or the template say")
	says(run(0, "page", "explain", item), "^hit\n", "GPTBot is a bot", "answered as it is")
	says(run(0, "page", "list", host, "--search", "/items/"), item+" +desktop +fresh +200")
	says(run(0, "page", "html", item), "<h1>Brass Kettle</h1>")
	says(run(0, "page", "compare", item), "Status 200", "the same", "The stored page has the same bytes")
	says(run(0, "page", "render", item), "render, done, 1 rendered")

	// Sites as a file: what is wrong is said with its place, what changes is shown first.
	file := filepath.Join(t.TempDir(), "sites.yaml")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(strings.ReplaceAll(text, "ORIGIN", p.edge)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("sites:\n  - origin: ORIGIN\n    vary: {mobile: yes please}\n  - origin: ftp://x\n    speed: 3\n")
	says(run(1, "site", "apply", "-f", file), "/sites/0/vary/mobile: must be true or false", "/sites/1/origin: ", "/sites/1/speed: is not known")
	write("sites:\n  - origin: ORIGIN\n    lifetimes:\n      success: {fresh: 2d, stale: 7d}\n")
	says(run(0, "site", "apply", "-f", file, "--dry-run"), host+"\n  /lifetimes/success/fresh: \"1d\" → \"2d\"")
	says(run(2, "site", "apply", "-f", file), "give --yes")
	says(run(0, "site", "apply", "-f", file, "--yes"), "changed "+host)
	says(run(0, "site", "apply", "-f", file, "--yes"), "Nothing to change")
	got := run(0, "site", "get", host)
	says(got, "fresh: 2d")
	if err := os.WriteFile(file, []byte(got), 0o644); err != nil { // what is printed can be applied
		t.Fatal(err)
	}
	says(run(0, "site", "apply", "-f", file), "Nothing to change")
	var schema map[string]any
	if err := json.Unmarshal([]byte(run(0, "site", "schema")), &schema); err != nil {
		t.Errorf("schema: %v", err)
	}

	write("sites:\n  - origin: ORIGIN\n  - origin: ORIGIN\n")
	says(run(1, "site", "apply", "-f", file, "--yes"), "/sites/1/origin: is the same site as /sites/0")
	write("origin: ORIGIN\n")
	says(run(1, "site", "apply", "-f", file), "/origin: is not known", "it must be like")
	write("")
	says(run(1, "site", "apply", "-f", file), "is empty")
	says(run(1, "site", "list", "--api", p.edge, "--api-token", "x"), "not an admin address")
	says(run(1, "warm", host, "/about"), "is not a page of")
	says(run(0, "purge", host, "--path", "/items/*", "--dry-run"), "1 stored pages")
	says(run(0, "purge", p.edge, "--path", "/items/*", "--again"), "purge, done, 1 queued")
	says(run(2, "purge", p.edge), "give --yes")
	says(run(0, "warm", p.edge, item, p.edge+"/about"), `warm, done, .*\d queued`)
	says(run(0, "job", "list"), "warm", "purge", "render", "done")
	says(run(1, "job", "get", "nothing"), "there is no job")

	token := strings.TrimSpace(regexp.MustCompile(`sp_\w+`).FindString(run(0, "token", "make", "ci", "--use", "viewer", "--expires-in", "1d")))
	says(run(0, "token", "list"), "ci +viewer +all +never")
	says(run(0, "site", "list", "--api-token", token), host)
	says(run(1, "page", "render", item, "--api-token", token), "needs the role of operator")
	id := strings.Split(token, "_")[1]
	run(0, "token", "revoke", id, "--yes")

	says(run(0, "audit", "list"), "token.delete", "site.create +"+host+" +.*/lifetimes/success/fresh|site.create")
	says(run(0, "audit", "list", "--json"), `"action": "token.create"`)
	if text := run(0, "audit", "list", "--json"); strings.Contains(text, token) || !strings.Contains(text, "(hidden)") {
		t.Errorf("the audit has a secret: %s", text)
	}
	good := run(0, "audit", "verify")
	says(good, "events are as they were written", `\d+:[0-9a-f]{64}`)
	head := regexp.MustCompile(`\d+:[0-9a-f]{64}`).FindString(good)
	export := run(0, "audit", "export")
	events := filepath.Join(t.TempDir(), "events.jsonl")
	tampered := func(text string, code int, want string, more ...string) {
		t.Helper()
		if err := os.WriteFile(events, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		says(run(code, append([]string{"audit", "verify", "--file", events}, more...)...), want)
	}
	lines := strings.SplitAfter(export, "\n")
	tampered(export, 0, "as they were written", "--head", head)
	tampered(strings.Replace(export, "admin token", "somebody else", 1), 1, "has been edited")
	tampered(strings.Join(append([]string{lines[0]}, lines[2:]...), ""), 1, "some are missing")
	tampered(lines[1]+lines[0]+strings.Join(lines[2:], ""), 1, "order has been changed")
	tampered(strings.Join(lines[:len(lines)-2], ""), 1, "events at the end are missing", "--head", head)
	tampered("nonsense", 1, "line 1 is no event")
	tampered("", 1, "has no events")
	says(run(2, "audit", "verify", "--head", "12:abcd"), "64 hexadecimal digits")
	says(run(0, "audit", "verify", "--head", head), "as they were written") // though it has grown since
	says(run(0, "audit", "list", "--limit", "1"), "There are more")

	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(200 * time.Millisecond) { // it is written every ten seconds
		text := run(0, "stats")
		if strings.Contains(text, "GPTBot") {
			says(text, "from the store", "OUTCOME OF RENDERS", "complete")
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("no statistics: %s", text)
		}
	}
	says(run(0, "site", "delete", host, "--yes"), `"2d" → "1d"`)
	says(run(1, "site", "get", "unknown.example"), "there is no site")
	says(run(2, "site", "get"), "takes one HOST")
	says(run(2, "stats", "--days", "0"), "from 1 to 400")
	cmd := command(t, t.TempDir(), "stats", "--api", p.admin)
	if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), "wants a token") {
		t.Errorf("without a token: got %s", out)
	}
}

// Without a token, requests are signed as API Gateway wants it.
func TestOperateSigns(t *testing.T) {
	t.Parallel()
	var authorization string
	api := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		authorization = r.Header.Get("Authorization")
		w.Write([]byte(`{"sites": []}`))
	}))
	defer api.Close()
	certificate := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(certificate, pemOf(api), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := command(t, t.TempDir(), "site", "list", "--api", api.URL, "--region", "eu-central-1")
	cmd.Env = append(cmd.Env, "SSL_CERT_FILE="+certificate, "AWS_ACCESS_KEY_ID=AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY=secret", "AWS_SESSION_TOKEN=session")
	out, err := cmd.CombinedOutput()
	want := regexp.MustCompile(`^AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/\d{8}/eu-central-1/execute-api/aws4_request, SignedHeaders=.*host.*x-amz-security-token.*, Signature=[0-9a-f]{64}$`)
	if err != nil || !want.MatchString(authorization) {
		t.Errorf("got %q, %v, %s", authorization, err, out)
	}
}

// The completion's script is one that its shell can read, and knows the commands.
func TestCompletion(t *testing.T) {
	t.Parallel()
	script := filepath.Join(t.TempDir(), "completion")
	out, err := command(t, t.TempDir(), "completion", "bash").Output()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(script, out, 0o644); err != nil {
		t.Fatal(err)
	}
	for typed, want := range map[string]string{"stillpage si": "site", "stillpage site ap": "apply", "stillpage site apply --dry": "--dry-run", "stillpage --api x st": ""} {
		words := strings.Fields(typed)
		shell := exec.Command("bash", "-c", `. "$0"; COMP_WORDS=($1); COMP_CWORD=$(( ${#COMP_WORDS[@]} - 1 )); _stillpage; echo "${COMPREPLY[0]}"`, script, strings.Join(words, " "))
		got, err := shell.CombinedOutput()
		if err != nil || want != "" && strings.TrimSpace(string(got)) != want {
			t.Errorf("%s: got %q, %v, want %q", typed, got, err, want)
		}
	}
	for _, shell := range []string{"zsh", "fish"} {
		if out, err := command(t, t.TempDir(), "completion", shell).Output(); err != nil || !strings.Contains(string(out), "apply") {
			t.Errorf("%s: %v, %.100s", shell, err, out)
		}
	}
	if out, err := command(t, t.TempDir(), "completion").CombinedOutput(); err == nil {
		t.Errorf("without a shell: got %s", out)
	}
}

func pemOf(s *httptest.Server) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
}
