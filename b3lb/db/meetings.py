"""Meetings as a round of polls reads and writes them: the number of statements never grows with that of meetings.

Binary columns travel as one parameter that holds all values one after the other, and the rows say where theirs are:
as hexadecimal digits in JSON they would have twice the size and take several times as long.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from operator import attrgetter
from typing import Any, NamedTuple, TypeAlias

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from b3lb.db.integrals import attended_since, lasted
from b3lb.db.meeting_homes import move_meetings
from b3lb.db.node_states import beats, seen_at
from b3lb.db.secret_states import owns_slug
from b3lb.db.statements import dump, recordset, storable_text
from b3lb.db.tables import clusters, heartbeats, meetings, node_states, nodes, secrets, tenants
from b3lb.meetings.model import (
    DIGEST_BYTES,
    USER_HASH_BYTES,
    KnownMeeting,
    MeetingChanges,
    MeetingState,
    MeetingWrite,
)

MAXIMUM_ID_BYTES = 2000
"""Longest internal meeting ID that is stored: PostgreSQL's indexes take no more than about 2 700 bytes."""

DEFAULT_LOST_SECONDS = 86400
"""How long meetings of a node without a cluster may be lost."""

_Key: TypeAlias = tuple[int, str]
"""Node's ID, internal meeting ID."""

_STATE = [item.name for item in fields(KnownMeeting)].index("state")

_LOAD_MEETINGS = (
    sa.select(
        meetings.c.id,
        meetings.c.node_id,
        meetings.c.internal_id,
        meetings.c.meeting_id,
        meetings.c.secret_id,
        meetings.c.parent_internal_id,
        meetings.c.state,
        meetings.c.first_seen_at,
        meetings.c.last_seen_at,
        meetings.c.lost_at,
        meetings.c.attendees,
        meetings.c.digest,
        meetings.c.element.is_not(None).label("has_element"),
    )
    .select_from(meetings.join(nodes, nodes.c.id == meetings.c.node_id))
    .where(nodes.c.namespace == sa.bindparam("namespace"), meetings.c.ended_at.is_(None))
    .order_by(meetings.c.node_id, meetings.c.id)
)


def load_meetings(connection: sa.Connection, namespace: str) -> list[KnownMeeting]:
    """Return the meetings of ``namespace`` that have not ended, by node and ID: one statement.

    Those of deleted, blocked and Disabled nodes are among them.
    """
    rows = connection.execute(_LOAD_MEETINGS, {"namespace": namespace})
    return [_known(row) for row in rows]


def _known(row: sa.Row[Any]) -> KnownMeeting:
    values = list(row)
    values[_STATE] = MeetingState(values[_STATE])
    return KnownMeeting(*values)


_LOAD_ATTRIBUTION = (
    sa.select(tenants.c.slug, secrets.c.sub_id, secrets.c.id)
    .select_from(secrets.join(tenants, tenants.c.id == secrets.c.tenant_id))
    .where(
        secrets.c.namespace == sa.bindparam("namespace"),
        secrets.c.deleted_at.is_(None),
        tenants.c.deleted_at.is_(None),
        owns_slug,
    )
    .order_by(secrets.c.id.desc())  # Of two secrets with one sub-id, which should not be, the older one stands.
)


def load_attribution(connection: sa.Connection, namespace: str) -> dict[tuple[str, int], int]:
    """Return whose meetings a prefix attributes: slug and sub-id → ID of the secret; one statement.

    Disabled secrets and those that are blocked for lack of their API secret still have their meetings; those of deleted
    tenants, and of blocked ones that may not use their slug, have none.
    """
    rows = connection.execute(_LOAD_ATTRIBUTION, {"namespace": namespace})
    return {(slug, sub_id): secret_id for slug, sub_id, secret_id in rows}


@dataclass(frozen=True, slots=True)
class AbsentNode:
    """A node that is not polled at all, for it is deleted, blocked or Disabled, and still has meetings."""

    node_id: int
    name: str
    deleted: bool
    seen_at: datetime | None
    lost_meetings_seconds: int


