# Everything that one does with the package. Tools that are no Rust crates come from Python packages, pinned in
# tests/requirements, each set in an environment of its own below target/.

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
# arm64 or x86_64: what `make build` builds for. What a stage runs on stands in samconfig.toml.
ARCH ?= arm64
# Cargo features of the artifact. `otel` sends spans to a collector: docs/deploy/traces.md.
FEATURES ?=
EVENT ?= events/mixed.json
# The format of the rows that `make run` streams and `make watch` reads: debezium, debezium-flattened, dms, dynamodb.
FORMAT ?=
STAGE ?= dev
# `required`: `make deps` fails where it cannot reach the database of advisories.
ADVISORIES ?=
# A zip of the function that is built already, as a release has it: `make deploy` then builds nothing.
ZIP ?=
# What the template is validated for. Where a stage is deployed to stands in samconfig.toml.
REGION ?= us-east-1

# The packages and features of every build that is linted or tested: one set, since another compiles the AWS SDK again.
TESTED := --workspace --all-features
# `make run` and `make watch` need no AWS client, and compile none.
RUNNER := --package contact-sync-testkit --bin local

CARGO_DENY_VERSION := 0.20.2
CARGO_MACHETE_VERSION := 0.9.2
CARGO_MUTANTS_VERSION := 27.1.0
CARGO_CYCLONEDX_VERSION := 0.5.9

VENV := target/venv
ASYNCAPI := target/asyncapi
TOOLS := target/tools
# The files of a release.
DIST := target/dist
# Tests write down here what they came to.
EVIDENCE := target/tmp/evidence
# cargo finds its subcommands on the PATH; what the machine already has comes first.
CARGO_LAMBDA := $(shell command -v cargo-lambda 2>/dev/null || echo $(VENV)-lambda/ready)
CARGO_DENY := $(shell command -v cargo-deny 2>/dev/null || echo $(TOOLS)/bin/cargo-deny)
CARGO_MACHETE := $(shell command -v cargo-machete 2>/dev/null || echo $(TOOLS)/bin/cargo-machete)
CARGO_MUTANTS := $(shell command -v cargo-mutants 2>/dev/null || echo $(TOOLS)/bin/cargo-mutants)
CARGO_CYCLONEDX := $(shell command -v cargo-cyclonedx 2>/dev/null || echo $(TOOLS)/bin/cargo-cyclonedx)
# The environment goes first: cargo-lambda finds its cross linker by asking the first `python3`.
LAMBDA_PATH := $(CURDIR)/$(VENV)-lambda/bin:$(PATH)

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

# --- run and test ---------------------------------------------------------------------------------------------------

.PHONY: run
run: ## Feed a generated stream through the handler into both mocks, and compare (SEED=, RECORDS=, FORMAT=debezium)
	cargo run --locked $(RUNNER)

