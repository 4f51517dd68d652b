"""Stand-ins for the official base images, made of Debian's packages where no registry of images is within reach.

They have what the Dockerfile asks of a base: ``python3`` with the module ``venv``, certificates, and the Debian release
of the official images. Other than there, Python is Debian's, at ``/usr/bin/python3``.
"""

from __future__ import annotations

import hashlib
import platform
import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from dev.images.commands import ImagesError, run, say
from dev.toolchain import cache_directory

SUITE = "trixie"
_SECONDS = 900.0
_FRESH_SECONDS = 30 * 86400
"""Then Debian's packages are fetched again, for their repairs."""
_PROGRAM_LINKS = ("python", "python3")
_UNNEEDED = ("debootstrap", "var/cache/apt/archives", "var/lib/apt/lists", "usr/share/doc", "usr/share/man", "var/log")


@dataclass(frozen=True, kw_only=True)
class Base:
    """A base image: its build argument in the Dockerfile, its local name, its interpreter and its Debian packages."""

    argument: str
    name: str
    interpreter: str
    packages: tuple[str, ...]


PYTHON = Base(
    argument="PYTHON_IMAGE",
    name="localhost/b3lb-base-python:3.13",
    interpreter="/usr/bin/python3.13",
    packages=("ca-certificates", "python3", "python3-venv"),
)
PYPY = Base(
    argument="PYPY_IMAGE",
    name="localhost/b3lb-base-pypy:3.11",
    interpreter="/usr/bin/pypy3",
    packages=("ca-certificates", "pypy3", "pypy3-dev", "pypy3-venv"),
)


def import_base(base: Base) -> str:
    """Put the base into buildah's store, from the root file system in the cache or from Debian's packages.

    Returns:
        The image's name; the same one as long as the root file system is the same.

    Raises:
        ImagesError: debootstrap or buildah failed.
    """
    archive = _archive(base)
    name = f"{base.name}-{archive.stat().st_mtime_ns // 1_000_000_000}"
    if run(["buildah", "images", "--quiet", "--filter", f"reference={name}"], seconds=60).strip():
        return name
    container = run(["buildah", "from", "scratch"], seconds=60).strip()
    try:
        run(["buildah", "add", "--quiet", container, str(archive), "/"], seconds=_SECONDS)
        path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        run(
            ["buildah", "config", "--env", f"PATH={path}", "--env", "LANG=C.UTF-8", "--cmd", '["python3"]', container],
            seconds=60,
        )
        run(["buildah", "commit", "--quiet", container, name], seconds=_SECONDS)
    finally:
        run(["buildah", "rm", container], seconds=60)
    return name


def _archive(base: Base) -> Path:
    text = f"{SUITE} {platform.machine()} {base}"
    directory = cache_directory() / "images"
    archive = directory / f"{hashlib.sha256(text.encode()).hexdigest()[:16]}.tar"
    if archive.exists() and time.time() - archive.stat().st_mtime < _FRESH_SECONDS:
        return archive
    directory.mkdir(parents=True, exist_ok=True)
    say(f"images: making {base.name} of Debian's packages (about a minute)")
    with tempfile.TemporaryDirectory(dir=directory, prefix="root-") as name:
        root = Path(name)
        root.chmod(0o755)
        command = ["debootstrap", "--variant=minbase", f"--include={','.join(base.packages)}", SUITE, name]
        run([*command, *debian_mirror()], seconds=_SECONDS)
        _adapt(root, base.interpreter)
        part = archive.with_suffix(".part")
        run(["tar", "-C", name, "--numeric-owner", "-cf", str(part), "."], seconds=_SECONDS)
    part.replace(archive)
    return archive


def debian_mirror() -> list[str]:
    """Where this machine's apt gets Debian from; nothing leaves the choice to debootstrap."""
    if shutil.which("apt-get") is None:
        return []
    try:
        found = run(["apt-get", "indextargets", "--format", "$(REPO_URI)"], seconds=60).split()
    except ImagesError:
        return []
    return [uri for uri in found if uri.endswith("/debian/")][:1]


def _adapt(root: Path, interpreter: str) -> None:
    for name in _PROGRAM_LINKS:
        (root / "usr/local/bin" / name).symlink_to(interpreter)
    for marker in root.glob("usr/lib/python3*/EXTERNALLY-MANAGED"):
        marker.unlink()
    for name in _UNNEEDED:
        shutil.rmtree(root / name, ignore_errors=True)
    for name in ("var/cache/apt/archives/partial", "var/lib/apt/lists/partial", "var/log/apt"):
        (root / name).mkdir(parents=True)
    (root / "etc/resolv.conf").write_text("")
    (root / "etc/hostname").write_text("localhost\n")