_LOAD_ABSENT = (
    sa.select(
        nodes.c.id,
        nodes.c.name,
        nodes.c.deleted_at.is_not(None),
        seen_at,
        sa.func.coalesce(clusters.c.lost_meetings_seconds, DEFAULT_LOST_SECONDS),
    )
    .select_from(
        nodes.outerjoin(clusters, clusters.c.id == nodes.c.cluster_id)
        .outerjoin(node_states, node_states.c.node_id == nodes.c.id)
        .outerjoin(heartbeats, beats)
    )
    .where(
        nodes.c.namespace == sa.bindparam("namespace"),
        sa.or_(
            nodes.c.deleted_at.is_not(None),
            nodes.c.blocked_reason.is_not(None),
            clusters.c.blocked_reason.is_not(None),
            nodes.c.state == "Disabled",
        ),
        sa.exists().where(meetings.c.node_id == nodes.c.id, meetings.c.ended_at.is_(None)),
    )
    .order_by(nodes.c.id)
)


def load_absent_nodes(connection: sa.Connection, namespace: str) -> list[AbsentNode]:
    """Return the nodes that `b3lb.db.node_states.load_polls` leaves out but that have meetings: one statement."""
    return [AbsentNode(*row) for row in connection.execute(_LOAD_ABSENT, {"namespace": namespace})]


_LOAD_WRITTEN = sa.text(
    """
    SELECT meetings.node_id, meetings.internal_id, meetings.user_hashes, meetings.secret_id
    FROM unnest(CAST(:node_ids AS bigint[]), CAST(:internal_ids AS text[])) AS given(node_id, internal_id)
    JOIN meetings USING (node_id, internal_id)
    """
)

_PLAIN = (
    "node_id",
    "internal_id",
    "meeting_id",
    "secret_id",
    "parent_internal_id",
    "created_at",
    "first_seen_at",
    "attendees",
    "listeners",
    "voices",
    "videos",
    "moderators",
    "origin",
    "origin_server",
)
"""The columns that travel as JSON, which are fields of `MeetingWrite`, too."""

_plain_values = attrgetter(*_PLAIN)

_FIRST_TIME = {"node_id", "internal_id", "created_at", "first_seen_at"}
"""Those of them that stay as they were first."""

_offset = sa.column("offset", sa.Integer)
_hash_bytes = sa.column("hash_bytes", sa.Integer)
_element_bytes = sa.column("element_bytes", sa.Integer)
_records = recordset(
    "rows",
    [*[meetings.c[name] for name in _PLAIN], meetings.c.attendees_joined, _offset, _hash_bytes, _element_bytes],
)


def _piece(start: sa.ColumnElement[int], length: sa.ColumnElement[int] | int) -> sa.ColumnElement[bytes]:
    """Return ``length`` bytes of the parameter that holds all binary values; null if the length is."""
    return sa.func.substring(sa.bindparam("binary", type_=sa.LargeBinary), start, length, type_=sa.LargeBinary)


_hashes_at = _records.c.offset + DIGEST_BYTES
_INSERT = postgresql.insert(meetings).from_select(
    [*_PLAIN, "attendees_joined", "state", "attendees_since", "digest", "user_hashes", "element"],
    sa.select(
        *[_records.c[name] for name in _PLAIN],
        _records.c.attendees_joined,
        sa.literal_column("'open'"),
        sa.bindparam("at", type_=sa.TIMESTAMP(timezone=True)),
        _piece(_records.c.offset, DIGEST_BYTES),
        _piece(_hashes_at, _records.c.hash_bytes),
        _piece(_hashes_at + _records.c.hash_bytes, _records.c.element_bytes),
    )
    # A node is soft-deleted long before its row goes, but this must not lose the round of all others.
    .select_from(_records.join(nodes, nodes.c.id == _records.c.node_id))
    .order_by(_records.c.node_id, _records.c.internal_id),
)
_WRITE = _INSERT.on_conflict_do_update(
    index_elements=[meetings.c.node_id, meetings.c.internal_id],
    set_={
        **{
            name: _INSERT.excluded[name]
            for name in (*_PLAIN, "state", "attendees_since", "digest", "user_hashes", "element")
            if name not in _FIRST_TIME
        },
        "attendees_joined": meetings.c.attendees_joined + _INSERT.excluded.attendees_joined,
        "participant_milliseconds": meetings.c.participant_milliseconds
        + sa.literal_column(attended_since("excluded.attendees_since"), sa.BigInteger),
        "last_seen_at": None,
        "lost_at": None,
        "ended_at": None,
    },
).execution_options(preserve_rowcount=True)

