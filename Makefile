# make help   lists what there is
SHELL := /bin/bash
.DELETE_ON_ERROR:

PREFIX ?= /usr/local
MUSL := $(shell uname -m)-unknown-linux-musl
# Static: the C of sqlite, zstd and ring is compiled against musl.
export CC_x86_64_unknown_linux_musl ?= musl-gcc
export CC_aarch64_unknown_linux_musl ?= $(if $(filter aarch64,$(shell uname -m)),musl-gcc,aarch64-linux-gnu-gcc)
RELEASE := $(or $(CARGO_TARGET_DIR),target)/$(MUSL)/release/rocker
# Crash points exist only in builds that ask for them; the suite walks all of them.
TEST_FEATURES := --features rocker-cli/crash-points

.PHONY: help build demo test test-v2 fuzz bench install uninstall generate lint deny
help: ## list the targets
	@awk -F':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## the release binary: static, one file
	.ci/setup build
	cargo build --locked --release --target $(MUSL) -p rocker-cli
	@ls -lh $(RELEASE)

demo: build ## pull from a real registry on this machine and run what was pulled
	.ci/setup demo
	tests/demo.sh $(RELEASE)

test: ## every test, unit to end to end (as root: the privileged ones as well)
	.ci/setup test
	cargo nextest run --locked --workspace $(TEST_FEATURES)
	cargo test --locked --doc --workspace

test-v2: ## a set of the end-to-end tests in a small VM with pure cgroup v2 and systemd
	.ci/setup vm
	tests/run-in-vm.sh

FUZZ_SECONDS ?= 60
fuzz: export RUSTC_BOOTSTRAP = 1
fuzz: export TMPDIR = /dev/shm
fuzz: ## every fuzz target for FUZZ_SECONDS (60), as root; see fuzz/README.md
	command -v cargo-fuzz >/dev/null || cargo install --locked cargo-fuzz
	cd fuzz && for target in $$(cargo fuzz list); do \
	  cargo fuzz run $$target -- -max_total_time=$(FUZZ_SECONDS) -rss_limit_mb=1024 -timeout=10 || exit; done

bench: build ## time everyday commands, beside podman and docker where installed
	bench/run.sh $(RELEASE)

# Root has the toolchain of nobody: what is built already is installed as it is.
$(RELEASE):
	@command -v cargo >/dev/null || { echo 'there is no $(RELEASE) yet, and no cargo on this PATH:' \
	  'run `make build` as yourself first, then `sudo make install`' >&2; exit 1; }
	$(MAKE) build

install: | $(RELEASE) ## binary, man pages and completions below PREFIX (/usr/local)
	install -D -m 755 $(RELEASE) $(DESTDIR)$(PREFIX)/bin/rocker
	for page in man/*.1; do install -D -m 644 $$page $(DESTDIR)$(PREFIX)/share/man/man1/$${page##*/}; done
	for page in man/*.5; do install -D -m 644 $$page $(DESTDIR)$(PREFIX)/share/man/man5/$${page##*/}; done
	install -D -m 644 completions/rocker.bash $(DESTDIR)$(PREFIX)/share/bash-completion/completions/rocker
	install -D -m 644 completions/_rocker $(DESTDIR)$(PREFIX)/share/zsh/site-functions/_rocker
	install -D -m 644 completions/rocker.fish $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/rocker.fish

uninstall: ## take away what install put there; containers and images stay
	rm -f $(DESTDIR)$(PREFIX)/bin/rocker $(DESTDIR)$(PREFIX)/share/man/man1/rocker{,-*}.1 $(DESTDIR)$(PREFIX)/share/man/man5/rocker-*.5 \
	  $(DESTDIR)$(PREFIX)/share/bash-completion/completions/rocker \
	  $(DESTDIR)$(PREFIX)/share/zsh/site-functions/_rocker \
	  $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/rocker.fish

generate: ## man pages and completions from the definitions of the commands
	cargo run --locked -q -p rocker-cli -- __generate man completions

lint: ## formatting and clippy (that man pages and completions are not stale is a test)
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets $(TEST_FEATURES) -- -D warnings

deny: ## advisories, licences and sources of the dependencies
	command -v cargo-deny >/dev/null || cargo install --locked cargo-deny
	cargo deny --locked check
