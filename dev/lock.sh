#!/bin/sh
# Resolves the dependencies of development and of each image into hashed requirements files that name no index. The images
# get the versions that the tests ran with.
set -eu
cd "$(dirname "$0")/.."
tested=.venv/tested.txt
lock() {
  out=$1
  shift
  .venv/bin/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
    --custom-compile-command "make lock" "$@" -o "$out"
}
lock requirements/dev.txt pyproject.toml --extra operator --extra jobs --extra api --extra cli --group dev
sed -n 's/^\([a-z0-9-]*==[^ ;]*\).*/\1/p' requirements/dev.txt >"$tested"
lock requirements/image.txt pyproject.toml --extra operator --extra jobs --extra api --extra cli --constraint "$tested"
echo setuptools | lock requirements/build.txt - --constraint "$tested"
sed -i '/^pydantic/d; /^cryptography/d' "$tested"
lock requirements/image-pypy.txt pyproject.toml --extra jobs --constraint "$tested" \
  --override requirements/pypy-overrides.txt
# Later ones of hypothesis have parts in Rust that PyPy 7.3.19 does not load either.
sed -i '/^hypothesis/d' "$tested"
printf '%s\n' 'hypothesis<6.156' psutil pytest pytest-asyncio pytest-timeout pytest-xdist |
  lock requirements/test-pypy.txt - --constraint "$tested"
