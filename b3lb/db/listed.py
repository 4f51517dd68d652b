"""More about a secret's list than the front end serves: the meetings' nodes, and which secrets there are."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from datetime import datetime

import sqlalchemy as sa

from b3lb.db.secret_states import closed_reason, in_list, is_open
from b3lb.db.tables import meetings, nodes, secrets, tenants


@dataclass(frozen=True, slots=True)
class ListedMeeting:
    """A meeting in a secret's list; ``created_at`` is by the database's clock, ``node`` the BBBNode's name."""

    node: str
    internal_id: str
    created_at: datetime
    attendees: int
    listeners: int
    voices: int
    videos: int
    moderators: int
    origin: str
    origin_server: str
    compressed: bytes = field(repr=False)

    @property
    def element(self) -> bytes:
        """The ``<meeting>`` that the list holds, UTF-8."""
        return zlib.decompress(self.compressed)


_member = secrets.alias("member")
_COLUMNS = ("internal_id", "created_at", "attendees", "listeners", "voices", "videos", "moderators")
_LISTED = (
    sa.select(
        nodes.c.name.label("node"),
        *(meetings.c[name] for name in _COLUMNS),
        meetings.c.origin,
        meetings.c.origin_server,
        meetings.c.element.label("compressed"),
    )
    .select_from(
        secrets.outerjoin(tenants, tenants.c.id == secrets.c.tenant_id)
        .join(_member, in_list(_member))
        .join(meetings, sa.and_(meetings.c.secret_id == _member.c.id, is_open, meetings.c.element.is_not(None)))
        .join(nodes, nodes.c.id == meetings.c.node_id)
    )
    .where(
        secrets.c.namespace == sa.bindparam("namespace"),
        secrets.c.name == sa.bindparam("name"),
        closed_reason == "",
    )
    .order_by(meetings.c.created_at, meetings.c.id)
)
_NAMES = sa.select(secrets.c.namespace, secrets.c.name).where(secrets.c.deleted_at.is_(None))


def listed_meetings(connection: sa.Connection, namespace: str, secret_name: str) -> list[ListedMeeting]:
    """Return the meetings that `b3lb.db.lists.read_list` lists, in its order: one statement."""
    rows = connection.execute(_LISTED, {"namespace": namespace, "name": secret_name}).mappings()
    return [ListedMeeting(**row) for row in rows]


def secret_names(connection: sa.Connection) -> dict[str, list[str]]:
    """Return the names of all BBBSecrets by namespace, sorted: one statement."""
    found: dict[str, list[str]] = {}
    for namespace, name in connection.execute(_NAMES.order_by(secrets.c.namespace, secrets.c.name)):
        found.setdefault(namespace, []).append(name)
    return found
