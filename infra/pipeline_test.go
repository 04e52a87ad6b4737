package infra_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// Nothing reaches production but by tests, the test stage, its smoke test and somebody's word.
func TestPipeline(t *testing.T) {
	t.Parallel()
	text := read(t, "pipeline.yaml")
	if n := strings.Count(text, "stack/${AWS::StackName}/*"); n != 2 {
		t.Errorf("the pipeline may change itself: %d of 2 policies deny it", n)
	}
	var stages []string
	for _, m := range regexp.MustCompile(`(?m)^        - Name: (\w+)$`).FindAllStringSubmatch(section(t, "pipeline.yaml", "Resources", "Pipeline"), -1) {
		stages = append(stages, m[1])
	}
	if want := []string{"Source", "Test", "Package", "TestStage", "Approval", "Production"}; !slices.Equal(stages, want) {
		t.Errorf("got stages %v, want %v", stages, want)
	}
	testStage := section(t, "pipeline.yaml", "Resources", "Pipeline")
	if deploy, smoke, approve := strings.Index(testStage, `"dev"`), strings.Index(testStage, "!Ref Smoke"), strings.Index(testStage, "Manual"); deploy < 0 || smoke < deploy || approve < smoke {
		t.Error("the test stage is not deployed, tried and approved in this order")
	}
	// Tests run what is in the repository, and get nothing of the account.
	if role := section(t, "pipeline.yaml", "Resources", "TestRole"); strings.Contains(role, "DeployPolicy") || strings.Contains(role, "PutObject") {
		t.Error("tests may deploy")
	}
	// SAM refuses both at once.
	for _, file := range []string{"pipeline.yaml", "../.github/workflows/deploy.yaml"} {
		if strings.Contains(read(t, file), "--s3-bucket") && strings.Contains(read(t, "../samconfig.toml"), "resolve_") {
			t.Errorf("%s names a bucket, and samconfig.toml has SAM resolve one", file)
		}
	}
	denied := regexp.MustCompile(`Effect: Deny,?\s+Action: (?:'[\w:*]+'|\[[^\]]*\])`)
	text = denied.ReplaceAllString(text, "")
	if policy := denied.ReplaceAllString(section(t, "pipeline.yaml", "Resources", "DeployPolicy"), ""); regexp.MustCompile(`'\w+:\*'`).MatchString(policy) || strings.Count(policy, "Resource: '*'") != 2 {
		t.Error("who deploys may more than hand templates over")
	}
	for _, m := range regexp.MustCompile(`'([\w-]+:\*)'`).FindAllStringSubmatch(text, -1) {
		if m[1] != "lambda:*" && m[1] != "apigateway:*" {
			t.Errorf("%s is granted", m[1])
		}
	}
	// What the template has, CloudFormation may create.
	role := section(t, "pipeline.yaml", "Resources", "CloudFormationRole")
	for kind, service := range map[string]string{
		"AWS::DynamoDB::": "dynamodb:CreateTable", "AWS::SQS::": "sqs:CreateQueue", "AWS::S3::": "s3:CreateBucket", "AWS::Serverless::Function": "lambda:*",
		"AWS::ApiGatewayV2::": "apigateway:*", "AWS::Cognito::": "cognito-idp:CreateUserPool", "AWS::Pipes::": "pipes:CreatePipe", "AWS::IAM::Role": "iam:CreateRole",
		"AWS::Logs::LogGroup": "logs:CreateLogGroup", "AWS::CloudFormation::Stack": "cloudformation:CreateStack", "DeploymentPreference": "codedeploy:CreateDeploymentGroup",
		"Schedule": "events:PutRule",
	} {
		if strings.Contains(read(t, mainTemplate), kind) && !strings.Contains(role, service) {
			t.Errorf("CloudFormation may not create %s: %s", kind, service)
		}
	}
	for file, services := range map[string][]string{
		alarmsTemplate: {"cloudwatch:PutMetricAlarm", "sns:CreateTopic"}, dashboardTemplate: {"cloudwatch:PutDashboard", "logs:PutQueryDefinition"},
		edgeTemplate: {"cloudfront:CreateFunction", "cloudfront:CreateDistribution", "cloudfront:CreateOriginAccessControl", "cloudfront:CreateCachePolicy"},
	} {
		for _, service := range services {
			if !strings.Contains(role, service) {
				t.Errorf("CloudFormation may not create what is in %s: %s", file, service)
			}
		}
	}
}

func TestWorkflow(t *testing.T) {
	t.Parallel()
	text := read(t, "../.github/workflows/deploy.yaml")
	var workflow struct {
		Permissions map[string]string
		Jobs        map[string]struct {
			Needs       string
			Environment string
			Permissions map[string]string
			Steps       []struct{ Uses, Run string }
		}
	}
	if err := yaml.Unmarshal([]byte(text), &workflow); err != nil {
		t.Fatal(err)
	}
	for job, needs := range map[string]string{"test": "", "package": "test", "test-stage": "package", "smoke": "test-stage", "production": "smoke"} {
		if got := workflow.Jobs[job].Needs; got != needs {
			t.Errorf("%s needs %q, want %q", job, got, needs)
		}
	}
	if workflow.Permissions["contents"] != "read" || len(workflow.Permissions) != 1 {
		t.Errorf("all jobs may %v", workflow.Permissions)
	}
	for name, job := range workflow.Jobs {
		assumes := slices.ContainsFunc(job.Steps, func(s struct{ Uses, Run string }) bool {
			return strings.HasPrefix(s.Uses, "aws-actions/configure-aws-credentials@")
		})
		if assumes != (job.Permissions["id-token"] == "write") || assumes && job.Environment == "" {
			t.Errorf("%s: assumes a role: %v; %+v", name, assumes, job.Permissions)
		}
	}
	if workflow.Jobs["production"].Environment != "prod" || workflow.Jobs["test-stage"].Environment != "dev" {
		t.Error("stages are in the wrong environment")
	}
	if bad := regexp.MustCompile(`secrets\.|aws-access-key|AWS_SECRET`).FindString(text); bad != "" {
		t.Errorf("there is a key: %s", bad)
	}
	for _, environment := range []string{"dev", "prod"} {
		role := section(t, "pipeline.yaml", "Resources", "GitHub"+strings.ToUpper(environment[:1])+environment[1:]+"Role")
		other := map[string]string{"dev": "prod", "prod": "dev"}[environment]
		wantText(t, role, "repo:${GitHubRepository}:environment:"+environment+"'", "Effect: Deny", "stack/${StackPrefix}"+other+"*")
		wantText(t, read(t, "../samconfig.toml"), "["+environment+".deploy.parameters]", `stack_name = "stillpage-`+environment+`"`)
	}
}