_FIND = sa.text(
    """
    UPDATE meetings SET state = 'open', last_seen_at = NULL, lost_at = NULL, attendees_since = :at
    WHERE id = ANY(CAST(:ids AS bigint[])) AND state = 'lost'
    """
).bindparams(sa.bindparam("at", type_=sa.TIMESTAMP(timezone=True)))

_LOSE = sa.text(
    f"""
    UPDATE meetings SET state = 'lost', last_seen_at = given.seen_at, lost_at = clock_timestamp(),
        participant_milliseconds = participant_milliseconds + {attended_since("given.seen_at")}, attendees_since = NULL
    FROM unnest(CAST(:ids AS bigint[]), CAST(:times AS timestamptz[])) AS given(id, seen_at)
    WHERE meetings.id = given.id AND meetings.state = 'open'
    """  # noqa: S608 - the expression is of this program
)

_END = sa.text(
    f"""
    WITH given AS (
        SELECT meetings.id, meetings.secret_id, given.seen_at,
            meetings.attendees_joined - meetings.counted_attendees AS attendees,
            1 - meetings.counted_meetings AS meetings,
            {lasted("given.seen_at")} - meetings.counted_milliseconds AS milliseconds,
            {attended_since("given.seen_at")} AS attended,
            meetings.counted_participant_milliseconds AS counted_before
        FROM unnest(CAST(:ids AS bigint[]), CAST(:times AS timestamptz[])) AS given(id, seen_at)
        JOIN meetings ON meetings.id = given.id AND meetings.state <> 'ended'
        FOR UPDATE OF meetings
    ), closed AS (
        UPDATE meetings
        SET state = 'ended', ended_at = clock_timestamp(), last_seen_at = given.seen_at, lost_at = NULL, element = NULL,
            participant_milliseconds = participant_milliseconds + given.attended, attendees_since = NULL,
            counted_attendees = counted_attendees + CASE WHEN given.secret_id IS NULL THEN 0 ELSE given.attendees END,
            counted_meetings = counted_meetings + CASE WHEN given.secret_id IS NULL THEN 0 ELSE given.meetings END,
            counted_milliseconds
                = counted_milliseconds + CASE WHEN given.secret_id IS NULL THEN 0 ELSE given.milliseconds END,
            counted_participant_milliseconds = CASE WHEN given.secret_id IS NULL THEN given.counted_before
                ELSE participant_milliseconds + given.attended END
        FROM given WHERE meetings.id = given.id
        RETURNING given.secret_id, given.attendees, given.meetings, given.milliseconds,
            meetings.participant_milliseconds - given.counted_before AS participant_milliseconds
    ), counted AS (
        INSERT INTO counters (
            secret_id, attendees_joined, meetings, duration_count, duration_milliseconds, participant_milliseconds
        )
        SELECT secret_id, sum(attendees), sum(meetings), sum(meetings), sum(milliseconds), sum(participant_milliseconds)
        FROM closed WHERE secret_id IS NOT NULL GROUP BY secret_id ORDER BY secret_id
        ON CONFLICT (secret_id) DO UPDATE SET
            attendees_joined = counters.attendees_joined + excluded.attendees_joined,
            meetings = counters.meetings + excluded.meetings,
            duration_count = counters.duration_count + excluded.duration_count,
            duration_milliseconds = counters.duration_milliseconds + excluded.duration_milliseconds,
            participant_milliseconds = counters.participant_milliseconds + excluded.participant_milliseconds
    )
    SELECT count(*) FROM closed
    """  # noqa: S608 - the expressions are of this program
)


