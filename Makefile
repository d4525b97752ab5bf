# doorward: `make demo` shows it, `make test` tests it; both install what they need first.

# A cargo that is new enough may stand behind an older one, or be there only after `scripts/setup`.
CARGO ?= scripts/cargo

# Where the scripts look for what was built, whatever is set elsewhere.
export CARGO_TARGET_DIR = $(CURDIR)/target

# The package's architecture, arm64 or amd64. Elsewhere than on arm64 Debian's cross compiler builds for it.
ARCH ?= arm64

.PHONY: demo test test-arm test-safety test-device compare deb deny lint build clean

demo: build
	demo/run $(if $(CAMERA),--camera $(CAMERA))

test: build
	$(CARGO) test --release --locked

# The kernels of ARM cores, emulated.
test-arm:
	cross/test-kernels

# The tests of what must never happen, at length, and the table of what they found. A short run:
# make test-safety KILLS=15 CASES=256 FRAMES=1000
test-safety: build
	scripts/safety

# Licences, advisories, duplicates and sources of what doorward is built from. Needs cargo-deny, and
# the network for the advisories.
deny:
	@$(CARGO) deny --version >/dev/null 2>&1 || \
	    { echo "make deny needs cargo-deny: cargo install --locked cargo-deny" >&2; exit 1; }
	$(CARGO) deny --locked check

# The engine beside others; see benches/README.md.
PYTHON ?= target/compare/venv/bin/python
compare: build $(PYTHON)
	cross/build
	benches/peers $(PYTHON) -m pip
	$(PYTHON) benches/compare.py

target/compare/venv/bin/python: benches/requirements.txt
	python3 -m venv target/compare/venv
	$@ -m pip install -q -r benches/requirements.txt

# A test is named so that the dependencies are built with the features that the tests need: tract is compiled once.
build:
	scripts/setup
	$(CARGO) build --release --locked --bin doorward --test layering

deb: build
	scripts/deb $(ARCH)

# On an emulated arm64 machine; the first run makes its disk. Needs root.
test-device: deb
	tests/device/run target/debian/doorward_*_arm64.deb

lint:
	$(CARGO) fmt --check
	$(CARGO) clippy --release --locked --all-targets -- -D warnings

clean:
	$(CARGO) clean
