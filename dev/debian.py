"""What Debian packages and no wheel has: used where it is, installed as root where it is not.

``python -m dev.debian`` does that with everything that recordings need.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from dev.toolchain import ToolchainError, cache_directory

_UPDATE_SECONDS = 300.0
_INSTALL_SECONDS = 900.0
_FONTS = Path("/usr/share/fonts")


@dataclass(frozen=True, slots=True)
class Part:
    """Something of a Debian package: what it is called, and whether it is there."""

    name: str
    package: str
    there: Callable[[], bool]


def program(name: str, package: str) -> Part:
    """Return a program of the PATH as a part."""
    return Part(name, package, lambda: shutil.which(name) is not None)


def _has_cairo() -> bool:
    try:
        ctypes.CDLL("libcairo.so.2")
    except OSError:
        return False
    return True


RENDERING = (
    program("ffmpeg", "ffmpeg"),
    program("ffprobe", "ffmpeg"),
    program("rsvg-convert", "librsvg2-bin"),
    Part("libcairo", "libcairo2", _has_cairo),
    Part("the font Liberation Sans", "fonts-liberation", lambda: any(_FONTS.rglob("LiberationSans-Regular.ttf"))),
)
"""What the record job needs beside Python; the images have the same."""

PUSHING = (program("curl", "curl"), program("flock", "util-linux"))
"""What the script needs that pushes recordings from BigBlueButton servers."""


def debian_program(name: str, package: str) -> Path:
    """The program of that name in the PATH; root installs its package with apt-get on first use.

    Raises:
        ToolchainError: it is missing and this user cannot install it, or the installation failed.
    """
    ensure([program(name, package)])
    found = shutil.which(name)
    if found is None:
        raise ToolchainError(f"the Debian package {package} has no program {name}: put one on the PATH")
    return Path(found)


def ensure(parts: Sequence[Part]) -> None:
    """Install the packages of what is missing, which takes root.

    Raises:
        ToolchainError: something is missing and this user cannot install it, or the installation failed.
    """
    missing = _missing(parts)
    if not missing:
        return
    packages = " ".join(_packages(missing))
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        *others, last = [part.name for part in missing]
        names = f"{', '.join(others)} and {last} are" if others else f"{last} is"
        it = "them" if others else "it"
        raise ToolchainError(f"{names} missing: install {it} (Debian: apt-get install {packages})")
    lock = cache_directory() / "debian-lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        # Whoever had the lock before may have installed it.
        packages_left = _packages(_missing(parts))
        if packages_left:
            _install(packages_left)


def _missing(parts: Sequence[Part]) -> list[Part]:
    return [part for part in parts if not part.there()]


def _packages(parts: Sequence[Part]) -> list[str]:
    return list(dict.fromkeys(part.package for part in parts))


def _install(packages: Sequence[str]) -> None:
    wait = "DPkg::Lock::Timeout=300"
    _apt(["update", "-qq"], seconds=_UPDATE_SECONDS)
    _apt(["install", "-y", "-qq", "--no-install-recommends", "-o", wait, *packages], seconds=_INSTALL_SECONDS)


def _apt(arguments: list[str], *, seconds: float) -> None:
    """Run apt-get; what it says may name the address of a mirror and stays here."""
    what = f"apt-get {arguments[0]}"
    try:
        done = subprocess.run(
            ["apt-get", *arguments],  # noqa: S607 - the system's own, wherever it is
            env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=seconds,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ToolchainError(f"{what} did not end well ({type(error).__name__}): try it by hand") from None
    if done.returncode != 0:
        raise ToolchainError(f"{what} failed with code {done.returncode}: try it by hand")


def main() -> int:
    """Install what recordings need; return 0, or 1 with one sentence."""
    try:
        ensure([*RENDERING, *PUSHING])
    except ToolchainError as error:
        print(f"for recordings: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
