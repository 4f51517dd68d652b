"""The outbox of callbacks: what is to be told to whom, and how far each has come."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from b3lb.callbacks.announcement import client_meeting_id, ready_url
from b3lb.callbacks.outbox import CallbackState, Delivery
from b3lb.db.statements import dump, recordset
from b3lb.db.tables import callbacks, record_sets, secrets

RECORDING_READY = "recording-ready"


@dataclass(frozen=True, slots=True)
class NewCallback:
    """A callback that is to be delivered; ``meeting_id`` is the client's, ``secret_id`` that of the API secret."""

    record_id: str
    meeting_id: str
    secret_id: int
    url: str
    kind: str = RECORDING_READY


@dataclass(frozen=True, slots=True)
class DueCallback:
    """A callback whose turn it is; ``secret`` is encrypted as its row has it, None while there is none."""

    id: int
    kind: str
    record_id: str
    meeting_id: str
    url: str
    delivery: Delivery
    secret_name: str
    secret_ciphertext: bytes | None = field(repr=False)
    secret_key_id: str | None


_C = callbacks.c
_ENQUEUE = (
    postgresql.insert(callbacks)
    .values({name: sa.bindparam(name) for name in ("namespace", "kind", "record_id", "meeting_id", "secret_id", "url")})
    .on_conflict_do_nothing(index_elements=[_C.namespace, _C.kind, _C.record_id, _C.url])
    .returning(_C.id)
)


def enqueue_callback(connection: sa.Connection, namespace: str, new: NewCallback) -> int | None:
    """Put a callback into the outbox and return its ID; None if the same is there already, delivered or not.

    To be called in the transaction that makes true what it tells of.
    """
    parameters = {
        "namespace": namespace,
        "kind": new.kind,
        "record_id": new.record_id,
        "meeting_id": new.meeting_id,
        "secret_id": new.secret_id,
        "url": new.url,
    }
    return connection.execute(_ENQUEUE, parameters).scalar_one_or_none()


_RECORD_SET = sa.select(
    *(record_sets.c.record_id, record_sets.c.meeting_id, record_sets.c.secret_id, record_sets.c.metadata),
    record_sets.c.uploaded_at,
).where(
    record_sets.c.namespace == sa.bindparam("namespace", type_=sa.Text),
    record_sets.c.id == sa.bindparam("record_set", type_=sa.Uuid),
)


_FORGET_EARLIER = sa.delete(callbacks).where(
    _C.namespace == sa.bindparam("namespace", type_=sa.Text),
    _C.kind == RECORDING_READY,
    _C.record_id == sa.bindparam("record_id", type_=sa.Text),
    _C.created_at < sa.bindparam("uploaded_at", type_=sa.TIMESTAMP(timezone=True)),
)


def announce_recording(connection: sa.Connection, namespace: str, record_set: UUID) -> int | None:
    """Put the callback of a recording that is ready into the outbox, if its meeting's metadata ask for one.

    Three statements at most. To be called in the transaction that makes the record set RENDERED. A callback that is
    older than the upload told of an earlier one, which was deleted: its row makes room.

    Returns:
        The callback's ID; None if nobody wants to be told, if the recording belongs to no API secret, or if the
        callback is there already.
    """
    row = connection.execute(_RECORD_SET, {"namespace": namespace, "record_set": record_set}).one_or_none()
    if row is None or row.secret_id is None:
        return None
    url, meeting_id = ready_url(row.metadata), client_meeting_id(row.meeting_id)
    if url is None or meeting_id is None:
        return None
    earlier = {"namespace": namespace, "record_id": row.record_id, "uploaded_at": row.uploaded_at}
    connection.execute(_FORGET_EARLIER, earlier)
    return enqueue_callback(connection, namespace, NewCallback(row.record_id, meeting_id, row.secret_id, url))


_DELIVERY = ("attempts", "created_at", "next_attempt_at", "last_attempt_at", "status_code", "reason", "message")
_DUE = (
    sa.select(
        *(_C.id, _C.kind, _C.record_id, _C.meeting_id, _C.url),
        *(_C[name] for name in _DELIVERY),
        secrets.c.name.label("secret_name"),
        secrets.c.secret_ciphertext,
        secrets.c.secret_key_id,
    )
    .select_from(callbacks.join(secrets, secrets.c.id == _C.secret_id))
    .where(
        _C.namespace == sa.bindparam("namespace", type_=sa.Text),
        _C.state == CallbackState.PENDING.value,
        _C.next_attempt_at <= sa.func.clock_timestamp(),
    )
    .order_by(_C.next_attempt_at, _C.id)
    .limit(sa.bindparam("most", type_=sa.Integer))
)


