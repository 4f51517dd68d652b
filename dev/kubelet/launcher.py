"""First program of a container's process: makes the pod's view of this machine, then becomes the container's command.

Run as ``python -I -S launcher.py PLAN`` with the container's environment; PLAN is the JSON file written by
:mod:`dev.kubelet.containers`. It uses nothing but the standard library, because it runs before every container, and
there is no ``preexec_fn``, because that is unsafe in a process with threads.
"""

import ctypes
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

START_ERROR_CODE = 128

# Constants of sched.h, sys/mount.h and sys/prctl.h.
_CLONE_NEWNS, _CLONE_NEWUTS = 0x00020000, 0x04000000
_MS_RDONLY, _MS_REMOUNT, _MS_BIND, _MS_REC, _MS_PRIVATE = 1, 32, 4096, 16384, 1 << 18
_PR_SET_PDEATHSIG = 1
_ROOT = Path("/")

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def _mount(source: str, target: Path, *, flags: int, kind: bytes | None = None, options: bytes | None = None) -> None:
    _check(_libc.mount(source.encode(), bytes(target), kind, ctypes.c_ulong(flags), options), f"mount {target}")


def _through(descriptor: int) -> Path:
    """A path to an open file or directory that works even where a mount hides its own path."""
    return Path(f"/proc/self/fd/{descriptor}")


class _View:
    """A private mount namespace in which mount points that this machine does not have can be created."""

    def __init__(self) -> None:
        # Entries may be created only in directories that nobody else sees; foreign ones are this machine's.
        self._own: set[Path] = set()
        self._foreign: set[Path] = set()
        _check(_libc.unshare(_CLONE_NEWNS | _CLONE_NEWUTS), "unshare")
        _mount("none", _ROOT, flags=_MS_REC | _MS_PRIVATE)

    def mount(self, descriptor: int, target: Path, *, read_only: bool) -> None:
        """Mounts an open file or directory on a path."""
        target = target.resolve()
        if not target.exists():
            self._create(target, directory=_through(descriptor).is_dir())
        _mount(str(_through(descriptor)), target, flags=_MS_BIND | _MS_REC)
        if read_only:
            _mount("none", target, flags=_MS_BIND | _MS_REMOUNT | _MS_RDONLY)
        self._own.add(target)

    def _create(self, target: Path, *, directory: bool) -> None:
        ancestor = next(path for path in target.parents if path.is_dir())
        nearest = next((path for path in (ancestor, *ancestor.parents) if path in self._own | self._foreign), None)
        if nearest not in self._own:
            self.shadow(ancestor, on=ancestor)
        _create(target, directory=directory)

    def shadow(self, directory: Path, *, on: Path) -> None:
        """Mounts an own directory with the entries of another one, each of them bound to the real one."""
        entries = [(entry.name, os.open(entry.path, os.O_PATH | os.O_NOFOLLOW)) for entry in os.scandir(directory)]
        links = {path.name: path.readlink() for path in directory.iterdir() if path.is_symlink()}
        _mount("tmpfs", on, flags=0, kind=b"tmpfs", options=b"mode=0755")
        for name, descriptor in entries:
            if name in links:
                (on / name).symlink_to(links[name])
            else:
                _create(on / name, directory=_through(descriptor).is_dir())
                _mount(str(_through(descriptor)), on / name, flags=_MS_BIND | _MS_REC)
                self._foreign.add(directory / name)
            os.close(descriptor)
        self._own.add(directory)


def _create(path: Path, *, directory: bool) -> None:
    if directory:
        path.mkdir(parents=True, exist_ok=True)
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def _enter(plan: dict[str, Any]) -> None:
    view = _View()
    hostname = plan["hostname"].encode()
    _check(_libc.sethostname(hostname, len(hostname)), "sethostname")
    # All sources are opened first: a mount may hide the sources of later ones.
    mounts = [(os.open(source, os.O_PATH), Path(target), read_only) for source, target, read_only in plan["mounts"]]
    if not all((_ROOT / target.resolve().parts[1]).exists() for _, target, _ in mounts):
        # Nothing can be mounted on the root itself, so the process moves to a copy of it.
        staging = Path(plan["staging"])
        view.shadow(_ROOT, on=staging)
        os.chroot(staging)
        os.chdir(_ROOT)
    for descriptor, target, read_only in mounts:
        view.mount(descriptor, target, read_only=read_only)
        os.close(descriptor)


def _die_with_parent(parent: int) -> None:
    _check(_libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0), "prctl")
    # It may have ended before the call above.
    if os.getppid() != parent:
        raise OSError("the kubelet has ended")


def main() -> None:
    """Runs the plan; if that is not possible, says why in the plan's error file and ends with code 128."""
    plan = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    error = os.open(plan["error"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        _die_with_parent(plan["parent"])
        if plan["private"]:
            _enter(plan)
        os.chdir(plan["directory"])
        # Python ignores these two; programs do not expect to inherit that.
        for number in (signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)
        os.execvpe(plan["command"][0], plan["command"], os.environ)  # noqa: S606  # becoming the command is the purpose
    except (OSError, ValueError) as problem:
        os.write(error, str(problem).encode(errors="replace")[:1024])
        sys.exit(START_ERROR_CODE)


if __name__ == "__main__":
    main()
