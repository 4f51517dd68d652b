"""Memory limits by sampling, because a plain process has no cgroup of its own.

The resident memory of a container's process and its descendants is added up. Pages shared between them count several
times, and a short peak between two samples is not seen; RLIMIT_AS would instead stop threads from starting.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psutil

SAMPLE_SECONDS = 0.3


@dataclass(frozen=True)
class Sample:
    """A process at one moment."""

    pid: int
    parent: int
    resident_bytes: int


def tree_bytes(samples: Iterable[Sample], root: int) -> int:
    """Resident memory of a process and its descendants, in bytes."""
    children: dict[int, list[Sample]] = {}
    total = 0
    for sample in samples:
        children.setdefault(sample.parent, []).append(sample)
        if sample.pid == root:
            total += sample.resident_bytes
    waiting = [root]
    while waiting:
        for child in children.get(waiting.pop(), ()):
            total += child.resident_bytes
            waiting.append(child.pid)
    return total


def _samples() -> list[Sample]:
    return [
        Sample(pid=process.pid, parent=process.info["ppid"], resident_bytes=process.info["memory_info"].rss)
        for process in psutil.process_iter(["ppid", "memory_info"])
        if process.info["memory_info"] is not None
    ]


class MemoryGuard:
    """Watches containers with a memory limit."""

    def __init__(self) -> None:
        self._watched: dict[int, tuple[int, Callable[[], None]]] = {}

    @contextmanager
    def watch(self, pid: int, *, limit: int | None, kill: Callable[[], None]) -> Iterator[None]:
        """Calls ``kill`` as long as the tree of a process has more resident memory than the limit.

        Args:
            pid: The process.
            limit: Bytes; None watches nothing.
            kill: Ends the process; called again if it has not ended until the next sample.
        """
        if limit is not None:
            self._watched[pid] = (limit, kill)
        try:
            yield
        finally:
            self._watched.pop(pid, None)

    async def run(self) -> None:
        """Samples until it is cancelled."""
        while True:
            await asyncio.sleep(SAMPLE_SECONDS)
            if self._watched:
                samples = _samples()
                for pid, (limit, kill) in list(self._watched.items()):
                    if tree_bytes(samples, pid) > limit:
                        kill()