.PHONY: test
test: $(VENV)-mocks/ready $(VENV)-sam/ready ## Run all tests, with the AWS services that they need emulated
	@rm -rf $(EVIDENCE)
	AWS_DEFAULT_REGION=$(REGION) $(VENV)-sam/bin/python -m unittest discover --start-directory tests/template
	MOTO_SERVER=$(CURDIR)/$(VENV)-mocks/bin/moto_server cargo test --locked $(TESTED)
	@echo; cat $(EVIDENCE)/*

.PHONY: e2e
e2e: $(VENV)-mocks/ready ## Bring a stream of an emulated Kinesis to both mocks through the real binary (a part of `test`)
	MOTO_SERVER=$(CURDIR)/$(VENV)-mocks/bin/moto_server cargo test --locked $(TESTED) --test emulated -- e2e::

# Whatever fails names its seed, and SEED=n runs it alone.
.PHONY: soak
soak: ## Run new random streams and schedules of faults for MINUTES (30), and print what they came to
	@rm -rf $(EVIDENCE)
	SOAK_MINUTES=$(or $(MINUTES),30) SCHEDULES=$(or $(SCHEDULES),5000) cargo test --locked $(TESTED) --test scenarios -- \
	  convergence::stopped_time:: convergence::sockets:: convergence::binary:: policies::salesperson::
	@echo; cat $(EVIDENCE)/*

.PHONY: fuzz
fuzz: ## Fuzz the events, the layers, the change and the rows of each format for MINUTES (10) each
	@rm -rf $(EVIDENCE)
	SOAK_MINUTES=$(or $(MINUTES),10) cargo test --locked $(TESTED) --test scenarios -- \
	  fuzz:: transport::damaged_layers transport::every_mutated_event
	@echo; cat $(EVIDENCE)/*

# Takes some five minutes, in each of which 600 calls are allowed. Wants a quiet machine: what its processes lack, the budget lacks.
.PHONY: fleet
fleet: $(VENV)-mocks/ready ## Send 60,000 contacts from several processes, with, without and cut off from the table, and print what they used of the budget
	@rm -rf $(EVIDENCE)
	MOTO_SERVER=$(CURDIR)/$(VENV)-mocks/bin/moto_server \
	  cargo test --locked $(TESTED) --test emulated -- --ignored fleet::
	@echo; cat $(EVIDENCE)/*

.PHONY: mutants
mutants: $(CARGO_MUTANTS) ## Break the rooms that decide, line by line, and list what no test notices (half an hour)
	PATH="$(CURDIR)/$(TOOLS)/bin:$(PATH)" cargo mutants --output target

.PHONY: bench
bench: $(VENV)-mocks/ready ## Measure instructions, times, lag and cost, and write benches/ and their figures in docs/ (a quiet machine, some six minutes)
	MOTO_SERVER=$(CURDIR)/$(VENV)-mocks/bin/moto_server cargo bench --locked --bench cost

.PHONY: bench-check
bench-check: ## Hold the instructions a record to those recorded (needs valgrind)
	@if command -v valgrind > /dev/null; then cargo bench --locked --bench cost -- --check; \
	else echo "bench-check: SKIPPED, valgrind is missing (apt-get install valgrind)" >&2; fi

.PHONY: check
check: fmt lint doc docs deps events test ## Everything that must hold before a commit: fmt, lint, doc, docs, deps, events, test

.PHONY: fmt
fmt: ## Check the formatting
	cargo fmt --check

.PHONY: lint
lint: ## Check with clippy, warnings as errors, and the voice of the comments
	$(PYTHON) -m unittest discover --start-directory tests/voice
	$(PYTHON) tests/voice/check.py
	cargo clippy --locked --all-targets $(TESTED) -- -D warnings

.PHONY: doc
doc: ## Build the API documentation of the crate, warnings as errors
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps $(TESTED)

.PHONY: asyncapi
asyncapi: $(ASYNCAPI)/ready ## Check docs/reference/asyncapi.yaml with AsyncAPI's own parser, and its examples (needs Node.js)
	node tests/asyncapi/check.mjs $(ASYNCAPI) docs/reference/asyncapi.yaml events/rows

.PHONY: docs
docs: $(VENV)-docs/ready asyncapi ## Check the documentation and its links, and build the site into target/site (needs Node.js)
	$(PYTHON) -m unittest discover --start-directory tests/docs
	$(VENV)-docs/bin/python -m unittest discover --start-directory tests/release
	$(PYTHON) tests/docs/settings_page.py --check
	$(VENV)-docs/bin/mkdocs build --strict --quiet
	$(PYTHON) tests/docs/links.py target/site

.PHONY: deps
deps: $(CARGO_DENY) $(CARGO_MACHETE) ## Check the dependencies: licences, sources, duplicates, advisories, unused ones
	$(CARGO_DENY) --locked check --hide-inclusion-graph bans licenses sources
	@# The advisories are a database of their own: a machine that cannot reach it is told so, and is not stopped by it.
	@# ADVISORIES=required stops it, as in the workflow.
	if $(CARGO_DENY) fetch db 2>/dev/null; then $(CARGO_DENY) --locked check --hide-inclusion-graph advisories; \
	else echo "deps: the advisory database is out of reach: advisories are NOT checked" >&2; \
	[ "$(ADVISORIES)" != required ]; fi
	$(CARGO_MACHETE) .

.PHONY: events
events: ## Check that the sample events are those that testkit/make_events.py makes
	$(PYTHON) testkit/make_events.py --check

.PHONY: schema
schema: ## Write the JSON Schema of a change, events/contact-change.schema.json, from the types
	@mkdir -p target
	cargo run --quiet --locked --package contact-sync-admin -- change-schema > target/schema.json
	mv target/schema.json events/contact-change.schema.json

.PHONY: codes
codes: ## Write the table of codes, docs/reference/codes.md, from the registry
	UPDATE_DOCS=1 cargo test --quiet --locked $(TESTED) --test contract -- codes::the_reference

# --- the Lambda ------------------------------------------------------------------------------------------------------

.PHONY: build
build: $(CARGO_LAMBDA) ## Build the Lambda artifact (ARCH=arm64 or x86_64, FEATURES=otel)
	PATH="$(LAMBDA_PATH)" cargo lambda build --locked --release --bin contact-sync \
	  $(if $(filter x86_64,$(ARCH)),--x86-64,--arm64) $(if $(FEATURES),--features "$(FEATURES)")

.PHONY: artifact-check
artifact-check: ## Check that neither mocks nor the operator's tool are in what `make build` made, and its size
	$(PYTHON) tests/artifact/check.py target/lambda/contact-sync/bootstrap --arch $(ARCH) --features "$(FEATURES)"

.PHONY: zip
zip: build ## Build the artifact and zip it into target/dist, as a release has it (ARCH=)
	$(PYTHON) deploy/release.py zip target/lambda/contact-sync/bootstrap $(DIST)/contact-sync-$(ARCH).zip

.PHONY: image
image: build ## Build the artifact and a container image of it, contact-sync:ARCH (ARCH=, BASE= any image of provided.al2023)
	docker build --platform linux/$(if $(filter x86_64,$(ARCH)),amd64,arm64) --file deploy/Dockerfile --tag contact-sync:$(ARCH) \
	  $(if $(BASE),--build-arg BASE=$(BASE)) target/lambda/contact-sync

# The tool reads the lock file, and writes beside the Cargo.toml of each package.
.PHONY: sbom
sbom: $(CARGO_CYCLONEDX) ## Write the bills of materials (CycloneDX) of the artifact and of the tool beside the artifact
	PATH="$(CURDIR)/$(TOOLS)/bin:$(PATH)" cargo cyclonedx --quiet --format json --spec-version 1.5 --no-build-deps \
	  $(if $(FEATURES),--features "$(FEATURES)") --target $(if $(filter x86_64,$(ARCH)),x86_64,aarch64)-unknown-linux-gnu --override-filename contact-sync-sbom
	@mkdir -p target/lambda/contact-sync
	mv contact-sync-sbom.json target/lambda/contact-sync/sbom.cdx.json
	mv admin/contact-sync-sbom.json target/lambda/contact-sync/admin-sbom.cdx.json
	rm -f testkit/contact-sync-sbom.json

# The mocks write the settings that lead to them to their standard output, one NAME=VALUE a line, and then `# ready`.
.PHONY: watch
watch: $(CARGO_LAMBDA) ## Serve the function locally, with both mocks behind it; then `make invoke` in another terminal (FORMAT=debezium)
	cargo build --locked $(RUNNER)
	@# Here, where one sees it: cargo-lambda would compile at the first invocation, which waits for it.
	cargo build --locked --bin contact-sync
	@mkdir -p target/local
	@cargo run --quiet --locked $(RUNNER) -- --serve > target/local/mocks.out & mocks=$$!; \
	trap 'kill $$mocks 2>/dev/null || true' EXIT; \
	until grep -qsx '# ready' target/local/mocks.out; do \
	  kill -0 $$mocks || { echo "watch: the mocks did not start" >&2; exit 1; }; sleep 0.2; done; \
	grep '^[A-Z]' target/local/mocks.out > target/local/mocks.env; \
	if test -n "$(FORMAT)"; then \
	  echo "CONTACT_SYNC_CONFIG=file:$(CURDIR)/events/rows/$(FORMAT).toml" >> target/local/mocks.env; fi; \
	PATH="$(LAMBDA_PATH)" cargo lambda watch --invoke-address 127.0.0.1 --bin contact-sync --env-file target/local/mocks.env

.PHONY: invoke
invoke: $(CARGO_LAMBDA) ## Send a sample event to the function that `make watch` serves (EVENT=events/NAME.json)
	@PATH="$(LAMBDA_PATH)" cargo lambda invoke contact-sync --invoke-address 127.0.0.1 --data-file $(EVENT)

# --- the stack -------------------------------------------------------------------------------------------------------

TEMPLATES := template.yaml templates/doctor.yaml templates/function.yaml templates/kafka.yaml templates/operations.yaml

.PHONY: validate
validate: $(VENV)-sam/ready $(VENV)-checkov/ready $(VENV)-terraform/ready ## Check the templates and the Terraform module: sam, cfn-lint, checkov, and their tests
	SAM_CLI_TELEMETRY=0 $(VENV)-sam/bin/sam validate --lint --template template.yaml --region $(REGION)
	$(VENV)-sam/bin/cfn-lint --regions $(REGION) --template $(TEMPLATES)
	$(VENV)-checkov/bin/checkov --config-file .checkov.yaml --file $(TEMPLATES)
	AWS_DEFAULT_REGION=$(REGION) $(VENV)-sam/bin/python -m unittest discover --start-directory tests/template
	$(VENV)-terraform/bin/python -m unittest discover --start-directory tests/terraform

.PHONY: terraform
terraform: $(VENV)-terraform/ready ## Write the variables and conditions of deploy/terraform from the template
	$(VENV)-terraform/bin/python tests/terraform/generate.py

# sam hands no flags to cargo-lambda, which takes its settings from a variable too.
BUILD_SETTINGS = {locked = true, features = [$(foreach feature,$(FEATURES),"$(feature)",)]}

.PHONY: sam-build
sam-build: $(VENV)-sam/ready $(CARGO_LAMBDA) ## Build what `make deploy` uploads, and nothing else (STAGE=, FEATURES=otel)
	PATH="$(LAMBDA_PATH)" CARGO_LAMBDA_BUILD='$(BUILD_SETTINGS)' SAM_CLI_TELEMETRY=0 \
	  $(VENV)-sam/bin/sam build --config-env $(STAGE)

.PHONY: sam-prebuilt
sam-prebuilt: $(VENV)-sam/ready
	rm -rf .aws-sam/build
	$(VENV)-sam/bin/python templates/prebuilt.py --stage $(STAGE) --zip $(ZIP)

.PHONY: deploy
deploy: $(if $(ZIP),sam-prebuilt,sam-build) ## Build and deploy the stack (STAGE=dev, staging or prod; GUIDED=1 the first time; ZIP= builds nothing)
	$(VENV)-sam/bin/python templates/parameters.py --stage $(STAGE) $(if $(GUIDED),--fresh)
	@# A person confirms the change set. Without a terminal, as in a pipeline, nothing asks.
	SAM_CLI_TELEMETRY=0 $(VENV)-sam/bin/sam deploy --config-env $(STAGE) --parameter-overrides file://.aws-sam/parameters.yaml \
	  $(if $(GUIDED),--guided,$$(if [ -t 0 ] && [ -z "$${CI:-}" ]; then echo --confirm-changeset; else echo --no-confirm-changeset; fi))

.PHONY: dashboard
dashboard: $(VENV)-sam/ready ## Draw the dashboard with sample data into docs/diagrams/dashboard.svg
	$(VENV)-sam/bin/python tests/template/dashboard_picture.py

# --- releases --------------------------------------------------------------------------------------------------------

PLATFORM ?= $(shell uname -s | tr A-Z a-z)-$(shell uname -m)

.PHONY: tool
tool: ## Build the operator's tool, and pack it with its completions and man pages into target/dist (PLATFORM= its name)
	cargo build --locked --release --package contact-sync-admin
	rm -rf target/tool
	mkdir -p target/tool/completions
	cp target/release/contact-sync-admin LICENSE target/tool
	for shell in bash elvish fish powershell zsh; do \
	  target/tool/contact-sync-admin completions $$shell > target/tool/completions/contact-sync-admin.$$shell; done
	target/tool/contact-sync-admin man-pages target/tool/man
	$(PYTHON) deploy/release.py tar $(DIST)/contact-sync-admin-$(PLATFORM).tar.gz target/tool/*

.PHONY: release-check
release-check: ## Check that TAG is the version of Cargo.toml and a dated section of the changelog
	$(PYTHON) deploy/release.py check $(TAG)

.PHONY: release-notes
release-notes: ## Print the changelog's section of TAG
	@$(PYTHON) deploy/release.py notes $(TAG)

.PHONY: checksums
checksums: ## Write SHA256SUMS of target/dist
	$(PYTHON) deploy/release.py checksums $(DIST)

# --- tools -----------------------------------------------------------------------------------------------------------

$(VENV)-%/ready: tests/requirements/%.txt
	$(PYTHON) -m venv --clear $(VENV)-$*
	$(VENV)-$*/bin/python -m pip install --quiet --disable-pip-version-check --requirement $<
	touch $@

