#!/bin/sh
# Writes infra/edge/viewer-request.js into infra/edge.yaml, between its markers:
# CloudFormation takes the code of a CloudFront Function from the template itself.
#
# One statement becomes another: where the function selects the router's origin,
# the deployed one makes a group of it and the app's origin, to which CloudFront
# fails over. The ID of the latter is a parameter.
set -eu
cd "$(dirname "$0")/.."

source=infra/edge/viewer-request.js
template=infra/edge.yaml
statement="  cf.selectRequestOriginById('stillpage-router');"
if [ "$(grep -c -F -x "$statement" "$source")" != 1 ]; then
	echo "embed-edge: $source must have one line '$statement'" >&2
	exit 1
fi
# In Fn::Sub, it would be taken for a reference.
if grep -q '\${' "$source"; then
	echo "embed-edge: $source must not contain '\${'" >&2
	exit 1
fi

code=$(mktemp)
trap 'rm -f "$code"' EXIT
awk -v statement="$statement" '
	$0 == statement {
		print "  cf.createRequestOriginGroup({"
		print "    originIds: [{ originId: \047stillpage-router\047 }, { originId: \047${AppOriginId}\047 }],"
		print "    failoverCriteria: { statusCodes: [500, 502, 503, 504] },"
		print "  });"
		next
	}
	{ print }
' "$source" | sed 's/^\(.\)/        \1/' >"$code"
awk -v code="$code" '
	/^ *# END EMBEDDED/ { inside = 0 }
	!inside { print }
	/^ *# BEGIN EMBEDDED/ {
		inside = 1
		print "      FunctionCode: !Sub |"
		while ((getline line <code) > 0) print line
	}
' "$template" >"$code.new"
cat "$code.new" >"$template"
rm -f "$code.new"
