# Everything starts here: `make help`.
.DEFAULT_GOAL := help
CARGO_DENY = target/tools/cargo-deny@0.20.2/bin/cargo-deny
CARGO_CYCLONEDX = target/tools/cargo-cyclonedx@0.5.9/bin/cargo-cyclonedx
CARGO_MUTANTS = target/tools/cargo-mutants@27.1.0/bin/cargo-mutants

.PHONY: help demo test prerequisites lint unit differential cluster faults matrix chart image image-test picture licenses sbom
.PHONY: fuzz mutants install release measure-review bench bench-engine bench-check

help: ## Show what there is to make
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: prerequisites ## Show it on a real control plane with two real kubelets (KEEP=1 leaves it running)
	cargo build --bin countersign --example demo
	cargo run --quiet --example demo -- $(if $(KEEP),--keep)

test: prerequisites lint unit differential cluster ## Run everything that CI runs

lint:
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- --deny warnings

unit:
	cargo test --workspace --lib --bins --test hostile_der --test policies --test any_order --test cli --test chart --test fuzz
	cargo test --workspace --doc

differential: prerequisites ## Compare how requests are read here and by the signer (N=1000000 for more, SEED=1 for the same again)
	DIFFERENTIAL_REQUESTS=$(N) DIFFERENTIAL_SEED=$(SEED) cargo test $(if $(N),--release) --test differential

fuzz: ## Fuzz each target for TIME=60 seconds (needs cargo-fuzz and a nightly toolchain)
	@for target in request policy inventory node dump; do \
	  mkdir -p fuzz/corpus/$$target && \
	  cargo +nightly fuzz run $$target fuzz/corpus/$$target fuzz/seeds/$$target -- -max_total_time=$(or $(TIME),60) || exit 1; \
	done

mutants: $(CARGO_MUTANTS) ## Change the decision in every small way: a test has to notice (hours; FILE=src/decision/… for one file)
	cargo test --workspace $(JUDGING)
	$< mutants --package countersign-decision $(if $(FILE),--file $(FILE)) --baseline skip --output target \
	  --timeout 300 --build-timeout 3600 $(JUDGING:%=--cargo-arg=%)

bench-engine: ## Measure a decision beside the verification of its signature, and in clusters of 10 to 15,000 Nodes
	cargo bench --bench engine

bench-check: ## Count the instructions of each step of a decision, and compare with those committed (needs valgrind)
	cargo bench --bench counts -- --check

# Last, since it takes longest; builds the control plane the first time.
cluster:
	cargo test --test cluster

faults: prerequisites ## Let everything fail at random (FAULTS=1500 unless told otherwise, FAULT_SEED=1 for the same again)
	FAULTS=$(or $(FAULTS),1500) $(if $(FAULT_SEED),FAULT_SEED=$(FAULT_SEED)) cargo test --test cluster -- chaos

chart: prerequisites ## Package the chart into target/chart
	mkdir -p target/chart
	cargo run --quiet --example tool -- helm package charts/countersign --destination target/chart

# Files for packagers: make install DESTDIR=… PREFIX=/usr; a program that is built already: PROGRAM=…
install: $(if $(PROGRAM),,release) ## Install the program, kubectl's plugin and completions (PREFIX=/usr/local, DESTDIR)
	install -D -m 755 $(INSTALLED) $(AT)/bin/countersign
	ln -sf countersign $(AT)/bin/kubectl-countersign
	ln -sf countersign $(AT)/bin/kubectl_complete-countersign
	install -d $(AT)/share/bash-completion/completions $(AT)/share/zsh/site-functions $(AT)/share/fish/vendor_completions.d
	$(INSTALLED) completions bash > $(AT)/share/bash-completion/completions/countersign
	$(INSTALLED) completions zsh > $(AT)/share/zsh/site-functions/_countersign
	$(INSTALLED) completions fish > $(AT)/share/fish/vendor_completions.d/countersign.fish

release:
	cargo build --locked --release --bin countersign

# Where no base image can be pulled, PREBUILT=1 has the program compiled here, and the image only hold it.
image: $(if $(PREBUILT),target/image/countersign) ## Build the image, with Docker or else buildah (PREBUILT=1: compile outside of it)
	$(ENGINE) build --tag $(IMAGE) --build-arg VERSION=$(VERSION) --build-arg REVISION="$$(git rev-parse HEAD)" \
	  $(if $(PREBUILT),--target prebuilt) .
	@printf '%s ' $(IMAGE); $(SIZE_OF_IMAGE)

