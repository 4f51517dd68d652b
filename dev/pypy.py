"""PyPy 3.11 with the record job's packages and Debian's FFmpeg, in a root file system of its own.

No package index has PyPy, so the root file system is made of Debian's packages and kept in the cache of the user; the
checkout is mounted into it. Needs root. ``python -m dev.pypy --run ARGUMENT...`` runs the interpreter in it.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from dev.debian import debian_program
from dev.images.bases import PYPY, SUITE, debian_mirror
from dev.images.commands import ImagesError, run, say
from dev.images.secrets import CA_BUNDLE, build_secrets, read_pip_settings
from dev.toolchain import ToolchainError, cache_directory

_ROOT = Path(__file__).resolve().parent.parent
_REQUIREMENTS = _ROOT / "requirements"
_SECONDS = 1800.0
_PACKAGES = (
    *PYPY.packages,
    # For what has no wheel for PyPy.
    *("cmake", "gcc", "libc6-dev", "make"),
    # What the image has for rendering.
    *("ffmpeg", "fontconfig", "fonts-dejavu-core", "fonts-liberation", "libcairo2", "libpq5", "librsvg2-bin"),
)
_SOURCE = "/source"
_SECRETS = Path(CA_BUNDLE).parent.as_posix()
_COMPLETE = "complete"
_NAMESPACE = ("unshare", "--mount", "--pid", "--fork", "--kill-child")
_ENVIRONMENT = {
    "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LANG": "C.UTF-8",
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    # Nothing is written into the checkout but what the command writes.
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONPATH": ":".join(f"{_SOURCE}/{part}" for part in ("", "jobs")),
}


class CannotRunHereError(ImagesError):
    """This machine or this user is allowed no root file system of its own; the message says why in one sentence."""


def main() -> int:
    """Run the interpreter with the given arguments; return its code, or 1 if it cannot be had here."""
    parser = argparse.ArgumentParser(prog="python -m dev.pypy", description=__doc__)
    parser.add_argument("--run", nargs=argparse.REMAINDER, required=True, help="the interpreter's arguments")
    arguments = parser.parse_args().run
    try:
        root = pypy_root()
        return enter(root, [pypy_environment(root), *arguments])
    except (ImagesError, ToolchainError) as error:
        say(f"pypy: {error}")
        return 1


def pypy_root() -> Path:
    """Return the root file system, made on first use.

    Raises:
        CannotRunHereError: not root, no mounts allowed, or no debootstrap and no apt-get to install it with.
        ImagesError: debootstrap failed.
        ToolchainError: debootstrap could not be installed.
    """
    _check_machine()
    debian_program("debootstrap", "debootstrap")
    root = cache_directory() / "pypy" / _digest(SUITE, *_PACKAGES)
    if not root.exists():
        shutil.rmtree(root.parent, ignore_errors=True)
        root.parent.mkdir(parents=True)
        say("pypy: making a root file system of Debian's packages (some minutes)")
        part = root.with_suffix(".part")
        _make_unpacking_fast(part)
        command = ["debootstrap", "--variant=minbase", f"--include={','.join(_PACKAGES)}", SUITE, str(part)]
        run([*command, *debian_mirror()], seconds=_SECONDS)
        part.rename(root)
    return root


def _check_machine() -> None:
    needs = "PyPy needs a root file system of Debian's packages"
    if os.geteuid() != 0:
        raise CannotRunHereError(f"{needs}, which only root can make: run this as root")
    if shutil.which("debootstrap") is None and shutil.which("apt-get") is None:
        raise CannotRunHereError(f"{needs}, and there is neither debootstrap nor apt-get to install it with")
    # Containers often have a root that may do neither.
    attempt = "mount -t tmpfs tmpfs /tmp; mknod /tmp/null c 1 3"
    allowed = subprocess.run([*_NAMESPACE, "sh", "-ec", attempt], capture_output=True, check=False)
    if allowed.returncode:
        raise CannotRunHereError(f"{needs}, and this root may not mount file systems and make devices")


def _make_unpacking_fast(root: Path) -> None:
    """Spare a new root file system the fsync of each file: after a crash it is made anew."""
    folder = root / "etc/dpkg/dpkg.cfg.d"
    folder.mkdir(parents=True)
    (folder / "unsafe-io").write_text("force-unsafe-io\n")


def pypy_environment(root: Path) -> str:
    """Return the interpreter that has the locked packages, by its path within the root file system.

    Raises:
        ImagesError: the packages cannot be installed.
    """
    texts = {name: (_REQUIREMENTS / name).read_text() for name in ("build.txt", "image-pypy.txt", "test-pypy.txt")}
    home = f"/opt/{_digest(*texts.values())}"
    if (root / home[1:] / _COMPLETE).exists():
        return f"{home}/bin/python"
    say("pypy: installing the locked packages (some minutes)")
    with tempfile.TemporaryDirectory(prefix="b3lb-pypy-") as name:
        folder = Path(name)
        for file, text in texts.items():
            (folder / file).write_text(text)
        secrets = build_secrets(read_pip_settings(), folder)
        if bundle := secrets.get("cabundle"):
            shutil.copy(bundle, folder / "cabundle")
        environment = {"PIP_CONFIG_FILE": f"{_SECRETS}/pip.conf"} if "pipconf" in secrets else {}
        pip = f"{home}/bin/pip install -q --require-hashes"
        as_built = f"{pip} --no-build-isolation --no-deps"
        steps = [f"rm -rf {home}", f"pypy3 -m venv {home}", f"cd {_SECRETS}", f"{pip} -r build.txt"]
        steps += [f"{as_built} -r image-pypy.txt", f"{as_built} -r test-pypy.txt", f"touch {home}/{_COMPLETE}"]
        shutil.copy("/etc/resolv.conf", root / "etc/resolv.conf")
        inside = ["sh", "-c", " && ".join(steps)]
        code = _in_namespace(root, {str(folder): _SECRETS}, inside, environment=environment)
    if code:
        raise ImagesError(f"the packages for PyPy could not be installed: pip ended with code {code}")
    return f"{home}/bin/python"


def _digest(*texts: str) -> str:
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:16]


def enter(root: Path, command: Sequence[str], *, environment: Mapping[str, str] | None = None) -> int:
    """Run a command in the root file system, in the checkout, with further variables; return its code."""
    return _in_namespace(root, {str(_ROOT): _SOURCE}, command, environment=environment or {})


def _in_namespace(root: Path, mounts: dict[str, str], command: Sequence[str], *, environment: Mapping[str, str]) -> int:
    """Run a command in mounts and processes of its own: when it ends, nothing of it is left."""
    script = ['root=$1; shift; mount -t proc proc "$root/proc"; mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"']
    script += ['for d in null zero random urandom; do : >"$root/dev/$d"; mount --bind "/dev/$d" "$root/dev/$d"; done']
    for index in range(len(mounts)):
        script.append(
            f'mkdir -p "$root${{{2 * index + 2}}}"; mount --bind "${{{2 * index + 1}}}" "$root${{{2 * index + 2}}}"'
        )
    script.append(f"shift {2 * len(mounts)}")
    script.append(f'exec chroot "$root" sh -c \'test ! -d {_SOURCE} || cd {_SOURCE}; exec "$@"\' sh "$@"')
    pairs = [part for pair in mounts.items() for part in pair]
    started = [*_NAMESPACE, "sh", "-euc", "\n".join(script), "sh"]
    return subprocess.run(
        [*started, str(root), *pairs, *command], env={**_ENVIRONMENT, **environment}, check=False
    ).returncode


if __name__ == "__main__":
    sys.exit(main())
