"""What the operator last read of a namespace in the database, and how fresh it is."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from b3lb.db.mirror import ClusterMirror, NodeMirror, Snapshot
from b3lb.db.unpolled import Unpolled
from b3lb_operator.manifests.facts import Freshness

TASK = "check-nodes"


@dataclass(frozen=True, slots=True)
class View:
    """One look at a namespace; ``snapshot`` is None while the database was never read."""

    snapshot: Snapshot | None
    freshness: Freshness
    now: datetime

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
        beat = None if snapshot is None else snapshot.heartbeat(TASK)
        freshness = Freshness(
            tick_started_at=None if beat is None else beat.started_at,
            tick_finished_at=None if beat is None else beat.finished_at,
            read_at=present - age,
            error=error,
        )
        return cls(snapshot, freshness, present)

    @property
    def unpolled(self) -> Unpolled:
        """The nodes of which the last tick says nothing although they were due."""
        beat = None if self.snapshot is None else self.snapshot.heartbeat(TASK)
        return Unpolled() if beat is None else beat.unpolled

    def node(self, name: str, uid: str) -> NodeMirror | None:
        """Return the row of exactly that BBBNode."""
        row = self.snapshot.nodes.get(name) if self.snapshot is not None else None
        return row if row is not None and row.uid == uid else None

    def cluster(self, name: str | None) -> ClusterMirror | None:
        """Return the row of the BBBCluster of that name."""
        return self.snapshot.clusters.get(name) if self.snapshot is not None and name is not None else None
