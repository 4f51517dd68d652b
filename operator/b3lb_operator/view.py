"""What the operator last read of a namespace in the database, and how fresh it is."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from b3lb.db.mirror import ClusterMirror, NodeMirror, Snapshot
from b3lb.db.unpolled import Unpolled
from b3lb.tasks import CHECK_NODES, UPDATE_SECRETS_LISTS
from b3lb_operator.manifests.facts import Block, Freshness


@dataclass(frozen=True, slots=True)
class View:
    """One look at a namespace; ``snapshot`` is None while the database was never read.

    ``late`` are the uids of objects whose rows should be as they are by now. ``storing_error`` says why changes cannot
    be stored; it is empty while they can.
    """

    snapshot: Snapshot | None
    freshness: Freshness
    now: datetime
    late: Collection[str] = ()
    storing_error: str = ""

    @classmethod
    def of(cls, snapshot: Snapshot | None, *, age: timedelta, error: str, now: datetime) -> View:
        """Return the view of a snapshot that was read ``age`` ago.

        Args:
            snapshot: The last one that could be read.
            age: How long ago that was, or since the operator started if there is none.
            error: Why the last attempt to read failed, empty when it worked.
            now: This computer's time, used only without a snapshot; else the database's clock goes on from it.
        """
        present = now if snapshot is None else snapshot.now + age
        beat = None if snapshot is None else snapshot.heartbeat(CHECK_NODES)
        freshness = Freshness(
            tick_started_at=None if beat is None else beat.started_at,
            tick_finished_at=None if beat is None else beat.finished_at,
            read_at=present - age,
            error=error,
            unrun=why_unrun(CHECK_NODES, snapshot),
        )
        return cls(snapshot, freshness, present)

    @property
    def is_readable(self) -> bool:
        """Whether the last attempt to read the database worked, so that what lacks is not there."""
        return self.snapshot is not None and not self.freshness.error

    def is_awaited(self, uid: str) -> bool:
        """Whether the row of an object that it does not reflect yet is to be waited for: it follows in a moment."""
        return not self.freshness.error and not self.storing_error and uid not in self.late

    @property
    def why_unstored(self) -> str:
        """What keeps a row from being as its object is; empty if nobody knows."""
        return self.storing_error or self.freshness.error

    @property
    def lists_outdated(self) -> Block | None:
        """Why nothing is known of what runs by API secret, None while it is; it follows from the health checks."""
        return self.freshness.outdated(self.now) or self.lists_freshness.outdated(self.now)

    @property
    def lists_freshness(self) -> Freshness:
        """How fresh what is known of the lists is."""
        beat = None if self.snapshot is None else self.snapshot.heartbeat(UPDATE_SECRETS_LISTS)
        return dataclasses.replace(
            self.freshness,
            tick_started_at=None if beat is None else beat.started_at,
            tick_finished_at=None if beat is None else beat.finished_at,
            task=UPDATE_SECRETS_LISTS,
            work="update of the lists",
            unrun=why_unrun(UPDATE_SECRETS_LISTS, self.snapshot),
        )

    @property
    def unpolled(self) -> Unpolled:
        """The nodes of which the last tick says nothing although they were due."""
        beat = None if self.snapshot is None else self.snapshot.heartbeat(CHECK_NODES)
        return Unpolled() if beat is None else beat.unpolled

    def node(self, name: str, uid: str) -> NodeMirror | None:
        """Return the row of exactly that BBBNode."""
        row = self.snapshot.nodes.get(name) if self.snapshot is not None else None
        return row if row is not None and row.uid == uid else None

    def cluster(self, name: str | None) -> ClusterMirror | None:
        """Return the row of the BBBCluster of that name."""
        return self.snapshot.clusters.get(name) if self.snapshot is not None and name is not None else None


def why_unrun(task: str, snapshot: Snapshot | None) -> str:
    """Return why no ticks of a task are to be expected; empty if they are, or nothing is known of the queues."""
    if snapshot is None:
        return ""
    queues = [queue for queue in snapshot.queues.values() if task in queue.tasks]
    if not queues:
        return f"no BBBQueue runs {task}"
    if all(queue.suspend for queue in queues):
        return f"BBBQueue {', '.join(queue.name for queue in queues)}, which runs {task}, is suspended"
    return ""