$(ASYNCAPI)/ready: tests/asyncapi/package.json tests/asyncapi/package-lock.json
	@command -v npm > /dev/null || { echo "asyncapi: Node.js 20 or later with npm is missing" >&2; exit 1; }
	@mkdir -p $(ASYNCAPI)
	cp tests/asyncapi/package.json tests/asyncapi/package-lock.json $(ASYNCAPI)
	cd $(ASYNCAPI) && npm ci --silent --no-audit --no-fund --ignore-scripts
	touch $@

# Below target/ they are built once for each checkout. The versions are pinned for the same reason as all others.
$(TOOLS)/bin/cargo-deny:
	cargo install --quiet --locked --root $(TOOLS) cargo-deny@$(CARGO_DENY_VERSION)
$(TOOLS)/bin/cargo-machete:
	cargo install --quiet --locked --root $(TOOLS) cargo-machete@$(CARGO_MACHETE_VERSION)
$(TOOLS)/bin/cargo-mutants:
	cargo install --quiet --locked --root $(TOOLS) cargo-mutants@$(CARGO_MUTANTS_VERSION)
$(TOOLS)/bin/cargo-cyclonedx:
	cargo install --quiet --locked --root $(TOOLS) cargo-cyclonedx@$(CARGO_CYCLONEDX_VERSION)

.PHONY: clean
clean: ## Remove everything that was built or installed here
	rm -rf target .aws-sam
