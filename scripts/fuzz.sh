#!/bin/sh
# Runs every fuzz target for the given time, one after the other.
set -eu
git grep -oE '^func Fuzz[A-Za-z]+' -- '*_test.go' | sed 's/:func / /' | while read -r file target; do
	package=$(dirname "$file")
	echo "== $target in ./$package"
	go test -run '^$' -fuzz "^$target\$" -fuzztime "$1" "./$package"
done
