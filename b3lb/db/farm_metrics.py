"""What the metrics say that only the database knows: all farms at once, by a constant number of statements."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from b3lb.db.node_states import beats, seen_at
from b3lb.db.tables import (
    cluster_states,
    clusters,
    heartbeats,
    meetings,
    node_states,
    nodes,
    queues,
    task_runs,
    task_totals,
)
from b3lb.metrics.nodes import ClusterSample, PollTimes
from b3lb.metrics.queues import EnqueuedRuns, TaskTicks, TaskTotal
from b3lb.tasks import CHECK_NODES


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeNumbers:
    """What the last good poll of a node saw, None before it, and how many of its meetings have not ended.

    ``cpu`` is 0 to 10000; ``polled_at`` is when that poll was, in seconds since 1970.
    """

    load: float | None
    cpu: int | None
    meetings: int | None
    attendees: int | None
    polled_at: float | None
    meetings_known: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FarmMetrics:
    """The farms of some namespaces at ``now``, the database's time; ``nodes``, ``enqueued`` by namespace and name."""

    now: datetime
    nodes: Mapping[tuple[str, str], NodeNumbers]
    clusters: Sequence[ClusterSample]
    enqueued: Mapping[tuple[str, str], EnqueuedRuns]
    totals: Sequence[TaskTotal]
    ticks: Sequence[TaskTicks]
    polls: Sequence[PollTimes]


def _epoch(moment: sa.ColumnElement[datetime]) -> sa.ColumnElement[float]:
    return sa.cast(sa.extract("epoch", moment), sa.Double)


_namespaces = sa.bindparam("namespaces", type_=sa.ARRAY(sa.Text))


def _ours(table: sa.Table) -> sa.ColumnElement[bool]:
    return sa.and_(table.c.namespace == sa.any_(_namespaces), table.c.deleted_at.is_(None))


_clock = sa.select(sa.func.clock_timestamp())
_present = (
    sa.select(meetings.c.node_id, sa.func.count().label("meetings"))
    .where(meetings.c.ended_at.is_(None))
    .group_by(meetings.c.node_id)
    .subquery("present")
)
_NODES = (
    sa.select(
        nodes.c.namespace,
        nodes.c.name,
        node_states.c.load,
        node_states.c.cpu,
        node_states.c.meetings,
        node_states.c.attendees,
        _epoch(seen_at).label("polled_at"),
        sa.func.coalesce(_present.c.meetings, 0).label("meetings_known"),
    )
    .select_from(
        nodes.outerjoin(node_states, node_states.c.node_id == nodes.c.id)
        .outerjoin(heartbeats, beats)
        .outerjoin(_present, _present.c.node_id == nodes.c.id)
    )
    .where(_ours(nodes))
    .order_by(nodes.c.namespace, nodes.c.name)
)
_CLUSTERS = (
    sa.select(clusters.c.namespace, clusters.c.name, cluster_states.c.mass_failure_since.is_not(None))
    .select_from(clusters.outerjoin(cluster_states, cluster_states.c.cluster_id == clusters.c.id))
    .where(_ours(clusters))
    .order_by(clusters.c.namespace, clusters.c.name)
)
_TICKS = (
    sa.select(
        queues.c.namespace,
        heartbeats.c.task,
        queues.c.name.label("queue"),
        heartbeats.c.runtime_counts,
        heartbeats.c.runtime_seconds,
        _epoch(heartbeats.c.finished_at).label("finished_at"),
        heartbeats.c.poll_counts,
        heartbeats.c.poll_seconds,
    )
    .select_from(
        queues.join(
            heartbeats,
            sa.and_(heartbeats.c.namespace == queues.c.namespace, heartbeats.c.task == sa.any_(queues.c.tasks)),
        )
    )
    .where(_ours(queues))
    .order_by(queues.c.namespace, heartbeats.c.task, queues.c.name)
)
_TOTALS = (
    sa.select(task_totals.c.namespace, task_totals.c.task, task_totals.c.queue, task_totals.c.state, task_totals.c.runs)
    .select_from(
        task_totals.join(
            queues, sa.and_(queues.c.namespace == task_totals.c.namespace, queues.c.name == task_totals.c.queue)
        )
    )
    .where(_ours(queues))
    .order_by(task_totals.c.namespace, task_totals.c.task, task_totals.c.queue, task_totals.c.state)
)
_at_work = task_runs.c.state == "STARTED"
_ENQUEUED = (
    sa.select(
        task_runs.c.namespace,
        task_runs.c.queue,
        sa.func.count().filter(sa.not_(_at_work)),
        sa.func.count().filter(_at_work),
        # greatest() leaves nulls out.
        _epoch(sa.func.min(sa.func.greatest(task_runs.c.created_at, task_runs.c.not_before)).filter(sa.not_(_at_work))),
    )
    .where(task_runs.c.namespace == sa.any_(_namespaces), task_runs.c.enqueued, task_runs.c.finished_at.is_(None))
    .group_by(task_runs.c.namespace, task_runs.c.queue)
)


def read_farm_metrics(connection: sa.Connection, namespaces: Sequence[str]) -> FarmMetrics:
    """Return what is known of the farms: six statements, whatever they hold."""
    parameters = {"namespaces": list(namespaces)}
    now: datetime = connection.execute(_clock).scalar_one()
    found = connection.execute(_TICKS, parameters).all()
    return FarmMetrics(
        now=now,
        nodes={
            (row.namespace, row.name): NodeNumbers(
                load=row.load,
                cpu=row.cpu,
                meetings=row.meetings,
                attendees=row.attendees,
                polled_at=row.polled_at,
                meetings_known=row.meetings_known,
            )
            for row in connection.execute(_NODES, parameters)
        },
        clusters=[ClusterSample(*row) for row in connection.execute(_CLUSTERS, parameters)],
        enqueued={(row[0], row[1]): EnqueuedRuns(*row[2:]) for row in connection.execute(_ENQUEUED, parameters)},
        totals=[TaskTotal(*row) for row in connection.execute(_TOTALS, parameters)],
        ticks=[TaskTicks(*row[:6]) for row in found],
        polls=[PollTimes(row.namespace, row.poll_counts, row.poll_seconds) for row in found if row.task == CHECK_NODES],
    )
