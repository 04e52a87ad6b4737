package functions_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// codeDeploy keeps what it is told.
type codeDeploy struct {
	*httptest.Server
	mu   sync.Mutex
	told []map[string]string
}

func startCodeDeploy(t *testing.T) *codeDeploy {
	c := &codeDeploy{}
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		var in map[string]string
		if err != nil || json.Unmarshal(body, &in) != nil || r.Header.Get("X-Amz-Target") != "CodeDeploy_20141006.PutLifecycleEventHookExecutionStatus" {
			t.Errorf("CodeDeploy was asked %s: %s", r.Header.Get("X-Amz-Target"), body)
		}
		c.mu.Lock()
		c.told = append(c.told, in)
		c.mu.Unlock()
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
		json.NewEncoder(w).Encode(map[string]string{"lifecycleEventHookExecutionId": in["lifecycleEventHookExecutionId"]})
	}))
	t.Cleanup(c.Close)
	return c
}

// A version that does not work gets no traffic; one whose site is down does.
func TestNewVersionIsTried(t *testing.T) {
	t.Parallel()
	a := install(t)
	deployments := startCodeDeploy(t)
	good := a.env
	for _, tt := range []struct {
		name, function string
		env            []string
		want, log      string
	}{
		{"render works", "render", nil, "Succeeded", "works"},
		{"render has no browser", "render", []string{"PATH=/none", "STILLPAGE_CHROMIUM=/none"}, "Failed", "it fails"},
		{"router works", "router", nil, "Succeeded", "works"},
		{"router without table", "router", []string{"STILLPAGE_CONFIG_TABLE=no-such-table", "STILLPAGE_SITES=http://other.example"}, "Failed", "sites-unavailable"},
		{"router, and the site is down", "router", []string{"STILLPAGE_SITES=http://127.0.0.1:1", "SITE=http://127.0.0.1:1"}, "Succeeded", "not the version's fault"},
		{"admin works", "admin", nil, "Succeeded", "works"},
		{"admin with rules", "admin", []string{"STILLPAGE_ACCESS=nobody=viewer"}, "Succeeded", "works"},
		{"admin without table", "admin", []string{"STILLPAGE_TABLE=no-such-table"}, "Failed", "not well"},
	} {
		a.env = append(good[:len(good):len(good)], tt.env...)
		a.deploy(tt.function, 25*time.Second, 0)
		if tt.name == "router, and the site is down" {
			a.deploy("render", 25*time.Second, 0) // it knows that site too
		}
		sites := ""
		for _, e := range a.env {
			if name, value, _ := strings.Cut(e, "="); name == "STILLPAGE_SITES" && tt.want == "Succeeded" || name == "STILLPAGE_SITES" && sites == "" {
				sites = value
			}
		}
		a.env = append(good[:len(good):len(good)], "AWS_ENDPOINT_URL_CODEDEPLOY="+deployments.URL, "STILLPAGE_CHECK="+tt.function,
			"STILLPAGE_CHECK_VERSION=arn:aws:lambda:us-east-1:123456789012:function:"+tt.function+":7", "STILLPAGE_SITES="+sites)
		a.deploy("check", 60*time.Second, 0)
		result, err := a.lambda.Invoke(t.Context(), "check", []byte(`{"DeploymentId":"d-1","LifecycleEventHookExecutionId":"hook"}`))
		if err != nil || result.FunctionError != "" {
			t.Fatalf("%s: %v %s", tt.name, err, result.Payload)
		}
		told := deployments.told[len(deployments.told)-1]
		if log := a.lambda.Log("check"); told["status"] != tt.want || told["deploymentId"] != "d-1" || told["lifecycleEventHookExecutionId"] != "hook" || !strings.Contains(log, tt.log) {
			t.Errorf("%s: CodeDeploy was told %v, want %s; log, want %q: %s\n%s", tt.name, told, tt.want, tt.log, log, a.lambda.Log(tt.function))
		}
		a.env = good
		a.deploy("render", 30*time.Second, 2)
	}
	if result, err := a.lambda.Invoke(t.Context(), "check", []byte(`{}`)); err != nil || result.FunctionError == "" {
		t.Errorf("an event of nobody's: got %v, %s", err, result.Payload)
	}
}
