# `make help` lists the targets.

STATICCHECK = honnef.co/go/tools/cmd/staticcheck@v0.8.2
GOVULNCHECK = golang.org/x/vuln/cmd/govulncheck@v1.8.0
ACTIONLINT  = github.com/rhysd/actionlint/cmd/actionlint@v1.7.12
VERSION    ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)

.DEFAULT_GOAL := help
.PHONY: help run test bench memory-curve screenshots lint lint-templates build image test-image selfhost-image generate fuzz deps package deploy

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: deps build ## run everything on this machine, in front of a demo shop: http://127.0.0.1:8080
	./bin/stillpage serve --demo

test: ## run all tests, with the real Chromium, DynamoDB Local, an S3 server, and the race detector
	@scripts/deps.sh cc node java nginx curl
	@scripts/aws-deps.sh
	go test -race ./...
	go test -run '^TestSimulation$$' ./internal/prerender -simulate 2000

bench: ## compare with prerender and rendertron (installs them from npm), measure hits, and write docs/benchmarks.md
	@scripts/deps.sh node java
	@scripts/bench-deps.sh
	@scripts/aws-deps.sh
	go run ./bench $(BENCHFLAGS)

memory-curve: deps build ## measure renders at Lambda's memory settings, and write docs/scaling.md's curve (Linux, root)
	go run ./bench/curve

screenshots: deps ## write the pictures of docs/console.md
	go test ./cmd/stillpage -count=1 -run '^TestConsole$$' -args -screenshots $(CURDIR)/docs/console

lint: ## gofmt, go vet, staticcheck, govulncheck
	@unformatted=$$(gofmt -l $$(git ls-files '*.go')); if [ -n "$$unformatted" ]; then echo "not gofmt-ed: $$unformatted"; exit 1; fi
	go mod tidy -diff
	go vet ./...
	go vet -tags image ./functions/render
	go run $(STATICCHECK) ./...
	@GOVULNCHECK=$(GOVULNCHECK) scripts/govulncheck.sh
	@ACTIONLINT=$(ACTIONLINT) scripts/lint-templates.sh

lint-templates: ## cfn-lint, on template.yaml, its translation and infra; actionlint, on the workflow
	@ACTIONLINT=$(ACTIONLINT) scripts/lint-templates.sh

build: ## build bin/stillpage
	go build -trimpath -ldflags '-X main.version=$(VERSION)' -o bin/stillpage ./cmd/stillpage

image: export VERSION := $(VERSION)
image: ## build the image of the render function, with Docker
	scripts/image.sh

test-image: export VERSION := $(VERSION)
test-image: ## build that image, and run it as Lambda would (Linux)
	@scripts/deps.sh node java
	@scripts/aws-deps.sh
	scripts/image.sh test

selfhost-image: export VERSION := $(VERSION)
selfhost-image: ## build the image of `stillpage serve`, with Docker, and try it (docs/selfhost.md)
	scripts/image.sh selfhost

generate: ## write the lists of internal/useragent into the edge function and the maps of nginx
	go run ./internal/useragent/generate infra/edge/viewer-request.js infra/nginx/stillpage-bots.conf
	scripts/embed-edge.sh

fuzz: ## run every fuzz target for a minute (FUZZTIME=1m)
	scripts/fuzz.sh $(or $(FUZZTIME),1m)

deps: ## install Chromium and fonts if they are missing (Debian, Ubuntu)
	@scripts/deps.sh

# `make deploy ENV=prod`; the environments are in samconfig.toml.
ENV ?= dev

# SAM's Go builder takes its flags from the environment only.
package: export CGO_ENABLED = 0
package: export GOFLAGS = -trimpath -tags=lambda.norpc '-ldflags=-s -X main.version=$(VERSION)'
package: ## build the functions and the image for AWS, with SAM and Docker
	echo "$(VERSION)" >.version # for the image, to which SAM hands on nothing else
	sam build --config-env $(ENV)

deploy: package ## deploy to AWS what samconfig.toml describes: ENV=dev or ENV=prod
	sam deploy --config-env $(ENV) --resolve-s3 --resolve-image-repos
