"""How much memory a process has had."""

from __future__ import annotations

from pathlib import Path


def peak_mebibytes(pid: int | None = None) -> float:
    """Return the most resident memory that a process has had, in MiB; by default this one.

    ``getrusage`` says more for a process that a larger one started: until its program is loaded a child has the
    memory of its parent, and Linux counts that (getrusage(2), proc_pid_status(5)).
    """
    status = Path(f"/proc/{pid or 'self'}/status").read_text(encoding="ascii")
    return int(status.split("VmHWM:")[1].split()[0]) / 1024
