# The text behind ## is what `make` prints.

.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

GO ?= go
LINT := $(GO) run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
# The modules beside this one.
MODULES := $(patsubst %/go.mod,%,$(wildcard */go.mod))
FUZZTIME ?= $(if $(MONGOSTORE_LONG),10m,10s)
FUZZPACKAGES ?= ./...
SOAK ?= 10m
# Most tests wait for a server most of the time.
PARALLEL ?= 4
COVERAGE := 95

# The tests run with the race detector, and never from the cache: a server is
# no file that go test could see a change of. Which server it was they append
# to the report, since go test hides what a passing package prints.
GOTEST := $(GO) test -race -count=1 -parallel $(PARALLEL)
export MONGOSTORE_TEST_REPORT := $(CURDIR)/.cache/report
reported = mkdir -p .cache; : >$(MONGOSTORE_TEST_REPORT); status=0; { $(1); } || status=$$?; \
	sort $(MONGOSTORE_TEST_REPORT); exit $$status
# $(call each,a b,command) runs the command in each of the folders.
each = set -e; for module in $(1); do echo "$@ $$module"; (cd $$module && $(2)); done

help: ## print this
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

test: server ## run all tests on MONGODB_URI, Docker or mongod (fetched if there is none)
	@$(call reported,$(GOTEST) ./...)

test-replicaset: server ## the same on a replica set of three members
	@export MONGOSTORE_TEST_TOPOLOGY=replicaset; $(call reported,$(GOTEST) ./...)

test-docker: ## the same in Docker, on the image MONGOSTORE_TEST_IMAGE (default mongo:8.0)
	@export MONGOSTORE_TEST_SERVER=docker; $(call reported,$(GOTEST) ./...)

test-ferretdb: server ## the store's tests on an embedded FerretDB
	@unset MONGOSTORE_TEST_SERVER; \
	$(call reported,cd example && $(GO) run ./cmd/ferretdb -- sh -c 'cd .. && $(GOTEST) .')

test-modules: ## the tests of the modules in folders, but for the acceptance tests
	@$(call each,$(filter-out acceptance,$(MODULES)),$(GOTEST) ./...)

# Those that measure times go one after the other. With MONGOSTORE_LONG=1 the
# scenarios run at full size.
TIMED := ./failover ./load ./wire
UNTIMED = $$($(GO) list ./... | grep -vE '/(express|failover|load|wire)$$')
ACCEPT := $(GOTEST) -timeout $(if $(MONGOSTORE_LONG),180m,15m)
CHECKER := MONGOSTORE_CHECK=acceptance $(GO) test -count=1 -timeout 180m -run '^TestChecker$$' .
acceptance: server ## every order of the commands, histories, failovers, faults, attackers, load; print the table of scenarios
	@rm -f $(MONGOSTORE_SCENARIOS); status=0; \
	($(call reported,$(CHECKER) && cd acceptance && $(ACCEPT) $(UNTIMED); a=$$?; $(ACCEPT) -p 1 $(TIMED) && [ $$a = 0 ])) || status=$$?; \
	(cd acceptance && $(GO) run ./cmd/scenarios $(MONGOSTORE_SCENARIOS)) || status=$$?; exit $$status
acceptance: export MONGOSTORE_SCENARIOS := $(CURDIR)/.cache/scenarios

checker: ## try every order of the commands of requests at the same time: see checker_test.go
	@$(call reported,$(CHECKER))

acceptance-readme: ## write the README's table of scenarios from the last make acceptance
	@cp .cache/scenarios acceptance/results/scenarios.json
	@cd acceptance && $(GO) run ./cmd/scenarios -readme ../README.md results/scenarios.json

# The packages of the Express side are of the versions in package-lock.json.
acceptance-express: server express-packages ## one login for a real Express and a Go application; print the table of the cases
	@rm -f .cache/express-table; status=0; \
	(export MONGOSTORE_EXPRESS_TABLE=$(CURDIR)/.cache/express-table; \
		$(call reported,cd acceptance && $(GOTEST) -parallel 16 ./express)) || status=$$?; \
	cat .cache/express-table 2>/dev/null; exit $$status

express-packages:
	@command -v node >/dev/null && command -v npm >/dev/null || \
		{ echo "this needs Node.js 20 or later and npm: apt-get install nodejs npm, or https://nodejs.org" >&2; exit 1; }
	@node -e 'process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)' || \
		{ echo "this needs Node.js 20 or later, and node is $$(node --version)" >&2; exit 1; }
	@cd acceptance/express; cmp -s package-lock.json node_modules/.installed || \
		{ npm ci --no-progress && cp package-lock.json node_modules/.installed; }

