"""Runs inside an image, as its user: imports all that is installed and prints what it finds as JSON.

Usage: ``python3 - FORBIDDEN_STRINGS_COMMA_SEPARATED [MODULE_NOT_TO_IMPORT...]`` with this file as standard input. It
stands on nothing but the standard library.
"""

import importlib
import importlib.util
import json
import os
import pkgutil
import shutil
import sys
import sysconfig
import time
from pathlib import Path
from typing import Any

_COMPILERS = ("cc", "gcc", "g++", "c++", "clang", "ld", "make", "cmake", "cargo")
_PLACES = ("/", "/tmp", "/var/tmp", "/etc", "/run", "/opt/b3lb", "/nonexistent")  # noqa: S108 - must be refused
_LARGEST_SEARCHED = 1_000_000


def _installed(site: Path) -> list[str]:
    """What can be imported from the directory, and every module of b3lb itself."""
    names = [module.name for module in pkgutil.iter_modules([str(site)])]
    for name in [name for name in names if name.startswith("b3lb")]:
        found = pkgutil.walk_packages([str(site / name)], f"{name}.", onerror=lambda _name: None)
        names += [module.name for module in found if not module.name.endswith(".__main__")]
    return sorted(names)


def _imports(names: list[str], left_out: list[str]) -> dict[str, str]:
    """Import all; return those that failed with the reason."""
    failed = {}
    for name in names:
        if any(name == other or name.startswith(f"{other}.") for other in left_out):
            continue
        try:
            importlib.import_module(name)
        except Exception as error:  # noqa: BLE001 - whatever a package raises at import is what we are after
            failed[name] = f"{type(error).__name__}: {error}"
    return failed


def _without_byte_code() -> list[str]:
    files = {getattr(module, "__file__", None) or "" for module in list(sys.modules.values())}
    sources = [file for file in files if file.endswith(".py")]
    return sorted(file for file in sources if not os.path.exists(importlib.util.cache_from_source(file)))  # noqa: PTH110 - strings throughout


def _writable() -> list[str]:
    found = []
    for place in _PLACES:
        path = Path(place) / "b3lb-probe"
        try:
            path.write_text("x")
        except OSError:
            continue
        path.unlink()
        found.append(place)
    return found


def _traces(forbidden: list[str]) -> list[str]:
    """Files of the image that name a package index of the machine that built it, or that only its build needed."""
    found = [name for name in ("/etc/pip.conf", "/run/secrets/cabundle") if Path(name).exists()]
    for top in ("/opt/b3lb", "/etc"):
        for directory, _, names in os.walk(top):
            for path in (Path(directory) / name for name in names):
                try:
                    readable = path.is_file() and path.stat().st_size < _LARGEST_SEARCHED
                    text = path.read_bytes().decode("latin-1") if readable else ""
                except OSError:
                    continue
                if any(part in text for part in forbidden):
                    found.append(str(path))
    return found


def _status() -> dict[str, str]:
    lines = Path("/proc/self/status").read_text().splitlines()
    return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}


def main() -> None:
    """Print the findings."""
    forbidden = [part for part in sys.argv[1].split(",") if part]
    names = _installed(Path(sysconfig.get_path("purelib")))
    began = time.monotonic()
    failed = _imports(names, sys.argv[2:])
    status = _status()
    findings: dict[str, Any] = {
        "implementation": sys.implementation.name,
        "version": ".".join(map(str, sys.version_info[:3])),
        "user": os.getuid(),
        "group": os.getgid(),
        "groups": os.getgroups(),
        "process": os.getpid(),
        "capabilities": int(status["CapEff"], 16),
        "new_privileges": status.get("NoNewPrivs") != "1",
        "modules": len(names),
        "import_seconds": round(time.monotonic() - began, 2),
        "failed": failed,
        "without_byte_code": _without_byte_code(),
        "writable": _writable(),
        "compilers": [name for name in _COMPILERS if shutil.which(name)],
        "traces": _traces(forbidden),
    }
    print(json.dumps(findings))


main()