# Packed, the places that are relocated at the start take 0.8 MB less. And AES has code of its own for AVX-512, 0.7 MB of it,
# without which a few connections do as well.
target/image/countersign: Cargo.toml Cargo.lock $(shell find src)
	AWS_LC_SYS_CFLAGS=-DMY_ASSEMBLER_IS_TOO_OLD_FOR_512AVX RUSTFLAGS="-C target-feature=+crt-static" cargo rustc --locked --release --bin countersign --target $(HOST) \
	  -- -C link-arg=-Wl,-z,pack-relative-relocs
	mkdir -p target/image
	cp "$${CARGO_TARGET_DIR:-target}/$(HOST)/release/countersign" $@

image-test: image ## Run the image on a real control plane, as its user and with a read-only root
	rm -rf target/image/files
	echo "FROM $(IMAGE)" | $(ENGINE) build --output type=local,dest=target/image/files --file - target/image
	test "$$($(CONFIG_OF_IMAGE))" = "65532:65532 [/countersign]"
	IMAGE_FILES="$$(pwd)/target/image/files" cargo test --test cluster -- image::

measure-review: release ## Measure a review of 15,000 Nodes and 20,000 requests (see docs/performance.md)
	cargo run --quiet --example large-dump -- "$${CARGO_TARGET_DIR:-target}/release/countersign" target/large-dump

# The program as the image has it, beside the control plane on the same processors.
bench: prerequisites target/image/countersign ## Let NODES=5000 nodes ask at once, and measure it beside what could be had at best
	cargo build --profile storm --example storm
	cargo run --quiet --profile storm --example storm -- target/image/countersign $(or $(NODES),5000) target/storm.json

picture: prerequisites target/image/countersign ## Draw the dashboard as a real Prometheus sees a real controller
	cargo run --quiet --example picture -- target/image/countersign

licenses: $(CARGO_DENY) ## Check what dependencies are, where they come from, and their licences
	cargo fetch --locked
	$< --offline check bans licenses sources

sbom: $(CARGO_CYCLONEDX) ## Write a CycloneDX bill of materials into target/sbom
	mkdir -p target/sbom
	$< cyclonedx --format json --spec-version 1.5 --no-build-deps --target $(HOST) --override-filename countersign-sbom
	mv countersign-sbom.json target/sbom/countersign-$(VERSION).cdx.json
	rm -f src/decision/countersign-sbom.json

$(CARGO_DENY) $(CARGO_CYCLONEDX) $(CARGO_MUTANTS):
	cargo install --locked --root $(@:%/bin/$(@F)=%) $(notdir $(@:%/bin/$(@F)=%))

matrix: prerequisites ## Run the differential and cluster tests on every version of Kubernetes that is supported
	for version in $(KUBERNETES); do KUBERNETES=$$version cargo test --test differential --test cluster || exit 1; done

# One clear message instead of whatever a missing tool would lead to minutes later.
prerequisites:
	@missing=; \
	command -v cargo >/dev/null || missing="$$missing\n  cargo (Rust $(RUST) or newer: https://rustup.rs)"; \
	command -v go >/dev/null || missing="$$missing\n  go (1.21 or newer: https://go.dev/dl)"; \
	command -v cc >/dev/null || missing="$$missing\n  cc (a C compiler, such as the package gcc or clang)"; \
	if [ -n "$$missing" ]; then printf "needed, but not found:$$missing\n" >&2; exit 1; fi

PREFIX ?= /usr/local
AT = "$(DESTDIR)$(PREFIX)"
INSTALLED = "$(or $(PROGRAM),$${CARGO_TARGET_DIR:-target}/release/countersign)"
# The tests that judge requests or act upon a verdict.
JUDGING = --lib --test=hostile_der --test=policies --test=any_order --test=fuzz
RUST = $(shell sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
VERSION = $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml)
HOST = $(shell rustc --version --verbose | sed -n 's/^host: //p')
IMAGE = localhost/countersign:$(VERSION)
ENGINE = $(shell docker info >/dev/null 2>&1 && echo docker || echo buildah)
SIZE_OF_IMAGE = $(if $(filter docker,$(ENGINE)),docker image inspect --format '{{.Size}} bytes' $(IMAGE),buildah images --format '{{.Size}}' $(IMAGE))
CONFIG_OF_IMAGE = $(if $(filter docker,$(ENGINE)),docker image inspect --format '{{.Config.User}} {{.Config.Entrypoint}}' $(IMAGE),\
  buildah inspect --type image --format '{{.OCIv1.Config.User}} {{.OCIv1.Config.Entrypoint}}' $(IMAGE))
KUBERNETES = $(patsubst tests/control-plane/kubernetes-%.mod,%,$(wildcard tests/control-plane/kubernetes-*.mod)) \
  $(shell sed -n 's/.*k8s.io\/kubernetes v\(1\.[0-9]*\)\..*/\1/p' tests/control-plane/go.mod)
