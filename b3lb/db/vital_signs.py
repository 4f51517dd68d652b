"""What an administrator looks at first in a PostgreSQL server: version, clock, connections, size; reads only."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa

from b3lb.db.engine import database_clock
from b3lb.db.schema import SchemaRange, read_schema

_SIGNS = sa.text(
    """
    select current_setting('server_version_num')::int as version,
           current_setting('server_version') as version_text,
           pg_is_in_recovery() as in_recovery,
           pg_database_size(current_database()) as size_bytes,
           least(
             current_setting('max_connections')::int
               - current_setting('superuser_reserved_connections')::int
               - coalesce(current_setting('reserved_connections', true), '0')::int
               - (select coalesce(sum(numbackends), 0) from pg_stat_database),
             (select case when d.datconnlimit >= 0 then d.datconnlimit - s.numbackends end
                from pg_database d join pg_stat_database s on s.datid = d.oid where d.datname = current_database()),
             (select case when r.rolconnlimit >= 0 then r.rolconnlimit - (
                       select count(*) from pg_stat_activity a where a.usename = current_user) end
                from pg_roles r where r.rolname = current_user)
           )::int as connections_left
    """
)
# The round trip, and nothing else.
_NOTHING = sa.text("select 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class VitalSigns:
    """One look at the server.

    ``version`` is ``server_version_num``, ``connections_left`` how many more anybody of our kind may open, by the
    server, the database or the role. ``clock`` is the server's, ``own_clock`` ours at the same time. ``latency`` is the
    time of a statement that does nothing. ``schema`` is None where b3lb's tables are missing.
    """

    version: int
    version_text: str
    in_recovery: bool
    size_bytes: int
    connections_left: int
    clock: datetime
    own_clock: datetime
    latency: timedelta
    schema: SchemaRange | None

    @property
    def clock_difference(self) -> timedelta:
        """How far the server's clock is ahead of ours."""
        return self.clock - self.own_clock


def read_vital_signs(connection: sa.Connection) -> VitalSigns:
    """Look at the server: four statements; the transaction may be spent afterwards."""
    row = connection.execute(_SIGNS).mappings().one()
    began = time.monotonic()
    connection.execute(_NOTHING)
    latency = timedelta(seconds=time.monotonic() - began)
    clock = database_clock(connection)
    own_clock = datetime.now(clock.tzinfo) - latency / 2
    return VitalSigns(**row, clock=clock, own_clock=own_clock, latency=latency, schema=read_schema(connection))
