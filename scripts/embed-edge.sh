#!/bin/sh
# Writes infra/edge/viewer-request.js into infra/edge.yaml, between its markers:
# CloudFormation takes the code of a CloudFront Function from the template itself.
#
# One line becomes another: the ID of the app's origin is a parameter there.
set -eu
cd "$(dirname "$0")/.."

source=infra/edge/viewer-request.js
template=infra/edge.yaml
statement="const APP_ORIGIN = 'stillpage-app';"
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
		print "const APP_ORIGIN = \047${AppOriginId}\047;"
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
