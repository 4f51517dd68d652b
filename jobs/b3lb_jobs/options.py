"""What a run was asked to do; light enough to be imported for ``--help``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from uuid import UUID

from b3lb_jobs.task_table import TaskEntry

if TYPE_CHECKING:
    from b3lb.crypto import KeyRing
    from b3lb.db.engine import Keepalive

DEFAULT_IN_FLIGHT = 100
MOST_IN_FLIGHT = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """A run's tasks and settings.

    ``queue`` is the label of its task runs and the name of the row that decides ``tick_seconds`` and ``max_in_flight``
    where they are None; without ``keepalive`` the usual ones count. ``holder`` is the name by which the run holds
    leases; it belongs to this process alone. ``run_id`` is that of an enqueued run, whose row is not this run's to
    write but for the ticks that it counts. After ``max_ticks`` ticks, or when its memory grew by
    ``max_memory_growth_mib``, a run that ticks ends early.
    """

    entries: tuple[TaskEntry, ...]
    namespace: str
    queue: str
    pod: str
    holder: str
    database_url: str = field(repr=False)
    keys: KeyRing
    tick_seconds: int | None = None
    max_in_flight: int | None = None
    once: bool = False
    dry_run: bool = False
    keepalive: Keepalive | None = None
    run_id: UUID | None = None
    max_ticks: int | None = None
    max_memory_growth_mib: int | None = None
