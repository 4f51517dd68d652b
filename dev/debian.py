"""Programs that Debian packages and no wheel has: used where they are, installed as root where they are not."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from pathlib import Path

from dev.toolchain import ToolchainError, cache_directory

_UPDATE_SECONDS = 300.0
_INSTALL_SECONDS = 900.0


def debian_program(name: str, package: str) -> Path:
    """The program of that name in the PATH; root installs its package with apt-get on first use.

    Raises:
        ToolchainError: it is missing and this user cannot install it, or the installation failed.
    """
    found = shutil.which(name)
    if found is not None:
        return Path(found)
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise ToolchainError(f"{name} is missing: install it (Debian: apt-get install {package})")
    lock = cache_directory() / "debian-lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        # Whoever had the lock before may have installed it.
        if shutil.which(name) is None:
            _install(package)
    found = shutil.which(name)
    if found is None:
        raise ToolchainError(f"the Debian package {package} has no program {name}: put one on the PATH")
    return Path(found)


def _install(package: str) -> None:
    wait = "DPkg::Lock::Timeout=300"
    _apt(["update", "-qq"], seconds=_UPDATE_SECONDS)
    _apt(["install", "-y", "-qq", "--no-install-recommends", "-o", wait, package], seconds=_INSTALL_SECONDS)


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
