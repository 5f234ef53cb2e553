# Everything starts here: `make help`.
.DEFAULT_GOAL := help
.PHONY: help demo test prerequisites lint unit cluster chart

help: ## Show what there is to make
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: prerequisites ## Show it on a real control plane with two real kubelets (KEEP=1 leaves it running)
	cargo build --bin countersign --example demo
	cargo run --quiet --example demo -- $(if $(KEEP),--keep)

test: prerequisites lint unit cluster ## Run everything that CI runs

lint:
	cargo fmt --check
	cargo clippy --all-targets -- --deny warnings

unit:
	cargo test --lib --bins --test hostile_der --test policies --test any_order --test cli --test chart
	cargo test --doc

# Last, since it takes longest; builds the control plane the first time.
cluster:
	cargo test --test cluster

chart: prerequisites ## Package the chart into target/chart
	mkdir -p target/chart
	cargo run --quiet --example tool -- helm package charts/countersign --destination target/chart

# One clear message instead of whatever a missing tool would lead to minutes later.
prerequisites:
	@missing=; \
	command -v cargo >/dev/null || missing="$$missing\n  cargo (Rust $(RUST) or newer: https://rustup.rs)"; \
	command -v go >/dev/null || missing="$$missing\n  go (1.21 or newer: https://go.dev/dl)"; \
	command -v cc >/dev/null || missing="$$missing\n  cc (a C compiler, such as the package gcc or clang)"; \
	if [ -n "$$missing" ]; then printf "needed, but not found:$$missing\n" >&2; exit 1; fi

RUST = $(shell sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