def close_meetings(connection: sa.Connection, changes: MeetingChanges) -> int:
    """Store which meetings were lost or ended, under the caller's lease; return how many: at most two statements.

    A meeting that ends moves the counters of its secret in the same statement, by what has not been counted of it
    before: one that ends, is listed again and ends again is one meeting, as long as it was in all. Its attendees' time
    counts until it was last seen.
    """
    written = 0
    if changes.lost:
        written += connection.execute(_LOSE, _times(changes.lost)).rowcount
    if changes.ended:
        ended: int = connection.execute(_END, _times(changes.ended)).scalar_one()
        written += ended
    return written


def open_meetings(connection: sa.Connection, changes: MeetingChanges, *, at: datetime) -> int:
    """Store the meetings that are new, changed or found, under the caller's lease; return how many.

    At most three statements. ``at`` is when the round of polls was due: the attendees that were there so far count
    until then, those that are there now from then on.
    """
    written = _write_open(connection, changes.writes, at)
    if changes.found:
        written += connection.execute(_FIND, {"ids": list(changes.found), "at": at}).rowcount
    return written


def write_meetings(connection: sa.Connection, changes: MeetingChanges, *, at: datetime) -> int:
    """Store all that a round of polls changed; the same changes once more change nothing: at most seven statements."""
    written = move_meetings(connection, changes, at=at) + close_meetings(connection, changes)
    return written + open_meetings(connection, changes, at=at)


def _times(seen: Mapping[int, datetime]) -> dict[str, Any]:
    return {"ids": list(seen), "times": list(seen.values())}


class _Written(NamedTuple):
    """What a write needs of the row that is there: its users, and its secret, which a meeting keeps."""

    user_hashes: bytes = b""
    secret_id: int | None = None


def _write_open(connection: sa.Connection, writes: Iterable[MeetingWrite], at: datetime) -> int:
    given = {(write.node_id, storable_text(write.internal_id)): write for write in writes}
    chosen = {key: write for key, write in given.items() if len(key[1].encode()) <= MAXIMUM_ID_BYTES}
    if not chosen:
        return 0
    keys = {"node_ids": [key[0] for key in chosen], "internal_ids": [key[1] for key in chosen]}
    before = {(row[0], row[1]): _Written(row[2], row[3]) for row in connection.execute(_LOAD_WRITTEN, keys)}
    return connection.execute(_WRITE, {**_parameters(chosen, before), "at": at}).rowcount


def _parameters(writes: Mapping[_Key, MeetingWrite], before: Mapping[_Key, _Written]) -> dict[str, Any]:
    """Return the rows as JSON and their binary values; ``before`` is what was written of them, also if they ended."""
    records: list[dict[str, Any]] = []
    pieces: list[bytes] = []
    offset = 1
    for key, write in writes.items():
        old = before.get(key, _Written())
        secret_id = old.secret_id if write.secret_id is None else write.secret_id
        element = b"" if secret_id is None or write.element is None else write.element
        record: dict[str, Any] = dict(zip(_PLAIN, _plain_values(write), strict=True))
        record["attendees_joined"] = joined(old.user_hashes, write.user_hashes)
        record["secret_id"] = secret_id
        record["offset"] = offset
        record["hash_bytes"] = len(write.user_hashes)
        record["element_bytes"] = len(element) or None
        records.append(record)
        pieces += (write.digest, write.user_hashes, element)
        offset += DIGEST_BYTES + len(write.user_hashes) + len(element)
    return {"rows": dump(records), "binary": b"".join(pieces)}


def joined(before: bytes, now: bytes) -> int:
    """Return how many of the user hashes in ``now`` are not in ``before``."""
    if before == now:
        return 0
    return len(_split(now) - _split(before))


def _split(hashes: bytes) -> set[bytes]:
    return {hashes[start : start + USER_HASH_BYTES] for start in range(0, len(hashes), USER_HASH_BYTES)}
