#!/bin/sh
# Runs actionlint on the workflow, and cfn-lint on the templates and on what SAM makes of
# template.yaml. What
# cannot be checked because a tool is missing is said, and is no failure.
set -eu
cd "$(dirname "$0")/.."

echo "actionlint .github/workflows"
go run "$ACTIONLINT" .github/workflows/*.yaml

if command -v cfn-lint >/dev/null 2>&1; then
	echo "cfn-lint template.yaml infra/*.yaml"
	cfn-lint template.yaml infra/*.yaml
else
	echo "lint-templates: NOT CHECKED, cfn-lint is missing; get it with: pip install cfn-lint"
	exit 0
fi
if ! python3 -c 'import samtranslator' >/dev/null 2>&1; then
	echo "lint-templates: SAM's translation NOT CHECKED, python3 lacks samtranslator; get it with: pip install aws-sam-translator"
	exit 0
fi

# The translator takes what `sam package` leaves: code and nested templates that
# have been uploaded. Their addresses are made up; what is in them was read above.
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
AWS_DEFAULT_REGION=us-east-1 python3 - template.yaml >"$dir/translated.json" <<'EOF'
import json, logging, sys
from samtranslator.translator.transform import transform
from samtranslator.yaml_helper import yaml_parse

logging.disable(logging.CRITICAL)  # it warns of feature toggles that only AWS has
with open(sys.argv[1]) as file:
    template = yaml_parse(file.read())
for resource in template["Resources"].values():
    properties = resource.get("Properties", {})
    if resource["Type"] == "AWS::CloudFormation::Stack":
        properties["TemplateURL"] = "https://s3.us-east-1.amazonaws.com/uploads/nested.template"
    elif properties.get("PackageType") == "Image":
        properties["ImageUri"] = "123456789012.dkr.ecr.us-east-1.amazonaws.com/render:uploaded"
    elif "CodeUri" in properties:
        properties["CodeUri"] = "s3://uploads/code.zip"

class NoManagedPolicies:  # the roles are written out
    def load(self):
        return {}

json.dump(transform(template, {"SiteDomains": "www.example.com"}, NoManagedPolicies()), sys.stdout, indent=1)
EOF

# W2001, unused parameter: SAM puts the value of Deployments where it is used, so
# the parameter's name is gone.
echo "cfn-lint, on SAM's translation of template.yaml"
cfn-lint --ignore-checks W2001 -- "$dir/translated.json"
