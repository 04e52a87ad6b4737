package infra_test

import (
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/stillpage/stillpage/internal/config"
)

// options are the flags of serve, and their variables.
func options() (flags, variables map[string]bool) {
	flags, variables = map[string]bool{}, map[string]bool{}
	for _, o := range new(config.Serve).ServeOptions() {
		flags["--"+o.Name], variables[o.Env()] = true, true
	}
	return flags, variables
}

func checkServe(t *testing.T, where string, args, env []string) {
	t.Helper()
	flags, variables := options()
	if len(args) == 0 || args[0] != "serve" {
		t.Fatalf("%s runs %v", where, args)
	}
	for _, arg := range args[1:] {
		name, _, _ := strings.Cut(arg, "=")
		if !flags[name] {
			t.Errorf("%s: serve has no %s", where, name)
		}
	}
	for _, name := range env {
		if strings.HasPrefix(name, "STILLPAGE_") && !variables[name] {
			t.Errorf("%s: there is no variable %s", where, name)
		}
	}
	values := func(name string) string {
		for i := 0; i < len(env); i++ {
			if env[i] == name {
				return "0123456789abcdef01234567" // a secret
			}
		}
		return ""
	}
	if _, err := config.ParseServe(args[1:], values); err != nil {
		t.Errorf("%s: %v", where, err)
	}
}

func TestCompose(t *testing.T) {
	t.Parallel()
	var compose struct {
		Services map[string]struct {
			Command         []string          `yaml:"command"`
			Environment     map[string]string `yaml:"environment"`
			StopGracePeriod string            `yaml:"stop_grace_period"`
			ReadOnly        bool              `yaml:"read_only"`
			MemLimit        string            `yaml:"mem_limit"`
			Healthcheck     struct{ Test []string }
			Volumes         []string
		}
	}
	if err := yaml.Unmarshal([]byte(read(t, "selfhost/compose.yaml")), &compose); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"stillpage-1", "stillpage-2", "app"} {
		s := compose.Services[name]
		var env []string
		for variable := range s.Environment {
			env = append(env, variable)
		}
		checkServe(t, name, s.Command, env)
		if name != "app" && (s.StopGracePeriod != "30s" || !s.ReadOnly || s.MemLimit == "" || !slices.Equal(s.Healthcheck.Test, []string{"CMD", "stillpage", "health"})) {
			t.Errorf("%s: %+v", name, s)
		}
	}
	nginx := compose.Services["nginx"]
	template := read(t, "nginx/site.conf.template")
	for variable := range nginx.Environment {
		if !strings.Contains(template, "${"+variable+"}") {
			t.Errorf("nginx has no use for %s", variable)
		}
		template = strings.ReplaceAll(template, "${"+variable+"}", "")
	}
	if strings.Contains(template, "${") {
		t.Error("compose.yaml does not fill in all of site.conf.template")
	}
}

func TestKubernetes(t *testing.T) {
	t.Parallel()
	type probe struct {
		HTTPGet struct{ Path, Port string } `yaml:"httpGet"`
	}
	type container struct {
		Args  []string
		Env   []struct{ Name string }
		Ports []struct {
			Name          string
			ContainerPort int `yaml:"containerPort"`
		}
		Resources struct {
			Limits map[string]string
		}
		StartupProbe   probe `yaml:"startupProbe"`
		ReadinessProbe probe `yaml:"readinessProbe"`
		LivenessProbe  probe `yaml:"livenessProbe"`
	}
	decoder := yaml.NewDecoder(strings.NewReader(read(t, "selfhost/kubernetes.yaml")))
	kinds := map[string]int{}
	for {
		var object struct {
			APIVersion string `yaml:"apiVersion"`
			Kind       string
			Metadata   struct{ Name string }
			Spec       struct {
				Template struct {
					Spec struct {
						Grace      int `yaml:"terminationGracePeriodSeconds"`
						Containers []container
					}
				}
			}
		}
		if err := decoder.Decode(&object); err != nil {
			break
		}
		if object.APIVersion == "" || object.Kind == "" || object.Metadata.Name == "" {
			t.Errorf("got %+v", object)
		}
		kinds[object.Kind]++
		if object.Kind != "Deployment" {
			continue
		}
		c := object.Spec.Template.Spec.Containers[0]
		var env []string
		for _, e := range c.Env {
			env = append(env, e.Name)
		}
		checkServe(t, "kubernetes.yaml", c.Args, env)
		if object.Spec.Template.Spec.Grace != 30 || c.Resources.Limits["memory"] == "" {
			t.Errorf("grace of %d s, limits %v", object.Spec.Template.Spec.Grace, c.Resources.Limits)
		}
		if c.ReadinessProbe.HTTPGet.Path != "/health/ready" || c.LivenessProbe.HTTPGet.Path != "/health/live" || c.StartupProbe.HTTPGet.Path != "/health/ready" {
			t.Errorf("probes: %+v %+v %+v", c.StartupProbe, c.ReadinessProbe, c.LivenessProbe)
		}
	}
	for _, kind := range []string{"Secret", "ServiceAccount", "Deployment", "Service", "PodDisruptionBudget", "HorizontalPodAutoscaler", "NetworkPolicy"} {
		if kinds[kind] == 0 {
			t.Errorf("there is no %s", kind)
		}
	}
}
