"""When a pod that ticks ends before its minute does: after so many ticks, or when its memory has grown by so much."""

from __future__ import annotations

import os
import resource
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

_MIB = 2**20
_STATM = Path("/proc/self/statm")


def resident_bytes() -> int:
    """Return the process's memory that is in RAM; where there is no /proc, the most that it ever was.

    https://man7.org/linux/man-pages/man5/proc_pid_statm.5.html
    """
    try:
        return int(_STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@dataclass(slots=True)
class Lifetime:
    """Counts the ticks of a pod and watches its memory from now on; None sets no limit.

    Attributes:
        max_ticks: So many ticks are done at most.
        max_growth_mib: So many MiB of growth end the pod.
        resident: Returns the bytes in RAM.
    """

    max_ticks: int | None = None
    max_growth_mib: int | None = None
    resident: Callable[[], int] = resident_bytes
    ticks: int = 0
    over: str | None = None
    _before: int = field(init=False)

    def __post_init__(self) -> None:
        self._before = self.resident()

    def tick_done(self) -> bool:
        """Count a tick; return False if it was the last one, and keep in ``over`` why."""
        self.ticks += 1
        grown = (self.resident() - self._before) // _MIB
        if self.max_growth_mib is not None and grown >= self.max_growth_mib:
            self.over = f"its memory grew by {grown} MiB; maxMemoryGrowthMiB is {self.max_growth_mib}"
        elif self.max_ticks is not None and self.ticks >= self.max_ticks:
            self.over = f"it did {self.ticks} ticks; maxTicks is {self.max_ticks}"
        return self.over is None
