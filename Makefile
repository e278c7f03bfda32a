# `make demo` shows the library at work, `make test` tests it. Both fill .venv first: minutes once, seconds after.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= $(firstword $(shell command -v python3.11 python3.12 python3))
UV := .uv/bin/uv
BIN := .venv/bin
INSTALLED := .venv/.installed
HOROVOD := .venv/.horovod
# Those that need no Spark, and no minutes.
UNIT_TESTS := tests/nn tests/params tests/network tests/data/types tests/data/convert tests/data/format \
	tests/data/sampling tests/data/loading tests/train tests/cluster/task/test_supervisor.py \
	tests/scoring/test_scorer.py tests/scoring/test_stream.py tests/scoring/test_ahead.py
# Those of them that a GPU runs in another way than a CPU. They need no Spark, and no Horovod:
# `make test-gpu TEST_PYTHON=python3` takes a Python of this host with torch for CUDA and what pyproject.toml has under `dev`.
GPU_TESTS := tests/train tests/data/loading tests/comm/test_batchnorm.py tests/comm/test_flat.py tests/comm/test_buckets.py \
	tests/scoring/test_scorer.py tests/scoring/test_stream.py tests/scoring/test_tuning.py
TEST_PYTHON ?= $(BIN)/python
# Two processes, each with a Spark session of its own: most tests keep one core busy, or wait. A file's tests stay
# together for what they share, and files begin in their order, those of a cluster before the short ones.
IN_TWO := -n 2 --dist loadfile --no-loadscope-reorder
# Some containers forbid Python to keep what it has compiled.
unexport PYTHONDONTWRITEBYTECODE

# The jar of the Scala bridge, for the Spark in .venv.
MAVEN = mvn -q -B -ntp -f scala-bridge/pom.xml -Pspark-$(SPARK)
SPARK = $(shell $(BIN)/python -c 'from pyspark.version import __version__; print(".".join(__version__.split(".")[:2]))')
JAR := sparkdl/jars/.built
SCALA_SOURCES := $(shell find scala-bridge/src/main -type f) scala-bridge/pom.xml
NO_MAVEN := make: Scala needs Maven 3.8 or later, and no mvn is on PATH:

.PHONY: help env demo jar test test-scala coverage test-slow test-release test-versions test-gpu lint lint-scala bench docs site clean

help:
	@echo "make demo       train a digit classifier on two Horovod ranks, end to end"
	@echo "make jar        build the jar for Scala, Java and Spark Connect servers with Maven, into sparkdl/jars"
	@echo "make test       run the tests, those of make coverage first (make test-slow: those that take minutes or need the package index)"
	@echo "make test-release  run what takes many minutes and seldom changes: Horovod built for GPUs, S3 and HDFS, lost executors and hosts"
	@echo "make test-versions  run the core of the tests on every pyspark and Python, and over Spark Connect"
	@echo "make test-gpu   run the tests that go another way on a GPU, on that of this host; they need no Spark"
	@echo "make test-scala run the tests of the Scala bridge, a part of make test"
	@echo "make coverage   run the tests without Spark, and say which branches of the code they reach"
	@echo "make lint       ruff, mypy --strict, import rules; scalafmt and scalafix"
	@echo "make bench      run the benchmarks (not soak.py, which takes half an hour, and large_model.py, which needs 6 GiB of disk)"
	@echo "make docs       check links and code of the documentation, and build its site into site/"
	@echo "make clean      remove what these made, .venv included"

$(UV): constraints.txt
	@echo "== uv, which fills the environment, into .uv"
	@test -n "$(PYTHON)" || { echo "make: Python 3.11 or 3.12 is needed, and no python3 is on PATH" >&2; exit 1; }
	@test -x .uv/bin/python || "$(PYTHON)" -m venv .uv
	@.uv/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt uv
	@touch $(UV)

$(INSTALLED): $(UV) constraints.txt pyproject.toml setup.py
	@echo "== sparkdl and what it needs, with the versions of constraints.txt, into .venv"
	@command -v java > /dev/null || { echo "make: Spark needs Java 17, and no java is on PATH" >&2; exit 1; }
	@test -x $(BIN)/python || $(UV) venv --quiet --python "$(PYTHON)" .venv
	@# Compiled once, here: where Python may not keep what it compiles, every process that imports torch does it anew.
	@$(UV) pip install --quiet --compile-bytecode --python $(BIN)/python -c constraints.txt -e '.[dev]'
	@touch $(INSTALLED)

