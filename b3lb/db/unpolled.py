"""The nodes that a tick should have polled and did not: the jobs leave their IDs in the heartbeat for the operator."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

MOST_IDS = 2000
"""Most IDs of a list in the heartbeat; of the nodes behind a full list, nothing is known."""

KEY = "unpolled"
"""Where a heartbeat's summary has it; absent while there are none."""


@dataclass(frozen=True, slots=True)
class NodeIds:
    """Nodes by their IDs: ``known``, and possibly any with an ID greater than ``cut_at`` if the list was cut there."""

    known: frozenset[int] = frozenset()
    cut_at: int | None = None

    @classmethod
    def of(cls, ids: Iterable[int]) -> Self:
        """Return the lowest `MOST_IDS` of ``ids``."""
        lowest = sorted(ids)[:MOST_IDS]
        return cls(frozenset(lowest), lowest[-1] if len(lowest) == MOST_IDS else None)

    def may_hold(self, node_id: int) -> bool:
        """Whether the node is one of them, or may be one that was left out."""
        return node_id in self.known or (self.cut_at is not None and node_id > self.cut_at)

    def __bool__(self) -> bool:
        return bool(self.known)


@dataclass(frozen=True, slots=True)
class Unpolled:
    """The nodes that were due in a tick and of which the tick therefore says nothing.

    ``undecryptable``: the job cannot decrypt their API secrets. ``unfinished``: their polls were cut off by the end of
    the run.
    """

    undecryptable: NodeIds = field(default_factory=NodeIds)
    unfinished: NodeIds = field(default_factory=NodeIds)

    @classmethod
    def of(cls, *, undecryptable: Collection[int], unfinished: Collection[int]) -> Self:
        """Return what a tick left out, by the nodes' IDs."""
        return cls(NodeIds.of(undecryptable), NodeIds.of(unfinished))

    @classmethod
    def from_summary(cls, summary: Mapping[str, Any]) -> Self:
        """Return what stands in a heartbeat's summary."""
        lists = summary.get(KEY, {})
        return cls.of(undecryptable=lists.get("undecryptable", ()), unfinished=lists.get("unfinished", ()))

    def observed(self, node_id: int) -> bool:
        """Whether the tick did all that it should with the node."""
        return not self.undecryptable.may_hold(node_id) and not self.unfinished.may_hold(node_id)

    def in_summary(self) -> dict[str, Any]:
        """Return what belongs into a heartbeat's summary: nothing while there are none."""
        lists = {"undecryptable": self.undecryptable, "unfinished": self.unfinished}
        found = {name: sorted(ids.known) for name, ids in lists.items() if ids}
        return {KEY: found} if found else {}
