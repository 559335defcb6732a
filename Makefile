# Everything a developer runs, and what CI runs.

CARGO ?= cargo
# Arguments of the demo, for example: make demo ARGS="--once --json"
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help rust build demo e2e e2e-all e2e-check e2e-build e2e-discovery discovery-build check test fuzz fuzz-config fuzz-bodies goldens bench \
  bench-kubernetes prometheus nsd deny fmt docs static sbom clean

help: ## shows this
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 24

rust:
	@scripts/need.sh $(CARGO) "install Rust, for example with https://rustup.rs (rust-toolchain.toml names the version)"
	@scripts/need.sh cc "install a C compiler (Debian: apt-get install gcc libc6-dev)"

build: rust ## builds the release binary target/release/kvass
	$(CARGO) build --locked --release --package kvass

demo: build prometheus ## runs everything on this machine (ARGS="--once --json" unattended)
	@target/release/kvass demo --prometheus="$$(scripts/prometheus.sh 2>/dev/null | tail -1)" $(ARGS)

e2e: e2e-build ## stories on a whole Kubernetes cluster made here (ARGS="--story a"); with KUBECONFIG on that one
	@tests/e2e/run.sh $(ARGS)

e2e-all: STORIES = --all
e2e-all: e2e-build ## the long stories too
	@tests/e2e/run.sh --all $(ARGS)
	@[ -n "$$KUBECONFIG" ] || tests/e2e/interrupted.sh

# What would fail after the long build, first. A cluster that is there needs nothing of it.
e2e-check:
	@[ -n "$$KUBECONFIG" ] || tests/e2e/cluster/cluster.sh check

e2e-build: e2e-check build prometheus ## programs and images of the cluster, and the stories
	$(CARGO) build --locked --release --package kvass-e2e
	@[ -n "$$KUBECONFIG" ] || { \
	  more=$$(target/release/kvass-e2e modules $(STORIES) $(ARGS)) && tests/e2e/cluster/cluster.sh build && \
	  { [ -z "$$more" ] || tests/e2e/cluster/cluster.sh build $$more; } && tests/e2e/cluster/cluster.sh images; }

# Small and quick: no cluster, no root.
e2e-discovery: discovery-build ## discovery compared with Prometheus, on etcd and kube-apiserver alone, and on Consul
	@tests/e2e/cluster/cluster.sh build prometheus2 consul
	@target/release/kvass-e2e discovery $(ARGS)

discovery-build: build
	$(CARGO) build --locked --release --package kvass-e2e
	@tests/e2e/cluster/cluster.sh build etcd kubernetes prometheus

check: rust ## formatting and lints
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings

test: rust prometheus nsd ## all tests
	$(CARGO) test --locked --workspace

fuzz: rust ## compares regular expressions and relabelling with Go and Prometheus for a minute (ARGS="--seconds 600")
	$(CARGO) build --locked --release --package kvass-reference
	@scripts/fuzz.sh $(ARGS)

fuzz-config: rust prometheus ## random configurations beside real Prometheus servers (ARGS="--seed 1 --seconds 60")
	@CARGO=$(CARGO) scripts/fuzz-config.sh $(ARGS)

fuzz-bodies: rust ## random scrape bodies beside Prometheus' parsers (ARGS="SECONDS SEED"); needs Go
	@CARGO=$(CARGO) scripts/fuzz-bodies.sh $(ARGS)

goldens: rust prometheus ## records anew what real programs make of the recorded cases; needs Go
	@CARGO=$(CARGO) scripts/goldens.sh
	@CARGO=$(CARGO) scripts/record-bodies.sh
	@CARGO=$(CARGO) scripts/goldens-config.sh

bench: rust ## benchmarks; that of Kubernetes where its programs are built
	$(CARGO) bench --locked --workspace --benches
	@tests/e2e/bench.sh $(ARGS)

bench-kubernetes: discovery-build ## discovery of 100,000 pods next to Prometheus (ARGS="--pods 10000")
	@tests/e2e/bench.sh $(ARGS)

prometheus: ## puts prometheus and promtool into target/tools
	@scripts/prometheus.sh >/dev/null

nsd: ## puts a DNS server for tests into target/tools
	@scripts/nsd.sh >/dev/null

deny: rust ## licences, banned crates and sources of dependencies
	scripts/deny.sh

fmt: rust ## formats the code
	$(CARGO) fmt --all

docs: rust ## writes what is generated from code, docs/flags.md
	KVASS_UPDATE=1 $(CARGO) test --locked --package kvass reference

static: rust ## builds the static binary of the image, target/static/kvass
	scripts/static-binary.sh target/static/kvass

sbom: rust ## writes what the binary is made of, target/kvass.cdx.json
	scripts/sbom.sh target/kvass.cdx.json

clean: ## removes what was built, and what the demo left
	$(CARGO) clean