$(HOROVOD): $(INSTALLED)
	@echo "== Horovod, built against the torch in .venv"
	@PATH="$(CURDIR)/.uv/bin:$$PATH" $(BIN)/sparkdl-build-horovod
	@touch $(HOROVOD)

env: $(HOROVOD)

demo: env
	@echo "== demo: examples/digits.py"
	@$(BIN)/python examples/digits.py

jar: $(JAR)

$(JAR): $(SCALA_SOURCES) constraints.txt | $(INSTALLED)
	@echo "== the jar of the Scala bridge for Spark $(SPARK), into sparkdl/jars"
	@if command -v mvn > /dev/null; then $(MAVEN) package -Dmaven.test.skip -DskipTests; else echo "$(NO_MAVEN) it is not built"; exit; fi; \
		mkdir -p sparkdl/jars; rm -f sparkdl/jars/sparkdl-spark-$(SPARK)_*.jar; \
		cp scala-bridge/target/spark-$(SPARK)/sparkdl-spark-$(SPARK)_*.jar sparkdl/jars/; touch $(JAR)

test: env jar
	@# Beside each other: what is measured for coverage runs in one process.
	@$(MAKE) --no-print-directory -j2 -Otarget coverage test-scala
	@echo "== the other tests"
	@$(BIN)/python -m pytest $(IN_TWO) -m "not slow and not release" $(addprefix --ignore=,$(UNIT_TESTS))

test-scala: env
	@echo "== the tests of the Scala bridge"
	@if command -v mvn > /dev/null; then $(MAVEN) test; else echo "$(NO_MAVEN) they are not run"; fi

coverage: env
	@echo "== branches that the tests without Spark reach"
	@$(BIN)/coverage erase
	@$(BIN)/coverage run -m pytest -q -m "not slow and not release" $(UNIT_TESTS)
	@$(BIN)/coverage combine -q
	@$(BIN)/coverage report

test-slow: jar
	@echo "== slow tests"
	@PATH="$(CURDIR)/.uv/bin:$$PATH" $(BIN)/python -m pytest $(IN_TWO) -m slow

test-release: env
	@echo "== tests for before a release"
	@PATH="$(CURDIR)/.uv/bin:$$PATH" $(BIN)/python -m pytest -m release

test-versions: env
	@echo "== the core of the tests on pyspark 3.5, 4.0, 4.1 and 4.3, on Python 3.12, and over Spark Connect"
	@$(BIN)/python tests/versions/run.py $(UV) $(VERSIONS)

test-gpu: $(if $(filter $(BIN)/python,$(TEST_PYTHON)),$(INSTALLED))
	@echo "== tests that go another way on a GPU"
	@$(TEST_PYTHON) -c 'import torch; print(torch.cuda.get_device_name() if torch.cuda.is_available() else "there is no GPU: they run on the CPU")'
	@# Below that folder, so that the conftest.py with the Spark session is not looked at.
	@$(TEST_PYTHON) -m pytest -q -m "not slow and not release" --confcutdir=tests/train $(GPU_TESTS)

lint: $(INSTALLED)
	@echo "== ruff"
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@echo "== mypy --strict"
	@$(BIN)/mypy --strict
	@echo "== import rules"
	@$(BIN)/lint-imports
	@$(MAKE) --no-print-directory lint-scala

lint-scala: $(INSTALLED)
	@echo "== scalafmt and scalafix"
	@# In its folder: scalafix looks there for its rules, and names files from there.
	@if command -v mvn > /dev/null; then cd scala-bridge; mvn -q -B -ntp -Pspark-$(SPARK),lint test-compile spotless:check scalafix:scalafix; else echo "$(NO_MAVEN) nothing of Scala is looked at"; fi

bench: env
	@for program in $(filter-out benchmarks/soak.py benchmarks/large_model.py,$(wildcard benchmarks/*.py)); do echo "== $$program"; $(BIN)/python "$$program"; done

docs: env
	@echo "== links, code blocks and messages of the documentation"
	@$(BIN)/python -m pytest -q tests/docs
	@$(MAKE) --no-print-directory site

site: env
	@echo "== the site of the documentation, into site/"
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

clean:
	rm -rf .venv .uv .versions build dist site sparkdl/jars scala-bridge/target *.egg-info results demo-results mlruns mlflow.db spark-warehouse metastore_db derby.log
	rm -rf .coverage* .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
