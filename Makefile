# stix. `make help` lists what there is. build, demo and bench need only Go,
# make and git; test adds the race detector where a C compiler is found; check
# and generate fetch the tools pinned below into .tools/bin.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

GO      ?= go
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
LDFLAGS := -s -w -X github.com/stix-run/stix/internal/buildinfo.version=$(VERSION)
# The version comes from above; the go command must not ask git again, which
# fails in a checkout that belongs to another user.
BUILD   := $(GO) build -trimpath -buildvcs=false -ldflags '$(LDFLAGS)'

FUZZTIME ?= 20s
# The commit with which the wire format must be compatible; see scripts/check-proto.
PROTO_BASE ?=

# The race detector needs cgo and a C compiler; under CI a missing one is an error.
CC_FOUND := $(shell command -v $$($(GO) env CC) 2>/dev/null)
ifneq ($(CC_FOUND),)
RACE := CGO_ENABLED=1 $(GO) test -race
else ifeq ($(CI),true)
RACE := echo 'no C compiler: the race detector, which CI must run, needs one' >&2; exit 1; $(GO) test
else
RACE := $(GO) test
endif

TOOLS      := .tools/bin
TOOL       := GO=$(GO) scripts/tool
BUF        := github.com/bufbuild/buf/cmd/buf v1.75.0
GENGO      := google.golang.org/protobuf/cmd/protoc-gen-go v1.36.12
GENCONNECT := connectrpc.com/connect/cmd/protoc-gen-connect-go v1.21.1
STATIC     := honnef.co/go/tools/cmd/staticcheck v0.8.2

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: ## build bin/stix, bin/stixd and bin/stix-agent
	@mkdir -p bin
	CGO_ENABLED=0 $(BUILD) -o bin/ ./cmd/stix ./cmd/stixd ./cmd/stix-agent

.PHONY: demo
demo: build ## run a task on machines of its own, in a scratch home, and clean up
	@scripts/demo

.PHONY: test
test: ## vet, test everything, build for the other platforms
	$(GO) vet ./...
	$(RACE) $$(GO=$(GO) scripts/bubbles no)
	$(RACE) -cpu 1 $$(GO=$(GO) scripts/bubbles yes) # see scripts/bubbles
	@$(MAKE) --no-print-directory cross

.PHONY: cross
cross: ## build stix and stixd for darwin/arm64 and linux/arm64
	@for target in darwin/arm64 linux/arm64; do \
		echo "build for $$target"; \
		GOOS=$${target%/*} GOARCH=$${target#*/} CGO_ENABLED=0 $(BUILD) -o /dev/null ./cmd/stix ./cmd/stixd; \
	done

.PHONY: check
check: lint proto-check ## formatting, vet, staticcheck, generated code, wire compatibility

.PHONY: lint
lint: tools-lint
	@unformatted=$$(git ls-files -co --exclude-standard '*.go' | xargs gofmt -l); \
		if [[ -n $$unformatted ]]; then echo "not formatted (gofmt -w):"; echo "$$unformatted"; exit 1; fi
	$(GO) vet ./...
	$(GO) vet -tags integration ./integration/...
	GOOS=darwin GOARCH=arm64 CGO_ENABLED=0 $(GO) vet ./...
	$(TOOLS)/staticcheck ./...

.PHONY: proto-check
proto-check: tools-proto
	PROTO_BASE=$(PROTO_BASE) scripts/check-proto

.PHONY: integration
integration: build ## run the scenarios with the real programs, then more seeds of those in virtual time
	STIX_TEST_BIN=$(CURDIR)/bin $(RACE) -count=1 -tags integration ./integration/binaries/...
	STIX_SEEDS=300 STIX_STRIDE=1 $(GO) test -count=1 ./integration

.PHONY: bench
bench: build ## measure, and write docs/performance.md
	$(GO) run ./cmd/stix-load -bin $(CURDIR)/bin -write docs/performance.md

.PHONY: generate
generate: tools-proto ## make the Go code of proto/ again
	$(TOOLS)/buf generate

# The facts lie outside the repository: only what is made of them is kept in it.
FACTS ?= ../shared/facts/catalog

.PHONY: catalog
catalog: ## make the embedded catalog again from the tables in FACTS
	$(GO) run ./cmd/stix-catalog -facts $(FACTS) -out catalog/data

.PHONY: fuzz
fuzz: ## run every fuzz target for FUZZTIME (20s)
	GO=$(GO) scripts/fuzz $(FUZZTIME)

.PHONY: clean
clean: ## remove what was built, but not the tools
	rm -rf bin bench/out

.PHONY: tools-proto
tools-proto:
	@$(TOOL) $(BUF)
	@$(TOOL) $(GENGO)
	@$(TOOL) $(GENCONNECT)

.PHONY: tools-lint
tools-lint:
	@$(TOOL) $(STATIC)
