"""The list of meetings that a secret sees, as the front end serves it."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from b3lb.db.secret_states import closed_reason, in_list, is_open
from b3lb.db.tables import heartbeats, meetings, secret_states, secrets, tenants
from b3lb.tasks import CHECK_NODES


@dataclass(frozen=True, slots=True)
class SecretList:
    """A secret's meetings, oldest first.

    ``digest`` is of this very content: another list has another one, whatever runs. ``version`` is the last that the
    task `update-secrets-lists` gave, 0 before the first; it is this content's if ``version_is_current``, and while no
    queue runs the task it stays what it was. ``reason`` says why the list is empty whatever
    runs (`Disabled`, `TenantDisabled`), else it is empty itself. ``as_of`` is when the last round of polls was due,
    None before the first. ``compressed`` holds the elements as they are stored.
    """

    version: int
    version_is_current: bool
    digest: bytes
    reason: str
    as_of: datetime | None
    meetings: int
    attendees: int
    compressed: tuple[bytes, ...] = field(repr=False)

    @property
    def elements(self) -> list[bytes]:
        """The meetings' elements in UTF-8, for `b3lb.meetings.answer.meetings_answer`; made anew at each call."""
        return [zlib.decompress(element) for element in self.compressed]


_HEAD = (
    sa.select(
        secrets.c.id,
        closed_reason.label("reason"),
        sa.func.coalesce(secret_states.c.list_version, 0).label("version"),
        secret_states.c.list_digest,
        secret_states.c.reason.label("noted_reason"),
        heartbeats.c.tick_at,
    )
    .select_from(
        secrets.outerjoin(tenants, tenants.c.id == secrets.c.tenant_id)
        .outerjoin(secret_states, secret_states.c.secret_id == secrets.c.id)
        .outerjoin(heartbeats, sa.and_(heartbeats.c.namespace == secrets.c.namespace, heartbeats.c.task == CHECK_NODES))
    )
    .where(
        secrets.c.namespace == sa.bindparam("namespace"),
        secrets.c.name == sa.bindparam("name"),
        secrets.c.deleted_at.is_(None),
    )
)

_member = secrets.alias("member")
_MEETINGS = (
    sa.select(meetings.c.id, meetings.c.digest, meetings.c.element, meetings.c.attendees)
    .select_from(
        secrets.join(_member, in_list(_member)).join(
            meetings, sa.and_(meetings.c.secret_id == _member.c.id, is_open, meetings.c.element.is_not(None))
        )
    )
    .where(secrets.c.id == sa.bindparam("secret_id"))
    .order_by(meetings.c.created_at, meetings.c.id)
)


def read_list(connection: sa.Connection, namespace: str, secret_name: str) -> SecretList | None:
    """Return what the BBBSecret ``secret_name`` sees, or None if there is none: at most two statements.

    Meetings whose node is not healthy are not in it. Whoever keeps a list keeps it under its digest.
    """
    head = connection.execute(_HEAD, {"namespace": namespace, "name": secret_name}).one_or_none()
    if head is None:
        return None
    rows = [] if head.reason else connection.execute(_MEETINGS, {"secret_id": head.id}).all()
    digest = _digest(rows)
    return SecretList(
        version=head.version,
        version_is_current=(head.list_digest, head.noted_reason) == (digest, head.reason),
        digest=digest,
        reason=head.reason,
        as_of=head.tick_at,
        meetings=len(rows),
        attendees=sum(row.attendees for row in rows),
        compressed=tuple(row.element for row in rows),
    )


def _digest(rows: Iterable[sa.Row[Any]]) -> bytes:
    """Return the digest that `b3lb.db.secret_states.load_totals` lets the database form of the same list."""
    digest = hashlib.sha256()
    for row in rows:
        digest.update(row.id.to_bytes(8, "big", signed=True) + row.digest)
    return digest.digest()
