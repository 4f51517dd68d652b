"""What the status builders are told and what they decide; nothing here does I/O."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from b3lb.health import NodeState
from b3lb.resources.conditions import ConditionStatus, NodeReason, format_time
from b3lb.resources.node import BBBNodeSpec

STALE_AFTER_SECONDS = 150
"""Age from which on what the health checks or the database last said counts as unknown."""

AHEAD_SECONDS = 60
"""What was noted further in the future was noted before the database's clock was set back, and says nothing."""


@dataclass(frozen=True, slots=True)
class Block:
    """Why an object cannot be worked with: a reason for programs and a message for people."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What one condition says; ``observed_generation`` only when it is not the present one."""

    status: ConditionStatus
    reason: str
    message: str
    observed_generation: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Freshness:
    """How fresh the database's view of a namespace is; all times are by the database's clock.

    ``tick_started_at`` and ``tick_finished_at`` are of the last finished tick of the node checks (the heartbeat), None
    before the first. ``read_at`` is when the database was last read, or when the operator started if it never was.
    ``error`` says, without secrets, why the last attempt to read failed; it is empty when it worked. ``task`` is whose
    ticks they are, ``work`` what they do. ``unrun`` says why no ticks are to be expected, e.g. that no BBBQueue runs
    the task; it is empty while there should be some.
    """

    tick_started_at: datetime | None
    tick_finished_at: datetime | None
    read_at: datetime
    error: str = ""
    task: str = "check-nodes"
    work: str = "health check"
    unrun: str = ""

    def outdated(self, now: datetime, *, last_observation: datetime | None = None) -> Block | None:
        """Return why nothing is known at ``now``, or None.

        While the database cannot be read, ticks that may have happened meanwhile are not missed. A tick in the future
        counts as none: the database's clock was set back, or another server with another clock took over.

        Args:
            now: The database's time, as estimated when it cannot be read.
            last_observation: When this very object was last observed, if that is known.
        """
        longest = timedelta(seconds=STALE_AFTER_SECONDS)
        if self.error and self.read_at < now - longest:
            message = f"the database cannot be read since {format_time(self.read_at)}: {self.error}"
            return Block(NodeReason.DATABASE_UNAVAILABLE, message)
        present = self.read_at if self.error else now
        latest = now + timedelta(seconds=AHEAD_SECONDS)
        if self.tick_finished_at is not None and self.tick_finished_at > latest:
            message = (
                f"the last {self.work} is of {format_time(self.tick_finished_at)}, which is in the future: "
                f"the clock of the database was set back; the next tick of {self.task} mends it"
            )
            return Block(NodeReason.STALE, message)
        moments = (self.tick_finished_at, last_observation)
        observations = [moment for moment in moments if moment is not None and moment <= latest]
        if observations and max(observations) < present - longest:
            advice = self.unrun or f"see the BBBQueue that runs {self.task}, its CronJob and its Jobs"
            message = f"no {self.work} since {format_time(max(observations))}: {advice}"
            return Block(NodeReason.STALE, message)
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeRecord:
    """The database's rows of a node; ``observed_at`` is when its state was last written.

    ``generation`` is that of the BBBNode as it was stored, and ``polled`` whether its state there allows polls.
    ``observed_in_last_tick`` is False when the node was due in the last tick and the tick could not poll it to the end:
    then the tick proves nothing of it. ``unreadable``: because the jobs cannot decrypt its API secret. ``duplicate_of``
    names an older node that is the same server, None for a server of its own.
    """

    revision: int
    generation: int = 1
    polled: bool = True
    state: NodeState | None = None
    load: float | None = None
    observed_at: datetime | None = None
    observed_in_last_tick: bool = True
    unreadable: bool = False
    duplicate_of: str | None = None

    @property
    def current_state(self) -> NodeState | None:
        """The state, if it was observed with the present configuration."""
        return self.state if self.state is not None and self.state.revision == self.revision else None


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeFacts:
    """All that a node's status follows from.

    ``block`` says why the node cannot be polled (a reason of ``NodeBlock``). ``record`` is None while the database
    holds no row of the node or was never read. ``guard_holds``: the mass-failure guard of the node's cluster.
    ``deleted_at`` is when the deletion of a node that is ``deleting`` was asked for, if that is known.
    ``unstored`` says why the database does not hold the present generation, empty while it does.
    """

    spec: BBBNodeSpec
    generation: int
    freshness: Freshness
    deleting: bool = False
    deleted_at: datetime | None = None
    block: Block | None = None
    record: NodeRecord | None = None
    unstored: str = ""
    guard_holds: bool = False
