"""Forgetting rows that nothing needs any more: set-based, in an order in which no foreign key is in the way.

A row of configuration goes only when nothing refers to it that is kept itself: a node with its last meeting, a secret
with its last recording. The counters of a deleted secret are part of its tenant's sums and stay as long as the tenant.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from b3lb.db.run_history import forget_old_runs
from b3lb.db.tables import (
    accounting,
    audit,
    callbacks,
    cluster_states,
    clusters,
    counters,
    meetings,
    node_states,
    nodes,
    queues,
    record_profiles,
    record_sets,
    secret_states,
    secrets,
    task_runs,
    tenant_metrics,
    tenant_stats,
    tenants,
)
from b3lb.retention import HistoryPolicy, RowPolicy

MOST_ROWS = 50_000
"""Of each kind so many rows go at a time; the rest follows with the next call."""

RUNS = "runs"


@dataclass(frozen=True, slots=True)
class _Kind:
    """Rows of a table that may go, and the columns of other tables by which rows that refer to them go before them."""

    table: sa.Table
    may_go: sa.ColumnElement[bool]
    before: tuple[sa.Column[Any], ...] = ()

    @property
    def candidates(self) -> sa.Select[Any]:
        """The IDs of the rows."""
        return sa.select(self.table.c.id).where(self.may_go).limit(MOST_ROWS)


def _older(column: sa.Column[Any], days: str) -> sa.ColumnElement[bool]:
    age = sa.func.make_interval(0, 0, 0, sa.bindparam(days, type_=sa.Integer))
    return column < sa.func.clock_timestamp() - age


def _unused(*columns: sa.Column[Any], of: sa.Table) -> sa.ColumnElement[bool]:
    """Return the condition that none of the columns refers to the row."""
    return sa.and_(*[sa.not_(sa.exists().where(column == of.c.id)) for column in columns])


def _ours(table: sa.Table) -> sa.ColumnElement[bool]:
    return table.c.namespace == sa.bindparam("namespace", type_=sa.Text)


def _was_deleted(table: sa.Table) -> sa.ColumnElement[bool]:
    return sa.and_(_ours(table), _older(table.c.deleted_at, "deleted"))


_doomed_tenant = sa.and_(
    _was_deleted(tenants),
    sa.or_(_older(tenants.c.deleted_at, "accounting"), _unused(accounting.c.tenant_id, of=tenants)),
)
_of_farm = sa.exists().where(nodes.c.id == meetings.c.node_id, _ours(nodes))
_uncounted = sa.or_(
    secrets.c.tenant_id.is_(None),
    _unused(counters.c.secret_id, of=secrets),
    sa.exists().where(tenants.c.id == secrets.c.tenant_id, _doomed_tenant),
)
_unended_run = sa.and_(task_runs.c.finished_at.is_(None), sa.not_(task_runs.c.enqueued), task_runs.c.parent.is_(None))

_KINDS = (
    _Kind(meetings, sa.and_(_older(meetings.c.ended_at, "meetings"), _of_farm)),
    _Kind(callbacks, sa.and_(_ours(callbacks), _older(callbacks.c.finished_at, "callbacks"))),
    _Kind(task_runs, sa.and_(_ours(task_runs), _unended_run, _older(task_runs.c.created_at, "runs"))),
    _Kind(
        secrets,
        sa.and_(
            _was_deleted(secrets),
            _unused(meetings.c.secret_id, record_sets.c.secret_id, callbacks.c.secret_id, of=secrets),
            _uncounted,
        ),
        (secret_states.c.secret_id, tenant_stats.c.secret_id, counters.c.secret_id),
    ),
    _Kind(
        tenants,
        sa.and_(_doomed_tenant, _unused(secrets.c.tenant_id, of=tenants)),
        (tenant_stats.c.tenant_id, tenant_metrics.c.tenant_id, accounting.c.tenant_id),
    ),
    _Kind(nodes, sa.and_(_was_deleted(nodes), _unused(meetings.c.node_id, of=nodes)), (node_states.c.node_id,)),
    _Kind(
        clusters,
        sa.and_(_was_deleted(clusters), _unused(nodes.c.cluster_id, of=clusters)),
        (cluster_states.c.cluster_id,),
    ),
    _Kind(queues, _was_deleted(queues)),
    _Kind(record_profiles, _was_deleted(record_profiles)),
    _Kind(audit, sa.and_(_ours(audit), _older(audit.c.at, "audit"))),
)
_COUNT = sa.select(
    *[sa.select(sa.func.count()).select_from(kind.candidates.subquery()).scalar_subquery() for kind in _KINDS]
)


def expired_rows(connection: sa.Connection, namespace: str, policy: RowPolicy) -> dict[str, int]:
    """Return how many rows of each table would go now: one statement.

    What only the going of other rows sets free is not counted: it goes by the same call of `forget_rows`.
    """
    (numbers,) = connection.execute(_COUNT, _parameters(namespace, policy))
    return {kind.table.name: number for kind, number in zip(_KINDS, numbers, strict=True)}


def forget_rows(connection: sa.Connection, namespace: str, policy: RowPolicy, history: HistoryPolicy) -> dict[str, int]:
    """Delete what the policies do not keep; return how many rows of each table went, without those that went with them.

    A constant number of statements. ``runs`` are finished task runs, which the operator forgets as well where it works;
    ``task_runs`` are those without an end.
    """
    parameters = _parameters(namespace, policy)
    gone = {kind.table.name: _forget(connection, kind, parameters) for kind in _KINDS}
    return {**gone, RUNS: forget_old_runs(connection, namespace, history)}


def _forget(connection: sa.Connection, kind: _Kind, parameters: dict[str, Any]) -> int:
    ids = list(connection.scalars(kind.candidates, parameters))
    if not ids:
        return 0
    for column in kind.before:
        connection.execute(_delete(column), {"ids": ids})
    return connection.execute(_delete(kind.table.c.id), {"ids": ids}).rowcount


def _delete(column: sa.Column[Any]) -> sa.Delete:
    return sa.delete(column.table).where(column == sa.any_(sa.bindparam("ids", type_=postgresql.ARRAY(column.type))))


def _parameters(namespace: str, policy: RowPolicy) -> dict[str, Any]:
    return {"namespace": namespace, **dataclasses.asdict(policy)}
