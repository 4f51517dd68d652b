"""Connections to PostgreSQL that survive poolers, restarts and broken networks.

Nothing here leaves state in a session: limits are set per transaction, nothing is prepared, no session lock is taken.
A pooler in transaction mode may therefore stand between the programs and the server.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import psycopg
import psycopg.conninfo
import sqlalchemy as sa
from psycopg.pq import TransactionStatus

from b3lb.db.errors import InvalidDatabaseURLError

CONNECT_TIMEOUT_SECONDS = 5
LEAST_CONNECT_SECONDS = 2
"""libpq's least connect_timeout."""

POOL_TIMEOUT_SECONDS = 5
RECYCLE_SECONDS = 600

_SCHEMES = ("postgresql://", "postgres://")

_LIMITS = sa.text(
    "SELECT set_config('statement_timeout', :milliseconds, true),"
    " set_config('idle_in_transaction_session_timeout', :milliseconds, true),"
    " set_config('TimeZone', 'UTC', true)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Keepalive:
    """How a dead peer is noticed: probes after silence, times in seconds (tcp(7)); by default within about 20."""

    idle: int = 5
    interval: int = 5
    count: int = 3

    @property
    def give_up_milliseconds(self) -> int:
        """When sent data without an answer ends the connection, too (TCP_USER_TIMEOUT)."""
        return (self.idle + self.interval * self.count) * 1000


DEFAULT_KEEPALIVE = Keepalive()


def connection_parameters(application_name: str, keepalive: Keepalive = DEFAULT_KEEPALIVE) -> dict[str, Any]:
    """Return the parameters of every connection, for libpq."""
    return {
        "application_name": application_name,
        "connect_timeout": CONNECT_TIMEOUT_SECONDS,
        "keepalives": 1,
        "keepalives_idle": keepalive.idle,
        "keepalives_interval": keepalive.interval,
        "keepalives_count": keepalive.count,
        "tcp_user_timeout": keepalive.give_up_milliseconds,
    }


def check_url(url: str) -> str:
    """Return ``url`` if libpq understands it (``postgresql://`` or ``postgres://``).

    Raises:
        InvalidDatabaseURLError: It does not; the message does not repeat the URL.
    """
    if not url.startswith(_SCHEMES):
        raise InvalidDatabaseURLError("a database URL begins with postgresql://")
    try:
        psycopg.conninfo.conninfo_to_dict(url)
    except psycopg.ProgrammingError:
        # libpq quotes the offending part, and that may be the password.
        raise InvalidDatabaseURLError("the database URL is malformed; are special characters escaped?") from None
    return url


def create_engine(
    url: str,
    *,
    application_name: str,
    pool_size: int = 2,
    keepalive: Keepalive = DEFAULT_KEEPALIVE,
    seconds_to_connect: Callable[[], float] = lambda: math.inf,
) -> sa.Engine:
    """Return an engine with a small pool; nothing is connected yet.

    Args:
        url: ``postgresql://user:password@host:port/database?…``, parsed by libpq, so that several hosts, sockets and
            its TLS parameters work.
        application_name: What ``pg_stat_activity`` shows.
        pool_size: Most connections at a time.
        keepalive: How a dead peer is noticed.
        seconds_to_connect: Returns how long a new connection may take at most, over the servers that the URL names;
            less than libpq's least time (`LEAST_CONNECT_SECONDS` each) fails at once.

    Raises:
        InvalidDatabaseURLError: libpq does not understand the URL.
    """
    conninfo = check_url(url)
    parameters = connection_parameters(application_name, keepalive)
    servers = str(psycopg.conninfo.conninfo_to_dict(conninfo).get("host", "")).count(",") + 1

    def connect() -> psycopg.Connection[Any]:
        seconds = min(CONNECT_TIMEOUT_SECONDS, seconds_to_connect() / servers)
        if seconds < LEAST_CONNECT_SECONDS:
            raise psycopg.OperationalError("no time left for a new connection")
        # Prepared statements belong to a session, and a pooler gives every transaction another one.
        return psycopg.connect(
            conninfo, prepare_threshold=None, **{**parameters, "connect_timeout": math.floor(seconds)}
        )

    return sa.create_engine(
        "postgresql+psycopg://",
        creator=connect,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=POOL_TIMEOUT_SECONDS,
        pool_pre_ping=True,
        pool_recycle=RECYCLE_SECONDS,
        use_native_hstore=False,
        hide_parameters=True,
    )


@contextmanager
def transaction(engine: sa.Engine, *, timeout_seconds: float) -> Iterator[sa.Connection]:
    """Open a transaction whose statements, and pauses between them, take at most ``timeout_seconds`` each.

    It is committed at the end of the block and rolled back by an exception. Points in time come back in UTC.
    """
    with engine.begin() as connection:
        try:
            connection.execute(_LIMITS, {"milliseconds": str(max(1, round(timeout_seconds * 1000)))})
            yield connection
        except BaseException:
            _drop_if_busy(connection)
            raise


def _drop_if_busy(connection: sa.Connection) -> None:
    """Give up a connection that a signal's exception left in the middle of a statement.

    It takes no ROLLBACK any more, and the error of that would hide the exception.
    """
    held = None if connection.invalidated else connection.connection.driver_connection
    if isinstance(held, psycopg.Connection) and held.info.transaction_status == TransactionStatus.ACTIVE:
        connection.invalidate()


def database_clock(connection: sa.Connection) -> datetime:
    """Return the database's clock, UTC: the only clock whose times are stored."""
    clock: datetime = connection.execute(sa.select(sa.func.clock_timestamp())).scalar_one()
    return clock


@dataclass(slots=True)
class StatementCounter:
    """The statements that an engine sent, in order, without parameters."""

    statements: list[str] = field(default_factory=list)

    @property
    def count(self) -> int:
        """How many there were; BEGIN, COMMIT and ROLLBACK do not count."""
        return len(self.statements)


@contextmanager
def count_statements(engine: sa.Engine) -> Iterator[StatementCounter]:
    """Count the statements that ``engine`` sends within the block."""
    counter = StatementCounter()

    def note(_connection: Any, _cursor: Any, statement: str, *_more: Any) -> None:
        counter.statements.append(statement)

    sa.event.listen(engine, "before_cursor_execute", note)
    try:
        yield counter
    finally:
        sa.event.remove(engine, "before_cursor_execute", note)
