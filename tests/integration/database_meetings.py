"""Meetings in the database for tests on real PostgreSQL: a tenant with two secrets and two nodes."""

import dataclasses
import hashlib
import zlib
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from b3lb.db.engine import transaction
from b3lb.db.meetings import load_meetings, write_meetings
from b3lb.db.tables import meetings
from b3lb.meetings.model import KnownMeeting, MeetingChanges, MeetingWrite
from tests.integration.database_farm import Farm

BEGAN = datetime(2026, 11, 23, 8, tzinfo=UTC)
LATER = BEGAN + timedelta(minutes=10)


def user_hashes(*users: str) -> bytes:
    """Return the hashes of user IDs as a node's answer gives them."""
    return b"".join(sorted(hashlib.blake2b(user.encode(), digest_size=8).digest() for user in users))


class Meetings:
    """Two nodes, ``bbb-1`` and ``bbb-2``, and the secrets ``uni-001`` and ``uni-002``, with a tick's writes."""

    def __init__(self, farm: Farm) -> None:
        self.farm = farm
        self.nodes = farm.fill(2)
        self.secrets = farm.fill_tenants(
            [farm.tenant()], [farm.api_secret(sub_id=1), farm.api_secret(sub_id=2), farm.api_secret(sub_id=0)]
        )

    def meeting(
        self, internal_id: str = "m-1", *users: str, owner: str | None = "uni-001", **changes: Any
    ) -> MeetingWrite:
        """Return a meeting on ``bbb-1`` in which ``users`` are."""
        row = MeetingWrite(
            node_id=self.nodes["bbb-1"],
            internal_id=internal_id,
            meeting_id=f"UNI-001-{internal_id}",
            secret_id=None if owner is None else self.secrets[owner],
            parent_internal_id=None,
            created_at=BEGAN,
            first_seen_at=BEGAN,
            attendees=len(users),
            listeners=1,
            voices=2,
            videos=3,
            moderators=4,
            origin="a front end",
            origin_server="front.example.org",
            digest=hashlib.blake2b(repr((internal_id, users)).encode(), digest_size=16).digest(),
            element=None if owner is None else zlib.compress(repr((internal_id, users)).encode(), 1),
            user_hashes=user_hashes(*users),
        )
        return dataclasses.replace(row, **changes)

    def write(
        self, *writes: MeetingWrite, connection: sa.Connection | None = None, at: datetime = LATER, **changes: Any
    ) -> int:
        """Write changes of the round at ``at``, committed unless there is a ``connection``."""
        given = MeetingChanges(writes=writes, **changes)
        if connection is not None:
            return write_meetings(connection, given, at=at)
        with transaction(self.farm.engine, timeout_seconds=10) as opened:
            return write_meetings(opened, given, at=at)

    def end(self, *ids: int, at: datetime = LATER) -> int:
        return self.write(ended=dict.fromkeys(ids, at))

    def lose(self, *ids: int, at: datetime = LATER) -> int:
        return self.write(lost=dict.fromkeys(ids, at))

    def find(self, *ids: int) -> int:
        return self.write(found=ids)

    def known(self) -> list[KnownMeeting]:
        with transaction(self.farm.engine, timeout_seconds=10) as connection:
            return load_meetings(connection, self.farm.namespace)

    def id(self, internal_id: str = "m-1") -> int:
        ((number,),) = self.farm.rows("SELECT id FROM meetings WHERE internal_id = :i", i=internal_id)
        return int(number)

    def column(self, name: str) -> list[Any]:
        return [row[0] for row in self.columns(name)]

    def columns(self, *names: str) -> list[tuple[Any, ...]]:
        """Return some columns of all meetings, in the order in which these came."""
        statement = sa.select(*[meetings.c[name] for name in names]).order_by(meetings.c.id)
        with self.farm.engine.begin() as connection:
            return [tuple(row) for row in connection.execute(statement)]

    def counters(self, owner: str = "uni-001") -> tuple[Any, ...] | None:
        """Return attendees joined, meetings, count and sum of durations as they stand in the secret's own row."""
        rows = self.farm.rows(
            "SELECT attendees_joined, meetings, duration_count, duration_milliseconds"
            " FROM counters WHERE secret_id = :id",
            id=self.secrets[owner],
        )
        return rows[0] if rows else None
