"""Runs a command and measures it with all processes that it starts."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread

import psutil

_SAMPLE_SECONDS = 0.5
MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class TreeUsage:
    """CPU seconds of the tree, its largest memory (shared pages counted once), the largest size of a folder in MiB."""

    cpu_s: float
    wall_s: float
    peak_mib: float
    disk_mib: float
    output: str


def measured(command: Sequence[str], *, folder: Path) -> TreeUsage:
    """Run the command in the repository's root and return what it and its descendants took.

    Raises:
        RuntimeError: it failed.
    """
    began = time.monotonic()
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    sampler = _Sampler(process.pid, folder)
    sampler.start()
    output = process.stdout.read() if process.stdout else ""
    # Counts every descendant that its parent has waited for.
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    wall = time.monotonic() - began
    sampler.stop()
    if process.stdout:
        process.stdout.close()
    if process.returncode:
        raise RuntimeError(f"{command[0]} ended with code {process.returncode}")
    return TreeUsage(used.ru_utime + used.ru_stime, wall, sampler.peak / MIB, sampler.disk / MIB, output)


class _Sampler(Thread):
    def __init__(self, pid: int, folder: Path) -> None:
        super().__init__(daemon=True)
        self.peak = self.disk = 0
        self._pid, self._folder, self._end = pid, folder, Event()

    def run(self) -> None:
        while not self._end.wait(_SAMPLE_SECONDS):
            self.peak = max(self.peak, _proportional_memory(self._pid))
            self.disk = max(self.disk, folder_bytes(self._folder))

    def stop(self) -> None:
        self._end.set()
        self.join()
        self.disk = max(self.disk, folder_bytes(self._folder))


def _proportional_memory(pid: int) -> int:
    try:
        process = psutil.Process(pid)
        return sum(_of_process(one) for one in (process, *process.children(recursive=True)))
    except psutil.Error:
        return 0


def _of_process(process: psutil.Process) -> int:
    try:
        return int(process.memory_full_info().pss)
    except (psutil.Error, OSError):
        return 0


def folder_bytes(folder: Path) -> int:
    """Return the bytes of all files in a folder."""
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size if path.is_file() else 0
        except FileNotFoundError:
            continue
    return total
