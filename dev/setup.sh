#!/bin/sh
# Makes .venv hold exactly what requirements/dev.txt locks; does nothing when it already does.
set -eu
cd "$(dirname "$0")/.."

say() { printf '%s\n' "$*" >&2; }
die() { say "setup: $*"; exit 1; }

usable() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

find_python() {
  for candidate in "${B3LB_PYTHON:-}" python3 python3.13 python3.12 python3.11; do
    if [ -n "$candidate" ] && command -v "$candidate" >/dev/null && usable "$candidate"; then
      command -v "$candidate"
      return 0
    fi
  done
  return 1
}

install_debian() {
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    say "setup: installing the Debian packages $*"
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "$@"; } >/dev/null
  else
    return 1
  fi
}

python=$(find_python) || {
  install_debian python3 python3-venv || die "Python 3.11 or newer is missing: install it (Debian: apt-get install python3 python3-venv), or name it in B3LB_PYTHON"
  python=$(find_python) || die "this system's Python is older than 3.11: install a newer one and name it in B3LB_PYTHON"
}

version=$("$python" -c 'import sys; print(sys.version)')
wanted=$(printf '%s' "$version" | cat - pyproject.toml requirements/dev.txt requirements/bootstrap.txt dev/setup.sh | cksum)
if [ -f .venv/.installed ] && [ "$(cat .venv/.installed)" = "$wanted" ]; then
  exit 0
fi

say "setup: installing the locked dependencies into .venv (about half a minute)"
rm -rf .venv
"$python" -c 'import ensurepip, venv' 2>/dev/null || install_debian python3-venv ||
  die "Python's venv module is missing (Debian: apt-get install python3-venv)"
"$python" -m venv .venv
.venv/bin/pip install -q --disable-pip-version-check --require-hashes -r requirements/bootstrap.txt ||
  die "cannot install from the package index: is this machine online, or PIP_INDEX_URL set?"
# uv reads its own variables for a private index; pip's are the ones people have set.
if [ -n "${PIP_INDEX_URL:-}" ] && [ -z "${UV_DEFAULT_INDEX:-}" ]; then
  export UV_DEFAULT_INDEX="$PIP_INDEX_URL"
fi
.venv/bin/uv pip install -q --python .venv/bin/python --require-hashes -r requirements/dev.txt ||
  die "the locked dependencies could not be installed"
.venv/bin/uv pip install -q --python .venv/bin/python --no-deps --no-build-isolation --editable .
# Programs start in a fraction of the time from byte code, whatever PYTHONDONTWRITEBYTECODE says here.
env -u PYTHONDONTWRITEBYTECODE .venv/bin/python -m compileall -q -j 0 .venv/lib b3lb operator jobs api cli dev >/dev/null 2>&1 || true
printf '%s' "$wanted" >.venv/.installed
