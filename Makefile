# doorward: `make demo` shows it, `make test` tests it; both install what they need first.

# A cargo that is new enough may stand behind an older one.
CARGO ?= $(shell scripts/cargo)

.PHONY: demo test lint build clean

demo: build
	demo/run $(if $(CAMERA),--camera $(CAMERA))

test: build
	$(CARGO) test --release --locked

# A test is named so that the dependencies are built with the features that the tests need: tract is compiled once.
build:
	scripts/setup
	$(CARGO) build --release --locked --bin doorward --test layering

lint:
	$(CARGO) fmt --check
	$(CARGO) clippy --release --locked --all-targets -- -D warnings

clean:
	$(CARGO) clean
