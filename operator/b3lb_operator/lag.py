"""Which objects the database does not reflect, and for how long: pure, so that time is what the caller says it is."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Protocol

from b3lb.db.mirror import Snapshot
from b3lb_operator.kinds import API_SECRET, CLUSTER, NODE, QUEUE, RECORD_PROFILE, TENANT, Kind, Manifest

PATIENCE_SECONDS = 3.0
"""A change is in the database within a fraction of this."""

COMPARISON_SECONDS = 10.0, 300.0
"""Least and longest time between two full comparisons for what is late."""


class _Row(Protocol):
    @property
    def uid(self) -> str: ...
    @property
    def generation(self) -> int: ...


def unreflected(objects: Mapping[Kind, Iterable[Manifest]], snapshot: Snapshot) -> set[tuple[str, int]]:
    """Return uid and generation of the objects that the database lacks or has another generation of.

    Rows without an object count, too, by their uid and generation 0.

    Args:
        objects: All live objects of a namespace that should have a row.
        snapshot: The database's view of the namespace.
    """
    rows: dict[Kind, Mapping[str, _Row]] = {
        CLUSTER: snapshot.clusters,
        NODE: snapshot.nodes,
        QUEUE: snapshot.queues,
        TENANT: snapshot.tenants,
        API_SECRET: snapshot.api_secrets,
        RECORD_PROFILE: snapshot.record_profiles,
    }
    live = {item for kind in rows for item in _identities(objects.get(kind, ()))}
    stored = {row.uid: row.generation for found in rows.values() for row in found.values()}
    uids = {uid for uid, _ in live}
    surplus = {(uid, 0) for uid in stored.keys() - uids}
    return {item for item in live if stored.get(item[0]) != item[1]} | surplus


def _identities(objects: Iterable[Manifest]) -> Iterator[tuple[str, int]]:
    for manifest in objects:
        yield manifest["metadata"]["uid"], manifest["metadata"]["generation"]


def went_back(before: Snapshot | None, after: Snapshot) -> bool:
    """Whether the database was restored or emptied between two looks at a namespace: what only grows became less."""
    if before is None:
        return False
    beats = {task: beat.finished_at for task, beat in after.heartbeats.items()}
    if any(task not in beats or beats[task] < beat.finished_at for task, beat in before.heartbeats.items()):
        return True
    revisions = {row.id: row.revision for row in after.nodes.values()}
    return any(revisions.get(row.id, row.revision) < row.revision for row in before.nodes.values())


class Lag:
    """Remembers since when which objects are not reflected, and when a full comparison was asked for because of it.

    Times are monotonic seconds.
    """

    def __init__(self) -> None:
        self._since: dict[tuple[str, int], float] = {}
        self._restored = False
        self._next_comparison = -math.inf
        self._wait = COMPARISON_SECONDS[0]

    def note(self, found: Iterable[tuple[str, int]], *, at: float, restored: bool = False) -> None:
        """Take in what is not reflected now; another generation of an object begins anew.

        Args:
            found: What ``unreflected`` returned.
            at: The time.
            restored: Whether the database ``went_back``.
        """
        self._since = {item: self._since.get(item, at) for item in found}
        self._restored = self._restored or restored
        if not self._since and not self._restored:
            self._wait = COMPARISON_SECONDS[0]

    def take_comparison(self, *, at: float) -> bool:
        """Whether all objects are to be compared with all rows now, for something is late or the database went back.

        After a yes the next one takes its time, the longer the less the comparisons help.
        """
        if not (self._restored or self.late(at=at)) or at < self._next_comparison:
            return False
        self._restored = False
        self._next_comparison = at + self._wait
        self._wait = min(2 * self._wait, COMPARISON_SECONDS[1])
        return True

    def late(self, *, at: float) -> frozenset[str]:
        """Return the uids of what has not been reflected for longer than it takes."""
        return frozenset(uid for (uid, _), since in self._since.items() if at - since >= PATIENCE_SECONDS)

    def seconds_to_wait(self, *, at: float) -> float | None:
        """Return after how many seconds something becomes late, None while nothing will."""
        waits = [since + PATIENCE_SECONDS - at for since in self._since.values()]
        return min((wait for wait in waits if wait > 0), default=None)
