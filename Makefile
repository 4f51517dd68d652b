# `make demo` shows the main job on real parts, `make test` runs every test; each sets up all that it needs.
.DEFAULT_GOAL := help
.PHONY: help setup demo test test-again test-fast test-pypy lint format generate lock bench bench-record images kind clean

PYTHON := .venv/bin/python
export PYTHONPATH :=

help: ## Show the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## Virtual environment with the locked dependencies (the other targets do this by themselves)
	@sh dev/setup.sh

demo: setup ## A node declared with kubectl is polled by a CronJob, a recording rendered; KEEP=1 stays up and prints the kubeconfig
	@$(PYTHON) -m dev.debian
	@$(PYTHON) -m dev.demo $(if $(KEEP),--keep)

test: setup ## Every test: unit, real PostgreSQL, real control plane
	@$(PYTHON) -m dev.toolchain >/dev/null
	@$(PYTHON) -m dev.prometheus >/dev/null
	@$(PYTHON) -m dev.s3 >/dev/null
	@$(PYTHON) -m dev.debian
	@B3LB_REQUIRE_CLUSTER=1 $(PYTHON) -m pytest -n 3 --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)

test-again: setup ## What failed in the last `make test`, once more, one after the other
	@B3LB_REQUIRE_CLUSTER=1 $(PYTHON) -m pytest --last-failed --last-failed-no-failures=none $(PYTEST_ARGS)

test-fast: setup ## Only the unit tests
	@$(PYTHON) -m pytest tests/unit -n 2 $(PYTEST_ARGS)

test-pypy: setup ## As root: the record job's unit and integration tests under PyPy 3.11, in a root file system of Debian's packages
	@$(PYTHON) -m tests.pypy $(PYPY_ARGS) $(PYTEST_ARGS)

lint: setup ## Formatting, style, types, layers, Dockerfile, generated files
	@.venv/bin/ruff format --check .
	@.venv/bin/ruff check .
	@.venv/bin/mypy b3lb operator/b3lb_operator jobs/b3lb_jobs api/b3lb_api cli/b3lb_cli dev tests
	@.venv/bin/lint-imports --no-logo
	@.venv/bin/hadolint Dockerfile
	@$(PYTHON) -m dev.generate_crds --check
	@$(PYTHON) -m dev.generate_chart --check

format: setup ## Format the code and mend what can be mended
	@.venv/bin/ruff format .
	@.venv/bin/ruff check --fix .

generate: setup ## Custom resource definitions, what the chart has from them, and the references
	@$(PYTHON) -m dev.generate_crds
	@$(PYTHON) -m dev.generate_chart

lock: setup ## Resolve the dependencies anew into requirements/
	@sh dev/lock.sh

bench: setup ## What a tick costs, beside a floor measured in the same run; writes .bench/core.json
	@$(PYTHON) -m dev.toolchain >/dev/null
	@$(PYTHON) -m tests.bench

bench-record: setup ## What rendering costs, beside encoding alone in the same run; half an hour or more, writes .bench/record.json
	@$(PYTHON) -m tests.bench.record $(BENCH_ARGS)

images: setup ## Both images, checked from inside: with Docker, or as root with buildah on Debian's packages
	@$(PYTHON) -m dev.images

kind: setup ## With Docker, kind and Helm: a cluster of three nodes with both images and the chart in it
	@sh dev/kind.sh

clean: ## Remove the virtual environment and caches of this checkout (not the binaries' cache of the user)
	rm -rf .venv .bench .demo .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis build *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
