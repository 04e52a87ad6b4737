#!/bin/sh
# Runs every fuzz target for the given time, one after the other.
set -eu
git grep -hoE '^func Fuzz[A-Za-z]+' -- '*_test.go' | sed 's/func //' | sort | while read -r target; do
	package=$(git grep -lE "^func $target\\(" -- '*_test.go' | xargs dirname)
	echo "== $target in ./$package"
	go test -run '^$' -fuzz "^$target\$" -fuzztime "$1" "./$package"
done