def load_due_callbacks(
    connection: sa.Connection, namespace: str, *, most: int, record_id: str | None = None
) -> list[DueCallback]:
    """Return the callbacks whose turn it is, the longest due first: one statement.

    Args:
        connection: To the database.
        namespace: Whose.
        most: So many at most.
        record_id: The recording that they tell of; None: any.
    """
    statement = _DUE if record_id is None else _DUE.where(_C.record_id == record_id)
    rows = connection.execute(statement, {"namespace": namespace, "most": most}).mappings()
    return [_due(row) for row in rows]


def _due(row: Mapping[Any, Any]) -> DueCallback:
    return DueCallback(
        id=row["id"],
        kind=row["kind"],
        record_id=row["record_id"],
        meeting_id=row["meeting_id"],
        url=row["url"],
        delivery=Delivery(**{name: row[name] for name in _DELIVERY}),
        secret_name=row["secret_name"],
        secret_ciphertext=row["secret_ciphertext"],
        secret_key_id=row["secret_key_id"],
    )


_WRITTEN = (
    *("state", "attempts", "next_attempt_at", "last_attempt_at", "finished_at", "status_code", "reason", "message"),
)
_records = recordset("rows", [_C.id, *[_C[name] for name in _WRITTEN]])
_WRITE = (
    sa.update(callbacks)
    .where(_C.id == _records.c.id, _C.state == CallbackState.PENDING.value, _C.attempts < _records.c.attempts)
    .values({name: _records.c[name] for name in _WRITTEN})
    .execution_options(preserve_rowcount=True)
)


def write_deliveries(connection: sa.Connection, deliveries: Mapping[int, Delivery]) -> int:
    """Note how far callbacks have come, by ID; return how many were written: one statement, none for nothing.

    What another one noted meanwhile stands: a callback that is over stays so, and no attempt is noted twice.
    """
    if not deliveries:
        return 0
    rows = [{"id": key, **{name: getattr(item, name) for name in _WRITTEN}} for key, item in deliveries.items()]
    return connection.execute(_WRITE, {"rows": dump(rows)}).rowcount


_namespaces: sa.BindParameter[Any] = sa.bindparam("namespaces", type_=sa.ARRAY(sa.Text))
_READ = sa.select(
    *(_C.namespace, _C.kind, _C.record_id, _C.url, _C.state), *[_C[name] for name in _DELIVERY], _C.finished_at
).order_by(_C.created_at.desc(), _C.id.desc())


@dataclass(frozen=True, slots=True)
class ShownCallback:
    """A callback as people see it."""

    namespace: str
    kind: str
    record_id: str
    url: str
    delivery: Delivery


def read_callbacks(connection: sa.Connection, namespace: str, *, most: int = 50) -> Sequence[ShownCallback]:
    """Return the newest callbacks, newest first: one statement."""
    return latest_callbacks(connection, [namespace], most=most)


def latest_callbacks(
    connection: sa.Connection,
    namespaces: Sequence[str],
    *,
    record_ids: Sequence[str] | None = None,
    state: str | None = None,
    most: int = 50,
) -> Sequence[ShownCallback]:
    """Return the newest callbacks of some namespaces, newest first: one statement.

    Args:
        connection: To the database.
        namespaces: Where to look.
        record_ids: Only those of these recordings; None: of all.
        state: Only those in this state; None: in any.
        most: How many at most.
    """
    statement = _READ.where(_C.namespace == sa.any_(_namespaces)).limit(most)
    if record_ids is not None:
        statement = statement.where(_C.record_id == sa.any_(sa.literal(list(record_ids), sa.ARRAY(sa.Text))))
    if state is not None:
        statement = statement.where(_C.state == state)
    return [_shown(row) for row in connection.execute(statement, {"namespaces": list(namespaces)}).mappings()]


def _shown(row: Mapping[Any, Any]) -> ShownCallback:
    delivery = Delivery(
        state=CallbackState(row["state"]), finished_at=row["finished_at"], **{name: row[name] for name in _DELIVERY}
    )
    return ShownCallback(row["namespace"], row["kind"], row["record_id"], row["url"], delivery)