acceptance-switch: server ## walk an application from gin-contrib's Mongo store to this one, and print each step
	@cd acceptance && $(GO) test -count=1 -v ./cmd/switch

# Each mongod is fetched when it is not there yet.
servers: ## the whole suite on each kind of server and client, into acceptance/results
	@cd acceptance && $(GO) run ./cmd/servers -out results/servers.json

servers-readme: ## write the README's table of servers from acceptance/results
	@cd acceptance && $(GO) run ./cmd/servers -readme ../README.md

planted: server ## plant known mistakes in a copy of the store, and see that the histories notice
	@cd acceptance && $(GO) run ./cmd/planted

# What the tests of any package run counts. internal/mongotest is test code.
COVERED = $$($(GO) list ./... | grep -v /internal/mongotest | paste -sd, -)
cover: server ## the same as test, with the coverage of the store; fail under 95 %
	@$(call reported,$(GOTEST) -coverpkg=$(COVERED) -coverprofile=coverage.out ./...)
	@$(GO) tool cover -func=coverage.out | awk '/^total:/ { print "coverage " $$3; exit $$3 + 0 < $(COVERAGE) }'

lint: ## run golangci-lint on all modules
	@$(call each,. $(MODULES),$(LINT) run ./...)

vet: ## run go vet on all modules
	@$(call each,. $(MODULES),$(GO) vet ./...)

fmt: ## format all modules with gofumpt and goimports
	@$(LINT) fmt

fmt-check: ## print what make fmt would change
	@$(LINT) fmt --diff

allocs: ## see that no operation allocates more than it did
	@$(GO) test -count=1 -run TestAllocationsDoNotGrow .

docs: server ## run the examples of the documentation; look for exported names without a comment
	@$(GO) test -count=1 -run '^Example|README|Docs' ./...
	@$(LINT) run --enable-only revive ./...

fuzz: server ## run each fuzz test for FUZZTIME (default 10s, and 10m with MONGOSTORE_LONG=1)
	@set -e; for package in $$($(GO) list $(FUZZPACKAGES)); do \
		for name in $$($(GO) test -list '^Fuzz' $$package | grep '^Fuzz'); do \
			$(GO) test -run '^$$' -fuzz "^$$name\$$" -fuzztime $(FUZZTIME) $$package; \
		done; \
	done

# Not on MONGODB_URI: it is others' too, and which commands are whose could not be told.
bench bench-quick bench-scale bench-soak: export MONGODB_URI =

bench: server ## compare with other session stores, into bench/results: 15 minutes
	@cd bench && $(GO) run . -payloads 1 -concurrency 8 -rounds 12 -out results/readme && $(GO) run . -out results/full

bench-quick: server ## the same with small sessions, 8 requests at once, on a standalone: a minute
	@cd bench && $(GO) run . -payloads 1 -concurrency 8 -topologies standalone -npm=false

bench-scale: server ## the store alone, with 5 million sessions, into bench/results: 6 minutes
	@cd bench && $(GO) run . -scale -rounds 10 -n 2000 -out results/scale

bench-soak: server ## the store alone, under full load for SOAK (default 10m), into bench/results
	@cd bench && $(GO) run . -soak $(SOAK) -out results/soak

bench-readme: ## write the README's section on speed from bench/results
	@cd bench && $(GO) run . -readme ../README.md

demo: ## run the example application; .env.example has its settings
	@cd example && $(GO) run . -env ../.env

# Not on MONGODB_URI: two tabs are made to write at once by fail points.
e2e: export MONGODB_URI =
e2e: server e2e-packages ## walk through the example with Chromium, with pictures in .cache/screenshots
	@$(call reported,cd example && MONGOSTORE_E2E=1 $(GO) test -count=1 ./e2e)

e2e-packages:
	@cd example/e2e; command -v npm >/dev/null || { echo "without npm, axe-core does not check accessibility"; exit 0; }; \
		cmp -s package-lock.json node_modules/.installed || \
		{ npm ci --no-progress --no-audit --no-fund && cp package-lock.json node_modules/.installed; }

check: fmt-check lint vet cover allocs docs test-modules ## all that must pass before a commit

server:
	@scripts/server

clean: ## remove what the other targets left
	@rm -rf .cache coverage.out acceptance/express/node_modules example/e2e/node_modules

.PHONY: $(shell sed -n 's/^\([a-z0-9-]*\):.*/\1/p' Makefile)
