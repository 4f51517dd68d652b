"""One consistent look at a namespace."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from b3lb.db.mirror.nodes import ClusterMirror, NodeMirror, read_clusters, read_nodes
from b3lb.db.mirror.queues import QueueMirror, read_queues
from b3lb.db.mirror.tenants import (
    ApiSecretMirror,
    RecordProfileMirror,
    TenantMirror,
    read_api_secrets,
    read_record_profiles,
    read_tenants,
)
from b3lb.db.tables import heartbeats
from b3lb.db.unpolled import Unpolled


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """The last tick of a task: when it was due, began and ended, by whom, under which fencing token.

    ``unpolled`` is what it left out, as its summary says.
    """

    task: str
    tick_at: datetime
    started_at: datetime
    finished_at: datetime
    holder: str
    token: int
    summary: Mapping[str, Any]
    unpolled: Unpolled = field(default_factory=Unpolled)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A namespace at ``now`` (the database's clock): heartbeats by task, all others by name."""

    now: datetime
    heartbeats: Mapping[str, Heartbeat]
    clusters: Mapping[str, ClusterMirror]
    nodes: Mapping[str, NodeMirror]
    tenants: Mapping[str, TenantMirror] = field(default_factory=dict)
    api_secrets: Mapping[str, ApiSecretMirror] = field(default_factory=dict)
    record_profiles: Mapping[str, RecordProfileMirror] = field(default_factory=dict)
    queues: Mapping[str, QueueMirror] = field(default_factory=dict)

    def heartbeat(self, task: str = "check-nodes") -> Heartbeat | None:
        """Return the last tick of ``task``, None if there never was one."""
        return self.heartbeats.get(task)


_clock = sa.select(sa.func.clock_timestamp().label("now")).subquery("clock")
_HEARTBEATS = sa.select(_clock.c.now, heartbeats).select_from(
    _clock.outerjoin(heartbeats, heartbeats.c.namespace == sa.bindparam("namespace"))
)


def read_snapshot(connection: sa.Connection, namespace: str) -> Snapshot:
    """Return what is to be mirrored of ``namespace``: seven statements, whatever it holds."""
    beats = connection.execute(_HEARTBEATS, {"namespace": namespace}).mappings().all()
    return Snapshot(
        now=beats[0]["now"],
        heartbeats={row["task"]: _heartbeat(row) for row in beats if row["task"] is not None},
        clusters=read_clusters(connection, namespace),
        nodes=read_nodes(connection, namespace),
        tenants=read_tenants(connection, namespace),
        api_secrets=read_api_secrets(connection, namespace),
        record_profiles=read_record_profiles(connection, namespace),
        queues=read_queues(connection, namespace),
    )


def _heartbeat(row: Mapping[Any, Any]) -> Heartbeat:
    names = ("task", "tick_at", "started_at", "finished_at", "holder", "token", "summary")
    return Heartbeat(**{name: row[name] for name in names}, unpolled=Unpolled.from_summary(row["summary"]))
