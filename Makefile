# runnel. `make run` runs it, `make test` tests everything; `make help` lists the rest.
SHELL := /bin/bash
export CGO_ENABLED := 0

GO      ?= go
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
COMMIT  ?= $(shell git rev-parse --short HEAD 2>/dev/null || echo unknown)
LDFLAGS := -s -w -X main.version=$(VERSION) -X main.commitHash=$(COMMIT)
REF     ?= main
FUZZTIME ?= 10m

# The modules that the binary carries, built from examples/modules by the same Go.
BUNDLED := cmd/runnel/bundled/classify.wasm

.PHONY: help run chain build guests test soak check lint bench bench-compare fuzz package clean deps

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

run: build ## build everything and run the agent on its embedded default
	@./bin/runnel run

chain: build ## run a host, a cluster and a central tier on this machine, with certificates made on the spot
	@./examples/chain/run

build: $(BUNDLED) ## write ./bin/runnel; it wants Go and nothing else
	@mkdir -p bin
	$(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/runnel ./cmd/runnel

guests: build ## compile every guest again, and hold the committed ones against their hashes (UPDATE=1: write those anew)
	@UPDATE=$(UPDATE) ./internal/testkit/guests

cmd/runnel/bundled/%.wasm: $(wildcard examples/modules/classify/*.go guest-sdk/go/*.go) go.mod
	GOOS=wasip1 GOARCH=wasm $(GO) build -buildmode=c-shared -trimpath -ldflags '-s -w' -o $@ ./examples/modules/$*

deps: ## install what the tests need, or name it
	@./internal/testkit/install

test: deps build ## every test: vet, staticcheck, unit and race, every guest and SDK, real daemons
	@$(MAKE) --no-print-directory guests
	@for sdk in $(wildcard guest-sdk/*/Makefile); do $(MAKE) --no-print-directory -C $$(dirname $$sdk) test || exit 1; done
	$(GO) vet ./...
	$(GO) tool staticcheck ./...
	GOOS=darwin GOARCH=arm64 $(GO) vet ./...
	$(TEST) -timeout 20m $(UNIT)
	CGO_ENABLED=1 $(TEST) -race -timeout 30m $(RACE)
	./internal/testkit/fuzz 1s
	$(TEST) -tags integration -timeout 20m -count 1 $(INTEGRATION)

soak: deps build ## the long forms of the tests: hours
	$(GO) test -tags soak -timeout 6h -count 1 ./wasm/... ./agent/...
	$(GO) test -tags 'soak integration' -timeout 6h -count 1 ./storage/... ./internal/testkit/integration/... ./internal/testkit/chain/...

# The rooms in which goroutines meet.
RACE := ./agent/... ./storage/... ./forwarders/... ./wasm/... ./internal/listen/... ./internal/tiers/... ./internal/tlsconf/... ./cmd/...
# What talks to real daemons: Docker, rsyslog, syslog-ng; and the store on disks that fail (strace, mount).
INTEGRATION := ./internal/testkit/integration/... ./internal/testkit/chain/... ./examples/... ./storage/...
# Everything else: with the tag integration a package's other tests run too.
UNIT = $(filter-out $(shell $(GO) list -tags integration $(INTEGRATION)),$(shell $(GO) list ./...))
# vet has run before.
TEST := $(GO) test -vet=off

check: $(BUNDLED) ## vet, staticcheck and unit tests, in under three minutes
	$(GO) vet ./...
	$(GO) tool staticcheck ./...
	$(GO) test -short ./...

bench: build ## measure, and say where the figures go
	./internal/testkit/bench.sh

bench-compare: ## compare the benchmarks of this tree with those of REF (default main)
	./internal/testkit/bench-compare.sh $(REF)

fuzz: ## every fuzz target, FUZZTIME each; an input that fails is left in testdata/fuzz
	./internal/testkit/fuzz $(FUZZTIME)

package: $(BUNDLED) ## static binaries for linux/amd64, linux/arm64 and darwin/arm64 in ./dist
	@mkdir -p dist
	@for t in linux/amd64 linux/arm64 darwin/arm64; do \
	  GOOS=$${t%/*} GOARCH=$${t#*/} $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o dist/runnel-$${t%/*}-$${t#*/} ./cmd/runnel || exit 1; done
	@cd dist && sha256sum runnel-* > SHA256SUMS && cat SHA256SUMS

clean: ## remove what was built
	rm -rf bin dist $(BUNDLED)
