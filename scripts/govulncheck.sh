#!/bin/sh
# Runs govulncheck. Without a way to the vulnerability database nothing can be
# checked, which is said and is no failure: a build machine may have no network.
set -eu
out=$(mktemp)
trap 'rm -f "$out"' EXIT
echo "go run $GOVULNCHECK ./..."
if go run "$GOVULNCHECK" ./... >"$out" 2>&1; then
	cat "$out"
elif grep -q 'govulncheck: fetching vulnerabilities' "$out"; then
	echo "govulncheck: NOT CHECKED, the vulnerability database cannot be reached from here"
else
	cat "$out"
	exit 1
fi
