"""Meetings whose nodes turned out to be one server, or not one any more: their rows change the node, or go."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import sqlalchemy as sa

from b3lb.db.integrals import attended_since
from b3lb.meetings.model import MeetingChanges

# While the row that stays was lost, only the dropped one had the attendees' time; else both had it.
_DROP = sa.text(
    f"""
    WITH dropped AS (
        DELETE FROM meetings USING unnest(CAST(:ids AS bigint[]), CAST(:node_ids AS bigint[])) AS given(id, node_id)
        WHERE meetings.id = given.id
        RETURNING given.node_id, meetings.internal_id, meetings.participant_milliseconds
            - meetings.counted_participant_milliseconds + {attended_since(":at")} AS milliseconds
    ), kept AS (
        UPDATE meetings SET participant_milliseconds = participant_milliseconds + dropped.milliseconds
        FROM dropped
        WHERE meetings.node_id = dropped.node_id AND meetings.internal_id = dropped.internal_id
            AND meetings.state = 'lost'
    )
    SELECT count(*) FROM dropped
    """  # noqa: S608 - the expression is of this program
).bindparams(sa.bindparam("at", type_=sa.TIMESTAMP(timezone=True)))

# A meeting that ended on the other node and is listed again is known there; its row is found by the next round.
_MOVE = sa.text(
    """
    UPDATE meetings SET node_id = given.node_id
    FROM unnest(CAST(:ids AS bigint[]), CAST(:node_ids AS bigint[])) AS given(id, node_id)
    WHERE meetings.id = given.id AND NOT EXISTS (
        SELECT FROM meetings AS other
        WHERE other.node_id = given.node_id AND other.internal_id = meetings.internal_id
    )
    """
)


def move_meetings(connection: sa.Connection, changes: MeetingChanges, *, at: datetime) -> int:
    """Drop the rows of meetings that another row knows, and move others; return how many: at most two statements.

    To be called before all else that a round writes. ``at`` is when the round of polls was due: until then a dropped
    row's attendees count for the row that stays, if that one was lost meanwhile.
    """
    written = 0
    if changes.dropped:
        dropped: int = connection.execute(_DROP, {**_nodes(changes.dropped), "at": at}).scalar_one()
        written += dropped
    if changes.moved:
        written += connection.execute(_MOVE, _nodes(changes.moved)).rowcount
    return written


def _nodes(homes: Mapping[int, int]) -> dict[str, list[int]]:
    return {"ids": list(homes), "node_ids": list(homes.values())}
