#!/bin/sh
# Resolves the dependencies of each program and of development into hashed requirements files that name no index.
set -eu
cd "$(dirname "$0")/.."
lock() {
  out=$1
  shift
  .venv/bin/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
    --custom-compile-command "make lock" pyproject.toml "$@" -o "$out"
}
lock requirements/operator.txt --extra operator
lock requirements/jobs.txt --extra jobs
lock requirements/dev.txt --extra operator --extra jobs --group dev
