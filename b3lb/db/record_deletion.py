"""Deleting record sets by steps that can be repeated: DELETING, then the objects, then the rows, with an audit line.

A record set that is DELETING is never rendered or played again, and whoever finds it so goes on where another stopped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from b3lb.callbacks.outbox import CallbackState
from b3lb.db.statements import dump, recordset
from b3lb.db.tables import audit, callbacks, record_sets, records, secrets, task_runs, tenants
from b3lb.db.task_runs import TaskState
from b3lb.recordings.hold import SETTLED, DeletionRefusal, HeldRecordSet, RecordSetState, deletion_refusal

MOST_RECORD_SETS = 10_000
"""So many are looked at in a run of housekeeping; the rest follows with the next one."""

DELETE, RECORD_SET = "delete", "record-set"
"""Of an audit line: what was done, and to what."""


class DeletionReason(StrEnum):
    """Why something was deleted, as the audit has it."""

    PAST_HOLD = "PastHold"
    REQUESTED = "Requested"
    ABANDONED = "Abandoned"
    ORPHAN = "Orphan"


@dataclass(frozen=True, slots=True)
class FoundRecordSet:
    """A record set that may be past its hold, and what people know it by."""

    held: HeldRecordSet
    record_id: str
    tenant_slug: str | None
    size: int


@dataclass(frozen=True, slots=True)
class DoomedRecordSet:
    """A record set that is DELETING since then, for such a reason."""

    id: UUID
    record_id: str
    tenant_slug: str | None
    reason: str
    deleting_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Deletion:
    """A line of the audit; ``details`` holds no secret."""

    subject: str
    kind: str
    reason: str
    actor: str
    tenant_slug: str | None = None
    objects: int = 0
    size: int = 0
    details: Mapping[str, Any] = field(default_factory=dict)


class RecordSetNotFoundError(LookupError):
    """There is no such record set."""


class DeletionRefusedError(Exception):
    """A record set must not be deleted now; ``refusal`` says why."""

    def __init__(self, record_id: str, refusal: DeletionRefusal) -> None:
        super().__init__(f"the record set {record_id} is not deleted: {refusal}")
        self.refusal = refusal


_S = record_sets.c
_namespace: sa.BindParameter[str] = sa.bindparam("namespace", type_=sa.Text)
_settled = _S.state.in_([state.value for state in sorted(SETTLED)])
# Without a secret (none has that sub-id) the prefix still names the tenant, whose object is called after its slug.
_tenant = sa.or_(
    tenants.c.id == secrets.c.tenant_id,
    sa.and_(
        secrets.c.tenant_id.is_(None),
        tenants.c.namespace == _S.namespace,
        tenants.c.name == sa.func.lower(_S.tenant_slug),
    ),
)
HELD = record_sets.outerjoin(secrets, secrets.c.id == _S.secret_id).outerjoin(tenants, _tenant)
"""Record sets with the API secret and the tenant whose days decide how long they are kept."""

# Least of nulls and a number is the number: what is kept for ever is null, and not compared.
_days = sa.func.least(sa.func.nullif(tenants.c.hold_days, 0), sa.func.nullif(secrets.c.hold_days, 0))
_over = _S.ended_at < sa.func.clock_timestamp() - sa.func.make_interval(0, 0, 0, _days)
_PAST_HOLD = (
    sa.select(
        *(_S.id, _S.state, _S.ended_at, _S.legal_hold, _S.record_id, _S.tenant_slug, _S.archive_bytes),
        sa.func.coalesce(tenants.c.hold_days, 0).label("tenant_days"),
        sa.func.coalesce(secrets.c.hold_days, 0).label("secret_days"),
    )
    .select_from(HELD)
    .where(_S.namespace == _namespace, _settled, sa.not_(_S.legal_hold), _over)
    .order_by(_S.ended_at, _S.id)
    .limit(MOST_RECORD_SETS)
)


def load_past_hold(connection: sa.Connection, namespace: str) -> list[FoundRecordSet]:
    """Return the record sets that may be past their hold, the oldest meetings first: one statement."""
    return [_found(row) for row in connection.execute(_PAST_HOLD, {"namespace": namespace})]


def _found(row: sa.Row[Any]) -> FoundRecordSet:
    held = HeldRecordSet(
        id=row.id,
        state=RecordSetState(row.state),
        ended_at=row.ended_at,
        tenant_days=row.tenant_days,
        secret_days=row.secret_days,
        legal_hold=row.legal_hold,
    )
    return FoundRecordSet(held, row.record_id, row.tenant_slug, row.archive_bytes)


_ids = sa.bindparam("ids", type_=postgresql.ARRAY(sa.Uuid))
_DELETING = {
    "state": RecordSetState.DELETING.value,
    "deleting_at": sa.func.clock_timestamp(),
    "reason": sa.bindparam("why", type_=sa.Text),
    "message": sa.null(),
}
_MARK = (
    sa.update(record_sets)
    .where(_S.id == sa.any_(_ids), _settled, sa.not_(_S.legal_hold))
    .values(_DELETING)
    .execution_options(preserve_rowcount=True)
)


def mark_past_hold(connection: sa.Connection, ids: Sequence[UUID]) -> int:
    """Let record sets be DELETING, but for those that meanwhile came under a legal hold or are rendered again."""
    return connection.execute(_MARK, {"ids": list(ids), "why": DeletionReason.PAST_HOLD}).rowcount


_set_id = sa.bindparam("set_id", type_=sa.Uuid)
_ONE = (
    sa.select(_S.record_id, _S.state, _S.legal_hold)
    .where(_S.namespace == _namespace, _S.id == _set_id)
    .with_for_update()
)
_MARK_ONE = sa.update(record_sets).where(_S.id == _set_id).values(_DELETING)


def mark_requested(connection: sa.Connection, namespace: str, record_set: UUID) -> None:
    """Let a record set be DELETING because somebody asks for it.

    One that is DELETING already stays as it is. The record set is named by its row's ID: a recording that was deleted
    and pushed again is another record set of the same record ID, for which nobody asked.

    Raises:
        RecordSetNotFoundError: There is none.
        DeletionRefusedError: It is under a legal hold, or being rendered.
    """
    row = connection.execute(_ONE, {"namespace": namespace, "set_id": record_set}).one_or_none()
    if row is None:
        raise RecordSetNotFoundError(f"there is no record set {record_set}")
    state = RecordSetState(row.state)
    if state is RecordSetState.DELETING:
        return
    refusal = deletion_refusal(state, legal_hold=row.legal_hold)
    if refusal is not None:
        raise DeletionRefusedError(row.record_id, refusal)
    connection.execute(_MARK_ONE, {"set_id": record_set, "why": DeletionReason.REQUESTED})


_DOOMED = (
    sa.select(_S.id, _S.record_id, _S.tenant_slug, _S.reason, _S.deleting_at)
    .where(_S.namespace == _namespace, _S.state == RecordSetState.DELETING.value)
    .order_by(_S.deleting_at, _S.id)
    .limit(MOST_RECORD_SETS)
)


def load_deleting(connection: sa.Connection, namespace: str, only: UUID | None = None) -> list[DoomedRecordSet]:
    """Return the record sets that are DELETING, the longest so first: one statement.

    Args:
        connection: To the database.
        namespace: Whose.
        only: The ID of the one that is asked for; None: all.
    """
    statement = _DOOMED if only is None else _DOOMED.where(_S.id == only)
    return [DoomedRecordSet(*row) for row in connection.execute(statement, {"namespace": namespace})]


_doomed = sa.and_(_S.id == sa.any_(_ids), _S.state == RecordSetState.DELETING.value)
_DELETE_RECORDS = sa.delete(records).where(records.c.record_set_id == _S.id, _doomed)
_DELETE_SETS = sa.delete(record_sets).where(_doomed).returning(_S.record_id)
_END_CALLBACKS = (
    sa.update(callbacks)
    .where(
        callbacks.c.state == CallbackState.PENDING.value,
        _doomed,
        _S.namespace == callbacks.c.namespace,
        _S.record_id == callbacks.c.record_id,
    )
    .values(
        state=CallbackState.FAILED.value,
        finished_at=sa.func.clock_timestamp(),
        reason="Deleted",
        message="the recording was deleted before its callback was delivered",
    )
)


_REVOKE_RUNS = (
    sa.update(task_runs)
    .where(
        task_runs.c.id == records.c.run_id, task_runs.c.finished_at.is_(None), records.c.record_set_id == _S.id, _doomed
    )
    .values(state=TaskState.REVOKED.value, finished_at=sa.func.clock_timestamp(), error="its recording was deleted")
)


def delete_record_sets(
    connection: sa.Connection, ids: Sequence[UUID], deletions: Sequence[Deletion], namespace: str
) -> int:
    """Delete the rows of record sets that are DELETING and whose objects are gone; return how many record sets went.

    Five statements. Those of ``deletions`` whose subject is the record ID of one that went are audited. Callbacks that
    nobody took yet are over: there is nothing left to be told of. So are runs that were to render a video.
    """
    if not ids:
        return 0
    parameters = {"ids": list(ids)}
    connection.execute(_END_CALLBACKS, parameters)
    connection.execute(_REVOKE_RUNS, parameters)
    connection.execute(_DELETE_RECORDS, parameters)
    gone = set(connection.scalars(_DELETE_SETS, parameters))
    write_audit(connection, namespace, [deletion for deletion in deletions if deletion.subject in gone])
    return len(gone)


_AUDIT_COLUMNS = tuple(
    audit.c[name] for name in ("kind", "subject", "tenant_slug", "actor", "reason", "objects", "bytes", "details")
)
_audited = recordset("rows", _AUDIT_COLUMNS)
_AUDIT = sa.insert(audit).from_select(
    ["namespace", "action", *[column.name for column in _AUDIT_COLUMNS]],
    sa.select(_namespace, sa.literal(DELETE), *[_audited.c[column.name] for column in _AUDIT_COLUMNS]),
)


def write_audit(connection: sa.Connection, namespace: str, deletions: Sequence[Deletion]) -> None:
    """Note deletions in the audit: one statement, none if there are none."""
    if not deletions:
        return
    rows = [
        {
            "kind": item.kind,
            "subject": item.subject,
            "tenant_slug": item.tenant_slug,
            "actor": item.actor,
            "reason": item.reason,
            "objects": item.objects,
            "bytes": item.size,
            "details": item.details,
        }
        for item in deletions
    ]
    connection.execute(_AUDIT, {"namespace": namespace, "rows": dump(rows)})
