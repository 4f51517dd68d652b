"""Legal holds of record sets, and the audit that tells of them and of deletions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from b3lb.db.record_deletion import RECORD_SET, RecordSetNotFoundError
from b3lb.db.tables import audit, record_sets
from b3lb.recordings.hold import RecordSetState

HOLD, RELEASE = "hold", "release"
"""Of an audit line: what was done."""


class AlreadyDeletingError(Exception):
    """A record set is being deleted: it cannot be held any more."""


_S, _A = record_sets.c, audit.c
_namespace: sa.BindParameter[str] = sa.bindparam("namespace", type_=sa.Text)
_ONE = (
    sa.select(_S.id, _S.state, _S.legal_hold, _S.legal_hold_reason, _S.tenant_slug)
    .where(_S.namespace == _namespace, _S.record_id == sa.bindparam("record_id", type_=sa.Text))
    .with_for_update()
)
_SET = (
    sa.update(record_sets)
    .where(_S.id == sa.bindparam("set_id", type_=sa.Uuid))
    .values(legal_hold=sa.bindparam("held", type_=sa.Boolean), legal_hold_reason=sa.bindparam("why", type_=sa.Text))
)


def set_legal_hold(
    connection: sa.Connection, namespace: str, record_id: str, *, held: bool, reason: str, actor: str
) -> bool:
    """Take a record set under a legal hold, or release it, with a line in the audit; False if it is so already.

    Raises:
        RecordSetNotFoundError: There is none.
        AlreadyDeletingError: Its objects may be gone already.
    """
    row = connection.execute(_ONE, {"namespace": namespace, "record_id": record_id}).one_or_none()
    if row is None:
        raise RecordSetNotFoundError(f"there is no record set {record_id}")
    if held and row.state == RecordSetState.DELETING:
        raise AlreadyDeletingError(f"the record set {record_id} is being deleted")
    kept = reason if held else None
    if (row.legal_hold, row.legal_hold_reason) == (held, kept):
        return False
    connection.execute(_SET, {"set_id": row.id, "held": held, "why": kept})
    line = {
        "namespace": namespace,
        "action": HOLD if held else RELEASE,
        "kind": RECORD_SET,
        "subject": record_id,
        "tenant_slug": row.tenant_slug,
        "actor": actor,
        "reason": reason,
    }
    connection.execute(sa.insert(audit), line)
    return True


@dataclass(frozen=True, slots=True)
class AuditLine:
    """A line of the audit; ``id`` grows with time."""

    id: int
    namespace: str
    at: datetime
    action: str
    kind: str
    subject: str
    tenant_slug: str | None
    actor: str
    reason: str
    objects: int
    bytes: int
    details: Mapping[str, Any]


_COLUMNS = tuple(_A[name] for name in AuditLine.__dataclass_fields__)
_AFTER = (
    sa.select(*_COLUMNS)
    .where(_A.namespace == _namespace, _A.id > sa.bindparam("after", type_=sa.BigInteger))
    .order_by(_A.id)
    .limit(sa.bindparam("most", type_=sa.Integer))
)
_COUNTS = (
    sa.select(_A.action, _A.kind, _A.reason, sa.func.count().label("lines"), sa.func.sum(_A.bytes).label("bytes"))
    .where(_A.namespace == _namespace)
    .group_by(_A.action, _A.kind, _A.reason)
    .order_by(_A.action, _A.kind, _A.reason)
)


_START = sa.select(
    sa.func.coalesce(
        sa.select(sa.func.min(_A.id) - 1)
        .where(
            _A.namespace == _namespace,
            _A.at > sa.func.clock_timestamp() - sa.bindparam("age", type_=sa.Interval),
        )
        .scalar_subquery(),
        sa.select(sa.func.max(_A.id)).where(_A.namespace == _namespace).scalar_subquery(),
        0,
    )
)


def audit_position(connection: sa.Connection, namespace: str, *, age: timedelta) -> int:
    """Return the line after which all those younger than ``age`` stand: one statement."""
    found: int = connection.execute(_START, {"namespace": namespace, "age": age}).scalar_one()
    return found


def read_audit(connection: sa.Connection, namespace: str, *, after: int = 0, most: int = 100) -> list[AuditLine]:
    """Return the lines after one, oldest first: one statement. Who tells of each goes on from the last it told of."""
    rows = connection.execute(_AFTER, {"namespace": namespace, "after": after, "most": most}).mappings()
    return [AuditLine(**row) for row in rows]


_LATEST = (
    sa.select(*_COLUMNS)
    .where(_A.namespace == sa.any_(sa.bindparam("namespaces", type_=sa.ARRAY(sa.Text))))
    .order_by(_A.id.desc())
)


def latest_audit(
    connection: sa.Connection,
    namespaces: Sequence[str],
    *,
    subject: str | None = None,
    action: str | None = None,
    most: int = 50,
) -> list[AuditLine]:
    """Return the newest lines of some namespaces, newest first: one statement.

    Args:
        connection: To the database.
        namespaces: Where to look.
        subject: Only those about this record ID or storage key; None: about any.
        action: Only those of this action; None: of any.
        most: How many at most.
    """
    statement = _LATEST.limit(most)
    for column, value in ((_A.subject, subject), (_A.action, action)):
        if value is not None:
            statement = statement.where(column == value)
    return [AuditLine(**row) for row in connection.execute(statement, {"namespaces": list(namespaces)}).mappings()]


@dataclass(frozen=True, slots=True)
class AuditCount:
    """How many lines of a kind there are, and the bytes that they tell of."""

    action: str
    kind: str
    reason: str
    lines: int
    bytes: int


def count_audit(connection: sa.Connection, namespace: str) -> list[AuditCount]:
    """Return how often what was done for which reason, as far back as the audit is kept: one statement."""
    rows = connection.execute(_COUNTS, {"namespace": namespace})
    return [AuditCount(row.action, row.kind, row.reason, row.lines, int(row.bytes)) for row in rows]
